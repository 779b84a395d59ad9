package quota

import (
	"fmt"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// How the Limiter finds out that Google counts otherwise than it does.
const (
	crowdUsers  = 3                // so many users with quota errors, though their own budgets had room,
	crowdSpan   = time.Minute      // within so long: all are charged as one
	crowdFirst  = 30 * time.Minute // until it is looked whether that is still so; twice as long each time that it is
	crowdMost   = 8 * time.Hour
	longestTold = 24 * time.Hour // a server's word holds for no longer
)

// A pause keeps everybody of a budget waiting.
type pause struct {
	until   time.Time
	reason  string
	strikes int // pauses in a row
}

// A crowd is how it is noticed that the users are charged together.
type crowd struct {
	hits   []hit
	quiet  time.Time // errors before are the echo of a profile that was too high
	shared *user     // the budget of all while they are charged as one, else nil
	until  time.Time // when that is looked at again; afterwards: until when it counts as the same trouble
	span   time.Duration
	told   bool
}

type hit struct {
	user string
	at   time.Time
}

// Told tells of a refusal of a call for user, before the call's done. It does what the verdict's Scope asks for: it pauses the
// user or the project until the time that the server gave (for a day at most), or for a while that doubles with each pause
// up to 64 s, after which one call alone finds out whether it is over; halves how many requests are under way for the user; stops the day. Units that the server refuses although by
// our count there is room lower the profile to 2026 until the next day; if it is 2026 already, and three users meet that within
// a minute, all users share one budget, for half an hour at first.
func (l *Limiter) Told(user string, v Verdict) {
	l.mu.Lock()
	defer l.unlock()
	now := l.o.Now()
	l.turn(now)
	u := l.user(user)
	b := l.budget(u)
	b.refusals++
	b.run = 0
	switch v.Scope {
	case None:
		return
	case Day:
		l.day.stopped, l.day.saved = true, -1 // which is news to the State
	case Project:
		l.denied++
		l.project.empty(now)
		l.hold(&l.pause, "", v, now)
	case Concurrency:
		if !b.pause.until.After(now) { // several replies of one moment are one
			b.width = max(b.width/2, 1)
		}
		l.hold(&b.pause, b.name, v, now)
	case User:
		room := b.meter.minute(now) < int64(l.profile.Limit())*9/10
		l.hold(&b.pause, b.name, v, now)
		if room && !v.Foreign {
			l.adapt(u, v, now)
		}
	}
	l.lookAround()
}

// hold begins a pause, or lets one go on for longer.
func (l *Limiter) hold(p *pause, user string, v Verdict, now time.Time) {
	until := v.Until
	inForce := p.until.After(now)
	if !inForce {
		p.strikes++
	}
	if floor := now.Add(time.Second); !until.IsZero() && until.Before(floor) {
		until = floor
	}
	if until.IsZero() && !inForce {
		until = now.Add(l.delay(p.strikes))
	}
	if !until.After(p.until) {
		return
	}
	p.until, p.reason = until, v.Reason
	l.tell(connection.Event{Kind: connection.EventThrottled, Time: now, Mailbox: user, Detail: v.Scope.String() + ": " + v.Reason, Until: until})
}

// grow lets one more call be under way after ten that went well while there was no place left.
func (u *user) grow() {
	const enough = 10
	if u.run++; u.run >= enough && u.width < MaxWidth {
		u.width++
		u.run = 0
	}
}

// adapt draws conclusions from a refusal of units that we thought were there.
func (l *Limiter) adapt(u *user, v Verdict, now time.Time) {
	c := &l.crowd
	switch {
	case v.Units && l.profile == ProfileLegacy:
		l.profile = Profile2026
		l.budget(u).meter.empty(now)
		c.quiet = now.Add(minute)
		l.tell(connection.Event{
			Kind: connection.EventQuirk, Time: now, Mailbox: u.name,
			Detail: "quota_profile: google grants less than legacy; it is taken as 2026 until " + stamp(l.day.resets),
		})
	case c.shared == nil && !now.Before(c.quiet):
		l.correlate(u, now)
	}
}

// correlate counts the users with such refusals.
func (l *Limiter) correlate(u *user, now time.Time) {
	c := &l.crowd
	kept := c.hits[:0]
	for _, h := range c.hits {
		if h.user != u.name && now.Sub(h.at) <= crowdSpan {
			kept = append(kept, h)
		}
	}
	c.hits = append(kept, hit{u.name, now})
	if len(c.hits) < crowdUsers {
		return
	}
	if now.Before(c.until) { // it has just been looked whether that is over
		c.span = min(2*c.span, crowdMost)
	} else {
		c.span = crowdFirst
	}
	c.shared = l.newUser("")
	c.shared.meter.empty(now)
	for _, h := range c.hits {
		if other := l.users[h.user]; other != nil && other.pause.until.After(c.shared.pause.until) {
			c.shared.pause = other.pause
		}
	}
	c.hits, c.until = nil, now.Add(c.span)
	if !c.told {
		c.told = true
		l.tell(connection.Event{
			Kind: connection.EventQuirk, Time: now,
			Detail: fmt.Sprintf("quotaUser is not honoured: google charges all mailboxes to the service account, so all share %d units a minute", l.profile.Limit()),
		})
	}
}

// disperse gives each user its own budget again when the time has come to try that.
func (c *crowd) disperse(now time.Time) {
	if c.shared != nil && !now.Before(c.until) {
		c.shared, c.until = nil, now.Add(c.span)
	}
}
