package pop3client

import (
	"context"

	"github.com/mailconn/mailconn/connection"
)

// Open implements [connection.Opener]. The message is read whole before Open returns, small ones into memory, larger
// ones into a temporary file that lasts until Body is closed. A message that is gone, or that Delete has accepted, is
// ErrNotFound.
func (c *Conn) Open(ctx context.Context, ref connection.Ref) (*connection.Message, error) {
	const op = "open"
	if !c.owns(ref) {
		return nil, c.problem(op, ref, connection.ErrInvalid, "this is no Ref of a POP3 message of this connection")
	}
	for _, reuse := range []bool{true, false} { // a session that is there may be older than the message
		m, held, err := c.readOne(ctx, ref, reuse)
		switch {
		case held != nil && ctx.Err() != nil:
			held.end()
			return nil, c.ended(ctx, op, ref)
		case m != nil || err != nil:
			return m, err
		}
	}
	return nil, c.problem(op, ref, connection.ErrNotFound, "the server has no such message")
}

// readOne fetches the message of ref. Without an error it is nil if the session does not list it.
func (c *Conn) readOne(ctx context.Context, ref connection.Ref, reuse bool) (*connection.Message, *body, error) {
	f, err := c.newFetch(ctx, "open", connection.FetchOptions{Limit: 1, Skip: func(r connection.Ref) bool { return r.ID != ref.ID }})
	if err != nil {
		return nil, nil, c.fault("open", ref, err)
	}
	f.reuse = reuse
	go f.run()
	defer f.stop()
	it, ok := f.next()
	switch {
	case ok && it.err == nil:
		f.last = item{} // the caller ends it
		return it.msg, it.body, nil
	case ok:
		return nil, nil, c.fault("open", ref, it.err)
	case f.err != nil:
		return nil, nil, c.fault("open", ref, f.err)
	}
	return nil, nil, nil
}
