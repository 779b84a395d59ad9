package connection_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A queue is a source whose every fault is scripted.
type queue struct {
	mu      sync.Mutex
	refs    []connection.Ref
	body    map[connection.Ref]string
	deletes [][]connection.Ref // as Delete was called
	arrived chan struct{}

	fetchErr  func(pass int) error                          // ends a Fetch after its first message
	bodyErr   func(connection.Ref) error                    // in the middle of a body
	itemErr   func(connection.Ref) error                    // instead of a message
	deleteErr func(call int, refs []connection.Ref) error   // before anything is deleted
	deleting  func(ctx context.Context, r []connection.Ref) // while Delete runs
	passes    int
}

func newQueue(n int) *queue {
	q := &queue{body: make(map[connection.Ref]string), arrived: make(chan struct{}, 1)}
	for i := range n {
		q.deliver(fmt.Sprintf("%04d", i))
	}
	return q
}

func (q *queue) deliver(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	ref := connection.Ref{Folder: "INBOX", ID: id}
	q.refs = append(q.refs, ref)
	q.body[ref] = "Subject: " + id + "\r\n\r\nbody of " + id + "\r\n"
	select {
	case q.arrived <- struct{}{}:
	default:
	}
}

func (q *queue) left() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	var ids []string
	for _, ref := range q.refs {
		ids = append(ids, ref.ID)
	}
	return ids
}

func (q *queue) Fetch(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
	return func(yield func(*connection.Message, error) bool) {
		q.mu.Lock()
		q.passes++
		pass := q.passes
		q.mu.Unlock()
		seen := make(map[connection.Ref]bool)
		for {
			q.mu.Lock()
			refs := slices.Clone(q.refs)
			q.mu.Unlock()
			for _, ref := range refs {
				if ctx.Err() != nil {
					yield(nil, ctx.Err())
					return
				}
				if seen[ref] || opts.Skip != nil && opts.Skip(ref) {
					continue
				}
				seen[ref] = true
				if q.itemErr != nil {
					if err := q.itemErr(ref); err != nil {
						if !yield(nil, err) {
							return
						}
						continue
					}
				}
				var body io.Reader = strings.NewReader(q.body[ref])
				if q.bodyErr != nil {
					if err := q.bodyErr(ref); err != nil {
						body = io.MultiReader(strings.NewReader("Subj"), iotest.ErrReader(err))
					}
				}
				if !yield(&connection.Message{Ref: ref, Folder: ref.Folder, Size: -1, Body: body}, nil) {
					return
				}
				if q.fetchErr != nil {
					if err := q.fetchErr(pass); err != nil {
						yield(nil, err)
						return
					}
				}
			}
			if !opts.Follow {
				return
			}
			select {
			case <-q.arrived:
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			}
		}
	}
}

func (q *queue) Delete(ctx context.Context, refs ...connection.Ref) error {
	if q.deleting != nil {
		q.deleting(ctx, refs)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.deletes = append(q.deletes, slices.Clone(refs))
	if q.deleteErr != nil {
		if err := q.deleteErr(len(q.deletes), refs); err != nil {
			var bad *connection.Error
			if errors.As(err, &bad) && !bad.Ref.IsZero() {
				q.refs = slices.DeleteFunc(q.refs, func(r connection.Ref) bool { return r != bad.Ref && slices.Contains(refs, r) })
			}
			return err
		}
	}
	q.refs = slices.DeleteFunc(q.refs, func(r connection.Ref) bool { return slices.Contains(refs, r) })
	return nil
}

// A vault is a sink that checks what it is given.
type vault struct {
	mu   sync.Mutex
	got  map[string]string
	seen map[string]int
	fail func(ref connection.Ref, try int) error
}

func newVault() *vault { return &vault{got: make(map[string]string), seen: make(map[string]int)} }

func (v *vault) store(_ context.Context, m *connection.Message) error {
	raw, err := io.ReadAll(m.Body)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen[m.Ref.ID]++
	if v.fail != nil {
		if err := v.fail(m.Ref, v.seen[m.Ref.ID]); err != nil {
			return err
		}
	}
	v.got[m.Ref.ID] = string(raw)
	return nil
}

func (v *vault) check(t *testing.T, q *queue, want int) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.got) != want {
		t.Errorf("stored %d messages, want %d", len(v.got), want)
	}
	for id, raw := range v.got {
		if want := q.body[connection.Ref{Folder: "INBOX", ID: id}]; raw != want {
			t.Errorf("%s: stored %q, want %q", id, raw, want)
		}
	}
}

