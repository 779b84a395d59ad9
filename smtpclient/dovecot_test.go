package smtpclient_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/internal/peertest"
	"github.com/mailconn/mailconn/smtpclient"
	"github.com/mailconn/mailconn/smtpclient/smtptest"
)

const submissionToken = "a-token-of-the-authority"

// submission starts Dovecot's submission service, with every mechanism it has, and the server that it relays to.
func submission(t testing.TB) (*peertest.DovecotServer, *smtptest.Server) {
	t.Helper()
	inbox := smtptest.NewServer(t, &smtptest.Options{Mode: connection.ModeInsecure, Open: true})
	inbox.Refuse(refused, "550 5.1.1 no such user")
	return peertest.Dovecot(t, &peertest.DovecotOptions{
		Protocols: []string{"submission"}, Relay: inbox.Addr(), NTLM: true, Token: submissionToken,
	}), inbox
}

func submissionConfig(srv *peertest.DovecotServer, mode connection.Mode) smtpclient.Config {
	cfg := smtpclient.Config{FromAddress: ann, Username: srv.User, Password: connection.NewSecret(srv.Password), SendStrategy: smtpclient.Original}
	cfg.Server, cfg.Mode, cfg.CAPEM = srv.Addr("submission"), mode, srv.CAPEM
	if mode == connection.ModeTLS {
		cfg.Server = srv.Addr("submissions")
	}
	return cfg
}

