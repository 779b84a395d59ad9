package gmailtest_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/gmail/gmailtest"
	gapi "google.golang.org/api/gmail/v1"
)

// Answers in Google's form are what Google's client reads them for.
func TestRefusals(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	svc := gmail(t, srv, srv.Token("ann@corp.example"))
	at := time.Date(2026, 9, 21, 20, 27, 32, 610e6, time.UTC)
	for _, c := range []struct {
		fault  gmailtest.Fault
		status int
		reason string
		text   string
		units  int64
	}{
		{gmailtest.RetryAfter(at), 429, "rateLimitExceeded", "User-rate limit exceeded.  Retry after 2026-09-21T20:27:32.610Z", 0},
		{gmailtest.TooManyConcurrent(), 429, "rateLimitExceeded", "Too many concurrent requests for user.", 0},
		{gmailtest.Policy(), 403, "domainPolicy", "administrators", 1},
		{gmailtest.Disabled("gmail.googleapis.com", "https://console.example/enable"), 403, "accessNotConfigured", "https://console.example/enable", 1},
		{gmailtest.Refuse(403, "userRateLimitExceeded", "User Rate Limit Exceeded"), 403, "userRateLimitExceeded", "usageLimits", 1},
		{gmailtest.Refuse(503, "backendError", "The service is currently unavailable."), 503, "backendError", `"UNAVAILABLE"`, 1},
	} {
		srv.Heal()
		srv.ResetLog()
		srv.Fail(gmailtest.On("getProfile"), c.fault, gmailtest.Header("X-Odd", "yes"))
		_, err := svc.Users.GetProfile("me").Do()
		e := refusal(t, err, c.status, c.reason)
		if !strings.Contains(e.Body, c.text) || e.Header.Get("X-Odd") != "yes" {
			t.Errorf("%s: got %s and %v", c.reason, e.Body, e.Header)
		}
		if r := srv.Requests()[0]; r.Status != c.status || r.Reason != c.reason || r.Units != c.units || srv.Units("ann@corp.example") != c.units {
			t.Errorf("%s: the log has %+v", c.reason, r)
		}
	}
	srv.Heal()
	srv.Fail(gmailtest.On("token"), gmailtest.TokenError(400, "invalid_grant", "Invalid email or User ID"))
	if got := byAssertion(t, srv, "a.b.c"); got.Status != 400 || got.Error != "invalid_grant" || got.Description != "Invalid email or User ID" {
		t.Errorf("got %+v", got)
	}
	srv.Fail(gmailtest.On("getProfile"), gmailtest.Rewrite(func(b []byte) []byte { return []byte(strings.ToUpper(string(b))) }))
	if _, _, body, err := profile(t.Context(), srv, transport(t, srv), srv.Token("ann@corp.example")); err != nil || !strings.Contains(body, "ANN@CORP.EXAMPLE") {
		t.Errorf("got %s, %v", body, err)
	}
}

// Octets that trickle arrive whole, in their time.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := gmailtest.NewServer(t, &gmailtest.Options{Memory: true})
		tr, token := transport(t, srv), srv.Token("ann@corp.example")
		_, _, whole, err := profile(t.Context(), srv, tr, token)
		if err != nil {
			t.Fatal(err)
		}
		srv.Fail(gmailtest.On("getProfile"), gmailtest.Slow(10, time.Second))
		began := time.Now()
		_, _, body, err := profile(t.Context(), srv, tr, token)
		if want := time.Duration((len(whole)+9)/10) * time.Second; err != nil || body != whole || time.Since(began) != want {
			t.Errorf("got %q after %s, %v; want %s", body, time.Since(began), err, want)
		}
	})
}

// What has no end ends when the client has had enough.
func TestEndless(t *testing.T) {
	for name, fault := range map[string]gmailtest.Fault{"endless": gmailtest.Endless(`{"raw":"`, "QUJD"), "bomb": gmailtest.GzipBomb(`{"raw":"`, "QUJD", 1<<30)} {
		for _, protocol := range protocols() {
			srv := gmailtest.NewServer(t, &gmailtest.Options{Protocol: protocol})
			srv.Fail(gmailtest.On("getProfile"), fault)
			_, _, body, err := profile(t.Context(), srv, transport(t, srv), srv.Token("ann@corp.example"))
			if err != nil || len(body) != 1<<20 || !strings.HasPrefix(body, `{"raw":"QUJDQUJD`) {
				t.Errorf("%s, %s: got %d octets, %v", name, protocol, len(body), err)
			}
		}
	}
}

