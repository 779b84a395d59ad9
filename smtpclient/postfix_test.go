package smtpclient_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/internal/peertest"
	"github.com/mailconn/mailconn/smtpclient"
	"github.com/mailconn/mailconn/smtpclient/smtptest"
)

const later = "later@example.org"

// postfix starts a Postfix that hands what it takes to a LMTP server of ours, so that octets can be compared.
func postfix(t testing.TB) (*peertest.PostfixServer, *smtptest.Server) {
	t.Helper()
	inbox := smtptest.NewServer(t, &smtptest.Options{Mode: connection.ModeInsecure, LMTP: true, Without: []string{"BINARYMIME"}})
	return peertest.Postfix(t, &peertest.PostfixOptions{
		Deliver: "lmtp:inet:" + inbox.Addr(), MaxSize: 6 << 20, Refused: []string{refused}, Later: []string{later},
		// It is a relay here: it adds nothing but its trace, and breaks no lines.
		Settings: "local_header_rewrite_clients =\nmessage_drop_headers =\nlmtp_line_length_limit = 0\nsmtp_line_length_limit = 0\nline_length_limit = 2000000\nlmtp_destination_recipient_limit = 1000",
	}), inbox
}

func postfixConfig(p *peertest.PostfixServer, mode connection.Mode) smtpclient.Config {
	cfg := smtpclient.Config{FromAddress: ann, Username: p.User, Password: connection.NewSecret(p.Password), SendStrategy: smtpclient.Original}
	cfg.Server, cfg.Mode, cfg.CAPEM = p.Addr("submissions"), mode, p.CAPEM
	if mode != connection.ModeTLS {
		cfg.Server = p.Addr("submission")
	}
	return cfg
}

// untraced takes the fields that Postfix puts in front.
func untraced(raw []byte) []byte {
	for _, name := range []string{"Return-Path:", "Received:"} {
		if !bytes.HasPrefix(raw, []byte(name)) {
			continue
		}
		for end := 0; ; {
			i := bytes.IndexByte(raw[end:], '\n')
			if i < 0 {
				return raw
			}
			if end += i + 1; end == len(raw) || raw[end] != ' ' && raw[end] != '\t' {
				raw = raw[end:]
				break
			}
		}
	}
	return raw
}

// unkept are the samples of the corpus that Postfix does not pass on as they are, whoever sends them.
var unkept = map[string]string{
	"long-line": "breaks a line of 1 MiB", "mixed-line-ends": "takes CR CR LF for a line end",
	"empty": noHeader, "one-octet": noHeader, "only-crlf": noHeader, "only-lf": noHeader, "only-cr": noHeader, "no-blank-line": noHeader,
	"from-line": noHeader, "dot-first": noHeader, "byte-order-mark": noHeader,
}

const noHeader = "puts an empty line before what is no header field"

// The send rules against a real server: submission with TLS and SASL, refused recipients.
func TestPromisesOnPostfix(t *testing.T) {
	p, inbox := postfix(t)
	seen := 0
	connectiontest.Run(t, connectiontest.Harness{
		Reset: func(t testing.TB) {
			poll(t, "the queue is empty", func() bool {
				n, err := p.Queued()
				return n == 0 && err == nil
			})
			seen = len(inbox.Messages())
		},
		Open: func(t testing.TB, env *connection.Env) connection.Connection {
			c, err := smtpclient.Open(postfixConfig(p, connection.ModeSTARTTLS), env)
			if err != nil {
				t.Fatal(err)
			}
			return c
		},
		Outbox: func(testing.TB) []connectiontest.Sent {
			var all []connectiontest.Sent
			for _, m := range inbox.Messages()[seen:] {
				all = append(all, connectiontest.Sent{From: m.From, To: m.To, Raw: untraced(m.Raw)})
			}
			return all
		},
		Refused:  refused,
		Secret:   p.Password,
		Eventual: 10 * time.Second,
		Normalize: func(s connectiontest.Sample) ([]byte, string) {
			switch want, reason := overDATA(bytes.ReplaceAll(s.Raw, []byte{0}, []byte("0"))); {
			case unkept[s.Name] != "":
				return nil, "Postfix " + unkept[s.Name]
			case bytes.IndexByte(s.Raw, 0) >= 0:
				return nil, "Postfix does not keep NUL on its way to LMTP"
			case reason != "":
				return want, "Postfix: " + reason
			}
			return nil, ""
		},
	})
}

