package smtpclient_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/smtpclient"
	"github.com/mailconn/mailconn/smtpclient/smtptest"
)

func TestEachMechanism(t *testing.T) {
	for _, name := range []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "NTLM", "CRAM-MD5", "PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"} {
		t.Run(name, func(t *testing.T) {
			const token = "a-token-of-some-length"
			srv := smtptest.NewServer(t, &smtptest.Options{Auth: smtptest.Auth{Mechanisms: []string{name}, Token: token}})
			cfg := srv.Config()
			env := &connection.Env{}
			if strings.Contains(name, "OAUTH") {
				cfg.Password = connection.Secret{}
				env.Token = func(context.Context, connection.TokenRequest) (connection.Secret, error) {
					return connection.NewSecret(token), nil
				}
			}
			mustSend(t, open(t, cfg, env), toBob, letter)
			if got := srv.Logins(); len(got) != 1 || !got[0].OK || got[0].Mechanism != name {
				t.Errorf("got logins %+v", got)
			}
		})
	}
}

// Edge case 27: what NTLM is told of each form of a name (sasl.md 7). It cannot carry the mailbox.
func TestNTLMNames(t *testing.T) {
	for name, want := range map[string]string{
		`juser`: ` juser`, `juser@example.org`: ` juser@example.org`, `dom\juser`: `dom juser`, `dom/juser`: `dom juser`,
		`dom\juser\J.User`: `dom juser`, `dom/juser/J.User`: `dom juser`,
	} {
		srv := smtptest.NewServer(t, &smtptest.Options{Username: name, Auth: smtptest.Auth{Mechanisms: []string{"NTLM"}}})
		mustSend(t, open(t, srv.Config(), nil), toBob, letter)
		if got := srv.Logins(); len(got) != 1 || !got[0].OK || got[0].Domain+" "+got[0].User != want {
			t.Errorf("%s: got logins %+v, want %q", name, got, want)
		}
	}
}

// Edge case 7: nothing is sent behind a final refusal, and "*" where the client cannot go on.
func TestRefusedLogin(t *testing.T) {
	srv := smtptest.NewServer(t, nil)
	cfg := srv.Config()
	cfg.Password = connection.NewSecret("a wrong password")
	_, err := send(t, open(t, cfg, nil), toBob, letter)
	if e := wantKind(t, err, connection.ErrAuth, "username, password"); e.Code != "5.7.8" {
		t.Errorf("got code %q", e.Code)
	}
	all := srv.Commands()
	if last := all[len(all)-1]; last.Name != "AUTH" {
		t.Errorf("%v was sent behind the refusal", last)
	}
	script := smtptest.NewScript(t, &smtptest.ScriptOptions{Mode: connection.ModeInsecure}, smtptest.Script{
		smtptest.Send("220 hi"), smtptest.Expect("EHLO"), smtptest.Send("250-hi", "250 AUTH SCRAM-SHA-256"),
		smtptest.Expect("AUTH SCRAM-SHA-256"), smtptest.Send("334 AAAA"), smtptest.Expect("*"), smtptest.Send("501 5.7.0 cancelled"),
	})
	cfg = script.Config()
	cfg.Username, cfg.Password = "ann", connection.NewSecret("a good password")
	_, err = send(t, open(t, cfg, nil), toBob, letter)
	_ = wantKind(t, err, connection.ErrProtocol, "SCRAM-SHA-256")

	for reply, kind := range map[string]connection.Kind{"454 4.7.0 try later": connection.ErrThrottled, "534 5.7.9 too weak": connection.ErrAuth, "538 5.7.11 encryption required": connection.ErrAuth} {
		srv := smtptest.NewServer(t, nil)
		srv.Fail("AUTH", reply)
		_, err := send(t, open(t, srv.Config(), nil), toBob, letter)
		_ = wantKind(t, err, kind)
	}
}

