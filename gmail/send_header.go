package gmail

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	netmail "net/mail"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// maxHeader bounds the header section of a message that is sent or appended: it is held in memory.
const maxHeader = 1 << 20

const (
	messageIDName = "Message-ID"
	originalName  = "X-Original-Message-ID"
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

// header reads the message's header section. One that is too long is ErrTooLarge.
func (u *upload) header() (*header, error) {
	r := u.spool.Reader()
	for size := int64(8 << 10); ; size *= 8 {
		size = min(size, maxHeader, u.size)
		raw := make([]byte, size)
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(r, raw); err != nil {
			return nil, err
		}
		end, ok := headerEnd(raw, size == u.size)
		switch {
		case ok:
			return parseHeader(raw[:end:end]), nil
		case size == maxHeader:
			return nil, &connection.Error{Kind: connection.ErrTooLarge, Err: fmt.Errorf("the header section is longer than %d octets", maxHeader)}
		}
	}
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
	unfold := func(r rune) rune {
		if r == '\r' || r == '\n' {
			return ' '
		}
		return r
	}
	return strings.TrimSpace(strings.Map(unfold, string(h.raw[l.value:l.end])))
}

// first returns the value of the first field of a name, "" if there is none.
func (h *header) first(name string) string {
	for _, l := range h.lines {
		if l.name == name {
			return h.valueOf(l)
		}
	}
	return ""
}

// messageID returns the message's id with its angle brackets, "" if it has none.
func (h *header) messageID() string { return h.first("message-id") }

// date returns what the Date field says, the zero time if it says nothing.
func (h *header) date() time.Time {
	t, err := netmail.ParseDate(h.first("date"))
	if err != nil {
		return time.Time{}
	}
	return t
}

// withMessageID returns the header section with id as its Message-ID. The old ones stay as X-Original-Message-ID. A header
// without one gets it in front; one in front of which nothing can be put is an error. All other octets are the same.
func (h *header) withMessageID(id string) ([]byte, error) {
	eol := "\r\n"
	if i := bytes.IndexByte(h.raw, '\n'); i == 0 || i > 0 && h.raw[i-1] != '\r' {
		eol = "\n"
	}
	var out []byte
	placed := false
	for _, l := range h.lines {
		if l.name != "message-id" {
			out = append(out, h.raw[l.start:l.end]...)
			continue
		}
		if !placed {
			placed = true
			out = append(out, messageIDName+": "+id+eol...)
		}
		out = append(append(append(out, originalName...), ':'), h.raw[l.value:l.end]...)
	}
	if placed {
		return out, nil
	}
	if len(h.lines) == 0 || h.lines[0].name == "" {
		return nil, fmt.Errorf("the message does not begin with a header field, so that no %s can be added", messageIDName)
	}
	return append([]byte(messageIDName+": "+id+eol), out...), nil
}
