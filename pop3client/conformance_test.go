package pop3client_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/pop3client"
	"github.com/mailconn/mailconn/pop3client/pop3test"
)

const canary = "canary7d41Xq93"

// broken returns connections that cannot work, made from a Config that does.
func broken(config func() pop3client.Config) map[string]func(testing.TB, *connection.Env) connection.Connection {
	with := func(change func(*pop3client.Config)) func(testing.TB, *connection.Env) connection.Connection {
		return func(t testing.TB, env *connection.Env) connection.Connection {
			cfg := config()
			change(&cfg)
			return open(t, cfg, env)
		}
	}
	return map[string]func(testing.TB, *connection.Env) connection.Connection{
		"wrong password": with(func(c *pop3client.Config) { c.Password = connection.NewSecret(canary + "wrong") }),
		"closed port":    with(func(c *pop3client.Config) { c.Server = "127.0.0.1:1" }),
		"untrusted":      with(func(c *pop3client.Config) { c.CAPEM = "" }),
		"clear text on a TLS port": with(func(c *pop3client.Config) {
			c.Mode, c.ConnectTimeout = connection.ModeInsecure, connection.Duration(300*time.Millisecond)
		}),
	}
}

// lastLine is what POP3 makes of a message whose last line has no end (RFC 1939, 3): a line on the wire always has one.
func lastLine(raw []byte) (want []byte, reason string) {
	if len(raw) == 0 || bytes.HasSuffix(raw, []byte("\r\n")) {
		return nil, ""
	}
	return append(raw, "\r\n"...), "POP3 sends lines, so the last one gets an end"
}

// shown returns what the server holds as POP3 gives it.
func shown(raws [][]byte, normalize func([]byte) (want []byte, reason string)) [][]byte {
	for i, raw := range raws {
		if want, reason := normalize(raw); reason != "" {
			raws[i] = want
		}
	}
	return raws
}

func TestConformance(t *testing.T) {
	var srv *pop3test.Server
	config := func() pop3client.Config {
		cfg := emptying(srv.Config())
		cfg.PollingIdleMax = connection.Duration(100 * time.Millisecond)
		return cfg
	}
	connectiontest.Run(t, connectiontest.Harness{
		Reset: func(t testing.TB) { srv = pop3test.NewServer(t, &pop3test.Options{Password: canary}) },
		Open:  func(t testing.TB, env *connection.Env) connection.Connection { return open(t, config(), env) },
		Fill:  func(_ testing.TB, raw ...[]byte) { srv.Deliver(raw...) },
		Left:  func(testing.TB) [][]byte { return shown(octets(srv.Messages()), lastLine) },
		Spoil: func(_ testing.TB, raw []byte) {
			for _, m := range srv.Messages() {
				if bytes.Equal(m.Raw, raw) {
					srv.Spoil(m.UIDL)
				}
			}
		},
		Secret:    canary,
		Broken:    broken(config),
		Normalize: func(s connectiontest.Sample) ([]byte, string) { return lastLine(s.Raw) },
	})
}
