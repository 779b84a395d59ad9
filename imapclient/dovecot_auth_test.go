package imapclient_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/internal/peertest"
)

// tlsModes are the modes that end in TLS with a server that offers it.
var tlsModes = []connection.Mode{connection.ModeTLS, connection.ModeSTARTTLS, connection.ModeTLSWhenAvailable}

// A dovecotLogin is one way to log in to a Dovecot, and one that looks like it and is refused.
type dovecotLogin struct {
	mechanism string // as the step auth of Test begins
	modes     []connection.Mode
	good, bad func(*imapclient.Config)
	token     string // what the host's token source gives; "" = there is none
	badToken  string
	code      string // of the refusal
	hint      string // the setting that the refusal names
}

// check logs in over each mode by Test, whose report must name the mechanism and the protection, and reads the mail;
// then wrongly.
func (l *dovecotLogin) check(t *testing.T, srv *peertest.DovecotServer, want [][]byte) {
	t.Helper()
	env := func(token string) *connection.Env {
		if token == "" {
			return nil
		}
		return &connection.Env{Token: func(context.Context, connection.TokenRequest) (connection.Secret, error) {
			return connection.NewSecret(token), nil
		}}
	}
	for _, mode := range l.modes {
		cfg := dovecotConfig(srv, mode)
		l.good(&cfg)
		c := open(t, cfg, env(l.token))
		report, err := c.Test(t.Context(), nil)
		if err != nil {
			t.Errorf("%s, mode %s: %v", l.mechanism, mode, err)
			continue
		}
		protection := " over TLS 1.3"
		if mode == connection.ModeInsecure {
			protection = " in the clear"
		}
		if got := authDetail(report); !strings.HasPrefix(got, l.mechanism+protection) || !strings.Contains(got, "passed over: ") {
			t.Errorf("%s, mode %s: the report says %q", l.mechanism, mode, got)
		}
		if got := bodies(t, collect(t, c, nil)); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(texts(want)))) {
			t.Errorf("%s, mode %s: got %d messages that are not those delivered", l.mechanism, mode, len(got))
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		for _, secret := range []string{srv.Password, l.token} {
			if secret != "" && strings.Contains(report.String(), secret) {
				t.Errorf("%s, mode %s: the report shows a secret", l.mechanism, mode)
			}
		}
	}
	cfg := dovecotConfig(srv, l.modes[0])
	l.bad(&cfg)
	report, err := open(t, cfg, env(l.badToken)).Test(t.Context(), nil)
	e := theError(t, err, connection.ErrAuth)
	if e.Code != l.code || !strings.HasPrefix(e.Hint, l.hint) {
		t.Errorf("%s refused: got code %q and hint %q, want %q and %q\n%s", l.mechanism, e.Code, e.Hint, l.code, l.hint, report)
	}
}

// authDetail is what a report says of the login.
func authDetail(r *connection.Report) string {
	i := slices.IndexFunc(r.Steps, func(s connection.Step) bool { return s.Name == "auth" })
	if i < 0 {
		return ""
	}
	return r.Steps[i].Detail
}

// only makes a mechanism the only one that is permitted.
func only(mechanism string) func(*imapclient.Config) {
	return func(c *imapclient.Config) {
		c.AuthMechanisms = []string{strings.ReplaceAll(mechanism, "LOGIN command", "login-command")}
	}
}

// wrongly is only with a password that is wrong.
func wrongly(mechanism string) func(*imapclient.Config) {
	return func(c *imapclient.Config) {
		only(mechanism)(c)
		c.Password = connection.NewSecret("wrong" + canary)
	}
}

// Every mechanism with a password that Dovecot speaks, in every mode.
func TestDovecotPasswords(t *testing.T) {
	want := letters(3)
	srv := peertest.Dovecot(t, &peertest.DovecotOptions{Password: canary})
	srv.Deliver(srv.User, want...)
	for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "LOGIN command"} {
		login := dovecotLogin{
			mechanism: mechanism, modes: append([]connection.Mode{connection.ModeInsecure}, tlsModes...),
			good: only(mechanism), bad: wrongly(mechanism), code: "AUTHENTICATIONFAILED", hint: "username, password: ",
		}
		login.check(t, srv, want)
	}
}

// dovecot23 is peertest.Dovecot for settings in the language of Dovecot 2.3.
func dovecot23(t *testing.T, o *peertest.DovecotOptions) *peertest.DovecotServer {
	t.Helper()
	if plain := peertest.Dovecot(t, nil); !strings.HasPrefix(plain.Version, "2.3.") {
		t.Skipf("the settings of this test are for Dovecot 2.3, and this is %s", plain.Version)
	}
	return peertest.Dovecot(t, o)
}

