package ews_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// A message that was moved is gone from one place and there in another, under another Ref.
func TestE20MoveIsTwoRefs(t *testing.T) {
	srv, mb := mirrorServer(t, nil)
	ids := mb.Deliver("Inbox", letter(1))
	c := srv.open(t)
	r := newReplica()
	r.mustSync(t, c, nil)
	before := slices.Collect(keys(r.messages))
	mb.Move(ids[0], "Sent Items")
	r.mustSync(t, c, nil)
	slices.Sort(r.told)
	r.tells(t, "added Sent Items", "removed")
	if after := slices.Collect(keys(r.messages)); len(after) != 1 || after[0] == before[0] {
		t.Errorf("got Refs %v after %v", after, before)
	}
	r.holds(t, letter(1))
}

func keys[V any](m map[connection.Ref]V) func(func(connection.Ref) bool) {
	return func(yield func(connection.Ref) bool) {
		for ref := range m {
			if !yield(ref) {
				return
			}
		}
	}
}

func TestE21LongIDs(t *testing.T) {
	srv, mb := mirrorServer(t, &ewstest.Options{LongIDs: true})
	ids := mb.Deliver("Inbox", letters(3)...)
	c := srv.open(t)
	r := newReplica()
	r.mustSync(t, c, nil)
	r.holds(t, letters(3)...)
	for ref := range r.messages {
		if len(ref.ID) <= 512 || !slices.Contains(ids, ref.ID) {
			t.Errorf("Ref %q of %d characters is not the server's id", ref.ID, len(ref.ID))
		}
	}
	mb.Remove(ids[0])
	r.mustSync(t, c, nil)
	r.tells(t, "removed")
}

// A server that never comes to an end, and gives the same state for ever, does not hold the others up.
func TestE22NeverLast(t *testing.T) {
	srv, mb := mirrorServer(t, &ewstest.Options{Quirks: ewstest.Quirks{NeverLast: true}})
	mb.Deliver("Inbox", letters(2)...)
	c := srv.open(t)
	r := newReplica()
	r.mustSync(t, c, inbox)
	r.holds(t, letters(2)...)
	if err := r.sync(t, c, inbox); err != nil {
		t.Fatal(err)
	}
	if len(r.errs) != 1 || connection.KindOf(r.errs[0]) != connection.ErrProtocol {
		t.Errorf("got errors %v, want one of the folder that is ErrProtocol", r.errs)
	}
	if n := srv.Calls("SyncFolderItems"); n > 6 {
		t.Errorf("%d requests for one folder", n)
	}
}

// States that the server has forgotten: without Known ErrStale if it is the folders', and a folder from its beginning if
// it is its own.
func TestE23ExpiredStates(t *testing.T) {
	srv, mb := mirrorServer(t, nil)
	mb.Deliver("Inbox", letters(3)...)
	c := srv.open(t)
	r := newReplica()
	r.mustSync(t, c, nil)
	for _, code := range []string{"ErrorInvalidSyncStateData", "ErrorSyncFolderNotFound"} {
		srv.Fail(ewstest.On("SyncFolderItems").Times(1), ewstest.Refuse(code, "The state is bad."))
		r.mustSync(t, c, inbox)
		r.tells(t, "added Inbox", "added Inbox", "added Inbox")
		r.holds(t, letters(3)...)
	}
	mb.ExpireSyncStates()
	if err := r.sync(t, c, nil); connection.KindOf(err) != connection.ErrStale || len(r.told) > 0 {
		t.Errorf("got error %v and %q, want ErrStale and nothing else", err, r.told)
	}
	r.checkpoint = ""
	r.mustSync(t, c, nil)
	r.holds(t, letters(3)...)
}

// The state of one folder in the place of another's is refused by the server; the folder begins anew.
func TestE23StateOfAnotherMailbox(t *testing.T) {
	srv, mb := mirrorServer(t, nil)
	mb.Deliver("Inbox", letter(1))
	other, there := mirrorServer(t, &ewstest.Options{Seed: 99})
	there.Deliver("Inbox", letter(2))
	r := newReplica()
	r.mustSync(t, other.open(t), nil)
	if err := r.sync(t, srv.open(t), nil); connection.KindOf(err) != connection.ErrStale {
		t.Errorf("a Checkpoint of another server: got error %v, want ErrStale", err)
	}
}

