package quota

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// ErrQuotaDaily is wrapped in the error of a call for which the day's units are spent, by our own budget or by the server's
// word. Its RetryAfter reaches to the next midnight in California, when the count begins anew.
var ErrQuotaDaily = errors.New("the day's quota is spent")

// A State keeps small things when the process ends. Load returns nil for a key that was never saved. Several processes must
// not share one: the last to save wins.
type State interface {
	Load(ctx context.Context, key string) ([]byte, error)
	Save(ctx context.Context, key string, data []byte) error
}

// StateKey is the key under which the day's count is saved.
const StateKey = "quota/day"

// The count is saved when so much has been spent, or so much time has gone by, since it was.
const (
	saveUnits = 20_000
	saveEvery = time.Minute
)

const maxNamed = 10_000 // users whose units of the day are counted one by one

// A day counts the project's units until the next reset.
type day struct {
	resets  time.Time
	units   int64
	users   map[string]int64
	others  int64 // of users that are not in users
	stopped bool  // the server says so
	told    [2]bool

	restored bool // what an earlier process has spent is in units
	saving   chan struct{}
	saved    int64 // of units
	savedAt  time.Time
}

// turn begins a new day when the time has come, and reports whether one has ended.
func (d *day) turn(now time.Time) bool {
	if now.Before(d.resets) && d.resets.Sub(now) <= 25*time.Hour { // the clock may have been set back by days
		return false
	}
	first := d.resets.IsZero()
	d.resets = nextReset(now)
	d.units, d.saved, d.others, d.stopped, d.told = 0, 0, 0, false, [2]bool{}
	d.users = make(map[string]int64)
	return !first
}

func (d *day) spend(user string, units int64) {
	d.units += units
	if _, known := d.users[user]; known || len(d.users) < maxNamed {
		d.users[user] += units
		return
	}
	d.others += units
}

// spent returns why units may not be spent today for that kind of work, or nil.
func (l *Limiter) spent(w Work, units int64, now time.Time) error {
	d, which := &l.day, 0
	ceiling := l.o.Daily
	if w != Full {
		ceiling += l.o.Daily / 9 // 80 million of Google's to 72 million of ours
		which = 1
	}
	if !d.stopped && d.units+units <= ceiling {
		return nil
	}
	e := &connection.Error{Driver: driver, Kind: connection.ErrQuota, RetryAfter: d.resets.Sub(now)}
	if d.stopped {
		e.Code = reasonDaily
		e.Err = fmt.Errorf("%w: google says so; it begins anew at %s", ErrQuotaDaily, stamp(d.resets))
	} else {
		e.Hint = "daily_budget: this is what it allows"
		e.Err = fmt.Errorf("%w: %d units of %d; it begins anew at %s", ErrQuotaDaily, d.units, ceiling, stamp(d.resets))
	}
	if !d.told[which] {
		d.told[which] = true
		l.tell(connection.Event{Kind: connection.EventThrottled, Time: now, Detail: e.Err.Error(), Until: d.resets, Err: e})
	}
	return e
}

// stamp writes a time as people and Google write it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// remember restores the day's count, or saves it if that is due. Its error is ctx.Err(): with a State that does not work the
// count begins at 0, and the server's errors have to do.
func (l *Limiter) remember(ctx context.Context) error {
	if l.o.State == nil {
		return nil
	}
	for {
		l.mu.Lock()
		now := l.o.Now()
		l.turn(now)
		d := &l.day
		restored, busy := d.restored, d.saving
		due := !restored || d.units-d.saved >= saveUnits || d.units != d.saved && now.Sub(d.savedAt) >= saveEvery
		if due && busy == nil {
			d.saving = make(chan struct{})
		}
		l.unlock()
		switch {
		case !due, busy != nil && restored:
			return nil
		case busy == nil:
			l.keep(ctx)
			return ctx.Err()
		}
		select { // somebody else restores it, if his context lasts
		case <-busy:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Flush saves the day's count if it has changed since it was saved.
func (l *Limiter) Flush(ctx context.Context) {
	if l.o.State == nil {
		return
	}
	l.mu.Lock()
	d := &l.day
	due := d.restored && d.units != d.saved && d.saving == nil
	if due {
		d.saving = make(chan struct{})
	}
	l.unlock()
	if due {
		l.keep(ctx)
	}
}

// keep restores the count the first time, and saves it later. The caller has made day.saving.
func (l *Limiter) keep(ctx context.Context) {
	l.mu.Lock()
	restored := l.day.restored
	count := record{V: 1, Resets: l.day.resets, Units: l.day.units, Stopped: l.day.stopped}
	l.unlock()

	var err error
	var found record
	if restored {
		err = l.save(ctx, count)
	} else {
		found, err = l.load(ctx)
	}

	l.mu.Lock()
	defer l.unlock()
	d := &l.day
	now := l.o.Now()
	switch {
	case err != nil && ctx.Err() != nil: // the next call tries again
	case err != nil:
		verb := "load"
		if restored {
			verb = "save"
		}
		l.tell(connection.Event{Kind: connection.EventNotice, Time: now, Detail: "the state cannot " + verb + " the count of the day's quota", Err: err})
		d.restored, d.savedAt = true, now
	case restored && d.resets.Equal(count.Resets):
		d.saved, d.savedAt = count.Units, now
	case !restored:
		d.restored, d.savedAt = true, now
		if found.Units > 0 && found.Resets.Equal(d.resets) {
			d.units += found.Units
			d.others += found.Units
			d.saved = d.units
		}
		d.stopped = d.stopped || found.Stopped && found.Resets.Equal(d.resets)
	}
	close(d.saving)
	d.saving = nil
}

// A record is what is saved of a day.
type record struct {
	V       int       `json:"v"`
	Resets  time.Time `json:"resets"`
	Units   int64     `json:"units"`
	Stopped bool      `json:"stopped,omitempty"`
}

func (l *Limiter) load(ctx context.Context) (record, error) {
	var r record
	data, err := l.o.State.Load(ctx, StateKey)
	if err != nil || len(data) == 0 {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, fmt.Errorf("what it holds is no count: %w", err)
	}
	if r.V != 1 {
		return record{}, fmt.Errorf("what it holds has version %d", r.V)
	}
	return r, nil
}

func (l *Limiter) save(ctx context.Context, r record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return l.o.State.Save(ctx, StateKey, data)
}

// nextReset returns the first midnight in California after now: there Google's days end. The rules of daylight saving time
// are those since 2007 (Energy Policy Act of 2005), so that no time zone database is needed.
func nextReset(now time.Time) time.Time {
	y, m, d := now.UTC().Add(-californiaBehind(now)).Date()
	next := time.Date(y, m, d+1, 8, 0, 0, 0, time.UTC) // standard time
	if summer := next.Add(-time.Hour); californiaBehind(summer) == 7*time.Hour {
		return summer
	}
	return next
}

// californiaBehind returns how far the clocks of California are behind UTC at t.
func californiaBehind(t time.Time) time.Duration {
	year := t.UTC().Year()
	begin := sunday(year, time.March, 8).Add(10 * time.Hour) // the second one, at 2:00 standard time
	end := sunday(year, time.November, 1).Add(9 * time.Hour) // the first one, at 2:00 summer time
	if t.Before(begin) || !t.Before(end) {
		return 8 * time.Hour
	}
	return 7 * time.Hour
}

// sunday returns the first Sunday on or after a day.
func sunday(year int, month time.Month, day int) time.Time {
	t := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	return t.AddDate(0, 0, (7-int(t.Weekday()))%7)
}
