package imapclient

import (
	"context"

	"github.com/mailconn/mailconn/connection"
)

// fetchAll is Fetch over all of Config.Mailboxes: one after the other, or with Follow all at once, each with a session
// of its own. An error that ends one mailbox is told with its name in Ref.Mailbox, and the others go on; with Follow the
// mailbox is left alone from then on.
func (c *Conn) fetchAll(ctx context.Context, o connection.FetchOptions, yield func(*connection.Message, error) bool) {
	if o.Follow {
		c.followAll(ctx, o, yield)
		return
	}
	left := o.Limit
	for _, name := range c.cfg.Mailboxes {
		o.Mailbox, o.Limit = name, left
		for m, err := range c.Fetch(ctx, &o) {
			if err == nil {
				left--
			}
			last := err != nil && c.ending(ctx, err)
			if !yield(m, c.ofMailbox(ctx, name, err)) || last {
				return
			}
		}
		if o.Limit > 0 && left == 0 {
			return
		}
	}
}

// ending reports whether err ends the whole: the caller's ctx, or Close.
func (c *Conn) ending(ctx context.Context, err error) bool {
	return ctx.Err() != nil || connection.KindOf(err) == connection.ErrClosed
}

// ofMailbox puts the mailbox into an error that is not one message's, unless it ends the whole.
func (c *Conn) ofMailbox(ctx context.Context, name string, err error) error {
	if err == nil || c.ending(ctx, err) {
		return err
	}
	e := c.fault("fetch", connection.Ref{}, err)
	e.Ref.Mailbox = name
	return e
}

// A handed is one loop step of one mailbox, on its way to the caller of followAll.
type handed struct {
	msg  *connection.Message
	err  error
	ask  func() // to be run by the caller instead
	done chan struct{}
}

// followAll gives each mailbox a goroutine that runs its Fetch and hands over each step, and waits until the caller is
// through with it.
func (c *Conn) followAll(ctx context.Context, o connection.FetchOptions, yield func(*connection.Message, error) bool) {
	inner, cancel := context.WithCancel(ctx)
	steps := make(chan handed)
	ended := make(chan bool) // whether Close did it
	hand := func(h handed) bool {
		h.done = make(chan struct{})
		select {
		case steps <- h:
			<-h.done
			return inner.Err() == nil
		case <-inner.Done():
			return false
		}
	}
	for _, name := range c.cfg.Mailboxes {
		one := o
		one.Mailbox = name
		if o.Skip != nil {
			one.Skip = func(ref connection.Ref) (skip bool) {
				return !hand(handed{ask: func() { skip = o.Skip(ref) }}) || skip
			}
		}
		go func() {
			closed := false
			for m, err := range c.Fetch(inner, &one) {
				if err != nil && c.ending(inner, err) {
					closed = inner.Err() == nil
					break
				}
				if !hand(handed{msg: m, err: c.ofMailbox(inner, name, err)}) {
					break
				}
			}
			ended <- closed
		}()
	}
	running, sent, more, closed := len(c.cfg.Mailboxes), 0, true, false
	for running > 0 {
		select {
		case h := <-steps:
			switch {
			case h.ask != nil:
				h.ask()
			case more:
				if h.err == nil {
					sent++
				}
				more = yield(h.msg, h.err) && (o.Limit == 0 || sent < o.Limit)
			}
			if !more {
				cancel()
			}
			close(h.done)
		case byClose := <-ended:
			closed = closed || byClose
			running--
		}
	}
	cancel()
	switch {
	case !more:
	case ctx.Err() != nil:
		yield(nil, c.ended(ctx, "fetch", connection.Ref{}))
	case closed:
		yield(nil, c.problem("fetch", connection.Ref{}, connection.ErrClosed, "%w", errClosed))
	}
}