// sharedFile writes a file that Dovecot's processes may read, whoever runs the test, and returns its path.
func sharedFile(t *testing.T, mode os.FileMode, text string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "im")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{dir: 0o755, path: mode} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// NTLM, verified by Samba's ntlm_auth, which looks at the password alone: what names are sent is shown by TestNTLMNames.
func TestDovecotNTLM(t *testing.T) {
	srv := peertest.Dovecot(t, &peertest.DovecotOptions{NTLM: true, Password: canary})
	want := letters(3)
	srv.Deliver(srv.User, want...)
	for _, name := range []string{`DOM\juser`, `DOM/juser`, "juser", "juser@dom", `DOM\juser\J.User`} {
		called := func(set func(*imapclient.Config)) func(*imapclient.Config) {
			return func(c *imapclient.Config) { set(c); c.Username = name }
		}
		login := dovecotLogin{
			mechanism: "NTLM", modes: append(slices.Clone(tlsModes), connection.ModeInsecure),
			good: called(only("NTLM")), bad: called(wrongly("NTLM")), code: "AUTHENTICATIONFAILED", hint: "username, password: ",
		}
		login.check(t, srv, want)
	}
}

// Tokens, which Dovecot asks an authority of the test about.
func TestDovecotTokens(t *testing.T) {
	const token = "good-token-8f21"
	srv := peertest.Dovecot(t, &peertest.DovecotOptions{Token: token})
	want := letters(2)
	srv.Deliver(srv.User, want...)
	for mechanism, code := range map[string]string{"XOAUTH2": "401", "OAUTHBEARER": "invalid_token"} {
		byToken := func(c *imapclient.Config) { only(mechanism)(c); c.Password = connection.Secret{} }
		login := dovecotLogin{
			mechanism: mechanism, modes: append(slices.Clone(tlsModes), connection.ModeInsecure),
			good: byToken, bad: byToken, token: token, badToken: "stale-token-8f21", code: code, hint: "oauth2: ",
		}
		login.check(t, srv, want)

		// A token that was refused is renewed once, over a second connection.
		var renewals []bool
		env := &connection.Env{Token: func(_ context.Context, r connection.TokenRequest) (connection.Secret, error) {
			if renewals = append(renewals, r.Renew); r.Renew {
				return connection.NewSecret(token), nil
			}
			return connection.NewSecret("stale-token-8f21"), nil
		}}
		cfg := dovecotConfig(srv, connection.ModeTLS)
		byToken(&cfg)
		wantBodies(t, bodies(t, collect(t, open(t, cfg, env), nil)), texts(want)...)
		if !slices.Equal(renewals, []bool{false, true}) {
			t.Errorf("%s: a token was asked for with Renew %v", mechanism, renewals)
		}

		// In the clear none is sent, and none is asked for.
		cfg = dovecotConfig(srv, connection.ModeInsecure)
		byToken(&cfg)
		cfg.AllowPlaintextAuth, renewals = false, nil
		_, err := open(t, cfg, env).Test(t.Context(), nil)
		wantKind(t, err, connection.ErrTLS)
		if len(renewals) > 0 {
			t.Errorf("%s: a token was asked for that must not be sent", mechanism)
		}
	}
}

// EXTERNAL: the client certificate is all that logs in. Without one, the report names the setting.
func TestDovecotExternal(t *testing.T) {
	authority, cert, key := clientAuthority(t, "juser")
	srv := dovecot23(t, &peertest.DovecotOptions{
		Mechanisms: "plain external", Password: canary,
		Settings: "ssl_ca = <" + sharedFile(t, 0o644, authority) + "\nssl_verify_client_cert = yes\nauth_ssl_username_from_cert = yes\nssl_require_crl = no\n" +
			"passdb {\n driver = static\n args = nopassword=y\n mechanisms = external\n}",
	})
	want := letters(2)
	srv.Deliver(srv.User, want...)
	login := dovecotLogin{
		mechanism: "EXTERNAL", modes: tlsModes, code: "AUTHENTICATIONFAILED", hint: "username, password: ",
		good: func(c *imapclient.Config) {
			c.Password, c.ClientCertPEM, c.ClientKeyPEM = connection.Secret{}, cert, key
		},
		// With a password the certificate is still used first, unless the settings say otherwise.
		bad: func(c *imapclient.Config) { wrongly("PLAIN")(c); c.ClientCertPEM, c.ClientKeyPEM = cert, key },
	}
	login.check(t, srv, want)
	_, other, otherKey := clientAuthority(t, "juser")
	cfg := dovecotConfig(srv, connection.ModeTLS)
	cfg.Password, cfg.ClientCertPEM, cfg.ClientKeyPEM = connection.Secret{}, other, otherKey
	_, err := open(t, cfg, nil).Test(t.Context(), nil)
	if e := theError(t, err, connection.ErrAuth); !strings.HasPrefix(e.Hint, "client_cert_pem: ") {
		t.Errorf("a certificate of another authority: got %v", err)
	}
}
