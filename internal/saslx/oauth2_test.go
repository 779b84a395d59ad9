package saslx_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/saslx"
)

func TestOAuth2Settings(t *testing.T) {
	secret := connection.NewSecret("s3cret-of-app")
	for name, test := range map[string]struct {
		set  saslx.OAuth2
		want string // of the error; "" = none
	}{
		"client credentials at Microsoft": {saslx.OAuth2{Tenant: "contoso.onmicrosoft.com", ClientID: "c", ClientSecret: secret}, ""},
		"a tenant's id":                   {saslx.OAuth2{Tenant: "2f1d6a5e-0f3b-4c55-8a25-3a2c7a1c0d11", ClientID: "c", ClientSecret: secret}, ""},
		"a refresh token":                 {saslx.OAuth2{TokenURI: "https://oauth2.googleapis.com/token", ClientID: "c", ClientSecret: secret, RefreshToken: secret}, ""},
		"a public client":                 {saslx.OAuth2{Tenant: "common", ClientID: "c", RefreshToken: secret}, ""},
		"loopback in the clear":           {saslx.OAuth2{TokenURI: "http://127.0.0.1:8080/token", ClientID: "c", ClientSecret: secret}, ""},
		"nothing":                         {saslx.OAuth2{}, "oauth2: client_id: missing"},
		"no endpoint":                     {saslx.OAuth2{ClientID: "c", ClientSecret: secret}, "oauth2: token_uri: missing; or set tenant"},
		"two endpoints":                   {saslx.OAuth2{Tenant: "t", TokenURI: "https://h/", ClientID: "c", ClientSecret: secret}, "oauth2: tenant, token_uri: give only one"},
		"nothing to log in with":          {saslx.OAuth2{Tenant: "t", ClientID: "c"}, "oauth2: client_secret: missing"},
		"every tenant":                    {saslx.OAuth2{Tenant: "Organizations", ClientID: "c", ClientSecret: secret}, `oauth2: tenant: "Organizations": the application can log in to one tenant only`},
		"a tenant that is a path":         {saslx.OAuth2{Tenant: "../x", ClientID: "c", ClientSecret: secret}, `oauth2: tenant: "../x": want the id`},
		"in the clear":                    {saslx.OAuth2{TokenURI: "http://mail.example.org/token", ClientID: "c", ClientSecret: secret}, `oauth2: token_uri: scheme "http": want https`},
		"no URL":                          {saslx.OAuth2{TokenURI: "oauth2.googleapis.com/token", ClientID: "c", ClientSecret: secret}, "oauth2: token_uri: want a URL"},
		"a password in the URL":           {saslx.OAuth2{TokenURI: "https://u:s3cret-of-app@h/", ClientID: "c", ClientSecret: secret}, "oauth2: token_uri: want a URL"},
		"a client id of two lines":        {saslx.OAuth2{Tenant: "t", ClientID: "c\r\nX: y", ClientSecret: secret}, "oauth2: client_id: control character"},
	} {
		err := test.set.Validate()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.HasPrefix(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error shows a secret: %v", name, err)
		}
	}
}

// trip is an http.RoundTripper in place of a network.
type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func response(status int, text string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text))}
}

// form returns what a request to a token endpoint asks.
func form(t *testing.T, r *http.Request) url.Values {
	t.Helper()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	values, err := url.ParseQuery(string(text))
	if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.Errorf("got %s %q, %v", r.Method, text, err)
	}
	return values
}

// What is asked for, by which grant, and where.
func TestOAuth2Requests(t *testing.T) {
	secret, refresh := connection.NewSecret("s3cret-of-app"), connection.NewSecret("refresh-1")
	for name, test := range map[string]struct {
		set    saslx.OAuth2
		scopes []string
		uri    string
		want   url.Values
	}{
		"client credentials at Microsoft": {
			saslx.OAuth2{Tenant: "contoso.onmicrosoft.com", ClientID: "c", ClientSecret: secret},
			nil,
			"https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token",
			url.Values{"grant_type": {"client_credentials"}, "client_id": {"c"}, "client_secret": {"s3cret-of-app"}, "scope": {"https://outlook.office365.com/.default"}},
		},
		"client credentials elsewhere": {
			saslx.OAuth2{TokenURI: "https://h/token", ClientID: "c", ClientSecret: secret},
			[]string{"mail.read", "mail.write"},
			"https://h/token",
			url.Values{"grant_type": {"client_credentials"}, "client_id": {"c"}, "client_secret": {"s3cret-of-app"}, "scope": {"mail.read mail.write"}},
		},
		"a person's consent": {
			saslx.OAuth2{TokenURI: "https://oauth2.googleapis.com/token", ClientID: "c", ClientSecret: secret, RefreshToken: refresh},
			nil, "https://oauth2.googleapis.com/token",
			url.Values{"grant_type": {"refresh_token"}, "client_id": {"c"}, "client_secret": {"s3cret-of-app"}, "refresh_token": {"refresh-1"}},
		},
		"a person's consent to a public client": {
			saslx.OAuth2{Tenant: "common", ClientID: "c", RefreshToken: refresh},
			[]string{"offline_access"},
			"https://login.microsoftonline.com/common/oauth2/v2.0/token",
			url.Values{"grant_type": {"refresh_token"}, "client_id": {"c"}, "refresh_token": {"refresh-1"}, "scope": {"offline_access"}},
		},
	} {
		asked := 0
		env := &connection.Env{HTTPClient: &http.Client{Transport: trip(func(r *http.Request) (*http.Response, error) {
			asked++
			if got := form(t, r); r.URL.String() != test.uri || got.Encode() != test.want.Encode() {
				t.Errorf("%s: asked %s for %s, want %s for %s", name, r.URL, got.Encode(), test.uri, test.want.Encode())
			}
			return response(200, `{"access_token":"token-1","token_type":"bearer","expires_in":3599,"ext_expires_in":3599}`), nil
		})}}
		token, err := test.set.Source(env, test.scopes)(t.Context(), connection.TokenRequest{})
		if err != nil || token.Reveal() != "token-1" || asked != 1 {
			t.Errorf("%s: got %q, %v after %d requests", name, token.Reveal(), err, asked)
		}
	}
}