func TestDrainEmptiesTheSource(t *testing.T) {
	for _, workers := range []int{0, 1, 2, 16} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			q, v := newQueue(321), newVault()
			var last connection.DrainStats
			stats, err := connection.Drain(t.Context(), q, v.store, &connection.DrainOptions{
				Workers: workers, Batch: 50, Progress: func(s connection.DrainStats) { last = s },
			})
			if err != nil {
				t.Fatal(err)
			}
			v.check(t, q, 321)
			if left := q.left(); len(left) != 0 {
				t.Errorf("left at the source: %v", left)
			}
			var octets int64
			for _, raw := range q.body {
				octets += int64(len(raw))
			}
			want := connection.DrainStats{Fetched: 321, Stored: 321, Deleted: 321, Bytes: octets}
			if stats != want || last != want {
				t.Errorf("stats %+v, last progress %+v, want %+v", stats, last, want)
			}
			for _, refs := range q.deletes {
				if len(refs) > 50 {
					t.Errorf("one Delete of %d messages, want at most 50", len(refs))
				}
			}
		})
	}
}

func TestDrainDeletesOnlyWhatIsStored(t *testing.T) {
	q, v := newQueue(100), newVault()
	q.deleting = func(_ context.Context, refs []connection.Ref) {
		v.mu.Lock()
		defer v.mu.Unlock()
		for _, ref := range refs {
			if _, ok := v.got[ref.ID]; !ok {
				t.Errorf("%s deleted before it was stored", ref.ID)
			}
		}
	}
	bad := errors.New("cannot parse")
	v.fail = func(ref connection.Ref, _ int) error {
		if strings.HasSuffix(ref.ID, "7") {
			return bad
		}
		return nil
	}
	var told []string
	synctest.Test(t, func(t *testing.T) {
		stats, err := connection.Drain(t.Context(), q, v.store, &connection.DrainOptions{Workers: 4, Batch: 7, OnError: func(ref connection.Ref, err error) {
			if !errors.Is(err, bad) {
				t.Errorf("OnError(%v): %v", ref, err)
			}
			told = append(told, ref.ID)
		}})
		if !errors.Is(err, bad) || !strings.Contains(err.Error(), "10 messages were given up") {
			t.Errorf("err = %v, want one that counts the messages given up", err)
		}
		if stats.Poisoned != 10 || stats.Failed != 30 || stats.Deleted != 90 {
			t.Errorf("stats %+v, want 10 poisoned after 30 failed tries, and 90 deleted", stats)
		}
	})
	if len(told) != 30 {
		t.Errorf("OnError was told of %d tries, want 30", len(told))
	}
	left := q.left()
	if len(left) != 10 || slices.ContainsFunc(left, func(id string) bool { return !strings.HasSuffix(id, "7") }) {
		t.Errorf("left at the source: %v, want the ten that end in 7", left)
	}
	v.check(t, q, 90)
}

func TestDrainDoesNotBelieveASinkThatOverlooksABrokenBody(t *testing.T) {
	for _, workers := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(5)
			cut := &connection.Error{Kind: connection.ErrCorrupt, Ref: connection.Ref{Folder: "INBOX", ID: "0002"}}
			q.bodyErr = func(ref connection.Ref) error {
				if ref.ID == "0002" {
					return cut
				}
				return nil
			}
			careless := func(_ context.Context, m *connection.Message) error {
				_, _ = io.ReadAll(m.Body)
				return nil
			}
			_, err := connection.Drain(t.Context(), q, careless, &connection.DrainOptions{Workers: workers})
			if !errors.Is(err, connection.ErrCorrupt) {
				t.Errorf("workers %d: err = %v, want ErrCorrupt", workers, err)
			}
			if left := q.left(); !slices.Equal(left, []string{"0002"}) {
				t.Errorf("workers %d: left %v, want 0002 alone", workers, left)
			}
		})
	}
}

