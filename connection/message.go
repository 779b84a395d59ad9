package connection

import (
	"context"
	"io"
	"iter"
	"time"
)

// A Ref is the address of one message at its source. It is comparable, survives a restart of the process (store it
// as JSON) and means nothing to anybody but the driver that gave it.
type Ref struct {
	Mailbox string `json:"mailbox,omitempty"` // the person's store; empty where a connection has only one
	Folder  string `json:"folder,omitempty"`  // path with "/" between the levels
	ID      string `json:"id,omitempty"`      // the driver's: for IMAP "UIDVALIDITY:UID"
}

// IsZero reports whether r addresses nothing.
func (r Ref) IsZero() bool { return r == Ref{} }

// String returns "mailbox/folder/id" without the parts that are empty. It is for people; use JSON to store a Ref.
func (r Ref) String() string {
	s := r.Mailbox
	for _, part := range []string{r.Folder, r.ID} {
		if part == "" {
			continue
		}
		if s != "" {
			s += "/"
		}
		s += part
	}
	return s
}

// A Flag is a message flag in IMAP's spelling (RFC 9051, 2.3.2): a system flag begins with a backslash, anything
// else is a keyword.
type Flag string

// The system flags.
const (
	FlagSeen     Flag = `\Seen`
	FlagAnswered Flag = `\Answered`
	FlagFlagged  Flag = `\Flagged`
	FlagDeleted  Flag = `\Deleted`
	FlagDraft    Flag = `\Draft`
	// FlagForwarded is the keyword of RFC 5788 for a message that was passed on.
	FlagForwarded Flag = "$Forwarded"
)

// A Message is one message while it is being read.
type Message struct {
	Ref      Ref       // where it is at the source
	Folder   string    // path for the archive, also where Ref needs none
	Size     int64     // octets of Body as far as the source tells; -1 if it does not. A hint, never a condition
	Received time.Time // arrival at the source (INTERNALDATE, mtime); zero if unknown
	Flags    []Flag
	Labels   []string
	Envelope *Envelope // sender and recipients if they came in a journal report, else nil

	// Body is the raw message, octet for octet as the source holds it (RFC 5322, but nothing is assumed). It ends
	// in io.EOF only after the last octet; if the source fails before, Read returns another error. It is valid
	// until the next loop step of the iterator that yielded it, and is not safe for concurrent use.
	Body io.Reader
}

// An Envelope is who sent a message and to whom it goes (RFC 5321), regardless of its header.
type Envelope struct {
	From string   `json:"from"` // "" is the null reverse-path
	To   []string `json:"to"`
}

// A Folder is one folder of a mailbox.
type Folder struct {
	Mailbox  string `json:"mailbox,omitempty"`
	Name     string `json:"name"`               // UTF-8 path with "/" between the levels
	ID       string `json:"id,omitempty"`       // the source's own identity of the folder, if it has one
	Previous string `json:"previous,omitempty"` // of a FolderRenamed change: the name it had
	Special  string `json:"special,omitempty"`  // special use (RFC 6154): `\Sent`, `\Trash`…
	Messages int64  `json:"messages"`           // count if known, else -1
}

// A Mailbox is one person's store, as [MailboxLister] lists it.
type Mailbox struct {
	Name    string   `json:"name"`              // what FetchOptions.Mailbox and SyncOptions.Mailbox take
	Display string   `json:"display,omitempty"` // a person's name
	Aliases []string `json:"aliases,omitempty"` // other addresses
}

// FetchOptions are the options of [Fetcher.Fetch]. The zero value takes everything that is there now.
type FetchOptions struct {
	Mailbox string    // "" is the connection's own, or all of them where the connection has many
	Folders []string  // names; empty means what the driver's settings say
	Unseen  bool      // only messages without FlagSeen
	Since   time.Time // only messages received at or after this time
	Limit   int       // at most so many messages; 0 = no limit
	Follow  bool      // wait for more when there are none left, until ctx is done

	// Skip, if not nil, is asked before a body is read; a message for which it returns true is passed over. It may
	// be called from the iterator's goroutine only, and must be quick.
	Skip func(Ref) bool
}

// SyncOptions are the options of [Syncer.Sync].
type SyncOptions struct {
	Mailbox string
	Folders []string // empty means what the driver's settings say

	// Known reports for each of refs whether the host has that message. With it, a driver that lost its place
	// (ErrStale, a lost checkpoint) reconciles by ids without downloading again what the host has; without it
	// Sync returns ErrStale. The slice returned has the length of refs.
	Known func(ctx context.Context, refs []Ref) ([]bool, error)

	// Refs yields every message that the host has of this mailbox, in any order. With it, a driver that lost its place
	// and cannot know what has gone meanwhile tells those that it finds no more as Removed; without it they stay with
	// the host. Not every driver asks.
	Refs func(ctx context.Context) iter.Seq2[Ref, error]
}

// SendOptions are the options of [Sender.Send].
type SendOptions struct {
	NewMessageID bool  // replace the Message-ID field's octets, and keep the old one in X-Original-Message-ID
	Size         int64 // octets of body if known, else 0; checked against what was read
	RequireTLS   bool  // every server on the way must use verified TLS (RFC 8689); ErrUnsupported if that cannot be asked for
	DSN          *DSN  // asks for reports of delivery; nil = what the driver's settings say
}

// A DSN asks for reports of delivery (RFC 3461). A server that cannot is ErrUnsupported before anything is sent.
type DSN struct {
	Notify []string `json:"notify,omitempty" label:"Report" help:"when to report to the sender: SUCCESS, FAILURE and DELAY, or NEVER alone; none = what the server does by itself"`
	Return string   `json:"ret,omitempty" label:"Return" enum:",FULL,HDRS" help:"what a report of failure holds: FULL or HDRS; none = what the server does by itself"`
	ID     string   `json:"envid,omitempty" label:"Envelope id" help:"comes back in reports: printable ASCII, at most 100 characters"`
}

// A Receipt says what became of a submission.
type Receipt struct {
	MessageID string      `json:"message_id,omitempty"` // as it was sent
	Reply     string      `json:"reply,omitempty"`      // the server's words
	Accepted  []string    `json:"accepted,omitempty"`
	Rejected  []Rejection `json:"rejected,omitempty"`
	Rewritten []string    `json:"rewritten,omitempty"` // how what was sent differs from the body given, for people; none if it does not
}

// A Rejection is one recipient that the server refused.
type Rejection struct {
	Address string `json:"address"`
	Err     error  `json:"-"` // an *Error with the server's Code
}

// AppendOptions are the options of [Appender.Append].
type AppendOptions struct {
	Mailbox      string    // "" is the connection's own
	Flags        []Flag    // set on the new message
	Received     time.Time // arrival time to record; zero = now
	Size         int64     // octets of body if known, else 0 (it is then spooled where the protocol needs the size first)
	CreateFolder bool      // create a folder that is missing, instead of ErrNotFound
}

// MailboxOptions are the options of [MailboxLister.Mailboxes].
type MailboxOptions struct {
	Match string // only names that match this pattern (path.Match); "" = all
}
