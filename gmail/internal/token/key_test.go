package token_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/token"
)

// Case 57: a key file must not choose where this machine sends requests, nor what it runs.
func TestG57HostileKeyFile(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change map[string]any
		text   string // instead of a changed file
		custom bool
		want   string // the error begins so
	}{
		"another host":              {change: map[string]any{"token_uri": "https://evil.example/token"}, want: "credentials: token_uri: host evil.example not allowed"},
		"a host that looks right":   {change: map[string]any{"token_uri": "https://googleapis.com.evil.example/"}, want: "credentials: token_uri: host googleapis.com.evil.example not allowed"},
		"a host without a dot":      {change: map[string]any{"token_uri": "https://evilgoogleapis.com/"}, want: "credentials: token_uri: host evilgoogleapis.com not allowed"},
		"a user that looks right":   {change: map[string]any{"token_uri": "https://oauth2.googleapis.com@evil.example/"}, want: "credentials: token_uri: want a URL"},
		"another port":              {change: map[string]any{"token_uri": "https://oauth2.googleapis.com:8443/token"}, want: "credentials: token_uri: host oauth2.googleapis.com:8443 not allowed"},
		"the metadata server":       {change: map[string]any{"token_uri": "http://169.254.169.254/"}, want: `credentials: token_uri: scheme "http": want https`},
		"in the clear":              {change: map[string]any{"token_uri": "http://oauth2.googleapis.com/token"}, want: `credentials: token_uri: scheme "http": want https`},
		"loopback":                  {change: map[string]any{"token_uri": "http://127.0.0.1/token"}, want: `credentials: token_uri: scheme "http": want https`},
		"a file":                    {change: map[string]any{"token_uri": "file:///etc/passwd"}, want: "credentials: token_uri: want a URL"},
		"no URL":                    {change: map[string]any{"token_uri": "oauth2.googleapis.com/token"}, want: "credentials: token_uri: want a URL"},
		"in the clear, not here":    {change: map[string]any{"token_uri": "http://gateway.example/token"}, custom: true, want: `credentials: token_uri: scheme "http": want https`},
		"another type":              {change: map[string]any{"type": "authorized_user"}, want: `credentials: not a service-account key (type="authorized_user")`},
		"a type that runs programs": {change: map[string]any{"type": "external_account", "credential_source": map[string]any{"executable": map[string]any{"command": "/bin/sh"}}}, want: `credentials: not a service-account key (type="external_account")`},
		"an impersonating type":     {change: map[string]any{"type": "impersonated_service_account"}, want: `credentials: not a service-account key (type="impersonated_service_account")`},
		"no type":                   {change: map[string]any{"type": nil}, want: `credentials: not a service-account key (type="")`},
		"a type of two lines":       {change: map[string]any{"type": "x\r\n\x1b[31my"}, want: `credentials: not a service-account key (type="x [31my")`},
		"no account":                {change: map[string]any{"client_email": nil}, want: "credentials: client_email: missing"},
		"no key":                    {change: map[string]any{"private_key": nil}, want: "credentials: private_key: missing"},
		"a key that is no PEM":      {change: map[string]any{"private_key": "hunter2"}, want: "credentials: private_key: not PEM"},
		"a key that is no key":      {change: map[string]any{"private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}, want: "credentials: private_key: not a private key"},
		"an EC key":                 {change: map[string]any{"private_key": privatePEM(t, ec)}, want: "credentials: private_key: not an RSA key"},
		"not JSON":                  {text: "hunter2", want: "credentials: not JSON"},
		"no object":                 {text: `["hunter2"]`, want: "credentials: not JSON"},
		"empty":                     {text: "", want: "credentials: not JSON"},
		"endless":                   {text: `{"type":"` + strings.Repeat("x", 1<<20) + `"}`, want: "credentials: 1048587 octets: too long"},
		"a field of another type":   {change: map[string]any{"token_uri": 7}, want: "credentials: not JSON"},
		"deep":                      {text: strings.Repeat(`{"a":`, 11000), want: "credentials: not JSON"},
	} {
		file := []byte(test.text)
		if test.change != nil {
			file = keyFile(t, test.change)
		}
		p := grants()
		_, err := token.New(token.Options{ServiceAccount: file, Client: p.client(), CustomHosts: test.custom})
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
			continue
		}
		if _, also := token.CheckServiceAccount(file, test.custom); also == nil || also.Error() != err.Error() {
			t.Errorf("%s: CheckServiceAccount: got %v, want %v", name, also, err)
		}
		if strings.Contains(err.Error(), "hunter2") || strings.ContainsAny(err.Error(), "\r\n\x1b") {
			t.Errorf("%s: the error shows what it should not: %q", name, err)
		}
		if p.count() != 0 {
			t.Errorf("%s: New made a request", name)
		}
	}
}

