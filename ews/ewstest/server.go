package ewstest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	ewsPath    = "/ews/exchange.asmx" // in lower case
	maxRequest = 64 << 20
	keptLog    = 64 << 20
)

// A Server is an Exchange server that runs until Close. Its methods may be called by several goroutines at once.
type Server struct {
	opts    Options
	product product
	clock   Clock
	secret  [32]byte // of sync states and ids
	wire             // listeners, authentication, throttling, dialects

	mu       sync.Mutex // guards what follows, and all mailboxes
	store    store
	bad      []string
	log      []*Request
	logBytes int64
	calls    map[string]int // by operations
}

// NewServer starts a server that is closed when the test ends. The test then fails if the server was sent what Exchange
// refuses, unless opts.AllowBadRequests is set. opts may be nil.
func NewServer(t testing.TB, opts *Options) *Server {
	t.Helper()
	s, err := Listen(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		for _, why := range s.Leaks() {
			t.Errorf("ewstest: %s", why)
		}
		if s.opts.AllowBadRequests {
			return
		}
		for _, why := range s.BadRequests() {
			t.Errorf("ewstest: bad request: %s", why)
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
	var ok bool
	if s.product, ok = productNamed(s.opts.Version); !ok {
		return nil, fmt.Errorf("ewstest: unknown version %q", s.opts.Version)
	}
	for _, name := range s.opts.Without {
		if _, known := operations[name]; !known {
			return nil, fmt.Errorf("ewstest: cannot do without %q: no such operation", name)
		}
	}
	if s.opts.Domain == "" {
		s.opts.Domain = "CORP"
	}
	if s.opts.MaxRequest == 0 {
		s.opts.MaxRequest = maxRequest
	}
	if s.clock = s.opts.Clock; s.clock == nil {
		s.clock = systemClock{}
	}
	s.secret = derive(s.opts.Seed, "server")
	s.store.init()
	s.calls = make(map[string]int)
	if err := s.listen(); err != nil {
		return nil, err
	}
	return s, nil
}

// Close ends all connections. No goroutine is left when it returns. A second Close does nothing.
func (s *Server) Close() { s.shutdown() }

// BadRequests returns what was wrong with requests so far, in the order of their arrival.
func (s *Server) BadRequests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.bad)
}

// A Request is one HTTP request as the server received it, whatever became of it.
type Request struct {
	Conn        int         // the connection, counted from 1 in the order of acceptance
	Method      string      //
	Host        string      //
	Path        string      //
	Header      http.Header //
	Body        []byte      // as far as it was read, at most the first MiB
	Length      int64       // octets of the body, as far as it was read
	Operation   string      // of EWS, "" if it did not come so far
	User        string      // who was authenticated: the address of the account
	Mailbox     string      // the address of the mailbox that is impersonated, as sent
	Anchor      string      // X-AnchorMailbox
	Version     string      // RequestServerVersion, as sent
	Status      int         // of the answer, 0 while there is none
	Code        string      // of the SOAP fault, or the first error within the answer; "" without
	Authorised  string      // the scheme of the Authorization header, "" without
	ReceivedAt  time.Time   //
	Uncommitted bool        // the connection was cut before the answer was written whole
}

// Requests returns the requests so far, in the order of their arrival; of very many, the last ones.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Request, len(s.log))
	for i, r := range s.log {
		all[i] = *r
	}
	return all
}

// Calls returns how many requests named the operation so far.
func (s *Server) Calls(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[operation]
}

// refuse records a request that is answered without being executed.
func (s *Server) refuse(x *exchange, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad = append(s.bad, fmt.Sprintf("%s %s: %s", x.r.Method, cmpOr(x.log.Operation, x.r.URL.Path), why))
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// An exchange is one HTTP request to the path of EWS, on its way to become a request.
type exchange struct {
	w    http.ResponseWriter
	r    *http.Request
	conn int // the number of the connection
	user *account
	log  *Request
}

// newExchange begins the record of a request. Its fields change under s.mu from here on.
func (s *Server) newExchange(w http.ResponseWriter, r *http.Request) *exchange {
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	entry := &Request{
		Conn: connNumber(r.Context()), Method: r.Method, Host: r.Host, Path: r.URL.Path, Header: r.Header.Clone(),
		Anchor: r.Header.Get("X-AnchorMailbox"), Authorised: scheme, ReceivedAt: s.clock.Now(),
	}
	s.mu.Lock()
	s.log = append(s.log, entry)
	s.mu.Unlock()
	x := &exchange{r: r, conn: entry.Conn, log: entry}
	x.w = &statusWriter{ResponseWriter: w, told: func(status int) { s.note(x, func(e *Request) { e.Status = status }) }}
	return x
}

// note changes the record of a request.
func (s *Server) note(x *exchange, change func(*Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(x.log)
}

// keep puts the body into the record, and drops the oldest records if there is too much.
func (s *Server) keep(x *exchange, body []byte) {
	const most = 1 << 20
	s.mu.Lock()
	defer s.mu.Unlock()
	x.log.Length = int64(len(body))
	x.log.Body = slices.Clone(body[:min(len(body), most)])
	s.logBytes += int64(len(x.log.Body)) + 2048
	for s.logBytes > keptLog && len(s.log) > 1 {
		s.logBytes -= int64(len(s.log[0].Body)) + 2048
		s.log = s.log[1:]
	}
}

// A statusWriter tells the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	told func(status int)
	done bool
}

func (w *statusWriter) WriteHeader(status int) {
	if !w.done && status >= 200 {
		w.done = true
		w.told(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if !w.done {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