// A token is kept until a minute before its end, or until it was refused. A refresh token that is replaced is used from
// then on.
func TestOAuth2Keeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, expires := 0, `3600`
		var sent []string
		env := &connection.Env{HTTPClient: &http.Client{Transport: trip(func(r *http.Request) (*http.Response, error) {
			n++
			sent = append(sent, form(t, r).Get("refresh_token"))
			return response(200, fmt.Sprintf(`{"access_token":"token-%d","expires_in":%s,"refresh_token":"refresh-%[1]d"}`, n, expires)), nil
		})}}
		set := saslx.OAuth2{TokenURI: "https://h/token", ClientID: "c", RefreshToken: connection.NewSecret("refresh-0")}
		source := set.Source(env, nil)
		for i, step := range []struct {
			after   time.Duration
			renew   bool
			expires string
			want    string
		}{
			{0, false, `3600`, "token-1"},
			{58 * time.Minute, false, `3600`, "token-1"},
			{2 * time.Minute, false, `"3600"`, "token-2"},
			{0, true, `"3600"`, "token-3"},
			{time.Minute, false, `null`, "token-3"},
			{time.Hour, false, `null`, "token-4"},
			{0, false, `1`, "token-5"}, // for how long the one before is good was not told
			{0, false, `-5`, "token-6"},
			{0, false, `1e300`, "token-7"},
			{0, false, `3600`, "token-8"},
			{0, false, `3600`, "token-8"},
		} {
			<-time.After(step.after)
			expires = step.expires
			if got, err := source(t.Context(), connection.TokenRequest{Renew: step.renew}); err != nil || got.Reveal() != step.want {
				t.Errorf("step %d: got %q, %v; want %q", i, got.Reveal(), err, step.want)
			}
		}
		if got := strings.Join(sent, " "); got != "refresh-0 refresh-1 refresh-2 refresh-3 refresh-4 refresh-5 refresh-6 refresh-7" {
			t.Errorf("sent %s", got)
		}
	})
}

// Whoever waits for another one's request ends with its own ctx.
func TestOAuth2Waits(t *testing.T) {
	began, end := make(chan struct{}), make(chan struct{})
	env := &connection.Env{HTTPClient: &http.Client{Transport: trip(func(*http.Request) (*http.Response, error) {
		close(began)
		<-end
		return response(200, `{"access_token":"token-1","expires_in":3600}`), nil
	})}}
	set := saslx.OAuth2{TokenURI: "https://h/token", ClientID: "c", ClientSecret: connection.NewSecret("s")}
	source := set.Source(env, nil)
	first := make(chan error, 1)
	go func() {
		_, err := source(t.Context(), connection.TokenRequest{})
		first <- err
	}()
	<-began
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := source(ctx, connection.TokenRequest{})
	want(t, err, connection.ErrCanceled)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(end)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if token, err := source(t.Context(), connection.TokenRequest{}); err != nil || token.Reveal() != "token-1" {
		t.Errorf("got %q, %v; want the token that the first one got", token.Reveal(), err)
	}
}