func TestKeyFiles(t *testing.T) {
	pkcs1 := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(signingKey())}))
	for name, test := range map[string]struct {
		change map[string]any
		custom bool
		uri    string
	}{
		"as Google makes it":   {nil, false, endpoint},
		"PKCS 1":               {map[string]any{"private_key": pkcs1}, false, endpoint},
		"the old host":         {map[string]any{"token_uri": "https://accounts.google.com/o/oauth2/token"}, false, "https://accounts.google.com/o/oauth2/token"},
		"no token_uri":         {map[string]any{"token_uri": nil}, false, endpoint},
		"a gateway":            {map[string]any{"token_uri": "https://gateway.example/oauth/v9/tokens"}, true, "https://gateway.example/oauth/v9/tokens"},
		"a double on loopback": {map[string]any{"token_uri": "http://127.0.0.1:4711/token"}, true, "http://127.0.0.1:4711/token"},
		"loopback by its name": {map[string]any{"token_uri": "http://localhost:4711/token"}, true, "http://localhost:4711/token"},
		"capitals, a port":     {map[string]any{"token_uri": "https://OAuth2.GoogleApis.com:443/token"}, false, "https://OAuth2.GoogleApis.com:443/token"},
	} {
		p := grants()
		s, err := token.New(token.Options{ServiceAccount: keyFile(t, test.change), Client: p.client(), CustomHosts: test.custom})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		get(t, s, token.Key{Subject: "ann@corp.example", Scope: readonly}, "ya29.token-1")
		if got := p.asked[0].URL.String(); got != test.uri || s.TokenURL().String() != test.uri {
			t.Errorf("%s: asked %s, TokenURL %s, want %s", name, got, s.TokenURL(), test.uri)
		}
		if email, id, project := s.Account(); email != account || id != clientID || project != "project-1" {
			t.Errorf("%s: Account: got %q, %q, %q", name, email, id, project)
		}
	}
}

