package audit

import (
	"bufio"
	"bytes"
	"io"
	"net/textproto"
	"strings"
)

// A scan reads the lines of a wrapper, and knows where it is.
type scan struct {
	r  *bufio.Reader
	at int64 // octets read
}

// line returns the next line with its end, or the beginning of one that is too long for the buffer: whole is false, and
// what comes next is the rest of it. The octets are good until the next call.
func (s *scan) line() (octets []byte, whole bool, err error) {
	octets, err = s.r.ReadSlice('\n')
	s.at += int64(len(octets))
	switch {
	case err == nil:
		return octets, true, nil
	case err == bufio.ErrBufferFull: //nolint:errorlint // returned as it is
		return octets, false, nil
	case err == io.EOF && len(octets) > 0: //nolint:errorlint // only the bare one is the end
		return octets, true, nil
	}
	return nil, false, err
}

// header reads a header section and the empty line behind it. One that is longer than limit, or has anything but fields in
// it, is odd.
func (s *scan) header(limit int64) (textproto.MIMEHeader, error) {
	head := make(textproto.MIMEHeader)
	name := ""
	for begin := s.at; ; {
		line, whole, err := s.line()
		switch {
		case err == io.EOF: //nolint:errorlint // only the bare one is the end
			return nil, odd("a header has no end")
		case err != nil:
			return nil, err
		case s.at-begin > limit:
			return nil, odd("a header is longer than %d octets", limit)
		}
		text := string(bytes.TrimRight(line, "\r\n"))
		folded := name != "" && (strings.HasPrefix(text, " ") || strings.HasPrefix(text, "\t"))
		switch {
		case text == "" && whole:
			return head, nil
		case folded:
			values := head[name]
			values[len(values)-1] += " " + strings.TrimLeft(text, " \t")
		default:
			field, value, ok := strings.Cut(text, ":")
			if field = strings.TrimRight(field, " \t"); !ok || field == "" || strings.ContainsAny(field, " \t") {
				return nil, odd("a header holds something else than fields")
			}
			name = textproto.CanonicalMIMEHeaderKey(field)
			head[name] = append(head[name], strings.TrimSpace(value))
		}
		for !whole { // the rest of a long line belongs to the field
			if line, whole, err = s.line(); err != nil {
				return nil, err
			}
			if s.at-begin > limit {
				return nil, odd("a header is longer than %d octets", limit)
			}
			values := head[name]
			values[len(values)-1] += string(bytes.TrimRight(line, "\r\n"))
		}
	}
}

// parts reads what is behind the wrapper's header, and tells c where the message lies. delimiter is "--boundary".
func (s *scan) parts(delimiter []byte, c *Copy) error {
	cover := int64(maxCover)
	if _, closed, err := s.until(delimiter, &cover); err != nil || closed {
		return orOdd(err, "it has no parts")
	}
	found := false
	for n := 1; ; n++ {
		if n > maxParts {
			return odd("it has more parts than a note and a message")
		}
		head, err := s.header(cover)
		if err != nil {
			return err
		}
		media, _, err := contentType(head)
		if err != nil {
			return err
		}
		begin, limit := s.at, &cover
		switch {
		case media == "message/rfc822" && !found:
			found, limit = true, nil
			c.start, c.encoding = begin, encodingOf(head)
			if !plainEncodings[c.encoding] {
				return odd("its message has the transfer encoding %.30q", c.encoding)
			}
		case media != "text/plain" && media != "text/html", found, attached(head):
			return odd("it has a part of %.60q", media)
		}
		end, closed, err := s.until(delimiter, limit)
		if err != nil {
			return err
		}
		if limit == nil {
			c.end = max(end, begin)
		}
		if closed {
			break
		}
	}
	if !found {
		return odd("no message is attached")
	}
	return s.epilogue()
}

var plainEncodings = map[string]bool{"": true, "7bit": true, "8bit": true, "binary": true, "base64": true, "quoted-printable": true}

// attached reports whether a text is a file that somebody attached, and no note.
func attached(head textproto.MIMEHeader) bool {
	return strings.HasPrefix(strings.ToLower(head.Get("Content-Disposition")), "attachment")
}

// until reads up to the next delimiter and returns where what was before it ends: the line end before a delimiter belongs to
// it (RFC 2046, 5.1.1). closed tells that it was the last delimiter. What is read counts against limit, if that is not nil.
func (s *scan) until(delimiter []byte, limit *int64) (end int64, closed bool, err error) {
	begin := s.at
	lineEnd := int64(0) // of the line before
	cr := false         // what was read last ends in one
	for fresh := true; ; {
		at := s.at
		line, whole, err := s.line()
		switch {
		case err == io.EOF: //nolint:errorlint // only the bare one is the end
			return 0, false, odd("it is not whole: its last delimiter is missing")
		case err != nil:
			return 0, false, err
		}
		if rest, ok := bytes.CutPrefix(line, delimiter); ok && fresh && whole {
			rest, closed = bytes.CutPrefix(rest, []byte("--"))
			if len(bytes.TrimSpace(rest)) == 0 {
				return at - lineEnd, closed, nil
			}
		}
		switch {
		case !whole:
		case bytes.HasSuffix(line, []byte("\r\n")), len(line) == 1 && cr && !fresh:
			lineEnd = 2
		default:
			lineEnd = 1
		}
		if limit != nil && s.at-begin > *limit {
			return 0, false, odd("what stands beside the message is longer than %d octets", maxCover)
		}
		fresh, cr = whole, bytes.HasSuffix(line, []byte("\r"))
	}
}

// epilogue makes sure that nothing is lost which stands behind the last part.
func (s *scan) epilogue() error {
	for {
		line, _, err := s.line()
		switch {
		case err == io.EOF: //nolint:errorlint // only the bare one is the end
			return nil
		case err != nil:
			return err
		case len(bytes.TrimSpace(line)) > 0:
			return odd("something stands behind its last part")
		}
	}
}

func orOdd(err error, text string) error {
	if err != nil {
		return err
	}
	return odd("%s", text)
}
