package imapclient_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
	"github.com/mailconn/mailconn/internal/peertest"
)

// masterSettings lets "admin" open everybody's mailbox, as a Dovecot master user.
const masterSettings = "auth_master_user_separator = *\npassdb {\n driver = static\n args = password=master4d41Xq93\n master = yes\n}"

func masterServer(t *testing.T, users ...string) *peertest.DovecotServer {
	t.Helper()
	srv := peertest.Dovecot(t, &peertest.DovecotOptions{Users: users, Settings: masterSettings})
	if !strings.HasPrefix(srv.Version, "2.3.") {
		t.Skipf("the settings of master users are those of Dovecot 2.3; this is %s", srv.Version)
	}
	return srv
}

// One login opens several mailboxes: by the authorization identity, or by a user name made of both. Refs say whose
// message it is, and every verb goes to the right mailbox.
func TestDovecotMailboxes(t *testing.T) {
	for _, way := range []string{"", "{mailbox}*{username}"} {
		for _, mechanisms := range [][]string{nil, {"plain"}, {"login"}, {"login-command"}} {
			if way == "" && mechanisms != nil && mechanisms[0] != "plain" {
				continue // LOGIN has no place for an authorization identity
			}
			t.Run(fmt.Sprintf("login %q by %v", way, mechanisms), func(t *testing.T) {
				srv := masterServer(t, "anna", "bert", "carl")
				cfg := emptying(dovecotConfig(srv, connection.ModeTLS))
				cfg.Username, cfg.Password = "admin", connection.NewSecret("master4d41Xq93")
				cfg.Mailboxes, cfg.MailboxLogin, cfg.AuthMechanisms = []string{"anna", "bert"}, way, mechanisms
				c := open(t, cfg, nil)
				if report, err := c.Test(t.Context(), nil); err != nil {
					t.Fatalf("%v\n%s", err, report)
				}
				for _, name := range []string{"anna", "bert"} {
					srv.Deliver(name, []byte("Subject: for "+name+"\r\n\r\n"))
				}
				all := collect(t, c, nil)
				wantBodies(t, bodies(t, all), "Subject: for anna\r\n\r\n", "Subject: for bert\r\n\r\n")
				refs := []connection.Ref{all[1].Ref, all[0].Ref}
				if refs[0].Mailbox != "bert" || refs[1].Mailbox != "anna" {
					t.Errorf("got refs %v", refs)
				}
				m, err := c.Open(t.Context(), refs[0])
				if err != nil {
					t.Fatal(err)
				}
				if raw, err := io.ReadAll(m.Body); err != nil || string(raw) != "Subject: for bert\r\n\r\n" {
					t.Errorf("got %q, %v", raw, err)
				}
				if _, err := c.Append(t.Context(), "INBOX", strings.NewReader("Subject: appended\r\n\r\n"), &connection.AppendOptions{Mailbox: "bert"}); err != nil {
					t.Error(err)
				}
				sink, cps := &byMailbox{of: map[string]*replica{}}, &connection.MemoryCheckpoints{}
				if _, err := connection.Mirror(t.Context(), c, sink, cps, nil); err != nil {
					t.Error(err)
				}
				if a, b := len(sink.of["anna"].messages), len(sink.of["bert"].messages); a != 1 || b != 2 {
					t.Errorf("mirrored %d and %d messages, want 1 and 2", a, b)
				}
				if err := c.Delete(t.Context(), refs...); err != nil {
					t.Error(err)
				}
				if a, b := srv.Count("anna", "INBOX"), srv.Count("bert", "INBOX"); a != 0 || b != 1 {
					t.Errorf("%d and %d are left, want 0 and 1", a, b)
				}
				if got := collect(t, c, &connection.FetchOptions{Mailbox: "carl"}); len(got) != 1 || connection.KindOf(got[0].Err) != connection.ErrNotFound {
					t.Errorf("a mailbox that is not listed: got %v", got)
				}
				if err := c.Delete(t.Context(), connection.Ref{Mailbox: "carl", Folder: "INBOX", ID: "1:1"}); err == nil {
					t.Error("Delete in a mailbox that is not listed: got nil")
				}
			})
		}
	}
}

// byMailbox keeps a replica for each mailbox.
type byMailbox struct {
	mu sync.Mutex
	of map[string]*replica
}

