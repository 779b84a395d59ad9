package gmailtest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

// An assertion is the JSON Web Token of a service account (RFC 7523), taken apart.
type assertion struct {
	header struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
	}
	claims
	signed    string
	signature []byte
}

type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Scope    string `json:"scope"`
	Audience string `json:"aud"`
	Issued   int64  `json:"iat"`
	Expires  int64  `json:"exp"`
}

// readAssertion takes an assertion apart.
func readAssertion(text string) (a assertion, err error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return a, errors.New("want three parts")
	}
	for i, into := range []any{&a.header, &a.claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			return a, err
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return a, err
		}
	}
	a.signed = parts[0] + "." + parts[1]
	a.signature, err = base64.RawURLEncoding.DecodeString(parts[2])
	return a, err
}

// clockTolerance is how far the clock of a service account may be off.
const clockTolerance = 5 * time.Minute

// byAssertion is the grant of service accounts, with the errors that Google has been seen to answer.
func (s *Server) byAssertion(text string) tokenReply {
	refuse := func(status int, code, description string) tokenReply {
		return tokenReply{error: tokenError(status, code, description)}
	}
	invalid := func(description string) tokenReply {
		return refuse(http.StatusBadRequest, "invalid_grant", description)
	}
	a, err := readAssertion(text)
	if err != nil {
		return refuse(http.StatusBadRequest, "invalid_request", "Bad Request")
	}
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	digest := sha256.Sum256([]byte(a.signed))
	issued, expires := time.Unix(a.Issued, 0), time.Unix(a.Expires, 0)
	switch {
	case a.Issuer != s.tokens.email:
		return invalid("Invalid grant: account not found")
	case a.header.Algorithm != "RS256", s.tokens.gone, a.header.KeyID != "" && a.header.KeyID != s.tokens.keyID,
		rsa.VerifyPKCS1v15(&s.signer().PublicKey, crypto.SHA256, digest[:], a.signature) != nil:
		return invalid("Invalid JWT Signature.")
	case !s.isAudience(a.Audience):
		return invalid("Invalid JWT: Failed audience check. The right audience is " + s.TokenURL())
	case expires.Sub(issued) > time.Hour, !expires.After(issued), issued.Sub(now) > clockTolerance, now.Sub(expires) > 0,
		now.Sub(issued) > time.Hour+clockTolerance:
		return invalid("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.")
	}
	scopes := strings.Fields(a.Scope)
	unknown := slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool { return slices.Contains(Scopes(), scope) })
	switch {
	case len(scopes) == 0:
		return refuse(http.StatusBadRequest, "invalid_scope", "Empty or missing scope not allowed.")
	case len(unknown) > 0:
		return refuse(http.StatusBadRequest, "invalid_scope", "Some requested scopes were invalid. {invalid="+quoted(unknown)+"}")
	}
	g := &grant{scopes: scopes, expires: now.Add(s.opts.TokenLifetime), delegated: true}
	if a.Subject != "" {
		// A subject is a current primary address: what a renamed user was called before is an alias at most.
		if g.account = s.directory.find(a.Subject); g.account == nil || !strings.EqualFold(g.account.Email, a.Subject) || g.account.Suspended {
			return invalid("Invalid email or User ID")
		}
		g.email = g.account.Email
		if slices.ContainsFunc(scopes, func(scope string) bool { return !slices.Contains(s.tokens.delegated, scope) }) {
			return refuse(http.StatusUnauthorized, "unauthorized_client", "Client is unauthorized to retrieve access tokens using this method, "+
				"or client not authorized for any of the scopes requested.")
		}
	}
	return tokenReply{token: s.grant(g)}
}

// googleTokens is the address of the real thing, which clients that impersonate an account put into assertions.
const googleTokens = "https://oauth2.googleapis.com/token"

// isAudience reports whether an assertion is for this server, by its own address or by Google's.
func (s *Server) isAudience(audience string) bool {
	return audience == s.TokenURL() || audience == googleTokens
}

// signPath is where the IAM Credentials API signs for service accounts, as projects.serviceAccounts.signJwt.
const signPath = "/v1/projects/-/serviceAccounts/"

// maxDelegates is the longest chain of service accounts.
const maxDelegates = 4

// serveSignature is signJwt: it makes an assertion of a set of claims, for those who have no key of the service account.
func (s *Server) serveSignature(q *request) {
	if q.http.Method != http.MethodPost || q.http.URL.Path != signPath+s.tokens.email+":signJwt" {
		q.send(notFound("Not found; Gaia id not found for email " + strings.TrimPrefix(q.http.URL.Path, signPath)))
		return
	}
	if err := q.authorize(scopeCloud, scopeIAM); err != nil {
		q.send(asAPIError(err))
		return
	}
	if q.grant.account != nil || !q.grant.delegated {
		q.send(forbidden("forbidden", "Permission 'iam.serviceAccounts.signJwt' denied on resource (or it may not exist)."))
		return
	}
	var body struct {
		Payload   string   `json:"payload"`
		Delegates []string `json:"delegates"`
	}
	if err := q.decode(&body); err != nil {
		q.send(asAPIError(err))
		return
	}
	if !json.Valid([]byte(body.Payload)) || len(body.Delegates) > maxDelegates {
		q.send(malformed("invalidArgument", "Request contains an invalid argument."))
		return
	}
	s.mu.Lock()
	signed := s.sign(body.Payload)
	s.mu.Unlock()
	q.send(obj("keyId", s.tokens.keyID, "signedJwt", signed))
}

// sign makes an assertion of a set of claims. s.mu is held.
func (s *Server) sign(payload string) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"`+s.tokens.keyID+`","typ":"JWT"}`)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(payload))
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, s.signer(), crypto.SHA256, digest[:])
	if err != nil {
		panic("gmailtest: " + err.Error()) // the key is long enough
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}
