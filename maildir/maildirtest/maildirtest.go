// Package maildirtest makes Maildir trees for tests, and delivers to them, renames in them and removes from them as
// mail programs do. It writes files by itself, not through package maildir, so that a test that uses both compares two
// opinions of the format.
package maildirtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailconn/mailconn/maildir"
)

// A Tree is one Maildir++ tree. Its methods may be used by several goroutines at once; they end the test on an error,
// so they must be called from the test's own goroutine unless the name begins with Try.
type Tree struct {
	// Path is the directory that holds new, cur and tmp of INBOX.
	Path string

	tb      testing.TB
	counter atomic.Int64
}

// New returns an empty tree in a directory that the test removes at its end.
func New(tb testing.TB) *Tree {
	tb.Helper()
	return At(tb, filepath.Join(tb.TempDir(), "Maildir"))
}

// At returns the tree at path, with INBOX made if it is missing.
func At(tb testing.TB, path string) *Tree {
	tb.Helper()
	t := &Tree{Path: path, tb: tb}
	t.AddFolder("INBOX")
	return t
}

// Config returns settings for the tree, with delete_mode remove.
func (t *Tree) Config() maildir.Config {
	return maildir.Config{Path: t.Path, DeleteMode: maildir.DeleteRemove}
}

// Dir returns the directory of folder: Path for INBOX, else ".A.B" below it for "A/B". Names are taken as they are,
// without modified UTF-7.
func (t *Tree) Dir(folder string) string {
	if folder == "INBOX" {
		return t.Path
	}
	return filepath.Join(t.Path, "."+strings.ReplaceAll(folder, "/", "."))
}

// AddFolder makes folder.
func (t *Tree) AddFolder(folder string) {
	t.tb.Helper()
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(t.Dir(folder), sub), 0o700); err != nil {
			t.tb.Fatal(err)
		}
	}
}

// Deliver delivers raw to folder's new, as a delivery agent does, and returns the unique name.
func (t *Tree) Deliver(folder string, raw []byte) string {
	t.tb.Helper()
	unique, err := t.TryDeliver(folder, raw)
	if err != nil {
		t.tb.Fatal(err)
	}
	return unique
}

// TryDeliver is Deliver for any goroutine.
func (t *Tree) TryDeliver(folder string, raw []byte) (unique string, err error) {
	unique = fmt.Sprintf("%d.M%dP%dQ%d.maildirtest", time.Now().Unix(), time.Now().Nanosecond()/1000, os.Getpid(), t.counter.Add(1))
	tmp := filepath.Join(t.Dir(folder), "tmp", unique)
	if err := os.WriteFile(tmp, raw, 0o600); err != nil {
		return "", err
	}
	return unique, os.Rename(tmp, filepath.Join(t.Dir(folder), "new", unique))
}

// Put writes raw to the file called name in sub ("new", "cur" or "tmp") of folder.
func (t *Tree) Put(folder, sub, name string, raw []byte) {
	t.tb.Helper()
	if err := os.WriteFile(filepath.Join(t.Dir(folder), sub, name), raw, 0o600); err != nil {
		t.tb.Fatal(err)
	}
}

// File returns the path of the file with the unique name, wherever in folder it is now; "" if it is not there.
func (t *Tree) File(folder, unique string) string {
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(t.Dir(folder), sub))
		if err != nil {
			continue
		}
		for _, e := range entries {
			if rest, ok := strings.CutPrefix(e.Name(), unique); ok && (rest == "" || strings.HasPrefix(rest, ":2,")) {
				return filepath.Join(t.Dir(folder), sub, e.Name())
			}
		}
	}
	return ""
}

// SetFlags renames the message as a mail program does: to cur, with letters as its flags.
func (t *Tree) SetFlags(folder, unique, letters string) {
	t.tb.Helper()
	if err := t.TrySetFlags(folder, unique, letters); err != nil {
		t.tb.Fatal(err)
	}
}

// TrySetFlags is SetFlags for any goroutine.
func (t *Tree) TrySetFlags(folder, unique, letters string) error {
	return os.Rename(t.File(folder, unique), filepath.Join(t.Dir(folder), "cur", unique+":2,"+letters))
}

// Remove removes the message.
func (t *Tree) Remove(folder, unique string) {
	t.tb.Helper()
	if err := os.Remove(t.File(folder, unique)); err != nil {
		t.tb.Fatal(err)
	}
}

// Names returns the file names in new and cur of folder, sorted, each with its directory: "cur/1.x:2,S".
func (t *Tree) Names(folder string) []string {
	t.tb.Helper()
	var names []string
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(t.Dir(folder), sub))
		if err != nil {
			t.tb.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, sub+"/"+e.Name())
		}
	}
	slices.Sort(names)
	return names
}

// Messages returns what the messages of folder hold. Others may rename and remove them meanwhile.
func (t *Tree) Messages(folder string) [][]byte {
	t.tb.Helper()
	for range 1000 {
		all, err := t.read(folder)
		if err == nil {
			return all
		}
		if !errors.Is(err, fs.ErrNotExist) {
			t.tb.Fatal(err)
		}
	}
	t.tb.Fatalf("maildirtest: the files of %s are renamed all the time", folder)
	return nil
}

func (t *Tree) read(folder string) ([][]byte, error) {
	var all [][]byte
	for _, name := range t.Names(folder) {
		raw, err := os.ReadFile(filepath.Join(t.Dir(folder), name))
		if err != nil {
			return nil, err
		}
		all = append(all, raw)
	}
	return all, nil
}
