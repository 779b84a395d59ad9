package token_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/token"
)

// sentinels are those of which an error holds at most one.
var sentinels = []error{token.ErrDelegation, token.ErrClockSkew, token.ErrKey, token.ErrReauth}

func wantSentinel(t testing.TB, err, want error) {
	t.Helper()
	for _, sentinel := range sentinels {
		if got := errors.Is(err, sentinel); got != (sentinel == want) { //nolint:errorlint // two of the sentinels are compared
			t.Errorf("%v: is %q: %v", err, sentinel, got)
		}
	}
}

// Case 17: the text names what the administrator has to enter.
func TestG17Delegation(t *testing.T) {
	for _, body := range []string{
		`{"error":"unauthorized_client","error_description":"Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested."}`,
		`{"error":"access_denied","error_description":"Requested client not authorized."}`,
		`{"error":"invalid_scope","error_description":"Bad Request"}`,
		`{"error":"unauthorized_client"}`,
	} {
		e := failure(t, delegated(t, says(401, body), nil), ann, connection.ErrAuth, clientID, readonly, "Domain-wide delegation")
		wantSentinel(t, e, token.ErrDelegation)
		if connection.Temporary(e) || e.Endpoint != "oauth2.googleapis.com" || !strings.Contains(body, `"`+e.Code+`"`) {
			t.Errorf("got %v, endpoint %q, code %q", e, e.Endpoint, e.Code)
		}
	}
}

// Cases 18, 19 and 20, and what else invalid_grant stands for.
func TestInvalidGrant(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		text string
		skew time.Duration // of the server's Date
		kind connection.Kind
		is   error
		part string
	}{
		// 18
		{"Invalid email or User ID", 0, connection.ErrNotFound, nil, "ann@corp.example"},
		{"Not a valid email or user ID.", 0, connection.ErrNotFound, nil, "ann@corp.example"},
		{"Account has been deleted", 0, connection.ErrNotFound, nil, "ann@corp.example"},
		{"The user is suspended", time.Hour, connection.ErrNotFound, nil, "ann@corp.example"},
		// 19
		{"Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.", 7*time.Minute + 12*time.Second, connection.ErrAuth, token.ErrClockSkew, "the local clock is 7m12s behind the server's"},
		{"Invalid JWT: Token must be in a reasonable timeframe", -time.Hour, connection.ErrAuth, token.ErrClockSkew, "the local clock is 1h0m0s ahead of the server's"},
		{"", -6 * time.Minute, connection.ErrAuth, token.ErrClockSkew, "6m0s ahead of"},
		{"etwas anderes", 6 * time.Minute, connection.ErrAuth, token.ErrClockSkew, "6m0s behind"},
		// 20
		{"Invalid JWT Signature.", 0, connection.ErrAuth, token.ErrKey, account},
		{"Invalid JWT Signature.", time.Hour, connection.ErrAuth, token.ErrKey, account},
		{"Invalid grant: account not found", 0, connection.ErrAuth, token.ErrKey, account},
		{"Invalid issuer", 0, connection.ErrAuth, token.ErrKey, account},
		// others
		{"Invalid JWT: Failed audience check.", 0, connection.ErrConfig, nil, "credentials: token_uri: "},
		{"etwas anderes", 4 * time.Minute, connection.ErrAuth, nil, "ann@corp.example"},
		{"", 0, connection.ErrAuth, nil, "clock"},
	} {
		p := says(400, fmt.Sprintf(`{"error":"invalid_grant","error_description":%q}`, test.text), "Date", now.Add(test.skew).Format(http.TimeFormat))
		s := delegated(t, p, func(o *token.Options) { o.Now = func() time.Time { return now } })
		e := failure(t, s, ann, test.kind, test.part, test.text)
		wantSentinel(t, e, test.is)
		if e.Code != "invalid_grant" || connection.Temporary(e) {
			t.Errorf("%q: got %v", test.text, e)
		}
	}
}

// Case 19 where the server tells no time.
func TestG19NoDate(t *testing.T) {
	s := delegated(t, says(400, `{"error":"invalid_grant","error_description":"Invalid JWT: not in a reasonable timeframe"}`), nil)
	e := failure(t, s, ann, connection.ErrAuth, "clock")
	wantSentinel(t, e, token.ErrClockSkew)
	if strings.Contains(e.Error(), "0s") {
		t.Errorf("a skew that nobody measured: %v", e)
	}
}

