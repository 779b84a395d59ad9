package saslx_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/peertest"
	"github.com/mailconn/mailconn/internal/saslx"
)

// An imapTalk is the least of an IMAP client that can authenticate.
type imapTalk struct {
	t     *testing.T
	conn  net.Conn
	r     *bufio.Reader
	offer saslx.Offer
	final string // the last tagged reply
}

// dialIMAP connects, reads the greeting and asks for the capabilities. conf is nil for a connection in the clear.
func dialIMAP(t *testing.T, srv *peertest.DovecotServer, conf *tls.Config) *imapTalk {
	t.Helper()
	service := "imap"
	if conf != nil {
		service = "imaps"
	}
	raw, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", srv.Addr(service))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() }) // the test is over
	c := &imapTalk{t: t, conn: raw, offer: saslx.Offer{Host: srv.Host, Port: srv.Port(service)}}
	if conf != nil {
		conf = conf.Clone()
		certs := conf.Certificates
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c.offer.CertificateAsked = true
			if len(certs) == 0 {
				return new(tls.Certificate), nil
			}
			return &certs[0], nil
		}
		secure := tls.Client(raw, conf)
		if err := secure.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		state := secure.ConnectionState()
		c.conn, c.offer.TLS = secure, &state
	}
	if err := c.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c.r = bufio.NewReader(c.conn)
	c.line()
	if _, more, err := c.talk("a CAPABILITY"); err != nil || more {
		t.Fatal(more, err)
	}
	return c
}

func (c *imapTalk) line() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimRight(line, "\r\n")
}

// talk sends a line and reads up to a challenge or the tagged reply.
func (c *imapTalk) talk(line string) (challenge string, more bool, err error) {
	if _, err := io.WriteString(c.conn, line+"\r\n"); err != nil {
		return "", false, err
	}
	for {
		reply := c.line()
		if challenge, ok := strings.CutPrefix(reply, "+"); ok {
			return strings.TrimPrefix(challenge, " "), true, nil
		}
		if words, ok := strings.CutPrefix(reply, "* CAPABILITY "); ok {
			c.offer.Mechanisms = nil
			for word := range strings.FieldsSeq(words) {
				if mech, ok := strings.CutPrefix(word, "AUTH="); ok {
					c.offer.Mechanisms = append(c.offer.Mechanisms, mech)
				}
			}
		}
		if strings.HasPrefix(reply, "a ") {
			c.final = reply
			return "", false, nil
		}
	}
}

// logIn authenticates, and shows that the connection is usable afterwards, whatever came of it.
func (c *imapTalk) logIn(a saslx.Account, inline bool) (*saslx.Choice, error) {
	c.t.Helper()
	attempt := authenticator(c.t, a).Login()
	choice, err := attempt.Choose(c.offer)
	if err != nil {
		return nil, err
	}
	x, err := attempt.Start(c.t.Context(), choice)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := x.Run("a AUTHENTICATE "+x.Command(inline), c.talk); err != nil {
		c.t.Fatal(err)
	}
	var refused error
	if !strings.HasPrefix(c.final, "a OK") {
		refused = &connection.Error{Kind: connection.ErrAuth, Code: "AUTHENTICATIONFAILED", Err: errors.New("server said " + c.final)}
	}
	err = discreet(c.t, x.End(refused))
	if _, _, err := c.talk("a NOOP"); err != nil || !strings.HasPrefix(c.final, "a OK") {
		c.t.Errorf("%s: NOOP after the exchange: %q, %v", choice.Name, c.final, err)
	}
	return choice, err
}

// both logs in over TLS rightly, with and without initial response, and wrongly.
func both(t *testing.T, srv *peertest.DovecotServer, conf *tls.Config, good, bad saslx.Account, mech string) {
	t.Helper()
	for _, inline := range []bool{true, false} {
		choice, err := dialIMAP(t, srv, conf).logIn(good, inline)
		if err != nil || choice.Name != mech {
			t.Errorf("%s, inline %v: got %v, %v", mech, inline, choice, err)
		}
	}
	_, err := dialIMAP(t, srv, conf).logIn(bad, true)
	want(t, err, connection.ErrAuth)
}

func TestDovecotPasswordMechanisms(t *testing.T) {
	srv := peertest.Dovecot(t, &peertest.DovecotOptions{Password: password + " \u00df"})
	for _, mech := range []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"} {
		good := saslx.Account{Username: srv.User, Password: connection.NewSecret(srv.Password), Mechanisms: []string{mech}}
		bad := good
		bad.Password = connection.NewSecret(srv.Password + "x")
		both(t, srv, srv.ClientTLS(), good, bad, mech)
	}
	// What is chosen without being told, and in the clear.
	any := saslx.Account{Username: srv.User, Password: connection.NewSecret(srv.Password)}
	for _, conf := range []*tls.Config{srv.ClientTLS(), nil} {
		if choice, err := dialIMAP(t, srv, conf).logIn(any, true); err != nil || choice.Name != "SCRAM-SHA-256" {
			t.Errorf("got %v, %v; want SCRAM-SHA-256", choice, err)
		}
	}
}

