package ewshttp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/ewshttp"
	"github.com/mailconn/mailconn/internal/doubles"
)

func TestOptionsAreChecked(t *testing.T) {
	foreign := &connection.Env{HTTPClient: &http.Client{Transport: roundTripper(nil)}}
	for name, test := range map[string]struct {
		env *connection.Env
		set func(*ewshttp.Options)
		msg string // "" = none
	}{
		"good":                      {nil, func(*ewshttp.Options) {}, ""},
		"unknown scheme":            {nil, auth("kerberos"), "auth: "},
		"basic without a password":  {nil, func(o *ewshttp.Options) { o.Auth, o.Password = "basic", connection.Secret{} }, "password: "},
		"ntlm without a password":   {nil, func(o *ewshttp.Options) { o.Auth, o.Password = "ntlm", connection.Secret{} }, "password: "},
		"oauth without tokens":      {nil, auth("oauth"), "auth: "},
		"broken name":               {nil, func(o *ewshttp.Options) { o.Username = `a\\b` }, "username: "},
		"broken certificate":        {nil, func(o *ewshttp.Options) { o.TLS.CAPEM = "junk" }, "ca_pem: "},
		"foreign transport":         {foreign, func(o *ewshttp.Options) { o.TLS = nil }, ""},
		"foreign transport, ntlm":   {foreign, func(o *ewshttp.Options) { o.TLS, o.Auth = nil, "ntlm" }, "connections of its own"},
		"foreign transport and TLS": {foreign, func(*ewshttp.Options) {}, "ca_pem"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, nil)
			c, err := ewshttp.New(s.options(test.set), test.env)
			if err == nil {
				closeIt(t, c)
			}
			if test.msg == "" && err != nil {
				t.Errorf("got %v", err)
			}
			if test.msg != "" {
				wantError(t, err, connection.ErrConfig, test.msg)
			}
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A host program's own kind of transport carries Basic, and says so where only NTLM is offered.
func TestForeignTransport(t *testing.T) {
	for _, offers := range []string{"NTLM, Basic realm=x", "NTLM"} {
		s := newServer(t, func(s *server) { s.offers = []string{offers} })
		inner := &http.Transport{TLSClientConfig: trusting(s.ca)}
		defer inner.CloseIdleConnections()
		env := &connection.Env{HTTPClient: &http.Client{Transport: roundTripper(inner.RoundTrip)}}
		c := s.client(env, func(o *ewshttp.Options) { o.TLS = nil })
		if strings.Contains(offers, "Basic") {
			get(t, c, s.request())
		} else {
			fails(t, c, s.request(), connection.ErrConfig, "ntlm needs connections of its own")
		}
	}
}

// What goes over the wire with every request.
func TestE45Header(t *testing.T) {
	s := newServer(t, ntlm)
	c := s.client(nil, func(o *ewshttp.Options) { o.UserAgent = "mailconn/1" })
	get(t, c, s.request())
	get(t, c, s.request(func(r *ewshttp.Request) {
		r.Mailbox, r.Gzip = "", true
		r.Header = http.Header{"X-Preferserveraffinity": {"true"}}
	}))
	for i, v := range s.seen() {
		if v.length < 0 || v.header.Get("Transfer-Encoding") != "" {
			t.Errorf("request %d has no Content-Length", i)
		}
		if v.method != http.MethodPost || v.header.Get("User-Agent") != "mailconn/1" || v.header.Get("Accept") != "text/xml" {
			t.Errorf("request %d: %s %v", i, v.method, v.header)
		}
		if v.header.Get("Content-Type") != "text/xml; charset=utf-8" || v.length > 0 && v.body != "<request/>" {
			t.Errorf("request %d: %q %q", i, v.header.Get("Content-Type"), v.body)
		}
	}
	seen := s.seen()
	first, last := seen[len(seen)-2], seen[len(seen)-1]
	if first.header.Get("X-AnchorMailbox") != "ann@corp.test" || first.header.Get("Accept-Encoding") != "identity" {
		t.Errorf("header %v", first.header)
	}
	if last.header.Get("X-AnchorMailbox") != user || last.header.Get("Accept-Encoding") != "gzip" || last.header.Get("X-PreferServerAffinity") != "true" {
		t.Errorf("header %v", last.header)
	}
	fails(t, c, s.request(func(r *ewshttp.Request) { r.Mailbox = "a\r\nX: y@z" }), connection.ErrInvalid)
	for _, bad := range []string{"ftp://x/", "https:///x", "https://a:b@c/"} {
		u, err := url.Parse(bad)
		if err != nil {
			t.Fatal(err)
		}
		e := &connection.Error{}
		if _, err := c.Do(t.Context(), &ewshttp.Request{URL: u}); !errors.As(err, &e) || e.Kind != connection.ErrInvalid { //nolint:bodyclose // there is none
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestAnonymous(t *testing.T) {
	s := newServer(t, ntlm)
	s.answer = func(w http.ResponseWriter, _ *http.Request, _ *visit) {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		w.Header().Set("Content-Type", "text/xml")
		_, _ = io.WriteString(w, reply)
	}
	c := s.client(nil, auth("ntlm"))
	get(t, c, s.request())
	fails(t, c, s.request(func(r *ewshttp.Request) { r.Anonymous = true }), connection.ErrAuth)
	get(t, c, s.request(func(r *ewshttp.Request) { r.Anonymous, r.Method, r.Body = true, http.MethodGet, nil }))
	for _, v := range s.seen()[2:] {
		if v.scheme != "" || v.as != "" || v.header.Get("Cookie") != "" || v.header.Get("X-AnchorMailbox") != "" || v.conn == 1 {
			t.Errorf("an anonymous request shows who asks: as %q on connection %d, %v", v.as, v.conn, v.header)
		}
	}
}

func TestProbe(t *testing.T) {
	for name, test := range map[string]struct {
		set  func(*server)
		want ewshttp.Liveness
	}{
		"401": {func(s *server) {
			s.answer = status(401, "<html>no</html>", "WWW-Authenticate", `Negotiate, NTLM, Basic realm="a, b"`)
		}, ewshttp.Liveness{Status: 401, Alive: true, Schemes: []string{"Negotiate", "NTLM", "Basic"}}},
		"405":        {func(s *server) { s.answer = status(405, "") }, ewshttp.Liveness{Status: 405, Alive: true}},
		"500":        {func(s *server) { s.answer = status(500, "") }, ewshttp.Liveness{Status: 500, Alive: true}},
		"service":    {func(s *server) { s.answer = status(200, "<html>svcutil.exe https://x/EWS/Services.wsdl</html>") }, ewshttp.Liveness{Status: 200, Alive: true, HTML: true}},
		"login page": {func(s *server) { s.answer = status(200, "<html>log in</html>") }, ewshttp.Liveness{Status: 200, HTML: true}},
		"redirect":   {func(s *server) { s.answer = status(302, "", "Location", "/owa") }, ewshttp.Liveness{Status: 302, HTML: true}},
		"404":        {func(s *server) { s.answer = status(404, "") }, ewshttp.Liveness{Status: 404}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, test.set)
			c := s.client(nil)
			got, err := c.Probe(t.Context(), s.endpoint())
			if err != nil {
				t.Fatal(err)
			}
			test.want.TLS = "TLS 1.3"
			if fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if v := s.seen()[0]; v.method != http.MethodGet || v.scheme != "" {
				t.Errorf("%s with %q", v.method, v.scheme)
			}
		})
	}
	s := newServer(t, nil)
	c := s.client(nil)
	u := *s.endpoint()
	u.Host = "127.0.0.1:1"
	if _, err := c.Probe(t.Context(), &u); connection.KindOf(err) != connection.ErrNetwork {
		t.Errorf("got %v", err)
	}
	closeIt(t, c)
	if _, err := c.Probe(t.Context(), s.endpoint()); connection.KindOf(err) != connection.ErrClosed {
		t.Errorf("got %v", err)
	}
}

func status(code int, body string, header ...string) func(http.ResponseWriter, *http.Request, *visit) {
	return func(w http.ResponseWriter, _ *http.Request, _ *visit) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

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

func TestCookies(t *testing.T) {
	s := newServer(t, basic)
	s.answer = func(w http.ResponseWriter, r *http.Request, v *visit) {
		if v.header.Get("Cookie") == "" {
			http.SetCookie(w, &http.Cookie{Name: "X-BackEndCookie", Value: "of " + v.header.Get("X-AnchorMailbox"), Path: "/EWS"})
		}
		if v.header.Get("X-Fail") != "" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/xml")
		_, _ = io.WriteString(w, reply)
	}
	c := s.client(nil, auth("basic"))
	of := func(mailbox, jar string) *ewshttp.Request {
		return s.request(func(r *ewshttp.Request) { r.Mailbox, r.Jar = mailbox, jar })
	}
	last := func() string { seen := s.seen(); return seen[len(seen)-1].header.Get("Cookie") }
	for _, step := range []struct{ mailbox, jar, want string }{
		{"ann@corp.test", "", ""},
		{"bob@corp.test", "", ""},
		{"Ann@corp.test", "", `X-BackEndCookie="of ann@corp.test"`},
		{"bob@corp.test", "", `X-BackEndCookie="of bob@corp.test"`},
		{"ann@corp.test", "group", ""},
		{"bob@corp.test", "group", `X-BackEndCookie="of ann@corp.test"`},
	} {
		get(t, c, of(step.mailbox, step.jar))
		if got := last(); got != step.want {
			t.Errorf("%s %s: cookie %q, want %q", step.mailbox, step.jar, got, step.want)
		}
	}
	get(t, c, s.request(func(r *ewshttp.Request) { r.URL = s.url("/autodiscover/autodiscover.svc") }))
	if got := last(); got != "" {
		t.Errorf("another path: %q", got)
	}
	fails(t, c, s.request(func(r *ewshttp.Request) { r.Safe, r.Header = true, http.Header{"X-Fail": {"1"}} }), connection.ErrUnavailable)
	get(t, c, of("ann@corp.test", ""))
	if got := last(); got != "" {
		t.Errorf("the cookie survives a failure of the server: %q", got)
	}
	c.Forget(of("bob@corp.test", ""))
	get(t, c, of("bob@corp.test", ""))
	if got := last(); got != "" {
		t.Errorf("the cookie survives Forget: %q", got)
	}
}

// However many cookies a server sends, few are kept.
func TestCookiesAreBounded(t *testing.T) {
	s := newServer(t, nil)
	n := 0
	s.answer = func(w http.ResponseWriter, _ *http.Request, v *visit) {
		if got := len(v.header.Get("Cookie")); got > 64<<10 {
			t.Errorf("%d octets of cookies", got)
		}
		for range 100 {
			n++
			http.SetCookie(w, &http.Cookie{Name: fmt.Sprint("c", n), Value: strings.Repeat("x", 50)})
		}
		http.SetCookie(w, &http.Cookie{Name: "long", Value: strings.Repeat("x", 5000)})
		http.SetCookie(w, &http.Cookie{Name: "last", Value: "1"})
		w.Header().Set("Content-Type", "text/xml")
		_, _ = io.WriteString(w, reply)
	}
	c := s.client(nil, auth("basic"))
	for range 60 {
		get(t, c, s.request())
	}
	seen := s.seen()
	if got := seen[len(seen)-1].header.Get("Cookie"); strings.Contains(got, "long=") || got == "" {
		t.Errorf("cookies %q", got)
	}
}

// A log at the lowest level shows neither the credential nor what was said.
func TestE44Trace(t *testing.T) {
	for name, set := range map[string]func(*server){"basic": basic, "ntlm": ntlm, "oauth": func(s *server) {
		s.offers, s.tokens = []string{"Bearer"}, map[string]bool{"a-token-93": true}
	}} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, set)
			s.answer = func(w http.ResponseWriter, r *http.Request, _ *visit) {
				http.SetCookie(w, &http.Cookie{Name: "session", Value: "hush-cookie"})
				w.Header().Set("Content-Type", "text/xml; "+r.Header.Get("Authorization")+" "+password)
				_, _ = io.WriteString(w, reply)
			}
			var b bytes.Buffer
			env := &connection.Env{Logger: slog.New(slog.NewJSONHandler(&b, &slog.HandlerOptions{Level: connection.LevelTrace}))}
			c := s.client(env, auth(name), func(o *ewshttp.Options) {
				if name == "oauth" {
					oauth(&tokenSource{list: []string{"a-token-93"}})(o)
				}
			})
			for range 2 {
				get(t, c, s.request(func(r *ewshttp.Request) { r.URL.RawQuery, r.Body = "q=hush-query", text("<hush-body/>") }))
			}
			logged := b.String()
			for _, v := range s.seen() {
				if _, credential, ok := strings.Cut(v.header.Get("Authorization"), " "); ok && strings.Contains(logged, credential) {
					t.Errorf("the credential %q is in the log", credential)
				}
			}
			for _, secret := range []string{password, "a-token-93", "hush", "Envelope"} {
				if strings.Contains(logged, secret) {
					t.Errorf("%q is in the log:\n%s", secret, logged)
				}
			}
			for _, want := range []string{"GetItem", `"status":200`, "/EWS/Exchange.asmx", `"request_octets":12`} {
				if !strings.Contains(logged, want) {
					t.Errorf("%q is not in the log:\n%s", want, logged)
				}
			}
		})
	}
}

