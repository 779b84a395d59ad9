package ewshttp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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

func closeIt(t testing.TB, c io.Closer) {
	if err := c.Close(); err != nil {
		t.Error(err)
	}
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

func (b text) Len() int64      { return int64(len(b)) }
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

// get makes the request and reads its answer.
func get(t testing.TB, c *ewshttp.Client, r *ewshttp.Request) string {
	t.Helper()
	resp, err := c.Do(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

func read(t testing.TB, resp *ewshttp.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	closeIt(t, resp.Body)
	return string(b)
}

// A failure is what tests look at in an error.
type failure struct {
	text       string // with the hint
	code       string
	retryAfter time.Duration
}

// fails makes the request, which must fail with the kind.
func fails(t testing.TB, c *ewshttp.Client, r *ewshttp.Request, kind connection.Kind, parts ...string) failure {
	t.Helper()
	resp, err := c.Do(t.Context(), r)
	if err == nil {
		closeIt(t, resp.Body)
		t.Fatalf("got status %d, want %v", resp.Status, kind)
	}
	return wantError(t, err, kind, parts...)
}

// wantError holds err against the rules for errors; parts must be in its text or its hint.
func wantError(t testing.TB, err error, kind connection.Kind, parts ...string) failure {
	t.Helper()
	var e *connection.Error
	if !errors.As(err, &e) {
		t.Fatalf("%T %v is no *connection.Error", err, err)
	}
	if connection.KindOf(err) != kind {
		t.Errorf("got kind %v, want %v: %v", connection.KindOf(err), kind, err)
	}
	all := e.Error() + "\n" + e.Hint
	for _, part := range parts {
		if !strings.Contains(all, part) {
			t.Errorf("%q is not in %q", part, all)
		}
	}
	for _, secret := range []string{password, base64.StdEncoding.EncodeToString([]byte(user + ":" + password))} {
		if strings.Contains(all, secret) {
			t.Errorf("the error shows the password: %q", all)
		}
	}
	if e.Driver != "ews" || e.Endpoint == "" && kind != connection.ErrConfig && kind != connection.ErrClosed {
		t.Errorf("driver %q, endpoint %q: %v", e.Driver, e.Endpoint, err)
	}
	return failure{all, e.Code, e.RetryAfter}
}

// pipes lets a client and a server speak without a network, so that testing/synctest knows when all of them wait.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// newPipeServer starts a server in a bubble of testing/synctest. The client's options must allow http.
func newPipeServer(t testing.TB, set func(*server)) (*server, *connection.Env) {
	s := &server{t: t, users: map[string]string{user: password}, base: "http://ews.corp.test"}
	if set != nil {
		set(s)
	}
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	hs := &http.Server{Handler: s, ConnContext: s.connContext}
	done := make(chan error)
	go func() { done <- hs.Serve(p) }()
	t.Cleanup(func() {
		closeIt(t, hs)
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return s, &connection.Env{Dial: p.dial}
}

// inBubble runs f with a server and a client of it in a bubble of testing/synctest, where net/http's own timers cannot decide
// whether a connection is used again.
func inBubble(t *testing.T, set func(*server), f func(t *testing.T, s *server, c *ewshttp.Client), options ...func(*ewshttp.Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, env := newPipeServer(t, set)
		f(t, s, s.client(env, append([]func(*ewshttp.Options){clear}, options...)...))
	})
}

func clear(o *ewshttp.Options) {
	o.Mode, o.AllowPlaintextAuth, o.TLS = connection.ModeInsecure, true, nil
}

// goroutines waits until there are no more of them than before, and less long than an idle connection lives.
func goroutines(t testing.TB, before int) {
	t.Helper()
	for deadline := time.Now().Add(40 * time.Second); ; {
		n := runtime.NumGoroutine()
		if n <= before {
			return
		}
		if time.Now().After(deadline) {
			stack := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", n, before, stack[:runtime.Stack(stack, true)])
		}
		<-time.After(10 * time.Millisecond)
	}
}

func trusting(ca string) *tls.Config {
	conf, err := (&connection.TLSSettings{CAPEM: ca}).Client("", nil)
	if err != nil {
		panic(err)
	}
	return conf
}

// dial connects to the server whatever the name.
func (s *server) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, s.endpoint().Host)
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
