package ews_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// mirrorServer starts a server with one mailbox.
func mirrorServer(t testing.TB, opts *ewstest.Options) (*rig, *ewstest.Mailbox) {
	t.Helper()
	r := newRig(t, opts)
	return r, r.alice
}

// mustBe fails the test unless err is an *Error of this kind.
func mustBe(t testing.TB, err error, want connection.Kind) {
	t.Helper()
	_ = theError(t, err, want)
}

// A replica is what a host keeps of a mailbox.
type replica struct {
	messages   map[connection.Ref][]byte
	where      map[connection.Ref]string // their folders
	folders    map[string]bool
	flags      map[connection.Ref][]connection.Flag
	special    map[string]string // uses of folders
	checkpoint connection.Checkpoint

	kept *replica // as of the last Checkpoint, for back

	told []string // of the last sync
	errs []error  // those of single messages and folders
}

func newReplica() *replica {
	return &replica{
		messages: map[connection.Ref][]byte{}, where: map[connection.Ref]string{}, folders: map[string]bool{}, flags: map[connection.Ref][]connection.Flag{}, special: map[string]string{},
	}
}

// sync brings r up to date and returns the error that ended the loop, if one did.
func (r *replica) sync(t testing.TB, c connection.Syncer, opts *connection.SyncOptions) error {
	t.Helper()
	r.told, r.errs = nil, nil
	for change, err := range c.Sync(t.Context(), r.checkpoint, opts) {
		if err != nil {
			var e *connection.Error
			if !errors.As(err, &e) || e.Ref.IsZero() {
				return err
			}
			r.errs = append(r.errs, err)
			continue
		}
		if err := r.apply(change); err != nil {
			return err
		}
	}
	return nil
}

func (r *replica) apply(c *connection.Change) error {
	switch c.Op {
	case connection.Added:
		raw, err := io.ReadAll(c.Message.Body)
		if err != nil {
			return err
		}
		r.messages[c.Ref], r.flags[c.Ref], r.where[c.Ref] = raw, c.Message.Flags, c.Message.Folder
		r.told = append(r.told, "added "+c.Message.Folder)
	case connection.Updated:
		r.flags[c.Ref] = c.Message.Flags
		r.told = append(r.told, fmt.Sprintf("updated %s %v", c.Message.Folder, c.Message.Flags))
	case connection.Removed:
		delete(r.messages, c.Ref)
		r.told = append(r.told, "removed")
	case connection.FolderAdded:
		r.folders[c.Folder.Name], r.special[c.Folder.Name] = true, c.Folder.Special
		r.told = append(r.told, "folder added "+c.Folder.Name)
	case connection.FolderRemoved:
		delete(r.folders, c.Folder.Name)
		maps.DeleteFunc(r.messages, func(ref connection.Ref, _ []byte) bool { return r.where[ref] == c.Folder.Name })
		r.told = append(r.told, "folder removed "+c.Folder.Name)
	case connection.FolderRenamed:
		delete(r.folders, c.Folder.Previous)
		r.folders[c.Folder.Name] = true
		for ref, folder := range r.where {
			if folder == c.Folder.Previous {
				r.where[ref] = c.Folder.Name
			}
		}
		r.told = append(r.told, "folder renamed "+c.Folder.Previous+" to "+c.Folder.Name)
	case connection.Progressed:
	}
	if c.Checkpoint != "" {
		r.checkpoint = c.Checkpoint
	}
	return nil
}

// mustSync fails the test on any error.
func (r *replica) mustSync(t testing.TB, c connection.Syncer, opts *connection.SyncOptions) {
	t.Helper()
	if err := r.sync(t, c, opts); err != nil {
		t.Fatalf("sync: %v", err)
	}
	for _, err := range r.errs {
		t.Errorf("sync: %v", err)
	}
}

