package ews_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// A follower is a Fetch with Follow that runs beside the test.
type follower struct {
	t    testing.TB
	r    *rig
	conn *ews.Conn
	got  chan string
	over func() error // waits for the end of the loop, and returns what it ended with
	stop func() error // ends the loop, then as over

	mu     sync.Mutex
	events []connection.Event
}

// follow starts to follow alice's inbox. Without notifications it would look once an hour.
func follow(t testing.TB, r *rig, notifications string, poll time.Duration) *follower {
	t.Helper()
	f := &follower{t: t, r: r, got: make(chan string)}
	r.cfg.Notifications, r.cfg.PollInterval = notifications, connection.Duration(poll)
	r.env.Observe = func(ev connection.Event) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.events = append(f.events, ev)
	}
	f.conn = r.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		var last error
		for m, err := range f.conn.Fetch(ctx, &connection.FetchOptions{Follow: true}) {
			if last = err; err != nil {
				continue
			}
			raw, err := io.ReadAll(m.Body)
			if err != nil {
				last = err
				break
			}
			select {
			case f.got <- string(raw):
			case <-ctx.Done():
			}
		}
		ended <- last
	}()
	f.over = sync.OnceValue(func() error { return <-ended })
	f.stop = func() error {
		cancel()
		return f.over()
	}
	t.Cleanup(func() { _ = f.stop() }) // a test that cares stops by itself
	return f
}

// wants waits for messages, in any order, and for no others.
func (f *follower) wants(raw ...[]byte) {
	f.t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	want := strs(raw)
	for len(want) > 0 {
		select {
		case got := <-f.got:
			i := slices.Index(want, got)
			if i < 0 {
				f.t.Fatalf("got %.100q, which was not wanted", got)
			}
			want = slices.Delete(want, i, i+1)
		case <-deadline.C:
			f.t.Fatalf("not within a minute: %d messages", len(want))
		}
	}
}

// woken reports whether an event of the kind has a detail with the text.
func (f *follower) woken(kind connection.EventKind, text string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.events, func(ev connection.Event) bool { return ev.Kind == kind && strings.Contains(ev.Detail, text) })
}

func (f *follower) streams(n int) {
	f.t.Helper()
	eventually(f.t, "the streams", func() bool { return f.r.Streams() == n })
}

// Mail is seen as soon as the server tells of it, in each way in which streams are written: several Envelopes in one chunk,
// split anywhere, with prefixes that change.
func TestE36FollowByStream(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]*ewstest.Options{
		"plain":       {},
		"envelopes":   {Streaming: ewstest.Streaming{Together: true, ChangePrefixes: true}},
		"split":       {Streaming: ewstest.Streaming{Together: true, ChangePrefixes: true}, Shred: ewstest.Shred{Chunk: 1}},
		"heartbeats":  {Streaming: ewstest.Streaming{Heartbeat: 10 * time.Millisecond}},
		"an affinity": {Streaming: ewstest.Streaming{NeedAffinity: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, opts)
			r.alice.Deliver("Inbox", letters(2)...)
			f := follow(t, r, ews.NotifyStreaming, time.Hour)
			f.wants(letters(2)...)
			f.streams(1)
			r.alice.Deliver("Inbox", letters(5)[2:]...)
			f.wants(letters(5)[2:]...)
			for i := 5; !f.woken(connection.EventWakeup, "notify"); i++ { // the first ones may have come before it waited
				r.alice.Deliver("Inbox", letter(i))
				f.wants(letter(i))
			}
			if f.woken(connection.EventWakeup, "poll") {
				t.Error("it polled")
			}
			if err := f.stop(); !errors.Is(err, context.Canceled) {
				t.Errorf("ended with %v", err)
			}
			if r.Calls("Unsubscribe") == 0 {
				t.Error("the subscription was left behind")
			}
		})
	}
}

