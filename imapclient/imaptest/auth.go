package imaptest

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// capabilities returns the list as it is in the session's state.
func (s *session) capabilities() string {
	words := []string{"IMAP4rev1"}
	before := s.state == stateGreeted
	for _, c := range capabilities {
		if (c.before || !before) && !s.server.without[c.name] {
			words = append(words, c.name)
		}
	}
	if before {
		if s.canUpgrade() {
			words = append(words, "STARTTLS")
		}
		if s.loginDisabled() {
			words = append(words, "LOGINDISABLED")
		}
		for _, mechanism := range s.mechanisms() {
			words = append(words, "AUTH="+mechanism)
		}
	}
	return strings.Join(append(words, s.server.opts.Advertise...), " ")
}

func (s *session) canUpgrade() bool {
	return !s.secure && s.server.opts.Mode != connection.ModeInsecure
}

// loginDisabled reports whether the LOGIN command is refused on this connection.
func (s *session) loginDisabled() bool { return s.noPasswords() || s.server.opts.Auth.NoLogin }

// noPasswords reports whether nothing that somebody on the path could use may be sent.
func (s *session) noPasswords() bool { return !s.secure && s.server.opts.LoginDisabled }

func (s *session) capability(c *command) (string, error) {
	if err := c.end(); err != nil {
		return "", err
	}
	s.line("* CAPABILITY %s", s.capabilities())
	return "OK that is all", nil
}

func (s *session) noop(c *command) (string, error) {
	return "OK done", c.end()
}

func (s *session) logout(c *command) (string, error) {
	if err := c.end(); err != nil {
		return "", err
	}
	s.line("* BYE see you")
	s.leaving = true
	return "OK bye", nil
}

// identify obeys ID (RFC 2971).
func (s *session) identify(c *command) (string, error) {
	if err := c.space(); err != nil {
		return "", err
	}
	nilOrString := func() error {
		if c.isString() {
			_, err := c.str()
			return err
		}
		if word, err := c.atom(); err != nil || !strings.EqualFold(word, "NIL") {
			return syntaxf("string or NIL expected")
		}
		return nil
	}
	parse := nilOrString
	if c.peek() == '(' {
		parse = func() error { return c.list(nilOrString) }
	}
	if err := errors.Join(parse(), c.end()); err != nil {
		return "", err
	}
	s.line(`* ID ("name" "imaptest")`)
	return "OK so you know", nil
}

// enable obeys ENABLE (RFC 5161). What this server does not know is ignored, and it knows nothing yet.
func (s *session) enable(c *command) (string, error) {
	for first := true; first || !c.ended(); first = false {
		if err := c.space(); err != nil {
			return "", err
		}
		if _, err := c.atom(); err != nil {
			return "", err
		}
	}
	s.line("* ENABLED")
	return "OK done", nil
}

func (s *session) upgrade(c *command) (string, error) {
	if err := c.end(); err != nil {
		return "", err
	}
	if !s.canUpgrade() {
		return "BAD no STARTTLS here", nil
	}
	if s.r.Buffered() > 0 { // octets sent in the clear must not be taken for octets sent under TLS
		return "BAD commands must not follow STARTTLS before the handshake", nil
	}
	return "OK begin TLS now", nil
}

func (s *session) finishUpgrade() error {
	if err := s.flush(); err != nil {
		return err
	}
	if err := s.startTLS(); err != nil {
		return err
	}
	s.attach()
	return nil
}

func (s *session) startTLS() error {
	if err := s.meter.Secure(s.server.tls); err != nil { // it ends when either side closes; tests have clients that never do it
		return fmt.Errorf("tls handshake: %w", err)
	}
	s.secure = true
	return nil
}

const privacyRequired = "NO [PRIVACYREQUIRED] not without TLS" // RFC 5530

func (s *session) login(c *command) (string, error) {
	if err := c.space(); err != nil {
		return "", err
	}
	username, err := c.astring()
	if err != nil {
		return "", err
	}
	if err := c.space(); err != nil {
		return "", err
	}
	password, err := c.astring()
	if err != nil {
		return "", err
	}
	if err := c.end(); err != nil {
		return "", err
	}
	switch {
	case s.noPasswords():
		return privacyRequired, nil
	case s.loginDisabled():
		return "NO LOGIN is disabled", nil
	}
	o := &s.server.opts
	good := subtle.ConstantTimeCompare([]byte(username), []byte(o.Username)) &
		subtle.ConstantTimeCompare([]byte(password), []byte(o.Password))
	return s.admit(Login{Mechanism: "LOGIN command", User: username}, good == 1), nil
}

// admit logs the user in, or says why not, and notes the login.
func (s *session) admit(l Login, good bool) string {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	text := s.judge(l, good)
	l.Conn, l.OK = s.meter.ID, strings.HasPrefix(text, "OK")
	s.server.logins = append(s.server.logins, l)
	return text
}

// judge is admit under the server's lock.
func (s *session) judge(l Login, good bool) string {
	o := &s.server.opts
	switch {
	case !good:
		return "NO [AUTHENTICATIONFAILED] user name or password is wrong"
	case l.ActFor != "" && l.ActFor != o.Username && !slices.Contains(o.Auth.ActsFor, l.ActFor):
		return "NO [AUTHORIZATIONFAILED] not on behalf of others"
	case o.MaxSessions > 0 && s.server.loggedIn >= o.MaxSessions:
		return fmt.Sprintf("NO [LIMIT] more than %d connections of this user", o.MaxSessions)
	}
	s.server.loggedIn++
	s.state = stateAuthenticated
	return fmt.Sprintf("OK [CAPABILITY %s] welcome", s.capabilities())
}
