package ews_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
	"github.com/mailconn/mailconn/internal/drivertest"
)

var (
	collect    = drivertest.Collect
	bodies     = drivertest.Bodies
	theError   = drivertest.Error
	eventually = drivertest.Eventually
)

// noGoroutines fails the test if goroutines of this driver are left.
func noGoroutines(t testing.TB) {
	drivertest.NoGoroutines(t, "mailconn/ews.(", "mailconn/ews/internal/")
}

// Who is who in these tests.
const (
	alice  = "alice@corp.test"
	bob    = "bob@corp.test"
	svc    = "svc@corp.test" // the account that may impersonate; it has no mailbox
	canary = "canary7d41Xq93"
)

// A rig is a server and the settings with which it is used.
type rig struct {
	*ewstest.Server
	alice *ewstest.Mailbox
	cfg   ews.Config
	env   *connection.Env
}

// newRig starts a server with a mailbox, alice's, which logs in by herself. opts may be nil.
func newRig(t testing.TB, opts *ewstest.Options) *rig {
	t.Helper()
	srv := ewstest.NewServer(t, opts)
	r := &rig{Server: srv, alice: srv.AddMailbox(alice, ewstest.MailboxOptions{Password: canary}), env: srv.Env()}
	r.cfg = ews.Config{
		Server: "exchange.corp.test", DisableAutodiscover: true, Username: alice, Password: connection.NewSecret(canary), DeleteMode: ews.DeleteHard,
	}
	return r
}

// impersonating makes the settings those of the account that may impersonate everybody.
func (r *rig) impersonating() *rig {
	r.AddAccount(svc, ewstest.AccountOptions{Password: canary})
	r.GrantImpersonation(svc)
	r.cfg.Username = svc
	return r
}

// open opens a connection that is closed when the test ends.
func (r *rig) open(t testing.TB) *ews.Conn {
	t.Helper()
	return open(t, r.cfg, r.env)
}

// inbox returns the octets that alice's inbox holds.
func (r *rig) inbox() [][]byte {
	var raw [][]byte
	for _, m := range r.Messages(alice, "Inbox") {
		raw = append(raw, m.Raw)
	}
	return raw
}

func open(t testing.TB, cfg ews.Config, env *connection.Env) *ews.Conn {
	t.Helper()
	c, err := ews.Open(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // a test that cares closes by itself
	return c
}

// letters returns n small messages, each another.
func letters(n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = letter(i)
	}
	return all
}

func letter(i int) []byte {
	return fmt.Appendf(nil, "From: ann@corp.test\r\nTo: %s\r\nSubject: letter %d\r\nMessage-ID: <%d@corp.test>\r\n\r\n%s\r\n", alice, i, i, bytes.Repeat([]byte("x"), i%7))
}

// large returns a message of about n octets.
func large(n int) []byte {
	head := fmt.Sprintf("From: ann@corp.test\r\nSubject: large %d\r\nMessage-ID: <large%d@corp.test>\r\n\r\n", n, n)
	line := "0123456789abcdef0123456789abcdef0123456789abcdef\r\n"
	return append([]byte(head), strings.Repeat(line, n/len(line)+1)...)
}

// wantBodies compares messages in any order.
func wantBodies(t testing.TB, got []string, want ...[]byte) {
	t.Helper()
	count := map[string]int{}
	for _, raw := range want {
		count[string(raw)]++
	}
	for _, raw := range got {
		if count[raw]--; count[raw] < 0 {
			t.Errorf("got %.120q (%d octets), which was not wanted, or not so often", raw, len(raw))
		}
	}
	for raw, n := range count {
		if n > 0 {
			t.Errorf("%d times missing: %.120q (%d octets)", n, raw, len(raw))
		}
	}
}
