package ews_test

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// A conformance is one way in which the promises are checked.
type conformance struct {
	scheme      ewstest.Schemes
	impersonate bool // by an account without a mailbox
	cuts        bool // with the rules that cut and silence the line
}

func (c conformance) String() string {
	name := map[ewstest.Schemes]string{ewstest.Basic: "basic", ewstest.NTLM: "ntlm", ewstest.Bearer: "oauth"}[c.scheme]
	if c.impersonate {
		return name + ", impersonated"
	}
	return name + ", direct"
}

func (c conformance) auth() string {
	return map[ewstest.Schemes]string{ewstest.Basic: ews.AuthBasic, ewstest.NTLM: ews.AuthNTLM, ewstest.Bearer: ews.AuthOAuth}[c.scheme]
}

// rig starts a server that is used in c's way.
func (c conformance) rig(t testing.TB) *rig {
	r := newRig(t, &ewstest.Options{Auth: ewstest.Authentication{Schemes: c.scheme}})
	if c.impersonate {
		r.impersonating()
		r.cfg.Mailboxes = []string{alice}
	}
	r.cfg.Auth = c.auth()
	r.cfg.CAPEM = r.CA()
	r.cfg.PollInterval = connection.Duration(1)
	if c.scheme == ewstest.Bearer {
		r.AddToken(canary, ewstest.Token{User: r.cfg.Username, AppOnly: c.impersonate})
		r.cfg.Password = connection.Secret{}
	}
	return r
}

// The promises of fetching and deleting, by each way to log in.
func TestConformance(t *testing.T) {
	for _, c := range []conformance{
		{scheme: ewstest.Basic, cuts: true},
	} {
		t.Run(c.String(), func(t *testing.T) {
			var r *rig
			connectiontest.Run(t, connectiontest.Harness{
				Reset: func(t testing.TB) { r = c.rig(t) },
				Open: func(t testing.TB, env *connection.Env) connection.Connection {
					c := open(t, r.cfg, r.under(env))
					return fetching{c, c, c}
				},
				Fill:   func(_ testing.TB, raw ...[]byte) { r.alice.Deliver("Inbox", raw...) },
				Left:   func(testing.TB) [][]byte { return r.inbox() },
				Normalize: func(s connectiontest.Sample) ([]byte, string) {
					if len(s.Raw) == 0 {
						return nil, "a success without a message is an error: Exchange has no message of zero octets"
					}
					return nil, ""
				},
				Secret: canary,
			})
		})
	}
}

// fetching is what these rules are about; those of Sync, Append and Send have fixtures of their own.
type fetching struct {
	connection.Source
	connection.FolderLister
	connection.Opener
}

// under returns env with the server's names and certificates beneath it: its lines still lead through env.Dial.
func (r *rig) under(env *connection.Env) *connection.Env {
	own := *env
	own.TLS = r.env.TLS
	own.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		u, err := url.Parse(r.URL(!strings.HasSuffix(address, ":80")))
		if err != nil {
			return nil, err
		}
		return env.Dial(ctx, network, u.Host)
	}
	own.HTTPClient = &http.Client{Transport: &http.Transport{DialContext: own.Dial}}
	own.Token = func(context.Context, connection.TokenRequest) (connection.Secret, error) { return connection.NewSecret(canary), nil }
	return &own
}
