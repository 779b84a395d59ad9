package connectiontest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/mailconn/mailconn/connection"
)

func (x *exam) fetcher() connection.Fetcher { return x.open().(connection.Fetcher) }

func checkFetchBytes(x *exam) {
	give, want := x.carried()
	for _, raw := range give {
		x.h.Fill(x.t, raw)
	}
	got := x.fetchAll(x.ctx, x.fetcher(), nil)
	if diff := difference(raws(got), want); diff != "" {
		x.fail("%s", diff)
	}
}

func checkFetchOnce(x *exam) {
	want := x.fill(0, 30)
	// Two messages of the same octets are still two messages.
	want = append(want, x.fill(0, 2)...)
	want = append(want, x.fillRaw(x.large(1, 300<<10))...)
	got := x.fetchAll(x.ctx, x.fetcher(), nil)
	if diff := difference(raws(got), want); diff != "" {
		x.fail("%s", diff)
	}
	seen := map[connection.Ref]bool{}
	for _, m := range got {
		switch {
		case m.Ref.IsZero():
			x.fail("a message (%s) has no Ref", describe(m.raw))
		case seen[m.Ref]:
			x.fail("two messages have the Ref %v", m.Ref)
		}
		seen[m.Ref] = true
		// A source may count its own line ends, so the size is a hint; beyond that it must be the truth.
		slack := int64(bytes.Count(m.raw, []byte("\n")))
		if m.Size < -1 || m.Size >= 0 && (m.Size < int64(len(m.raw))-slack || m.Size > int64(len(m.raw))+slack) {
			x.fail("message %v of %d octets says that its Size is %d; -1 would mean unknown", m.Ref, len(m.raw), m.Size)
		}
	}
	if again := x.fetchAll(x.ctx, x.fetcher(), nil); len(again) == len(got) {
		for _, m := range again {
			if !seen[m.Ref] {
				x.fail("a second Fetch on another connection gives the Ref %v, which the first did not know", m.Ref)
			}
		}
	} else {
		x.fail("a second Fetch yields %d messages, the first %d", len(again), len(got))
	}
}

func checkFetchChanges(x *exam) {
	want := x.fill(0, 5)
	f := x.fetcher()
	first := x.fetchAll(x.ctx, f, nil)
	x.leftIs("after a Fetch that read everything", want)
	other := x.fetcher()
	if unseen := x.fetchAll(x.ctx, other, &connection.FetchOptions{Unseen: true}); len(unseen) != len(want) {
		x.fail("after a Fetch that read everything %d of %d messages are unseen; want all", len(unseen), len(want))
	}
	second := x.fetchAll(x.ctx, other, nil)
	for _, m := range first {
		i := slices.IndexFunc(second, func(n fetched) bool { return n.Ref == m.Ref })
		if i < 0 {
			x.fail("message %v has moved: a second Fetch does not know its Ref", m.Ref)
			continue
		}
		before, after := slices.Sorted(slices.Values(m.Flags)), slices.Sorted(slices.Values(second[i].Flags))
		if !slices.Equal(before, after) {
			x.fail("message %v had the flags %q and has %q after it was fetched", m.Ref, before, after)
		}
	}
}

func checkFetchBodyEnds(x *exam) {
	raw := append(letters(0, 3), x.large(1, 400<<10), letter(3), x.large(2, 200<<10), letter(4))
	x.fillRaw(raw...)
	type old struct {
		ref  connection.Ref
		body io.Reader
		own  []byte // where the body's own octets may go on, if they are known
		done bool   // it was read to its end
	}
	var olds []old
	probe := func(o old) {
		for range 3 { // an error must not wear off
			buf := make([]byte, 512)
			n, err := o.body.Read(buf)
			switch {
			case n > 0 && !bytes.Contains(o.own, buf[:n]):
				x.fail("the body of %v, read after its loop step, gives octets of something else: %q", o.ref, buf[:min(n, 60)])
				return
			case n == 0 && errors.Is(err, io.EOF) && !o.done:
				x.fail("the body of %v, half read before its loop step ended, then ends in io.EOF, as if it were whole", o.ref)
				return
			case n == 0 && err == nil:
				x.fail("the body of %v, read after its loop step, gives neither octets nor an error", o.ref)
				return
			}
		}
	}
	whole := map[connection.Ref][]byte{}
	for _, m := range x.fetchAll(x.ctx, x.fetcher(), nil) {
		whole[m.Ref] = m.raw
	}
	x.within(x.h.patience(), "reading bodies after their step", func() {
		n := 0
		_, last := x.loop(x.ctx, x.fetcher(), nil, func(m *connection.Message) bool {
			if len(olds) > 0 {
				probe(olds[len(olds)-1])
			}
			o := old{ref: m.Ref, body: m.Body, own: whole[m.Ref]}
			switch n % 3 {
			case 0: // not read at all
			case 1:
				if _, err := io.ReadFull(m.Body, make([]byte, 10)); err != nil {
					x.stop("message %v: %v", m.Ref, err)
				}
			case 2:
				o.done = true
				if _, err := x.read(m); err != nil {
					x.stop("message %v: %v", m.Ref, err)
				}
			}
			n++
			olds = append(olds, o)
			return true
		})
		x.ok("fetch", last)
		for _, o := range olds {
			probe(o)
		}
	})
	if len(olds) != len(raw) {
		x.fail("the loop yielded %d messages, want %d", len(olds), len(raw))
	}
}

