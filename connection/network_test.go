package connection_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

func TestHostPort(t *testing.T) {
	for in, want := range map[string]struct {
		host string
		port int
	}{
		"mail.example.org":     {"mail.example.org", 993},
		"mail.example.org:143": {"mail.example.org", 143},
		"192.0.2.1":            {"192.0.2.1", 993},
		"2001:db8::1":          {"2001:db8::1", 993},
		"[2001:db8::1]":        {"2001:db8::1", 993},
		"[2001:db8::1]:143":    {"2001:db8::1", 143},
	} {
		n := connection.NetworkSettings{Server: in}
		host, port, err := n.HostPort(993)
		if err != nil || host != want.host || port != want.port {
			t.Errorf("%s: got %s, %d, %v; want %v", in, host, port, err, want)
		}
	}
}

func TestHostPortKeepsAPasswordToItself(t *testing.T) {
	for _, server := range []string{"imaps://me:hunter2@mail.example.org", "me:hunter2@mail.example.org", "imaps://me:hunter2@mail.example.org ", "me:hunter2\t@host"} {
		n := connection.NetworkSettings{Server: server}
		if err := n.Validate(); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v, want an error without the password", server, err)
		}
	}
}

func TestTLSSettingsKeepWhatTheHostDemands(t *testing.T) {
	for _, tt := range []struct {
		setting string
		base    uint16
		want    uint16
	}{
		{"", 0, tls.VersionTLS12},
		{"1.2", 0, tls.VersionTLS12},
		{"1.2", tls.VersionTLS13, tls.VersionTLS13}, // the default of JSON
		{"1.2", tls.VersionTLS10, tls.VersionTLS12},
		{"", tls.VersionTLS10, tls.VersionTLS10},
		{"1.0", tls.VersionTLS13, tls.VersionTLS10},
		{"1.3", 0, tls.VersionTLS13},
	} {
		conf, err := (&connection.TLSSettings{MinTLS: tt.setting}).Client("h", &tls.Config{MinVersion: tt.base})
		if err != nil || conf.MinVersion != tt.want {
			t.Errorf("min_tls %q over %x: got %x, %v; want %x", tt.setting, tt.base, conf.MinVersion, err, tt.want)
		}
	}

	server, _, _ := certificate(t, "mail.example.org")
	leaf, err := x509.ParseCertificate(server.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pin := connection.SPKI([]*x509.Certificate{leaf})
	revoked := errors.New("revoked")
	conf, err := (&connection.TLSSettings{PinSHA256: []string{hex.EncodeToString(pin[:])}}).Client("h", &tls.Config{
		VerifyConnection: func(tls.ConnectionState) error { return revoked },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := conf.VerifyConnection(tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}); !errors.Is(err, revoked) {
		t.Errorf("the right pin: got %v, want what the host's VerifyConnection says", err)
	}
}

// certificate makes a self-signed certificate and its key, as PEM.
func certificate(t *testing.T, name string) (tls.Certificate, string, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	keyPEM := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
	pair, err := tls.X509KeyPair([]byte(certPEM), []byte(keyPEM))
	if err != nil {
		t.Fatal(err)
	}
	return pair, certPEM, keyPEM
}

func TestTLSSettingsDecideWhomToTrust(t *testing.T) {
	server, certPEM, _ := certificate(t, "mail.example.org")
	other, otherPEM, _ := certificate(t, "mail.example.org")
	client, clientPEM, clientKey := certificate(t, "client")
	leaf, err := x509.ParseCertificate(server.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pin := connection.SPKI([]*x509.Certificate{leaf})
	otherLeaf, err := x509.ParseCertificate(other.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	wrong := connection.SPKI([]*x509.Certificate{otherLeaf})
	b64 := base64.StdEncoding.EncodeToString
	for _, tt := range []struct {
		name    string
		s       connection.TLSSettings
		host    string
		maxTLS  uint16
		wantErr string
	}{
		{name: "unknown authority", wantErr: "unknown authority"},
		{name: "ca_pem", s: connection.TLSSettings{CAPEM: certPEM}},
		{name: "another ca_pem", s: connection.TLSSettings{CAPEM: otherPEM}, wantErr: "certificate"},
		{name: "wrong host", s: connection.TLSSettings{CAPEM: certPEM}, host: "imap.example.org", wantErr: "not imap.example.org"},
		{name: "server_name", s: connection.TLSSettings{CAPEM: certPEM, ServerName: "mail.example.org"}, host: "192.0.2.1"},
		{name: "pin", s: connection.TLSSettings{PinSHA256: []string{b64(pin[:])}}, host: "any"},
		{name: "pin in hex", s: connection.TLSSettings{PinSHA256: []string{b64(wrong[:]), hex.EncodeToString(pin[:])}}, host: "any"},
		{name: "wrong pin", s: connection.TLSSettings{PinSHA256: []string{b64(wrong[:])}}, wantErr: b64(pin[:])},
		{name: "wrong pin and any", s: connection.TLSSettings{PinSHA256: []string{b64(wrong[:])}, AcceptAnyCertificate: true}, wantErr: "not pinned"},
		{name: "any", s: connection.TLSSettings{AcceptAnyCertificate: true}, host: "any"},
		{name: "TLS 1.1 refused", s: connection.TLSSettings{CAPEM: certPEM}, maxTLS: tls.VersionTLS11, wantErr: "protocol version"},
		{name: "TLS 1.1 asked for", s: connection.TLSSettings{CAPEM: certPEM, MinTLS: "1.0"}, maxTLS: tls.VersionTLS11},
		{name: "client certificate", s: connection.TLSSettings{CAPEM: certPEM, ClientCertPEM: clientPEM, ClientKeyPEM: connection.NewSecret(clientKey)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.s.Validate(); err != nil {
				t.Fatal(err)
			}
			host := tt.host
			if host == "" {
				host = "mail.example.org"
			}
			conf, err := tt.s.Client(host, nil)
			if err != nil {
				t.Fatal(err)
			}
			a, b := net.Pipe()
			defer func() { _, _ = a.Close(), b.Close() }()
			serverConf := &tls.Config{Certificates: []tls.Certificate{server}, MinVersion: tls.VersionTLS10, MaxVersion: tt.maxTLS}
			if tt.s.ClientCertPEM != "" {
				serverConf.ClientAuth = tls.RequireAnyClientCert
			}
			done := make(chan error, 1)
			srv := tls.Server(b, serverConf)
			go func() {
				done <- srv.HandshakeContext(t.Context())
				_ = b.Close() // the handshake is all that matters
			}()
			err = tls.Client(a, conf).HandshakeContext(t.Context())
			switch {
			case tt.wantErr == "" && err != nil:
				t.Errorf("handshake: %v", err)
			case tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)):
				t.Errorf("handshake: got %v, want an error with %q", err, tt.wantErr)
			}
			if tt.s.ClientCertPEM != "" {
				if err := <-done; err != nil || string(srv.ConnectionState().PeerCertificates[0].Raw) != string(client.Certificate[0]) {
					t.Errorf("the server saw no client certificate: %v", err)
				}
			}
		})
	}
	mixed := connection.TLSSettings{ClientCertPEM: certPEM, ClientKeyPEM: connection.NewSecret(clientKey)}
	if err := mixed.Validate(); err == nil || !strings.HasPrefix(err.Error(), "client_key_pem: does not fit") {
		t.Errorf("a key of another certificate: got %v", err)
	}
}
