package token

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"golang.org/x/oauth2"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/wirelog"
)

// hooked asks the host. When its tokens end is not known: they are used for a short while, and then the host, which may keep them, is
// asked again.
type hooked struct{ hook Hook }

func (hooked) key(k Key) Key                              { return k }
func (hooked) account() (email, clientID, project string) { return "", "", "" }
func (hooked) tokenURL() *url.URL                         { return nil }

func (g hooked) fetch(ctx context.Context, s *Source, k Key, renew bool) (issued, error) {
	token, err := g.hook(ctx, connection.TokenRequest{Mailbox: k.Subject, Scopes: []string{k.Scope}, Renew: renew})
	if err != nil {
		return issued{}, s.hookFailed(ctx, k, err, "the host's token source")
	}
	if !sendable(token.Reveal()) {
		return issued{}, s.fault(connection.ErrAuth, "the host's token source gave no usable token", "a token of %d octets that cannot be sent in a header", len(token.Reveal()))
	}
	return issued{token: token}, nil
}

// hookFailed makes the error of somebody else's source one of ours. What a token endpoint said is read as if we had asked it.
func (s *Source) hookFailed(ctx context.Context, k Key, err error, who string) *connection.Error {
	var own *connection.Error
	var endpoint *oauth2.RetrieveError
	switch {
	case ctx.Err() != nil:
		return s.fault(connection.KindOf(ctx.Err()), "", "asking %s: %w", who, ctx.Err())
	case errors.As(err, &endpoint) && endpoint.Response != nil:
		r := parseReply(endpoint.Body)
		if r.code == "" {
			r.code, r.text = endpoint.ErrorCode, endpoint.ErrorDescription
		}
		return s.refused(&exchange{uri: endpointURL(endpoint)}, k, endpoint.Response.StatusCode, endpoint.Response.Header, r, wirelog.NewScrubber(""))
	case errors.As(err, &own) && own.Kind != connection.ErrUnknown:
		e := *own
		e.Op, e.Driver = "token", driver
		return &e
	}
	kind := connection.KindOf(err)
	if kind == connection.ErrUnknown {
		kind = connection.ErrAuth
	}
	return s.fault(kind, who+" failed", "asking %s: %w", who, err)
}

func endpointURL(e *oauth2.RetrieveError) *url.URL {
	if e.Response.Request != nil && e.Response.Request.URL != nil {
		return e.Response.Request.URL
	}
	return &url.URL{}
}

// FromOAuth2 returns a hook that gets its tokens from ts, as golang.org/x/oauth2 and the packages built on it provide them, for
// whatever mailbox and scope ts is. ts must renew its tokens by itself (oauth2.ReuseTokenSource does): it cannot be told that one
// was refused before its time.
//
// The hook ends with ctx, although ts knows none: a Token that blocks is left behind, one at most, and later calls wait for it.
func FromOAuth2(ts oauth2.TokenSource) Hook {
	turn := make(chan struct{}, 1)
	return func(ctx context.Context, _ connection.TokenRequest) (connection.Secret, error) {
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			return connection.Secret{}, ctx.Err()
		}
		type result struct {
			token connection.Secret
			err   error
		}
		got := make(chan result, 1)
		go func() {
			defer func() { <-turn }()
			t, err := ts.Token()
			switch {
			case err != nil:
				got <- result{err: err}
			case t == nil || t.AccessToken == "":
				got <- result{err: errors.New("the token source gave no token")}
			case t.Type() != "Bearer":
				got <- result{err: fmt.Errorf("the token source gave a token of the type %q, want Bearer", printable(t.Type(), maxCode))}
			default:
				got <- result{token: connection.NewSecret(t.AccessToken)}
			}
		}()
		select {
		case r := <-got:
			return r.token, r.err
		case <-ctx.Done():
			return connection.Secret{}, ctx.Err()
		}
	}
}