// Test, and each mode.
func TestPostfixModes(t *testing.T) {
	p, inbox := postfix(t)
	for _, mode := range []connection.Mode{connection.ModeTLS, connection.ModeSTARTTLS, connection.ModeTLSWhenAvailable} {
		c := open(t, postfixConfig(p, mode), nil)
		if report, err := c.Test(t.Context(), nil); err != nil {
			t.Fatalf("%s: %v\n%s", mode, err, report)
		}
		mustSend(t, c, toBob, letter)
	}
	poll(t, "three messages", func() bool { return len(inbox.Messages()) == 3 })
	cfg := postfixConfig(p, connection.ModeInsecure)
	mustSend(t, open(t, cfg, nil), toBob, letter) // by SCRAM, which does not send the password
	cfg.AuthMechanisms = []string{"plain"}
	_, err := send(t, open(t, cfg, nil), toBob, letter)
	_ = wantKind(t, err, connection.ErrTLS, "allow_plaintext_auth", "mode")
	cfg = postfixConfig(p, connection.ModeTLS)
	cfg.Password = connection.NewSecret("a wrong password")
	_, err = send(t, open(t, cfg, nil), toBob, letter)
	_ = wantKind(t, err, connection.ErrAuth)
	cfg.Username, cfg.Password = "", connection.Secret{}
	_, err = send(t, open(t, cfg, nil), toBob, letter)
	_ = wantKind(t, err, connection.ErrPermission, "username")
}

// Replay: what arrives equals what was archived, apart from the trace and the documented change of the Message-ID.
func TestReplayThroughPostfixIsExact(t *testing.T) {
	p, inbox := postfix(t)
	archived := "Received: from somewhere\r\n\tby elsewhere\r\nFrom: =?utf-8?q?Ann?= <ann@example.org>\r\nBcc: secret@example.org\r\nmessage-id:\r\n  <old@example.org>\r\nSubject: gr\xc3\xbc\xc3\x9fe\r\n\r\n.\r\n..dots\r\ntrailing  \r\n\xff\xfe\r\n" + strings.Repeat("x", 900) + "\r\n"
	cfg := postfixConfig(p, connection.ModeTLS)
	mustSend(t, open(t, cfg, nil), toBob, archived)
	cfg.SendStrategy = smtpclient.NewMessageID
	r := mustSend(t, open(t, cfg, nil), toBob, archived)
	cfg.BodyPath = smtpclient.PathDATA
	viaDATA := mustSend(t, open(t, cfg, nil), toBob, archived)
	poll(t, "three messages", func() bool { return len(inbox.Messages()) == 3 })
	changed := func(id string) string {
		return strings.Replace(archived, "message-id:\r\n  <old@example.org>", "Message-ID: "+id+"\r\nX-Original-Message-ID:\r\n  <old@example.org>", 1)
	}
	for _, want := range []string{archived, changed(r.MessageID), changed(viaDATA.MessageID)} {
		found := false
		for _, m := range inbox.Messages() {
			// untraced would take the message's own Received, too: only Postfix's stands before it.
			_, rest, ok := bytes.Cut(m.Raw, []byte("\r\nReceived: from somewhere"))
			found = found || ok && "Received: from somewhere"+string(rest) == want
		}
		if !found {
			t.Errorf("not found: %q in %+v", want, inbox.Messages())
		}
	}
}

func TestPostfixRefusals(t *testing.T) {
	p, inbox := postfix(t)
	c := open(t, postfixConfig(p, connection.ModeTLS), nil)
	r := mustSend(t, c, connection.Envelope{From: ann, To: []string{refused, bob, later}}, letter)
	if len(r.Accepted) != 1 || len(r.Rejected) != 2 || !errors.Is(r.Rejected[0].Err, connection.ErrNotFound) || !errors.Is(r.Rejected[1].Err, connection.ErrThrottled) {
		t.Errorf("got receipt %+v", r)
	}
	_, err := send(t, c, connection.Envelope{From: ann, To: []string{later}}, letter)
	if e := wantKind(t, err, connection.ErrThrottled); !connection.Temporary(err) || e.RetryAfter != 300*time.Second {
		t.Errorf("got %v, retry after %v", err, e.RetryAfter)
	}
	_, err = send(t, c, toBob, letter+strings.Repeat("x\r\n", 3<<20))
	_ = wantKind(t, err, connection.ErrTooLarge)
	mustSend(t, c, toBob, letter)
	poll(t, "two messages", func() bool { return len(inbox.Messages()) == 2 })
}
