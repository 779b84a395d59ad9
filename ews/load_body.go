package ews

import (
	"bytes"
	"errors"
	"io"

	"github.com/mailconn/mailconn/connection"
)

// A content is a Message.Body: octets in memory, and behind them, if there are more, those that still come from the
// server. It ends in io.EOF only if the server's answer about the message was read to its end.
type content struct {
	l      *loader
	ref    connection.Ref
	head   bytes.Reader
	rest   io.Reader // nil = head is all
	read   int64     // octets so far
	err    error     // that ended it
	closed bool
}

func newContent(l *loader, ref connection.Ref, head []byte, rest io.Reader) *content {
	b := &content{l: l, ref: ref, rest: rest}
	b.head.Reset(head)
	return b
}

var errStep = errors.New("the body was read after its loop step")

// Read implements io.Reader.
func (b *content) Read(p []byte) (int, error) {
	switch {
	case b.closed:
		return 0, b.l.conn.problem(b.l.o.op, b.ref, connection.ErrInvalid, "%w", errStep)
	case b.err != nil:
		return 0, b.err
	case b.l.ctx.Err() != nil:
		b.err = b.l.conn.ended(b.l.ctx, b.l.o.op, b.ref)
		return 0, b.err
	case len(p) == 0:
		return 0, nil
	case b.head.Len() > 0:
		n, err := b.head.Read(p)
		b.read += int64(n)
		return n, err
	case b.rest == nil:
		b.err = io.EOF
		return 0, io.EOF
	}
	n, err := b.rest.Read(p)
	b.read += int64(n)
	switch {
	case err == nil:
	case err == io.EOF: //nolint:errorlint // only a bare io.EOF is an end
		b.err = io.EOF
	case b.l.ctx.Err() != nil:
		b.err = b.l.conn.ended(b.l.ctx, b.l.o.op, b.ref)
	default:
		e := b.l.conn.fail(b.l.o.op, b.l.t, b.ref, err)
		e.Settled = b.l.o.settled
		b.err = e
	}
	return n, b.err
}

// ended reports whether all of it was read.
func (b *content) ended() bool {
	return b.err == io.EOF || b.rest == nil && b.head.Len() == 0 //nolint:errorlint // as above
}

// close ends the loop step.
func (b *content) close() { b.closed = true }

// readHead reads what fits into memory: err is io.EOF if that is all, nil if there is more.
func readHead(r io.Reader) ([]byte, error) {
	buf := make([]byte, 0, 4<<10)
	for len(buf) <= smallBody {
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(4*cap(buf), smallBody+1))
			copy(grown, buf)
			buf = grown
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err != nil {
			return buf, err
		}
	}
	return buf, nil
}
