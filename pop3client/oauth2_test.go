package pop3client_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/peertest"
	"github.com/mailconn/mailconn/pop3client"
	"github.com/mailconn/mailconn/pop3client/pop3test"
)

const appSecret = "s3cret-of-the-app"

// openWith opens a connection by the settings of cfg with oauth2, and tokens of e, in place of the password.
func openWith(t testing.TB, e *peertest.TokenEndpoint, cfg pop3client.Config, env *connection.Env) *pop3client.Conn {
	t.Helper()
	raw, err := json.Marshal(map[string]any{
		"server": cfg.Server, "ca_pem": cfg.CAPEM, "username": cfg.Username, "token_scopes": []string{"mail"}, "delete_mode": "delete",
		"oauth2": map[string]string{"token_uri": e.URL, "client_id": "archive", "client_secret": appSecret},
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
			e := peertest.NewTokenEndpoint(t, tokens...)
			var log bytes.Buffer
			c := openWith(t, e, srv.Config(), &connection.Env{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: connection.LevelTrace}))})
			if len(e.Asked()) > 0 {
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
			if got := e.Asked(); len(got) != requests || got[0] != "client_credentials mail" {
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
	report, err := openWith(t, peertest.NewTokenEndpoint(t), srv.Config(), nil).Test(t.Context(), nil)
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
	c := openWith(t, peertest.NewTokenEndpoint(t, "stale-7d41", "token-7d41"), dovecotConfig(srv, connection.ModeTLS), nil)
	wantBodies(t, bodies(t, collect(t, c, nil)), texts(letters(2))...)
}
