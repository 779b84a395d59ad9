package imapclient_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

func TestJournal(t *testing.T) {
	cfg := imapclient.Journal("h", "u", connection.NewSecret("p"))
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	if cfg.DeleteMode != imapclient.DeleteExpunge || cfg.ExpungeEvery != 500 || cfg.MessagesPerCycle != 50 || cfg.PollingInterval.D() != 50*time.Millisecond {
		t.Errorf("got %+v", cfg)
	}
	if cfg.Mode != connection.ModeTLSWhenAvailable || cfg.AllowPlaintextAuth || cfg.Idle || cfg.PartialFetch || cfg.UnreadOnly || cfg.ConnectTimeout != 0 || cfg.NoDataTimeout != 0 {
		t.Errorf("mode %s, allow_plaintext_auth %v", cfg.Mode, cfg.AllowPlaintextAuth)
	}
}

// journalOf is Journal for a server of imaptest.
func journalOf(srv *imaptest.Server) imapclient.Config {
	cfg := imapclient.Journal(srv.Addr(), imaptest.DefaultUsername, connection.NewSecret(imaptest.DefaultPassword))
	cfg.CAPEM = srv.Config().CAPEM
	return cfg
}

// Journal's timeouts are none. A server that falls silent, wherever that is, then ends nothing, but the deadline of the
// caller's ctx ends all, soon, and so does Close.
func TestJournalOfSilentServer(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for name, silence := range map[string]func(*imaptest.Server){
		"before the greeting": func(s *imaptest.Server) { s.StallAfter(0, -1) },
		"at STARTTLS":         func(s *imaptest.Server) { s.Stall("STARTTLS") },
		"in the handshake":    func(s *imaptest.Server) { s.StallAfter(500, -1) },
		"at the login":        func(s *imaptest.Server) { s.Stall("AUTHENTICATE") },
		"at SELECT":           func(s *imaptest.Server) { s.Stall("SELECT") },
		"at SEARCH":           func(s *imaptest.Server) { s.Stall("UID SEARCH") },
		"in a body":           func(s *imaptest.Server) { s.StallAfter(300_000, -1) },
		"at the mark":         func(s *imaptest.Server) { s.Stall("UID STORE") },
		"never":               func(*imaptest.Server) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait
			srv := imaptest.NewServer(t, &imaptest.Options{Mode: connection.ModeTLSWhenAvailable})
			srv.Deliver(large)
			silence(srv)
			c := open(t, journalOf(srv), nil)
			deadline := time.Now().Add(500 * time.Millisecond)
			ctx, cancel := context.WithDeadline(t.Context(), deadline)
			defer cancel()
			var last error
			for m, err := range c.Fetch(ctx, &connection.FetchOptions{Follow: true}) {
				if last = err; err == nil {
					_, last = io.Copy(io.Discard, m.Body)
				}
				if last == nil {
					last = c.Delete(ctx, m.Ref)
				}
			}
			if late := time.Since(deadline); !errors.Is(last, context.DeadlineExceeded) || late < 0 || late > 15*time.Second {
				t.Errorf("got %v, %v after the deadline", last, late)
			}
			if left := len(srv.Messages()); left != 1 && name != "never" {
				t.Errorf("%d messages are left of 1 that was never read or never answered for", left)
			}
			srv.Close() // for a Close that has something to finish
			if err := c.Close(); err != nil && name != "never" && name != "at the mark" {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// Each verb ends with its ctx, whatever command the server does not answer. One that the server may have obeyed is
// uncertain.
func TestSilentAtEachVerb(t *testing.T) {
	for name, verb := range map[string]struct {
		command string
		call    func(context.Context, *imapclient.Conn, connection.Ref) error
	}{
		"test": {"SELECT", func(ctx context.Context, c *imapclient.Conn, _ connection.Ref) error {
			_, err := c.Test(ctx, nil)
			return err
		}},
		"folders": {"LIST", func(ctx context.Context, c *imapclient.Conn, _ connection.Ref) (last error) {
			for _, err := range c.Folders(ctx, "") {
				last = err
			}
			return last
		}},
		"sync": {"UID FETCH", func(ctx context.Context, c *imapclient.Conn, _ connection.Ref) (last error) {
			for _, err := range c.Sync(ctx, "", nil) {
				last = err
			}
			return last
		}},
		"open": {"UID FETCH", func(ctx context.Context, c *imapclient.Conn, ref connection.Ref) error {
			_, err := c.Open(ctx, ref)
			return err
		}},
		"append": {"APPEND", func(ctx context.Context, c *imapclient.Conn, _ connection.Ref) error {
			_, err := c.Append(ctx, "INBOX", strings.NewReader("Subject: x\r\n\r\n"), nil)
			return err
		}},
		"mark": {"UID STORE", func(ctx context.Context, c *imapclient.Conn, ref connection.Ref) error {
			return c.Mark(ctx, []connection.Ref{ref}, connection.FlagSeen)
		}},
		"delete": {"UID STORE", func(ctx context.Context, c *imapclient.Conn, ref connection.Ref) error { return c.Delete(ctx, ref) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait
			srv := imaptest.NewServer(t, nil)
			srv.Deliver(letters(1)...)
			cfg := srv.Config()
			cfg.DeleteMode = imapclient.DeleteFlag
			c := open(t, cfg, nil)
			ref := refs(t, c)[0]
			srv.Stall(verb.command)
			deadline := time.Now().Add(300 * time.Millisecond)
			ctx, cancel := context.WithDeadline(t.Context(), deadline)
			defer cancel()
			err := verb.call(ctx, c, ref)
			if late := time.Since(deadline); !errors.Is(err, context.DeadlineExceeded) || late < 0 || late > 15*time.Second {
				t.Errorf("got %v, %v after the deadline", err, late)
			}
		})
	}
}
