package gmailtest

import (
	"sync"
	"time"
)

// A Clock tells the time. It may be called by several goroutines at once.
type Clock interface {
	Now() time.Time
}

// NewClock returns a clock that stands still at t but for [ManualClock.Advance].
func NewClock(t time.Time) *ManualClock { return &ManualClock{now: t} }

// A ManualClock is a Clock that goes only when it is told to. Its methods may be called by several goroutines at once.
type ManualClock struct {
	mu  sync.Mutex
	now time.Time
}

// Now returns the time of the clock.
func (c *ManualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock by d.
func (c *ManualClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

// now is the time of the server.
func (s *Server) now() time.Time { return s.clock.Now().Add(time.Duration(s.offset.Load())) }

// SetClockOffset puts the server's clock ahead of its Clock, or with a negative d behind: what it shows in Date and what it holds
// the times of assertions against.
func (s *Server) SetClockOffset(d time.Duration) { s.offset.Store(int64(d)) }
