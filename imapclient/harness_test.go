package imapclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

func open(t testing.TB, cfg imapclient.Config, env *connection.Env) *imapclient.Conn {
	t.Helper()
	c, err := imapclient.Open(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // a test that cares closes by itself
	return c
}

// emptying returns a Config that removes messages at once.
func emptying(cfg imapclient.Config) imapclient.Config {
	cfg.DeleteMode, cfg.ExpungeEvery = imapclient.DeleteExpunge, 0
	return cfg
}

// A fetched is what one loop step gave.
type fetched struct {
	ref  connection.Ref
	raw  string
	msg  connection.Message
	err  error // of the loop
	body error // of the body
}

// collect runs Fetch to its end, reading every body. It never waits for ever.
func collect(t testing.TB, c connection.Fetcher, opts *connection.FetchOptions) []fetched {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all []fetched
	for m, err := range c.Fetch(ctx, opts) {
		f := fetched{err: err}
		if err == nil {
			f.ref, f.msg = m.Ref, *m
			var raw []byte
			raw, f.body = io.ReadAll(m.Body)
			f.raw = string(raw)
		} else if e := new(connection.Error); errors.As(err, &e) {
			f.ref = e.Ref
		}
		all = append(all, f)
	}
	return all
}

// bodies returns the octets of the messages that came whole, and fails the test on any error.
func bodies(t testing.TB, all []fetched) []string {
	t.Helper()
	var raw []string
	for _, f := range all {
		if f.err != nil || f.body != nil {
			t.Errorf("got error %v, body error %v", f.err, f.body)
			continue
		}
		raw = append(raw, f.raw)
	}
	return raw
}

func wantBodies(t testing.TB, got []string, want ...string) {
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

func wantKind(t testing.TB, err error, want connection.Kind) {
	t.Helper()
	_ = theError(t, err, want) // for those who want no more of it
}

// theError returns err as an *Error of the kind wanted.
func theError(t testing.TB, err error, want connection.Kind) *connection.Error {
	t.Helper()
	var e *connection.Error
	if !errors.As(err, &e) || !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
	return e
}

func octets(all []imaptest.Message) [][]byte {
	var raw [][]byte
	for _, m := range all {
		raw = append(raw, m.Raw)
	}
	return raw
}

// letters returns n small messages, each another.
func letters(n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = fmt.Appendf(nil, "Subject: letter %d\r\n\r\n%s\r\n", i, bytes.Repeat([]byte("x"), i%7))
	}
	return all
}

func texts(raw [][]byte) []string {
	all := make([]string, len(raw))
	for i := range raw {
		all[i] = string(raw[i])
	}
	return all
}

// literal returns s as an IMAP literal.
func literal(s string) string { return "{" + strconv.Itoa(len(s)) + "}\r\n" + s }

// eventually waits until ok, for at most a minute, without sleeping.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// noGoroutines fails the test if goroutines of this package are left.
func noGoroutines(t testing.TB) {
	t.Helper()
	var stacks string
	eventually(t, "the end of all goroutines", func() bool {
		buf := make([]byte, 1<<20)
		stacks = string(buf[:runtime.Stack(buf, true)])
		for g := range strings.SplitSeq(stacks, "\n\n") {
			if strings.Contains(g, "mailconn/imapclient.") || strings.Contains(g, "go-imap/v2/imapclient.") {
				return false
			}
		}
		return true
	})
}
