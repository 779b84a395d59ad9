package imapclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/wirelog"
)

var errClosed = errors.New("the connection was closed")

// fault returns err as the verb's own *Error. What a lower layer has classified keeps its kind, code, hint and wait.
func (c *Conn) fault(op string, ref connection.Ref, err error) *connection.Error {
	e := &connection.Error{Op: op, Driver: DriverName, Endpoint: c.info.Endpoint, Ref: ref}
	var inner *connection.Error
	if !errors.As(err, &inner) {
		e.Kind, e.Err = connection.KindOf(err), err
		return e
	}
	e.Kind, e.Code, e.RetryAfter, e.Hint, e.Err = inner.Kind, inner.Code, inner.RetryAfter, inner.Hint, inner.Err
	if ref.IsZero() {
		e.Ref = inner.Ref
	}
	return e
}

// problem returns an *Error of one kind with a text of our own.
func (c *Conn) problem(op string, ref connection.Ref, kind connection.Kind, format string, args ...any) *connection.Error {
	return &connection.Error{Op: op, Driver: DriverName, Endpoint: c.info.Endpoint, Ref: ref, Kind: kind, Err: fmt.Errorf(format, args...)}
}

// ended returns the error of a verb whose ctx is done: ErrClosed if Close did it, else one with ctx.Err() in its chain.
func (c *Conn) ended(ctx context.Context, op string, ref connection.Ref) *connection.Error {
	e := &connection.Error{Op: op, Driver: DriverName, Endpoint: c.info.Endpoint, Ref: ref, Kind: connection.ErrClosed, Err: errClosed}
	if !errors.Is(context.Cause(ctx), errClosed) {
		e.Kind, e.Err = connection.KindOf(ctx.Err()), ctx.Err()
	}
	return e
}

// commandError explains why a command failed. What the guard saw comes first, since the library above it keeps only
// texts; then the server's own words; then the library's.
func (s *session) commandError(ctx context.Context, op string, err error) error {
	var reply *goimap.Error
	switch {
	case ctx.Err() != nil:
		return s.conn.ended(ctx, op, connection.Ref{})
	case s.guard.Err() != nil:
		return s.conn.fault(op, connection.Ref{}, s.guard.Err())
	case errors.As(err, &reply):
		n := note{Type: string(reply.Type), Code: string(reply.Code), Text: reply.Text}
		kind, after := n.kind()
		e := s.conn.problem(op, connection.Ref{}, kind, "the server says %s %s", reply.Type, textOr(s.guard.l.clean(reply.Text), "without a text"))
		e.Code, e.RetryAfter = wirelog.Clip(s.guard.l.clean(string(reply.Code))), after
		return e
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe):
		return s.conn.problem(op, connection.Ref{}, connection.ErrNetwork, "the connection was closed: %w", io.ErrUnexpectedEOF)
	}
	return s.conn.problem(op, connection.Ref{}, connection.ErrProtocol, "what the server sent is not understood: %s", s.guard.l.clean(err.Error()))
}

func textOr(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
