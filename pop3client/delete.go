package pop3client

import (
	"context"
	"errors"
	"slices"

	"github.com/mailconn/mailconn/connection"
)

// folder is the one folder that POP3 has.
const folder = "INBOX"

// maxDeletes is how many DELEs are sent at once.
const maxDeletes = 500

// Delete implements [connection.Deleter]. nil means that the server has accepted a DELE for each message that is there.
// What it accepted is removed by the QUIT that ends the session: after expunge_every deletes, when a running Fetch needs
// a new session, 2 seconds after the last use of the session, and at Close. With expunge_every 0, and no Fetch reading,
// Delete sends that QUIT itself, and nil then means that the messages are gone. Until a QUIT was answered they are not
// fetched again by this Conn, and are marked again in each new session.
//
// A message that was read in another session is deleted only if it is the same one: LIST must tell its size again, and
// where several messages have one UIDL, or the UIDL looks like a message number, its header must be the same. Otherwise
// the error is ErrStale, as it is for such a Ref of a message that this Conn has not read. ErrUncertain means that QUIT
// went out and its effect could not be found out.
func (c *Conn) Delete(ctx context.Context, refs ...connection.Ref) error {
	const op = "delete"
	if !c.cfg.deletes() {
		e := c.problem(op, connection.Ref{}, connection.ErrConfig, "delete_mode is %s", DeleteNone)
		e.Hint = "delete_mode: set it to delete to remove messages once they are stored"
		return e
	}
	var errs []error
	ids := make([]string, 0, len(refs))
	for _, ref := range refs {
		if !c.owns(ref) {
			errs = append(errs, c.problem(op, ref, connection.ErrInvalid, "this is no Ref of a POP3 message of this connection"))
			continue
		}
		ids = append(ids, ref.ID)
	}
	ctx, cancel, leave, err := c.enter(ctx, op)
	if err != nil {
		return c.each(op, ids, err, errs)
	}
	defer leave()
	defer cancel()
	if len(ids) == 0 {
		return errors.Join(errs...)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if !c.turn.take(ctx) {
		return c.each(op, ids, c.ended(ctx, op, connection.Ref{}), errs)
	}
	defer c.turn.give()
	errs = c.remove(ctx, op, ids, errs)
	if err := c.commitIfDue(ctx, op); err != nil {
		// Some of these may be deleted, some not; the others were told so before.
		e := c.fault(op, connection.Ref{}, err)
		if e.Kind != connection.ErrCanceled && e.Kind != connection.ErrClosed {
			e.Kind = connection.ErrUncertain
		}
		var open []string
		for _, id := range ids {
			if _, ok := c.pending[id]; ok {
				open = append(open, id)
			}
		}
		return c.each(op, open, e, errs)
	}
	return errors.Join(errs...)
}

// owns reports whether ref can be of this Conn.
func (c *Conn) owns(ref connection.Ref) bool {
	return ref.ID != "" && (ref.Mailbox == "" || ref.Mailbox == c.cfg.Username) && (ref.Folder == "" || ref.Folder == folder)
}

// each says of all ids that err came to them.
func (c *Conn) each(op string, ids []string, err error, errs []error) error {
	for _, id := range ids {
		errs = append(errs, c.fault(op, c.ref(id), err))
	}
	if len(errs) == 0 {
		return err
	}
	return errors.Join(errs...)
}

// commitIfDue ends the session if expunge_every says so. What follows otherwise is a Fetch, the linger or Close.
func (c *Conn) commitIfDue(ctx context.Context, op string) error {
	c.mu.Lock()
	reading := c.active > 0
	c.mu.Unlock()
	every := c.cfg.ExpungeEvery
	if every > 0 && len(c.pending) >= every || every == 0 && !reading {
		return c.commit(ctx, op)
	}
	if !reading {
		c.startLinger()
	}
	return nil
}

// remove has the server accept a DELE for each of ids that is there, over as many sessions as it takes. It adds to errs
// one error for each that was not accepted.
func (c *Conn) remove(ctx context.Context, op string, ids []string, errs []error) []error {
	begun := c.sessions // a snapshot of this session or an earlier one may be too old to hold them all
	r := retry{conn: c, op: op}
	fail := func(id string, err *connection.Error) { errs = append(errs, err) }
	for len(ids) > 0 {
		s, err := c.current(ctx, op)
		if err == nil {
			ids, err = c.dele(ctx, op, s, ids, fail)
		}
		if err == nil && len(ids) > 0 {
			if s.number > begun {
				return errs // what it does not list is gone
			}
			if _, err = c.after(ctx, op, begun); err == nil {
				continue
			}
		}
		if err == nil {
			return errs
		}
		if err := r.wait(ctx, err); err != nil {
			for _, id := range ids {
				errs = append(errs, c.fault(op, c.ref(id), err))
			}
			return errs
		}
	}
	return errs
}

// dele sends a DELE for those of ids that the session lists. It returns those that it does not list; with an error, the
// session is over, and they are those without an answer.
func (c *Conn) dele(ctx context.Context, op string, s *session, ids []string, fail func(string, *connection.Error)) (left []string, err error) {
	var there []*entry
	for i, id := range ids {
		e, listed := s.find(id)
		_, accepted := c.pending[id]
		switch {
		case accepted:
		case !listed:
			left = append(left, id)
		default:
			f, known := c.facts[id]
			same, err := s.same(ctx, op, e, f, known)
			if err != nil {
				for _, e := range there {
					left = append(left, e.id)
				}
				return append(left, ids[i:]...), err
			}
			if !same {
				fail(id, c.problem(op, c.ref(id), connection.ErrStale, "another message has this UIDL now, or more than one has it"))
				continue
			}
			there = append(there, e)
		}
	}
	for len(there) > 0 {
		n, err := s.mark(ctx, op, there[:min(len(there), maxDeletes)], fail)
		there = there[n:]
		if err != nil {
			for _, e := range there {
				left = append(left, e.id)
			}
			return left, err
		}
	}
	return left, nil
}

// mark sends DELEs, in one go if the server takes that, and notes what was accepted. It returns how many were answered;
// with an error, the session is over. A refusal of a message that is not there any more is none.
func (s *session) mark(ctx context.Context, op string, there []*entry, fail func(string, *connection.Error)) (answered int, err error) {
	c := s.conn
	var refused []reply
	var doubt []*entry
	err = s.run(ctx, op, func() error {
		lines := make([]string, len(there))
		for i, e := range there {
			lines[i] = "DELE " + decimal(e.num)
		}
		if s.l.pipelines() {
			if err := s.l.send(lines...); err != nil {
				return err
			}
		}
		for i, e := range there {
			if !s.l.pipelines() {
				if err := s.l.send(lines[i]); err != nil {
					return err
				}
			}
			r, err := s.l.reply()
			if err != nil {
				return err
			}
			answered++
			if r.ok {
				f, known := c.facts[e.id]
				if !known {
					f = fact{session: s.number, size: e.size}
				}
				c.pending[e.id], s.marked[e.id] = f, true
				s.loans.settle(e.num)
				continue
			}
			refused, doubt = append(refused, r), append(doubt, e)
		}
		return nil
	})
	for i, e := range doubt {
		if err != nil {
			break
		}
		var there bool
		if there, err = s.exists(ctx, op, e); err == nil && there {
			fail(e.id, c.fault(op, c.ref(e.id), s.l.refusal(refused[i], connection.ErrRejected, "")))
		}
	}
	return answered, err
}

// exists asks whether a message is still there, when the server refused something with it.
func (s *session) exists(ctx context.Context, op string, e *entry) (there bool, err error) {
	err = s.run(ctx, op, func() error {
		r, err := s.l.command("LIST " + decimal(e.num))
		there = r.ok
		return err
	})
	return there, err
}

// remark marks again, in a new session, what Delete had accepted and no QUIT is known to have removed. What is not there
// any more was removed; what is another message now, or is refused, will be fetched.
func (c *Conn) remark(ctx context.Context, op string) error {
	var there []*entry
	for id, f := range c.pending {
		e, listed := c.sess.find(id)
		same := false
		if listed {
			var err error
			if same, err = c.sess.same(ctx, op, e, f, true); err != nil {
				return err
			}
		}
		if !same {
			delete(c.pending, id)
			continue
		}
		there = append(there, e)
	}
	for len(there) > 0 {
		n, err := c.sess.mark(ctx, op, there[:min(len(there), maxDeletes)], func(string, *connection.Error) {})
		for _, e := range there[:n] {
			if !c.sess.marked[e.id] {
				delete(c.pending, e.id)
			}
		}
		if there = there[n:]; err != nil {
			return err
		}
	}
	return nil
}
