package imaptest

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/internal/saslx"
	"github.com/mailconn/mailconn/internal/saslx/saslserver"
)

// Auth is how a server authenticates by AUTHENTICATE. The zero value offers PLAIN. Options.Username and
// Options.Password are the only login here too.
type Auth struct {
	// Mechanisms are offered in this order, and obeyed; nil means PLAIN. See [Mechanisms]. With
	// Options.LoginDisabled, those that send a usable credential are neither on a connection without TLS.
	Mechanisms []string
	// NoLogin advertises LOGINDISABLED and refuses the LOGIN command, over TLS as well.
	NoLogin bool
	// ActsFor are the users in whose name the login may open their mail, as a Dovecot master user may: PLAIN, SCRAM and
	// EXTERNAL name one in the authorization identity (RFC 4422, 2), OAUTHBEARER and XOAUTH2 in place of the user. All
	// of them have the same mail, the server's.
	ActsFor []string

	// Token is the only good token of OAUTHBEARER and XOAUTH2; "" means that there is none.
	Token string
	// TokenStatus and TokenScope are what the error challenge says of a refused token; "" means what Dovecot says.
	TokenStatus, TokenScope string

	// Iterations is the count of SCRAM; 0 = 4096.
	Iterations int
	// Prompts are the challenges of LOGIN; nil means "Username:" and "Password:". With more than two it asks on.
	Prompts []string
	// TargetInfo is that of NTLM's challenge: nil means a domain, a computer and the time, length 0 none.
	TargetInfo []byte

	// Challenge, if not nil, replaces the challenges that are sent, to misbehave; step counts from 1, without an
	// empty one that only asks for the initial response. If it returns nil, no challenge is sent, and the exchange
	// goes on as if the client had answered with nothing. It is called from the goroutines of connections.
	Challenge func(mechanism string, step int, challenge []byte) []byte
}

// Mechanisms returns what Auth.Mechanisms may name. EXTERNAL takes the user from the common name of the client's
// certificate, which Options.TLS must ask for.
func Mechanisms() []string { return saslserver.Mechanisms() }

// A Login is one attempt to log in that was not broken off.
type Login struct {
	Conn        int    // the connection, counted from 1 in the order of acceptance
	Mechanism   string // "SCRAM-SHA-256", or "LOGIN command"
	User        string // as sent; of EXTERNAL, as the certificate says
	ActFor      string // the authorization identity, "" if none was sent
	Domain      string // of NTLM
	Workstation string // of NTLM
	OK          bool   // the user was let in
}

// Logins returns all attempts to log in, in the order of their ends.
func (s *Server) Logins() []Login {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.logins)
}

func (a *Auth) validate() error {
	for _, name := range a.Mechanisms {
		if !slices.Contains(Mechanisms(), strings.ToUpper(name)) {
			return fmt.Errorf("mechanism %q: unknown; there are %s", name, strings.Join(Mechanisms(), ", "))
		}
	}
	return nil
}

// mechanisms returns what is offered on this connection.
func (s *session) mechanisms() []string {
	names := []string{saslx.Plain}
	if m := s.server.opts.Auth.Mechanisms; m != nil {
		names = nil
		for _, name := range m {
			names = append(names, strings.ToUpper(name))
		}
	}
	return slices.DeleteFunc(names, func(name string) bool {
		return s.noPasswords() && usable(name) || strings.HasSuffix(name, "-PLUS") && !s.secure
	})
}

// usable reports whether somebody who hears the mechanism can use what it sends.
func usable(mechanism string) bool {
	switch mechanism {
	case saslx.Plain, saslx.Login, saslx.XOAuth2, saslx.OAuthBearer:
		return true
	}
	return false
}

