package soap

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// run scans text up to the octet stop, and adds it to into unless that is nil. With refs, references are resolved.
func (s *scanner) run(stop byte, into *[]byte, refs bool) error {
	s.raw = s.raw[:0]
	for {
		b := s.buf[s.pos:s.end]
		i := bytes.IndexByte(b, stop)
		if i >= 0 {
			b = b[:i]
		}
		if into != nil || !s.heavy() {
			if err := s.count(&s.textLeft, len(b)); err != nil {
				return err
			}
		}
		s.pos += len(b)
		switch {
		case into == nil:
		case len(*into)+len(s.raw)+len(b) > s.limit:
			return s.protocol("%s of more than %d octets", s.shown(), s.limit)
		case i >= 0 && len(s.raw) == 0:
			*into = clean(*into, b, refs)
		default:
			s.raw = append(s.raw, b...)
		}
		if i >= 0 {
			break
		}
		if err := s.fill(); err != nil {
			return err
		}
	}
	if into != nil && len(s.raw) > 0 {
		*into = clean(*into, s.raw, refs)
	}
	return nil
}

// cdata scans the rest of a CDATA section.
func (s *scanner) cdata(into *[]byte) error {
	for {
		if err := s.run(']', into, false); err != nil {
			return err
		}
		if err := s.need(3); err != nil {
			return err
		}
		if bytes.HasPrefix(s.buf[s.pos:s.end], []byte("]]>")) {
			s.pos += 3
			return nil
		}
		if into != nil {
			*into = append(*into, ']')
		}
		s.pos++
		if err := s.count(&s.textLeft, 1); err != nil {
			return err
		}
	}
}

// heavy reports whether the innermost open element holds octets of a message, which have no limit.
func (s *scanner) heavy() bool {
	switch string(s.name()) {
	case "MimeContent", "MimeContentUTF8", "Content", "Data":
		return true
	}
	return false
}

// clean appends text to dst, with references resolved if refs is set, and with U+FFFD for whatever XML 1.0 (2.2) does not
// allow: control characters, surrogates, U+FFFE and U+FFFF, written as they are or as references, and octets that are not
// UTF-8. Line ends become LF (2.11).
func clean(dst, text []byte, refs bool) []byte {
	for len(text) > 0 {
		n := 0
		for n < len(text) && text[n] >= ' ' && text[n] < utf8.RuneSelf && text[n] != '&' {
			n++
		}
		dst = append(dst, text[:n]...)
		if text = text[n:]; len(text) == 0 {
			break
		}
		size := 1
		switch c := text[0]; {
		case c == '&' && refs:
			var r rune
			if r, size = reference(text); size == 0 {
				r, size = '&', 1
			}
			dst = utf8.AppendRune(dst, r)
		case c == '&', c == '\t', c == '\n':
			dst = append(dst, c)
		case c == '\r':
			if len(text) == 1 || text[1] != '\n' {
				dst = append(dst, '\n')
			}
		default:
			var r rune
			if r, size = utf8.DecodeRune(text); !legal(r) {
				r = unicode.ReplacementChar
			}
			dst = utf8.AppendRune(dst, r)
		}
		text = text[size:]
	}
	return dst
}

// reference reads the reference at the beginning of text, and returns its character and its length: 0 if it is none. A
// character that XML does not allow gives U+FFFD.
func reference(text []byte) (rune, int) {
	end := bytes.IndexByte(text[:min(len(text), maxReference)], ';')
	if end < 0 {
		return 0, 0
	}
	switch name := string(text[1:end]); {
	case name == "amp":
		return '&', end + 1
	case name == "lt":
		return '<', end + 1
	case name == "gt":
		return '>', end + 1
	case name == "quot":
		return '"', end + 1
	case name == "apos":
		return '\'', end + 1
	case strings.HasPrefix(name, "#x"):
		return character(name[2:], 16, end+1)
	case strings.HasPrefix(name, "#"):
		return character(name[1:], 10, end+1)
	}
	return 0, 0
}

const maxReference = 32 // octets; a character needs 10, the rest are leading zeros

func character(digits string, base, size int) (rune, int) {
	n, err := strconv.ParseUint(digits, base, 64)
	switch {
	case errors.Is(err, strconv.ErrSyntax):
		return 0, 0
	case err != nil, n > unicode.MaxRune, !legal(rune(n)):
		return unicode.ReplacementChar, size
	}
	return rune(n), size
}

// excerpt returns the first 200 printable characters of a server's text, with each run of others as one space.
func excerpt(text string) string {
	var b strings.Builder
	n, space := 0, false
	for _, r := range text {
		if !unicode.IsPrint(r) || r == ' ' {
			space = n > 0
			continue
		}
		if n >= 200 {
			return b.String() + "…"
		}
		if space {
			b.WriteByte(' ')
			n, space = n+1, false
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// plain returns the beginning of a page as people see it, without its tags.
func plain(page []byte) string {
	var b strings.Builder
	inside := false
	for _, c := range bytes.ToValidUTF8(page, nil) {
		switch {
		case c == '<':
			inside = true
			b.WriteByte(' ')
		case c == '>' && inside:
			inside = false
		case !inside:
			b.WriteByte(c)
		}
	}
	return excerpt(b.String())
}

func itoa(n int) string { return strconv.Itoa(n) }
