package imapclient_test

import (
	"strconv"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
	"github.com/mailconn/mailconn/internal/drivertest"
)

type fetched = drivertest.Fetched

var (
	collect    = drivertest.Collect
	bodies     = drivertest.Bodies
	wantBodies = drivertest.WantBodies
	theError   = drivertest.Error
	letters    = drivertest.Letters
	texts      = drivertest.Texts
	eventually = drivertest.Eventually
)

// noGoroutines fails the test if goroutines of this package are left.
func noGoroutines(t testing.TB) {
	drivertest.NoGoroutines(t, "mailconn/imapclient.", "go-imap/v2/imapclient.")
}

func open(t testing.TB, cfg imapclient.Config, env *connection.Env) *imapclient.Conn {
	t.Helper()
	c, err := imapclient.Open(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // a test that cares closes by itself
	return c
}

// emptying returns a Config that removes messages at once.
func emptying(cfg imapclient.Config) imapclient.Config {
	cfg.DeleteMode, cfg.ExpungeEvery = imapclient.DeleteExpunge, 0
	return cfg
}

func wantKind(t testing.TB, err error, want connection.Kind) {
	t.Helper()
	_ = theError(t, err, want) // for those who want no more of it
}

func octets(all []imaptest.Message) [][]byte {
	var raw [][]byte
	for _, m := range all {
		raw = append(raw, m.Raw)
	}
	return raw
}

// literal returns s as an IMAP literal.
func literal(s string) string { return "{" + strconv.Itoa(len(s)) + "}\r\n" + s }
