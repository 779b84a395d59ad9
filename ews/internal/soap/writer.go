package soap

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mailconn/mailconn/connection"
)

// A writer makes one request. Its methods do nothing once err is set. Names carry their prefix: "s:", "m:" or "t:".
type writer struct {
	version Version
	buf     []byte // since the last payload
	parts   []part
	err     error
}

// fail keeps the first error.
func (w *writer) fail(kind connection.Kind, format string, args ...any) {
	if w.err == nil {
		w.err = &connection.Error{Kind: kind, Err: fmt.Errorf(format, args...)}
	}
}

// since refuses what the declared version does not have.
func (w *writer) since(v Version, what string) {
	if w.version.Below(v) {
		w.fail(connection.ErrUnsupported, "%s needs %s, the request declares %s", what, v, w.version)
	}
}

// oneOf refuses a value that is not among those allowed.
func (w *writer) oneOf(what, value string, allowed ...string) {
	for _, a := range allowed {
		if value == a {
			return
		}
	}
	w.fail(connection.ErrInvalid, "%s: %q is none of %s", what, value, strings.Join(allowed, ", "))
}

// within refuses a number outside its range.
func (w *writer) within(what string, n, low, high int) {
	if n < low || n > high {
		w.fail(connection.ErrInvalid, "%s: %d is not between %d and %d", what, n, low, high)
	}
}

// some refuses a list that must not be empty.
func (w *writer) some(what string, n int) {
	if n == 0 {
		w.fail(connection.ErrInvalid, "%s: none given", what)
	}
}

// open writes a start tag. attrs are names and values in turn; one with an empty value is left out.
func (w *writer) open(name string, attrs ...string) {
	w.tag(name, attrs)
	w.buf = append(w.buf, '>')
}

// empty writes an element without content.
func (w *writer) empty(name string, attrs ...string) {
	w.tag(name, attrs)
	w.buf = append(w.buf, '/', '>')
}

func (w *writer) tag(name string, attrs []string) {
	w.buf = append(append(w.buf, '<'), name...)
	for i := 0; i+1 < len(attrs); i += 2 {
		if attrs[i+1] == "" {
			continue
		}
		w.buf = append(append(append(w.buf, ' '), attrs[i]...), '=', '"')
		w.escape(attrs[i], attrs[i+1])
		w.buf = append(w.buf, '"')
	}
}

// end writes an end tag.
func (w *writer) end(name string) {
	w.buf = append(append(append(w.buf, '<', '/'), name...), '>')
}

// leaf writes an element that holds text, even if that is empty.
func (w *writer) leaf(name, text string) {
	w.open(name)
	w.escape(name, text)
	w.end(name)
}

// maybe writes a leaf unless its text is empty.
func (w *writer) maybe(name, text string) {
	if text != "" {
		w.leaf(name, text)
	}
}

// flag writes a boolean in the form that all servers take.
func (w *writer) flag(name string, value bool) { w.leaf(name, strconv.FormatBool(value)) }

// content writes an element whose text is the base64 of c.
func (w *writer) content(name string, c Content, attrs ...string) {
	if c.Size < 0 || c.Size > maxContent {
		w.fail(connection.ErrInvalid, "%s: size %d", name, c.Size)
		return
	}
	w.open(name, attrs...)
	w.parts = append(w.parts, part{text: w.buf}, part{content: c})
	w.buf = nil
	w.end(name)
}

// escape writes text or an attribute's value. What XML 1.0 (2.2) forbids cannot be written at all, and a server would answer
// to it with a fault about the whole request: such text is refused here.
func (w *writer) escape(where, text string) {
	for i, r := range text {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(text[i:]); size < 2 {
				w.fail(connection.ErrInvalid, "%s: not valid UTF-8 at octet %d", where, i)
				return
			}
		}
		switch {
		case !legal(r):
			w.fail(connection.ErrInvalid, "%s: XML cannot hold the character %U", where, r)
			return
		case r == '&':
			w.buf = append(w.buf, "&amp;"...)
		case r == '<':
			w.buf = append(w.buf, "&lt;"...)
		case r == '>':
			w.buf = append(w.buf, "&gt;"...)
		case r == '"':
			w.buf = append(w.buf, "&quot;"...)
		case r < ' ': // tab, LF and CR, which a parser would otherwise change
			w.buf = append(strconv.AppendInt(append(w.buf, '&', '#'), int64(r), 10), ';')
		default:
			w.buf = utf8.AppendRune(w.buf, r)
		}
	}
}

// legal reports whether XML 1.0 (2.2) allows the character.
func legal(r rune) bool {
	return r >= 0x20 && r < 0xd800 || r == '\t' || r == '\n' || r == '\r' || r >= 0xe000 && r < 0xfffe || r >= 0x10000 && r <= 0x10ffff
}
