package quota_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata" // California's clocks

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// spend makes calls of 100 units until n units are spent or the Limiter refuses, and returns what it says then.
func spend(t *testing.T, l *quota.Limiter, w quota.Work, n int) (spent int, err error) {
	t.Helper()
	for spent < n {
		done, err := l.Acquire(t.Context(), "ann", "messages.send", w)
		if err != nil {
			return spent, err
		}
		spent += 100
		done()
	}
	return spent, nil
}

// isDaily checks an error that says that the day's units are spent until midnight in California.
func isDaily(t *testing.T, err error) {
	t.Helper()
	var e *connection.Error
	if !errors.Is(err, quota.ErrQuotaDaily) || !errors.As(err, &e) || e.Kind != connection.ErrQuota || e.Driver != "gmail" {
		t.Errorf("got %v, want ErrQuotaDaily", err)
		return
	}
	if again := time.Now().Add(e.RetryAfter).UTC(); again.Hour() != 8 || again.Minute() != 0 || e.RetryAfter > 24*time.Hour {
		t.Errorf("it is to begin anew at %v, want 8:00 UTC", again)
	}
}

// Full syncs leave off at the budget, the rest at a ninth more; both go on the next day.
func TestDailyBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen events
		l := quota.New(quota.Options{Daily: 9000, Observe: seen.add})
		<-time.After(9 * time.Hour) // so that the day does not end meanwhile
		for day := range 2 {
			for _, test := range []struct {
				work quota.Work
				want int
			}{{quota.Full, 9000}, {quota.Delta, 600}, {quota.Other, 400}, {quota.Full, 0}, {quota.Delta, 0}, {quota.Other, 0}} {
				limit := 1 << 20
				if test.work == quota.Delta && test.want > 0 {
					limit = test.want
				}
				got, err := spend(t, l, test.work, limit)
				if got != test.want {
					t.Errorf("day %d: work %d spent %d units, want %d", day, test.work, got, test.want)
				}
				if limit == 1<<20 {
					isDaily(t, err)
				}
			}
			if done, err := l.Acquire(t.Context(), "admin", "users.list", quota.Other); err != nil {
				t.Errorf("the directory, which costs nothing: %v", err)
			} else {
				done()
			}
			if got := len(seen.of(connection.EventThrottled)); got != 2*(day+1) {
				t.Errorf("told %d times, want once for full syncs and once for the rest", got)
			}
			<-time.After(24 * time.Hour)
		}
	})
}

// TestG06DailyLimit: 403 dailyLimitExceeded stops all of the project, those who wait included, until midnight in California.
func TestG06DailyLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := quota.New(quota.Options{Parallel: 1})
		v := quota.Read(403, nil, []byte(`{"error":{"code":403,"message":"Daily Limit Exceeded","errors":[{"domain":"usageLimits","reason":"dailyLimitExceeded","message":"Daily Limit Exceeded"}]}}`), time.Now())
		if v.Scope != quota.Day || !errors.Is(v.Err(time.Now()), quota.ErrQuotaDaily) || !errors.Is(v.Err(time.Now()), connection.ErrQuota) {
			t.Fatalf("verdict %+v", v)
		}
		held := acquire(t, l, "ann", "getProfile")
		waits := make(chan error, 1)
		go func() {
			_, err := l.Acquire(t.Context(), "ann", "getProfile", quota.Delta)
			waits <- err
		}()
		synctest.Wait()
		l.Told("ann", v)
		held()
		isDaily(t, <-waits)
		_, err := l.Acquire(t.Context(), "ben", "getProfile", quota.Other)
		isDaily(t, err)
		if !l.Usage().Stopped {
			t.Error("Usage does not say so")
		}
		<-time.After(time.Until(l.Usage().Resets))
		acquire(t, l, "ben", "getProfile")()
	})
}

// Google's day ends at midnight in California, on the days that its clocks are changed too.
func TestReset(t *testing.T) {
	california, err := time.LoadLocation("America/Los_Angeles")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 1, 0, 30, 0, 0, time.UTC)
	l := quota.New(quota.Options{Now: func() time.Time { return at }})
	for ; at.Year() < 2029; at = at.Add(7 * time.Hour) {
		y, m, d := at.In(california).Date()
		if got, want := l.Usage().Resets, time.Date(y, m, d+1, 0, 0, 0, 0, california); !got.Equal(want) {
			t.Fatalf("at %v: it begins anew at %v, want %v", at, got, want)
		}
	}
}

// store is a State in memory.
type store struct {
	mu    sync.Mutex
	data  map[string][]byte
	fail  error
	saves int
	block chan struct{} // until it is closed, Load takes
}