// Nothing moves: the request ends. Time in which nobody reads is not counted.
func TestNoDataTimeout(t *testing.T) {
	limited := func(o *ewshttp.Options) { o.NoDataTimeout = time.Minute }
	for name, answer := range map[string]func(http.ResponseWriter){
		"before the header": func(http.ResponseWriter) {},
		"in the body": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/xml")
			_, _ = io.WriteString(w, reply+strings.Repeat(" ", 1000))
			_ = http.NewResponseController(w).Flush()
		},
	} {
		for _, safe := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				s, env := newPipeServer(t, basic)
				s.answer = func(w http.ResponseWriter, r *http.Request, _ *visit) {
					answer(w)
					<-r.Context().Done()
				}
				c := s.client(env, clear, limited, auth("basic"))
				began := time.Now()
				resp, err := c.Do(t.Context(), s.request(func(r *ewshttp.Request) { r.Safe = safe }))
				if err == nil {
					_, err = io.ReadAll(resp.Body)
					closeIt(t, resp.Body)
				}
				kind := connection.ErrTimeout
				if !safe {
					kind = connection.ErrUncertain
				}
				wantError(t, err, kind, "no_data_timeout")
				if d := time.Since(began); d < time.Minute || d > 61*time.Second {
					t.Errorf("%s: after %s", name, d)
				}
			})
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s, env := newPipeServer(t, basic)
		s.answer = func(w http.ResponseWriter, _ *http.Request, _ *visit) {
			w.Header().Set("Content-Type", "text/xml")
			for range 20 {
				_, _ = io.WriteString(w, strings.Repeat("<x/>", 1000))
				_ = http.NewResponseController(w).Flush()
				<-time.After(30 * time.Second)
			}
		}
		c := s.client(env, clear, limited, auth("basic"))
		resp := open(t, c, s.request())
		<-time.After(time.Hour) // the consumer is slow
		if got := read(t, resp); len(got) != 20*4000 {
			t.Errorf("%d octets", len(got))
		}
	})
}

