package quota

import (
	"fmt"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A hold is why the first in a queue is not let through.
type hold struct {
	until  time.Time // zero: until a call of the same budget ends
	shared bool      // for lack of what all users share
}

// look lets through whom it may of u's queue.
func (l *Limiter) look(u *user) {
	now := l.o.Now()
	l.turn(now)
	for len(u.queue) > 0 && !l.contended {
		if h, held := l.first(u, now, false); held {
			l.contended = h.shared
			l.arm(h.until)
			break
		}
	}
	l.settle(u)
}

// lookAround lets through whom it may of all queues, one of each in turn.
func (l *Limiter) lookAround() {
	now := l.o.Now()
	l.turn(now)
	l.contended, l.wake = false, time.Time{}
	for moved := true; moved; {
		moved = false
		l.wake = time.Time{}
		last := l.waiting.Back()
		for e := l.waiting.Front(); e != nil; {
			next := e.Next()
			if e == last {
				next = nil
			}
			u := e.Value.(*user)
			h, held := l.first(u, now, l.contended)
			switch {
			case held:
				l.contended = l.contended || h.shared
				l.sooner(h.until)
			default:
				moved = true
				l.waiting.MoveToBack(e)
			}
			l.settle(u)
			e = next
		}
	}
	l.set(now)
}

// first decides on the first of u's queue: it is let through or refused, or held. behind says that others were held for lack
// of what all share, so that this one may only be refused.
func (l *Limiter) first(u *user, now time.Time, behind bool) (h hold, held bool) {
	if len(u.queue) == 0 {
		return hold{}, true
	}
	q := u.queue[0]
	units := l.profile.Units(q.method) * q.times
	if err := l.refusal(u, q, units, now); err != nil {
		l.pop(u, err)
		return hold{}, false
	}
	if behind {
		return hold{shared: true}, true
	}
	b := l.budget(u)
	limit := l.profile.Limit()
	own := later(now.Add(b.meter.wait(now, units, limit)), b.pause.until)
	all := later(now.Add(l.project.wait(now, units, ProjectLimit)), l.pause.until)
	switch {
	case u.pause.until.After(now):
		return hold{until: u.pause.until}, true
	case own.After(now):
		return hold{until: own, shared: b != u}, true
	case b.inflight >= b.places():
		return hold{shared: b != u}, true
	case l.pause.strikes > 0 && l.calls > 0: // one call tries whether it is over
		return hold{shared: true}, true
	case all.After(now):
		return hold{until: all, shared: true}, true
	}
	b.meter.take(now, units, limit)
	l.project.take(now, units, ProjectLimit)
	l.day.spend(u.name, int64(units))
	b.inflight++
	l.calls++
	q.slot = &slot{of: b, refusals: b.refusals, denied: l.denied, crowded: b.inflight == b.width}
	l.pop(u, nil)
	return hold{}, false
}

// budget returns the budget that u's calls are charged to.
func (l *Limiter) budget(u *user) *user {
	if l.crowd.shared != nil {
		return l.crowd.shared
	}
	return u
}

// pop gives the first of u's queue its outcome.
func (l *Limiter) pop(u *user, err error) {
	q := u.queue[0]
	u.queue[0] = nil
	u.queue = u.queue[1:]
	q.ready <- err
}

// refusal returns why a call need not wait any longer, or nil.
func (l *Limiter) refusal(u *user, q *waiter, units int, now time.Time) error {
	if units > 0 {
		if err := l.spent(q.work, int64(units), now); err != nil {
			return err
		}
	}
	p := l.pause
	for _, other := range []pause{u.pause, l.budget(u).pause} {
		if other.until.After(p.until) {
			p = other
		}
	}
	left := p.until.Sub(now)
	if left <= l.o.Patience {
		return nil
	}
	return &connection.Error{
		Driver: driver, Kind: connection.ErrThrottled, Code: p.reason, RetryAfter: left,
		Err: fmt.Errorf("google wants no requests until %s", p.until.UTC().Format(time.RFC3339)),
	}
}

const driver = "gmail"

// turn does what the time has come for.
func (l *Limiter) turn(now time.Time) {
	if l.day.turn(now) {
		l.profile = l.o.Profile // whether it was too high is found out anew
	}
	l.crowd.disperse(now)
}

// arm makes sure that the queues are looked at when it is at.
func (l *Limiter) arm(at time.Time) {
	before := l.wake
	l.sooner(at)
	if l.wake != before {
		l.set(l.o.Now())
	}
}

func (l *Limiter) sooner(at time.Time) {
	if !at.IsZero() && (l.wake.IsZero() || at.Before(l.wake)) {
		l.wake = at
	}
}

// set winds the timer.
func (l *Limiter) set(now time.Time) {
	switch {
	case l.wake.IsZero():
		if l.timer != nil {
			l.timer.Stop()
		}
	case l.timer == nil:
		l.timer = time.AfterFunc(l.wake.Sub(now), func() {
			l.mu.Lock()
			defer l.unlock()
			l.lookAround()
		})
	default:
		l.timer.Reset(l.wake.Sub(now))
	}
}

func later(times ...time.Time) time.Time {
	var last time.Time
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}
