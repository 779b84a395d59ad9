package objecttest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// An exam is one rule being checked against one harness. Its methods may be called from several goroutines.
type exam struct {
	t     testing.TB
	h     *Harness
	rule  string
	label string          // of its goroutines
	ctx   context.Context //nolint:containedctx // of the rule; done when it ends

	mu       sync.Mutex
	over     bool   // nothing is recorded any more
	without  string // why the rule does not apply
	failures []failure
	conns    []connection.ObjectStore
	lines    []*line
	ends     []func() // of the suite's own servers
}

const labelKey = "objecttest"

// run checks r. It returns what was not met, or why r does not apply.
func (r rule) run(t testing.TB, h *Harness) (failures []failure, without string) {
	h.Reset(t)
	x := &exam{t: t, h: h, rule: r.name, label: r.name + "/" + rand.Text()}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	x.ctx = ctx
	limit := h.limit
	if limit == 0 {
		limit = 5*time.Minute + 10*h.Eventual
	}
	done := make(chan struct{})
	go pprof.Do(ctx, pprof.Labels(labelKey, x.label), func(context.Context) {
		defer close(done)
		defer x.closeAll()
		defer x.recoverPanic()
		r.check(x)
	})
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		if left := x.leftBehind(); left != "" && !t.Failed() {
			x.fail("after Close these goroutines still run:\n%s", left)
		}
	case <-timer.C:
		x.fail("did not end within %s; its goroutines:\n%s", limit, goroutinesOf(x.label))
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over = true
	return x.failures, x.without
}

func (x *exam) recoverPanic() {
	if p := recover(); p != nil {
		x.fail("panic: %v\n%s", p, debug.Stack())
	}
}

// closeAll closes what the rule left open, as a host does at its end.
func (x *exam) closeAll() {
	defer x.recoverPanic()
	x.mu.Lock()
	conns, lines, ends := x.conns, x.lines, x.ends
	x.mu.Unlock()
	for _, c := range conns {
		x.note("close", c.Close())
	}
	for _, l := range lines {
		l.base.CloseIdleConnections() // the host's, so not the driver's to close
	}
	for _, end := range ends {
		end()
	}
}

// leftBehind waits for the rule's goroutines to end, and returns the stacks of those that do not.
func (x *exam) leftBehind() (left string) {
	poll(x.h.soon(), func() bool {
		left = goroutinesOf(x.label)
		return left == ""
	})
	return left
}

// goroutinesOf returns the stacks of the goroutines that carry label. Goroutines inherit labels, so these are the rule's own
// and those that the driver started for it, and nobody else's.
func goroutinesOf(label string) string {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return ""
	}
	var found []string
	_, profile, _ := strings.Cut(b.String(), "\n") // behind the line with the total
	for block := range strings.SplitSeq(profile, "\n\n") {
		if strings.Contains(block, fmt.Sprintf("%q:%q", labelKey, label)) {
			found = append(found, strings.TrimSpace(block))
		}
	}
	return strings.Join(found, "\n")
}

// tuning is what rules open connections with: little patience, small sizes.
func (x *exam) tuning() objectstore.Tuning {
	return objectstore.Tuning{
		MaxAttempts: 4, MaxElapsed: connection.Duration(20 * time.Second), NoDataTimeout: connection.Duration(10 * time.Second),
		SinglePutLimit: 256 << 10, PartSize: x.h.Parts, PartWorkers: 2, Workers: 8,
	}
}

// open opens a connection over a line of its own, which is closed when the rule ends. change, if not nil, changes the
// tuning.
func (x *exam) open(change func(*objectstore.Tuning)) (connection.ObjectStore, *line) {
	return x.openBy(x.h.Open, change)
}

// store opens a connection over a line that nothing befalls.
func (x *exam) store() connection.ObjectStore {
	s, _ := x.open(nil)
	return s
}

