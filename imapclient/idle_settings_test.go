package imapclient_test

import (
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// TestIdleLimit: a server that is silent in IDLE for longer than idle_limit is left, although no look is due.
func TestIdleLimit(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	cfg := idling(srv.Config())
	cfg.IdleLimit = connection.Duration(50 * time.Millisecond)
	w := follow(t, cfg, srv.Env())
	eventually(t, "another connection", func() bool { return len(srv.Sent()) > 1 })
	srv.Deliver([]byte("one"))
	w.next(t, "one")
}
