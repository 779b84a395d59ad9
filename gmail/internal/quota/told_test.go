package quota_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// After a pause one call tries whether it is over; those behind it go when it has gone well, or wait again.
func TestOneCallTries(t *testing.T) {
	for _, scope := range []quota.Scope{quota.User, quota.Project, quota.Concurrency} {
		t.Run(scope.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := quota.New(quota.Options{Rand: half, Parallel: quota.MaxWidth})
				users := []string{"ann", "ann", "ann"}
				if scope == quota.Project {
					users = []string{"ann", "ben", "cid"}
				}
				v := quota.Verdict{Scope: scope, Kind: connection.ErrThrottled}
				l.Told("ann", v)
				in := make(chan func(), len(users))
				for _, user := range users {
					go func() { in <- acquire(t, l, user, "getProfile") }()
				}
				for _, pause := range []time.Duration{1500 * time.Millisecond, 2500 * time.Millisecond} {
					began := time.Now()
					done := <-in
					if got := time.Since(began); got != pause {
						t.Errorf("the first one came after %v, want %v", got, pause)
					}
					<-time.After(time.Second)
					if len(in) > 0 {
						t.Fatal("others came in before it was answered")
					}
					if pause < 2*time.Second {
						l.Told("ann", v)
						go func() { in <- acquire(t, l, "ann", "getProfile") }()
					}
					done()
				}
				synctest.Wait()
				if len(in) != 2 {
					t.Errorf("%d others came in when one had gone well, want 2", len(in))
				}
			})
		})
	}
}

// noUnits returns a refusal of units, as Google's servers word it.
func noUnits() quota.Verdict {
	return quota.Verdict{Status: 403, Kind: connection.ErrThrottled, Reason: "rateLimitExceeded", Scope: quota.User, Units: true, Refused: true, Retry: true}
}

// crowded returns a refusal of one request too many.
func crowded() quota.Verdict {
	return quota.Verdict{Status: 429, Kind: connection.ErrThrottled, Reason: "rateLimitExceeded", Scope: quota.Concurrency, Refused: true, Retry: true}
}

func half() float64 { return 0.5 }

// after makes a call and checks how long it waited. The call is refused with v if that is one, and goes well otherwise.
func after(t *testing.T, l *quota.Limiter, user string, want time.Duration, v quota.Verdict) {
	t.Helper()
	began := time.Now()
	done := acquire(t, l, user, "getProfile")
	defer done()
	if got := time.Since(began); got != want {
		t.Errorf("%s waited %v, want %v", user, got, want)
	}
	if v.Kind != 0 {
		l.Told(user, v)
	}
}

// Refusals without a time double the pause up to 64 s; a call that goes well begins anew. Nobody else waits.
func TestPauseDoubles(t *testing.T) {
	for _, test := range []struct {
		name   string
		v      quota.Verdict
		shared bool // the pause is everybody's
	}{
		{"user", noUnits(), false},
		{"concurrency", crowded(), false},
		{"project", quota.Verdict{Kind: connection.ErrThrottled, Scope: quota.Project}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := quota.New(quota.Options{Rand: half})
				wait := time.Duration(0)
				for _, ms := range []time.Duration{1500, 2500, 4500, 8500, 16500, 32500, 64000, 64000} {
					after(t, l, "ann", wait, test.v)
					if !test.shared {
						after(t, l, "ben", 0, quota.Verdict{})
					}
					wait = ms * time.Millisecond
				}
				after(t, l, "ann", wait, quota.Verdict{})
				after(t, l, "ann", 0, test.v)
				if test.shared {
					after(t, l, "ben", 1500*time.Millisecond, quota.Verdict{})
					return
				}
				after(t, l, "ann", 1500*time.Millisecond, quota.Verdict{})
			})
		})
	}
}

// Several refusals of one moment are one pause; a later time that one of them names counts.
func TestPauseOfOneMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen events
		l := quota.New(quota.Options{Rand: half, Observe: seen.add})
		for range 4 {
			l.Told("ann", noUnits())
		}
		after(t, l, "ann", 1500*time.Millisecond, quota.Verdict{})
		v := noUnits()
		l.Told("ann", v)
		v.Until = time.Now().Add(30 * time.Second)
		l.Told("ann", v)
		v.Until = time.Now().Add(3 * time.Second)
		l.Told("ann", v)
		if p := l.Usage().Pauses; len(p) != 1 || p[0].User != "ann" || time.Until(p[0].Until) != 30*time.Second || p[0].Reason != "rateLimitExceeded" {
			t.Errorf("pauses are %+v", p)
		}
		after(t, l, "ann", 30*time.Second, quota.Verdict{})
		if got := seen.of(connection.EventThrottled); len(got) != 3 || got[0].Mailbox != "ann" || got[2].Until.IsZero() {
			t.Errorf("told %+v", got)
		}
		if p := l.Usage().Pauses; len(p) != 0 {
			t.Errorf("still paused: %+v", p)
		}
	})
}