// Cases 20 and 43, and answers that no token endpoint gives.
func TestRefusals(t *testing.T) {
	long := strings.Repeat("Sign in to the airport's network. ", 40)
	for name, test := range map[string]struct {
		status int
		header []string
		body   string
		kind   connection.Kind
		is     error
		code   string
		after  time.Duration
		parts  []string
	}{
		"the key is gone":                   {401, nil, `{"error":"invalid_client","error_description":"The OAuth client was not found."}`, connection.ErrAuth, token.ErrKey, "invalid_client", 0, []string{"credentials: ", account}},
		"the account is disabled":           {401, nil, `{"error":"disabled_client"}`, connection.ErrAuth, token.ErrKey, "disabled_client", 0, nil},
		"43: no such grant":                 {400, nil, `{"error":"unsupported_grant_type"}`, connection.ErrConfig, nil, "unsupported_grant_type", 0, []string{"credentials: token_uri: ", endpoint, "jwt-bearer"}},
		"another code":                      {400, nil, `{"error":"invalid_request","error_description":"Bad Request"}`, connection.ErrAuth, nil, "invalid_request", 0, []string{"Bad Request"}},
		"43: no such path":                  {404, nil, "<html><title>Error 404 (Not Found)</title></html>", connection.ErrProtocol, nil, "404", 0, []string{"credentials: token_uri: ", "404", "Not Found"}},
		"a captive portal":                  {200, nil, "<html>" + long + "</html>", connection.ErrProtocol, nil, "200", 0, []string{"airport"}},
		"a redirect":                        {302, []string{"Location", "https://evil.example/"}, "", connection.ErrProtocol, nil, "302", 0, nil},
		"a temporary redirect":              {307, []string{"Location", "https://evil.example/"}, "", connection.ErrProtocol, nil, "307", 0, nil},
		"nothing":                           {200, nil, "", connection.ErrProtocol, nil, "200", 0, nil},
		"another object":                    {200, nil, `{"status":"ok"}`, connection.ErrProtocol, nil, "200", 0, []string{`{"status":"ok"}`}},
		"no object":                         {200, nil, `["ya29"]`, connection.ErrProtocol, nil, "200", 0, nil},
		"null":                              {200, nil, `null`, connection.ErrProtocol, nil, "200", 0, nil},
		"only an ID token":                  {200, nil, `{"id_token":"x"}`, connection.ErrProtocol, nil, "200", 0, nil},
		"a token that is a number":          {200, nil, `{"access_token":7}`, connection.ErrProtocol, nil, "200", 0, nil},
		"a token that splits the header":    {200, nil, `{"access_token":"ya29.x\r\nX-Evil: y"}`, connection.ErrProtocol, nil, "", 0, []string{"cannot be sent"}},
		"a token beyond all measure":        {200, nil, `{"access_token":"` + strings.Repeat("x", 20<<10) + `"}`, connection.ErrProtocol, nil, "", 0, []string{"cannot be sent"}},
		"a token of another type":           {200, nil, `{"access_token":"ya29.x","token_type":"mac"}`, connection.ErrProtocol, nil, "", 0, []string{`"mac"`}},
		"an endless answer":                 {200, nil, `{"access_token":"` + strings.Repeat("x", 1<<20) + `"}`, connection.ErrProtocol, nil, "200", 0, nil},
		"a token with a status that denies": {403, nil, `{"access_token":"ya29.x"}`, connection.ErrProtocol, nil, "403", 0, nil},
		"a gateway's own shape":             {403, nil, `{"message":"API rate limit exceeded"}`, connection.ErrProtocol, nil, "403", 0, []string{"API rate limit exceeded"}},
		"Google's other shape":              {403, nil, `{"error":{"code":403,"message":"Caller is blocked","status":"PERMISSION_DENIED"}}`, connection.ErrAuth, nil, "PERMISSION_DENIED", 0, []string{"Caller is blocked"}},
		"an error that is a number":         {400, nil, `{"error":7,"error_description":["x"]}`, connection.ErrProtocol, nil, "400", 0, nil},
		"an error that is an empty object":  {400, nil, `{"error":{}}`, connection.ErrProtocol, nil, "400", 0, nil},
		"a code that is a text":             {400, nil, `{"error":"this did not work"}`, connection.ErrProtocol, nil, "400", 0, nil},
		"too fast":                          {429, []string{"Retry-After", "17"}, "", connection.ErrThrottled, nil, "429", 17 * time.Second, nil},
		"too fast, with another status":     {403, []string{"Retry-After", "3"}, `{"error":"rate_limit_exceeded","error_description":"Rate Limit Exceeded"}`, connection.ErrThrottled, nil, "rate_limit_exceeded", 3 * time.Second, nil},
		"broken":                            {500, nil, `{"error":"internal_failure"}`, connection.ErrUnavailable, nil, "internal_failure", 0, nil},
		"broken, with another status":       {400, nil, `{"error":"internal_failure","error_description":"Backend Error"}`, connection.ErrUnavailable, nil, "internal_failure", 0, nil},
		"a gateway without a server":        {502, nil, "<html>Bad Gateway</html>", connection.ErrUnavailable, nil, "502", 0, []string{"Bad Gateway"}},
		"too slow":                          {408, nil, "", connection.ErrTimeout, nil, "408", 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := says(test.status, test.body, test.header...)
			e := failure(t, delegated(t, p, nil), ann, test.kind, test.parts...)
			wantSentinel(t, e, test.is)
			if e.Code != test.code || e.RetryAfter != test.after {
				t.Errorf("got the code %q and the wait %s, want %q and %s: %v", e.Code, e.RetryAfter, test.code, test.after, e)
			}
			temporary := test.kind == connection.ErrThrottled || test.kind == connection.ErrUnavailable || test.kind == connection.ErrTimeout
			if connection.Temporary(e) != temporary || p.count() != 1 {
				t.Errorf("%v: temporary %v after %d requests", e, connection.Temporary(e), p.count())
			}
			if len(e.Err.Error()) > 400 || strings.Contains(e.Error(), "ya29.x") {
				t.Errorf("shows too much: %v", e)
			}
		})
	}
}

