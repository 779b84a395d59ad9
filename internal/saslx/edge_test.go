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

// Case 4, and case 18: after the final reply nothing is sent, which peer.talk would refuse.
func TestXOAuth2Refused(t *testing.T) {
	p := newPeer(t, saslx.XOAuth2, &saslserver.Options{Scope: "mail"})
	err := logIn(t, bearer(token), offer("XOAUTH2"), p, true)
	want(t, err, connection.ErrAuth, "[401]", "status 401, scope mail", "server said NO", "oauth2: ")
	if len(p.lines) != 2 || p.lines[1] != "" {
		t.Errorf("the client sent %q, want an empty line at the end", p.lines[1:])
	}
}

// Case 5.
func TestOAuthBearerRefused(t *testing.T) {
	p := newPeer(t, saslx.OAuthBearer, nil)
	want(t, logIn(t, bearer(token), offer("OAUTHBEARER"), p, false), connection.ErrAuth, "[invalid_token]")
	if got := p.lines[len(p.lines)-1]; got != "AQ==" {
		t.Errorf("the last line is %q, want AQ==", got)
	}
}

// A server whose status says that it is the server's trouble: not the token's.
func TestTokenRefusedForNow(t *testing.T) {
	for status, kind := range map[string]connection.Kind{"503": connection.ErrUnavailable, "429": connection.ErrThrottled, "400": connection.ErrAuth} {
		err := logIn(t, bearer(token), offer("XOAUTH2"), newPeer(t, saslx.XOAuth2, &saslserver.Options{Status: status}), true)
		want(t, err, kind, "["+status+"]")
	}
}

// Case 6.
func TestErrorChallengeThatIsNone(t *testing.T) {
	for name, challenge := range map[string]string{
		"not JSON":          "go away",
		"cut":               `{"status":"40`,
		"nothing":           "",
		"other types":       `{"status":{"a":1},"scope":[1]}`,
		"deep":              strings.Repeat(`{"status":`, 4000),
		"the token in it":   `{"status":"` + token + `","scope":"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.sig"}`,
		"control and width": "{\"status\":\"4\\u001b[31m01\\u202e\"}",
	} {
		for _, mech := range []string{saslx.XOAuth2, saslx.OAuthBearer} {
			p := newPeer(t, mech, &saslserver.Options{Tamper: func(int, []byte) []byte { return []byte(challenge) }})
			err := logIn(t, bearer(token), offer(mech), p, true)
			want(t, err, connection.ErrAuth, "server said NO")
			if strings.ContainsAny(err.Error(), "\x1b\u202e") || strings.Contains(err.Error(), "eyJhbGci") || len(err.Error()) > 1000 {
				t.Errorf("%s: the error shows what it should not: %q", name, err)
			}
		}
	}
	for name, raw := range map[string]string{"not base64": "{status}", "1 MiB": strings.Repeat("QUFB", 1<<18)} {
		x := start(t, bearer(token), offer("XOAUTH2"))
		x.Command(true)
		if line, err := x.Answer(raw); line != "" || connection.KindOf(err) != connection.ErrProtocol {
			t.Errorf("%s: got %q, %v; want ErrProtocol and nothing to send", name, line, err)
		}
	}
}

