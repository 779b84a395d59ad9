package saslx

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"sync"

	"github.com/mailconn/mailconn/connection"
)

// Bounds of SCRAM's iteration count. The lower one is RFC 7677's; the upper one keeps a server from burning our time.
const (
	minIterations = 4096
	maxIterations = 1_000_000
)

// maxSalt bounds the octets of a salt. Real ones have 16 to 64.
const maxSalt = 1024

// exporterLabel is that of the tls-exporter binding (RFC 9266, 4.2).
const exporterLabel = "EXPORTER-Channel-Binding"

// bind returns how SCRAM is to begin on a connection and, if the -PLUS forms can be used, the channel's binding.
//
// "y" tells the server that we could bind but saw no -PLUS: a server that did offer it then knows that somebody took it
// off the list (RFC 5802, 6). TLS below 1.3 is left unbound: servers bind that to tls-unique, which TLS 1.3 lacks.
func bind(o Offer) (gs2 string, binding []byte) {
	const tls13 = 0x0304
	if o.TLS == nil || o.TLS.Version < tls13 {
		return "n", nil
	}
	binding, err := o.TLS.ExportKeyingMaterial(exporterLabel, nil, 32)
	if err != nil {
		return "n", nil
	}
	for _, name := range o.Mechanisms {
		if name == ScramSHA256Plus || name == ScramSHA1Plus {
			return "n", binding
		}
	}
	return "y", binding
}

// scram is SCRAM-SHA-1 and SCRAM-SHA-256 (RFC 5802, 7677), with and without -PLUS.
type scram struct {
	name           string
	hash           func() hash.Hash
	user, identity string
	password       connection.Secret
	gs2            string // "n", "y" or "p=tls-exporter"
	binding        []byte // with p= only
	nonce          string
	least          int
	keys           *keyCache

	step      int
	first     string // client-first-message-bare
	signature []byte // what the server must prove
	verified  bool
	failure   string // the server's e=
}

// scram returns the mechanism of a choice.
func (a *Authenticator) scram(c *Choice, h func() hash.Hash) mechanism {
	m := &scram{
		name: c.Name, hash: h, user: a.name.Text, identity: a.account.ActFor, password: a.account.Password,
		gs2: c.gs2, nonce: rand.Text(), least: a.account.MinIterations, keys: &a.keys,
	}
	if c.trait.plus {
		m.gs2, m.binding = "p=tls-exporter", c.binding
	}
	if m.least == 0 {
		m.least = minIterations
	}
	return m
}

// header is the gs2-header (RFC 5802, 7).
func (m *scram) header() string {
	text := m.gs2 + ","
	if m.identity != "" {
		text += "a=" + saslName(m.identity)
	}
	return text + ","
}

func (m *scram) Start() (string, []byte, error) {
	user, _ := prepare(m.user)
	m.first = "n=" + saslName(user) + ",r=" + m.nonce
	return m.name, []byte(m.header() + m.first), nil
}

func (m *scram) Next(challenge []byte) ([]byte, error) {
	m.step++
	switch m.step {
	case 1:
		return m.prove(string(challenge))
	case 2:
		return []byte{}, m.verify(string(challenge))
	}
	return nil, errors.New("a third challenge")
}

