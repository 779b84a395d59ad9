package connectiontest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/mailconn/mailconn/connection"
)

func (x *exam) source() connection.Source { return x.open().(connection.Source) }

// delete deletes and ends the rule on an error.
func (x *exam) delete(d connection.Deleter, refs ...connection.Ref) {
	x.within(x.h.patience(), "Delete", func() { x.ok("delete", d.Delete(x.ctx, refs...)) })
}

func checkDelete(x *exam) {
	want := x.fill(0, 9)
	src := x.source()
	refs := x.refsOf(src)
	x.delete(src) // of nothing
	x.leftIs("after Delete of nothing", want)
	x.delete(src, refs[string(want[4])])
	x.leftIs("after Delete of the fifth of nine messages", slices.Delete(slices.Clone(want), 4, 5))
	x.delete(src, refs[string(want[8])], refs[string(want[0])], refs[string(want[2])])
	left := [][]byte{want[1], want[3], want[5], want[6], want[7]}
	x.leftIs("after Delete of three more", left)
	if diff := difference(raws(x.fetchAll(x.ctx, x.source(), nil)), left); diff != "" {
		x.fail("a Fetch after Delete: %s", diff)
	}
	// Mail that comes between Fetch and Delete was not named.
	refs = x.refsOf(src)
	late := x.fill(50, 2)
	for _, raw := range left {
		x.delete(src, refs[string(raw)])
	}
	x.leftIs("after Delete of all that was fetched, with two messages that came later", late)
}

func checkDeleteMissing(x *exam) {
	want := x.fill(0, 4)
	src := x.source()
	refs := x.refsOf(src)
	gone := refs[string(want[1])]
	for range 3 {
		x.delete(src, gone)
	}
	x.delete(x.source(), gone, gone)
	x.delete(src, gone, refs[string(want[2])], gone, refs[string(want[2])])
	x.leftIs("after Deletes of two messages, several times", [][]byte{want[0], want[3]})
}

func checkDeleteInLoop(x *exam) {
	want := x.fillRaw(append(letters(0, 6), x.large(1, 200<<10))...)
	src := x.source()
	var got [][]byte
	x.within(2*x.h.patience(), "a loop that deletes each message", func() {
		n := 0
		items, last := x.loop(x.ctx, src, nil, func(m *connection.Message) bool {
			raw, err := x.read(m)
			if err != nil {
				x.stop("message %v: %v", m.Ref, err)
			}
			got = append(got, raw)
			if n++; n%2 == 0 {
				x.ok("delete within the loop", src.Delete(x.ctx, m.Ref))
			}
			return true
		})
		x.ok("fetch", errors.Join(append(items, last)...))
	})
	if diff := difference(got, want); diff != "" {
		x.fail("a loop that deletes every second message must still yield all: %s", diff)
	}
	var left [][]byte
	for i, raw := range got {
		if i%2 == 0 {
			left = append(left, raw)
		}
	}
	x.leftIs("after a loop that deleted every second message", left)
}

func checkDeleteConcurrent(x *exam) {
	want := x.fillRaw(append(letters(0, 24), x.large(1, 100<<10))...)
	src, other := x.source(), x.source()
	refs := x.refsOf(src)
	var wg sync.WaitGroup
	var left [][]byte
	for i, raw := range want {
		if i%4 == 3 {
			left = append(left, raw)
		}
	}
	for worker := range 3 {
		wg.Go(func() {
			defer x.recoverPanic()
			d := src
			if worker == 2 {
				d = other
			}
			for i := worker; i < len(want); i += 4 {
				x.ok("delete", d.Delete(x.ctx, refs[string(want[i])]))
			}
		})
	}
	wg.Go(func() {
		defer x.recoverPanic()
		// What is deleted meanwhile may be yielded or not, or be a message's error; never wrong.
		_, last := x.loop(x.ctx, src, nil, func(m *connection.Message) bool {
			raw, err := x.read(m)
			if err == nil && !holds(want, raw) {
				x.fail("a loop beside Deletes yields what was never there: %s", describe(raw))
			}
			return true
		})
		if last != nil {
			x.fail("a loop beside Deletes ended in %v", last)
		}
	})
	x.within(3*x.h.patience(), "a loop beside three deleters", wg.Wait)
	x.leftIs("after concurrent Deletes", left)
}

func checkDrain(x *exam) {
	var refused [][]byte // they stay, from one round to the next
	for round, workers := range []int{1, 4} {
		fresh := x.fillRaw(append(letters(100*round, 12), x.large(round, 200<<10))...)
		refused = append(refused, fresh[5])
		a := &archive{x: x, refused: refused}
		x.within(6*x.h.patience(), "Drain", func() {
			// That one message was refused may be Drain's error or not; what counts is where the mail is.
			if _, err := connection.Drain(x.ctx, x.source(), a.store, &connection.DrainOptions{Workers: workers, Batch: 3, MaxAttempts: 1}); err != nil {
				x.log.add("error of drain", err.Error())
			}
		})
		x.leftIs("after Drain with a message that its sink refused", refused)
		if diff := difference(unique(a.stored), without(fresh, fresh[5])); diff != "" {
			x.fail("Drain with %d workers: the sink did not get every message: %s", workers, diff)
		}
	}
}

// An archive is a sink that remembers, and looks whether what it is given is still at its source.
type archive struct {
	x       *exam
	refused [][]byte

	mu     sync.Mutex
	stored [][]byte
}

func (a *archive) store(_ context.Context, m *connection.Message) error {
	raw, err := io.ReadAll(m.Body)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !holds(a.x.h.Left(a.x.t), raw) && !holds(a.stored, raw) {
		a.x.fail("%s is gone from the source before it is stored", describe(raw))
	}
	if holds(a.refused, raw) {
		return errors.New("the archive refuses this one")
	}
	a.stored = append(a.stored, raw)
	return nil
}

func holds(all [][]byte, raw []byte) bool {
	return slices.ContainsFunc(all, func(o []byte) bool { return bytes.Equal(o, raw) })
}

// unique returns all without repetitions: who archives must bear a message twice.
func unique(all [][]byte) [][]byte {
	var out [][]byte
	for _, raw := range all {
		if !holds(out, raw) {
			out = append(out, raw)
		}
	}
	return out
}

// without returns all but raw.
func without(all [][]byte, raw []byte) [][]byte {
	return slices.DeleteFunc(slices.Clone(all), func(o []byte) bool { return bytes.Equal(o, raw) })
}
