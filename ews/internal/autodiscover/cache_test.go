package autodiscover_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/autodiscover"
)

// A store is a Cache that a test looks into.
type store struct {
	mu      sync.Mutex
	entries map[string]autodiscover.Entry
	err     error
}

func (s *store) Load(_ context.Context, key string) (autodiscover.Entry, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[key]
	return e, ok, s.err
}

func (s *store) Store(_ context.Context, key string, e autodiscover.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries == nil {
		s.entries = make(map[string]autodiscover.Entry)
	}
	s.entries[key] = e
	return s.err
}

// A clock is a time that the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)} }

func TestCacheKeepsAWeek(t *testing.T) {
	w, c, s := newWorld(t), newClock(), &store{}
	w.pages[svc("company.test")] = ews("mail.company.test")
	f := w.finder(func(o *autodiscover.Options) { o.Now, o.Cache, o.CacheID = c.Now, s, "exchange" })
	if got := wantURL(t, f, found); len(got.Trail) == 0 || !got.When.Equal(c.Now()) {
		t.Errorf("found %+v", got)
	}
	asked := len(w.requests())
	c.pass(7*24*time.Hour - time.Second)
	if got, err := f.Find(t.Context(), "JOE@company.test"); err != nil || got.URL.String() != found || len(got.Trail) != 0 {
		t.Errorf("cached: %+v, %v", got, err)
	}
	// Another process of the same connection, but no other connection.
	same := w.finder(func(o *autodiscover.Options) { o.Now, o.Cache, o.CacheID = c.Now, s, "exchange" })
	wantURL(t, same, found)
	if n := len(w.requests()); n != asked {
		t.Errorf("%d requests for what is in the cache: %q", n-asked, w.requests())
	}
	wantURL(t, w.finder(func(o *autodiscover.Options) { o.Now, o.Cache, o.CacheID = c.Now, s, "other" }), found)
	if n := len(w.requests()); n == asked {
		t.Error("another connection used the cache")
	}
	asked = len(w.requests())
	w.pages[svc("company.test")] = ews("new.company.test")
	c.pass(time.Second)
	wantURL(t, same, "https://new.company.test/EWS/Exchange.asmx")
	if n := len(w.requests()); n != asked+1 {
		t.Errorf("%d requests after a week, want 1: the endpoint is known", n-asked)
	}
	if e := s.entries["exchange\njoe@company.test"]; e.URL != "https://new.company.test/EWS/Exchange.asmx" || !e.Found.Equal(c.Now()) || e.Endpoint != svc("company.test") {
		t.Errorf("stored %+v", e)
	}
}

func TestCacheOfTheFutureOrOfNoUse(t *testing.T) {
	c := newClock()
	for _, e := range []autodiscover.Entry{
		{URL: found, Found: c.Now().Add(24 * time.Hour)},
		{URL: "http://mail.company.test/EWS/Exchange.asmx", Found: c.Now()},
		{URL: "https://user@mail.company.test/", Found: c.Now()},
		{URL: "", Found: c.Now()},
	} {
		w, s := newWorld(t), &store{entries: map[string]autodiscover.Entry{"\njoe@company.test": e}}
		w.pages[svc("company.test")] = ews("mail.company.test")
		wantURL(t, w.finder(func(o *autodiscover.Options) { o.Now, o.Cache = c.Now, s }), found)
		if len(w.requests()) == 0 {
			t.Errorf("believed %+v", e)
		}
	}
	// A cache that fails costs nothing but the search.
	w := newWorld(t)
	w.pages[svc("company.test")] = ews("mail.company.test")
	wantURL(t, w.finder(func(o *autodiscover.Options) { o.Cache = &store{err: errors.New("disk full")} }), found)
}

// TestRememberedEndpoint begins an expired entry's search where it was found, if that may still have credentials.
func TestRememberedEndpoint(t *testing.T) {
	c := newClock()
	entry := autodiscover.Entry{URL: found, Endpoint: svc("cas.company.test"), Found: c.Now().Add(-8 * 24 * time.Hour)}
	w, s := newWorld(t), &store{entries: map[string]autodiscover.Entry{"\njoe@company.test": entry}}
	w.pages[svc("cas.company.test")] = ews("new.company.test")
	wantURL(t, w.finder(func(o *autodiscover.Options) { o.Now, o.Cache = c.Now, s }), "https://new.company.test/EWS/Exchange.asmx")
	if n := len(w.requests()); n != 1 {
		t.Errorf("%d requests, want 1: %q", n, w.requests())
	}
	for _, endpoint := range []string{svc("evil.test"), plain("cas.company.test"), "https://cas.company.test/login", "%"} {
		entry.Endpoint = endpoint
		w, s := newWorld(t), &store{entries: map[string]autodiscover.Entry{"\njoe@company.test": entry}}
		w.hostile["evil.test"] = true
		w.hosts["evil.test"], w.hosts["cas.company.test"] = ews("mail.evil.test"), ews("mail.evil.test")
		w.pages[svc("company.test")] = ews("new.company.test")
		wantURL(t, w.finder(func(o *autodiscover.Options) { o.Now, o.Cache = c.Now, s }), "https://new.company.test/EWS/Exchange.asmx")
	}
}

