package gmailtest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxJSON is the largest JSON body that is read, in octets: the largest message in base64, and something around it.
const maxJSON = 220 << 20

// A request is a call of a method, whose parameters and token are right so far. Its handler runs without Server.mu held.
type request struct {
	s       *Server
	method  string
	route   *route   // nil for what is mounted
	user    *account // whose mailbox; nil in the directory, and for what is mounted
	grant   *grant   // of the token
	id, sub string   // of the path; sub is that of an attachment, whose message is id
	query   url.Values
	upload  bool // the path began with /upload
	http    *http.Request
	w       http.ResponseWriter
	header  http.Header // of the answer
	entry   *Request
	plan    *plan
}

// A reply is an answer that is not simply JSON.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// has reports whether the request has a query parameter.
func (q *request) has(name string) bool { return q.query.Has(name) }

// number returns a query parameter from 1 to most; missing is what stands for none.
func (q *request) number(name string, missing, most int) (int, error) {
	if !q.has(name) {
		return missing, nil
	}
	n, err := strconv.Atoi(q.query.Get(name))
	if err != nil || n < 0 || n > most {
		return 0, errValue(name, q.query.Get(name), "TYPE_UINT32")
	}
	if n == 0 {
		return missing, nil
	}
	return n, nil
}

// flag returns a boolean query parameter.
func (q *request) flag(name string) (bool, error) {
	switch value := q.query.Get(name); {
	case !q.has(name):
		return false, nil
	case value == "true" || value == "false":
		return value == "true", nil
	default:
		return false, errValue(name, value, "TYPE_BOOL")
	}
}

// choice returns a query parameter that has one of a few values; missing is what stands for none, and is allowed too.
func (q *request) choice(name, missing string, allowed ...string) (string, error) {
	value := q.query.Get(name)
	if !q.has(name) || value == missing {
		return missing, nil
	}
	if !slices.Contains(allowed, value) {
		return "", errValue(name, value, "TYPE_ENUM")
	}
	return value, nil
}

// decode reads the JSON body into v, a pointer to a struct. An empty body leaves v alone; what v does not have is refused.
func (q *request) decode(v any) error {
	body := http.MaxBytesReader(q.w, q.http.Body, maxJSON)
	if kind, _, _ := strings.Cut(q.http.Header.Get("Content-Type"), ";"); kind != "" && !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		return malformed("badRequest", "Unsupported content with type: "+kind)
	}
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == io.EOF { //nolint:errorlint // what only wraps an end is a failure
		return nil
	}
	if err == nil {
		if _, more := d.Token(); more != io.EOF { //nolint:errorlint // as above
			err = errors.New("text behind the object")
		}
	}
	if err == nil {
		return nil
	}
	if name, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
		return malformed("badRequest", "Invalid JSON payload received. Unknown name "+name+": Cannot find field.")
	}
	return malformed("parseError", "Invalid JSON payload received. "+err.Error())
}

// send answers what is mounted as methods are answered: with an object, a reply, an *apiError, or nil. It comes last.
func (q *request) send(result any) {
	q.s.answer(q, q.w.(*answer), q.plan, result)
}

// authorize finds out whose token came with a request, and refuses it unless it permits one of scopes.
func (q *request) authorize(scopes ...string) error {
	g, e := q.s.grantOf(q.http)
	if e != nil {
		return e
	}
	q.grant = g
	q.s.note(q.entry, func(r *Request) { r.Subject, r.Scopes = g.email, g.scopes })
	if !g.permits(scopes) {
		return errScope(q.s.serviceOf(q), q.method, scopes)
	}
	return nil
}

func (s *Server) serviceOf(q *request) string {
	if q.route != nil {
		return q.route.service.host
	}
	return "apps-apis.google.com"
}

// serveAPI answers a request for a method of an API. The parts of a batch come here too.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	t := s.find(r)
	q := &request{s: s, http: r, header: make(http.Header), query: r.URL.Query(), route: t.route, id: t.id, sub: t.sub, upload: t.upload}
	if t.route != nil {
		q.method = t.route.name
	}
	q.entry = s.record(q)
	answer := newAnswer(w, func(status int, octets int64) {
		s.note(q.entry, func(e *Request) { e.Status, e.Octets = status, octets })
	})
	q.w = answer
	defer answer.finish()
	if t.route == nil {
		page(answer, http.StatusNotFound, "The requested URL "+r.URL.Path+" was not found on this server.  That’s all we know.")
		return
	}
	refused := s.admit(q, t.userID)
	plan := s.planned(q)
	q.plan = plan
	plan.before(q, answer)
	if len(plan.run) > 0 { // they may have changed something
		refused = s.admit(q, t.userID)
	}
	var result any
	switch {
	case plan.instead != nil:
		s.charge(q, plan)
		result = plan.instead
	case refused != nil:
		result = refused
	default:
		done, e := s.quota.enter(s, q)
		defer done()
		if result = any(e); e == nil {
			result = outcome(t.route.handler(q))
		}
	}
	s.answer(q, answer, plan, result)
	plan.after()
}

