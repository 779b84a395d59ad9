package token_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/token"
)

var (
	ann = token.Key{Subject: "ann@corp.example", Scope: readonly}
	bob = token.Key{Subject: "bob@corp.example", Scope: readonly}
)

// What is asked for: RFC 7523 as Google documents it, one scope and one mailbox a token.
func TestAssertion(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	p := grants()
	s := delegated(t, p, func(o *token.Options) { o.Now = func() time.Time { return now } })
	get(t, s, token.Key{Subject: `"ann"@corp.example`, Scope: modify}, "ya29.token-1")
	r, form := p.asked[0], p.forms[0]
	if r.Method != http.MethodPost || r.URL.String() != endpoint || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.Errorf("got %s %s %v", r.Method, r.URL, r.Header)
	}
	a := verify(t, form.Get("assertion"))
	form.Del("assertion")
	if got, want := form.Encode(), (url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}}).Encode(); got != want {
		t.Errorf("the form says %s besides the assertion, want %s", got, want)
	}
	if a.header.Alg != "RS256" || a.header.Typ != "JWT" || a.header.Kid != "key-7" {
		t.Errorf("header: got %+v", a.header)
	}
	c := a.claims
	if c.Iss != account || c.Sub != `"ann"@corp.example` || c.Scope != modify || c.Aud != endpoint {
		t.Errorf("claims: got %+v", c)
	}
	if c.Iat > now.Unix() || now.Unix()-c.Iat > 60 || c.Exp-c.Iat > 3600 || c.Exp-c.Iat < 3000 {
		t.Errorf("claims: got iat %d, exp %d at %d", c.Iat, c.Exp, now.Unix())
	}
}

// Without a user there is no mailbox: nothing is asked.
func TestNobody(t *testing.T) {
	p := grants()
	fails(t, delegated(t, p, nil), token.Key{Scope: readonly}, connection.ErrConfig, "admin: ")
	keyless := source(t, token.Options{Keyless: &token.Keyless{TargetPrincipal: account}, Client: p.client()})
	fails(t, keyless, token.Key{Scope: readonly}, connection.ErrConfig, "admin: ")
	if p.count() != 0 {
		t.Errorf("%d requests, want 0", p.count())
	}
}

// A token is kept for its mailbox and scope until 5 minutes before its end.
func TestTokenKept(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	lives := map[int]string{3: `"600"`, 4: `120`, 5: `null`, 6: `-5`, 7: `1e300`, 8: `3599.5`}
	p := &peer{answer: func(n int, _ *http.Request, _ url.Values) (*http.Response, error) {
		life := lives[n]
		if life == "" {
			life = "3599"
		}
		return reply(200, fmt.Sprintf(`{"access_token":"token-%d","expires_in":%s}`, n, life)), nil
	}}
	s := delegated(t, p, func(o *token.Options) { o.Now = func() time.Time { return now } })
	for i, step := range []struct {
		after time.Duration
		key   token.Key
		want  string
	}{
		{0, ann, "token-1"},
		{0, bob, "token-2"},
		{54 * time.Minute, ann, "token-1"},
		{59 * time.Second, ann, "token-3"}, // 54:59, and it lasts 10 minutes
		{0, bob, "token-4"},                // and it lasts 2
		{59 * time.Second, bob, "token-4"},
		{time.Second, bob, "token-5"}, // half of it is over; how long the new one lasts is not told
		{59 * time.Second, bob, "token-5"},
		{time.Second, bob, "token-6"},
		{time.Minute, bob, "token-7"},
		{time.Minute, bob, "token-8"},
		{0, token.Key{Subject: bob.Subject, Scope: modify}, "token-9"},
		{54 * time.Minute, bob, "token-8"},
	} {
		now = now.Add(step.after)
		if got, err := s.Token(t.Context(), step.key); err != nil || got != step.want {
			t.Errorf("step %d: got %q, %v, want %q", i, got, err, step.want)
		}
	}
}

// Case 16: after a 401 the token is forgotten, but not one that somebody else has got meanwhile.
func TestG16Invalidate(t *testing.T) {
	p := grants()
	s := delegated(t, p, nil)
	get(t, s, ann, "ya29.token-1")
	get(t, s, bob, "ya29.token-2")
	s.Invalidate(ann, "ya29.token-1")
	get(t, s, ann, "ya29.token-3")
	s.Invalidate(ann, "ya29.token-1") // of a slower request
	s.Invalidate(token.Key{Subject: "nobody@corp.example"}, "x")
	get(t, s, ann, "ya29.token-3")
	get(t, s, bob, "ya29.token-2")
}

// What is kept is bounded, and the one used longest ago goes first.
func TestTokensBounded(t *testing.T) {
	p := grants()
	s := delegated(t, p, func(o *token.Options) { o.Cache = 2 })
	cleo := token.Key{Subject: "cleo@corp.example", Scope: readonly}
	get(t, s, ann, "ya29.token-1")
	get(t, s, bob, "ya29.token-2")
	get(t, s, ann, "ya29.token-1")
	get(t, s, cleo, "ya29.token-3") // instead of bob's
	get(t, s, ann, "ya29.token-1")
	get(t, s, bob, "ya29.token-4")
}

// Many callers make one request, and each gets its answer.
func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		p := grants()
		give := p.answer
		p.answer = func(n int, r *http.Request, form url.Values) (*http.Response, error) {
			<-release
			return give(n, r, form)
		}
		s := delegated(t, p, nil)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { get(t, s, ann, "ya29.token-1") })
		}
		synctest.Wait()
		close(release)
		all.Wait()
		if p.count() != 1 {
			t.Errorf("%d requests, want 1", p.count())
		}
	})
}