func TestE24FolderDeletedInMidSync(t *testing.T) {
	srv, mb := mirrorServer(t, &ewstest.Options{SyncCap: 2})
	mb.Deliver("Inbox", letters(2)...)
	doomed := mb.Folder("Projects/old")
	doomed.Deliver(letters(8)[2:]...)
	mb.Deliver("Sent Items", letter(9))
	c := srv.open(t)
	r := newReplica()
	for change, err := range c.Sync(t.Context(), "", nil) {
		if err != nil {
			t.Fatalf("sync: %v", err)
		}
		if err := r.apply(change); err != nil {
			t.Fatal(err)
		}
		if change.Op == connection.Added && change.Message.Folder == "Projects/old" {
			doomed.Delete()
		}
	}
	if !slices.Contains(r.told, "added Sent Items") {
		t.Errorf("the folders behind the one that was deleted were not told: %q", r.told)
	}
	r.mustSync(t, c, nil)
	r.tells(t, "folder removed Projects/old")
}

func TestE24FolderRenamed(t *testing.T) {
	srv, mb := mirrorServer(t, nil)
	f := mb.Folder("Projects/a b")
	f.Deliver(letter(1))
	mb.Folder("Projects/a b/deep").Deliver(letter(2))
	c := srv.open(t)
	r := newReplica()
	r.mustSync(t, c, nil)
	f.Rename("50% a/b")
	f.Deliver(letter(3))
	r.mustSync(t, c, nil)
	r.tells(t, "folder renamed Projects/a b to Projects/50% a%2Fb", "folder renamed Projects/a b/deep to Projects/50% a%2Fb/deep",
		"added Projects/50% a%2Fb")
	r.holds(t, letters(4)[1:]...)
}

// Search folders have no history. They are left out, and nothing is asked of them.
func TestE24SearchFolders(t *testing.T) {
	srv, mb := mirrorServer(t, nil)
	search := mb.Folder("Unread mail").Search()
	mb.Deliver("Inbox", letter(1))
	r := newReplica()
	r.mustSync(t, srv.open(t), nil)
	if r.folders["Unread mail"] {
		t.Errorf("told %q", r.told)
	}
	for _, req := range srv.Requests() {
		if req.Operation == "SyncFolderItems" && strings.Contains(string(req.Body), search.ID()) {
			t.Error("a search folder was synced")
		}
	}
}

// A server that takes a state that it does not know for none tells everything again, and nothing is lost. Folders that
// are gone meanwhile are found out.
func TestE49SilentResync(t *testing.T) {
	srv, mb := mirrorServer(t, &ewstest.Options{SilentResync: true})
	mb.Deliver("Inbox", letters(3)...)
	doomed := mb.Folder("Doomed")
	c := srv.open(t)
	r := newReplica()
	r.mustSync(t, c, nil)
	mb.Deliver("Inbox", letter(3))
	doomed.Delete()
	mb.ExpireSyncStates()
	r.mustSync(t, c, nil)
	r.holds(t, letters(4)...)
	if r.folders["Doomed"] {
		t.Error("a folder that is gone was not told")
	}
	if !r.folders["Inbox"] {
		t.Error("a folder that is there was told to be gone")
	}
	r.mustSync(t, c, nil)
	r.tells(t)
}

// Pages may hold less than was asked for, come in any order, come twice, or be empty.
func TestE50Pages(t *testing.T) {
	for name, opts := range map[string]*ewstest.Options{
		"capped":       {SyncCap: 7},
		"one by one":   {SyncCap: 1},
		"oldest first": {SyncCap: 7, SyncOrder: ewstest.OldestFirst},
		"shuffled":     {SyncCap: 7, SyncOrder: ewstest.Shuffled},
		"twice":        {SyncCap: 7, Quirks: ewstest.Quirks{Twice: true}},
		"empty ones":   {SyncCap: 7, Quirks: ewstest.Quirks{EmptyPages: true}},
	} {
		t.Run(name, func(t *testing.T) {
			srv, mb := mirrorServer(t, opts)
			ids := mb.Deliver("Inbox", letters(20)...)
			c := srv.open(t)
			r := newReplica()
			r.mustSync(t, c, inbox)
			r.holds(t, letters(20)...)
			for i, id := range ids {
				switch i % 3 {
				case 0:
					mb.Remove(id)
				case 1:
					mb.SetRead(id)
				}
			}
			mb.Deliver("Inbox", letter(20))
			r.mustSync(t, c, inbox)
			want := [][]byte{letter(20)}
			for i := range ids {
				if i%3 != 0 {
					want = append(want, letter(i))
				}
			}
			r.holds(t, want...)
			for i, id := range ids {
				ref := connection.Ref{ID: id}
				if seen := slices.Contains(r.flags[ref], connection.FlagSeen); i%3 != 0 && seen != (i%3 == 1) {
					t.Errorf("message %d: \\Seen is %t", i, seen)
				}
			}
		})
	}
}

