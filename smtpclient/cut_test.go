package smtpclient_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/smtpclient"
	"github.com/mailconn/mailconn/smtpclient/smtptest"
)

// The line is cut at every octet of the dialogue, of what the server sends and of what it receives. What Send says is
// what the server did, and no message arrives twice.
func TestCutAtEveryOctet(t *testing.T) {
	overPaths(t, func(t *testing.T, srv *smtptest.Server, cfg smtpclient.Config) {
		srv.Refuse(bob, "550 5.1.1 no such user")
		type result struct {
			when string
			r    *connection.Receipt
			err  error
		}
		results := map[string]result{} // by message
		dialogue := func(when string, fault connectiontest.Fault) {
			env := &connection.Env{}
			if fault != nil {
				env.Dial = connectiontest.FaultyDial(nil, fault)
			}
			raw := letter + when + "\r\n"
			r, err := send(t, open(t, cfg, env), toBoth, raw)
			results[raw] = result{when, r, err}
		}
		dialogue("not cut, for the number of octets there are", nil)
		received, sent := srv.Received()[0], srv.Sent()[0]
		for n := range sent + 1 {
			dialogue(fmt.Sprintf("cut after %4d octets received by the client", n), connectiontest.CutAfter(n))
		}
		for n := range received + 1 {
			dialogue(fmt.Sprintf("cut after %4d octets sent by the client....", n), connectiontest.CutAfterSent(n))
		}
		srv.Close() // and with it whatever was still under way
		arrived := map[string]int{}
		for _, m := range srv.Messages() {
			arrived[string(m.Raw)]++
		}
		outcomes := map[string]int{}
		for raw, got := range results {
			n := arrived[raw]
			delete(arrived, raw)
			switch {
			case got.err == nil && n == 1 && len(got.r.Accepted) == 1 && len(got.r.Rejected) == 1:
				outcomes["sent"]++
			case errors.Is(got.err, connection.ErrUncertain) && n <= 1:
				outcomes["uncertain"]++
			case got.err != nil && !errors.Is(got.err, connection.ErrUncertain) && n == 0:
				outcomes["not sent"]++
			default:
				t.Errorf("%s: %d arrived, receipt %+v: %v", got.when, n, got.r, got.err)
			}
		}
		if len(arrived) > 0 {
			t.Errorf("%d messages arrived that nobody sent", len(arrived))
		}
		if outcomes["sent"] == 0 || outcomes["uncertain"] == 0 || outcomes["not sent"] == 0 {
			t.Errorf("got outcomes %v, want some of each", outcomes)
		}
	})
}
