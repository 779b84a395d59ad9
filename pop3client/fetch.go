package pop3client

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/backoff"
)

// Fetch implements [connection.Fetcher]. Messages come in the order of the server's listing. While the caller works on
// one, the next are read ahead: small ones into at most a few MiB of memory, larger ones into temporary files. A message
// is yielded when it was read whole, so its Body has no error of the network's.
//
// A session that dies is replaced, and what was not read whole is asked for again; after a few tries without any
// progress the error is final. With Follow, only an error that is not temporary is. When all that a session lists is
// read, further sessions are opened until one brings nothing new, since some servers list only a part; but not where the
// server's LOGIN-DELAY is longer than polling_idle_max.
//
// Messages that Delete has accepted are not fetched again. FetchOptions.Unseen changes nothing: POP3 keeps no flags, so
// all messages are unseen. POP3 tells no arrival times either: with FetchOptions.Since a message is passed over if the
// first Received field of its header is older, and yielded where there is none.
func (c *Conn) Fetch(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
	var o connection.FetchOptions
	if opts != nil {
		o = *opts
	}
	var used atomic.Bool
	return func(yield func(*connection.Message, error) bool) {
		if used.Swap(true) {
			yield(nil, c.problem("fetch", connection.Ref{}, connection.ErrInvalid, "this iterator was used before; call Fetch again"))
			return
		}
		f, err := c.newFetch(ctx, "fetch", o)
		if err != nil {
			yield(nil, err)
			return
		}
		f.each(ctx, func(it item) bool { return yield(it.msg, it.err) })
	}
}

// each hands over what run brings, one item at a time, and last the error that ended it, until yield wants no more.
func (f *fetch) each(ctx context.Context, yield func(item) bool) {
	go f.run()
	stop := sync.OnceFunc(f.stop)
	defer stop()
	for {
		it, ok := f.next()
		if !ok {
			stop()
			if f.err == nil && ctx.Err() != nil { // at the farewell
				f.err = f.conn.ended(ctx, f.op, connection.Ref{})
			}
			if f.err != nil {
				yield(item{err: f.err})
			}
			return
		}
		if !yield(it) {
			return
		}
		it.loan.settle()
		it.end()
	}
}

// A fetch is one running Fetch or Sync: a goroutine that reads (run and what it calls), and the caller's, which takes the items
// (next and stop).
type fetch struct {
	conn   *Conn
	op     string   // the verb, for errors
	sync   *syncing // nil for a Fetch
	opts   connection.FetchOptions
	outer  context.Context // the caller's
	ctx    context.Context
	cancel func()
	leave  func()

	queue *queue
	asks  chan question
	done  chan struct{} // closed when run is over; err may be read then
	err   error
	last  item // of the caller: what it was given last

	resting bool // under conn.mu: it waits for mail

	seen     map[string]struct{} // keys of entries that were dealt with
	doubts   map[string]fact     // of those that were read and doubtful
	reuse    bool                // the snapshot of a session that is there already will do
	begun    bool                // a session was swept
	swept    uint64              // number of the last session of which all was dealt with
	count    int64               // STAT of that session
	octets   int64               //
	sent     int                 // messages handed over
	culprits map[string]int      // sessions that broke at a message
	failures retry
	reached  bool // a session was had before
	lent     bool // the server deletes at QUIT what was read
	warned   bool // of UIDLs that stand for one message and then for another
}

// A question asks the caller's FetchOptions.Skip, which only the caller's goroutine may call.
type question struct {
	refs   []connection.Ref
	answer chan []bool
}

func (c *Conn) newFetch(ctx context.Context, op string, o connection.FetchOptions) (*fetch, error) {
	if o.Mailbox != "" && o.Mailbox != c.cfg.Username {
		return nil, c.problem(op, connection.Ref{}, connection.ErrNotFound, "mailbox %q: this connection has that of %q only", o.Mailbox, c.cfg.Username)
	}
	for _, name := range o.Folders {
		if name != folder {
			return nil, c.problem(op, connection.Ref{Folder: name}, connection.ErrNotFound, "POP3 has the folder %s only", folder)
		}
	}
	f := &fetch{
		conn: c, op: op, opts: o, outer: ctx,
		queue:    newQueue(),
		asks:     make(chan question),
		done:     make(chan struct{}),
		seen:     make(map[string]struct{}),
		doubts:   make(map[string]fact),
		culprits: make(map[string]int),
		failures: retry{conn: c, op: op},
	}
	var err error
	if f.ctx, f.cancel, f.leave, err = c.enter(ctx, op); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active++
	c.stopLinger()
	return f, nil
}

// rest notes whether the fetch waits for mail, so that a Delete meanwhile commits.
func (f *fetch) rest(resting bool) {
	f.conn.mu.Lock()
	defer f.conn.mu.Unlock()
	switch {
	case resting == f.resting:
	case resting:
		f.conn.active--
	default:
		f.conn.active++
		f.conn.stopLinger()
	}
	f.resting = resting
}

