package ewshttp_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/ewshttp"
	"github.com/mailconn/mailconn/internal/doubles"
)

// No credential without TLS, unless it is asked for twice.
func TestPlaintext(t *testing.T) {
	for name, test := range map[string]struct {
		mode  connection.Mode
		allow bool
		set   func(*server)
		kind  connection.Kind // ErrUnknown: it works
		seen  string
	}{
		"tls":                         {connection.ModeTLS, true, basic, connection.ErrTLS, ""},
		"insecure, basic":             {connection.ModeInsecure, false, basic, connection.ErrTLS, "-"},
		"insecure, ntlm":              {connection.ModeInsecure, false, ntlm, connection.ErrTLS, "-"},
		"insecure, nobody asks":       {connection.ModeInsecure, false, nil, connection.ErrUnknown, "- -+body"},
		"insecure, allowed":           {connection.ModeInsecure, true, basic, connection.ErrUnknown, "- Basic+body"},
		"tls-when-available":          {connection.ModeTLSWhenAvailable, false, ntlm, connection.ErrTLS, "-"},
		"tls-when-available, allowed": {connection.ModeTLSWhenAvailable, true, ntlm, connection.ErrUnknown, "- NTLM NTLM+body"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, env := newPipeServer(t, test.set)
				insecure := 0
				env.Observe = func(e connection.Event) {
					if e.Kind == connection.EventInsecure {
						insecure++
					}
				}
				c := s.client(env, func(o *ewshttp.Options) { o.Mode, o.AllowPlaintextAuth, o.TLS = test.mode, test.allow, nil })
				if test.kind != connection.ErrUnknown {
					fails(t, c, s.request(), test.kind, "mode: ")
				} else {
					get(t, c, s.request())
				}
				if got := s.steps(); got != test.seen {
					t.Errorf("got %q, want %q", got, test.seen)
				}
				if want := 1; test.mode != connection.ModeTLS && insecure != want {
					t.Errorf("%d events, want %d", insecure, want)
				}
			})
		})
	}
}

// With tls-when-available http is tried where nothing listens for https, and never after a certificate that is not trusted.
func TestTLSWhenAvailable(t *testing.T) {
	plain := &server{t: t, users: map[string]string{user: password}}
	hs := httptest.NewUnstartedServer(plain)
	hs.Config.ConnContext = plain.connContext
	hs.Start()
	t.Cleanup(hs.Close)
	secure := newServer(t, nil)
	other := newServer(t, nil)
	for name, test := range map[string]struct {
		tls  string // where port 443 leads
		host string
		kind connection.Kind
		http bool
	}{
		"refused":       {"127.0.0.1:1", "ews.corp.test", connection.ErrUnknown, true},
		"another host":  {"127.0.0.1:1", "www.corp.test", connection.ErrNetwork, false},
		"another port":  {"127.0.0.1:1", "ews.corp.test:8443", connection.ErrNetwork, false},
		"not trusted":   {other.endpoint().Host, "ews.corp.test", connection.ErrTLS, false},
		"TLS answers":   {secure.endpoint().Host, "ews.corp.test", connection.ErrUnknown, false},
		"port is given": {"127.0.0.1:1", "ews.corp.test:443", connection.ErrUnknown, true},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(plain.seen())
			env := &connection.Env{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				to := test.tls
				if strings.HasSuffix(address, ":80") {
					to = hs.Listener.Addr().String()
				}
				return new(net.Dialer).DialContext(ctx, network, to)
			}}
			c := secure.client(env, func(o *ewshttp.Options) {
				o.Mode, o.AllowPlaintextAuth, o.Server = connection.ModeTLSWhenAvailable, true, "EWS.corp.test"
				o.TLS.ServerName = "example.com"
				if name == "not trusted" {
					o.TLS.CAPEM = string(mustPEM(t))
				}
			})
			r := secure.request(func(r *ewshttp.Request) {
				r.URL = &url.URL{Scheme: "https", Host: test.host, Path: "/EWS/Exchange.asmx"}
			})
			if test.kind != connection.ErrUnknown {
				fails(t, c, r, test.kind)
			} else {
				resp := open(t, c, r)
				read(t, resp)
				if got := resp.URL.Scheme == "http"; got != test.http {
					t.Errorf("answer from %s", resp.URL)
				}
			}
			if got := len(plain.seen()) > before; got != test.http {
				t.Errorf("asked over http: %v", got)
			}
		})
	}
}

