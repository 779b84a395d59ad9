package connection

import "context"

// A Checkpoint is a place in a mailbox's history. It is opaque to all but the driver that gave it; "" is the
// beginning. A Checkpoint that the source no longer understands is ErrStale.
type Checkpoint string

// A ChangeOp says what a [Change] is.
type ChangeOp uint8

// The kinds of change.
const (
	Progressed    ChangeOp = iota // nothing but a Checkpoint
	Added                         // Message holds the new message, with its Body
	Updated                       // Message holds flags and labels, without a Body
	Removed                       // Ref is gone
	FolderAdded                   // Folder is new
	FolderRemoved                 // Folder is gone, and with it the messages whose Ref names it
	FolderRenamed                 // Folder has the new name, Folder.Previous the old one
)

var changeOps = [...]string{"progressed", "added", "updated", "removed", "folder added", "folder removed", "folder renamed"}

// String returns the op in lower case.
func (op ChangeOp) String() string {
	if int(op) < len(changeOps) {
		return changeOps[op]
	}
	return "unknown change"
}

// A Change is one step in a mailbox's history, as [Syncer.Sync] yields it.
type Change struct {
	Op      ChangeOp
	Ref     Ref
	Message *Message // of Added and Updated
	Folder  *Folder  // of the folder changes

	// Checkpoint, if not "", may be saved once this change and all before it are stored.
	Checkpoint Checkpoint
}

// A CheckpointStore keeps one Checkpoint for each mailbox, durably.
type CheckpointStore interface {
	// Load returns the Checkpoint of mailbox, "" if there is none.
	Load(ctx context.Context, mailbox string) (Checkpoint, error)
	// Save replaces old by new, atomically and durably. If the store holds something other than old, somebody
	// else works on this mailbox: it returns ErrChanged and keeps what it has.
	Save(ctx context.Context, mailbox string, old, new Checkpoint) error
}
