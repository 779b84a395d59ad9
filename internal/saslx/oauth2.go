package saslx

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// OAuth2 is the setting oauth2: an OAuth 2.0 token endpoint (RFC 6749) and what it takes to get access tokens there. With
// RefreshToken these are the tokens of the person who has consented (section 6); without, the application's own (section
// 4.4, client credentials), with which it opens every mailbox that it is permitted to.
//
// It goes before connection.Env.Token. A refresh token that the endpoint replaces is replaced in memory alone. Where the old one ends with that, the host has
// to keep it, and gives tokens through connection.Env.Token instead.
type OAuth2 struct {
	Tenant       string            `json:"tenant,omitempty" label:"Microsoft tenant" help:"id or verified domain of the Microsoft 365 tenant, which says where its token endpoint is; for other providers set token_uri"`
	TokenURI     string            `json:"token_uri,omitempty" label:"Token endpoint" help:"where tokens are asked for, such as https://oauth2.googleapis.com/token; not with tenant"`
	ClientID     string            `json:"client_id" label:"Client id" help:"of the application, as the provider has registered it"`
	ClientSecret connection.Secret `json:"client_secret,omitzero" label:"Client secret" help:"of the application; some need none together with a refresh token"`
	RefreshToken connection.Secret `json:"refresh_token,omitzero" label:"Refresh token" help:"what the consent of a person gave; without one the application logs in as itself"`
}

// microsoft is the token endpoint of a tenant, and office the scope for client credentials there: IMAP, POP and SMTP have
// no other.
const (
	microsoft = "https://login.microsoftonline.com/%s/oauth2/v2.0/token"
	office    = "https://outlook.office365.com/.default"
)

// uri returns the token endpoint.
func (o *OAuth2) uri() string {
	if o.Tenant != "" {
		return fmt.Sprintf(microsoft, o.Tenant)
	}
	return o.TokenURI
}

// Validate returns an error that names the JSON field at fault.
func (o *OAuth2) Validate() error {
	switch {
	case o.ClientID == "":
		return errors.New("oauth2: client_id: missing")
	case strings.ContainsFunc(o.ClientID, control):
		return errors.New("oauth2: client_id: control character")
	case o.Tenant == "" && o.TokenURI == "":
		return errors.New("oauth2: token_uri: missing; or set tenant, for Microsoft 365")
	case o.Tenant != "" && o.TokenURI != "":
		return errors.New("oauth2: tenant, token_uri: give only one")
	case o.ClientSecret.IsZero() && o.RefreshToken.IsZero():
		return errors.New("oauth2: client_secret: missing; it logs the application in, where there is no refresh_token")
	case o.Tenant != "" && !domainLike(o.Tenant):
		return fmt.Errorf("oauth2: tenant: %q: want the id or a verified domain of the tenant", o.Tenant)
	}
	switch strings.ToLower(o.Tenant) {
	case "common", "organizations", "consumers":
		if o.RefreshToken.IsZero() {
			return fmt.Errorf("oauth2: tenant: %q: the application can log in to one tenant only; want its id or domain", o.Tenant)
		}
	}
	if o.TokenURI == "" {
		return nil
	}
	u, err := url.Parse(o.TokenURI)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("oauth2: token_uri: want a URL such as https://oauth2.googleapis.com/token") // its text may hold a secret
	}
	if local := net.ParseIP(u.Hostname()); u.Scheme != "https" && (u.Scheme != "http" || local == nil || !local.IsLoopback()) {
		return fmt.Errorf("oauth2: token_uri: scheme %q: want https, since secrets are sent there", u.Scheme)
	}
	return nil
}

// Source returns a source of tokens with the scopes given; none means what the endpoint or the consent says, and for
// client credentials at Microsoft what it must be. It keeps a token until shortly before its end, or until it is asked
// for another one, and uses env's HTTPClient, or its Dial and TLS. It is safe for concurrent use; one request is under
// way at a time, and ends with the ctx of who waits for it, after a minute at the latest.
//
// Its errors are *connection.Error: ErrAuth with the endpoint's code if it refuses, ErrThrottled or ErrUnavailable if it
// asks to come later, ErrConfig if it is no token endpoint, else what became of the connection. o must be valid.
func (o *OAuth2) Source(env *connection.Env, scopes []string) TokenSource {
	e := &endpoint{settings: *o, refresh: o.RefreshToken, client: endpointClient(env), turn: make(chan struct{}, 1)}
	e.scope = strings.Join(scopes, " ")
	if e.scope == "" && o.Tenant != "" && o.RefreshToken.IsZero() {
		e.scope = office
	}
	return e.give
}
