//go:build unix

package maildir_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/maildir"
	"github.com/mailconn/mailconn/maildir/maildirtest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// outside makes a file that no sweep may read.
func outside(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shadow")
	must(t, os.WriteFile(path, []byte("root:secret"), 0o600))
	return path
}

func TestLinksFIFOsAndDevicesAreNoMessages(t *testing.T) {
	for _, follow := range []bool{false, true} {
		tree := maildirtest.New(t)
		cur := filepath.Join(tree.Path, "cur")
		tree.Put("INBOX", "cur", "1.mail:2,S", []byte("mail"))
		must(t, os.Symlink(outside(t), filepath.Join(cur, "2.absolute:2,S")))
		rel, err := filepath.Rel(cur, outside(t))
		must(t, err)
		must(t, os.Symlink(rel, filepath.Join(cur, "3.relative:2,S")))
		must(t, os.Symlink("4.loop:2,S", filepath.Join(cur, "4.loop:2,S")))
		must(t, os.Symlink("1.mail:2,S", filepath.Join(cur, "5.inside:2,S")))
		must(t, os.Symlink("6.fifo", filepath.Join(cur, "7.tofifo:2,S")))
		must(t, syscall.Mkfifo(filepath.Join(cur, "6.fifo"), 0o600))
		if os.Geteuid() == 0 {
			must(t, syscall.Mknod(filepath.Join(cur, "8.device"), syscall.S_IFCHR|0o600, 1<<8|5)) // /dev/zero
		}
		cfg := tree.Config()
		cfg.FollowSymlinks = follow
		var skipped []string
		all, errs := fetch(t, openEnv(t, cfg, &connection.Env{Observe: func(ev connection.Event) {
			if ev.Kind == connection.EventSkipped {
				skipped = append(skipped, ev.Ref.ID)
			}
		}}), nil)
		for id, m := range all {
			if m.raw != "mail" {
				t.Errorf("follow_symlinks %v: %s holds %q", follow, id, m.raw)
			}
		}
		if follow {
			wantKeys(t, all, "1.mail", "5.inside")
			for _, e := range errs {
				if !errors.Is(e, connection.ErrPermission) {
					t.Errorf("got %v, want ErrPermission", e)
				}
			}
			continue
		}
		noErrors(t, errs)
		wantKeys(t, all, "1.mail")
		if !slices.Contains(skipped, "2.absolute") || !slices.Contains(skipped, "6.fifo") {
			t.Errorf("got skipped %q, want the link and the FIFO in it", skipped)
		}
	}
}

func TestHardLinkToAnotherUsersFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to make files of several users")
	}
	tree := maildirtest.New(t)
	const eve = 12345
	must(t, os.Chown(filepath.Join(tree.Path, "cur"), eve, eve))
	tree.Put("INBOX", "cur", "1.own:2,S", []byte("own"))
	must(t, os.Chown(filepath.Join(tree.Path, "cur", "1.own:2,S"), eve, eve))
	must(t, os.Link(filepath.Join(tree.Path, "cur", "1.own:2,S"), filepath.Join(t.TempDir(), "own")))
	must(t, os.Link(outside(t), filepath.Join(tree.Path, "cur", "2.shadow:2,S")))
	// Written by a delivery agent that is root: one link, so nobody else's.
	tree.Put("INBOX", "cur", "3.delivered:2,S", []byte("delivered"))
	all, errs := fetch(t, open(t, tree.Config()), nil)
	wantKeys(t, all, "1.own", "3.delivered")
	if len(errs) != 1 || errs[0].Ref.ID != "2.shadow" || !errors.Is(errs[0], connection.ErrPermission) {
		t.Errorf("got %v, want ErrPermission about 2.shadow", errs)
	}
	if strings.Contains(errs[0].Error(), "secret") {
		t.Error("the error holds the file's content")
	}
}

func TestCurIsALink(t *testing.T) {
	tree := maildirtest.New(t)
	must(t, os.Remove(filepath.Join(tree.Path, "cur")))
	must(t, os.Mkdir(filepath.Join(tree.Path, "elsewhere"), 0o700))
	must(t, os.Symlink("elsewhere", filepath.Join(tree.Path, "cur")))
	tree.Put("INBOX", "cur", "1.a:2,S", []byte("inside"))
	all, errs := fetch(t, open(t, tree.Config()), nil)
	noErrors(t, errs)
	wantKeys(t, all, "1.a")

	away := t.TempDir()
	must(t, os.WriteFile(filepath.Join(away, "2.b:2,S"), []byte("outside"), 0o600))
	must(t, os.Remove(filepath.Join(tree.Path, "cur")))
	must(t, os.Symlink(away, filepath.Join(tree.Path, "cur")))
	all, errs = fetch(t, open(t, tree.Config()), nil)
	wantKeys(t, all)
	if len(errs) != 1 || !errors.Is(errs[0], connection.ErrPermission) {
		t.Errorf("got %v, want ErrPermission", errs)
	}
	c := open(t, tree.Config())
	if err := c.Delete(t.Context(), connection.Ref{Folder: "INBOX", ID: "2.b"}); !errors.Is(err, connection.ErrPermission) {
		t.Errorf("delete through the link: got %v, want ErrPermission", err)
	}
	if _, err := os.Stat(filepath.Join(away, "2.b:2,S")); err != nil {
		t.Error(err)
	}
}

