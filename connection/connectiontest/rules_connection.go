package connectiontest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/mailconn/mailconn/connection"
)

func checkOpen(x *exam) {
	x.line.set(nil)
	before, _ := goroutinesOf(x.label)
	c := x.open()
	info := c.Info()
	if dials, _, _ := x.line.counted(); dials > 0 {
		x.fail("opening dialled %d times", dials)
	}
	if after, stacks := goroutinesOf(x.label); after > before {
		x.fail("opening started goroutines:\n%s", stacks)
	}
	if info.Driver == "" {
		x.fail("Info has no Driver")
	}
	// What cannot be reached cannot be noticed without I/O either.
	for _, what := range slices.Sorted(maps.Keys(x.h.Broken)) {
		x.openWith(x.h.Broken[what])
		if dials, _, _ := x.line.counted(); dials > 0 {
			x.fail("opening with a %s dialled %d times", what, dials)
		}
	}
	x.ok("close", c.Close())
	if again := c.Info(); again != info {
		x.fail("Info changed on Close: from %+v to %+v", info, again)
	}
}

// noteReport checks what holds of every Report, whatever Test found.
func (x *exam) noteReport(r *connection.Report, err error) {
	x.noteError("test", err)
	if r == nil {
		x.failFor(TestReports, "Test returned no Report, with error %v", err)
		return
	}
	text, jsonErr := json.Marshal(r)
	if jsonErr != nil {
		x.failFor(TestReports, "the Report cannot be written as JSON: %v", jsonErr)
	}
	x.log.add("report", fmt.Sprintf("%s %s %+v %#v", r, text, r, r))
	if len(r.Steps) == 0 {
		x.failFor(TestReports, "the Report has no steps (error: %v)", err)
	}
	failed := false
	for _, s := range r.Steps {
		x.noteError("test, step "+s.Name, s.Err)
		switch {
		case s.Name == "":
			x.failFor(TestReports, "a step has no name: %+v", s)
		case !slices.Contains([]connection.Status{connection.StatusOK, connection.StatusWarned, connection.StatusFailed, connection.StatusSkipped}, s.Status):
			x.failFor(TestReports, "step %s has the status %q", s.Name, s.Status)
		case s.Status == connection.StatusFailed && s.Err == nil:
			x.failFor(TestReports, "step %s failed without an error", s.Name)
		case s.Status == connection.StatusFailed && s.Hint == "":
			x.failFor(TestReports, "step %s failed without a hint: %v", s.Name, s.Err)
		case s.Status == connection.StatusOK && s.Err != nil:
			x.failFor(TestReports, "step %s is ok, with the error %v", s.Name, s.Err)
		case s.Elapsed < 0:
			x.failFor(TestReports, "step %s took %s", s.Name, s.Elapsed)
		}
		failed = failed || s.Status == connection.StatusFailed
	}
	switch {
	case err == nil && failed:
		x.failFor(TestReports, "Test returned nil, but a step failed: %v", r.Err())
	case err != nil && !failed:
		x.failFor(TestReports, "Test returned %v, but no step failed:\n%s", err, r)
	case err != nil && r.Err() != nil && err.Error() != r.Err().Error():
		x.failFor(TestReports, "Test returned %v, but the first failed step's error is %v", err, r.Err())
	}
}

func checkTest(x *exam) {
	c := x.open()
	x.prepared(c)
	var told []string
	x.within(x.h.patience(), "Test", func() {
		r, err := c.Test(x.ctx, &connection.TestOptions{Progress: func(s connection.Step) { told = append(told, s.Name) }})
		x.noteReport(r, err)
		if err != nil {
			x.stop("Test of a connection that works: %v\n%s", err, r)
		}
		var names []string
		for _, s := range r.Steps {
			names = append(names, s.Name)
		}
		if !slices.Equal(told, names) {
			x.fail("Progress was told of %q, the Report has the steps %q", told, names)
		}
		if r.Info != c.Info() {
			x.fail("the Report is about %+v, want %+v", r.Info, c.Info())
		}
		if r.Started.IsZero() || time.Since(r.Started) > time.Hour {
			x.fail("the Report says that it was started at %s", r.Started)
		}
	})
	ctx, cancel := context.WithCancel(x.ctx)
	cancel()
	x.within(x.h.soon(), "Test with a context that is done", func() {
		r, err := c.Test(ctx, nil)
		x.noteReport(r, err)
		x.wantCtx("test", err, ctx)
	})
}

