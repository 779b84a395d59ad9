package ews_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// A message of 150 MB, and eight streams at once, take at most 32 MiB more than the program has that does nothing: by the
// kernel's own count, in a program of their own that is built as its users build it.
func TestMemory(t *testing.T) {
	const limit = 32 << 20
	path := filepath.Join(t.TempDir(), "reader")
	if out, err := exec.Command("go", "build", "-o", path, "./testdata/reader").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, test := range []struct {
		name            string
		mailboxes, each int
		octets          int64
	}{
		{"one of 150 MB", 1, 1, 150_000_000},
		{"eight streams", 8, 2, 20_000_000},
		{"20,000 small ones", 1, 20_000, 4_000},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, nil)
			var names []string
			for i := range test.mailboxes {
				name := fmt.Sprintf("reader%d@corp.test", i)
				r.AddMailbox(name, ewstest.MailboxOptions{}).Folder("Inbox").Fill(test.each, uint64(i)<<32, test.octets)
				names = append(names, name)
			}
			p := startReader(t, path, r.impersonating(), names)
			p.expect(t, "idle")
			idle := p.status(t, "VmRSS")
			p.forgetPeak(t)
			p.tell(t, "go on\n")
			p.expect(t, fmt.Sprintf("octets %d", int64(test.mailboxes*test.each)*test.octets))
			peak := p.status(t, "VmHWM")
			t.Logf("idle %.1f MiB, peak %.1f MiB", float64(idle)/(1<<20), float64(peak)/(1<<20))
			if peak-idle > limit {
				t.Errorf("it took %.1f MiB more than idle, want at most %d MiB", float64(peak-idle)/(1<<20), limit>>20)
			}
		})
	}
}

// A reader is the program under testdata/reader while it runs.
type reader struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errors bytes.Buffer
}

func startReader(t *testing.T, path string, r *rig, mailboxes []string) *reader {
	t.Helper()
	u, err := url.Parse(r.URL(true))
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{
		"server": u.Host, "allow_any_host": true, "disable_autodiscover": true, "server_name": r.cfg.Server, "ca_pem": r.CA(),
		"username": r.cfg.Username, "password": canary, "mailboxes": mailboxes,
	})
	if err != nil {
		t.Fatal(err)
	}
	settings, err := json.Marshal(connection.Settings{Driver: "ews", Config: config})
	if err != nil {
		t.Fatal(err)
	}
	p := &reader{cmd: exec.Command(path, mailboxes...)}
	p.cmd.Stderr = &p.errors
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in, p.out = in, bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.in.Close() // its end
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("reader: %v\n%s", err, p.errors.String())
		}
	})
	p.tell(t, string(settings)+"\n")
	return p
}

func (p *reader) tell(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(p.in, line); err != nil {
		t.Fatal(err)
	}
}

func (p *reader) expect(t *testing.T, want string) {
	t.Helper()
	line, err := p.out.ReadString('\n')
	if got := strings.TrimSpace(line); got != want {
		t.Fatalf("reader says %q (%v), want %q", got, err, want)
	}
}

// status returns what the kernel says of the program's memory, in octets.
func (p *reader) status(t *testing.T, name string) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		kib := 0
		if _, err := fmt.Sscanf(line, name+": %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	t.Fatalf("no %s in\n%s", name, status)
	return 0
}

// forgetPeak makes the peak what it is now (proc(5), clear_refs).
func (p *reader) forgetPeak(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}
