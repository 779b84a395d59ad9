package ewstest_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/ews/ewstest"
)

func TestBasicTakesEveryFormOfName(t *testing.T) {
	srv, _ := server(t, nil)
	for _, name := range []string{aliceAddress, "al@corp.local", `CORP\alice`, "alice", `\alice`, "ALICE@corp.test"} {
		c := newBareClient(t, srv)
		c.auth = basic(name, alicePassword)
		c.must(getInbox)
	}
	for _, r := range srv.Requests() {
		if r.User != aliceAddress {
			t.Errorf("a request was %q's", r.User)
		}
	}
}

func TestFormsOfNamesThatAreNotPermitted(t *testing.T) {
	srv, _ := server(t, &ewstest.Options{Auth: ewstest.Authentication{Forms: ewstest.NameBare}})
	for name, why := range map[string]string{
		aliceAddress: "wrong form of name", "al@corp.local": "wrong form of name", `CORP\alice`: "wrong form of name", `OTHER\alice`: "no such user",
		"nobody": "no such user", "alice": "",
	} {
		c := newBareClient(t, srv)
		c.auth = basic(name, alicePassword)
		r, logins := c.call(getInbox), srv.Logins("")
		last := logins[len(logins)-1]
		if (r.status == http.StatusOK) != (why == "") || last.OK != (why == "") || last.Why != why && name != `OTHER\alice` {
			t.Errorf("%s: status %d, login %+v, want %q", name, r.status, last, why)
		}
	}
}

func TestBasicInLatin1(t *testing.T) {
	srv, _ := server(t, &ewstest.Options{Auth: ewstest.Authentication{Latin1: true}})
	c := newBareClient(t, srv)
	c.auth = basic(aliceAddress, "p\xe4ssw\xf6rd")
	c.must(getInbox)
	c.auth = basic(aliceAddress, alicePassword)
	if r := c.call(getInbox); r.status != http.StatusUnauthorized {
		t.Errorf("UTF-8: got status %d", r.status)
	}
}

func TestUnauthorizedAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		auth   ewstest.Authentication
		offers []string
		body   bool
	}{
		"usual":        {ewstest.Authentication{}, []string{`Basic realm="exchange.corp.test"`}, true},
		"all":          {ewstest.Authentication{Schemes: ewstest.Basic | ewstest.NTLM | ewstest.Negotiate}, []string{"Negotiate", "NTLM", `Basic realm="exchange.corp.test"`}, true},
		"no body":      {ewstest.Authentication{NoBody: true}, []string{`Basic realm="exchange.corp.test"`}, false},
		"no challenge": {ewstest.Authentication{NoChallenge: true}, nil, true},
	} {
		srv, _ := server(t, &ewstest.Options{Auth: test.auth})
		r := newBareClient(t, srv).call(getInbox)
		if got := r.header.Values("WWW-Authenticate"); r.status != http.StatusUnauthorized || !slices.Equal(got, test.offers) || (r.body != "") != test.body {
			t.Errorf("%s: got %d, offers %q, body %q", name, r.status, got, r.body)
		}
	}
}

// A scheme that is not offered is not obeyed.
func TestSchemeNotOffered(t *testing.T) {
	srv, _ := server(t, &ewstest.Options{Auth: ewstest.Authentication{Schemes: ewstest.NTLM}})
	if r := alice(t, srv).call(getInbox); r.status != http.StatusUnauthorized {
		t.Errorf("got status %d", r.status)
	}
	if logins := srv.Logins(""); len(logins) != 0 {
		t.Errorf("got %+v", logins)
	}
}

