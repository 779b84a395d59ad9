package connection

import (
	"context"
	"errors"
	"sync"
	"time"
)

// retryLook is how often a due retry looks whether the workers are idle.
const retryLook = 50 * time.Millisecond

// errRetryDue ends a pass so that the next one tries failed messages again.
var errRetryDue = errors.New("a failed message is due to be tried again")

// A pass is one Fetch, from its beginning to its end.
type pass struct {
	*drain
	ctx    context.Context // ends the Fetch and the sinks
	cancel context.CancelCauseFunc
	queue  chan *Spooled // to the workers; nil with one worker
	slots  chan struct{} // bounds what is spooled

	mu    sync.Mutex
	busy  bool        // the loop's body runs: the iterator must not be cancelled now
	due   bool        // a retry is due as soon as the loop's body is done
	timer *time.Timer // fires when the next retry is due
}

func (d *drain) pass(ctx context.Context) error {
	p := &pass{drain: d}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	defer p.cancel(nil)
	var workers sync.WaitGroup
	if d.opts.Workers > 1 {
		p.queue = make(chan *Spooled, d.opts.Workers)
		p.slots = make(chan struct{}, 2*d.opts.Workers+1)
		for range d.opts.Workers {
			workers.Go(p.work)
		}
	}
	defer p.stopTimer()
	p.armRetry()
	err := p.fetch()
	if p.queue != nil {
		close(p.queue)
		workers.Wait()
	}
	// A cause of our own tells more than the driver's "canceled".
	if cause := context.Cause(p.ctx); cause != nil && ctx.Err() == nil {
		return cause
	}
	return err
}

func (p *pass) fetch() error {
	fetch := p.opts.Fetch
	fetch.Skip = func(ref Ref) bool {
		return p.opts.Fetch.Skip != nil && p.opts.Fetch.Skip(ref) || p.passOver(ref)
	}
	var folder error
	for m, err := range p.src.Fetch(p.ctx, &fetch) {
		p.setBusy(true)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Ref.IsZero() {
				return err
			}
			switch {
			case e.Ref.ID == "": // a folder or a mailbox: others may follow, but this must not pass in silence
				if folder == nil {
					folder = err
				}
				p.report(e.Ref, err)
			case e.Kind != ErrNotFound: // else it vanished: somebody else took it
				p.failed(e.Ref, err, true)
			}
		} else if !p.passOver(m.Ref) {
			if err := p.take(m); err != nil {
				return err
			}
		}
		if p.ctx.Err() != nil {
			return context.Cause(p.ctx)
		}
		if p.setBusy(false) {
			return errRetryDue
		}
	}
	return folder
}

// take hands m to the sink, or to a worker that will.
func (p *pass) take(m *Message) error {
	p.count(func(s *DrainStats) { s.Fetched++ })
	if m.Body == nil {
		p.failed(m.Ref, &Error{Op: "drain", Ref: m.Ref, Kind: ErrProtocol, Err: errors.New("the source yielded a message without a body")}, true)
		return nil
	}
	body := &watchedBody{r: m.Body}
	m.Body = body
	if p.queue == nil {
		err := p.sink(p.ctx, m)
		p.finish(m.Ref, err, body.n, body.err)
		return nil
	}
	select {
	case p.slots <- struct{}{}:
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
	s, err := Spool(m, &p.opts.Spool)
	if err != nil {
		<-p.slots
		if body.err == nil && KindOf(err) != ErrTooLarge {
			return err // the spool's own disk: nothing can be read before that is mended
		}
		p.failed(m.Ref, err, true)
		return nil
	}
	select {
	case p.queue <- s:
		return nil
	case <-p.ctx.Done():
		<-p.slots
		return errors.Join(context.Cause(p.ctx), s.Close())
	}
}

// work runs sinks until the queue is closed.
func (p *pass) work() {
	for s := range p.queue {
		if p.ctx.Err() == nil {
			m := s.Message
			body := &watchedSeeker{ReadSeeker: s.Reader()}
			m.Body = body
			err := p.sink(p.ctx, &m)
			p.finish(m.Ref, err, s.Size, body.err)
		}
		if err := s.Close(); err != nil {
			p.report(s.Ref, err)
		}
		<-p.slots
	}
}

// finish draws the consequence of a sink's verdict. octets of the body were read; broken is how reading it failed.
func (p *pass) finish(ref Ref, err error, octets int64, broken error) {
	if broken != nil {
		// Whatever the sink made of it, it did not see the whole message.
		p.failed(ref, broken, true)
		return
	}
	if err != nil {
		p.failed(ref, err, false)
		return
	}
	p.stored(ref)
	p.count(func(s *DrainStats) {
		s.Stored++
		s.Bytes += octets
	})
	p.emit(Event{Kind: EventStored, Ref: ref, Count: 1, Bytes: octets})
	if p.acks == nil {
		return
	}
	p.acks.add(p.ctx, ref)
}

// setBusy notes whether the loop's body runs, and reports whether a retry became due while it did.
func (p *pass) setBusy(busy bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = busy
	return p.due
}

// armRetry sees to it that a Fetch that follows is interrupted when a failed message is due again.
func (p *pass) armRetry() {
	if !p.opts.Fetch.Follow {
		return
	}
	next, ok := p.nextRetry()
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
	p.timer = time.AfterFunc(time.Until(next), p.retryDue)
}

// retryDue ends the pass at once if that disturbs no sink; else the loop's next step does, or the next look from here.
func (p *pass) retryDue() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.due = true
	if p.busy {
		return
	}
	if len(p.slots) == 0 {
		p.cancel(errRetryDue)
		return
	}
	p.timer.Reset(retryLook)
}

func (p *pass) stopTimer() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
}
