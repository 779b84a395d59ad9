package smtpclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/smtpclient"
	"github.com/mailconn/mailconn/smtpclient/smtptest"
)

// paths are the ways that content goes, for tests that must hold for each.
var paths = map[string][]string{
	"BDAT":              nil,
	"DATA":              {"CHUNKING", "BINARYMIME"},
	"DATA one by one":   {"CHUNKING", "BINARYMIME", "PIPELINING"},
	"BDAT one by one":   {"PIPELINING"},
	"BDAT, 8 bits only": {"BINARYMIME"},
}

// overPaths runs a test over each way.
func overPaths(t *testing.T, test func(t *testing.T, srv *smtptest.Server, cfg smtpclient.Config)) {
	for name, without := range paths {
		t.Run(name, func(t *testing.T) {
			srv, cfg := plainServer(t, func(o *smtptest.Options) { o.Without = without })
			test(t, srv, cfg)
		})
	}
}

// Edge case 8: refused recipients, among others and alone.
func TestRefusedRecipients(t *testing.T) {
	overPaths(t, func(t *testing.T, srv *smtptest.Server, cfg smtpclient.Config) {
		srv.Refuse(bob, "550 5.1.1 no such user")
		c := open(t, cfg, nil)
		r := mustSend(t, c, toBoth, letter)
		if !slices.Equal(r.Accepted, []string{carol}) || len(r.Rejected) != 1 || r.Rejected[0].Address != bob || !errors.Is(r.Rejected[0].Err, connection.ErrNotFound) {
			t.Errorf("got receipt %+v", r)
		}
		r, err := send(t, c, toBob, letter)
		e := wantKind(t, err, connection.ErrRejected, bob, "no such user")
		if e.Code != "5.1.1" || r == nil || len(r.Rejected) != 1 {
			t.Errorf("got code %q and receipt %+v", e.Code, r)
		}
		mustSend(t, c, connection.Envelope{From: ann, To: []string{carol}}, letter)
		wantArrived(t, srv, letter, letter)
		cfg.OnRejectedRcpt = smtpclient.RejectedAbort
		r, err = send(t, open(t, cfg, nil), toBoth, letter)
		_ = wantKind(t, err, connection.ErrRejected, "on_rejected_rcpt")
		if r == nil || len(r.Accepted) > 0 || len(r.Rejected) != 1 {
			t.Errorf("abort: got receipt %+v", r)
		}
		wantArrived(t, srv, letter, letter)
		if got := len(srv.Commands("RSET")); got != 2 {
			t.Errorf("got %d RSET, want 2", got)
		}
	})
}

// Greylisting: the only recipient is refused for now.
func TestRecipientRefusedForNow(t *testing.T) {
	srv, cfg := plainServer(t, nil)
	srv.Fail("RCPT", "450 4.2.0 greylisted, come back in 5 minutes", 1)
	c := open(t, cfg, nil)
	_, err := send(t, c, toBob, letter)
	e := wantKind(t, err, connection.ErrUnavailable)
	if !connection.Temporary(err) || e.RetryAfter != 5*time.Minute || !errors.Is(err, connection.ErrRejected) {
		t.Errorf("got %v, retry after %v: want a temporary rejection of 5 minutes", err, e.RetryAfter)
	}
	mustSend(t, c, toBob, letter)
}

func TestManyRecipients(t *testing.T) {
	overPaths(t, func(t *testing.T, srv *smtptest.Server, cfg smtpclient.Config) {
		env := connection.Envelope{From: ann}
		for i := range 1000 {
			env.To = append(env.To, strings.Repeat("x", 40)+string(rune('a'+i%26))+strings.Repeat("y", i%50)+"@example.org")
		}
		if r := mustSend(t, open(t, cfg, nil), env, letter); len(r.Accepted) != 1000 || len(srv.Messages()[0].To) != 1000 {
			t.Errorf("%d recipients accepted, and %d arrived", len(r.Accepted), len(srv.Messages()[0].To))
		}
	})
}

