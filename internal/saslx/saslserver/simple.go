package saslserver

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // CRAM-MD5 is what it is
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// plain verifies PLAIN (RFC 4616).
func (s *Server) plain(response []byte) ([]byte, bool, error) {
	parts := strings.Split(string(response), "\x00")
	if len(parts) != 3 || parts[1] == "" || parts[2] == "" {
		return nil, false, errors.New("want authorization identity, user name and password")
	}
	s.who.ActFor, s.who.User = parts[0], parts[1]
	return s.admit(parts[2])
}

// login verifies LOGIN, which answers by count.
func (s *Server) login(response []byte) ([]byte, bool, error) {
	if response != nil {
		return nil, false, errors.New("LOGIN has no initial response here")
	}
	prompts := s.o.Prompts
	if prompts == nil {
		prompts = []string{"Username:", "Password:"}
	}
	var answers []string
	s.step = func(response []byte) ([]byte, bool, error) {
		answers = append(answers, string(response))
		if len(answers) < len(prompts) {
			return []byte(prompts[len(answers)]), false, nil
		}
		if len(answers) < 2 {
			return nil, false, errors.New("too few prompts for LOGIN")
		}
		s.who.User = answers[0]
		return s.admit(answers[1])
	}
	return []byte(prompts[0]), false, nil
}

// cramMD5 verifies CRAM-MD5 (RFC 2195).
func (s *Server) cramMD5(response []byte) ([]byte, bool, error) {
	if response != nil {
		return nil, false, errors.New("CRAM-MD5 has no initial response")
	}
	challenge := "<" + rand.Text() + "@saslserver>"
	s.step = func(response []byte) ([]byte, bool, error) {
		i := strings.LastIndexByte(string(response), ' ')
		if i < 0 {
			return nil, false, errors.New("want user name and digest")
		}
		s.who.User = string(response[:i])
		digest, err := hex.DecodeString(string(response[i+1:]))
		if err != nil {
			return nil, false, errors.New("a digest that is not hexadecimal")
		}
		password, known := s.password()
		mac := hmac.New(md5.New, []byte(password))
		mac.Write([]byte(challenge))
		if !known || !hmac.Equal(digest, mac.Sum(nil)) {
			return nil, false, ErrRefused
		}
		return nil, true, nil
	}
	return []byte(challenge), false, nil
}

// external verifies EXTERNAL (RFC 4422, appendix A).
func (s *Server) external(response []byte) ([]byte, bool, error) {
	s.who.User, s.who.ActFor = s.o.CertificateUser, string(response)
	if s.o.CertificateUser == "" {
		return nil, false, ErrRefused
	}
	return nil, true, nil
}

// oauthBearer verifies OAUTHBEARER (RFC 7628).
func (s *Server) oauthBearer(response []byte) ([]byte, bool, error) {
	fields := strings.Split(string(response), "\x01")
	header := strings.Split(fields[0], ",")
	if len(header) != 3 || header[0] != "n" || header[2] != "" || len(fields) < 3 || fields[len(fields)-1] != "" || fields[len(fields)-2] != "" {
		return nil, false, errors.New("want a GS2 header and fields")
	}
	if name, ok := strings.CutPrefix(header[1], "a="); ok {
		s.who.User = saslName(name)
	} else if header[1] != "" {
		return nil, false, errors.New("want a= in the GS2 header")
	}
	token := ""
	for _, field := range fields[1 : len(fields)-2] {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "host":
			s.who.Host = value
		case "port":
			s.who.Port = value
		case "auth":
			token = strings.TrimPrefix(value, "Bearer ")
		}
	}
	return s.bearer(token, "invalid_token", "\x01")
}

// xoauth2 verifies XOAUTH2, as Google and Microsoft describe it.
func (s *Server) xoauth2(response []byte) ([]byte, bool, error) {
	text, whole := strings.CutSuffix(string(response), "\x01\x01")
	user, auth, two := strings.Cut(text, "\x01")
	user, named := strings.CutPrefix(user, "user=")
	token, ok := strings.CutPrefix(auth, "auth=Bearer ")
	if !whole || !two || !named || !ok {
		return nil, false, errors.New("want user= and auth=Bearer")
	}
	s.who.User = user
	return s.bearer(token, "401", "")
}

// bearer judges a token. A refused one is told by an error challenge, which the client must answer.
func (s *Server) bearer(token, status, answer string) ([]byte, bool, error) {
	if s.o.Token != nil && s.o.Token(s.who, token) {
		return nil, true, nil
	}
	s.step = func(response []byte) ([]byte, bool, error) {
		if string(response) != answer {
			return nil, false, fmt.Errorf("the error challenge was answered with %q, want %q", response, answer)
		}
		return nil, false, ErrRefused
	}
	if s.o.Status != "" {
		status = s.o.Status
	}
	text := `{"status":"` + status + `"`
	if s.o.Scope != "" {
		text += `,"schemes":"bearer","scope":"` + s.o.Scope + `"`
	}
	return []byte(text + "}"), false, nil
}

// saslName undoes the escapes of a name (RFC 5801, 4).
func saslName(name string) string {
	return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(name)
}
