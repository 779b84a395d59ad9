package saslx_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/saslx"
)

func unbase64(t *testing.T, text string) string {
	t.Helper()
	octets, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(octets)
}

func TestChoose(t *testing.T) {
	imap := func(a *saslx.Account) { a.Commands = []string{saslx.LoginCommand} }
	name := func(n string) func(*saslx.Account) { return func(a *saslx.Account) { a.Username = n } }
	only := func(m ...string) func(*saslx.Account) { return func(a *saslx.Account) { a.Mechanisms = m } }
	all := []string{"PLAIN", "LOGIN", "CRAM-MD5", "NTLM", "SCRAM-SHA-1", "scram-sha-256", "XOAUTH2", "OAUTHBEARER", "EXTERNAL", "GSSAPI"}
	with := func(o saslx.Offer, change func(*saslx.Offer)) saslx.Offer { change(&o); return o }
	clear := func(o *saslx.Offer) { o.TLS = nil }
	login := func(o *saslx.Offer) { o.Commands = []string{saslx.LoginCommand} }
	for _, tt := range []struct {
		name    string
		account saslx.Account
		offer   saslx.Offer
		want    string
		warning string // in the warning; "" for none
	}{
		{"a password", account(), offer(all...), "SCRAM-SHA-256", ""},
		{"SHA-1", account(), offer(all[:5]...), "SCRAM-SHA-1", ""},
		{"NTLM needs a domain", account(), offer(all[:4]...), "CRAM-MD5", ""},
		{"NTLM", account(name(`dom\juser`)), offer(all[:4]...), "NTLM", ""},
		{"PLAIN", account(), offer("LOGIN", "PLAIN"), "PLAIN", ""},
		{"LOGIN", account(imap), with(offer("LOGIN"), login), "LOGIN", ""},
		{"the command", account(imap), with(offer(), login), "login-command", ""},
		{"NTLM as the last resort", account(), offer("NTLM"), "NTLM", ""},
		{"the command before NTLM", account(imap), with(offer("NTLM"), login), "login-command", ""},
		{"a token", bearer(token), offer(all...), "OAUTHBEARER", ""},
		{"Microsoft", bearer(token), offer("PLAIN", "XOAUTH2"), "XOAUTH2", ""},
		{"a password and a token", account(func(a *saslx.Account) { a.Token = bearer(token).Token }), offer("PLAIN", "XOAUTH2"), "PLAIN", ""},
		{"a password and a token, told", account(only("xoauth2"), func(a *saslx.Account) { a.Token = bearer(token).Token }), offer("PLAIN", "XOAUTH2"), "XOAUTH2", ""},
		{"a certificate", account(func(a *saslx.Account) { a.Certificate = true }), with(offer(all...), func(o *saslx.Offer) { o.CertificateAsked = true }), "EXTERNAL", ""},
		{"case 21: nobody asked", account(func(a *saslx.Account) { a.Certificate = true }), offer(all...), "SCRAM-SHA-256", "did not ask for the client certificate"},
		{"case 13: a mailbox", account(name(`dom\juser\J.User`)), offer("NTLM", "LOGIN"), "LOGIN", "used instead of NTLM"},
		{"a mailbox, PLAIN", account(name(`dom/juser/J.User`)), offer("NTLM", "LOGIN", "PLAIN"), "PLAIN", "used instead of NTLM"},
		{"a mailbox, NTLM alone", account(name(`dom\juser\J.User`)), offer("NTLM"), "NTLM", "the mailbox opened is that of"},
		{"a mailbox, in the clear", account(name(`dom\juser\J.User`)), with(offer("NTLM", "LOGIN"), clear), "NTLM", "the mailbox opened is that of"},
		{"a mailbox, in the clear and allowed", account(name(`dom\juser\J.User`), func(a *saslx.Account) { a.AllowPlaintext = true }), with(offer("NTLM", "LOGIN"), clear), "NTLM", "the mailbox opened is that of"},
		{"one's own mailbox", account(name(`dom\juser\JUser`)), offer("NTLM", "LOGIN"), "NTLM", ""},
		{"the list", account(only("login", "Plain")), offer(all...), "LOGIN", ""},
		{"the list, next", account(only("ntlm", "plain")), offer("PLAIN", "SCRAM-SHA-256"), "PLAIN", ""},
		{"in the clear", account(), with(offer("PLAIN", "CRAM-MD5"), clear), "CRAM-MD5", "can guess the password"},
		{"in the clear, SCRAM", account(), with(offer("PLAIN", "SCRAM-SHA-1"), clear), "SCRAM-SHA-1", ""},
		{"in the clear, allowed", account(func(a *saslx.Account) { a.AllowPlaintext = true }), with(offer("PLAIN"), clear), "PLAIN", "allow_plaintext_auth"},
		{"many names", account(), offer(append(strings.Fields(strings.Repeat("X ", 60)), "PLAIN")...), "PLAIN", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := authenticator(t, tt.account).Choose(tt.offer)
			if err != nil {
				t.Fatal(err)
			}
			if c.Name != tt.want || c.Plain() != (tt.want == "login-command") {
				t.Errorf("got %s (plain %v), want %s", c.Name, c.Plain(), tt.want)
			}
			if got := c.Warning(); !strings.Contains(got, tt.warning) || (got != "") != (tt.warning != "") {
				t.Errorf("warning: got %q, want %q", got, tt.warning)
			}
		})
	}
}

