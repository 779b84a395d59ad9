package pop3client_test

import (
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/drivertest"
	"github.com/mailconn/mailconn/pop3client"
	"github.com/mailconn/mailconn/pop3client/pop3test"
)

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
func noGoroutines(t testing.TB) { drivertest.NoGoroutines(t, "mailconn/pop3client.") }

func open(t testing.TB, cfg pop3client.Config, env *connection.Env) *pop3client.Conn {
	t.Helper()
	c, err := pop3client.Open(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // a test that cares closes by itself
	return c
}

// emptying returns a Config that removes messages at once.
func emptying(cfg pop3client.Config) pop3client.Config {
	cfg.DeleteMode, cfg.ExpungeEvery = pop3client.DeleteDelete, 0
	return cfg
}

func wantKind(t testing.TB, err error, want connection.Kind) {
	t.Helper()
	_ = theError(t, err, want) // for those who want no more of it
}

func octets(all []pop3test.Message) [][]byte {
	var raw [][]byte
	for _, m := range all {
		raw = append(raw, m.Raw)
	}
	return raw
}
