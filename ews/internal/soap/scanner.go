package soap

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/mailconn/mailconn/connection"
)

// What an answer may have at most. None of it is ever allocated ahead.
const (
	maxTag     = 64 << 10 // octets of one tag: the size of the buffer
	maxText    = 16 << 20 // octets of text outside payloads
	maxMarkup  = 64 << 20 // octets of tags, comments and the like
	maxDepth   = 64       // elements within each other
	maxState   = 1 << 20  // octets of a SyncState
	maxLeaf    = 1 << 20  // octets of one other text, unless it may be as long as all of them
	maxEntries = 100_000  // items, folders, values and the like
)

// A scanner pulls elements out of XML as they arrive. It looks at local names only, and knows nothing of namespaces. What is
// open is a path of elements: depth is the length of the path, and its methods work at the end of it.
//
// It takes what servers send, not what XML 1.0 allows: characters that may not be, declarations of other versions and encodings,
// references to unknown entities. What it does not take is an element that is closed by another's end tag, a document type,
// UTF-16, an end in the middle, and more than the limits above.
type scanner struct {
	r        io.Reader
	buf      []byte
	pos, end int   // of what is read and not yet scanned
	err      error // final

	tag    []byte // the inside of the last start tag, after its name; valid until more is scanned
	closed bool   // the last element has no end tag: it ended with its start tag
	names  []byte // of the open elements, with their prefixes, one behind the other
	marks  [maxDepth + 1]int
	depth  int
	text   []byte // the last text
	raw    []byte // text that did not fit into buf
	limit  int    // of the text that is being read

	textLeft, markupLeft int

	hide func(string) string // takes secrets out of the server's words; nil = leaves them
}

func newScanner(r io.Reader) *scanner {
	s := &scanner{r: r, buf: make([]byte, maxTag)}
	s.reset()
	return s
}

// reset prepares for another document in the same stream.
func (s *scanner) reset() {
	s.depth, s.names, s.closed = 0, s.names[:0], false
	s.textLeft, s.markupLeft = maxText, maxMarkup
}

// protocol makes an error of what the server sent final.
func (s *scanner) protocol(format string, args ...any) error {
	return s.fail(&connection.Error{Kind: connection.ErrProtocol, Err: fmt.Errorf(format, args...)})
}

// fail makes an error final.
func (s *scanner) fail(err error) error {
	if s.err == nil {
		s.err = err
	}
	return s.err
}

// fill reads more behind what is not yet scanned; that moves to the front of buf.
func (s *scanner) fill() error {
	if s.err != nil {
		return s.err
	}
	if s.pos > 0 {
		s.end = copy(s.buf, s.buf[s.pos:s.end])
		s.pos = 0
	}
	if s.end == len(s.buf) {
		return s.protocol("tag of more than %d octets", maxTag)
	}
	for range 100 {
		n, err := s.r.Read(s.buf[s.end:])
		s.end += n
		switch {
		case n > 0:
			return nil // an error comes again with the next call
		case err == io.EOF: //nolint:errorlint // only a bare io.EOF is an end: what wraps it is a failure
			if s.depth == 0 {
				return s.fail(io.EOF)
			}
			return s.protocol("answer ends inside %s: %w", s.shown(), io.ErrUnexpectedEOF)
		case err != nil:
			return s.fail(err)
		}
	}
	return s.fail(io.ErrNoProgress)
}

// need makes n octets available, n being small. After an error there is nothing more.
func (s *scanner) need(n int) error {
	if s.err != nil {
		return s.err
	}
	for s.end-s.pos < n {
		if err := s.fill(); err != nil {
			return err
		}
	}
	return nil
}

// name returns the local name of the innermost open element.
func (s *scanner) name() []byte {
	if s.depth == 0 {
		return nil
	}
	full := s.names[s.marks[s.depth]:]
	return full[bytes.LastIndexByte(full, ':')+1:]
}

// shown returns the name of the innermost open element for an error.
func (s *scanner) shown() string { return excerpt(string(s.name())) }

