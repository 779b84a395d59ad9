package quota

import "time"

const (
	minute  = time.Minute
	burst   = 10 * time.Second // what a bucket holds: this time's worth of units
	seconds = 61               // of which the units are known: a minute, and the second that runs
)

// A meter counts units against a limit a minute, in two ways. It is a token bucket, which is kept as the time at which it is
// full again; and it knows the units of each second of the last minute, since a full bucket and a minute's refill together
// are more than a minute's limit. The zero meter is full, and has spent nothing.
type meter struct {
	full   time.Time
	second int64 // the newest one that spent has
	spent  [seconds]uint32
	sum    int64
}

// each returns the time in which one unit comes back, rounded up.
func each(limit int) time.Duration { return (minute + time.Duration(limit) - 1) / time.Duration(limit) }

// advance forgets what was spent longer than a minute ago.
func (m *meter) advance(now time.Time) {
	if m.full.Sub(now) > minute { // the clock was set back
		m.full = now.Add(burst)
	}
	second := max(now.Unix(), 0)
	if gap := second - m.second; m.sum == 0 || gap >= seconds || gap <= -seconds {
		m.spent, m.sum, m.second = [seconds]uint32{}, 0, second
		return
	}
	for m.second < second {
		m.second++
		slot := &m.spent[m.second%seconds]
		m.sum -= int64(*slot)
		*slot = 0
	}
}

// wait returns how long it takes until units may be spent under limit, 0 if they may be spent now. More than the limit
// may be spent once nothing else is.
func (m *meter) wait(now time.Time, units, limit int) time.Duration {
	if units <= 0 {
		return 0
	}
	m.advance(now)
	need := min(time.Duration(units)*each(limit), burst)
	wait := max(max(m.full.Sub(now), 0)+need-burst, 0)
	excess := m.sum + int64(min(units, limit)) - int64(limit)
	for second := m.second - seconds + 1; excess > 0 && second <= m.second; second++ {
		if second < 0 {
			continue
		}
		excess -= int64(m.spent[second%seconds])
		if excess <= 0 {
			wait = max(wait, time.Unix(second+seconds, 0).Sub(now))
		}
	}
	return wait
}

// take spends units.
func (m *meter) take(now time.Time, units, limit int) {
	if units <= 0 {
		return
	}
	m.advance(now)
	if m.full.Before(now) {
		m.full = now
	}
	m.full = m.full.Add(time.Duration(units) * each(limit))
	m.spent[m.second%seconds] += uint32(units)
	m.sum += int64(units)
}

// empty takes all that the bucket holds.
func (m *meter) empty(now time.Time) { m.full = now.Add(burst) }

// minute returns what was spent in the last one.
func (m *meter) minute(now time.Time) int64 {
	m.advance(now)
	return m.sum
}

// idle reports whether the meter remembers nothing.
func (m *meter) idle(now time.Time) bool { return m.minute(now) == 0 && !m.full.After(now) }
