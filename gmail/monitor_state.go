package gmail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/audit"
)

// errWritesSpent is what spend returns when nothing is left of a day.
var errWritesSpent = errors.New("the monitors' writes of this day are spent")

const (
	stateVersion   = 1
	destinationAge = 10 * time.Minute // how long the destination is not looked up again
	passInterval   = 24 * time.Hour   // between two passes of Fetch with Follow
)

// monitors are what a Conn knows of the monitors of its domain. The zero value is ready.
type monitors struct {
	mu     sync.Mutex
	busy   chan struct{} // holds one value while a pass runs
	loaded bool
	writes writeCount
	users  map[string]seenMonitor // by user id

	target   *user
	targetAt time.Time

	passedAt time.Time // when the last pass of Fetch began
}

// A writeCount is how many requests to make or remove monitors were sent on a day.
type writeCount struct {
	Version int    `json:"v"`
	Day     string `json:"day"` // in UTC
	Writes  int    `json:"writes"`
}

// A seenMonitor is what Google said of the monitor of one user, and when.
type seenMonitor struct {
	Source      string         `json:"source"`
	Destination string         `json:"destination"`
	At          time.Time      `json:"at"`
	End         time.Time      `json:"end,omitzero"`
	Levels      [4]audit.Level `json:"levels,omitzero"`
	None        bool           `json:"none,omitempty"` // there was no monitor to this destination
}

// seenMonitors is what a State keeps of them.
type seenMonitors struct {
	Version int                    `json:"v"`
	Users   map[string]seenMonitor `json:"users"`
}

func (c *Conn) writesKey() string { return "gmail/monitors/" + c.cfg.feedDomain() + "/writes" }
func (c *Conn) usersKey() string  { return "gmail/monitors/" + c.cfg.feedDomain() + "/users" }

// seen is what m looks like now.
func (c *Conn) seen(m audit.Monitor) seenMonitor {
	return seenMonitor{Source: m.Source, Destination: m.Destination, At: c.now(), End: m.End, Levels: levelsOf(m)}
}

func levelsOf(m audit.Monitor) [4]audit.Level {
	return [4]audit.Level{m.Incoming, m.Outgoing, m.Drafts, m.Chat}
}

// begin waits for a pass that runs to end, and begins one.
func (m *monitors) begin(ctx context.Context) (end func(), err error) {
	m.mu.Lock()
	if m.busy == nil {
		m.busy = make(chan struct{}, 1)
	}
	busy := m.busy
	m.mu.Unlock()
	select {
	case busy <- struct{}{}:
		return func() { <-busy }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// load reads once what was seen of users' monitors. What cannot be understood is left: it is only asked for again.
func (m *monitors) load(ctx context.Context, c *Conn) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.loaded {
		return nil
	}
	var kept seenMonitors
	if c.opts.State != nil {
		data, err := c.opts.State.Load(ctx, c.usersKey())
		if err != nil {
			return fmt.Errorf("reading what is known of monitors: %w", err)
		}
		if len(data) > 0 && (json.Unmarshal(data, &kept) != nil || kept.Version != stateVersion) {
			c.env.Log().Warn("what was known of monitors cannot be read; every user is asked for again")
			kept = seenMonitors{}
		}
	}
	m.users, m.loaded = kept.Users, true
	if m.users == nil {
		m.users = make(map[string]seenMonitor)
	}
	return nil
}

// save keeps what was seen.
func (m *monitors) save(ctx context.Context, c *Conn) error {
	if c.opts.State == nil {
		return nil
	}
	m.mu.Lock()
	data, err := json.Marshal(seenMonitors{Version: stateVersion, Users: m.users})
	m.mu.Unlock()
	if err == nil {
		err = c.opts.State.Save(ctx, c.usersKey(), data)
	}
	if err != nil {
		return fmt.Errorf("keeping what is known of monitors: %w", err)
	}
	return nil
}

func (m *monitors) learn(user string, s seenMonitor) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.users[user] = s
}

func (m *monitors) forget(user string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.users, user)
}

// known returns a copy of what was seen.
func (m *monitors) known() map[string]seenMonitor {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.users)
}

// spend takes one of the day's writes, durably before the request that it is for. Processes that share a State share them,
// as far as they do not ask at the same moment.
func (m *monitors) spend(ctx context.Context, c *Conn) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := c.now()
	if c.opts.State != nil {
		data, err := c.opts.State.Load(ctx, c.writesKey())
		if err != nil {
			return fmt.Errorf("reading the count of monitors that were set: %w", err)
		}
		var kept writeCount
		if len(data) > 0 && json.Unmarshal(data, &kept) == nil && kept.Version == stateVersion && (kept.Day != m.writes.Day || kept.Writes > m.writes.Writes) {
			m.writes = kept
		}
	}
	if today := now.UTC().Format(time.DateOnly); m.writes.Day != today {
		m.writes = writeCount{Version: stateVersion, Day: today}
	}
	if m.writes.Writes >= c.cfg.Monitors.dailyWrites() {
		tomorrow := now.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
		return &connection.Error{
			Kind: connection.ErrQuota, RetryAfter: tomorrow.Sub(now), Err: errWritesSpent,
			Hint: "monitors.daily_writes: Google permits 1,000 a day in a domain, by all its administrators",
		}
	}
	m.writes.Writes++
	if c.opts.State == nil {
		return nil
	}
	data, err := json.Marshal(m.writes)
	if err == nil {
		err = c.opts.State.Save(ctx, c.writesKey(), data)
	}
	if err != nil {
		return fmt.Errorf("keeping the count of monitors that were set: %w", err)
	}
	return nil
}

// spent returns how many writes this day has seen, as far as this Conn knows.
func (m *monitors) spent(now time.Time) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.writes.Day != now.UTC().Format(time.DateOnly) {
		return 0
	}
	return m.writes.Writes
}

func (m *monitors) knownDestination(now time.Time) *user {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.target != nil && now.Sub(m.targetAt) < destinationAge {
		return m.target
	}
	return nil
}

// setDestination keeps the destination, or with nil makes it be looked up again.
func (m *monitors) setDestination(u *user, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.target, m.targetAt = u, now
}

// due reports whether Fetch has to make a pass, and counts it as begun.
func (m *monitors) due(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.passedAt.IsZero() && now.Sub(m.passedAt) < passInterval {
		return false
	}
	m.passedAt = now
	return true
}