// What a server says back of what it was told in confidence is not shown, wherever it is cut.
func TestRefusalEchoes(t *testing.T) {
	for pad := range 40 {
		p := &peer{answer: func(_ int, _ *http.Request, form url.Values) (*http.Response, error) {
			told := form.Get("assertion") + form.Get("refresh_token")
			return reply(400, fmt.Sprintf(`{"error":"invalid_request","error_description":"%s%s"}`, strings.Repeat(" x", 100+pad), told)), nil
		}}
		k := failure(t, delegated(t, p, nil), ann, connection.ErrAuth)
		r := failure(t, consented(t, p, nil), ann, connection.ErrAuth)
		jwt := p.forms[0].Get("assertion")
		if strings.Contains(k.Error(), jwt[:20]) || strings.Contains(k.Error(), jwt[len(jwt)-20:]) || strings.Contains(r.Error(), "refresh-") {
			t.Fatalf("after %d: %v\n%v", 100+pad, k, r)
		}
	}
}

// A request without an answer did nothing that counts: it is the network's matter, never uncertain.
func TestNoAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		kind connection.Kind
		part string
	}{
		"closed before the answer":          {io.EOF, connection.ErrNetwork, "EOF"},
		"of a transport that knows better":  {&connection.Error{Kind: connection.ErrUncertain, Endpoint: "h", Err: io.ErrUnexpectedEOF}, connection.ErrNetwork, "unexpected EOF"},
		"of a transport that sees no trust": {&connection.Error{Kind: connection.ErrTLS, Hint: "ca_pem: not trusted", Err: errors.New("x")}, connection.ErrTLS, "ca_pem: not trusted"},
		"refused":                           {&net.OpError{Op: "dial", Err: errors.New("connection refused")}, connection.ErrNetwork, "connection refused"},
		"no such host":                      {&net.DNSError{Err: "no such host", Name: "oauth2.googleapis.com", IsNotFound: true}, connection.ErrNetwork, "no such host"},
	} {
		p := &peer{answer: func(int, *http.Request, url.Values) (*http.Response, error) { return nil, test.err }}
		e := failure(t, delegated(t, p, nil), ann, test.kind, test.part)
		if e.Hint == "" || test.kind == connection.ErrNetwork && !connection.Temporary(e) || strings.Contains(e.Error(), "Post ") {
			t.Errorf("%s: got %v", name, e)
		}
	}
}

// A real server: the answer is cut in the middle, which is never taken for a shorter one.
func TestCutAnswer(t *testing.T) {
	n := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n++; n > 1 {
			_, _ = io.WriteString(w, `{"access_token":"ya29.whole"}`)
			return
		}
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"access_token":"ya29.x"}`)
	}))
	defer srv.Close()
	s := source(t, token.Options{
		ServiceAccount: keyFile(t, map[string]any{"token_uri": srv.URL + "/anywhere"}), Client: srv.Client(), CustomHosts: true,
	})
	if e := failure(t, s, ann, connection.ErrNetwork, "unexpected EOF"); !connection.Temporary(e) {
		t.Errorf("got %v", e)
	}
	get(t, s, ann, "ya29.whole")
	if _, known := s.Skew(); !known {
		t.Error("the server's clock was not read")
	}
}

// A redirect is not followed: what was told in confidence would go along.
func TestRedirect(t *testing.T) {
	asked := 0
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer evil.Close()
	srv := httptest.NewServer(http.RedirectHandler(evil.URL, http.StatusTemporaryRedirect))
	defer srv.Close()
	s := source(t, token.Options{ServiceAccount: keyFile(t, map[string]any{"token_uri": srv.URL}), Client: &http.Client{Transport: srv.Client().Transport}, CustomHosts: true})
	fails(t, s, ann, connection.ErrProtocol, "307")
	if asked != 0 {
		t.Error("the redirect was followed")
	}
}
