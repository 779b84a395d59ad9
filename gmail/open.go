package gmail

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
	"github.com/mailconn/mailconn/gmail/internal/raw"
)

var (
	_ connection.Syncer  = (*Conn)(nil)
	_ connection.Fetcher = (*Conn)(nil)
	_ connection.Opener  = (*Conn)(nil)
)

var errBodyClosed = errors.New("the body was closed")

// Open implements [connection.Opener]. The whole message is read before Open returns. With monitors it is unwrapped as by
// Fetch.
func (c *Conn) Open(ctx context.Context, ref connection.Ref) (*connection.Message, error) {
	const op = "open"
	if ref.ID == "" {
		return nil, c.problem(op, ref, connection.ErrInvalid, "the Ref has no ID")
	}
	inner, leave, err := c.enter(ctx, op)
	if err != nil {
		return nil, err
	}
	m, body, err := c.open(inner, ref)
	if err != nil {
		if inner.Err() != nil {
			err = c.ended(inner, op, ref)
		}
		leave()
		return nil, c.fail(op, ref, err)
	}
	body.leave = leave
	body.unhook = context.AfterFunc(inner, func() { body.release(c.ended(inner, op, ref)) })
	return m, nil
}

// open reads the message of ref.
func (c *Conn) open(ctx context.Context, ref connection.Ref) (*connection.Message, *openBody, error) {
	b, err := c.box(ctx, c.mailboxOr(ref.Mailbox))
	if err != nil {
		return nil, nil, err
	}
	m, err := c.load(ctx, b, ref.ID, quota.Other)
	if err != nil {
		return nil, nil, err
	}
	set, err := c.labels(ctx, b, m.Labels...)
	if err != nil {
		got{msg: m}.close()
		return nil, nil, err
	}
	msg := c.handOver(b, m, ref.ID, set)
	if err := c.unwrap(b, m, msg); err != nil {
		got{msg: m}.close()
		return nil, nil, err
	}
	body := &openBody{raw: m, r: msg.Body}
	msg.Ref, msg.Body = ref, body
	return msg, body, nil
}

// An openBody is the Body of Open. It gives its memory or its file back when it is closed, or when its ctx is done.
type openBody struct {
	unhook func() bool
	leave  func()

	mu  sync.Mutex // held by whoever uses the others
	r   io.Reader
	raw *raw.Message // nil once it is released
	err error        // of reads after that
}

// Read implements io.Reader.
func (b *openBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.raw == nil {
		return 0, b.err
	}
	return b.r.Read(p)
}

// Close implements io.Closer.
func (b *openBody) Close() error {
	b.unhook()
	b.release(&connection.Error{Op: "open", Driver: DriverName, Kind: connection.ErrClosed, Err: errBodyClosed})
	return nil
}

// release gives back what the message takes; later reads fail with err.
func (b *openBody) release(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.raw == nil {
		return
	}
	got{msg: b.raw}.close()
	b.raw, b.r, b.err = nil, nil, err
	b.leave()
}
