package objectstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/backoff"
)

// The wait between two attempts: full jitter up to these, unless the server asks for more.
const (
	retryMin = 200 * time.Millisecond
	retryMax = 20 * time.Second
)

// errStalled is why an attempt was ended in which nothing moved.
var errStalled = errors.New("no data for too long")

// A watchdog ends an attempt in which nothing moves for the time given.
type watchdog struct {
	mu      sync.Mutex
	timer   *time.Timer // nil: no limit
	timeout time.Duration
	ended   bool
	fired   bool
}

type watchdogKey struct{}

// watch returns a context that ends with the cause errStalled when neither Progress nor kick is called for the timeout, 0
// meaning none. stop releases it.
func watch(ctx context.Context, timeout time.Duration) (watched context.Context, w *watchdog, stop context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	w = &watchdog{timeout: timeout}
	w.mu.Lock() // the timer may fire before it has its name
	defer w.mu.Unlock()
	if timeout > 0 {
		w.timer = time.AfterFunc(timeout, func() {
			w.mu.Lock()
			w.fired = true
			w.mu.Unlock()
			cancel(errStalled)
		})
	}
	return context.WithValue(ctx, watchdogKey{}, w), w, func() {
		w.mu.Lock()
		w.ended = true
		if w.timer != nil {
			w.timer.Stop()
		}
		w.mu.Unlock()
		cancel(context.Canceled)
	}
}

// kick says that something moved.
func (w *watchdog) kick() {
	w.mu.Lock()
	if w.timer != nil && !w.ended {
		w.timer.Reset(w.timeout)
	}
	w.mu.Unlock()
}

// pause stops the clock while nothing is expected of the server, until the next kick.
func (w *watchdog) pause() {
	w.mu.Lock()
	if w.timer != nil {
		w.timer.Stop()
	}
	w.mu.Unlock()
}

// stalled reports whether the watchdog ended its attempt.
func (w *watchdog) stalled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fired
}

// Progress tells the watchdog of the attempt that ctx belongs to that octets move: a Backend calls it while it reads a
// long answer that it does not hand on, a page of a listing say.
func Progress(ctx context.Context) {
	if w, ok := ctx.Value(watchdogKey{}).(*watchdog); ok {
		w.kick()
	}
}

// A budget says how often and how long a request may be repeated.
type budget struct {
	attempts int // left
	deadline time.Time
	failed   int // attempts so far, for the error
}

func (s *Store) newBudget() budget {
	return budget{attempts: s.tuning.MaxAttempts, deadline: time.Now().Add(s.tuning.MaxElapsed.D())}
}

// again waits before the next attempt after err, and reports whether there is to be one.
func (s *Store) again(ctx context.Context, b *budget, op string, err error) bool {
	b.failed++
	b.attempts--
	if b.attempts <= 0 || ctx.Err() != nil || !repeatable(err) {
		return false
	}
	wait := backoff.Policy{Min: retryMin, Max: retryMax}.Delay(b.failed, connection.RetryAfter(err))
	until := time.Now().Add(wait)
	if until.After(b.deadline) {
		return false
	}
	s.env.Emit(connection.Event{Kind: connection.EventRetry, Connection: s.eventID(), Detail: op, Until: until, Err: err})
	return backoff.Wait(ctx, wait) == nil
}

// repeatable reports whether the same request may succeed now. The caller has made sure that repeating does no harm.
func repeatable(err error) bool {
	return connection.Temporary(err) || connection.KindOf(err) == connection.ErrUncertain
}

// try runs one attempt under a watchdog. body, if the attempt sends one, tells whether all of it was taken.
func (s *Store) try(ctx context.Context, sent func() bool, attempt func(ctx context.Context, w *watchdog) error) error {
	countRequest(ctx)
	ctx, w, stop := watch(ctx, s.tuning.NoDataTimeout.D())
	defer stop()
	err := attempt(ctx, w)
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		return s.stalled(sent != nil && sent())
	}
	return err
}

func (s *Store) stalled(sent bool) error {
	e := &connection.Error{Kind: connection.ErrTimeout, Err: fmt.Errorf("%w (no_data_timeout %s)", errStalled, s.tuning.NoDataTimeout)}
	if sent {
		e.Kind = connection.ErrUncertain
	}
	return e
}

// tryWhole is try for a request that is sent at once and may have been carried out whenever it has no answer.
func (s *Store) tryWhole(ctx context.Context, attempt func(ctx context.Context, w *watchdog) error) error {
	err := s.try(ctx, func() bool { return true }, attempt)
	if err != nil && ctx.Err() != nil && connection.KindOf(err) != connection.ErrUncertain {
		return &connection.Error{Kind: connection.ErrUncertain, Err: err} // we stopped listening for the answer
	}
	return err
}

// repeat runs attempts until one succeeds, fails for good, or the budget is spent. The request must be idempotent.
func (s *Store) repeat(ctx context.Context, op string, attempt func(ctx context.Context, w *watchdog) error) error {
	b := s.newBudget()
	return s.repeatWithin(ctx, &b, op, attempt)
}

func (s *Store) repeatWithin(ctx context.Context, b *budget, op string, attempt func(ctx context.Context, w *watchdog) error) error {
	for {
		err := s.try(ctx, nil, attempt)
		if err == nil {
			return nil
		}
		if !s.again(ctx, b, op, err) {
			return b.wrap(err)
		}
	}
}

// wrap adds the number of attempts to the last cause.
func (b *budget) wrap(err error) error {
	if b.failed < 2 {
		return err
	}
	if e, ok := err.(*connection.Error); ok { //nolint:errorlint // its fields stay in front, only its cause is wrapped
		again := *e
		again.Err = &attemptsError{b.failed, e.Err}
		if e.Err == nil {
			again.Err = fmt.Errorf("after %d attempts", b.failed)
		}
		return &again
	}
	return &attemptsError{b.failed, err}
}

type attemptsError struct {
	n   int
	err error
}

func (e *attemptsError) Error() string { return fmt.Sprintf("after %d attempts: %v", e.n, e.err) }
func (e *attemptsError) Unwrap() error { return e.err }
