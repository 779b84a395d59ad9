package smtpclient_test

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/peertest"
	"github.com/mailconn/mailconn/smtpclient"
	"github.com/mailconn/mailconn/smtpclient/smtptest"
)

const appSecret = "s3cret-of-the-app"

// openWith opens a connection by the settings of cfg with oauth2, and tokens of e, in place of the password.
func openWith(t testing.TB, e *peertest.TokenEndpoint, cfg smtpclient.Config, env *connection.Env) *smtpclient.Conn {
	t.Helper()
	raw, err := json.Marshal(map[string]any{
		"server": cfg.Server, "mode": cfg.Mode, "ca_pem": cfg.CAPEM, "from_address": cfg.FromAddress, "username": cfg.Username,
		"send_strategy": cfg.SendStrategy, "pool_max_messages": 1, "token_scopes": []string{"mail"},
		"oauth2": map[string]string{"token_uri": e.URL, "client_id": "archive", "client_secret": appSecret},
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
			e := peertest.NewTokenEndpoint(t, tokens...)
			var log safeBuffer
			c := openWith(t, e, srv.Config(), &connection.Env{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: connection.LevelTrace}))})
			if len(e.Asked()) > 0 {
				t.Error("Open asked for a token")
			}
			mustSend(t, c, toBob, letter)
			mustSend(t, c, toBob, letter) // over another connection
			wantArrived(t, srv, letter, letter)
			if got := e.Asked(); len(got) != requests || got[0] != "client_credentials mail" {
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
	report, err := openWith(t, peertest.NewTokenEndpoint(t), srv.Config(), nil).Test(t.Context(), nil)
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
	c := openWith(t, peertest.NewTokenEndpoint(t, "stale-7d41", submissionToken), submissionConfig(srv, connection.ModeTLS), nil)
	mustSend(t, c, toBob, letter)
	if n := len(inbox.Messages()); n != 1 {
		t.Errorf("%d messages were relayed, want 1", n)
	}
}
