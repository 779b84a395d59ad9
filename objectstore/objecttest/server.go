package objecttest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// ServerOptions are what all fakes can be told. The zero value is a well-behaved server that speaks plain HTTP.
type ServerOptions struct {
	// Addr is the address to listen on; "" is a free port of 127.0.0.1.
	Addr string
	// TLS is the certificate that the server shows; "" = it speaks plain HTTP.
	TLS Certificate
	// Hosts are names that the certificate carries besides those of the loopback. "*." at the beginning is a wildcard.
	Hosts []string
	// Lag is how long listings do not show what was written or deleted; see Server.Lag.
	Lag time.Duration
}

// A Server is what all fakes share and embed. All its methods may be called at any time, from several goroutines at once.
type Server struct {
	provider provider
	listener net.Listener
	http     http.Server
	identity identity
	end      context.CancelFunc
	running  sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	conns    map[net.Conn]bool
	accepted int
	log      []*Request
	faults   []*planned
	skew     time.Duration
	lag      time.Duration
}

// A provider is what a fake adds to its Server: the protocol. Its methods are called from several goroutines at once.
type provider interface {
	// operations names what there is, as the provider's documentation does: "PutObject", "b2_upload_file".
	operations() []string
	// operation names what r asks for, one of operations, by all but its body. "" = none of them.
	operation(r *http.Request) string
	// serve obeys r and answers it. An error of r.Body means that the client or a fault broke off: nothing is to be
	// stored. An error of w ends the answer.
	serve(w http.ResponseWriter, r *http.Request)
}

// start makes a fake's zero Server listen and hand requests to p. The fake calls it once, when it is ready to serve.
func (s *Server) start(o ServerOptions, p provider) error {
	s.provider, s.lag = p, o.Lag
	life, end := context.WithCancel(context.Background())
	s.end = end
	s.conns = make(map[net.Conn]bool)
	s.http = http.Server{
		Handler:     http.HandlerFunc(s.handle),
		ErrorLog:    slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // clients that refuse the certificate are what tests want
		ConnState:   s.connState,
		BaseContext: func(net.Listener) context.Context { return life },
	}
	s.http.Protocols = new(http.Protocols)
	s.http.Protocols.SetHTTP1(true)
	var err error
	if s.identity, err = newIdentity(o.TLS, o.Hosts); err != nil {
		return err
	}
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if s.listener, err = net.Listen("tcp", o.Addr); err != nil {
		return err
	}
	l := s.listener
	if o.TLS != "" {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{s.identity.cert}, MinVersion: tls.VersionTLS12})
	}
	s.running.Go(func() { _ = s.http.Serve(l) }) // it ends by Close, and says so
	return nil
}

// startFor is start for the length of a test.
func (s *Server) startFor(t testing.TB, o ServerOptions, p provider) {
	t.Helper()
	if err := s.start(o, p); err != nil {
		t.Fatalf("objecttest: %v", err)
	}
	t.Cleanup(s.Close)
}

// Addr returns the server's address, "127.0.0.1:port".
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL returns "http://127.0.0.1:port", or https.
func (s *Server) URL() string {
	if s.identity.pem == "" {
		return "http://" + s.Addr()
	}
	return "https://" + s.Addr()
}

// CAPEM returns the certificate that a client must trust, for the setting ca_pem; "" if the server speaks plain HTTP.
func (s *Server) CAPEM() string { return s.identity.pem }

// Pin returns the SHA-256 of the server's public key, for the setting pin_sha256; "" if the server speaks plain HTTP.
func (s *Server) Pin() string { return s.identity.pin }

// Env returns an environment that trusts CAPEM, for drivers whose settings do not.
func (s *Server) Env() *connection.Env {
	if s.identity.pem == "" {
		return &connection.Env{}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(s.identity.pem))
	return &connection.Env{TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
}

// Dial connects to the server, whatever the address: as Env.Dial it lets a client use the names of ServerOptions.Hosts.
func (s *Server) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", s.Addr())
}

// Now returns the server's time, by which it dates its answers and judges signatures.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.skew)
}

// Skew sets the server's clock forward by d, or back.
func (s *Server) Skew(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skew = d
}

// Lag makes listings show what was written or deleted only d later. Reading an object does not lag. A provider whose
// listings never lag ignores it, and says so.
func (s *Server) Lag(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lag = d
}

// settled reports whether listings show a change made at the time given, by time.Now.
func (s *Server) settled(changed time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(changed) >= s.lag
}

// Fail makes the next n requests for op meet the fault, all of them until ClearFaults if n < 0. op is the provider's name
// of the operation; "" is any. If several faults match a request, the oldest that is not used up applies, and only that:
// calls of Fail make a sequence. An op that the provider does not have is a programming error: Fail panics.
func (s *Server) Fail(op string, n int, f Fault) { s.FailAfter(op, 0, n, f) }

// FailAfter is Fail, but lets skip requests for op pass first.
func (s *Server) FailAfter(op string, skip, n int, f Fault) {
	if all := s.provider.operations(); op != "" && !slices.Contains(all, op) {
		panic(fmt.Sprintf("objecttest: no operation %q: there are %s", op, strings.Join(all, ", ")))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &planned{fault: f, op: op, skip: skip, left: n})
}

// failUploads is Fail for requests that carry the octets of an object, whatever the provider calls them.
func (s *Server) failUploads(n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &planned{fault: f, upload: true, left: n})
}

// ClearFaults makes the server healthy again. Requests that have met their fault stay as they are.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Connections returns how many connections were accepted so far, also those whose TLS handshake failed.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// CloseConnections ends all connections that are open now, without a word, as a server does that crashes and is started
// again.
func (s *Server) CloseConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		hangUp(conn, true)
	}
}

// Close ends all connections and the server, at once. No goroutine is left when it returns. A second Close does nothing.
func (s *Server) Close() {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		return
	}
	s.end()
	_ = s.http.Close() // it closes everything whatever it says
	s.running.Wait()
}

func (s *Server) connState(conn net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.accepted++
		s.conns[conn] = true
	case http.StateClosed, http.StateHijacked:
		delete(s.conns, conn)
	default:
	}
}

// enter reports whether a request may still be served, and counts it if so.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	return true
}

// handle serves one request: it logs it, and lets it meet its fault.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		panic(http.ErrAbortHandler)
	}
	defer s.running.Done()
	entry, f := s.begin(r)
	end := r.Context().Done() // the client has gone, or Close was called
	out := &answer{w: w, end: end}
	in := &intake{body: r.Body, out: out, end: end}
	if skew := time.Until(s.Now()).Round(time.Second); skew != 0 {
		w.Header().Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
	}
	defer func() { s.finish(entry, in.n, out.status) }()
	r.Body = in
	if f.act == nil {
		s.provider.serve(out, r)
		return
	}
	f.act(&exchange{server: s, in: in, out: out, r: r})
	if out.hangUp != kept {
		drop(w, out.hangUp == broken)
	}
}

// drop ends a connection whose answer is not whole.
func drop(w http.ResponseWriter, reset bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // which ends it too
	}
	hangUp(conn, reset)
}

// hangUp closes conn, in order or, with reset, so that the peer sees it broken.
func hangUp(conn net.Conn, reset bool) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn() // without a close_notify
	}
	if t, ok := conn.(*net.TCPConn); ok && reset {
		_ = t.SetLinger(0) // then it is closed in order, which is bad enough
	}
	_ = conn.Close() // nobody is there to be told
}
