package quota_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// A ledger is what a server would count: when how many units came in for whom.
type ledger struct {
	mu      sync.Mutex
	entries []entry
}

type entry struct {
	at    time.Time
	user  string
	units int
}

func (b *ledger) add(user string, units int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries = append(b.entries, entry{time.Now(), user, units})
}

// most returns the largest sum of units of user, "" for all, in any span of d, both ends included.
func (b *ledger) most(user string, d time.Duration) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	most, sum, first := 0, 0, 0
	var kept []entry
	for _, e := range b.entries {
		if user != "" && e.user != user {
			continue
		}
		kept = append(kept, e)
		sum += e.units
		for e.at.Sub(kept[first].at) > d {
			sum -= kept[first].units
			first++
		}
		most = max(most, sum)
	}
	return most
}

func (b *ledger) total() int {
	sum := 0
	for _, e := range b.entries {
		sum += e.units
	}
	return sum
}

// acquire waits for a call that must be let through.
func acquire(t *testing.T, l *quota.Limiter, user, method string) func() {
	t.Helper()
	done, err := l.Acquire(t.Context(), user, method, quota.Full)
	if err != nil {
		t.Fatalf("%s for %q: %v", method, user, err)
	}
	return done
}

// hungry makes calls for a user from as many goroutines as fit, each taking a while, until the time is over.
func hungry(t *testing.T, wg *sync.WaitGroup, l *quota.Limiter, b *ledger, p quota.Profile, user, method string, d time.Duration) {
	end := time.Now().Add(d)
	for range quota.MaxWidth {
		wg.Go(func() {
			for {
				done, err := l.Acquire(t.Context(), user, method, quota.Full)
				if err != nil {
					t.Error(err)
					return
				}
				if time.Now().After(end) {
					done()
					return
				}
				b.add(user, p.Units(method))
				time.AfterFunc(100*time.Millisecond, done) // the call is under way
			}
		})
	}
}

// In no span of a minute more than the limit is let through, at once no more than ten seconds' worth, and nearly all that
// is granted is used.
func TestLimitOfUser(t *testing.T) {
	for _, test := range []struct {
		profile quota.Profile
		method  string
		limit   int
	}{
		{quota.Profile2026, "messages.get", 6000},
		{quota.Profile2026, "messages.batchDelete", 6000},
		{"", "messages.send", 6000},
		{quota.ProfileLegacy, "messages.get", 15000},
	} {
		t.Run(fmt.Sprintf("%s %s", test.profile, test.method), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := quota.New(quota.Options{Profile: test.profile})
				var b ledger
				var wg sync.WaitGroup
				const minutes = 5
				hungry(t, &wg, l, &b, test.profile, "ann", test.method, minutes*time.Minute)
				wg.Wait()
				if got := b.most("ann", time.Minute); got > test.limit {
					t.Errorf("%d units in a minute, want at most %d", got, test.limit)
				}
				if got := b.most("ann", 0); got > test.limit/6 {
					t.Errorf("%d units at once, want at most %d", got, test.limit/6)
				}
				if got, want := b.total(), minutes*test.limit*95/100; got < want {
					t.Errorf("%d units in %d minutes, want at least %d", got, minutes, want)
				}
				if use := l.Usage(); use.Day < int64(b.total()) || use.Users["ann"] != use.Day {
					t.Errorf("usage says %d of %d, want %d", use.Users["ann"], use.Day, b.total())
				}
			})
		})
	}
}

// All users together get the project's units, each its share.
func TestLimitOfProject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := quota.New(quota.Options{Profile: quota.ProfileLegacy})
		var b ledger
		var wg sync.WaitGroup
		const users = 100 // which could spend 1.5 million a minute
		for i := range users {
			hungry(t, &wg, l, &b, quota.ProfileLegacy, fmt.Sprint("user", i), "messages.send", 2*time.Minute)
		}
		wg.Wait()
		if got := b.most("", time.Minute); got > quota.ProjectLimit {
			t.Errorf("%d units in a minute, want at most %d", got, quota.ProjectLimit)
		}
		if got, want := b.total(), 2*quota.ProjectLimit*95/100; got < want {
			t.Errorf("%d units in two minutes, want at least %d", got, want)
		}
		each := make(map[string]int)
		for _, e := range b.entries {
			each[e.user] += e.units
		}
		least, most := 1<<30, 0
		for _, n := range each {
			least, most = min(least, n), max(most, n)
		}
		if len(each) != users || least < most/2 {
			t.Errorf("%d users got from %d to %d units: not in turn", len(each), least, most)
		}
	})
}

