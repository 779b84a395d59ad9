package connection_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A history is a source of mailboxes whose every change is numbered; the checkpoint is the number.
type history struct {
	mu      sync.Mutex
	changes map[string][]string // mailbox -> bodies
	oldest  map[string]int      // checkpoints below are stale
	fail    func(mailbox string, n int) error
	body    func(mailbox string, n int) error
	sent    map[string]int // bodies handed out
	list    error
	look    func(mailbox string)
	options func(*connection.SyncOptions)
}

func (h *history) Mailboxes(context.Context, *connection.MailboxOptions) iter.Seq2[*connection.Mailbox, error] {
	return func(yield func(*connection.Mailbox, error) bool) {
		for _, name := range []string{"alice", "bob", "carol", "dave", "alice"} {
			if !yield(&connection.Mailbox{Name: name}, nil) {
				return
			}
		}
		if h.list != nil {
			yield(nil, h.list)
		}
	}
}

func (h *history) Sync(ctx context.Context, since connection.Checkpoint, opts *connection.SyncOptions) iter.Seq2[*connection.Change, error] {
	return func(yield func(*connection.Change, error) bool) {
		at, _ := strconv.Atoi(string(since))
		if h.look != nil {
			h.look(opts.Mailbox)
		}
		if h.options != nil {
			h.options(opts)
		}
		if since != "" && at < h.oldest[opts.Mailbox] {
			yield(nil, &connection.Error{Kind: connection.ErrStale})
			return
		}
		for n := at; n < len(h.changes[opts.Mailbox]); n++ {
			ref := connection.Ref{Mailbox: opts.Mailbox, ID: fmt.Sprint(n)}
			if opts.Known != nil {
				known, err := opts.Known(ctx, []connection.Ref{ref})
				if err != nil {
					yield(nil, err)
					return
				}
				if known[0] {
					if !yield(&connection.Change{Checkpoint: connection.Checkpoint(fmt.Sprint(n + 1))}, nil) {
						return
					}
					continue
				}
			}
			if h.fail != nil {
				if err := h.fail(opts.Mailbox, n); err != nil {
					if !yield(nil, err) {
						return
					}
					var e *connection.Error
					if !errors.As(err, &e) || e.Ref.IsZero() {
						return
					}
					continue
				}
			}
			var body io.Reader = strings.NewReader(h.changes[opts.Mailbox][n])
			if h.body != nil {
				if err := h.body(opts.Mailbox, n); err != nil {
					body = iotest.ErrReader(err)
				}
			}
			h.mu.Lock()
			if h.sent == nil {
				h.sent = make(map[string]int)
			}
			h.sent[opts.Mailbox]++
			h.mu.Unlock()
			c := &connection.Change{Op: connection.Added, Ref: ref, Message: &connection.Message{Ref: ref, Body: body}}
			if n%3 == 2 || n == len(h.changes[opts.Mailbox])-1 {
				c.Checkpoint = connection.Checkpoint(fmt.Sprint(n + 1))
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

func newHistory() *history {
	h := &history{changes: make(map[string][]string), oldest: make(map[string]int)}
	for _, mailbox := range []string{"alice", "bob", "carol", "dave"} {
		for n := range 10 {
			h.changes[mailbox] = append(h.changes[mailbox], fmt.Sprint(mailbox, " ", n))
		}
	}
	return h
}

// A mirrorVault keeps changes; a checkpoint saved ahead of it is caught by guardedCheckpoints.
type mirrorVault struct {
	mu   sync.Mutex
	got  map[connection.Ref]string
	fail func(connection.Ref) error
}

func newMirrorVault() *mirrorVault { return &mirrorVault{got: make(map[connection.Ref]string)} }

func (v *mirrorVault) Store(_ context.Context, _ string, c *connection.Change) error {
	raw, err := io.ReadAll(c.Message.Body)
	if err != nil {
		return nil // careless on purpose: Mirror must not believe it
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fail != nil {
		if err := v.fail(c.Ref); err != nil {
			return err
		}
	}
	v.got[c.Ref] = string(raw)
	return nil
}

func (v *mirrorVault) Known(_ context.Context, _ string, refs []connection.Ref) ([]bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	known := make([]bool, len(refs))
	for i, ref := range refs {
		_, known[i] = v.got[ref]
	}
	return known, nil
}

// guardedCheckpoints fails the test when a checkpoint is saved before what it covers is stored.
type guardedCheckpoints struct {
	connection.MemoryCheckpoints
	t      *testing.T
	v      *mirrorVault
	except map[connection.Ref]bool
}

func (g *guardedCheckpoints) Save(ctx context.Context, mailbox string, old, next connection.Checkpoint) error {
	covered, err := strconv.Atoi(string(next))
	if err != nil {
		return err
	}
	g.v.mu.Lock()
	defer g.v.mu.Unlock()
	for n := range covered {
		ref := connection.Ref{Mailbox: mailbox, ID: fmt.Sprint(n)}
		if _, ok := g.v.got[ref]; !ok && !g.except[ref] {
			g.t.Errorf("checkpoint %s of %s saved before message %d was stored", next, mailbox, n)
		}
	}
	return g.MemoryCheckpoints.Save(ctx, mailbox, old, next)
}

func (v *mirrorVault) check(t *testing.T, h *history, except ...connection.Ref) {
	t.Helper()
	want := make(map[connection.Ref]string)
	for mailbox, bodies := range h.changes {
		for n, body := range bodies {
			want[connection.Ref{Mailbox: mailbox, ID: fmt.Sprint(n)}] = body
		}
	}
	for _, ref := range except {
		delete(want, ref)
	}
	if !maps.Equal(v.got, want) {
		t.Errorf("stored %d messages, want %d: %v", len(v.got), len(want), v.got)
	}
}

func TestMirror(t *testing.T) {
	for _, workers := range []int{0, 1, 8} {
		h, v := newHistory(), newMirrorVault()
		cps := &guardedCheckpoints{t: t, v: v}
		opts := &connection.MirrorOptions{Workers: workers}
		stats, err := connection.Mirror(t.Context(), h, v, cps, opts)
		if err != nil || stats.Mailboxes != 4 || stats.Added != 40 {
			t.Errorf("stats %+v, err %v; want 4 mailboxes and 40 messages", stats, err)
		}
		v.check(t, h)
		h.changes["bob"] = append(h.changes["bob"], "new")
		stats, err = connection.Mirror(t.Context(), h, v, cps, opts)
		if err != nil || stats.Added != 1 {
			t.Errorf("second run: stats %+v, err %v; want the one new message", stats, err)
		}
		v.check(t, h)
	}
}

func TestMirrorIsolatesAFailingMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, v := newHistory(), newMirrorVault()
		h.fail = func(mailbox string, n int) error {
			if mailbox == "bob" && n == 4 {
				return &connection.Error{Kind: connection.ErrPermission}
			}
			return nil
		}
		var told []string
		stats, err := connection.Mirror(t.Context(), h, v, &guardedCheckpoints{t: t, v: v}, &connection.MirrorOptions{
			OnError: func(mailbox string, _ error) { told = append(told, mailbox) },
		})
		if !errors.Is(err, connection.ErrPermission) || !strings.Contains(err.Error(), `"bob"`) {
			t.Errorf("err = %v, want bob's ErrPermission", err)
		}
		if stats.Mailboxes != 3 || stats.Failed != 1 || len(told) != 1 || told[0] != "bob" {
			t.Errorf("stats %+v, told %v; want three good mailboxes and one report on bob", stats, told)
		}
	})
}

func TestMirrorResumesAfterTemporaryFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, v := newHistory(), newMirrorVault()
		cut := make(map[int]bool)
		h.fail = func(mailbox string, n int) error {
			if mailbox == "alice" && !cut[n] {
				cut[n] = true
				return &connection.Error{Kind: connection.ErrNetwork}
			}
			return nil
		}
		cps := &guardedCheckpoints{t: t, v: v}
		if _, err := connection.Mirror(t.Context(), h, v, cps, nil); err != nil {
			t.Error(err)
		}
		v.check(t, h)
		if cp, err := cps.Load(t.Context(), "alice"); cp != "10" || err != nil {
			t.Errorf("alice's checkpoint is %q (%v), want 10", cp, err)
		}
	})
}

