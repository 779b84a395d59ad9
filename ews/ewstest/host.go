package ewstest

import (
	"context"
	"crypto/tls"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/mailconn/mailconn/connection"
)

// wire is the part of a Server that has to do with connections, and with everything that happens before a request is read
// and after it was answered.
type wire struct {
	net  *network
	auth authState

	hostsMu sync.Mutex
	hosts   map[string]Host
	srv     map[string][]SRV

	styleMu sync.Mutex
	dialect Dialect
	shred   Shred
	styled  uint64 // answers so far

	answers  answers
	budgets  budgets
	script   script
	uploaded atomic.Int64
	zips     sync.Pool // of *gzip.Writer
	buffers  sync.Pool // of *bufio.Writer

	hanging map[*account]int // streaming connections; guarded by Server.mu
	missed  int              // events that streams have lost; guarded by Server.mu
}

// connNumber returns the number of the connection that a request came on.
func connNumber(ctx context.Context) int {
	if c := connOf(ctx); c != nil {
		return c.id
	}
	return 0
}

// listen opens the listeners and serves on them.
func (s *Server) listen() error {
	s.auth.init()
	s.budgets.init()
	s.dialect, s.shred = s.opts.Dialect, s.opts.Shred
	s.hosts, s.srv = make(map[string]Host), maps.Clone(s.opts.SRV)
	for name, h := range s.opts.Hosts {
		s.hosts[strings.ToLower(name)] = h
	}
	var err error
	s.net, err = listen(s.host, http.HandlerFunc(s.front), http.HandlerFunc(s.route))
	return err
}

func (s *Server) shutdown() { s.net.close() }

// Env returns an environment that trusts the server's certificates and finds every host name, on ports 443 and 80, at the
// server; see [Options.Hosts].
func (s *Server) Env() *connection.Env {
	return &connection.Env{Dial: s.net.dial, TLS: &tls.Config{RootCAs: s.net.ca.pool(), MinVersion: tls.VersionTLS12}}
}

// CA returns the certificate that clients must trust, as PEM.
func (s *Server) CA() string { return s.net.ca.pem() }

// URL returns the address of a listener, "https://127.0.0.1:…", for clients that do not dial through [Server.Env].
func (s *Server) URL(secure bool) string { return s.net.url(secure) }

// SetHost changes how a name behaves; "*" stands for all names without a Host of their own.
func (s *Server) SetHost(name string, h Host) {
	s.hostsMu.Lock()
	defer s.hostsMu.Unlock()
	s.hosts[strings.ToLower(name)] = h
}

func (s *Server) host(name string) Host {
	s.hostsMu.Lock()
	defer s.hostsMu.Unlock()
	if h, ok := s.hosts[name]; ok {
		return h
	}
	return s.hosts["*"]
}

// LookupSRV answers from [Options.SRV], as net.Resolver.LookupSRV would; but it does not sort. It is an ews.Config's LookupSRV.
func (s *Server) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	return lookupSRV(s.srv, service, proto, name)
}

// Dialled returns the addresses that clients dialled through [Server.Env], in order.
func (s *Server) Dialled() []string { return s.net.dialled() }

// Connections returns how many connections were made so far.
func (s *Server) Connections() int { return int(s.net.conns.Load()) }

// DropConnections cuts all connections that there are now.
func (s *Server) DropConnections() { s.net.cutAll() }

// UploadedBytes returns how many octets of request bodies arrived so far, those of requests that were refused included.
func (s *Server) UploadedBytes() int64 { return s.uploaded.Load() }

// SetRead limits what one Read returns of connections that are dialled from now on.
func (s *Server) SetRead(size ReadSize) {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	s.net.read = size
}

// countingBody counts the octets of a request's body.
type countingBody struct {
	io.ReadCloser
	count *atomic.Int64
}

func (b countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.count.Add(int64(n))
	return n, err
}

// front is what happens to every request, whoever answers it.
func (s *Server) front(_ http.ResponseWriter, r *http.Request) {
	s.watch(connOf(r.Context()), r)
	r.Body = countingBody{r.Body, &s.uploaded}
}

// route hands a request to what its path names.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	path := strings.ToLower(r.URL.Path)
	switch secure := connOf(r.Context()).secure; {
	case strings.HasPrefix(path, "/autodiscover/"):
		s.serveAutodiscover(w, r)
	case !secure && !s.opts.Auth.AllowPlain:
		page(w, http.StatusForbidden, "The page you are trying to access is secured with Secure Sockets Layer (SSL).") // IIS: 403.4
	case path == ewsPath:
		s.serveEWS(w, r)
	case path == errorPagePath:
		page(w, http.StatusOK, "An unexpected error occurred and your request couldn't be handled.")
	default:
		page(w, http.StatusNotFound, "The resource cannot be found.")
	}
}

// errorPagePath is where Exchange redirects those whom it has no time for.
const errorPagePath = "/ews/genericerrorpage.htm"

// AnswerStatus is a [Host.Handler] that answers everything with one status. With 401 it offers Basic, NTLM and Negotiate.
func AnswerStatus(status int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxRequest)) // the answer is the same if the client is gone
		if status == http.StatusUnauthorized {
			w.Header()["WWW-Authenticate"] = []string{"Negotiate", "NTLM", `Basic realm="` + hostName(r) + `"`}
		}
		page(w, status, http.StatusText(status))
	})
}

// AnswerPage is a [Host.Handler] that answers everything with a web page and status 200, as a form of login does, or a
// provider's page for names that DNS has a wildcard for.
func AnswerPage(title string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { page(w, http.StatusOK, title) })
}
