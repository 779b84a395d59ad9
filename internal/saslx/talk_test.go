package saslx_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/saslx"
	"github.com/mailconn/mailconn/internal/saslx/saslserver"
)

const (
	password = "canary-pass-7Q"
	token    = "canary-token-ya29.Zx8"
)

// account is a user with a password.
func account(change ...func(*saslx.Account)) saslx.Account {
	a := saslx.Account{Username: "juser", Password: connection.NewSecret(password)}
	for _, c := range change {
		c(&a)
	}
	return a
}

// bearer is a user with a token source that gives the tokens one after the other, and then the last again.
func bearer(tokens ...string) saslx.Account {
	asked := 0
	return saslx.Account{Username: "juser", Token: func(context.Context, connection.TokenRequest) (connection.Secret, error) {
		text := tokens[min(asked, len(tokens)-1)]
		asked++
		return connection.NewSecret(text), nil
	}}
}

func authenticator(t *testing.T, a saslx.Account) *saslx.Authenticator {
	t.Helper()
	auth, err := saslx.New(a)
	if err != nil {
		t.Fatal(err)
	}
	return auth
}

// offer is a server with TLS of which no channel binding is possible.
func offer(mechanisms ...string) saslx.Offer {
	return saslx.Offer{Mechanisms: mechanisms, TLS: &tls.ConnectionState{Version: tls.VersionTLS12}, Host: "mail.example.org", Port: 993}
}

// trusting are server options that know juser, in whatever form the name comes, by password and token.
func trusting() *saslserver.Options {
	return &saslserver.Options{
		Password: func(saslserver.Identity) (string, bool) { return password, true },
		Token:    func(_ saslserver.Identity, got string) bool { return got == token },
	}
}

// A peer is a server of no protocol in particular: it takes lines and replies as the doubles do.
type peer struct {
	server *saslserver.Server
	lines  []string // all that it received
	final  error    // of the last exchange: nil is success
	ended  bool
}

func newPeer(t *testing.T, mechanism string, o *saslserver.Options) *peer {
	t.Helper()
	s, err := saslserver.New(mechanism, o)
	if err != nil {
		t.Fatal(err)
	}
	return &peer{server: s}
}

// talk is what a driver hands to Exchange.Run.
func (p *peer) talk(line string) (challenge string, more bool, err error) {
	if p.ended {
		return "", false, errors.New("a line after the final reply")
	}
	p.lines = append(p.lines, line)
	var response []byte
	switch {
	case len(p.lines) == 1:
		_, initial, ok := strings.Cut(line, " ")
		if initial == "=" {
			response = []byte{}
		} else if ok {
			response, err = base64.StdEncoding.DecodeString(initial)
		}
	case line == "*":
		p.ended, p.final = true, errors.New("cancelled")
		return "", false, nil
	default:
		response, err = base64.StdEncoding.DecodeString(line)
		if response == nil {
			response = []byte{}
		}
	}
	if err != nil {
		return "", false, fmt.Errorf("the client sent %q: %w", line, err)
	}
	octets, done, err := p.server.Next(response)
	if err != nil || done {
		p.ended, p.final = true, err
		return "", false, nil
	}
	return base64.StdEncoding.EncodeToString(octets), true, nil
}

// refusal is what a driver makes of the final reply.
func (p *peer) refusal() error {
	switch {
	case p.final == nil:
		return nil
	case errors.Is(p.final, saslserver.ErrRefused):
		return &connection.Error{Kind: connection.ErrAuth, Code: "AUTHENTICATIONFAILED", Hint: "username, password: the server refuses them", Err: errors.New("server said NO")}
	}
	return &connection.Error{Kind: connection.ErrProtocol, Err: fmt.Errorf("server said BAD: %w", p.final)}
}

// logIn chooses and runs one exchange against p.
func logIn(t *testing.T, a saslx.Account, o saslx.Offer, p *peer, inline bool) error {
	t.Helper()
	attempt := authenticator(t, a).Login()
	choice, err := attempt.Choose(o)
	if err != nil {
		return discreet(t, err)
	}
	_ = discreet(t, errors.New(choice.Detail()+choice.Warning())) // a text, not a failure
	x, err := attempt.Start(t.Context(), choice)
	if err != nil {
		return discreet(t, err)
	}
	return run(t, x, p, inline)
}

func start(t *testing.T, a saslx.Account, o saslx.Offer) *saslx.Exchange {
	t.Helper()
	attempt := authenticator(t, a).Login()
	choice, err := attempt.Choose(o)
	if err != nil {
		t.Fatal(err)
	}
	x, err := attempt.Start(t.Context(), choice)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func run(t *testing.T, x *saslx.Exchange, p *peer, inline bool) error {
	t.Helper()
	if err := x.Run(x.Command(inline), p.talk); err != nil {
		return discreet(t, err)
	}
	return discreet(t, x.End(p.refusal()))
}

// discreet fails the test if the error shows a secret, in any form (sasl.md's case 24).
func discreet(t *testing.T, err error) error {
	t.Helper()
	text := fmt.Sprintf("%v %+v %#v", err, err, err)
	for _, secret := range []string{password, token} {
		for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), "\x00" + secret} {
			if strings.Contains(text, form) {
				t.Errorf("the text %q shows a secret", text)
			}
		}
	}
	return err
}

// want fails the test unless err has the kind, and all parts in its text.
func want(t *testing.T, err error, kind connection.Kind, parts ...string) {
	t.Helper()
	var e *connection.Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("got %v, want kind %q", err, kind)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got %q, want %q in it", err, part)
		}
	}
}

// tlsPair returns both ends of a TLS connection, with a certificate made for the test.
func tlsPair(t *testing.T, version uint16) (client, server tls.ConnectionState) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mail.example.org"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	near, far := net.Pipe()
	t.Cleanup(func() {
		_ = near.Close() // in memory
		_ = far.Close()
	})
	c := tls.Client(near, &tls.Config{RootCAs: roots, ServerName: "mail.example.org", MaxVersion: version})
	s := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	done := make(chan error, 1)
	go func() { done <- s.HandshakeContext(t.Context()) }()
	if err := errors.Join(c.HandshakeContext(t.Context()), <-done); err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState(), s.ConnectionState()
}
