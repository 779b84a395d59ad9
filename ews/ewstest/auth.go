package ewstest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mailconn/mailconn/internal/saslx/saslserver"
)

// authState is the part of a Server that authenticates.
type authState struct {
	mu         sync.Mutex
	logins     []Login
	states     map[string]AccountState // by address
	failures   map[string]int          // by address
	blocked    map[string]time.Time    // by address: until when
	tokens     map[string]Token
	challenges int // of NTLM, sent
	generation int // of NTLM sessions: those of older ones are lost
	leaks      []string
}

func (a *authState) init() {
	a.states, a.failures, a.blocked = make(map[string]AccountState), make(map[string]int), make(map[string]time.Time)
	a.tokens = make(map[string]Token)
}

// Logins returns the attempts to authenticate under a name, as sent or as the address of the account, in the order of
// their ends; "" stands for all names.
func (s *Server) Logins(name string) []Login {
	s.auth.mu.Lock()
	defer s.auth.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.auth.logins), func(l Login) bool {
		return name != "" && !strings.EqualFold(l.Name, name) && !strings.EqualFold(l.Account, name)
	})
}

// AddToken makes a bearer token good.
func (s *Server) AddToken(token string, t Token) {
	s.auth.mu.Lock()
	defer s.auth.mu.Unlock()
	s.auth.tokens[token] = t
}

// SetAccountState changes what an account is, by its address.
func (s *Server) SetAccountState(address string, state AccountState) {
	s.auth.mu.Lock()
	defer s.auth.mu.Unlock()
	s.auth.states[strings.ToLower(address)] = state
}

// DropSessions forgets who is authenticated on each connection: the next request on each is answered with 401.
func (s *Server) DropSessions() {
	s.auth.mu.Lock()
	defer s.auth.mu.Unlock()
	s.auth.generation++
}

// Leaks tells of the credentials that came to a hostile host, or without TLS though that is not allowed.
func (s *Server) Leaks() []string {
	s.auth.mu.Lock()
	defer s.auth.mu.Unlock()
	return slices.Clone(s.auth.leaks)
}

// watch notes a credential that ought not have been sent.
func (s *Server) watch(c *conn, r *http.Request) {
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	name := hostName(r)
	hostile := s.host(name).Hostile
	if scheme == "" || !hostile && (c.secure || s.opts.Auth.AllowPlain) {
		return
	}
	s.auth.mu.Lock()
	defer s.auth.mu.Unlock()
	s.auth.leaks = append(s.auth.leaks, fmt.Sprintf("a credential (%s) came to %s, tls %t, hostile %t", scheme, name, c.secure, hostile))
}

type tokenKey struct{}

// tokenOf returns the bearer token that a request was authenticated with.
func tokenOf(ctx context.Context) (Token, bool) {
	t, ok := ctx.Value(tokenKey{}).(Token)
	return t, ok
}

// authenticate finds out who sent the request, and sets x.user. If it returns false, it has answered.
func (s *Server) authenticate(w http.ResponseWriter, x *exchange) bool {
	v := s.judge(connOf(x.r.Context()), x.r)
	if v.user == nil {
		s.unauthorized(w, x.r, v)
		return false
	}
	x.user = v.user
	for key, values := range v.header {
		w.Header()[key] = values
	}
	if v.token != nil {
		x.r = x.r.WithContext(context.WithValue(x.r.Context(), tokenKey{}, *v.token))
	}
	return true
}

// A verdict is what became of a request's credentials.
type verdict struct {
	user   *account // nil: 401
	token  *Token
	header http.Header // of the answer
	offer  string      // replaces the schemes that a 401 offers
	why    string      // of a 401
	close  bool        // the connection ends behind the answer
}

// judge looks at the credentials of a request.
func (s *Server) judge(c *conn, r *http.Request) verdict {
	scheme, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	credential = strings.TrimSpace(credential)
	offered := s.schemes()
	switch strings.ToLower(scheme) {
	case "":
		return s.session(c)
	case "basic":
		if offered&Basic != 0 {
			return s.basic(c, r)
		}
	case "ntlm":
		if offered&NTLM != 0 {
			return s.handshake(c, "NTLM", credential)
		}
	case "negotiate":
		if offered&Negotiate != 0 {
			return s.handshake(c, "Negotiate", credential)
		}
	case "bearer":
		if offered&Bearer != 0 {
			return s.bearer(c, credential)
		}
	}
	return verdict{why: "The scheme is not offered."}
}

func (s *Server) schemes() Schemes {
	if s.opts.Auth.Schemes == 0 {
		return Basic
	}
	return s.opts.Auth.Schemes
}

// unauthorized answers 401. It takes what is left of the request, so that the connection can be used again.
func (s *Server) unauthorized(w http.ResponseWriter, r *http.Request, v verdict) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, s.opts.MaxRequest)) // the answer is the same if the client is gone
	h := w.Header()
	for key, values := range v.header {
		h[key] = values
	}
	switch {
	case s.opts.Auth.NoChallenge:
	case v.offer != "":
		h.Set("WWW-Authenticate", v.offer)
	default:
		for _, offer := range []struct {
			scheme Schemes
			text   string
		}{{Negotiate, "Negotiate"}, {NTLM, "NTLM"}, {Basic, `Basic realm="` + hostName(r) + `"`}, {Bearer, `Bearer client_id="00000002-0000-0ff1-ce00-000000000000"`}} {
			if s.schemes()&offer.scheme != 0 {
				h.Add("WWW-Authenticate", offer.text)
			}
		}
	}
	if v.close {
		h.Set("Connection", "close")
	}
	if s.opts.Auth.NoBody {
		h.Set("Content-Length", "0")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	text := "Unauthorized: Access is denied due to invalid credentials."
	if v.why != "" {
		text += " " + v.why
	}
	page(w, http.StatusUnauthorized, text)
}

