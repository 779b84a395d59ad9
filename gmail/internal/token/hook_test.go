package token_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/token"
)

// The host is asked for a mailbox and a scope, keeps its tokens itself, and learns that one was refused.
func TestHookRequests(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var asked []connection.TokenRequest
	s := source(t, token.Options{
		Now: func() time.Time { return now },
		Hook: func(_ context.Context, req connection.TokenRequest) (connection.Secret, error) {
			asked = append(asked, req)
			return connection.NewSecret(fmt.Sprint("token-", len(asked))), nil
		},
	})
	me := token.Key{Scope: readonly}
	get(t, s, me, "token-1")
	get(t, s, me, "token-1")
	get(t, s, ann, "token-2")
	s.Invalidate(ann, "token-2")
	get(t, s, ann, "token-3")
	get(t, s, ann, "token-3")
	now = now.Add(time.Minute)
	get(t, s, ann, "token-4")
	want := []connection.TokenRequest{
		{Scopes: []string{readonly}},
		{Mailbox: ann.Subject, Scopes: []string{readonly}},
		{Mailbox: ann.Subject, Scopes: []string{readonly}, Renew: true},
		{Mailbox: ann.Subject, Scopes: []string{readonly}},
	}
	if !reflect.DeepEqual(asked, want) {
		t.Errorf("asked %+v, want %+v", asked, want)
	}
	if email, id, project := s.Account(); email+id+project != "" || s.TokenURL() != nil {
		t.Errorf("Account: got %q, %q, %q, TokenURL %v", email, id, project, s.TokenURL())
	}
}

func TestHookFails(t *testing.T) {
	endpointSays := func(status int, body string, h http.Header) error {
		r, err := http.NewRequest(http.MethodPost, "https://login.example/token?x=s3cret", nil)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Errorf("helper: %w", &oauth2.RetrieveError{Response: &http.Response{StatusCode: status, Header: h, Request: r}, Body: []byte(body)})
	}
	for name, test := range map[string]struct {
		token string
		err   error
		kind  connection.Kind
		is    error
		part  string
	}{
		"an error of its own":       {"", errors.New("the vault is closed"), connection.ErrAuth, nil, "the vault is closed"},
		"one of our kinds":          {"", &connection.Error{Op: "vault", Kind: connection.ErrUnavailable, Err: errors.New("the vault is closed")}, connection.ErrUnavailable, nil, "the vault is closed"},
		"a kind alone":              {"", fmt.Errorf("vault: %w", connection.ErrThrottled), connection.ErrThrottled, nil, "vault"},
		"an empty token":            {"", nil, connection.ErrAuth, nil, "0 octets"},
		"a token that is a request": {"x\r\nX-Evil: y", nil, connection.ErrAuth, nil, "cannot be sent"},
		"a dead refresh token":      {"", endpointSays(400, `{"error":"invalid_grant","error_description":"Token has been expired or revoked."}`, nil), connection.ErrAuth, token.ErrReauth, "expired or revoked"},
		"too fast":                  {"", endpointSays(429, "", http.Header{"Retry-After": {"9"}}), connection.ErrThrottled, nil, "429"},
		"an endpoint without words": {"", endpointSays(404, "<html>", nil), connection.ErrProtocol, nil, "<html>"},
		"an endpoint told by words": {"", &oauth2.RetrieveError{Response: &http.Response{StatusCode: 400}, ErrorCode: "invalid_grant", ErrorDescription: "gone"}, connection.ErrAuth, token.ErrReauth, "gone"},
	} {
		s := source(t, token.Options{Hook: func(context.Context, connection.TokenRequest) (connection.Secret, error) {
			return connection.NewSecret(test.token), test.err
		}})
		e := failure(t, s, ann, test.kind, test.part)
		wantSentinel(t, e, test.is)
		if test.kind == connection.ErrThrottled && strings.Contains(e.Error(), "429") && connection.RetryAfter(e) != 9*time.Second {
			t.Errorf("%s: got the wait %s", name, connection.RetryAfter(e))
		}
		if strings.Contains(e.Error(), "s3cret") || strings.Contains(e.Error(), "X-Evil") {
			t.Errorf("%s: shows too much: %v", name, e)
		}
	}
}

// Case 56: a hook that does not obey its context holds nobody up.
func TestG56Hook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := source(t, token.Options{Hook: func(context.Context, connection.TokenRequest) (connection.Secret, error) {
			<-release
			return connection.NewSecret("late"), nil
		}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := s.Token(ctx, ann); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
		close(release)
	})
}

type sourceFunc func() (*oauth2.Token, error)

func (f sourceFunc) Token() (*oauth2.Token, error) { return f() }

func TestFromOAuth2(t *testing.T) {
	for name, test := range map[string]struct {
		token *oauth2.Token
		err   error
		want  string
		part  string // of the error
	}{
		"a token":          {&oauth2.Token{AccessToken: "t"}, nil, "t", ""},
		"bearer":           {&oauth2.Token{AccessToken: "t", TokenType: "bearer"}, nil, "t", ""},
		"another type":     {&oauth2.Token{AccessToken: "t", TokenType: "mac"}, nil, "", `"MAC"`},
		"none":             {nil, nil, "", "gave no token"},
		"an empty one":     {&oauth2.Token{}, nil, "", "gave no token"},
		"one with trouble": {&oauth2.Token{AccessToken: "t"}, errors.New("boom"), "", "boom"},
	} {
		hook := token.FromOAuth2(sourceFunc(func() (*oauth2.Token, error) { return test.token, test.err }))
		for range 2 {
			got, err := hook(t.Context(), connection.TokenRequest{})
			if got.Reveal() != test.want || (err == nil) != (test.part == "") || err != nil && !strings.Contains(err.Error(), test.part) {
				t.Errorf("%s: got %q, %v, want %q, %q", name, got.Reveal(), err, test.want, test.part)
			}
		}
	}
}

// A source that knows no context is left behind by who waits for it, but only once: the next waits for the same.
func TestFromOAuth2Blocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var begun atomic.Int32
		release := make(chan struct{})
		hook := token.FromOAuth2(sourceFunc(func() (*oauth2.Token, error) {
			begun.Add(1)
			<-release
			return &oauth2.Token{AccessToken: "t"}, nil
		}))
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			began := time.Now()
			if _, err := hook(ctx, connection.TokenRequest{}); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
				t.Errorf("got %v after %s", err, time.Since(began))
			}
			cancel()
		}
		if n := begun.Load(); n != 1 {
			t.Errorf("%d at once, want 1", n)
		}
		close(release)
		if got, err := hook(t.Context(), connection.TokenRequest{}); err != nil || got.Reveal() != "t" {
			t.Errorf("got %q, %v", got.Reveal(), err)
		}
	})
}
