package imapclient_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// oldTLS speaks nothing above TLS 1.1.
func oldTLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11} //nolint:gosec // min_tls is there to refuse it
}

// Whom the settings trust, and with what TLS, in each mode that ends in TLS. Who is not trusted is sent no login, and
// the error names the setting.
func TestTrustSettings(t *testing.T) {
	cert, err := imaptest.NewCertificate(time.Now().Add(time.Hour), "mail.example.org")
	if err != nil {
		t.Fatal(err)
	}
	other, err := imaptest.NewCertificate(time.Now().Add(time.Hour), "mail.example.org")
	if err != nil {
		t.Fatal(err)
	}
	nameless, err := imaptest.NewCertificate(time.Now().Add(time.Hour)) // as old Exchange makes them: a common name alone
	if err != nil {
		t.Fatal(err)
	}
	expired, err := imaptest.NewCertificate(time.Now().Add(-time.Hour), "mail.example.org")
	if err != nil {
		t.Fatal(err)
	}
	digest := func(c tls.Certificate) []byte {
		sum := sha256.Sum256(c.Leaf.RawSubjectPublicKeyInfo)
		return sum[:]
	}
	base64Pin := func(c tls.Certificate) string { return base64.StdEncoding.EncodeToString(digest(c)) }
	ca := func(certs ...tls.Certificate) (text string) {
		for _, c := range certs {
			text += pemText("CERTIFICATE", c.Certificate[0])
		}
		return text
	}
	colons := func(c tls.Certificate) string {
		var parts []string
		for _, b := range digest(c) {
			parts = append(parts, strings.ToUpper(hex.EncodeToString([]byte{b})))
		}
		return strings.Join(parts, ":")
	}
	modern := &tls.Config{MinVersion: tls.VersionTLS13}
	twelve := &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12}
	for _, test := range []struct {
		name   string
		server *tls.Config // nil = what TLS 1.2 and 1.3 are
		cert   tls.Certificate
		set    connection.TLSSettings
		hint   string // of the refusal; "" = it works
		warns  string // what the step tls warns of
		says   string // what it says
	}{
		{name: "ca_pem and server_name", cert: cert, set: connection.TLSSettings{CAPEM: ca(cert), ServerName: "mail.example.org"}, says: "for mail.example.org"},
		{name: "ca_pem of several authorities", cert: cert, set: connection.TLSSettings{CAPEM: ca(other, cert), ServerName: "mail.example.org"}},
		{name: "the system's authorities", cert: cert, set: connection.TLSSettings{ServerName: "mail.example.org"}, hint: "ca_pem: "},
		{name: "ca_pem of another authority", cert: cert, set: connection.TLSSettings{CAPEM: ca(nameless), ServerName: "mail.example.org"}, hint: "ca_pem: "},
		{name: "ca_pem of an authority of the same name", cert: cert, set: connection.TLSSettings{CAPEM: ca(other), ServerName: "mail.example.org"}, hint: "ca_pem: "},
		{name: "ca_pem without server_name", cert: cert, set: connection.TLSSettings{CAPEM: ca(cert)}, hint: "server_name: "},
		{name: "another server_name", cert: cert, set: connection.TLSSettings{CAPEM: ca(cert), ServerName: "imap.example.org"}, hint: "server_name: "},
		{name: "expired", cert: expired, set: connection.TLSSettings{CAPEM: ca(expired), ServerName: "mail.example.org"}, hint: "the server's certificate has expired"},

		{name: "pin in base64", cert: cert, set: connection.TLSSettings{PinSHA256: []string{base64Pin(cert)}}},
		{name: "pin in hex", cert: cert, set: connection.TLSSettings{PinSHA256: []string{hex.EncodeToString(digest(cert))}}},
		{name: "pin with colons", cert: cert, set: connection.TLSSettings{PinSHA256: []string{colons(cert)}}},
		{name: "one pin of two", cert: cert, set: connection.TLSSettings{PinSHA256: []string{base64Pin(other), base64Pin(cert)}}},
		{name: "pin of a certificate without names", cert: nameless, set: connection.TLSSettings{PinSHA256: []string{base64Pin(nameless)}}, says: "(no names)"},
		{name: "pin of an expired one", cert: expired, set: connection.TLSSettings{PinSHA256: []string{base64Pin(expired)}}},
		{name: "another pin", cert: cert, set: connection.TLSSettings{PinSHA256: []string{base64Pin(other)}}, hint: "pin_sha256: "},
		{name: "another pin, trusted by ca_pem", cert: cert, set: connection.TLSSettings{CAPEM: ca(cert), ServerName: "mail.example.org", PinSHA256: []string{base64Pin(other)}}, hint: "pin_sha256: "},
		{name: "another pin and accept_any_certificate", cert: cert, set: connection.TLSSettings{PinSHA256: []string{base64Pin(other)}, AcceptAnyCertificate: true}, hint: "pin_sha256: "},

		{name: "accept_any_certificate", cert: cert, set: connection.TLSSettings{AcceptAnyCertificate: true}, warns: "accept_any_certificate: "},
		{name: "accept_any_certificate, expired", cert: expired, set: connection.TLSSettings{AcceptAnyCertificate: true}, warns: base64Pin(expired)},

		{name: "min_tls as it is, of TLS 1.1", server: oldTLS(), cert: cert, set: connection.TLSSettings{PinSHA256: []string{base64Pin(cert)}}, hint: "min_tls: "},
		{name: "min_tls 1.1, of TLS 1.1", server: oldTLS(), cert: cert, set: connection.TLSSettings{PinSHA256: []string{base64Pin(cert)}, MinTLS: "1.1"}, says: "TLS 1.1"},
		{name: "min_tls 1.0, of TLS 1.1", server: oldTLS(), cert: cert, set: connection.TLSSettings{PinSHA256: []string{base64Pin(cert)}, MinTLS: "1.0"}, says: "TLS 1.1"},
		{name: "min_tls 1.2, of TLS 1.2", server: twelve, cert: cert, set: connection.TLSSettings{PinSHA256: []string{base64Pin(cert)}, MinTLS: "1.2"}, says: "TLS 1.2"},
		{name: "min_tls 1.3, of TLS 1.2", server: twelve, cert: cert, set: connection.TLSSettings{PinSHA256: []string{base64Pin(cert)}, MinTLS: "1.3"}, hint: "min_tls: "},
		{name: "min_tls 1.3, of TLS 1.3", server: modern, cert: cert, set: connection.TLSSettings{PinSHA256: []string{base64Pin(cert)}, MinTLS: "1.3"}, says: "TLS 1.3"},
	} {
		for _, mode := range tlsModes {
			t.Run(test.name+" "+string(mode), func(t *testing.T) {
				conf := &tls.Config{MinVersion: tls.VersionTLS12}
				if test.server != nil {
					conf = test.server.Clone()
				}
				conf.Certificates = []tls.Certificate{test.cert}
				srv := imaptest.NewServer(t, &imaptest.Options{Mode: mode, TLS: conf})
				srv.Deliver(letters(1)...)
				cfg := srv.Config()
				cfg.TLSSettings = test.set
				c := open(t, cfg, nil)
				report, err := c.Test(t.Context(), nil)
				if test.hint != "" {
					if e := theError(t, err, connection.ErrTLS); !strings.HasPrefix(e.Hint, test.hint) {
						t.Errorf("got hint %q, want %q", e.Hint, test.hint)
					}
					if n := len(srv.Transcript("LOGIN", "AUTHENTICATE")); n != 0 {
						t.Errorf("%d logins over a connection that is not trusted", n)
					}
					return
				}
				if err != nil {
					t.Fatalf("%v\n%s", err, report)
				}
				step := stepOf(t, report, "tls")
				if (step.Status == connection.StatusWarned) != (test.warns != "") || !strings.Contains(step.Hint, test.warns) || !strings.Contains(step.Detail, test.says) {
					t.Errorf("got step %+v, want %q and the warning %q", step, test.says, test.warns)
				}
				// Every further connection is held against the settings too, one that resumes a TLS session included.
				srv.CloseConnections()
				wantBodies(t, bodies(t, collect(t, c, nil)), texts(letters(1))...)
			})
		}
	}
}

