package imapclient

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// Fetch implements [connection.Fetcher]. Folders come in the order given, messages by ascending UID; one that has to be
// asked for again may come later. While the caller works on a message, the next ones are read ahead into at most a few
// MiB of memory; a large body is read from the connection by the caller itself. No flag is changed (RFC 9051, 6.4.5:
// BODY.PEEK).
//
// A message that cannot be had is reported with its Ref, after it was asked for again, singly and over a new session. A
// session that dies is replaced and Fetch goes on behind the last message yielded; after a few tries without any
// progress the error is final. With Follow, only an error that is not temporary is. A folder that is renumbered
// (UIDVALIDITY) is read from its beginning.
//
// A folder that cannot be read does not keep the others from it if only a pattern of the settings means it, if it could
// be read before, or if the server calls that temporary: it is reported with Ref.Folder alone. Follow tries it again
// after a minute, and reports it again only when it could be read meanwhile. Where there is no other folder, and none of
// a pattern, the error is final.
//
// Messages that Delete has marked and not yet expunged are not fetched. Others that carry \Deleted are.
func (c *Conn) Fetch(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
	var o connection.FetchOptions
	if opts != nil {
		o = *opts
		o.Folders = slices.Clone(o.Folders)
	}
	var used atomic.Bool
	return func(yield func(*connection.Message, error) bool) {
		if used.Swap(true) {
			yield(nil, c.problem("fetch", connection.Ref{}, connection.ErrInvalid, "this iterator was used before; call Fetch again"))
			return
		}
		if o.Mailbox == "" && len(c.cfg.Mailboxes) > 0 {
			c.fetchAll(ctx, o, yield)
			return
		}
		c, err := c.at("fetch", o.Mailbox)
		if err != nil {
			yield(nil, err)
			return
		}
		f, err := c.newFetch(ctx, "fetch", o)
		if err != nil {
			yield(nil, err)
			return
		}
		go f.run(f.follow)
		defer f.stop()
		for {
			it, ok := f.next()
			if !ok {
				if f.err != nil {
					yield(nil, f.err)
				}
				return
			}
			if !yield(it.msg, it.err) {
				return
			}
			it.end()
		}
	}
}

// A fetch is one running Fetch or Open: a goroutine that reads from a session (run and what it calls), and the caller's,
// which takes the items (next and stop). They share channels, and what is said to be shared.
type fetch struct {
	conn   *Conn
	op     string
	opts   connection.FetchOptions
	ctx    context.Context
	cancel func()
	leave  func()

	folders  []string
	unseen   bool
	open     []string             // of folders: those that the last look could read
	aside    map[string]time.Time // folders that are left alone until then
	reported map[string]bool      // folders that were reported since they could be read last
	refused  bool                 // the last failure is one folder's, and the session is well

	items  chan item
	half   chan struct{} // told when items, which was full, is half empty
	asks   chan func()   // what the caller's goroutine is to run: its own functions
	done   chan struct{} // closed when run is over; err may be read then
	err    error
	budget *budget
	last   item // of the caller: what it was given last

	turn   turn          // shared: held while session is in use
	wanted chan struct{} // told when somebody waits for the turn

	borrowers atomic.Int32 // how many wait for it
	sess      *session     // under turn
	over      bool         // under turn: run has given up its session

	places   map[string]*place
	backlog  []item                    // read, but not handed over yet
	sent     int                       // messages handed over
	most     int                       // UIDs that one FETCH asks for
	failures int                       // consecutive, without progress
	pushed   func(*connection.Message) // told of each message handed over; may be nil
	reached  bool                      // a session was had before
	alarmed  bool                      // mail was announced, and not looked for yet
	wary     bool                      // messages without an octet came
}

// An item is what one loop step yields: a message, a change of another kind, or an error.
type item struct {
	msg    *connection.Message
	change *connection.Change // of Sync
	err    error
	body   octets
}

// octets are a Message.Body, until end is called.
type octets interface {
	io.Reader
	empty() bool // asked before anybody reads
	end()
}

func (it item) end() {
	if it.body != nil {
		it.body.end()
	}
}

const (
	readAhead   = 4 << 20   // octets of bodies in memory
	aheadItems  = 512       // bodies in memory, however small
	largeBody   = 256 << 10 // a larger one is read by the caller
	maxFailures = 4         // consecutive failures without progress that are borne; Follow bears any number of temporary ones
)

func (c *Conn) newFetch(ctx context.Context, op string, o connection.FetchOptions) (*fetch, error) {
	f := &fetch{
		conn: c, op: op, opts: o,
		folders:  o.Folders,
		unseen:   o.Unseen || c.cfg.UnreadOnly,
		items:    make(chan item, aheadItems),
		half:     make(chan struct{}, 1),
		asks:     make(chan func()),
		done:     make(chan struct{}),
		budget:   newBudget(readAhead),
		turn:     newTurn(),
		wanted:   make(chan struct{}, 1),
		places:   make(map[string]*place),
		aside:    make(map[string]time.Time),
		reported: make(map[string]bool),
		most:     mostAtOnce,
	}
	if c.cfg.deletes() {
		f.most = c.cfg.messagesPerCycle()
	}
	for _, name := range f.folders {
		if err := validFolder(name); err != nil {
			return nil, c.problem(op, connection.Ref{}, connection.ErrInvalid, "folder %w", err)
		}
	}
	var err error
	if f.ctx, f.cancel, f.leave, err = c.enter(ctx, op); err != nil {
		return nil, err
	}
	return f, nil
}

