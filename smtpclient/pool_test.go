package smtpclient_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/smtpclient"
	"github.com/mailconn/mailconn/smtpclient/smtptest"
)

// Edge case 24: the rules of the pool.
func TestSessionsAreReused(t *testing.T) {
	overPaths(t, func(t *testing.T, srv *smtptest.Server, cfg smtpclient.Config) {
		cfg.PoolMaxMessages = 5
		c := open(t, cfg, nil)
		for range 12 {
			mustSend(t, c, toBob, letter)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if sessions, quits := len(srv.Commands("EHLO")), len(srv.Commands("QUIT")); sessions != 3 || quits != 3 {
			t.Errorf("12 messages took %d sessions and %d QUIT, want 3 of 5 messages each", sessions, quits)
		}
		for _, m := range srv.Messages()[:5] {
			if m.Conn != 1 {
				t.Errorf("a message came over connection %d, want 1", m.Conn)
			}
		}
	})
}

// Many goroutines share few connections, and nothing is mixed up; with PIPELINING one rides behind the other.
func TestManySendersShareFewSessions(t *testing.T) {
	for _, size := range []int{1, 3} {
		overPaths(t, func(t *testing.T, srv *smtptest.Server, cfg smtpclient.Config) {
			cfg.PoolSize, cfg.PoolMaxMessages = size, 1000
			srv.Refuse("nobody@example.org", "550 5.1.1 no")
			srv.Fail(smtptest.End, "451 4.3.0 not now", 3)
			c := open(t, cfg, nil)
			const senders, each = 8, 25
			var all sync.WaitGroup
			var mu sync.Mutex
			failed := 0
			for i := range senders {
				all.Go(func() {
					for j := range each {
						id := fmt.Sprintf("%d-%d", i, j)
						env := connection.Envelope{From: id + "@example.org", To: []string{id + "@example.net"}}
						if j%5 == 0 {
							env.To = []string{"nobody@example.org"}
						}
						r, err := c.Send(t.Context(), env, strings.NewReader(header+id+"\r\n"), nil)
						switch {
						case j%5 == 0 && !errors.Is(err, connection.ErrRejected):
							t.Errorf("%s: got %v, want a rejection", id, err)
						case j%5 == 0:
						case errors.Is(err, connection.ErrUnavailable):
							mu.Lock()
							failed++
							mu.Unlock()
						case err != nil || len(r.Accepted) != 1:
							t.Errorf("%s: %v", id, err)
						}
					}
				})
			}
			all.Wait()
			got := srv.Messages()
			if want := senders*each*4/5 - 3; len(got) != want || failed != 3 {
				t.Errorf("%d messages arrived and %d failed, want %d and 3", len(got), failed, want)
			}
			for _, m := range got {
				id := strings.TrimSuffix(m.From, "@example.org")
				if m.To[0] != id+"@example.net" || string(m.Raw) != header+id+"\r\n" {
					t.Errorf("mixed up: from %s to %s: %q", m.From, m.To, m.Raw)
				}
			}
			if n := len(srv.Commands("EHLO")); n > size {
				t.Errorf("%d sessions, want at most %d", n, size)
			}
		})
	}
}

// Each of two Sends that share a connection has its own context: one that ends takes the other's connection, not its
// message.
func TestContextOfOneSendDoesNotHarmAnother(t *testing.T) {
	srv, cfg := plainServer(t, func(o *smtptest.Options) { o.Without = []string{"CHUNKING", "BINARYMIME"} })
	cfg.PoolSize = 1
	c := open(t, cfg, nil)
	srv.Stall(smtptest.End, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := c.Send(ctx, toBob, strings.NewReader(letter), nil)
		first <- err
	}()
	poll(t, "the first message is sent", func() bool { return len(srv.Commands("END")) == 1 })
	go func() {
		_, err := c.Send(t.Context(), toBoth, strings.NewReader(letter), nil)
		second <- err
	}()
	gone, leave := context.WithCancel(t.Context())
	third := make(chan error, 1)
	go func() {
		_, err := c.Send(gone, toBoth, strings.NewReader(letter), nil)
		third <- err
	}()
	leave()
	if err := <-third; !errors.Is(err, context.Canceled) {
		t.Errorf("a Send that waits: got %v, want the context's error", err)
	}
	cancel()
	if err := <-first; !errors.Is(err, connection.ErrUncertain) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want ErrUncertain with the context's error", err)
	}
	if err := <-second; err != nil {
		t.Errorf("the other Send: %v", err)
	}
	if got := srv.Messages(); len(got) != 1 || len(got[0].To) != 2 {
		t.Errorf("got %+v, want the second message once", got)
	}
}

