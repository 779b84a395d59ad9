package saslx_test

import (
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/saslx"
	"github.com/mailconn/mailconn/internal/saslx/saslserver"
)

// replace makes a Tamper that changes one challenge.
func replace(at int, change func(string) string) func(int, []byte) []byte {
	return func(step int, challenge []byte) []byte {
		if step != at {
			return challenge
		}
		return []byte(change(string(challenge)))
	}
}

func to(text string) func(string) string { return func(string) string { return text } }

// Case 8, what a server may do wrong.
func TestScramHostileServers(t *testing.T) {
	iterations := func(n string) func(string) string {
		return func(s string) string { return s[:strings.LastIndex(s, "i=")] + "i=" + n }
	}
	for _, tt := range []struct {
		name   string
		tamper func(int, []byte) []byte
		kind   connection.Kind
		part   string
	}{
		{"nonce not ours", replace(1, func(s string) string { return "r=x" + s[2:] }), connection.ErrProtocol, "nonce"},
		{"nonce ours alone", replace(1, func(s string) string { return s[:2+26] + s[strings.Index(s, ","):] }), connection.ErrProtocol, "nonce"},
		{"iteration count 1", replace(1, iterations("1")), connection.ErrProtocol, `iteration count of "1"`},
		{"iteration count 0", replace(1, iterations("0")), connection.ErrProtocol, "iteration count"},
		{"iteration count -4096", replace(1, iterations("-4096")), connection.ErrProtocol, "iteration count"},
		{"iteration count 10^9", replace(1, iterations("1000000000")), connection.ErrProtocol, "iteration count"},
		{"iteration count 10^30", replace(1, iterations("1"+strings.Repeat("0", 30))), connection.ErrProtocol, "iteration count"},
		{"salt empty", replace(1, func(s string) string { return s[:strings.Index(s, ",s=")] + ",s=,i=4096" }), connection.ErrProtocol, "salt"},
		{"salt not base64", replace(1, func(s string) string { return s[:strings.Index(s, ",s=")] + ",s=%,i=4096" }), connection.ErrProtocol, "salt"},
		{"mandatory extension", replace(1, func(s string) string { return "m=x," + s }), connection.ErrProtocol, "extension"},
		{"nothing", replace(1, to("")), connection.ErrProtocol, "first message"},
		{"error at the start", replace(1, to("e=unknown-user")), connection.ErrAuth, "[unknown-user]"},
		{"wrong signature", replace(2, to("v="+strings.Repeat("A", 43)+"=")), connection.ErrProtocol, "pretend"},
		{"signature cut", replace(2, func(s string) string { return s[:len(s)-4] }), connection.ErrProtocol, "signature is wrong"},
		{"no signature", replace(2, to("x=1")), connection.ErrProtocol, "without the server's signature"},
		{"error at the end, then success", replace(2, to("e=other-error")), connection.ErrProtocol, "error and then success"},
		{"success at once", func(step int, c []byte) []byte {
			if step == 2 {
				return nil
			}
			return c
		}, connection.ErrProtocol, "success without the server's signature"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := trusting()
			o.Tamper = tt.tamper
			p := newPeer(t, saslx.ScramSHA256, o)
			want(t, logIn(t, account(), offer("SCRAM-SHA-256"), p, true), tt.kind, "SCRAM-SHA-256: ", tt.part)
		})
	}
}

// RFC 5802, 5.1: "=" and "," in n=.
func TestScramEscapesTheName(t *testing.T) {
	p := newPeer(t, saslx.ScramSHA1, trusting())
	if err := logIn(t, account(func(a *saslx.Account) { a.Username = "a=b,c=2Cd" }), offer("SCRAM-SHA-1"), p, true); err != nil {
		t.Fatal(err)
	}
	if got := p.server.Identity().User; got != "a=b,c=2Cd" {
		t.Errorf("the server saw %q", got)
	}
}

// A server that says OK in answer to the command itself has proven nothing.
func TestScramSuccessInAnswerToTheCommand(t *testing.T) {
	x := start(t, account(), offer("SCRAM-SHA-1"))
	if err := x.Run(x.Command(true), func(string) (string, bool, error) { return "", false, nil }); err != nil {
		t.Fatal(err)
	}
	want(t, x.End(nil), connection.ErrProtocol, "success without")
}

// The errors a server has words for (RFC 5802, 7).
func TestScramErrors(t *testing.T) {
	for failure, kind := range map[string]connection.Kind{
		"invalid-proof":                    connection.ErrAuth,
		"no-resources":                     connection.ErrUnavailable,
		"channel-bindings-dont-match":      connection.ErrAuth,
		"unsupported-channel-binding-type": connection.ErrAuth,
	} {
		p := newPeer(t, saslx.ScramSHA256, &saslserver.Options{Tamper: replace(2, to("e="+failure))})
		want(t, logIn(t, account(), offer("SCRAM-SHA-256"), p, true), kind, "["+failure+"]", "server said NO")
	}
}

