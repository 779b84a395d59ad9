package token_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/token"
)

// Whatever a server answers gives a token that can be sent, or an error that is short, printable and of a known kind.
func FuzzReply(f *testing.F) {
	for _, body := range []string{
		`{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}`, `{"access_token":"x","expires_in":"9e99","refresh_token":"r"}`,
		notAuthorised, `{"error":{"code":403,"message":"x","status":"PERMISSION_DENIED"}}`, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`,
		`{"error":"invalid_grant","error_description":"\u001b[31m\u202e` + "\xff" + `"}`, `{"error":[[[`, "<html>", "", "null", "7", `{"ERROR":"x"}`,
	} {
		for _, status := range []int{200, 302, 400, 401, 403, 429, 503} {
			f.Add(status, "Mon, 23 Nov 2026 12:00:00 GMT", "17", body)
		}
	}
	file := keyFile(f, nil)
	f.Fuzz(func(t *testing.T, status int, date, after, body string) {
		p := says(status, body, "Date", date, "Retry-After", after)
		keyed := source(t, token.Options{ServiceAccount: file, Client: p.client()})
		for _, s := range []*token.Source{keyed, consented(t, p, nil)} {
			got, err := s.Token(t.Context(), ann)
			if err == nil {
				if status != http.StatusOK || got == "" || strings.ContainsFunc(got, func(r rune) bool { return r <= ' ' || r > '~' }) {
					t.Errorf("got the token %q from %d %q", got, status, body)
				}
				continue
			}
			var e *connection.Error
			if got != "" || !errors.As(err, &e) || e.Kind == connection.ErrUnknown || e.Code != "" && strings.ContainsAny(e.Code, " \n\x1b") {
				t.Fatalf("got %q, %#v", got, err)
			}
			if text := e.Err.Error(); len(text) > 450 || !utf8.ValidString(text) || strings.ContainsAny(text, "\r\n\x1b\u202e\x00") {
				t.Errorf("got the text %q", text)
			}
			if e.RetryAfter < 0 {
				t.Errorf("got the wait %s", e.RetryAfter)
			}
		}
	})
}

// No key file makes New panic, or ask another host than Google's.
func FuzzKeyFile(f *testing.F) {
	f.Add(keyFile(f, nil))
	f.Add(keyFile(f, map[string]any{"token_uri": "https://evil.example/"}))
	f.Add([]byte(`{"type":"service_account","private_key":"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := token.New(token.Options{ServiceAccount: data, Client: grants().client()})
		if err != nil {
			if !strings.HasPrefix(err.Error(), "credentials: ") || strings.ContainsAny(err.Error(), "\r\n\x1b") {
				t.Errorf("got %q", err)
			}
			return
		}
		if host := strings.ToLower(s.TokenURL().Hostname()); s.TokenURL().Scheme != "https" || host != "accounts.google.com" && !strings.HasSuffix(host, ".googleapis.com") {
			t.Errorf("would ask %s", s.TokenURL())
		}
	})
}
