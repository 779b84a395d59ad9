package connection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// An acker deletes at the source what is stored, in batches, from one goroutine of its own.
type acker struct {
	d       *drain
	ctx     context.Context // of Delete: outlives the caller's by flushLimit
	cancel  context.CancelFunc
	release func() bool
	flushC  chan chan error
	stopC   chan struct{}
	done    chan struct{}
	wake    chan struct{} // a batch is full, or the first ref came

	mu       sync.Mutex
	held     map[Ref]int // refs whose deletion is outstanding, with the tries that failed
	queue    []Ref       // the same in order
	stuckRow int         // refs given up since one was last deleted
	changed  chan struct{}
}

// queueFactor bounds what is stored and not yet deleted, in batches.
const queueFactor = 20

func newAcker(ctx context.Context, d *drain) *acker {
	a := &acker{
		d: d, held: make(map[Ref]int), changed: make(chan struct{}), flushC: make(chan chan error),
		stopC: make(chan struct{}), done: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	a.ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	a.release = context.AfterFunc(ctx, func() {
		if sleep(a.ctx, flushLimit) == nil {
			a.cancel()
		}
	})
	go a.loop()
	return a
}

// add queues ref. It waits while too much is outstanding, or until ctx ends: the ref is queued in any case, since it is
// stored.
func (a *acker) add(ctx context.Context, ref Ref) {
	for {
		a.mu.Lock()
		if len(a.queue) < queueFactor*a.d.opts.Batch || ctx.Err() != nil {
			if _, ok := a.held[ref]; !ok {
				a.held[ref] = 0
				a.queue = append(a.queue, ref)
			}
			notify := len(a.queue) == 1 || len(a.queue) >= a.d.opts.Batch
			a.mu.Unlock()
			if notify {
				select {
				case a.wake <- struct{}{}:
				default:
				}
			}
			return
		}
		changed := a.changed
		a.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

func (a *acker) holds(ref Ref) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.held[ref]
	return ok
}

// flush deletes all that is outstanding, and returns what could not be deleted.
func (a *acker) flush(ctx context.Context) error {
	reply := make(chan error, 1)
	select {
	case a.flushC <- reply:
	case <-ctx.Done():
		return nil
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return nil
	}
}

// close stops the goroutine and deletes what is outstanding, within flushLimit of the end of Drain's ctx.
func (a *acker) close() error {
	defer a.cancel()
	defer a.release()
	close(a.stopC)
	<-a.done
	err := a.deleteAll(1)
	a.mu.Lock()
	left := len(a.queue)
	a.mu.Unlock()
	if left == 0 {
		return nil
	}
	return &Error{Op: "drain", Kind: KindOf(err), Err: fmt.Errorf("%d stored messages could not be deleted at the source and will come again: %w", left, err)}
}

func (a *acker) loop() {
	defer close(a.done)
	timer := time.NewTimer(flushEvery)
	defer timer.Stop()
	failures := 0
	for {
		atLeast := 1
		var reply chan error
		select {
		case <-a.stopC:
			return
		case <-a.wake:
			if failures > 0 {
				continue // the timer says when the next try is due
			}
			atLeast = a.d.opts.Batch
		case <-timer.C:
		case reply = <-a.flushC:
		}
		err := a.deleteAll(atLeast)
		next := flushEvery
		if err != nil {
			failures++
			next = backoffDelay(a.d.opts.RetryDelay, failures, RetryAfter(err))
			a.d.report(Ref{}, err)
			a.d.emit(Event{Kind: EventRetry, Err: err, Detail: err.Error(), Until: time.Now().Add(next)})
		} else {
			failures = 0
		}
		if atLeast == 1 || err != nil {
			timer.Reset(next)
		}
		if reply != nil {
			reply <- err
		}
	}
}

// deleteAll deletes in batches while at least so many refs are outstanding. It stops at the first batch that fails in a
// temporary way and returns its error.
func (a *acker) deleteAll(atLeast int) error {
	for {
		a.mu.Lock()
		if len(a.queue) < atLeast || len(a.queue) == 0 {
			a.mu.Unlock()
			return nil
		}
		batch := slices.Clone(a.queue[:min(len(a.queue), a.d.mostBatch)])
		a.mu.Unlock()
		if err := a.settle(batch, a.d.src.Delete(a.ctx, batch...)); err != nil {
			return err
		}
	}
}

// settle draws the consequence of a Delete, and returns an error if the batch should be tried again.
func (a *acker) settle(batch []Ref, err error) error {
	perRef := refErrors(batch, err)
	var again, fatal error
	var stuck []Ref
	a.mu.Lock()
	gone := len(batch) - len(perRef)
	if gone > 0 {
		a.stuckRow = 0
	}
	for _, ref := range batch {
		refErr := perRef[ref]
		limit := a.d.opts.MaxAttempts
		switch KindOf(refErr) {
		case ErrStale, ErrNotFound:
			refErr = nil // not there under this Ref any more; if it is under another, it will be yielded again
		case ErrConfig, ErrUnsupported, ErrAuth, ErrTLS:
			fatal = refErr
		case ErrUncertain, ErrCanceled, ErrClosed, ErrThrottled, ErrNetwork, ErrTimeout, ErrUnavailable:
			limit *= temporaryFactor
			if gone == 0 {
				again = err // an outage, not a matter of this message
				continue
			}
		}
		if refErr == nil {
			delete(a.held, ref)
			continue
		}
		if a.held[ref]++; a.held[ref] < limit {
			again = err
			continue
		}
		stuck = append(stuck, ref)
		delete(a.held, ref)
	}
	if a.stuckRow += len(stuck); a.stuckRow >= maxInARow {
		fatal = err
	}
	a.queue = slices.DeleteFunc(a.queue, func(ref Ref) bool { _, ok := a.held[ref]; return !ok })
	close(a.changed)
	a.changed = make(chan struct{})
	a.mu.Unlock()

	if gone > 0 {
		a.d.count(func(s *DrainStats) { s.Deleted += int64(gone) })
		a.d.emit(Event{Kind: EventDeleted, Count: int64(gone)})
	}
	for _, ref := range stuck {
		a.d.giveUp(ref, perRef[ref])
	}
	if fatal != nil {
		a.d.abort(fmt.Errorf("stored, but not deleted at the source: %w", fatal))
		return fatal
	}
	return again
}

// refErrors says for each of refs what err says of it. An error that names no Ref of them concerns all.
func refErrors(refs []Ref, err error) map[Ref]error {
	if err == nil {
		return nil
	}
	all := make(map[Ref]error, len(refs))
	for part := range leaves(err) {
		var e *Error
		if !errors.As(part, &e) || !slices.Contains(refs, e.Ref) {
			clear(all)
			for _, ref := range refs {
				all[ref] = err
			}
			return all
		}
		all[e.Ref] = e
	}
	return all
}