// holds fails the test unless r has exactly these messages.
func (r *replica) holds(t testing.TB, want ...[]byte) {
	t.Helper()
	if len(r.messages) != len(want) {
		t.Errorf("the replica holds %d messages, want %d", len(r.messages), len(want))
	}
	for _, raw := range want {
		found := false
		for _, got := range r.messages {
			found = found || bytes.Equal(got, raw)
		}
		if !found {
			t.Errorf("the replica lacks %.60q", raw)
		}
	}
}

// tells fails the test unless the last sync told exactly this, in this order.
func (r *replica) tells(t testing.TB, want ...string) {
	t.Helper()
	if !slices.Equal(r.told, want) {
		t.Errorf("sync told %q, want %q", r.told, want)
	}
}

// inbox limits a Sync to the inbox.
var inbox = &connection.SyncOptions{Folders: []string{"INBOX"}}

func TestSyncTellsWhatChanged(t *testing.T) {
	srv, mb := mirrorServer(t, nil)
	ids := mb.Deliver("Inbox", letters(5)...)
	c := srv.open(t)
	r := newReplica()
	r.mustSync(t, c, nil)
	r.holds(t, letters(5)...)
	if !r.folders["Inbox"] || !r.folders["Sent Items"] || r.folders["Calendar"] {
		t.Errorf("told folders %v, want those of mail", r.folders)
	}
	r.mustSync(t, c, nil)
	r.tells(t)

	mb.SetRead(ids[1])
	mb.Remove(ids[2])
	mb.Deliver("Inbox", letter(5))
	r.mustSync(t, c, nil)
	r.tells(t, "removed", `updated Inbox [\Seen]`, "added Inbox")
	r.holds(t, letter(0), letter(1), letter(3), letter(4), letter(5))
	mb.SetUnread(ids[1])
	r.mustSync(t, c, nil)
	r.tells(t, "updated Inbox []")
}

// A Sync that breaks off at any change goes on from its last Checkpoint and misses nothing.
func TestSyncCheckpointIsNeverAhead(t *testing.T) {
	srv, mb := mirrorServer(t, &ewstest.Options{SyncCap: 3})
	mb.Deliver("Inbox", letters(8)...)
	mb.Deliver("Sent Items", letters(12)[8:]...)
	c := srv.open(t)
	for crash := 1; ; crash++ {
		r := newReplica()
		n := 0
		for change, err := range c.Sync(t.Context(), "", nil) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n > crash {
				break
			}
			if err := r.apply(change); err != nil {
				t.Fatal(err)
			}
		}
		whole := n <= crash
		r.mustSync(t, c, nil)
		r.holds(t, letters(12)...)
		if whole {
			return
		}
	}
}

// After each page comes a Checkpoint, so that a crash re-delivers no more than that.
func TestSyncCheckpointAfterEachPage(t *testing.T) {
	srv, mb := mirrorServer(t, &ewstest.Options{SyncCap: 4})
	mb.Deliver("Inbox", letters(20)...)
	since, most := 0, 0
	for change, err := range srv.open(t).Sync(t.Context(), "", inbox) {
		if err != nil {
			t.Fatal(err)
		}
		if change.Op == connection.Added {
			since++
		}
		if change.Checkpoint != "" {
			most, since = max(most, since), 0
		}
	}
	if most > 4 || since > 0 {
		t.Errorf("%d messages without a Checkpoint behind them, and %d at the end", most, since)
	}
}

func TestSyncStale(t *testing.T) {
	srv, mb := mirrorServer(t, nil)
	mb.Deliver("Inbox", letter(1))
	srv.AddMailbox("bob@corp.test", ewstest.MailboxOptions{})
	srv.GrantImpersonation(alice, "bob@corp.test")
	c := srv.open(t)
	r := newReplica()
	r.mustSync(t, c, &connection.SyncOptions{Mailbox: "bob@corp.test"})
	for _, cp := range []connection.Checkpoint{r.checkpoint, "ews1:", "imap1:AAAA", r.checkpoint[:len(r.checkpoint)-4]} {
		other := newReplica()
		other.checkpoint = cp
		err := other.sync(t, c, nil)
		if connection.KindOf(err) != connection.ErrStale || len(other.told)+len(other.errs) > 0 {
			t.Errorf("from %.20q…: got error %v, told %q, want ErrStale and nothing else", cp, err, other.told)
		}
		var e *connection.Error
		if errors.As(err, &e) && (e.Op != "sync" || e.Driver != ews.DriverName || e.Endpoint == "" || !e.Ref.IsZero()) {
			t.Errorf("the error is incomplete: %+v", e)
		}
	}
}

