package token_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/token"
)

// What is asked for: RFC 6749, 6, and one token for all scopes. A refresh token that is replaced is used from then on.
func TestRefreshRequests(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	p := &peer{answer: func(n int, _ *http.Request, _ url.Values) (*http.Response, error) {
		next := ""
		if n == 2 {
			next = `,"refresh_token":"1//refresh-2"`
		}
		return reply(200, fmt.Sprintf(`{"access_token":"ya29.token-%d","expires_in":3599,"scope":"x","token_type":"Bearer"%s}`, n, next)), nil
	}}
	s := consented(t, p, func(o *token.Options) { o.Now = func() time.Time { return now } })
	get(t, s, token.Key{Scope: readonly}, "ya29.token-1")
	get(t, s, token.Key{Scope: modify}, "ya29.token-1")
	s.Invalidate(token.Key{Scope: modify}, "ya29.token-1")
	get(t, s, token.Key{Scope: readonly}, "ya29.token-2")
	now = now.Add(time.Hour)
	get(t, s, token.Key{Scope: readonly}, "ya29.token-3")
	for i, refresh := range []string{"1//refresh-0", "1//refresh-0", "1//refresh-2"} {
		want := url.Values{"grant_type": {"refresh_token"}, "client_id": {"client-1"}, "client_secret": {"s3cret-of-app"}, "refresh_token": {refresh}}
		if got := p.forms[i].Encode(); got != want.Encode() || p.asked[i].URL.String() != endpoint {
			t.Errorf("request %d: got %s at %s, want %s", i, got, p.asked[i].URL, want.Encode())
		}
	}
	if email, id, project := s.Account(); email != "" || id != "client-1" || project != "" {
		t.Errorf("Account: got %q, %q, %q", email, id, project)
	}

	p = grants()
	s = consented(t, p, func(o *token.Options) {
		o.CustomHosts = true
		o.Refresh = &token.Refresh{ClientID: "c", RefreshToken: connection.NewSecret("r"), TokenURI: "https://gateway.example/v9/t"}
	})
	get(t, s, ann, "ya29.token-1")
	if got := p.forms[0]; got.Has("client_secret") || p.asked[0].URL.String() != "https://gateway.example/v9/t" {
		t.Errorf("without a client secret: got %v at %s", got, p.asked[0].URL)
	}
}

// Case 21: a dead refresh token is not sent again.
func TestG21Reauth(t *testing.T) {
	for body, part := range map[string]string{
		`{"error":"invalid_grant","error_description":"Token has been expired or revoked."}`:                                 "7 days",
		`{"error":"invalid_grant","error_description":"Bad Request"}`:                                                        "consent again",
		`{"error":"invalid_grant","error_description":"reauth related error (invalid_rapt)","error_subtype":"invalid_rapt"}`: "session control",
	} {
		p := says(400, body)
		s := consented(t, p, nil)
		for range 3 {
			e := failure(t, s, token.Key{Scope: readonly}, connection.ErrAuth, part, "oauth2: ")
			wantSentinel(t, e, token.ErrReauth)
			if connection.Temporary(e) {
				t.Errorf("%v is temporary", e)
			}
		}
		if p.count() != 1 {
			t.Errorf("%s: %d requests, want 1", body, p.count())
		}
	}
}

// What does not mean that the refresh token is dead is asked again.
func TestRefreshRefused(t *testing.T) {
	for body, part := range map[string]string{
		`{"error":"invalid_client","error_description":"Unauthorized"}`: "oauth2: client_id, client_secret",
		`{"error":"invalid_scope"}`:                                     "consented",
		`{"error":"admin_policy_enforced"}`:                             "App access control",
	} {
		p := says(401, body)
		s := consented(t, p, nil)
		for n := range 2 {
			e := failure(t, s, ann, connection.ErrAuth, part)
			wantSentinel(t, e, nil)
			if p.count() != n+1 {
				t.Errorf("%s: %d requests, want %d", body, p.count(), n+1)
			}
		}
	}
	p := says(400, `{"error":"unsupported_grant_type"}`)
	if e := failure(t, consented(t, p, nil), ann, connection.ErrConfig, "oauth2: token_uri: "); !strings.Contains(e.Hint, "refresh_token grant") {
		t.Errorf("got %v", e)
	}
	fails(t, consented(t, says(503, ""), nil), ann, connection.ErrUnavailable)
}
