package httpx_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

// wired starts a server of TLS that does with each connection what serve says, and then reads what still comes: a
// connection that is closed on unread octets is reset, and the client loses what it was told last.
func wired(t *testing.T, auth tls.ClientAuthType, serve func(raw net.Conn, secure *tls.Conn)) (base string, settings *connection.TLSSettings) {
	t.Helper()
	donor := httptest.NewTLSServer(http.NotFoundHandler())
	defer donor.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	conf := &tls.Config{Certificates: donor.TLS.Certificates, ClientAuth: auth, MinVersion: tls.VersionTLS13}
	go func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				serve(raw, tls.Server(raw, conf))
				_, _ = io.Copy(io.Discard, raw)
				_ = raw.Close()
			}()
		}
	}()
	return "https://" + l.Addr().String(), &connection.TLSSettings{CAPEM: authority(donor)}
}

// TestDamageOnAnEstablishedConnection: octets that were changed on the way are found by TLS. That is no want of trust, and it
// leaves open what became of a request that was sent whole.
func TestDamageOnAnEstablishedConnection(t *testing.T) {
	base, settings := wired(t, tls.NoClientCert, func(raw net.Conn, secure *tls.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(secure))
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		_, _ = raw.Write(append([]byte{23, 3, 3, 0, 64}, make([]byte, 64)...)) // a record that no key opens
	})
	for _, tc := range []struct {
		method, body string
		want         connection.Kind
	}{
		{http.MethodPut, "x", connection.ErrUncertain},
		{http.MethodPost, "", connection.ErrUncertain},
		{http.MethodGet, "", connection.ErrNetwork},
	} {
		_, err := do(t, newClient(t, base, settings, nil), tc.method, base, tc.body)
		var e *connection.Error
		if !errors.As(err, &e) || e.Kind != tc.want || e.Hint != "" {
			t.Errorf("%s: got %v, want %v without a hint at a setting", tc.method, err, tc.want)
		}
	}
}

// TestClientCertificateRefusedLate: in TLS 1.3 the server refuses when the client believes the handshake to be over.
func TestClientCertificateRefusedLate(t *testing.T) {
	base, settings := wired(t, tls.RequireAnyClientCert, func(_ net.Conn, secure *tls.Conn) { _ = secure.Handshake() })
	for _, method := range []string{http.MethodPut, http.MethodGet} {
		_, err := do(t, newClient(t, base, settings, nil), method, base, "")
		var e *connection.Error
		if !errors.As(err, &e) || e.Kind != connection.ErrTLS || !strings.Contains(e.Hint, "client_cert_pem") {
			t.Errorf("%s: got %v, want ErrTLS and a hint at client_cert_pem", method, err)
		}
	}
}
