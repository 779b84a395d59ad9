package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// maildirUsers delivers raws in turn to the folders of several users and returns the pattern of their Maildirs.
func maildirUsers(t *testing.T, raws [][]byte) string {
	t.Helper()
	home := t.TempDir()
	folders := []string{".", ".Sent", ".Archive.2024"}
	for i, raw := range raws {
		user, folder := fmt.Sprintf("user%d", i%3), folders[i/3%len(folders)]
		root := filepath.Join(home, user, "Maildir", folder)
		for _, sub := range []string{"tmp", "new", "cur"} {
			if err := os.MkdirAll(filepath.Join(root, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(root, "new", fmt.Sprintf("17000%05d.M%dP1.host", i, i))
		if i%2 == 0 {
			path = filepath.Join(root, "cur", fmt.Sprintf("17000%05d.M%dP1.host:2,S", i, i))
		}
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(home, "*", "Maildir")
}

func samples(n int, seed uint64) [][]byte {
	var raws [][]byte
	for raw := range imaptest.SampleMessages(n, seed) {
		raws = append(raws, raw)
	}
	return raws
}

func filesBelow(t *testing.T, pattern string) int {
	t.Helper()
	n := 0
	for _, glob := range []string{"new/*", "cur/*", ".*/new/*", ".*/cur/*"} {
		paths, err := filepath.Glob(filepath.Join(pattern, glob))
		if err != nil {
			t.Fatal(err)
		}
		n += len(paths)
	}
	return n
}

func TestMaildirSweep(t *testing.T) {
	raws := samples(300, 3)
	pattern := maildirUsers(t, raws)
	dir := filepath.Join(t.TempDir(), "new", "archive")

	keep := settingsFile(t, "maildir", map[string]any{"path": pattern})
	runArgs(t, "-keep", "-from", keep, "-to", dir).want(t, exitOK, "Stored 300 messages", "Nothing was deleted")
	if got := filesBelow(t, pattern); got != 300 {
		t.Errorf("got %d messages in the Maildirs, want all 300", got)
	}
	wantArchived(t, dir, raws)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the new archive folder: %v, %v; want it for its owner alone", info.Mode(), err)
	}

	move := settingsFile(t, "maildir", map[string]any{"path": pattern, "delete_mode": "remove"})
	runArgs(t, "-from", move, "-to", dir).want(t, exitOK, "the archive had 300 of them already", "Deleted 300")
	if got := filesBelow(t, pattern); got != 0 {
		t.Errorf("got %d messages in the Maildirs, want none", got)
	}
	wantArchived(t, dir, raws)
	runArgs(t, "-verify", dir).want(t, exitOK, "600 manifest lines of 2 runs", "the archive is whole")
}

// Without -keep, settings that delete nothing are a mistake that is named, and nothing is deleted.
func TestMaildirDeletesOnlyWhenAsked(t *testing.T) {
	raws := samples(10, 4)
	pattern := maildirUsers(t, raws)
	from := settingsFile(t, "maildir", map[string]any{"path": pattern})
	runArgs(t, "-from", from, "-to", t.TempDir()).want(t, exitFailed, "delete_mode")
	if got := filesBelow(t, pattern); got != 10 {
		t.Errorf("got %d messages in the Maildirs, want all 10", got)
	}
}