func TestScramIterationsBelow4096AreAnOption(t *testing.T) {
	o := trusting()
	o.Iterations = 1000
	err := logIn(t, account(), offer("SCRAM-SHA-1"), newPeer(t, saslx.ScramSHA1, o), true)
	want(t, err, connection.ErrProtocol, "want 4096 to 1000000")
	a := account(func(a *saslx.Account) { a.MinIterations = 1000 })
	if err := logIn(t, a, offer("SCRAM-SHA-1"), newPeer(t, saslx.ScramSHA1, o), true); err != nil {
		t.Error(err)
	}
}

// Case 8, channel binding: bound to the same TLS connection, to another one, and taken off the list on the way.
func TestScramChannelBinding(t *testing.T) {
	client, server := tlsPair(t, 0)
	_, other := tlsPair(t, 0)
	old, oldServer := tlsPair(t, 0x0303)
	both := []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}
	for _, tt := range []struct {
		name    string
		offered []string
		client  *saslx.Offer
		options saslserver.Options
		chosen  string
		gs2     string
		failure string
	}{
		{"bound", both, &saslx.Offer{TLS: &client}, saslserver.Options{TLS: &server}, "SCRAM-SHA-256-PLUS", "p=tls-exporter,", ""},
		{"SHA-1 bound", []string{"SCRAM-SHA-1-PLUS"}, &saslx.Offer{TLS: &client}, saslserver.Options{TLS: &server}, "SCRAM-SHA-1-PLUS", "p=tls-exporter,", ""},
		{"somebody in between", both, &saslx.Offer{TLS: &client}, saslserver.Options{TLS: &other}, "SCRAM-SHA-256-PLUS", "p=tls-exporter,", "channel-bindings-dont-match"},
		{"not offered", both[1:], &saslx.Offer{TLS: &client}, saslserver.Options{}, "SCRAM-SHA-256", "y,", ""},
		{"taken off the list", both[1:], &saslx.Offer{TLS: &client}, saslserver.Options{PlusOffered: true}, "SCRAM-SHA-256", "y,", "server-does-support-channel-binding"},
		{"TLS without exporter", both, &saslx.Offer{TLS: &old}, saslserver.Options{TLS: &oldServer, PlusOffered: true}, "SCRAM-SHA-256", "n,", ""},
		{"no TLS", both, &saslx.Offer{}, saslserver.Options{PlusOffered: true}, "SCRAM-SHA-256", "n,", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.client.Mechanisms = tt.offered
			attempt := authenticator(t, account()).Login()
			choice, err := attempt.Choose(*tt.client)
			if err != nil {
				t.Fatal(err)
			}
			if choice.Name != tt.chosen {
				t.Fatalf("chosen: %s, want %s", choice.Name, tt.chosen)
			}
			x, err := attempt.Start(t.Context(), choice)
			if err != nil {
				t.Fatal(err)
			}
			o := tt.options
			o.Password = trusting().Password
			p := newPeer(t, tt.chosen, &o)
			err = run(t, x, p, true)
			if first := unbase64(t, strings.Fields(p.lines[0])[1]); !strings.HasPrefix(first, tt.gs2) {
				t.Errorf("the first message is %q, want %q first", first, tt.gs2)
			}
			if tt.failure != "" {
				want(t, err, connection.ErrAuth, tt.failure)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// An account that acts for another (RFC 5802, 5.1: a=).
func TestActFor(t *testing.T) {
	for _, mech := range []string{"SCRAM-SHA-256", "PLAIN", "EXTERNAL"} {
		o := trusting()
		o.CertificateUser = "juser"
		a := account(func(a *saslx.Account) {
			a.ActFor, a.Certificate, a.Mechanisms = "a,b=c@example.org", true, []string{mech}
		})
		p := newPeer(t, mech, o)
		off := offer(mech)
		off.CertificateAsked = true
		if err := logIn(t, a, off, p, true); err != nil {
			t.Errorf("%s: %v", mech, err)
		}
		if who := p.server.Identity(); who.User != "juser" || who.ActFor != "a,b=c@example.org" {
			t.Errorf("%s: the server saw %+v", mech, who)
		}
	}
	_, err := authenticator(t, account(func(a *saslx.Account) { a.ActFor = "other" })).Choose(offer("LOGIN", "NTLM", "CRAM-MD5"))
	want(t, err, connection.ErrAuth, "cannot act for another user")
}
