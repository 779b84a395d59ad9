package gmail_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// A message of 50 MB takes at most 32 MiB in all, and mailboxes at once little more than one: by the kernel's own count, in a
// program of its own that is built as its users build it. Temporary files are not in memory.
func TestMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "reader")
	if out, err := exec.Command("go", "build", "-o", path, "./testdata/reader").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, test := range []struct {
		name            string
		mailboxes, each int
		octets          int64
		limit           int // MiB, of the whole program
	}{
		{"one of 50 MB", 1, 1, 50_000_000, 32},
		{"four of 20 MB at once", 1, 4, 20_000_000, 64},
		{"eight mailboxes", 8, 4, 3_000_000, 96},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := gmailtest.NewServer(t, nil)
			var names []string
			for i := range test.mailboxes {
				name := fmt.Sprintf("reader%d@corp.example", i)
				srv.AddUser(gmailtest.User{Email: name})
				for range test.each {
					srv.DeliverWith(name, nil, gmailtest.Delivery{Content: madeUp(test.octets)})
				}
				names = append(names, name)
			}
			p := startReader(t, path, srv, names)
			p.expect(t, "idle")
			idle := p.status(t, "VmRSS")
			p.forgetPeak(t)
			p.tell(t, "go on\n")
			p.expect(t, fmt.Sprintf("octets %d", int64(test.mailboxes*test.each)*test.octets))
			peak := p.status(t, "VmHWM")
			t.Logf("idle %.1f MiB, peak %.1f MiB", float64(idle)/(1<<20), float64(peak)/(1<<20))
			if peak > test.limit<<20 {
				t.Errorf("it took %.1f MiB, want at most %d MiB", float64(peak)/(1<<20), test.limit)
			}
		})
	}
}

// A readerProgram is the program under testdata/reader while it runs.
type readerProgram struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errors bytes.Buffer
}

func startReader(t *testing.T, path string, srv *gmailtest.Server, mailboxes []string) *readerProgram {
	t.Helper()
	config, err := json.Marshal(map[string]any{
		"credentials": string(srv.ServiceAccountJSON()), "admin": "admin@corp.example", "endpoint": srv.URL(), "custom_endpoints": true,
	})
	if err != nil {
		t.Fatal(err)
	}
	settings, err := json.Marshal(connection.Settings{Driver: "gmail", Config: config})
	if err != nil {
		t.Fatal(err)
	}
	p := &readerProgram{cmd: exec.Command(path, mailboxes...)}
	p.cmd.Stderr = &p.errors
	p.cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
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

func (p *readerProgram) tell(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(p.in, line); err != nil {
		t.Fatal(err)
	}
}

func (p *readerProgram) expect(t *testing.T, want string) {
	t.Helper()
	line, err := p.out.ReadString('\n')
	if got := strings.TrimSpace(line); got != want {
		t.Fatalf("reader says %q (%v), want %q", got, err, want)
	}
}

// status returns what the kernel says of the program's memory, in octets.
func (p *readerProgram) status(t *testing.T, name string) int {
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
func (p *readerProgram) forgetPeak(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}
