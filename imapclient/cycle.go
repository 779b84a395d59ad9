package imapclient

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/backoff"
)

// A place is how far a fetch has come in one folder.
type place struct {
	validity string
	box      *box   // as the last look found it
	next     uint64 // the lowest UID not dealt with
	uidNext  uint32 // as the server told it when all was dealt with; 0: not yet
	exists   uint32
	vain     uint32 // of so many messages FETCH told no more than SEARCH
}

// errRenumbered says that the UIDs in hand are void. The place is set back already.
var errRenumbered = errors.New("the folder was renumbered")

// follow reads all folders, and with Follow again and again.
func (f *fetch) follow() error {
	var (
		picked time.Time
		wait   waiting
	)
	for idle := 0; ; {
		found := 0
		if time.Since(picked) > listAgain {
			if err := f.pick(); err != nil {
				return err
			}
			picked = time.Now()
		}
		f.open = f.open[:0]
		for _, folder := range f.folders {
			if time.Now().Before(f.aside[folder]) {
				continue
			}
			n, err := f.cycle(folder)
			switch {
			case err == nil:
				f.open = append(f.open, folder)
				delete(f.reported, folder)
			case !f.setAside(folder, err):
				return err
			}
			f.conn.judgeIdle(wait, folder, n)
			if found += n; f.full() {
				return nil
			}
		}
		wait = waiting{}
		switch {
		case !f.opts.Follow:
			return nil
		case found >= f.conn.cfg.messagesPerCycle():
			idle = 0
			continue // more may be waiting already
		case found > 0:
			idle = 0
		default:
			idle++
			f.tidy()
		}
		var err error
		if wait, err = f.pause(idle); err != nil {
			return err
		}
	}
}

// pollDelay returns how long to wait after so many looks that found nothing.
func (c *Config) pollDelay(idle int) time.Duration {
	return doubled(c.pollingInterval(), c.pollingIdleMax(), idle)
}

// doubled doubles delay so often, but not beyond most.
func doubled(delay, most time.Duration, times int) time.Duration {
	for range times {
		if delay >= most/2 {
			return most
		}
		delay *= 2
	}
	return delay
}

// tidy expunges what is marked, since the folder is quiet. Where it cannot, the next Delete or Close says why.
func (f *fetch) tidy() {
	if err := f.conn.expungeFlagged(f.ctx, f.op, f.folders); err != nil && f.ctx.Err() == nil {
		f.conn.env.Log().WarnContext(f.ctx, "expunge failed; the messages stay marked as deleted", "endpoint", f.conn.info.Endpoint, "error", err)
	}
}

// cycle deals with all that is in folder now. It returns how many messages there were to read.
func (f *fetch) cycle(folder string) (found int, err error) {
	for {
		f.conn.settle(f.ctx, f.op, folder)
		n, err := f.sweep(folder)
		found += n
		switch {
		case err == nil:
			f.failures = 0
			return found, nil
		case errors.Is(err, errRenumbered):
		default:
			if !isFinal(err) && ofFolder(connection.KindOf(err)) {
				f.refused = true // what is refused here may be well elsewhere
				err = f.conn.fault(f.op, connection.Ref{Mailbox: f.conn.cfg.mailbox, Folder: folder}, err)
			}
			if err := f.again(err); err != nil {
				return found, err
			}
		}
	}
}

