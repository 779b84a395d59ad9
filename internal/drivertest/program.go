package drivertest

import (
	"bufio"
	"bytes"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/internal/rss"
)

// A Program is a program of a test's own, so that its memory can be told from the test's, and built as its users build
// it: without the race detector. They talk by lines.
type Program struct {
	name   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errors bytes.Buffer
}

// Build builds the program in a folder, "./testdata/reader", and returns where it is until the test ends.
func Build(t testing.TB, folder string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), filepath.Base(folder))
	if out, err := exec.Command("go", "build", "-o", path, folder).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// Start starts the program that Build made, with a folder for temporary files of its own. When the test ends so does the
// program's input, at which it must end without an error.
func Start(t testing.TB, path string, args ...string) *Program {
	t.Helper()
	p := &Program{name: filepath.Base(path), cmd: exec.Command(path, args...)}
	p.cmd.Stderr = &p.errors
	p.cmd.Env = append(p.cmd.Environ(), "TMPDIR="+t.TempDir())
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
			t.Errorf("%s: %v\n%s", p.name, err, p.errors.String())
		}
	})
	return p
}

// Tell writes a line to the program.
func (p *Program) Tell(t testing.TB, line string) {
	t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
}

// Hear reads a line of the program, without its end, and ends the test if none comes.
func (p *Program) Hear(t testing.TB) string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatalf("%s says %q: %v", p.name, line, err)
	}
	return strings.TrimSpace(line)
}

// Expect reads a line of the program, and ends the test if it is another.
func (p *Program) Expect(t testing.TB, want string) {
	t.Helper()
	if got := p.Hear(t); got != want {
		t.Fatalf("%s says %q, want %q", p.name, got, want)
	}
}

// Resident returns what memory the program has now, in octets, by the kernel's count.
func (p *Program) Resident(t testing.TB) int64 { return p.ask(t, rss.Now) }

// Peak returns the most memory that the program has had, or has had since ForgetPeak, in octets.
func (p *Program) Peak(t testing.TB) int64 { return p.ask(t, rss.Peak) }

func (p *Program) ask(t testing.TB, what func(pid int) (int64, error)) int64 {
	t.Helper()
	octets, err := what(p.cmd.Process.Pid)
	if err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	return octets
}

// ForgetPeak makes the peak what the program has now.
func (p *Program) ForgetPeak(t testing.TB) {
	t.Helper()
	if err := rss.ForgetPeak(p.cmd.Process.Pid); err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
}
