package imapclient_test

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// A follower runs Fetch with Follow in the background.
type follower struct {
	got    chan string // the messages
	mu     sync.Mutex
	events []connection.Event
}

// follow starts a follower, which ends with the test. Only IDLE makes it look soon, unless cfg says otherwise.
func follow(t *testing.T, cfg imapclient.Config, env *connection.Env) *follower {
	t.Helper()
	w := &follower{got: make(chan string, 100)}
	watched := *env
	watched.Observe = func(ev connection.Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, ev)
	}
	c := open(t, cfg, &watched)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		for m, err := range c.Fetch(ctx, &connection.FetchOptions{Follow: true}) {
			if err != nil {
				if ctx.Err() == nil {
					t.Error(err)
				}
				continue
			}
			raw, err := io.ReadAll(m.Body)
			if err != nil {
				t.Error(err)
			}
			if cfg.DeleteMode != "" {
				if err := c.Delete(ctx, m.Ref); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
			w.got <- string(raw)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return w
}

// next waits for the next message.
func (w *follower) next(t *testing.T, want string) {
	t.Helper()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	select {
	case got := <-w.got:
		if got != want {
			t.Fatalf("got %.40q, want %.40q", got, want)
		}
	case <-limit.C:
		t.Fatalf("%.40q did not come within 10 s", want)
	}
}

// count returns how many events of a kind came whose Detail holds text.
func (w *follower) count(kind connection.EventKind, text string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ev := range w.events {
		if ev.Kind == kind && strings.Contains(ev.Detail, text) {
			n++
		}
	}
	return n
}

// idling returns a Config that looks for mail only when IDLE tells of some.
func idling(cfg imapclient.Config) imapclient.Config {
	cfg.Idle = true
	const never = connection.Duration(time.Hour)
	cfg.PollingInterval, cfg.PollingIdleMax, cfg.IdleSafetyPoll = never, never, never
	return cfg
}

// hasty returns a Config with IDLE whose rounds are all of the same short length.
func hasty(cfg imapclient.Config) imapclient.Config {
	cfg.Idle = true
	const soon = connection.Duration(20 * time.Millisecond)
	cfg.PollingInterval, cfg.PollingIdleMax, cfg.IdleSafetyPoll = soon, soon, soon
	return cfg
}

func TestIdleTellsOfMail(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver([]byte("one"))
	w := follow(t, idling(srv.Config()), srv.Env())
	w.next(t, "one")
	for _, body := range []string{"two", "three"} {
		eventually(t, "IDLE", func() bool { return len(srv.Transcript("IDLE")) > 0 })
		srv.Deliver([]byte(body))
		w.next(t, body)
	}
	if n := w.count(connection.EventWakeup, "idle"); n != 2 {
		t.Errorf("%d wakeups by IDLE, want 2", n)
	}
}

// Where only one session is allowed, a Delete interrupts IDLE instead of waiting for its end.
func TestIdleLendsItsSession(t *testing.T) {
	for name, opts := range map[string]*imaptest.Options{
		"max_sessions":    {},
		"the server says": {MaxSessions: 1},
	} {
		t.Run(name, func(t *testing.T) {
			srv := imaptest.NewServer(t, opts)
			cfg := idling(emptying(srv.Config()))
			if opts.MaxSessions == 0 {
				cfg.MaxSessions = 1
			}
			w := follow(t, cfg, srv.Env())
			for _, body := range []string{"one", "two", "three"} {
				srv.Deliver([]byte(body))
				w.next(t, body)
				eventually(t, "the delete", func() bool { return len(srv.Messages()) == 0 })
			}
			if n := len(srv.Sent()); opts.MaxSessions == 0 && n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
		})
	}
}

const idleCaps = caps + " IDLE"

// look plays one look at INBOX, which holds n messages of which the last is new; none if body is "".
func look(n int, body string) imaptest.Step {
	search, steps := "* SEARCH", []imaptest.Step{}
	if body != "" {
		search = "* SEARCH " + string(rune('0'+n))
		steps = append(steps, imaptest.Expect("UID FETCH"), imaptest.Send(reply(n, body), "$TAG OK done"))
	}
	if n > 0 {
		steps = append([]imaptest.Step{imaptest.Expect("UID SEARCH"), imaptest.Send(search, "$TAG OK done")}, steps...)
	}
	return imaptest.Do(append([]imaptest.Step{imaptest.Expect("EXAMINE"), examined(n)}, steps...)...)
}

// examined answers an EXAMINE.
func examined(n int) imaptest.Step {
	count := string(rune('0' + n))
	return imaptest.Send("* "+count+" EXISTS", "* OK [UIDVALIDITY 7] valid", "$TAG OK [READ-ONLY] done")
}

// idled plays an IDLE that is silent until DONE.
func idled() imaptest.Step {
	return imaptest.Do(imaptest.Expect("IDLE"), imaptest.Send("+ idling"), imaptest.ExpectLine("^DONE$"), imaptest.Send("$TAG OK done"))
}

// polled answers every look from then on.
func polled(n int) imaptest.Step {
	return imaptest.Do(
		imaptest.Answer("EXAMINE", "* "+string(rune('0'+n))+" EXISTS", "* OK [UIDVALIDITY 7] valid", "$TAG OK [READ-ONLY] done"),
		imaptest.Answer("UID SEARCH", "* SEARCH", "$TAG OK done"), imaptest.Answer("UID FETCH", "$TAG OK done"),
	)
}

// 23, 24: whatever a server does with IDLE, mail is found, and one that does not tell of it is polled.
func TestIdleTroubles(t *testing.T) {
	welcome := imaptest.Do(imaptest.Welcome(idleCaps), imaptest.Answer("LOGOUT", "$TAG OK bye"), imaptest.Answer("UID FETCH 1:* (UID)", "$TAG OK done"))
	for _, test := range []struct {
		name    string
		patient bool // only IDLE makes the client look
		scripts []imaptest.Script
		want    []string
		kind    connection.EventKind // that says IDLE is given up; "" = it is not
	}{
		{"never announces", false, []imaptest.Script{
			{welcome, look(0, ""), idled(), look(1, "one"), idled(), look(2, "two"), polled(2)},
		}, []string{"one", "two"}, connection.EventStalledIdle},
		{"announces now and then", false, []imaptest.Script{{
			welcome, look(0, ""), idled(), look(1, "one"),
			imaptest.Expect("IDLE"), imaptest.Send("+ idling", "* 2 EXISTS"), imaptest.ExpectLine("^DONE$"), imaptest.Send("$TAG OK done"), look(2, "two"),
			idled(), look(3, "three"), imaptest.Expect("IDLE"), imaptest.Send("+ idling"), imaptest.Stall(),
		}}, []string{"one", "two", "three"}, ""},
		{"NO", false, []imaptest.Script{
			{welcome, look(0, ""), imaptest.Expect("IDLE"), imaptest.Send("$TAG NO not here"), look(1, "one"), polled(1)},
		}, []string{"one"}, connection.EventQuirk},
		{"BAD", false, []imaptest.Script{
			{welcome, look(0, ""), imaptest.Expect("IDLE"), imaptest.Send("$TAG BAD what?"), look(1, "one"), polled(1)},
		}, []string{"one"}, connection.EventQuirk},
		{"not offered", false, []imaptest.Script{
			{imaptest.Welcome(caps), imaptest.Answer("LOGOUT", "$TAG OK bye"), look(0, ""), look(1, "one"), polled(1)},
		}, []string{"one"}, connection.EventQuirk},
		{"no continuation", false, []imaptest.Script{
			{welcome, look(0, ""), imaptest.Expect("IDLE"), imaptest.Stall()},
			{welcome, look(1, "one"), imaptest.Expect("IDLE"), imaptest.Stall()},
			{welcome, look(2, "two"), polled(2)},
		}, []string{"one", "two"}, connection.EventStalledIdle},
		{"half open", false, []imaptest.Script{
			{welcome, look(0, ""), imaptest.Expect("IDLE"), imaptest.Send("+ idling"), imaptest.Stall()},
			{welcome, look(1, "one"), idled(), look(2, "two"), imaptest.Expect("IDLE"), imaptest.Send("+ idling"), imaptest.Stall()},
			{welcome, look(3, "three"), imaptest.Expect("IDLE"), imaptest.Send("+ idling"), imaptest.Stall()},
		}, []string{"one", "two", "three"}, ""},
		{"24 mail during FETCH", true, []imaptest.Script{{
			welcome,
			imaptest.Expect("EXAMINE"), examined(1),
			imaptest.Expect("UID SEARCH"), imaptest.Send("* SEARCH 1", "$TAG OK done"),
			imaptest.Expect("UID FETCH"), imaptest.Send(reply(1, "one"), "* 2 EXISTS", "$TAG OK done"),
			look(2, "two"), imaptest.Expect("IDLE"), imaptest.Send("+ idling"), imaptest.Stall(),
		}}, []string{"one", "two"}, ""},
		{"24 mail before the continuation", true, []imaptest.Script{{
			welcome, look(1, "one"),
			imaptest.Expect("IDLE"), imaptest.Send("* 2 EXISTS", "+ idling"), imaptest.ExpectLine("^DONE$"), imaptest.Send("$TAG OK done"),
			look(2, "two"), imaptest.Expect("IDLE"), imaptest.Send("+ idling"), imaptest.Stall(),
		}}, []string{"one", "two"}, ""},
		{"one comes as another goes", true, []imaptest.Script{{
			welcome, look(2, "two"),
			imaptest.Expect("IDLE"), imaptest.Send("+ idling", "* 1 EXPUNGE", "* 2 EXISTS"), imaptest.ExpectLine("^DONE$"), imaptest.Send("$TAG OK done"),
			look(3, "three"), imaptest.Expect("IDLE"), imaptest.Send("+ idling"), imaptest.Stall(),
		}}, []string{"two", "three"}, ""},
		{"25 dropped", true, []imaptest.Script{
			{welcome, look(1, "one"), imaptest.Expect("IDLE"), imaptest.Send("+ idling", "* BYE autologout"), imaptest.Cut()},
			{welcome, look(2, "two"), imaptest.Expect("IDLE"), imaptest.Send("+ idling"), imaptest.Stall()},
		}, []string{"one", "two"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := imaptest.NewScript(t, &imaptest.ScriptOptions{Mode: connection.ModeInsecure, Lenient: true, Repeat: true}, test.scripts...)
			cfg := hasty(srv.Config())
			if test.patient {
				cfg = idling(srv.Config())
			} else {
				cfg.NoDataTimeout = connection.Duration(500 * time.Millisecond)
			}
			w := follow(t, cfg, srv.Env())
			for _, body := range test.want {
				w.next(t, body)
			}
			const given = "IDLE is not used any more"
			if test.kind != "" {
				eventually(t, "an event that IDLE is given up", func() bool { return w.count(test.kind, given) == 1 })
				n := len(srv.Transcript("IDLE"))
				eventually(t, "a poll", func() bool { return w.count(connection.EventWakeup, "poll") > n+2 })
				if more := len(srv.Transcript("IDLE")); more != n {
					t.Errorf("%d more IDLEs", more-n)
				}
			} else if w.count(connection.EventStalledIdle, given)+w.count(connection.EventQuirk, given) > 0 {
				t.Error("IDLE was given up")
			}
		})
	}
}

// A server that tells of mail that is not there does not make the client look without end.
func TestIdleFalseAlarms(t *testing.T) {
	lies := imaptest.Script{imaptest.Welcome(idleCaps), polled(1), imaptest.Answer("LOGOUT", "$TAG OK bye")}
	for range 6 {
		lies = append(lies, imaptest.Expect("IDLE"), imaptest.Send("* 9 EXISTS", "+ idling"), imaptest.ExpectLine("^DONE$"), imaptest.Send("$TAG OK done"))
	}
	srv := imaptest.NewScript(t, &imaptest.ScriptOptions{Lenient: true}, append(lies, imaptest.Stall()))
	cfg := srv.Config()
	cfg.Idle = true // 50 ms, doubled with each look that finds nothing
	began := time.Now()
	w := follow(t, cfg, srv.Env())
	eventually(t, "five wakeups", func() bool { return w.count(connection.EventWakeup, "idle") >= 5 })
	if took := time.Since(began); took < time.Second {
		t.Errorf("five false alarms took %v", took)
	}
}
