package gmail

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/mailconn/mailconn/connection"
)

// An upload is a message on its way to the server. It can be read again and again. Append and Send close it.
type upload struct {
	spool *connection.Spooled
	size  int64  // octets of the message
	front []byte // is sent instead of the first octets of the message
	from  int64  // how many those are

	whole atomic.Bool // the newest attempt has handed over the last octet
	err   atomic.Pointer[error]
}

// A bodyError is what the caller's reader says. It is no error of the connection's, whatever its kind.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "reading the message: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// takeBody reads body to its end. size is how many octets were announced, 0 if none were; more than most are ErrTooLarge,
// without being read where they were announced.
func (c *Conn) takeBody(ctx context.Context, body io.Reader, size, most int64) (*upload, error) {
	invalid := func(format string, args ...any) error {
		return &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf(format, args...)}
	}
	switch {
	case body == nil:
		return nil, invalid("no message given")
	case size < 0:
		return nil, invalid("a size of %d octets", size)
	case size > most:
		return nil, tooLarge(most)
	}
	limit := most
	if size > 0 {
		limit = size
	}
	s, err := connection.Spool(&connection.Message{Body: &heedful{ctx, body}, Size: size}, &connection.SpoolOptions{Memory: c.cfg.spoolMemory(), Max: limit})
	var own *bodyError
	switch {
	case errors.As(err, &own):
		return nil, own
	case ctx.Err() != nil:
		if err == nil {
			err = s.Close()
		}
		return nil, errors.Join(ctx.Err(), err)
	case connection.KindOf(err) == connection.ErrTooLarge && size > 0:
		return nil, invalid("the message was said to have %d octets, and has more", size)
	case connection.KindOf(err) == connection.ErrTooLarge:
		return nil, tooLarge(most)
	case err != nil:
		return nil, err
	case s.Size == 0:
		return nil, errors.Join(invalid("a message without any octet"), s.Close())
	case size > 0 && s.Size != size:
		return nil, errors.Join(invalid("the message was said to have %d octets, and has %d", size, s.Size), s.Close())
	}
	return &upload{spool: s, size: s.Size}, nil
}

func tooLarge(most int64) error {
	return &connection.Error{Kind: connection.ErrTooLarge, Err: fmt.Errorf("gmail takes messages of at most %d octets here", most)}
}

// heedful ends the caller's reader with ctx, between two reads, and marks its errors.
type heedful struct {
	ctx context.Context
	r   io.Reader
}

func (h *heedful) Read(p []byte) (int, error) {
	if err := h.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := h.r.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // only the bare one is the end
		err = &bodyError{err}
	}
	return n, err
}

// close gives up the copy.
func (u *upload) close() error { return u.spool.Close() }

// length is how many octets reader gives.
func (u *upload) length() int64 { return int64(len(u.front)) + u.size - u.from }

// reader begins an attempt to send the message.
func (u *upload) reader() io.Reader {
	u.whole.Store(false)
	return &outgoing{u: u, front: u.front, rest: u.spool.Reader()}
}

// failure returns what came instead of the message's octets while it was sent, nil if they came.
func (u *upload) failure() error {
	if err := u.err.Load(); err != nil {
		return *err
	}
	return nil
}

// outgoing is what is sent of an upload.
type outgoing struct {
	u     *upload
	front []byte
	rest  io.ReadSeeker
	begun bool
	sent  int64
}

func (o *outgoing) Read(p []byte) (n int, err error) {
	switch {
	case len(o.front) > 0:
		n = copy(p, o.front)
		o.front = o.front[n:]
	default:
		n, err = o.body(p)
	}
	if o.sent += int64(n); o.sent == o.u.length() {
		o.u.whole.Store(true)
	}
	return n, err
}

func (o *outgoing) body(p []byte) (n int, err error) {
	if !o.begun {
		o.begun = true
		_, err = o.rest.Seek(o.u.from, io.SeekStart)
	}
	if err == nil {
		n, err = o.rest.Read(p)
	}
	if err != nil && err != io.EOF { //nolint:errorlint // only the bare one is the end
		o.u.err.Store(&err)
	}
	return n, err
}

// encoded gives another reader's octets in base64url (RFC 4648, 5), as the API's "raw" has them.
type encoded struct {
	r    io.Reader
	in   [3 << 10]byte
	out  [4 << 10]byte
	left []byte // of out
	err  error
}

// encodedLen is how many octets n become.
func encodedLen(n int64) int64 { return (n + 2) / 3 * 4 }

func (e *encoded) Read(p []byte) (int, error) {
	for len(e.left) == 0 {
		if e.err != nil {
			return 0, e.err
		}
		n, err := io.ReadFull(e.r, e.in[:])
		if err == io.ErrUnexpectedEOF { //nolint:errorlint // ReadFull's own, at the end
			err = io.EOF
		}
		e.err = err
		base64.URLEncoding.Encode(e.out[:], e.in[:n])
		e.left = e.out[:base64.URLEncoding.EncodedLen(n)]
	}
	n := copy(p, e.left)
	e.left = e.left[n:]
	return n, nil
}