func (b *byMailbox) get(mailbox string) *replica {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.of[mailbox] == nil {
		b.of[mailbox] = newReplica()
	}
	return b.of[mailbox]
}

func (b *byMailbox) Store(ctx context.Context, mailbox string, c *connection.Change) error {
	return b.get(mailbox).Store(ctx, mailbox, c)
}

func (b *byMailbox) Known(ctx context.Context, mailbox string, refs []connection.Ref) ([]bool, error) {
	return b.get(mailbox).Known(ctx, mailbox, refs)
}

// Follow over several mailboxes tells of mail in each, and ends with its ctx.
func TestDovecotFollowAllMailboxes(t *testing.T) {
	srv := masterServer(t, "anna", "bert")
	cfg := dovecotConfig(srv, connection.ModeTLS)
	cfg.Username, cfg.Password = "admin", connection.NewSecret("master4d41Xq93")
	cfg.Mailboxes, cfg.MailboxLogin = []string{"anna", "bert"}, "{mailbox}*{username}"
	cfg.PollingIdleMax = connection.Duration(50 * time.Millisecond)
	c := open(t, cfg, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	srv.Deliver("anna", []byte("Subject: 1\r\n\r\n"))
	var got []string
	skipped := 0
	skip := func(connection.Ref) bool { skipped++; return false }
	for m, err := range c.Fetch(ctx, &connection.FetchOptions{Follow: true, Skip: skip, Limit: 3}) {
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(m.Body)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m.Ref.Mailbox+" "+strings.TrimSpace(string(raw)))
		srv.Deliver([]string{"anna", "bert"}[len(got)%2], fmt.Appendf(nil, "Subject: %d\r\n\r\n", len(got)+1))
	}
	slices.Sort(got)
	if want := []string{"anna Subject: 1", "anna Subject: 3", "bert Subject: 2"}; !slices.Equal(got, want) || skipped < 3 {
		t.Errorf("got %q, Skip asked %d times; want %q", got, skipped, want)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	noGoroutines(t)
}

// The authorization identity says whose mailbox is opened, in every mechanism that carries one. The own mailbox is opened
// without, and one that the server does not permit is refused.
func TestActsFor(t *testing.T) {
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1", "OAUTHBEARER", "XOAUTH2", "EXTERNAL"} {
		const user, token = "admin@example.org", "token-7d41"
		srv := imaptest.NewServer(t, &imaptest.Options{
			Username: user, TLS: &tls.Config{ClientAuth: tls.RequestClientCert},
			Auth: imaptest.Auth{Mechanisms: []string{mechanism, "LOGIN"}, Token: token, ActsFor: []string{"anna@example.org"}},
		})
		srv.Deliver(letters(1)...)
		cfg, env := srv.Config(), &connection.Env{}
		cfg.Mailboxes = []string{"anna@example.org", user, "bert@example.org"}
		switch mechanism {
		case "EXTERNAL":
			cfg.Password = connection.Secret{}
			_, cfg.ClientCertPEM, cfg.ClientKeyPEM = clientAuthority(t, user)
		case "OAUTHBEARER", "XOAUTH2":
			cfg.Password = connection.Secret{}
			env.Token = func(context.Context, connection.TokenRequest) (connection.Secret, error) {
				return connection.NewSecret(token), nil
			}
		}
		c := open(t, cfg, env)
		for _, name := range cfg.Mailboxes {
			all := collect(t, c, &connection.FetchOptions{Mailbox: name})
			if name == "bert@example.org" {
				if len(all) != 1 || !errors.Is(all[0].Err, connection.ErrAuth) {
					t.Errorf("%s: a mailbox that is not permitted: got %v", mechanism, all)
				}
				continue
			}
			wantBodies(t, bodies(t, all), texts(letters(1))...)
			for _, f := range all {
				if f.Ref.Mailbox != name {
					t.Errorf("%s: got %v, want one of %s", mechanism, f.Ref, name)
				}
			}
		}
		for i, want := range []string{"anna@example.org", "", "bert@example.org"} {
			logins := srv.Logins()
			if i >= len(logins) {
				t.Fatalf("%s: %d logins", mechanism, len(logins))
			}
			if strings.HasSuffix(mechanism, "BEARER") || mechanism == "XOAUTH2" {
				if want == "" {
					want = user
				}
				logins[i].ActFor = logins[i].User
			}
			if got := logins[i]; got.Mechanism != mechanism || got.ActFor != want || got.OK != (i < 2) {
				t.Errorf("%s: login %d: got %+v, want one for %q", mechanism, i, got, want)
			}
		}
	}
}