func TestRedirect(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	srv.Fail(gmailtest.On("getProfile"), gmailtest.Redirect("https://evil.example/"))
	status, header, _, err := profile(t.Context(), srv, transport(t, srv), srv.Token("ann@corp.example"))
	if err != nil || status != 302 || header.Get("Location") != "https://evil.example/" {
		t.Errorf("got %d, %v, %v", status, header, err)
	}
}

// A bomb is whole and right, for those who can take it.
func TestGzipBombIsGzip(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	srv.Fail(gmailtest.On("getProfile"), gmailtest.GzipBomb(`{"raw":"`, "QUJD", 10<<20))
	req, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL()+profilePath, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := bearer{srv.Token("ann@corp.example"), transport(t, srv)}.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	packed, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	size, err := io.Copy(io.Discard, z)
	if err != nil || size < 10<<20 || size > 11<<20 || len(packed) > 32<<10 {
		t.Errorf("%d octets are %d: %v", len(packed), size, err)
	}
}

// What is lost was done, and nothing of its answer comes.
func TestLose(t *testing.T) {
	for _, protocol := range protocols() {
		srv := gmailtest.NewServer(t, &gmailtest.Options{Protocol: protocol})
		creds := srv.OAuth2("ann@corp.example")
		form := url.Values{
			"grant_type": {"refresh_token"}, "client_id": {creds.ClientID}, "client_secret": {creds.ClientSecret}, "refresh_token": {creds.RefreshToken},
		}
		srv.Fail(gmailtest.On("token").User("ann@corp.example").Times(1), gmailtest.Lose())
		req, err := http.NewRequestWithContext(t.Context(), "POST", srv.TokenURL(), strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if resp, err := transport(t, srv).RoundTrip(req); err == nil {
			t.Errorf("%s: got %d, %v", protocol, resp.StatusCode, resp.Body.Close())
		}
		if got := askToken(t, srv, form); got.Token == "" {
			t.Errorf("%s: the next one: %+v", protocol, got)
		}
		srv.Fail(gmailtest.On("labels.create"), gmailtest.Lose())
		svc := gmail(t, srv, srv.Token("ann@corp.example"))
		if _, err := svc.Users.Labels.Create("me", &gapi.Label{Name: "lost"}).Do(); err == nil {
			t.Errorf("%s: an answer", protocol)
		}
		labels, err := svc.Users.Labels.List("me").Do()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(labels.Labels, func(l *gapi.Label) bool { return l.Name == "lost" }) {
			t.Errorf("%s: the label was not made", protocol)
		}
	}
}

// The new form of an error goes with the old.
func TestCodes(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	svc := gmail(t, srv, srv.Token("ann@corp.example"))
	for _, c := range []struct {
		status       int
		reason, code string
	}{
		{400, "invalidArgument", "INVALID_ARGUMENT"},
		{400, "failedPrecondition", "FAILED_PRECONDITION"},
		{401, "authError", "UNAUTHENTICATED"},
		{403, "forbidden", "PERMISSION_DENIED"},
		{403, "quotaExceeded", "RESOURCE_EXHAUSTED"},
		{404, "notFound", "NOT_FOUND"},
		{409, "aborted", "ABORTED"},
		{429, "x", "RESOURCE_EXHAUSTED"},
		{500, "backendError", "INTERNAL"},
		{503, "backendError", "UNAVAILABLE"},
		{504, "backendError", "DEADLINE_EXCEEDED"},
	} {
		srv.Heal()
		srv.Fail(gmailtest.On("getProfile"), gmailtest.Refuse(c.status, c.reason, "a text"))
		_, err := svc.Users.GetProfile("me").Do()
		if e := refusal(t, err, c.status, c.reason); !strings.Contains(e.Body, `"`+c.code+`"`) || e.Message != "a text" {
			t.Errorf("%+v: got %s", c, e.Body)
		}
	}
	srv.Heal()
	srv.Fail(gmailtest.On("getProfile"), gmailtest.Status(403, `{"message":"API rate limit exceeded"}`))
	status, header, body, err := profile(t.Context(), srv, transport(t, srv), srv.Token("ann@corp.example"))
	if err != nil || status != 403 || !strings.HasPrefix(header.Get("Content-Type"), "application/json") || body != `{"message":"API rate limit exceeded"}` {
		t.Errorf("got %d, %v, %s, %v", status, header, body, err)
	}
}