// outcome makes one value of what a handler returned.
func outcome(v any, err error) any {
	if err != nil {
		return asAPIError(err)
	}
	return v
}

// admit finds out who calls, and holds the request against everything that is the same for all methods.
func (s *Server) admit(q *request, userID string) *apiError {
	q.grant, q.user = nil, nil
	refused := q.authorize(q.route.scopes...)
	if q.grant == nil {
		return asAPIError(refused)
	}
	var e *apiError
	if q.route.service.name == "gmail" { // also where the scope does not suffice: faults and the log go by the user
		e = s.locate(q, userID)
	}
	if refused != nil {
		return asAPIError(refused)
	}
	if bad := checkQuery(q); bad != nil {
		return bad
	}
	return e
}

// checkQuery refuses query parameters that the method does not have, and values that they cannot have.
func checkQuery(q *request) *apiError {
	for name, values := range q.query {
		if !slices.Contains(strings.Fields(standardParams), name) && !slices.Contains(strings.Fields(q.route.params), name) {
			return errParameter(name)
		}
		if repeated := name == "labelIds" || name == "historyTypes" || name == "metadataHeaders"; !repeated && len(values) > 1 {
			return errValue(name, strings.Join(values, ","), "only once")
		}
	}
	for _, c := range [][]string{{"alt", "json"}, {"prettyPrint", "true", "false"}} {
		if value := q.query.Get(c[0]); q.has(c[0]) && !slices.Contains(c[1:], value) {
			return errValue(c[0], value, "want "+strings.Join(c[1:], " or "))
		}
	}
	if len(q.query.Get("quotaUser")) > maxQuotaUser {
		return errValue("quotaUser", q.query.Get("quotaUser"), "at most 40 characters")
	}
	if q.has("fields") {
		if _, e := parseMask(q.query.Get("fields"), q.route.answer); e != nil {
			return e
		}
	}
	return nil
}

// maxQuotaUser is the longest quotaUser, in octets.
const maxQuotaUser = 40

// locate finds the mailbox that a method of Gmail is for.
func (s *Server) locate(q *request, userID string) *apiError {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := q.grant.account
	if a == nil { // a service account for itself
		return failedPrecondition("Precondition check failed.")
	}
	q.entry.User, q.entry.UserID = a.Email, a.ID
	if userID != "me" && !a.answersTo(userID) {
		if s.opts.ForeignNotFound {
			return notFound("Requested entity was not found.")
		}
		return forbidden("forbidden", "Delegation denied for "+q.grant.email)
	}
	q.user = a
	switch {
	case a.box == nil || a.NoMailbox || a.disabled:
		return failedPrecondition("Mail service not enabled")
	case (a.Suspended || a.Archived) && slices.Contains([]string{"messages.get", "threads.get", "attachments.get"}, q.method):
		return forbidden("forbidden", "User is suspended.")
	}
	return nil
}

// A mounted handler answers everything below a path in its own way.
type mounted struct {
	name, path string
	handler    func(*request)
}

// mount has a handler answer a path, and everything below it if it ends in a slash. Faults and the log know it by its name.
func (s *Server) mount(name, path string, h func(*request)) {
	s.mounts = append(s.mounts, &mounted{name, path, h})
}

func (m *mounted) takes(path string) bool {
	if base, below := strings.CutSuffix(m.path, "/"); below {
		return strings.HasPrefix(path, base+"/")
	}
	return path == m.path || strings.HasPrefix(path, m.path+"/")
}

func (s *Server) serveMounted(w http.ResponseWriter, r *http.Request, m *mounted) {
	q := &request{s: s, method: m.name, http: r, header: make(http.Header), query: r.URL.Query()}
	q.entry = s.record(q)
	answer := newAnswer(w, func(status int, octets int64) {
		s.note(q.entry, func(e *Request) { e.Status, e.Octets = status, octets })
	})
	q.w = answer
	defer answer.finish()
	if _, e := s.grantOf(r); e == nil {
		_ = q.authorize() // for the log and for faults; the handler decides
	}
	if m.name == "token" {
		s.readTokenRequest(q)
	}
	q.plan = s.planned(q)
	q.plan.before(q, answer)
	if q.plan.instead != nil {
		s.answer(q, answer, q.plan, q.plan.instead)
		return
	}
	q.plan.shape(q, answer)
	m.handler(q)
	q.plan.after()
}
