package ewshttp_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/ewshttp"
)

// open makes a request whose answer is not read yet.
func open(t *testing.T, c *ewshttp.Client, r *ewshttp.Request) *ewshttp.Response {
	t.Helper()
	resp, err := c.Do(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// A gate holds requests at the server while it is shut, and counts them.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // nil: open
	held int
}

func (g *gate) answer(w http.ResponseWriter, _ *http.Request, _ *visit) {
	g.mu.Lock()
	shut := g.shut
	if shut != nil {
		g.held++
	}
	g.mu.Unlock()
	if shut != nil {
		<-shut
	}
	w.Header().Set("Content-Type", "text/xml")
	_, _ = io.WriteString(w, reply)
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.held = make(chan struct{}), 0
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.shut)
	g.shut = nil
}

// count returns how many requests are held once nothing moves.
func (g *gate) count() int {
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held
}

// The width begins at 4, grows to the setting, and shrinks when the server is busy.
func TestBudgetWidth(t *testing.T) {
	for _, test := range []struct{ setting, first, later, busy int }{{1, 1, 1, 1}, {3, 3, 3, 1}, {10, 4, 10, 5}} {
		synctest.Test(t, func(t *testing.T) {
			g := new(gate)
			s, env := newPipeServer(t, func(s *server) { s.answer = g.answer })
			c := s.client(env, clear, auth("basic"), func(o *ewshttp.Options) { o.MaxConnections = test.setting })
			var wg sync.WaitGroup
			burst := func(owner string, want int) {
				t.Helper()
				g.close()
				for range 20 {
					wg.Go(func() {
						resp, err := c.Do(t.Context(), s.request(func(r *ewshttp.Request) { r.Owner, r.Patient = owner, true }))
						if err != nil {
							t.Error(err)
							return
						}
						read(t, resp)
					})
				}
				if got := g.count(); got != want {
					t.Errorf("max_connections %d: %d at once, want %d", test.setting, got, want)
				}
				g.open()
				wg.Wait()
			}
			burst("first", 1) // the first login goes alone
			burst("other", test.first)
			for range 60 {
				get(t, c, s.request(func(r *ewshttp.Request) { r.Owner = "first" }))
			}
			burst("first", test.later)
			r := s.request(func(r *ewshttp.Request) { r.Owner = "first" })
			<-time.After(c.Busy(r, time.Second, true))
			burst("first", test.busy)
		})
	}
}

// A server says in a body that it is busy: everybody of that owner waits, and nobody else.
func TestBusyPausesTheOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, env := newPipeServer(t, nil)
		var events []connection.Event
		env.Observe = func(e connection.Event) {
			if e.Kind == connection.EventThrottled {
				events = append(events, e)
			}
		}
		c := s.client(env, clear, auth("basic"))
		mine := s.request(func(r *ewshttp.Request) { r.Owner = "Ann@corp.test" })
		began := time.Now()
		if d := c.Busy(mine, 30*time.Second, false); d != 30*time.Second {
			t.Errorf("wait %s", d)
		}
		get(t, c, s.request(func(r *ewshttp.Request) { r.Owner = "bob@corp.test" }))
		if d := time.Since(began); d > time.Second {
			t.Errorf("another owner waited %s", d)
		}
		get(t, c, s.request(func(r *ewshttp.Request) { r.Owner, r.Write = "ann@corp.test", true }))
		if d := time.Since(began); d != 30*time.Second {
			t.Errorf("waited %s", d)
		}
		if len(events) != 1 || !events[0].Until.Equal(began.Add(30*time.Second)) || events[0].Mailbox != "ann@corp.test" {
			t.Errorf("events %+v", events)
		}
	})
}

