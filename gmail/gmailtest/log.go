package gmailtest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// defaultLog is how many requests the log has at most, unless Options.Log says otherwise.
const defaultLog = 1 << 16

// A Request is one request as the server received it, whatever became of it. The parts of a batch are requests of their own, besides
// the batch itself.
type Request struct {
	Method    string      // of the API: "messages.get", "users.list"; or "token", "audit", "batch"; "" for paths that nobody knows
	User      string      // the primary address of the mailbox it is for, "" for none
	UserID    string      // its id
	Subject   string      // whom the token is for, or whom a token was wanted for; "" for the service account itself
	Scopes    []string    // of the token, or wanted
	QuotaUser string      // the parameter or header
	ID        string      // of the message, label, user or group in the path
	Status    int         // of the answer, 0 while there is none
	Reason    string      // of an error
	Units     int64       // that were charged
	Octets    int64       // of the answer's body as far as it was sent
	Upload    string      // the uploadType of an upload
	Verb      string      // of HTTP
	Path      string      // as sent, escaped
	Query     string      // as sent
	Header    http.Header // as sent
	Proto     string      // "HTTP/1.1" or "HTTP/2.0"
	At        time.Time   // of its arrival, by the server's clock
}

// Requests returns the requests so far, in the order of their arrival; of more than [Options.Log], the last ones. The Header is not to be changed.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Request, len(s.log))
	for i, r := range s.log {
		all[i] = *r
	}
	return all
}

// Calls returns how many requests for a method are in the log, on all mailboxes or, if users are given, on theirs (addresses or
// ids).
func (s *Server) Calls(method string, users ...string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.log {
		if r.Method == method && (len(users) == 0 || slices.Contains(users, r.User) || slices.Contains(users, r.UserID)) {
			n++
		}
	}
	return n
}

// ResetLog empties the log and sets the counters of units to 0. What quotas remember stays.
func (s *Server) ResetLog() {
	s.mu.Lock()
	s.log = nil
	s.mu.Unlock()
	s.quota.reset()
}

// record begins the record of a request, whose fields change under s.mu from here on.
func (s *Server) record(q *request) *Request {
	e := &Request{
		Method: q.method, ID: q.id, QuotaUser: or(q.query.Get("quotaUser"), q.http.Header.Get("X-Goog-Quota-User")), Verb: q.http.Method,
		Path: q.http.URL.EscapedPath(), Query: q.http.URL.RawQuery, Header: q.http.Header, Proto: q.http.Proto, At: s.now(),
	}
	if q.upload {
		e.Upload = or(q.query.Get("uploadType"), q.query.Get("upload_protocol"))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log = append(s.log, e); len(s.log) > s.opts.Log {
		s.log[0], s.log = nil, s.log[1:]
	}
	return e
}

// note changes the record of a request.
func (s *Server) note(e *Request, change func(*Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(e)
}

// snapshot returns the record of a request as it is now.
func (s *Server) snapshot(e *Request) Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *e
}

// refused records an error, and a request that should not have been made.
func (s *Server) refused(q *request, e *apiError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q.entry.Reason = e.reason
	if e.malformed {
		s.bad = append(s.bad, strings.TrimSpace(q.http.Method+" "+or(q.method, q.http.URL.Path)+": "+e.message))
	}
}
