package maildir

import (
	"context"
	"errors"
	"io"

	"github.com/mailconn/mailconn/connection"
)

// Open implements [connection.Opener]: the message of ref, wherever in its folder it is now.
func (c *Conn) Open(ctx context.Context, ref connection.Ref) (*connection.Message, error) {
	bodyCtx, done, err := c.begin(ctx)
	if err != nil {
		return nil, c.fail("open", ref, err)
	}
	m, err := c.open(bodyCtx, done, ref)
	if err != nil {
		done()
		return nil, c.fail("open", ref, err)
	}
	return m, nil
}

func (c *Conn) open(ctx context.Context, done func(), ref connection.Ref) (*connection.Message, error) {
	gone := &connection.Error{Kind: connection.ErrNotFound, Ref: ref, Err: errors.New("no such message")}
	for t, err := range c.trees(ctx, ref.Mailbox) {
		if err != nil {
			return nil, err
		}
		fo, err := c.folder(t, ref.Folder)
		if err != nil {
			return nil, err
		}
		f, err := c.newFinder(t, fo)
		if err != nil {
			return nil, err
		}
		it, err := f.load(ctx, ref)
		f.close()
		switch {
		case err != nil:
			return nil, err
		case it == nil:
			return nil, gone
		}
		it.msg.Body = &openBody{body: &it.msg.body, it: it, done: done}
		return &it.msg.Message, nil
	}
	return nil, gone
}

// load finds and opens the message of ref; nil if it is not there.
func (f *finder) load(ctx context.Context, ref connection.Ref) (*item, error) {
	l := &loader{c: f.c, ctx: ctx, op: "open", mailbox: f.mailbox, folder: f.folder.name, keywords: readKeywords(f.t.root, f.folder.dir)}
	for range maxRescans {
		found, bad, err := f.find(ctx, []string{ref.ID})
		if err != nil {
			return nil, err
		}
		if bad[ref.ID] != nil {
			return nil, bad[ref.ID]
		}
		at, ok := found[ref.ID]
		if !ok {
			return nil, nil
		}
		unique, info := splitName(at.name)
		it := &item{job: job{d: at.d, name: at.name, unique: unique, info: info}}
		l.load(it)
		switch it.outcome {
		case loaded:
			it.msg.Ref.ID, it.msg.body.ref.ID = ref.ID, ref.ID
			return it, nil
		case failed:
			it.release()
			return nil, it.err
		case vanished, passed, strange:
			it.release()
		}
	}
	return nil, nil
}

// openBody is the Body of a message of Open.
type openBody struct {
	*body
	it   *item
	done func()
}

var _ io.ReadCloser = (*openBody)(nil)

// Close releases the file. A second Close does nothing.
func (b *openBody) Close() error {
	if b.it != nil {
		b.it.release()
		b.it = nil
		b.done()
	}
	return nil
}
