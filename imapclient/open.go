package imapclient

import (
	"context"
	"errors"

	"github.com/mailconn/mailconn/connection"
)

// Open implements [connection.Opener]. Its Body holds a session until it is closed. A message that is gone is
// ErrNotFound, a Ref of an earlier life of its folder ErrStale. Nothing is changed at the server.
func (c *Conn) Open(ctx context.Context, ref connection.Ref) (*connection.Message, error) {
	const op = "open"
	validity, uid, ok := parseID(ref.ID)
	if !ok || validFolder(ref.Folder) != nil {
		return nil, c.problem(op, ref, connection.ErrInvalid, "this is no Ref of an IMAP message of this connection")
	}
	c, err := c.at(op, ref.Mailbox)
	if err != nil {
		return nil, c.fault(op, ref, err)
	}
	f, err := c.newFetch(ctx, op, connection.FetchOptions{Folders: []string{ref.Folder}})
	if err != nil {
		return nil, err
	}
	f.places[ref.Folder] = &place{validity: validity}
	go f.run(func() error { return f.deliver(ref.Folder, []uint32{uid}) })
	it, ok := f.next()
	if ok && it.err == nil {
		m := *it.msg
		m.Body = &opened{octets: it.body, f: f}
		return &m, nil
	}
	f.stop()
	switch {
	case ok:
		return nil, it.err
	case errors.Is(f.err, errRenumbered):
		return nil, c.problem(op, ref, connection.ErrStale, "%w", f.err)
	case f.err != nil:
		return nil, c.fault(op, ref, f.err)
	}
	return nil, c.problem(op, ref, connection.ErrNotFound, "the server has no such message")
}

// opened is the Body of a message that the caller closes.
type opened struct {
	octets
	f *fetch
}

// Close ends the body and everything behind it.
func (o *opened) Close() error {
	o.f.stop()
	return nil
}
