package pop3client

import (
	"context"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/backoff"
)

// A session is one login with its snapshot of the mailbox. Who holds the Conn's turn may use it.
type session struct {
	conn   *Conn
	l      *link
	number uint64
	dead   bool // nothing may be sent any more

	count, octets  int64 // as STAT told it; -1: not told
	entries        []entry
	index          map[string]int // in entries, by id
	sizes          []numbered     // of LIST, until the listing is read
	noUIDL, noList bool           // the server refused it
	agrees         bool           // STAT, UIDL and LIST tell the same number of messages
	noTop          bool           // the server has no TOP, or use_top is off
	marked         map[string]bool
	loans          *loans // nil if QUIT deletes only what is marked
}

// find returns the entry of an id.
func (s *session) find(id string) (*entry, bool) {
	i, ok := s.index[id]
	if !ok {
		return nil, false
	}
	return &s.entries[i], true
}

// broken reports whether nothing can be said in the session any more.
func (s *session) broken() bool { return s.dead || s.l.conn.Err() != nil }

// run runs commands under ctx, as the verb op. An error means that the session is over.
func (s *session) run(ctx context.Context, op string, commands func() error) error {
	if ctx.Err() != nil {
		return s.conn.ended(ctx, op, connection.Ref{})
	}
	release := s.l.conn.Bind(ctx)
	err := commands()
	if !release() {
		s.dead = true
		return s.conn.ended(ctx, op, connection.Ref{})
	}
	if err != nil {
		s.dead = true
		s.l.conn.Fail(err)
		return s.conn.fault(op, connection.Ref{}, err)
	}
	return nil
}

// enterMaildrop logs in. The snapshot of the session that it returns is not read yet. The turn must be held.
func (c *Conn) enterMaildrop(ctx context.Context, op string) (*session, error) {
	l, err := c.login(ctx, nil)
	if err != nil {
		if ctx.Err() != nil {
			return nil, c.ended(ctx, op, connection.Ref{})
		}
		return nil, c.fault(op, connection.Ref{}, err)
	}
	c.sessions++
	return &session{conn: c, l: l, number: c.sessions, noTop: c.cfg.UseTop == Off, marked: make(map[string]bool), loans: newLoans(&l.caps)}, nil
}

// adopt makes a session the Conn's. What is pending is marked again if it is still there, and forgotten if not. The turn
// must be held, and there must be no session.
func (c *Conn) adopt(ctx context.Context, op string, s *session) error {
	c.sess = s
	if err := s.run(ctx, op, func() error { return s.list(ctx) }); err != nil {
		return err
	}
	if s.number > 1 {
		c.emit(connection.Event{Kind: connection.EventReconnected})
	}
	for id := range c.facts {
		if _, ok := s.find(id); !ok {
			delete(c.facts, id)
		}
	}
	return c.remark(ctx, op)
}

// current returns the session, a new one if there is none that works. The turn must be held.
func (c *Conn) current(ctx context.Context, op string) (*session, error) {
	if c.sess != nil && c.sess.broken() {
		c.drop()
	}
	if c.sess == nil {
		s, err := c.enterMaildrop(ctx, op)
		if err == nil {
			err = c.adopt(ctx, op, s)
		}
		if err != nil {
			c.drop()
			return nil, err
		}
	}
	return c.sess, nil
}

// unchanged looks, in a session younger than the one of that number, whether the server still has count messages of so
// many octets together. If so, it ends that session again; if not, the session is the Conn's. The turn must be held, and
// nothing may be pending.
func (c *Conn) unchanged(ctx context.Context, op string, number uint64, count, octets int64) (bool, error) {
	if c.sess != nil && c.sess.number > number {
		return false, nil
	}
	if c.sess != nil {
		if err := c.quit(ctx, op); err != nil {
			return false, err
		}
	}
	s, err := c.enterMaildrop(ctx, op)
	if err != nil {
		return false, err
	}
	c.sess = s
	if err := s.run(ctx, op, func() error {
		if err := s.l.send("STAT"); err != nil {
			return err
		}
		return s.readStat()
	}); err != nil {
		return false, err
	}
	if s.count == count && s.octets == octets {
		return true, c.quit(ctx, op)
	}
	return false, c.adopt(ctx, op, s)
}

// after returns a session that is younger than the one of that number. The turn must be held.
func (c *Conn) after(ctx context.Context, op string, number uint64) (*session, error) {
	if s := c.sess; s != nil && s.number <= number {
		if err := c.quit(ctx, op); err != nil && ctx.Err() != nil {
			return nil, err
		} // else the new session tells what became of the marks
	}
	return c.current(ctx, op)
}

// drop closes the session without QUIT: nothing that it marked is deleted.
func (c *Conn) drop() {
	if c.sess != nil {
		_ = c.sess.l.conn.Close() // the session is given up
		c.sess = nil
	}
}

// quit ends the session with QUIT, which deletes what is marked (RFC 1939, 6). An error means that what was marked may
// or may not be deleted: it stays pending. A session whose QUIT would delete more than that is given up, and what it has
// marked stays pending. The turn must be held.
func (c *Conn) quit(ctx context.Context, op string) error {
	s := c.sess
	defer c.drop()
	if s.dead {
		return nil
	}
	if s.loans.due() {
		c.withoutQuit()
		return nil
	}
	if len(s.marked) == 0 { // a courtesy, which may not take long
		limited, cancel := context.WithTimeout(ctx, quitLimit)
		defer cancel()
		if err := s.run(limited, op, func() error { _, err := s.l.command("QUIT"); return err }); err != nil && ctx.Err() != nil {
			return c.ended(ctx, op, connection.Ref{})
		}
		return nil
	}
	var r reply
	if err := s.run(ctx, op, func() (err error) { r, err = s.l.command("QUIT"); return err }); err != nil {
		return err
	}
	if !r.ok {
		// RFC 1939, 6: some may be deleted, and some not.
		return c.fault(op, connection.Ref{}, s.l.refusal(r, connection.ErrUnavailable, ""))
	}
	for id := range s.marked {
		delete(c.pending, id)
		delete(c.facts, id)
		if c.committed != nil && len(c.committed) < forgetOver {
			c.committed[id] = struct{}{}
		}
	}
	return nil
}

