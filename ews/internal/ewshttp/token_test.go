package ewshttp_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/ewshttp"
)

// tokens is a source that counts.
type tokenSource struct {
	mu   sync.Mutex
	list []string // what it gives, one for each time that it must renew; the last for ever
	asks []connection.TokenRequest
}

func (s *tokenSource) give(_ context.Context, r connection.TokenRequest) (connection.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asks = append(s.asks, r)
	if r.Renew && len(s.list) > 1 {
		s.list = s.list[1:]
	}
	return connection.NewSecret(s.list[0]), nil
}

func oauth(source *tokenSource) func(*ewshttp.Options) {
	return func(o *ewshttp.Options) {
		o.Password, o.Tokens, o.Scopes = connection.Secret{}, source.give, []string{"scope"}
	}
}

func TestOAuthRenewsOnce(t *testing.T) {
	for name, test := range map[string]struct {
		list  []string
		good  string
		steps string
		asks  int
		fails bool
	}{
		"good":         {[]string{"a-token"}, "a-token", "Bearer+body Bearer+body", 1, false},
		"expired":      {[]string{"a-token", "b-token"}, "b-token", "Bearer+body Bearer+body Bearer+body", 2, false},
		"never good":   {[]string{"a-token", "b-token", "c-token"}, "", "Bearer+body Bearer+body", 3, true},
		"no other":     {[]string{"a-token"}, "", "Bearer+body", 2, true},
		"only a third": {[]string{"a-token", "b-token", "c-token"}, "c-token", "Bearer+body Bearer+body", 3, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, func(s *server) { s.offers, s.tokens = []string{"Bearer", "NTLM"}, map[string]bool{test.good: true} })
			source := &tokenSource{list: test.list}
			c := s.client(nil, oauth(source))
			for range 2 {
				if test.fails {
					e := fails(t, c, s.request(), connection.ErrAuth, "oauth2: ")
					for _, token := range test.list {
						if strings.Contains(e.text, token) {
							t.Errorf("the token is in %q", e.text)
						}
					}
					continue
				}
				get(t, c, s.request())
			}
			if got := s.steps(); got != test.steps {
				t.Errorf("got %q, want %q", got, test.steps)
			}
			if len(source.asks) != test.asks {
				t.Errorf("asked %v, want %d times", source.asks, test.asks)
			}
			if r := source.asks[0]; r.Mailbox != user || r.Renew || fmt.Sprint(r.Scopes) != "[scope]" {
				t.Errorf("asked with %+v", r)
			}
		})
	}
}

// Many requests meet the end of one token: it is renewed once.
func TestOAuthRenewsOnceForAll(t *testing.T) {
	s := newServer(t, func(s *server) { s.offers, s.tokens = []string{"Bearer"}, map[string]bool{"a-token": true} })
	source := &tokenSource{list: []string{"a-token", "b-token"}}
	c := s.client(nil, oauth(source))
	get(t, c, s.request())
	s.note(func() { s.tokens = map[string]bool{"b-token": true} })
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			resp, err := c.Do(t.Context(), s.request())
			if err != nil {
				t.Error(err)
				return
			}
			read(t, resp)
		})
	}
	wg.Wait()
	renewed := 0
	for _, r := range source.asks {
		if r.Renew {
			renewed++
		}
	}
	if renewed != 1 {
		t.Errorf("renewed %d times", renewed)
	}
}

func TestTokenSourceFails(t *testing.T) {
	s := newServer(t, func(s *server) { s.offers = []string{"Bearer"} })
	for name, test := range map[string]struct {
		token string
		err   error
		kind  connection.Kind
	}{
		"empty":         {"", nil, connection.ErrAuth},
		"with its name": {"Bearer a-token", nil, connection.ErrAuth},
		"line end":      {"a-token\r\nX: y", nil, connection.ErrAuth},
		"told":          {"", &connection.Error{Kind: connection.ErrThrottled, RetryAfter: time.Minute}, connection.ErrThrottled},
		"unknown":       {"", errors.New("some text"), connection.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			c := s.client(nil, func(o *ewshttp.Options) {
				o.Tokens = func(context.Context, connection.TokenRequest) (connection.Secret, error) {
					return connection.NewSecret(test.token), test.err
				}
			})
			e := fails(t, c, s.request(), test.kind, "oauth2: ")
			if connection.RetryAfter(test.err) != e.retryAfter {
				t.Errorf("wait %s", e.retryAfter)
			}
		})
	}
}

// A source that heeds nothing is left behind.
func TestTokenSourceHangs(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	s := newServer(t, nil)
	c := s.client(nil, func(o *ewshttp.Options) {
		o.Tokens = func(context.Context, connection.TokenRequest) (connection.Secret, error) {
			<-release
			return connection.Secret{}, nil
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if _, err := c.Do(ctx, s.request()); !errors.Is(err, context.Canceled) { //nolint:bodyclose // there is none
		t.Errorf("got %v", err)
	}
	closeIt(t, c)
	fails(t, c, s.request(), connection.ErrClosed)
}
