package gmailtest

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// auditPath is where the feed of the Email Audit API is.
const auditPath = "/a/feeds/compliance/audit/"

// dailyWrites is how many requests to create and delete monitors a domain may make a day.
const dailyWrites = 1000

// The levels of a monitor. A kind of mail that it does not watch has none.
const (
	FullMessage = "FULL_MESSAGE"
	HeaderOnly  = "HEADER_ONLY"
)

// A Monitor is one mailbox monitor: Destination gets copies of what Source receives, sends, drafts and chats.
type Monitor struct {
	Source, Destination               string // the user parts of the addresses
	Begin, End                        time.Time
	Incoming, Outgoing, Drafts, Chats string // FullMessage, HeaderOnly, or "" for none
	Updated                           time.Time
	RequestID                         string
}

// MonitorOptions are how the audit feed answers. The zero value is as its documentation says.
type MonitorOptions struct {
	// XML is how answers are written.
	XML AtomStyle
	// ListStatus is the status of a list; 0 is 201, as documented. Others have seen 200.
	ListStatus int
	// PageSize is how many monitors of a source a list has before a link to the next; 0 is 100.
	PageSize int
	// NoneIsError answers a list for a source without monitors with EntityDoesNotExist in place of an empty feed.
	NoneIsError bool
	// Daily is how many requests to create and delete monitors the domain may make a day; 0 is 1000.
	Daily int
	// Copies is how copies are wrapped.
	Copies CopyStyle
}

// An AtomStyle is how the feed writes its XML.
type AtomStyle string

// The styles.
const (
	AtomDefault  AtomStyle = ""         // atom is the default namespace, properties have the prefix apps
	AtomPrefixed AtomStyle = "prefixed" // all elements have prefixes, and not the usual ones
	AtomMixed    AtomStyle = "mixed"    // some elements have prefixes, which are not declared
	AtomBroken   AtomStyle = "broken"   // end tags lack the prefixes of their start tags, as in the documentation's samples
)

// A Gone is what the feed answers once it is switched off.
type Gone string

// The ways to be gone.
const (
	NotGone        Gone = ""
	Gone404        Gone = "404"         // text
	Gone410        Gone = "410"         // text
	Gone501        Gone = "501"         // text
	GoneHTML       Gone = "html"        // 200 with a page
	GoneHTML404    Gone = "html404"     // 404 with a page
	GoneFeature    Gone = "feature"     // 403 with errorCode 1203
	GoneNotForUser Gone = "notforuser"  // 403 with errorCode 1410
	GoneDeprecated Gone = "deprecation" // 400 that says so
)

// monitors are the monitors of a Server. Guarded by Server.mu.
type monitors struct {
	list    []*Monitor
	writes  map[string]int // requests to create and delete, by days
	gone    Gone
	goneFor map[string]Gone // by user parts of sources
	made    int
}

// find returns the monitors of a source, sorted by their destinations.
func (m *monitors) of(source string) []*Monitor {
	var out []*Monitor
	for _, x := range m.list {
		if strings.EqualFold(x.Source, source) {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b *Monitor) int { return cmp.Compare(a.Destination, b.Destination) })
	return out
}

// put creates a monitor, or replaces the one of the same source and destination.
func (m *monitors) put(x Monitor) *Monitor {
	m.made++
	x.RequestID = strconv.Itoa(53000 + m.made*17)
	m.drop(x.Source, x.Destination)
	m.list = append(m.list, &x)
	return &x
}

// drop removes a monitor and reports whether there was one.
func (m *monitors) drop(source, destination string) bool {
	before := len(m.list)
	m.list = slices.DeleteFunc(m.list, func(x *Monitor) bool {
		return strings.EqualFold(x.Source, source) && strings.EqualFold(x.Destination, destination)
	})
	return len(m.list) < before
}

// Monitors returns the monitors that there are, sorted by source and destination, those that have ended too.
func (s *Server) Monitors() []Monitor {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Monitor, 0, len(s.monitors.list))
	for _, m := range s.monitors.list {
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b Monitor) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Destination, b.Destination))
	})
	return out
}

// PutMonitor creates a monitor without a request, as another administrator does in another program.
func (s *Server) PutMonitor(m Monitor) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	m.Updated = now
	s.monitors.put(m)
}

// DropMonitor removes a monitor without a request.
func (s *Server) DropMonitor(source, destination string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.monitors.drop(source, destination)
}

// MonitorWrites returns how many requests to create and delete monitors there were today, by UTC, refused ones too.
func (s *Server) MonitorWrites() int {
	day := s.auditDay()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.monitors.writes[day]
}

// SpendMonitorWrites counts requests as other administrators make them.
func (s *Server) SpendMonitorWrites(n int) {
	day := s.auditDay()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spend(day, n)
}

