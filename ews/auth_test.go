package ews_test

import (
	"context"
	"crypto/tls"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// named names schemes for people.
func named(schemes ewstest.Schemes) string {
	var names []string
	for scheme, name := range map[ewstest.Schemes]string{ewstest.Basic: "Basic", ewstest.NTLM: "NTLM", ewstest.Negotiate: "Negotiate", ewstest.Bearer: "OAuth"} {
		if schemes&scheme != 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, "+")
}

// withAuth starts a server that authenticates so.
func withAuth(t testing.TB, a ewstest.Authentication) *rig {
	return newRig(t, &ewstest.Options{Auth: a})
}

// wrong returns the logins that the server refused.
func (r *rig) wrong() (refused []ewstest.Login) {
	for _, l := range r.Logins("") {
		if !l.OK {
			refused = append(refused, l)
		}
	}
	return refused
}

// theFetchError runs Fetch, which must yield one error and nothing else.
func theFetchError(t testing.TB, c *ews.Conn, want connection.Kind) *connection.Error {
	t.Helper()
	all := collect(t, c, nil)
	if len(all) != 1 {
		t.Fatalf("got %+v, want one error", all)
	}
	return theError(t, all[0].Err, want)
}

// wantHint fails the test unless the error's text or hint has all the parts.
func wantHint(t testing.TB, e *connection.Error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if all := e.Error() + "\n" + e.Hint; !strings.Contains(all, part) {
			t.Errorf("%q is not in %q", part, all)
		}
	}
}

// The server forgets its sessions: one more handshake for each connection, and the request once more.
func TestE13LostSession(t *testing.T) {
	for name, auth := range map[string]ewstest.Authentication{
		"NTLM":                        {Schemes: ewstest.NTLM},
		"NTLM without bodies":         {Schemes: ewstest.NTLM, NoBody: true, NoPersistentAuth: true},
		"Negotiate":                   {Schemes: ewstest.Negotiate},
		"every third request":         {Schemes: ewstest.NTLM, ReauthAfter: 3},
		"connection lost in between":  {Schemes: ewstest.NTLM, DropAfterChallenge: 2},
		"no target information":       {Schemes: ewstest.NTLM, NoTargetInfo: true},
		"all schemes are offered too": {Schemes: ewstest.Basic | ewstest.NTLM | ewstest.Negotiate, ReauthAfter: 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := withAuth(t, auth)
			r.cfg.Auth, r.cfg.BatchItems = ews.AuthAuto, 2
			want := letters(9)
			r.alice.Deliver("Inbox", want...)
			c := r.open(t)
			wantBodies(t, bodies(t, collect(t, c, nil)), want...)
			r.DropSessions()
			wantBodies(t, bodies(t, collect(t, c, nil)), want...)
			r.DropConnections()
			wantBodies(t, bodies(t, collect(t, c, nil)), want...)
			if refused := r.wrong(); len(refused) > 0 {
				t.Errorf("refused logins: %+v", refused)
			}
		})
	}
}

func TestE14NoChallenge(t *testing.T) {
	for _, scheme := range []string{ews.AuthAuto, ews.AuthBasic, ews.AuthNTLM} {
		t.Run(scheme, func(t *testing.T) {
			r := withAuth(t, ewstest.Authentication{Schemes: ewstest.Bearer, NoChallenge: true})
			r.cfg.Auth = scheme
			wantHint(t, theFetchError(t, r.open(t), connection.ErrAuth), "auth: ")
			if n := len(r.wrong()); n > 1 {
				t.Errorf("%d logins", n)
			}
		})
	}
}

// A token that is not valid yet: the hint names the clock.
func TestE33ClockSkew(t *testing.T) {
	r := withAuth(t, ewstest.Authentication{Schemes: ewstest.Bearer})
	r.AddToken(canary, ewstest.Token{User: alice, From: time.Now().Add(time.Hour)})
	r.env.Token = func(context.Context, connection.TokenRequest) (connection.Secret, error) {
		return connection.NewSecret(canary), nil
	}
	r.cfg.Password = connection.Secret{}
	e := theFetchError(t, r.open(t), connection.ErrAuth)
	wantHint(t, e, "clock")
	if strings.Contains(e.Error()+e.Hint, canary) {
		t.Errorf("the token is in %q", e)
	}
}

