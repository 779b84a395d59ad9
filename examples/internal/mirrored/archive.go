// Package mirrored is what the programs that mirror mailboxes (ewssync, gmailsync) have in common: an archive that
// connection.Mirror fills, the settings files of connections, and output for people and for programs. It is written to be
// copied.
package mirrored

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/mailconn/mailconn/connection"
)

// An Archive keeps what connection.Mirror brings, in an object store:
//
//	messages/aa/<sha256>.eml                a message, octet for octet, named by its SHA-256 and written once
//	mailboxes/<mailbox>/<number>.jsonl      the mailbox's log: what changed, up to a checkpoint; see [Entry]
//	finished/<mailbox>.json                 the first Sync has come to its end
//
// It is both the sink and the checkpoint store of Mirror, because a part of the log holds changes and the checkpoint behind
// them in one object: they become durable together or not at all, and no crash leaves a checkpoint that is ahead of what is
// stored. Parts are never replaced. Two processes that mirror one mailbox find that the number of the next part is taken,
// and one of them gives up: that is the compare and swap.
//
// A message that is removed at its source stays in the archive. Its methods may be called from several goroutines at once.
type Archive struct {
	// Progress, if not nil, is told of each change that was stored.
	Progress func(mailbox string, c *connection.Change, octets int64)

	store connection.ObjectStore

	mu   sync.Mutex
	logs map[string]*mailboxLog
}

var (
	_ connection.ChangeSink      = (*Archive)(nil)
	_ connection.RefLister       = (*Archive)(nil)
	_ connection.CheckpointStore = (*Archive)(nil)
)

// NewArchive returns an Archive in store. It does no I/O.
func NewArchive(store connection.ObjectStore) *Archive {
	return &Archive{store: store, logs: make(map[string]*mailboxLog)}
}

// log returns the log of a mailbox.
func (a *Archive) log(mailbox string) *mailboxLog {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.logs[mailbox]
	if l == nil {
		l = &mailboxLog{store: a.store, mailbox: mailbox}
		a.logs[mailbox] = l
	}
	return l
}

// Store implements [connection.ChangeSink]. When it returns nil the message of an Added change is durable; that it belongs
// to the mailbox becomes durable with the next checkpoint. Without that the change comes again.
func (a *Archive) Store(ctx context.Context, mailbox string, c *connection.Change) error {
	entry := newEntry(c)
	if c.Op == connection.Added {
		var err error
		if entry.Key, entry.Size, err = a.put(ctx, c.Message); err != nil {
			return err
		}
	}
	a.log(mailbox).add(entry)
	if a.Progress != nil {
		a.Progress(mailbox, c, entry.Size)
	}
	return nil
}

// put stores a message under its digest.
func (a *Archive) put(ctx context.Context, m *connection.Message) (key string, size int64, err error) {
	// The digest is the name, so the body is read twice.
	spooled, err := connection.Spool(m, nil)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = spooled.Close() }() // a temporary copy: the outcome does not hang on it
	hash := sha256.New()
	if _, err := io.Copy(hash, spooled.Reader()); err != nil {
		return "", 0, fmt.Errorf("reading the message: %w", err)
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	key, size = messageKey(sum), spooled.Size
	opts := connection.PutOptions{Size: size, SHA256: sum, IfAbsent: true}
	_, err = a.store.Put(ctx, key, spooled.Reader(), &opts)
	if errors.Is(err, connection.ErrExists) {
		// The same message came before. What is there is believed if it has the size; else it is replaced.
		var info connection.ObjectInfo
		if info, err = a.store.Stat(ctx, key); err == nil && info.Size != size {
			opts.IfAbsent = false
			_, err = a.store.Put(ctx, key, spooled.Reader(), &opts)
		}
	}
	return key, size, err
}

// Known implements [connection.ChangeSink]: what the mailbox's log has as added and not as removed.
func (a *Archive) Known(ctx context.Context, mailbox string, refs []connection.Ref) ([]bool, error) {
	return a.log(mailbox).has(ctx, refs)
}

// Refs implements [connection.RefLister]. Together with Known it lets Sync find its way again where the server has forgotten
// the history, without reading a message twice and without keeping one that is gone.
func (a *Archive) Refs(ctx context.Context, mailbox string) iter.Seq2[connection.Ref, error] {
	return a.log(mailbox).all(ctx)
}

// Finish notes that the mailbox was read to its end once.
func (a *Archive) Finish(ctx context.Context, mailbox string) error {
	return a.log(mailbox).finish(ctx)
}

// Finished reports whether the mailbox was read to its end once.
func (a *Archive) Finished(ctx context.Context, mailbox string) (bool, error) {
	return a.log(mailbox).isFinished(ctx)
}

// Load implements [connection.CheckpointStore].
func (a *Archive) Load(ctx context.Context, mailbox string) (connection.Checkpoint, error) {
	return a.log(mailbox).load(ctx)
}

// Save implements [connection.CheckpointStore]. What was stored since the last checkpoint becomes durable with this one.
func (a *Archive) Save(ctx context.Context, mailbox string, old, next connection.Checkpoint) error {
	return a.log(mailbox).commit(ctx, old, next)
}

// Endpoint says where the archive is.
func (a *Archive) Endpoint() string { return a.store.Info().Endpoint }

// Log yields the parts of a mailbox's log from the first to the last. Replaying their entries gives what is in the mailbox now.
// Any error is the last.
func (a *Archive) Log(ctx context.Context, mailbox string) iter.Seq2[*Section, error] {
	return (&mailboxLog{store: a.store, mailbox: mailbox}).sections(ctx)
}

// MessageKey returns the key under which a message with these octets is stored.
func MessageKey(raw []byte) string {
	sum := sha256.Sum256(raw)
	return messageKey(hex.EncodeToString(sum[:]))
}

// messageKey returns the key of the message with the SHA-256 given, in hex.
func messageKey(sum string) string {
	return "messages/" + sum[:2] + "/" + sum + ".eml"
}
