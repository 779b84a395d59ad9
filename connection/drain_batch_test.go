package connection_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
)

func TestDrainDeletesMoreAtOnceWhereDeleteIsSlow(t *testing.T) {
	const n = 3000
	for _, test := range []struct {
		name                 string
		batch, most, mayTake int // refs: as set, of the largest call, and calls
		slow                 time.Duration
	}{
		{name: "not told", most: 500, mayTake: n/500 + 3, slow: 20 * time.Millisecond},
		{name: "told", batch: 50, most: 50, mayTake: n / 50, slow: 20 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, v := newQueue(n), newVault()
				q.deleting = func(ctx context.Context, _ []connection.Ref) {
					select {
					case <-time.After(test.slow):
					case <-ctx.Done():
					}
				}
				if _, err := connection.Drain(t.Context(), q, v.store, &connection.DrainOptions{Batch: test.batch}); err != nil {
					t.Fatal(err)
				}
				v.check(t, q, n)
				most := 0
				for _, refs := range q.deletes {
					most = max(most, len(refs))
				}
				if most != test.most || len(q.deletes) > test.mayTake {
					t.Errorf("got %d calls of Delete, the largest of %d refs; want at most %d, and %d", len(q.deletes), most, test.mayTake, test.most)
				}
			})
		})
	}
}
