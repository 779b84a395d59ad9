package gmail_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// Mailboxes in which nothing happens are looked at more and more rarely, for two units each time and without a download; what
// does happen is found at the next look, and the mailbox is active again. The number of goroutines is that of the workers.
func TestIdlePolling(t *testing.T) {
	opts := gmailtest.Options{TokenLifetime: 24 * time.Hour} // signatures are not what this is about
	inBubble(t, &opts, nil, func(t *testing.T, r *syncRig) {
		const mailboxes, workers = 48, 2
		names := staff(r, mailboxes, 1)
		active, idle := r.conn.Polling()
		if active != time.Minute || idle != 15*time.Minute {
			t.Fatalf("polling every %v to %v, want 1m to 15m", active, idle)
		}
		sink, cps := &counting{seen: make(map[connection.Ref]time.Time)}, newCheckpoints()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		before, most := runtime.NumGoroutine(), 0 // those of the program and of other tests go on
		ended := make(chan error, 1)
		go func() {
			_, err := connection.Mirror(ctx, r.conn, sink, cps, &connection.MirrorOptions{
				Workers: workers, Interval: active, IdleInterval: idle,
				Progress: func(connection.MirrorStats) { most = max(most, runtime.NumGoroutine()-before) },
			})
			ended <- err
		}()
		<-time.After(2*time.Hour + 30*time.Second) // all are idle now, and nobody is being looked at
		if got := len(sink.seen); got != mailboxes {
			t.Fatalf("%d messages came, want %d", got, mailboxes)
		}
		r.ResetLog()
		<-time.After(time.Hour)
		looks := r.Calls("getProfile")
		if least, mostLooks := mailboxes*3, mailboxes*5; looks < least || looks > mostLooks {
			t.Errorf("%d looks in an hour, want %d to %d: one every quarter of an hour", looks, least, mostLooks)
		}
		if units := r.Units(""); units > int64(2*looks) || r.Calls("messages.get")+r.Calls("messages.list") != 0 {
			t.Errorf("%d units for %d looks, want at most two for each; %d downloads", units, looks, r.Calls("messages.get"))
		}
		began := time.Now()
		r.Deliver(names[7], []byte("Subject: news\r\n\r\n"))
		<-time.After(20 * time.Minute)
		if at := sink.last(); at.Before(began) || at.Sub(began) > idle+time.Minute {
			t.Errorf("news came after %v, want within %v", at.Sub(began), idle)
		}
		r.ResetLog()
		began = time.Now()
		r.Deliver(names[7], []byte("Subject: more\r\n\r\n"))
		<-time.After(20 * time.Minute)
		if at := sink.last(); at.Before(began) {
			t.Error("more did not come")
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("mirror: %v", err)
		}
		if most > mailboxes {
			t.Errorf("%d goroutines for %d workers and %d mailboxes", most, workers, mailboxes)
		}
		t.Logf("%d looks in an hour, %d goroutines at most", looks, most)
	})
}