// Who came first goes first, however much is wanted.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := quota.New(quota.Options{Parallel: quota.MaxWidth})
		for range 10 {
			acquire(t, l, "ann", "messages.send")() // the bucket is empty now
		}
		var mu sync.Mutex
		var order []string
		var want []string
		var wg sync.WaitGroup
		for i := range 12 {
			method := "getProfile"
			if i%3 == 0 {
				method = "messages.send"
			}
			want = append(want, fmt.Sprint(i))
			wg.Go(func() {
				done := acquire(t, l, "ann", method)
				mu.Lock()
				order = append(order, fmt.Sprint(i))
				mu.Unlock()
				done()
			})
			synctest.Wait()
		}
		began := time.Now()
		wg.Wait()
		if !slices.Equal(order, want) {
			t.Errorf("got order %v, want %v", order, want)
		}
		if got := time.Since(began); got < 4*time.Second || got > 5*time.Second {
			t.Errorf("408 units took %v, want 4 s", got)
		}
	})
}

// More units than a bucket holds are let through when it is full, and then paid off.
func TestMoreThanABucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := quota.New(quota.Options{})
		acquire(t, l, "ann", "getProfile")()
		began := time.Now()
		done, err := l.AcquireN(t.Context(), "ann", "messages.get", 100, quota.Delta)
		if err != nil {
			t.Fatal(err)
		}
		done()
		if got := time.Since(began); got != 10*time.Millisecond {
			t.Errorf("2,000 units after 1 waited %v, want 10ms", got)
		}
		acquire(t, l, "ann", "getProfile")()
		if got := time.Since(began); got < 10*time.Second {
			t.Errorf("the next unit came after %v, want more than 10 s", got)
		}
		done, err = l.AcquireN(t.Context(), "ann", "messages.get", 1000, quota.Delta)
		if err != nil {
			t.Fatal(err)
		}
		done()
	})
}

// What the quota knows nothing of costs nothing.
func TestUnits(t *testing.T) {
	for _, test := range []struct {
		method      string
		now, before int
	}{
		{"messages.get", 20, 5},
		{"messages.attachments.get", 20, 5},
		{"drafts.get", 20, 5},
		{"messages.trash", 20, 5},
		{"threads.get", 40, 10},
		{"messages.list", 5, 5},
		{"history.list", 2, 2},
		{"labels.list", 1, 1},
		{"labels.get", 1, 1},
		{"getProfile", 1, 1},
		{"messages.modify", 5, 5},
		{"messages.untrash", 5, 5},
		{"messages.delete", 10, 10},
		{"messages.batchDelete", 50, 50},
		{"messages.batchModify", 50, 50},
		{"messages.insert", 25, 25},
		{"messages.import", 25, 25},
		{"messages.send", 100, 100},
		{"watch", 100, 100},
		{"stop", 50, 50},
		{"labels.create", 5, 5},
		{"labels.update", 5, 5},
		{"labels.patch", 5, 5},
		{"labels.delete", 5, 5},
		{"users.list", 0, 0},
		{"users.get", 0, 0},
		{"members.list", 0, 0},
		{"audit.list", 0, 0},
		{"messages.unheard", 20, 5},
	} {
		if got := quota.Profile2026.Units(test.method); got != test.now {
			t.Errorf("2026: %s costs %d, want %d", test.method, got, test.now)
		}
		if got := quota.ProfileLegacy.Units(test.method); got != test.before {
			t.Errorf("legacy: %s costs %d, want %d", test.method, got, test.before)
		}
	}
	l := quota.New(quota.Options{})
	for range 3 {
		acquire(t, l, "admin", "users.list")()
	}
	if use := l.Usage(); use.Day != 0 || use.Minute != 0 {
		t.Errorf("the directory cost %d units", use.Day)
	}
}