func checkFetchUnread(x *exam) {
	raw := [][]byte{letter(0), x.large(1, 300<<10), letter(1), letter(2), x.large(2, 70_000), letter(3), letter(4)}
	want := x.fillRaw(raw...)
	for _, readEach := range []int{2, 3} {
		var got [][]byte
		n := 0
		seen := map[connection.Ref]bool{}
		x.within(x.h.patience(), "a loop that reads some bodies", func() {
			_, last := x.loop(x.ctx, x.fetcher(), nil, func(m *connection.Message) bool {
				n++
				seen[m.Ref] = true
				switch {
				case n%readEach == 0:
					octets, err := x.read(m)
					if err != nil {
						x.stop("message %v, behind bodies that were not read: %v", m.Ref, err)
					}
					got = append(got, octets)
				case n%readEach == 1:
					if _, err := m.Body.Read(make([]byte, 7)); err != nil && !errors.Is(err, io.EOF) {
						x.stop("message %v: %v", m.Ref, err)
					}
				}
				return true
			})
			x.ok("fetch", last)
		})
		if len(seen) != len(want) {
			x.fail("a loop that does not read every body yields %d messages, want %d", len(seen), len(want))
		}
		for _, octets := range got {
			if !holds(want, octets) {
				x.fail("behind bodies that were not read: not any of the messages: %s", difference([][]byte{octets}, want))
			}
		}
	}
}

func checkFetchBreak(x *exam) {
	want := x.fillRaw(append(letters(0, 4), x.large(1, 300<<10), x.large(2, 300<<10))...)
	f := x.fetcher()
	leave := func() {
		x.within(x.h.patience(), "leaving the loop at the first message", func() {
			_, last := x.loop(x.ctx, f, nil, func(m *connection.Message) bool {
				_, err := m.Body.Read(make([]byte, 3))
				x.noteError("fetch (reading a body)", err)
				return false
			})
			x.ok("fetch", last)
		})
	}
	leave()
	before, _ := goroutinesOf(x.label)
	const times = 8
	for range times {
		leave()
	}
	var after int
	var stacks string
	settled := func() bool {
		after, stacks = goroutinesOf(x.label)
		return after < before+times/2
	}
	if !poll(x.h.soon(), settled) {
		x.fail("%d loops left early leave %d goroutines more:\n%s", times, after-before, stacks)
	}
	if diff := difference(raws(x.fetchAll(x.ctx, f, nil)), want); diff != "" {
		x.fail("after loops were left early, a whole one is not complete: %s", diff)
	}
}

func checkFetchOptions(x *exam) {
	want := x.fill(0, 7)
	f := x.fetcher()
	all := x.fetchAll(x.ctx, f, &connection.FetchOptions{})
	if len(all) != len(want) {
		x.stop("with zero options: %d messages, want %d", len(all), len(want))
	}
	for _, limit := range []int{1, 3, 7, 100} {
		if got := x.fetchAll(x.ctx, f, &connection.FetchOptions{Limit: limit}); len(got) != min(limit, 7) {
			x.fail("Limit %d: %d messages, want %d", limit, len(got), min(limit, 7))
		}
	}
	if got := x.fetchAll(x.ctx, f, &connection.FetchOptions{Since: time.Now().AddDate(0, 0, 3)}); len(got) != 0 {
		x.fail("Since in three days: %d messages, want none", len(got))
	}
	if got := x.fetchAll(x.ctx, f, &connection.FetchOptions{Since: time.Now().AddDate(-30, 0, 0)}); len(got) != len(want) {
		x.fail("Since thirty years ago: %d messages, want all %d", len(got), len(want))
	}
	skip := map[connection.Ref]bool{all[0].Ref: true, all[3].Ref: true, all[6].Ref: true}
	got := x.fetchAll(x.ctx, f, &connection.FetchOptions{Skip: func(r connection.Ref) bool { return skip[r] }, Limit: 4})
	if len(got) != len(want)-len(skip) {
		x.fail("Skip of %d messages with Limit 4: %d messages, want %d (what is skipped does not count)", len(skip), len(got), len(want)-len(skip))
	}
	for _, m := range got {
		if skip[m.Ref] {
			x.fail("message %v was yielded, although Skip said no", m.Ref)
		}
	}
}

func checkFetchBadOne(x *exam) {
	raw := letters(0, 6)
	want := x.fillRaw(raw...)
	refs := x.refsOf(x.fetcher())
	bad := []int{0, 3}
	var good [][]byte
	for i := range raw {
		if slices.Contains(bad, i) {
			x.h.Spoil(x.t, raw[i])
			continue
		}
		good = append(good, want[i])
	}
	var got [][]byte
	var failed []connection.Ref
	x.within(2*x.h.patience(), "a loop over spoilt messages", func() {
		items, last := x.loop(x.ctx, x.fetcher(), nil, func(m *connection.Message) bool {
			octets, err := x.read(m)
			if err != nil {
				failed = append(failed, m.Ref)
			} else {
				got = append(got, octets)
			}
			return true
		})
		if last != nil {
			x.fail("the loop ended in an error that names no message: %v", last)
		}
		for _, err := range items {
			var e *connection.Error
			if errors.As(err, &e) {
				failed = append(failed, e.Ref)
			}
		}
	})
	if diff := difference(got, good); diff != "" {
		x.fail("with 2 of 6 messages spoilt the others must come: %s", diff)
	}
	for _, i := range bad {
		ref := refs[string(want[i])]
		n := 0
		for _, r := range failed {
			if r == ref {
				n++
			}
		}
		if n != 1 {
			x.fail("the spoilt message %v: %d errors with its Ref, want 1 (errors were about %s)", ref, n, fmt.Sprint(failed))
		}
	}
}
