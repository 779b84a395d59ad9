package netx

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
	"log/slog"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/mailconn/mailconn/connection"
)

// newCert makes a self-signed certificate for name, valid from now for d (in the past if d is negative).
func newCert(t *testing.T, name string, d time.Duration) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(d),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// serve lets handle speak to a Conn of the peer returned.
func serve(t *testing.T, p *Peer, handle func(net.Conn)) *Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		handle(conn)
		_ = conn.Close()
	}()
	c, err := p.Dial(t.Context(), []string{l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		_ = l.Close()
		<-done
	})
	return c
}

func serveTLS(conf *tls.Config) func(net.Conn) {
	return func(conn net.Conn) {
		s := tls.Server(conn, conf)
		if s.Handshake() == nil {
			_, _ = io.WriteString(s, "* OK hello\r\n") // the client's side of the test sees what fails
			_, _ = io.Copy(io.Discard, s)
		}
	}
}

func TestHandshakeRefusals(t *testing.T) {
	good, goodPEM := newCert(t, "mail.example.org", time.Hour)
	expired, expiredPEM := newCert(t, "mail.example.org", -time.Hour)
	_, otherPEM := newCert(t, "mail.example.org", time.Hour)
	goodPin, expiredPin := Pin([]*x509.Certificate{good.Leaf}), Pin([]*x509.Certificate{expired.Leaf})
	for _, tt := range []struct {
		name   string
		host   string
		tls    connection.TLSSettings
		server func(net.Conn)
		want   []string // in the hint
		text   string   // in the error
		kind   connection.Kind
	}{
		{"another name", "imap.example.net", connection.TLSSettings{CAPEM: goodPEM}, serveTLS(&tls.Config{Certificates: []tls.Certificate{good}}), []string{"server_name: ", "mail.example.org", goodPin}, "imap.example.net", connection.ErrTLS},
		{"unknown authority", "mail.example.org", connection.TLSSettings{CAPEM: otherPEM}, serveTLS(&tls.Config{Certificates: []tls.Certificate{good}}), []string{"ca_pem: ", "mail.example.org", goodPin}, "unknown authority", connection.ErrTLS},
		{"expired", "mail.example.org", connection.TLSSettings{CAPEM: expiredPEM}, serveTLS(&tls.Config{Certificates: []tls.Certificate{expired}}), []string{"expired", expiredPin}, "expired", connection.ErrTLS},
		{"another key than pinned", "mail.example.org", connection.TLSSettings{PinSHA256: []string{expiredPin}}, serveTLS(&tls.Config{Certificates: []tls.Certificate{good}}), []string{"pin_sha256: ", goodPin}, "not pinned", connection.ErrTLS},
		{"plaintext port", "mail.example.org", connection.TLSSettings{}, func(c net.Conn) {
			_, _ = io.WriteString(c, "* OK IMAP4rev1 ready\r\n")
			_, _ = io.Copy(io.Discard, c)
		}, []string{"mode: ", "starttls", "993"}, `"* OK`, connection.ErrTLS},
		{"closes at once", "mail.example.org", connection.TLSSettings{}, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1<<10)) // taking the hello makes the close an end and no reset
		}, []string{"mode: ", "993"}, "closed", connection.ErrNetwork},
		{"only an old version", "mail.example.org", connection.TLSSettings{CAPEM: goodPEM}, serveTLS(&tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}), []string{"min_tls: "}, "version", connection.ErrTLS},
		{"client certificate required", "mail.example.org", connection.TLSSettings{CAPEM: goodPEM}, serveTLS(&tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}), []string{"client_cert_pem: "}, "", connection.ErrTLS},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPeer(tt.host, 993)
			p.Settings.TLSSettings = tt.tls
			c := serve(t, p, tt.server)
			_, err := c.Handshake(t.Context())
			var e *connection.Error
			if !errors.As(err, &e) || e.Kind != tt.kind || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("got %v, want %v with %q", err, tt.kind, tt.text)
			}
			for _, want := range tt.want {
				if !strings.Contains(e.Hint, want) {
					t.Errorf("got hint %q, want %q in it", e.Hint, want)
				}
			}
			if c.Err() == nil {
				t.Error("the connection is still open")
			}
		})
	}
}

