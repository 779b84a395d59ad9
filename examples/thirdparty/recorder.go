// Package recorder stands for somebody else's product, in a module of its own: it empties mailboxes into an object store and
// mails a summary. Its tests show how to use mailconn's test doubles and its conformance suite; copy them.
package recorder

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// A Recorder moves mail into Vault and tells To about it.
type Recorder struct {
	Vault  connection.ObjectStore
	Notify connection.Sender // nil = no summaries
	From   string
	To     string
}

// Record empties src, and then sends a summary. A message leaves src only when Vault has it.
func (r *Recorder) Record(ctx context.Context, src connection.Source) (connection.DrainStats, error) {
	stats, err := connection.Drain(ctx, src, r.store, &connection.DrainOptions{Workers: 4})
	if r.Notify == nil {
		return stats, err
	}
	return stats, errors.Join(err, r.summarize(ctx, src.Info(), stats, err))
}

// store is the sink: it returns nil only when m is safe.
func (r *Recorder) store(ctx context.Context, m *connection.Message) error {
	_, err := r.Vault.Put(ctx, key(m.Ref), m.Body, nil)
	return err
}

// key is the name of a message in the vault. Two messages must never share one, or the second takes the place of the first,
// which is deleted at the source by then: so nothing of a Ref is left out or made alike, and the digest fits any store.
func key(ref connection.Ref) string {
	return fmt.Sprintf("%x.eml", sha256.Sum256(fmt.Appendf(nil, "%q %q %q", ref.Mailbox, ref.Folder, ref.ID)))
}

func (r *Recorder) summarize(ctx context.Context, from connection.Info, stats connection.DrainStats, problem error) error {
	text := fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: %d messages recorded\r\n\r\n%d stored, %d deleted at %s.\r\n",
		r.From, r.To, stats.Stored, stats.Stored, stats.Deleted, from.Endpoint)
	if problem != nil {
		text += "There were problems; the log has them.\r\n"
	}
	_, err := r.Notify.Send(ctx, connection.Envelope{From: r.From, To: []string{r.To}}, strings.NewReader(text), nil)
	return err
}