// What Test shows: which mechanism, over what, and why no other.
func TestChoiceExplainsItself(t *testing.T) {
	c, err := authenticator(t, account()).Choose(offer("GSS\x1bAPI", "LOGIN", "XOAUTH2", "CRAM-MD5", "EXTERNAL"))
	if err != nil {
		t.Fatal(err)
	}
	const want = "CRAM-MD5 over TLS 1.2; passed over: EXTERNAL (client_cert_pem is not set), XOAUTH2 (there is no token source), LOGIN (it comes after CRAM-MD5), GSS?API (not known to this library)"
	if got := c.Detail(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	o := offer("PLAIN", "SCRAM-SHA-1", "APOP", "login-command")
	o.TLS = nil
	c, err = authenticator(t, account(func(a *saslx.Account) { a.Mechanisms, a.AllowPlaintext = []string{"scram-sha-256", "plain"}, true })).Choose(o)
	if err != nil {
		t.Fatal(err)
	}
	const plain = "PLAIN in the clear; passed over: SCRAM-SHA-256 (not offered), SCRAM-SHA-1 (not in auth_mechanisms), APOP (not in auth_mechanisms), LOGIN-COMMAND (not in auth_mechanisms)"
	if got := c.Detail(); got != plain {
		t.Errorf("got  %s\nwant %s", got, plain)
	}
}

// Case 17.
func TestNothingToChoose(t *testing.T) {
	clear := func(mechs ...string) saslx.Offer {
		o := offer(mechs...)
		o.TLS = nil
		return o
	}
	for _, tt := range []struct {
		name    string
		account saslx.Account
		offer   saslx.Offer
		kind    connection.Kind
		parts   []string
	}{
		{"nothing in common", account(), offer("GSSAPI"), connection.ErrAuth, []string{"offers GSSAPI", "not known", "password, oauth2"}},
		{"nothing at all", account(), offer(), connection.ErrAuth, []string{"offers none"}},
		{"nothing in the clear", account(), clear("GSSAPI"), connection.ErrAuth, []string{"mode:"}},
		{"PLAIN alone in the clear", account(), clear("PLAIN"), connection.ErrTLS, []string{"set it to starttls or tls", "allow_plaintext_auth", "PLAIN (it sends"}},
		{"a token in the clear", bearer(token), clear("XOAUTH2"), connection.ErrTLS, []string{"allow_plaintext_auth"}},
		{"the list", account(func(a *saslx.Account) { a.Mechanisms = []string{"ntlm"} }), offer("PLAIN"), connection.ErrAuth, []string{"auth_mechanisms:", "NTLM (not offered)", "PLAIN (not in auth_mechanisms)"}},
		{"no password", bearer(token), offer("PLAIN"), connection.ErrAuth, []string{"password is not set"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := authenticator(t, tt.account).Choose(tt.offer)
			want(t, discreet(t, err), tt.kind, tt.parts...)
		})
	}
	// Only what is offered over TLS counts: before it, the same account gets nothing.
	auth := authenticator(t, account())
	if _, err := auth.Choose(clear("PLAIN")); !errors.Is(err, connection.ErrTLS) {
		t.Errorf("before TLS: %v", err)
	}
	if c, err := auth.Choose(offer("SCRAM-SHA-256", "PLAIN")); err != nil || c.Name != "SCRAM-SHA-256" {
		t.Errorf("after TLS: %v, %v", c, err)
	}
}

// A server may offer what it likes: texts stay short, and nothing beyond the limit counts.
func TestEndlessOffer(t *testing.T) {
	o := offer(append(strings.Fields(strings.Repeat(strings.Repeat("X", 100)+" ", 1000)), "PLAIN")...)
	_, err := authenticator(t, account()).Choose(o)
	want(t, err, connection.ErrAuth, "and 44 more")
	if n := len(err.Error()); n > 3000 {
		t.Errorf("the error has %d octets", n)
	}
	o.Mechanisms = append([]string{"PLAIN"}, o.Mechanisms...)
	c, err := authenticator(t, account()).Choose(o)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.Detail()); n > 3000 {
		t.Errorf("the detail has %d octets", n)
	}
}

