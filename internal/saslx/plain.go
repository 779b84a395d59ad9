package saslx

import (
	"errors"

	"github.com/mailconn/mailconn/connection"
)

// plain is PLAIN (RFC 4616).
type plain struct {
	bare
	identity, user string
	password       connection.Secret
	again          bool
}

func (m *plain) Start() (string, []byte, error) { return Plain, m.message(), nil }

func (m *plain) message() []byte {
	return []byte(m.identity + "\x00" + m.user + "\x00" + m.password.Reveal())
}

// Next repeats the message for a server that overlooked it in the command.
func (m *plain) Next(challenge []byte) ([]byte, error) {
	if len(challenge) > 0 || m.again {
		return nil, errors.New("an unexpected challenge")
	}
	m.again = true
	return m.message(), nil
}

// login is LOGIN, which has no specification but draft-murchison-sasl-login. It has an initial response in theory; a
// server that overlooks it would take the user name for the password's place.
type login struct {
	bare
	user     string
	password connection.Secret
	asked    int
}

func (m *login) Start() (string, []byte, error) { return Login, nil, nil }

// Next answers by count: servers word their prompts as they like.
func (m *login) Next([]byte) ([]byte, error) {
	m.asked++
	switch m.asked {
	case 1:
		return []byte(m.user), nil
	case 2:
		return []byte(m.password.Reveal()), nil
	}
	return nil, errors.New("a third challenge")
}

// external is EXTERNAL (RFC 4422, appendix A): who the client is, TLS has told already.
type external struct {
	bare
	identity string
	again    bool
}

func (m *external) Start() (string, []byte, error) { return External, []byte(m.identity), nil }

func (m *external) Next(challenge []byte) ([]byte, error) {
	if len(challenge) > 0 || m.again {
		return nil, errors.New("an unexpected challenge")
	}
	m.again = true
	return []byte(m.identity), nil
}

func (m *external) explain(refused *connection.Error) {
	refused.Hint = "client_cert_pem: the server knows no user for this certificate"
}
