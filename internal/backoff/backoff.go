// Package backoff computes and waits the delays between tries.
package backoff

import (
	"context"
	"math"
	"math/rand/v2"
	"time"
)

// A Policy is exponential back-off with full jitter: the n-th delay is a random time up to Min·2ⁿ, at most Max. The
// jitter keeps many connections that lost one server from coming back at one moment. The zero Policy waits from 1s up
// to a minute.
type Policy struct {
	Min time.Duration // ceiling of the first delay; 0 = 1s
	Max time.Duration // ceiling of all delays; 0 = 1m, or Min if that is longer
}

const (
	defaultMin = time.Second
	defaultMax = time.Minute
)

// Delay returns how long to wait before trying again after attempt failures (0 and 1 both mean the first). after is
// what the server asked for, 0 if nothing: the delay is then never shorter, even beyond Max, and the jitter is added to
// it so that clients that were told the same time do not return together. The result is never 0 or negative.
func (p Policy) Delay(attempt int, after time.Duration) time.Duration {
	ceiling := p.Ceiling(attempt)
	jitter := 1 + rand.N(ceiling)
	if after <= 0 {
		return jitter
	}
	// A tenth on top of what was asked is enough to spread the crowd.
	if spread := min(jitter, after/10+1); after <= math.MaxInt64-spread {
		after += spread
	}
	return after
}

// Ceiling returns the longest delay that Delay gives for attempt when the server asks for none.
func (p Policy) Ceiling(attempt int) time.Duration {
	lowest, highest := p.Min, p.Max
	if lowest <= 0 {
		lowest = defaultMin
	}
	if highest <= 0 {
		highest = defaultMax
	}
	highest = max(lowest, highest)
	d := lowest
	for range max(attempt, 1) - 1 {
		if d > highest/2 {
			return highest
		}
		d *= 2
	}
	return d
}

// Wait returns nil after d, or ctx's error as soon as ctx is done. A ctx that is done already wins over a d that is not
// positive.
func Wait(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
