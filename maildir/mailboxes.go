package maildir

import (
	"context"
	"fmt"
	"iter"
	"path"

	"github.com/mailconn/mailconn/connection"
)

// Mailboxes implements [connection.MailboxLister]. A connection whose path has no wildcard has one mailbox, called ""
// unless mailbox_name names it.
func (c *Conn) Mailboxes(ctx context.Context, opts *connection.MailboxOptions) iter.Seq2[*connection.Mailbox, error] {
	return single(c, "mailboxes", func(yield func(*connection.Mailbox, error) bool) {
		ctx, done, err := c.begin(ctx)
		if err != nil {
			yield(nil, c.fail("mailboxes", connection.Ref{}, err))
			return
		}
		defer done()
		for t, err := range c.trees(ctx, "") {
			if err != nil {
				e := c.fail("mailboxes", connection.Ref{}, err)
				if e.Ref.IsZero() {
					yield(nil, e)
					return
				}
				// Its mailbox is there, and Sync of it will say this error: one does not hide the others.
				c.env.Log().WarnContext(ctx, "mailbox cannot be read", "mailbox", e.Ref.Mailbox, "error", e.Error())
				if !yield(&connection.Mailbox{Name: e.Ref.Mailbox}, nil) {
					return
				}
				continue
			}
			if opts != nil && opts.Match != "" {
				ok, err := path.Match(opts.Match, t.mailbox)
				if err != nil {
					yield(nil, c.fail("mailboxes", connection.Ref{}, &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("match: %w", err)}))
					return
				}
				if !ok {
					continue
				}
			}
			if !yield(&connection.Mailbox{Name: t.mailbox, Display: t.path("")}, nil) {
				return
			}
		}
	})
}
