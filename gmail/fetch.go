package gmail

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// Fetch implements [connection.Fetcher] for one mailbox: with credentials for a domain FetchOptions.Mailbox must name it, lest
// a Drain empty the mailboxes of everybody; with monitors it is their destination. Folders are named as [Conn.Folders] lists
// them, by their ID, or by a special use such as \Sent; without any, all messages that the settings mean are read.
//
// The order is about the newest first. A message is yielded once by a Fetch, in however many of the folders it is. Each is
// whole before it is yielded, in memory or in a temporary file. What vanishes after it was listed is passed over.
//
// With Follow the mailbox's history is looked at every poll_interval, and less often while nothing happens, down to
// poll_interval_max; Notify shortens the wait. Errors that are temporary do not end the loop then, and a message that
// cannot be read is tried again from time to time. With monitors Follow also keeps these alive, and messages are unwrapped
// as Config.Monitors says.
//
// It remembers what it has yielded in about 20 octets for each message.
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
			yield(nil, c.usedTwice(op))
			return
		}
		inner, leave, err := c.enter(ctx, op)
		if err != nil {
			yield(nil, err)
			return
		}
		defer leave()
		f := &fetch{conn: c, ctx: inner, opts: o, yield: yield, scope: c.scope(o.Folders), seen: newIDSet()}
		mailbox := c.mailboxOr(o.Mailbox)
		if f.box, err = c.box(inner, mailbox); err == nil {
			err = f.run()
		}
		switch {
		case err == nil || errors.Is(err, errLeft):
		case inner.Err() != nil:
			yield(nil, c.ended(inner, op, connection.Ref{}))
		default:
			yield(nil, c.failMailbox(op, mailbox, err))
		}
	}
}

// A fetch is one running Fetch. It belongs to the goroutine of the loop.
type fetch struct {
	conn  *Conn
	ctx   context.Context
	box   *box
	opts  connection.FetchOptions
	yield func(*connection.Message, error) bool

	scope   *scope
	labels  *labelSet
	seen    *idSet // those that were yielded, or that nobody wants
	passed  *idSet // those that were not what the options mean when this pass read them
	count   int    // messages yielded
	trouble trouble

	// With Follow.
	cursor string    // place in the history up to which everything was looked at; "" = nothing was
	failed []string  // messages that could not be read, and are tried again in this order
	tried  time.Time // when they were tried last
}

// mostIDs are collected before any message is read: what is deleted meanwhile must not shift the pages.
const mostIDs = 10_000

// run reads everything that is there, and with Follow what comes later. Its error is the last thing to be yielded.
func (f *fetch) run() error {
	if f.opts.Follow {
		return f.follow()
	}
	if err := f.folders(); err != nil {
		return err
	}
	return f.all()
}

// folders finds the folders that are to be read. One that is not there is reported, and the others are read.
func (f *fetch) folders() error {
	set, err := f.conn.labelSet(f.ctx, f.box)
	if err != nil {
		return err
	}
	f.labels = set
	missing := f.scope.resolve(set)
	if len(missing) > 0 && len(f.scope.ids) == 0 {
		return &connection.Error{Kind: connection.ErrNotFound, Err: fmt.Errorf("the mailbox has no label %q", strings.Join(missing, `", "`))}
	}
	for _, name := range missing {
		if !f.yield(nil, f.conn.noFolder("fetch", f.box, name)) {
			return errLeft
		}
	}
	return nil
}

// all yields everything that is there and was not yielded yet. After each pass it begins again at the top, until a pass
// finds nothing new.
func (f *fetch) all() error {
	f.passed = newIDSet()
	for {
		ids, err := f.collect()
		if err != nil || len(ids) == 0 {
			return err
		}
		if err := f.deliver(ids); err != nil {
			return err
		}
	}
}

// errEnough ends a listing.
var errEnough = errors.New("enough was listed")

