package quota

import (
	"container/list"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// Work says what a call is for.
type Work uint8

// The kinds of work.
const (
	Full  Work = iota // reads a mailbox from its beginning: stops when the day's budget is spent
	Delta             // reads what is new: may also spend the reserve
	Other             // all else: as Delta
)

// MaxWidth is how many requests may be under way for a user at most, whatever the settings.
const MaxWidth = 10

// Options configure a Limiter. The zero value is usable.
type Options struct {
	Profile  Profile
	Daily    int64         // units that full syncs leave off at in a day; the rest may spend a ninth more. 0 = 72,000,000
	Parallel int           // requests at once for a user to begin with, 1 to MaxWidth; 0 = 4
	Retries  int           // tries of one call, see Repeat; 0 = 6
	Patience time.Duration // a longer pause is the caller's to wait for, as an error; 0 = 2 minutes

	State   State                  // keeps the day's count when the process ends; nil = nothing does
	Observe func(connection.Event) // is told of pauses and of what the Limiter finds out; nil = nobody
	Now     func() time.Time       // nil = time.Now
	Rand    func() float64         // from 0 up to 1; nil = math/rand/v2.Float64
}

// A Limiter lets calls through as the package comment says. It may be used by several goroutines, starts none, and forgets
// users of whom nothing is to be remembered. Several Limiters of one Google project do not see each other.
type Limiter struct {
	o Options

	mu      sync.Mutex
	profile Profile // as it was lowered
	users   map[string]*user
	sweepAt int
	project meter
	pause   pause // of the whole project
	calls   int   // under way
	denied  int   // refusals for want of the project's units; counts as user.refusals
	day     day
	crowd   crowd

	waiting   *list.List // of *user with a queue, in turn
	contended bool       // somebody waits for what all share: who comes now must queue
	timer     *time.Timer
	wake      time.Time          // when timer fires; zero = it does not
	events    []connection.Event // told when mu is given back
}

// A user is one budget.
type user struct {
	name     string
	meter    meter
	pause    pause
	width    int // how many calls may be under way
	inflight int
	run      int // calls that went well at full width since it changed
	refusals int // counts, so that a call knows whether there was one since it began
	queue    []*waiter
	place    *list.Element // in Limiter.waiting while there is a queue
}

// A waiter is a call that is not let through yet.
type waiter struct {
	method string
	times  int
	work   Work
	ready  chan error // holds the outcome; nil means that the call may go
	slot   *slot      // set before a nil is in ready
}

// A slot is a call under way.
type slot struct {
	of       *user
	refusals int  // of its user when it began
	denied   int  // of the project
	crowded  bool // all places were taken
	left     bool
}

// New returns a Limiter.
func New(o Options) *Limiter {
	if o.Daily <= 0 {
		o.Daily = 72_000_000
	}
	if o.Parallel <= 0 {
		o.Parallel = 4
	}
	o.Parallel = min(o.Parallel, MaxWidth)
	if o.Retries <= 0 {
		o.Retries = 6
	}
	if o.Patience <= 0 {
		o.Patience = 2 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	return &Limiter{o: o, profile: o.Profile, users: make(map[string]*user), sweepAt: firstSweep, waiting: list.New()}
}

// Acquire is AcquireN for one call.
func (l *Limiter) Acquire(ctx context.Context, user, method string, w Work) (done func(), err error) {
	return l.AcquireN(ctx, user, method, 1, w)
}

// AcquireN waits until times calls of method may be made for user in one request, and counts their units as spent. The
// caller makes the request, tells a refusal to [Limiter.Told], and then calls done, which may be called again. Those who wait
// for a user are let through in the order in which they came, and users in turn.
//
// An error is ctx.Err(), or a *connection.Error: ErrThrottled with RetryAfter for a pause longer than Options.Patience, or
// ErrQuota, which wraps [ErrQuotaDaily], when the day's units are spent.
func (l *Limiter) AcquireN(ctx context.Context, user, method string, times int, w Work) (done func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := l.remember(ctx); err != nil {
		return nil, err
	}
	q := &waiter{method: method, times: max(times, 1), work: w, ready: make(chan error, 1)}
	l.mu.Lock()
	u := l.user(user)
	u.queue = append(u.queue, q)
	if u.place == nil {
		u.place = l.waiting.PushBack(u)
	}
	l.look(u)
	l.unlock()
	select {
	case err := <-q.ready:
		if err != nil {
			return nil, err
		}
		return func() { l.leave(q.slot) }, nil
	case <-ctx.Done():
		l.mu.Lock()
		l.abandon(u, q)
		l.unlock()
		return nil, ctx.Err()
	}
}

// unlock gives mu back and tells what happened under it.
func (l *Limiter) unlock() {
	events := l.events
	l.events = nil
	l.mu.Unlock()
	if l.o.Observe == nil {
		return
	}
	for _, ev := range events {
		l.o.Observe(ev)
	}
}

func (l *Limiter) tell(ev connection.Event) { l.events = append(l.events, ev) }

const firstSweep = 1024

// user returns the budget of a user, and forgets idle ones when there are many.
func (l *Limiter) user(name string) *user {
	u := l.users[name]
	if u != nil {
		return u
	}
	if len(l.users) >= l.sweepAt {
		now := l.o.Now()
		for name, u := range l.users {
			if u.idle(now) {
				delete(l.users, name)
			}
		}
		l.sweepAt = max(firstSweep, 2*len(l.users))
	}
	u = l.newUser(name)
	l.users[name] = u
	return u
}

func (l *Limiter) newUser(name string) *user { return &user{name: name, width: l.o.Parallel} }

// places returns how many calls may be under way: one after a pause, until it has gone well.
func (u *user) places() int {
	if u.pause.strikes > 0 {
		return 1
	}
	return u.width
}

// idle reports whether nothing is lost if u is forgotten, but how many requests it takes at once.
func (u *user) idle(now time.Time) bool {
	return u.inflight == 0 && len(u.queue) == 0 && !u.pause.until.After(now) && u.meter.idle(now)
}

// leave ends a call.
func (l *Limiter) leave(s *slot) {
	l.mu.Lock()
	defer l.unlock()
	if s.left {
		return
	}
	s.left = true
	u := s.of
	u.inflight--
	l.calls--
	if u.refusals == s.refusals {
		u.pause.strikes = 0
		if s.crowded {
			u.grow()
		}
	}
	if l.denied == s.denied && u.refusals == s.refusals {
		l.pause.strikes = 0
	}
	if l.crowd.shared != nil || l.contended {
		l.lookAround()
		return
	}
	l.look(u)
}

// abandon takes a waiter out whose caller has gone.
func (l *Limiter) abandon(u *user, q *waiter) {
	for i, other := range u.queue {
		if other == q {
			u.queue = append(u.queue[:i], u.queue[i+1:]...)
			l.settle(u)
			l.lookAround() // who stood behind it may go
			return
		}
	}
	if err := <-q.ready; err == nil { // it was let through at the same moment
		q.slot.left = true
		q.slot.of.inflight--
		l.calls--
		l.lookAround()
	}
}

// settle takes u off the list if nobody waits for it.
func (l *Limiter) settle(u *user) {
	if len(u.queue) == 0 && u.place != nil {
		l.waiting.Remove(u.place)
		u.place = nil
		u.queue = nil
	}
}
