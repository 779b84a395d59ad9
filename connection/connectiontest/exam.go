package connectiontest

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
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// An exam is one rule being checked against one harness. Its methods may be called from several goroutines.
type exam struct {
	t     testing.TB
	h     *Harness
	rule  string
	label string          // of its goroutines
	ctx   context.Context // of the rule; done when it ends
	log   *printed
	line  *line

	mu       sync.Mutex
	over     bool   // nothing is recorded any more
	without  string // why the rule does not apply
	failures []failure
	conns    []connection.Connection
	envs     []*connection.Env
}

const labelKey = "connectiontest"

// run checks r. It returns the broken promises, or why r does not apply.
func (r rule) run(t testing.TB, h *Harness) (failures []failure, without string) {
	h.Reset(t)
	x := &exam{t: t, h: h, rule: r.name, log: newPrinted(h.Secret), line: &line{}}
	x.label = r.name + "/" + rand.Text()
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
		c := x.open()
		if err := r.needs(h, c); err != nil {
			x.skip(err.Error())
		}
		r.check(x)
	})
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		if t.Failed() {
			break // the harness itself gave up
		}
		x.leftBehind()
	case <-timer.C:
		_, stacks := goroutinesOf(x.label)
		x.fail("did not end within %s; its goroutines:\n%s", limit, stacks)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over = true
	for _, hit := range x.log.hits() {
		x.failures = append(x.failures, failure{SecretsNeverPrint, "during rule " + r.name + ": " + hit})
	}
	return x.failures, x.without
}

func (x *exam) recoverPanic() {
	if p := recover(); p != nil {
		x.fail("panic: %v\n%s", p, debug.Stack())
	}
}

// closeAll closes what the rule left open, as a host does at its end.
func (x *exam) closeAll() {
	x.mu.Lock()
	conns, envs := x.conns, x.envs
	x.mu.Unlock()
	for _, c := range conns {
		ended := make(chan error, 1)
		go func() {
			defer x.recoverPanic()
			ended <- c.Close()
		}()
		select {
		case err := <-ended:
			if err != nil {
				x.noteError("close", err)
			}
		case <-time.After(x.h.patience()):
			x.failFor(CloseEnds, "Close did not return within %s at the end of rule %s", x.h.patience(), x.rule)
		}
	}
	for _, env := range envs {
		env.HTTPClient.CloseIdleConnections() // the host's, so not the driver's to close
	}
}

// leftBehind reports goroutines that outlive Close.
func (x *exam) leftBehind() {
	var left string
	gone := func() bool {
		var n int
		n, left = goroutinesOf(x.label)
		return n == 0
	}
	if poll(x.h.soon()+x.h.Eventual, gone) {
		return
	}
	x.failFor(NoGoroutineLeft, "after rule %s and Close these goroutines still run:\n%s", x.rule, left)
}

// goroutinesOf counts the goroutines that carry label and returns their stacks. Goroutines inherit labels, so these are
// the rule's own and those that the driver started for it, and nobody else's.
func goroutinesOf(label string) (count int, stacks string) {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return 0, ""
	}
	var found []string
	_, profile, _ := strings.Cut(b.String(), "\n") // behind the line with the total
	for block := range strings.SplitSeq(profile, "\n\n") {
		if !strings.Contains(block, fmt.Sprintf("%q:%q", labelKey, label)) {
			continue
		}
		found = append(found, strings.TrimSpace(block))
		number, _, _ := strings.Cut(block, " @")
		if n, err := strconv.Atoi(number); err == nil {
			count += n
		}
	}
	return count, strings.Join(found, "\n")
}

// open opens a connection that is closed when the rule ends.
func (x *exam) open() connection.Connection { return x.openWith(x.h.Open) }

func (x *exam) openWith(open func(testing.TB, *connection.Env) connection.Connection) connection.Connection {
	env := &connection.Env{
		Logger:     slog.New(slog.NewTextHandler(x.log, &slog.HandlerOptions{Level: connection.LevelTrace})),
		Dial:       x.line.dial,
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: x.line.dial}},
		Observe: func(ev connection.Event) {
			x.log.add("event", fmt.Sprintf("%s %s %v %v %v", ev.Kind, ev.Detail, ev.Ref, ev.Mailbox, ev.Err))
		},
	}
	c := open(x.t, env)
	if c == nil {
		x.t.Fatal("connectiontest: the harness's Open returned nil")
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.conns = append(x.conns, c)
	x.envs = append(x.envs, env)
	return c
}

// fail records that the rule's own promise is broken.
func (x *exam) fail(format string, args ...any) { x.failFor(x.rule, format, args...) }

// failFor records that the promise of another rule is broken.
func (x *exam) failFor(rule, format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f := failure{rule, fmt.Sprintf(format, args...)}
	const enough = 10 // of one kind say what there is to say
	if !x.over && len(x.failures) < enough {
		x.failures = append(x.failures, f)
	}
}

// stop records that the rule's promise is broken and ends the rule.
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

// within runs f and ends the rule if f does not return in time.
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
			runtime.Goexit() // f stopped the rule
		}
	case <-timer.C:
		x.stop("%s: did not end within %s", what, limit)
	}
}

// noteError looks at an error that left the driver: is it typed, does it print a secret?
func (x *exam) noteError(verb string, err error) {
	if err == nil {
		return
	}
	x.log.add("error of "+verb, fmt.Sprintf("%v %+v %#v %s", err, err, err, err.Error()))
	var e *connection.Error
	switch {
	case !errors.As(err, &e):
		x.failFor(ErrorsAreTyped, "%s: got a bare %T, want a *connection.Error: %v", verb, err, err)
	case e.Op == "" || e.Driver == "":
		x.failFor(ErrorsAreTyped, "%s: Op is %q, Driver is %q: %v", verb, e.Op, e.Driver, err)
	}
	for part := range connection.Errors(err) {
		if strings.ContainsAny(part.Error(), "\r\n") {
			x.failFor(ErrorsAreTyped, "%s: the text has more than one line: %q", verb, part.Error())
		}
	}
}

// want is noteError, and the error must be one of kind.
func (x *exam) wantKind(verb string, err error, kind connection.Kind) {
	x.noteError(verb, err)
	if !errors.Is(err, kind) {
		x.fail("%s: got error %v, want %q", verb, err, kind)
	}
}

// wantCtx is noteError, and the error must hold ctx.Err().
func (x *exam) wantCtx(verb string, err error, ctx context.Context) {
	x.noteError(verb, err)
	switch {
	case err == nil:
		x.fail("%s: ended without an error, want %v", verb, ctx.Err())
	case !errors.Is(err, ctx.Err()):
		x.fail("%s: got error %v, which does not hold %v", verb, err, ctx.Err())
	}
}

// ok is noteError, and ends the rule if there is an error.
func (x *exam) ok(verb string, err error) {
	x.noteError(verb, err)
	if err != nil {
		x.stop("%s: %v", verb, err)
	}
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