// Whatever many callers do at once, none gets the token of another mailbox or scope, nor one that was refused before he asked.
func TestConcurrentUse(t *testing.T) {
	var made atomic.Int64
	s := source(t, token.Options{Cache: 3, Hook: func(ctx context.Context, req connection.TokenRequest) (connection.Secret, error) {
		n := made.Add(1)
		if n%7 == 0 {
			return connection.Secret{}, connection.ErrUnavailable
		}
		return connection.NewSecret(fmt.Sprintf("%s|%s|%d", req.Mailbox, req.Scopes[0], n)), ctx.Err()
	}})
	var all sync.WaitGroup
	for worker := range 8 {
		rng := rand.New(rand.NewPCG(1, uint64(worker))) //nolint:gosec // the same in each run
		all.Go(func() {
			refused := make(map[string]bool)
			for range 500 {
				k := token.Key{Subject: fmt.Sprint("user", rng.IntN(5)), Scope: fmt.Sprint("scope", rng.IntN(2))}
				ctx, cancel := context.WithCancel(t.Context())
				if rng.IntN(4) == 0 {
					go cancel()
				}
				got, err := s.Token(ctx, k)
				cancel()
				switch {
				case err != nil && !errors.Is(err, context.Canceled) && connection.KindOf(err) != connection.ErrUnavailable:
					t.Error(err)
				case err == nil && (!strings.HasPrefix(got, k.Subject+"|"+k.Scope+"|") || refused[got]):
					t.Errorf("got %q for %v, refused before: %v", got, k, refused[got])
				case err == nil && rng.IntN(3) == 0:
					s.Invalidate(k, got)
					refused[got] = true
				}
			}
		})
	}
	all.Wait()
}

// Case 56: who waits for a token stops waiting when his context ends, whatever the others do; the request ends with the last of
// them, and the next caller makes a new one. synctest fails if a goroutine stays.
func TestG56WaitersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Int32
		p := grants()
		give := p.answer
		p.answer = func(n int, r *http.Request, form url.Values) (*http.Response, error) {
			if n > 1 {
				return give(n, r, form)
			}
			resp, err := hangs(r)
			ended.Add(1)
			return resp, err
		}
		s := delegated(t, p, nil)
		var all sync.WaitGroup
		first, endFirst := context.WithCancel(t.Context())
		second, endSecond := context.WithTimeout(t.Context(), 10*time.Second)
		defer endSecond()
		for ctx, want := range map[context.Context]error{first: context.Canceled, second: context.DeadlineExceeded} {
			all.Go(func() {
				if got, err := s.Token(ctx, ann); got != "" || !errors.Is(err, want) {
					t.Errorf("got %q, %v, want %v", got, err, want)
				}
			})
		}
		synctest.Wait()
		endFirst()
		synctest.Wait()
		if ended.Load() != 0 {
			t.Error("the request ended although somebody waits for it")
		}
		began := time.Now()
		all.Wait()
		synctest.Wait()
		if ended.Load() != 1 || time.Since(began) != 10*time.Second {
			t.Errorf("%d requests ended after %s, want 1 after 10s", ended.Load(), time.Since(began))
		}
		get(t, s, ann, "ya29.token-2")
	})
}

// Case 56: a context that is done already asks nothing, also where a token is at hand.
func TestG56Done(t *testing.T) {
	p := grants()
	s := delegated(t, p, nil)
	get(t, s, ann, "ya29.token-1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, k := range []token.Key{ann, bob} {
		got, err := s.Token(ctx, k)
		if got != "" || !errors.Is(err, context.Canceled) || connection.KindOf(err) != connection.ErrCanceled {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if p.count() != 1 {
		t.Errorf("%d requests, want 1", p.count())
	}
}

// A server that takes the request and says nothing is given up after a minute, also by callers without a deadline.
func TestSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{answer: func(_ int, r *http.Request, _ url.Values) (*http.Response, error) { return hangs(r) }}
		s := delegated(t, p, nil)
		began := time.Now()
		e := failure(t, s, ann, connection.ErrTimeout, "no answer within 1m0s", "credentials: token_uri: ")
		if time.Since(began) != time.Minute || !connection.Temporary(e) {
			t.Errorf("after %s: %v", time.Since(began), e)
		}
	})
}

// While the token that is to be replaced is still good, a server that cannot be asked does no harm.
func TestOldTokenBridges(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	down := "" // what the server says instead of a token
	p := grants()
	give := p.answer
	p.answer = func(n int, r *http.Request, form url.Values) (*http.Response, error) {
		if down != "" {
			return reply(503, down), nil
		}
		return give(n, r, form)
	}
	s := delegated(t, p, func(o *token.Options) { o.Now = func() time.Time { return now } })
	get(t, s, ann, "ya29.token-1")
	down = "later"
	now = now.Add(56 * time.Minute)
	get(t, s, ann, "ya29.token-1")
	get(t, s, ann, "ya29.token-1")
	if p.count() != 2 {
		t.Errorf("%d requests, want 2: the next try waits", p.count())
	}
	now = now.Add(31 * time.Second)
	get(t, s, ann, "ya29.token-1")
	if p.count() != 3 {
		t.Errorf("%d requests, want 3", p.count())
	}
	s.Invalidate(ann, "ya29.token-1")
	fails(t, s, ann, connection.ErrUnavailable, "503")
	down = ""
	get(t, s, ann, "ya29.token-5")
	down, now = "later", now.Add(59*time.Minute+45*time.Second)
	fails(t, s, ann, connection.ErrUnavailable, "503") // the old one has 14 s left
}
