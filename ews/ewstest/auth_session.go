package ewstest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"time"

	"github.com/mailconn/mailconn/internal/saslx/saslserver"
)

// ntlmState is how far NTLM came on a connection. Only the handler that runs on the connection uses it.
type ntlmState struct {
	verifier *verifier // of a challenge that is to be answered
	scheme   string    // that of the challenge

	user       *account // who is authenticated; nil: nobody
	since      time.Time
	requests   int
	generation int
}

// session is a request without credentials: it is the user's who was authenticated on the connection, if there is one.
func (s *Server) session(c *conn) verdict {
	state := &c.ntlm
	state.verifier = nil // a challenge is answered at once or not at all
	s.auth.mu.Lock()
	lost := state.generation != s.auth.generation
	s.auth.mu.Unlock()
	o := &s.opts.Auth
	switch {
	case state.user == nil:
		return verdict{}
	case lost, o.ReauthAfter > 0 && state.requests >= o.ReauthAfter, o.ReauthAge > 0 && s.clock.Now().Sub(state.since) >= o.ReauthAge:
		c.ntlm = ntlmState{}
		return verdict{}
	}
	state.requests++
	return verdict{user: state.user}
}

// handshake is a request with one of NTLM's messages.
func (s *Server) handshake(c *conn, scheme, credential string) verdict {
	before := c.ntlm
	c.ntlm = ntlmState{} // whoever was authenticated is forgotten
	message, err := base64.StdEncoding.DecodeString(credential)
	if err != nil {
		return verdict{why: "The token is no base64."}
	}
	switch ntlmKind(message) {
	case ntlmNegotiate:
		return s.sendChallenge(c, scheme, message)
	case ntlmAuthenticate:
		if before.verifier != nil && before.scheme == scheme {
			return s.checkProof(c, before.verifier, scheme, message)
		}
	}
	return verdict{why: "The token is not one that is expected here."}
}

func (s *Server) sendChallenge(c *conn, scheme string, negotiate []byte) verdict {
	o := &s.opts.Auth
	v, err := newVerifier(verifierOptions{
		domain: s.opts.Domain, dnsDomain: s.dnsDomain(), now: s.clock.Now(), noInfo: o.NoTargetInfo, flags: o.NTLMFlags,
		password: func(who saslserver.Identity) (string, bool) {
			a, _ := s.resolve(who)
			if a == nil {
				return "", false
			}
			return a.password, true
		},
	})
	if err != nil {
		return verdict{why: err.Error()}
	}
	challenge, err := v.challenge(negotiate)
	if err != nil {
		return verdict{why: err.Error()}
	}
	c.ntlm = ntlmState{verifier: v, scheme: scheme}
	s.auth.mu.Lock()
	defer s.auth.mu.Unlock()
	s.auth.challenges++
	return verdict{
		offer: scheme + " " + base64.StdEncoding.EncodeToString(challenge),
		close: o.DropAfterChallenge < 0 || s.auth.challenges <= o.DropAfterChallenge,
	}
}

func (s *Server) checkProof(c *conn, v *verifier, scheme string, message []byte) verdict {
	who, bindings, err := v.verify(message)
	l := Login{Conn: c.id, Scheme: scheme, Name: who.User, Domain: who.Domain, Workstation: who.Workstation}
	a, why := s.resolve(who)
	switch l.Why = why; {
	case why != "" || errors.Is(err, saslserver.ErrRefused):
	case err != nil:
		l.Why = "not NTLM version 2: " + err.Error()
	default:
		l.Why = s.checkBindings(c, bindings)
	}
	result := s.admit(a, l, err == nil && l.Why == "")
	if result.user == nil {
		return result
	}
	s.auth.mu.Lock()
	generation := s.auth.generation
	s.auth.mu.Unlock()
	c.ntlm = ntlmState{user: result.user, since: s.clock.Now(), requests: 1, generation: generation}
	if !s.opts.Auth.NoPersistentAuth {
		result.header = http.Header{"Persistent-Auth": {"true"}}
	}
	return result
}

// checkBindings says what is wrong with the channel bindings that a client sent.
func (s *Server) checkBindings(c *conn, sent []byte) string {
	state := c.tls()
	switch protection := s.opts.Auth.Protection; {
	case protection == ProtectionOff || state == nil:
		return ""
	case sent == nil && protection == ProtectionRequire:
		return "no channel bindings"
	case sent == nil:
		return ""
	}
	cert, err := s.net.certificate(state.ServerName)
	if err != nil {
		return err.Error()
	}
	if !bytes.Equal(sent, channelBindings(cert.Leaf)) {
		return "wrong channel bindings"
	}
	return ""
}
