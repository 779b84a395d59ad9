package journal

import (
	"bufio"
	"bytes"
	"io"
	"slices"
	"strings"
)

const (
	bufferSize    = 32 << 10
	maxPartHeader = 64 << 10
	maxDepth      = 8 // multiparts within each other; reports have two at most
)

// A walker goes through the parts of a report, from one line to the next. Lines are never repaired: what is between two
// delimiters comes out as it is.
type walker struct {
	src  *bufio.Reader
	open []multipart  // the multiparts that have not ended, outermost first
	text func(string) // told of each text in front of the first message; nil = texts are passed over

	line      []byte // the piece of a line that was read last, with the line end before it
	held      []byte // line end that belongs to the next delimiter, if one follows
	fresh     bool   // the next octet begins a line
	delimited bool   // a delimiter was read; the fields below tell which
	level     int    // index in open
	closing   bool

	next *header // of the further message that was found
}

type multipart struct {
	boundary string
	digest   bool
}

func newWalker(r io.Reader) *walker {
	return &walker{src: bufio.NewReaderSize(r, bufferSize), fresh: true}
}

// first goes to the first message. A bare io.EOF means that the report has none.
func (w *walker) first(head *header) (*body, error) {
	if !head.multipart() {
		return nil, unsupported("the report is %s, not a multipart with the message attached", head.mediaType)
	}
	if err := w.enter(head); err != nil {
		return nil, err
	}
	head, err := w.message()
	if err != nil {
		return nil, err
	}
	return w.body(head)
}

// pending returns the message that was found behind the last one.
func (w *walker) pending() (*body, error) {
	head := w.next
	w.next = nil
	return w.body(head)
}

// message goes to the next part that is a message and returns its header; a bare io.EOF after the whole report.
func (w *walker) message() (*header, error) {
	for {
		if err := w.skip(); err != nil {
			return nil, err
		}
		if w.closing {
			w.open = w.open[:w.level]
			w.delimited = false
			if w.level == 0 {
				// What follows the last delimiter is no part of the report, but it must be there.
				_, err := io.Copy(io.Discard, w.src)
				if err == nil {
					err = io.EOF
				}
				return nil, err
			}
			continue
		}
		parent := w.open[w.level]
		w.open = w.open[:w.level+1]
		w.delimited = false
		head, err := w.header(maxPartHeader)
		if err != nil {
			return nil, err
		}
		if head.mediaType == "" && parent.digest {
			head.mediaType = "message/rfc822" // RFC 2046, 5.1.5
		}
		switch {
		case head.message():
			return head, nil
		case head.multipart():
			err = w.enter(head)
		case head.mediaType == "" || strings.HasPrefix(head.mediaType, "text/"):
			err = w.readText(head)
		default:
			err = unsupported("a part of type %s is attached to the report", head.mediaType)
		}
		if err != nil {
			return nil, err
		}
	}
}

func (w *walker) enter(head *header) error {
	boundary := head.boundary
	switch {
	case boundary == "":
		return corrupt("a multipart has no boundary")
	case len(boundary) > 256: // RFC 2046, 5.1.1 permits 70
		return corrupt("a boundary has %d characters", len(boundary))
	case len(w.open) == maxDepth:
		return corrupt("over %d multiparts within each other", maxDepth)
	}
	w.open = append(w.open, multipart{boundary: boundary, digest: head.mediaType == "multipart/digest"})
	return nil
}

// skip reads to the next delimiter.
func (w *walker) skip() error {
	for !w.delimited {
		if _, err := w.piece(); err != nil {
			return err
		}
	}
	w.held = w.held[:0]
	return nil
}

