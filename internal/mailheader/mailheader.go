// Package mailheader cuts the header section of a message into its fields, so that drivers that send can change one of them
// and leave all other octets as they are.
package mailheader

import (
	"bytes"
	"strings"
)

// A Header is the header section of a message, cut into lines. Each is a field with its folding, or something else that
// stands where a field should.
type Header struct {
	Raw   []byte // without the empty line that ends it
	Lines []Line
}

// A Line is one of them, as places in Header.Raw.
type Line struct {
	Start, End int    // of its octets, line ends included
	Name       string // of the field, in lower case; "" if it is none
	Value      int    // where the octets behind the colon begin
}

// End returns how long the header section of raw is, without the empty line behind it. ok is false if its end is
// not in raw, unless raw is the whole message.
func End(raw []byte, whole bool) (end int, ok bool) {
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

// Parse cuts a header section, without the empty line behind it, into lines. It keeps raw.
func Parse(raw []byte) *Header {
	h := &Header{Raw: raw}
	for at := 0; at < len(raw); {
		end := lineEnd(raw, at)
		if n := len(h.Lines); (raw[at] == ' ' || raw[at] == '\t') && n > 0 {
			h.Lines[n-1].End = end // RFC 5322, 2.2.3: folded
			at = end
			continue
		}
		line := Line{Start: at, End: end, Value: at}
		if colon := bytes.IndexByte(raw[at:end], ':'); colon >= 0 {
			line.Name, line.Value = fieldName(raw[at:at+colon]), at+colon+1
		}
		h.Lines = append(h.Lines, line)
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

// Value returns the value of a field in one line.
func (h *Header) Value(l Line) string {
	return strings.TrimSpace(strings.Map(unfold, string(h.Raw[l.Value:l.End])))
}

func unfold(r rune) rune {
	if r == '\r' || r == '\n' {
		return ' '
	}
	return r
}

// First returns the value of the first field of a name, which is in lower case; "" if there is none.
func (h *Header) First(name string) string {
	for _, l := range h.Lines {
		if l.Name == name {
			return h.Value(l)
		}
	}
	return ""
}