func TestDrainTellsOfAFolderThatCannotBeRead(t *testing.T) {
	for _, kind := range []connection.Kind{connection.ErrNotFound, connection.ErrPermission, connection.ErrNetwork} {
		synctest.Test(t, func(t *testing.T) {
			q, v := newQueue(3), newVault()
			src := &twoFolders{q, &connection.Error{Ref: connection.Ref{Folder: "Sent"}, Kind: kind}}
			stats, err := connection.Drain(t.Context(), src, v.store, nil)
			if !errors.Is(err, kind) || stats.Deleted != 3 || stats.Poisoned != 0 {
				t.Errorf("%v: stats %+v, err %v; want the other folder drained, and the error", kind, stats, err)
			}
		})
	}
}

// twoFolders is a source whose first folder cannot be read.
type twoFolders struct {
	*queue
	err error
}

func (f *twoFolders) Fetch(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
	return func(yield func(*connection.Message, error) bool) {
		if !yield(nil, f.err) {
			return
		}
		f.queue.Fetch(ctx, opts)(yield)
	}
}

func TestDrainKeepsAMessageWithoutABody(t *testing.T) {
	for _, workers := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			ref := connection.Ref{ID: "1"}
			src := fetchFunc(func(_ context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
				return func(yield func(*connection.Message, error) bool) {
					if !opts.Skip(ref) {
						yield(&connection.Message{Ref: ref}, nil)
					}
				}
			})
			stats, err := connection.Drain(t.Context(), src, newVault().store, &connection.DrainOptions{Workers: workers})
			if !errors.Is(err, connection.ErrProtocol) || stats.Poisoned != 1 || stats.Deleted != 0 {
				t.Errorf("workers %d: stats %+v, err %v; want it given up as ErrProtocol", workers, stats, err)
			}
		})
	}
}

func TestDrainTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, v := newQueue(20), newVault()
		v.fail = func(ref connection.Ref, try int) error {
			if ref.ID == "0003" && try <= 2 {
				return errors.New("not yet")
			}
			return nil
		}
		q.itemErr = func() func(connection.Ref) error {
			tries := 0
			return func(ref connection.Ref) error {
				if ref.ID == "0005" {
					if tries++; tries <= 2 {
						return &connection.Error{Ref: ref, Kind: connection.ErrProtocol}
					}
				}
				return nil
			}
		}()
		stats, err := connection.Drain(t.Context(), q, v.store, nil)
		if err != nil || stats.Deleted != 20 || stats.Failed != 4 {
			t.Errorf("stats %+v, err %v; want all 20 deleted after 4 failed tries", stats, err)
		}
		v.check(t, q, 20)
	})
}

func TestDrainReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, v := newQueue(40), newVault()
		q.fetchErr = func(pass int) error {
			if pass <= 10 {
				return &connection.Error{Kind: connection.ErrNetwork, Err: io.ErrUnexpectedEOF}
			}
			return nil
		}
		var retries int
		stats, err := connection.Drain(t.Context(), q, v.store, &connection.DrainOptions{Observe: func(ev connection.Event) {
			if ev.Kind == connection.EventRetry {
				retries++
			}
		}})
		if err != nil || stats.Deleted != 40 || retries != 10 {
			t.Errorf("stats %+v, %d retries, err %v; want 40 deleted after 10 retries", stats, retries, err)
		}
		v.check(t, q, 40)
		for id, n := range v.seen {
			if n != 1 {
				t.Errorf("%s was stored %d times, want once", id, n)
			}
		}
	})
}

func TestDrainGivesUpWithoutProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := &connection.Error{Kind: connection.ErrNetwork, Err: errors.New("refused")}
		src := fetchFunc(func(context.Context, *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
			return func(yield func(*connection.Message, error) bool) { yield(nil, down) }
		})
		start := time.Now()
		_, err := connection.Drain(t.Context(), src, newVault().store, &connection.DrainOptions{MaxAttempts: 4})
		if !errors.Is(err, down) {
			t.Errorf("err = %v, want %v", err, down)
		}
		if waited := time.Since(start); waited < 3*time.Second || waited > 8*time.Second {
			t.Errorf("gave up after %v, want three growing waits", waited)
		}
	})
}