func (x *exam) openBy(open Opener, change func(*objectstore.Tuning)) (connection.ObjectStore, *line) {
	tuning := x.tuning()
	if change != nil {
		change(&tuning)
	}
	l := newLine()
	env := &connection.Env{
		Logger:     slog.New(slog.NewTextHandler(logged{x}, &slog.HandlerOptions{Level: connection.LevelTrace})),
		Dial:       l.dial,
		HTTPClient: &http.Client{Transport: l},
		Observe:    func(ev connection.Event) { x.search("event", fmt.Sprintf("%+v", ev)) },
	}
	s := open(x.t, env, tuning)
	if s == nil {
		x.t.Fatal("objecttest: the harness opened nil")
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.conns = append(x.conns, s)
	x.lines = append(x.lines, l)
	return s, l
}

// logged is where a driver's log goes.
type logged struct{ x *exam }

// Write implements io.Writer for a slog.Handler, which writes one record at a time.
func (l logged) Write(text []byte) (int, error) {
	l.x.search("log", string(text))
	return len(text), nil
}

// search looks for secrets in what a driver says.
func (x *exam) search(where, text string) {
	for _, secret := range x.h.Secrets {
		if strings.Contains(text, secret) {
			x.fail("E82: a secret is in the %s: %s", where, strings.ReplaceAll(text, secret, "<secret>"))
		}
	}
}

// fail records that the rule is not met.
func (x *exam) fail(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	const enough = 10 // of one kind say what there is to say
	if !x.over && len(x.failures) < enough {
		x.failures = append(x.failures, failure{x.rule, fmt.Sprintf(format, args...)})
	}
}

// stop records that the rule is not met and ends it, or the part of it that runs in this goroutine.
func (x *exam) stop(format string, args ...any) {
	x.fail(format, args...)
	runtime.Goexit()
}

// skip ends the rule, which does not apply.
func (x *exam) skip(why string) {
	x.mu.Lock()
	x.without = why
	x.mu.Unlock()
	runtime.Goexit()
}

// within runs f and ends the rule if f stops it or does not return in time.
func (x *exam) within(limit time.Duration, what string, f func()) {
	done := make(chan struct{})
	whole := false
	go func() {
		defer close(done)
		defer x.recoverPanic()
		f()
		whole = true
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		if !whole {
			runtime.Goexit()
		}
	case <-timer.C:
		x.stop("%s: did not end within %s", what, limit)
	}
}

// each runs f for the numbers below n, a few at a time, and ends the rule if one of them stopped.
func (x *exam) each(n int, f func(i int)) {
	const abreast = 8
	var next, ended atomic.Int64
	var wg sync.WaitGroup
	for range min(n, abreast) {
		wg.Go(func() {
			defer x.recoverPanic()
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
				ended.Add(1)
			}
		})
	}
	wg.Wait()
	if ended.Load() < int64(n) {
		runtime.Goexit()
	}
}

// patience is how long a verb may take that has work to do and troubles to overcome.
func (x *exam) patience() time.Duration { return time.Minute + x.h.Eventual }

// note looks at an error that left the driver: is it typed, does it hold a secret?
func (x *exam) note(verb string, err error) {
	if err == nil {
		return
	}
	x.search("error of "+verb, fmt.Sprintf("%v %+v %#v", err, err, err))
	for part := range connection.Errors(err) {
		if part.Op == "" || part.Driver == "" || strings.ContainsAny(part.Error(), "\r\n") {
			x.fail("%s: want an error of one line with Op and Driver, got %q", verb, part.Error())
		}
	}
	var e *connection.Error
	if !errors.As(err, &e) {
		x.fail("%s: got a bare %T, want a *connection.Error: %v", verb, err, err)
	}
}

// ok is note, and stops if there is an error.
func (x *exam) ok(verb string, err error) {
	x.note(verb, err)
	if err != nil {
		x.stop("%s: %v", verb, err)
	}
}

// want is note, and the error must be one of the kinds.
func (x *exam) want(verb string, err error, kinds ...connection.Kind) {
	x.note(verb, err)
	for _, k := range kinds {
		if errors.Is(err, k) && connection.KindOf(err) == k {
			return
		}
	}
	x.fail("%s: got error %v, want %v", verb, err, kinds)
}

// poll asks cond until it is true, at least once, or the time is over.
func poll(limit time.Duration, cond func() bool) bool {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline.C:
			return cond()
		case <-tick.C:
		}
	}
	return true
}
