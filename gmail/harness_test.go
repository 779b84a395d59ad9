package gmail_test

import (
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

const adminAddress = "admin@corp.example"

// openConn opens settings at a server, with changes, until the test ends.
func openConn(t *testing.T, srv *gmailtest.Server, cfg gmail.Config, change func(*gmail.Config, *connection.Env)) *gmail.Conn {
	t.Helper()
	env := srv.Env()
	if change != nil {
		change(&cfg, env)
	}
	c, err := gmail.Open(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}
