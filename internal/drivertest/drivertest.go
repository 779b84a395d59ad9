// Package drivertest is what the drivers' own tests have in common: they run Fetch to its end, compare what came, and wait
// for what must come.
package drivertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// patience is how long a test waits for what must come. Nothing takes it but a failure, on however busy a machine.
const patience = 2 * time.Minute

// A Fetched is what one loop step of Fetch gave.
type Fetched struct {
	Ref     connection.Ref
	Raw     string
	Message connection.Message
	Err     error // of the loop
	BodyErr error // of the body
}

// Collect runs Fetch to its end, reading every body. It never waits for ever.
func Collect(t testing.TB, c connection.Fetcher, opts *connection.FetchOptions) []Fetched {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all []Fetched
	for m, err := range c.Fetch(ctx, opts) {
		f := Fetched{Err: err}
		if err == nil {
			f.Ref, f.Message = m.Ref, *m
			var raw []byte
			raw, f.BodyErr = io.ReadAll(m.Body)
			f.Raw = string(raw)
		} else if e := new(connection.Error); errors.As(err, &e) {
			f.Ref = e.Ref
		}
		all = append(all, f)
	}
	return all
}

// Bodies returns the octets of the messages that came whole, and fails the test on any error.
func Bodies(t testing.TB, all []Fetched) []string {
	t.Helper()
	var raw []string
	for _, f := range all {
		if f.Err != nil || f.BodyErr != nil {
			t.Errorf("got error %v, body error %v", f.Err, f.BodyErr)
			continue
		}
		raw = append(raw, f.Raw)
	}
	return raw
}

// WantBodies compares messages in their order.
func WantBodies(t testing.TB, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("got %d messages, want %d", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Errorf("message %d: got %.60q (%d octets), want %.60q (%d octets)", i, got[i], len(got[i]), want[i], len(want[i]))
		}
	}
}

// Error returns err as an *Error of the kind wanted, and ends the test if it is none.
func Error(t testing.TB, err error, want connection.Kind) *connection.Error {
	t.Helper()
	var e *connection.Error
	if !errors.As(err, &e) || !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
	return e
}

// Letters returns n small messages, each another.
func Letters(n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = fmt.Appendf(nil, "Subject: letter %d\r\n\r\n%s\r\n", i, bytes.Repeat([]byte("x"), i%7))
	}
	return all
}

// Texts returns the same as strings.
func Texts(raw [][]byte) []string {
	all := make([]string, len(raw))
	for i := range raw {
		all[i] = string(raw[i])
	}
	return all
}

// Eventually waits until ok, and ends the test if that takes for ever.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// NoGoroutines waits until no goroutine is left whose stack holds one of the texts.
func NoGoroutines(t testing.TB, of ...string) {
	t.Helper()
	Eventually(t, "the end of all goroutines", func() bool {
		buf := make([]byte, 1<<20)
		for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if slices.ContainsFunc(of, func(text string) bool { return strings.Contains(stack, text) }) {
				return false
			}
		}
		return true
	})
}