// A command of the protocol is not to be started as a mechanism.
func TestStartOfACommand(t *testing.T) {
	attempt := authenticator(t, account(func(a *saslx.Account) { a.Commands = []string{saslx.UserPass} })).Login()
	o := offer("user-pass") // from a driver that tries what the settings name
	o.Commands = []string{saslx.UserPass}
	c, err := attempt.Choose(o)
	if err != nil || !c.Plain() || len(c.Passed) > 0 {
		t.Fatal(c, err)
	}
	_, err = attempt.Start(t.Context(), c)
	want(t, err, connection.ErrInvalid)
}

// A character that SASLprep cannot be applied to is sent as it is, and Test says so.
func TestUnpreparedPasswordIsMentioned(t *testing.T) {
	a := account(func(a *saslx.Account) { a.Password = connection.NewSecret("\U0001f511") })
	c, err := authenticator(t, a).Choose(offer("SCRAM-SHA-256"))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Warning(); !strings.HasPrefix(got, "password: ") || strings.Contains(got, "\U0001f511") {
		t.Errorf("got %q, want a warning about the password without it", got)
	}
}

// Case 16, and what else is refused before anything is dialled.
func TestValidate(t *testing.T) {
	imap := func(a *saslx.Account) { a.Commands = []string{saslx.LoginCommand} }
	set := func(m ...string) func(*saslx.Account) { return func(a *saslx.Account) { a.Mechanisms = m } }
	name := func(n string) func(*saslx.Account) { return func(a *saslx.Account) { a.Username = n } }
	pass := func(p string) func(*saslx.Account) {
		return func(a *saslx.Account) { a.Password = connection.NewSecret(p) }
	}
	for _, tt := range []struct {
		change []func(*saslx.Account)
		want   string
	}{
		{[]func(*saslx.Account){name("")}, "username: missing"},
		{[]func(*saslx.Account){name("a\rb")}, "username: control character"},
		{[]func(*saslx.Account){name("a\nb")}, "username: control character"},
		{[]func(*saslx.Account){name("a\x00b")}, "username: control character"},
		{[]func(*saslx.Account){name("a\x01b")}, "username: control character"},
		{[]func(*saslx.Account){name(strings.Repeat("a", 1001))}, "username: longer than"},
		{[]func(*saslx.Account){name(`dom\`)}, `username: "dom\\": want domain\user[\mailbox]`},
		{[]func(*saslx.Account){pass("a" + password + "\r\nb")}, "password: it must not hold CR, LF or NUL"},
		{[]func(*saslx.Account){pass("a\x00b")}, "password: it must not hold CR, LF or NUL"},
		{[]func(*saslx.Account){pass("")}, "password: missing"},
		{[]func(*saslx.Account){pass(""), set("plain", "scram-sha-1")}, "password: missing (mechanisms PLAIN, SCRAM-SHA-1 need it)"},
		{[]func(*saslx.Account){set("kerberos")}, `auth_mechanisms: "kerberos": unknown, want one of external, `},
		{[]func(*saslx.Account){imap, set("apop")}, `auth_mechanisms: "apop": unknown, want one of`},
		{[]func(*saslx.Account){set("plain", "PLAIN")}, `auth_mechanisms: "PLAIN": given twice`},
		{[]func(*saslx.Account){set("external")}, `auth_mechanisms: "external": needs client_cert_pem`},
		{[]func(*saslx.Account){set("xoauth2")}, `auth_mechanisms: "xoauth2": needs oauth2 or a token hook`},
		{[]func(*saslx.Account){func(a *saslx.Account) { a.ActFor = "a\nb" }}, "act_for: control character"},
	} {
		_, err := saslx.New(account(tt.change...))
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
			continue
		}
		_ = discreet(t, err) // which is err itself
	}
	if _, err := saslx.New(account(imap, set("login-command"))); err != nil {
		t.Error(err)
	}
}

func TestParseName(t *testing.T) {
	for text, want := range map[string]saslx.Name{
		"juser":                    {User: "juser"},
		"user@dom":                 {User: "user@dom"},
		`DOM\JUser`:                {Domain: "DOM", User: "JUser"},
		"dom/juser":                {Domain: "dom", User: "juser"},
		`dom\juser\J.User`:         {Domain: "dom", User: "juser", Mailbox: "J.User"},
		"dom/juser/J.User":         {Domain: "dom", User: "juser", Mailbox: "J.User"},
		"dom.local/adm/user@x.org": {Domain: "dom.local", User: "adm", Mailbox: "user@x.org"},
		"user/shared@dom":          {User: "user/shared@dom"},
		"user@dom/shared":          {User: "user@dom/shared"},
		"/juser":                   {User: "/juser"},
		`dom\a/b`:                  {Domain: "dom", User: "a/b"},
	} {
		want.Text = text
		got, err := saslx.ParseName(text)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{`dom\`, `\juser`, `dom\\x`, `dom\a\`, `a\b\c\d`, "dom/", "dom/a/", "dom//x", "a/b/c/d"} {
		if n, err := saslx.ParseName(text); err == nil {
			t.Errorf("%s: got %+v, want an error", text, n)
		}
	}
}