// stepOf returns one step of a report.
func stepOf(t *testing.T, r *connection.Report, name string) connection.Step {
	t.Helper()
	for _, s := range r.Steps {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("the report has no step %s:\n%s", name, r)
	return connection.Step{}
}

// accept_any_certificate is told of each time, in the log and as an event, also when nobody runs Test.
func TestAcceptAnyCertificateWarns(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	cfg := srv.Config()
	cfg.CAPEM, cfg.AcceptAnyCertificate = "", true
	told := 0
	env := &connection.Env{Observe: func(ev connection.Event) {
		if ev.Kind == connection.EventInsecure && strings.Contains(ev.Detail, "certificate is not verified") {
			told++
		}
	}}
	c := open(t, cfg, env)
	for want := 1; want <= 2; want++ {
		if _, err := c.Test(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if told != want {
			t.Errorf("told %d times of %d connections", told, want)
		}
	}
}

// What Env.TLS holds is the base of the settings: its authorities are trusted, and its own verdict is heard also where a
// pin decides.
func TestTrustOfTheHost(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(1)...)
	cfg := srv.Config()
	block := cfg.CAPEM
	cfg.CAPEM = ""
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(block))
	asked := 0
	base := &tls.Config{RootCAs: roots, VerifyConnection: func(tls.ConnectionState) error { asked++; return nil }}
	wantBodies(t, bodies(t, collect(t, open(t, cfg, &connection.Env{TLS: base}), nil)), texts(letters(1))...)
	if asked == 0 {
		t.Error("VerifyConnection of Env.TLS was not asked")
	}
	base.VerifyConnection = func(tls.ConnectionState) error { return context.Canceled }
	_, err := open(t, cfg, &connection.Env{TLS: base}).Test(t.Context(), nil)
	if err == nil {
		t.Error("VerifyConnection of Env.TLS was not heard")
	}
	if n := len(srv.Transcript("AUTHENTICATE")); n != 1 {
		t.Errorf("%d logins, want that of the connection that was trusted", n)
	}
}

// A server that asks for a client certificate and then hangs up, which TLS 1.3 lets it do only after the handshake, is
// explained by the setting.
func TestClientCertificateWanted(t *testing.T) {
	srv := imaptest.NewScript(t, &imaptest.ScriptOptions{TLS: &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS13}},
		imaptest.Script{imaptest.Cut()})
	_, err := open(t, srv.Config(), nil).Test(t.Context(), nil)
	if e := theError(t, err, connection.ErrNetwork); !strings.HasPrefix(e.Hint, "client_cert_pem: ") {
		t.Errorf("got %v", err)
	}
}
