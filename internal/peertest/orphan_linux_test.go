package peertest_test

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mailconn/mailconn/internal/peertest"
)

// orphanVariable tells this test binary to start a server, to say its process id, and to wait for death.
const orphanVariable = "PEERTEST_ORPHAN_DIR"

func TestDovecotDiesWithAKilledTest(t *testing.T) {
	if dir := os.Getenv(orphanVariable); dir != "" {
		srv, err := peertest.StartDovecot(t.Context(), &peertest.DovecotOptions{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("server: %d", srv.Pid())
		select {} // until killed
	}
	peertest.Dovecot(t, nil) // or the test is skipped
	dir, err := os.MkdirTemp("", "pt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), orphanVariable+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	lines := bufio.NewScanner(out)
	for pid == 0 && lines.Scan() {
		if _, number, ok := strings.Cut(lines.Text(), "server: "); ok {
			pid, err = strconv.Atoi(number)
		}
	}
	if pid == 0 || err != nil {
		t.Fatalf("the child said no process id: %v, %v", err, lines.Err())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	awaitEnd(t, pid)
}

// awaitEnd returns when no process of a group is left.
func awaitEnd(t *testing.T, group int) {
	t.Helper()
	poll, patience := time.NewTicker(10*time.Millisecond), time.After(20*time.Second)
	defer poll.Stop()
	for syscall.Kill(-group, 0) == nil {
		select {
		case <-poll.C:
		case <-patience:
			t.Fatalf("processes of group %d are left", group)
		}
	}
}
