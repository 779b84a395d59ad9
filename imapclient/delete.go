package imapclient

import (
	"context"
	"errors"
	"fmt"
	"slices"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailconn/mailconn/connection"
)

// Delete implements [connection.Deleter]: it marks the messages \Deleted (delete_mode flag) or \Seen (seen), moves them
// to another folder (move, trash), or marks them \Deleted and expunges them as expunge_every says (expunge). nil means
// that all are marked or moved; with delete_mode expunge Close, or Fetch when it finds nothing more to follow, expunges
// what is outstanding. With delete_mode none it is ErrConfig. A message that the server could not copy is never removed.
//
// A Ref whose UIDVALIDITY is not the folder's is ErrStale and nothing is sent for it. If a reply is lost after the
// server may have acted, the error is ErrUncertain; Delete may then be repeated, and the next Fetch looks first.
// Without UIDPLUS the server can only expunge all messages that anybody has marked: if there are others than ours it is
// ErrUnsupported, and ours are not marked, unless allow_plain_expunge is set.
func (c *Conn) Delete(ctx context.Context, refs ...connection.Ref) error {
	const op = "delete"
	if len(refs) == 0 {
		return nil
	}
	if len(c.cfg.Mailboxes) > 0 {
		return c.each(op, refs, func(one *Conn, refs []connection.Ref) error { return one.Delete(ctx, refs...) })
	}
	ctx, cancel, leave, err := c.enter(ctx, op)
	if err != nil {
		return forEach(refs, err)
	}
	defer leave()
	defer cancel()
	if !c.cfg.deletes() {
		e := c.problem(op, connection.Ref{}, connection.ErrConfig, "config: delete_mode: %s: nothing to do", DeleteNone)
		e.Hint = "delete_mode: set it to flag, seen, expunge, move or trash, or use DrainOptions.Keep to leave the messages where they are"
		return forEach(refs, e)
	}
	groups, errs := c.group(op, refs)
	if !c.deleting.take(ctx) {
		return forEach(refs, c.ended(ctx, op, connection.Ref{}))
	}
	defer c.deleting.give()
	for _, g := range groups {
		if err := c.deleteGroup(ctx, op, g); err != nil {
			errs = append(errs, forEach(g.refs, err))
		}
	}
	return errors.Join(errs...)
}

// forEach returns err once for each of refs, as the contract of Delete wants it. An err that joins errors of single
// messages is returned as it is.
func forEach(refs []connection.Ref, err error) error {
	var e *connection.Error
	if !errors.As(err, &e) || !e.Ref.IsZero() && e.Ref.ID != "" {
		return err
	}
	all := make([]error, len(refs))
	for i, ref := range refs {
		one := *e
		one.Ref = ref
		all[i] = &one
	}
	return errors.Join(all...)
}

// A group is the messages of one Delete that are in one life of one folder.
type group struct {
	folder   string
	validity string
	uids     []uint32
	refs     []connection.Ref
}

// group sorts refs, in the order of their folders' first appearance. Refs that cannot be ours are errors.
func (c *Conn) group(op string, refs []connection.Ref) (groups []*group, errs []error) {
	for _, ref := range refs {
		validity, uid, ok := parseID(ref.ID)
		if !ok || validFolder(ref.Folder) != nil || !c.owns(ref.Mailbox) {
			errs = append(errs, c.problem(op, ref, connection.ErrInvalid, "this is no Ref of an IMAP message of this connection"))
			continue
		}
		i := slices.IndexFunc(groups, func(g *group) bool { return g.folder == ref.Folder && g.validity == validity })
		if i < 0 {
			i = len(groups)
			groups = append(groups, &group{folder: ref.Folder, validity: validity})
		}
		groups[i].uids = append(groups[i].uids, uid)
		groups[i].refs = append(groups[i].refs, ref)
	}
	return groups, errs
}

// storeAtOnce is how many UIDs one STORE or EXPUNGE names.
const storeAtOnce = 500

func (c *Conn) deleteGroup(ctx context.Context, op string, g *group) error {
	s, done, err := c.opened(ctx, op, g.folder, slices.Max(g.uids))
	if err != nil {
		return err
	}
	err = s.deleteGroup(ctx, op, g)
	done()
	if connection.KindOf(err) != connection.ErrUncertain || ctx.Err() != nil {
		return err
	}
	// The session may have ended because the folder was renumbered. Then there is no doubt: what we knew is gone.
	s, done, lookErr := c.opened(ctx, op, g.folder, slices.Max(g.uids))
	if lookErr != nil {
		return err
	}
	defer done()
	if s.box.lasting && s.box.validity != g.validity {
		c.forget(g.folder, s.box.validity)
		return s.stale(op)
	}
	return err
}

func (s *session) stale(op string) error {
	return s.conn.problem(op, connection.Ref{}, connection.ErrStale, "the folder was renumbered: UIDVALIDITY is %s now", s.box.validity)
}

// deleteGroup deletes in the folder that is selected.
func (s *session) deleteGroup(ctx context.Context, op string, g *group) error {
	c := s.conn
	switch {
	case s.box.validity != g.validity:
		return s.stale(op)
	case s.box.readOnly:
		e := c.problem(op, connection.Ref{}, connection.ErrPermission, "the folder is read-only")
		e.Hint = "delete_mode: none reads without removing; or give the user the right to delete in this folder"
		return e
	}
	if c.cfg.moves() {
		return s.moveGroup(ctx, op, g)
	}
	expunges := c.cfg.DeleteMode == DeleteExpunge
	if expunges {
		if err := s.mayExpunge(ctx, op, g.uids); err != nil {
			return err
		}
	}
	for uids := range slices.Chunk(g.uids, storeAtOnce) {
		if err := s.set(ctx, op, uids, []goimap.Flag{c.cfg.marks()}); err != nil {
			if expunges && connection.KindOf(err) == connection.ErrUncertain {
				c.flag(g.folder, g.validity, uids, true)
			}
			return err
		}
		if expunges {
			c.flag(g.folder, g.validity, uids, false)
		} else {
			c.emit(connection.Event{Kind: connection.EventDeleted, Ref: connection.Ref{Folder: g.folder}, Count: int64(len(uids))})
		}
	}
	if n := c.flaggedIn(g.folder); n > 0 && (n >= c.cfg.ExpungeEvery || !s.box.lasting) {
		return s.expunge(ctx, op)
	}
	return nil
}