func start(t *testing.T, a saslx.Account, o saslx.Offer) *saslx.Exchange {
	t.Helper()
	attempt := authenticator(t, a).Login()
	choice, err := attempt.Choose(o)
	if err != nil {
		t.Fatal(err)
	}
	x, err := attempt.Start(t.Context(), choice)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// Case 7.
func TestOAuthBearerEscapesTheName(t *testing.T) {
	a := bearer(token)
	a.Username = "a=b,c=2Cd@example.org"
	p := newPeer(t, saslx.OAuthBearer, trusting())
	if err := logIn(t, a, offer("OAUTHBEARER"), p, true); err != nil {
		t.Fatal(err)
	}
	if who := p.server.Identity(); who.User != a.Username || who.Host != "mail.example.org" || who.Port != "993" {
		t.Errorf("the server saw %+v", who)
	}
}

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

// Case 15: whether the response goes with the command is decided by the length, which Command tells without harm.
func TestLongTokenAfterTheChallenge(t *testing.T) {
	long := strings.Repeat("t", 4000)
	p := newPeer(t, saslx.XOAuth2, &saslserver.Options{Token: func(_ saslserver.Identity, got string) bool { return got == long }})
	x := start(t, bearer(long), offer("XOAUTH2"))
	if n := len(x.Command(true)); n < 5000 {
		t.Fatalf("the command has %d octets; is the token in it?", n)
	}
	if err := run(t, x, p, false); err != nil {
		t.Fatal(err)
	}
	if len(p.lines) != 2 || p.lines[0] != "XOAUTH2" {
		t.Errorf("the client sent %d lines, the first %q; want the two-line form", len(p.lines), p.lines[0])
	}
}

// Case 19.
func TestTokenSources(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	blocked := make(chan struct{})
	defer close(blocked)
	for _, tt := range []struct {
		name   string
		ctx    context.Context
		source saslx.TokenSource
		kind   connection.Kind
		part   string
	}{
		{"blocks and does not heed ctx", ctx, func(context.Context, connection.TokenRequest) (connection.Secret, error) {
			<-blocked
			return connection.Secret{}, nil
		}, connection.ErrCanceled, "context canceled"},
		{"is cancelled", ctx, func(ctx context.Context, _ connection.TokenRequest) (connection.Secret, error) {
			<-ctx.Done()
			return connection.Secret{}, ctx.Err()
		}, connection.ErrCanceled, "context canceled"},
		{"consent withdrawn", t.Context(), failing(errors.New(`oauth2: "invalid_grant" "Token has been expired or revoked."`)), connection.ErrAuth, "consent withdrawn"},
		{"wrong client", t.Context(), failing(errors.New(`oauth2: "invalid_client"`)), connection.ErrAuth, "client_id"},
		{"its server is down", t.Context(), failing(errors.New("503")), connection.ErrUnavailable, "token source"},
		{"classified by the host", t.Context(), failing(&connection.Error{Kind: connection.ErrThrottled, Hint: "wait"}), connection.ErrThrottled, "wait"},
		{"nothing", t.Context(), func(context.Context, connection.TokenRequest) (connection.Secret, error) {
			return connection.Secret{}, nil
		}, connection.ErrAuth, "no token"},
		{"a header", t.Context(), func(context.Context, connection.TokenRequest) (connection.Secret, error) {
			return connection.NewSecret("Bearer " + token + "\r\n"), nil
		}, connection.ErrAuth, "no token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			attempt := authenticator(t, saslx.Account{Username: "juser", Token: tt.source}).Login()
			choice, err := attempt.Choose(offer("XOAUTH2"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = attempt.Start(tt.ctx, choice)
			want(t, discreet(t, err), tt.kind, tt.part)
		})
	}
}

func failing(err error) saslx.TokenSource {
	return func(context.Context, connection.TokenRequest) (connection.Secret, error) {
		return connection.Secret{}, err
	}
}

// The source learns whose mailbox is opened, and for what.
func TestTokenRequest(t *testing.T) {
	for name, person := range map[string]string{"juser@example.org": "juser@example.org", `dom\juser\J.User`: "J.User"} {
		var got connection.TokenRequest
		a := saslx.Account{Username: name, Scopes: []string{"mail"}, Token: func(_ context.Context, r connection.TokenRequest) (connection.Secret, error) {
			got = r
			return connection.NewSecret(token), nil
		}}
		p := newPeer(t, saslx.XOAuth2, trusting())
		if err := logIn(t, a, offer("XOAUTH2"), p, true); err != nil {
			t.Fatal(err)
		}
		if got.Mailbox != person || fmt.Sprint(got.Scopes) != "[mail]" || p.server.Identity().User != person {
			t.Errorf("%s: asked for %+v, logged in as %+v; want %s", name, got, p.server.Identity(), person)
		}
	}
}

// Case 20.
func TestTokenRenewedOnce(t *testing.T) {
	for _, tt := range []struct {
		name        string
		tokens      []string
		connections int
		good        bool
	}{
		{"refused once", []string{"stale", token}, 2, true},
		{"refused twice", []string{"stale", "staler", token}, 2, false},
		{"the source has no other", []string{"stale"}, 1, false},
		{"good at once", []string{token}, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			attempt := authenticator(t, bearer(tt.tokens...)).Login()
			connections := 0
			var err error
			for again := true; again; {
				connections++
				choice, errChoice := attempt.Choose(offer("OAUTHBEARER"))
				if errChoice != nil {
					t.Fatal(errChoice)
				}
				x, errStart := attempt.Start(t.Context(), choice)
				if errStart != nil {
					t.Fatal(errStart)
				}
				err = run(t, x, newPeer(t, saslx.OAuthBearer, trusting()), true)
				again = err != nil && attempt.Renew(t.Context(), x, err)
			}
			if connections != tt.connections || (err == nil) != tt.good {
				t.Errorf("%d connections, then %v; want %d, good %v", connections, err, tt.connections, tt.good)
			}
		})
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

// Case 22.
func TestTemporaryRefusalStaysTemporary(t *testing.T) {
	attempt := authenticator(t, bearer("stale", token)).Login()
	choice, err := attempt.Choose(offer("XOAUTH2"))
	if err != nil {
		t.Fatal(err)
	}
	x, err := attempt.Start(t.Context(), choice)
	if err != nil {
		t.Fatal(err)
	}
	busy := &connection.Error{Kind: connection.ErrUnavailable, Code: "UNAVAILABLE", Err: errors.New("server said NO")}
	got := x.End(busy)
	if !errors.Is(got, error(busy)) || !connection.Temporary(got) {
		t.Errorf("got %v, want what the driver said", got)
	}
	if attempt.Renew(t.Context(), x, got) {
		t.Error("a token was renewed that nobody refused")
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