// A pause that is longer than callers are to be held is an error that says so, also for those who wait already, and when it
// is over all is as before.
func TestLongPause(t *testing.T) {
	for _, scope := range []quota.Scope{quota.User, quota.Project} {
		t.Run(scope.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := quota.New(quota.Options{Parallel: 1})
				held := acquire(t, l, "ann", "getProfile")
				waits := make(chan error, 1)
				go func() {
					_, err := l.Acquire(t.Context(), "ann", "getProfile", quota.Delta)
					waits <- err
				}()
				synctest.Wait()
				v := quota.Verdict{Scope: scope, Kind: connection.ErrThrottled, Reason: "rateLimitExceeded", Until: time.Now().Add(15 * time.Minute)}
				l.Told("ann", v)
				held()
				err := <-waits
				_, err2 := l.Acquire(t.Context(), "ann", "getProfile", quota.Delta)
				for _, err := range []error{err, err2} {
					var e *connection.Error
					if !errors.As(err, &e) || e.Kind != connection.ErrThrottled || e.RetryAfter != 15*time.Minute || e.Code != "rateLimitExceeded" || e.Driver != "gmail" {
						t.Errorf("got %v, want ErrThrottled with RetryAfter 15m", err)
					}
					if !connection.Temporary(err) {
						t.Errorf("%v is not temporary", err)
					}
				}
				_, err = l.Acquire(t.Context(), "ben", "getProfile", quota.Delta)
				if (err == nil) == (scope == quota.Project) {
					t.Errorf("ben met %v", err)
				}
				<-time.After(15 * time.Minute)
				after(t, l, "ann", 0, quota.Verdict{})
			})
		})
	}
}

// A server's word holds for a day at most.
func TestEndlessPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := quota.Read(429, nil, []byte(`{"error":{"code":429,"message":"User-rate limit exceeded.  Retry after 9999-01-01T00:00:00Z","errors":[{"reason":"rateLimitExceeded"}]}}`), time.Now())
		l := quota.New(quota.Options{Patience: 48 * time.Hour})
		l.Told("ann", v)
		after(t, l, "ann", 24*time.Hour, quota.Verdict{})
	})
}

// inFlight returns how many calls of a user are let in, and ends them.
func inFlight(t *testing.T, l *quota.Limiter, user string) int {
	t.Helper()
	<-time.After(70 * time.Second)      // beyond any pause
	acquire(t, l, user, "getProfile")() // which goes well
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var held []func()
	var wg sync.WaitGroup
	for range 3 * quota.MaxWidth {
		wg.Go(func() {
			done, err := l.Acquire(ctx, user, "getProfile", quota.Full)
			if err != nil {
				return
			}
			mu.Lock()
			held = append(held, done)
			mu.Unlock()
		})
	}
	synctest.Wait()
	mu.Lock()
	n := len(held)
	mu.Unlock()
	if w := l.Width(user); n != w {
		t.Errorf("%d calls are under way, and Width says %d", n, w)
	}
	cancel()
	wg.Wait()
	for _, done := range held {
		done()
	}
	return n
}

// It begins with the setting; too many at once halve it, down to 1; a run of successes with all places taken lets it grow
// up to 10.
func TestConcurrency(t *testing.T) {
	for _, test := range []struct{ setting, first, halved int }{{0, 4, 2}, {1, 1, 1}, {7, 7, 3}, {10, 10, 5}, {64, 10, 5}} {
		t.Run(fmt.Sprint(test.setting), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := quota.New(quota.Options{Parallel: test.setting})
				if got := inFlight(t, l, "ann"); got != test.first {
					t.Errorf("%d to begin with, want %d", got, test.first)
				}
				for range 4 { // of one moment
					l.Told("ann", crowded())
				}
				if got := inFlight(t, l, "ann"); got != test.halved {
					t.Errorf("%d after a refusal, want %d", got, test.halved)
				}
				for range 5 {
					l.Told("ann", crowded())
					<-time.After(70 * time.Second)
				}
				if got := inFlight(t, l, "ann"); got != 1 {
					t.Errorf("%d after many refusals, want 1", got)
				}
				if got := inFlight(t, l, "ben"); got != test.first {
					t.Errorf("%d of ben, who met no refusal, want %d", got, test.first)
				}
				most := 0
				for range 200 {
					most = max(most, inFlight(t, l, "ann"))
				}
				if most != quota.MaxWidth {
					t.Errorf("it grew to %d, want %d", most, quota.MaxWidth)
				}
			})
		})
	}
}