// Who gives up is gone at once, whether waiting for units or for a place, and those behind go on.
func TestContext(t *testing.T) {
	for _, test := range []struct {
		name string
		fill func(t *testing.T, l *quota.Limiter) (free func())
	}{
		{"units", func(t *testing.T, l *quota.Limiter) func() {
			for range 10 {
				acquire(t, l, "ann", "messages.send")()
			}
			return func() {}
		}},
		{"place", func(t *testing.T, l *quota.Limiter) func() {
			var held []func()
			for range 4 {
				held = append(held, acquire(t, l, "ann", "getProfile"))
			}
			return func() { held[0]() }
		}},
		{"pause", func(_ *testing.T, l *quota.Limiter) func() {
			l.Told("ann", quota.Verdict{Scope: quota.User, Until: time.Now().Add(time.Minute)})
			return func() {}
		}},
		{"project", func(_ *testing.T, l *quota.Limiter) func() {
			l.Told("ben", quota.Verdict{Scope: quota.Project, Until: time.Now().Add(time.Minute)})
			return func() {}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := quota.New(quota.Options{})
				free := test.fill(t, l)
				ctx, cancel := context.WithCancel(t.Context())
				began := time.Now()
				gone := make(chan error, 1)
				go func() {
					_, err := l.Acquire(ctx, "ann", "messages.send", quota.Full)
					gone <- err
				}()
				synctest.Wait()
				behind := make(chan struct{})
				go func() {
					defer close(behind)
					acquire(t, l, "ann", "getProfile")()
				}()
				synctest.Wait()
				cancel()
				if err := <-gone; !errors.Is(err, context.Canceled) || time.Since(began) != 0 {
					t.Errorf("got %v after %v, want %v at once", err, time.Since(began), context.Canceled)
				}
				free()
				<-behind
				if _, err := l.Acquire(ctx, "ann", "getProfile", quota.Full); !errors.Is(err, context.Canceled) {
					t.Errorf("with a context that is done: got %v", err)
				}
			})
		})
	}
}

// Users of whom nothing is to be remembered are forgotten.
func TestManyUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := quota.New(quota.Options{})
		heap := func() int {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int(m.HeapAlloc)
		}
		before := heap()
		const users = 50_000
		for i := range users {
			acquire(t, l, fmt.Sprint("user-", i), "getProfile")()
			if i%100 == 0 {
				<-time.After(10 * time.Second)
			}
		}
		if got := heap() - before; got > 8<<20 {
			t.Errorf("%d users take %d octets", users, got)
		}
		use := l.Usage()
		sum := use.Others
		for _, n := range use.Users {
			sum += n
		}
		if sum != users || len(use.Users) != 10_000 {
			t.Errorf("%d units of %d named users and %d of others, want %d altogether", sum-use.Others, len(use.Users), use.Others, users)
		}
	})
}

// A clock that is set back stops nobody.
func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ahead := 48 * time.Hour
		l := quota.New(quota.Options{Now: func() time.Time { return time.Now().Add(ahead) }})
		for range 10 {
			acquire(t, l, "ann", "messages.send")()
		}
		ahead = 0
		began := time.Now()
		for range 20 {
			acquire(t, l, "ann", "messages.send")()
		}
		if got := time.Since(began); got > time.Minute {
			t.Errorf("2,000 units took %v", got)
		}
	})
}

// A call is left once, however often its caller says so.
func TestDoneTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := quota.New(quota.Options{Parallel: 1})
		done := acquire(t, l, "ann", "getProfile")
		done()
		done()
		acquire(t, l, "ann", "getProfile")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := l.Acquire(ctx, "ann", "getProfile", quota.Full); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a second call was let in: %v", err)
		}
	})
}

// events keeps what a Limiter tells.
type events struct {
	mu  sync.Mutex
	all []connection.Event
}

func (e *events) add(ev connection.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
}

func (e *events) of(kind connection.EventKind) []connection.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	var found []connection.Event
	for _, ev := range e.all {
		if ev.Kind == kind {
			found = append(found, ev)
		}
	}
	return found
}
