package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/mailconn/mailconn/connection"
)

// The beginning of each message is read ahead, most messages whole, into buffers of one of two sizes.
const (
	smallBuffer = 8 << 10
	largeBuffer = 64 << 10
)

var (
	smallBuffers = sync.Pool{New: func() any { b := make([]byte, smallBuffer); return &b }}
	largeBuffers = sync.Pool{New: func() any { b := make([]byte, largeBuffer); return &b }}
)

func getBuffer(size int64) *[]byte {
	if size <= smallBuffer {
		return smallBuffers.Get().(*[]byte)
	}
	return largeBuffers.Get().(*[]byte)
}

func putBuffer(b *[]byte) {
	if cap(*b) == smallBuffer {
		smallBuffers.Put(b)
	} else {
		largeBuffers.Put(b)
	}
}

// A body is the octets of one message: what was read ahead, then the rest of the file. The size at the time of opening
// is the contract: what is appended later is not read, and a file that became shorter is ErrChanged.
type body struct {
	c    *Conn
	ctx  context.Context
	op   string
	ref  connection.Ref
	head []byte  // read ahead, not yet consumed
	rest int64   // octets still in the file
	file *handle // nil if the file was read to its end
	err  error   // sticky
	over bool    // the time to read it has ended
}

var (
	errShrank   = errors.New("the file became shorter while it was read")
	errBodyOver = errors.New("the message's body was read after its loop step, or after Close")
)

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	switch {
	case b.err != nil:
		return 0, b.err
	case b.over:
		return 0, b.fail(&connection.Error{Kind: connection.ErrClosed, Err: errBodyOver})
	case len(p) == 0:
		return 0, nil
	case ended(b.ctx) != nil:
		return 0, b.fail(ended(b.ctx))
	case len(b.head) > 0:
		n := copy(p, b.head)
		b.head = b.head[n:]
		return n, nil
	case b.rest == 0:
		return 0, io.EOF
	}
	n, err := b.file.read(p[:min(int64(len(p)), b.rest)])
	b.rest -= int64(n)
	switch {
	case err != nil:
		return n, b.fail(err)
	case n == 0:
		return 0, b.fail(b.shrank())
	}
	return n, nil
}

// WriteTo implements [io.WriterTo]: a message that was read ahead is written with one call.
func (b *body) WriteTo(w io.Writer) (int64, error) {
	var total int64
	if b.err == nil && len(b.head) > 0 && ended(b.ctx) == nil {
		n, err := w.Write(b.head)
		b.head = b.head[n:]
		total = int64(n)
		if err != nil {
			return total, err
		}
	}
	if b.err == nil && !b.over && b.rest == 0 && len(b.head) == 0 && ended(b.ctx) == nil {
		return total, nil
	}
	buf := getBuffer(largeBuffer)
	defer putBuffer(buf)
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{b}, *buf)
	return total + n, err
}

func (b *body) shrank() error {
	return &connection.Error{Kind: connection.ErrChanged, Err: fmt.Errorf("%w: %d octets are missing", errShrank, b.rest)}
}

func (b *body) fail(err error) error {
	b.err = b.c.fail(b.op, b.ref, err)
	return b.err
}

// finish ends the time in which the body may be read.
func (b *body) finish() {
	b.head, b.over = nil, true
}

// A delivered is a message with its body, in one allocation.
type delivered struct {
	connection.Message
	body body
}
