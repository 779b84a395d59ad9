package quota

import (
	"slices"
	"strings"
	"time"
)

// Usage is what a Limiter has spent, and what it waits for.
type Usage struct {
	Profile   Profile          // as it was lowered
	Day       int64            // units spent since the last reset, those of earlier processes included if a State kept them
	Resets    time.Time        // when the count begins anew
	Budget    int64            // what full syncs may spend in a day
	Stopped   bool             // the server says that the day's quota is spent
	Minute    int64            // units spent in the last 60 s
	Users     map[string]int64 // units of the day by user, for the first 10,000 of them; "" in single-mailbox use
	Others    int64            // units of the day that are not in Users
	Pauses    []Pause          // in force, by user
	Collapsed bool             // all users share one budget
}

// A Pause is one that is in force.
type Pause struct {
	User    string // "" and Project: everybody
	Project bool
	Until   time.Time
	Reason  string
}

// Usage returns a snapshot.
func (l *Limiter) Usage() Usage {
	l.mu.Lock()
	defer l.unlock()
	now := l.o.Now()
	l.turn(now)
	use := Usage{
		Profile: l.profile, Day: l.day.units, Resets: l.day.resets, Budget: l.o.Daily, Stopped: l.day.stopped,
		Minute: l.project.minute(now), Users: make(map[string]int64, len(l.day.users)), Others: l.day.others, Collapsed: l.crowd.shared != nil,
	}
	for name, units := range l.day.users {
		use.Users[name] = units
	}
	add := func(user string, project bool, p pause) {
		if p.until.After(now) {
			use.Pauses = append(use.Pauses, Pause{User: user, Project: project, Until: p.until, Reason: p.reason})
		}
	}
	add("", true, l.pause)
	if l.crowd.shared != nil {
		add("", true, l.crowd.shared.pause)
	}
	for name, u := range l.users {
		add(name, false, u.pause)
	}
	slices.SortFunc(use.Pauses, func(a, b Pause) int {
		if a.Project != b.Project {
			if a.Project {
				return -1
			}
			return 1
		}
		return strings.Compare(a.User, b.User)
	})
	return use
}

// Width returns how many requests may be under way for a user now, 1 to [MaxWidth].
func (l *Limiter) Width(user string) int {
	l.mu.Lock()
	defer l.unlock()
	if l.crowd.shared != nil {
		return l.crowd.shared.places()
	}
	if u := l.users[user]; u != nil {
		return u.places()
	}
	return l.o.Parallel
}
