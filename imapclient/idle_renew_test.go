package imapclient

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// TestIdleRenew: IDLE is ended and begun again after idle_renew, also while nothing else is due.
func TestIdleRenew(t *testing.T) {
	const idle = "\n< IDLE\n> + go\n= DONE\n> $ OK"
	const hello = "> * OK [CAPABILITY IMAP4rev1] hi\n< LOGIN \n> $ OK [CAPABILITY IMAP4rev1 IDLE] in"
	const look = "\n< EXAMINE INBOX\n> * 0 EXISTS\n> * OK [UIDVALIDITY 1] x\n> * OK [UIDNEXT 1] x\n> $ OK [READ-ONLY] open"
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ours, theirs := net.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- play(theirs, hello+look+idle+look+idle)
		cancel()
	}()
	cfg := clear(connection.ModeInsecure)
	cfg.Server, cfg.Username, cfg.Password = "mail.example.org", testUser, connection.NewSecret(testCanary)
	cfg.Idle, cfg.MaxSessions = true, 1
	cfg.PollingInterval, cfg.PollingIdleMax, cfg.IdleSafetyPoll = connection.Duration(time.Hour), connection.Duration(time.Hour), connection.Duration(time.Hour)
	cfg.IdleRenew = connection.Duration(20 * time.Millisecond) // less than the settings permit: the test cannot wait
	c := newConn(cfg, &connection.Env{Dial: func(context.Context, string, string) (net.Conn, error) { return ours, nil }}, "mail.example.org:143", nil)
	for _, err := range c.Fetch(ctx, &connection.FetchOptions{Follow: true}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