// collect lists messages that were not looked at yet.
func (f *fetch) collect() ([]string, error) {
	var ids []string
	fresh := newIDSet()
	for _, l := range f.scope.listings(quota.Other, f.query()) {
		if l.query != "" && f.query() == "" {
			found, next, err := f.conn.list(f.ctx, f.box, l, "")
			if err != nil {
				return nil, err
			}
			if len(found) == 0 && next == "" { // perhaps the server does not know Gmail's operators
				l.query = ""
				if err := f.conn.leftOut(f.ctx, f.box, f.scope, f.pass); err != nil {
					return nil, err
				}
			}
		}
		err := f.conn.each(f.ctx, f.box, l, func(page []string) error {
			for _, id := range page {
				if !f.seen.has(id) && !f.passed.has(id) && !fresh.has(id) {
					fresh.add(id)
					ids = append(ids, id)
				}
			}
			if len(ids) >= mostIDs {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			return ids, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func (f *fetch) pass(ids []string) {
	for _, id := range ids {
		f.passed.add(id)
	}
}

// query is what the options mean in the words of Gmail's search.
func (f *fetch) query() string {
	var words []string
	if f.opts.Unseen {
		words = append(words, "is:unread")
	}
	if !f.opts.Since.IsZero() {
		words = append(words, fmt.Sprintf("after:%d", f.opts.Since.Unix()-1)) // the exact time is looked at later
	}
	return strings.Join(words, " ")
}

// deliver yields messages, as many as are still wanted.
func (f *fetch) deliver(ids []string) error {
	var wants []want
	for _, id := range ids {
		if f.opts.Skip != nil && f.opts.Skip(f.box.ref(id)) {
			f.seen.add(id)
			continue
		}
		wants = append(wants, want{id: id})
	}
	for len(wants) > 0 {
		n := len(wants)
		if f.opts.Limit > 0 {
			n = min(n, f.opts.Limit-f.count) // each message costs units
		}
		for g := range f.conn.ahead(f.ctx, f.box, wants[:n], quota.Other) {
			if err := f.got(g); err != nil {
				return err
			}
		}
		if err := f.ctx.Err(); err != nil {
			return err
		}
		wants = wants[n:]
	}
	return nil
}

// got yields one message that was read.
func (f *fetch) got(g got) error {
	if g.err != nil {
		return f.unread(g)
	}
	f.trouble.over()
	set, err := f.conn.labels(f.ctx, f.box, g.msg.Labels...)
	if err != nil {
		return err
	}
	f.settle(g.id)
	if !f.wanted(g, set) {
		f.passed.add(g.id)
		return nil
	}
	f.seen.add(g.id)
	f.count++
	m := f.conn.handOver(f.box, g.msg, g.id, set)
	if err := f.conn.unwrap(f.box, g.msg, m); err != nil {
		return err
	}
	if !f.yield(m, nil) || f.opts.Limit > 0 && f.count >= f.opts.Limit {
		return errLeft
	}
	return nil
}

// wanted holds a message against the options, as servers may ignore what they are asked for.
func (f *fetch) wanted(g got, set *labelSet) bool {
	switch {
	case !f.scope.holds(g.msg.Labels, set):
		return false
	case f.opts.Unseen && !slices.Contains(g.msg.Labels, labelUnread):
		return false
	}
	return f.opts.Since.IsZero() || g.msg.Internal.IsZero() || !g.msg.Internal.Before(f.opts.Since)
}

// unread decides about a message that could not be read.
func (f *fetch) unread(g got) error {
	blame, err := f.trouble.judge(f.ctx, f.conn, f.box, g.err)
	if blame == blameMailbox || blame == blameMany {
		return err
	}
	f.seen.add(g.id)
	f.settle(g.id)
	if blame == blameNobody {
		return nil
	}
	if blame == blameMoment && f.opts.Follow && len(f.failed) < maxPending {
		f.failed = append(f.failed, g.id)
	}
	if !f.yield(nil, f.conn.fail("fetch", f.box.ref(g.id), g.err)) {
		return errLeft
	}
	return nil
}