// A mailbox that the login may not open is an error with its name, and the others are read.
func TestMailboxRefused(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(2)...)
	cfg := srv.Config()
	cfg.Mailboxes = []string{"other", cfg.Username}
	for _, follow := range []bool{false, true} {
		c := open(t, cfg, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		got, refused := 0, 0
		for m, err := range c.Fetch(ctx, &connection.FetchOptions{Follow: follow}) {
			if err == nil {
				if got++; m.Ref.Mailbox != cfg.Username {
					t.Errorf("follow %t: got %v", follow, m.Ref)
				}
			} else {
				refused++
				e := theError(t, err, connection.ErrAuth)
				if e.Ref != (connection.Ref{Mailbox: "other"}) || !strings.Contains(e.Hint, "mailboxes") {
					t.Errorf("follow %t: got %v", follow, err)
				}
			}
			if follow && got == 2 && refused == 1 {
				break
			}
		}
		if got != 2 || refused != 1 {
			t.Errorf("follow %t: %d messages and %d errors, want 2 and 1", follow, got, refused)
		}
		report, err := c.Test(t.Context(), nil)
		if connection.KindOf(err) != connection.ErrAuth {
			t.Errorf("Test: got %v\n%s", err, report)
		}
	}
	if login := srv.Logins()[0]; login.ActFor != "other" || login.User != cfg.Username {
		t.Errorf("the first login was %+v", login)
	}
}

// Of many mailboxes only some keep a session: servers count connections.
func TestDovecotIdleSessions(t *testing.T) {
	var users []string
	for i := range 20 {
		users = append(users, fmt.Sprintf("user%d", i))
	}
	srv := masterServer(t, users...)
	cfg := dovecotConfig(srv, connection.ModeTLS)
	cfg.Username, cfg.Password = "admin", connection.NewSecret("master4d41Xq93")
	cfg.Mailboxes, cfg.MailboxLogin = users, "{mailbox}*{username}"
	var live atomic.Int64
	c := open(t, cfg, &connection.Env{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			live.Add(1)
		}
		return &counted{Conn: conn, live: &live}, err
	}})
	wantBodies(t, bodies(t, collect(t, c, nil)))
	if n := live.Load(); n != 16 {
		t.Errorf("%d connections are open, want 16", n)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if n := live.Load(); n != 0 {
		t.Errorf("after Close %d connections are open", n)
	}
}

// counted counts itself off once it is closed.
type counted struct {
	net.Conn
	live *atomic.Int64
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { c.live.Add(-1) })
	return c.Conn.Close()
}

func TestMailboxesLists(t *testing.T) {
	cfg := imapclient.Config{NetworkSettings: connection.NetworkSettings{Server: "h"}, Username: "admin", Password: connection.NewSecret("p")}
	names := func(c *imapclient.Conn, match string) (all []string, err error) {
		for m, err := range c.Mailboxes(t.Context(), &connection.MailboxOptions{Match: match}) {
			if err != nil {
				return nil, err
			}
			all = append(all, m.Name)
		}
		return all, nil
	}
	single := open(t, cfg, nil)
	if got, err := names(single, ""); err != nil || !slices.Equal(got, []string{"admin"}) {
		t.Errorf("got %q, %v", got, err)
	}
	cfg.Mailboxes = []string{"b@x", "a@x", "a@y"}
	many := open(t, cfg, nil)
	if got, err := names(many, "*@x"); err != nil || !slices.Equal(got, []string{"b@x", "a@x"}) {
		t.Errorf("got %q, %v", got, err)
	}
	_, err := names(many, "[")
	wantKind(t, err, connection.ErrInvalid)
	for _, err := range many.Sync(t.Context(), "", nil) {
		wantKind(t, err, connection.ErrInvalid) // no mailbox is named
	}
	if err := many.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = names(many, "")
	wantKind(t, err, connection.ErrClosed)
}

