package ewshttp

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/wirelog"
)

// tokenAge is how long a token is used before its source is asked again; the source keeps it as long as it is good.
const tokenAge = time.Minute

// tokens keep the access token that requests carry.
type tokens struct {
	c     *Client
	turn  chan struct{} // held by who asks the source
	token connection.Secret
	asked time.Time
}

func (t *tokens) init(c *Client) { t.c, t.turn = c, make(chan struct{}, 1) }

// get returns the token to use. If refused is set, it is one that a server has refused, and the source is asked for another one
// unless somebody has done so since.
func (t *tokens) get(ctx context.Context, endpoint string, refused connection.Secret) (connection.Secret, error) {
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return connection.Secret{}, t.c.ended(ctx, endpoint)
	case <-t.c.life.Done():
		return connection.Secret{}, t.c.ended(ctx, endpoint)
	}
	defer func() { <-t.turn }()
	renew := !refused.IsZero() && refused.Reveal() == t.token.Reveal()
	if !t.token.IsZero() && !renew && t.c.now().Sub(t.asked) < tokenAge {
		return t.token, nil
	}
	token, err := t.ask(ctx, endpoint, renew)
	if err != nil {
		return connection.Secret{}, err
	}
	if t.token.Reveal() != token.Reveal() {
		t.c.scrub.Store(wirelog.NewScrubber(t.c.name.Text, t.c.opts.Password, token, t.token))
	}
	t.token, t.asked = token, t.c.now()
	return token, nil
}

// ask asks the source. One that does not heed ctx is left behind: nothing may wait for it.
func (t *tokens) ask(ctx context.Context, endpoint string, renew bool) (connection.Secret, error) {
	type answer struct {
		token connection.Secret
		err   error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.c.life, cancel)()
	got := make(chan answer, 1)
	request := connection.TokenRequest{Mailbox: t.c.name.Person(), Scopes: t.c.opts.Scopes, Renew: renew}
	go func() {
		token, err := t.c.opts.Tokens(ctx, request)
		got <- answer{token, err}
	}()
	select {
	case <-ctx.Done():
		return connection.Secret{}, t.c.ended(ctx, endpoint)
	case a := <-got:
		if a.err != nil {
			return connection.Secret{}, t.explain(ctx, endpoint, a.err)
		}
		text := a.token.Reveal()
		if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) { // RFC 6750, section 2.1
			return connection.Secret{}, t.c.fail(connection.ErrAuth, endpoint, "oauth2: the source must give the access token alone, without \"Bearer\" and line ends", "the token source gave no token")
		}
		return a.token, nil
	}
}

// explain classifies what the source says, and keeps what it has classified itself.
func (t *tokens) explain(ctx context.Context, endpoint string, err error) error {
	if ended := t.c.ended(ctx, endpoint); ended != nil {
		return ended
	}
	e := t.c.fail(connection.KindOf(err), endpoint, "oauth2: the token source failed; its own words are in the error", "the token source: %w", err)
	var told *connection.Error
	if errors.As(err, &told) {
		e.Code, e.RetryAfter = told.Code, told.RetryAfter
		if told.Hint != "" {
			e.Hint = told.Hint
		}
	}
	if e.Kind == connection.ErrUnknown {
		e.Kind = connection.ErrUnavailable
	}
	return e
}