// The server's refusal of units that are there by our count shows that the profile is too high. It is tried again the
// next day.
func TestProfileIsLowered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen events
		l := quota.New(quota.Options{Profile: quota.ProfileLegacy, Observe: seen.add, Rand: half})
		foreign := noUnits()
		foreign.Foreign = true
		l.Told("ann", foreign)
		l.Told("ann", crowded())
		unnamed := noUnits()
		unnamed.Units = false
		l.Told("ann", unnamed)
		if got := l.Usage().Profile; got != quota.ProfileLegacy {
			t.Fatalf("profile is %q after refusals that say nothing of it", got)
		}
		for _, user := range []string{"ann", "ben", "cid", "dee"} { // one cause: the others are its echo
			l.Told(user, noUnits())
		}
		use := l.Usage()
		if use.Profile != quota.Profile2026 || use.Collapsed {
			t.Fatalf("profile is %q, collapsed %v; want 2026, false", use.Profile, use.Collapsed)
		}
		if got := seen.of(connection.EventQuirk); len(got) != 1 || got[0].Mailbox != "ann" {
			t.Errorf("told %+v, want one quirk", got)
		}
		<-time.After(time.Minute)
		before := l.Usage().Day
		acquire(t, l, "ann", "messages.get")()
		if got := l.Usage().Day - before; got != 20 {
			t.Errorf("a message costs %d units, want 20", got)
		}
		<-time.After(24 * time.Hour)
		if got := l.Usage().Profile; got != quota.ProfileLegacy {
			t.Errorf("profile is %q the next day, want what the settings say", got)
		}
	})
}

// A refusal while our own budget is nearly spent says nothing of the profile, nor of who is charged.
func TestRefusalWithoutRoom(t *testing.T) {
	for _, profile := range []quota.Profile{quota.Profile2026, quota.ProfileLegacy} {
		synctest.Test(t, func(t *testing.T) {
			l := quota.New(quota.Options{Profile: profile})
			users := []string{"ann", "ben", "cid"}
			var wg sync.WaitGroup
			for _, user := range users {
				wg.Go(func() {
					for range profile.Limit() * 95 / 100 / 50 {
						acquire(t, l, user, "messages.batchDelete")()
					}
				})
			}
			wg.Wait()
			for _, user := range users {
				l.Told(user, noUnits())
			}
			if use := l.Usage(); use.Profile != profile || use.Collapsed {
				t.Errorf("%s: profile is %q, collapsed %v", profile, use.Profile, use.Collapsed)
			}
		})
	}
}

