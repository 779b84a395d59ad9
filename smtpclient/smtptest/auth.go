package smtptest

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

// Auth is how a server authenticates. The zero value offers PLAIN. Options.Username and Options.Password are the only
// login.
type Auth struct {
	// Mechanisms are offered in this order, and obeyed; nil means PLAIN. See [Mechanisms].
	Mechanisms []string

	// Token is the only good token of OAUTHBEARER and XOAUTH2; "" means that there is none.
	Token string
	// TokenStatus and TokenScope are what the error challenge says of a refused token; "" means what Dovecot says.
	TokenStatus, TokenScope string

	// Prompts are the challenges of LOGIN; nil means "Username:" and "Password:". With more than two it asks on.
	Prompts []string

	// Challenge, if not nil, replaces the challenges that are sent, to misbehave; step counts from 1, without an
	// empty one that only asks for the initial response. It is called from the goroutines of connections.
	Challenge func(mechanism string, step int, challenge []byte) []byte
}

// Mechanisms returns what Auth.Mechanisms may name. EXTERNAL takes the user from the common name of the client's
// certificate, which Options.TLS must ask for.
func Mechanisms() []string { return saslserver.Mechanisms() }

// A Login is one attempt to log in that was not broken off.
type Login struct {
	Conn        int // the connection, counted from 1 in the order of acceptance
	Mechanism   string
	User        string // as sent; of EXTERNAL, as the certificate says
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
	return slices.DeleteFunc(names, func(name string) bool { return strings.HasSuffix(name, "-PLUS") && !s.secure() })
}

// authenticate obeys AUTH (RFC 4954). It returns the reply.
func (s *session) authenticate(args string) (string, error) {
	name, text, initial := strings.Cut(args, " ")
	name = strings.ToUpper(name)
	switch {
	case s.authorized:
		return "503 5.5.1 already logged in", nil
	case !slices.Contains(s.mechanisms(), name):
		return "504 5.5.4 unknown mechanism", nil
	}
	half, err := saslserver.New(name, s.serverHalf(name))
	if err != nil {
		return "", err
	}
	var response []byte // nil: the client has sent none
	switch {
	case text == "=":
		response = []byte{}
	case initial:
		if response, err = base64.StdEncoding.DecodeString(text); err != nil {
			return "501 5.5.2 no base64", nil
		}
	}
	for {
		challenge, done, err := half.Next(response)
		who := half.Identity()
		login := Login{Conn: s.meter.ID, Mechanism: who.Mechanism, User: who.User, Domain: who.Domain, Workstation: who.Workstation}
		switch {
		case errors.Is(err, saslserver.ErrRefused):
			return s.admit(login, false), nil
		case err != nil:
			return "501 5.5.2 " + err.Error(), nil
		case done:
			return s.admit(login, s.server.opts.knows(who)), nil
		}
		if err := s.reply("334 " + base64.StdEncoding.EncodeToString(challenge)); err != nil {
			return "", err
		}
		line, err := s.readLine()
		if err != nil {
			return "", err
		}
		if line == "*" {
			return "501 5.7.0 cancelled", nil
		}
		if response, err = base64.StdEncoding.AppendDecode([]byte{}, []byte(line)); err != nil {
			return "501 5.5.2 no base64", nil
		}
	}
}

func (s *session) admit(login Login, ok bool) string {
	login.OK = ok
	s.server.mu.Lock()
	s.server.logins = append(s.server.logins, login)
	s.server.mu.Unlock()
	if !ok {
		return "535 5.7.8 wrong user name or password"
	}
	s.authorized = true
	return "235 2.7.0 welcome"
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
		Status: a.TokenStatus, Scope: a.TokenScope, Prompts: a.Prompts,
		PlusOffered: slices.ContainsFunc(s.mechanisms(), func(name string) bool { return strings.HasSuffix(name, "-PLUS") }),
	}
	if a.Challenge != nil {
		half.Tamper = func(step int, challenge []byte) []byte { return a.Challenge(mechanism, step, challenge) }
	}
	if half.TLS = s.meter.TLS(); half.TLS != nil && len(half.TLS.PeerCertificates) > 0 {
		half.CertificateUser = half.TLS.PeerCertificates[0].Subject.CommonName
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
		return who.User == name.Person()
	}
	return who.User == o.Username
}