// TestKnownEndpointFails forgets an endpoint that no longer works, and starts over.
func TestKnownEndpointFails(t *testing.T) {
	w := newWorld(t)
	w.pages[svc("company.test")] = ews("mail.company.test")
	f := w.finder()
	wantURL(t, f, found)
	w.pages[svc("company.test")] = reply(500, "gone")
	w.pages[svc("autodiscover.company.test")] = ews("new.company.test")
	for _, address := range []string{"ann@company.test", "bob@company.test"} {
		got, err := f.Find(t.Context(), address)
		if err != nil || got.URL.Hostname() != "new.company.test" {
			t.Fatalf("Find(%s): %v, %v", address, got, err)
		}
	}
	if n := w.count(svc("company.test")); n != 2 {
		t.Errorf("asked the endpoint that fails %d times, want 2: once when it worked and once after", n)
	}
	// What the working endpoint says of an unknown mailbox is final.
	w.pages[svc("autodiscover.company.test")] = soapError("InvalidUser", "")
	before := len(w.requests())
	if _, err := f.Find(t.Context(), "nobody@company.test"); !errors.Is(err, connection.ErrNotFound) {
		t.Errorf("Find: %v", err)
	}
	if n := len(w.requests()) - before; n != 1 {
		t.Errorf("%d requests for an unknown mailbox, want 1", n)
	}
}

// TestOldEntryIsBetterThanNone keeps an expired answer while nobody can be asked, but not once somebody says no.
func TestOldEntryIsBetterThanNone(t *testing.T) {
	w, c := newWorld(t), newClock()
	w.pages[svc("company.test")] = ews("mail.company.test")
	f := w.finder(func(o *autodiscover.Options) { o.Now = c.Now })
	wantURL(t, f, found)
	c.pass(8 * 24 * time.Hour)
	delete(w.pages, svc("company.test"))
	wantURL(t, f, found)
	asked := len(w.requests())
	wantURL(t, f, found)
	if n := len(w.requests()); n != asked {
		t.Errorf("searched again at once: %d requests", n-asked)
	}
	c.pass(time.Hour)
	w.pages[svc("company.test")] = soapError("InvalidUser", "")
	wantError(t, f, connection.ErrNotFound, "mailboxes")
}