// opened returns a session that has folder selected and knows of all messages up to the UID highest: a server does not
// tell a session of new mail before it asks, and silently ignores a UID that it has not told of. UIDs keep their meaning while it has (RFC 9051, 2.3.1.1: a server
// that renumbers must end the session), so a SELECT for each Delete, which costs Dovecot more than the delete, is not
// needed. Nothing has been sent that changes anything, so a session that turns out dead is replaced, once.
func (c *Conn) opened(ctx context.Context, op, folder string, highest uint32) (s *session, done func(), err error) {
	for try := 0; ; try++ {
		s, done, err := c.lease(ctx, op)
		if err != nil {
			return nil, nil, err
		}
		if err = s.seeing(ctx, op, folder, highest); err == nil {
			return s, done, nil
		}
		retry := s.broken() && connection.Temporary(err) && try == 0
		done()
		if !retry {
			return nil, nil, err
		}
	}
}

// seeing selects folder, unless it is selected and its messages are known up to highest.
func (s *session) seeing(ctx context.Context, op, folder string, highest uint32) error {
	before := s.box
	b, err := s.selected(ctx, op, folder)
	switch {
	case err != nil, b != before, highest < b.uidNext:
		return err
	case b.lasting:
		_, err = s.open(ctx, op, folder)
		return err
	}
	return s.run(ctx, op, func() error { return s.client.Noop().Wait() })
}

// lease returns a session for a Delete: one of its own, or, where the server allows only one, that of a Fetch between
// two commands. done gives it back. c.deleting must be held.
func (c *Conn) lease(ctx context.Context, op string) (s *session, done func(), err error) {
	for {
		if f := c.lender(); f != nil {
			if !f.borrow(ctx) {
				return nil, nil, c.ended(ctx, op, connection.Ref{})
			}
			if s := f.sess; s != nil && !s.broken() {
				return s, f.turn.give, nil
			}
			if !f.over {
				// The Fetch has lost its session: this one is for both.
				s, err := c.session(ctx, op)
				if err != nil {
					f.turn.give()
					return nil, nil, err
				}
				if f.sess != nil {
					f.sess.abandon()
				}
				f.sess = s
				return s, f.turn.give, nil
			}
			f.turn.give()
			continue
		}
		s, err := c.session(ctx, op)
		switch {
		case err == nil:
			c.pair()
			return s, func() { c.release(s) }, nil
		case connection.KindOf(err) == connection.ErrThrottled && c.fetching() && !c.sharing():
			c.env.Log().InfoContext(ctx, "the server allows one session only: fetch and delete take turns", "endpoint", c.info.Endpoint, "error", err)
			c.share()
			continue
		}
		return nil, nil, err
	}
}

// lender returns a Fetch whose session is to be shared, nil if none is.
func (c *Conn) lender() *fetch {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.oneOnly || len(c.idle) > 0 {
		return nil
	}
	for f := range c.fetches {
		return f
	}
	return nil
}

// pair notes that a Delete has a session, if a Fetch has one too.
func (c *Conn) pair() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paired = c.paired || len(c.fetches) > 0
}

func (c *Conn) fetching() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.fetches) > 0
}

// mark sets \Deleted on uids.
func (s *session) mark(ctx context.Context, op string, uids []uint32) error {
	return s.set(ctx, op, uids, []goimap.Flag{goimap.FlagDeleted})
}

// set adds flags to uids. UIDs that are gone are no error (RFC 9051, 6.4.9).
func (s *session) set(ctx context.Context, op string, uids []uint32, flags []goimap.Flag) error {
	err := s.doubtful(ctx, op, func() error {
		return s.client.Store(uidSet(uids), &goimap.StoreFlags{Op: goimap.StoreFlagsAdd, Silent: true, Flags: flags}, nil).Close()
	})
	if err == nil || connection.KindOf(err) == connection.ErrUncertain || ctx.Err() != nil || s.broken() {
		return err
	}
	// Some servers say NO for a message that is gone.
	there, lookErr := s.searchSet(ctx, op, uids, goimap.SearchCriteria{})
	if lookErr != nil || len(there) > 0 {
		return err
	}
	return nil
}

// doubtful runs a command that changes something. If its reply is lost, the error is ErrUncertain.
func (s *session) doubtful(ctx context.Context, op string, command func() error) error {
	if s.broken() {
		return s.over(op)
	}
	answered := false
	err := s.run(ctx, op, func() error {
		err := command()
		answered = err == nil || errors.As(err, new(*goimap.Error))
		return err
	})
	if err == nil || answered {
		return err
	}
	e := s.conn.problem(op, connection.Ref{}, connection.ErrUncertain, "the server may have acted, its reply was lost: %w", cause(err))
	return e
}

// cause returns what is wrong without the *Error around it, whose kind would be a second one in the chain.
func cause(err error) error {
	var e *connection.Error
	if errors.As(err, &e) && e.Err != nil {
		return fmt.Errorf("%s: %w", e.Kind, e.Err)
	}
	return err
}