// authenticate obeys AUTHENTICATE (RFC 3501, 6.2.2), with an initial response if there is SASL-IR (RFC 4959).
func (s *session) authenticate(c *command) (string, error) {
	if err := c.space(); err != nil {
		return "", err
	}
	mechanism, err := c.atom()
	if err != nil {
		return "", err
	}
	text, initial := "", false
	if c.accept(' ') {
		text, initial = c.run(func(b byte) bool { return b > ' ' && b < 0x7f }), true
	}
	if err := c.end(); err != nil {
		return "", err
	}
	mechanism = strings.ToUpper(mechanism)
	switch {
	case initial && (s.server.without["SASL-IR"] || text == ""):
		return "BAD no initial response here", nil
	case s.noPasswords() && usable(mechanism):
		return privacyRequired, nil
	case !slices.Contains(s.mechanisms(), mechanism):
		return "NO unsupported mechanism", nil
	}
	half, err := saslserver.New(mechanism, s.serverHalf(mechanism))
	if err != nil {
		return "", err
	}
	var response []byte // nil: the client has sent none
	switch {
	case text == "=":
		response = []byte{}
	case initial:
		if response, err = base64.StdEncoding.DecodeString(text); err != nil {
			return "BAD no base64", nil
		}
	}
	return s.converse(half, response)
}

// converse runs an exchange to its end.
func (s *session) converse(half *saslserver.Server, response []byte) (string, error) {
	for {
		challenge, done, err := half.Next(response)
		who := half.Identity()
		login := Login{Mechanism: who.Mechanism, User: who.User, ActFor: who.ActFor, Domain: who.Domain, Workstation: who.Workstation}
		switch {
		case errors.Is(err, saslserver.ErrRefused):
			return s.admit(login, false), nil
		case err != nil:
			return "BAD " + err.Error(), nil
		case done:
			return s.admit(login, s.server.opts.knows(who)), nil
		}
		s.line("+ %s", base64.StdEncoding.EncodeToString(challenge))
		if err := s.flush(); err != nil {
			return "", err
		}
		line, err := readLine(s.r, maxLineBefore)
		if err != nil {
			return "", err
		}
		if string(line) == "*" {
			return "BAD authentication cancelled", nil
		}
		if response, err = base64.StdEncoding.AppendDecode([]byte{}, line); err != nil {
			return "BAD no base64", nil
		}
	}
}

// serverHalf says whom a mechanism lets in.
func (s *session) serverHalf(mechanism string) *saslserver.Options {
	o := &s.server.opts
	a := &o.Auth
	half := &saslserver.Options{
		Password: func(who saslserver.Identity) (string, bool) { return o.Password, o.knows(who) },
		Token: func(who saslserver.Identity, token string) bool {
			return a.Token != "" && o.knows(who) && subtle.ConstantTimeCompare([]byte(token), []byte(a.Token)) == 1
		},
		Status: a.TokenStatus, Scope: a.TokenScope, Iterations: a.Iterations, Prompts: a.Prompts, TargetInfo: a.TargetInfo,
		PlusOffered: slices.ContainsFunc(s.mechanisms(), func(name string) bool { return strings.HasSuffix(name, "-PLUS") }),
	}
	if a.Challenge != nil {
		half.Tamper = func(step int, challenge []byte) []byte { return a.Challenge(mechanism, step, challenge) }
	}
	if state := s.meter.TLS(); state != nil {
		half.TLS = state
		if chain := state.PeerCertificates; len(chain) > 0 {
			half.CertificateUser = chain[0].Subject.CommonName
		}
	}
	return half
}

// knows reports whether the name that a mechanism carried is the server's only user's.
func (o *Options) knows(who saslserver.Identity) bool {
	name, err := saslx.ParseName(o.Username)
	if err != nil {
		return who.User == o.Username
	}
	switch who.Mechanism {
	case saslx.NTLM:
		return strings.EqualFold(who.User, name.User) && strings.EqualFold(who.Domain, name.Domain)
	case saslx.OAuthBearer, saslx.XOAuth2:
		return who.User == name.Person() || slices.Contains(o.Auth.ActsFor, who.User)
	}
	return who.User == o.Username
}
