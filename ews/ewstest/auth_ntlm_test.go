package ewstest_test

import (
	"bytes"
	"crypto/md5" //nolint:gosec // channel bindings are hashed so
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/ews/ewstest"
)

func ntlmServer(t *testing.T, change ...func(*ewstest.Authentication)) *ewstest.Server {
	t.Helper()
	o := &ewstest.Options{Auth: ewstest.Authentication{Schemes: ewstest.NTLM | ewstest.Negotiate}}
	for _, f := range change {
		f(&o.Auth)
	}
	srv, _ := server(t, o)
	return srv
}

func TestNTLMAuthenticatesTheConnection(t *testing.T) {
	for _, scheme := range []string{"NTLM", "Negotiate"} {
		for _, name := range []string{`CORP\alice`, aliceAddress, "al@corp.local", "alice", `\alice`, `\al@corp.local`, `corp.local\alice`} {
			srv := ntlmServer(t)
			c := newBareClient(t, srv)
			first, second := c.ntlm(scheme, name, alicePassword, getInbox, nil)
			if first.status != http.StatusUnauthorized || first.body == "" || second.status != http.StatusOK || second.header.Get("Persistent-Auth") != "true" {
				t.Fatalf("%s, %s: got %d, then %d with %q", scheme, name, first.status, second.status, second.header)
			}
			c.must(getInbox) // as the same user, without a word
			requests := srv.Requests()
			if got := requests[len(requests)-1]; got.User != aliceAddress || got.Authorised != "" || srv.Connections() != 1 {
				t.Errorf("%s, %s: the last request is %q's, on %d connections", scheme, name, got.User, srv.Connections())
			}
			if logins := srv.Logins(""); len(logins) != 1 || !logins[0].OK || logins[0].Scheme != scheme {
				t.Errorf("%s, %s: got %+v", scheme, name, logins)
			}
		}
	}
}

func TestNTLMTellsWhyNot(t *testing.T) {
	srv := ntlmServer(t)
	for _, test := range []struct{ name, password, why string }{
		{`CORP\alice`, "wrong", "wrong password"},
		{`OTHER\alice`, alicePassword, "wrong domain"},
		{`CORP\bob`, alicePassword, "no such user"},
	} {
		_, second := newBareClient(t, srv).ntlm("NTLM", test.name, test.password, getInbox, nil)
		logins := srv.Logins("")
		if last := logins[len(logins)-1]; second.status != http.StatusUnauthorized || last.OK || last.Why != test.why {
			t.Errorf("%s: got status %d, %+v, want %q", test.name, second.status, last, test.why)
		}
	}
}

// The rows of the state machine that end with 401.
func TestNTLMForgets(t *testing.T) {
	const negotiate = "NTLM TlRMTVNTUAABAAAAB4IIAAAAAAAAAAAAAAAAAAAAAAA="
	const authenticate = "NTLM TlRMTVNTUAADAAAA"
	challenged := func(c *bareClient) { c.call("", "Authorization", negotiate) }
	authenticated := func(c *bareClient) { c.ntlm("NTLM", "alice", alicePassword, getInbox, nil) }
	for name, test := range map[string]struct {
		before func(*bareClient)
		auth   string
		next   bool // whether a request without credentials is executed afterwards
	}{
		"anonymous, authenticate":            {func(*bareClient) {}, authenticate, false},
		"anonymous, garbage":                 {func(*bareClient) {}, "NTLM !", false},
		"challenged, nothing":                {challenged, "", false},
		"challenged, garbage":                {challenged, "NTLM AAAA", false},
		"challenged, authenticate cut":       {challenged, authenticate, false},
		"challenged, authenticate elsewhere": {challenged, "Negotiate" + authenticate[4:], false},
		"authenticated, negotiate":           {authenticated, negotiate, false},
		"authenticated, authenticate":        {authenticated, authenticate, false},
	} {
		t.Run(name, func(t *testing.T) {
			srv := ntlmServer(t)
			c := newBareClient(t, srv)
			test.before(c)
			var headers []string
			if test.auth != "" {
				headers = []string{"Authorization", test.auth}
			}
			if r := c.call(getInbox, headers...); r.status != http.StatusUnauthorized {
				t.Errorf("got status %d", r.status)
			}
			if r := c.call(getInbox); (r.status == http.StatusOK) != test.next {
				t.Errorf("afterwards: got status %d", r.status)
			}
			if got := srv.Connections(); got != 1 {
				t.Errorf("got %d connections, want 1: the states were not those of one", got)
			}
		})
	}
}

