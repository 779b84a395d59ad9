package main

import (
	"bytes"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mailconn/mailconn/internal/peertest"
)

// smallDisk mounts a file system of so many octets. Only root may; others skip, visibly.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
		t.Skipf("a small file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// The disk fills up in the middle of a run: nothing that is not stored is deleted, the error says what is full, and with
// more room the next run takes the rest.
func TestFullDisk(t *testing.T) {
	raws := samples(300, 15)
	srv, from := demoServer(t, raws)
	dir := smallDisk(t, 1<<20)
	runArgs(t, "-from", from, "-to", dir).want(t, exitFailed, "no space left", "location")
	found := archived(t, dir)
	left := srv.Messages()
	if len(found) == 0 || len(left) == 0 {
		t.Fatalf("got %d messages in the archive and %d on the server: the disk has the wrong size for this test", len(found), len(left))
	}
	for _, m := range left {
		found[strings.TrimSuffix(filepath.Base(keyOf(m.Raw)), ".eml")] = true
	}
	if want := len(distinct(raws)); len(found) != want {
		t.Errorf("got %d messages in the archive or on the server, want %d", len(found), want)
	}
	runArgs(t, "-verify", dir).want(t, exitOK)
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=100m"); err != nil {
		t.Fatal(err)
	}
	runArgs(t, "-from", from, "-to", dir).want(t, exitOK)
	wantArchived(t, dir, raws)
	runArgs(t, "-verify", dir).want(t, exitOK, "the archive is whole")
}

func TestUnwritableArchive(t *testing.T) {
	raws := samples(10, 16)
	srv, from := demoServer(t, raws)
	dir := smallDisk(t, 1<<20)
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	runArgs(t, "-from", from, "-to", dir).want(t, exitFailed, "read-only file system", "location")
	runArgs(t, "-from", from, "-to", filepath.Join(dir, "new")).want(t, exitFailed, "read-only file system", "-to", "write")
	if left := len(srv.Messages()); left != len(raws) {
		t.Errorf("%d messages are on the server, want all %d", left, len(raws))
	}
}

// memoryLimit is how much memory the whole program may use at its peak, whatever the mailbox holds.
const memoryLimit = 64 << 20

// The peak is the kernel's own count for the program, built as its users build it: VmHWM, the maximum resident set size
// that getrusage tells too. Of a child that has ended, getrusage would count in its parent, from which it was forked.
func TestMemory(t *testing.T) {
	srv := peertest.Dovecot(t, nil)
	const small, large = 20_000, 200 << 20
	srv.DeliverTo(srv.User, "INBOX", mails(small, large))
	from := imapSettings(t, srv.Addr("imap"), srv.User, srv.Password, "insecure", "", nil)
	dir := t.TempDir()
	to := settingsFile(t, "file", map[string]any{"location": dir, "sync": "none"}) // its speed is measured elsewhere
	c := start(t, "-follow", "-from", from, "-to", to, "-json")
	c.until(t, "the mailbox is empty", func() bool { return srv.Count(srv.User, "INBOX") == 0 })
	peak := residentPeak(t, c.Process.Pid)
	c.signal(t, syscall.SIGTERM)
	if code := c.code(t); code != exitInterrupted {
		t.Fatalf("got exit code %d\n%s", code, c.output())
	}
	if stats := doneStats(t, &c.out); stats.Stored != small+1 || stats.Bytes < large {
		t.Errorf("got %+v, want %d messages", stats, small+1)
	}
	t.Logf("peak %.1f MiB; CPU user %s, system %s", float64(peak)/(1<<20), c.ProcessState.UserTime(), c.ProcessState.SystemTime())
	if peak > memoryLimit {
		t.Errorf("got a peak of %d octets, want at most %d", peak, memoryLimit)
	}
	runArgs(t, "-verify", dir).want(t, exitOK, "20,001 messages")
}

// mails yields n different messages of 3 to 6 KB, and one of so many octets in their midst.
func mails(n, large int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		random := rand.New(rand.NewPCG(1, 2))
		line := []byte(strings.Repeat("All work and no play makes Jack a dull boy. ", 2)[:76] + "\r\n")
		body := bytes.Repeat(line, large/len(line)+1)
		for i := range n {
			head := fmt.Appendf(nil, "From: a@example.org\r\nSubject: message %d\r\n\r\n", i)
			if !yield(append(head, body[:len(line)*(40+random.IntN(40))]...)) {
				return
			}
			if i == n/2 && !yield(body) {
				return
			}
		}
	}
}

func residentPeak(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kib int
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatalf("no VmHWM in\n%s", status)
	return 0
}
