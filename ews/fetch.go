package ews

import (
	"context"
	"errors"
	"hash/maphash"
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
	"github.com/mailconn/mailconn/internal/backoff"
)

// Fetch implements [connection.Fetcher]. Without FetchOptions.Mailbox it reads all of Config.Mailboxes, one after the other,
// or if there are none the account's own mailbox; without Folders the inbox. Folders are named as [Conn.Folders] lists them,
// by their ID, by a special use such as \Sent, or as INBOX. What is no mail (contacts, appointments, notes) is passed over,
// and so is what vanishes after it was listed.
//
// The order is the server's, about the newest first since Exchange 2010 SP2; with Unseen or Since it is the oldest first.
// Messages of up to 256 KiB are read whole before they are yielded, so that a line that breaks is not noticed. A larger
// one comes from the connection while its Body is read; if that breaks, the Body says so, and the message is not yielded
// again.
//
// A message that cannot be had is reported with its Ref, after Config.Fallbacks were tried. With Follow, errors that are
// temporary do not end the loop. With Config.Journal the messages are those in the journal reports; what is no journal
// report is yielded as it is.
func (c *Conn) Fetch(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
	const op = "fetch"
	var o connection.FetchOptions
	if opts != nil {
		o = *opts
		o.Folders = slices.Clone(o.Folders)
	}
	var used atomic.Bool
	return func(yield func(*connection.Message, error) bool) {
		if used.Swap(true) {
			yield(nil, c.problem(op, connection.Ref{}, connection.ErrInvalid, "this iterator was used before; call Fetch again"))
			return
		}
		ctx, leave, err := c.enter(ctx, op)
		if err != nil {
			yield(nil, err)
			return
		}
		defer leave()
		f := &fetch{conn: c, op: op, opts: o, ctx: ctx, yield: yield, seen: newRecent()}
		defer f.close()
		if err := f.run(); err != nil && !f.over {
			yield(nil, err)
		}
	}
}

// A fetch is one running Fetch.
type fetch struct {
	conn  *Conn
	op    string
	opts  connection.FetchOptions
	ctx   context.Context
	yield func(*connection.Message, error) bool

	stores []*store
	seen   *recent
	count  int  // messages yielded
	over   bool // the loop was left, or has all that it wanted
}

// A store is a mailbox that a fetch reads.
type store struct {
	t       target
	sources []*source // nil until its folders are known
	rest    time.Time // until when it is left alone, since it cannot be read
	watch   *watcher  // of Follow; may be nil
}

func (f *fetch) close() {
	for _, s := range f.stores {
		if s.watch != nil {
			s.watch.close()
		}
	}
}

// run reads everything that is there, and with Follow what comes later. Its error is the last thing to be yielded.
func (f *fetch) run() error {
	c := f.conn
	mailboxes := []string{f.opts.Mailbox}
	if f.opts.Mailbox == "" && len(c.cfg.Mailboxes) > 0 {
		mailboxes = c.cfg.Mailboxes
	}
	for _, name := range mailboxes {
		t, err := c.target(name)
		if err != nil {
			return c.fail(f.op, target{}, connection.Ref{}, err)
		}
		f.stores = append(f.stores, &store{t: t})
	}
	for failures := 0; ; {
		before, failed := f.count, false
		for _, s := range f.stores {
			err := f.readStore(s)
			switch {
			case f.ctx.Err() != nil:
				return c.ended(f.ctx, f.op, connection.Ref{})
			case f.over:
				return nil
			case err == nil:
			case f.opts.Follow && connection.Temporary(err):
				failed = true
				pause := retryPolicy.Delay(failures+1, connection.RetryAfter(err))
				c.emit(connection.Event{Kind: connection.EventRetry, Mailbox: s.t.mailbox, Until: time.Now().Add(pause), Err: err})
			case len(f.stores) == 1, final(err):
				return c.fail(f.op, s.t, connection.Ref{}, err)
			case !f.report(c.fail(f.op, s.t, connection.Ref{Mailbox: s.t.mailbox}, err)):
				return nil
			default:
				s.rest = time.Now().Add(deniedRest)
			}
		}
		if !f.opts.Follow {
			return nil
		}
		if failures++; !failed {
			failures = 0
		}
		if err := f.wait(before != f.count, failures); err != nil {
			return c.ended(f.ctx, f.op, connection.Ref{})
		}
	}
}

// deniedRest is how long Follow leaves a mailbox alone that it may not read, or that is not there.
const deniedRest = 10 * time.Minute

// final reports whether an error means that other mailboxes fare no better.
func final(err error) bool {
	switch connection.KindOf(err) {
	case connection.ErrAuth, connection.ErrConfig, connection.ErrClosed, connection.ErrTLS:
		return true
	}
	return false
}

// report yields an error that is not the last, and reports whether to go on.
func (f *fetch) report(err error) bool {
	if !f.yield(nil, err) {
		f.over = true
	}
	return !f.over
}

// wait waits until it is worth looking again.
func (f *fetch) wait(news bool, failures int) error {
	if failures > 0 {
		return backoff.Wait(f.ctx, retryPolicy.Delay(failures, 0))
	}
	if news {
		return f.ctx.Err()
	}
	detail := "poll"
	var err error
	if w := f.stores[0].watch; w != nil && len(f.stores) == 1 {
		detail, err = w.wait(f.ctx)
	} else {
		err = backoff.Wait(f.ctx, f.conn.cfg.pollInterval())
	}
	if err == nil {
		f.conn.emit(connection.Event{Kind: connection.EventWakeup, Mailbox: f.opts.Mailbox, Detail: detail})
	}
	return err
}

