package ewshttp_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/ewshttp"
	"github.com/mailconn/mailconn/internal/saslx/saslserver"
)

const (
	user     = "joe@corp.test"
	password = "pass wörd-93"
	reply    = `<?xml version="1.0"?><Envelope><Body/></Envelope>`
)

// A visit is one request that reached the server.
type visit struct {
	conn   int
	method string
	path   string
	header http.Header
	length int64 // Content-Length
	body   string
	scheme string // of Authorization
	as     string // whom the server took it for
	status int
}

// A server is a strict HTTP server that keeps NTLM's state for each connection.
type server struct {
	offers    []string // values of WWW-Authenticate; none = nobody needs to log in
	users     map[string]string
	ntlm      saslserver.Options
	verifier  func() verifier // nil = saslserver's
	tokens    map[string]bool
	basic     func(user, password string) bool // nil = as users say
	page      string                           // body of a 401
	before    func(http.ResponseWriter, *http.Request, *visit) bool
	answer    func(http.ResponseWriter, *http.Request, *visit)
	noPersist bool // do not say Persistent-Auth

	t      testing.TB
	base   string
	ca     string
	mu     sync.Mutex
	peers  []*peer
	visits []*visit
	refuse int // logins that were refused
}

// A peer is one connection as the server knows it.
type peer struct {
	id   int
	as   string
	ntlm verifier
}

// A verifier is the server's half of NTLM.
type verifier interface {
	Next(message []byte) (challenge []byte, done bool, err error)
	Identity() saslserver.Identity
}

type peerKey struct{}

func (s *server) connContext(ctx context.Context, _ net.Conn) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &peer{id: len(s.peers) + 1}
	s.peers = append(s.peers, p)
	return context.WithValue(ctx, peerKey{}, p)
}

// newServer starts a server with TLS on the loopback.
func newServer(t testing.TB, set func(*server)) *server {
	t.Helper()
	s := &server{t: t, users: map[string]string{user: password}}
	if set != nil {
		set(s)
	}
	hs := httptest.NewUnstartedServer(s)
	hs.Config.ConnContext = s.connContext
	hs.Config.ErrorLog = log.New(io.Discard, "", 0)
	hs.EnableHTTP2 = true
	hs.StartTLS()
	t.Cleanup(hs.Close)
	s.base = hs.URL
	s.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hs.Certificate().Raw}))
	return s
}

func (s *server) url(path string) *url.URL {
	u, err := url.Parse(s.base + path)
	if err != nil {
		s.t.Fatal(err)
	}
	return u
}

func (s *server) endpoint() *url.URL { return s.url("/EWS/Exchange.asmx") }

// options fit the server.
func (s *server) options(set ...func(*ewshttp.Options)) ewshttp.Options {
	o := ewshttp.Options{
		Server: s.endpoint().Hostname(), Username: user, Password: connection.NewSecret(password), TLS: &connection.TLSSettings{CAPEM: s.ca},
		ConnectTimeout: time.Minute, NoDataTimeout: time.Minute,
	}
	for _, f := range set {
		f(&o)
	}
	return o
}

func (s *server) client(env *connection.Env, set ...func(*ewshttp.Options)) *ewshttp.Client {
	s.t.Helper()
	c, err := ewshttp.New(s.options(set...), env)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { closeIt(s.t, c) })
	return c
}

func auth(scheme string) func(*ewshttp.Options) {
	return func(o *ewshttp.Options) { o.Auth = scheme }
}

// request is one that asks for something.
func (s *server) request(set ...func(*ewshttp.Request)) *ewshttp.Request {
	r := &ewshttp.Request{URL: s.endpoint(), Op: "GetItem", Body: text("<request/>"), Mailbox: "ann@corp.test"}
	for _, f := range set {
		f(r)
	}
	return r
}

// text is a Body.
type text string

func (b text) Len() int64 { return int64(len(b)) }