func TestDrainStopsAtOnce(t *testing.T) {
	t.Run("source", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			src := fetchFunc(func(context.Context, *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
				tries++
				return func(yield func(*connection.Message, error) bool) {
					yield(nil, &connection.Error{Kind: connection.ErrAuth})
				}
			})
			_, err := connection.Drain(t.Context(), src, newVault().store, &connection.DrainOptions{Fetch: connection.FetchOptions{Follow: true}})
			if !errors.Is(err, connection.ErrAuth) || tries != 1 {
				t.Errorf("err = %v after %d tries, want ErrAuth after one: a refused login locks accounts", err, tries)
			}
		})
	})
	for _, kind := range []connection.Kind{connection.ErrQuota, connection.ErrPermission, connection.ErrConfig} {
		t.Run(kind.Error(), func(t *testing.T) {
			for _, workers := range []int{1, 8} {
				q, v := newQueue(200), newVault()
				v.fail = func(ref connection.Ref, _ int) error {
					if ref.ID >= "0100" {
						return &connection.Error{Kind: kind}
					}
					return nil
				}
				_, err := connection.Drain(t.Context(), q, v.store, &connection.DrainOptions{Workers: workers, Fetch: connection.FetchOptions{Follow: true}})
				if !errors.Is(err, kind) {
					t.Errorf("workers %d: err = %v, want %v", workers, err, kind)
				}
				if left := q.left(); len(left) != 200-len(v.got) {
					t.Errorf("workers %d: %d stored and %d left of 200", workers, len(v.got), len(left))
				}
			}
		})
	}
	t.Run("delete", func(t *testing.T) {
		q, v := newQueue(200), newVault()
		q.deleteErr = func(int, []connection.Ref) error {
			return &connection.Error{Kind: connection.ErrConfig, Err: errors.New("delete_mode: none")}
		}
		_, err := connection.Drain(t.Context(), q, v.store, &connection.DrainOptions{Fetch: connection.FetchOptions{Follow: true}})
		if !errors.Is(err, connection.ErrConfig) || !strings.Contains(err.Error(), "delete_mode") {
			t.Errorf("err = %v, want the ErrConfig of Delete", err)
		}
	})
	t.Run("a sink that fails on everything", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(5000)
			_, err := connection.Drain(t.Context(), q, func(context.Context, *connection.Message) error { return errors.New("broken") }, nil)
			if err == nil || !strings.Contains(err.Error(), "100 times in a row") {
				t.Errorf("err = %v, want one that says that nothing works", err)
			}
			if len(q.left()) != 5000 {
				t.Error("messages were deleted")
			}
		})
	})
}

func TestDrainBearsAnOutageOfTheSink(t *testing.T) {
	for _, workers := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			q, v := newQueue(50), newVault()
			back := time.Now().Add(3 * time.Hour)
			v.fail = func(connection.Ref, int) error {
				if time.Now().Before(back) {
					return &connection.Error{Kind: connection.ErrUnavailable}
				}
				return nil
			}
			ctx, cancel := context.WithCancel(t.Context())
			stats, err := connection.Drain(ctx, q, v.store, &connection.DrainOptions{
				Workers: workers, Fetch: connection.FetchOptions{Follow: true},
				Progress: func(s connection.DrainStats) {
					if s.Deleted == 50 {
						cancel()
					}
				},
			})
			if !errors.Is(err, context.Canceled) || stats.Deleted != 50 || stats.Poisoned != 0 {
				t.Errorf("workers %d: stats %+v, err %v; want all deleted after the outage, none poisoned", workers, stats, err)
			}
			v.check(t, q, 50)
		})
	}
}

func TestDrainFollows(t *testing.T) {
	for _, workers := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			q, v := newQueue(3), newVault()
			v.fail = func(ref connection.Ref, try int) error {
				if ref.ID == "0001" && try == 1 {
					return errors.New("once")
				}
				return nil
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() {
				_, err := connection.Drain(ctx, q, v.store, &connection.DrainOptions{Workers: workers, Fetch: connection.FetchOptions{Follow: true}})
				done <- err
			}()
			time.Sleep(time.Minute) // synctest's clock
			if left := q.left(); len(left) != 0 {
				t.Errorf("left after a minute: %v; the failed one must be tried again without new mail", left)
			}
			q.deliver("late")
			time.Sleep(time.Minute)
			if left := q.left(); len(left) != 0 {
				t.Errorf("left after a delivery: %v", left)
			}
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("err = %v, want context.Canceled", err)
			}
			v.check(t, q, 4)
		})
	}
}

