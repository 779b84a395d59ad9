package gmailtest

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// auditTime is how the feed writes times, in UTC.
const auditTime = "2006-01-02 15:04"

// A feed is a request to the audit feed that may be made.
type feed struct {
	s              *Server
	q              *request
	domain, source string
}

// auditError is an error as the feed tells it.
func auditError(status int, code, input, reason string) auditAnswer {
	return auditAnswer{status: status, kind: "application/xml; charset=UTF-8", body: fmt.Sprintf(
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<AppsForYourDomainErrors>\r\n <error errorCode=\"%s\" invalidInput=\"%s\" reason=\"%s\" />\r\n</AppsForYourDomainErrors>\r\n",
		code, escapeXML(input), reason)}
}

func noUser(name string) auditAnswer {
	return auditError(http.StatusNotFound, "1301", name, "EntityDoesNotExist")
}

func invalidProperty(value string) auditAnswer {
	return auditError(http.StatusBadRequest, "1801", value, "InvalidValue")
}

func escapeXML(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}

// counted answers a request that counts towards the day's limit, whatever becomes of it.
func (f feed) counted(answer func() auditAnswer) auditAnswer {
	day := f.s.auditDay()
	f.s.mu.Lock()
	total := f.s.spend(day, 1)
	f.s.mu.Unlock()
	if total > orDefault(f.s.opts.Mail.Monitors.Daily, dailyWrites) {
		return auditError(http.StatusForbidden, "1000", f.source, "UnknownError")
	}
	return answer()
}

// list tells the monitors of the source.
func (f feed) list() auditAnswer {
	if f.s.lookup(f.source+"@"+f.domain) == nil {
		return noUser(f.source)
	}
	o := f.s.opts.Mail.Monitors
	size := orDefault(o.PageSize, 100)
	start := 1
	if text := f.q.query.Get("start-index"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return invalidProperty(text)
		}
		start = n
	}
	f.s.mu.Lock()
	all := make([]Monitor, 0, 1)
	for _, m := range f.s.monitors.of(f.source) {
		all = append(all, *m)
	}
	f.s.mu.Unlock()
	if len(all) == 0 && o.NoneIsError {
		return noUser(f.source)
	}
	page := all[min(start-1, len(all)):min(start-1+size, len(all))]
	return auditAnswer{status: orDefault(o.ListStatus, http.StatusCreated), body: f.render(page, start, start-1+size < len(all))}
}

// maxAudit bounds the body of a request to the feed, in octets.
const maxAudit = 1 << 20

// entry reads the properties of an Atom entry, by local names.
func (f feed) entry() (map[string]string, error) {
	d := xml.NewDecoder(io.LimitReader(f.q.http.Body, maxAudit))
	props := make(map[string]string)
	seen := false
	for {
		token, err := d.Token()
		if err == io.EOF { //nolint:errorlint // a bare io.EOF is the end
			break
		}
		if err != nil {
			return nil, err
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if !seen && e.Name != (xml.Name{Space: atomSpace, Local: "entry"}) {
			return nil, fmt.Errorf("the root is %s", e.Name.Local)
		}
		seen = true
		if e.Name == (xml.Name{Space: appsSpace, Local: "property"}) {
			var name, value string
			for _, a := range e.Attr {
				switch a.Name.Local {
				case "name":
					name = a.Value
				case "value":
					value = a.Value
				}
			}
			props[name] = value
		}
	}
	if !seen {
		return nil, fmt.Errorf("the entry is missing")
	}
	return props, nil
}

// create makes a monitor, or gives one of the same destination its new properties: all of them.
func (f feed) create() auditAnswer {
	if kind, _, _ := strings.Cut(f.q.http.Header.Get("Content-Type"), ";"); strings.TrimSpace(kind) != "application/atom+xml" {
		return plain(http.StatusUnsupportedMediaType, "Content-Type "+escapeXML(kind)+" is not a valid input type.")
	}
	props, err := f.entry()
	if err != nil {
		return plain(http.StatusBadRequest, "Invalid XML: "+escapeXML(err.Error()))
	}
	now := f.s.now().UTC()
	m := Monitor{Source: f.source, Begin: now.Truncate(time.Minute), Incoming: FullMessage, Outgoing: FullMessage, Updated: now}
	for name, value := range props {
		if wrong, bad := m.set(name, value); bad {
			return wrong
		}
	}
	if wrong, bad := f.check(&m, now); bad {
		return wrong
	}
	f.s.mu.Lock()
	made := *f.s.monitors.put(m)
	f.s.mu.Unlock()
	return auditAnswer{status: http.StatusCreated, body: f.renderEntry(made)}
}

// set takes one property.
func (m *Monitor) set(name, value string) (auditAnswer, bool) {
	var err error
	switch name {
	case "destUserName":
		m.Destination = strings.ToLower(value)
	case "beginDate":
		if value != "" {
			m.Begin, err = time.Parse(auditTime, value)
		}
	case "endDate":
		m.End, err = time.Parse(auditTime, value)
	case "incomingEmailMonitorLevel":
		m.Incoming = value
	case "outgoingEmailMonitorLevel":
		m.Outgoing = value
	case "draftMonitorLevel":
		m.Drafts = value
	case "chatMonitorLevel":
		m.Chats = value
	default:
		return invalidProperty(name), true
	}
	if strings.HasSuffix(name, "MonitorLevel") && value != FullMessage && value != HeaderOnly || err != nil {
		return invalidProperty(value), true
	}
	return auditAnswer{}, false
}

// check holds a monitor against the rules.
func (f feed) check(m *Monitor, now time.Time) (auditAnswer, bool) {
	source, dest := f.s.lookup(f.source+"@"+f.domain), f.s.lookup(m.Destination+"@"+f.domain)
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	switch {
	case source == nil:
		return noUser(f.source), true
	case m.Destination == "" || strings.ContainsAny(m.Destination, "@/ "):
		return auditError(http.StatusBadRequest, "1303", m.Destination, "EntityNameNotValid"), true
	case dest == nil:
		return noUser(m.Destination), true
	case dest == source:
		return invalidProperty(m.Destination), true
	case dest.Suspended:
		return auditError(http.StatusForbidden, "1101", m.Destination, "UserSuspended"), true
	case dest.NoMailbox || dest.disabled || dest.box == nil:
		return auditError(http.StatusBadRequest, "1410", m.Destination, "InvalidOperationForUser"), true
	case m.Begin.Before(now.Truncate(time.Minute)):
		return invalidProperty(m.Begin.Format(auditTime)), true
	case !m.End.After(m.Begin):
		return invalidProperty(m.End.Format(auditTime)), true
	}
	return auditAnswer{}, false
}

func (f feed) remove(destination string) auditAnswer {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if !f.s.monitors.drop(f.source, destination) {
		return noUser(destination)
	}
	return auditAnswer{status: http.StatusOK}
}