// A changed read flag may be told as an Update.
func TestE51ReadFlagAsUpdate(t *testing.T) {
	for name, opts := range map[string]*ewstest.Options{
		"update":         {Quirks: ewstest.Quirks{ReadAsUpdate: true}},
		"ReadFlagChange": nil,
	} {
		t.Run(name, func(t *testing.T) {
			srv, mb := mirrorServer(t, opts)
			ids := mb.Deliver("Inbox", letter(1))
			c := srv.open(t)
			r := newReplica()
			r.mustSync(t, c, nil)
			mb.SetRead(ids[0])
			r.mustSync(t, c, nil)
			r.tells(t, `updated Inbox [\Seen]`)
		})
	}
}

// What cannot be converted is an error with its Ref, before the Checkpoint of its page; the others come.
func TestSyncItemErrorBeforeItsCheckpoint(t *testing.T) {
	srv, mb := mirrorServer(t, nil)
	ids := mb.Deliver("Inbox", letters(5)...)
	mb.BreakConversion(ids[2])
	told, checkpoint := false, false
	r := newReplica()
	for change, err := range srv.open(t).Sync(t.Context(), "", inbox) {
		if err != nil {
			var e *connection.Error
			if !errors.As(err, &e) || e.Ref.ID != ids[2] || e.Kind != connection.ErrCorrupt || e.Code == "" || e.Op != "sync" {
				t.Errorf("got error %v", err)
			}
			told = true
			if checkpoint && len(r.messages) > 0 {
				t.Error("the Checkpoint came before the error")
			}
			continue
		}
		checkpoint = checkpoint || change.Checkpoint != "" && change.Op == connection.Progressed && len(r.messages) > 0
		if err := r.apply(change); err != nil {
			t.Fatal(err)
		}
	}
	if !told || r.checkpoint == "" {
		t.Errorf("told %t, Checkpoint %.10q", told, r.checkpoint)
	}
	r.holds(t, letter(0), letter(1), letter(3), letter(4))
}

// An item that vanishes between Sync and GetItem is no error.
func TestE19SyncItemGone(t *testing.T) {
	srv, mb := mirrorServer(t, nil)
	ids := mb.Deliver("Inbox", letters(4)...)
	c := srv.open(t)
	r := newReplica()
	for change, err := range c.Sync(t.Context(), "", inbox) {
		if err != nil {
			t.Fatal(err)
		}
		if change.Op == connection.FolderAdded {
			mb.Break(ewstest.ListedButNot, ids[1])
		}
		if err := r.apply(change); err != nil {
			t.Fatal(err)
		}
	}
	r.holds(t, letter(0), letter(2), letter(3))
}

