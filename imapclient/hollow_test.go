package imapclient_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// A server that answers with an empty body for a message that has octets has not sent it.
func TestHollowMessages(t *testing.T) {
	for _, partial := range []bool{false, true} {
		srv := imaptest.NewServer(t, nil)
		srv.Deliver([]byte("Subject: precious\r\n\r\nbody"))
		srv.Fail("UID FETCH", "* 1 FETCH (UID 1 FLAGS () BODY[] {0}\n)\nOK done")
		cfg := emptying(srv.Config())
		cfg.PartialFetch, cfg.MaxAttempts = partial, 1
		for m, err := range open(t, cfg, srv.Env()).Fetch(t.Context(), nil) {
			if err == nil {
				t.Errorf("partial %v: %v came with %d octets", partial, m.Ref, m.Size)
				continue
			}
			if e := theError(t, err, connection.ErrProtocol); e.Ref.ID == "" {
				t.Errorf("got %v, want an error of the message", e)
			}
		}
	}
}

// Empty messages come as all others do, in their order, and each once.
func TestEmptyMessages(t *testing.T) {
	for _, partial := range []bool{false, true} {
		for _, most := range []int{1, 3, 50} {
			srv := imaptest.NewServer(t, nil)
			var want []string
			for i := range 40 {
				raw := ""
				if i%7 == 3 || i > 20 && i < 30 {
					raw = fmt.Sprintf("Subject: %d\r\n\r\n", i)
				}
				srv.Deliver([]byte(raw))
				want = append(want, raw)
			}
			cfg := srv.Config()
			cfg.PartialFetch, cfg.MessagesPerCycle, cfg.MaxSessions = partial, most, most%2
			if got := bodies(t, collect(t, open(t, cfg, srv.Env()), nil)); !slices.Equal(got, want) {
				t.Errorf("partial %v, %d at once: got %q", partial, most, got)
			}
		}
	}
}