// A rider whose carrier fails is sent over a new connection, once.
func TestRiderOfABrokenConnection(t *testing.T) {
	srv, cfg := plainServer(t, func(o *smtptest.Options) { o.Without = []string{"CHUNKING", "BINARYMIME"} })
	cfg.PoolSize = 1
	c := open(t, cfg, nil)
	for round := range 20 {
		if round%2 == 0 {
			srv.LoseReply(smtptest.End, 1)
		} else {
			srv.Fail(smtptest.End, "421 4.3.2 going down", 1)
		}
		var all sync.WaitGroup
		var mu sync.Mutex
		taken, uncertain := 0, 0
		for range 4 {
			all.Go(func() {
				_, err := c.Send(t.Context(), toBob, strings.NewReader(letter), nil)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					taken++
				case errors.Is(err, connection.ErrUncertain):
					uncertain++
				case !errors.Is(err, connection.ErrThrottled):
					t.Errorf("got %v", err)
				}
			})
		}
		before := len(srv.Messages())
		all.Wait()
		if got := len(srv.Messages()); taken != 3 || got-before > taken+uncertain {
			t.Fatalf("round %d: %d taken, %d uncertain, %d arrived since", round, taken, uncertain, got-before)
		}
	}
}

func TestIdleSessionsAreClosed(t *testing.T) {
	srv, cfg := plainServer(t, nil)
	cfg.PoolIdle = connection.Duration(20 * time.Millisecond)
	c := open(t, cfg, nil)
	mustSend(t, c, toBob, letter)
	poll(t, "QUIT", func() bool { return len(srv.Commands("QUIT")) == 1 })
	mustSend(t, c, toBob, letter)
	if n := len(srv.Commands("EHLO")); n != 2 {
		t.Errorf("got %d sessions, want 2", n)
	}
}

// A server that crashed and is back, and one that said good-bye to an idle connection.
func TestStaleSession(t *testing.T) {
	srv, cfg := plainServer(t, nil)
	c := open(t, cfg, nil)
	for range 3 {
		mustSend(t, c, toBob, letter)
		srv.CloseConnections()
	}
	mustSend(t, c, toBob, letter)
	wantArrived(t, srv, letter, letter, letter, letter)

	hello := []smtptest.Step{
		smtptest.Send("220 hi"), smtptest.Expect("EHLO"), smtptest.Send("250 hi"), smtptest.Expect("MAIL"), smtptest.Send("250 ok"),
		smtptest.Expect("RCPT"), smtptest.Send("250 ok"), smtptest.Expect("DATA"), smtptest.Send("354 go"), smtptest.Take(nil),
	}
	script := smtptest.NewScript(t, &smtptest.ScriptOptions{Mode: connection.ModeInsecure},
		append(hello[:10:10], smtptest.SendRaw("250 ok\r\n250 who asked?\r\n")), // an answer to nothing is not read as one to the next command
		append(hello[:10:10], smtptest.Send("250 ok"), smtptest.Expect("MAIL"), smtptest.Send("421 4.4.2 you were idle")),
		append(hello[:10:10], smtptest.Send("250 ok")),
	)
	c = open(t, script.Config(), nil)
	for range 3 {
		mustSend(t, c, toBob, letter)
	}
}

func TestCloseWhileSending(t *testing.T) {
	for stage, kind := range map[string]connection.Kind{"MAIL": connection.ErrClosed, "END": connection.ErrUncertain} {
		srv, cfg := plainServer(t, nil)
		srv.Stall(stage)
		c := open(t, cfg, nil)
		result := make(chan error, 1)
		go func() {
			_, err := c.Send(t.Context(), toBob, strings.NewReader(letter), nil)
			result <- err
		}()
		poll(t, stage, func() bool { return len(srv.Commands(stage)) == 1 })
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := <-result; !errors.Is(err, kind) || !errors.Is(err, connection.ErrClosed) {
			t.Errorf("%s: got %v, want %q", stage, err, kind)
		}
		_, err := send(t, c, toBob, letter)
		_ = wantKind(t, err, connection.ErrClosed)
	}
}