// When a stream ends, in whatever way, there is another one, and what came in between is not missed.
func TestE36StreamEnds(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]ewstest.Fault{
		"cut":                 ewstest.CutAfter(700),
		"reset":               ewstest.ResetAfter(700),
		"refused":             ewstest.Refuse("ErrorInternalServerError", "No."),
		"unknown":             ewstest.Refuse("ErrorSubscriptionNotFound", "Never heard of it."),
		"expired":             ewstest.Refuse("ErrorInvalidSubscription", "It has expired."),
		"missed events":       ewstest.Refuse("ErrorMissedNotificationEvents", "Too many."),
		"connection exceeded": ewstest.Refuse("ErrorExceededConnectionCount", "Too many."),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			r.Fail(ewstest.On("GetStreamingEvents").Times(1), fault)
			f := follow(t, r, ews.NotifyStreaming, time.Hour)
			eventually(t, "the second stream", func() bool { return r.Calls("GetStreamingEvents") > 0 })
			r.alice.Deliver("Inbox", letters(3)...)
			f.wants(letters(3)...)
			eventually(t, "the second stream", func() bool { return r.Calls("GetStreamingEvents") > 1 && r.Streams() == 1 })
			r.alice.Deliver("Inbox", letter(3))
			f.wants(letter(3))
		})
	}
}

// The server's own end of a stream, with and without a word.
func TestE36StreamCloses(t *testing.T) {
	t.Parallel()
	for _, silent := range []bool{false, true} {
		clock := &skewed{}
		r := newRig(t, &ewstest.Options{Clock: clock, Streaming: ewstest.Streaming{NoClosed: silent}})
		f := follow(t, r, ews.NotifyStreaming, time.Hour)
		f.streams(1)
		clock.skip(31 * time.Minute)
		eventually(t, "another stream", func() bool { return r.Calls("GetStreamingEvents") > 1 && r.Streams() == 1 })
		r.alice.Deliver("Inbox", letter(1))
		f.wants(letter(1))
	}
}

// A server may tell of an error with ConnectionStatus OK for ever. The mailbox is then looked at in the ordinary way.
func TestStreamOfErrors(t *testing.T) {
	t.Parallel()
	r := newRig(t, &ewstest.Options{Streaming: ewstest.Streaming{Error: "ErrorReadEventsFailed", Heartbeat: time.Millisecond}})
	f := follow(t, r, ews.NotifyStreaming, time.Second)
	eventually(t, "a second subscription", func() bool { return r.Calls("Subscribe") > 1 })
	r.alice.Deliver("Inbox", letter(1))
	f.wants(letter(1))
}

// A server without streams, or whose mailbox may have no more, is polled.
func TestStreamsRefused(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]*ewstest.Options{
		"no Subscribe": {Without: []string{"Subscribe"}},
		"2010":         {Version: "2010"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, opts)
			f := follow(t, r, ews.NotifyStreaming, time.Second)
			eventually(t, "an event", func() bool { return f.woken(connection.EventQuirk, "notifications") })
			r.alice.Deliver("Inbox", letter(1))
			f.wants(letter(1))
			if n := r.Calls("GetStreamingEvents"); n > 0 {
				t.Errorf("%d streams were asked for", n)
			}
		})
	}
}

// An account has no more than three streams; who comes later polls.
func TestStreamsAreFew(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	f := follow(t, r, ews.NotifyStreaming, time.Second)
	f.streams(1)
	ctx, cancel := context.WithCancel(t.Context())
	var others sync.WaitGroup
	for range 4 {
		others.Go(func() {
			for m, err := range f.conn.Fetch(ctx, &connection.FetchOptions{Follow: true}) {
				if err != nil && ctx.Err() == nil {
					t.Errorf("got %v, error %v", m, err)
				}
			}
		})
	}
	eventually(t, "an event", func() bool { return f.woken(connection.EventQuirk, "streams") })
	f.streams(3)
	cancel()
	others.Wait()
	f.streams(1)
}

