package gmailtest_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/gmail/gmailtest"
)

const (
	readonly = "https://www.googleapis.com/auth/gmail.readonly"
	modify   = "https://www.googleapis.com/auth/gmail.modify"
	cloud    = "https://www.googleapis.com/auth/cloud-platform"
	jwtGrant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// keyFile is what a service account's key file says.
type keyFile struct {
	Type     string `json:"type"`
	KeyID    string `json:"private_key_id"`
	Key      string `json:"private_key"`
	Email    string `json:"client_email"`
	ClientID string `json:"client_id"`
	TokenURI string `json:"token_uri"`

	signer *rsa.PrivateKey
}

func readKeyFile(t *testing.T, text []byte) *keyFile {
	t.Helper()
	f := &keyFile{}
	if err := json.Unmarshal(text, f); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(f.Key))
	if block == nil {
		t.Fatal("no key in the key file")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	f.signer = key.(*rsa.PrivateKey)
	return f
}

// assertion signs claims, those of a good assertion but for changes, where nil leaves a claim out.
func (f *keyFile) assertion(t *testing.T, now time.Time, changes map[string]any) string {
	t.Helper()
	header := map[string]any{"alg": "RS256", "typ": "JWT", "kid": f.KeyID}
	claims := map[string]any{
		"iss": f.Email, "sub": "ann@corp.example", "scope": readonly, "aud": f.TokenURI, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	maps.Copy(claims, changes)
	for _, name := range []string{"kid", "alg"} {
		if v, ok := claims[name]; ok {
			header[name] = v
			delete(claims, name)
		}
	}
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	var parts []string
	for _, part := range []any{header, claims} {
		b, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(b))
	}
	text := strings.Join(parts, ".")
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, f.signer, crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// tokenAnswer is what the token endpoint says, an error or a token.
type tokenAnswer struct {
	Status      int    `json:"-"`
	Date        string `json:"-"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Token       string `json:"access_token"`
	Type        string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
}

func askToken(t *testing.T, srv *gmailtest.Server, form url.Values) tokenAnswer {
	t.Helper()
	status, header, body := ask(t, srv, "POST", srv.TokenURL(), "", "application/x-www-form-urlencoded", form.Encode())
	a := tokenAnswer{Status: status, Date: header.Get("Date")}
	if err := json.Unmarshal(body, &a); err != nil {
		t.Fatalf("status %d: %v: %s", status, err, body)
	}
	return a
}

func byAssertion(t *testing.T, srv *gmailtest.Server, assertion string) tokenAnswer {
	t.Helper()
	return askToken(t, srv, url.Values{"grant_type": {jwtGrant}, "assertion": {assertion}})
}

// ask makes one request and reads the answer.
func ask(t *testing.T, srv *gmailtest.Server, verb, target, token, kind, body string) (status int, header http.Header, answer []byte) {
	t.Helper()
	if strings.HasPrefix(target, "/") {
		target = srv.URL() + target
	}
	req, err := http.NewRequestWithContext(t.Context(), verb, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := bearer{token, transport(t, srv)}.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	answer, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, answer
}

func TestAssertions(t *testing.T) {
	srv := gmailtest.NewServer(t, &gmailtest.Options{Delegated: []string{readonly}})
	srv.AddUser(gmailtest.User{Email: "ann@corp.example", Aliases: []string{"a@corp.example"}})
	srv.AddUser(gmailtest.User{Email: "bob@corp.example", Suspended: true})
	f := readKeyFile(t, srv.ServiceAccountJSON())
	now := time.Now()
	for _, c := range []struct {
		name    string
		changes map[string]any
		status  int
		code    string
		text    string // in the description
	}{
		{"good", nil, 200, "", ""},
		{"no key id", map[string]any{"kid": ""}, 200, "", ""},
		{"unknown key id", map[string]any{"kid": "other"}, 400, "invalid_grant", "Invalid JWT Signature."},
		{"unsigned", map[string]any{"alg": "none"}, 400, "invalid_grant", "Invalid JWT Signature."},
		{"another account", map[string]any{"iss": "other@x.iam.gserviceaccount.com"}, 400, "invalid_grant", "account not found"},
		{"another audience", map[string]any{"aud": "https://evil.example/token"}, 400, "invalid_grant", "audience"},
		{"Google's audience", map[string]any{"aud": "https://oauth2.googleapis.com/token"}, 200, "", ""},
		{"too long", map[string]any{"exp": now.Add(time.Hour + time.Minute).Unix()}, 400, "invalid_grant", "short-lived token (60 minutes)"},
		{"in the future", map[string]any{"iat": now.Add(10 * time.Minute).Unix()}, 400, "invalid_grant", "reasonable timeframe"},
		{"expired", map[string]any{"iat": now.Add(-time.Hour).Unix(), "exp": now.Add(-time.Minute).Unix()}, 400, "invalid_grant", "reasonable timeframe"},
		{"nobody", map[string]any{"sub": "nobody@corp.example"}, 400, "invalid_grant", "Invalid email or User ID"},
		{"an alias", map[string]any{"sub": "a@corp.example"}, 400, "invalid_grant", "Invalid email or User ID"},
		{"suspended", map[string]any{"sub": "bob@corp.example"}, 400, "invalid_grant", "Invalid email or User ID"},
		{"not delegated", map[string]any{"scope": modify}, 401, "unauthorized_client", "client not authorized for any of the scopes requested"},
		{"one not delegated", map[string]any{"scope": readonly + " " + modify}, 401, "unauthorized_client", "Client is unauthorized"},
		{"no scope", map[string]any{"scope": ""}, 400, "invalid_scope", "Empty or missing scope"},
		{"no such scope", map[string]any{"scope": "https://example.test/x"}, 400, "invalid_scope", `"https://example.test/x"`},
	} {
		got := byAssertion(t, srv, f.assertion(t, now, c.changes))
		if got.Status != c.status || got.Error != c.code || !strings.Contains(got.Description, c.text) || (got.Token != "") != (c.status == 200) {
			t.Errorf("%s: got %+v, want %d %s %q", c.name, got, c.status, c.code, c.text)
		}
		if c.status == 200 && (got.Type != "Bearer" || got.ExpiresIn != 3599) {
			t.Errorf("%s: got %+v", c.name, got)
		}
	}
	good := f.assertion(t, now, nil)
	if got := byAssertion(t, srv, good[:len(good)-8]+"AAAAAAAA"); got.Description != "Invalid JWT Signature." {
		t.Errorf("with another signature: got %+v", got)
	}
	for _, text := range []string{"", "a.b", "a.b.c", good + ".x"} {
		if got := byAssertion(t, srv, text); got.Status != 400 || got.Error != "invalid_request" {
			t.Errorf("%q: got %+v", text, got)
		}
	}
	srv.Delegate(modify)
	if got := byAssertion(t, srv, good); got.Status != 401 || got.Error != "unauthorized_client" {
		t.Errorf("after the scope was taken away: got %+v", got)
	}
	srv.DeleteKey()
	if got := byAssertion(t, srv, good); got.Error != "invalid_grant" || got.Description != "Invalid JWT Signature." {
		t.Errorf("after the key was deleted: got %+v", got)
	}
	srv = gmailtest.NewServer(t, &gmailtest.Options{NoJWTGrant: true, TokenPath: "/oauth/give"})
	if got := byAssertion(t, srv, good); got.Status != 400 || got.Error != "unsupported_grant_type" {
		t.Errorf("without the grant: got %+v", got)
	}
	if !strings.HasSuffix(readKeyFile(t, srv.ServiceAccountJSON()).TokenURI, "/oauth/give") {
		t.Error("the key file does not name the path")
	}
}

// What the server says of itself is what a client reads its own clock's fault from.
func TestClockOffset(t *testing.T) {
	srv := gmailtest.NewServer(t, &gmailtest.Options{ClockOffset: 7 * time.Minute})
	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	f := readKeyFile(t, srv.ServiceAccountJSON())
	got := byAssertion(t, srv, f.assertion(t, time.Now().Add(13*time.Minute), nil))
	if got.Status != 400 || !strings.Contains(got.Description, "reasonable timeframe") {
		t.Errorf("got %+v", got)
	}
	date, err := http.ParseTime(got.Date)
	if err != nil || date.Before(time.Now().Add(6*time.Minute)) {
		t.Errorf("got the date %s, %v", got.Date, err)
	}
	if got := byAssertion(t, srv, f.assertion(t, time.Now().Add(7*time.Minute), nil)); got.Status != 200 {
		t.Errorf("by the server's clock: got %+v", got)
	}
	srv.SetClockOffset(0)
	if got := byAssertion(t, srv, f.assertion(t, time.Now(), nil)); got.Status != 200 {
		t.Errorf("with the right time: got %+v", got)
	}
}

func TestTokenLife(t *testing.T) {
	clock := gmailtest.NewClock(time.Now())
	srv := gmailtest.NewServer(t, &gmailtest.Options{Clock: clock})
	id := srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	f := readKeyFile(t, srv.ServiceAccountJSON())
	fresh := func(scope string) string {
		t.Helper()
		got := byAssertion(t, srv, f.assertion(t, clock.Now(), map[string]any{"scope": scope}))
		if got.Token == "" {
			t.Fatalf("got %+v", got)
		}
		return got.Token
	}
	profile := func(token string) error {
		_, err := gmail(t, srv, token).Users.GetProfile("me").Do()
		return err
	}
	token := fresh(readonly)
	clock.Advance(59 * time.Minute)
	if err := profile(token); err != nil {
		t.Errorf("a token of 59 minutes: %v", err)
	}
	clock.Advance(time.Minute)
	refusal(t, profile(token), 401, "authError")
	token, static := fresh(readonly), srv.Token("ann@corp.example", readonly)
	srv.RenameUser("ann@corp.example", "anna@corp.example")
	if err := profile(token); err != nil {
		t.Errorf("after the user was renamed: %v", err)
	}
	if got := byAssertion(t, srv, f.assertion(t, clock.Now(), nil)); got.Description != "Invalid email or User ID" {
		t.Errorf("the old address is a subject: %+v", got)
	}
	srv.RevokeTokens(id)
	for _, token := range []string{token, static, "ya29.invented"} {
		refusal(t, profile(token), 401, "authError")
	}
	refusal(t, profile(""), 401, "required")
	token = srv.Token(id)
	srv.RemoveUser(id)
	refusal(t, profile(token), 401, "authError")
	if got := byAssertion(t, srv, f.assertion(t, clock.Now(), map[string]any{"sub": "anna@corp.example"})); got.Error != "invalid_grant" {
		t.Errorf("a token of a deleted user: %+v", got)
	}
	srv.RestoreUser(id)
	if err := profile(token); err != nil {
		t.Errorf("after the user was restored: %v", err)
	}
}

func TestRefreshTokens(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	creds := srv.OAuth2("ann@corp.example", readonly)
	form := url.Values{
		"grant_type": {"refresh_token"}, "client_id": {creds.ClientID}, "client_secret": {creds.ClientSecret}, "refresh_token": {creds.RefreshToken},
	}
	got := askToken(t, srv, form)
	if got.Token == "" {
		t.Fatalf("got %+v", got)
	}
	svc := gmail(t, srv, got.Token)
	if _, err := svc.Users.GetProfile("me").Do(); err != nil {
		t.Error(err)
	}
	all := srv.Requests()
	if r := all[0]; r.Method != "token" || r.User != "ann@corp.example" || r.Status != 200 || len(r.Scopes) != 1 || r.Scopes[0] != readonly {
		t.Errorf("the log has %+v", r)
	}
	wrong := maps.Clone(form)
	wrong.Set("client_secret", "other")
	if got := askToken(t, srv, wrong); got.Status != 401 || got.Error != "invalid_client" {
		t.Errorf("got %+v", got)
	}
	srv.RevokeConsent("ann@corp.example")
	if got := askToken(t, srv, form); got.Status != 400 || got.Error != "invalid_grant" || got.Description != "Token has been expired or revoked." {
		t.Errorf("got %+v", got)
	}
	_, err := svc.Users.GetProfile("me").Do()
	refusal(t, err, 401, "authError")
}

// A token permits what its scopes say.
func TestScopes(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	_, err := gmail(t, srv, srv.Token("ann@corp.example", "https://www.googleapis.com/auth/gmail.insert")).Users.GetProfile("me").Do()
	e := refusal(t, err, 403, "insufficientPermissions")
	if !strings.Contains(e.Body, "ACCESS_TOKEN_SCOPE_INSUFFICIENT") || !strings.Contains(e.Header.Get("WWW-Authenticate"), "gmail.readonly") {
		t.Errorf("got %s and %v", e.Body, e.Header)
	}
}

// Whoever may act for the service account can have assertions signed in place of the key.
func TestSignatures(t *testing.T) {
	srv := gmailtest.NewServer(t, &gmailtest.Options{AllowBadRequests: true})
	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	f := readKeyFile(t, srv.ServiceAccountJSON())
	own := byAssertion(t, srv, f.assertion(t, time.Now(), map[string]any{"sub": nil, "scope": cloud}))
	if own.Token == "" {
		t.Fatalf("got %+v", own)
	}
	sign := func(token, email, payload string) (int, []byte) {
		t.Helper()
		body, err := json.Marshal(map[string]any{"payload": payload, "delegates": []string{}})
		if err != nil {
			t.Fatal(err)
		}
		status, _, answer := ask(t, srv, "POST", "/v1/projects/-/serviceAccounts/"+email+":signJwt", token, "application/json", string(body))
		return status, answer
	}
	claims, err := json.Marshal(map[string]any{
		"iss": f.Email, "sub": "ann@corp.example", "scope": readonly, "aud": f.TokenURI, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	status, answer := sign(own.Token, f.Email, string(claims))
	var signed struct{ KeyID, SignedJwt string }
	if err := json.Unmarshal(answer, &signed); err != nil || status != 200 {
		t.Fatalf("got %d %s", status, answer)
	}
	if got := byAssertion(t, srv, signed.SignedJwt); got.Token == "" || signed.KeyID != f.KeyID {
		t.Errorf("got %+v for %s", got, answer)
	}
	for _, c := range []struct {
		token, email, payload string
		status                int
	}{
		{"", f.Email, string(claims), 401},
		{srv.Token("ann@corp.example", cloud), f.Email, string(claims), 403},
		{srv.Token("ann@corp.example"), f.Email, string(claims), 403},
		{own.Token, "other@x.iam.gserviceaccount.com", string(claims), 404},
		{own.Token, f.Email, "no JSON", 400},
	} {
		if status, answer := sign(c.token, c.email, c.payload); status != c.status || !bytes.Contains(answer, []byte(`"error"`)) {
			t.Errorf("%+v: got %d %s", c, status, answer)
		}
	}
	_, err = gmail(t, srv, own.Token).Users.GetProfile("me").Do()
	refusal(t, err, 403, "insufficientPermissions")
	none := byAssertion(t, srv, f.assertion(t, time.Now(), map[string]any{"sub": nil}))
	_, err = gmail(t, srv, none.Token).Users.GetProfile("me").Do()
	if e := refusal(t, err, 400, "failedPrecondition"); e.Message != "Precondition check failed." {
		t.Errorf("without a subject: got %q", e.Message)
	}
}