// Edge cases 9 and 10: refusals at each stage, for now, for good, and with the end of the session.
func TestRefusalsAtEachStage(t *testing.T) {
	for _, tt := range []struct {
		stage, reply string
		kind         connection.Kind
		code         string
	}{
		{"MAIL", "421 4.3.2 shutting down", connection.ErrThrottled, "4.3.2"},
		{"RCPT", "421 too many messages", connection.ErrThrottled, "421"},
		{"DATA", "421 4.4.2 closing", connection.ErrUnavailable, "4.4.2"},
		{"END", "421 4.3.0 closing", connection.ErrUnavailable, "4.3.0"},
		{"MAIL", "451 4.3.0 later", connection.ErrUnavailable, "4.3.0"},
		{"MAIL", "452 4.3.1 no room", connection.ErrUnavailable, "4.3.1"},
		{"DATA", "451 4.7.1 slow down", connection.ErrThrottled, "4.7.1"},
		{"END", "451 4.3.0 scanner is away", connection.ErrUnavailable, "4.3.0"},
		{"END", "452 4.2.2 mailbox full", connection.ErrQuota, "4.2.2"},
		{"END", "552 5.2.2 mailbox full", connection.ErrQuota, "5.2.2"},
		{"END", "552 5.3.4 too big", connection.ErrTooLarge, "5.3.4"},
		{"END", "554 5.6.0 a virus", connection.ErrRejected, "5.6.0"},
		{"END", "554 no", connection.ErrRejected, "554"},
		{"MAIL", "530 5.7.0 log in", connection.ErrAuth, "5.7.0"},
		{"MAIL", "530 5.7.0 Must issue a STARTTLS command first", connection.ErrAuth, "5.7.0"},
		{"MAIL", "501 5.5.4 syntax", connection.ErrProtocol, "5.5.4"},
		{"DATA", "503 5.5.1 what?", connection.ErrProtocol, "5.5.1"},
		{"RCPT", "554 5.7.1 relay access denied", connection.ErrPermission, "5.7.1"},
	} {
		t.Run(tt.stage+" "+tt.reply, func(t *testing.T) {
			srv, cfg := plainServer(t, func(o *smtptest.Options) { o.Without = []string{"CHUNKING", "BINARYMIME"} })
			srv.Fail(tt.stage, tt.reply, 1)
			c := open(t, cfg, nil)
			_, err := send(t, c, toBob, letter)
			if e := wantKind(t, err, tt.kind); e.Code != tt.code {
				t.Errorf("got code %q, want %q", e.Code, tt.code)
			}
			if code := tt.reply[0]; (code == '4') != connection.Temporary(err) && tt.kind != connection.ErrQuota {
				t.Errorf("temporary: %t for %s", connection.Temporary(err), tt.reply)
			}
			wantArrived(t, srv)
			mustSend(t, c, toBob, letter) // over the same session, or a new one
			wantArrived(t, srv, letter)
		})
	}
}

// Edge case 30: Send As is denied.
func TestSendAsDenied(t *testing.T) {
	for stage, reply := range map[string]string{
		"MAIL": "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
		"RCPT": "553 5.7.1 <ann@example.org>: Sender address rejected: not owned by user archive",
		"END":  "554 5.2.252 SendAsDenied; archive@example.org not allowed to send as ann@example.org",
	} {
		srv, cfg := plainServer(t, nil)
		srv.Fail(stage, reply)
		_, err := send(t, open(t, cfg, nil), toBob, letter)
		if e := wantKind(t, err, connection.ErrPermission); !strings.Contains(e.Hint, "Send As") || !strings.Contains(e.Hint, "Add-ADPermission") {
			t.Errorf("%s: got hint %q", stage, e.Hint)
		}
		wantArrived(t, srv)
	}
}

