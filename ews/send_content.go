package ews

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

// An upload is a message that is sent to the server, from where the caller's reader stands to its end. It can be read
// again and again.
type upload struct {
	r     io.ReaderAt
	size  int64
	spool *connection.Spooled // nil: r is the caller's

	mu  sync.Mutex
	err error // of the caller's reader, while the request was sent
}

// A bodyError is what the caller's reader says. It is no error of the connection's, whatever its kind.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "reading the message: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// takeBody makes body ready to be sent. size is how many octets were announced, 0 if none were. A reader whose octets can
// be had at any place is read while the request is sent; any other is spooled.
func takeBody(ctx context.Context, body io.Reader, size int64) (*upload, error) {
	if size < 0 {
		return nil, &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("a size of %d octets", size)}
	}
	u, err := direct(body)
	if err != nil {
		return nil, err
	}
	if u == nil {
		if u, err = spooled(ctx, body, size); err != nil {
			return nil, err
		}
	}
	if size > 0 && u.size != size {
		return nil, errors.Join(wrongSize(size, u.size), u.close())
	}
	return u, nil
}

func wrongSize(announced, got int64) error {
	return &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("the message was said to have %d octets, and has %d", announced, got)}
}

// direct returns an upload of body itself, nil if body has to be spooled. Only types are taken that are known to give the
// same octets at any place as one after the other: what another type's ReadAt gives may come from below a filter.
func direct(body io.Reader) (*upload, error) {
	var r interface {
		io.ReaderAt
		io.Seeker
	}
	switch b := body.(type) {
	case *bytes.Reader:
		r = b
	case *strings.Reader:
		r = b
	case *io.SectionReader:
		r = b
	case *os.File:
		r = b
	default:
		return nil, nil
	}
	at, err := r.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, nil // a pipe
	}
	end, err := r.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, &bodyError{err}
	}
	return &upload{r: io.NewSectionReader(r, at, max(end-at, 0)), size: max(end-at, 0)}, nil
}

func spooled(ctx context.Context, body io.Reader, size int64) (*upload, error) {
	s, err := connection.Spool(&connection.Message{Body: &heedful{ctx, body}, Size: size}, &connection.SpoolOptions{Max: size})
	if connection.KindOf(err) == connection.ErrTooLarge && size > 0 {
		var own *bodyError
		if !errors.As(err, &own) {
			return nil, wrongSize(size, size+1)
		}
	}
	if err != nil {
		return nil, err
	}
	r, ok := s.Reader().(io.ReaderAt)
	if !ok {
		return nil, errors.Join(errors.New("a spooled message cannot be read at any place"), s.Close())
	}
	return &upload{r: r, size: s.Size, spool: s}, nil
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

// ReadAt reads the message, and keeps the reader's error: below HTTP it would look like one of the connection's.
func (u *upload) ReadAt(p []byte, at int64) (int, error) {
	n, err := u.r.ReadAt(p, at)
	if err != nil && (err != io.EOF || n < len(p) && at+int64(n) < u.size) { //nolint:errorlint // only the bare one is the end
		if err == io.EOF { //nolint:errorlint // as above
			err = io.ErrUnexpectedEOF
		}
		u.mu.Lock()
		u.err = &bodyError{err}
		u.mu.Unlock()
	}
	return n, err
}

// failure returns the error of the caller's reader, nil if it had none.
func (u *upload) failure() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// content returns what is uploaded: front, then the message from a place on.
func (u *upload) content(front []byte, from int64) soap.Content {
	return soap.Content{R: &joined{front: front, r: u, from: from}, Size: int64(len(front)) + u.size - from}
}

func (u *upload) close() error {
	if u.spool == nil {
		return nil
	}
	return u.spool.Close()
}

// joined is some octets, and behind them another reader's from a place on.
type joined struct {
	front []byte
	r     io.ReaderAt
	from  int64
}

// ReadAt implements io.ReaderAt.
func (j *joined) ReadAt(p []byte, at int64) (n int, err error) {
	if at < int64(len(j.front)) {
		n = copy(p, j.front[at:])
		if n == len(p) {
			return n, nil
		}
		at = int64(len(j.front))
	}
	m, err := j.r.ReadAt(p[n:], at-int64(len(j.front))+j.from)
	return n + m, err
}
