package ews

import (
	"bytes"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
)

// maxHeader bounds the header section of a message that is sent: it is held in memory, since its recipients have to be known.
const maxHeader = 1 << 20

const (
	messageIDName = "Message-ID"
	originalName  = "X-Original-Message-ID"
	bccName       = "Bcc"
)

// newMessageID makes a Message-ID of 130 random bits.
func newMessageID(domain string) string { return "<" + rand.Text() + "@" + domain + ">" }

// A header is the header section of a message, cut into lines. Each is a field with its folding, or something else that
// stands where a field should.
type header struct {
	raw   []byte // without the empty line that ends it
	lines []headerLine
}

type headerLine struct {
	start, end int    // of its octets, line ends included
	name       string // of the field, in lower case; "" if it is none
	value      int    // where the octets behind the colon begin
}

// headerEnd returns how long the header section of raw is, without the empty line behind it. ok is false if its end is
// not in raw, unless raw is the whole message.
func headerEnd(raw []byte, whole bool) (end int, ok bool) {
	for at := 0; at < len(raw); {
		next := lineEnd(raw, at)
		if raw[next-1] != '\n' {
			break
		}
		if next-at == 1 || next-at == 2 && raw[at] == '\r' {
			return at, true
		}
		at = next
	}
	return len(raw), whole
}

// lineEnd returns where the line that begins at a place ends, its LF included.
func lineEnd(raw []byte, at int) int {
	if i := bytes.IndexByte(raw[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(raw)
}

func parseHeader(raw []byte) *header {
	h := &header{raw: raw}
	for at := 0; at < len(raw); {
		end := lineEnd(raw, at)
		if n := len(h.lines); (raw[at] == ' ' || raw[at] == '\t') && n > 0 {
			h.lines[n-1].end = end // RFC 5322, 2.2.3: folded
			at = end
			continue
		}
		line := headerLine{start: at, end: end, value: at}
		if colon := bytes.IndexByte(raw[at:end], ':'); colon >= 0 {
			line.name, line.value = fieldName(raw[at:at+colon]), at+colon+1
		}
		h.lines = append(h.lines, line)
		at = end
	}
	return h
}

// fieldName returns the name of a field in lower case, "" if it cannot be one. White space before the colon is of an older
// standard (RFC 5322, 4.5.3).
func fieldName(name []byte) string {
	name = bytes.TrimRight(name, " \t")
	for _, c := range name {
		if c <= ' ' || c > '~' {
			return ""
		}
	}
	return strings.ToLower(string(name))
}

// valueOf returns the value of a field in one line.
func (h *header) valueOf(l headerLine) string {
	return strings.TrimSpace(strings.Map(unfold, string(h.raw[l.value:l.end])))
}

func unfold(r rune) rune {
	if r == '\r' || r == '\n' {
		return ' '
	}
	return r
}

// messageID returns the value of the first Message-ID field, "" if there is none.
func (h *header) messageID() string {
	for _, l := range h.lines {
		if l.name == "message-id" {
			return h.valueOf(l)
		}
	}
	return ""
}

// eol returns the line end that the header section uses.
func (h *header) eol() string {
	if i := bytes.IndexByte(h.raw, '\n'); i == 0 || i > 0 && h.raw[i-1] != '\r' {
		return "\n"
	}
	return "\r\n"
}

// edit returns the header section with id as its Message-ID, and with bcc added to its Bcc field. The old Message-IDs stay
// as X-Original-Message-ID. What is missing is put in front, and if no line is a field, with an empty line behind it, for
// then the message has no header. id "" and no bcc leave everything as it is; all octets of other fields are the same in
// any case. A header section in front of which nothing can be put is an error.
func (h *header) edit(id string, bcc []string) ([]byte, error) {
	eol := h.eol()
	var front, rest []byte
	newID, newBcc := id != "", len(bcc) > 0
	for _, l := range h.lines {
		octets := h.raw[l.start:l.end]
		switch {
		case id != "" && l.name == "message-id":
			if newID {
				newID = false
				rest = append(rest, messageIDName+": "+id+eol...)
			}
			rest = append(append(append(rest, originalName...), ':'), h.raw[l.value:l.end]...)
		case newBcc && l.name == "bcc":
			newBcc = false
			old := bytes.TrimRight(octets, "\r\n")
			end := octets[len(old):]
			if empty := len(addressesIn(h.valueOf(l))) == 0; empty {
				rest = append(rest, bccName+": "...)
			} else {
				rest = append(append(rest, bytes.TrimRight(old, ", \t")...), ("," + eol + " ")...)
			}
			rest = append(append(rest, strings.Join(bcc, ","+eol+" ")...), end...)
		default:
			rest = append(rest, octets...)
		}
	}
	if newID {
		front = append(front, messageIDName+": "+id+eol...)
	}
	if newBcc {
		front = append(front, bccName+": "+strings.Join(bcc, ","+eol+" ")+eol...)
	}
	switch {
	case len(front) == 0 || len(rest) == 0:
	case !slices.ContainsFunc(h.lines, func(l headerLine) bool { return l.name != "" }):
		front = append(front, eol...)
	case rest[0] == ' ' || rest[0] == '\t':
		return nil, errors.New("the header begins with a folded line") // it would become a part of what is put in front
	}
	return append(front, rest...), nil
}
