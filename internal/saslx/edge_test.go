package saslx_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/saslx"
	"github.com/mailconn/mailconn/internal/saslx/saslserver"
)

// TestEveryMechanism logs in with each mechanism, right and wrong, with the initial response in the command and after
// an empty challenge (case 3).
func TestEveryMechanism(t *testing.T) {
	client, server := tlsPair(t, 0)
	for _, name := range saslserver.Mechanisms() {
		for _, inline := range []bool{true, false} {
			for _, good := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s inline=%v good=%v", name, inline, good), func(t *testing.T) {
					a := account()
					if strings.Contains(name, "OAUTH") {
						a = bearer(token)
					}
					a.Mechanisms, a.Certificate = []string{name}, true
					o := trusting()
					o.CertificateUser, o.TLS = "juser", &server
					if !good {
						o = &saslserver.Options{Password: func(saslserver.Identity) (string, bool) { return "other", true }, TLS: &server}
					}
					p := newPeer(t, name, o)
					off := offer(name)
					off.TLS, off.CertificateAsked = &client, true
					err := logIn(t, a, off, p, inline)
					if good && err != nil {
						t.Fatal(err)
					}
					if !good {
						want(t, err, connection.ErrAuth)
					}
					if who := p.server.Identity(); who.User != "juser" && name != "EXTERNAL" {
						t.Errorf("the server saw %+v", who)
					}
					if name == "EXTERNAL" && inline && p.lines[0] != "EXTERNAL =" {
						t.Errorf("an empty initial response is sent as %q", p.lines[0])
					}
					if !inline && strings.Contains(p.lines[0], " ") {
						t.Errorf("the command %q has an initial response", p.lines[0])
					}
				})
			}
		}
	}
}

// A challenge too many, or one where none can be: the exchange is cancelled, and the credential not sent again.
func TestUnexpectedChallenges(t *testing.T) {
	const type2 = "TlRMTVNTUAACAAAAAAAAADAAAAAFgomgASNFZ4mrze8AAAAAAAAAAAAAAAAwAAAA"
	for _, tt := range []struct {
		mech       string
		inline     bool
		challenges []string
		answers    int // that are no "*"
	}{
		{"PLAIN", true, []string{"", ""}, 1}, // it overlooked the initial response
		{"PLAIN", false, []string{"", "", ""}, 2},
		{"PLAIN", true, []string{"QQ=="}, 0},
		{"EXTERNAL", true, []string{"", ""}, 1},
		{"EXTERNAL", true, []string{"QQ=="}, 0},
		{"CRAM-MD5", true, []string{""}, 0},
		{"CRAM-MD5", true, []string{"QQ==", "QQ=="}, 1},
		{"NTLM", true, []string{type2, type2}, 1},
		{"NTLM", true, []string{"QQ=="}, 0},
		{"XOAUTH2", true, []string{"", ""}, 1},
		{"LOGIN", true, []string{"", "", ""}, 2},
	} {
		a := account()
		if tt.mech == "XOAUTH2" {
			a = bearer(token)
		}
		a.Mechanisms, a.Certificate = []string{tt.mech}, true
		o := offer(tt.mech)
		o.CertificateAsked = true
		x := start(t, a, o)
		x.Command(tt.inline)
		answers := 0
		for _, challenge := range tt.challenges {
			line, err := x.Answer(challenge)
			if err != nil {
				t.Fatalf("%s: %v", tt.mech, err)
			}
			if line == "*" {
				break
			}
			answers++
		}
		if answers != tt.answers {
			t.Errorf("%s with %q: %d answers, want %d and then *", tt.mech, tt.challenges, answers, tt.answers)
		}
		want(t, discreet(t, x.End(nil)), connection.ErrProtocol, tt.mech+": ")
	}
}

// Case 1.
func TestLoginPromptsOfAnyWording(t *testing.T) {
	for _, prompts := range [][]string{{"Username:", "Password:"}, {"User Name\x00", "Password\x00"}, {"", ""}, {"Password:", "Username:"}} {
		o := trusting()
		o.Prompts = prompts
		p := newPeer(t, saslx.Login, o)
		if err := logIn(t, account(), offer("LOGIN"), p, true); err != nil {
			t.Errorf("prompts %q: %v", prompts, err)
		}
		if len(p.lines) != 3 || p.lines[0] != "LOGIN" {
			t.Errorf("prompts %q: the client sent %d lines, the first %q; want 3, and no initial response", prompts, len(p.lines), p.lines[0])
		}
	}
}