// TestFIFOsAsDirectories: none of these may block.
func TestFIFOsAsDirectories(t *testing.T) {
	home := t.TempDir()
	bob := maildirtest.At(t, filepath.Join(home, "bob", "Maildir"))
	bob.Put("INBOX", "new", "1.a", []byte("bob"))
	must(t, os.Mkdir(filepath.Join(home, "eve"), 0o700))
	must(t, syscall.Mkfifo(filepath.Join(home, "eve", "Maildir"), 0o600))
	must(t, os.MkdirAll(filepath.Join(home, "mallory", "Maildir", "new"), 0o700))
	must(t, syscall.Mkfifo(filepath.Join(home, "mallory", "Maildir", "cur"), 0o600))
	must(t, syscall.Mkfifo(filepath.Join(home, "mallory", "Maildir", "dovecot-keywords"), 0o600))
	all, errs := fetch(t, open(t, maildir.Config{Path: filepath.Join(home, "*", "Maildir")}), nil)
	wantKeys(t, all, "bob/INBOX/1.a")
	for _, e := range errs {
		if e.Ref.Mailbox != "mallory" {
			t.Errorf("unexpected: %v", e)
		}
	}
	fifo := filepath.Join(home, "fifo")
	must(t, syscall.Mkfifo(fifo, 0o600))
	if _, errs := fetch(t, open(t, maildir.Config{Path: fifo}), nil); len(errs) != 1 || !errors.Is(errs[0], connection.ErrConfig) {
		t.Errorf("a FIFO as path: got %v, want ErrConfig", errs)
	}
}

// TestMailboxIsALink: eve's Maildir is a link to bob's.
func TestMailboxIsALink(t *testing.T) {
	home := t.TempDir()
	bob := maildirtest.At(t, filepath.Join(home, "bob", "Maildir"))
	bob.Put("INBOX", "new", "1.a", []byte("bob"))
	must(t, os.Mkdir(filepath.Join(home, "eve"), 0o700))
	must(t, os.Symlink("../bob/Maildir", filepath.Join(home, "eve", "Maildir")))
	must(t, os.Symlink("bob", filepath.Join(home, "alias")))
	cfg := maildir.Config{Path: filepath.Join(home, "*", "Maildir"), DeleteMode: maildir.DeleteRemove}
	c := open(t, cfg)
	all, errs := fetch(t, c, nil)
	wantKeys(t, all, "bob/INBOX/1.a")
	if len(errs) != 2 {
		t.Errorf("got %v, want an error for eve and one for alias", errs)
	}
	for _, e := range errs {
		if e.Ref.Mailbox != "eve" && e.Ref.Mailbox != "alias" || !errors.Is(e, connection.ErrPermission) {
			t.Errorf("got %v, want ErrPermission about eve or alias", e)
		}
	}
	for _, mailbox := range []string{"eve", "alias", "../bob", "bob/../bob"} {
		if err := c.Delete(t.Context(), connection.Ref{Mailbox: mailbox, Folder: "INBOX", ID: "1.a"}); err != nil && !errors.Is(err, connection.ErrPermission) {
			t.Errorf("delete as %s: got %v", mailbox, err)
		}
	}
	if len(bob.Messages("INBOX")) != 1 {
		t.Error("bob's message was deleted through a link")
	}
	cfg.FollowSymlinks = true
	all, errs = fetch(t, open(t, cfg), nil)
	wantKeys(t, all, "alias/INBOX/1.a", "bob/INBOX/1.a")
	for _, e := range errs {
		if e.Ref.Mailbox != "eve" {
			t.Errorf("got %v, want only eve's link refused, which leads out of her tree", e)
		}
	}
}

// TestLinkIsSwappedIn replaces a mailbox by a link to another's and back, all the time: nothing of bob's comes as eve's.
func TestLinkIsSwappedIn(t *testing.T) {
	home := t.TempDir()
	bob := maildirtest.At(t, filepath.Join(home, "bob"))
	bob.Put("INBOX", "new", "1.bob", []byte("bob"))
	eve := maildirtest.At(t, filepath.Join(home, "eve"))
	eve.Put("INBOX", "new", "2.eve", []byte("eve"))
	var stop atomic.Bool
	done := make(chan error)
	go func() {
		for !stop.Load() {
			for _, step := range []func() error{
				func() error { return os.Rename(filepath.Join(home, "eve"), filepath.Join(home, ".eve")) },
				func() error { return os.Symlink("bob", filepath.Join(home, "eve")) },
				func() error { return os.Remove(filepath.Join(home, "eve")) },
				func() error { return os.Rename(filepath.Join(home, ".eve"), filepath.Join(home, "eve")) },
			} {
				if err := step(); err != nil {
					done <- err
					return
				}
			}
		}
		done <- nil
	}()
	c := open(t, maildir.Config{Path: filepath.Join(home, "*")})
	for range 300 {
		for m, err := range c.Fetch(t.Context(), nil) {
			if err == nil && m.Ref.Mailbox != strings.TrimPrefix(m.Ref.ID[1:], ".") {
				t.Fatalf("%s came as %s's", m.Ref.ID, m.Ref.Mailbox)
			}
		}
	}
	stop.Store(true)
	must(t, <-done)
}

func TestPermissionHintNamesPathRightAndUser(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	tree := maildirtest.New(t)
	must(t, os.Chmod(filepath.Join(tree.Path, "cur"), 0))
	_, errs := fetch(t, open(t, tree.Config()), nil)
	if len(errs) != 1 || !strings.Contains(errs[0].Hint, filepath.Join(tree.Path, "cur")) || !strings.Contains(errs[0].Hint, "uid") {
		t.Errorf("got %v, want a hint with path and user", errs)
	}
}