func TestMirrorRestartsAStaleMailboxWithoutDownloadingAgain(t *testing.T) {
	h, v := newHistory(), newMirrorVault()
	cps := &guardedCheckpoints{t: t, v: v}
	if _, err := connection.Mirror(t.Context(), h, v, cps, nil); err != nil {
		t.Fatal(err)
	}
	h.oldest["carol"] = 100
	h.changes["carol"] = append(h.changes["carol"], "new")
	h.sent = nil
	var restarted string
	_, err := connection.Mirror(t.Context(), h, v, cps, &connection.MirrorOptions{Observe: func(ev connection.Event) {
		if ev.Kind == connection.EventRestarted {
			restarted = ev.Mailbox
		}
	}})
	if err != nil || restarted != "carol" || h.sent["carol"] != 1 {
		t.Errorf("err %v, restarted %q, %d downloads; want carol restarted and one download", err, restarted, h.sent["carol"])
	}
	v.check(t, h)
}

func TestMirrorUnreadableMessage(t *testing.T) {
	bad := connection.Ref{Mailbox: "dave", ID: "4"}
	for _, where := range []string{"item", "body"} {
		t.Run(where+" heals", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, v := newHistory(), newMirrorVault()
				tries := 0
				fail := func(mailbox string, n int) error {
					if mailbox == bad.Mailbox && n == 4 {
						if tries++; tries < 3 {
							return &connection.Error{Ref: bad, Kind: connection.ErrCorrupt}
						}
					}
					return nil
				}
				if where == "item" {
					h.fail = fail
				} else {
					h.body = fail
				}
				stats, err := connection.Mirror(t.Context(), h, v, &guardedCheckpoints{t: t, v: v}, nil)
				if err != nil || stats.Skipped != 0 {
					t.Errorf("stats %+v, err %v; want none skipped", stats, err)
				}
				v.check(t, h)
			})
		})
		t.Run(where+" does not heal", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, v := newHistory(), newMirrorVault()
				fail := func(mailbox string, n int) error {
					if mailbox == bad.Mailbox && n == 4 {
						return &connection.Error{Ref: bad, Kind: connection.ErrCorrupt}
					}
					return nil
				}
				if where == "item" {
					h.fail = fail
				} else {
					h.body = fail
				}
				cps := &guardedCheckpoints{t: t, v: v, except: map[connection.Ref]bool{bad: true}}
				stats, err := connection.Mirror(t.Context(), h, v, cps, nil)
				if !errors.Is(err, connection.ErrCorrupt) || stats.Skipped != 1 {
					t.Errorf("stats %+v, err %v; want one skipped, and told", stats, err)
				}
				v.check(t, h, bad)
				if cp, err := cps.Load(t.Context(), "dave"); cp != "10" || err != nil {
					t.Errorf("dave's checkpoint is %q (%v), want 10: one bad message must not hold back the others for ever", cp, err)
				}
			})
		})
	}
}