func (b text) Open() io.Reader { return struct{ io.Reader }{strings.NewReader(string(b))} }

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := r.Context().Value(peerKey{}).(*peer)
	scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	v := &visit{conn: p.id, method: r.Method, path: r.URL.Path, header: r.Header.Clone(), length: r.ContentLength, scheme: scheme}
	s.mu.Lock()
	s.visits = append(s.visits, v)
	s.mu.Unlock()
	if r.ContentLength < 0 {
		http.Error(w, "no chunks", http.StatusBadRequest)
		return
	}
	if r.ProtoMajor != 1 {
		s.t.Errorf("a request over %s", r.Proto)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil && r.Context().Err() == nil {
		return // the client went away
	}
	s.note(func() { v.body = string(body) })
	rec := &recorder{ResponseWriter: w, s: s, v: v}
	if s.before != nil && s.before(rec, r, v) {
		return
	}
	if len(s.offers) > 0 && r.Method == http.MethodPost && !s.authenticate(rec, v, p, scheme, rest) {
		return
	}
	if s.answer != nil {
		s.answer(rec, r, v)
		return
	}
	rec.Header().Set("Content-Type", "text/xml; charset=utf-8")
	_, _ = io.WriteString(rec, reply)
}

// note changes a visit while others may look.
func (s *server) note(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

type recorder struct {
	http.ResponseWriter
	s *server
	v *visit
}

func (r *recorder) WriteHeader(status int) {
	r.s.note(func() { r.v.status = status })
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// authenticate follows the state machine of IIS.
func (s *server) authenticate(w http.ResponseWriter, v *visit, p *peer, scheme, rest string) bool {
	refuse := func(challenge ...string) bool {
		for _, c := range append(challenge, s.offers...) {
			w.Header().Add("WWW-Authenticate", c)
		}
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, s.page)
		return false
	}
	wrong := func() bool {
		s.note(func() { s.refuse++ })
		return refuse()
	}
	accept := func(as string) bool {
		s.note(func() { v.as = as })
		return true
	}
	offers := func(scheme string) bool {
		return slices.Contains(strings.FieldsFunc(strings.Join(s.offers, " "), func(r rune) bool { return r == ' ' || r == ',' }), scheme)
	}
	switch {
	case scheme == "" && p.as != "":
		return accept(p.as)
	case scheme == "":
		p.ntlm = nil
		return refuse()
	case !offers(scheme):
		return refuse()
	case scheme == "Basic":
		blob, err := base64.StdEncoding.DecodeString(rest)
		name, pass, _ := strings.Cut(string(blob), ":")
		if err != nil || s.basic != nil && !s.basic(name, pass) || s.basic == nil && (s.users[name] != pass || pass == "") {
			return wrong()
		}
		return accept(name)
	case scheme == "Bearer":
		if !s.tokens[rest] {
			return wrong()
		}
		return accept("token")
	}
	message, err := base64.StdEncoding.DecodeString(rest)
	if err != nil || !bytes.HasPrefix(message, []byte("NTLMSSP\x00")) {
		return refuse()
	}
	if message[8] == 1 {
		o := s.ntlm
		o.Password = func(id saslserver.Identity) (string, bool) {
			pass, ok := s.users[qualified(id)]
			return pass, ok
		}
		p.as = ""
		if s.verifier != nil {
			p.ntlm = s.verifier()
		} else if p.ntlm, err = saslserver.New("NTLM", &o); err != nil {
			s.t.Error(err)
			return refuse()
		}
		challenge, _, err := p.ntlm.Next(message)
		if err != nil {
			s.t.Error(err)
			return refuse()
		}
		return refuse(scheme + " " + base64.StdEncoding.EncodeToString(challenge))
	}
	ntlm := p.ntlm
	p.ntlm = nil
	if ntlm == nil {
		return wrong()
	}
	if _, done, err := ntlm.Next(message); err != nil || !done {
		return wrong()
	}
	p.as = qualified(ntlm.Identity())
	if !s.noPersist {
		w.Header().Set("Persistent-Auth", "true")
	}
	return accept(p.as)
}

func qualified(id saslserver.Identity) string {
	if id.Domain == "" {
		return id.User
	}
	return id.Domain + `\` + id.User
}

// seen returns the visits so far.
func (s *server) seen() []visit {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]visit, len(s.visits))
	for i, v := range s.visits {
		out[i] = *v
	}
	return out
}

func (s *server) refused() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refuse
}

// steps tells of each visit the scheme, and "body" if it had one.
func (s *server) steps() string {
	var out []string
	for _, v := range s.seen() {
		step := v.scheme
		if step == "" {
			step = "-"
		}
		if v.length > 0 {
			step += "+body"
		}
		out = append(out, step)
	}
	return strings.Join(out, " ")
}

// forget ends all NTLM sessions.
func (s *server) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.peers {
		p.as = ""
	}
}

func (s *server) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.peers)
}