func TestE16Waits(t *testing.T) {
	for name, test := range map[string]struct {
		after    func() string
		min, max time.Duration
	}{
		"seconds":  {func() string { return "7" }, 7 * time.Second, 7 * time.Second},
		"0":        {func() string { return "0" }, time.Second, time.Minute},
		"negative": {func() string { return "-5" }, time.Second, time.Minute},
		"junk":     {func() string { return "soon" }, time.Second, time.Minute},
		"none":     {func() string { return "" }, time.Second, time.Minute},
		"date":     {func() string { return time.Now().Add(20 * time.Second).UTC().Format(http.TimeFormat) }, 19 * time.Second, 20 * time.Second},
		"past":     {func() string { return time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat) }, time.Second, time.Minute},
		"for ever": {func() string { return "999999999" }, time.Hour, time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			first := true
			s, env := newPipeServer(t, func(s *server) {
				s.before = func(w http.ResponseWriter, _ *http.Request, _ *visit) bool {
					if !first {
						return false
					}
					first = false
					if text := test.after(); text != "" {
						w.Header().Set("Retry-After", text)
					}
					w.WriteHeader(http.StatusServiceUnavailable)
					return true
				}
			})
			c := s.client(env, clear, auth("basic"))
			kind := connection.ErrThrottled
			if name == "none" {
				kind = connection.ErrUnavailable
			}
			e := fails(t, c, s.request(), kind)
			if e.retryAfter < test.min || e.retryAfter > test.max {
				t.Errorf("%s: wait %s, want %s to %s", name, e.retryAfter, test.min, test.max)
			}
			began := time.Now()
			if test.min >= time.Hour {
				e := fails(t, c, s.request(), connection.ErrThrottled)
				if e.retryAfter != time.Hour || time.Since(began) != 0 {
					t.Errorf("an impatient request: %v after %s", e, time.Since(began))
				}
			}
			get(t, c, s.request(func(r *ewshttp.Request) { r.Patient = true }))
			if d := time.Since(began); d != e.retryAfter {
				t.Errorf("%s: waited %s, want %s", name, d, e.retryAfter)
			}
		})
	}
}

func TestBusyBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, env := newPipeServer(t, nil)
		c := s.client(env, clear, auth("basic"))
		owner := func(name string) *ewshttp.Request {
			return s.request(func(r *ewshttp.Request) { r.Owner = name })
		}
		for asked, want := range map[time.Duration]time.Duration{time.Millisecond: time.Second, 300 * time.Second: 300 * time.Second, 24 * time.Hour: time.Hour} {
			if got := c.Busy(owner(asked.String()), asked, false); got != want {
				t.Errorf("asked for %s: wait %s, want %s", asked, got, want)
			}
		}
		r := owner("grows")
		longest := time.Duration(0)
		for range 12 {
			d := c.Busy(r, 0, true)
			if d < time.Second || d > 10*time.Minute {
				t.Errorf("wait %s", d)
			}
			longest = max(longest, d)
			<-time.After(d)
		}
		if longest < 4*time.Second {
			t.Errorf("the wait does not grow: %s", longest)
		}
	})
}

func TestE16CanceledWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, env := newPipeServer(t, nil)
		c := s.client(env, clear, auth("basic"))
		r := s.request(func(r *ewshttp.Request) { r.Patient = true })
		c.Busy(r, time.Hour, false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := c.Do(ctx, r) //nolint:bodyclose // there is none
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		why := errors.New("enough")
		ended, end := context.WithCancelCause(t.Context())
		end(why)
		if _, err = c.Do(ended, r); !errors.Is(err, context.Canceled) || !errors.Is(err, why) { //nolint:bodyclose // there is none
			t.Errorf("got %v", err)
		}
		go func() { closeIt(t, c) }()
		if _, err = c.Do(t.Context(), r); !errors.Is(err, connection.ErrClosed) { //nolint:bodyclose // there is none
			t.Errorf("got %v", err)
		}
		if n := len(s.seen()); n != 0 {
			t.Errorf("%d requests were made", n)
		}
	})
}

// A change does not wait for a reply that is being read, and neither does a loop body that opens another message.
func TestE57OneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, env := newPipeServer(t, ntlm)
		c := s.client(env, clear, auth("ntlm"), func(o *ewshttp.Options) { o.MaxConnections = 1 })
		outer := open(t, c, s.request())
		began := time.Now()
		get(t, c, s.request(func(r *ewshttp.Request) { r.Write = true }))
		if d := time.Since(began); d != 0 {
			t.Errorf("the change waited %s", d)
		}
		get(t, c, s.request(func(r *ewshttp.Request) { r.Stream = true }))
		inner := open(t, c, s.request())
		if d := time.Since(began); d < time.Second || d > 3*time.Second {
			t.Errorf("the inner request waited %s", d)
		}
		get(t, c, s.request())
		read(t, inner)
		if got := read(t, outer); got != reply {
			t.Errorf("got %q", got)
		}
		began = time.Now()
		get(t, c, s.request())
		if d := time.Since(began); d != 0 {
			t.Errorf("waited %s with nothing open", d)
		}
	})
}

// As long as somebody waits for the reply, others do not push in.
func TestBudgetHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate)
		s, env := newPipeServer(t, func(s *server) { s.answer = g.answer })
		c := s.client(env, clear, auth("basic"), func(o *ewshttp.Options) { o.MaxConnections = 1 })
		get(t, c, s.request())
		g.close()
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				resp, err := c.Do(t.Context(), s.request())
				if err != nil {
					t.Error(err)
					return
				}
				read(t, resp)
			})
		}
		<-time.After(30 * time.Second)
		if n := g.count(); n != 1 {
			t.Errorf("%d at once", n)
		}
		g.open()
		wg.Wait()
	})
}
