package gmailtest

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	defaultDomain    = "corp.example"
	defaultTokenPath = "/token"
)

// A Server is Google as far as mail is concerned, until Close. Its methods may be called by several goroutines at once.
type Server struct {
	opts   Options
	clock  Clock
	offset atomic.Int64 // of the clock, a time.Duration
	net    *network
	script script
	quota  meter

	zips, buffers sync.Pool // of *gzip.Writer, and of the renderer

	shuffles atomic.Uint64 // answers whose keys were shuffled

	routes []*route
	mounts []*mounted

	mu        sync.Mutex // guards what follows, all accounts and all mailboxes
	directory directory
	tokens    tokens
	sent      []Sent
	monitors  monitors
	bad       []string
	log       []*Request
}

// NewServer starts a server that is closed when the test ends. The test then fails if the server was sent what Google refuses
// as malformed, unless opts.AllowBadRequests is set. opts may be nil.
func NewServer(t testing.TB, opts *Options) *Server {
	t.Helper()
	s, err := Listen(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		if s.opts.AllowBadRequests {
			return
		}
		for _, why := range s.BadRequests() {
			t.Errorf("gmailtest: bad request: %s", why)
		}
	})
	return s
}

// Listen starts a server outside tests. opts may be nil.
func Listen(opts *Options) (*Server, error) {
	s := &Server{}
	if opts != nil {
		s.opts = *opts
	}
	if err := s.opts.check(); err != nil {
		return nil, err
	}
	if s.opts.Domain == "" {
		s.opts.Domain = defaultDomain
	}
	if s.opts.Admin == "" {
		s.opts.Admin = "admin@" + s.opts.Domain
	}
	if s.opts.TokenPath == "" {
		s.opts.TokenPath = defaultTokenPath
	}
	if s.opts.TokenLifetime == 0 {
		s.opts.TokenLifetime = time.Hour - time.Second
	}
	if s.opts.Log == 0 {
		s.opts.Log = defaultLog
	}
	if s.clock = s.opts.Clock; s.clock == nil {
		s.clock = systemClock{}
	}
	s.SetClockOffset(s.opts.ClockOffset)
	s.directory.init()
	s.tokens.init(s.opts.Key, s.opts.Domain, s.opts.Delegated)
	s.quota.init(s.opts.Quota)
	s.script.seed = s.opts.Seed
	s.mount("token", s.opts.TokenPath, s.serveToken)
	s.mount("signJwt", signPath, s.serveSignature)
	s.directoryMethods()
	s.gmailMethods()
	s.auditFeed()
	for _, name := range s.opts.Without {
		if !s.knows(name) {
			return nil, fmt.Errorf("gmailtest: cannot do without %q: no such service or method", name)
		}
	}
	s.AddUser(User{Email: s.opts.Admin, NoMailbox: true})
	var err error
	if s.net, err = listen(&s.opts, http.HandlerFunc(s.front)); err != nil {
		return nil, err
	}
	return s, nil
}

// knows reports whether a name is that of a service or a method.
func (s *Server) knows(name string) bool {
	return name == "directory" ||
		slices.ContainsFunc(s.routes, func(r *route) bool { return r.name == name }) ||
		slices.ContainsFunc(s.mounts, func(m *mounted) bool { return m.name == name })
}

// lacks reports whether a service or a method is switched off.
func (s *Server) lacks(name string) bool { return slices.Contains(s.opts.Without, name) }

// Close ends all connections and waits for what serves them. A second Close does nothing.
func (s *Server) Close() { s.net.close() }

// URL returns the address of the server without a path, such as "http://127.0.0.1:40123".
func (s *Server) URL() string { return s.net.url }

// TokenURL returns the address that gives out tokens.
func (s *Server) TokenURL() string { return s.net.url + s.opts.TokenPath }

// CA returns the certificate that clients must trust, as PEM; "" without TLS.
func (s *Server) CA() string { return s.net.caPEM }

// Connections returns how many connections were made so far.
func (s *Server) Connections() int { return int(s.net.accepted.Load()) }

// DropConnections cuts all connections that there are now, over TLS without a word.
func (s *Server) DropConnections() { s.net.cutAll() }

// Freeze lets all connections that there are now die without a sign, as a firewall does that has forgotten them: what the server
// writes is lost, and what it is sent it never sees. New connections work.
func (s *Server) Freeze() { s.net.freeze() }

// BadRequests returns what was wrong with requests so far, in the order of their arrival.
func (s *Server) BadRequests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.bad)
}

// front is what happens to every request, whoever answers it.
func (s *Server) front(w http.ResponseWriter, r *http.Request) {
	defer s.fall(r)
	w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
	for _, m := range s.mounts {
		if m.takes(r.URL.Path) && !s.lacks(m.name) {
			s.serveMounted(w, r, m)
			return
		}
	}
	s.serveAPI(w, r)
}

// fall ends a connection whose handler panics, and lets the test know unless that was planned.
func (s *Server) fall(r *http.Request) {
	why := recover()
	if why == nil {
		return
	}
	if why != http.ErrAbortHandler { //nolint:errorlint // it is a value of recover, never wrapped
		s.mu.Lock()
		s.bad = append(s.bad, fmt.Sprintf("%s %s: the server panicked: %v\n%s", r.Method, r.URL.Path, why, debug.Stack()))
		s.mu.Unlock()
	}
	panic(http.ErrAbortHandler)
}

// page answers as Google does where no API is: with HTML.
func page(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<!DOCTYPE html>\n<html lang=en>\n<title>Error %d (%s)!!1</title>\n<p><b>%d.</b> <ins>That’s an error.</ins>\n<p>%s\n",
		status, http.StatusText(status), status, text) // the client may be gone
}

func validAddress(address string) bool {
	local, domain, ok := strings.Cut(address, "@")
	return ok && local != "" && domain != "" && !strings.ContainsAny(domain, "@/ ")
}