// readStore reads what is new in a mailbox.
func (f *fetch) readStore(s *store) error {
	if time.Now().Before(s.rest) {
		return nil
	}
	if s.sources == nil {
		if err := f.open(s); err != nil || f.over {
			return err
		}
	}
	for _, p := range s.sources {
		err := p.read(f)
		switch {
		case f.over || f.ctx.Err() != nil:
			return nil
		case err == nil || p.lost:
		case folderLevel(err) && len(s.sources)+len(f.stores) > 2:
			p.lost = true
			if !f.report(f.conn.fail(f.op, s.t, s.t.folderRef(p.path), err)) {
				return nil
			}
		default:
			return err
		}
	}
	return nil
}

// folderLevel reports whether an error concerns one folder: that it is gone, say, or may not be read.
func folderLevel(err error) bool {
	switch codeOf(err) {
	case "ErrorFolderNotFound", "ErrorSyncFolderNotFound", "ErrorAccessDenied", "ErrorInvalidSyncStateData", "ErrorCannotUseFolderIdForItemId":
		return true
	}
	return connection.KindOf(err) == connection.ErrProtocol && codeOf(err) == ""
}

// open finds the folders of a mailbox that are to be read. A folder that is not there is reported, and the others are read.
func (f *fetch) open(s *store) error {
	c := f.conn
	if len(f.opts.Folders) == 0 {
		role := inbox
		if s.t.archive {
			role = "archiveinbox"
		}
		if s.t.public {
			return &connection.Error{Kind: connection.ErrInvalid, Err: errors.New("public folders have no inbox: name folders")}
		}
		folder, err := c.wellKnown(f.ctx, &s.t, role)
		if err != nil {
			return err
		}
		s.sources = []*source{newSource(f, s, newFolderNode(folder), escapeName(or(folder.Name, "Inbox")))}
	} else {
		all, err := c.forest(f.ctx, s.t)
		if err != nil {
			return err
		}
		s.sources = []*source{}
		for _, name := range f.opts.Folders {
			n, path, err := all.find(name)
			switch {
			case err != nil && len(f.opts.Folders) == 1:
				s.sources = nil
				return err
			case err != nil:
				if !f.report(c.fail(f.op, s.t, s.t.folderRef(name), err)) {
					return nil
				}
			case !slices.ContainsFunc(s.sources, func(p *source) bool { return p.id == n.id }):
				s.sources = append(s.sources, newSource(f, s, n, path))
			}
		}
	}
	if f.opts.Follow && len(f.stores) == 1 && s.watch == nil {
		folders := make([]soap.FolderID, len(s.sources))
		for i, p := range s.sources {
			folders[i] = soap.FolderID{ID: p.id}
		}
		s.watch = c.watch(f.ctx, s.t, folders)
	}
	return nil
}

// room is how many more messages are wanted.
func (f *fetch) room() int {
	if f.opts.Limit <= 0 {
		return metadataBatch
	}
	return f.opts.Limit - f.count
}

// deliver yields the messages with these ids that were not yielded yet. Its error is final for the folder.
func (f *fetch) deliver(p *source, ids []soap.ItemID) error {
	o := loadOptions{
		op: f.op, folder: p.path, foreign: p.foreign, patient: f.opts.Follow, room: f.room, keep: f.wants,
		skip: func(ref connection.Ref) bool {
			return f.seen.has(ref) || f.opts.Skip != nil && f.opts.Skip(ref)
		},
	}
	var last error
	for l, err := range f.conn.load(f.ctx, p.t, ids, o) {
		var e *connection.Error
		switch {
		case err == nil:
			f.seen.add(l.msg.Ref)
			f.count++
			if !f.yield(l.msg, nil) || f.opts.Limit > 0 && f.count >= f.opts.Limit {
				f.over = true
				return nil
			}
		case errors.As(err, &e) && e.Ref.ID != "":
			f.seen.add(e.Ref)
			if !f.report(err) {
				return nil
			}
		default:
			last = err
		}
	}
	return last
}

// wants holds an item against the options, as servers may ignore what they are asked for.
func (f *fetch) wants(item *soap.Item) bool {
	if f.opts.Unseen && item.Read {
		return false
	}
	// The server tells times to the second.
	return f.opts.Since.IsZero() || !item.Received.Before(f.opts.Since.Truncate(time.Second))
}

// recent remembers which messages were yielded lately: servers list some twice. It is bounded, whatever the size of the
// mailbox.
type recent struct {
	seed maphash.Seed
	set  map[uint64]struct{}
	ring []uint64
	next int
}

// mostRecent messages are remembered, in about 4 MiB.
const mostRecent = 1 << 17

func newRecent() *recent {
	return &recent{seed: maphash.MakeSeed(), set: make(map[uint64]struct{})}
}

func (r *recent) sum(ref connection.Ref) uint64 {
	return maphash.Comparable(r.seed, ref)
}

func (r *recent) has(ref connection.Ref) bool {
	_, ok := r.set[r.sum(ref)]
	return ok
}

func (r *recent) add(ref connection.Ref) {
	sum := r.sum(ref)
	if _, ok := r.set[sum]; ok {
		return
	}
	r.set[sum] = struct{}{}
	if len(r.ring) < mostRecent {
		r.ring = append(r.ring, sum)
		return
	}
	delete(r.set, r.ring[r.next])
	r.ring[r.next] = sum
	r.next = (r.next + 1) % mostRecent
}
