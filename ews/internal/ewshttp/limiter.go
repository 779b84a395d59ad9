package ewshttp

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/backoff"
)

const (
	firstWidth = 4 // requests at once of one owner to begin with
	spare      = 8 // further ones that may be let in while all others wait for their readers
	writers    = 1 // requests that change something, beside those that read
	idleAfter  = time.Second
	minPause   = time.Second
	maxPause   = time.Hour
	impatience = time.Minute // a longer wait is for the caller to decide on
	maxBudgets = 1024        // kept when nothing is remembered of them
)

// unnamed is the wait where a server gives none.
var unnamed = backoff.Policy{Min: 2 * time.Second, Max: 2 * time.Minute}

// A key names a budget: a server grants each mailbox that is worked on its own.
type key struct{ endpoint, owner string }

func (c *Client) key(r *Request) key {
	owner := r.Owner
	if owner == "" {
		owner = c.name.Person()
	}
	return key{endpointOf(r.URL), strings.ToLower(owner)}
}

// A limiter keeps to the budgets: additive increase, multiplicative decrease of how many requests are made at once, and
// nobody asks while a server wants to be left alone ("resending requests will prolong the recovery").
type limiter struct {
	c       *Client
	mu      sync.Mutex
	budgets map[key]*budget
}

type budget struct {
	width   float64
	reads   map[*slot]bool
	writes  map[*slot]bool
	until   time.Time     // nobody asks before
	strikes int           // times in a row that the server has given no time
	pauses  int           // counts, so that a slot knows whether there was one since
	changed chan struct{} // closed when a slot or a pause ends
}

// A slot is the permission to have one request under way.
type slot struct {
	l      *limiter
	k      key
	of     map[*slot]bool // nil: it takes no place
	pauses int
	idle   atomic.Int64 // since when nobody reads the reply, in Unix nanoseconds; 0 = it is waited for or being read
	once   sync.Once
}

func (l *limiter) init(c *Client) { l.c, l.budgets = c, make(map[key]*budget) }

func (l *limiter) budget(k key) *budget {
	b := l.budgets[k]
	if b == nil {
		b = &budget{
			width: float64(min(firstWidth, l.c.opts.MaxConnections)), changed: make(chan struct{}),
			reads: make(map[*slot]bool), writes: make(map[*slot]bool),
		}
		l.budgets[k] = b
	}
	return b
}

// acquire waits until r may be sent.
func (l *limiter) acquire(ctx context.Context, r *Request) (*slot, error) {
	k := l.c.key(r)
	for {
		if err := l.c.ended(ctx, k.endpoint); err != nil {
			return nil, err
		}
		l.mu.Lock()
		b := l.budget(k)
		now := l.c.now()
		pause := b.until.Sub(now)
		if pause <= 0 {
			if s := l.take(b, k, r, now); s != nil {
				l.mu.Unlock()
				return s, nil
			}
			pause = idleAfter
		} else if pause > impatience && !r.Patient {
			l.mu.Unlock()
			e := l.c.fail(connection.ErrThrottled, k.endpoint, "", "the server wants to be left alone until %s", b.until.UTC().Format(time.RFC3339))
			e.RetryAfter = pause
			return nil, e
		}
		changed := b.changed
		l.mu.Unlock()
		l.wait(ctx, changed, pause)
	}
}

// wait returns when there may be a place, the time is over, or nobody needs one any more.
func (l *limiter) wait(ctx context.Context, changed chan struct{}, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-l.c.life.Done():
	case <-changed:
	case <-timer.C:
	}
}

// take returns a slot if there is a place for r.
func (l *limiter) take(b *budget, k key, r *Request, now time.Time) *slot {
	s := &slot{l: l, k: k, pauses: b.pauses}
	if r.Stream {
		return s
	}
	width := int(b.width)
	s.of = b.reads
	if r.Write {
		s.of, width = b.writes, writers
	}
	if n := len(s.of); n >= width && (n >= width+spare || !abandoned(s.of, now)) {
		return nil
	}
	s.of[s] = true
	return s
}

// abandoned reports whether all that hold a slot have replies that nobody reads. One of their readers may be who waits for a
// place: a loop body that opens another message.
func abandoned(slots map[*slot]bool, now time.Time) bool {
	for s := range slots {
		if since := s.idle.Load(); since == 0 || now.Sub(time.Unix(0, since)) < idleAfter {
			return false
		}
	}
	return true
}

// reading and resting tell whether the slot's reply is waited for.
func (s *slot) reading() { s.idle.Store(0) }
func (s *slot) resting() { s.idle.Store(s.l.c.now().UnixNano()) }

// leave gives the place back. well says that the request was answered: if nobody had to pause since it began, a little more may
// be asked at once.
func (s *slot) leave(well bool) {
	s.once.Do(func() {
		s.l.mu.Lock()
		defer s.l.mu.Unlock()
		b := s.l.budget(s.k)
		delete(s.of, s)
		if well && s.pauses == b.pauses {
			b.strikes = 0
			b.width = min(b.width+1/b.width, float64(s.l.c.opts.MaxConnections))
		}
		s.l.wake(s.k, b)
	})
}

// wake lets those who wait look again, and forgets a budget that nobody uses if there are many.
func (l *limiter) wake(k key, b *budget) {
	close(b.changed)
	b.changed = make(chan struct{})
	if len(l.budgets) > maxBudgets && len(b.reads)+len(b.writes) == 0 && l.c.now().After(b.until) {
		delete(l.budgets, k)
	}
}

// busy makes everybody wait, as [Client.Busy] says.
func (l *limiter) busy(k key, d time.Duration, concurrency bool) time.Duration {
	l.mu.Lock()
	b := l.budget(k)
	now := l.c.now()
	inForce := now.Before(b.until) // several replies of one moment are one pause
	if d <= 0 {
		if !inForce {
			b.strikes++
		}
		d = unnamed.Delay(b.strikes, 0)
	}
	d = min(max(d, minPause), maxPause)
	if !inForce {
		b.pauses++
		if concurrency {
			b.width /= 2
		} else {
			b.width *= 0.75
		}
		b.width = max(b.width, 1)
	}
	until := now.Add(d)
	later := until.After(b.until)
	if later {
		b.until = until
	}
	left := b.until.Sub(now)
	l.mu.Unlock()
	if later {
		l.c.env.Emit(connection.Event{Kind: connection.EventThrottled, Connection: l.c.opts.ID, Mailbox: k.owner, Detail: k.endpoint, Until: until})
	}
	return left
}