func (s *Server) auditDay() string { return s.now().UTC().Format(time.DateOnly) }

func (s *Server) spend(day string, n int) (total int) {
	if s.monitors.writes == nil {
		s.monitors.writes = make(map[string]int)
	}
	s.monitors.writes[day] += n
	return s.monitors.writes[day]
}

// SetGone switches the audit feed off for everybody, or with NotGone on again.
func (s *Server) SetGone(g Gone) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.monitors.gone = g
}

// SetGoneFor switches the audit feed off for one source, told by the user part of its address.
func (s *Server) SetGoneFor(source string, g Gone) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.monitors.goneFor == nil {
		s.monitors.goneFor = make(map[string]Gone)
	}
	s.monitors.goneFor[strings.ToLower(source)] = g
}

// auditFeed says what answers the audit feed.
func (s *Server) auditFeed() { s.mount("audit", auditPath, s.serveAudit) }

// serveAudit answers one request to the feed.
func (s *Server) serveAudit(q *request) {
	a := s.audit(q)
	maps.Copy(q.w.Header(), http.Header{"Content-Type": {or(a.kind, "application/atom+xml; charset=UTF-8")}})
	q.w.WriteHeader(a.status)
	_, _ = q.w.Write([]byte(a.body)) // the client may be gone
}

// An auditAnswer is an answer of the feed.
type auditAnswer struct {
	status int
	kind   string // Content-Type; "" is Atom
	body   string
}

func plain(status int, text string) auditAnswer {
	return auditAnswer{status, "text/html; charset=UTF-8", text}
}

// audit finds out what a request is, and whether it may be.
func (s *Server) audit(q *request) auditAnswer {
	if err := q.authorize(scopeAudit); err != nil {
		if asAPIError(err).status == http.StatusForbidden {
			return plain(http.StatusForbidden, "Token invalid - AuthSub token has wrong scope")
		}
		return plain(http.StatusUnauthorized, "Token invalid - Invalid token: Token not found")
	}
	rest, ok := strings.CutPrefix(q.http.URL.Path, auditPath+"mail/monitor/")
	words := strings.Split(rest, "/")
	if !ok || len(words) < 2 || len(words) > 3 || slices.Contains(words, "") {
		return plain(http.StatusNotFound, "Not Found")
	}
	domain, source := strings.ToLower(words[0]), strings.ToLower(words[1])
	if a, gone := s.isGone(source); gone {
		return a
	}
	switch {
	case !s.isAdmin(q.grant):
		return plain(http.StatusForbidden, "You are not authorized to access this API")
	case !slices.ContainsFunc(append([]string{s.opts.Domain}, s.opts.Domains...), func(d string) bool { return strings.EqualFold(d, domain) }):
		return plain(http.StatusBadRequest, "Invalid domain.")
	}
	f := feed{s, q, domain, source}
	switch {
	case q.http.Method == http.MethodGet && len(words) == 2:
		return f.list()
	case q.http.Method == http.MethodPost && len(words) == 2:
		return f.counted(f.create)
	case q.http.Method == http.MethodDelete && len(words) == 3:
		return f.counted(func() auditAnswer { return f.remove(strings.ToLower(words[2])) })
	}
	return plain(http.StatusMethodNotAllowed, "Method Not Allowed")
}

// isAdmin reports whether a token is that of a super administrator.
func (s *Server) isAdmin(g *grant) bool {
	a := s.lookup(g.email)
	s.mu.Lock()
	defer s.mu.Unlock()
	return a != nil && (a.Admin || a.answersTo(s.opts.Admin))
}

// isGone is the answer of a feed that is switched off.
func (s *Server) isGone(source string) (auditAnswer, bool) {
	s.mu.Lock()
	g := s.monitors.gone
	if g == NotGone {
		g = s.monitors.goneFor[source]
	}
	s.mu.Unlock()
	const html = "<!DOCTYPE html>\n<html lang=en>\n<title>Error 404 (Not Found)!!1</title>\n<p><b>404.</b> <ins>That’s an error.</ins>\n"
	switch g {
	case Gone404, Gone410, Gone501:
		status, _ := strconv.Atoi(string(g)) // it is a number
		return plain(status, http.StatusText(status)), true
	case GoneHTML:
		return plain(http.StatusOK, html), true
	case GoneHTML404:
		return plain(http.StatusNotFound, html), true
	case GoneFeature:
		return auditError(http.StatusForbidden, "1203", "", "DomainFeatureUnavailable"), true
	case GoneNotForUser:
		return auditError(http.StatusForbidden, "1410", source, "InvalidOperationForUser"), true
	case GoneDeprecated:
		return plain(http.StatusBadRequest, "The Email Audit API has been deprecated."), true
	}
	return auditAnswer{}, false
}
