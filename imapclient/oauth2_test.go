package imapclient_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// A tokenEndpoint gives tokens one after the other, and the last one again and again.
type tokenEndpoint struct {
	*httptest.Server
	mu     sync.Mutex
	tokens []string
	refuse string   // the answer to all requests, if not ""
	grants []string // asked for
}

func newTokenEndpoint(t *testing.T, tokens ...string) *tokenEndpoint {
	t.Helper()
	e := &tokenEndpoint{tokens: tokens}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.grants = append(e.grants, r.FormValue("grant_type")+" "+r.FormValue("scope"))
		if e.refuse != "" {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, e.refuse) // the client notices
			return
		}
		token := e.tokens[0]
		e.tokens = e.tokens[min(1, len(e.tokens)-1):]
		_, _ = fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, token) // as above
	}))
	t.Cleanup(e.Close)
	return e
}

// settings are those of a connection to srv with tokens of e.
func (e *tokenEndpoint) settings(t *testing.T, srv *imaptest.Server, more string) connection.Settings {
	t.Helper()
	cfg := srv.Config()
	raw, err := json.Marshal(map[string]any{
		"server": cfg.Server, "ca_pem": cfg.CAPEM, "username": cfg.Username, "token_scopes": []string{"mail"},
		"oauth2": map[string]string{"token_uri": e.URL, "client_id": "client-1", "client_secret": "s3cret-of-app"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return connection.Settings{Driver: imapclient.DriverName, Config: append(raw[:len(raw)-1], more+"}"...)}
}

// With oauth2 in the settings the driver gets its tokens by itself: once for all its sessions and mailboxes, and once
// more if the server refuses one.
func TestOAuth2Settings(t *testing.T) {
	for name, test := range map[string]struct {
		mechanism string
		tokens    []string
		more      string
		requests  int
	}{
		"OAUTHBEARER":      {"OAUTHBEARER", []string{"token-7d41"}, "", 1},
		"XOAUTH2":          {"XOAUTH2", []string{"token-7d41"}, "", 1},
		"a token refused":  {"XOAUTH2", []string{"stale-7d41", "token-7d41"}, "", 2},
		"several sessions": {"XOAUTH2", []string{"token-7d41"}, `,"delete_mode":"expunge"`, 1},
		"mailboxes":        {"XOAUTH2", []string{"token-7d41"}, `,"mailboxes":["anna@example.org","bert@example.org"]`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			srv := imaptest.NewServer(t, &imaptest.Options{Auth: imaptest.Auth{
				Mechanisms: []string{test.mechanism}, NoLogin: true, Token: "token-7d41", ActsFor: []string{"anna@example.org", "bert@example.org"},
			}})
			srv.Deliver(letters(2)...)
			e := newTokenEndpoint(t, test.tokens...)
			var log bytes.Buffer
			env := &connection.Env{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: connection.LevelTrace}))}
			c, err := connection.NewRegistry(imapclient.Driver()).Open(e.settings(t, srv, test.more), env)
			if err != nil {
				t.Fatal(err)
			}
			if len(e.grants) > 0 {
				t.Error("Open asked for a token")
			}
			report, err := c.Test(t.Context(), nil)
			if err != nil {
				t.Fatalf("%v\n%s", err, report)
			}
			source := c.(*imapclient.Conn)
			n := 0
			for m, err := range source.Fetch(t.Context(), nil) {
				if err != nil {
					t.Fatal(err)
				}
				if n++; strings.Contains(test.more, "expunge") {
					if err := source.Delete(t.Context(), m.Ref); err != nil {
						t.Error(err)
					}
				}
			}
			if want := 2 * max(1, strings.Count(test.more, "@")); n != want {
				t.Errorf("got %d messages, want %d", n, want)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if len(e.grants) != test.requests || slices.ContainsFunc(e.grants, func(g string) bool { return g != "client_credentials mail" }) {
				t.Errorf("asked the endpoint for %q, want %d times client_credentials", e.grants, test.requests)
			}
			for _, secret := range []string{"s3cret-of-app", "token-7d41", "stale-7d41"} {
				if text := log.String() + report.String(); strings.Contains(text, secret) {
					t.Errorf("%s is shown", secret)
				}
			}
			e.Close()
			srv.Close()
			noGoroutines(t)
		})
	}
}

// What the token endpoint says is told in the step auth, with the setting at fault, and a refusal is final.
func TestOAuth2SettingsRefused(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Auth: imaptest.Auth{Mechanisms: []string{"XOAUTH2"}, NoLogin: true, Token: "token-7d41"}})
	e := newTokenEndpoint(t, "token-7d41")
	e.refuse = `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret s3cret-of-app provided."}`
	c, err := connection.NewRegistry(imapclient.Driver()).Open(e.settings(t, srv, ""), nil)
	if err != nil {
		t.Fatal(err)
	}
	report, err := c.Test(t.Context(), nil)
	told := theError(t, err, connection.ErrAuth)
	if told.Code != "invalid_client" || !strings.HasPrefix(told.Hint, "oauth2: ") || !strings.Contains(told.Error(), "AADSTS7000215") || strings.Contains(report.String(), "s3cret") {
		t.Errorf("got %v\n%s", err, report)
	}
	if s := stepOf(t, report, "auth"); s.Status != connection.StatusFailed || s.Hint != told.Hint {
		t.Errorf("got step %+v", s)
	}
	all := collect(t, c.(*imapclient.Conn), nil)
	if len(all) != 1 || len(e.grants) != 2 {
		t.Errorf("Fetch gave %v, and the endpoint was asked %d times in all, want once more", all, len(e.grants))
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if n := len(srv.Transcript("AUTHENTICATE")); n != 0 {
		t.Errorf("%d logins without a token", n)
	}
}

// The settings in docs/oauth.md are such as Open takes.
func TestOAuth2Page(t *testing.T) {
	page, err := os.ReadFile("../docs/oauth.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "const settings = `")
	text, _, found := strings.Cut(rest, "`")
	if !found {
		t.Fatal("there are no settings in it")
	}
	s, err := connection.ParseSettings([]byte(strings.ReplaceAll(text, "%q", `"secret"`)))
	if err != nil {
		t.Fatal(err)
	}
	c, err := connection.NewRegistry(imapclient.Driver()).Open(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Info().Endpoint; got != "outlook.office365.com:993" {
		t.Errorf("got endpoint %s", got)
	}
	for _, f := range imapclient.Driver().Fields() {
		if name, ok := strings.CutPrefix(f.Name, "oauth2."); ok && !strings.Contains(string(page), "| `"+name+"` |") {
			t.Errorf("the page says nothing of %s", f.Name)
		}
	}
}
