package token_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/token"
)

const (
	endpoint = "https://oauth2.googleapis.com/token"
	readonly = "https://www.googleapis.com/auth/gmail.readonly"
	modify   = "https://www.googleapis.com/auth/gmail.modify"
	account  = "archiver@project-1.iam.gserviceaccount.com"
	clientID = "103456789012345678901"
)

// signingKey is one key for all tests: making one takes a while.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func privatePEM(t testing.TB, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// keyFile is a service account's key, with some fields replaced; nil leaves one out.
func keyFile(t testing.TB, change map[string]any) []byte {
	t.Helper()
	fields := map[string]any{
		"type": "service_account", "project_id": "project-1", "private_key_id": "key-7", "client_email": account, "client_id": clientID,
		"private_key": privatePEM(t, signingKey()), "token_uri": endpoint,
		"auth_uri": "https://evil.example/auth", "client_x509_cert_url": "https://evil.example/cert", "universe_domain": "evil.example",
	}
	for name, value := range change {
		if fields[name] = value; value == nil {
			delete(fields, name)
		}
	}
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A peer is an http.RoundTripper in place of a token endpoint.
type peer struct {
	mu     sync.Mutex
	asked  []*http.Request
	forms  []url.Values
	answer func(n int, r *http.Request, form url.Values) (*http.Response, error) // n counts from 1
}

func (p *peer) RoundTrip(r *http.Request) (*http.Response, error) {
	text := []byte{}
	if r.Body != nil {
		var err error
		if text, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	form, err := url.ParseQuery(string(text))
	if err != nil && r.Header.Get("Content-Type") == "application/x-www-form-urlencoded" {
		return nil, err
	}
	r.Body = io.NopCloser(strings.NewReader(string(text)))
	p.mu.Lock()
	p.asked, p.forms = append(p.asked, r), append(p.forms, form)
	n := len(p.asked)
	p.mu.Unlock()
	return p.answer(n, r, form)
}

func (p *peer) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.asked)
}

func (p *peer) client() *http.Client { return &http.Client{Transport: p} }

func reply(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

// grants answers each request with a token of its number that lasts an hour.
func grants() *peer {
	return &peer{answer: func(n int, _ *http.Request, _ url.Values) (*http.Response, error) {
		return reply(200, fmt.Sprintf(`{"access_token":"ya29.token-%d","expires_in":3599,"token_type":"Bearer"}`, n)), nil
	}}
}

func says(status int, body string, header ...string) *peer {
	return &peer{answer: func(int, *http.Request, url.Values) (*http.Response, error) {
		return reply(status, body, header...), nil
	}}
}

// hangs gives no answer until the request ends.
func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// delegated is a Source with a service account's key.
func delegated(t testing.TB, p *peer, change func(*token.Options)) *token.Source {
	t.Helper()
	o := token.Options{ServiceAccount: keyFile(t, nil), Client: p.client()}
	if change != nil {
		change(&o)
	}
	return source(t, o)
}

// consented is a Source with a refresh token.
func consented(t testing.TB, p *peer, change func(*token.Options)) *token.Source {
	t.Helper()
	o := token.Options{Client: p.client(), Refresh: &token.Refresh{
		ClientID: "client-1", ClientSecret: connection.NewSecret("s3cret-of-app"), RefreshToken: connection.NewSecret("1//refresh-0"),
	}}
	if change != nil {
		change(&o)
	}
	return source(t, o)
}

func source(t testing.TB, o token.Options) *token.Source {
	t.Helper()
	s, err := token.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func get(t testing.TB, s *token.Source, k token.Key, want string) {
	t.Helper()
	if got, err := s.Token(t.Context(), k); err != nil || got != want {
		t.Errorf("%v: got %q, %v, want %q", k, got, err, want)
	}
}

// fails is failure for who needs no more of the error.
func fails(t testing.TB, s *token.Source, k token.Key, kind connection.Kind, parts ...string) {
	t.Helper()
	_ = failure(t, s, k, kind, parts...)
}

// failure returns the error of a Token that must fail, and holds it against what holds for all of them.
func failure(t testing.TB, s *token.Source, k token.Key, kind connection.Kind, parts ...string) *connection.Error {
	t.Helper()
	got, err := s.Token(t.Context(), k)
	if got != "" {
		t.Errorf("%v: got %q with the error %v", k, got, err)
	}
	var e *connection.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v: got %v, want a *connection.Error", k, err)
	}
	if e.Kind != kind || e.Op != "token" || e.Driver != "gmail" {
		t.Errorf("%v: got %v (%v, %s, %s), want %v", k, e, e.Kind, e.Op, e.Driver, kind)
	}
	for _, part := range parts {
		if !strings.Contains(e.Error(), part) {
			t.Errorf("%v: got %q, want %q in it", k, e, part)
		}
	}
	return e
}

// An assertion is what a JWT says.
type assertion struct {
	header struct{ Alg, Typ, Kid string }
	claims struct {
		Iss, Sub, Scope, Aud string
		Iat, Exp             int64
	}
}

// verify reads a JWT that signingKey must have signed.
func verify(t testing.TB, text string) assertion {
	t.Helper()
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		t.Fatalf("%q has %d parts, want 3", text, len(parts))
	}
	var a assertion
	for i, into := range []any{&a.header, &a.claims} {
		octets, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(octets, into); err != nil {
			t.Fatal(err)
		}
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(&signingKey().PublicKey, crypto.SHA256, digest[:], signature); err != nil {
		t.Error(err)
	}
	return a
}

// signed is a JWT of signingKey.
func signed(t testing.TB, claims string) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT","kid":"key-7"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, signingKey(), crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}