func TestHandshakeAccepts(t *testing.T) {
	good, goodPEM := newCert(t, "mail.example.org", time.Hour)
	client, clientPEM := newCert(t, "juser", time.Hour)
	key, err := x509.MarshalPKCS8PrivateKey(client.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM := connection.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	pin := Pin([]*x509.Certificate{good.Leaf})
	for _, tt := range []struct {
		name     string
		host     string
		tls      connection.TLSSettings
		server   *tls.Config
		insecure bool
		asked    bool
	}{
		{"authority", "mail.example.org", connection.TLSSettings{CAPEM: goodPEM}, &tls.Config{}, false, false},
		{"server_name", "127.0.0.1", connection.TLSSettings{CAPEM: goodPEM, ServerName: "mail.example.org"}, &tls.Config{}, false, false},
		{"pin without authority or name", "127.0.0.1", connection.TLSSettings{PinSHA256: []string{pin}}, &tls.Config{}, false, false},
		{"any", "127.0.0.1", connection.TLSSettings{AcceptAnyCertificate: true}, &tls.Config{}, true, false},
		{"pin rules over any", "127.0.0.1", connection.TLSSettings{AcceptAnyCertificate: true, PinSHA256: []string{pin}}, &tls.Config{}, false, false},
		{"old version when allowed", "mail.example.org", connection.TLSSettings{CAPEM: goodPEM, MinTLS: "1.0"}, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, false, false},
		{"client certificate", "mail.example.org", connection.TLSSettings{CAPEM: goodPEM, ClientCertPEM: clientPEM, ClientKeyPEM: keyPEM}, &tls.Config{ClientAuth: tls.RequireAnyClientCert}, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPeer(tt.host, 993)
			p.Settings.TLSSettings = tt.tls
			var events []connection.Event
			var log strings.Builder
			p.Env = &connection.Env{Logger: slog.New(slog.NewTextHandler(&log, nil)), Observe: func(e connection.Event) { events = append(events, e) }}
			tt.server.Certificates = []tls.Certificate{good}
			s, err := serve(t, p, serveTLS(tt.server)).Handshake(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(s).ReadString('\n'); line != "* OK hello\r\n" || err != nil {
				t.Errorf("read %q and %v", line, err)
			}
			warned := len(events) == 1 && events[0].Kind == connection.EventInsecure && events[0].Connection == "imap" && strings.Contains(log.String(), "level=WARN")
			if warned != tt.insecure || s.Trusted == tt.insecure {
				t.Errorf("warned %t and trusted %t, want %t and %t: %v %s", warned, s.Trusted, tt.insecure, !tt.insecure, events, log.String())
			}
			if s.ClientCertRequested != tt.asked {
				t.Errorf("client certificate requested: got %t, want %t", s.ClientCertRequested, tt.asked)
			}
			if got := s.Describe(); !strings.Contains(got, "TLS 1.") || !strings.Contains(got, "for mail.example.org by") {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestUpgradeRefusesInjectedPlaintext(t *testing.T) {
	c, far := pair(t, 0)
	go func() {
		_, _ = io.WriteString(far, "P1 OK go\r\n* OK injected\r\n") // the reader sees what fails
	}()
	br := bufio.NewReader(c)
	if _, err := br.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	_, err := c.Upgrade(t.Context(), br)
	if !errors.Is(err, connection.ErrTLS) || !strings.Contains(err.Error(), "injected") {
		t.Errorf("got %v, want ErrTLS that says injected", err)
	}
	if !errors.Is(c.Err(), connection.ErrTLS) {
		t.Errorf("the connection is still open: %v", c.Err())
	}
}

func TestStalledHandshakeEnds(t *testing.T) {
	mute := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	t.Run("no data", func(t *testing.T) {
		p := newPeer("127.0.0.1", 993)
		p.Settings.NoDataTimeout = connection.Duration(50 * time.Millisecond)
		_, err := serve(t, p, mute).Handshake(t.Context())
		wantTimeout(t, err)
	})
	t.Run("ctx", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := serve(t, newPeer("127.0.0.1", 993), mute).Handshake(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want ctx.Err()", err)
		}
	})
}

// TestDescribeIsHarmless: a certificate's texts are its maker's.
func TestDescribeIsHarmless(t *testing.T) {
	long := strings.Repeat("ü", 1000)
	for _, cert := range []*x509.Certificate{
		{DNSNames: []string{"a\x1b[2Jb", "\r\nc", long}, Issuer: pkix.Name{CommonName: "d\x07" + long}},
		{Subject: pkix.Name{CommonName: "a\x1b[2Jb\n\u009b" + long}, Issuer: pkix.Name{CommonName: "\u202e"}},
	} {
		text := describe([]*x509.Certificate{cert})
		if len(text) > 500 || strings.ContainsFunc(text, unicode.IsControl) || strings.ContainsAny(text, "\u202e\ufffd") || !strings.Contains(text, "a?[2Jb") {
			t.Errorf("got %q (%d octets), want what can be shown", text, len(text))
		}
	}
}