// A message that breaks off has no Checkpoint behind it, and comes again.
func TestE18SyncCutHasNoCheckpoint(t *testing.T) {
	srv, mb := mirrorServer(t, nil)
	large := append(letter(1), strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef\r\n", 40_000)...)
	mb.Deliver("Inbox", large)
	c := srv.open(t)
	srv.Fail(ewstest.On("GetItem").Nth(2).Times(1), ewstest.CutAfter(1<<20))
	r := newReplica()
	err := r.sync(t, c, inbox)
	if err == nil && len(r.errs) == 0 {
		t.Fatal("a message that broke off is no error")
	}
	if len(r.messages) > 0 {
		t.Error("a message that broke off looks whole")
	}
	r.mustSync(t, c, inbox)
	r.holds(t, large)
}

// Nor has one that was being read when ctx ended, or at Close, and Sync does not end as if it had told everything.
func TestSyncEndsInABody(t *testing.T) {
	for name, want := range map[string]connection.Kind{"cancel": connection.ErrCanceled, "close": connection.ErrClosed} {
		t.Run(name, func(t *testing.T) {
			srv, mb := mirrorServer(t, nil)
			mb.Deliver("Inbox", large(4<<20))
			srv.Fail(ewstest.On("GetItem").Nth(2).Times(1), ewstest.StallAfter(3<<20))
			c := srv.open(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			end := map[string]func(){"cancel": cancel, "close": func() { _ = c.Close() }}[name]
			var last, broken error
			for change, err := range c.Sync(ctx, "", inbox) {
				if last = err; err != nil {
					continue
				}
				if broken != nil {
					t.Errorf("%v follows, with a Checkpoint %.10q", change.Op, change.Checkpoint)
				}
				if change.Op == connection.Added {
					if _, err := io.ReadFull(change.Message.Body, make([]byte, 1<<20)); err != nil {
						t.Fatal(err)
					}
					end()
					_, broken = io.Copy(io.Discard, change.Message.Body)
				}
			}
			mustBe(t, broken, want)
			mustBe(t, last, want)
		})
	}
}

// A server without SyncFolderHierarchy lists its folders otherwise.
func TestE52SyncWithoutHierarchy(t *testing.T) {
	srv, mb := mirrorServer(t, &ewstest.Options{Without: []string{"SyncFolderHierarchy"}})
	mb.Deliver("Inbox", letter(1))
	doomed := mb.Folder("Projects/old")
	c := srv.open(t)
	r := newReplica()
	r.mustSync(t, c, nil)
	r.holds(t, letter(1))
	r.mustSync(t, c, nil)
	r.tells(t)
	doomed.Delete()
	mb.Folder("Projects/new").Deliver(letter(2))
	r.mustSync(t, c, nil)
	r.tells(t, "folder removed Projects/old", "folder added Projects/new", "added Projects/new")
}

// Mail of every kind comes, and what is no mail does not.
func TestE25SyncKinds(t *testing.T) {
	srv, mb := mirrorServer(t, nil)
	var want [][]byte
	for i, class := range []string{"IPM.Note", "IPM.Schedule.Meeting.Request", "IPM.Note.SMIME", "REPORT.IPM.Note.NDR", "IPM.Note.EnterpriseVault.Shortcut", "IPM.Post"} {
		want = append(want, letter(i))
		mb.Folder("Inbox").DeliverItems(ewstest.Message{Raw: letter(i), Class: class})
	}
	for i, class := range []string{"IPM.Appointment", "IPM.Contact", "IPM.StickyNote", "IPM.Task"} {
		mb.Folder("Inbox").DeliverItems(ewstest.Message{Raw: letter(100 + i), Class: class})
	}
	r := newReplica()
	r.mustSync(t, srv.open(t), inbox)
	r.holds(t, want...)
}

// Each change is told for what it is, whatever the server's version.
func TestSyncEachVersion(t *testing.T) {
	for _, version := range []string{"2007_SP1", "2010", "2010_SP1", "2010_SP2", "2013", "2013_SP1", "2016", "SE"} {
		t.Run(version, func(t *testing.T) {
			srv, mb := mirrorServer(t, &ewstest.Options{Version: version, SyncCap: 5})
			ids := mb.Deliver("Inbox", letters(9)...)
			r := newReplica()
			r.mustSync(t, srv.open(t), nil)
			r.holds(t, letters(9)...)
			if len(r.told) == 0 || !slices.Contains(r.told[:len(r.told)-9], "folder added Inbox") || r.special["Sent Items"] != `\Sent` {
				t.Errorf("told %q, special %v", r.told, r.special)
			}
			mb.Remove(ids[3])
			mb.Deliver("Inbox", letter(9))
			r.mustSync(t, srv.open(t), inbox) // as a new process
			if got := fmt.Sprint(r.told); got != "[removed added Inbox]" {
				t.Errorf("told %s", got)
			}
		})
	}
}

// The archive is a mailbox of its own. One that is not there is empty, and no error.
func TestE42SyncArchive(t *testing.T) {
	srv, mb := mirrorServer(t, nil)
	mb.Deliver("Inbox", letter(1))
	c := srv.open(t)
	archive := &connection.SyncOptions{Mailbox: alice + "#archive"}
	r := newReplica()
	r.mustSync(t, c, archive)
	r.tells(t)
	mb.Archive().Folder("Old").Deliver(letter(2))
	r.mustSync(t, c, archive)
	r.holds(t, letter(2))
	for ref := range r.messages {
		if ref.Mailbox != archive.Mailbox {
			t.Errorf("got Ref %v", ref)
		}
	}
	r.mustSync(t, c, archive)
	r.tells(t)
}

// Recoverable items are told below a folder of their own, if the settings ask for them.
func TestSyncRecoverable(t *testing.T) {
	srv, mb := mirrorServer(t, nil)
	mb.Recoverable().Folder("Deletions").Deliver(letter(1))
	mb.Deliver("Inbox", letter(2))
	r := newReplica()
	r.mustSync(t, srv.open(t), nil)
	r.holds(t, letter(2))
	srv.cfg.IncludeRecoverable = true
	r = newReplica()
	r.mustSync(t, srv.open(t), nil)
	r.holds(t, letter(1), letter(2))
	if !slices.Contains(r.told, "added Recoverable Items/Deletions") {
		t.Errorf("told %q", r.told)
	}
}

// A folder that may not be read, or cannot be, is an error of its own; the others are told. What concerns the mailbox ends
// the Sync, without a Checkpoint beyond what was told.
func TestSyncFolderErrors(t *testing.T) {
	srv, mb := mirrorServer(t, nil)
	bad := mb.Folder("Bad")
	bad.Deliver(letter(1))
	mb.Deliver("Inbox", letter(2))
	mb.Deliver("Sent Items", letter(3))
	for code, kind := range map[string]connection.Kind{
		"ErrorAccessDenied":        connection.ErrPermission,
		"ErrorCorruptData":         connection.ErrCorrupt,
		"ErrorInternalServerError": connection.ErrUnavailable,
		"ErrorFolderNotFound":      connection.ErrNotFound, // and yet it is there
	} {
		t.Run(code, func(t *testing.T) {
			srv.Heal()
			srv.Fail(ewstest.On("SyncFolderItems").About(bad.ID()), ewstest.Refuse(code, "No."))
			c := srv.open(t)
			r := newReplica()
			if err := r.sync(t, c, nil); err != nil {
				t.Fatal(err)
			}
			r.holds(t, letter(2), letter(3))
			var e *connection.Error
			if len(r.errs) != 1 || !errors.As(r.errs[0], &e) || e.Kind != kind || e.Ref.Folder != "Bad" || e.Ref.ID != "" || e.Code != code {
				t.Errorf("got errors %v", r.errs)
			}
			srv.Heal()
			r.mustSync(t, c, nil)
			r.holds(t, letter(1), letter(2), letter(3))
		})
	}
	for code, kind := range map[string]connection.Kind{
		"ErrorNonExistentMailbox":    connection.ErrNotFound,
		"ErrorImpersonateUserDenied": connection.ErrPermission,
		"ErrorMailboxMoveInProgress": connection.ErrUnavailable,
	} {
		t.Run(code, func(t *testing.T) {
			srv.Heal()
			srv.Fail(ewstest.On("SyncFolderItems"), ewstest.Refuse(code, "No."))
			r := newReplica()
			err := r.sync(t, srv.open(t), nil)
			if e := theError(t, err, kind); !e.Ref.IsZero() || e.Code != code || len(r.errs) > 0 {
				t.Errorf("got %v and errors %v", err, r.errs)
			}
		})
	}
}

// An account without a mailbox of its own opens others by its rights on their folders.
func TestSyncAsDelegate(t *testing.T) {
	srv, mb := mirrorServer(t, nil)
	mb.Deliver("Inbox", letter(1))
	srv.AddAccount(svc, ewstest.AccountOptions{Password: canary})
	srv.GrantDelegate(svc, alice)
	srv.cfg.Username, srv.cfg.Access = svc, "delegate"
	r := newReplica()
	opts := &connection.SyncOptions{Mailbox: alice}
	for i := range 2 {
		r.mustSync(t, srv.open(t), opts) // a new process each time
		mb.Deliver("Inbox", letter(i+2))
	}
	r.mustSync(t, srv.open(t), opts)
	r.holds(t, letters(4)[1:]...)
}
