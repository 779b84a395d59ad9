// Package saslserver is the server's half of the mechanisms of internal/saslx, for the doubles that tests talk to: it
// verifies what a client sends as real servers do, records who it says it is, and can be told to misbehave.
//
//	s, err := saslserver.New("SCRAM-SHA-256", &saslserver.Options{Password: lookUp})
//	for {
//		challenge, done, err := s.Next(response)  // nil first, if the client sent no initial response
//		…
//	}
//
// A Server has the methods of go-sasl's Server and can be plugged in wherever that is wanted.
package saslserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrRefused is the error for a credential that is wrong. Any other error means that the client does not follow the
// mechanism.
var ErrRefused = errors.New("the credential is refused")

// An Identity is who the client says it is, as sent.
type Identity struct {
	Mechanism   string
	User        string // of bearer mechanisms: whose mailbox
	ActFor      string // the authorization identity, if one was sent
	Domain      string // NTLM
	Workstation string // NTLM
	Host, Port  string // OAUTHBEARER
}

// Options say what a Server accepts. The zero value refuses everybody.
type Options struct {
	// Password returns the password of whom the client says it is.
	Password func(Identity) (password string, known bool)
	// Token reports whether a bearer token is good for whom the client says it is.
	Token func(who Identity, token string) bool
	// Status and Scope are what a refused token's error challenge says; "" = what Dovecot says.
	Status, Scope string
	// CertificateUser is whom the client's certificate names, for EXTERNAL; "" if it sent none.
	CertificateUser string
	// TLS is the connection, for the -PLUS mechanisms; nil in the clear.
	TLS *tls.ConnectionState
	// PlusOffered says that the list of mechanisms had a -PLUS, so that SCRAM's "y" is a downgrade.
	PlusOffered bool
	// Iterations is SCRAM's count; 0 = 4096.
	Iterations int
	// Prompts are LOGIN's challenges; nil = "Username:" and "Password:". With more than two, it asks on.
	Prompts []string
	// TargetInfo is that of NTLM's challenge; nil = a domain, a computer and the time; of length 0 = none.
	TargetInfo []byte
	// NTLMFlags are set in NTLM's challenge besides the usual ones.
	NTLMFlags uint32
	// Tamper, if not nil, replaces each challenge that is about to be sent; step counts from 1, without the empty
	// challenge that asks for an initial response. If it returns nil nothing is sent, and the exchange goes on as if
	// the client had answered with nothing.
	Tamper func(step int, challenge []byte) []byte
}

// A Server is the server's half of one exchange. It is used by one goroutine.
type Server struct {
	o    Options
	who  Identity
	step func(response []byte) ([]byte, bool, error)
	// first is set if the client speaks first: without an initial response it is asked for one.
	first bool
	sent  int
}

// Mechanisms names all that New knows, the strongest first.
func Mechanisms() []string {
	return []string{
		"EXTERNAL", "OAUTHBEARER", "XOAUTH2", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1",
		"NTLM", "CRAM-MD5", "PLAIN", "LOGIN",
	}
}

// New returns the server's half of a mechanism, whose name is in any case. o may be nil.
func New(mechanism string, o *Options) (*Server, error) {
	s := &Server{who: Identity{Mechanism: strings.ToUpper(mechanism)}, first: true}
	if o != nil {
		s.o = *o
	}
	switch s.who.Mechanism {
	case "EXTERNAL":
		s.step = s.external
	case "OAUTHBEARER":
		s.step = s.oauthBearer
	case "XOAUTH2":
		s.step = s.xoauth2
	case "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS":
		s.step = newScram(s).first
	case "NTLM":
		s.step = newNTLM(s).negotiate
	case "CRAM-MD5":
		s.step, s.first = s.cramMD5, false
	case "PLAIN":
		s.step = s.plain
	case "LOGIN":
		s.step, s.first = s.login, false
	default:
		return nil, fmt.Errorf("mechanism %q: unknown; there are %s", mechanism, strings.Join(Mechanisms(), ", "))
	}
	return s, nil
}

// Identity returns who the client says it is, as far as it has said so.
func (s *Server) Identity() Identity { return s.who }

// Next takes the client's response, nil if it has sent none, and returns the next challenge or, with done, success. An
// error ends the exchange.
func (s *Server) Next(response []byte) (challenge []byte, done bool, err error) {
	if response == nil && s.first {
		s.first = false
		return []byte{}, false, nil
	}
	s.first = false
	for {
		challenge, done, err = s.step(response)
		if err != nil || done {
			return nil, done, err
		}
		s.sent++
		if s.o.Tamper == nil {
			return challenge, false, nil
		}
		if challenge = s.o.Tamper(s.sent, slices.Clone(challenge)); challenge != nil {
			return challenge, false, nil
		}
		response = []byte{}
	}
}

// admit ends an exchange of a password that came as it is.
func (s *Server) admit(password string) ([]byte, bool, error) {
	if want, known := s.password(); !known || want != password {
		return nil, false, ErrRefused
	}
	return nil, true, nil
}

func (s *Server) password() (string, bool) {
	if s.o.Password == nil {
		return "", false
	}
	return s.o.Password(s.who)
}