// root opens the document's first element. io.EOF, bare, means that there is none.
func (s *scanner) root() error {
	for {
		if err := s.need(1); err != nil {
			return err
		}
		switch c := s.buf[s.pos]; {
		case c == '<':
			k, err := s.markup()
			if err != nil {
				return s.cut(err)
			}
			if k == startTag {
				return nil
			}
		case isSpace(c):
			s.pos++
			if err := s.count(&s.markupLeft, 1); err != nil {
				return err
			}
		default:
			if err := s.mark(); err != nil {
				return s.cut(err)
			}
		}
	}
}

// cut tells an end before the first element that is not an end between documents.
func (s *scanner) cut(err error) error {
	if err == io.EOF { //nolint:errorlint // fill returns it bare
		s.err = nil
		return s.protocol("answer ends before its first element: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// mark skips a byte order mark of UTF-8. Anything else before the first tag is not XML, or is UTF-16.
func (s *scanner) mark() error {
	if err := s.need(2); err != nil {
		return err
	}
	switch b := s.buf[s.pos:s.end]; {
	case b[0] == 0xff && b[1] == 0xfe, b[0] == 0xfe && b[1] == 0xff, b[0] == 0:
		return s.protocol("answer is in UTF-16")
	case b[0] != 0xef:
		return s.foreign("answer is not XML")
	}
	if err := s.need(3); err != nil {
		return err
	}
	if !bytes.HasPrefix(s.buf[s.pos:s.end], []byte("\xef\xbb\xbf")) {
		return s.foreign("answer is not XML")
	}
	s.pos += 3
	return s.count(&s.markupLeft, 3)
}

// foreign refuses what is no SOAP, and shows its beginning.
func (s *scanner) foreign(what string) error {
	for s.end-s.pos < 1024 && s.fill() == nil {
	}
	s.err = nil // an end is no news here
	shown := s.hidden(plain(s.buf[s.pos:min(s.end, s.pos+4096)]))
	return s.fail(&connection.Error{
		Kind: connection.ErrProtocol, Hint: "the URL answers with something else than EWS, such as a web page",
		Err: errors.New(what + ": " + shown),
	})
}

// child opens the next element below the one at depth d, and returns its local name, which is valid until more is scanned.
// What is open deeper is closed first, its rest skipped. At the end of the element at d it closes that, and returns nil.
func (s *scanner) child(d int) ([]byte, error) {
	for {
		deeper := s.depth > d
		k, err := s.token(nil)
		if err != nil {
			return nil, err
		}
		switch k {
		case startTag:
			if !deeper {
				return s.name(), nil
			}
		case endTag:
			if s.depth < d {
				return nil, nil
			}
		}
	}
}

// content returns the text of the innermost open element, and closes it. Elements within are skipped. The text has only
// characters that XML allows, and is valid until the next call; more than limit octets are an error.
func (s *scanner) content(limit int) ([]byte, error) {
	s.text, s.limit = s.text[:0], limit
	if cap(s.text)+cap(s.raw) > 2*maxLeaf {
		s.text, s.raw = nil, nil // a long one came by
	}
	d := s.depth
	for {
		into := &s.text
		if s.depth > d {
			into = nil
		}
		k, err := s.token(into)
		if err != nil {
			return nil, err
		}
		if k == endTag && s.depth < d {
			return s.text, nil
		}
	}
}

// skip closes the element at depth d.
func (s *scanner) skip(d int) error {
	for s.depth >= d {
		if _, err := s.token(nil); err != nil {
			return err
		}
	}
	return nil
}

// What token and markup find.
type kind int

const (
	startTag kind = iota
	endTag
	chars // text, or a CDATA section
	aside // a comment, a processing instruction
)

// token scans the next tag, aside or run of text inside the document. Text is added to into, unless that is nil.
func (s *scanner) token(into *[]byte) (kind, error) {
	if s.closed {
		s.closed = false
		s.pop()
		return endTag, nil
	}
	if err := s.need(1); err != nil {
		return 0, err
	}
	if s.buf[s.pos] != '<' {
		return chars, s.run('<', into, true)
	}
	k, err := s.markup()
	if err == nil && k == chars {
		err = s.cdata(into)
	}
	return k, err
}

// count takes n octets from what is left of a limit.
func (s *scanner) count(left *int, n int) error {
	if *left -= n; *left < 0 {
		return s.protocol("answer is too long at %s", s.shown())
	}
	return nil
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