// prove answers the server-first-message.
func (m *scram) prove(first string) ([]byte, error) {
	nonce, salt, iterations, err := m.parseFirst(first)
	if err != nil {
		return nil, err
	}
	final := "c=" + base64.StdEncoding.EncodeToString(append([]byte(m.header()), m.binding...)) + ",r=" + nonce
	message := []byte(m.first + "," + first + "," + final)
	salted, err := m.keys.salted(m.hash, m.name, m.password, salt, iterations)
	if err != nil {
		return nil, err
	}
	clientKey := m.mac(salted, []byte("Client Key"))
	digest := m.hash()
	digest.Write(clientKey)
	proof := m.mac(digest.Sum(nil), message)
	for i := range proof {
		proof[i] ^= clientKey[i]
	}
	m.signature = m.mac(m.mac(salted, []byte("Server Key")), message)
	return []byte(final + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

// parseFirst reads "r=nonce,s=salt,i=count" and leaves what may follow alone.
func (m *scram) parseFirst(first string) (nonce string, salt []byte, iterations int, err error) {
	if rest, ok := strings.CutPrefix(first, "e="); ok {
		// RFC 5802 has errors only at the end; servers send them here too.
		m.failure = printable(rest, maxDetail)
		return "", nil, 0, m.failed()
	}
	if strings.HasPrefix(first, "m=") {
		return "", nil, 0, errors.New("the server demands an extension that is not known here") // RFC 5802, 5.1
	}
	attrs := strings.Split(first, ",")
	if len(attrs) < 3 || !strings.HasPrefix(attrs[0], "r=") || !strings.HasPrefix(attrs[1], "s=") || !strings.HasPrefix(attrs[2], "i=") {
		return "", nil, 0, errors.New("a first message without nonce, salt and iteration count")
	}
	nonce = attrs[0][2:]
	if !strings.HasPrefix(nonce, m.nonce) || len(nonce) == len(m.nonce) {
		return "", nil, 0, errors.New("the server's nonce does not continue ours")
	}
	salt, err = base64.StdEncoding.DecodeString(attrs[1][2:])
	if err != nil || len(salt) == 0 || len(salt) > maxSalt {
		return "", nil, 0, errors.New("a salt that is not base64, empty or too long")
	}
	iterations, err = strconv.Atoi(attrs[2][2:])
	if err != nil || iterations < m.least || iterations > maxIterations {
		return "", nil, 0, fmt.Errorf("an iteration count of %q: want %d to %d", printable(attrs[2][2:], 20), m.least, maxIterations)
	}
	return nonce, salt, iterations, nil
}

// verify reads the server-final-message.
func (m *scram) verify(final string) error {
	attr, _, _ := strings.Cut(final, ",")
	if rest, ok := strings.CutPrefix(attr, "e="); ok {
		m.failure = printable(rest, maxDetail)
		return nil // the server's final reply says the same
	}
	text, ok := strings.CutPrefix(attr, "v=")
	if !ok {
		return errors.New("a final message without the server's signature")
	}
	signature, err := base64.StdEncoding.DecodeString(text)
	if err != nil || !hmac.Equal(signature, m.signature) {
		return errImpostor
	}
	m.verified = true
	return nil
}

var errImpostor = &connection.Error{
	Kind: connection.ErrProtocol,
	Hint: "server, pin_sha256: the server does not know the password; somebody may pretend to be it",
	Err:  errors.New("the server's signature is wrong"),
}

func (m *scram) mac(key, message []byte) []byte {
	mac := hmac.New(m.hash, key)
	mac.Write(message)
	return mac.Sum(nil)
}

func (m *scram) complete() error {
	switch {
	case m.failure != "":
		return errors.New("the server reported an error and then success")
	case !m.verified:
		return &connection.Error{
			Kind: connection.ErrProtocol, Hint: errImpostor.Hint,
			Err: errors.New("success without the server's signature"),
		}
	}
	return nil
}

// failed makes an error of the server's e= (RFC 5802, 7: server-error-value).
func (m *scram) failed() *connection.Error {
	e := problem(connection.ErrAuth, "username, password: the server refuses them", "the server says %s", m.failure)
	e.Code = m.failure
	switch m.failure {
	case "no-resources":
		e.Kind, e.Hint = connection.ErrUnavailable, ""
	case "channel-bindings-dont-match":
		e.Hint = "server: TLS does not end where the password is checked. If that is meant so, name scram-sha-256 in auth_mechanisms; else somebody is in between"
	case "server-does-support-channel-binding":
		e.Hint = "server: somebody took the -PLUS mechanisms off the server's list"
	case "unsupported-channel-binding-type", "channel-binding-not-supported":
		e.Hint = "auth_mechanisms: name scram-sha-256: the server cannot bind to TLS by tls-exporter"
	}
	return e
}

func (m *scram) explain(refused *connection.Error) {
	if m.failure == "" {
		return
	}
	e := m.failed()
	if refused.Err != nil {
		e.Err = fmt.Errorf("%w: %w", e.Err, refused.Err)
	}
	refused.Kind, refused.Code, refused.Hint, refused.Err = e.Kind, e.Code, e.Hint, e.Err
}

// keyCache keeps salted passwords, so that reconnecting costs the server's iterations only once. It is safe for
// concurrent use; the zero value is ready.
type keyCache struct {
	mu   sync.Mutex
	keys []saltedKey // the latest last
}

type saltedKey struct {
	mechanism  string
	salt       []byte
	iterations int
	key        func() []byte // as good as the password, and fmt shows octets
}

// maxKeys is how many are kept: a server has one salt for a user and mechanism, a farm may have a few.
const maxKeys = 8

func (c *keyCache) salted(h func() hash.Hash, mechanism string, password connection.Secret, salt []byte, iterations int) ([]byte, error) {
	mechanism = strings.TrimSuffix(mechanism, "-PLUS")
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.keys {
		if k.mechanism == mechanism && k.iterations == iterations && bytes.Equal(k.salt, salt) {
			return k.key(), nil
		}
	}
	text, _ := prepare(password.Reveal())
	key, err := pbkdf2.Key(h, text, salt, iterations, h().Size())
	if err != nil {
		return nil, err
	}
	if len(c.keys) == maxKeys {
		c.keys = append(c.keys[:0], c.keys[1:]...)
	}
	c.keys = append(c.keys, saltedKey{mechanism: mechanism, salt: bytes.Clone(salt), key: func() []byte { return key }, iterations: iterations})
	return key, nil
}
