package connection_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// TestDrainLosesNothingUnderRandomFaults lets everything fail at random: fetches, bodies, sinks, deletes (before and after
// they acted), and the context. Whatever happens, a message is at the source or whole in the vault, and what can be
// drained is drained.
func TestDrainLosesNothingUnderRandomFaults(t *testing.T) {
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			rnd := &lockedRand{r: rand.New(rand.NewPCG(seed, 1))}
			q, v := newQueue(1+rnd.n(120)), newVault()
			total := len(q.refs)
			faulty := time.Now().Add(time.Hour)
			fault := func(percent int, kinds ...connection.Kind) error {
				if time.Now().After(faulty) || rnd.n(100) >= percent {
					return nil
				}
				return &connection.Error{Kind: kinds[rnd.n(len(kinds))], RetryAfter: time.Duration(rnd.n(2)) * time.Second}
			}
			temporary := []connection.Kind{connection.ErrNetwork, connection.ErrTimeout, connection.ErrThrottled, connection.ErrUnavailable}
			q.fetchErr = func(int) error { return fault(5, temporary...) }
			q.bodyErr = func(connection.Ref) error { return fault(5, temporary...) }
			v.fail = func(connection.Ref, int) error { return fault(10, temporary...) }
			q.deleteErr = func(_ int, refs []connection.Ref) error {
				err := fault(20, append(temporary, connection.ErrUncertain)...)
				if err != nil && rnd.n(2) == 0 { // it acted, and the reply was lost
					q.refs = slices.DeleteFunc(q.refs, func(r connection.Ref) bool { return slices.Contains(refs, r) })
				}
				return err
			}
			q.deleting = func(_ context.Context, refs []connection.Ref) {
				v.mu.Lock()
				defer v.mu.Unlock()
				for _, ref := range refs {
					if v.got[ref.ID] != q.body[ref] {
						t.Errorf("seed %d: %s deleted, and the vault holds %q", seed, ref.ID, v.got[ref.ID])
					}
				}
			}
			opts := &connection.DrainOptions{Workers: rnd.n(5), Batch: 1 + rnd.n(20), Fetch: connection.FetchOptions{Follow: rnd.n(2) == 0}}
			for run := 0; len(q.left()) > 0; run++ {
				if run > 100 {
					t.Fatalf("seed %d: %v still at the source after %d runs", seed, q.left(), run)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rnd.n(7200))*time.Second)
				_, err := connection.Drain(ctx, q, v.store, opts)
				if opts.Fetch.Follow && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("seed %d: a Drain that follows ended by itself: %v", seed, err)
				}
				cancel()
				for _, ref := range refsOf(total) {
					if !slices.Contains(q.left(), ref.ID) && v.got[ref.ID] != q.body[ref] {
						t.Fatalf("seed %d: %s is lost", seed, ref.ID)
					}
				}
			}
			v.check(t, q, total)
		})
	}
}

func refsOf(n int) []connection.Ref {
	refs := make([]connection.Ref, n)
	for i := range refs {
		refs[i] = connection.Ref{Folder: "INBOX", ID: fmt.Sprintf("%04d", i)}
	}
	return refs
}

type lockedRand struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (l *lockedRand) n(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.IntN(n)
}
