package smtpclient_test

import (
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
	"github.com/mailconn/mailconn/smtpclient"
	"github.com/mailconn/mailconn/smtpclient/smtptest"
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
func (e *tokenEndpoint) openWith(t testing.TB, cfg smtpclient.Config, env *connection.Env) *smtpclient.Conn {
	t.Helper()
	raw, err := json.Marshal(map[string]any{
		"server": cfg.Server, "mode": cfg.Mode, "ca_pem": cfg.CAPEM, "from_address": cfg.FromAddress, "username": cfg.Username,
		"send_strategy": cfg.SendStrategy, "pool_max_messages": 1, "token_scopes": []string{"mail"},
		"oauth2": map[string]string{"token_uri": e.url, "client_id": "archive", "client_secret": appSecret},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := connection.NewRegistry(smtpclient.Driver()).Open(connection.Settings{Driver: smtpclient.DriverName, Config: raw}, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c.(*smtpclient.Conn)
}

// With oauth2 in the settings the driver gets its tokens by itself: once for all connections, and once more if the server
// refuses one.
func TestOAuth2Settings(t *testing.T) {
	for _, mechanism := range []string{"XOAUTH2", "OAUTHBEARER"} {
		for requests, tokens := range map[int][]string{1: {"token-7d41"}, 2: {"stale-7d41", "token-7d41"}} {
			srv := smtptest.NewServer(t, &smtptest.Options{Auth: smtptest.Auth{Mechanisms: []string{mechanism}, Token: "token-7d41"}})
			e := newTokenEndpoint(t, tokens...)
			var log safeBuffer
			c := e.openWith(t, srv.Config(), &connection.Env{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: connection.LevelTrace}))})
			if len(e.asked()) > 0 {
				t.Error("Open asked for a token")
			}
			mustSend(t, c, toBob, letter)
			mustSend(t, c, toBob, letter) // over another connection
			wantArrived(t, srv, letter, letter)
			if got := e.asked(); len(got) != requests || got[0] != "client_credentials mail" {
				t.Errorf("%s: asked for %q, want %d requests", mechanism, got, requests)
			}
			for _, secret := range []string{appSecret, "token-7d41", "stale-7d41"} {
				if strings.Contains(log.String(), secret) {
					t.Errorf("%s: %s is in the log", mechanism, secret)
				}
			}
		}
	}
}

// What the token endpoint says is told, with the setting at fault; nobody logs in without a token.
func TestOAuth2SettingsRefused(t *testing.T) {
	srv := smtptest.NewServer(t, &smtptest.Options{Auth: smtptest.Auth{Mechanisms: []string{"XOAUTH2"}, Token: "token-7d41"}})
	report, err := newTokenEndpoint(t).openWith(t, srv.Config(), nil).Test(t.Context(), nil)
	e := wantKind(t, err, connection.ErrAuth)
	if e.Code != "invalid_client" || !strings.HasPrefix(e.Hint, "oauth2: ") || strings.Contains(report.String()+err.Error(), appSecret) {
		t.Errorf("got %v\n%s", err, report)
	}
	if got := srv.Commands("AUTH", "MAIL"); len(got) > 0 {
		t.Errorf("sent %v", got)
	}
}

func TestDovecotSubmissionByOAuth2Settings(t *testing.T) {
	srv, inbox := submission(t)
	c := newTokenEndpoint(t, "stale-7d41", submissionToken).openWith(t, submissionConfig(srv, connection.ModeTLS), nil)
	mustSend(t, c, toBob, letter)
	if n := len(inbox.Messages()); n != 1 {
		t.Errorf("%d messages were relayed, want 1", n)
	}
}
