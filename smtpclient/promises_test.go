package smtpclient_test

import (
	"bytes"
	"net"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/smtpclient"
	"github.com/mailconn/mailconn/smtpclient/smtptest"
)

const refused = "nobody@example.org"

// harness is the promises' view of a double with these options.
func harness(opts smtptest.Options, bareCR string) connectiontest.Harness {
	var srv *smtptest.Server
	open := func(change func(*smtpclient.Config)) func(testing.TB, *connection.Env) connection.Connection {
		return func(t testing.TB, env *connection.Env) connection.Connection {
			cfg := srv.Config()
			cfg.BareCR = bareCR
			change(&cfg)
			c, err := smtpclient.Open(cfg, env)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
	}
	return connectiontest.Harness{
		Reset: func(t testing.TB) {
			srv = smtptest.NewServer(t, &opts)
			srv.Refuse(refused, "550 5.1.1 nobody of that name")
		},
		Open: open(func(*smtpclient.Config) {}),
		Outbox: func(testing.TB) []connectiontest.Sent {
			var all []connectiontest.Sent
			for _, m := range srv.Messages() {
				all = append(all, connectiontest.Sent{From: m.From, To: m.To, Raw: m.Raw})
			}
			return all
		},
		Refused: refused,
		Secret:  smtptest.DefaultPassword,
		Broken: map[string]func(testing.TB, *connection.Env) connection.Connection{
			"wrong password": open(func(c *smtpclient.Config) { c.Password = connection.NewSecret("not the password") }),
			"closed port": func(t testing.TB, env *connection.Env) connection.Connection {
				return open(func(c *smtpclient.Config) { c.Server = closedPort(t) })(t, env)
			},
			"certificate of an unknown authority": open(func(c *smtpclient.Config) { c.CAPEM = "" }),
			"wrong mode": open(func(c *smtpclient.Config) {
				c.ConnectTimeout = connection.Duration(200e6)
				if c.Mode = connection.ModeSTARTTLS; opts.Mode == connection.ModeSTARTTLS {
					c.Mode = connection.ModeTLS
				}
			}),
		},
	}
}

func closedPort(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// What BDAT and BINARYMIME carry is every octet.
func TestPromisesOverBDAT(t *testing.T) {
	connectiontest.Run(t, harness(smtptest.Options{}, smtpclient.BareCRReject))
}

func TestPromisesOverSTARTTLS(t *testing.T) {
	connectiontest.Run(t, harness(smtptest.Options{Mode: connection.ModeSTARTTLS}, smtpclient.BareCRReject))
}

// DATA carries most messages as they are, some with their line ends mended, and refuses NUL.
func TestPromisesOverDATA(t *testing.T) {
	for name, without := range map[string][]string{
		"pipelined":      {"CHUNKING", "BINARYMIME"},
		"not pipelined":  {"CHUNKING", "BINARYMIME", "PIPELINING"},
		"nothing at all": {"CHUNKING", "BINARYMIME", "PIPELINING", "SIZE", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"},
	} {
		t.Run(name, func(t *testing.T) {
			h := harness(smtptest.Options{Without: without}, smtpclient.BareCRSpace)
			h.Normalize = func(s connectiontest.Sample) ([]byte, string) { return overDATA(s.Raw) }
			connectiontest.Run(t, h)
		})
	}
}

// overDATA says what DATA makes of a message.
func overDATA(raw []byte) (want []byte, reason string) {
	if bytes.IndexByte(raw, 0) >= 0 {
		return nil, "NUL is refused"
	}
	lf := bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	want = bytes.ReplaceAll(bytes.ReplaceAll(lf, []byte("\r"), []byte(" ")), []byte("\n"), []byte("\r\n"))
	if len(want) > 0 && !bytes.HasSuffix(want, []byte("\n")) {
		want = append(want, "\r\n"...)
	}
	if bytes.Equal(want, raw) {
		return nil, ""
	}
	return want, "a bare CR becomes a space, and lines end in CRLF"
}
