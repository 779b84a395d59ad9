package token

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"time"

	"github.com/mailconn/mailconn/connection"
)

const (
	jwtGrant = "urn:ietf:params:oauth:grant-type:jwt-bearer" // RFC 7523, 2.1
	lifetime = time.Hour                                     // of an assertion; Google takes no longer one
	backdate = 10 * time.Second                              // a clock that is ahead by less does no harm
)

// A header is a JOSE header (RFC 7515, 4).
type header struct {
	Algorithm string `json:"alg"`
	Type      string `json:"typ"`
	KeyID     string `json:"kid,omitempty"`
}

// claims are those of an assertion (RFC 7523, 3), and Google's scope.
type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub,omitempty"`
	Scope    string `json:"scope"`
	Audience string `json:"aud"`
	Issued   int64  `json:"iat"` // seconds since 1970
	Expires  int64  `json:"exp"`
}

func (x *exchange) claims(k Key, now time.Time) claims {
	issued := now.Add(-backdate)
	return claims{
		Issuer: x.email, Subject: k.Subject, Scope: k.Scope, Audience: x.uri.String(),
		Issued: issued.Unix(), Expires: issued.Add(lifetime).Unix(),
	}
}

// signRS256 makes a JWT in its compact form (RFC 7515, 3.1; RFC 7518, 3.3).
func signRS256(key *rsa.PrivateKey, header, claims any) (connection.Secret, error) {
	text := ""
	for i, part := range []any{header, claims} {
		octets, err := json.Marshal(part)
		if err != nil {
			return connection.Secret{}, err
		}
		if i > 0 {
			text += "."
		}
		text += base64.RawURLEncoding.EncodeToString(octets)
	}
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		return connection.Secret{}, err
	}
	return connection.NewSecret(text + "." + base64.RawURLEncoding.EncodeToString(signature)), nil
}

func (g *keyed) key(k Key) Key { return k }

func (g *keyed) fetch(ctx context.Context, s *Source, k Key, _ bool) (issued, error) {
	if k.Subject == "" {
		return issued{}, s.nobody()
	}
	assertion, err := g.sign(header{Algorithm: "RS256", Type: "JWT", KeyID: g.keyID}, g.claims(k, s.now()))
	if err != nil {
		return issued{}, s.fault(connection.ErrConfig, "credentials: private_key: it cannot sign; create a new key", "signing: %w", err)
	}
	return g.assert(ctx, s, k, assertion)
}

// nobody is the error of a key without a subject: the token would be the service account's own, and that has no mailbox.
func (s *Source) nobody() error {
	return s.fault(connection.ErrConfig, "admin: a service account opens mailboxes in the name of their users only", "no user to ask for a token for")
}

// assert trades an assertion for a token.
func (x *exchange) assert(ctx context.Context, s *Source, k Key, assertion connection.Secret) (issued, error) {
	form := url.Values{"grant_type": {jwtGrant}, "assertion": {assertion.Reveal()}}
	got, err := x.post(ctx, s, k, form, assertion)
	return issued{token: got.token, life: got.life}, err
}
