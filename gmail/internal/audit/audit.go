// Package audit speaks the monitor feed of Google's Email Audit API, and opens the copies that monitors deliver. The API is
// one of the old GData APIs: Atom entries whose properties are attributes. Google still documents it (pages of 2026-04-23)
// and warns that it may go any day, so the parser takes what it can and tells what it cannot.
package audit

import (
	"encoding/xml"
	"errors"
	"strings"
	"time"
)

// A Level is how much of a kind of mail a monitor copies. The empty Level copies none: the API has no value for that, the
// property is left out.
type Level string

// The levels.
const (
	Headers Level = "HEADER_ONLY"
	Full    Level = "FULL_MESSAGE"
)

// dateLayout is how the feed writes times, in UTC and to the minute.
const dateLayout = "2006-01-02 15:04"

// A Monitor makes Google send Destination a copy of the mail of Source. Both are user parts of addresses in one domain.
// There is one for each pair.
type Monitor struct {
	Source      string
	Destination string
	Begin       time.Time // zero: from now on
	End         time.Time // zero in an answer: not told, or not understood
	Incoming    Level
	Outgoing    Level
	Drafts      Level
	Chat        Level
	RequestID   string // of entries in a list
}

// The names of an entry's properties.
const (
	propDestination = "destUserName"
	propBegin       = "beginDate"
	propEnd         = "endDate"
	propIncoming    = "incomingEmailMonitorLevel"
	propOutgoing    = "outgoingEmailMonitorLevel"
	propDrafts      = "draftMonitorLevel"
	propChat        = "chatMonitorLevel"
	propRequest     = "requestId"
)

// entry returns m as the feed takes it. An update resets each property that is missing to its default, so all that are
// wanted are always there.
func (m *Monitor) entry() []byte {
	var b strings.Builder
	b.WriteString("<atom:entry xmlns:atom='http://www.w3.org/2005/Atom' xmlns:apps='http://schemas.google.com/apps/2006'>")
	property := func(name, value string) {
		if value == "" {
			return
		}
		b.WriteString("<apps:property name='" + name + "' value='")
		_ = xml.EscapeText(&b, []byte(value)) // a strings.Builder takes everything
		b.WriteString("'/>")
	}
	property(propDestination, m.Destination)
	property(propBegin, date(m.Begin))
	property(propEnd, date(m.End))
	property(propIncoming, string(m.Incoming))
	property(propOutgoing, string(m.Outgoing))
	property(propDrafts, string(m.Drafts))
	property(propChat, string(m.Chat))
	b.WriteString("</atom:entry>")
	return []byte(b.String())
}

func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(dateLayout)
}

// set takes a property of an entry. What is unknown is passed over.
func (m *Monitor) set(name, value string) {
	value = strings.TrimSpace(value)
	switch name {
	case propDestination:
		m.Destination = value
	case propBegin:
		m.Begin = parseDate(value)
	case propEnd:
		m.End = parseDate(value)
	case propIncoming:
		m.Incoming = Level(value)
	case propOutgoing:
		m.Outgoing = Level(value)
	case propDrafts:
		m.Drafts = Level(value)
	case propChat:
		m.Chat = Level(value)
	case propRequest:
		m.RequestID = value
	}
}

// parseDate reads a time of an entry. Besides the documented form it takes those of other GData feeds.
func parseDate(s string) time.Time {
	for _, layout := range []string{dateLayout, "2006-01-02 15:04:05", "2006-01-02T15:04", time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// check refuses what the feed could only refuse, and what would change the path that is asked for.
func (m *Monitor) check() error {
	if err := checkUser(m.Source); err != nil {
		return err
	}
	if err := checkUser(m.Destination); err != nil {
		return err
	}
	switch {
	case strings.EqualFold(m.Source, m.Destination):
		return errors.New("source and destination of a monitor are the same mailbox")
	case m.End.IsZero():
		return errors.New("a monitor needs an end date")
	case !m.Begin.IsZero() && !m.End.After(m.Begin):
		return errors.New("a monitor ends after it begins")
	}
	return nil
}

func checkUser(user string) error {
	if user == "" || user == "." || user == ".." || strings.ContainsFunc(user, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '@' }) {
		return errors.New("want the user part of an address, before the @")
	}
	return nil
}
