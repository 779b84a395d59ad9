package connectiontest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// traffic runs f over a good line and returns what passed. A driver that does not dial ends the rule: it has no line.
func (x *exam) traffic(f func()) (received, sent int64) {
	x.line.set(nil)
	f()
	dials, received, sent := x.line.counted()
	if dials == 0 {
		x.skip("the driver does not dial through Env.Dial")
	}
	return received, sent
}

// points returns up to n places to cut a line that carries total octets: the first, the last, and between them.
func points(total int64, n int) []int64 {
	at := []int64{0, 1, total - 1, total - 2, total - 10}
	for i := 1; len(at) < n; i++ {
		at = append(at, total*int64(i)/int64(n-4))
	}
	slices.Sort(at)
	return slices.DeleteFunc(slices.Compact(at), func(p int64) bool { return p < 0 || p >= total })
}

// cuts returns faults that break the first connection at many places of so much traffic, and what to call each.
func cuts(received, sent int64) map[string]Fault {
	faults := map[string]Fault{}
	for i, p := range points(received, 14) {
		fault := CutAfter(p)
		if i%2 == 1 {
			fault = ResetAfter(p)
		}
		faults[fmt.Sprintf("after %d of %d octets received", p, received)] = First(1, fault)
	}
	for _, p := range points(sent, 8) {
		faults[fmt.Sprintf("after %d of %d octets sent", p, sent)] = First(1, CutAfterSent(p))
	}
	return faults
}

func checkCutFetch(x *exam) {
	want := x.fillRaw(append(letters(0, 4), x.large(1, 100<<10), letter(4))...)
	received, sent := x.traffic(func() { x.fetchAll(x.ctx, x.fetcher(), nil) })
	faults := cuts(received, sent)
	faults["never, but slow: a few octets at a time"] = Slow(37)
	for when, fault := range faults {
		x.line.set(fault)
		f := x.fetcher()
		var got [][]byte
		failed := false
		x.within(6*x.h.patience(), "Fetch over a line that is cut "+when, func() {
			items, last := x.loop(x.ctx, f, nil, func(m *connection.Message) bool {
				raw, err := x.read(m)
				switch {
				case err != nil:
					failed = true
				case !holds(want, raw):
					x.fail("cut %s: the body of %v ended in io.EOF and is no whole message: %s", when, m.Ref, difference([][]byte{raw}, want))
				default:
					got = append(got, raw)
				}
				return true
			})
			failed = failed || len(items) > 0 || last != nil
		})
		if len(unique(got)) < len(got) {
			x.fail("cut %s: Fetch yielded a message twice", when)
		}
		if !failed && len(got) != len(want) {
			x.fail("cut %s: Fetch ended without an error after %d of %d messages", when, len(got), len(want))
		}
	}
	x.line.set(nil)
	x.leftIs("after Fetch over lines that were cut", want)
}

func checkCutDelete(x *exam) {
	keep := x.fill(0, 3)
	named := x.fill(10, 2)
	refs := x.refsOf(x.source())
	received, sent := x.traffic(func() { x.delete(x.source(), refs[string(named[0])], refs[string(named[1])]) })
	n := 100
	for when, fault := range cuts(received, sent) {
		n += 2
		x.line.set(nil)
		named := x.fill(n, 2)
		refs = x.refsOf(x.source())
		x.line.set(fault)
		d := x.source()
		var err error
		x.within(6*x.h.patience(), "Delete over a line that is cut "+when, func() {
			err = d.Delete(x.ctx, refs[string(named[0])], refs[string(named[1])])
			x.noteError("delete", err)
		})
		left := x.h.Left(x.t)
		for _, raw := range keep {
			if !holds(left, raw) {
				x.stop("cut %s: Delete of two messages removed a third: %s", when, describe(raw))
			}
		}
		x.line.set(nil)
		if err == nil {
			x.leftIs("after a Delete that returned nil, cut "+when, keep)
		}
		// Who was told of an error may repeat.
		x.delete(x.source(), refs[string(named[0])], refs[string(named[1])])
		x.leftIs("after a Delete that was repeated, cut "+when, keep)
	}
}