// Case 2.
func TestLoginThirdChallenge(t *testing.T) {
	o := trusting()
	o.Prompts = []string{"Username:", "Password:", "Password again:"}
	p := newPeer(t, saslx.Login, o)
	want(t, logIn(t, account(), offer("LOGIN"), p, true), connection.ErrProtocol, "LOGIN: a third challenge")
	if got := p.lines[len(p.lines)-1]; got != "*" {
		t.Errorf("the last line is %q, want the exchange cancelled", got)
	}
}

// Case 14.
func TestPasswordsOfAllKinds(t *testing.T) {
	for _, secret := range []string{"Pa\u00dfw\u00f6rt\u20ac", "trailing ", " leading", strings.Repeat("x", 1000), "\U0001f511\u0301", `"quoted\`, "a,b=c"} {
		for _, mech := range []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "NTLM", "CRAM-MD5", "PLAIN", "LOGIN"} {
			a := account(func(a *saslx.Account) { a.Password, a.Mechanisms = connection.NewSecret(secret), []string{mech} })
			p := newPeer(t, mech, &saslserver.Options{Password: func(saslserver.Identity) (string, bool) { return secret, true }})
			if err := logIn(t, a, offer(mech), p, true); err != nil {
				t.Errorf("%s with %q: %v", mech, secret, err)
			}
		}
	}
}

// Case 18: the final reply ends it. peer.talk refuses a line after it in every other test, too.
func TestNothingIsSentAfterTheFinalReply(t *testing.T) {
	for _, mech := range []string{"PLAIN", "LOGIN", "CRAM-MD5", "NTLM", "SCRAM-SHA-256"} {
		a := account(func(a *saslx.Account) { a.Mechanisms = []string{mech} })
		lines := 0
		x := start(t, a, offer(mech))
		err := x.Run(x.Command(true), func(string) (string, bool, error) {
			lines++
			return "", false, nil // a refusal at once
		})
		if err != nil || lines != 1 {
			t.Errorf("%s: %d lines, %v; want 1", mech, lines, err)
		}
		want(t, x.End(&connection.Error{Kind: connection.ErrAuth, Code: "535", Err: errors.New("no")}), connection.ErrAuth, "[535]")
	}
}

// A refused password is not tried again: that locks accounts.
func TestPasswordIsNotRenewed(t *testing.T) {
	attempt := authenticator(t, account()).Login()
	choice, err := attempt.Choose(offer("PLAIN"))
	if err != nil {
		t.Fatal(err)
	}
	x, err := attempt.Start(t.Context(), choice)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t, x, newPeer(t, "PLAIN", nil), true); err == nil || attempt.Renew(t.Context(), x, err) {
		t.Errorf("%v, and a new connection wanted", err)
	}
}

// Case 23.
func TestContextEndsBetweenChallengeAndResponse(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	lines := 0
	x := start(t, account(), offer("CRAM-MD5"))
	err := x.Run(x.Command(true), func(string) (string, bool, error) {
		if lines++; lines == 1 {
			cancel()
			return "PDFAeD4=", true, nil
		}
		return "", false, ctx.Err()
	})
	if !errors.Is(err, context.Canceled) || lines != 2 {
		t.Errorf("got %v after %d lines, want context.Canceled as talk returned it", err, lines)
	}
}

// A server that goes on for ever, and one that goes on although the exchange is cancelled.
func TestEndlessServers(t *testing.T) {
	x := start(t, account(), offer("LOGIN"))
	stars := 0
	err := x.Run(x.Command(true), func(line string) (string, bool, error) {
		if line == "*" {
			stars++
		}
		return "", true, nil
	})
	want(t, err, connection.ErrProtocol, "cancelled")
	if stars != 1 {
		t.Errorf("%d times cancelled, want once", stars)
	}
}

// TestNothingPrints: no type of this package shows what it knows, however it is printed (case 24).
func TestNothingPrints(t *testing.T) {
	for _, a := range []saslx.Account{account(), bearer(token)} {
		auth := authenticator(t, a)
		attempt := auth.Login()
		choice, err := attempt.Choose(offer("PLAIN", "XOAUTH2"))
		if err != nil {
			t.Fatal(err)
		}
		x, err := attempt.Start(t.Context(), choice)
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("%v %+v %#v %v %+v %#v %+v %+v %+v", a, a, a, x, x, x, *x, auth, attempt)
		for _, secret := range []string{password, token} {
			octets := strings.Trim(fmt.Sprint([]byte(secret)), "[]")
			hex := strings.Trim(fmt.Sprintf("%#v", []byte(secret)), "[]byte{}")
			if strings.Contains(text, secret) || strings.Contains(text, octets) || strings.Contains(text, hex) {
				t.Errorf("%q shows a secret", text)
			}
		}
		if x.Secret().IsZero() {
			t.Error("the driver cannot learn what to scrub")
		}
	}
}