func TestAccountIsLockedAndBlocked(t *testing.T) {
	clock := newClock()
	srv, _ := server(t, &ewstest.Options{Clock: clock, Auth: ewstest.Authentication{LockAfter: 3, BlockAfter: 2}})
	good, bad := alice(t, srv), newBareClient(t, srv)
	bad.auth = basic(aliceAddress, "wrong")
	status := func(c *bareClient, want int, text string) {
		t.Helper()
		if r := c.call(getInbox); r.status != want || !strings.Contains(r.body, text) {
			t.Errorf("got status %d, %q, want %d, %q", r.status, r.body, want, text)
		}
	}
	status(bad, http.StatusUnauthorized, "Access is denied")
	status(good, http.StatusOK, "")
	status(bad, http.StatusUnauthorized, "Access is denied")
	status(bad, http.StatusUnauthorized, "Access is denied")
	status(good, http.StatusUnauthorized, "") // blocked
	clock.advance(time.Minute)
	status(good, http.StatusOK, "")

	for state, text := range map[ewstest.AccountState]string{
		ewstest.AccountLocked: "currently locked out", ewstest.AccountDisabled: "disabled", ewstest.AccountPasswordExpired: "has expired",
		ewstest.AccountMustChangePassword: "must be changed",
	} {
		srv.SetAccountState(aliceAddress, state)
		status(good, http.StatusUnauthorized, text)
	}
	srv.SetAccountState(aliceAddress, ewstest.AccountActive)
	status(good, http.StatusOK, "")
	if got := len(srv.Logins(aliceAddress)); got != 11 {
		t.Errorf("got %d logins", got)
	}
}

func TestFailuresLockForGood(t *testing.T) {
	srv, _ := server(t, &ewstest.Options{Auth: ewstest.Authentication{LockAfter: 2}})
	c := newBareClient(t, srv)
	c.auth = basic(aliceAddress, "wrong")
	c.call(getInbox)
	c.call(getInbox)
	if r := alice(t, srv).call(getInbox); r.status != http.StatusUnauthorized || !strings.Contains(r.body, "locked out") {
		t.Errorf("got status %d: %s", r.status, r.body)
	}
}

func TestBearerTokens(t *testing.T) {
	clock := newClock()
	now := clock.Now()
	srv, _ := server(t, &ewstest.Options{Clock: clock, Auth: ewstest.Authentication{Schemes: ewstest.Bearer}})
	srv.AddAccount("app@corp.test", ewstest.AccountOptions{})
	srv.GrantImpersonation("app@corp.test", aliceAddress)
	srv.AddToken("user", ewstest.Token{User: aliceAddress})
	srv.AddToken("old", ewstest.Token{User: aliceAddress, Until: now})
	srv.AddToken("young", ewstest.Token{User: aliceAddress, From: now.Add(time.Minute)})
	srv.AddToken("app", ewstest.Token{User: "app@corp.test", AppOnly: true})
	impersonating := envelope(aliceAddress, getInbox[strings.Index(getInbox, "<m:"):strings.Index(getInbox, "</s:Body>")])
	for _, test := range []struct {
		token, body string
		status      int
		text        string
	}{
		{"user", getInbox, http.StatusOK, "NoError"},
		{"nonsense", getInbox, http.StatusUnauthorized, "invalid_grant"},
		{"old", getInbox, http.StatusUnauthorized, "token expired"},
		{"young", getInbox, http.StatusUnauthorized, "nbf"},
		{"app", getInbox, http.StatusInternalServerError, "must be present for this type of OAuth token"},
		{"app", impersonating, http.StatusOK, "NoError"},
		{"user", impersonating, http.StatusInternalServerError, "Error"},
	} {
		c := newBareClient(t, srv)
		c.auth = "Bearer " + test.token
		if r := c.call(test.body); r.status != test.status || !strings.Contains(r.body+r.header.Get("X-Ms-Diagnostics"), test.text) {
			t.Errorf("%s: got status %d, %q, %s", test.token, r.status, r.header, r.body)
		}
	}
}

func TestCredentialsWhereTheyMustNotBe(t *testing.T) {
	srv, err := ewstest.Listen(&ewstest.Options{Hosts: map[string]ewstest.Host{"evil.test": {Hostile: true}}})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	c := newBareClient(t, srv)
	c.send(t.Context(), http.MethodGet, "https://evil.test/", "")
	c.send(t.Context(), http.MethodGet, "http://exchange.corp.test/", "")
	if got := srv.Leaks(); len(got) != 0 {
		t.Fatalf("got %q without a credential", got)
	}
	c.auth = basic("a", "secret")
	c.send(t.Context(), http.MethodGet, "https://evil.test/", "")
	c.send(t.Context(), http.MethodGet, "http://exchange.corp.test/", "")
	c.send(t.Context(), http.MethodGet, "https://exchange.corp.test/", "")
	got := srv.Leaks()
	if len(got) != 2 || !strings.Contains(got[0], "evil.test") || !strings.Contains(got[1], "tls false") || strings.Contains(strings.Join(got, ""), "secret") {
		t.Errorf("got %q", got)
	}
}