// With Known a lost place is found again, and nothing that the host has is downloaded.
func TestSyncKnown(t *testing.T) {
	srv, mb := mirrorServer(t, &ewstest.Options{SyncCap: 3})
	mb.Deliver("Inbox", letters(7)...)
	c := srv.open(t)
	r := newReplica()
	r.mustSync(t, c, nil)
	mb.Deliver("Inbox", letter(7))
	known := &connection.SyncOptions{Known: func(_ context.Context, refs []connection.Ref) ([]bool, error) {
		has := make([]bool, len(refs))
		for i, ref := range refs {
			_, has[i] = r.messages[ref]
		}
		return has, nil
	}}
	mb.ExpireSyncStates()
	r.mustSync(t, c, known)
	r.holds(t, letters(8)...)
	added := 0
	for _, told := range r.told {
		if strings.HasPrefix(told, "added") {
			added++
		}
	}
	if added != 1 {
		t.Errorf("told %q: %d messages were downloaded, want 1", r.told, added)
	}
	r.mustSync(t, c, nil)
	r.tells(t)

	short := &connection.SyncOptions{Known: func(context.Context, []connection.Ref) ([]bool, error) { return nil, nil }}
	r.checkpoint = ""
	if err := r.sync(t, c, short); connection.KindOf(err) != connection.ErrInvalid {
		t.Errorf("a Known that answers too little: got error %v", err)
	}
}

func TestSyncFoldersOption(t *testing.T) {
	srv, mb := mirrorServer(t, nil)
	mb.Deliver("Inbox", letter(1))
	mb.Deliver("Sent Items", letter(2))
	c := srv.open(t)
	r := newReplica()
	r.mustSync(t, c, &connection.SyncOptions{Folders: []string{"sent items"}})
	r.tells(t, "folder added Sent Items", "added Sent Items")
	r.mustSync(t, c, &connection.SyncOptions{Folders: []string{"INBOX"}})
	r.tells(t, "folder added Inbox", "added Inbox")
	// The state of a folder that was not wanted for once is kept.
	mb.Deliver("Sent Items", letter(3))
	r.mustSync(t, c, &connection.SyncOptions{Folders: []string{`\Sent`, "Inbox"}})
	r.tells(t, "added Sent Items")
	err := r.sync(t, c, &connection.SyncOptions{Folders: []string{"Inbox", "No such folder"}})
	if err != nil || len(r.errs) != 1 || connection.KindOf(r.errs[0]) != connection.ErrNotFound {
		t.Errorf("a folder that is missing: got error %v and %v", err, r.errs)
	}
}

func TestSyncIteratorRules(t *testing.T) {
	srv, mb := mirrorServer(t, nil)
	mb.Deliver("Inbox", letters(3)...)
	c := srv.open(t)
	loop := c.Sync(t.Context(), "", nil)
	for range loop { //nolint:errcheck // left at once
		break
	}
	for _, err := range loop {
		if connection.KindOf(err) != connection.ErrInvalid {
			t.Errorf("used twice: got error %v", err)
		}
	}
	for _, err := range c.Sync(t.Context(), "", &connection.SyncOptions{Mailbox: "#public"}) {
		if connection.KindOf(err) != connection.ErrUnsupported {
			t.Errorf("public folders: got error %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var last error
	for change, err := range c.Sync(ctx, "", nil) {
		if last != nil {
			t.Fatalf("the loop goes on after %v", last)
		}
		if last = err; change != nil && change.Op == connection.Added {
			cancel()
		}
	}
	cancel()
	if !errors.Is(last, context.Canceled) {
		t.Errorf("canceled: got error %v", last)
	}
}