// byNTLM logs in as Exchange wants it.
func byNTLM(cfg smtpclient.Config) smtpclient.Config {
	cfg.Username, cfg.AuthMechanisms = peertest.NTLMDomain+`\`+cfg.Username, []string{"NTLM"}
	return cfg
}

// overDovecot says what Dovecot's submission service makes of a message: it ends lines in CRLF.
func overDovecot(raw []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

// The send rules against Dovecot's submission service, logged in by NTLM, in each mode with TLS.
func TestDovecotSubmissionPromises(t *testing.T) {
	srv, inbox := submission(t)
	for _, mode := range []connection.Mode{connection.ModeSTARTTLS, connection.ModeTLS} {
		t.Run(string(mode), func(t *testing.T) {
			seen := 0
			open := func(change func(*smtpclient.Config)) func(testing.TB, *connection.Env) connection.Connection {
				return func(t testing.TB, env *connection.Env) connection.Connection {
					cfg := byNTLM(submissionConfig(srv, mode))
					change(&cfg)
					c, err := smtpclient.Open(cfg, env)
					if err != nil {
						t.Fatal(err)
					}
					return c
				}
			}
			connectiontest.Run(t, connectiontest.Harness{
				Reset: func(testing.TB) { seen = len(inbox.Messages()) },
				Open:  open(func(*smtpclient.Config) {}),
				Outbox: func(testing.TB) []connectiontest.Sent {
					var all []connectiontest.Sent
					for _, m := range inbox.Messages()[seen:] {
						all = append(all, connectiontest.Sent{From: m.From, To: m.To, Raw: untraced(m.Raw)})
					}
					return all
				},
				Refused: refused,
				Secret:  srv.Password,
				Broken: map[string]func(testing.TB, *connection.Env) connection.Connection{
					"wrong password": open(func(c *smtpclient.Config) { c.Password = connection.NewSecret("not the password") }),
					"untrusted":      open(func(c *smtpclient.Config) { c.CAPEM = "" }),
				},
				Normalize: func(s connectiontest.Sample) ([]byte, string) {
					if want := overDovecot(s.Raw); !bytes.Equal(want, s.Raw) {
						return want, "Dovecot ends lines in CRLF"
					}
					return nil, ""
				},
			})
		})
	}
}

// Every mechanism in every mode: mail goes out, and a wrong credential is refused.
func TestDovecotSubmissionMechanisms(t *testing.T) {
	srv, inbox := submission(t)
	sent := 0
	for _, name := range []string{"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "NTLM", "XOAUTH2", "OAUTHBEARER"} {
		for _, mode := range []connection.Mode{connection.ModeTLS, connection.ModeSTARTTLS, connection.ModeTLSWhenAvailable, connection.ModeInsecure} {
			t.Run(name+" "+string(mode), func(t *testing.T) {
				token := submissionToken
				env := &connection.Env{Token: func(context.Context, connection.TokenRequest) (connection.Secret, error) {
					return connection.NewSecret(token), nil
				}}
				cfg := submissionConfig(srv, mode)
				cfg.AllowPlaintextAuth = mode == connection.ModeInsecure
				if name == "NTLM" {
					cfg = byNTLM(cfg)
				}
				if cfg.AuthMechanisms = []string{name}; strings.Contains(name, "OAUTH") {
					cfg.Password = connection.Secret{}
				}
				mustSend(t, open(t, cfg, env), toBob, letter)
				sent++
				if mode != connection.ModeTLS {
					return // a refusal costs half a second
				}
				if token = "another-token"; !cfg.Password.IsZero() {
					cfg.Password = connection.NewSecret("not the password")
				}
				report, err := open(t, cfg, env).Test(t.Context(), nil)
				if e := wantKind(t, err, connection.ErrAuth); e.Code == "" || e.Hint == "" {
					t.Errorf("code %q, hint %q\n%s", e.Code, e.Hint, report)
				}
			})
		}
	}
	if got := inbox.Messages(); len(got) != sent {
		t.Errorf("%d messages were relayed, want %d", len(got), sent)
	}
}

// Edge case 27: the names that NTLM takes, as far as this helper looks: it verifies the password.
func TestDovecotSubmissionNTLMNames(t *testing.T) {
	srv, inbox := submission(t)
	for i, name := range []string{`DOM\juser`, `DOM/juser`, `juser`, `juser@dom`, `DOM\juser\J.User`} {
		cfg := byNTLM(submissionConfig(srv, connection.ModeTLS))
		cfg.Username = name
		mustSend(t, open(t, cfg, nil), toBob, letter)
		if got := len(inbox.Messages()); got != i+1 {
			t.Errorf("%s: %d messages were relayed, want %d", name, got, i+1)
		}
	}
}

// The credential is right, and then the server has no relay: that is an outage, not a wrong password.
func TestDovecotSubmissionWithoutRelay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	srv := peertest.Dovecot(t, &peertest.DovecotOptions{Protocols: []string{"submission"}, Relay: l.Addr().String()})
	// Without TLS the service itself holds the connection; with it, what is said last may be lost in Dovecot.
	c := open(t, submissionConfig(srv, connection.ModeInsecure), nil)
	_, err = send(t, c, toBob, letter)
	if errors.Is(err, connection.ErrAuth) || errors.Is(err, connection.ErrUncertain) || !connection.Temporary(err) {
		t.Errorf("got %v, want a temporary failure that is not the password's", err)
	}
	if !strings.Contains(err.Error(), "relay") {
		t.Errorf("got %v, want the server's words about its relay", err)
	}
}

// Replay: what is relayed equals what was archived, apart from the trace, and from the Message-ID where that is asked for.
func TestDovecotSubmissionReplayIsExact(t *testing.T) {
	srv, inbox := submission(t)
	archived := "From: =?utf-8?q?Ann?= <ann@example.org>\r\nBcc: secret@example.org\r\nmessage-id:\r\n  <old@example.org>\r\nSubject: gr\xc3\xbc\xc3\x9fe\r\n\r\n.\r\n..dots\r\ntrailing  \r\nbare \r CR, NUL \x00, \xff\xfe\r\n" + strings.Repeat("x", 5000) + "\r\nno end"
	cfg := byNTLM(submissionConfig(srv, connection.ModeTLS))
	mustSend(t, open(t, cfg, nil), toBob, archived)
	cfg.SendStrategy = smtpclient.NewMessageID
	r := mustSend(t, open(t, cfg, nil), toBob, archived)
	changed := strings.Replace(archived, "message-id:\r\n  <old@example.org>", "Message-ID: "+r.MessageID+"\r\nX-Original-Message-ID:\r\n  <old@example.org>", 1)
	got := inbox.Messages()
	if len(got) != 2 {
		t.Fatalf("%d messages were relayed, want 2", len(got))
	}
	for i, want := range []string{archived, changed} {
		if raw := string(untraced(got[i].Raw)); raw != want {
			t.Errorf("message %d: got %q, want %q", i+1, raw, want)
		}
	}
}

// What the relay refuses, Dovecot tells, and it is told apart.
func TestDovecotSubmissionRefusals(t *testing.T) {
	srv, inbox := submission(t)
	c := open(t, byNTLM(submissionConfig(srv, connection.ModeTLS)), nil)
	r := mustSend(t, c, connection.Envelope{From: ann, To: []string{refused, bob}}, letter)
	if len(r.Accepted) != 1 || len(r.Rejected) != 1 || !errors.Is(r.Rejected[0].Err, connection.ErrNotFound) {
		t.Errorf("got receipt %+v", r)
	}
	inbox.Fail(smtptest.End, "451 4.3.0 scanner is away", 1)
	_, err := send(t, c, toBob, letter)
	if _ = wantKind(t, err, connection.ErrUnavailable, "scanner"); !connection.Temporary(err) {
		t.Errorf("got %v, want it to be temporary", err)
	}
	_, err = send(t, c, toBob, letter+strings.Repeat("x\r\n", 14<<20)) // the limit is 40 MiB
	_ = wantKind(t, err, connection.ErrTooLarge)
	mustSend(t, c, toBob, letter)
	if got := len(inbox.Messages()); got != 2 {
		t.Errorf("%d messages were relayed, want 2", got)
	}
}
