package token

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/oauth2"
	adc "golang.org/x/oauth2/google"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
	"github.com/mailconn/mailconn/internal/wirelog"
)

const (
	iamHost       = "https://iamcredentials.googleapis.com/"
	cloudPlatform = "https://www.googleapis.com/auth/cloud-platform"
)

// baseKey is that of the token with which the IAM Credentials API is asked.
var baseKey = Key{Subject: "\x00base", Scope: cloudPlatform}

// Keyless is the setting keyless: a service account with domain-wide delegation whose key stays with Google, and is used
// through serviceAccounts.signJwt of the IAM Credentials API. Who asks needs roles/iam.serviceAccountTokenCreator on it, or on the
// first of Delegates.
//
// Who asks is what Google calls Application Default Credentials: of the environment variable GOOGLE_APPLICATION_CREDENTIALS, of
// gcloud's file, or of the machine. This is the one place of the driver that reads the environment, and only this setting makes
// it.
type Keyless struct {
	TargetPrincipal string   `json:"target_principal" label:"Service account" help:"address of the service account that has domain-wide delegation"`
	Delegates       []string `json:"delegates,omitempty" label:"Delegates" help:"addresses of service accounts in between, each permitted to create tokens of the next"`
	ClientID        string   `json:"client_id,omitempty" label:"Client id" help:"numeric id of the service account, which the administrator authorises; only shown"`
	TokenURI        string   `json:"token_uri,omitempty" label:"Token endpoint" help:"whole URL where tokens are asked for; without one Google's"`
	Endpoint        string   `json:"endpoint,omitempty" label:"IAM endpoint" help:"base URL of the IAM Credentials API; without one Google's"`
}

// Validate returns an error that names the JSON field at fault: "keyless: target_principal: missing".
func (o *Keyless) Validate(customHosts bool) error {
	_, _, err := o.endpoints(customHosts)
	return err
}

// endpoints returns where tokens are asked for, and where the IAM Credentials API is, if all is valid.
func (o *Keyless) endpoints(customHosts bool) (tokens, iam *url.URL, err error) {
	if o.TargetPrincipal == "" {
		return nil, nil, errors.New("keyless: target_principal: missing")
	}
	if !accountLike(o.TargetPrincipal) {
		return nil, nil, fmt.Errorf("keyless: target_principal: %q: want the address of a service account", o.TargetPrincipal)
	}
	for i, name := range o.Delegates {
		if !accountLike(name) {
			return nil, nil, fmt.Errorf("keyless: delegates[%d]: %q: want the address of a service account", i, name)
		}
	}
	if strings.ContainsFunc(o.ClientID, unicode.IsControl) {
		return nil, nil, errors.New("keyless: client_id: control character")
	}
	if tokens, err = checkTokenURI(o.TokenURI, customHosts); err != nil {
		return nil, nil, fmt.Errorf("keyless: token_uri: %w", err)
	}
	if iam, err = checkTokenURI(cmp.Or(o.Endpoint, iamHost), customHosts); err != nil {
		return nil, nil, fmt.Errorf("keyless: endpoint: %w", err)
	}
	if strings.Trim(iam.Path, "/") != "" || iam.RawQuery != "" {
		return nil, nil, errors.New("keyless: endpoint: path not allowed")
	}
	return tokens, iam, nil
}

// accountLike reports whether name can be an address. It becomes part of a URL.
func accountLike(name string) bool {
	user, domain, ok := strings.Cut(name, "@")
	return ok && user != "" && domain != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`/\?#%:"<>`, r)
	})
}

// keyless has its assertions signed by Google. impersonate.CredentialsTokenSource of google.golang.org/api does the same, but it obeys
// no context, shows replies only as text, and knows no other hosts than Google's.
type keyless struct {
	exchange
	target    *url.URL // of signJwt
	delegates []string

	mu   sync.Mutex
	base Hook // of the Application Default Credentials; nil until they are found
}

func newKeyless(o *Keyless, customHosts bool) (*keyless, error) {
	uri, iam, err := o.endpoints(customHosts)
	if err != nil {
		return nil, err
	}
	g := &keyless{exchange: exchange{uri: uri, name: "keyless", uriField: "keyless: token_uri", email: o.TargetPrincipal, clientID: o.ClientID}}
	g.target = iam.JoinPath("v1", accountName(o.TargetPrincipal)+":signJwt")
	if _, domain, _ := strings.Cut(o.TargetPrincipal, "@"); strings.HasSuffix(domain, ".iam.gserviceaccount.com") {
		g.project = strings.TrimSuffix(domain, ".iam.gserviceaccount.com")
	}
	for _, name := range o.Delegates {
		g.delegates = append(g.delegates, accountName(name))
	}
	return g, nil
}

// accountName is an account as the API names it; "-" stands for the project, which it finds out.
func accountName(email string) string { return "projects/-/serviceAccounts/" + email }

func (g *keyless) key(k Key) Key { return k }

