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
			account := bearer(tt.tokens...)
			var renew []bool
			next := account.Token
			account.Token = func(ctx context.Context, req connection.TokenRequest) (connection.Secret, error) {
				renew = append(renew, req.Renew)
				return next(ctx, req)
			}
			attempt := authenticator(t, account).Login()
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
			for i, again := range renew {
				if again != (i > 0) {
					t.Errorf("request %d of a token has Renew %v: only one after a refusal must", i+1, again)
				}
			}
		})
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