func TestNTLMStateIsTheConnections(t *testing.T) {
	srv := ntlmServer(t)
	srv.AddMailbox("bob@corp.test", ewstest.MailboxOptions{Password: "b"})
	a, b := newBareClient(t, srv), newBareClient(t, srv)
	a.ntlm("NTLM", "alice", alicePassword, getInbox, nil)
	if r := b.call(getInbox); r.status != http.StatusUnauthorized {
		t.Errorf("another connection: got status %d", r.status)
	}
	b.ntlm("NTLM", "bob", "b", getInbox, nil)
	a.must(getInbox)
	b.must(getInbox)
	requests := srv.Requests()
	if last := requests[len(requests)-2:]; last[0].User != aliceAddress || last[1].User != "bob@corp.test" || last[0].Conn == last[1].Conn {
		t.Errorf("got %q on %d and %q on %d", last[0].User, last[0].Conn, last[1].User, last[1].Conn)
	}
}

func TestNTLMSessionsEnd(t *testing.T) {
	clock := newClock()
	for name, test := range map[string]struct {
		auth func(*ewstest.Authentication)
		end  func(*ewstest.Server, *bareClient)
	}{
		"after requests": {func(a *ewstest.Authentication) { a.ReauthAfter = 2 }, func(_ *ewstest.Server, c *bareClient) { c.must(getInbox) }},
		"after a time": {func(a *ewstest.Authentication) { a.ReauthAge = time.Minute }, func(_ *ewstest.Server, c *bareClient) {
			c.must(getInbox)
			clock.advance(time.Minute)
		}},
		"by hand": {func(*ewstest.Authentication) {}, func(srv *ewstest.Server, _ *bareClient) { srv.DropSessions() }},
		"by a fault": {func(*ewstest.Authentication) {}, func(srv *ewstest.Server, _ *bareClient) {
			srv.Fail(ewstest.On("GetFolder").Times(1), ewstest.Unauthorized())
		}},
	} {
		t.Run(name, func(t *testing.T) {
			o := &ewstest.Options{Clock: clock, Auth: ewstest.Authentication{Schemes: ewstest.NTLM, NoPersistentAuth: true}}
			test.auth(&o.Auth)
			srv, _ := server(t, o)
			c := newBareClient(t, srv)
			if _, r := c.ntlm("NTLM", "alice", alicePassword, getInbox, nil); r.status != http.StatusOK || r.header.Get("Persistent-Auth") != "" {
				t.Fatalf("got status %d, %q", r.status, r.header)
			}
			test.end(srv, c)
			for range 2 { // the session stays lost
				if r := c.call(getInbox); r.status != http.StatusUnauthorized {
					t.Errorf("got status %d", r.status)
				}
			}
			if _, r := c.ntlm("NTLM", "alice", alicePassword, getInbox, nil); r.status != http.StatusOK {
				t.Errorf("again: got status %d", r.status)
			}
		})
	}
}

func TestNTLMConnectionDropsBehindTheChallenge(t *testing.T) {
	srv := ntlmServer(t, func(a *ewstest.Authentication) { a.DropAfterChallenge = 1 })
	c := newBareClient(t, srv)
	if _, r := c.ntlm("NTLM", "alice", alicePassword, getInbox, nil); r.status != http.StatusUnauthorized {
		t.Errorf("on a new connection: got status %d", r.status)
	}
	if _, r := c.ntlm("NTLM", "alice", alicePassword, getInbox, nil); r.status != http.StatusOK {
		t.Errorf("the second time: got status %d", r.status)
	}
	if got := srv.Connections(); got != 2 {
		t.Errorf("got %d connections", got)
	}
}

func TestNTLMChallengesThatGoRefuses(t *testing.T) {
	for name, flag := range map[string]uint32{"KEY_EXCH": 1 << 30, "LM_KEY": 1 << 7} {
		srv := ntlmServer(t, func(a *ewstest.Authentication) { a.NTLMFlags = flag })
		if _, r := newBareClient(t, srv).ntlm("NTLM", "alice", alicePassword, getInbox, nil); r.err == nil {
			t.Errorf("%s: the challenge does not ask for it", name)
		}
	}
}

func TestNTLMWithoutTargetInfo(t *testing.T) {
	srv := ntlmServer(t, func(a *ewstest.Authentication) { a.NoTargetInfo = true })
	_, r := newBareClient(t, srv).ntlm("NTLM", "alice", alicePassword, getInbox, func(challenge []byte) []byte {
		if size := binary.LittleEndian.Uint16(challenge[40:]); size != 0 {
			t.Errorf("the challenge has %d octets of target information", size)
		}
		return challenge
	})
	if r.status != http.StatusOK {
		t.Errorf("got status %d", r.status)
	}
}