// run reads. It returns when nothing is left to do or an error is final.
func (f *fetch) run() {
	defer f.leave()
	defer close(f.done)
	if err := f.follow(); err != nil {
		f.err = f.conn.fault(f.op, connection.Ref{}, err)
		if f.ctx.Err() != nil {
			f.err = f.conn.ended(f.ctx, f.op, connection.Ref{})
		}
	}
}

// follow reads what is there, in as many sessions as bring something, and with Follow again and again.
func (f *fetch) follow() error {
	for idle := 0; ; {
		found, err := f.pass()
		if err != nil || f.full() {
			return err
		}
		// The caller may delete what it was given: in this session, rather than each in another one. And what a QUIT is
		// to wait for must be done with.
		if (f.conn.cfg.deletes() || f.lent) && found > 0 && !f.queue.settled(f.ctx) {
			return f.ctx.Err()
		}
		switch {
		case !f.opts.Follow && found == 0:
			if f.sync != nil {
				f.sync.checkpoint()
			}
			return nil
		case !f.opts.Follow, found >= f.conn.cfg.messagesPerCycle():
			idle = 0
			continue // more may be there already
		case found > 0:
			idle = 0
		default:
			idle++
		}
		f.rest(true)
		if err := f.conn.rest(f.ctx, f.op); err != nil && f.ctx.Err() == nil {
			f.conn.env.Log().WarnContext(f.ctx, "commit failed; the messages stay marked for deletion", "endpoint", f.conn.info.Endpoint, "error", err)
		}
		err = backoff.Wait(f.ctx, f.conn.cfg.pollDelay(idle))
		f.rest(false)
		if err != nil {
			return err
		}
		f.conn.emit(connection.Event{Kind: connection.EventWakeup, Detail: "poll"})
	}
}

// next returns the next item; ok is false when there are none left. It answers the questions of run meanwhile.
func (f *fetch) next() (it item, ok bool) {
	for {
		if f.ctx.Err() != nil {
			<-f.done
			if f.err == nil && f.left() {
				f.err = f.conn.ended(f.ctx, f.op, connection.Ref{})
			}
			return item{}, false
		}
		if f.last, ok = f.queue.take(); ok {
			return f.last, true
		}
		select {
		case <-f.queue.ready:
		case q := <-f.asks:
			f.answer(q)
		case <-f.ctx.Done():
		case <-f.done:
			if f.last, ok = f.queue.take(); ok { // the last ones
				return f.last, true
			}
			return item{}, false
		}
	}
}

// left reports whether something was read that is not taken.
func (f *fetch) left() bool {
	f.queue.mu.Lock()
	defer f.queue.mu.Unlock()
	return len(f.queue.items) > 0
}

func (f *fetch) answer(q question) {
	skip := make([]bool, len(q.refs))
	for i, ref := range q.refs {
		skip[i] = f.opts.Skip(ref)
	}
	q.answer <- skip
}

// stop ends run and lets go of everything it has read ahead. The session rests then.
func (f *fetch) stop() {
	f.cancel()
	f.last.end()
	<-f.done
	for it, ok := f.queue.take(); ok; it, ok = f.queue.take() {
		it.end()
	}
	f.rest(true)
	ctx, cancel, leave, err := f.conn.enter(f.outer, f.op)
	if err != nil {
		return // Close has seen to the session
	}
	defer leave()
	defer cancel()
	if err := f.conn.rest(ctx, f.op); err != nil {
		// Delete has said nil of them; they stay pending, and Close will tell.
		f.conn.env.Log().WarnContext(ctx, "commit failed; the messages stay marked for deletion", "endpoint", f.conn.info.Endpoint, "error", err)
	}
}

// wanted removes the messages that FetchOptions.Skip wants to be passed over, or that the host of a Sync has. The turn
// must not be held: the caller may be waiting for it.
func (f *fetch) wanted(some []entry) ([]entry, error) {
	if f.sync != nil {
		return f.sync.unknown(some)
	}
	if f.opts.Skip == nil {
		return some, nil
	}
	q := question{refs: make([]connection.Ref, len(some)), answer: make(chan []bool, 1)}
	for i := range some {
		q.refs[i] = f.conn.ref(some[i].id)
	}
	select {
	case f.asks <- q:
	case <-f.ctx.Done():
		return nil, f.ctx.Err()
	}
	select {
	case skip := <-q.answer:
		var left []entry
		for i, e := range some {
			if skip[i] {
				if !e.doubtful() { // else another message may have its id next time
					f.note(e)
				}
				continue
			}
			left = append(left, e)
		}
		return left, nil
	case <-f.ctx.Done():
		return nil, f.ctx.Err()
	}
}

// full reports whether FetchOptions.Limit is reached.
func (f *fetch) full() bool { return f.opts.Limit > 0 && f.sent >= f.opts.Limit }
