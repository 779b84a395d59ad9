package maildir_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/maildir"
	"github.com/mailconn/mailconn/maildir/maildirtest"
)

func inboxRef(id string) connection.Ref { return connection.Ref{Folder: "INBOX", ID: id} }

func TestDeleteModeNoneRefuses(t *testing.T) {
	tree := maildirtest.New(t)
	id := tree.Deliver("INBOX", []byte("x"))
	c := open(t, maildir.Config{Path: tree.Path})
	err := c.Delete(t.Context(), inboxRef(id), inboxRef("other"))
	n := 0
	for e := range connection.Errors(err) {
		n++
		if e.Kind != connection.ErrConfig || !strings.Contains(e.Hint, "delete_mode") || e.Ref.IsZero() {
			t.Errorf("got %v, want ErrConfig with a ref, naming delete_mode", e)
		}
	}
	if n != 2 || len(tree.Names("INBOX")) != 1 {
		t.Errorf("got %d errors and %q left, want 2 and the message", n, tree.Names("INBOX"))
	}
}

func TestDeleteFindsTheFileWhereverItIs(t *testing.T) {
	for _, process := range []string{"the one that fetched", "another"} {
		tree := maildirtest.New(t)
		var refs []connection.Ref
		for range 4 {
			refs = append(refs, inboxRef(tree.Deliver("INBOX", []byte("x"))))
		}
		kept := tree.Deliver("INBOX", []byte("kept"))
		tree.Put("INBOX", "cur", refs[0].ID+"0:2,S", []byte("a longer name"))
		c := open(t, tree.Config())
		if process != "another" {
			fetch(t, c, nil)
		}
		tree.SetFlags("INBOX", refs[1].ID, "")
		tree.SetFlags("INBOX", refs[2].ID, "S")
		tree.SetFlags("INBOX", refs[2].ID, "RS")
		tree.Remove("INBOX", refs[3].ID)
		for range 2 { // idempotent
			if err := c.Delete(t.Context(), append(refs, refs[0])...); err != nil {
				t.Errorf("%s: %v", process, err)
			}
		}
		if got, want := tree.Names("INBOX"), []string{"cur/" + refs[0].ID + "0:2,S", "new/" + kept}; !slices.Equal(got, want) {
			t.Errorf("%s: got %q left, want %q", process, got, want)
		}
	}
}

// TestDeleteAnotherMessageUnderTheName: the file that was fetched went away and another came under its name.
func TestDeleteAnotherMessageUnderTheName(t *testing.T) {
	tree := maildirtest.New(t)
	tree.Put("INBOX", "new", "1.a", []byte("stored"))
	c := open(t, tree.Config())
	all, errs := fetch(t, c, nil)
	noErrors(t, errs)
	keep := filepath.Join(t.TempDir(), "old")
	if err := os.Link(filepath.Join(tree.Path, "new", "1.a"), keep); err != nil { // so that its inode is not used again
		t.Fatal(err)
	}
	tree.Remove("INBOX", "1.a")
	tree.Put("INBOX", "cur", "1.a:2,S", []byte("never stored"))
	if err := c.Delete(t.Context(), all["1.a"].Ref); !errors.Is(err, connection.ErrChanged) {
		t.Errorf("got %v, want ErrChanged", err)
	}
	if left := tree.Names("INBOX"); len(left) != 1 {
		t.Errorf("got %q left, want the message that was never stored", left)
	}
}

func TestDeleteOfNothingIsNoError(t *testing.T) {
	tree := maildirtest.New(t)
	c := open(t, tree.Config())
	for _, ref := range []connection.Ref{inboxRef("none"), {Folder: "None", ID: "x"}, {Folder: "../..", ID: "passwd"}, inboxRef("../../etc/passwd"), inboxRef("cur"), {Mailbox: "nobody", Folder: "INBOX", ID: "x"}} {
		if err := c.Delete(t.Context(), ref); err != nil {
			t.Errorf("%v: %v", ref, err)
		}
	}
	if err := c.Delete(t.Context()); err != nil {
		t.Errorf("no refs: %v", err)
	}
	if err := c.Delete(t.Context(), inboxRef("")); !errors.Is(err, connection.ErrInvalid) {
		t.Errorf("no id: got %v, want ErrInvalid", err)
	}
}