func (s *store) Load(ctx context.Context, key string) ([]byte, error) {
	if s.block != nil {
		select {
		case <-s.block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data[key], s.fail
}

func (s *store) Save(_ context.Context, key string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saves++
	if s.fail == nil {
		s.data[key] = data
	}
	return s.fail
}

// The count outlives the process, on the day that it is of; and so does the server's word that the day is over.
func TestCountIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{data: make(map[string][]byte)}
		open := func() *quota.Limiter { return quota.New(quota.Options{Daily: 90_000, State: s}) }
		l := open()
		<-time.After(9 * time.Hour)
		if _, err := spend(t, l, quota.Full, 50_000); err != nil {
			t.Fatal(err)
		}
		if s.saves < 2 || s.saves > 20 {
			t.Errorf("saved %d times while 50,000 units were spent", s.saves)
		}
		l = open() // after a crash: what was not saved is little
		if got, err := spend(t, l, quota.Full, 1<<30); got < 40_000 || got > 60_000 {
			t.Errorf("another %d units (%v), want about 40,000", got, err)
		}
		l.Flush(t.Context())
		saves := s.saves
		l.Flush(t.Context())
		if s.saves != saves {
			t.Error("Flush saves what is saved")
		}
		l = open()
		if got, err := spend(t, l, quota.Full, 1<<30); got != 0 {
			t.Errorf("another %d units (%v), want none", got, err)
		}
		acquire := func(l *quota.Limiter) error {
			done, err := l.Acquire(t.Context(), "ann", "getProfile", quota.Delta)
			if err == nil {
				done()
			}
			return err
		}
		if err := acquire(l); err != nil {
			t.Errorf("the reserve: %v", err)
		}
		l.Told("ann", quota.Verdict{Scope: quota.Day})
		l.Flush(t.Context())
		isDaily(t, acquire(open()))
		<-time.After(24 * time.Hour)
		if err := acquire(open()); err != nil {
			t.Errorf("the next day: %v", err)
		}
	})
}

// A State that does not work, or holds what is no count, is told of; the count begins at 0.
func TestBadState(t *testing.T) {
	broken := errors.New("no disk")
	for name, s := range map[string]*store{
		"broken":   {fail: broken},
		"rubbish":  {data: map[string][]byte{quota.StateKey: []byte("{]")}},
		"version":  {data: map[string][]byte{quota.StateKey: []byte(`{"v":2,"units":9}`)}},
		"overflow": {data: map[string][]byte{quota.StateKey: []byte(`{"v":1,"units":99999999999999999999}`)}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen events
				if s.data == nil {
					s.data = make(map[string][]byte)
				}
				l := quota.New(quota.Options{State: s, Observe: seen.add})
				if got, err := spend(t, l, quota.Full, 1000); got != 1000 {
					t.Errorf("%d units: %v", got, err)
				}
				if got := seen.of(connection.EventNotice); len(got) != 1 || got[0].Err == nil || s.fail != nil && !errors.Is(got[0].Err, broken) {
					t.Errorf("told %+v, want one notice", got)
				}
				if use := l.Usage(); use.Day != 1000 {
					t.Errorf("usage is %d, want 1000", use.Day)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := &store{data: map[string][]byte{quota.StateKey: []byte(`{"v":1,"resets":"2000-01-01T08:00:00Z","units":-5}`)}}
		l := quota.New(quota.Options{State: s})
		acquire(t, l, "ann", "getProfile")()
		if use := l.Usage(); use.Day != 1 {
			t.Errorf("a negative count leads to %d units", use.Day)
		}
	})
}

// All who come while the count is being restored wait for it, and end with their contexts.
func TestSlowState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		resets := time.Date(2000, 1, 1, 8, 0, 0, 0, time.UTC)
		s := &store{block: make(chan struct{}), data: map[string][]byte{
			quota.StateKey: fmt.Appendf(nil, `{"v":1,"resets":%q,"units":9000}`, resets.Format(time.RFC3339)),
		}}
		l := quota.New(quota.Options{State: s, Daily: 9000})
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 6 { // the first one gives up while it restores
			wg.Go(func() {
				with := t.Context()
				if i < 3 {
					with = ctx
				}
				_, err := l.Acquire(with, "ann", "getProfile", quota.Full)
				if i < 3 && !errors.Is(err, context.Canceled) {
					t.Errorf("canceled: got %v", err)
				}
				if i >= 3 && !errors.Is(err, quota.ErrQuotaDaily) {
					t.Errorf("got %v, want ErrQuotaDaily", err)
				}
			})
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		close(s.block)
		wg.Wait()
	})
}
