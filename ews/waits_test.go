package ews_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/ewstest"
)

func TestE15WebPages(t *testing.T) {
	for name, test := range map[string]struct {
		fault ewstest.Fault
		kind  connection.Kind
		hint  string
	}{
		"login page":         {ewstest.Page(200, "Sign in to Outlook"), connection.ErrProtocol, "web page"},
		"redirect to a form": {ewstest.Redirect("https://exchange.corp.test/owa/auth/logon.aspx"), connection.ErrProtocol, "web page"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.alice.Deliver("Inbox", letters(1)...)
			r.Fail(ewstest.On("*"), test.fault)
			wantHint(t, theFetchError(t, r.open(t), test.kind), test.hint)
		})
	}
	t.Run("page of errors", func(t *testing.T) {
		r := newRig(t, nil)
		var throttled atomicEvents
		r.env.Observe = throttled.observe
		want := letters(3)
		r.alice.Deliver("Inbox", want...)
		r.Fail(ewstest.On("*").Times(1), ewstest.ErrorPage())
		wantBodies(t, bodies(t, collect(t, r.open(t), nil)), want...)
		if n := throttled.count(connection.EventThrottled); n != 1 {
			t.Errorf("%d events, want 1", n)
		}
	})
}

// atomicEvents counts events.
type atomicEvents struct {
	mu     sync.Mutex
	events []connection.Event
}

func (a *atomicEvents) observe(e connection.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, e)
}

func (a *atomicEvents) count(kind connection.EventKind) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// Whatever a server asks for, nothing is asked again before, and a wait ends with its context.
func TestE16Waits(t *testing.T) {
	for name, fault := range map[string]ewstest.Fault{
		"503, 1 second":   ewstest.Unavailable("1"),
		"503, 0":          ewstest.Unavailable("0"),
		"503, negative":   ewstest.Unavailable("-1"),
		"503, a date":     ewstest.Unavailable(time.Now().Add(2 * time.Second).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")),
		"back-off 0":      ewstest.BusyWithoutTime(),
		"back-off 700 ms": ewstest.Busy(700 * time.Millisecond),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			want := letters(3)
			r.alice.Deliver("Inbox", want...)
			r.Fail(ewstest.On("GetItem").Times(1), fault)
			wantBodies(t, bodies(t, collect(t, r.open(t), nil)), want...)
			if n := r.Penalty(); n != 0 {
				t.Errorf("%d requests came before the time was over", n)
			}
		})
	}
	for name, fault := range map[string]ewstest.Fault{"503, an hour": ewstest.Unavailable("3600"), "back-off 300,000": ewstest.Busy(300 * time.Second)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			r.alice.Deliver("Inbox", letters(1)...)
			r.Fail(ewstest.On("*").Times(1), fault)
			c := r.open(t)
			e := theFetchError(t, c, connection.ErrThrottled)
			if e.RetryAfter < time.Minute || e.RetryAfter > time.Hour {
				t.Errorf("wait %s", e.RetryAfter)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				for _, err := range c.Fetch(ctx, &connection.FetchOptions{Follow: true}) {
					done <- err
					return
				}
				done <- nil
			}()
			cancel()
			select {
			case err := <-done:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			case <-time.After(time.Minute):
				t.Error("the wait does not end with its context")
			}
			if n := r.Penalty(); n != 0 {
				t.Errorf("%d requests came before the time was over", n)
			}
		})
	}
}