// piece returns the next piece of the current part, valid until the next call. It returns nil and sets delimited at a
// delimiter. The end of the source is ErrCorrupt, since a delimiter is missing.
func (w *walker) piece() ([]byte, error) {
	for !w.delimited {
		line, err := w.src.ReadSlice('\n')
		switch {
		case err == bufio.ErrBufferFull, err == nil: //nolint:errorlint // ReadSlice's own, never wrapped
		case err == io.EOF: //nolint:errorlint // only the bare one is the end
			if w.delimiter(line) {
				break
			}
			return nil, corrupt("the report ends without its last delimiter")
		default:
			return nil, err
		}
		if w.delimiter(line) {
			w.fresh = true
			break
		}
		w.line = append(append(w.line[:0], w.held...), line...)
		end := lineEnd(w.line)
		w.held = append(w.held[:0], w.line[end:]...)
		w.fresh = err == nil
		if end > 0 {
			return w.line[:end], nil
		}
	}
	return nil, nil
}

// lineEnd returns where the line end at the end of b begins. A CR alone counts, since its LF may come with the next piece.
func lineEnd(b []byte) int {
	end := len(b)
	if end > 0 && b[end-1] == '\n' {
		end--
	}
	if end > 0 && b[end-1] == '\r' {
		end--
	}
	return end
}

// delimiter reports whether line is a delimiter of one of the open multiparts, and remembers which.
func (w *walker) delimiter(line []byte) bool {
	if !w.fresh || !bytes.HasPrefix(line, []byte("--")) {
		return false
	}
	// RFC 2046, 5.1.1: white space may follow it.
	rest := string(bytes.TrimRight(line[2:], " \t\r\n"))
	for i, m := range slices.Backward(w.open) {
		tail, ok := strings.CutPrefix(rest, m.boundary)
		if ok && (tail == "" || tail == "--") {
			w.delimited, w.level, w.closing = true, i, tail == "--"
			return true
		}
	}
	return false
}

// readText reads a text part to its end, for w.text if there is somebody to hear it.
func (w *walker) readText(head *header) error {
	if w.text == nil {
		return w.skip()
	}
	part := &part{w: w}
	raw, err := io.ReadAll(head.decode(part, nil)) // the tape bounds it
	if err != nil {
		return encodingError(part, err)
	}
	w.text(head.utf8(raw))
	return w.skip()
}

// A part reads the current part up to its delimiter.
type part struct {
	w    *walker
	rest []byte
	err  error // what the source failed with
}

func (p *part) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		if p.err != nil {
			return 0, p.err
		}
		p.rest, p.err = p.w.piece()
		if p.err != nil {
			return 0, p.err
		}
		if len(p.rest) == 0 {
			return 0, io.EOF
		}
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// A body reads an attached message, and behind it looks for what else the report holds.
type body struct {
	w    *walker
	raw  *part
	r    io.Reader // raw, decoded
	n    int64
	done error
}

func (w *walker) body(head *header) (*body, error) {
	// An encoding is told from its absence by the first octets, since RFC 2046, 5.2.1 permits none here.
	ahead, err := w.src.Peek(256)
	if err != nil && err != io.EOF { //nolint:errorlint // only the bare one is the end
		return nil, err
	}
	raw := &part{w: w}
	return &body{w: w, raw: raw, r: head.decode(raw, ahead)}, nil
}

func (b *body) Read(p []byte) (int, error) {
	if b.done != nil {
		return 0, b.done
	}
	n, err := b.r.Read(p)
	b.n += int64(n)
	switch {
	case err == nil:
	case err == io.EOF: //nolint:errorlint // only the bare one is the end
		b.done = b.finish()
	default:
		b.done = encodingError(b.raw, err)
	}
	return n, b.done
}

// finish returns the error in which Body ends after its last octet.
func (b *body) finish() error {
	if b.n == 0 {
		return corrupt("the attached message is empty")
	}
	next, err := b.w.message()
	if err != nil {
		return err
	}
	b.w.next = next
	return more()
}

// encodingError tells an error of the source from one of the transfer encoding.
func encodingError(p *part, err error) error {
	if p.err != nil {
		return p.err
	}
	return corrupt("a transfer encoding is broken: %w", err)
}
