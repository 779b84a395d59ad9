package gmailtest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The scopes that this server knows.
const (
	scopeFull           = "https://mail.google.com/"
	scopeReadonly       = "https://www.googleapis.com/auth/gmail.readonly"
	scopeModify         = "https://www.googleapis.com/auth/gmail.modify"
	scopeMetadata       = "https://www.googleapis.com/auth/gmail.metadata"
	scopeInsert         = "https://www.googleapis.com/auth/gmail.insert"
	scopeLabels         = "https://www.googleapis.com/auth/gmail.labels"
	scopeSend           = "https://www.googleapis.com/auth/gmail.send"
	scopeCompose        = "https://www.googleapis.com/auth/gmail.compose"
	scopeUsers          = "https://www.googleapis.com/auth/admin.directory.user"
	scopeUsersReadonly  = "https://www.googleapis.com/auth/admin.directory.user.readonly"
	scopeGroups         = "https://www.googleapis.com/auth/admin.directory.group"
	scopeGroupsReadonly = "https://www.googleapis.com/auth/admin.directory.group.readonly"
	scopeMembers        = "https://www.googleapis.com/auth/admin.directory.group.member"
	scopeMembersRead    = "https://www.googleapis.com/auth/admin.directory.group.member.readonly"
	scopeAudit          = "https://apps-apis.google.com/a/feeds/compliance/audit/"
	scopeCloud          = "https://www.googleapis.com/auth/cloud-platform"
	scopeIAM            = "https://www.googleapis.com/auth/iam"
)

// Scopes returns the scopes that the server knows.
func Scopes() []string {
	return []string{
		scopeFull, scopeReadonly, scopeModify, scopeMetadata, scopeInsert, scopeLabels, scopeSend, scopeCompose, scopeUsers, scopeUsersReadonly,
		scopeGroups, scopeGroupsReadonly, scopeMembers, scopeMembersRead, scopeAudit, scopeCloud,
		scopeIAM,
	}
}

// A grant is what an access token permits.
type grant struct {
	account   *account // nil: the service account for itself
	email     string   // of the subject when the token was given out
	scopes    []string
	expires   time.Time
	delegated bool   // given to the service account
	refresh   string // the refresh token it came from, "" for none
}

// permits reports whether the token has one of scopes; none ask for nothing.
func (g *grant) permits(scopes []string) bool {
	return len(scopes) == 0 || slices.ContainsFunc(g.scopes, func(has string) bool { return slices.Contains(scopes, has) })
}

// tokens is the part of a Server that knows who may do what. Guarded by Server.mu.
type tokens struct {
	key       *rsa.PrivateKey // nil: the key of the process
	keyID     string
	gone      bool // the key was deleted
	email     string
	clientID  string
	delegated []string
	granted   map[string]*grant
	refresh   map[string]*grant
}

func (t *tokens) init(key *rsa.PrivateKey, domain string, delegated []string) {
	t.key, t.keyID, t.clientID = key, "5f3c1a9e0d7b4c2e8a6f", "104857600000000000001"
	t.email = "archiver@" + strings.ReplaceAll(domain, ".", "-") + ".iam.gserviceaccount.com"
	if t.delegated = slices.Clone(delegated); delegated == nil {
		t.delegated = Scopes()
	}
	t.granted, t.refresh = make(map[string]*grant), make(map[string]*grant)
}

// keySize is the size of service accounts' keys at Google, in bits.
const keySize = 2048

// processKey makes a key when it is first wanted: it takes longer than most tests.
var processKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, keySize) })

// signer returns the key of the service account. s.mu is held.
func (s *Server) signer() *rsa.PrivateKey {
	if s.tokens.key == nil {
		key, err := processKey()
		if err != nil {
			panic("gmailtest: " + err.Error()) // crypto/rand does not fail
		}
		s.tokens.key = key
	}
	return s.tokens.key
}

