package connectiontest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/mailconn/mailconn/connection"
)

func checkFetchFollow(x *exam) {
	want := x.fill(0, 2)
	f := x.fetcher()
	ctx, cancel := context.WithCancel(x.ctx)
	defer cancel()
	seen := make(chan []byte)
	ended := make(chan error, 1)
	go func() {
		defer x.recoverPanic()
		_, last := x.loop(ctx, f, &connection.FetchOptions{Follow: true}, func(m *connection.Message) bool {
			raw, err := x.read(m)
			if err != nil {
				x.fail("message %v: %v", m.Ref, err)
				return false
			}
			select {
			case seen <- raw:
			case <-ctx.Done():
			}
			return true
		})
		ended <- last
	}()
	var got [][]byte
	await := func(n int) {
		timer := time.NewTimer(x.h.patience())
		defer timer.Stop()
		for len(got) < n {
			select {
			case raw := <-seen:
				got = append(got, raw)
			case err := <-ended:
				x.stop("the loop ended after %d of %d messages: %v", len(got), n, err)
			case <-timer.C:
				x.stop("%d of %d messages were seen within %s", len(got), n, x.h.patience())
			}
		}
	}
	await(2)
	for i := range 3 { // one at a time: each is waited for
		want = append(want, x.fill(2+i, 1)...)
		await(3 + i)
	}
	if diff := difference(got, want); diff != "" {
		x.fail("%s", diff)
	}
	// Give the loop a moment to go to wait, so that it is the wait that ctx ends.
	select {
	case <-seen:
		x.fail("a message was yielded twice")
	case <-time.After(50 * time.Millisecond):
	}
	cancel()
	select {
	case err := <-ended:
		x.wantCtx("fetch with Follow, waiting", err, ctx)
	case <-time.After(x.h.soon()):
		x.stop("the loop did not end within %s after its context", x.h.soon())
	}
}

func checkFetchConcurrent(x *exam) {
	want := x.fillRaw(append(letters(0, 10), x.large(1, 100<<10))...)
	f := x.fetcher()
	const loops = 3
	var begun, wg sync.WaitGroup // each loop stays at its first message until all are there
	begun.Add(loops)
	for i := range loops {
		wg.Go(func() {
			defer x.recoverPanic()
			arrive := sync.OnceFunc(begun.Done)
			defer arrive()
			var got [][]byte
			items, last := x.loop(x.ctx, f, nil, func(m *connection.Message) bool {
				arrive()
				begun.Wait()
				raw, err := x.read(m)
				if err != nil {
					x.stop("loop %d of %d at once: message %v: %v", i+1, loops, m.Ref, err)
				}
				got = append(got, raw)
				return true
			})
			x.ok("fetch", errors.Join(append(items, last)...))
			if diff := difference(got, want); diff != "" {
				x.fail("loop %d of %d at once: %s", i+1, loops, diff)
			}
		})
	}
	x.within(3*x.h.patience(), fmt.Sprintf("%d loops at once", loops), wg.Wait)
}

func checkFetchCancel(x *exam) {
	want := x.fillRaw(letter(0), x.large(1, x.h.bigSize()), letter(1), x.large(2, x.h.bigSize()), letter(2))
	f := x.fetcher()
	for _, deadline := range []bool{false, true} {
		ctx, cancel := context.WithCancel(x.ctx)
		if deadline {
			cancel()
			ctx, cancel = context.WithDeadline(x.ctx, time.Now().Add(time.Hour))
		}
		defer cancel()
		var end error
		over := func() { cancel() }
		if deadline {
			// A context that is done by its own deadline, at a moment of our choosing.
			c := &dueContext{Context: ctx, due: make(chan struct{})}
			ctx, over = c, sync.OnceFunc(func() { close(c.due) })
		}
		began := time.Time{}
		x.within(x.h.patience()+x.h.soon(), "a loop whose context ended in the middle of a body", func() {
			items, last := x.loop(ctx, f, nil, func(m *connection.Message) bool {
				part, err := io.ReadAll(io.LimitReader(m.Body, 1000))
				if err != nil && began.IsZero() {
					x.stop("message %v: %v", m.Ref, err)
				}
				if len(part) < 1000 && began.IsZero() {
					return true // a small one
				}
				if began.IsZero() {
					began = time.Now()
				}
				over()
				rest, err := x.read(m)
				part = append(part, rest...)
				if err == nil && !holds(want, part) {
					x.fail("the body of %v ended in io.EOF after %d octets when its context ended, as if it were whole", m.Ref, len(part))
				}
				return true
			})
			end = errors.Join(append(items, last)...)
		})
		if took := time.Since(began); took > x.h.soon() {
			x.fail("the loop ended %s after its context; want at most %s", took.Round(time.Millisecond), x.h.soon())
		}
		x.wantCtx("fetch", end, ctx)
	}
	x.leftIs("after loops that were canceled", want)
}

// dueContext ends with context.DeadlineExceeded when due is closed.
type dueContext struct {
	context.Context
	due chan struct{}
}

func (c *dueContext) Done() <-chan struct{} { return c.due }

func (c *dueContext) Err() error {
	select {
	case <-c.due:
		return context.DeadlineExceeded
	default:
		return nil
	}
}
