package smtpclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/mailconn/mailconn/connection"
)

// bufferSize is how much of a message is read, and written, at once.
const bufferSize = 128 << 10

// buffers are reused by all Conns: they hold nothing that outlives its use.
var buffers = sync.Pool{New: func() any { return make([]byte, bufferSize) }}

// A payload is a message that can be read again: what the caller gave, with the header section replaced if that is
// asked for. It is used by one goroutine at a time.
type payload struct {
	scan      scan     // of what is sent
	messageID string   // as it is sent
	notes     []string // what was not done as it was asked for

	head        []byte        // is sent in place of what stands before rest; nil if nothing is replaced
	body        io.ReadSeeker // what the caller gave, or the spool
	start, rest int64         // in body: where the message begins, and what is sent behind head
	spool       *connection.Spooled
}

// how says what is to be made of the caller's message.
type how struct {
	size   int64  // as announced; 0 if it was not
	id     string // replaces the Message-ID; "" leaves it
	resent *resending
}

// load reads the whole of body once, from where it stands. A body that cannot seek is spooled. The error of its reader is
// returned as it is. The payload is to be closed.
func load(ctx context.Context, body io.Reader, h how) (*payload, error) {
	p := &payload{}
	err := p.take(ctx, body, h)
	if err == nil && h.id != "" {
		err = p.replace(h)
	}
	if err == nil {
		err = p.examine(ctx)
	}
	if given := p.scan.size - int64(len(p.head)) + p.rest - p.start; err == nil && h.size > 0 && given != h.size {
		err = &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("the body has %d octets, and %d were announced", given, h.size)}
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// take makes body one that can be read again.
func (p *payload) take(ctx context.Context, body io.Reader, h how) error {
	if s, ok := body.(io.ReadSeeker); ok {
		if start, err := s.Seek(0, io.SeekCurrent); err == nil { // a pipe has the method and cannot
			p.body, p.start, p.rest = s, start, start
			return nil
		}
	}
	spool, err := connection.Spool(&connection.Message{Body: untilDone{ctx, body}, Size: h.size}, nil)
	if err != nil {
		return err
	}
	p.spool, p.body = spool, spool.Reader()
	return nil
}

// untilDone ends a reader with its context.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := u.r.Read(p)
	return n, ofBody(err)
}

// A bodyError is what the caller's reader says. It is no error of the connection's, whatever its kind.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "reading the body: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

func ofBody(err error) error {
	if err == nil || atEnd(err) {
		return err
	}
	return &bodyError{err}
}

// atEnd reports whether a reader has come to its end. An error that only wraps io.EOF is no end but a failure.
func atEnd(err error) bool {
	return err == io.EOF //nolint:errorlint // see above
}

// replace puts a new Message-ID into the header section.
func (p *payload) replace(h how) error {
	head, whole, err := readHeader(p.body)
	if err != nil {
		return err
	}
	end, ok := headerEnd(head, whole)
	switch {
	case !ok:
		p.notes = append(p.notes, fmt.Sprintf("the Message-ID is the old one: the header section is longer than %d octets", maxHeader))
	case bytes.IndexByte(head[:end], 0) >= 0:
		p.notes = append(p.notes, "the Message-ID is the old one: the header section holds NUL")
	default:
		p.head = replaceMessageID(head[:end], h.id, h.resent)
		p.rest += int64(end)
		p.messageID = h.id
	}
	return nil
}

// readHeader reads as far as the header section goes, and perhaps some more. whole says that there is no more.
func readHeader(r io.Reader) (head []byte, whole bool, err error) {
	for size := 4 << 10; ; size = min(4*size, maxHeader) {
		old := len(head)
		head = append(make([]byte, 0, size), head...)[:size]
		n, err := fill(r, head[old:])
		head = head[:old+n]
		if atEnd(err) {
			return head, true, nil
		}
		if _, ok := headerEnd(head, false); err != nil || ok || size == maxHeader {
			return head, false, err
		}
	}
}

// fill reads until p is full. Unlike io.ReadFull it tells the end of the message, which is io.EOF, from a reader that
// fails with io.ErrUnexpectedEOF.
func fill(r io.Reader, p []byte) (n int, err error) {
	for idle := 0; n < len(p) && err == nil; {
		var m int
		m, err = r.Read(p[n:])
		n += m
		if idle++; m > 0 {
			idle = 0
		} else if idle > 100 && err == nil {
			err = io.ErrNoProgress
		}
	}
	if n == len(p) && atEnd(err) {
		err = nil // the next call says so
	}
	return n, ofBody(err)
}

// examine scans what will be sent.
func (p *payload) examine(ctx context.Context) error {
	r, err := p.open()
	if err != nil {
		return err
	}
	look := func(octets []byte) {
		if p.scan.size == 0 && p.messageID == "" {
			end, _ := headerEnd(octets, true)
			p.messageID = messageID(octets[:end])
		}
		p.scan.write(octets)
	}
	if memory, ok := r.(*bytes.Reader); ok {
		err := inPlace(memory, func(octets []byte) error {
			for ; len(octets) > bufferSize; octets = octets[bufferSize:] {
				look(octets[:bufferSize])
			}
			look(octets)
			return nil
		})
		p.scan.end()
		return err
	}
	buf := buffers.Get().([]byte)
	defer buffers.Put(buf) //nolint:staticcheck // a slice header is little beside what it spares
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := fill(r, buf)
		look(buf[:n])
		if atEnd(err) {
			p.scan.end()
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// inPlace hands the octets of a body in memory to use, all at once and without a copy. It does not call use if there are
// none.
func inPlace(memory *bytes.Reader, use func(octets []byte) error) error {
	_, err := memory.WriteTo(writeFunc(use))
	return err
}

type writeFunc func([]byte) error

func (f writeFunc) Write(p []byte) (int, error) { return len(p), f(p) }

// open returns a reader at the first octet that is sent. It ends the use of any other one.
func (p *payload) open() (io.Reader, error) {
	if _, err := p.body.Seek(p.rest, io.SeekStart); err != nil {
		return nil, ofBody(err)
	}
	if p.head == nil {
		return p.body, nil
	}
	return io.MultiReader(bytes.NewReader(p.head), p.body), nil
}

func (p *payload) close() error {
	if p.spool == nil {
		return nil
	}
	return p.spool.Close()
}
