package gmailtest

import (
	"strconv"
	"strings"
	"time"
)

// The namespaces of the feed.
const (
	atomSpace   = "http://www.w3.org/2005/Atom"
	appsSpace   = "http://schemas.google.com/apps/2006"
	searchSpace = "http://a9.com/-/spec/opensearchrss/1.0/"
)

// An atomWriter writes Atom in one of the styles.
type atomWriter struct {
	strings.Builder
	style AtomStyle
}

// name is the name of an element with the prefix that the style gives it.
func (w *atomWriter) name(space, local string) string {
	prefix := map[string]string{appsSpace: "apps:", searchSpace: "openSearch:"}[space]
	switch w.style {
	case AtomPrefixed:
		prefix = map[string]string{atomSpace: "a:", appsSpace: "p:", searchSpace: "o:"}[space]
	case AtomMixed, AtomBroken:
		if space == atomSpace && (local == "entry" || local == "feed") {
			prefix = "atom:"
		}
	}
	return prefix + local
}

// start writes a start tag. attrs are names and values, one after the other.
func (w *atomWriter) start(space, local string, attrs ...string) { w.tag(space, local, attrs, ">") }

// empty writes an element without content.
func (w *atomWriter) empty(space, local string, attrs ...string) { w.tag(space, local, attrs, "/>") }

func (w *atomWriter) tag(space, local string, attrs []string, end string) {
	w.WriteString("<" + w.name(space, local))
	for i := 0; i+1 < len(attrs); i += 2 {
		w.WriteString(" " + attrs[i] + "='" + escapeXML(attrs[i+1]) + "'")
	}
	w.WriteString(end)
}

func (w *atomWriter) end(space, local string) {
	name := w.name(space, local)
	if w.style == AtomBroken {
		name = local
	}
	w.WriteString("</" + name + ">")
}

func (w *atomWriter) text(space, local, text string) {
	w.start(space, local)
	w.WriteString(escapeXML(text))
	w.end(space, local)
}

// spaces are the declarations of namespaces on the root.
func (w *atomWriter) spaces() []string {
	switch w.style {
	case AtomPrefixed:
		return []string{"xmlns:a", atomSpace, "xmlns:p", appsSpace, "xmlns:o", searchSpace}
	case AtomMixed:
		return []string{"xmlns", atomSpace}
	case AtomBroken:
		return []string{"xmlns:atom", atomSpace, "xmlns:apps", appsSpace}
	}
	return []string{"xmlns", atomSpace, "xmlns:openSearch", searchSpace, "xmlns:apps", appsSpace}
}

// here is the address of the source's feed.
func (f feed) here() string {
	scheme := "http"
	if f.q.http.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + f.q.http.Host + auditPath + "mail/monitor/" + f.domain + "/" + f.source
}

const xmlHead = "<?xml version='1.0' encoding='UTF-8'?>"

// renderEntry is one monitor as the answer to its creation.
func (f feed) renderEntry(m Monitor) string {
	w := &atomWriter{style: f.s.opts.Mail.Monitors.XML}
	w.WriteString(xmlHead)
	f.write(w, m, false, w.spaces())
	return w.String()
}

// render is a page of monitors.
func (f feed) render(page []Monitor, start int, more bool) string {
	w := &atomWriter{style: f.s.opts.Mail.Monitors.XML}
	here := f.here()
	w.WriteString(xmlHead)
	w.start(atomSpace, "feed", w.spaces()...)
	w.text(atomSpace, "id", here)
	w.text(atomSpace, "updated", f.s.now().UTC().Format(time.RFC3339))
	for _, rel := range []string{"http://schemas.google.com/g/2005#feed", "http://schemas.google.com/g/2005#post", "self"} {
		w.empty(atomSpace, "link", "rel", rel, "type", "application/atom+xml", "href", here)
	}
	if more {
		w.empty(atomSpace, "link", "rel", "next", "type", "application/atom+xml", "href", here+"?start-index="+strconv.Itoa(start+len(page)))
	}
	w.text(searchSpace, "startIndex", strconv.Itoa(start))
	for _, m := range page {
		f.write(w, m, true, nil)
	}
	w.end(atomSpace, "feed")
	return w.String()
}

// write writes one monitor. Those of a list have request ids.
func (f feed) write(w *atomWriter, m Monitor, listed bool, attrs []string) {
	id := f.here() + "/" + m.Destination
	w.start(atomSpace, "entry", attrs...)
	w.text(atomSpace, "id", id)
	w.text(atomSpace, "updated", m.Updated.UTC().Format(time.RFC3339))
	w.empty(atomSpace, "link", "rel", "self", "type", "application/atom+xml", "href", id)
	w.empty(atomSpace, "link", "rel", "edit", "type", "application/atom+xml", "href", id)
	property := func(name, value string) {
		if value != "" {
			w.empty(appsSpace, "property", "name", name, "value", value)
		}
	}
	if listed {
		property("requestId", m.RequestID)
	}
	property("destUserName", m.Destination)
	property("beginDate", m.Begin.UTC().Format(auditTime))
	property("endDate", m.End.UTC().Format(auditTime))
	property("incomingEmailMonitorLevel", m.Incoming)
	property("outgoingEmailMonitorLevel", m.Outgoing)
	property("draftMonitorLevel", m.Drafts)
	property("chatMonitorLevel", m.Chats)
	w.end(atomSpace, "entry")
}
