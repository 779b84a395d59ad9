package mirrored

import (
	"context"
	"iter"

	"github.com/mailconn/mailconn/connection"
)

// Watched is a source that tells when the Sync of a mailbox has ended, and whether it came to its end.
type Watched struct {
	connection.MailboxSyncer
	Ended func(mailbox string, whole bool)
}

// Sync implements [connection.Syncer].
func (w Watched) Sync(ctx context.Context, since connection.Checkpoint, opts *connection.SyncOptions) iter.Seq2[*connection.Change, error] {
	return func(yield func(*connection.Change, error) bool) {
		whole := true
		defer func() { w.Ended(opts.Mailbox, whole) }()
		for c, err := range w.MailboxSyncer.Sync(ctx, since, opts) {
			whole = whole && err == nil
			if !yield(c, err) {
				whole = false
				return
			}
		}
	}
}
