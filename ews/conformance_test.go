package ews_test

import (
	"bytes"
	"context"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// A conformance is one way in which the promises are checked.
type conformance struct {
	scheme      ewstest.Schemes
	impersonate bool // by an account without a mailbox
	cuts        bool // with the rule that cuts the line of a Fetch
	stalls      bool // with those that cut the line of a Delete and a Drain, and that silence it
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

// The promises of fetching and deleting, by each way to log in, as the mailbox's owner and by impersonation.
func TestConformance(t *testing.T) {
	for _, c := range []conformance{
		{scheme: ewstest.Basic, cuts: true, stalls: true},
		{scheme: ewstest.Basic, impersonate: true},
		{scheme: ewstest.NTLM},
		{scheme: ewstest.NTLM, impersonate: true, cuts: true},
		{scheme: ewstest.Bearer},
		{scheme: ewstest.Bearer, impersonate: true},
	} {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			c.run(t)
		})
	}
}

func (c conformance) run(t *testing.T) {
	var r *rig
	h := connectiontest.Harness{
		Reset: func(t testing.TB) { r = c.rig(t) },
		Open: func(t testing.TB, env *connection.Env) connection.Connection {
			conn := open(t, r.cfg, r.under(env))
			return fetching{conn, folders{conn, r.cfg.Mailboxes}, conn}
		},
		Fill: func(_ testing.TB, raw ...[]byte) { r.alice.Deliver("Inbox", raw...) },
		Left: func(testing.TB) [][]byte { return r.inbox() },
		Spoil: func(_ testing.TB, raw []byte) {
			for _, m := range r.Messages(alice, "Inbox") {
				if bytes.Equal(m.Raw, raw) {
					r.alice.Break(ewstest.Corrupt, m.ID)
				}
			}
		},
		Normalize: func(s connectiontest.Sample) ([]byte, string) {
			if len(s.Raw) == 0 {
				return nil, "a success without a message is an error: Exchange has no message of zero octets"
			}
			return nil, ""
		},
		Broken: map[string]func(testing.TB, *connection.Env) connection.Connection{
			"closed port": func(t testing.TB, env *connection.Env) connection.Connection {
				cfg := r.cfg
				cfg.Server, cfg.AllowAnyHost = "127.0.0.1:1", true
				return open(t, cfg, r.withToken(*env))
			},
			"untrusted": func(t testing.TB, env *connection.Env) connection.Connection {
				cfg := r.cfg
				cfg.CAPEM = ""
				return open(t, cfg, r.under(env))
			},
		},
		Secret: canary,
		Soon:   5 * time.Second, // several run at once
		Skip:   map[string]string{},
	}
	if c.scheme != ewstest.Bearer {
		h.Broken["wrong password"] = func(t testing.TB, env *connection.Env) connection.Connection {
			cfg := r.cfg
			cfg.Password = connection.NewSecret(canary + "wrong")
			return open(t, cfg, r.under(env))
		}
	}
	if !c.cuts {
		h.Skip[connectiontest.CutFetch] = "checked with Basic directly and with NTLM by impersonation"
	}
	if !c.cuts && c.scheme != ewstest.Bearer {
		h.Skip[connectiontest.SecretsNeverPrint] = "checked in other ways to log in; all other rules look for the secret too"
	}
	if !c.stalls {
		for _, rule := range []string{connectiontest.CutDelete, connectiontest.CutDrain, connectiontest.StallEnds} {
			h.Skip[rule] = "checked with Basic directly"
		}
	}
	connectiontest.Run(t, h)
}

// fetching is what these rules are about; those of Sync, Append and Send have fixtures of their own.
type fetching struct {
	connection.Source
	connection.FolderLister
	connection.Opener
}

// folders lists those of the one mailbox in the settings where the connection has none of its own.
type folders struct {
	connection.FolderLister
	mailboxes []string
}

func (f folders) Folders(ctx context.Context, mailbox string) iter.Seq2[*connection.Folder, error] {
	if mailbox == "" && len(f.mailboxes) == 1 {
		mailbox = f.mailboxes[0]
	}
	return f.FolderLister.Folders(ctx, mailbox)
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
	return r.withToken(own)
}

func (r *rig) withToken(own connection.Env) *connection.Env {
	if r.cfg.Password.IsZero() {
		own.Token = func(context.Context, connection.TokenRequest) (connection.Secret, error) {
			return connection.NewSecret(canary), nil
		}
	}
	return &own
}
