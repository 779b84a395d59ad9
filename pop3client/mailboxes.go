package pop3client

import (
	"context"
	"iter"
	"path"
	"sync/atomic"

	"github.com/mailconn/mailconn/connection"
)

// Mailboxes implements [connection.MailboxLister]: there is one, the user's.
func (c *Conn) Mailboxes(ctx context.Context, opts *connection.MailboxOptions) iter.Seq2[*connection.Mailbox, error] {
	const op = "mailboxes"
	match := ""
	if opts != nil {
		match = opts.Match
	}
	var used atomic.Bool
	return func(yield func(*connection.Mailbox, error) bool) {
		if used.Swap(true) {
			yield(nil, c.problem(op, connection.Ref{}, connection.ErrInvalid, "this iterator was used before; call Mailboxes again"))
			return
		}
		ctx, cancel, leave, err := c.enter(ctx, op)
		if err != nil {
			yield(nil, err)
			return
		}
		leave() // it uses no session
		defer cancel()
		fits, err := path.Match(match, c.cfg.Username)
		switch {
		case ctx.Err() != nil:
			yield(nil, c.ended(ctx, op, connection.Ref{}))
		case err != nil:
			yield(nil, c.problem(op, connection.Ref{}, connection.ErrInvalid, "pattern %q: %w", match, err))
		case fits || match == "":
			yield(&connection.Mailbox{Name: c.cfg.Username}, nil)
		}
	}
}