func checkTestChanges(x *exam) {
	c := x.open()
	x.prepared(c)
	before := x.world()
	x.within(x.h.patience(), "Test", func() {
		_, err := c.Test(x.ctx, nil)
		x.ok("test", err)
	})
	x.unchanged("after Test", before)
	x.within(x.h.patience(), "Test with Write", func() {
		r, err := c.Test(x.ctx, &connection.TestOptions{Write: true})
		x.noteReport(r, err)
		x.ok("test with Write", err)
	})
	x.unchanged("after Test with Write", before)
}

func checkBroken(x *exam) {
	for _, what := range slices.Sorted(maps.Keys(x.h.Broken)) {
		c := x.openWith(x.h.Broken[what])
		x.within(3*x.h.patience(), "Test with a "+what, func() {
			r, err := c.Test(x.ctx, nil)
			x.noteReport(r, err)
			if err == nil {
				x.fail("%s: Test found nothing wrong:\n%s", what, r)
				return
			}
			if connection.KindOf(err) == connection.ErrUnknown {
				x.fail("%s: the error has no Kind: %v", what, err)
			}
			for _, s := range r.Steps {
				if s.Status == connection.StatusFailed && s.Hint == "" {
					x.fail("%s: the step %q failed without a hint:\n%s", what, s.Name, r)
				}
			}
		})
		if f, ok := c.(connection.Fetcher); ok {
			x.within(3*x.h.patience(), "Fetch with a "+what, func() {
				items, last := x.loop(x.ctx, f, nil, func(m *connection.Message) bool {
					x.fail("%s: Fetch yielded message %v", what, m.Ref)
					return true
				})
				if errors.Join(append(items, last)...) == nil {
					x.fail("%s: Fetch ended without an error, as if there were no mail", what)
				}
			})
		}
		if s, ok := c.(connection.ObjectStore); ok {
			x.within(3*x.h.patience(), "List with a "+what, func() {
				err := ends(s.List(x.ctx, nil))
				x.noteError("list", err)
				if err == nil {
					x.fail("%s: List ended without an error, as if there were no objects", what)
				}
			})
		}
	}
}

func checkCloseTwice(x *exam) {
	unused := x.open()
	used := x.open()
	x.prepared(used)
	for _, c := range []connection.Connection{unused, used} {
		for _, which := range []string{"first", "second", "third"} {
			x.within(x.h.patience(), which+" Close", func() {
				if err := c.Close(); err != nil {
					x.fail("the %s Close returned %v", which, err)
				}
			})
		}
	}
}

func checkClosed(x *exam) {
	for _, used := range []bool{false, true} {
		c := x.open()
		ref, key := connection.Ref{}, "some/key"
		if used {
			ref, key = x.prepared(c)
		}
		x.ok("close", c.Close())
		before := x.world()
		for _, v := range x.verbsOf(c, ref, key) {
			x.within(x.h.soon(), v.name+" after Close", func() { x.wantKind(v.name+" after Close", v.call(x.ctx), connection.ErrClosed) })
		}
		x.unchanged("after verbs of a closed connection", before)
	}
}

func checkCanceled(x *exam) {
	c := x.open()
	ref, key := x.prepared(c)
	before := x.world()
	ctx, cancel := context.WithCancel(x.ctx)
	cancel()
	past, cancelPast := context.WithDeadline(x.ctx, time.Now().Add(-time.Second))
	defer cancelPast()
	for _, v := range x.verbsOf(c, ref, key) {
		for _, ctx := range []context.Context{ctx, past} {
			x.within(x.h.soon(), v.name+" with a context that is done", func() { x.wantCtx(v.name, v.call(ctx), ctx) })
		}
	}
	x.unchanged("after verbs whose context was done", before)
	for _, v := range x.verbsOf(c, ref, key) {
		if v.name == "fetch with Follow" {
			continue
		}
		x.within(x.h.patience(), v.name, func() {
			if err := v.call(x.ctx); err != nil {
				x.fail("%s, after a call whose context was done: %v", v.name, err)
			}
		})
	}
}

func checkCloseEnds(x *exam) {
	if _, ok := x.open().(connection.Fetcher); ok && x.h.Fill != nil {
		want := x.fillRaw(letter(0), x.large(1, x.h.bigSize()))
		x.closeWhileWaiting()
		x.closeInLoop(want)
	}
	if s, ok := x.open().(connection.ObjectStore); ok {
		x.closeWhileReading(s)
	}
}