// A token that has expired is renewed once.
func TestOAuthExpiry(t *testing.T) {
	r := withAuth(t, ewstest.Authentication{Schemes: ewstest.Bearer})
	r.AddToken("old-"+canary, ewstest.Token{User: alice, Until: time.Now().Add(-time.Minute)})
	r.AddToken("new-"+canary, ewstest.Token{User: alice})
	var mu sync.Mutex
	renewed := 0
	r.env.Token = func(_ context.Context, req connection.TokenRequest) (connection.Secret, error) {
		mu.Lock()
		defer mu.Unlock()
		if req.Renew {
			renewed++
		}
		if renewed > 0 {
			return connection.NewSecret("new-" + canary), nil
		}
		return connection.NewSecret("old-" + canary), nil
	}
	r.cfg.Password = connection.Secret{}
	want := letters(12)
	r.alice.Deliver("Inbox", want...)
	wantBodies(t, bodies(t, collect(t, r.open(t), nil)), want...)
	if renewed != 1 {
		t.Errorf("renewed %d times", renewed)
	}
}

// Names and passwords beyond ASCII.
func TestE34Charsets(t *testing.T) {
	const jörg, pass = "jörg@corp.test", "Schlüssel-" + canary + "-ß"
	for name, test := range map[string]struct {
		auth ewstest.Authentication
		most int // refused logins
	}{
		"NTLM":            {ewstest.Authentication{Schemes: ewstest.NTLM}, 0},
		"Basic, UTF-8":    {ewstest.Authentication{Schemes: ewstest.Basic}, 0},
		"Basic, Latin-1":  {ewstest.Authentication{Schemes: ewstest.Basic, Latin1: true}, 1},
		"NTLM, bare name": {ewstest.Authentication{Schemes: ewstest.NTLM, Forms: ewstest.NameBare}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := withAuth(t, test.auth)
			box := r.AddMailbox(jörg, ewstest.MailboxOptions{Password: pass})
			r.cfg.Username, r.cfg.Password = jörg, connection.NewSecret(pass)
			want := letters(3)
			box.Deliver("Inbox", want...)
			c := r.open(t)
			for range 2 {
				wantBodies(t, bodies(t, collect(t, c, nil)), want...)
			}
			if refused := r.wrong(); len(refused) > test.most {
				t.Errorf("refused logins: %+v", refused)
			}
		})
	}
}

