package imaptest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
	"github.com/mailconn/mailconn/internal/saslx"
)

// A user is what a client of the tests below logs in with.
type user struct {
	name, password, token string
	certificate           *tls.Certificate
}

// authenticate logs in with one mechanism and returns the tagged reply, and what the client makes of it.
func authenticate(t *testing.T, srv *imaptest.Server, u user, mechanism string, inline bool) (string, error) {
	t.Helper()
	cfg := srv.Config()
	cfg.Mode = connection.ModeInsecure // TLS is made here, for a certificate of the client's
	p := dial(t, cfg)
	offer := saslx.Offer{Mechanisms: []string{mechanism}, Host: "127.0.0.1"}
	if cfg.CAPEM != "" {
		conf := clientTLS(t, cfg)
		if u.certificate != nil {
			offer.CertificateAsked = true
			conf.Certificates = []tls.Certificate{*u.certificate}
		}
		conn := tls.Client(p.conn, conf)
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		state := conn.ConnectionState()
		p.conn, offer.TLS = conn, &state
		p.r.Reset(conn)
	}
	p.line()
	account := saslx.Account{
		Username: u.name, Password: connection.NewSecret(u.password), Certificate: u.certificate != nil, Mechanisms: []string{mechanism},
		AllowPlaintext: true,
	}
	if u.token != "" {
		account.Token = func(context.Context, connection.TokenRequest) (connection.Secret, error) {
			return connection.NewSecret(u.token), nil
		}
	}
	auth, err := saslx.New(account)
	if err != nil {
		t.Fatal(err)
	}
	attempt := auth.Login()
	choice, err := attempt.Choose(offer)
	if err != nil {
		t.Fatal(err)
	}
	x, err := attempt.Start(t.Context(), choice)
	if err != nil {
		t.Fatal(err)
	}
	final := ""
	err = x.Run("a AUTHENTICATE "+x.Command(inline), func(line string) (string, bool, error) {
		p.send(line + "\r\n")
		final = p.line()
		challenge, more := strings.CutPrefix(final, "+ ")
		return challenge, more, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var refused error
	if !strings.HasPrefix(final, "a OK") {
		refused = errors.New(final)
	}
	if err := x.End(refused); err != nil {
		return final, err
	}
	p.want("NOOP", "", "OK")
	return final, nil
}

func TestMechanisms(t *testing.T) {
	const name, password, token = `DOM\juser`, "correct horse", "ya29.token"
	good := clientCertificate(t, name)
	bad := clientCertificate(t, "other")
	for _, mechanism := range imaptest.Mechanisms() {
		t.Run(mechanism, func(t *testing.T) {
			srv := imaptest.NewServer(t, &imaptest.Options{
				TLS:      &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12},
				Username: name, Password: password, Auth: imaptest.Auth{Mechanisms: []string{strings.ToLower(mechanism)}, Token: token},
			})
			right, wrong := user{name: name, password: password}, user{name: name, password: "wrong"}
			switch mechanism {
			case "XOAUTH2", "OAUTHBEARER":
				right, wrong = user{name: name, token: token}, user{name: name, token: "stale"}
			case "EXTERNAL":
				right, wrong = user{name: name, certificate: good}, user{name: name, certificate: bad}
			}
			for _, inline := range []bool{true, false} {
				if final, err := authenticate(t, srv, right, mechanism, inline); err != nil {
					t.Errorf("right, inline %v: %q, %v", inline, final, err)
				}
				if final, err := authenticate(t, srv, wrong, mechanism, inline); err == nil || !strings.HasPrefix(final, "a NO [AUTHENTICATIONFAILED]") {
					t.Errorf("wrong, inline %v: %q, %v", inline, final, err)
				}
			}
			logins := srv.Logins()
			if len(logins) != 4 {
				t.Fatalf("logins: %+v, want 4", logins)
			}
			for i, l := range logins {
				l.Workstation = ""
				want := imaptest.Login{Conn: i + 1, Mechanism: mechanism, User: name, OK: i%2 == 0}
				switch {
				case mechanism == "NTLM":
					want.Domain, want.User = "DOM", "juser"
				case mechanism == "EXTERNAL" && !want.OK:
					want.User = "other"
				}
				if l != want {
					t.Errorf("login %d: got %+v, want %+v", i, l, want)
				}
			}
			for _, c := range srv.Transcript() {
				if s := c.String(); strings.Contains(s, password) || c.Name == "AUTHENTICATE" && strings.Contains(strings.TrimSuffix(s, " [redacted]"), "=") {
					t.Errorf("the transcript shows a response: %s", s)
				}
			}
		})
	}
	if _, err := imaptest.Listen(&imaptest.Options{Auth: imaptest.Auth{Mechanisms: []string{"KERBEROS"}}}); err == nil || !strings.Contains(err.Error(), "SCRAM-SHA-256") {
		t.Errorf("a mechanism that is none: got %v, want an error that lists them", err)
	}
}

func TestOnlyTheUserIsKnown(t *testing.T) {
	for _, mechanism := range []string{"SCRAM-SHA-256", "CRAM-MD5", "NTLM", "PLAIN", "LOGIN", "XOAUTH2"} {
		srv := imaptest.NewServer(t, &imaptest.Options{Auth: imaptest.Auth{Mechanisms: []string{mechanism}, Token: "t"}})
		u := user{name: "other", password: imaptest.DefaultPassword}
		if mechanism == "XOAUTH2" {
			u = user{name: "other", token: "t"}
		}
		if final, err := authenticate(t, srv, u, mechanism, true); err == nil || !strings.HasPrefix(final, "a NO ") {
			t.Errorf("%s: %q, %v", mechanism, final, err)
		}
	}
}

func TestMechanismsOffered(t *testing.T) {
	for _, c := range []struct {
		name string
		opts imaptest.Options
		want string
	}{
		{"nothing", imaptest.Options{Auth: imaptest.Auth{Mechanisms: []string{}}}, ""},
		{"in order", imaptest.Options{Auth: imaptest.Auth{Mechanisms: []string{"ntlm", "PLAIN"}}}, "AUTH=NTLM AUTH=PLAIN"},
		{"no LOGIN", imaptest.Options{Auth: imaptest.Auth{Mechanisms: []string{"SCRAM-SHA-256-PLUS"}, NoLogin: true}}, "LOGINDISABLED AUTH=SCRAM-SHA-256-PLUS"},
		{
			"in the clear",
			imaptest.Options{Mode: connection.ModeInsecure, LoginDisabled: true, Auth: imaptest.Auth{Mechanisms: []string{"SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "LOGIN", "PLAIN", "XOAUTH2"}}},
			"LOGINDISABLED AUTH=SCRAM-SHA-1",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := imaptest.NewServer(t, &c.opts)
			p := dial(t, srv.Config())
			_, list, _ := strings.Cut(strings.TrimSuffix(p.line(), "] imaptest ready"), " IDLE")
			if got := strings.TrimSpace(list); got != c.want {
				t.Errorf("offered: %q, want %q", got, c.want)
			}
			if strings.Contains(c.want, "LOGINDISABLED") {
				p.want("LOGIN a b", "", "NO ")
			}
			p.want("AUTHENTICATE GSSAPI", "", "NO ")
		})
	}
}

func TestMechanismsMisbehave(t *testing.T) {
	name, password := imaptest.DefaultUsername, imaptest.DefaultPassword
	for _, c := range []struct {
		name, mechanism, want string
		auth                  imaptest.Auth
	}{
		{"a third prompt", "LOGIN", "third challenge", imaptest.Auth{Prompts: []string{"a", "b", "c"}}},
		{"few iterations", "SCRAM-SHA-1", "iteration count", imaptest.Auth{Iterations: 1}},
		{"no signature", "SCRAM-SHA-256", "success without", imaptest.Auth{Challenge: func(mechanism string, step int, challenge []byte) []byte {
			if mechanism != "SCRAM-SHA-256" || step == 2 {
				return nil
			}
			return challenge
		}}},
		{"a pair past the end", "NTLM", "cannot be answered", imaptest.Auth{TargetInfo: []byte{2, 0, 255, 0}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.auth.Mechanisms = []string{c.mechanism}
			srv := imaptest.NewServer(t, &imaptest.Options{Auth: c.auth})
			if _, err := authenticate(t, srv, user{name: name, password: password}, c.mechanism, true); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	srv := imaptest.NewServer(t, &imaptest.Options{Auth: imaptest.Auth{Mechanisms: []string{"XOAUTH2"}, TokenStatus: "503", TokenScope: "mail"}})
	p := dial(t, srv.Config())
	p.line()
	p.send("a AUTHENTICATE XOAUTH2 dXNlcj1hAWF1dGg9QmVhcmVyIHQBAQ==\r\n")
	if got, want := p.line(), "+ eyJzdGF0dXMiOiI1MDMiLCJzY2hlbWVzIjoiYmVhcmVyIiwic2NvcGUiOiJtYWlsIn0="; got != want {
		t.Errorf("error challenge: got %q, want %q", got, want)
	}
	p.send("=\r\n") // what go-imap sends
	if got := p.line(); !strings.HasPrefix(got, "a BAD") {
		t.Errorf("after a response that is none: got %q, want BAD", got)
	}
}

func clientCertificate(t *testing.T, name string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