// TestMirrorOutageIsNoPoison: a source that is out of order says so of the message at which it is, and then of itself. That
// is not held against the message.
func TestMirrorOutageIsNoPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, v := newHistory(), newMirrorVault()
		syncs := 0
		h.fail = func(mailbox string, n int) error {
			switch {
			case mailbox != "dave" || n > 1 || syncs > 2:
			case n == 0:
				return &connection.Error{Ref: connection.Ref{Mailbox: "dave", ID: "0"}, Kind: connection.ErrNetwork}
			default: // the third time the outage ends between the two
				if syncs++; syncs < 3 {
					return &connection.Error{Kind: connection.ErrNetwork}
				}
			}
			return nil
		}
		stats, err := connection.Mirror(t.Context(), h, v, &guardedCheckpoints{t: t, v: v}, nil)
		if err != nil || stats.Skipped != 0 {
			t.Errorf("stats %+v, err %v; want none skipped", stats, err)
		}
		v.check(t, h)
	})
}

// TestMirrorGoesOnBehindTheLastMessage: the message that is given up is the one that carries the Checkpoint. The next
// round must not begin with it again.
func TestMirrorGoesOnBehindTheLastMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, v := newHistory(), newMirrorVault()
		last := len(h.changes["dave"]) - 1
		bad := connection.Ref{Mailbox: "dave", ID: strconv.Itoa(last)}
		h.body = func(mailbox string, n int) error {
			if mailbox == bad.Mailbox && n == last {
				return &connection.Error{Ref: bad, Kind: connection.ErrCorrupt}
			}
			return nil
		}
		cps := &guardedCheckpoints{t: t, v: v, except: map[connection.Ref]bool{bad: true}}
		if stats, err := connection.Mirror(t.Context(), h, v, cps, nil); !errors.Is(err, connection.ErrCorrupt) || stats.Skipped != 1 {
			t.Errorf("stats %+v, err %v; want one skipped, and told", stats, err)
		}
		h.sent = nil
		if stats, err := connection.Mirror(t.Context(), h, v, cps, nil); err != nil || stats.Skipped != 0 || len(h.sent) != 0 {
			t.Errorf("the second time: stats %+v, err %v, downloads %v; want nothing to do", stats, err, h.sent)
		}
	})
}