// The ways to write a name that the manual knows.
func TestUserNames(t *testing.T) {
	for name, forms := range map[string]ewstest.NameForms{
		alice:                  ewstest.NameSMTP | ewstest.NameUPN,
		`CORP\alice`:           ewstest.NameDomain,
		`CORP\alice\ann.other`: ewstest.NameDomain,
		"alice":                ewstest.NameBare,
	} {
		for _, scheme := range []ewstest.Schemes{ewstest.Basic, ewstest.NTLM} {
			t.Run(name+" "+named(scheme), func(t *testing.T) {
				r := withAuth(t, ewstest.Authentication{Schemes: scheme, Forms: forms})
				r.cfg.Username = name
				want := letters(2)
				r.alice.Deliver("Inbox", want...)
				mailbox := &connection.FetchOptions{}
				if strings.Count(name, `\`) > 1 {
					r.GrantImpersonation(alice)
					mailbox.Mailbox = alice
				}
				wantBodies(t, bodies(t, collect(t, r.open(t), mailbox)), want...)
				if refused := r.wrong(); len(refused) > 0 {
					t.Errorf("refused logins: %+v", refused)
				}
			})
		}
	}
}

func TestE43OldTLS(t *testing.T) {
	r := newRig(t, &ewstest.Options{Hosts: map[string]ewstest.Host{"exchange.corp.test": {MaxTLS: tls.VersionTLS10}}})
	want := letters(2)
	r.alice.Deliver("Inbox", want...)
	wantHint(t, theFetchError(t, r.open(t), connection.ErrTLS), "min_tls")
	r.cfg.MinTLS = "1.0"
	wantBodies(t, bodies(t, collect(t, r.open(t), nil)), want...)
}

// A hundred at once with a wrong password: two logins at most, and none after.
func TestE62Storm(t *testing.T) {
	for _, scheme := range []ewstest.Schemes{ewstest.Basic, ewstest.NTLM, ewstest.Basic | ewstest.NTLM | ewstest.Negotiate} {
		t.Run(named(scheme), func(t *testing.T) {
			r := newRig(t, &ewstest.Options{Auth: ewstest.Authentication{Schemes: scheme, LockAfter: 3}})
			r.cfg.Password = connection.NewSecret("wrong-" + canary)
			c := r.open(t)
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() { wantHint(t, theFetchError(t, c, connection.ErrAuth), "password") })
			}
			wg.Wait()
			if n := len(r.wrong()); n < 1 || n > 2 {
				t.Errorf("%d logins, want 1 or 2", n)
			}
			before := len(r.Requests())
			wantHint(t, theFetchError(t, c, connection.ErrAuth), "not tried again")
			if n := len(r.Requests()); n != before {
				t.Errorf("%d requests after the final refusal", n-before)
			}
		})
	}
}

// What the server says about an account is final at once where it must be.
func TestAccountStates(t *testing.T) {
	for state, hint := range map[ewstest.AccountState]string{
		ewstest.AccountLocked: "locked", ewstest.AccountDisabled: "", ewstest.AccountPasswordExpired: "expired", ewstest.AccountMustChangePassword: "next logon",
	} {
		r := withAuth(t, ewstest.Authentication{Schemes: ewstest.NTLM})
		r.SetAccountState(alice, state)
		wantHint(t, theFetchError(t, r.open(t), connection.ErrAuth), hint)
		if n := len(r.wrong()); n > 2 || state == ewstest.AccountLocked && n != 1 {
			t.Errorf("state %d: %d logins", state, n)
		}
	}
}

// A server that demands Extended Protection takes a login with channel_binding, and the error of one without says so.
func TestExtendedProtection(t *testing.T) {
	for name, test := range map[string]struct {
		protection ewstest.ExtendedProtection
		good       map[string]bool // by the setting
	}{
		"off":     {ewstest.ProtectionOff, map[string]bool{"off": true, "on": true}},
		"allow":   {ewstest.ProtectionAllow, map[string]bool{"off": true, "on": true}},
		"require": {ewstest.ProtectionRequire, map[string]bool{"off": false, "on": true}},
	} {
		for setting, good := range test.good {
			t.Run(name+", channel_binding "+setting, func(t *testing.T) {
				r := withAuth(t, ewstest.Authentication{Schemes: ewstest.NTLM, Protection: test.protection})
				r.cfg.ChannelBinding = setting
				want := letters(2)
				r.alice.Deliver("Inbox", want...)
				c := r.open(t)
				if good {
					wantBodies(t, bodies(t, collect(t, c, nil)), want...)
					return
				}
				wantHint(t, theFetchError(t, c, connection.ErrAuth), "channel_binding", "Extended Protection")
			})
		}
	}
}

// A challenge that cannot be answered, and HTTP/2, which IIS does not authenticate over.
func TestNTLMOddities(t *testing.T) {
	r := withAuth(t, ewstest.Authentication{Schemes: ewstest.NTLM, NTLMFlags: 1 << 30})
	wantHint(t, theFetchError(t, r.open(t), connection.ErrUnsupported), "key exchange", "auth: ")

	r = newRig(t, &ewstest.Options{Auth: ewstest.Authentication{Schemes: ewstest.NTLM}, Hosts: map[string]ewstest.Host{"*": {HTTP2: true}}})
	want := letters(2)
	r.alice.Deliver("Inbox", want...)
	wantBodies(t, bodies(t, collect(t, r.open(t), nil)), want...)
}
