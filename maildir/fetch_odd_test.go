package maildir_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/maildir"
	"github.com/mailconn/mailconn/maildir/maildirtest"
)

// TestFetchTwoFilesOneName: two files that share a unique part are two messages, and neither is deleted for the other.
func TestFetchTwoFilesOneName(t *testing.T) {
	tree := maildirtest.New(t)
	tree.Put("INBOX", "new", "1.a", []byte("first"))
	tree.Put("INBOX", "cur", "1.a:2,S", []byte("second"))
	all, errs := fetch(t, open(t, tree.Config()), nil)
	noErrors(t, errs)
	var raw []string
	for _, m := range all {
		raw = append(raw, m.raw)
	}
	slices.Sort(raw)
	if !slices.Equal(raw, []string{"first", "second"}) {
		t.Fatalf("got %q, want both", raw)
	}
	// Another process knows the refs only.
	c := open(t, tree.Config())
	if err := c.Delete(t.Context(), connection.Ref{Folder: "INBOX", ID: "1.a"}); !errors.Is(err, connection.ErrChanged) {
		t.Errorf("ambiguous ref: got %v, want ErrChanged", err)
	}
	for id, m := range all {
		if id == "1.a" {
			continue
		}
		if err := c.Delete(t.Context(), m.Ref); err != nil {
			t.Error(err)
		}
		if left := tree.Messages("INBOX"); len(left) != 1 || string(left[0]) == m.raw {
			t.Errorf("after deleting %q: got %q left", m.raw, left)
		}
	}
}

func TestFetchHardLinksInTwoFolders(t *testing.T) {
	tree := maildirtest.New(t)
	tree.AddFolder("Copy")
	tree.Put("INBOX", "cur", "1.a:2,S", []byte("one"))
	if err := os.Link(filepath.Join(tree.Path, "cur", "1.a:2,S"), filepath.Join(tree.Dir("Copy"), "cur", "1.a:2,S")); err != nil {
		t.Fatal(err)
	}
	all, errs := fetch(t, open(t, tree.Config()), nil)
	noErrors(t, errs)
	wantKeys(t, all, "1.a", "Copy/1.a")
}

// TestFetchCrashedDelivery: one file with two links in new and cur, as a crash between link and unlink leaves it.
func TestFetchCrashedDelivery(t *testing.T) {
	tree := maildirtest.New(t)
	tree.Put("INBOX", "new", "1.a", []byte("one"))
	if err := os.Link(filepath.Join(tree.Path, "new", "1.a"), filepath.Join(tree.Path, "cur", "1.a:2,S")); err != nil {
		t.Fatal(err)
	}
	all, errs := fetch(t, open(t, tree.Config()), nil)
	noErrors(t, errs)
	wantKeys(t, all, "1.a")
}

func TestFetchUnreadableFolderDoesNotStopOthers(t *testing.T) {
	tree := maildirtest.New(t)
	tree.AddFolder("A")
	tree.Put("A", "new", "1.a", nil)
	tree.AddFolder("B")
	tree.Put("B", "new", "2.b", nil)
	// cur that is a file cannot be read by root either.
	if err := os.Remove(filepath.Join(tree.Dir("A"), "cur")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/", filepath.Join(tree.Dir("A"), "cur")); err != nil {
		t.Fatal(err)
	}
	all, errs := fetch(t, open(t, tree.Config()), nil)
	wantKeys(t, all, "B/2.b")
	if len(errs) != 1 || errs[0].Ref != (connection.Ref{Folder: "A"}) || !errors.Is(errs[0], connection.ErrPermission) || !strings.Contains(errs[0].Hint, "symbolic link") {
		t.Errorf("got %v, want one ErrPermission about folder A that says why", errs)
	}
}

func TestFetchMissingPathIsAnError(t *testing.T) {
	for name, path := range map[string]string{
		"missing": filepath.Join(t.TempDir(), "x"), "no maildir": t.TempDir(), "no match": filepath.Join(t.TempDir(), "*"), "a file": "fetch_test.go",
	} {
		all, errs := fetch(t, open(t, maildir.Config{Path: path}), nil)
		if len(all) != 0 || len(errs) != 1 || !errors.Is(errs[0], connection.ErrConfig) || !strings.Contains(errs[0].Hint, "path") {
			t.Errorf("%s: got %v, want one ErrConfig that names path", name, errs)
		}
	}
}

func TestFetchWrongSizeInName(t *testing.T) {
	tree := maildirtest.New(t)
	tree.Put("INBOX", "cur", "1.a,S=4,W=5:2,S", []byte("four"))
	tree.Put("INBOX", "cur", "2.b,S=9:2,S", []byte("four"))
	var quirks []string
	c := openEnv(t, tree.Config(), &connection.Env{Observe: func(ev connection.Event) {
		if ev.Kind == connection.EventQuirk {
			quirks = append(quirks, ev.Ref.ID)
		}
	}})
	all, errs := fetch(t, c, nil)
	noErrors(t, errs)
	if all["1.a,S=4,W=5"].Size != 4 || all["2.b,S=9"].Size != 4 {
		t.Errorf("got %v, want sizes of 4, as the files have", all)
	}
	if !reflect.DeepEqual(quirks, []string{"2.b,S=9"}) {
		t.Errorf("got quirks of %q, want one of 2.b", quirks)
	}
}

func TestFollowSeesDeliveryFolderAndRename(t *testing.T) {
	tree := maildirtest.New(t)
	first := tree.Deliver("INBOX", []byte("first"))
	cfg := tree.Config()
	cfg.PollInterval = connection.Duration(20 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	step := 0
	seen := map[string]bool{}
	var last error
	for m, err := range open(t, cfg).Fetch(ctx, &connection.FetchOptions{Follow: true}) {
		if err != nil {
			last = err
			break
		}
		if seen[m.Ref.String()] {
			t.Errorf("%s came twice", m.Ref)
		}
		seen[m.Ref.String()] = true
		step++
		switch step {
		case 1:
			tree.SetFlags("INBOX", first, "S")
			tree.Deliver("INBOX", []byte("second"))
		case 2:
			tree.AddFolder("Later")
			tree.Deliver("Later", []byte("third"))
		case 3:
			cancel()
		}
	}
	if step != 3 || !errors.Is(last, context.Canceled) {
		t.Errorf("got %d messages and %v, want 3 and context.Canceled", step, last)
	}
}