// No password goes over a connection without TLS, unless that is allowed.
func TestNoPasswordInTheClear(t *testing.T) {
	srv := smtptest.NewServer(t, &smtptest.Options{Mode: connection.ModeInsecure})
	cfg := srv.Config()
	cfg.AllowPlaintextAuth = false
	_, err := send(t, open(t, cfg, nil), toBob, letter)
	_ = wantKind(t, err, connection.ErrTLS, "allow_plaintext_auth")
	if got := srv.Commands("AUTH"); len(got) > 0 {
		t.Errorf("got %v", got)
	}
}

// Edge case 26: each connection asks for a token of its own, and one that is refused is renewed once.
func TestTokens(t *testing.T) {
	srv := smtptest.NewServer(t, &smtptest.Options{Auth: smtptest.Auth{Mechanisms: []string{"XOAUTH2"}, Token: "good-token"}})
	cfg := srv.Config()
	cfg.Password, cfg.PoolMaxMessages = connection.Secret{}, 1
	tokens := []string{"good-token", "old-token", "good-token", "bad-token", "worse-token"}
	asked := 0
	c := open(t, cfg, &connection.Env{Token: func(_ context.Context, r connection.TokenRequest) (connection.Secret, error) {
		asked++
		return connection.NewSecret(tokens[asked-1]), nil
	}})
	mustSend(t, c, toBob, letter)
	mustSend(t, c, toBob, letter) // the first token has expired meanwhile
	if _, err := send(t, c, toBob, letter); asked != 5 {
		t.Errorf("asked for %d tokens, want 5: %v", asked, err)
	} else {
		_ = wantKind(t, err, connection.ErrAuth)
	}
	wantArrived(t, srv, letter, letter)
}

// A client certificate logs in by EXTERNAL where that is offered, without a user name.
func TestClientCertificate(t *testing.T) {
	cert, err := smtptest.NewCertificate(time.Now().AddDate(0, 1, 0), "archive")
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, external := range []bool{true, false} {
		o := &smtptest.Options{Username: "smtptest", TLS: &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}, Auth: smtptest.Auth{Mechanisms: []string{"EXTERNAL"}}}
		o.Open = !external
		srv := smtptest.NewServer(t, o)
		cfg := srv.Config()
		cfg.Username, cfg.Password = "", connection.Secret{}
		cfg.ClientCertPEM = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}))
		cfg.ClientKeyPEM = connection.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
		mustSend(t, open(t, cfg, nil), toBob, letter)
		if got := srv.Logins(); external != (len(got) == 1 && got[0].OK && got[0].Mechanism == "EXTERNAL") {
			t.Errorf("EXTERNAL offered %t: got logins %+v", external, got)
		}
	}
}

// Edge case 24 of sasl.md: no log holds the password, whatever happens.
func TestNoSecretInTheLog(t *testing.T) {
	var log safeBuffer
	env := &connection.Env{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: connection.LevelTrace}))}
	for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5"} {
		srv := smtptest.NewServer(t, &smtptest.Options{Mode: connection.ModeInsecure, Auth: smtptest.Auth{Mechanisms: []string{mechanism}}})
		c := open(t, srv.Config(), env)
		mustSend(t, c, toBob, letter)
		srv.Fail("MAIL", "550 5.7.1 what do you mean by "+smtptest.DefaultPassword, 1)
		_, err := send(t, c, toBob, letter)
		if err == nil || strings.Contains(err.Error(), smtptest.DefaultPassword) {
			t.Errorf("got error %v", err)
		}
	}
	if got := log.String(); strings.Contains(got, smtptest.DefaultPassword) || !strings.Contains(got, "MAIL FROM") || strings.Contains(got, "Hello.") {
		t.Errorf("the log has the password or the message, or no commands:\n%s", got)
	}
	var cfg smtpclient.Config
	cfg.Password = connection.NewSecret("hidden")
	if _, err := smtpclient.Open(cfg, nil); err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("got %v", err)
	}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
