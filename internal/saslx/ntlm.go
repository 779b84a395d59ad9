package saslx

import (
	"bytes"
	"errors"

	"github.com/Azure/go-ntlmssp"

	"github.com/mailconn/mailconn/connection"
)

// ntlm is NTLM as SASL carries it ([MS-SMTPNTLM] and its like): the three messages of [MS-NLMP], version 2 only.
type ntlm struct {
	bare
	name     string // "dom\user", of our own making: the library splits at the first backslash
	password connection.Secret
	answered bool
}

var ntlmSignature = []byte("NTLMSSP\x00")

func (m *ntlm) Start() (string, []byte, error) {
	// The library's two parameters are the client machine's domain and name, not the user's.
	message, err := ntlmssp.NewNegotiateMessage("", "")
	return NTLM, message, err
}

func (m *ntlm) Next(challenge []byte) ([]byte, error) {
	switch {
	case m.answered:
		return nil, errors.New("a second challenge")
	case !bytes.HasPrefix(challenge, ntlmSignature):
		return nil, errors.New("a challenge that is no NTLM message")
	}
	m.answered = true
	response, err := ntlmssp.NewAuthenticateMessage(challenge, m.name, m.password.Reveal(), nil)
	if err != nil {
		return nil, problem(connection.ErrProtocol, "auth_mechanisms: use another mechanism with this server; only NTLM version 2 without key exchange is known here",
			"the challenge cannot be answered: %s", err.Error()) //nolint:errorlint // io.EOF in it is not the connection's
	}
	return response, nil
}

func (m *ntlm) explain(refused *connection.Error) {
	refused.Hint = `username, password: the server refuses them; NTLM wants domain\user. A server that demands Extended Protection (channel binding) refuses every NTLM login from here`
}
