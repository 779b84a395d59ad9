package saslx

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // CRAM-MD5 is what it is
	"encoding/hex"
	"errors"

	"github.com/mailconn/mailconn/connection"
)

// cramMD5 is CRAM-MD5 (RFC 2195).
type cramMD5 struct {
	bare
	user     string
	password connection.Secret
	answered bool
}

func (m *cramMD5) Start() (string, []byte, error) { return CramMD5, nil, nil }

func (m *cramMD5) Next(challenge []byte) ([]byte, error) {
	switch {
	case m.answered:
		return nil, errors.New("a second challenge")
	case len(challenge) == 0:
		// What answers no challenge answers every later one.
		return nil, errors.New("an empty challenge")
	}
	m.answered = true
	mac := hmac.New(md5.New, []byte(m.password.Reveal()))
	mac.Write(challenge)
	return []byte(m.user + " " + hex.EncodeToString(mac.Sum(nil))), nil
}
