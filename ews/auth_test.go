package ews_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
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
	return theError(t, all[0].err, want)
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

func TestE15WebPages(t *testing.T) {
	for name, test := range map[string]struct {
		fault ewstest.Fault
		kind  connection.Kind
		hint  string
	}{
		"login page":         {ewstest.Page(200, "Sign in to Outlook"), connection.ErrProtocol, "web page"},
		"redirect to a form": {ewstest.Redirect("https://exchange.corp.test/owa/auth/logon.aspx"), connection.ErrProtocol, "web page"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.alice.Deliver("Inbox", letters(1)...)
			r.Fail(ewstest.On("*"), test.fault)
			wantHint(t, theFetchError(t, r.open(t), test.kind), test.hint)
		})
	}
	t.Run("page of errors", func(t *testing.T) {
		r := newRig(t, nil)
		var throttled atomicEvents
		r.env.Observe = throttled.observe
		want := letters(3)
		r.alice.Deliver("Inbox", want...)
		r.Fail(ewstest.On("*").Times(1), ewstest.ErrorPage())
		wantBodies(t, bodies(t, collect(t, r.open(t), nil)), want...)
		if n := throttled.count(connection.EventThrottled); n != 1 {
			t.Errorf("%d events, want 1", n)
		}
	})
}

// atomicEvents counts events.
type atomicEvents struct {
	mu     sync.Mutex
	events []connection.Event
}

func (a *atomicEvents) observe(e connection.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, e)
}

func (a *atomicEvents) count(kind connection.EventKind) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// Whatever a server asks for, nothing is asked again before, and a wait ends with its context.
func TestE16Waits(t *testing.T) {
	for name, fault := range map[string]ewstest.Fault{
		"503, 1 second":   ewstest.Unavailable("1"),
		"503, 0":          ewstest.Unavailable("0"),
		"503, negative":   ewstest.Unavailable("-1"),
		"503, a date":     ewstest.Unavailable(time.Now().Add(2 * time.Second).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")),
		"back-off 0":      ewstest.BusyWithoutTime(),
		"back-off 700 ms": ewstest.Busy(700 * time.Millisecond),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			want := letters(3)
			r.alice.Deliver("Inbox", want...)
			r.Fail(ewstest.On("GetItem").Times(1), fault)
			wantBodies(t, bodies(t, collect(t, r.open(t), nil)), want...)
			if n := r.Penalty(); n != 0 {
				t.Errorf("%d requests came before the time was over", n)
			}
		})
	}
	for name, fault := range map[string]ewstest.Fault{"503, an hour": ewstest.Unavailable("3600"), "back-off 300,000": ewstest.Busy(300 * time.Second)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			r.alice.Deliver("Inbox", letters(1)...)
			r.Fail(ewstest.On("*").Times(1), fault)
			c := r.open(t)
			e := theFetchError(t, c, connection.ErrThrottled)
			if e.RetryAfter < time.Minute || e.RetryAfter > time.Hour {
				t.Errorf("wait %s", e.RetryAfter)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				for _, err := range c.Fetch(ctx, &connection.FetchOptions{Follow: true}) {
					done <- err
					return
				}
				done <- nil
			}()
			cancel()
			select {
			case err := <-done:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			case <-time.After(time.Minute):
				t.Error("the wait does not end with its context")
			}
			if n := r.Penalty(); n != 0 {
				t.Errorf("%d requests came before the time was over", n)
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

// A log at the lowest level has no credential, no cookie and no mail in it.
func TestE44Logs(t *testing.T) {
	const mail = "only-in-the-mail-5b21"
	for _, scheme := range []ewstest.Schemes{ewstest.Basic, ewstest.NTLM, ewstest.Bearer} {
		t.Run(named(scheme), func(t *testing.T) {
			c := conformance{scheme: scheme}
			r := c.rig(t)
			r.env.Token = func(context.Context, connection.TokenRequest) (connection.Secret, error) {
				return connection.NewSecret(canary), nil
			}
			var log bytes.Buffer
			r.env.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: connection.LevelTrace}))
			const cookie = "hush-93f1"
			r.Fail(ewstest.On("*"), ewstest.Header("Set-Cookie", "X-BackEndCookie="+cookie))
			r.alice.Deliver("Inbox", []byte("Subject: "+mail+"\r\nMessage-ID: <x@corp.test>\r\n\r\n"+mail+"\r\n"))
			conn := r.open(t)
			bodies(t, collect(t, conn, nil))
			r.Fail(ewstest.On("*"), ewstest.Unauthorized())
			for _, f := range collect(t, conn, nil) {
				if f.err != nil && strings.Contains(fmt.Sprintf("%v %+v", f.err, f.err), canary) {
					t.Errorf("the credential is in %q", f.err)
				}
			}
			logged := log.String()
			if !strings.Contains(logged, "GetItem") {
				t.Errorf("there is no trace:\n%s", logged)
			}
			for _, secret := range []string{canary, mail, cookie, "TlRMTVNTUA"} {
				if strings.Contains(logged, secret) {
					t.Errorf("%q is in the log", secret)
				}
			}
			for _, q := range r.Requests() {
				if _, credential, ok := strings.Cut(q.Header.Get("Authorization"), " "); ok && strings.Contains(logged, credential) {
					t.Error("a credential is in the log")
				}
			}
		})
	}
}