// When three users are refused what they have by our count, all share one budget; that is told once and tried again later.
func TestCollapse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen events
		l := quota.New(quota.Options{Observe: seen.add, Rand: half})
		refuse := func(users ...string) {
			for _, user := range users {
				l.Told(user, noUnits())
			}
		}
		collapsed := func(want bool, when string) {
			t.Helper()
			if got := l.Usage().Collapsed; got != want {
				t.Errorf("%s: collapsed is %v, want %v", when, got, want)
			}
		}
		refuse("ann", "ben", "ann", "ben", "ann")
		collapsed(false, "two users")
		<-time.After(61 * time.Second)
		refuse("cid")
		collapsed(false, "a third one too late")
		for _, user := range []string{"dee", "eve", "fay"} {
			l.Told(user, crowded())
			l.Told(user, quota.Verdict{Scope: quota.Project})
			v := noUnits()
			v.Foreign = true
			l.Told(user, v)
		}
		collapsed(false, "refusals of other kinds")
		<-time.After(2 * time.Minute)

		refuse("ann", "ben", "cid")
		collapsed(true, "three users")
		if got := seen.of(connection.EventQuirk); len(got) != 1 {
			t.Errorf("told %d times, want once", len(got))
		}
		var b ledger
		var wg sync.WaitGroup
		for _, user := range []string{"ann", "ben", "cid", "dee", "eve"} {
			hungry(t, &wg, l, &b, quota.Profile2026, user, "messages.get", 5*time.Minute)
		}
		wg.Wait()
		if got := b.most("", time.Minute); got > 6000 {
			t.Errorf("%d units of all in a minute, want at most 6000", got)
		}
		if got := b.total(); got < 5*6000*90/100 {
			t.Errorf("%d units of all in 5 minutes: not used", got)
		}
		for _, user := range []string{"ann", "dee", "eve"} {
			if got := b.most(user, 10*time.Minute); got < 5*6000/5*80/100 {
				t.Errorf("%s got %d units of 30000 that five share", user, got)
			}
		}

		<-time.After(26 * time.Minute)
		collapsed(false, "after half an hour")
		refuse("ann", "ben", "cid")
		collapsed(true, "again")
		<-time.After(59 * time.Minute)
		collapsed(true, "the second time it lasts twice as long")
		<-time.After(2 * time.Minute)
		collapsed(false, "after an hour")
		<-time.After(2 * time.Hour)
		refuse("ann", "ben", "cid")
		<-time.After(31 * time.Minute)
		collapsed(false, "trouble that is new begins with half an hour")
		if got := seen.of(connection.EventQuirk); len(got) != 1 {
			t.Errorf("told %d times, want once", len(got))
		}
	})
}

// A pause that a user had before does not hold the others once all share a budget.
func TestCollapseWithPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := quota.New(quota.Options{Rand: half, Patience: time.Hour})
		v := crowded()
		v.Until = time.Now().Add(10 * time.Minute)
		l.Told("ann", v)
		for _, user := range []string{"ben", "cid", "dee"} {
			l.Told(user, noUnits())
		}
		first := make(chan struct{})
		go func() {
			defer close(first)
			after(t, l, "ann", 10*time.Minute, quota.Verdict{})
		}()
		synctest.Wait()
		after(t, l, "ben", 1500*time.Millisecond, quota.Verdict{})
		<-first
	})
}

// What is to be repeated, how often, and after how long.
func TestRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := quota.New(quota.Options{Rand: half, Retries: 5})
		broken := quota.Read(503, nil, nil, time.Now())
		for _, test := range []struct {
			name string
			v    quota.Verdict
			safe bool
			want int // tries
		}{
			{"safe, server in trouble", broken, true, 5},
			{"not safe, server in trouble", broken, false, 1},
			{"not safe, refused", noUnits(), false, 5},
			{"safe, for ever", quota.Read(404, nil, nil, time.Now()), true, 1},
			{"safe, precondition", quota.Read(400, nil, []byte(`{"error":{"message":"Precondition check failed.","status":"FAILED_PRECONDITION"}}`), time.Now()), true, 3},
		} {
			tries := 1
			for l.Repeat(tries, test.v, test.safe) {
				tries++
			}
			if tries != test.want {
				t.Errorf("%s: %d tries, want %d", test.name, tries, test.want)
			}
		}
		for i, want := range []time.Duration{1500, 2500, 4500, 8500, 16500, 32500, 64000, 64000} {
			began := time.Now()
			if err := l.Wait(t.Context(), i+1, broken); err != nil || time.Since(began) != want*time.Millisecond {
				t.Errorf("try %d: waited %v (%v), want %v", i+1, time.Since(began), err, want*time.Millisecond)
			}
		}
		broken.Until = time.Now().Add(90 * time.Second)
		began := time.Now()
		if err := l.Wait(t.Context(), 1, broken); err != nil || time.Since(began) != 90*time.Second {
			t.Errorf("waited %v (%v), want 90s", time.Since(began), err)
		}
		broken.Until = time.Now().Add(time.Hour)
		if err := l.Wait(t.Context(), 1, broken); connection.RetryAfter(err) != time.Hour || !errors.Is(err, connection.ErrUnavailable) {
			t.Errorf("got %v, want ErrUnavailable with RetryAfter 1h", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		began = time.Now()
		if err := l.Wait(ctx, 6, noUnits()); !errors.Is(err, context.Canceled) || time.Since(began) != time.Millisecond {
			t.Errorf("canceled: got %v after %v", err, time.Since(began))
		}
	})
}
