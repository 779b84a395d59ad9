package smtpclient

import (
	"context"
	"slices"
	"sync"
	"time"
)

// A pool holds the sessions of a Conn: those that nobody uses, and a place for each that exists or is being made. Who
// finds no place waits in line. Its methods are safe for concurrent use.
type pool struct {
	conn *Conn

	mu    sync.Mutex
	idle  []*session // the one used last is last
	open  int        // places taken
	line  []*waiter
	timer *time.Timer // closes idle sessions; nil if there are none
}

// A waiter is a Send that waits for a session.
type waiter struct {
	d     *delivery
	fresh bool       // it wants a new session
	grant chan grant // has room for one
	gone  bool       // under pool.mu: nobody waits any more
}

// A grant is what a waiter gets: a session, or with s nil the right to make one. With p not nil the commands of that
// plan are on their way over s.
type grant struct {
	s *session
	p *plan
}

// acquire returns a session, or the right to make one, for d. With fresh it is the latter.
func (p *pool) acquire(ctx context.Context, d *delivery, fresh bool) (grant, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		s := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		if fresh {
			_ = s.conn.Close() // it is as old as the one that just failed; the place is taken over
			return grant{}, nil
		}
		return grant{s: s}, nil
	}
	if p.open < p.conn.cfg.poolSize() {
		p.open++
		p.mu.Unlock()
		return grant{}, nil
	}
	w := &waiter{d: d, fresh: fresh, grant: make(chan grant, 1)}
	p.line = append(p.line, w)
	p.mu.Unlock()
	select {
	case g := <-w.grant:
		return g, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	w.gone = true
	p.line = slices.DeleteFunc(p.line, func(other *waiter) bool { return other == w })
	p.mu.Unlock()
	select {
	case g := <-w.grant: // it came in the same instant
		if g.s != nil && g.p != nil {
			_ = g.s.conn.Close() // the server waits for content that will not come
		}
		p.release(g.s)
	default:
	}
	return grant{}, ctx.Err()
}

// rider returns who is next in line and its commands, to be sent over s behind the message that s sends now; nil if
// nobody can ride. It keeps the place in line of one whose plan fails: that one finds out by itself.
func (p *pool) rider(s *session) (*waiter, *plan) {
	if !s.ext.pipelining {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.messages >= p.conn.cfg.poolMaxMessages() || len(p.line) == 0 || p.line[0].fresh {
		return nil, nil
	}
	w := p.line[0]
	w.d.noBDAT = p.conn.bdatFails()
	plan, err := w.d.plan(s)
	if err != nil || len(plan.commands) > window {
		return nil, nil
	}
	p.line = p.line[1:]
	s.messages++
	return w, plan
}

// hand gives s to the rider whose commands are on their way, or the place of s if s is dead.
func (p *pool) hand(s *session, w *waiter, plan *plan) {
	p.mu.Lock()
	gone := w.gone
	if !gone {
		if s.alive() {
			w.grant <- grant{s, plan}
		} else {
			w.grant <- grant{}
		}
	}
	p.mu.Unlock()
	if gone {
		_ = s.conn.Close() // as in acquire
		p.release(s)
	}
}

// release gives s, or if it is nil or dead its place, to who is next in line, or keeps it. What has to be said to the
// server before the session ends is said by a goroutine of the Conn's.
func (p *pool) release(s *session) {
	if s != nil && (!s.alive() || s.br.Buffered() > 0) { // what was not asked for is not read as an answer
		_ = s.conn.Close()
		s = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s != nil && (s.messages >= p.conn.cfg.poolMaxMessages() || len(p.line) > 0 && p.line[0].fresh || p.conn.life.Err() != nil) {
		p.conn.farewell(s)
		s = nil
	}
	switch {
	case len(p.line) > 0:
		w := p.line[0]
		p.line = p.line[1:]
		w.grant <- grant{s: s}
	case s == nil:
		p.open--
	default:
		s.idleSince = time.Now()
		p.idle = append(p.idle, s)
		if p.timer == nil {
			p.timer = time.AfterFunc(p.conn.cfg.poolIdle(), p.reap)
		}
	}
}

// reap closes what was idle for too long.
func (p *pool) reap() {
	if !p.conn.begin() {
		return
	}
	defer p.conn.busy.Done()
	limit := p.conn.cfg.poolIdle()
	p.mu.Lock()
	defer p.mu.Unlock()
	now, kept := time.Now(), p.idle[:0]
	next := limit
	for _, s := range p.idle {
		if left := limit - now.Sub(s.idleSince); left > 0 {
			next = min(next, left)
			kept = append(kept, s)
			continue
		}
		p.open--
		p.conn.farewell(s)
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	p.timer = nil
	if len(kept) > 0 {
		p.timer = time.AfterFunc(next, p.reap)
	}
}

// drain empties the pool at the end of the Conn's life.
func (p *pool) drain() []*session {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	all := p.idle
	p.idle = nil
	return all
}