// slow is a Body that takes its time.
type slow struct{ pause time.Duration }

func (slow) Len() int64 { return 40 }

func (b slow) Open() io.Reader { return &slowly{b.pause, 40} }

type slowly struct {
	pause time.Duration
	left  int
}

func (s *slowly) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	<-time.After(s.pause)
	s.left--
	p[0] = 'x'
	return 1, nil
}

// A long upload is no stall, as long as it moves.
func TestSlowUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, env := newPipeServer(t, basic)
		c := s.client(env, clear, auth("basic"), func(o *ewshttp.Options) { o.NoDataTimeout = time.Minute })
		began := time.Now()
		get(t, c, s.request(func(r *ewshttp.Request) { r.Body = slow{30 * time.Second} }))
		if d := time.Since(began); d < 20*time.Minute {
			t.Errorf("after %s", d)
		}
		fails(t, c, s.request(func(r *ewshttp.Request) { r.Body = slow{2 * time.Minute} }), connection.ErrTimeout)
		get(t, c, s.request(func(r *ewshttp.Request) { r.Body, r.NoData = slow{2 * time.Minute}, -1 }))
	})
}

func TestCloseEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	s := newServer(t, ntlm)
	entered := make(chan struct{}, 10)
	s.answer = func(w http.ResponseWriter, r *http.Request, v *visit) {
		w.Header().Set("Content-Type", "text/xml")
		if v.header.Get("X-Hang") == "" {
			_, _ = io.WriteString(w, reply+strings.Repeat(" ", 1000))
			_ = http.NewResponseController(w).Flush()
		}
		entered <- struct{}{}
		<-r.Context().Done()
	}
	c := s.client(nil, auth("ntlm"))
	resp := open(t, c, s.request())
	<-entered
	failed := make(chan error)
	hang := func(set ...func(*ewshttp.Request)) {
		_, err := c.Do(t.Context(), s.request(append(set, func(r *ewshttp.Request) { r.Safe, r.Header = true, http.Header{"X-Hang": {"1"}} })...)) //nolint:bodyclose // there is none
		failed <- err
	}
	go hang()
	<-entered
	reading := make(chan error)
	go func() {
		_, err := io.ReadAll(resp.Body)
		reading <- err
	}()
	closeIt(t, c)
	closeIt(t, c)
	wantError(t, <-failed, connection.ErrClosed)
	if err := <-reading; !errors.Is(err, connection.ErrClosed) {
		t.Errorf("a body that is read: %v", err)
	}
	closeIt(t, resp.Body)
	fails(t, c, s.request(), connection.ErrClosed)
	goroutines(t, before+2) // the server's own two
}

