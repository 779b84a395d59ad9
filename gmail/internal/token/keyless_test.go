package token_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/token"
)

// A google is a server with a token endpoint and serviceAccounts.signJwt. It signs with signingKey and verifies what it is given.
type google struct {
	*httptest.Server
	t testing.TB

	mu      sync.Mutex
	log     []string                                          // "base", "sign SUBJECT", "token SUBJECT"
	signing func(w http.ResponseWriter, r *http.Request) bool // a failure, instead of a signature; true = it was written
	revoked map[string]bool                                   // base tokens
	bases   int
}

const target = "journal@project-1.iam.gserviceaccount.com"

func newGoogle(t testing.TB) *google {
	g := &google{t: t, revoked: make(map[string]bool)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", g.token)
	mux.HandleFunc("POST /v1/projects/-/serviceAccounts/{call}", g.sign)
	g.Server = httptest.NewServer(mux)
	t.Cleanup(g.Close)
	file := filepath.Join(t.TempDir(), "adc.json")
	if err := os.WriteFile(file, keyFile(t, map[string]any{"token_uri": g.URL + "/token"}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	return g
}

func (g *google) note(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.log = append(g.log, fmt.Sprintf(format, args...))
}

func (g *google) token(w http.ResponseWriter, r *http.Request) {
	a := verify(g.t, r.PostFormValue("assertion"))
	if a.claims.Iss == account { // the machine's own credentials
		if a.claims.Scope != "https://www.googleapis.com/auth/cloud-platform" || a.claims.Sub != "" {
			g.t.Errorf("the base is asked for with %+v", a.claims)
		}
		g.note("base")
		g.mu.Lock()
		g.bases++
		n := g.bases
		g.mu.Unlock()
		_, _ = fmt.Fprintf(w, `{"access_token":"base-%d","expires_in":3599,"token_type":"Bearer"}`, n)
		return
	}
	if a.claims.Iss != target || a.claims.Aud != g.URL+"/token" || a.claims.Exp-a.claims.Iat > 3600 {
		g.t.Errorf("got the assertion %+v", a.claims)
	}
	g.note("token %s", a.claims.Sub)
	_, _ = fmt.Fprintf(w, `{"access_token":"ya29.%s","expires_in":3599,"token_type":"Bearer"}`, a.claims.Sub)
}

// sign is projects.serviceAccounts.signJwt.
func (g *google) sign(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Payload   string
		Delegates []string
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		g.t.Error(err)
	}
	var claims struct{ Sub string }
	if err := json.Unmarshal([]byte(body.Payload), &claims); err != nil {
		g.t.Error(err)
	}
	g.note("sign %s %s %v", r.PathValue("call"), claims.Sub, body.Delegates)
	base, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	g.mu.Lock()
	revoked, fail := g.revoked[base], g.signing
	g.mu.Unlock()
	switch {
	case !strings.HasPrefix(base, "base-"), revoked:
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":{"code":401,"message":"Request had invalid authentication credentials.","status":"UNAUTHENTICATED"}}`)
	case fail != nil && fail(w, r):
	default:
		jwt := signed(g.t, body.Payload)
		if err := json.NewEncoder(w).Encode(map[string]string{"keyId": "key-7", "signedJwt": jwt}); err != nil {
			g.t.Error(err)
		}
	}
}

func (g *google) source(change func(*token.Options)) *token.Source {
	o := token.Options{Client: g.Client(), CustomHosts: true, Keyless: &token.Keyless{
		TargetPrincipal: target, Delegates: []string{"between@project-2.iam.gserviceaccount.com"}, TokenURI: g.URL + "/token", Endpoint: g.URL,
	}}
	if change != nil {
		change(&o)
	}
	return source(g.t, o)
}

// The assertion is signed by the IAM Credentials API; the token with which that is asked is kept and renewed.
func TestKeyless(t *testing.T) {
	g := newGoogle(t)
	s := g.source(nil)
	get(t, s, ann, "ya29.ann@corp.example")
	get(t, s, ann, "ya29.ann@corp.example")
	get(t, s, bob, "ya29.bob@corp.example")
	s.Invalidate(ann, "ya29.ann@corp.example")
	get(t, s, ann, "ya29.ann@corp.example")
	sign := "sign " + target + ":signJwt %s@corp.example [projects/-/serviceAccounts/between@project-2.iam.gserviceaccount.com]"
	want := []string{
		"base", fmt.Sprintf(sign, "ann"), "token ann@corp.example", fmt.Sprintf(sign, "bob"), "token bob@corp.example",
		fmt.Sprintf(sign, "ann"), "token ann@corp.example",
	}
	if strings.Join(g.log, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(g.log, "\n"), strings.Join(want, "\n"))
	}
	if email, _, project := s.Account(); email != target || project != "project-1" || s.TokenURL().String() != g.URL+"/token" {
		t.Errorf("Account: got %q, %q; TokenURL %s", email, project, s.TokenURL())
	}
	if _, known := s.Skew(); !known {
		t.Error("the server's clock was not read")
	}
}

// A base token that is refused before its time is replaced, once for each request.
func TestKeylessBaseRefused(t *testing.T) {
	g := newGoogle(t)
	s := g.source(nil)
	get(t, s, ann, "ya29.ann@corp.example")
	g.revoked["base-1"] = true
	get(t, s, bob, "ya29.bob@corp.example")
	if g.bases != 2 {
		t.Errorf("%d base tokens, want 2", g.bases)
	}
	g.revoked["base-2"], g.revoked["base-3"] = true, true
	s.Invalidate(ann, "ya29.ann@corp.example")
	if e := failure(t, s, ann, connection.ErrAuth, "UNAUTHENTICATED", "keyless: "); connection.Temporary(e) || g.bases != 3 {
		t.Errorf("got %v after %d base tokens", e, g.bases)
	}
}

func TestKeylessRefused(t *testing.T) {
	g := newGoogle(t)
	for name, test := range map[string]struct {
		status int
		body   string
		kind   connection.Kind
		code   string
		parts  []string
	}{
		"no role":          {403, `{"error":{"code":403,"message":"Permission 'iam.serviceAccounts.signJwt' denied on resource (or it may not exist).","status":"PERMISSION_DENIED"}}`, connection.ErrPermission, "PERMISSION_DENIED", []string{"keyless: target_principal: ", "roles/iam.serviceAccountTokenCreator", "signJwt' denied"}},
		"no account":       {404, `{"error":{"code":404,"message":"Not found; Gaia id not found for email x","status":"NOT_FOUND"}}`, connection.ErrConfig, "NOT_FOUND", []string{"keyless: target_principal, delegates"}},
		"no such path":     {404, "<html>", connection.ErrProtocol, "404", []string{"<html>"}},
		"no such argument": {400, `{"error":{"code":400,"message":"x","status":"INVALID_ARGUMENT"}}`, connection.ErrConfig, "INVALID_ARGUMENT", nil},
		"too fast":         {429, `{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED"}}`, connection.ErrThrottled, "RESOURCE_EXHAUSTED", nil},
		"broken":           {503, "", connection.ErrUnavailable, "503", nil},
		"no signature":     {200, `{}`, connection.ErrProtocol, "200", nil},
		"an echo":          {403, `{"error":{"code":403,"message":"who is BASE?","status":"PERMISSION_DENIED"}}`, connection.ErrPermission, "PERMISSION_DENIED", []string{connection.Redacted}},
	} {
		g.signing = func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(test.status)
			_, _ = io.WriteString(w, strings.ReplaceAll(test.body, "BASE", strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")))
			return true
		}
		e := failure(t, g.source(nil), ann, test.kind, test.parts...)
		if e.Code != test.code || !strings.HasPrefix(g.URL, "http://"+e.Endpoint) || strings.Contains(e.Error(), "base-") {
			t.Errorf("%s: got %v, code %q", name, e, e.Code)
		}
	}
	g.signing = nil
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none.json"))
	fails(t, g.source(nil), ann, connection.ErrAuth, "keyless: ", "GOOGLE_APPLICATION_CREDENTIALS")
}

// Three mailboxes that fail for want of the base concern the connection.
func TestKeylessCommon(t *testing.T) {
	g := newGoogle(t)
	told := 0
	s := g.source(func(o *token.Options) { o.Common = func(error) { told++ } })
	g.signing = func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, `{"error":{"code":403,"message":"x","status":"PERMISSION_DENIED"}}`, http.StatusForbidden)
		return true
	}
	for i, name := range []string{"ann", "bob", "cleo"} {
		_, err := s.Token(t.Context(), token.Key{Subject: name, Scope: readonly})
		if errors.Is(err, token.ErrCommon) != (i == 2) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if told != 1 {
		t.Errorf("told %d times, want 1", told)
	}
}

func TestKeylessSettings(t *testing.T) {
	for name, test := range map[string]struct {
		set    token.Keyless
		custom bool
		want   string // "" = valid
	}{
		"as it should be":    {token.Keyless{TargetPrincipal: target}, false, ""},
		"with delegates":     {token.Keyless{TargetPrincipal: target, Delegates: []string{account}, ClientID: clientID}, false, ""},
		"a double":           {token.Keyless{TargetPrincipal: target, Endpoint: "http://127.0.0.1:1", TokenURI: "http://127.0.0.1:1/t"}, true, ""},
		"nothing":            {token.Keyless{}, false, "keyless: target_principal: missing"},
		"no address":         {token.Keyless{TargetPrincipal: "journal"}, false, `keyless: target_principal: "journal": want the address`},
		"a path":             {token.Keyless{TargetPrincipal: "a@b/../../c"}, false, "keyless: target_principal: "},
		"a query":            {token.Keyless{TargetPrincipal: "a@b?c"}, false, "keyless: target_principal: "},
		"no delegate":        {token.Keyless{TargetPrincipal: target, Delegates: []string{account, "x"}}, false, `keyless: delegates[1]: "x": want the address`},
		"a strange id":       {token.Keyless{TargetPrincipal: target, ClientID: "1\n2"}, false, "keyless: client_id: control character"},
		"another token host": {token.Keyless{TargetPrincipal: target, TokenURI: "https://evil.example/t"}, false, "keyless: token_uri: host evil.example not allowed"},
		"another host":       {token.Keyless{TargetPrincipal: target, Endpoint: "https://evil.example/"}, false, "keyless: endpoint: host evil.example not allowed"},
		"a path of a host":   {token.Keyless{TargetPrincipal: target, Endpoint: "https://iamcredentials.googleapis.com/v2"}, false, "keyless: endpoint: path not allowed"},
	} {
		err := test.set.Validate(test.custom)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.HasPrefix(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
		if _, also := token.New(token.Options{Keyless: &test.set, CustomHosts: test.custom, Client: http.DefaultClient}); fmt.Sprint(also) != fmt.Sprint(err) {
			t.Errorf("%s: New says %v, Validate %v", name, also, err)
		}
	}
}