// TestDovecotTokens has Dovecot ask an authority of the test whether a token is good.
func TestDovecotTokens(t *testing.T) {
	srv := peertest.Dovecot(t, &peertest.DovecotOptions{Token: token})
	for mech, status := range map[string]string{"XOAUTH2": "[401]", "OAUTHBEARER": "[invalid_token]"} {
		good, bad := bearer(token), bearer("stale-token")
		good.Mechanisms, bad.Mechanisms = []string{mech}, []string{mech}
		both(t, srv, srv.ClientTLS(), good, bad, mech)
		_, err := dialIMAP(t, srv, srv.ClientTLS()).logIn(bad, true)
		want(t, err, connection.ErrAuth, status)
	}
	// In the clear no token is sent.
	_, err := dialIMAP(t, srv, nil).logIn(bearer(token), true)
	want(t, err, connection.ErrTLS)
}

// TestDovecotNTLM verifies through Samba's ntlm_auth, which needs no domain for that. It checks the password alone;
// what names are sent is shown by TestNTLMNames.
func TestDovecotNTLM(t *testing.T) {
	srv := peertest.Dovecot(t, &peertest.DovecotOptions{NTLM: true, Password: password})
	for _, name := range []string{`DOM\juser`, "juser", "juser@dom", `DOM\juser\J.User`} {
		good := saslx.Account{Username: name, Password: connection.NewSecret(password), Mechanisms: []string{"ntlm"}}
		bad := good
		bad.Password = connection.NewSecret("wrong")
		both(t, srv, srv.ClientTLS(), good, bad, "NTLM")
	}
}

// TestDovecotExternal logs in by a client certificate alone.
func TestDovecotExternal(t *testing.T) {
	ca, client := clientCertificate(t, "juser")
	dir := publicDir(t)
	writeFile(t, filepath.Join(dir, "ca.pem"), 0o644, ca)
	srv := dovecot23(t, &peertest.DovecotOptions{
		Mechanisms: "plain external",
		Settings: "ssl_ca = <" + filepath.Join(dir, "ca.pem") + "\nssl_verify_client_cert = yes\nauth_ssl_username_from_cert = yes\nssl_require_crl = no\n" +
			"passdb {\n driver = static\n args = nopassword=y\n mechanisms = external\n}",
	})
	conf := srv.ClientTLS()
	conf.Certificates = []tls.Certificate{client}
	account := saslx.Account{Username: "juser", Certificate: true}
	for _, inline := range []bool{true, false} {
		if choice, err := dialIMAP(t, srv, conf).logIn(account, inline); err != nil || choice.Name != "EXTERNAL" {
			t.Errorf("inline %v: got %v, %v", inline, choice, err)
		}
	}
	_, err := dialIMAP(t, srv, srv.ClientTLS()).logIn(account, true)
	want(t, err, connection.ErrAuth, "client_cert_pem")
}

// dovecot23 is peertest.Dovecot for tests whose settings are in the language of Dovecot 2.3.
func dovecot23(t *testing.T, o *peertest.DovecotOptions) *peertest.DovecotServer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if binary, err := exec.LookPath("dovecot"); err == nil {
		if version, err := exec.CommandContext(ctx, binary, "--version").Output(); err == nil && !strings.HasPrefix(string(version), "2.3.") {
			t.Skipf("the settings of this test are for Dovecot 2.3, and this is %s", version)
		}
	}
	return peertest.Dovecot(t, o)
}

// publicDir is a folder that Dovecot's processes can read, whoever runs the test.
func publicDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func writeFile(t *testing.T, path string, mode os.FileMode, text string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

// clientCertificate makes an authority, as PEM, and a certificate of its for a user.
func clientCertificate(t *testing.T, user string) (ca string, client tls.Certificate) {
	t.Helper()
	var keys [2]*ecdsa.PrivateKey
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	begin, end := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"}, NotBefore: begin, NotAfter: end,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: user}, NotBefore: begin, NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	root, errRoot := x509.CreateCertificate(rand.Reader, authority, authority, &keys[0].PublicKey, keys[0])
	der, errLeaf := x509.CreateCertificate(rand.Reader, leaf, authority, &keys[1].PublicKey, keys[0])
	if err := errors.Join(errRoot, errLeaf); err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root})),
		tls.Certificate{Certificate: [][]byte{der}, PrivateKey: keys[1]}
}
