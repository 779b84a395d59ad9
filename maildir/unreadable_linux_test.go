package maildir_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/maildir"
	"github.com/mailconn/mailconn/maildir/maildirtest"
)

// asNobody runs f without root's right to read everything. f must not start goroutines that need to lack it.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() == 0 {
		const nobody = 65534
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if _, err := unix.SetfsuidRetUid(nobody); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if _, err := unix.SetfsuidRetUid(0); err != nil {
				t.Fatal(err)
			}
		}()
	}
	f()
}

// TestADirectoryThatCannotBeListedHidesNothing: somebody takes away the right to list a directory with folders in it.
// They are not gone, and that they are not read is told.
func TestADirectoryThatCannotBeListedHidesNothing(t *testing.T) {
	dir := t.TempDir()
	inside := maildirtest.At(t, filepath.Join(dir, "Archive", "2024"))
	maildirtest.At(t, dir).Deliver("INBOX", []byte("in the inbox"))
	inside.Deliver("INBOX", []byte("archived"))
	must(t, filepath.WalkDir(filepath.Dir(dir), func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chmod(path, 0o755))
	}))
	cfg := maildir.Config{Path: dir, Layout: maildir.LayoutFS}
	r := newReplica()
	r.sync(t, open(t, cfg), nil)
	if len(r.messages) != 2 || !r.folders["Archive/2024"] {
		t.Fatalf("got %v, want a message in INBOX and one in Archive/2024", r.messages)
	}

	must(t, os.Chmod(filepath.Join(dir, "Archive"), 0o311))
	t.Cleanup(func() { must(t, os.Chmod(filepath.Join(dir, "Archive"), 0o755)) })
	asNobody(t, func() {
		var told []error
		for ch, err := range open(t, cfg).Sync(t.Context(), r.cp, nil) {
			if err != nil {
				told = append(told, err)
				continue
			}
			if ch.Op == connection.FolderRemoved {
				t.Errorf("Sync: %s is told as removed, and is not", ch.Folder.Name)
			}
			r.apply(t, ch)
		}
		wantUnlisted(t, "Sync", told)
		told = nil
		for m, err := range open(t, cfg).Fetch(t.Context(), nil) {
			if err != nil {
				told = append(told, err)
			} else if m.Folder != "INBOX" {
				t.Errorf("Fetch: got a message of %s", m.Folder)
			}
		}
		wantUnlisted(t, "Fetch", told)
	})

	must(t, os.Chmod(filepath.Join(dir, "Archive"), 0o755))
	inside.Deliver("INBOX", []byte("another"))
	r.sync(t, open(t, cfg), nil)
	if len(r.messages) != 3 {
		t.Errorf("afterwards: got %v, want three messages", r.messages)
	}
}

func wantUnlisted(t *testing.T, verb string, told []error) {
	t.Helper()
	var e *connection.Error
	if len(told) != 1 || !errors.As(told[0], &e) || e.Kind != connection.ErrPermission || e.Ref != (connection.Ref{Folder: "Archive"}) || e.Hint == "" {
		t.Errorf("%s: got %v, want one ErrPermission about the folder Archive, with a hint", verb, told)
	}
}