func TestMailboxSettings(t *testing.T) {
	reg := connection.NewRegistry(imapclient.Driver())
	for _, test := range []struct{ json, want string }{
		{`"mailboxes":[""]`, `mailboxes: "": empty name`},
		{`"mailboxes":["a","a"]`, `mailboxes: "a": given twice`},
		{`"mailboxes":["a\r\nb"]`, `control character`},
		{`"mailbox_login":"{mailbox}*u"`, "mailbox_login: set, but mailboxes is not"},
		{`"mailboxes":["a"],"mailbox_login":"x"`, "want {mailbox} in it"},
		{`"auth_mechanisms":["kerberos"]`, `auth_mechanisms: "kerberos": unknown`},
		{`"auth_mechanisms":["external"]`, `auth_mechanisms: "external": needs client_cert_pem`},
		{`"auth_mechanisms":["xoauth2"]`, `auth_mechanisms: "xoauth2": needs oauth2 or a token hook`},
		{`"exclude_folders":[""]`, `exclude_folders: "": empty name`},
		{`"folders":["\\Sentt"]`, `folders: "\\Sentt": no special use`},
	} {
		_, err := reg.Open(connection.Settings{Driver: "imap", Config: json.RawMessage(`{"server":"h","username":"u","password":"p",` + test.json + `}`)}, nil)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q in it", test.json, err, test.want)
		}
	}
}

// Of all that imaptest offers the strongest is used, and the report says why the others were not.
func TestMechanismChoice(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Auth: imaptest.Auth{Mechanisms: imaptest.Mechanisms()}})
	c := open(t, srv.Config(), nil)
	report, err := c.Test(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(report.Steps, func(s connection.Step) bool { return s.Name == "auth" })
	for _, want := range []string{"SCRAM-SHA-256-PLUS over TLS 1.3", "XOAUTH2 (there is no token source)", "PLAIN (it comes after"} {
		if got := report.Steps[i].Detail; !strings.Contains(got, want) {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
}

// A refused token is renewed once, over a new connection; a second refusal is final. A token is asked for once for each
// connection.
func TestTokenRenewal(t *testing.T) {
	for _, mechanism := range []string{"XOAUTH2", "OAUTHBEARER"} {
		srv := imaptest.NewServer(t, &imaptest.Options{Auth: imaptest.Auth{Mechanisms: []string{mechanism}, NoLogin: true, Token: "good-token-7d41"}})
		var tokens []string
		asked := 0
		env := &connection.Env{Token: func(context.Context, connection.TokenRequest) (connection.Secret, error) {
			asked++
			token := tokens[0]
			tokens = tokens[1:]
			return connection.NewSecret(token), nil
		}}
		cfg := srv.Config()
		cfg.Password = connection.Secret{}
		for _, test := range []struct {
			tokens []string
			want   connection.Kind
			asked  int
		}{
			{[]string{"good-token-7d41"}, 0, 1},
			{[]string{"old-token-7d41", "good-token-7d41"}, 0, 2},
			{[]string{"old-token-7d41", "other-token-7d41", "good-token-7d41"}, connection.ErrAuth, 2},
			{[]string{"old-token-7d41", "old-token-7d41", "good-token-7d41"}, connection.ErrAuth, 2},
		} {
			tokens, asked = test.tokens, 0
			c := open(t, cfg, env)
			report, err := c.Test(t.Context(), nil)
			if connection.KindOf(err) != test.want || asked != test.asked {
				t.Errorf("%s %q: got %v, asked %d times; want %v, %d\n%s", mechanism, test.tokens, err, asked, test.want, test.asked, report)
			}
			if text := fmt.Sprint(report, err); strings.Contains(text, "token-7d41") {
				t.Errorf("%s: the token is shown: %s", mechanism, text)
			}
		}
	}
}

// A token source that does not answer ends with its ctx.
func TestTokenSourceBlocks(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Auth: imaptest.Auth{Mechanisms: []string{"XOAUTH2"}, NoLogin: true, Token: "good"}})
	cfg := srv.Config()
	cfg.Password = connection.Secret{}
	ctx, cancel := context.WithCancel(t.Context())
	env := &connection.Env{Token: func(ctx context.Context, _ connection.TokenRequest) (connection.Secret, error) {
		cancel()
		<-ctx.Done()
		return connection.Secret{}, ctx.Err()
	}}
	if _, err := open(t, cfg, env).Test(ctx, nil); connection.KindOf(err) != connection.ErrCanceled {
		t.Errorf("got %v", err)
	}
}