func TestDrainFlushesOnCancel(t *testing.T) {
	for _, workers := range []int{1, 4} {
		q, v := newQueue(1000), newVault()
		ctx, cancel := context.WithCancel(t.Context())
		stats, err := connection.Drain(ctx, q, v.store, &connection.DrainOptions{Workers: workers, Batch: 500, Progress: func(s connection.DrainStats) {
			if s.Stored == 100 {
				cancel()
			}
		}})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("err = %v, want context.Canceled", err)
		}
		if stats.Deleted != stats.Stored || int(stats.Stored) != len(v.got) || stats.Stored > 120 {
			t.Errorf("workers %d: stats %+v with %d in the vault: want everything stored deleted, and nothing more begun", workers, stats, len(v.got))
		}
		if len(q.left()) != 1000-len(v.got) {
			t.Errorf("workers %d: %d left", workers, len(q.left()))
		}
	}
}

func TestDrainCancelDoesNotWaitForAHungDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, v := newQueue(10), newVault()
		q.deleting = func(ctx context.Context, _ []connection.Ref) { <-ctx.Done() }
		q.deleteErr = func(int, []connection.Ref) error { return context.Canceled }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		stats, err := connection.Drain(ctx, q, v.store, &connection.DrainOptions{Fetch: connection.FetchOptions{Follow: true}})
		if !errors.Is(err, context.DeadlineExceeded) || stats.Deleted != 0 {
			t.Errorf("stats %+v, err %v; want the deadline's error", stats, err)
		}
		if took := time.Since(start); took > time.Minute+15*time.Second {
			t.Errorf("took %v, want the minute and at most 10 s more", took)
		}
	})
}

func TestDrainKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, v := newQueue(10), newVault()
		q.fetchErr = func(pass int) error {
			if pass < 5 {
				return &connection.Error{Kind: connection.ErrNetwork}
			}
			return nil
		}
		stats, err := connection.Drain(t.Context(), q, v.store, &connection.DrainOptions{Keep: true, Workers: 2})
		if err != nil || stats.Stored != 10 || stats.Deleted != 0 || len(q.deletes) != 0 {
			t.Errorf("stats %+v, err %v, %d deletes; want 10 stored once each and no Delete", stats, err, len(q.deletes))
		}
		if len(q.left()) != 10 {
			t.Errorf("%d left, want 10", len(q.left()))
		}
	})
}

func TestDrainDeleteFailures(t *testing.T) {
	refErr := func(ref connection.Ref, kind connection.Kind) error { return &connection.Error{Ref: ref, Kind: kind} }
	for _, tt := range []struct {
		name       string
		err        func(call int, refs []connection.Ref) error
		wantErr    error
		left, seen int
	}{
		{name: "temporary", err: func(call int, _ []connection.Ref) error {
			if call <= 2 {
				return &connection.Error{Kind: connection.ErrNetwork}
			}
			return nil
		}, seen: 1},
		{name: "uncertain", err: func(call int, _ []connection.Ref) error {
			if call == 1 {
				return &connection.Error{Kind: connection.ErrUncertain}
			}
			return nil
		}, seen: 1},
		{name: "one is locked", err: func(_ int, refs []connection.Ref) error {
			if slices.Contains(refs, connection.Ref{Folder: "INBOX", ID: "0003"}) {
				return errors.Join(refErr(connection.Ref{Folder: "INBOX", ID: "0003"}, connection.ErrLocked))
			}
			return nil
		}, wantErr: connection.ErrLocked, left: 1, seen: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, v := newQueue(10), newVault()
				q.deleteErr = tt.err
				_, err := connection.Drain(t.Context(), q, v.store, nil)
				if tt.wantErr == nil && err != nil || tt.wantErr != nil && !errors.Is(err, tt.wantErr) {
					t.Errorf("err = %v, want %v", err, tt.wantErr)
				}
				if left := q.left(); len(left) != tt.left {
					t.Errorf("left %v, want %d", left, tt.left)
				}
				for id, n := range v.seen {
					if n != tt.seen {
						t.Errorf("%s was stored %d times, want %d: a failed delete is no reason to fetch again", id, n, tt.seen)
					}
				}
			})
		})
	}
}