// Edge case 11: the reply to the whole message is lost.
func TestLostReplyIsUncertain(t *testing.T) {
	overPaths(t, func(t *testing.T, srv *smtptest.Server, cfg smtpclient.Config) {
		c := open(t, cfg, nil)
		mustSend(t, c, toBob, letter)
		srv.LoseReply(smtptest.End, 1)
		r, err := send(t, c, toBob, letter)
		_ = wantKind(t, err, connection.ErrUncertain)
		if r == nil || r.MessageID != "<one@example.org>" {
			t.Errorf("got receipt %+v, want one with the Message-ID to look for", r)
		}
		if connection.Temporary(err) {
			t.Error("uncertain is temporary")
		}
		wantArrived(t, srv, letter, letter) // once, not twice
		mustSend(t, c, toBob, letter)
	})
}

// Edge case 12: the connection is lost before the end, and after DATA was accepted nothing is tried again.
func TestLostBeforeTheEnd(t *testing.T) {
	for name, body := range map[string]func() io.Reader{
		"seekable": func() io.Reader { return strings.NewReader(letter) },
		"stream":   func() io.Reader { return stream(letter) },
	} {
		t.Run(name, func(t *testing.T) {
			srv, cfg := plainServer(t, func(o *smtptest.Options) { o.Without = []string{"CHUNKING", "BINARYMIME"} })
			c := open(t, cfg, nil)
			mustSend(t, c, toBob, letter)
			for _, stage := range []string{"MAIL", "RCPT", "DATA"} { // a connection that was kept has died
				srv.Drop(stage, 1)
				if _, err := c.Send(t.Context(), toBob, body(), nil); err != nil {
					t.Errorf("dropped at %s: %v", stage, err)
				}
			}
			wantArrived(t, srv, letter, letter, letter, letter)
			srv.Drop("MAIL")
			_, err := c.Send(t.Context(), toBob, body(), nil)
			_ = wantKind(t, err, connection.ErrNetwork)
			if got := len(srv.Commands("MAIL")); got > 9 {
				t.Errorf("MAIL was tried %d times", got)
			}
		})
	}
}

// Edge case 13: sizes.
func TestSizes(t *testing.T) {
	srv, cfg := plainServer(t, func(o *smtptest.Options) { o.MaxSize = 1000 })
	c := open(t, cfg, nil)
	_, err := send(t, c, toBob, letter+strings.Repeat("x", 1000))
	_ = wantKind(t, err, connection.ErrTooLarge, "1082", "1000")
	if got := srv.Commands("MAIL"); len(got) > 0 {
		t.Errorf("got %v, want nothing sent", got)
	}
	for _, size := range []int64{5, 81, 83, 1 << 50} {
		for _, body := range []io.Reader{strings.NewReader(letter), stream(letter)} {
			_, err = c.Send(t.Context(), toBob, body, &connection.SendOptions{Size: size})
			_ = wantKind(t, err, connection.ErrInvalid, "82 octets", fmt.Sprint(size, " were announced"))
		}
	}
	part := strings.NewReader("not this" + letter)
	if _, err := part.Seek(8, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Send(t.Context(), toBob, part, &connection.SendOptions{Size: int64(len(letter)), NewMessageID: true}); err != nil {
		t.Error(err)
	}
	if got := srv.Messages(); len(got) != 1 || !bytes.HasSuffix(got[0].Raw, []byte(letter[strings.Index(letter, "Subject"):])) || bytes.Contains(got[0].Raw, []byte("not this")) {
		t.Errorf("got %+v", got)
	}
}

// Edge case 29: a body that fails, at once or only when it is sent.
func TestBodyFails(t *testing.T) {
	broken := errors.New("the disk is gone")
	overPaths(t, func(t *testing.T, srv *smtptest.Server, cfg smtpclient.Config) {
		c := open(t, cfg, nil)
		long := letter + strings.Repeat("0123456789\r\n", 100_000)
		for name, body := range map[string]io.Reader{
			"stream":                 failing(long, broken),
			"cut":                    failing(long, io.ErrUnexpectedEOF),
			"wraps the end":          failing(long, fmt.Errorf("the archive is gone: %w", io.EOF)),
			"fails the second time":  &fickle{Reader: bytes.NewReader([]byte(long)), again: []byte(long[:500_000]), err: broken},
			"shorter the second":     &fickle{Reader: bytes.NewReader([]byte(long)), again: []byte(long[:500_000])},
			"longer the second time": &fickle{Reader: bytes.NewReader([]byte(long)), again: []byte(long + "x")},
		} {
			_, err := c.Send(t.Context(), toBob, body, nil)
			if err == nil || errors.Is(err, connection.ErrUncertain) {
				t.Errorf("%s: got %v, want an error that is certain", name, err)
			}
			if strings.Contains(name, "fails") && !errors.Is(err, broken) || name == "cut" && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: got %v, want the reader's error", name, err)
			}
		}
		wantArrived(t, srv)
		mustSend(t, c, toBob, letter)
		wantArrived(t, srv, letter)
	})
}

