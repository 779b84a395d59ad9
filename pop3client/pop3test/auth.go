package pop3test

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // APOP is MD5 by definition
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/internal/saslx/saslserver"
)

// authorization obeys the commands before the login (RFC 1939, 4; RFC 5034; RFC 2595).
func (s *session) authorization(name, args string) error {
	opts := &s.server.opts
	switch name {
	case "STLS":
		if s.server.tls == nil || s.meter.TLS() != nil {
			s.say("-ERR no STLS here")
			return nil
		}
		s.say("+OK begin TLS")
		if err := s.w.Flush(); err != nil {
			return err
		}
		return s.secure()
	case "USER":
		s.user = args
		s.say("+OK")
	case "PASS":
		s.admit(s.user == opts.Username && args == opts.Password)
	case "APOP":
		user, digest, _ := strings.Cut(args, " ")
		sum := md5.Sum([]byte(s.stamp + opts.Password)) //nolint:gosec // see the import
		want := hex.EncodeToString(sum[:])
		s.admit(s.stamp != "" && user == opts.Username && hmac.Equal([]byte(digest), []byte(want)))
	case "AUTH":
		return s.authenticate(args)
	case "UTF8", "LANG":
		if s.server.without(name) {
			s.say("-ERR unknown command")
			return nil
		}
		s.say("+OK")
	default:
		s.say("-ERR unknown command, or log in first")
	}
	return nil
}

// admit ends a login.
func (s *session) admit(ok bool) {
	if !ok {
		s.say("-ERR " + s.server.code("AUTH") + "authentication failed")
		return
	}
	if refusal := s.server.logIn(s); refusal != "" {
		s.say("-ERR " + refusal)
		return
	}
	s.say("+OK maildrop ready")
}

// mechanisms are what the server offers on this connection.
func (s *session) mechanisms() []string {
	opts := &s.server.opts
	if opts.Mechanisms != nil {
		return opts.Mechanisms
	}
	return slices.DeleteFunc(saslserver.Mechanisms(), func(name string) bool {
		switch name {
		case "XOAUTH2", "OAUTHBEARER":
			return opts.Token == ""
		case "EXTERNAL":
			return s.certificateUser() == ""
		}
		return strings.HasSuffix(name, "-PLUS") && (s.meter.TLS() == nil || s.meter.TLS().Version < tls.VersionTLS13)
	})
}

// certificateUser is the common name of the client's certificate.
func (s *session) certificateUser() string {
	state := s.meter.TLS()
	if state == nil || len(state.PeerCertificates) == 0 {
		return ""
	}
	return state.PeerCertificates[0].Subject.CommonName
}

// authenticate runs a SASL exchange (RFC 5034, 4).
func (s *session) authenticate(args string) error {
	name, initial, given := strings.Cut(args, " ")
	offered := s.mechanisms()
	if !slices.ContainsFunc(offered, func(o string) bool { return strings.EqualFold(o, name) }) {
		s.say("-ERR unknown mechanism")
		return nil
	}
	opts := &s.server.opts
	o := &saslserver.Options{
		Password:        func(saslserver.Identity) (string, bool) { return opts.Password, true },
		Token:           func(_ saslserver.Identity, token string) bool { return opts.Token != "" && token == opts.Token },
		CertificateUser: s.certificateUser(),
		PlusOffered:     slices.ContainsFunc(offered, func(o string) bool { return strings.HasSuffix(o, "-PLUS") }),
		TLS:             s.meter.TLS(),
	}
	mech, err := saslserver.New(name, o)
	if err != nil {
		return err
	}
	bare := s.server.opts.Quirks.BareNTLM && strings.EqualFold(name, "NTLM")
	if bare && given {
		s.say("-ERR protocol error")
		return nil
	}
	var response []byte
	if given {
		if response, err = decode(initial); err != nil {
			s.say("-ERR not base64")
			return nil
		}
	}
	for {
		challenge, done, err := mech.Next(response)
		if err != nil || done {
			s.admit(err == nil && s.sameUser(mech.Identity()))
			return nil
		}
		next := "+ " + base64.StdEncoding.EncodeToString(challenge)
		if bare && len(challenge) == 0 {
			next = "+OK"
		}
		s.say(next)
		if err := s.w.Flush(); err != nil {
			return err
		}
		line, err := s.readLine()
		if err != nil {
			return err
		}
		if line == "*" {
			s.say("-ERR cancelled")
			return nil
		}
		if response, err = decode(line); err != nil {
			s.say("-ERR not base64")
			return nil
		}
	}
}

// sameUser compares who logs in with the one user of the server. NTLM names a user without the domain.
func (s *session) sameUser(who saslserver.Identity) bool {
	name := s.server.opts.Username
	if who.Domain != "" {
		_, after, _ := strings.Cut(name, `\`)
		return strings.EqualFold(who.User, name) || strings.EqualFold(who.User, after)
	}
	return who.User == name
}

// decode reads a response; never nil, since nil means that there is none.
func decode(line string) ([]byte, error) {
	if line == "=" || line == "" {
		return []byte{}, nil
	}
	return base64.StdEncoding.DecodeString(line)
}
