package saslx_test

import (
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/saslx"
	"github.com/mailconn/mailconn/internal/saslx/saslserver"
)

// Case 9 and case 10.
func TestNTLMNames(t *testing.T) {
	for name, want := range map[string]saslserver.Identity{
		`dom\juser\J.User`: {Domain: "dom", User: "juser"},
		`dom/juser/J.User`: {Domain: "dom", User: "juser"},
		`dom\juser`:        {Domain: "dom", User: "juser"},
		`juser@dom`:        {User: "juser@dom"},
		`juser`:            {User: "juser"},
	} {
		a := account(func(a *saslx.Account) { a.Username = name })
		p := newPeer(t, saslx.NTLM, trusting())
		if err := logIn(t, a, offer("NTLM"), p, true); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want.Mechanism = "NTLM"
		if got := p.server.Identity(); got != want {
			t.Errorf("%s: the server saw %+v, want %+v", name, got, want)
		}
	}
}

// Case 11.
func TestNTLMWithoutTargetInfo(t *testing.T) {
	o := trusting()
	o.TargetInfo = []byte{}
	if err := logIn(t, account(), offer("NTLM"), newPeer(t, saslx.NTLM, o), true); err != nil {
		t.Error(err)
	}
}

// Case 12.
func TestNTLMBadChallenges(t *testing.T) {
	for name, o := range map[string]*saslserver.Options{
		"garbage":              {Tamper: func(int, []byte) []byte { return []byte("garbage") }},
		"the signature alone":  {Tamper: func(_ int, c []byte) []byte { return c[:8] }},
		"cut":                  {Tamper: func(_ int, c []byte) []byte { return c[:40] }},
		"an AV pair too long":  {TargetInfo: []byte{2, 0, 255, 0, 'x'}},
		"no end of the pairs":  {TargetInfo: []byte{2, 0, 2, 0, 'x', 0}},
		"LM_KEY":               {NTLMFlags: 1 << 7},
		"KEY_EXCH":             {NTLMFlags: 1 << 30},
		"a buffer past it all": {Tamper: func(_ int, c []byte) []byte { c[44] = 0xff; return c }},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, saslx.NTLM, o)
			part := "cannot be answered"
			if name == "garbage" {
				part = "no NTLM message"
			}
			want(t, logIn(t, account(), offer("NTLM"), p, true), connection.ErrProtocol, "NTLM: ", part)
			if got := p.lines[len(p.lines)-1]; got != "*" {
				t.Errorf("the last line is %q, want *", got)
			}
		})
	}
}

// A server that demands what this NTLM lacks refuses every login: the error says so.
func TestNTLMRefusedMentionsExtendedProtection(t *testing.T) {
	p := newPeer(t, saslx.NTLM, &saslserver.Options{})
	want(t, logIn(t, account(), offer("NTLM"), p, true), connection.ErrAuth, "Extended Protection", `domain\user`)
}
