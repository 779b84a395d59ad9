package gmail_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// To look at 5,000 mailboxes in which nothing happens costs at most two units for each and no download, with a bounded
// number of goroutines, in less than 200 MB by the kernel's own count: in a program of its own that is built as its users build it.
func TestIdleMailboxes(t *testing.T) {
	const (
		mailboxes  = 5000
		limit      = 200 << 20
		goroutines = 300
	)
	path := filepath.Join(t.TempDir(), "idler")
	if out, err := exec.Command("go", "build", "-o", path, "./testdata/idler").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	server, client := startIdler(t, path, "server", fmt.Sprint(mailboxes)), startIdler(t, path, "client")
	settings, err := server.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	client.tell(t, settings)
	look := func(name string, wantAdded, leastUnits, mostUnits, wantGets int) {
		t.Helper()
		client.tell(t, "look\n")
		var looked, added, most, units, gets, lists int
		scan(t, client, "mailboxes %d added %d goroutines %d", &looked, &added, &most)
		server.tell(t, "count\n")
		scan(t, server, "units %d gets %d lists %d", &units, &gets, &lists)
		t.Logf("%s: %d units, %d downloads, %d goroutines, %.1f MiB at most", name, units, gets, most, float64(client.status(t, "VmHWM"))/(1<<20))
		if looked != mailboxes || added != wantAdded || gets != wantGets {
			t.Errorf("%s: %d mailboxes, %d messages, %d downloads; want %d, %d, %d", name, looked, added, gets, mailboxes, wantAdded, wantGets)
		}
		if units < leastUnits || units > mostUnits {
			t.Errorf("%s: %d units, want %d to %d", name, units, leastUnits, mostUnits)
		}
		if most > goroutines {
			t.Errorf("%s: %d goroutines, want at most %d", name, most, goroutines)
		}
		if peak := client.status(t, "VmHWM"); peak > limit {
			t.Errorf("%s: %.1f MiB, want at most %d", name, float64(peak)/(1<<20), limit>>20)
		}
	}
	look("first", mailboxes, mailboxes, 30*mailboxes, mailboxes)
	client.forgetPeak(t)
	look("idle", 0, mailboxes, 2*mailboxes, 0)
}

// startIdler starts the program under testdata/idler, which ends with the test.
func startIdler(t *testing.T, path string, args ...string) *readerProgram {
	t.Helper()
	p := &readerProgram{cmd: exec.Command(path, args...)}
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
			t.Errorf("idler %v: %v\n%s", args, err, p.errors.String())
		}
	})
	return p
}

// scan reads a line of a program.
func scan(t *testing.T, p *readerProgram, format string, values ...any) {
	t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatalf("%v says %q: %v", p.cmd.Args, line, err)
	}
	if _, err := fmt.Sscanf(line, format, values...); err != nil {
		t.Fatalf("%v says %q: %v", p.cmd.Args, line, err)
	}
}
