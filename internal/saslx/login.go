package saslx

import (
	"context"
	"crypto/sha1" //nolint:gosec // SCRAM-SHA-1 is what older servers have
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// An Attempt is one attempt to log in, over one connection, or over two if a token had to be renewed. It is used by one
// goroutine at a time.
type Attempt struct {
	auth    *Authenticator
	token   connection.Secret // what the next Start uses instead of asking
	renewed bool
}

// Login begins an Attempt.
func (a *Authenticator) Login() *Attempt { return &Attempt{auth: a} }

// Choose is [Authenticator.Choose].
func (l *Attempt) Choose(o Offer) (*Choice, error) { return l.auth.Choose(o) }

// Start begins the exchange of a choice. For a bearer mechanism it asks the token source, and ends with ctx even if
// the source does not: the error then holds ctx.Err(). A choice that is no SASL mechanism is a programming error and
// ErrInvalid.
func (l *Attempt) Start(ctx context.Context, c *Choice) (*Exchange, error) {
	acc, name := &l.auth.account, l.auth.name
	secret := acc.Password
	if c.trait.bearer {
		var err error
		if secret, err = l.bearerToken(ctx); err != nil {
			return nil, err
		}
	}
	var mech mechanism
	switch c.Name {
	case External:
		mech = &external{identity: acc.ActFor}
	case OAuthBearer:
		mech = &bearer{user: l.auth.person(), token: secret, host: c.offer.Host, port: c.offer.Port}
	case XOAuth2:
		mech = &bearer{user: l.auth.person(), token: secret, old: true}
	case ScramSHA256, ScramSHA256Plus:
		mech = l.auth.scram(c, sha256.New)
	case ScramSHA1, ScramSHA1Plus:
		mech = l.auth.scram(c, sha1.New)
	case NTLM:
		mech = &ntlm{name: name.Windows(), password: secret}
	case CramMD5:
		mech = &cramMD5{user: name.Text, password: secret}
	case Plain:
		mech = &plain{identity: acc.ActFor, user: name.Text, password: secret}
	case Login:
		mech = &login{user: name.Text, password: secret}
	default:
		return nil, problem(connection.ErrInvalid, "", "%s is no SASL mechanism", c.Name)
	}
	x, err := begin(mech, secret)
	if err != nil {
		return nil, err
	}
	x.bearer = c.trait.bearer
	return x, nil
}

// Renew reports whether it is worth connecting again after err, which End returned for x: the server refused a token,
// no other was tried yet, and the source, asked again, has another one. The next Start uses that.
func (l *Attempt) Renew(ctx context.Context, x *Exchange, err error) bool {
	if !x.bearer || l.renewed || connection.KindOf(err) != connection.ErrAuth {
		return false
	}
	l.renewed = true
	token, err := l.auth.askToken(ctx, true)
	if err != nil || token.Reveal() == x.secret.Reveal() {
		return false
	}
	l.token = token
	return true
}

func (l *Attempt) bearerToken(ctx context.Context) (connection.Secret, error) {
	if !l.token.IsZero() {
		token := l.token
		l.token = connection.Secret{}
		return token, nil
	}
	return l.auth.askToken(ctx, false)
}

// person returns whose mailbox a bearer mechanism opens.
func (a *Authenticator) person() string {
	if a.account.ActFor != "" {
		return a.account.ActFor
	}
	return a.name.Person()
}

// askToken asks the source. One that does not heed ctx is left behind: nothing may wait for it.
func (a *Authenticator) askToken(ctx context.Context, renew bool) (connection.Secret, error) {
	type answer struct {
		token connection.Secret
		err   error
	}
	got := make(chan answer, 1)
	request := connection.TokenRequest{Mailbox: a.person(), Scopes: a.account.Scopes, Renew: renew}
	go func() {
		token, err := a.account.Token(ctx, request)
		got <- answer{token, err}
	}()
	select {
	case <-ctx.Done():
		return connection.Secret{}, problem(connection.KindOf(ctx.Err()), "", "the token source did not answer: %w", ctx.Err())
	case r := <-got:
		if r.err != nil {
			return connection.Secret{}, tokenError(ctx, r.err)
		}
		return r.token, checkToken(r.token)
	}
}

// checkToken refuses what no mechanism can carry (RFC 6750, 2.1: b64token, here any visible ASCII).
func checkToken(token connection.Secret) error {
	text := token.Reveal()
	switch {
	case text == "":
		return problem(connection.ErrAuth, "oauth2: the token source gave nothing", "the token source returned no token")
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return problem(connection.ErrAuth, "oauth2: the token source must give the access token alone, without \"Bearer\" and line ends",
			"the token source returned a text that is no token")
	}
	return nil
}

// oauthErrors are the codes of RFC 6749, 5.2 that do not pass by themselves. Libraries put them into their texts.
var oauthErrors = [...]string{"invalid_grant", "invalid_client", "unauthorized_client", "invalid_scope", "invalid_request", "unsupported_grant_type"}

// tokenError classifies what the host's source says. What it has classified itself is kept; a token endpoint's final
// refusal is ErrAuth; anything else may pass.
func tokenError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return problem(connection.KindOf(ctx.Err()), "", "the token source: %w", errors.Join(ctx.Err(), err))
	}
	e := problem(connection.KindOf(err), "", "the token source: %w", err)
	var told *connection.Error
	if errors.As(err, &told) {
		e.Code, e.RetryAfter, e.Hint = told.Code, told.RetryAfter, told.Hint
		return e
	}
	if e.Kind != connection.ErrUnknown {
		return e
	}
	e.Kind, e.Hint = connection.ErrUnavailable, "oauth2: the token source failed; its own words are in the error"
	for _, code := range oauthErrors {
		if strings.Contains(err.Error(), code) {
			e.Kind, e.Code, e.Hint = connection.ErrAuth, code, oauthHint(code)
			break
		}
	}
	return e
}

// oauthHint says what to do about a refusal of a token endpoint.
func oauthHint(code string) string {
	if code == oauthErrors[0] {
		return "oauth2: consent withdrawn or refresh token expired"
	}
	return fmt.Sprintf("oauth2: the token endpoint refuses the request (%s); look at client_id, client_secret and token_scopes", code)
}