func mustPEM(t *testing.T) string {
	t.Helper()
	_, ca, err := doubles.ServerTLS("another authority", nil)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// server_name is the settings' server's alone: another host must show its own name.
func TestServerNameIsTheServers(t *testing.T) {
	s := newServer(t, nil) // its certificate is for example.com
	c := s.client(&connection.Env{Dial: s.dial}, func(o *ewshttp.Options) { o.Server, o.TLS.ServerName = "ews.corp.test", "example.com" })
	at := func(host string) *ewshttp.Request {
		return s.request(func(r *ewshttp.Request) { r.URL.Host = host })
	}
	get(t, c, at("ews.corp.test"))
	get(t, c, at("example.com"))
	fails(t, c, at("autodiscover.corp.test"), connection.ErrTLS, "server_name")
}

// A certificate that nobody verifies is told of, once.
func TestAnyCertificate(t *testing.T) {
	for _, pinned := range []bool{false, true} {
		s := newServer(t, nil)
		block, _ := pem.Decode([]byte(s.ca))
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		pin := connection.SPKI([]*x509.Certificate{cert})
		var events []string
		env := &connection.Env{Observe: func(e connection.Event) { events = append(events, string(e.Kind)+": "+e.Detail) }}
		c := s.client(env, func(o *ewshttp.Options) {
			o.Server = s.request().URL.Hostname()
			o.TLS = &connection.TLSSettings{AcceptAnyCertificate: !pinned}
			if pinned {
				o.TLS.PinSHA256 = []string{hex.EncodeToString(pin[:])}
			}
		})
		for range 2 {
			get(t, c, s.request())
		}
		if pinned != (len(events) == 0) || len(events) > 1 {
			t.Errorf("pinned %v: %v", pinned, events)
		}
	}
}

// accept_any_certificate is for the settings' server alone: another host gets no login before it has proved its name.
func TestAnyCertificateIsForTheServer(t *testing.T) {
	s := newServer(t, nil)
	c := s.client(&connection.Env{Dial: s.dial}, func(o *ewshttp.Options) {
		o.Server, o.TLS = "ews.corp.test", &connection.TLSSettings{AcceptAnyCertificate: true}
	})
	at := func(host string) *ewshttp.Request {
		return s.request(func(r *ewshttp.Request) { r.URL.Host = host })
	}
	get(t, c, at("ews.corp.test"))
	before := len(s.seen())
	fails(t, c, at("autodiscover.corp.test"), connection.ErrTLS, "server_name")
	if n := len(s.seen()) - before; n != 0 {
		t.Errorf("%d requests reached a host that nobody vouches for", n)
	}
}

func TestE43OldTLS(t *testing.T) {
	conf, ca, err := doubles.ServerTLS("old", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}) //nolint:gosec // that is the case
	if err != nil {
		t.Fatal(err)
	}
	if len(conf.Certificates) == 0 {
		fresh, pem, err := doubles.ServerTLS("old", nil)
		if err != nil {
			t.Fatal(err)
		}
		conf.Certificates, ca = fresh.Certificates, pem
	}
	s := &server{t: t, users: map[string]string{user: password}, ca: ca}
	hs := httptest.NewUnstartedServer(s)
	hs.Config.ConnContext = s.connContext
	hs.Config.ErrorLog = log.New(io.Discard, "", 0)
	hs.TLS = conf
	hs.StartTLS()
	t.Cleanup(hs.Close)
	s.base = hs.URL
	fails(t, s.client(nil), s.request(), connection.ErrTLS, "min_tls")
	get(t, s.client(nil, func(o *ewshttp.Options) { o.TLS.MinTLS = "1.0" }), s.request())
}

// A host program's transport for HTTP/2 is used for HTTP/1.1 alone.
func TestHTTP1Only(t *testing.T) {
	s := newServer(t, ntlm) // offers h2, and complains when it is taken
	conf := trusting(s.ca)
	conf.NextProtos = []string{"h2", "http/1.1"}
	env := &connection.Env{HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true}}}
	get(t, s.client(env, func(o *ewshttp.Options) { o.TLS = nil }), s.request())
	get(t, s.client(&connection.Env{TLS: conf}, func(o *ewshttp.Options) { o.TLS = nil }), s.request())
}
