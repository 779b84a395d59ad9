package ews

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// listening returns a watcher that listens, with nobody who gives notices.
func listening(healthy bool) *watcher {
	w := &watcher{conn: &Conn{cfg: Config{PollInterval: connection.Duration(20 * time.Second)}}, notices: make(chan struct{}, 1)}
	w.healthy.Store(healthy)
	return w
}

// Streams stop silently: a mailbox is looked at every ten minutes whatever they say, and while there is no stream as often
// as poll_interval asks.
func TestListenLooksAnyway(t *testing.T) {
	for healthy, want := range map[bool]time.Duration{true: 10 * time.Minute, false: 20 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			w := listening(healthy)
			started := time.Now()
			detail, err := w.listen(t.Context())
			if detail != wokenByPoll || err != nil || time.Since(started) != want {
				t.Errorf("healthy %t: woken by %q after %v, error %v", healthy, detail, time.Since(started), err)
			}
		})
	}
}

// Any number of notices are one look, at once; also if they came before the wait.
func TestListenNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := listening(true)
		for range 5 {
			w.notice()
		}
		started := time.Now()
		if detail, err := w.listen(t.Context()); detail != wokenByNotice || err != nil || time.Since(started) != 0 {
			t.Errorf("woken by %q after %v, error %v", detail, time.Since(started), err)
		}
		time.AfterFunc(time.Minute, w.notice)
		if detail, err := w.listen(t.Context()); detail != wokenByNotice || err != nil || time.Since(started) != time.Minute {
			t.Errorf("woken by %q after %v, error %v", detail, time.Since(started), err)
		}
	})
}

func TestListenEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := listening(true).listen(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v", err)
		}
	})
}