// run reads: all that is to be fetched, or one message. It returns when nothing is left to do or an error is final.
func (f *fetch) run(read func() error) {
	defer f.leave()
	defer close(f.done)
	f.conn.register(f)
	defer f.giveBack()
	err := read()
	if err == nil {
		err = f.flush()
	}
	var end *final
	switch {
	case err == nil:
	case f.ctx.Err() != nil:
		f.err = f.conn.ended(f.ctx, f.op, connection.Ref{})
	case errors.As(err, &end):
		f.err = end.err
	default:
		f.err = err
	}
}

// giveBack returns the session to the Conn. Until that is done, a Delete that looks for a session finds this fetch.
func (f *fetch) giveBack() {
	f.turn <- struct{}{}
	f.over = true
	if f.sess != nil {
		f.conn.release(f.sess)
		f.sess = nil
	}
	f.turn.give()
	f.conn.unregister(f)
}

// next returns the next item; ok is false when there are none left. It answers the questions of run meanwhile.
func (f *fetch) next() (it item, ok bool) {
	for {
		if f.ctx.Err() != nil {
			<-f.done
			if f.err == nil && len(f.items) > 0 {
				f.err = f.conn.ended(f.ctx, f.op, connection.Ref{})
			}
			return item{}, false
		}
		select {
		case ask := <-f.asks: // before the items that are ahead, so that more can be fetched meanwhile
			ask()
		default:
		}
		select {
		case it = <-f.items:
			return f.take(it), true
		default:
		}
		select {
		case it = <-f.items:
			return f.take(it), true
		case ask := <-f.asks:
			ask()
		case <-f.ctx.Done():
		case <-f.done:
			select {
			case it = <-f.items: // the last ones
				return f.take(it), true
			default:
				return item{}, false
			}
		}
	}
}

func (f *fetch) take(it item) item {
	f.last = it
	if len(f.items) <= aheadItems/2 {
		select {
		case f.half <- struct{}{}:
		default:
		}
	}
	return it
}

// consult has the caller's goroutine run ask, which is a function of its own or calls one.
func (f *fetch) consult(ask func()) error {
	answered := make(chan struct{})
	select {
	case f.asks <- func() { defer close(answered); ask() }:
	case <-f.ctx.Done():
		return f.endedNow()
	}
	select {
	case <-answered:
		return nil
	case <-f.ctx.Done():
		return f.endedNow()
	}
}

// stop ends run and everything it has read ahead. It returns when nothing is left.
func (f *fetch) stop() {
	f.cancel()
	f.last.end()
	<-f.done
	for {
		select {
		case it := <-f.items:
			it.end()
		default:
			return
		}
	}
}

// push hands an item over. While the session is to be shared it never waits for the caller, who may be waiting for the
// session: the item is kept until flush.
func (f *fetch) push(it item) {
	if it.msg != nil {
		f.sent++
		if f.pushed != nil {
			f.pushed(it.msg)
		}
	}
	if len(f.backlog) == 0 && f.enqueue(it) {
		return
	}
	f.backlog = append(f.backlog, it)
}

// enqueue hands an item over, unless the session is to be shared or ctx ends first. Once the queue is full it waits until
// half of it is empty: otherwise the two goroutines would wake each other for every message.
func (f *fetch) enqueue(it item) bool {
	for {
		select {
		case f.items <- it:
			return true
		default:
		}
		select {
		case <-f.half:
		case <-f.conn.shared:
			return false
		case <-f.ctx.Done():
			return false
		}
	}
}

// flush hands over what push kept. The session must not be held.
func (f *fetch) flush() error {
	for i, it := range f.backlog {
		select {
		case f.items <- it:
		case <-f.ctx.Done():
			for _, it := range f.backlog[i:] {
				it.end()
			}
			f.backlog = nil
			return f.endedNow()
		}
	}
	f.backlog = nil
	return nil
}

// pass removes the messages that FetchOptions.Skip wants to be passed over.
func (f *fetch) pass(b *box, uids []uint32) ([]uint32, error) {
	if f.opts.Skip == nil || len(uids) == 0 {
		return uids, nil
	}
	skip := make([]bool, len(uids))
	err := f.consult(func() {
		for i, uid := range uids {
			skip[i] = f.opts.Skip(b.ref(uid))
		}
	})
	if err != nil {
		return nil, err
	}
	var left []uint32
	for i, uid := range uids {
		if !skip[i] {
			left = append(left, uid)
		}
	}
	return left, nil
}

// failItem reports one message that cannot be had.
func (f *fetch) failItem(ref connection.Ref, err error) {
	f.push(item{err: f.conn.fault(f.op, ref, err)})
}

// full reports whether FetchOptions.Limit is reached.
func (f *fetch) full() bool { return f.opts.Limit > 0 && f.sent >= f.opts.Limit }

// since returns the date to search from: a day early, since servers compare dates without regard to time zones
// (RFC 9051, 6.4.4). The exact comparison is ours.
func (f *fetch) since() time.Time {
	if f.opts.Since.IsZero() {
		return time.Time{}
	}
	return f.opts.Since.UTC().AddDate(0, 0, -1) // no zone is more than a day from UTC, but two may be from each other
}

// A final error ends the fetch: it is not one message's, and trying again is no use or was of none.
type final struct{ err error }

func (e *final) Error() string { return e.err.Error() }
func (e *final) Unwrap() error { return e.err }

func isFinal(err error) bool { return errors.As(err, new(*final)) }

func (f *fetch) endedNow() error { return &final{f.conn.ended(f.ctx, f.op, connection.Ref{})} }
