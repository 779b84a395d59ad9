package imapclient_test

import (
	"context"
	"crypto/tls"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// Every mechanism, with an initial response in the command and behind an empty challenge, logs in and reads.
func TestEveryMechanism(t *testing.T) {
	for _, mechanism := range imaptest.Mechanisms() {
		for _, without := range [][]string{nil, {"SASL-IR"}} {
			const user = "juser@example.org"
			srv := imaptest.NewServer(t, &imaptest.Options{
				Username: user, Without: without, TLS: &tls.Config{ClientAuth: tls.RequestClientCert},
				Auth: imaptest.Auth{Mechanisms: []string{mechanism}, NoLogin: true, Token: "token-7d41"},
			})
			srv.Deliver(letters(1)...)
			cfg, env := srv.Config(), &connection.Env{}
			switch mechanism {
			case "EXTERNAL":
				cfg.Password = connection.Secret{}
				_, cfg.ClientCertPEM, cfg.ClientKeyPEM = clientAuthority(t, user)
			case "XOAUTH2", "OAUTHBEARER":
				cfg.Password = connection.Secret{}
				env.Token = func(_ context.Context, r connection.TokenRequest) (connection.Secret, error) {
					if r.Mailbox != user || !slices.Equal(r.Scopes, []string{"mail"}) {
						t.Errorf("%s: a token is asked for %+v", mechanism, r)
					}
					return connection.NewSecret("token-7d41"), nil
				}
				cfg.TokenScopes = []string{"mail"}
			}
			wantBodies(t, bodies(t, collect(t, open(t, cfg, env), nil)), "Subject: letter 0\r\n\r\n\r\n")
			if all := srv.Logins(); len(all) == 0 || all[0].Mechanism != mechanism || all[0].User != user || !all[0].OK {
				t.Errorf("%s, without %v: got %+v", mechanism, without, all)
			}
		}
	}
}

// NTLM is sent domain and user apart. A third part is a mailbox, which NTLM cannot carry: PLAIN is used then, and Test
// says so.
func TestNTLMNames(t *testing.T) {
	for _, test := range []struct{ username, mechanism, user, domain, warning string }{
		{`DOM\juser`, "NTLM", "juser", "DOM", ""},
		{`DOM/juser`, "NTLM", "juser", "DOM", ""},
		{`DOM\juser\J.User`, "PLAIN", `DOM\juser\J.User`, "", "J.User"},
	} {
		srv := imaptest.NewServer(t, &imaptest.Options{
			Username: test.username, Auth: imaptest.Auth{Mechanisms: []string{"NTLM", "PLAIN"}, NoLogin: true},
		})
		report, err := open(t, srv.Config(), nil).Test(t.Context(), nil)
		if err != nil {
			t.Errorf("%s: %v", test.username, err)
		}
		i := slices.IndexFunc(report.Steps, func(s connection.Step) bool { return s.Name == "auth" })
		if hint := report.Steps[i].Hint; (hint != "") != (test.warning != "") || !strings.Contains(hint, test.warning) {
			t.Errorf("%s: got hint %q, want %q in it", test.username, hint, test.warning)
		}
		if got := srv.Logins()[0]; got.Mechanism != test.mechanism || got.User != test.user || got.Domain != test.domain {
			t.Errorf("%s: got %+v", test.username, got)
		}
	}
}

// Fetch reads the folders that patterns and special uses mean, and finds one that comes later.
func TestFetchPatterns(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Folders: []imaptest.Folder{
		{Name: "Gesendet", Attributes: []string{`\Sent`}}, {Name: "Old/2024"}, {Name: "Old/2025"}, {Name: "Old/Spam"}, {Name: "Top", Attributes: []string{`\Noselect`}},
	}})
	for _, name := range []string{"INBOX", "Gesendet", "Old/2024", "Old/2025", "Old/Spam"} {
		srv.DeliverTo(name, imaptest.Message{Raw: []byte(name)})
	}
	for _, test := range []struct{ folders, exclude, want []string }{
		{[]string{"*"}, []string{"*spam", "*Spam"}, []string{"INBOX", "Gesendet", "Old/2024", "Old/2025"}},
		{[]string{`\Sent`, "Old/202%"}, nil, []string{"Gesendet", "Old/2024", "Old/2025"}},
		{[]string{"%"}, []string{`\Sent`}, []string{"INBOX"}},
	} {
		cfg := srv.Config()
		cfg.Folders, cfg.ExcludeFolders = test.folders, test.exclude
		c := open(t, cfg, nil)
		wantBodies(t, bodies(t, collect(t, c, nil)), test.want...)
		if report, err := c.Test(t.Context(), nil); err != nil {
			t.Errorf("%v\n%s", err, report)
		}
	}
	cfg := srv.Config()
	cfg.Folders = []string{`\Drafts`}
	all := collect(t, open(t, cfg, nil), nil)
	if len(all) != 1 || !strings.Contains(theError(t, all[0].Err, connection.ErrNotFound).Hint, `\Drafts`) {
		t.Errorf("got %v", all)
	}
	_, err := open(t, cfg, nil).Test(t.Context(), nil)
	wantKind(t, err, connection.ErrNotFound)
}