// TestE28Moved looks for a mailbox again whose server says that it moved.
func TestE28Moved(t *testing.T) {
	w, c := newWorld(t), newClock()
	w.pages[svc("company.test")] = ews("mail.company.test")
	f := w.finder(func(o *autodiscover.Options) { o.Now = c.Now })
	old := wantURL(t, f, found).URL
	asked := len(w.requests())
	// An entry that is young is not looked for again: the server's failure will pass.
	c.pass(59 * time.Minute)
	if got, other, err := f.Refresh(t.Context(), "joe@company.test", old); err != nil || other || got.URL.String() != found {
		t.Errorf("young: %v, %t, %v", got, other, err)
	}
	if n := len(w.requests()); n != asked {
		t.Errorf("%d requests for a young entry", n-asked)
	}
	c.pass(2 * time.Minute)
	// A search that fails leaves the old one, and is not repeated at once.
	delete(w.pages, svc("company.test"))
	for range 3 {
		if got, other, err := f.Refresh(t.Context(), "joe@company.test", old); err != nil || other || got.URL.String() != found {
			t.Errorf("failing: %v, %t, %v", got, other, err)
		}
	}
	if n := w.count(plain("autodiscover.company.test")); n != 1 {
		t.Errorf("%d searches for three failures in a row, want 1", n)
	}
	c.pass(6 * time.Minute)
	w.pages[svc("autodiscover.company.test")] = ews("new.company.test")
	got, other, err := f.Refresh(t.Context(), "joe@company.test", old)
	if err != nil || !other || got.URL.Hostname() != "new.company.test" {
		t.Fatalf("moved: %v, %t, %v", got, other, err)
	}
	// Others that failed at the old URL meanwhile get the new one without a search.
	asked = len(w.requests())
	if got, other, err := f.Refresh(t.Context(), "joe@company.test", old); err != nil || !other || got.URL.Hostname() != "new.company.test" {
		t.Errorf("late: %v, %t, %v", got, other, err)
	}
	if n := len(w.requests()); n != asked {
		t.Errorf("%d requests", n-asked)
	}
	// What nobody found yet is found.
	if got, other, err := f.Refresh(t.Context(), "ann@company.test", old); err != nil || !other || got.URL.Hostname() != "new.company.test" {
		t.Errorf("new mailbox: %v, %t, %v", got, other, err)
	}
	if _, _, err := f.Refresh(t.Context(), "nobody", old); !errors.Is(err, connection.ErrInvalid) {
		t.Errorf("no address: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.pass(2 * time.Hour)
	if _, _, err := f.Refresh(ctx, "joe@company.test", got.URL); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestRefreshSeesThatAServerIsGone takes the internal URL once the external cannot be connected any more.
func TestRefreshSeesThatAServerIsGone(t *testing.T) {
	w, c := newWorld(t), newClock()
	w.pages[svc("company.test")] = soapSettings(setting("ExternalEwsUrl", found), setting("InternalEwsUrl", "https://cas.corp.local/EWS/Exchange.asmx"))
	gone := false
	f := w.finder(func(o *autodiscover.Options) {
		o.Now = c.Now
		o.Reachable = reachable(func(host string) bool { return !gone || host == "cas.corp.local" })
	})
	old := wantURL(t, f, found).URL
	c.pass(2 * time.Hour)
	if _, err := f.Find(t.Context(), "ann@company.test"); err != nil {
		t.Fatal(err)
	}
	gone = true // a moment after somebody else found that it is there
	got, other, err := f.Refresh(t.Context(), "joe@company.test", old)
	if err != nil || !other || got.URL.Hostname() != "cas.corp.local" {
		t.Errorf("Refresh: %v, %t, %v", got, other, err)
	}
}

// TestReachableIsAskedOnce for all mailboxes of one server, and again when that was long ago.
func TestReachableIsAskedOnce(t *testing.T) {
	w, c := newWorld(t), newClock()
	w.pages[svc("company.test")] = soapSettings(setting("ExternalEwsUrl", found), setting("InternalEwsUrl", "https://cas.corp.local/EWS/Exchange.asmx"))
	asked := 0
	f := w.finder(func(o *autodiscover.Options) {
		o.Now = c.Now
		o.Reachable = reachable(func(string) bool { asked++; return true })
	})
	for i := range 20 {
		if _, err := f.Find(t.Context(), fmt.Sprintf("user%d@company.test", i)); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times, want once", asked)
	}
	c.pass(time.Hour)
	if _, err := f.Find(t.Context(), "joe@company.test"); err != nil || asked != 2 {
		t.Errorf("an hour later: %v, asked %d times", err, asked)
	}
}

// TestSingleFlight has many goroutines look for one mailbox, of which the one that searches gives up.
func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		release := make(chan struct{})
		w.pages[svc("company.test")] = func(ctx context.Context, address string) (*autodiscover.Reply, error) {
			select {
			case <-release:
				return ews("mail.company.test")(ctx, address)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		f := w.finder()
		first, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := f.Find(first, "joe@company.test"); !errors.Is(err, context.Canceled) {
				t.Errorf("the one that gave up: %v", err)
			}
		})
		synctest.Wait()
		for i := range 50 {
			wg.Go(func() {
				address := "joe@company.test"
				if i%2 == 1 {
					address = "Joe@Company.test"
				}
				got, err := f.Find(t.Context(), address)
				if err != nil || got.URL.String() != found {
					t.Errorf("Find: %v, %v", got, err)
				}
			})
		}
		impatient, stop := context.WithCancel(t.Context())
		wg.Go(func() {
			if _, err := f.Find(impatient, "joe@company.test"); !errors.Is(err, context.Canceled) {
				t.Errorf("one that waits: %v", err)
			}
		})
		synctest.Wait()
		stop()
		cancel()
		synctest.Wait()
		close(release)
		wg.Wait()
		if n := w.count(svc("company.test")); n != 2 {
			t.Errorf("asked %d times, want 2: for the one that gave up, and once for all others", n)
		}
	})
}

// TestManyMailboxes asks for many of one domain at once: only the first of them walks the chain.
func TestManyMailboxes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.hosts["company.test"] = later(time.Second, reply(404, ""))
		w.pages[svc("autodiscover.company.test")] = later(time.Second, ews("mail.company.test"))
		f := w.finder()
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				if _, err := f.Find(t.Context(), fmt.Sprintf("user%d@company.test", i)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := w.count(svc("company.test")); n != 1 {
			t.Errorf("the bare domain was asked %d times, want 1", n)
		}
		if n := w.count(svc("autodiscover.company.test")); n != 200 {
			t.Errorf("%d requests for 200 mailboxes", n)
		}
	})
}

// TestSearchIsWhole shows the whole chain, also while somebody else takes the short way for the same mailbox.
func TestSearchIsWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.hosts["company.test"] = reply(404, "")
		w.pages[svc("autodiscover.company.test")] = later(time.Second, ews("mail.company.test"))
		f := w.finder()
		if _, err := f.Find(t.Context(), "ann@company.test"); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { wantURL(t, f, found) })
		synctest.Wait()
		_, trail, err := f.Search(t.Context(), "joe@company.test")
		if err != nil || len(trail) != 2 || trail[0].URL != svc("company.test") {
			t.Errorf("%v, trail:\n%s", err, lines(trail))
		}
		wg.Wait()
	})
}
