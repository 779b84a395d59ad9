package ews

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

// Open implements [connection.Opener]. The octets need not be those of the last time: Exchange makes them anew. The
// message's Folder is empty, as the Ref does not tell it.
func (c *Conn) Open(ctx context.Context, ref connection.Ref) (*connection.Message, error) {
	const op = "open"
	if ref.ID == "" {
		return nil, c.problem(op, ref, connection.ErrInvalid, "the Ref has no ID")
	}
	inner, leave, err := c.enter(ctx, op)
	if err != nil {
		return nil, err
	}
	t, err := c.target(ref.Mailbox)
	if err != nil {
		leave()
		return nil, c.fail(op, target{}, ref, err)
	}
	next, stop := iter.Pull2(c.load(inner, t, []soap.ItemID{{ID: ref.ID}}, loadOptions{op: op, folder: ref.Folder, foreign: true}))
	l, err, ok := next()
	switch {
	case !ok:
		err = c.problem(op, ref, connection.ErrNotFound, "the message is gone")
	case err != nil:
		var e *connection.Error
		if !errors.As(err, &e) || e.Ref.ID == "" {
			err = c.fail(op, target{}, ref, err)
		}
	}
	if err != nil {
		stop()
		leave()
		return nil, err
	}
	b := &openBody{body: l.msg.Body, stop: func() {
		stop()
		leave()
	}}
	b.unhook = context.AfterFunc(inner, b.release)
	m := *l.msg
	m.Ref, m.Body = ref, b
	return &m, nil
}

// An openBody is the Body of Open. It gives its connection back when it is closed, or when its ctx is done.
type openBody struct {
	unhook func() bool
	once   sync.Once
	mu     sync.Mutex // held by whoever uses body
	body   io.Reader
	stop   func()
}

// Read implements io.Reader.
func (b *openBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.body.Read(p)
}

// Close implements io.Closer.
func (b *openBody) Close() error {
	b.unhook()
	b.release()
	return nil
}

func (b *openBody) release() {
	b.once.Do(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.stop()
	})
}