// A key that is too short to sign is found before the first request.
func TestKeySize(t *testing.T) {
	_, err := token.CheckServiceAccount(keyFile(t, map[string]any{"private_key": shortKey}), false)
	if want := "credentials: private_key: RSA key of 512 bits: want 1024 to 8192"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestOneCredential(t *testing.T) {
	hook := func(context.Context, connection.TokenRequest) (connection.Secret, error) {
		return connection.Secret{}, nil
	}
	for name, o := range map[string]token.Options{
		"none":       {},
		"two":        {ServiceAccount: keyFile(t, nil), Hook: hook},
		"also empty": {ServiceAccount: []byte{}, Refresh: &token.Refresh{}},
	} {
		o.Client = http.DefaultClient
		if _, err := token.New(o); err == nil || err.Error() != "credentials, keyless, oauth2: give exactly one (or a Token hook)" {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := token.New(token.Options{ServiceAccount: keyFile(t, nil)}); err == nil {
		t.Error("a Source without a client was made")
	}
}

func TestRefreshSettings(t *testing.T) {
	secret := connection.NewSecret("1//s3cret")
	for name, test := range map[string]struct {
		set    token.Refresh
		custom bool
		want   string // "" = valid
	}{
		"as it should be":        {token.Refresh{ClientID: "c", ClientSecret: secret, RefreshToken: secret}, false, ""},
		"no client secret":       {token.Refresh{ClientID: "c", RefreshToken: secret, TokenURI: "https://accounts.google.com/o/oauth2/token"}, false, ""},
		"a gateway":              {token.Refresh{ClientID: "c", RefreshToken: secret, TokenURI: "https://gateway.example/t"}, true, ""},
		"nothing":                {token.Refresh{}, false, "oauth2: client_id: missing"},
		"no consent":             {token.Refresh{ClientID: "c"}, false, "oauth2: refresh_token: missing"},
		"another host":           {token.Refresh{ClientID: "c", RefreshToken: secret, TokenURI: "https://evil.example/t"}, false, "oauth2: token_uri: host evil.example not allowed"},
		"a password in the URL":  {token.Refresh{ClientID: "c", RefreshToken: secret, TokenURI: "https://u:s3cret@h/"}, true, "oauth2: token_uri: want a URL"},
		"a client id that sends": {token.Refresh{ClientID: "c\r\nX: y", RefreshToken: secret}, false, "oauth2: client_id: control character"},
	} {
		err := test.set.Validate(test.custom)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.HasPrefix(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error shows a secret: %v", name, err)
		}
		if _, also := token.New(token.Options{Refresh: &test.set, CustomHosts: test.custom, Client: http.DefaultClient}); fmt.Sprint(also) != fmt.Sprint(err) {
			t.Errorf("%s: New says %v, Validate %v", name, also, err)
		}
	}
}

// Nothing that prints a Source shows its secrets, before and after it has some in use.
func TestSourcePrintsNoSecret(t *testing.T) {
	file := keyFile(t, nil)
	p := grants()
	o := token.Options{ServiceAccount: file, Client: p.client()}
	s := source(t, o)
	refresh := consented(t, grants(), nil)
	for _, s := range []*token.Source{s, refresh} {
		get(t, s, token.Key{Subject: "ann@corp.example", Scope: readonly}, "ya29.token-1")
		d := fmt.Sprintf("%v", signingKey().D)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			text := fmt.Sprintf(verb, s) + fmt.Sprintf(verb, struct{ S *token.Source }{s})
			for _, secret := range []string{"ya29", "s3cret", "refresh-0", d, "PRIVATE KEY"} {
				if strings.Contains(text, secret) {
					t.Errorf("%s shows %.20s: %.200s", verb, secret, text)
				}
			}
		}
		if text := s.LogValue().String(); strings.Contains(text, "ya29") || !strings.HasPrefix(text, "tokens of ") {
			t.Errorf("logged as %q", text)
		}
	}
}

// The clock of the server is read off every reply, also one that refuses.
func TestSkew(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	p := says(503, "", "Date", now.Add(-7*time.Minute).Format(http.TimeFormat))
	s := delegated(t, p, func(o *token.Options) { o.Now = func() time.Time { return now } })
	if d, known := s.Skew(); known {
		t.Errorf("before any reply: got %v", d)
	}
	fails(t, s, token.Key{Subject: "ann@corp.example", Scope: readonly}, connection.ErrUnavailable)
	if d, known := s.Skew(); !known || d != -7*time.Minute {
		t.Errorf("got %v, %v, want -7m", d, known)
	}
}

// shortKey was made for this test and protects nothing.
const shortKey = `-----BEGIN RSA PRIVATE KEY-----
MIIBOgIBAAJBAMCZOadKHz5w55azLOjt7cPYzC7YXEtNNgEvOIFNFlxe9zPQ819Z
uJYLwI/f2MC9Gnq8wuhyTblwngKLw2rAuSkCAwEAAQJAF8oVW/uE1nKduHiTQIY7
CyjZN6QT6l00IXtSsG30KB5/7VJp4Xq5a1RdgwoD80PvPy8Xc2AtUUfc98Pvxby8
rQIhAOOLqTGqpYXIWc+m9LKJQ1NCetAdiOrxQ3+y/6CDPaLPAiEA2K7ROcmOkYx1
7D+Nio1fEip9gkINgr1i940HQ9XxwocCIQCEnDYkveDtUNAWlqRxEFHuSgYtF6ld
0vGVkIotz46yPQIgf2/RfbsdLlz9vcRi6mna0ERNLJ7Mc2gPHKjE7RCW72ECIC4z
NoYCqQ7yL/EE+sMksyFkBaBEBZf7Qpp/gCPugvpF
-----END RSA PRIVATE KEY-----
`
