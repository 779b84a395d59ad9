package imapclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/backoff"
)

// IDLE (RFC 2177) is only a hint that it is time to look. Servers forget to tell, tell before they say that they are
// idle, or fall silent for ever, so that a wait with IDLE is what one without it is, with a longer end: rounds that
// double until idle_safety_poll, after each of which the folder is looked at.

const (
	idlePatience   = 30 * time.Second // for the server to begin and to end IDLE
	longestRound   = 27 * time.Minute // go-imap's own renewal, after 28 minutes, does not wait for replies
	idleBrief      = time.Minute      // a session that does not survive that long in IDLE is no accident
	idleChances    = 2                // failures in succession after which IDLE is not used any more
	longestFalsely = time.Second      // wait after an announcement that was none
)

// idling is how well IDLE has worked in a Conn. The Conn's mutex guards it.
type idling struct {
	off      bool
	stalls   int // looks in succession that found what a whole round had not announced
	troubles int // sessions in succession that broke soon after IDLE
}

// waiting is how a pause between two looks went.
type waiting struct {
	folder    string        // on which the server was idle; "" if it was not
	announced bool          // it told of new mail
	quiet     time.Duration // for how long it did not
}

// pause waits between two looks, of which so many found nothing.
func (f *fetch) pause(idle int) (waiting, error) {
	cfg := &f.conn.cfg
	if !cfg.Idle || f.conn.idleOff() || len(f.open) == 0 {
		if backoff.Wait(f.ctx, cfg.pollDelay(idle)) != nil {
			return waiting{}, f.endedNow()
		}
		f.conn.emit(connection.Event{Kind: connection.EventWakeup, Detail: "poll"})
		return waiting{}, nil
	}
	if idle > 0 && f.alarmed {
		// Mail was announced, and then there was none.
		if backoff.Wait(f.ctx, min(cfg.pollDelay(idle), longestFalsely)) != nil {
			return waiting{}, f.endedNow()
		}
	}
	wait := waiting{folder: f.open[0]}
	most := min(cfg.idleSafetyPoll(), cfg.idleRenew(), longestRound)
	if len(f.folders) > 1 || cfg.listed() {
		most = min(most, cfg.pollingIdleMax()) // the server tells of one folder only
	}
	began := time.Now()
	announced, err := f.idleFor(wait.folder, doubled(cfg.pollingInterval(), most, idle))
	wait.announced, wait.quiet = announced, time.Since(began)
	f.alarmed = announced
	switch {
	case f.ctx.Err() != nil:
		return waiting{}, f.endedNow()
	case errors.Is(err, errRenumbered):
		return waiting{}, nil
	case err != nil:
		return waiting{}, f.idleFailed(err, wait.quiet)
	}
	detail := "poll"
	if announced {
		detail = "idle"
	}
	f.conn.emit(connection.Event{Kind: connection.EventWakeup, Detail: detail})
	return wait, nil
}

// idleFor lets the server be idle on folder for at most round, with interruptions while others need the session. It
// reports whether mail was announced, or may have been.
func (f *fetch) idleFor(folder string, round time.Duration) (announced bool, err error) {
	for end := time.Now().Add(round); ; {
		left := time.Until(end)
		if left <= 0 {
			return false, nil
		}
		var lent bool
		err := f.do(folder, false, func(s *session, b *box) error {
			if b != f.places[folder].box || s.guard.news.any() {
				announced = true // since the last look; or another SELECT has swallowed what was
				return nil
			}
			if !s.has(goimap.CapIdle) {
				f.conn.giveUpIdle(f.ctx, connection.EventQuirk, folder, "the server does not offer IDLE")
				return nil
			}
			if f.borrowers.Load() > 0 {
				lent = true // he has told so before, and perhaps an IDLE that has ended already
				return nil
			}
			var err error
			if announced, lent, err = s.idle(f.ctx, f.op, left, f.wanted); err != nil && !s.broken() {
				err = &refusedIdle{err}
			}
			return err
		})
		if err != nil || !lent || announced {
			return announced, err
		}
	}
}

// refusedIdle is the server's NO or BAD to IDLE.
type refusedIdle struct{ err error }

func (e *refusedIdle) Error() string { return e.err.Error() }
func (e *refusedIdle) Unwrap() error { return e.err }

var errIdleMute = errors.New("the server does not answer IDLE")