// basic looks at a user name and a password.
func (s *Server) basic(c *conn, r *http.Request) verdict {
	name, password, ok := r.BasicAuth()
	if !ok {
		return verdict{why: "The credentials cannot be read."}
	}
	if s.opts.Auth.Latin1 {
		name, password = fromLatin1(name), fromLatin1(password)
	}
	a, why := s.resolve(saslserver.Identity{User: name})
	return s.admit(a, Login{Conn: c.id, Scheme: "Basic", Name: name, Why: why}, a != nil && a.password == password)
}

func fromLatin1(s string) string {
	runes := make([]rune, 0, len(s))
	for i := range len(s) {
		runes = append(runes, rune(s[i]))
	}
	return string(runes)
}

// bearer looks at a token. Tokens are not counted against lock-out.
func (s *Server) bearer(c *conn, token string) verdict {
	s.auth.mu.Lock()
	t, known := s.auth.tokens[token]
	s.auth.mu.Unlock()
	l := Login{Conn: c.id, Scheme: "Bearer", Name: t.User}
	refuse := func(why, diagnostics string) verdict {
		l.Why = why
		s.record(l)
		v := verdict{header: http.Header{}}
		v.header.Set("X-Ms-Diagnostics", diagnostics)
		return v
	}
	now := s.clock.Now()
	switch {
	case !known:
		return refuse("no such token", `2000003;reason="The token is invalid. invalid_grant";error_category="invalid_token"`)
	case !t.Until.IsZero() && !now.Before(t.Until):
		return refuse("expired", `2000001;reason="Lifetime validation failed. The token expired (exp).";error_category="invalid_lifetime"`)
	case now.Before(t.From):
		return refuse("not yet valid", `2000001;reason="Lifetime validation failed. The token is not yet valid (nbf).";error_category="invalid_lifetime"`)
	}
	a := s.account(t.User)
	if a == nil {
		return refuse("no such user", `2000008;reason="The user specified by the user-context in the token does not exist.";error_category="invalid_user"`)
	}
	l.Account, l.OK = a.address, true
	s.record(l)
	return verdict{user: a, token: &t}
}

// resolve finds the account that a name means, in a form that is permitted.
func (s *Server) resolve(who saslserver.Identity) (a *account, why string) {
	domain, user := who.Domain, who.User
	if before, after, ok := strings.Cut(user, `\`); ok && domain == "" {
		domain, user = before, after
	}
	if a = s.account(user); a == nil {
		return nil, "no such user"
	}
	form := NameBare
	switch {
	case strings.EqualFold(user, a.upn) && strings.EqualFold(user, a.address):
		form = NameUPN | NameSMTP
	case strings.EqualFold(user, a.upn):
		form = NameUPN
	case strings.EqualFold(user, a.address):
		form = NameSMTP
	case domain != "":
		form = NameDomain
	}
	switch {
	case domain != "" && !strings.EqualFold(domain, s.opts.Domain) && !strings.EqualFold(domain, s.dnsDomain()):
		return nil, "wrong domain"
	case s.opts.Auth.Forms != 0 && s.opts.Auth.Forms&form == 0:
		return nil, "wrong form of name"
	}
	return a, ""
}

// dnsDomain is the DNS name of the Windows domain.
func (s *Server) dnsDomain() string { return strings.ToLower(s.opts.Domain) + ".local" }

// admit lets an account in if the proof is good and nothing else is against it, and records the attempt.
func (s *Server) admit(a *account, l Login, good bool) verdict {
	if a == nil {
		s.record(l)
		return verdict{}
	}
	l.Account = a.address
	o, now := &s.opts.Auth, s.clock.Now()
	s.auth.mu.Lock()
	defer s.auth.mu.Unlock()
	switch state := s.auth.states[strings.ToLower(a.address)]; {
	case now.Before(s.auth.blocked[a.address]):
		l.Why = "blocked"
	case state != AccountActive:
		l.Why = state.why()
	case !good:
		if l.Why == "" {
			l.Why = "wrong password"
		}
		s.auth.failures[a.address]++
		failures := s.auth.failures[a.address]
		if o.LockAfter > 0 && failures >= o.LockAfter {
			s.auth.states[strings.ToLower(a.address)] = AccountLocked
		}
		if o.BlockAfter > 0 && failures >= o.BlockAfter {
			blockFor := o.BlockFor
			if blockFor == 0 {
				blockFor = time.Minute
			}
			s.auth.blocked[a.address] = now.Add(blockFor)
			s.auth.failures[a.address] = 0
		}
	default:
		l.OK = true
		s.auth.failures[a.address] = 0
	}
	s.auth.logins = append(s.auth.logins, l)
	if !l.OK {
		return verdict{why: s.auth.states[strings.ToLower(a.address)].why()}
	}
	return verdict{user: a}
}

func (s *Server) record(l Login) {
	s.auth.mu.Lock()
	defer s.auth.mu.Unlock()
	s.auth.logins = append(s.auth.logins, l)
}