// What a token endpoint may answer instead of a token, over a real connection: the error says what to do, and nothing
// that was sent in confidence.
func TestOAuth2Refused(t *testing.T) {
	const clientSecret, refresh = "s3cret-of-app", "refresh-1-8f21"
	answer := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text) // the client notices
		}
	}
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	t.Cleanup(other.Close)
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		kind    connection.Kind
		code    string
		hint    string
		says    string
		after   time.Duration
	}{
		"consent withdrawn": {
			answer(400, `{"error":"invalid_grant","error_description":"AADSTS700082: the token `+refresh+`\r\nhas expired"}`), connection.ErrAuth, "invalid_grant",
			"oauth2: consent withdrawn or refresh token expired", "answers 400 invalid_grant: AADSTS700082: the token [redacted] has expired", 0,
		},
		"wrong secret":          {answer(401, `{"error":"invalid_client","error_description":"no, not `+clientSecret+`"}`), connection.ErrAuth, "invalid_client", "oauth2: the token endpoint refuses the request (invalid_client)", "not [redacted]", 0},
		"a code of its own":     {answer(400, `{"error":"interaction_required"}`), connection.ErrAuth, "interaction_required", "oauth2: ", "interaction_required", 0},
		"not a token endpoint":  {answer(404, `<html>nothing here</html>`), connection.ErrConfig, "", "oauth2: token_uri: ", "answers 404", 0},
		"a web page":            {answer(200, `<html>log in</html>`), connection.ErrConfig, "", "oauth2: token_uri: ", "answers 200", 0},
		"no token":              {answer(200, `{"token_type":"Bearer"}`), connection.ErrConfig, "", "oauth2: token_uri: ", "answers 200", 0},
		"a token of other type": {answer(200, `{"access_token":"x","token_type":"mac"}`), connection.ErrUnsupported, "", "oauth2: ", `"mac"`, 0},
		"endless":               {answer(200, `{"access_token":"`+strings.Repeat("x", 2<<20)), connection.ErrConfig, "", "oauth2: token_uri: ", "over 1048576 octets", 0},
		"throttled": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "17")
			w.WriteHeader(429)
		}, connection.ErrThrottled, "", "", "answers 429", 17 * time.Second},
		"throttled for years": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "Fri, 31 Dec 2199 23:59:59 GMT")
			w.WriteHeader(503)
		}, connection.ErrUnavailable, "", "", "answers 503", time.Hour},
		"down": {answer(500, `{"error":"server_error"}`), connection.ErrUnavailable, "server_error", "", "answers 500", 0},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"access_token":"x"}`) // the client notices
		}, connection.ErrNetwork, "", "oauth2: token_uri: ", "unexpected EOF", 0},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}, connection.ErrConfig, "", "oauth2: token_uri: ", "answers 307", 0},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(test.handler)
			t.Cleanup(srv.Close)
			set := saslx.OAuth2{TokenURI: srv.URL + "/token", ClientID: "c", ClientSecret: connection.NewSecret(clientSecret), RefreshToken: connection.NewSecret(refresh)}
			if err := set.Validate(); err != nil {
				t.Fatal(err)
			}
			_, err := set.Source(nil, nil)(t.Context(), connection.TokenRequest{})
			var e *connection.Error
			if !errors.As(err, &e) || e.Kind != test.kind || e.Code != test.code || !strings.HasPrefix(e.Hint, test.hint) || (test.hint == "") != (e.Hint == "") {
				t.Fatalf("got %#v", err)
			}
			if wait := e.RetryAfter; wait > test.after || wait < test.after-time.Second {
				t.Errorf("got RetryAfter %v, want %v", wait, test.after)
			}
			if text := err.Error(); !strings.Contains(text, test.says) || strings.Contains(text, clientSecret) || strings.Contains(text, refresh) {
				t.Errorf("got %q, want %q in it, and no secret", text, test.says)
			}
		})
	}
}

// An endpoint that cannot be reached, or does not answer, is told as what became of the connection.
func TestOAuth2Unreached(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	set := saslx.OAuth2{TokenURI: gone.URL, ClientID: "c", ClientSecret: connection.NewSecret("s3cret-of-app")}
	_, err := set.Source(&connection.Env{}, nil)(t.Context(), connection.TokenRequest{})
	want(t, err, connection.ErrNetwork, "oauth2: token_uri: ")

	ctx, cancel := context.WithCancel(t.Context())
	silence := make(chan struct{})
	mute := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		cancel()
		<-silence
	}))
	t.Cleanup(mute.Close)
	t.Cleanup(func() { close(silence) })
	set.TokenURI = mute.URL
	_, err = set.Source(nil, nil)(ctx, connection.TokenRequest{})
	want(t, err, connection.ErrCanceled)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}

	untrusted := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("asked without trust") }))
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0) // it says that nobody trusts it
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	set.TokenURI = untrusted.URL
	_, err = set.Source(nil, nil)(t.Context(), connection.TokenRequest{})
	want(t, err, connection.ErrTLS, "oauth2: token_uri: ")
}

// Env.Dial and Env.TLS serve for the token endpoint as they do for the mail server.
func TestOAuth2OfTheHost(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"access_token":"token-1"}`) // the client notices
	}))
	t.Cleanup(srv.Close)
	base := srv.Client().Transport.(*http.Transport)
	conf := base.TLSClientConfig.Clone()
	conf.ServerName = "imap.example.com" // of the mail server
	dials := 0
	env := &connection.Env{TLS: conf, Dial: func(ctx context.Context, network, _ string) (c net.Conn, err error) {
		dials++
		return (&net.Dialer{}).DialContext(ctx, network, srv.Listener.Addr().String())
	}}
	set := saslx.OAuth2{TokenURI: "https://example.com/token", ClientID: "c", ClientSecret: connection.NewSecret("s")} // httptest's certificate has this name
	token, err := set.Source(env, nil)(t.Context(), connection.TokenRequest{})
	if err != nil || token.Reveal() != "token-1" || dials != 1 {
		t.Errorf("got %q, %v after %d dials", token.Reveal(), err, dials)
	}
}