// closeWhileWaiting closes the connection while a loop waits for more mail.
func (x *exam) closeWhileWaiting() {
	c := x.open()
	n := make(chan struct{}, 10)
	ended := make(chan error, 1)
	go func() {
		defer x.recoverPanic()
		_, last := x.loop(x.ctx, c.(connection.Fetcher), &connection.FetchOptions{Follow: true}, func(*connection.Message) bool {
			n <- struct{}{}
			return true
		})
		ended <- last
	}()
	x.within(x.h.patience(), "a loop with Follow", func() { <-n; <-n })
	x.within(x.h.soon(), "Close while a loop waits", func() { x.ok("close", c.Close()) })
	select {
	case err := <-ended:
		x.wantKind("fetch with Follow, while Close was called", err, connection.ErrClosed)
	case <-time.After(x.h.soon()):
		x.stop("a loop that waited for mail did not end within %s after Close", x.h.soon())
	}
}

// closeInLoop closes the connection from within the loop, with a body half read.
func (x *exam) closeInLoop(want [][]byte) {
	c := x.open()
	x.within(x.h.patience(), "Close within the loop", func() {
		_, last := x.loop(x.ctx, c.(connection.Fetcher), nil, func(m *connection.Message) bool {
			part, err := io.ReadAll(io.LimitReader(m.Body, 100))
			if err != nil {
				x.noteError("fetch (reading a body)", err)
				return true
			}
			x.ok("close", c.Close())
			rest, err := x.read(m)
			part = append(part, rest...)
			if err == nil && difference([][]byte{part}, want[:1]) != "" && difference([][]byte{part}, want[1:]) != "" {
				x.fail("the body of %v ended in io.EOF after %d octets when its connection was closed, as if it were whole", m.Ref, len(part))
			}
			return true
		})
		x.wantKind("fetch, closed within the loop", last, connection.ErrClosed)
	})
}

func (x *exam) closeWhileReading(s connection.ObjectStore) {
	content := x.large(1, x.h.bigSize())
	x.put(s, "big", content, nil)
	o, err := s.Get(x.ctx, "big", nil)
	x.ok("get", err)
	part, err := io.ReadAll(io.LimitReader(o.Body, 1000))
	x.ok("get (reading)", err)
	x.within(x.h.soon(), "Close while an object is open", func() { x.ok("close", s.Close()) })
	x.within(x.h.patience(), "reading an object after Close", func() {
		rest, err := io.ReadAll(io.LimitReader(o.Body, maxRead))
		x.noteError("get (reading)", err)
		switch part = append(part, rest...); {
		case err == nil && string(part) != string(content):
			x.fail("an object ended in io.EOF after %d of %d octets when its connection was closed", len(part), len(content))
		case err != nil && !errors.Is(err, connection.ErrClosed):
			x.fail("reading an object after Close: got error %v, want %q", err, connection.ErrClosed)
		}
		if err := o.Body.Close(); err != nil {
			x.noteError("get (closing a body)", err)
		}
	})
}

// checkErrors provokes the errors that every connection has; the other rules look at theirs.
func checkErrors(x *exam) {
	c := x.open()
	ref, key := x.prepared(c)
	x.ok("close", c.Close())
	for _, v := range x.verbsOf(c, ref, key) {
		x.within(x.h.patience(), v.name, func() { x.noteError(v.name, v.call(x.ctx)) })
	}
}

// checkGoroutines uses a connection in every way; what is left is found at the end of every rule.
func checkGoroutines(x *exam) {
	c := x.open()
	ref, key := x.prepared(c)
	for _, v := range x.verbsOf(c, ref, key) {
		ctx, cancel := context.WithTimeout(x.ctx, 100*time.Millisecond)
		x.within(x.h.patience(), v.name, func() { x.noteError(v.name, v.call(ctx)) })
		cancel()
	}
}

func checkSecrets(x *exam) {
	show := func(what string, c connection.Connection) {
		info := c.Info()
		text, err := json.Marshal(info)
		if err != nil {
			x.fail("Info cannot be written as JSON: %v", err)
		}
		x.log.add("Info of "+what, fmt.Sprintf("%v %+v %#v %s", info, info, info, text))
		x.log.add("fmt output of "+what, fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c, c))
	}
	c := x.open()
	show("a new connection", c)
	ref, key := x.prepared(c)
	for _, v := range x.verbsOf(c, ref, key) {
		if v.name == "fetch with Follow" {
			continue
		}
		x.within(x.h.patience(), v.name, func() { x.noteError(v.name, v.call(x.ctx)) })
	}
	x.ok("close", c.Close())
	show("a closed connection", c)
	for _, what := range slices.Sorted(maps.Keys(x.h.Broken)) {
		c := x.openWith(x.h.Broken[what])
		show("a connection with a "+what, c)
		for _, v := range x.verbsOf(c, ref, "some/key") {
			if v.name == "fetch with Follow" {
				continue
			}
			x.within(3*x.h.patience(), v.name+" with a "+what, func() { x.noteError(v.name, v.call(x.ctx)) })
		}
	}
}
