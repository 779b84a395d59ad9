package ewstest

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// A request is an EWS request that follows the schema.
type request struct {
	*exchange
	name    string   // of the operation
	op      *node    // its element
	header  *node    // soap:Header, or nil
	version version  // as declared
	as      *Mailbox // the mailbox that is impersonated, or nil
	mailbox *Mailbox // as, or the account's own; nil if it has none
}

// A reply is the answer to a request. Exactly one of body, fault, raw and stream is set.
type reply struct {
	status int // of HTTP; 0 = 200, or 500 with a fault
	body   *node
	fault  *fault
	raw    func(w http.ResponseWriter, r *http.Request) // writes what is no SOAP at all
	// stream writes one envelope for each call of emit, until it returns.
	stream func(r *http.Request, emit func(body *node) error) error
	whole  *node   // in place of an Envelope around body
	mishap *mishap // what happens on the wire besides; nil = nothing
}

// serveEWS answers a request to the path of EWS. The order of the checks is that of Exchange: HTTP, authentication, XML,
// schema, version, impersonation, and then what the operation itself finds.
func (s *Server) serveEWS(w http.ResponseWriter, r *http.Request) {
	x := s.newExchange(w, r)
	if !s.checkHTTP(x) || !s.authenticate(x.w, x) {
		return
	}
	s.note(x, func(e *Request) { e.User = x.user.address })
	if r.Method == http.MethodGet {
		s.serveGet(x)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(x.w, r.Body, s.opts.MaxRequest))
	s.keep(x, body)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		s.refuse(x, "the body is too large")
		page(x.w, http.StatusInternalServerError, "Maximum request length exceeded.")
		return
	}
	if err != nil {
		return // the client is gone
	}
	req, f := s.read(x, body)
	if f != nil {
		s.render(x.w, req, &reply{fault: f})
		return
	}
	rep, done := s.around(req, func() *reply { return s.execute(req) })
	defer done()
	s.note(x, func(e *Request) { e.Code = rep.code() })
	s.render(x.w, req, rep)
}

// checkHTTP holds the request against section 3.1 of the SOAP binding and what IIS demands.
func (s *Server) checkHTTP(x *exchange) bool {
	r := x.r
	switch {
	case r.ProtoMajor != 1:
		return true // HTTP_1_1_REQUIRED is the listener's business
	case r.Method == http.MethodGet:
		return true
	case r.Method != http.MethodPost:
		s.refuse(x, "method "+r.Method)
		x.w.Header().Set("Allow", "GET, POST")
		page(x.w, http.StatusMethodNotAllowed, "The page you are looking for cannot be displayed because an invalid method was used.")
		return false
	case r.ContentLength < 0 && !s.opts.AllowChunked:
		s.refuse(x, "a body without Content-Length")
		page(x.w, http.StatusBadRequest, "Bad Request")
		return false
	case r.ContentLength == 0:
		return true // the first leg of a handshake; when it is authenticated, there is no request in it
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "text/xml" || !strings.EqualFold(params["charset"], "utf-8") {
		s.refuse(x, fmt.Sprintf("Content-Type %q", r.Header.Get("Content-Type")))
		page(x.w, http.StatusUnsupportedMediaType, "Unsupported Media Type")
		return false
	}
	if r.Header.Get("X-AnchorMailbox") == "" && s.opts.NeedAnchor {
		s.refuse(x, "no X-AnchorMailbox")
		page(x.w, http.StatusServiceUnavailable, "The service is unavailable.")
		return false
	}
	return true
}

// serveGet is what a browser sees.
func (s *Server) serveGet(x *exchange) {
	if s.opts.ServicePage {
		page(x.w, http.StatusOK, "You have created a service.")
		return
	}
	x.w.Header().Set("Allow", "POST")
	page(x.w, http.StatusMethodNotAllowed, "The requested resource does not support http method 'GET'.")
}

// page answers with a web page.
func page(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<!DOCTYPE html>\r\n<html><head><title>%s</title></head><body><h1>%s</h1></body></html>\r\n", text, text) //nolint:errcheck // the client may be gone
}

// read makes a request of a body. With a fault, the request is there as far as it was understood.
func (s *Server) read(x *exchange, body []byte) (*request, *fault) {
	req := &request{exchange: x, version: v2007}
	doc, bad := parse(body)
	if bad != nil {
		s.refuse(x, bad.Error())
		return req, &fault{code: "ErrorInvalidRequest", text: "The request is invalid. " + bad.Error()}
	}
	if f := checkEnvelope(doc); f != nil {
		s.refuse(x, f.text)
		return req, f
	}
	req.header, req.op = doc.child("Header"), doc.child("Body").kids[0]
	req.name = req.op.name
	s.note(x, func(e *Request) {
		e.Operation = req.name
		s.calls[req.name]++
	})
	if _, known := operations[req.name]; !known || slices.Contains(s.opts.Without, req.name) {
		return req, unknownRequest(req.name)
	}
	unknown := s.readVersion(req)
	if f := checkSchema(req.header, req.op, req.version); f != nil {
		s.refuse(x, f.text)
		return req, f
	}
	if unknown != nil {
		return req, unknown
	}
	if f := s.impersonate(req); f != nil {
		return req, f
	}
	return req, s.checkMailboxVersion(req)
}

// readVersion finds out which schema the request declares. With a fault, it is held against the newest one that the server
// has.
func (s *Server) readVersion(req *request) *fault {
	n := req.header.child("RequestServerVersion")
	if n == nil {
		return nil // taken as the oldest
	}
	declared := n.attr("Version")
	s.note(req.exchange, func(e *Request) { e.Version = declared })
	v, known := versionNamed(declared)
	switch {
	case s.opts.IgnoreVersion:
		req.version = s.product.speaks
	case !known || v > s.product.speaks:
		req.version = s.product.speaks
		return &fault{code: "ErrorInvalidServerVersion", text: "The specified server version is invalid.", line: n.line, column: n.column}
	default:
		req.version = v
	}
	return nil
}

// execute runs the operation. A defect of this package is told as a bad request too, lest it look like a cut connection.
func (s *Server) execute(req *request) *reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		if defect := recover(); defect != nil {
			s.bad = append(s.bad, fmt.Sprintf("%s: defect of ewstest: %v", req.name, defect))
			panic(defect)
		}
	}()
	return operations[req.name](s, req)
}
