package gmailtest_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/mailconn/mailconn/gmail/gmailtest"
	"github.com/mailconn/mailconn/internal/drivertest"
	gapi "google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
)

// bearer puts a token on requests, as a client of one mailbox does.
type bearer struct {
	token string
	base  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if b.token != "" {
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.base.RoundTrip(r)
}

// transport dials as the server's environment says.
func transport(t *testing.T, srv *gmailtest.Server) *http.Transport {
	t.Helper()
	env := srv.Env()
	tr := &http.Transport{DialContext: env.Dial, TLSClientConfig: env.TLS, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// gmail is Google's own client, for one token.
func gmail(t *testing.T, srv *gmailtest.Server, token string) *gapi.Service {
	t.Helper()
	svc, err := gapi.NewService(t.Context(), option.WithHTTPClient(&http.Client{Transport: bearer{token, transport(t, srv)}}), option.WithEndpoint(srv.URL()+"/"))
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

// said is what else a refusal has.
type said struct {
	Message, Body string
	Header        http.Header
}

// refusal holds an error against what Google's client makes of one of Google's.
func refusal(t *testing.T, err error, status int, reason string) said {
	t.Helper()
	var e *googleapi.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a refusal with %d %s", err, status, reason)
	}
	if e.Code != status || len(e.Errors) != 1 || e.Errors[0].Reason != reason {
		t.Fatalf("got %d %+v, want %d %s", e.Code, e.Errors, status, reason)
	}
	return said{e.Message, e.Body, e.Header}
}

func TestProfile(t *testing.T) {
	for _, o := range []gmailtest.Options{{}, {Protocol: gmailtest.TLS}, {Protocol: gmailtest.HTTP2}, {Memory: true}, {Memory: true, Protocol: gmailtest.HTTP2}} {
		srv := gmailtest.NewServer(t, &o)
		svc := gmail(t, srv, srv.Token("ann@corp.example"))
		profile, err := svc.Users.GetProfile("me").Do(googleapi.QuotaUser("7"))
		if err != nil {
			t.Fatalf("%+v: %v", o, err)
		}
		if profile.EmailAddress != "ann@corp.example" || profile.HistoryId == 0 {
			t.Errorf("got %+v", profile)
		}
		all := srv.Requests()
		if len(all) != 1 {
			t.Fatalf("got %d requests, want 1", len(all))
		}
		if r := all[0]; r.Method != "getProfile" || r.User != "ann@corp.example" || r.Units != 1 || r.QuotaUser != "7" || r.Status != 200 {
			t.Errorf("got %+v", r)
		}
		if want := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[o.Protocol == gmailtest.HTTP2]; all[0].Proto != want {
			t.Errorf("got %s, want %s", all[0].Proto, want)
		}
	}
}

// Options that mean nothing are refused.
func TestOptions(t *testing.T) {
	for want, o := range map[string]gmailtest.Options{
		"Protocol":         {Protocol: "h3"},
		"Quota.Refusal":    {Quota: gmailtest.Quota{Refusal: "no"}},
		"Rendering.Base64": {Rendering: gmailtest.Rendering{Base64: "hex"}},
		"Admin":            {Admin: "admin"},
		"TokenPath":        {TokenPath: "token"},
		"Log":              {Log: -1},
		`without "x"`:      {Without: []string{"x"}},
	} {
		srv, err := gmailtest.Listen(&o)
		if err == nil {
			srv.Close()
			t.Errorf("%s: a server", want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// Nothing is left of a server that was closed, whatever it was doing.
func TestClose(t *testing.T) {
	for _, o := range []gmailtest.Options{{}, {Protocol: gmailtest.HTTP2}, {Memory: true}} {
		srv, err := gmailtest.Listen(&o)
		if err != nil {
			t.Fatal(err)
		}
		arrived := make(chan struct{})
		srv.Fail(gmailtest.On("getProfile"), gmailtest.Stall(), gmailtest.Do(func(gmailtest.Request) { arrived <- struct{}{} }))
		token, tr := srv.Token("ann@corp.example"), transport(t, srv)
		var clients sync.WaitGroup
		for range 3 {
			clients.Go(func() {
				if _, _, _, err := profile(t.Context(), srv, tr, token); err == nil {
					t.Error("an answer from a server that was closed")
				}
			})
			<-arrived
		}
		srv.Close()
		srv.Close()
		clients.Wait()
		drivertest.NoGoroutines(t, "gmailtest.(*")
		if _, _, _, err := profile(t.Context(), srv, transport(t, srv), token); err == nil {
			t.Error("somebody listens")
		}
	}
}

// The server's environment leads nowhere else, and with TLS to the server under Google's names.
func TestNames(t *testing.T) {
	get := func(srv *gmailtest.Server, url string) error {
		req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport(t, srv).RoundTrip(req)
		if err == nil {
			err = resp.Body.Close()
		}
		return err
	}
	for _, memory := range []bool{false, true} {
		plain, secure := gmailtest.NewServer(t, &gmailtest.Options{Memory: memory}), gmailtest.NewServer(t, &gmailtest.Options{Memory: memory, Protocol: gmailtest.HTTP2})
		for _, host := range []string{"gmail.googleapis.com", "admin.googleapis.com", "oauth2.googleapis.com", "apps-apis.google.com", "iamcredentials.googleapis.com"} {
			if err := get(secure, "https://"+host+"/"); err != nil {
				t.Error(err)
			}
			if err := get(plain, "http://"+host+"/"); err == nil {
				t.Errorf("%s without TLS: somebody is there", host)
			}
		}
		for _, srv := range []*gmailtest.Server{plain, secure} {
			if err := get(srv, "https://example.org/"); err == nil || !strings.Contains(err.Error(), "no such host") {
				t.Errorf("got %v", err)
			}
			if err := get(srv, srv.URL()); err != nil {
				t.Error(err)
			}
		}
	}
}

// The log has the newest requests; what they cost is counted for all.
func TestLog(t *testing.T) {
	srv := gmailtest.NewServer(t, &gmailtest.Options{Log: 3})
	tr, token := transport(t, srv), srv.Token("ann@corp.example")
	for range 5 {
		if _, _, _, err := profile(t.Context(), srv, tr, token); err != nil {
			t.Fatal(err)
		}
	}
	if status, _, _ := ask(t, srv, "GET", "/nothing?x=1", token, "", ""); status != 404 {
		t.Errorf("got %d", status)
	}
	all := srv.Requests()
	if len(all) != 3 || all[1].Method != "getProfile" || srv.Units("") != 5 {
		t.Fatalf("got %+v and %d units", all, srv.Units(""))
	}
	if r := all[2]; r.Method != "" || r.Path != "/nothing" || r.Query != "x=1" || r.Verb != "GET" || r.Status != 404 || r.Header.Get("Authorization") != "Bearer "+token {
		t.Errorf("got %+v", r)
	}
	if r := all[1]; r.Octets == 0 || r.At.IsZero() || r.Subject != "ann@corp.example" {
		t.Errorf("got %+v", r)
	}
}

// A handler of the server's own that panics is a failure of the test, not only a cut connection.
func TestPanic(t *testing.T) {
	srv := gmailtest.NewServer(t, &gmailtest.Options{AllowBadRequests: true})
	srv.Fail(gmailtest.On("getProfile"), gmailtest.Do(func(gmailtest.Request) { panic("on purpose") }))
	if _, _, _, err := profile(t.Context(), srv, transport(t, srv), srv.Token("ann@corp.example")); err == nil {
		t.Error("an answer")
	}
	if bad := srv.BadRequests(); len(bad) != 1 || !strings.Contains(bad[0], "panicked: on purpose") {
		t.Errorf("got %q", bad)
	}
}

// recorder is a test that takes note of what a server says of it.
type recorder struct {
	testing.TB
	cleanups []func()
	failures []string
}

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

// A test that sends what Google refuses as malformed fails, unless it says that it means to.
func TestBadRequestsFailTheTest(t *testing.T) {
	for allowed, want := range map[bool]int{false: 1, true: 0} {
		r := &recorder{TB: t}
		srv := gmailtest.NewServer(r, &gmailtest.Options{AllowBadRequests: allowed})
		ask(t, srv, "GET", profilePath+"?colour=red", srv.Token("ann@corp.example"), "", "")
		for _, f := range r.cleanups {
			f()
		}
		if len(r.failures) != want || want > 0 && !strings.Contains(r.failures[0], "GET getProfile: Invalid JSON payload received. Unknown name") {
			t.Errorf("allowed %v: got %q", allowed, r.failures)
		}
	}
}