func TestDeleteTrash(t *testing.T) {
	tree := maildirtest.New(t)
	tree.Put("INBOX", "new", "1.a", nil)
	tree.Put("INBOX", "cur", "2.b:2,S", nil)
	tree.Put("INBOX", "cur", "3.c:2,ST", nil)
	cfg := tree.Config()
	cfg.DeleteMode = maildir.DeleteTrash
	c := open(t, cfg)
	refs := []connection.Ref{inboxRef("1.a"), inboxRef("2.b"), inboxRef("3.c")}
	fetch(t, c, nil)
	for range 2 {
		if err := c.Delete(t.Context(), refs...); err != nil {
			t.Error(err)
		}
	}
	if got, want := tree.Names("INBOX"), []string{"cur/1.a:2,T", "cur/2.b:2,ST", "cur/3.c:2,ST"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	all, _ := fetch(t, c, nil)
	if m, ok := all["1.a"]; !ok || !slices.Contains(m.Flags, connection.FlagDeleted) {
		t.Errorf("got %v, want 1.a with FlagDeleted", all)
	}
}

func TestDeleteMove(t *testing.T) {
	away := maildirtest.New(t)
	for name, target := range map[string]string{"folder": "Archived", "path": away.Path} {
		t.Run(name, func(t *testing.T) {
			tree := maildirtest.New(t)
			tree.AddFolder("Archived")
			tree.Put("INBOX", "new", "1.a", []byte("one"))
			tree.Put("INBOX", "cur", "2.b:2,S", []byte("two"))
			to := &maildirtest.Tree{}
			folder := "Archived"
			to = tree
			if name == "path" {
				to, folder = away, "INBOX"
			}
			to.Put(folder, "cur", "2.b:2,S", []byte("other mail of that name"))
			cfg := tree.Config()
			cfg.DeleteMode, cfg.MoveTo = maildir.DeleteMove, target
			c := open(t, cfg)
			all, errs := fetch(t, c, nil)
			noErrors(t, errs)
			wantKeys(t, all, "1.a", "2.b")
			for range 2 {
				if err := c.Delete(t.Context(), inboxRef("1.a"), inboxRef("2.b"), inboxRef("3.none")); err != nil {
					t.Error(err)
				}
			}
			if left := tree.Names("INBOX"); len(left) != 0 {
				t.Errorf("got %q left", left)
			}
			var raw []string
			for _, m := range to.Messages(folder) {
				raw = append(raw, string(m))
			}
			slices.Sort(raw)
			if want := []string{"one", "other mail of that name", "two"}; !slices.Equal(raw, want) {
				t.Errorf("got %q there, want %q", raw, want)
			}
			all, errs = fetch(t, c, nil)
			noErrors(t, errs)
			wantKeys(t, all)
		})
	}
}

func TestDeleteMoveToNowhere(t *testing.T) {
	tree := maildirtest.New(t)
	id := tree.Deliver("INBOX", []byte("x"))
	for _, target := range []string{"None", filepath.Join(t.TempDir(), "none")} {
		cfg := tree.Config()
		cfg.DeleteMode, cfg.MoveTo = maildir.DeleteMove, target
		err := open(t, cfg).Delete(t.Context(), inboxRef(id))
		if !errors.Is(err, connection.ErrConfig) || !strings.Contains(err.Error(), "move_to") {
			t.Errorf("%s: got %v, want ErrConfig that names move_to", target, err)
		}
	}
	if len(tree.Names("INBOX")) != 1 {
		t.Error("the message is gone")
	}
}

// A message that is where it is to go stays: what looks like its second link there is the message itself.
func TestDeleteMoveOntoItself(t *testing.T) {
	for _, how := range []string{"path", "link", "placeholder", "mailbox", "folder"} {
		t.Run(how, func(t *testing.T) {
			tree := maildirtest.New(t)
			tree.AddFolder("Archived")
			cfg := tree.Config()
			cfg.DeleteMode, cfg.MoveTo = maildir.DeleteMove, tree.Path
			folder, mailbox := "INBOX", ""
			switch how {
			case "link":
				cfg.MoveTo = filepath.Join(t.TempDir(), "link")
				if err := os.Symlink(tree.Path, cfg.MoveTo); err != nil {
					t.Skipf("no symbolic links here: %v", err)
				}
			case "placeholder":
				mailbox = filepath.Base(tree.Path)
				cfg.Path, cfg.MoveTo = filepath.Join(filepath.Dir(tree.Path), "*"), filepath.Join(filepath.Dir(tree.Path), "{mailbox}")
			case "mailbox":
				mailbox = filepath.Base(tree.Path)
				cfg.Path = filepath.Join(filepath.Dir(tree.Path), "*")
			case "folder":
				cfg.MoveTo, folder = "Archived", "Archived"
			}
			tree.Put(folder, "new", "1.a", []byte("one"))
			tree.Put(folder, "cur", "2.b:2,S", []byte("two"))
			refs := []connection.Ref{{Mailbox: mailbox, Folder: folder, ID: "1.a"}, {Mailbox: mailbox, Folder: folder, ID: "2.b"}}
			err := open(t, cfg).Delete(t.Context(), refs...)
			if !errors.Is(err, connection.ErrConfig) || !strings.Contains(err.Error(), "move_to") {
				t.Errorf("got %v, want ErrConfig that names move_to", err)
			}
			if got, want := tree.Names(folder), []string{"cur/2.b:2,S", "new/1.a"}; !slices.Equal(got, want) {
				t.Errorf("got %q left, want %q", got, want)
			}
		})
	}
}

// What deleted messages go to is not read, also where path matches it.
func TestMoveTargetIsNotRead(t *testing.T) {
	for _, how := range []string{"a mailbox", "a folder by its path"} {
		t.Run(how, func(t *testing.T) {
			base := t.TempDir()
			source := maildirtest.At(t, filepath.Join(base, "user"))
			cfg := maildir.Config{Path: filepath.Join(base, "*"), DeleteMode: maildir.DeleteMove}
			if how == "a mailbox" {
				cfg.MoveTo = maildirtest.At(t, filepath.Join(base, "archive")).Path
			} else {
				source.AddFolder("Archived")
				cfg.MoveTo = filepath.Join(source.Path, ".Archived")
			}
			source.Deliver("INBOX", []byte("one"))
			c := open(t, cfg)
			store := func(context.Context, *connection.Message) error { return nil }
			for want := int64(1); want >= 0; want-- {
				stats, err := connection.Drain(t.Context(), c, store, nil)
				if err != nil || stats.Stored != want || stats.Deleted != want {
					t.Errorf("got %+v, %v, want %d stored and deleted", stats, err, want)
				}
			}
			if entries, err := os.ReadDir(filepath.Join(cfg.MoveTo, "cur")); err != nil || len(entries) != 1 {
				t.Errorf("got %v, %v there, want the message", entries, err)
			}
			if _, err := c.Test(t.Context(), &connection.TestOptions{Write: true}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMark(t *testing.T) {
	tree := maildirtest.New(t)
	tree.Put("INBOX", "new", "1.a", nil)
	tree.Put("INBOX", "cur", "2.b:2,RZ,tail", nil)
	tree.Put("INBOX", "cur", "3.c:2,S", nil)
	if err := os.WriteFile(filepath.Join(tree.Path, "dovecot-keywords"), []byte("0 Poison\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := open(t, tree.Config())
	refs := []connection.Ref{inboxRef("1.a"), inboxRef("2.b"), inboxRef("3.c"), inboxRef("4.none")}
	if err := c.Mark(t.Context(), refs, connection.FlagSeen, "poison"); err != nil {
		t.Error(err)
	}
	if got, want := tree.Names("INBOX"), []string{"cur/1.a:2,Sa", "cur/2.b:2,RSZa,tail", "cur/3.c:2,Sa"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := c.Mark(t.Context(), refs[:1], "Unknown"); !errors.Is(err, connection.ErrUnsupported) {
		t.Errorf("unknown keyword: got %v, want ErrUnsupported", err)
	}
}

func TestOpenFindsTheMessageAgain(t *testing.T) {
	tree := maildirtest.New(t)
	id := tree.Deliver("INBOX", []byte("raw"))
	tree.SetFlags("INBOX", id, "S")
	c := open(t, tree.Config())
	m, err := c.Open(t.Context(), inboxRef(id))
	if err != nil {
		t.Fatal(err)
	}
	if m.Size != 3 || !slices.Equal(m.Flags, []connection.Flag{connection.FlagSeen}) || m.Ref != inboxRef(id) {
		t.Errorf("got %+v", m)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := m.Body.Read(make([]byte, 1)); !errors.Is(err, connection.ErrClosed) {
		t.Errorf("reading after Close of the connection: got %v, want ErrClosed", err)
	}
	if _, err := c.Open(t.Context(), inboxRef(id)); !errors.Is(err, connection.ErrClosed) {
		t.Errorf("Open after Close: got %v, want ErrClosed", err)
	}
	if _, err := open(t, tree.Config()).Open(t.Context(), inboxRef("none")); !errors.Is(err, connection.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}