// tries is how often something is tried in new sessions before it is given up.
const tries = 4

// commit ends the session, and begins new ones, until nothing is pending. The turn must be held.
func (c *Conn) commit(ctx context.Context, op string) error {
	if c.sess != nil && c.sess.broken() {
		c.drop()
	}
	begun := c.sessions
	for r := (retry{conn: c, op: op}); c.sess != nil || len(c.pending) > 0; {
		s, err := c.current(ctx, op)
		if err == nil && s.number > begun && s.loans.due() {
			e := c.problem(op, connection.Ref{}, connection.ErrUnsupported, "the server deletes at QUIT what was read (EXPIRE 0), and its messages cannot be told apart without reading them")
			e.Hint = "use_top: auto, if it is off; a server without UIDL and TOP that says EXPIRE 0 cannot delete one message and keep another"
			return e
		}
		if err == nil {
			err = c.quit(ctx, op)
		}
		if err == nil {
			continue
		}
		if err := r.wait(ctx, err); err != nil {
			return err
		}
	}
	return nil
}

// A retry bounds how often one verb tries again in a new session. A maildrop that another session holds is waited for.
type retry struct {
	conn   *Conn
	op     string
	failed int
	since  time.Time
}

// busyFor is how long a maildrop that another session holds is waited for, unless Follow waits for ever.
const busyFor = 30 * time.Second

// wait returns nil when it is time for another try, else the error to give up with.
func (r *retry) wait(ctx context.Context, err error) error {
	if r.failed++; r.failed == 1 {
		r.since = time.Now()
	}
	busy := connection.KindOf(err) == connection.ErrThrottled
	protocol := connection.KindOf(err) == connection.ErrProtocol
	switch {
	case ctx.Err() != nil:
		return r.conn.ended(ctx, r.op, connection.Ref{})
	case !connection.Temporary(err) && !protocol,
		busy && time.Since(r.since) > busyFor,
		!busy && r.failed >= tries:
		return err
	}
	if !r.conn.pause(ctx, err, r.failed, 2*time.Second) {
		return r.conn.ended(ctx, r.op, connection.Ref{})
	}
	return nil
}

// pause tells that err is followed by another try, and waits. It reports whether ctx lasted.
func (c *Conn) pause(ctx context.Context, err error, failures int, longest time.Duration) bool {
	asked := connection.RetryAfter(err)
	kind := connection.EventRetry
	if connection.KindOf(err) == connection.ErrThrottled {
		// [IN-USE] names no time of the server's; and a LOGIN-DELAY is kept by login.
		kind, asked = connection.EventThrottled, 0
	}
	delay := backoff.Policy{Min: 50 * time.Millisecond, Max: longest}.Delay(failures, asked)
	c.emit(connection.Event{Kind: kind, Err: err, Count: int64(failures), Until: time.Now().Add(delay), Detail: connection.KindOf(err).Error()})
	c.env.Log().WarnContext(ctx, "session interrupted; trying again", "endpoint", c.info.Endpoint, "failures", failures, "delay", delay, "error", err)
	return backoff.Wait(ctx, delay) == nil
}

// rest is for after a verb: it decides how long a session that nobody uses is kept. The turn must not be held.
//
// With expunge_every 0, and where nothing is ever deleted, it ends at once; otherwise the next Delete may use it for a
// moment.
func (c *Conn) rest(ctx context.Context, op string) error {
	c.mu.Lock()
	reading := c.active > 0
	c.mu.Unlock()
	if reading {
		return nil
	}
	if c.cfg.deletes() && c.cfg.ExpungeEvery > 0 || ctx.Err() != nil {
		c.startLinger()
		return nil
	}
	if !c.turn.take(ctx) {
		c.startLinger()
		return nil
	}
	defer c.turn.give()
	return c.commit(ctx, op)
}

// startLinger has the session ended when it was not used for a moment.
func (c *Conn) startLinger() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopLinger()
	if !c.closed {
		c.linger = time.AfterFunc(lingerFor, c.lingered)
	}
}

// stopLinger needs c.mu.
func (c *Conn) stopLinger() {
	if c.linger != nil {
		c.linger.Stop()
		c.linger = nil
	}
}

// lingered commits, since nobody needed the session any more. Where that fails, the next session or Close sees to it.
func (c *Conn) lingered() {
	ctx, cancel, leave, err := c.enter(context.Background(), "commit")
	if err != nil {
		return // Close commits
	}
	defer leave()
	defer cancel()
	if !c.turn.take(ctx) {
		return
	}
	defer c.turn.give()
	c.mu.Lock()
	reading := c.active > 0
	c.mu.Unlock()
	if reading {
		return
	}
	if err := c.commit(ctx, "commit"); err != nil && ctx.Err() == nil {
		c.env.Log().WarnContext(ctx, "commit failed; the messages stay marked for deletion", "endpoint", c.info.Endpoint, "error", err)
	}
}
