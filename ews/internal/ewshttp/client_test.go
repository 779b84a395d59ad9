package ewshttp_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/ewshttp"
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
	var seen []visit
	for _, v := range s.seen() {
		if v.as != "" {
			seen = append(seen, v)
		}
	}
	if len(seen) != 2 {
		t.Fatalf("%d requests were carried out", len(seen))
	}
	first, last := seen[0], seen[1]
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
	known := map[int]bool{}
	for _, v := range s.seen() {
		known[v.conn] = true
	}
	before := len(s.seen())
	fails(t, c, s.request(func(r *ewshttp.Request) { r.Anonymous = true }), connection.ErrAuth)
	get(t, c, s.request(func(r *ewshttp.Request) { r.Anonymous, r.Method, r.Body = true, http.MethodGet, nil }))
	for _, v := range s.seen()[before:] {
		if v.scheme != "" || v.as != "" || v.header.Get("Cookie") != "" || v.header.Get("X-AnchorMailbox") != "" || known[v.conn] {
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