func TestMirrorSinkFailureKeepsTheCheckpoint(t *testing.T) {
	h, v := newHistory(), newMirrorVault()
	v.fail = func(ref connection.Ref) error {
		if ref.ID == "7" {
			return &connection.Error{Kind: connection.ErrQuota}
		}
		return nil
	}
	cps := &guardedCheckpoints{t: t, v: v}
	if _, err := connection.Mirror(t.Context(), h, v, cps, nil); !errors.Is(err, connection.ErrQuota) {
		t.Errorf("err = %v, want ErrQuota", err)
	}
	if cp, err := cps.Load(t.Context(), "bob"); cp != "6" || err != nil {
		t.Errorf("bob's checkpoint is %q (%v), want 6", cp, err)
	}
	v.fail = nil
	if _, err := connection.Mirror(t.Context(), h, v, cps, nil); err != nil {
		t.Error(err)
	}
	v.check(t, h)
}

func TestMirrorTwoProcesses(t *testing.T) {
	h, v := newHistory(), newMirrorVault()
	cps := &guardedCheckpoints{t: t, v: v}
	v.fail = func(ref connection.Ref) error { // the other process gets ahead in the middle of our sync
		if ref.Mailbox == "alice" && ref.ID == "1" {
			return cps.MemoryCheckpoints.Save(context.Background(), "alice", "", "other")
		}
		return nil
	}
	_, err := connection.Mirror(t.Context(), h, v, cps, nil)
	if !errors.Is(err, connection.ErrChanged) {
		t.Errorf("err = %v, want ErrChanged", err)
	}
	if cp, err := cps.Load(t.Context(), "alice"); cp != "other" || err != nil {
		t.Errorf("alice's checkpoint is %q (%v), want the other process's", cp, err)
	}
}

func TestMirrorRoundsUntilCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, v := newHistory(), newMirrorVault()
		h.list = &connection.Error{Kind: connection.ErrNetwork}
		ctx, cancel := context.WithCancel(t.Context())
		rounds := 0
		_, err := connection.Mirror(ctx, h, v, &guardedCheckpoints{t: t, v: v}, &connection.MirrorOptions{
			Interval: 1, OnError: func(mailbox string, _ error) {
				if rounds++; mailbox != "" || rounds == 5 {
					cancel()
				}
			},
		})
		if !errors.Is(err, context.Canceled) || rounds != 5 {
			t.Errorf("err = %v after %d rounds, want context.Canceled after 5: a listing that fails must not end Mirror", err, rounds)
		}
		v.check(t, h)
	})
}

func TestMirrorIdleInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, v := newHistory(), newMirrorVault()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		began := time.Now()
		var looks []time.Duration
		h.look = func(mailbox string) {
			if mailbox != "bob" {
				return
			}
			at := time.Since(began).Round(time.Minute)
			if looks = append(looks, at); at == 23*time.Minute {
				h.changes["bob"] = append(h.changes["bob"], "new")
			}
			if at > 40*time.Minute {
				cancel()
			}
		}
		_, err := connection.Mirror(ctx, h, v, &guardedCheckpoints{t: t, v: v}, &connection.MirrorOptions{
			Workers: 1, Interval: time.Minute, IdleInterval: 8 * time.Minute,
		})
		var minutes []int
		for _, at := range looks {
			minutes = append(minutes, int(at.Minutes()))
		}
		// The first finds mail, and so does that in minute 23.
		if want := []int{0, 1, 3, 7, 15, 23, 24, 26, 30, 38, 46}; !errors.Is(err, context.Canceled) || !slices.Equal(minutes, want) {
			t.Errorf("looked in the minutes %v, error %v, want %v", minutes, err, want)
		}
	})
}