// idle sends IDLE, and DONE after round, or as soon as mail is announced or somebody wants the session.
func (s *session) idle(ctx context.Context, op string, round time.Duration, wanted <-chan struct{}) (announced, lent bool, err error) {
	patience := idlePatience
	if limit := s.conn.cfg.NoDataTimeout.D(); limit > 0 {
		patience = min(patience, limit)
	}
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	overdue := time.AfterFunc(patience, func() { cancel(errIdleMute) })
	defer overdue.Stop()
	s.guard.setIdle(s.conn.cfg.idleLimit())
	defer s.guard.setIdle(0)
	err = s.run(inner, op, func() error {
		cmd, err := s.client.Idle()
		if err != nil {
			return err
		}
		overdue.Stop()
		timer := time.NewTimer(round)
		defer timer.Stop()
		select {
		case <-s.guard.news.come:
			announced = true
		case <-wanted:
			lent = true
		case <-timer.C:
		case <-inner.Done():
		case <-s.client.Closed():
		}
		// A connection that has died on the way is found out here.
		overdue.Reset(patience)
		if err := cmd.Close(); err != nil {
			return err
		}
		return cmd.Wait()
	})
	if errors.Is(context.Cause(inner), errIdleMute) && ctx.Err() == nil {
		err = s.conn.problem(op, connection.Ref{}, connection.ErrTimeout, "%w within %v", errIdleMute, patience)
	}
	return announced, lent, err
}

// idleFailed bears a failure of IDLE, after which the folder is looked at, over another session if need be.
func (f *fetch) idleFailed(err error, lasted time.Duration) error {
	c := f.conn
	switch {
	case isFinal(err):
		return err
	case errors.As(err, new(*refusedIdle)):
		if !connection.Temporary(err) {
			c.giveUpIdle(f.ctx, connection.EventQuirk, f.open[0], "the server refuses IDLE: "+cause(err).Error())
			return nil
		}
	case lasted < idleBrief:
		c.mu.Lock()
		c.idling.troubles++
		enough := c.idling.troubles >= idleChances
		c.mu.Unlock()
		if enough {
			c.giveUpIdle(f.ctx, connection.EventStalledIdle, f.open[0], "the connection ends soon after IDLE: "+cause(err).Error())
		}
	}
	return f.again(err)
}

// judgeIdle draws the conclusion from a look that found n messages in folder after a wait.
func (c *Conn) judgeIdle(wait waiting, folder string, n int) {
	if wait.folder == "" || wait.folder != folder {
		return
	}
	long := min(c.cfg.idleSafetyPoll(), c.cfg.idleRenew(), c.cfg.pollingIdleMax())
	c.mu.Lock()
	c.idling.troubles = 0
	stalled := n > 0 && !wait.announced && wait.quiet >= long
	switch {
	case stalled:
		c.idling.stalls++
	case n > 0 && wait.announced:
		c.idling.stalls = 0
	}
	enough := c.idling.stalls >= idleChances
	c.mu.Unlock()
	if !stalled {
		return
	}
	what := fmt.Sprintf("the server did not tell of %d new messages during %v of IDLE", n, wait.quiet.Round(time.Millisecond))
	if enough {
		c.giveUpIdle(c.life, connection.EventStalledIdle, folder, what)
		return
	}
	c.emit(connection.Event{Kind: connection.EventStalledIdle, Ref: connection.Ref{Folder: folder}, Count: int64(n), Detail: what})
}

func (c *Conn) idleOff() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.idling.off
}

// giveUpIdle makes the Conn poll from now on, and says so, once.
func (c *Conn) giveUpIdle(ctx context.Context, kind connection.EventKind, folder, why string) {
	c.mu.Lock()
	was := c.idling.off
	c.idling.off = true
	c.mu.Unlock()
	if was {
		return
	}
	why += "; IDLE is not used any more, the folders are polled"
	c.emit(connection.Event{Kind: kind, Ref: connection.Ref{Folder: folder}, Detail: why})
	c.env.Log().WarnContext(ctx, "IDLE is given up", "endpoint", c.info.Endpoint, "folder", folder, "reason", why)
}

// borrow takes the turn of a fetch, which leaves IDLE for it. It reports whether the turn was had before ctx was done.
func (f *fetch) borrow(ctx context.Context) bool {
	f.borrowers.Add(1)
	defer f.borrowers.Add(-1)
	select {
	case f.wanted <- struct{}{}:
	default:
	}
	return f.turn.take(ctx)
}
