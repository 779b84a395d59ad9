package objecttest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A Request is what a server was asked, without what authenticates it: such values are "[redacted]", behind the name of
// their scheme if they have one.
type Request struct {
	Op       string // the provider's name of the operation; "" = it has none of this kind
	Method   string
	Host     string
	Path     string // as sent, with its escapes
	Query    url.Values
	Header   http.Header
	Length   int64 // as announced; -1 = not told
	Size     int64 // octets of the body that were read
	Status   int   // of the answer; 0 = none was given, or not yet
	Fault    string
	Received time.Time // by time.Now, not by the server's clock
}

// secretNames are the headers and query parameters that authenticate, in lower case.
var secretNames = [...]string{
	"authorization", "x-amz-security-token", "x-amz-signature", "x-amz-credential", "x-amz-copy-source-authorization", "sig",
	"x-ms-copy-source", "x-auth-token", "x-auth-key", "x-storage-token", "x-subject-token", "x-service-token", "temp_url_sig",
	"x-account-meta-temp-url-key", "x-emc-signature", "signature",
}

func redact(values map[string][]string) map[string][]string {
	clean := make(map[string][]string, len(values))
	for name, list := range values {
		if !slices.Contains(secretNames[:], strings.ToLower(name)) {
			clean[name] = slices.Clone(list)
			continue
		}
		for _, value := range list {
			scheme, _, ok := strings.Cut(value, " ")
			if !ok {
				scheme = ""
			}
			clean[name] = append(clean[name], strings.TrimSpace(scheme+" "+connection.Redacted))
		}
	}
	return clean
}

// begin logs r and takes the fault that it meets.
func (s *Server) begin(r *http.Request) (*Request, Fault) {
	entry := &Request{
		Op: s.provider.operation(r), Method: r.Method, Host: r.Host, Path: r.URL.EscapedPath(),
		Query: redact(r.URL.Query()), Header: redact(r.Header), Length: r.ContentLength, Received: time.Now(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.take(entry)
	entry.Fault = f.name
	s.log = append(s.log, entry)
	return entry, f
}

// take returns the fault that applies to a request, and counts it.
func (s *Server) take(entry *Request) Fault {
	for _, p := range s.faults {
		switch {
		case p.op != "" && p.op != entry.Op || p.left == 0 || p.upload && entry.Length >= 0 && entry.Length < substance:
		case p.skip > 0:
			p.skip--
		default:
			if p.left > 0 {
				p.left--
			}
			return p.fault
		}
	}
	return Fault{}
}

func (s *Server) finish(entry *Request, size int64, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entry.Size, entry.Status = size, status
}

// Requests returns what was received so far, in order, for the operations named; for all if none is.
func (s *Server) Requests(ops ...string) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Request
	for _, entry := range s.log {
		if len(ops) == 0 || slices.Contains(ops, entry.Op) {
			all = append(all, *entry)
		}
	}
	return all
}

// Ops returns the operations of all requests received so far, in order.
func (s *Server) Ops() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ops := make([]string, len(s.log))
	for i, entry := range s.log {
		ops[i] = entry.Op
	}
	return ops
}

// ForgetRequests empties the log.
func (s *Server) ForgetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = nil
}
