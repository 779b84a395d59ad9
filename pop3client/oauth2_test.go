package pop3client_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/peertest"
	"github.com/mailconn/mailconn/pop3client"
	"github.com/mailconn/mailconn/pop3client/pop3test"
)

const appSecret = "s3cret-of-the-app"

// A tokenEndpoint gives tokens one after the other, and the last one again and again; none are a refusal.
type tokenEndpoint struct {
	url string
	mu  sync.Mutex
	all []string // grants asked for
}

func (e *tokenEndpoint) asked() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.all)
}

func newTokenEndpoint(t testing.TB, tokens ...string) *tokenEndpoint {
	t.Helper()
	e := &tokenEndpoint{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.all = append(e.all, r.FormValue("grant_type")+" "+r.FormValue("scope"))
		w.Header().Set("Content-Type", "application/json")
		if len(tokens) == 0 {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprint(w, `{"error":"invalid_client","error_description":"wrong secret `+appSecret+`"}`) // the client notices
			return
		}
		_, _ = fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, tokens[min(len(e.all), len(tokens))-1]) // as above
	}))
	t.Cleanup(srv.Close)
	e.url = srv.URL
	return e
}

// openWith opens a connection by the settings of cfg with oauth2 in place of the password.
func (e *tokenEndpoint) openWith(t testing.TB, cfg pop3client.Config, env *connection.Env) *pop3client.Conn {
	t.Helper()
	raw, err := json.Marshal(map[string]any{
		"server": cfg.Server, "ca_pem": cfg.CAPEM, "username": cfg.Username, "token_scopes": []string{"mail"}, "delete_mode": "delete",
		"oauth2": map[string]string{"token_uri": e.url, "client_id": "archive", "client_secret": appSecret},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := connection.NewRegistry(pop3client.Driver()).Open(settings(string(raw)), env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // a test that cares closes by itself
	return c.(*pop3client.Conn)
}

// With oauth2 in the settings the driver gets its tokens by itself: once for all sessions, and once more if the server
// refuses one.
func TestOAuth2Settings(t *testing.T) {
	for _, mechanism := range []string{"XOAUTH2", "OAUTHBEARER"} {
		for requests, tokens := range map[int][]string{1: {"token-7d41"}, 2: {"stale-7d41", "token-7d41"}} {
			srv := pop3test.NewServer(t, &pop3test.Options{Token: "token-7d41", Mechanisms: []string{mechanism}, Without: []string{"USER"}})
			srv.Deliver(letters(3)...)
			e := newTokenEndpoint(t, tokens...)
			var log bytes.Buffer
			c := e.openWith(t, srv.Config(), &connection.Env{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: connection.LevelTrace}))})
			if len(e.asked()) > 0 {
				t.Error("Open asked for a token")
			}
			report, err := c.Test(t.Context(), nil)
			if err != nil {
				t.Fatalf("%s: %v\n%s", mechanism, err, report)
			}
			wantBodies(t, bodies(t, collect(t, c, nil)), texts(letters(3))...)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if got := e.asked(); len(got) != requests || got[0] != "client_credentials mail" {
				t.Errorf("%s: asked for %q, want %d requests", mechanism, got, requests)
			}
			for _, secret := range []string{appSecret, "token-7d41", "stale-7d41"} {
				if strings.Contains(log.String()+report.String(), secret) {
					t.Errorf("%s: %s is shown", mechanism, secret)
				}
			}
		}
	}
}

// What the token endpoint says is told, with the setting at fault; nobody logs in without a token.
func TestOAuth2SettingsRefused(t *testing.T) {
	srv := pop3test.NewServer(t, &pop3test.Options{Token: "token-7d41", Mechanisms: []string{"XOAUTH2"}})
	report, err := newTokenEndpoint(t).openWith(t, srv.Config(), nil).Test(t.Context(), nil)
	e := theError(t, err, connection.ErrAuth)
	if e.Code != "invalid_client" || !strings.HasPrefix(e.Hint, "oauth2: ") || strings.Contains(report.String()+e.Error(), appSecret) {
		t.Errorf("got %v\n%s", e, report)
	}
	if got := names(srv, "AUTH", "USER"); got != "" {
		t.Errorf("sent %s", got)
	}
}

func TestDovecotOAuth2Settings(t *testing.T) {
	srv := dovecot(t, peertest.DovecotOptions{Token: "token-7d41"})
	srv.Deliver(srv.User, letters(2)...)
	c := newTokenEndpoint(t, "stale-7d41", "token-7d41").openWith(t, dovecotConfig(srv, connection.ModeTLS), nil)
	wantBodies(t, bodies(t, collect(t, c, nil)), texts(letters(2))...)
}