func (g *keyless) fetch(ctx context.Context, s *Source, k Key, renew bool) (issued, error) {
	if k == baseKey {
		return g.fetchBase(ctx, s, renew)
	}
	if k.Subject == "" {
		return issued{}, s.nobody()
	}
	for first := true; ; first = false {
		base, err := s.get(ctx, baseKey)
		if err != nil {
			return issued{}, err
		}
		assertion, stale, err := g.signJWT(ctx, s, k, base)
		if stale && first {
			s.Invalidate(baseKey, base.Reveal())
			continue
		}
		if err != nil {
			return issued{}, err
		}
		return g.assert(ctx, s, k, assertion)
	}
}

// signJWT has an assertion signed: projects.serviceAccounts.signJwt of the IAM Credentials API, version 1. stale says that base was
// refused.
func (g *keyless) signJWT(ctx context.Context, s *Source, k Key, base connection.Secret) (jwt connection.Secret, stale bool, err error) {
	payload, err := json.Marshal(g.claims(k, s.now()))
	if err != nil {
		return connection.Secret{}, false, s.fault(connection.ErrInvalid, "", "signing: %w", err)
	}
	body, err := json.Marshal(struct {
		Payload   string   `json:"payload"`
		Delegates []string `json:"delegates,omitempty"`
	}{string(payload), g.delegates})
	if err != nil {
		return connection.Secret{}, false, s.fault(connection.ErrInvalid, "", "signing: %w", err)
	}
	req, err := http.NewRequest(http.MethodPost, g.target.String(), bytes.NewReader(body))
	if err != nil {
		return connection.Secret{}, false, s.fault(connection.ErrConfig, "keyless: endpoint: check it", "signing: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+base.Reveal())
	status, h, text, err := s.roundTrip(ctx, req, "keyless: endpoint")
	if err != nil {
		return connection.Secret{}, false, err
	}
	var reply struct {
		JWT string `json:"signedJwt"`
	}
	if status != http.StatusOK || json.Unmarshal(text, &reply) != nil || !sendable(reply.JWT) {
		return connection.Secret{}, status == http.StatusUnauthorized, g.unsigned(s, status, h, text, base)
	}
	return connection.NewSecret(reply.JWT), false, nil
}

// unsigned is the error of an answer without a signature.
func (g *keyless) unsigned(s *Source, status int, h http.Header, body []byte, base connection.Secret) error {
	r := parseReply(body)
	e := httpx.StatusError(status, h, code(r.code), "")
	e.Op, e.Driver, e.Endpoint = "token", driver, g.target.Host
	words := r.text
	if code(r.code) == "" {
		words = r.raw
	}
	words = clip(printable(wirelog.NewScrubber("", base).Text(strings.ToValidUTF8(words, "")), 4*maxText), maxText)
	e.Err = fmt.Errorf("signing for %s: the IAM Credentials API answers %d: %s", g.email, status, words)
	switch status {
	case http.StatusOK, http.StatusNotFound:
		e.Kind = connection.ErrProtocol
		if r.code != "" {
			e.Kind, e.Hint = connection.ErrConfig, "keyless: target_principal, delegates: no such service account"
		}
	case http.StatusUnauthorized:
		e.Hint = "keyless: the Application Default Credentials are refused"
	case http.StatusForbidden:
		e.Hint = "keyless: target_principal: the Application Default Credentials need roles/iam.serviceAccountTokenCreator on it, and the IAM Credentials API must be enabled in their project"
	case http.StatusBadRequest:
		e.Kind, e.Hint = connection.ErrConfig, "keyless: target_principal, delegates: the IAM Credentials API does not take them"
	}
	return e
}

// fetchBase gets a token of the Application Default Credentials. They keep one themselves, and cannot be told that it was refused:
// then they are looked up anew.
func (g *keyless) fetchBase(ctx context.Context, s *Source, renew bool) (issued, error) {
	g.mu.Lock()
	if g.base == nil || renew {
		g.base = FromOAuth2(&defaults{client: s.client})
	}
	base := g.base
	g.mu.Unlock()
	token, err := base(ctx, connection.TokenRequest{})
	if err == nil {
		return issued{token: token}, nil
	}
	e := s.hookFailed(ctx, baseKey, err, "the Application Default Credentials")
	e.Hint = "keyless: check the Application Default Credentials (GOOGLE_APPLICATION_CREDENTIALS, gcloud auth application-default login, or the machine's service account)"
	return issued{}, e
}

// defaults are the Application Default Credentials, looked up when they are first needed. Its Token is called by one goroutine at a
// time.
type defaults struct {
	client *http.Client
	source oauth2.TokenSource
}

// Token implements oauth2.TokenSource. It obeys no context, so its requests end after a minute.
func (d *defaults) Token() (*oauth2.Token, error) {
	if d.source == nil {
		c := *d.client
		c.Timeout = patience
		found, err := adc.FindDefaultCredentials(context.WithValue(context.Background(), oauth2.HTTPClient, &c), cloudPlatform)
		if err != nil {
			return nil, err
		}
		d.source = found.TokenSource
	}
	return d.source.Token()
}
