package imapclient_test

import (
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// A message that the server has and does not send is asked for with the others once, and then singly as often as
// max_attempts says.
func TestMaxAttemptsCounts(t *testing.T) {
	for attempts, singly := range map[int]int{0: 3, 1: 1, 2: 2, 5: 5} {
		srv := imaptest.NewServer(t, nil)
		srv.Deliver([]byte("Subject: one\r\n\r\n"))
		srv.Fail("UID FETCH", "NO the message is damaged")
		cfg := srv.Config()
		cfg.MaxAttempts = attempts
		all := collect(t, open(t, cfg, srv.Env()), nil)
		if len(all) != 1 {
			t.Fatalf("max_attempts %d: got %d items, want one error", attempts, len(all))
		}
		if e := theError(t, all[0].Err, connection.ErrRejected); e.Ref.ID == "" {
			t.Errorf("max_attempts %d: the error is nobody's: %v", attempts, e)
		}
		if asked := len(srv.Transcript("UID FETCH")); asked != 1+singly {
			t.Errorf("max_attempts %d: asked %d times, want once with the others and %d times singly", attempts, asked, singly)
		}
	}
}
