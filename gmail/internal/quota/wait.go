package quota

import (
	"context"
	"time"

	"github.com/mailconn/mailconn/internal/backoff"
)

const longestDelay = 64 * time.Second

// delay returns how long to wait after so many failures in a row, 1 at least: min(2ⁿ s + up to 1 s, 64 s), n from 0.
func (l *Limiter) delay(failures int) time.Duration {
	n := min(max(failures, 1)-1, 6)
	return min(time.Second<<n+time.Duration(l.o.Rand()*float64(time.Second)), longestDelay)
}

// Repeat reports whether a call is to be made again after its attempt-th try (from 1) got v. safe says that nothing is lost
// if the server carries it out twice; calls that are not are repeated only if the server has certainly not acted.
func (l *Limiter) Repeat(attempt int, v Verdict, safe bool) bool {
	tries := l.o.Retries
	if v.Tries > 0 {
		tries = min(tries, v.Tries)
	}
	return v.Retry && (safe || v.Refused) && attempt < tries
}

// Wait waits before the try that follows the attempt-th (from 1), as long as v asks, and longer each time if it does not. A
// refusal that [Limiter.Told] was told of is waited for by Acquire besides. An error is ctx.Err(), or a *connection.Error with
// RetryAfter if the server asks for more than Options.Patience.
func (l *Limiter) Wait(ctx context.Context, attempt int, v Verdict) error {
	d := l.delay(attempt)
	if v.Scope == None && !v.Until.IsZero() {
		now := l.o.Now()
		d = max(d, v.Until.Sub(now))
		if d > l.o.Patience {
			return v.Err(now)
		}
	}
	return backoff.Wait(ctx, d)
}