// again decides whether err may pass: it waits and returns nil, or it returns a final error.
func (f *fetch) again(err error) error {
	kind, asked := connection.KindOf(err), connection.RetryAfter(err)
	limit := time.Minute
	if f.opts.Follow {
		limit = math.MaxInt64
	}
	f.failures++
	busy := kind == connection.ErrThrottled || kind == connection.ErrUnavailable
	switch {
	case f.ctx.Err() != nil:
		return f.endedNow()
	case isFinal(err):
		return err
	case !connection.Temporary(err) && kind != connection.ErrProtocol:
		return &final{err} // a refused login above all: trying again locks accounts
	case kind == connection.ErrProtocol && f.failures > maxFailures, asked > limit:
		return &final{err}
	case f.refused && f.opts.Follow && f.failures > maxFailures && len(f.folders) > 1 && alone(err):
		return &final{err} // of this folder, for a while
	case f.opts.Follow:
	case f.failures > maxFailures, !f.reached && !busy:
		return &final{err}
	}
	policy := backoff.Policy{Min: 100 * time.Millisecond, Max: 5 * time.Second}
	if f.opts.Follow {
		policy.Max = time.Minute
	}
	delay := policy.Delay(f.failures, asked)
	ev := connection.Event{Kind: connection.EventRetry, Err: err, Count: int64(f.failures), Until: time.Now().Add(delay)}
	if kind == connection.ErrThrottled {
		ev.Kind = connection.EventThrottled
	}
	f.conn.emit(ev)
	f.conn.env.Log().WarnContext(f.ctx, "fetch interrupted; trying again", "endpoint", f.conn.info.Endpoint, "failures", f.failures, "delay", delay, "error", err)
	if backoff.Wait(f.ctx, delay) != nil {
		return f.endedNow()
	}
	return nil
}

// do runs fn with a session that has folder selected. What keeps it from having one is borne as long as again says;
// the error is then final. Any other error is fn's, or errRenumbered.
func (f *fetch) do(folder string, anew bool, fn func(*session, *box) error) error {
	for {
		if err := f.flush(); err != nil {
			return err
		}
		if !f.turn.take(f.ctx) {
			return f.endedNow()
		}
		b, err := f.ready(folder, anew)
		if err == nil {
			err = fn(f.sess, b)
			f.turn.give()
			if ended := f.flush(); ended != nil {
				return ended
			}
			return err
		}
		f.turn.give()
		if errors.Is(err, errRenumbered) {
			return err
		}
		if err := f.again(err); err != nil {
			return err
		}
	}
}

// ready makes sure of a session with folder selected, anew or since earlier, and of the folder's UIDs being those of
// the place.
func (f *fetch) ready(folder string, anew bool) (*box, error) {
	f.refused = false
	if err := f.connected(); err != nil {
		return nil, err
	}
	b, err := f.look(folder, anew)
	if err != nil {
		f.refused = !f.sess.broken()
		return nil, f.patient(folder, err)
	}
	if b.readOnly && f.op == "fetch" && f.conn.cfg.deletes() {
		e := f.conn.problem(f.op, connection.Ref{Folder: folder}, connection.ErrPermission, "the folder is read-only, and delete_mode is %s", f.conn.cfg.DeleteMode)
		e.Hint = "delete_mode: none reads without removing; or give the user the right to delete in this folder"
		f.refused = true
		return nil, e
	}
	p := f.places[folder]
	if p == nil {
		p = &place{validity: b.validity, next: 1}
		f.places[folder] = p
	}
	f.conn.forget(folder, b.validity)
	if p.validity != b.validity {
		*p = place{validity: b.validity, next: 1}
		f.conn.emit(connection.Event{Kind: connection.EventRestarted, Ref: connection.Ref{Folder: folder}, Detail: "UIDVALIDITY is another one: the folder is read from its beginning"})
		return nil, errRenumbered
	}
	return b, nil
}

// connected makes sure of a session.
func (f *fetch) connected() error {
	if f.sess != nil && f.sess.broken() {
		f.sess.abandon()
		f.sess = nil
	}
	if f.sess != nil {
		return nil
	}
	s, err := f.conn.session(f.ctx, f.op)
	if err != nil {
		return err
	}
	if s.box != nil && s.box.lasting {
		s.box = nil // what it has selected may be older than the UIDs in hand, which it would not know
	}
	s.condstore = f.op == "sync"
	f.sess = s
	if f.reached {
		f.conn.emit(connection.Event{Kind: connection.EventReconnected})
	}
	f.reached = true
	return nil
}