func TestFollowByPull(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	f := follow(t, r, ews.NotifyPull, time.Second)
	eventually(t, "a question", func() bool { return r.Calls("GetEvents") > 0 })
	before := r.Calls("SyncFolderItems")
	eventually(t, "another question", func() bool { return r.Calls("GetEvents") > 2 })
	if after := r.Calls("SyncFolderItems"); after != before {
		t.Errorf("the mailbox was looked at %d times though there was nothing new", after-before)
	}
	r.alice.Deliver("Inbox", letters(3)...)
	f.wants(letters(3)...)
	eventually(t, "a notice", func() bool { return f.woken(connection.EventWakeup, "notify") })
	// A subscription that the server forgets is made anew, and nothing is missed meanwhile.
	r.Fail(ewstest.On("GetEvents").Times(1), ewstest.Refuse("ErrorSubscriptionNotFound", "Never heard of it."))
	eventually(t, "a second subscription", func() bool { return r.Calls("Subscribe") > 1 })
	r.alice.Deliver("Inbox", letter(3))
	f.wants(letter(3))
	_ = f.stop()
	if r.Calls("Unsubscribe") == 0 {
		t.Error("the subscription was left behind")
	}
}

func TestPullRefused(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]*ewstest.Options{
		"no watermark": {Quirks: ewstest.Quirks{NoWatermark: true}},
		"no Subscribe": {Without: []string{"Subscribe"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, opts)
			f := follow(t, r, ews.NotifyPull, time.Second)
			eventually(t, "an event", func() bool { return f.woken(connection.EventQuirk, "notifications") })
			r.alice.Deliver("Inbox", letter(1))
			f.wants(letter(1))
		})
	}
}

// An account that may have no more subscriptions is polled meanwhile: nothing waits for one.
func TestPullExceeded(t *testing.T) {
	r := newRig(t, nil)
	r.Fail(ewstest.On("Subscribe"), ewstest.Refuse("ErrorExceededSubscriptionCount", "You have exceeded the available subscriptions for your account."))
	f := follow(t, r, ews.NotifyPull, time.Second)
	eventually(t, "a refusal", func() bool { return r.Calls("Subscribe") > 1 })
	r.alice.Deliver("Inbox", letter(1))
	f.wants(letter(1))
	if f.woken(connection.EventThrottled, "") {
		t.Error("the mailbox was left alone for want of a subscription")
	}
}

// Close, and the end of the context, end a Follow that listens without a goroutine left.
func TestFollowEnds(t *testing.T) {
	r := newRig(t, nil)
	f := follow(t, r, ews.NotifyStreaming, time.Hour)
	f.streams(1)
	if err := f.conn.Close(); err != nil {
		t.Fatal(err)
	}
	mustBe(t, f.over(), connection.ErrClosed)
	noGoroutines(t)
	f = follow(t, newRig(t, nil), ews.NotifyStreaming, time.Hour)
	f.streams(1)
	mustBe(t, f.stop(), connection.ErrCanceled)
	if err := f.conn.Close(); err != nil {
		t.Fatal(err)
	}
	noGoroutines(t)
}

// skewed is a clock that runs, and can be put forward.
type skewed struct {
	mu     sync.Mutex
	offset time.Duration
	wait   []waiting
}

type waiting struct {
	at time.Time
	c  chan time.Time
}

func (s *skewed) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.offset)
}

// After rings when the clock is put forward so far. It does not run by itself.
func (s *skewed) After(d time.Duration) <-chan time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := waiting{time.Now().Add(s.offset + d), make(chan time.Time, 1)}
	s.wait = append(s.wait, w)
	return w.c
}

func (s *skewed) skip(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset += d
	now := time.Now().Add(s.offset)
	s.wait = slices.DeleteFunc(s.wait, func(w waiting) bool {
		if w.at.After(now) {
			return false
		}
		w.c <- now
		return true
	})
}