// A listingVault can tell what it has.
type listingVault struct{ *mirrorVault }

func (v listingVault) Refs(_ context.Context, mailbox string) iter.Seq2[connection.Ref, error] {
	return func(yield func(connection.Ref, error) bool) { yield(connection.Ref{Mailbox: mailbox, ID: "held"}, nil) }
}

func TestMirrorLendsWhatTheSinkKnows(t *testing.T) {
	for name, lists := range map[string]bool{"a sink that lists": true, "a sink that does not": false} {
		t.Run(name, func(t *testing.T) {
			h, v := newHistory(), newMirrorVault()
			var sink connection.ChangeSink = v
			if lists {
				sink = listingVault{v}
			}
			cps := &guardedCheckpoints{t: t, v: v}
			for range 2 { // with and without a checkpoint
				var held []connection.Ref
				h.options = func(o *connection.SyncOptions) {
					if has, err := o.Known(t.Context(), []connection.Ref{{Mailbox: o.Mailbox, ID: "never"}}); err != nil || len(has) != 1 || has[0] {
						t.Errorf("known %v, error %v", has, err)
					}
					if lists != (o.Refs != nil) {
						t.Errorf("Refs is lent: %t", o.Refs != nil)
					}
					if o.Refs != nil && o.Mailbox == "carol" {
						for ref, err := range o.Refs(t.Context()) {
							if err != nil {
								t.Error(err)
							}
							held = append(held, ref)
						}
					}
				}
				if _, err := connection.Mirror(t.Context(), h, sink, cps, &connection.MirrorOptions{Workers: 1}); err != nil {
					t.Fatal(err)
				}
				if lists && !slices.Equal(held, []connection.Ref{{Mailbox: "carol", ID: "held"}}) {
					t.Errorf("carol's are %v", held)
				}
			}
		})
	}
}

// A server that asks for an hour keeps one mailbox waiting and not the others, and that mailbox is read when the hour is over.
func TestMirrorLongWaitHoldsNobodyUp(t *testing.T) {
	for name, interval := range map[string]time.Duration{"once": 0, "again and again": time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, v := newHistory(), newMirrorVault()
				began := time.Now()
				h.fail = func(mailbox string, _ int) error {
					if mailbox == "alice" && time.Since(began) < time.Hour {
						return &connection.Error{Kind: connection.ErrThrottled, RetryAfter: time.Hour}
					}
					return nil
				}
				var last time.Duration // when others than alice were looked at first
				seen := make(map[string]time.Duration)
				h.look = func(mailbox string) {
					if _, ok := seen[mailbox]; !ok {
						last = time.Since(began)
					}
					seen[mailbox] = time.Since(began)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
				defer cancel()
				_, err := connection.Mirror(ctx, h, v, &guardedCheckpoints{t: t, v: v}, &connection.MirrorOptions{Workers: 1, Interval: interval})
				if interval == 0 && err != nil || interval > 0 && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got error %v", err)
				}
				if last > 0 {
					t.Errorf("another mailbox had to wait for %v", last)
				}
				v.check(t, h)
			})
		})
	}
}

