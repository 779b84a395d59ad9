package gmailtest

import (
	"context"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
)

// Config returns settings that fit the server, to be used together with [Server.Env]: those of the service account, for all mailboxes of
// the domain.
func (s *Server) Config() gmail.Config {
	c := s.bare()
	c.Credentials = connection.NewSecret(string(s.ServiceAccountJSON()))
	c.Admin = s.opts.Admin
	return c
}

// UserConfig returns settings that fit the server for the mailbox of one user who has consented: to scopes, or without any to all of
// Gmail's. The user is created if there is none.
func (s *Server) UserConfig(email string, scopes ...string) gmail.Config {
	c, creds := s.bare(), s.OAuth2(email, scopes...)
	c.OAuth2 = &gmail.OAuth2{
		ClientID: creds.ClientID, ClientSecret: connection.NewSecret(creds.ClientSecret), RefreshToken: connection.NewSecret(creds.RefreshToken),
		TokenURI: creds.TokenURI,
	}
	return c
}

// HookConfig returns settings that fit the server and have no credentials: tokens are to come from the environment, as that of
// [Server.HookEnv] has them.
func (s *Server) HookConfig() gmail.Config { return s.bare() }

// bare are settings without credentials.
func (s *Server) bare() gmail.Config {
	c := gmail.Config{Endpoint: s.URL(), CustomEndpoints: true}
	c.CAPEM = s.CA()
	return c
}

// HookEnv returns the environment of Env with a source of access tokens: for a mailbox that is asked for, or otherwise for that of email.
// A mailbox that does not exist or is suspended is refused.
func (s *Server) HookEnv(email string) *connection.Env {
	env := s.Env()
	env.Token = func(_ context.Context, req connection.TokenRequest) (connection.Secret, error) {
		who := or(req.Mailbox, email)
		a := s.lookup(who)
		s.mu.Lock()
		gone := a == nil || a.Suspended
		s.mu.Unlock()
		if gone {
			return connection.Secret{}, &connection.Error{Op: "token", Kind: connection.ErrNotFound, Code: "invalid_grant", Endpoint: s.TokenURL()}
		}
		return connection.NewSecret(s.Token(who, req.Scopes...)), nil
	}
	return env
}