// No request body is ever sent in chunks, and each is named.
func TestE45NoChunks(t *testing.T) {
	for _, scheme := range []ewstest.Schemes{ewstest.Basic, ewstest.NTLM} {
		r := withAuth(t, ewstest.Authentication{Schemes: scheme})
		c := r.open(t)
		if _, err := c.Append(t.Context(), "Inbox", bytes.NewReader(large(300_000)), nil); err != nil {
			t.Fatal(err)
		}
		if n := len(bodies(t, collect(t, c, nil))); n != 1 {
			t.Errorf("%d messages", n)
		}
		for _, q := range r.Requests() {
			if q.Header.Get("Transfer-Encoding") != "" || q.Header.Get("Content-Length") == "" {
				t.Errorf("%s: %v", q.Operation, q.Header)
			}
			if q.Operation != "" && q.Anchor == "" {
				t.Errorf("%s without X-AnchorMailbox", q.Operation)
			}
		}
	}
}

// Two mailboxes over one connection, and two accounts in one process: each gets its own mail.
func TestE54NeverTheOthers(t *testing.T) {
	for _, scheme := range []ewstest.Schemes{ewstest.Basic, ewstest.NTLM} {
		t.Run(named(scheme), func(t *testing.T) {
			r := withAuth(t, ewstest.Authentication{Schemes: scheme})
			other := r.AddMailbox(bob, ewstest.MailboxOptions{Password: canary + "b"})
			r.AddAccount(svc, ewstest.AccountOptions{Password: canary})
			r.GrantImpersonation(svc)
			mine, his := letters(8)[:4], letters(8)[4:]
			r.alice.Deliver("Inbox", mine...)
			other.Deliver("Inbox", his...)
			of := func(user, pass string) *ews.Conn {
				cfg := r.cfg
				cfg.Username, cfg.Password = user, connection.NewSecret(pass)
				return open(t, cfg, r.env)
			}
			service, hers, hisOwn := of(svc, canary), of(alice, canary), of(bob, canary+"b")
			var wg sync.WaitGroup
			for range 3 {
				for _, who := range []struct {
					conn    *ews.Conn
					mailbox string
					want    [][]byte
				}{{service, alice, mine}, {service, bob, his}, {hers, "", mine}, {hisOwn, "", his}} {
					wg.Go(func() {
						wantBodies(t, bodies(t, collect(t, who.conn, &connection.FetchOptions{Mailbox: who.mailbox})), who.want...)
					})
				}
			}
			wg.Wait()
			users := map[int][]string{} // by connection
			for _, q := range r.Requests() {
				if q.User != "" && !slices.Contains(users[q.Conn], q.User) {
					users[q.Conn] = append(users[q.Conn], q.User)
				}
			}
			for conn, list := range users {
				if len(list) > 1 {
					t.Errorf("connection %d was used by %v", conn, list)
				}
			}
		})
	}
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

// A body is sent once, but where a session turns out to be lost.
func TestUploadsGoOnce(t *testing.T) {
	r := withAuth(t, ewstest.Authentication{Schemes: ewstest.NTLM})
	c := r.open(t)
	before := r.UploadedBytes()
	if _, err := c.Append(t.Context(), "Inbox", bytes.NewReader(large(1<<20)), nil); err != nil {
		t.Fatal(err)
	}
	if n, want := r.UploadedBytes()-before, int64(1<<20*4/3); n > want+want/10 {
		t.Errorf("%d octets went up, want about %d", n, want)
	}
}