func checkCutDrain(x *exam) {
	fill := func(n int) [][]byte {
		return x.fillRaw(append(letters(n*10, 5), x.large(n, 60<<10))...)
	}
	drain := func(a *archive, limit time.Duration) {
		ctx, cancel := context.WithTimeout(x.ctx, limit)
		defer cancel()
		x.within(limit+3*x.h.soon(), "Drain", func() {
			if _, err := connection.Drain(ctx, x.source(), a.store, &connection.DrainOptions{Batch: 2, RetryDelay: time.Millisecond}); err != nil {
				x.log.add("error of drain", err.Error())
			}
		})
	}
	received, sent := x.traffic(func() {
		want := fill(0)
		a := &archive{x: x}
		drain(a, x.h.patience())
		if diff := difference(unique(a.stored), want); diff != "" {
			x.stop("a Drain over a good line: %s", diff)
		}
	})
	n := 0
	for when, fault := range cuts(received, sent) {
		n++
		x.line.set(nil)
		want := fill(n)
		a := &archive{x: x}
		x.line.set(fault)
		drain(a, x.h.patience())
		left := x.h.Left(x.t)
		for _, raw := range a.stored {
			if !holds(want, raw) {
				x.fail("cut %s: what was stored is no whole message: %s", when, difference([][]byte{raw}, want))
			}
		}
		for _, raw := range want {
			if !holds(left, raw) && !holds(a.stored, raw) {
				x.fail("cut %s: %s is neither at the source nor stored", when, describe(raw))
			}
		}
		x.line.set(nil)
		drain(a, x.h.patience())
		if diff := difference(unique(a.stored), want); diff != "" {
			x.fail("cut %s: after a Drain over a good line the archive is not complete: %s", when, diff)
		}
		x.leftIs("after a Drain over a good line, behind one that was cut "+when, nil)
	}
}

func checkCutPut(x *exam) {
	old, fresh := letter(0), x.large(1, 100<<10)
	received, sent := x.traffic(func() { x.put(x.store(), "cut", fresh, nil) })
	for when, fault := range cuts(received, sent) {
		for key, before := range map[string][]byte{"cut": old, "cut/" + digest([]byte(when)): nil} {
			x.line.set(nil)
			good := x.store()
			if before != nil {
				x.put(good, key, before, nil)
			}
			x.line.set(fault)
			s := x.store()
			var err error
			x.within(6*x.h.patience(), "Put over a line that is cut "+when, func() {
				_, err = s.Put(x.ctx, key, bytes.NewReader(fresh), nil)
				x.noteError("put", err)
			})
			x.line.set(nil)
			switch {
			case err == nil:
				x.holdsObject(good, "after a Put that returned nil, cut "+when, key, fresh)
			case !errors.Is(err, connection.ErrUncertain):
				x.holdsObject(good, fmt.Sprintf("after a Put that returned %q, cut %s", err, when), key, before)
			default:
				got, _, err := x.tryGet(x.ctx, good, key, nil)
				gone := before == nil && errors.Is(err, connection.ErrNotFound)
				if whole := err == nil && (bytes.Equal(got, fresh) || before != nil && bytes.Equal(got, before)); !whole && !gone {
					x.fail("after a Put that is uncertain, cut %s: %d octets, error %v; want the old object or the new", when, len(got), err)
				}
			}
		}
	}
}

func checkCutGet(x *exam) {
	want := x.large(1, 100<<10)
	x.put(x.store(), "cut", want, nil)
	received, sent := x.traffic(func() { x.get(x.store(), "cut") })
	faults := cuts(received, sent)
	faults["never, but slow: a few octets at a time"] = Slow(37)
	for when, fault := range faults {
		x.line.set(fault)
		s := x.store()
		x.within(6*x.h.patience(), "Get over a line that is cut "+when, func() {
			got, _, err := x.tryGet(x.ctx, s, "cut", nil)
			if err == nil && !bytes.Equal(got, want) {
				x.fail("cut %s: the object ended in io.EOF: %s", when, compare(got, want))
			}
			err = ends(s.List(x.ctx, nil))
			x.noteError("list", err)
		})
	}
	x.line.set(nil)
}