// A message that the driver bears in mind holds no Checkpoint back, and the mailbox's error tells of it.
func TestMirrorSettledMessage(t *testing.T) {
	for kind, skipped := range map[connection.Kind]int64{connection.ErrCorrupt: 1, connection.ErrUnavailable: 0} {
		h, v := newHistory(), newMirrorVault()
		tries := 0
		h.fail = func(mailbox string, n int) error {
			if mailbox != "alice" || n != 1 {
				return nil
			}
			tries++
			return &connection.Error{Ref: connection.Ref{Mailbox: mailbox, ID: "1"}, Kind: kind, Settled: true}
		}
		cps := &guardedCheckpoints{t: t, v: v, except: map[connection.Ref]bool{{Mailbox: "alice", ID: "1"}: true}}
		stats, err := connection.Mirror(t.Context(), h, v, cps, nil)
		if !errors.Is(err, kind) || tries != 1 || stats.Skipped != skipped || stats.Failed > 0 {
			t.Errorf("%v: error %v after %d tries, %+v", kind, err, tries, stats)
		}
		if cp, err := cps.Load(t.Context(), "alice"); cp == "" || err != nil {
			t.Errorf("%v: no checkpoint was saved: %v", kind, err)
		}
	}
}

// oneBox is a mailbox that tells the same changes in each Sync.
type oneBox []*connection.Change

func (oneBox) Mailboxes(context.Context, *connection.MailboxOptions) iter.Seq2[*connection.Mailbox, error] {
	return func(yield func(*connection.Mailbox, error) bool) { yield(&connection.Mailbox{Name: "alice"}, nil) }
}

func (b oneBox) Sync(context.Context, connection.Checkpoint, *connection.SyncOptions) iter.Seq2[*connection.Change, error] {
	return func(yield func(*connection.Change, error) bool) {
		for _, c := range b {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// A body that breaks with an error that is Settled holds no Checkpoint back either, and is forgotten if the message comes
// again in the same Sync.
func TestMirrorSettledBody(t *testing.T) {
	cut := &connection.Error{Kind: connection.ErrNetwork, Settled: true}
	added := func(body io.Reader) *connection.Change {
		ref := connection.Ref{Mailbox: "alice", ID: "1"}
		return &connection.Change{Op: connection.Added, Ref: ref, Message: &connection.Message{Ref: ref, Body: body}}
	}
	for name, again := range map[string]io.Reader{"never": iotest.ErrReader(cut), "recovered": strings.NewReader("whole")} {
		v, cps := newMirrorVault(), &connection.MemoryCheckpoints{}
		told := 0
		src := oneBox{added(io.MultiReader(strings.NewReader("wh"), iotest.ErrReader(cut))), {Checkpoint: "1"}, added(again), {Checkpoint: "2"}}
		stats, err := connection.Mirror(t.Context(), src, v, cps, &connection.MirrorOptions{OnError: func(string, error) { told++ }})
		lost := name == "never"
		if errors.Is(err, connection.ErrNetwork) != lost || (err != nil) != lost || stats.Checkpoints != 2 || stats.Failed > 0 || told == 0 || (len(v.got) == 0) != lost {
			t.Errorf("%s: error %v, told %d times, %+v, got %v", name, err, told, stats, v.got)
		}
	}
}

// patient is a source of mailboxes whose Sync waits until all of them were listed.
type patient struct {
	names  []string
	listed chan struct{}
}

func (p patient) Mailboxes(context.Context, *connection.MailboxOptions) iter.Seq2[*connection.Mailbox, error] {
	return func(yield func(*connection.Mailbox, error) bool) {
		for _, name := range p.names {
			if !yield(&connection.Mailbox{Name: name}, nil) {
				return
			}
		}
		close(p.listed)
	}
}

func (p patient) Sync(ctx context.Context, _ connection.Checkpoint, opts *connection.SyncOptions) iter.Seq2[*connection.Change, error] {
	return func(yield func(*connection.Change, error) bool) {
		select {
		case <-p.listed:
			yield(&connection.Change{Checkpoint: connection.Checkpoint(opts.Mailbox)}, nil)
		case <-ctx.Done():
			yield(nil, ctx.Err())
		}
	}
}

// The list of mailboxes is read to its end at once: a server forgets where in it a Mirror was that needs days for the first
// mailboxes.
func TestMirrorListsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := patient{names: []string{"alice", "bob", "carol", "dave"}, listed: make(chan struct{})}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		stats, err := connection.Mirror(ctx, src, newMirrorVault(), &connection.MemoryCheckpoints{}, &connection.MirrorOptions{Workers: 2})
		if err != nil || stats.Mailboxes != 4 || stats.Checkpoints != 4 {
			t.Errorf("got %+v, %v", stats, err)
		}
	})
}