// Edge cases 5 and 28: a server that takes nothing or says nothing, and a context that ends meanwhile.
func TestStallsEnd(t *testing.T) {
	big := letter + strings.Repeat(strings.Repeat("x", 78)+"\r\n", 500_000)
	overPaths(t, func(t *testing.T, srv *smtptest.Server, cfg smtpclient.Config) {
		cfg.FinalTimeout = connection.Duration(300 * time.Millisecond)
		cfg.NoDataTimeout = cfg.FinalTimeout
		c := open(t, cfg, nil)
		mustSend(t, c, toBob, letter)
		for _, stage := range []string{"MAIL", "RCPT", srv.Messages()[0].Path} {
			srv.Stall(stage)
			_, err := send(t, c, toBob, big)
			_ = wantKind(t, err, connection.ErrTimeout)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			_, err = c.Send(ctx, toBob, strings.NewReader(letter), nil)
			cancel()
			if err == nil || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: got %v, want the context's error", stage, err)
			}
			srv.ClearFaults()
		}
		srv.Stall(smtptest.End)
		_, err := send(t, c, toBob, letter)
		_ = wantKind(t, err, connection.ErrUncertain)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err = c.Send(ctx, toBob, strings.NewReader(letter), nil)
		_ = wantKind(t, err, connection.ErrUncertain)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error in the chain", err)
		}
		wantArrived(t, srv, letter)
	})
}

// A server that refuses in the middle of the content, and closes with the rest unread, is heard: its words arrived before
// the reset.
func TestRefusedInTheMiddle(t *testing.T) {
	for _, mode := range []connection.Mode{connection.ModeInsecure, connection.ModeTLS} {
		for name, steps := range map[string][]smtptest.Step{
			"DATA": {smtptest.Expect("DATA"), smtptest.Send("354 go"), smtptest.Send("552 5.3.4 too big"), smtptest.TakeOctets(1000), smtptest.Cut()},
			"BDAT": {smtptest.Expect("BDAT 1"), smtptest.TakeOctets(1), smtptest.Send("250 ok"), smtptest.Expect("BDAT"), smtptest.Send("552 5.3.4 too big"), smtptest.TakeOctets(1000), smtptest.Cut()},
		} {
			t.Run(name+" "+string(mode), func(t *testing.T) {
				extensions := smtptest.Send("250 hi")
				if name == "BDAT" {
					extensions = smtptest.Send("250-hi", "250 CHUNKING")
				}
				srv := smtptest.NewScript(t, &smtptest.ScriptOptions{Mode: mode}, append(smtptest.Script{
					smtptest.Send("220 hi"), smtptest.Expect("EHLO"), extensions, smtptest.Expect("MAIL"), smtptest.Send("250 ok"),
					smtptest.Expect("RCPT"), smtptest.Send("250 ok"),
				}, steps...))
				_, err := send(t, open(t, srv.Config(), nil), toBob, letter+strings.Repeat("0123456789\r\n", 2_000_000))
				_ = wantKind(t, err, connection.ErrTooLarge, "too big")
			})
		}
	}
}