// A PREAUTH server has chosen the mailbox already: another one must not be read under its name.
func TestMailboxOfPreauthServer(t *testing.T) {
	srv := imaptest.NewScript(t, &imaptest.ScriptOptions{Repeat: true, Lenient: true}, imaptest.Script{
		imaptest.Send("* PREAUTH [CAPABILITY IMAP4rev1] I know you"), imaptest.Stall(),
	})
	cfg := srv.Config()
	cfg.Mailboxes = []string{"anna"}
	for m, err := range open(t, cfg, nil).Fetch(t.Context(), &connection.FetchOptions{Mailbox: "anna"}) {
		if m != nil {
			_, _ = io.Copy(io.Discard, m.Body) // it must not come to this
		}
		if e := theError(t, err, connection.ErrAuth); !strings.Contains(e.Hint, "mailboxes") {
			t.Errorf("got %v", err)
		}
	}
}

// 44: a server may drop a session when its token ends. The next session asks the source for another one.
func TestTokenOfEachSession(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Auth: imaptest.Auth{Mechanisms: []string{"OAUTHBEARER"}, NoLogin: true, Token: "token-7d41"}})
	asked := 0
	env := &connection.Env{Token: func(context.Context, connection.TokenRequest) (connection.Secret, error) {
		asked++
		return connection.NewSecret("token-7d41"), nil
	}}
	cfg := srv.Config()
	cfg.Password = connection.Secret{}
	c := open(t, cfg, env)
	for want := 1; want <= 3; want++ {
		srv.Deliver(letters(1)...)
		if got := bodies(t, collect(t, c, nil)); len(got) != want || asked != want {
			t.Errorf("got %d messages with %d tokens, want %d with as many", len(got), asked, want)
		}
		srv.CloseConnections()
	}
}

// A login that is refused for now is tried again, and is not final.
func TestLoginRefusedForNow(t *testing.T) {
	for _, words := range []string{"NO [UNAVAILABLE] later", "NO [INUSE] the mailbox is locked", "NO [LIMIT] too many connections"} {
		srv := imaptest.NewServer(t, nil)
		srv.Deliver(letters(2)...)
		srv.Fail("AUTHENTICATE", words, 2)
		wantBodies(t, bodies(t, collect(t, open(t, srv.Config(), nil), nil)), texts(letters(2))...)
		if n := len(srv.Transcript("AUTHENTICATE")); n != 3 {
			t.Errorf("%s: %d logins, want 3", words, n)
		}
	}
}

// A client certificate that the server does not ask for is told of: it does nothing.
func TestCertificateNotAskedFor(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Auth: imaptest.Auth{Mechanisms: []string{"EXTERNAL", "PLAIN"}}})
	cfg := srv.Config()
	_, cfg.ClientCertPEM, cfg.ClientKeyPEM = clientAuthority(t, cfg.Username)
	report, err := open(t, cfg, nil).Test(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := stepOf(t, report, "auth"); s.Status != connection.StatusWarned || !strings.HasPrefix(s.Hint, "client_cert_pem: ") || !strings.HasPrefix(s.Detail, "PLAIN ") {
		t.Errorf("got step %+v", s)
	}
}