// A request that begins while Close looks for idle connections leaves none behind.
func TestCloseMeetsARequest(t *testing.T) {
	for _, scheme := range []string{"basic", "ntlm"} {
		s := newServer(t, func(s *server) { s.offers = []string{"NTLM", "Basic"} })
		before := runtime.NumGoroutine()
		for range 20 {
			c := s.client(nil, auth(scheme))
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GetConn: func(string) { closeIt(t, c) }})
			resp, err := c.Do(ctx, s.request(func(r *ewshttp.Request) { r.Safe = true }))
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				closeIt(t, resp.Body)
			}
			if err != nil { // an answer that was quicker than Close is as good
				wantError(t, err, connection.ErrClosed)
			}
		}
		goroutines(t, before)
	}
}

func TestContextEndsTheRequest(t *testing.T) {
	for _, safe := range []bool{true, false} {
		s := newServer(t, basic)
		ctx, cancel := context.WithCancel(t.Context())
		s.answer = func(_ http.ResponseWriter, r *http.Request, _ *visit) {
			cancel()
			<-r.Context().Done()
		}
		c := s.client(nil, auth("basic"))
		_, err := c.Do(ctx, s.request(func(r *ewshttp.Request) { r.Safe = safe })) //nolint:bodyclose // there is none
		kind := connection.ErrCanceled
		if !safe {
			kind = connection.ErrUncertain // it was sent whole
		}
		wantError(t, err, kind)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v holds no context.Canceled", err)
		}
	}
}
