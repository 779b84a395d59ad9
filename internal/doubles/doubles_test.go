package doubles_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/mailconn/mailconn/internal/doubles"
)

// chatter sends ten octets on each connection and then what it receives.
func chatter(t *testing.T, maxWrite int) *doubles.Line {
	t.Helper()
	l := &doubles.Line{}
	if err := l.Listen("127.0.0.1:0", maxWrite, func(m *doubles.Meter) {
		if _, err := io.WriteString(m, "0123456789"); err == nil {
			_, _ = io.Copy(m, m) // the client ends it
		}
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func dial(t *testing.T, l *doubles.Line) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}

// heard is what a connection brings when "abc" was sent on it and no more will be.
func heard(t *testing.T, conn *net.TCPConn) string {
	t.Helper()
	if _, err := io.WriteString(conn, "abc"); err == nil {
		_ = conn.CloseWrite() // it may be cut
	}
	got, _ := io.ReadAll(conn) // a cut may be a reset
	return string(got)
}

// The next connections are cut at the octet, each fault as often as it was asked for.
func TestLineCutsAtTheOctet(t *testing.T) {
	for _, maxWrite := range []int{0, 1, 3} {
		l := chatter(t, maxWrite)
		l.Spoil(4, false, nil)
		l.Spoil(0, false, []int{2})
		l.Spoil(12, false, nil)
		for i, want := range []string{"0123", "", "", "0123456789ab", "0123456789abc"} {
			if got := heard(t, dial(t, l)); got != want {
				t.Errorf("connection %d, pieces of %d: got %q, want %q", i+1, maxWrite, got, want)
			}
		}
		l.Close()
		if got := l.Sent(); !slices.Equal(got, []int64{4, 0, 0, 12, 13}) {
			t.Errorf("sent %v", got)
		}
		if got := l.Received()[4]; got != 3 {
			t.Errorf("received %d octets, want 3", got)
		}
	}
}

func TestLineHeals(t *testing.T) {
	l := chatter(t, 0)
	l.Spoil(4, false, []int{-1})
	for range 3 {
		if got := heard(t, dial(t, l)); got != "0123" {
			t.Errorf("got %q", got)
		}
	}
	l.Heal()
	if got := heard(t, dial(t, l)); got != "0123456789abc" {
		t.Errorf("got %q", got)
	}
}

// A connection that fell silent stays open until somebody closes it.
func TestLineStalls(t *testing.T) {
	l := chatter(t, 0)
	l.Spoil(4, true, nil)
	conn := dial(t, l)
	got := make([]byte, 4)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "0123" {
		t.Fatalf("got %q: %v", got, err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %d octets, %v, want silence", n, err)
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	l.CutAll()
	if n, err := conn.Read(got); n > 0 || err == nil {
		t.Errorf("got %d octets, %v, want the end", n, err)
	}
}

// Close ends connections, and waits for what serves them.
func TestLineCloses(t *testing.T) {
	served := make(chan error, 1)
	l := &doubles.Line{}
	if err := l.Listen("127.0.0.1:0", 0, func(m *doubles.Meter) {
		_, err := m.Read(make([]byte, 1))
		served <- err
	}); err != nil {
		t.Fatal(err)
	}
	conn := dial(t, l)
	if _, err := conn.Write(nil); err != nil {
		t.Fatal(err)
	}
	for len(l.Sent()) == 0 { // until it was accepted
		if _, err := conn.Write(nil); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	select {
	case err := <-served:
		if err == nil {
			t.Error("the read of a closed connection brought something")
		}
	default:
		t.Error("Close did not wait")
	}
	l.Close()
	if conn, err := net.Dial("tcp", l.Addr()); err == nil {
		t.Error("somebody listens", conn.Close())
	}
}

// Octets are counted above TLS, and the certificate is the one that was made.
func TestLineOverTLS(t *testing.T) {
	conf, caPEM, err := doubles.ServerTLS("name", nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &doubles.Line{}
	if err := l.Listen("127.0.0.1:0", 0, func(m *doubles.Meter) {
		if m.TLS() != nil || m.Secure(conf) != nil || m.TLS() == nil {
			return
		}
		_, _ = io.WriteString(m, "0123456789") // the client notices
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	l.Spoil(6, false, nil)
	env := doubles.Env(caPEM)
	env.TLS.ServerName = "localhost"
	client := tls.Client(dial(t, l), env.TLS)
	if got, _ := io.ReadAll(client); !bytes.Equal(got, []byte("012345")) { // what is cut ends without close_notify
		t.Errorf("got %q", got)
	}
	if got := client.ConnectionState().PeerCertificates[0].Subject.CommonName; got != "name" {
		t.Errorf("got a certificate of %q", got)
	}
}

func TestCertificates(t *testing.T) {
	expired, err := doubles.NewCertificate("old", time.Now().Add(-time.Hour), "mail.example.org", "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(expired.Leaf)
	for host, at := range map[string]time.Time{"mail.example.org": expired.Leaf.NotAfter, "192.0.2.1": expired.Leaf.NotBefore} {
		if _, err := expired.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: at}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := expired.Leaf.Verify(x509.VerifyOptions{Roots: roots}); err == nil {
		t.Error("it has not expired")
	}
	own := &tls.Config{Certificates: []tls.Certificate{expired}, MinVersion: tls.VersionTLS13}
	conf, _, err := doubles.ServerTLS("other", own)
	if err != nil || conf.Certificates[0].Leaf != expired.Leaf || conf.MinVersion != tls.VersionTLS13 {
		t.Errorf("the configuration given was replaced: %v", err)
	}
	if env := doubles.Env(""); env.TLS != nil {
		t.Error("an environment without a certificate trusts something")
	}
}
