package maildir_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/maildir/maildirtest"
)

// TestFollowIsNotified waits for a message with a poll interval that is longer than the test.
func TestFollowIsNotified(t *testing.T) {
	tree := maildirtest.New(t)
	tree.Deliver("INBOX", []byte("first"))
	cfg := tree.Config()
	cfg.PollInterval = connection.Duration(time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	delivered := false
	c := openEnv(t, cfg, &connection.Env{Observe: func(ev connection.Event) {
		if ev.Kind == connection.EventFetched && !delivered { // the folder has been read to its end
			delivered = true
			tree.Deliver("INBOX", []byte("second"))
		}
	}})
	n := 0
	for _, err := range c.Fetch(ctx, &connection.FetchOptions{Follow: true, Limit: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("got %d messages, want 2", n)
	}
}

// openFiles counts the open files of this process.
func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
