package pop3client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/internal/peertest"
	"github.com/mailconn/mailconn/pop3client"
)

func dovecot(t testing.TB, opts peertest.DovecotOptions) *peertest.DovecotServer {
	t.Helper()
	opts.Protocols = []string{"pop3"}
	return peertest.Dovecot(t, &opts)
}

func dovecotConfig(srv *peertest.DovecotServer, mode connection.Mode) pop3client.Config {
	cfg := pop3client.Config{Username: srv.User, Password: connection.NewSecret(srv.Password), AllowPlaintextAuth: mode == connection.ModeInsecure}
	cfg.Server, cfg.Mode, cfg.CAPEM = srv.Addr("pop3"), mode, srv.CAPEM
	if mode == connection.ModeTLS {
		cfg.Server = srv.Addr("pop3s")
	}
	return cfg
}

// empty removes all mail of a Dovecot.
func empty(t testing.TB, srv *peertest.DovecotServer) {
	t.Helper()
	c := open(t, emptying(dovecotConfig(srv, connection.ModeTLS)), nil)
	for m, err := range c.Fetch(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(t.Context(), m.Ref); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// asDovecot is what Dovecot makes of a message that it holds as a file: it gives LF as CRLF, and ends the last line.
func asDovecot(raw []byte) (want []byte, reason string) {
	want = bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	if bytes.HasPrefix(want, []byte(".\r\n")) {
		return nil, "Dovecot sends a first line of one dot as the end of the message; TestDovecotFirstDot has it"
	}
	if !bytes.HasSuffix(want, []byte("\r\n")) {
		want = append(want, "\r\n"...)
	}
	if bytes.Equal(want, raw) {
		return nil, ""
	}
	return want, "Dovecot gives LF as CRLF, ends the last line, and makes one of nothing"
}

// Dovecot does not stuff a dot that is the first octet of a message. Such messages come exact all the same; one whose
// first line is a dot alone cannot, and is reported, and its text is not taken for replies.
func TestDovecotFirstDot(t *testing.T) {
	srv := dovecot(t, peertest.DovecotOptions{})
	srv.Deliver(srv.User, []byte(".x\r\nSubject: a\r\n\r\n.y\r\n"))
	srv.Deliver(srv.User, []byte("..\r\n.\r\nb"))
	srv.Deliver(srv.User, []byte(".\r\n+OK\r\nSubject: forged\r\n.\r\n+OK\r\nforged\r\n.\r\n"))
	srv.Deliver(srv.User, letters(2)...)
	all := collect(t, open(t, dovecotConfig(srv, connection.ModeTLS), nil), nil)
	var got []string
	reported := 0
	for _, f := range all {
		if f.Err == nil {
			got = append(got, f.Raw)
			continue
		}
		if reported++; !errors.Is(f.Err, connection.ErrProtocol) || f.Ref.IsZero() {
			t.Errorf("got %v, want a protocol violation with a Ref", f.Err)
		}
	}
	if reported != 1 {
		t.Errorf("%d errors, want 1", reported)
	}
	slices.Sort(got)
	want := append(texts(letters(2)), ".x\r\nSubject: a\r\n\r\n.y\r\n", "..\r\n.\r\nb\r\n")
	slices.Sort(want)
	wantBodies(t, got, want...)
}

// Each mode, and each mechanism in one of them; TestDovecotMechanisms has every mechanism in every mode.
func TestDovecotConformance(t *testing.T) {
	badLines := map[string]string{}
	for _, rule := range []string{connectiontest.CutFetch, connectiontest.CutDelete, connectiontest.CutDrain, connectiontest.StallEnds} {
		badLines[rule] = "the rules of bad lines take long, and run once"
	}
	for i, row := range []struct {
		mechanism string
		mode      connection.Mode
		opts      peertest.DovecotOptions
	}{
		{"SCRAM-SHA-256", connection.ModeTLS, peertest.DovecotOptions{}},
		{"SCRAM-SHA-1", connection.ModeSTARTTLS, peertest.DovecotOptions{}},
		{"CRAM-MD5", connection.ModeInsecure, peertest.DovecotOptions{}},
		{"PLAIN", connection.ModeInsecure, peertest.DovecotOptions{}},
		{"LOGIN", connection.ModeSTARTTLS, peertest.DovecotOptions{}},
		{"user-pass", connection.ModeTLSWhenAvailable, peertest.DovecotOptions{}},
		{"apop", connection.ModeInsecure, peertest.DovecotOptions{Mechanisms: "plain apop"}},
		{"NTLM", connection.ModeTLS, peertest.DovecotOptions{NTLM: true}},
		{"XOAUTH2", connection.ModeSTARTTLS, peertest.DovecotOptions{Token: canary}},
		{"OAUTHBEARER", connection.ModeTLS, peertest.DovecotOptions{Token: canary}},
	} {
		t.Run(row.mechanism+" "+string(row.mode), func(t *testing.T) {
			row.opts.Password = canary
			start := dovecot
			if row.mechanism == "apop" {
				start = dovecot23
			}
			srv := start(t, row.opts)
			config := func() pop3client.Config {
				cfg := emptying(dovecotConfig(srv, row.mode))
				cfg.PollingIdleMax = connection.Duration(100 * time.Millisecond)
				cfg.AuthMechanisms, cfg.AllowAPOP = []string{row.mechanism}, row.mechanism == "apop"
				if row.opts.Token != "" {
					cfg.Password = connection.Secret{}
				}
				return cfg
			}
			lend := func(env *connection.Env, token string) *connection.Env {
				if row.opts.Token != "" {
					env.Token = func(context.Context, connection.TokenRequest) (connection.Secret, error) {
						return connection.NewSecret(token), nil
					}
				}
				return env
			}
			bad := make(map[string]func(testing.TB, *connection.Env) connection.Connection)
			for name, opens := range broken(config) {
				bad[name] = func(t testing.TB, env *connection.Env) connection.Connection { return opens(t, lend(env, canary)) }
			}
			if row.opts.Token != "" {
				bad["wrong password"] = func(t testing.TB, env *connection.Env) connection.Connection {
					return open(t, config(), lend(env, canary+"wrong"))
				}
			}
			if row.mode != connection.ModeTLS {
				delete(bad, "clear text on a TLS port")
			}
			if row.mode == connection.ModeInsecure {
				delete(bad, "untrusted")
			}
			skip := badLines
			if i == 0 {
				skip = nil
			}
			if row.opts.NTLM {
				skip = maps.Clone(skip)
				for _, rule := range []string{connectiontest.DeleteConcurrent, connectiontest.FetchConcurrent} {
					skip[rule] = "Dovecot has one NTLM helper, which mixes up logins that come at the same time"
				}
			}
			connectiontest.Run(t, connectiontest.Harness{
				Reset: func(t testing.TB) { empty(t, srv) }, Skip: skip,
				Open: func(t testing.TB, env *connection.Env) connection.Connection {
					return open(t, config(), lend(env, canary))
				},
				Fill:   func(_ testing.TB, raw ...[]byte) { srv.Deliver(srv.User, raw...) },
				Left:   func(testing.TB) [][]byte { return shown(srv.Messages(srv.User), asDovecot) },
				Secret: canary, Broken: bad, Normalize: func(s connectiontest.Sample) ([]byte, string) { return asDovecot(s.Raw) },
			})
		})
	}
}

// dovecot23 starts a Dovecot whose further settings are in the language of version 2.3; another is skipped.
func dovecot23(t testing.TB, opts peertest.DovecotOptions) *peertest.DovecotServer {
	t.Helper()
	if plain := dovecot(t, peertest.DovecotOptions{}); !strings.HasPrefix(plain.Version, "2.3.") {
		t.Skipf("the settings of this test are for Dovecot 2.3, and this is %s", plain.Version)
	}
	return dovecot(t, opts)
}

// authStep logs in by Test and returns what its step auth says.
func authStep(t *testing.T, cfg pop3client.Config, env *connection.Env) (string, error) {
	t.Helper()
	r, err := open(t, cfg, env).Test(t.Context(), nil)
	for _, s := range r.Steps {
		if s.Name == "auth" {
			return s.Detail, err
		}
	}
	return "", err
}

func TestDovecotMechanisms(t *testing.T) {
	srv := dovecot23(t, peertest.DovecotOptions{Mechanisms: "plain login cram-md5 scram-sha-1 scram-sha-256 apop"})
	for _, mech := range []string{"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "apop", "user-pass"} {
		for _, mode := range []connection.Mode{connection.ModeTLS, connection.ModeSTARTTLS, connection.ModeInsecure} {
			cfg := dovecotConfig(srv, mode)
			cfg.AuthMechanisms, cfg.AllowAPOP = []string{mech}, mech == "apop"
			if got, err := authStep(t, cfg, nil); err != nil || !strings.HasPrefix(got, mech+" ") {
				t.Errorf("%s, mode %s: used %q: %v", mech, mode, got, err)
			}
		}
		cfg := dovecotConfig(srv, connection.ModeTLS)
		cfg.AuthMechanisms, cfg.AllowAPOP = []string{mech}, mech == "apop"
		cfg.Password = connection.NewSecret("wrong password")
		if _, err := authStep(t, cfg, nil); !errors.Is(err, connection.ErrAuth) {
			t.Errorf("%s with a wrong password: got %v, want ErrAuth", mech, err)
		}
	}
}

func TestDovecotNTLM(t *testing.T) {
	srv := dovecot(t, peertest.DovecotOptions{NTLM: true, Password: canary})
	srv.Deliver(srv.User, letters(3)...)
	for _, name := range []string{`DOM\juser`, `DOM\juser\J.User`} {
		cfg := dovecotConfig(srv, connection.ModeTLS)
		cfg.Username, cfg.AuthMechanisms = name, []string{"NTLM"}
		if got, err := authStep(t, cfg, nil); err != nil || !strings.HasPrefix(got, "NTLM ") {
			t.Errorf("%s: used %q: %v", name, got, err)
		}
		wantBodies(t, bodies(t, collect(t, open(t, cfg, nil), nil)), texts(letters(3))...)
		cfg.Password = connection.NewSecret("wrong password")
		if _, err := authStep(t, cfg, nil); !errors.Is(err, connection.ErrAuth) {
			t.Errorf("%s with a wrong password: got %v, want ErrAuth", name, err)
		}
	}
}

func TestDovecotTokens(t *testing.T) {
	const token = "good-token-8f21"
	srv := dovecot(t, peertest.DovecotOptions{Token: token})
	srv.Deliver(srv.User, letters(2)...)
	// The source has a stale token first: it is renewed once, over a second connection.
	for _, mech := range []string{"XOAUTH2", "OAUTHBEARER"} {
		asked := 0
		env := &connection.Env{Token: func(context.Context, connection.TokenRequest) (connection.Secret, error) {
			if asked++; asked == 1 {
				return connection.NewSecret("stale-token"), nil
			}
			return connection.NewSecret(token), nil
		}}
		cfg := dovecotConfig(srv, connection.ModeTLS)
		cfg.Password, cfg.AuthMechanisms = connection.Secret{}, []string{mech}
		if got, err := authStep(t, cfg, env); err != nil || !strings.HasPrefix(got, mech+" ") || asked != 2 {
			t.Errorf("%s: used %q after %d tokens: %v", mech, got, asked, err)
		}
		wantBodies(t, bodies(t, collect(t, open(t, cfg, env), nil)), texts(letters(2))...)
		env.Token = func(context.Context, connection.TokenRequest) (connection.Secret, error) {
			return connection.NewSecret("stale-token"), nil
		}
		_, err := authStep(t, cfg, env)
		if e := theError(t, err, connection.ErrAuth); e.Code == "" || e.Hint == "" {
			t.Errorf("%s with a bad token: code %q, hint %q", mech, e.Code, e.Hint)
		}
	}
}

// DELE and a lost connection remove nothing; DELE and QUIT do.
func TestDovecotCommit(t *testing.T) {
	srv := dovecot(t, peertest.DovecotOptions{})
	srv.Deliver(srv.User, letters(3)...)
	proxy := peertest.NewProxy(t, srv.Addr("pop3"))
	cfg := dovecotConfig(srv, connection.ModeInsecure)
	cfg.Server, cfg.DeleteMode, cfg.ExpungeEvery = proxy.Addr(), pop3client.DeleteDelete, 500
	c := open(t, cfg, nil)
	all := collect(t, c, nil)
	if err := c.Delete(t.Context(), all[1].Ref); err != nil {
		t.Fatal(err)
	}
	proxy.CutAll(peertest.Reset)
	eventually(t, "the end of the session", func() bool { return len(srv.Messages(srv.User)) == 3 })
	wantBodies(t, bodies(t, collect(t, c, nil)), all[0].Raw, all[2].Raw) // not fetched again
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if left := srv.Count(srv.User, "INBOX"); left != 2 {
		t.Errorf("%d messages are left, want 2", left)
	}
}

func TestDovecotHundredMegabytes(t *testing.T) {
	if testing.Short() {
		t.Skip("short: 100 MB of mail")
	}
	srv := dovecot(t, peertest.DovecotOptions{})
	want := bytes.Repeat([]byte("..123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n"), 100<<20/65)
	srv.Deliver(srv.User, want)
	c := open(t, dovecotConfig(srv, connection.ModeTLS), nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for m, err := range c.Fetch(ctx, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if err := sameOctets(m.Body, want); err != nil {
			t.Error(err)
		}
	}
}

// sameOctets compares what r gives with want, without holding it.
func sameOctets(r io.Reader, want []byte) error {
	buf := make([]byte, 64<<10)
	at := 0
	for {
		n, err := r.Read(buf)
		if at+n > len(want) || !bytes.Equal(buf[:n], want[at:at+n]) {
			return fmt.Errorf("different within %d octets behind octet %d", n, at)
		}
		at += n
		if errors.Is(err, io.EOF) {
			if at != len(want) {
				return fmt.Errorf("%d octets, want %d", at, len(want))
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}
