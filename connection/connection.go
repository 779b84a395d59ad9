package connection

import (
	"context"
	"fmt"
	"io"
	"iter"
	"reflect"
)

// A Connection is one configured way to one system: a mailbox server, a directory of Maildirs, an object store.
//
// Opening a Connection does no I/O; the first verb dials. All methods of a Connection and of the capability
// interfaces below may be called from several goroutines at once. What a Connection can do is found with [As].
type Connection interface {
	// Info says what this Connection is. It holds no secret and is safe to log and to show.
	Info() Info

	// Test walks the code path that the verbs use, step by step (resolve, connect, tls, greeting, capabilities,
	// auth, open, read), and with TestOptions.Write also writes something small and removes it; otherwise it
	// changes nothing. The Report is never nil and is complete also when err is not nil; err is the first failed
	// step's error. opts may be nil.
	Test(ctx context.Context, opts *TestOptions) (*Report, error)

	// Close ends what is under way with ErrClosed, finishes what the driver has promised (an outstanding expunge,
	// say) and releases everything. An error means that such a promise could not be kept. A second Close does
	// nothing and returns nil.
	Close() error
}

// Info describes a Connection for logs and pages. It never holds a secret.
type Info struct {
	ID       string `json:"id,omitempty"`       // Settings.ID, by which the host refers to the connection
	Name     string `json:"name,omitempty"`     // Settings.Name, for people
	Driver   string `json:"driver"`             // canonical driver name: "imap", "file"
	Endpoint string `json:"endpoint,omitempty"` // "mail.example.org:993", "/var/archive"
}

// TestOptions are the options of [Connection.Test].
type TestOptions struct {
	// Write permits Test to write something small of its own and to remove it again. Without it Test changes
	// nothing at all.
	Write bool
	// Progress, if not nil, is called with each step as soon as it is known, from the goroutine of Test.
	Progress func(Step)
}

// A Fetcher reads a mailbox as a queue.
type Fetcher interface {
	// Fetch yields the messages that are there now, each at most once, and with FetchOptions.Follow those that
	// arrive later, until ctx is done. It changes nothing at the source: no flag, no delete, no move.
	//
	// An *Error with a Ref concerns that message alone, or, if the Ref has no ID, that folder or mailbox; the loop may
	// go on. Any other error is the last thing yielded. The Message is nil exactly when the error is not. Message.Body
	// is valid until the next loop step. The iterator is single-use. Leaving the loop early releases everything.
	// Delete may be called from within the loop and from other goroutines meanwhile. opts may be nil.
	Fetch(ctx context.Context, opts *FetchOptions) iter.Seq2[*Message, error]
}

// A Deleter removes messages from their source, in the way the driver's settings say (expunge, move, trash…).
type Deleter interface {
	// Delete removes the messages of refs. nil means that all are gone, or marked so that the driver's settings
	// are met. A Ref that is no longer there is no error. Otherwise the error joins one *Error for each Ref that
	// may still be there (see [Errors]); ErrUncertain among them means that the server may have acted. Delete is
	// idempotent: it may be repeated with the same refs.
	Delete(ctx context.Context, refs ...Ref) error
}

// A FetchDeleter is what [Drain] empties.
type FetchDeleter interface {
	Fetcher
	Deleter
}

// A Source is a Connection that can be drained.
type Source interface {
	Connection
	FetchDeleter
}

// A Syncer tells the history of a mailbox.
type Syncer interface {
	// Sync yields what changed since the Checkpoint ("" means from the beginning), each Added change with the
	// message's Body under the rules of Fetch. A Change that carries a Checkpoint says: once every change up to
	// and including this one is stored, that Checkpoint may be saved. A Checkpoint that the driver can no longer
	// continue from is ErrStale, before anything else is yielded, unless opts.Known lets it reconcile.
	//
	// The error rules are those of Fetch. The iterator is single-use. opts may be nil.
	Sync(ctx context.Context, since Checkpoint, opts *SyncOptions) iter.Seq2[*Change, error]
}

// A MailboxSyncer is what [Mirror] keeps in step.
type MailboxSyncer interface {
	Syncer
	MailboxLister
}

// A Sender submits messages.
type Sender interface {
	// Send submits body for the recipients of env and returns what the server said. A nil error means that the
	// server has taken responsibility for every recipient that is not in Receipt.Rejected; if all are rejected
	// the error is ErrRejected. ErrUncertain means that the reply to the complete message was lost: the server
	// may or may not have taken it, and nothing repeats it by itself. opts may be nil.
	Send(ctx context.Context, env Envelope, body io.Reader, opts *SendOptions) (*Receipt, error)
}

// An Appender adds messages to folders.
type Appender interface {
	// Append stores body, unchanged, as a message in folder. nil means that it is durable there, whole. The Ref
	// has an empty ID if the server does not tell it. ErrUncertain means that the reply was lost. opts may be nil.
	Append(ctx context.Context, folder string, body io.Reader, opts *AppendOptions) (Ref, error)
}

// A FolderLister lists the folders of one mailbox.
type FolderLister interface {
	// Folders yields the folders of mailbox ("" is the connection's own). Single-use; any error is the last.
	Folders(ctx context.Context, mailbox string) iter.Seq2[*Folder, error]
}

// A MailboxLister lists the mailboxes that a connection can reach.
type MailboxLister interface {
	// Mailboxes yields each mailbox once. Single-use; any error is the last. opts may be nil.
	Mailboxes(ctx context.Context, opts *MailboxOptions) iter.Seq2[*Mailbox, error]
}

// An Opener reads one message again.
type Opener interface {
	// Open returns the message of ref. Its Body is an io.ReadCloser that the caller closes; it stays valid until
	// then or until ctx is done. A message that is gone is ErrNotFound.
	Open(ctx context.Context, ref Ref) (*Message, error)
}

// A Marker sets flags, for the host's own purposes: \Seen or a keyword on a poison message, say. No driver does so
// by itself.
type Marker interface {
	// Mark adds flags to the messages of refs. The error rules are those of Delete.
	Mark(ctx context.Context, refs []Ref, flags ...Flag) error
}

// As returns c as the capability T: As[connection.Source](c). If c lacks it, the error is ErrUnsupported and names
// the driver and the methods that are missing.
func As[T any](c Connection) (T, error) {
	if t, ok := any(c).(T); ok {
		return t, nil
	}
	var zero T
	want := reflect.TypeFor[T]()
	if c == nil {
		return zero, &Error{Op: "as", Kind: ErrInvalid, Err: fmt.Errorf("no connection given; want one that is a %s", want)}
	}
	info := c.Info()
	e := &Error{Op: "as", Driver: info.Driver, Endpoint: info.Endpoint, Kind: ErrUnsupported}
	if want.Kind() != reflect.Interface {
		e.Err = fmt.Errorf("is a %T, not a %s", c, want)
		return zero, e
	}
	missing := ""
	have := reflect.TypeOf(c)
	for m := range want.Methods() {
		if _, ok := have.MethodByName(m.Name); ok {
			continue
		}
		if missing != "" {
			missing += ", "
		}
		missing += m.Name
	}
	e.Err = fmt.Errorf("is no %s: it lacks %s", want.Name(), missing)
	return zero, e
}
