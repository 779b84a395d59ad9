package objecttest

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
)

func checkCloseInTheMiddle(x *exam) {
	s := x.store()
	x.put(s, "read", octets(1, medium))
	const workers = 64
	ended := make(chan error, workers)
	var puts atomic.Int64
	stored := make([]atomic.Int64, workers) // how many of each worker's puts returned nil
	enough := make(chan struct{})
	ctx, cancel := context.WithCancel(x.ctx)
	defer cancel()
	for i := range workers {
		go func() {
			defer x.recoverPanic()
			for n := 0; ; n++ {
				var err error
				if i%2 == 0 {
					_, err = s.Put(ctx, fmt.Sprintf("w/%02d/%d", i, n), bytes.NewReader(octets(uint64(i), medium)), nil)
					if err == nil {
						stored[i].Store(int64(n) + 1)
						if puts.Add(1) == workers {
							close(enough)
						}
					}
				} else {
					err = verbs("read")[1].do(ctx, s)
				}
				if err != nil {
					ended <- err
					return
				}
			}
		}()
	}
	select {
	case <-enough:
	case err := <-ended:
		x.stop("one of %d workers failed: %v", workers, err)
	case <-x.ctx.Done():
	}
	x.within(x.h.soon()+x.patience(), "Close", func() { x.ok("close", s.Close()) })
	closed := time.Now()
	for range workers {
		x.within(x.h.soon(), "a verb under way when Close was called", func() {
			err := <-ended
			x.note("verb", err)
			if k := connection.KindOf(err); k != connection.ErrClosed && k != connection.ErrUncertain {
				x.fail("a verb under way when Close was called: got error %v, want %v", err, connection.ErrClosed)
			}
		})
	}
	if d := time.Since(closed); d > x.h.soon() {
		x.fail("verbs under way ended %s after Close", d)
	}
	again := x.store()
	x.each(workers/2, func(half int) {
		i := 2 * half
		for n := range stored[i].Load() + 1 {
			got, _, err := x.tryGet(again, fmt.Sprintf("w/%02d/%d", i, n), nil)
			whole := err == nil && bytes.Equal(got, octets(uint64(i), medium))
			if !whole && (n < stored[i].Load() || connection.KindOf(err) != connection.ErrNotFound) {
				x.fail("after Close put %d of worker %d is %s, error %v", n, i, differ(got, octets(uint64(i), medium)), err)
			}
		}
	})
}
