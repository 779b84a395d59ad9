package token

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"unicode"

	"github.com/mailconn/mailconn/connection"
)

// Refresh is the setting oauth2: the consent of one user, and the application that it was given to (RFC 6749, 6).
type Refresh struct {
	ClientID     string            `json:"client_id" label:"Client id" help:"of the application, as it is registered in the Google Cloud console"`
	ClientSecret connection.Secret `json:"client_secret,omitzero" label:"Client secret" help:"of the application; some kinds have none"`
	RefreshToken connection.Secret `json:"refresh_token,omitzero" label:"Refresh token" help:"what the consent of the user gave; it must be for the scopes that are used. While the consent screen is in testing, Google lets it die after 7 days"`
	TokenURI     string            `json:"token_uri,omitempty" label:"Token endpoint" help:"whole URL where tokens are asked for; without one Google's"`
}

// Validate returns an error that names the JSON field at fault: "oauth2: refresh_token: missing".
func (r *Refresh) Validate(customHosts bool) error {
	_, err := r.endpoint(customHosts)
	return err
}

// endpoint returns where tokens are asked for, if all is valid.
func (r *Refresh) endpoint(customHosts bool) (*url.URL, error) {
	switch {
	case r.ClientID == "":
		return nil, errors.New("oauth2: client_id: missing")
	case strings.ContainsFunc(r.ClientID, unicode.IsControl):
		return nil, errors.New("oauth2: client_id: control character")
	case r.RefreshToken.IsZero():
		return nil, errors.New("oauth2: refresh_token: missing")
	}
	u, err := checkTokenURI(r.TokenURI, customHosts)
	if err != nil {
		return nil, fmt.Errorf("oauth2: token_uri: %w", err)
	}
	return u, nil
}

// refreshing gets the tokens of one user. There is one for all scopes: a scope may be asked for only as the consent has spelt it,
// which nobody tells, and without any the token has them all.
type refreshing struct {
	exchange
	secret connection.Secret

	mu   sync.Mutex
	last connection.Secret // the refresh token
	dead error             // why it is good no more
}

func newRefresh(r *Refresh, customHosts bool) (*refreshing, error) {
	uri, err := r.endpoint(customHosts)
	if err != nil {
		return nil, err
	}
	return &refreshing{
		exchange: exchange{uri: uri, name: "oauth2", uriField: "oauth2: token_uri", clientID: r.ClientID},
		secret:   r.ClientSecret, last: r.RefreshToken,
	}, nil
}

func (g *refreshing) key(Key) Key { return Key{} }

func (g *refreshing) fetch(ctx context.Context, s *Source, k Key, _ bool) (issued, error) {
	g.mu.Lock()
	refresh, dead := g.last, g.dead
	g.mu.Unlock()
	if dead != nil {
		return issued{}, dead
	}
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {g.clientID}, "refresh_token": {refresh.Reveal()}}
	if !g.secret.IsZero() {
		form.Set("client_secret", g.secret.Reveal())
	}
	got, err := g.post(ctx, s, k, form, refresh, g.secret)
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case errors.Is(err, ErrReauth) && g.last.Reveal() == refresh.Reveal():
		g.dead = err
	case err == nil && !got.refresh.IsZero():
		g.last = got.refresh // RFC 6749, 6: the old one may be void from now on
	}
	return issued{token: got.token, life: got.life}, err
}