// ServiceAccountJSON returns the key file of the service account, whose token_uri is the server.
func (s *Server) ServiceAccountJSON() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	der, err := x509.MarshalPKCS8PrivateKey(s.signer())
	if err != nil {
		panic("gmailtest: " + err.Error()) // it is an RSA key
	}
	text, err := json.MarshalIndent(map[string]string{
		"type": "service_account", "project_id": "mailconn-test", "private_key_id": s.tokens.keyID,
		"private_key":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email": s.tokens.email, "client_id": s.tokens.clientID,
		"auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": s.TokenURL(), "universe_domain": "googleapis.com",
	}, "", "  ")
	if err != nil {
		panic("gmailtest: " + err.Error()) // they are strings
	}
	return text
}

// ServiceAccount returns the address and the numeric client id of the service account.
func (s *Server) ServiceAccount() (email, clientID string) { return s.tokens.email, s.tokens.clientID }

// DeleteKey lets the key of the service account be unknown from now on: requests for tokens fail, tokens stay good.
func (s *Server) DeleteKey() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens.gone = true
}

// Delegate sets the scopes that the domain lets the service account have. Tokens stay good.
func (s *Server) Delegate(scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens.delegated = slices.Clone(scopes)
}

// Token returns an access token of a user, given by address, alias or id, that permits scopes, or without any all of Gmail's. It is good
// until it is revoked. The user need not exist yet, but then it is created with a mailbox.
func (s *Server) Token(email string, scopes ...string) string {
	a := s.ensure(email)
	if len(scopes) == 0 {
		scopes = []string{scopeFull}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grant(&grant{account: a, email: a.Email, scopes: slices.Clone(scopes)})
}

// OAuth2 are the credentials of a program to which a user has consented.
type OAuth2 struct {
	ClientID, ClientSecret, RefreshToken, TokenURI string
}

// OAuth2 returns a refresh token of a user, and what goes with it. Email and scopes are as for Token.
func (s *Server) OAuth2(email string, scopes ...string) OAuth2 {
	a := s.ensure(email)
	if len(scopes) == 0 {
		scopes = []string{scopeFull}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	refresh := "1//" + randomText()
	s.tokens.refresh[refresh] = &grant{account: a, email: a.Email, scopes: slices.Clone(scopes), refresh: refresh}
	return OAuth2{ClientID: clientID, ClientSecret: clientSecret, RefreshToken: refresh, TokenURI: s.TokenURL()}
}

const (
	clientID     = "123456789012-gmailtest.apps.googleusercontent.com"
	clientSecret = "GOCSPX-gmailtest-secret" //nolint:gosec // a double's
)

// RevokeTokens makes all access tokens of a user useless, by address, alias or id; "" stands for all users. New ones can be got.
func (s *Server) RevokeTokens(user string) {
	a := s.lookup(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	for token, g := range s.tokens.granted {
		if user == "" || a != nil && g.account == a {
			delete(s.tokens.granted, token)
		}
	}
}

// RevokeConsent makes all refresh tokens of a user useless, and the access tokens that came from them.
func (s *Server) RevokeConsent(user string) {
	a := s.lookup(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range []map[string]*grant{s.tokens.refresh, s.tokens.granted} {
		for token, g := range list {
			if g.refresh != "" && a != nil && g.account == a {
				delete(list, token)
			}
		}
	}
}

// grant gives out an access token. s.mu is held.
func (s *Server) grant(g *grant) string {
	token := "ya29." + randomText()
	s.tokens.granted[token] = g
	return token
}

func randomText() string {
	var b [24]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// grantOf returns what the token of a request permits.
func (s *Server) grantOf(r *http.Request) (*grant, *apiError) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if scheme == "" {
		token = or(r.URL.Query().Get("access_token"), r.URL.Query().Get("oauth_token"))
	}
	if token == "" || scheme != "" && !strings.EqualFold(scheme, "Bearer") {
		return nil, errLogin()
	}
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.tokens.granted[token]
	if g == nil || !g.expires.IsZero() && !now.Before(g.expires) || g.account != nil && g.account.deleted {
		return nil, errCredentials()
	}
	return g, nil
}

// serveToken gives out tokens (RFC 6749 and RFC 7523).
func (s *Server) serveToken(q *request) {
	form := q.http.PostForm
	switch {
	case q.http.Method != http.MethodPost:
		page(q.w, http.StatusMethodNotAllowed, "The request method "+q.http.Method+" is inappropriate for the URL.")
		return
	case form.Get("grant_type") == jwtGrant && !s.opts.NoJWTGrant:
		s.answerToken(q, s.byAssertion(form.Get("assertion")))
	case form.Get("grant_type") == "refresh_token":
		s.answerToken(q, s.byRefreshToken(form))
	default:
		s.answerToken(q, tokenReply{error: tokenError(http.StatusBadRequest, "unsupported_grant_type", "Invalid grant_type: "+form.Get("grant_type"))})
	}
}

const jwtGrant = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// maxTokenRequest is the largest request for a token, in octets.
const maxTokenRequest = 64 << 10

// readTokenRequest reads the form, and notes for whom a token is wanted.
func (s *Server) readTokenRequest(q *request) {
	q.http.Body = http.MaxBytesReader(q.w, q.http.Body, maxTokenRequest)
	if err := q.http.ParseForm(); err != nil {
		q.http.PostForm = url.Values{}
	}
	claims, _ := readAssertion(q.http.PostForm.Get("assertion")) // what is wrong with it is told later
	subject, scopes := claims.Subject, strings.Fields(claims.Scope)
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.tokens.refresh[q.http.PostForm.Get("refresh_token")]; g != nil {
		subject, scopes = g.email, g.scopes
	}
	q.entry.Subject, q.entry.Scopes = subject, scopes
	if a := s.directory.find(subject); a != nil {
		q.entry.User, q.entry.UserID = a.Email, a.ID
	}
}

// tokenReply is an answer of the token endpoint.
type tokenReply struct {
	error *reply
	token string
	scope string
}

func tokenError(status int, code, description string) *reply {
	text, _ := json.Marshal(map[string]string{"error": code, "error_description": description}) // strings
	return &reply{status: status, header: http.Header{"Content-Type": {"application/json; charset=utf-8"}}, body: text}
}

func (s *Server) answerToken(q *request, t tokenReply) {
	h := q.w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-cache, no-store, max-age=0, must-revalidate")
	if t.error != nil {
		q.w.WriteHeader(t.error.status)
		_, _ = q.w.Write(t.error.body) // the client may be gone
		return
	}
	answer := map[string]any{"access_token": t.token, "expires_in": int(s.opts.TokenLifetime / time.Second), "token_type": "Bearer"}
	if t.scope != "" {
		answer["scope"] = t.scope
	}
	text, err := json.Marshal(answer)
	if err != nil {
		panic("gmailtest: " + err.Error()) // they are strings and a number
	}
	_, _ = q.w.Write(text) // as above
}

// byRefreshToken is the grant of RFC 6749, 6.
func (s *Server) byRefreshToken(form url.Values) tokenReply {
	if form.Get("client_id") != clientID || form.Get("client_secret") != clientSecret {
		return tokenReply{error: tokenError(http.StatusUnauthorized, "invalid_client", "The OAuth client was not found.")}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.tokens.refresh[form.Get("refresh_token")]
	if g == nil || g.account.deleted || g.account.Suspended {
		return tokenReply{error: tokenError(http.StatusBadRequest, "invalid_grant", "Token has been expired or revoked.")}
	}
	access := *g
	access.email, access.expires = g.account.Email, s.now().Add(s.opts.TokenLifetime)
	return tokenReply{token: s.grant(&access), scope: strings.Join(g.scopes, " ")}
}

// quoted is for messages that show lists as Google does.
func quoted(list []string) string {
	for i, v := range list {
		list[i] = strconv.Quote(v)
	}
	return "[" + strings.Join(list, ", ") + "]"
}