// bind adds channel bindings to a challenge, as section 6.3 of the specification does.
func bind(t *testing.T, srv *ewstest.Server) func([]byte) []byte {
	t.Helper()
	env := srv.Env()
	raw, err := env.Dial(t.Context(), "tcp", "exchange.corp.test:443")
	if err != nil {
		t.Fatal(err)
	}
	conf := env.TLS.Clone()
	conf.ServerName = "exchange.corp.test"
	conn := tls.Client(raw, conf)
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(conn.ConnectionState().PeerCertificates[0].Raw)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	data := append([]byte("tls-server-end-point:"), hash[:]...)
	structure := binary.LittleEndian.AppendUint32(make([]byte, 16), uint32(len(data)))
	sum := md5.Sum(append(structure, data...)) //nolint:gosec // channel bindings are hashed so
	return func(challenge []byte) []byte {
		info := append([]byte{0xa, 0, 16, 0}, sum[:]...)
		size, offset := binary.LittleEndian.Uint16(challenge[40:]), binary.LittleEndian.Uint32(challenge[44:])
		out := slices.Concat(challenge[:offset], info, challenge[offset:])
		if size == 0 {
			out = append(out, 0, 0, 0, 0)
			size = 4
			binary.LittleEndian.PutUint32(out[20:], binary.LittleEndian.Uint32(out[20:])|1<<23)
		} else { // before the end of the pairs
			out = slices.Concat(challenge[:len(challenge)-4], info, challenge[len(challenge)-4:])
		}
		binary.LittleEndian.PutUint16(out[40:], size+uint16(len(info)))
		binary.LittleEndian.PutUint16(out[42:], size+uint16(len(info)))
		return out
	}
}

func TestNTLMExtendedProtection(t *testing.T) {
	for _, noInfo := range []bool{false, true} {
		for name, test := range map[string]struct {
			protection ewstest.ExtendedProtection
			bound      bool // the client sends bindings
			wrong      bool // for another certificate
			why        string
		}{
			"off, none":      {ewstest.ProtectionOff, false, false, ""},
			"off, wrong":     {ewstest.ProtectionOff, true, true, ""},
			"allow, none":    {ewstest.ProtectionAllow, false, false, ""},
			"allow, right":   {ewstest.ProtectionAllow, true, false, ""},
			"allow, wrong":   {ewstest.ProtectionAllow, true, true, "wrong channel bindings"},
			"require, none":  {ewstest.ProtectionRequire, false, false, "no channel bindings"},
			"require, right": {ewstest.ProtectionRequire, true, false, ""},
			"require, wrong": {ewstest.ProtectionRequire, true, true, "wrong channel bindings"},
		} {
			srv := ntlmServer(t, func(a *ewstest.Authentication) { a.Protection, a.NoTargetInfo = test.protection, noInfo })
			var change func([]byte) []byte
			if test.bound {
				change = bind(t, srv)
			}
			if test.wrong {
				right := change
				change = func(challenge []byte) []byte {
					challenge = right(challenge)
					challenge[bytes.LastIndex(challenge, []byte{0xa, 0, 16, 0})+4] ^= 1
					return challenge
				}
			}
			_, r := newBareClient(t, srv).ntlm("NTLM", "alice", alicePassword, getInbox, change)
			if got := srv.Logins("")[0]; (r.status == http.StatusOK) != (test.why == "") || got.Why != test.why {
				t.Errorf("%s, without target information %t: got status %d, %+v", name, noInfo, r.status, got)
			}
		}
	}
}

func TestUploadedBytesCountsTheFirstLeg(t *testing.T) {
	srv := ntlmServer(t)
	c := newBareClient(t, srv)
	c.ntlm("NTLM", "alice", alicePassword, getInbox, nil)
	if got := srv.UploadedBytes(); got != int64(len(getInbox)) {
		t.Errorf("got %d octets, want %d", got, len(getInbox))
	}
	newBareClient(t, srv).call(getInbox, "Authorization", "NTLM TlRMTVNTUAABAAAAB4IIAAAAAAAAAAAAAAAAAAAAAAA=")
	if got := srv.UploadedBytes(); got != int64(2*len(getInbox)) {
		t.Errorf("got %d octets, want %d", got, 2*len(getInbox))
	}
}

func FuzzNTLM(f *testing.F) {
	f.Add("TlRMTVNTUAABAAAAB4IIAAAAAAAAAAAAAAAAAAAAAAA=", "TlRMTVNTUAADAAAA")
	f.Add("TlRMTVNTUAABAAAAB4IIAAAAAAAAAAAAAAAAAAAAAAA=", "TlRMTVNTUAADAAAAAAAAAAAAAAAsACwAQAAAAAAAAAAAAAAAAAAAAAAAAAA"+strings.Repeat("A", 100))
	srv, err := ewstest.Listen(&ewstest.Options{Auth: ewstest.Authentication{Schemes: ewstest.NTLM, Protection: ewstest.ProtectionAllow}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(srv.Close)
	srv.AddMailbox(aliceAddress, ewstest.MailboxOptions{Password: alicePassword})
	f.Fuzz(func(t *testing.T, first, second string) {
		if strings.ContainsFunc(first+second, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Skip("no value of a header")
		}
		c := newBareClient(t, srv)
		for _, token := range []string{first, second, ""} {
			r := c.call(getInbox, "Authorization", strings.TrimSpace("NTLM "+token))
			if r.err != nil || r.status != http.StatusUnauthorized {
				t.Errorf("%q: got status %d, %v", token, r.status, r.err)
			}
		}
	})
}