func checkCutSend(x *exam) {
	env := connection.Envelope{From: sender, To: []string{recipient}}
	received, sent := x.traffic(func() {
		_, err := x.send(x.sender(), env, bytes.NewReader(x.large(0, 50<<10)), nil)
		x.ok("send", err)
	})
	n := 0
	for when, fault := range cuts(received, sent) {
		n++
		raw := x.large(n, 50<<10)
		want := x.plain([][]byte{raw})[0]
		x.line.set(fault)
		s := x.sender()
		var err error
		x.within(6*x.h.patience(), "Send over a line that is cut "+when, func() {
			_, err = s.Send(x.ctx, env, bytes.NewReader(raw), nil)
			x.noteError("send", err)
		})
		x.line.set(nil)
		count := func() (n int) {
			for _, got := range x.sent() {
				if bytes.Equal(got, want) {
					n++
				}
			}
			return n
		}
		switch {
		case err == nil:
			if !poll(x.h.Eventual, func() bool { return count() == 1 }) {
				x.fail("cut %s: Send returned nil, and the message arrived %d times", when, count())
			}
		case errors.Is(err, connection.ErrUncertain):
			if count() > 1 {
				x.fail("cut %s: a message whose Send is uncertain arrived %d times", when, count())
			}
		case poll(min(x.h.Eventual, time.Second), func() bool { return count() > 0 }):
			x.fail("cut %s: Send returned %v, which is not %q, but the message arrived", when, err, connection.ErrUncertain)
		}
	}
}

// checkStall makes the line silent at many places, then ends the context.
func checkStall(x *exam) {
	first := x.open()
	ref, key := x.prepared(first)
	dialed := false
	for _, v := range x.verbsOf(first, ref, key) {
		if v.name == "delete" || v.name == "delete objects" {
			continue // of something that must be there for the others
		}
		x.line.set(nil)
		x.within(x.h.patience(), v.name, func() {
			ctx, cancel := x.ctx, context.CancelFunc(func() {})
			if v.name == "fetch with Follow" {
				ctx, cancel = context.WithTimeout(x.ctx, time.Second)
			}
			defer cancel()
			c := x.open()
			for _, same := range x.verbsOf(c, ref, key) {
				if same.name == v.name {
					x.noteError(v.name, same.call(ctx))
				}
			}
		})
		dials, received, _ := x.line.counted()
		if dials == 0 {
			continue // it needs no line, or has one of before
		}
		dialed = true
		for _, at := range points(received, 6) {
			// A verb that needs no octet behind the silence may end as its context does. With more time it ends before.
			delay := 60 * time.Millisecond
			for x.stalled(v.name, ref, key, at, delay) {
				delay *= 5
			}
		}
	}
	if !dialed {
		x.skip("the driver does not dial through Env.Dial")
	}
}

// stalled calls a verb on a line that falls silent, and ends its context after delay. It reports whether the verb ended
// well nevertheless, and not before its context. With a delay of seconds that is a broken promise.
func (x *exam) stalled(name string, ref connection.Ref, key string, at int64, delay time.Duration) (late bool) {
	x.line.set(Stall(at))
	defer x.line.set(nil)
	c := x.open()
	ctx, cancel := context.WithCancel(x.ctx)
	defer cancel()
	timer := time.AfterFunc(delay, cancel)
	defer timer.Stop()
	x.within(delay+x.h.soon(), fmt.Sprintf("%s on a line that is silent after %d octets, and whose context ended", name, at), func() {
		for _, same := range x.verbsOf(c, ref, key) {
			if same.name != name {
				continue
			}
			err := same.call(ctx)
			if timer.Stop() || ctx.Err() == nil {
				continue // it was done before its context was
			}
			if late = err == nil && delay < time.Second; !late {
				x.wantCtx(name, err, ctx)
			}
		}
	})
	return late
}
