package gmail_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// The promises of Append and Send, for messages sent within JSON and as they are.
func TestConformanceAppendAndSend(t *testing.T) {
	for _, test := range []struct {
		name   string
		form   string
		domain bool // by a service account, else by a user's token
	}{
		{"json, by a token", gmail.UploadJSON, false},
		{"media, by a service account", gmail.UploadMedia, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var srv *gmailtest.Server
			open := func(t testing.TB, env *connection.Env) *gmail.Conn {
				cfg := gmail.Config{Endpoint: srv.URL(), CustomEndpoints: true}
				if test.domain {
					cfg = srv.Config()
				} else {
					token := connection.NewSecret(srv.Token(sender))
					env.Token = func(context.Context, connection.TokenRequest) (connection.Secret, error) { return token, nil }
				}
				// The rules store and send more at once than a mailbox may in a minute, and look at what a broken line leads
				// to, not at how long it takes to try again.
				cfg.QuotaProfile, cfg.Retries = gmail.QuotaLegacy, 1
				cfg.Upload, cfg.Verbs = test.form, []string{gmail.VerbAppend, gmail.VerbSend}
				c, err := gmail.Open(cfg, env)
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			h := connectiontest.Harness{
				Reset: func(t testing.TB) {
					srv = gmailtest.NewServer(t, &gmailtest.Options{Domain: "example.org", AllowBadRequests: true}) // of lines that are cut
					srv.AddUser(gmailtest.User{Email: sender})
				},
				Open: func(t testing.TB, env *connection.Env) connection.Connection {
					return writing{open(t, env), test.domain}
				},
				Left: func(testing.TB) [][]byte {
					var all [][]byte
					for _, m := range srv.Messages(sender) {
						all = append(all, m.Raw)
					}
					return all
				},
				Outbox: func(testing.TB) []connectiontest.Sent {
					var all []connectiontest.Sent
					for _, s := range srv.Sent() {
						all = append(all, connectiontest.Sent{From: s.From, To: s.To, Raw: s.Raw})
					}
					return all
				},
			}
			appends := map[string]bool{connectiontest.AppendBytes: true, connectiontest.AppendAll: true, connectiontest.AppendFolder: true}
			sends := map[string]bool{connectiontest.SendBytes: true, connectiontest.SendAll: true, connectiontest.SendInject: true, connectiontest.CutSend: true}
			run := func(t *testing.T, about map[string]bool) {
				h.Skip = make(map[string]string)
				for _, rule := range connectiontest.Rules() {
					if !about[rule.Name] {
						h.Skip[rule.Name] = "not about this verb: TestConformance checks it"
					}
				}
				h.Skip[connectiontest.SendRejected] = "Gmail takes every recipient, and sends a report later"
				connectiontest.Run(t, h)
			}
			t.Run("append", func(t *testing.T) {
				h.Normalize = func(s connectiontest.Sample) ([]byte, string) {
					if len(s.Raw) == 0 {
						return nil, "Gmail has no message of zero octets"
					}
					return nil, ""
				}
				run(t, appends)
			})
			t.Run("send", func(t *testing.T) {
				h.Normalize = func(s connectiontest.Sample) ([]byte, string) {
					if unclear[s.Name] {
						return nil, "Gmail sends to whom the header names, and this header cannot be read for certain"
					}
					return nil, ""
				}
				run(t, sends)
			})
		})
	}
}

// sender is whom the rules send from.
const sender = "ann@example.org"

// unclear are the samples whose header holds something else than fields.
var unclear = map[string]bool{
	"empty": true, "one-octet": true, "only-cr": true, "no-blank-line": true, "from-line": true, "dot-first": true, "byte-order-mark": true,
}

// writing is a host that writes into ann's mailbox, and knows that Gmail sends to whom the header names: it puts the
// envelope's recipients into a Bcc field, which Gmail removes.
type writing struct {
	*gmail.Conn
	domain bool
}

func (w writing) Append(ctx context.Context, folder string, body io.Reader, opts *connection.AppendOptions) (connection.Ref, error) {
	var o connection.AppendOptions
	if opts != nil {
		o = *opts
	}
	if w.domain {
		o.Mailbox = sender
	}
	return w.Conn.Append(ctx, folder, body, &o)
}

func (w writing) Send(ctx context.Context, env connection.Envelope, body io.Reader, opts *connection.SendOptions) (*connection.Receipt, error) {
	var o connection.SendOptions
	if opts != nil {
		o = *opts
	}
	front := "Bcc: " + strings.Join(env.To, ",\r\n ") + "\r\n"
	if o.Size > 0 {
		o.Size += int64(len(front))
	}
	return w.Conn.Send(ctx, env, io.MultiReader(bytes.NewReader([]byte(front)), body), &o)
}