// look selects folder. Where UIDs last for one SELECT only, that SELECT is kept, and the server is asked for news.
func (f *fetch) look(folder string, anew bool) (*box, error) {
	s := f.sess
	kept := s.box != nil && s.box.folder == folder && !s.box.lasting
	if !anew || kept {
		b, err := s.selected(f.ctx, f.op, folder)
		if err != nil || !anew {
			return b, err
		}
		s.guard.news.clear()
		if err := s.run(f.ctx, f.op, func() error { return s.client.Noop().Wait() }); err != nil {
			return nil, err
		}
		if m := s.client.Mailbox(); m != nil {
			b.exists, b.uidNext = m.NumMessages, 0
		}
		return b, nil
	}
	return s.open(f.ctx, f.op, folder)
}

// batch hands over those of uids that the policies let through.
func (f *fetch) batch(folder string, b *box, uids []uint32) error {
	uids, err := f.judge(folder, b, uids)
	if err != nil || len(uids) == 0 {
		return err
	}
	return f.deliver(folder, uids)
}

// judge asks for sizes and dates where they decide, and returns the UIDs whose bodies are wanted. A message that is too
// large is reported. Where the server's answer is not to be had, the body's own size will decide.
func (f *fetch) judge(folder string, b *box, uids []uint32) ([]uint32, error) {
	most, since := f.conn.cfg.MaxMessage, f.opts.Since
	if most == 0 && since.IsZero() {
		return uids, nil
	}
	known := make(map[uint32]facts, len(uids))
	opts := &goimap.FetchOptions{UID: true, RFC822Size: most > 0, InternalDate: !since.IsZero()}
	err := f.about(folder, uids, opts, func(about facts) { known[about.uid] = about })
	if isFinal(err) || errors.Is(err, errRenumbered) || errors.Is(err, context.Canceled) {
		return nil, err
	}
	var wanted []uint32
	for _, uid := range uids {
		about, ok := known[uid]
		switch {
		case ok && most > 0 && about.size > most:
			f.tooLarge(b.ref(uid), about.size)
		case ok && !about.received.IsZero() && about.received.Before(since):
		default:
			wanted = append(wanted, uid)
		}
	}
	return wanted, nil
}

// about asks for what opts names of the messages of uids, in commands of a length that all servers take.
func (f *fetch) about(folder string, uids []uint32, opts *goimap.FetchOptions, each func(facts)) error {
	for some := range slices.Chunk(uids, storeAtOnce) {
		if err := f.facts(folder, uidSet(some), opts, each); err != nil {
			return err
		}
	}
	return nil
}

// facts asks for what opts names of set.
func (f *fetch) facts(folder string, set goimap.UIDSet, opts *goimap.FetchOptions, each func(facts)) error {
	return f.do(folder, false, func(s *session, _ *box) error { return s.facts(f.ctx, f.op, set, opts, each) })
}

func (s *session) facts(ctx context.Context, op string, set goimap.UIDSet, opts *goimap.FetchOptions, each func(facts)) error {
	return s.run(ctx, op, func() error {
		cmd := s.client.Fetch(set, opts)
		for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
			about := facts{size: -1}
			for item := msg.Next(); item != nil; item = msg.Next() {
				about.note(item)
			}
			if about.uid != 0 {
				each(about)
			}
		}
		return cmd.Close()
	})
}

func (f *fetch) tooLarge(ref connection.Ref, size int64) {
	e := f.conn.problem(f.op, ref, connection.ErrTooLarge, "the message has %d octets, the limit is %d", size, f.conn.cfg.MaxMessage)
	e.Hint = "max_message: raise it, or 0 for no limit"
	f.conn.emit(connection.Event{Kind: connection.EventSkipped, Ref: ref, Detail: "over max_message", Bytes: size})
	f.push(item{err: e})
}
