package maildir_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/maildir"
	"github.com/mailconn/mailconn/maildir/maildirtest"
)

// TestAppendFullDisk appends to a file system of 256 KiB until nothing fits.
func TestAppendFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("needs the right to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	tree := maildirtest.At(t, filepath.Join(dir, "Maildir"))
	c := open(t, tree.Config())
	raw := bytes.Repeat([]byte("x"), 100_000)
	stored := 0
	var err error
	for err == nil {
		if _, err = c.Append(t.Context(), "INBOX", bytes.NewReader(raw), nil); err == nil {
			stored++
		}
	}
	if e, ok := errors.AsType[*connection.Error](err); !ok || e.Kind != connection.ErrQuota || !strings.Contains(e.Hint, "room") {
		t.Errorf("got %v, want ErrQuota with a remedy", err)
	}
	left := tree.Messages("INBOX")
	if len(left) != stored || stored == 0 {
		t.Errorf("got %d messages, want %d", len(left), stored)
	}
	for _, m := range left {
		if !bytes.Equal(m, raw) {
			t.Errorf("a partial message of %d octets", len(m))
		}
	}
	if entries, err := os.ReadDir(filepath.Join(tree.Path, "tmp")); err != nil || len(entries) > 0 {
		t.Errorf("got %v in tmp, %v", entries, err)
	}
}

// TestAppendKilled kills a process that appends, at random moments: what it has reported is there, and what is there
// is whole.
func TestAppendKilled(t *testing.T) {
	if path := os.Getenv("MAILDIR_APPEND_TO"); path != "" {
		appendForever(t, path)
		return
	}
	tree := maildirtest.New(t)
	reported := map[string]bool{}
	for range 8 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAppendKilled$")
		cmd.Env = append(os.Environ(), "MAILDIR_APPEND_TO="+tree.Path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 1 + rand.IntN(20) {
			if !lines.Scan() {
				t.Fatal("the process ended by itself")
			}
			reported[lines.Text()] = true
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			reported[lines.Text()] = true
		}
		if err := cmd.Wait(); err == nil {
			t.Error("the process was not killed")
		}
	}
	all, errs := fetch(t, open(t, tree.Config()), nil)
	noErrors(t, errs)
	for id := range reported {
		if _, ok := all[id]; !ok {
			t.Errorf("%q was reported and is not there", id)
		}
	}
	for id, m := range all {
		if m.raw != killedBody {
			t.Errorf("%s holds %d octets, want %d", id, len(m.raw), len(killedBody))
		}
	}
}

var killedBody = strings.Repeat("0123456789abcdef", 3000)

func appendForever(t *testing.T, path string) {
	c, err := maildir.Open(maildir.Config{Path: path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for {
		ref, err := c.Append(t.Context(), "INBOX", strings.NewReader(killedBody), nil)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println(ref.ID)
	}
}