func TestDrainRunsAsManySinksAsAsked(t *testing.T) {
	q := newQueue(500)
	var mu sync.Mutex
	running, most := 0, 0
	gate := make(chan struct{})
	sink := func(_ context.Context, m *connection.Message) error {
		mu.Lock()
		running++
		most = max(most, running)
		if running == 8 {
			close(gate)
		}
		mu.Unlock()
		<-gate
		mu.Lock()
		running--
		mu.Unlock()
		if _, ok := m.Body.(io.Seeker); !ok {
			return errors.New("no seeker")
		}
		return nil
	}
	// The gate opens when eight sinks run: a smaller pool would hang here, and the counter shows a larger one.
	if _, err := connection.Drain(t.Context(), q, func(ctx context.Context, m *connection.Message) error {
		select {
		case <-gate:
			return nil
		default:
			return sink(ctx, m)
		}
	}, &connection.DrainOptions{Workers: 8}); err != nil {
		t.Fatal(err)
	}
	if most != 8 {
		t.Errorf("%d sinks ran at once, want 8", most)
	}
}

func TestSpool(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<12)
	for _, tt := range []struct {
		name string
		opts *connection.SpoolOptions
		raw  []byte
		size int64
	}{
		{"memory", nil, big, -1},
		{"file", &connection.SpoolOptions{Memory: 100}, big, -1},
		{"file only", &connection.SpoolOptions{Memory: -1}, big, 5},
		{"exactly full", &connection.SpoolOptions{Memory: int64(len(big))}, big, 1 << 50},
		{"empty", nil, nil, 0},
		{"empty file only", &connection.SpoolOptions{Memory: -1}, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.opts != nil {
				tt.opts.Dir = dir
			}
			s, err := connection.Spool(&connection.Message{Size: tt.size, Body: iotest.OneByteReader(bytes.NewReader(tt.raw))}, tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				got, err := io.ReadAll(s.Reader())
				if err != nil || !bytes.Equal(got, tt.raw) || s.Size != int64(len(tt.raw)) {
					t.Errorf("got %d octets, size %d, err %v; want %d", len(got), s.Size, err, len(tt.raw))
				}
			}
			if err := errors.Join(s.Close(), s.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("too large", func(t *testing.T) {
		for _, memory := range []int64{0, -1} {
			_, err := connection.Spool(&connection.Message{Body: bytes.NewReader(big)}, &connection.SpoolOptions{Max: 1000, Memory: memory})
			if !errors.Is(err, connection.ErrTooLarge) {
				t.Errorf("err = %v, want ErrTooLarge", err)
			}
		}
	})
	t.Run("broken body", func(t *testing.T) {
		cut := errors.New("cut")
		_, err := connection.Spool(&connection.Message{Body: io.MultiReader(bytes.NewReader(big), iotest.ErrReader(cut))}, &connection.SpoolOptions{Memory: 10})
		if !errors.Is(err, cut) {
			t.Errorf("err = %v, want %v", err, cut)
		}
	})
	t.Run("no folder", func(t *testing.T) {
		_, err := connection.Spool(&connection.Message{Body: bytes.NewReader(big)}, &connection.SpoolOptions{Memory: 10, Dir: t.TempDir() + "/missing"})
		if !errors.Is(err, connection.ErrNotFound) || !strings.Contains(err.Error(), "TMPDIR") {
			t.Errorf("err = %v, want ErrNotFound with a hint", err)
		}
	})
}

// fetchFunc is a source of which only Fetch matters.
type fetchFunc func(context.Context, *connection.FetchOptions) iter.Seq2[*connection.Message, error]

func (f fetchFunc) Fetch(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
	return f(ctx, opts)
}

func (fetchFunc) Delete(context.Context, ...connection.Ref) error { return nil }
