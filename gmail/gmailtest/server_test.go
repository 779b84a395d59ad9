package gmailtest_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/mailconn/mailconn/gmail/gmailtest"
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
