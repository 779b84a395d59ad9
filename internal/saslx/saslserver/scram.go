package saslserver

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // SCRAM-SHA-1
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash"
	"strconv"
	"strings"
)

// scram verifies SCRAM (RFC 5802, 7677).
type scram struct {
	*Server
	hash        func() hash.Hash
	plus        bool
	salt        []byte
	iterations  int
	header      string // the client's gs2-header
	clientFirst string // without the header
	serverFirst string
	nonce       string
	failure     string // the e= that is sent in the end
}

func newScram(s *Server) *scram {
	m := &scram{Server: s, hash: sha256.New, salt: []byte(rand.Text()), iterations: s.o.Iterations}
	if strings.HasPrefix(s.who.Mechanism, "SCRAM-SHA-1") {
		m.hash = sha1.New
	}
	m.plus = strings.HasSuffix(s.who.Mechanism, "-PLUS")
	if m.iterations == 0 {
		m.iterations = 4096
	}
	return m
}

func (m *scram) first(response []byte) ([]byte, bool, error) {
	parts := strings.SplitN(string(response), ",", 3)
	if len(parts) != 3 {
		return nil, false, errors.New("want a GS2 header")
	}
	m.header, m.clientFirst = parts[0]+","+parts[1]+",", parts[2]
	m.who.ActFor = saslName(strings.TrimPrefix(parts[1], "a="))
	switch flag := parts[0]; {
	case flag == "y" && m.o.PlusOffered:
		m.failure = "server-does-support-channel-binding"
	case m.plus && flag != "p=tls-exporter":
		m.failure = "unsupported-channel-binding-type"
	case !m.plus && flag != "n" && flag != "y":
		m.failure = "channel-binding-not-supported"
	}
	attrs := strings.Split(m.clientFirst, ",")
	if len(attrs) < 2 || !strings.HasPrefix(attrs[0], "n=") || !strings.HasPrefix(attrs[1], "r=") {
		return nil, false, errors.New("want user name and nonce")
	}
	m.who.User = saslName(attrs[0][2:])
	m.nonce = attrs[1][2:] + rand.Text()
	m.serverFirst = "r=" + m.nonce + ",s=" + base64.StdEncoding.EncodeToString(m.salt) + ",i=" + strconv.Itoa(m.iterations)
	m.step = m.final
	return []byte(m.serverFirst), false, nil
}

func (m *scram) final(response []byte) ([]byte, bool, error) {
	without, proof, ok := strings.Cut(string(response), ",p=")
	attrs := strings.Split(without, ",")
	if !ok || len(attrs) < 2 || !strings.HasPrefix(attrs[0], "c=") || attrs[1] != "r="+m.nonce {
		return nil, false, errors.New("want channel binding, nonce and proof")
	}
	bound, errBound := base64.StdEncoding.DecodeString(attrs[0][2:])
	got, errProof := base64.StdEncoding.DecodeString(proof)
	if err := errors.Join(errBound, errProof); err != nil {
		return nil, false, errors.New("channel binding or proof is not base64")
	}
	want, err := m.binding()
	if err != nil {
		return nil, false, err
	}
	if m.failure == "" && string(bound) != want {
		m.failure = "channel-bindings-dont-match"
	}
	password, known := m.password()
	salted, err := pbkdf2.Key(m.hash, password, m.salt, m.iterations, m.hash().Size())
	if err != nil {
		return nil, false, err
	}
	message := m.clientFirst + "," + m.serverFirst + "," + without
	clientKey := m.mac(salted, "Client Key")
	digest := m.hash()
	digest.Write(clientKey)
	proven := m.mac(digest.Sum(nil), message)
	for i := range proven {
		proven[i] ^= clientKey[i]
	}
	if m.failure == "" && (!known || !hmac.Equal(got, proven)) {
		m.failure = "invalid-proof"
	}
	m.step = m.end
	if m.failure != "" {
		return []byte("e=" + m.failure), false, nil
	}
	return []byte("v=" + base64.StdEncoding.EncodeToString(m.mac(m.mac(salted, "Server Key"), message))), false, nil
}

// end takes the client's consent to the final message. The protocols have no place for it beside success.
func (m *scram) end(response []byte) ([]byte, bool, error) {
	switch {
	case len(response) > 0:
		return nil, false, errors.New("want nothing in answer to the final message")
	case m.failure != "":
		return nil, false, ErrRefused
	}
	return nil, true, nil
}

// binding is what c= must hold.
func (m *scram) binding() (string, error) {
	if !m.plus {
		return m.header, nil
	}
	if m.o.TLS == nil {
		return "", errors.New("no TLS to bind to")
	}
	data, err := m.o.TLS.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32) // RFC 9266
	return m.header + string(data), err
}

func (m *scram) mac(key []byte, message string) []byte {
	mac := hmac.New(m.hash, key)
	mac.Write([]byte(message))
	return mac.Sum(nil)
}
