package imapclient_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
	"github.com/mailconn/mailconn/internal/peertest"
)

const canary = "canary7d41Xq93"

// broken returns connections that cannot work, made from a Config that does.
func broken(config func() imapclient.Config) map[string]func(testing.TB, *connection.Env) connection.Connection {
	with := func(change func(*imapclient.Config)) func(testing.TB, *connection.Env) connection.Connection {
		return func(t testing.TB, env *connection.Env) connection.Connection {
			cfg := config()
			change(&cfg)
			return open(t, cfg, env)
		}
	}
	return map[string]func(testing.TB, *connection.Env) connection.Connection{
		"wrong password": with(func(c *imapclient.Config) { c.Password = connection.NewSecret(canary + "wrong") }),
		"closed port":    with(func(c *imapclient.Config) { c.Server = "127.0.0.1:1" }),
		"no such folder": with(func(c *imapclient.Config) { c.Folders = []string{"No such folder"} }),
		"untrusted":      with(func(c *imapclient.Config) { c.CAPEM = "" }),
		"clear text on a TLS port": with(func(c *imapclient.Config) {
			c.Mode, c.ConnectTimeout = connection.ModeInsecure, connection.Duration(300_000_000)
		}),
	}
}

func TestConformance(t *testing.T) {
	var srv *imaptest.Server
	config := func() imapclient.Config {
		cfg := srv.Config()
		cfg.DeleteMode, cfg.ExpungeEvery = imapclient.DeleteExpunge, 0
		cfg.PollingIdleMax = connection.Duration(100_000_000)
		return cfg
	}
	connectiontest.Run(t, connectiontest.Harness{
		Reset:  func(t testing.TB) { srv = imaptest.NewServer(t, &imaptest.Options{Password: canary}) },
		Open:   func(t testing.TB, env *connection.Env) connection.Connection { return open(t, config(), env) },
		Fill:   func(_ testing.TB, raw ...[]byte) { srv.Deliver(raw...) },
		Left:   func(testing.TB) [][]byte { return octets(srv.Messages()) },
		Secret: canary,
		Broken: broken(config),
	})
}

func TestDovecotConformance(t *testing.T) {
	srv := peertest.Dovecot(t, &peertest.DovecotOptions{Password: canary})
	config := func() imapclient.Config {
		return imapclient.Config{
			NetworkSettings: connection.NetworkSettings{Server: srv.Addr("imaps"), TLSSettings: connection.TLSSettings{CAPEM: srv.CAPEM}},
			Username:        srv.User, Password: connection.NewSecret(srv.Password),
			DeleteMode: imapclient.DeleteExpunge, PollingIdleMax: connection.Duration(100_000_000),
		}
	}
	connectiontest.Run(t, connectiontest.Harness{
		Reset: func(t testing.TB) {
			c := open(t, config(), nil)
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
		},
		Open: func(t testing.TB, env *connection.Env) connection.Connection { return open(t, config(), env) },
		Fill: func(_ testing.TB, raw ...[]byte) { srv.Deliver(srv.User, raw...) },
		Left: func(testing.TB) [][]byte {
			all := srv.Messages(srv.User)
			for i := range all {
				all[i] = asDovecotGives(all[i])
			}
			return all
		},
		Secret: canary,
		Broken: broken(config),
		Normalize: func(s connectiontest.Sample) ([]byte, string) {
			if len(s.Raw) == 0 {
				return nil, "Dovecot refuses to APPEND a message of zero octets"
			}
			want := asDovecotGives(s.Raw)
			if bytes.Equal(want, s.Raw) {
				return nil, ""
			}
			return want, "Dovecot gives LF as CRLF and NUL as 0x80"
		},
	})
}

// asDovecotGives returns what Dovecot gives out of what it holds as a file: with CRLF, and NUL as 0x80.
func asDovecotGives(raw []byte) []byte {
	raw = bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	return bytes.ReplaceAll(raw, []byte{0}, []byte{0x80})
}

// Mail that arrives while Follow runs is deleted like any other: the session that deletes had selected the folder before
// it came, and Dovecot ignores the UIDs that it has not told of.
func TestDovecotFollowDeletes(t *testing.T) {
	srv := peertest.Dovecot(t, nil)
	cfg := emptying(dovecotConfig(srv, connection.ModeTLS))
	cfg.PollingIdleMax = connection.Duration(50 * time.Millisecond)
	c := open(t, cfg, nil)
	srv.Deliver(srv.User, letters(1)...)
	n := 0
	for m, err := range c.Fetch(t.Context(), &connection.FetchOptions{Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(t.Context(), m.Ref); err != nil {
			t.Fatal(err)
		}
		if left := srv.Count(srv.User, "INBOX"); left != 0 {
			t.Fatalf("message %d: %d are left", n, left)
		}
		if n++; n == 5 {
			break
		}
		srv.Deliver(srv.User, letters(1)...)
	}
}

// The main job over each mode, and where Dovecot allows one connection only: all stored bit by bit, nothing left.
func TestDovecotDrain(t *testing.T) {
	for _, most := range []int{0, 1} {
		srv := peertest.Dovecot(t, &peertest.DovecotOptions{MaxPerUser: most})
		for _, mode := range []connection.Mode{connection.ModeInsecure, connection.ModeSTARTTLS, connection.ModeTLSWhenAvailable, connection.ModeTLS} {
			t.Run(fmt.Sprintf("%s, connections %d", mode, most), func(t *testing.T) {
				srv.DeliverTo(srv.User, "INBOX", small(300))
				srv.Deliver(srv.User, bytes.Repeat([]byte("0123456789abcdef0123456789abcdef\r\n"), 20_000))
				want := map[string]int{}
				for _, raw := range srv.Messages(srv.User) {
					want[string(raw)]++
				}
				cfg := emptying(dovecotConfig(srv, mode))
				cfg.ExpungeEvery = 120
				c := open(t, cfg, nil)
				sink := func(_ context.Context, m *connection.Message) error {
					raw, err := io.ReadAll(m.Body)
					want[string(raw)]--
					return err
				}
				stats, err := connection.Drain(t.Context(), c, sink, nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				for raw, n := range want {
					if n != 0 {
						t.Errorf("%.40q: %d are missing", raw, n)
					}
				}
				if left := srv.Count(srv.User, "INBOX"); left != 0 || stats.Stored != 301 || stats.Failed != 0 {
					t.Errorf("%d are left; %+v", left, stats)
				}
			})
		}
	}
}
