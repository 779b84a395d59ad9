package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

// programDir is where the program is built; TestMain makes it.
var programDir string

// program is the program as its users run it, built when the first test needs it.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programDir, "archive.exe") // the name does for every system
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	var err error
	if programDir, err = os.MkdirTemp("", "archive-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(programDir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// command returns the built program as a child of the test.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return exec.CommandContext(t.Context(), path, args...)
}

// result is what a run of the program came to.
type result struct {
	code        int
	out, errOut string
}

// runArgs runs the program in this process.
func runArgs(t *testing.T, args ...string) result {
	t.Helper()
	return runContext(t.Context(), args...)
}

func runContext(ctx context.Context, args ...string) result {
	var out, errOut bytes.Buffer
	code := run(ctx, args, &out, &errOut)
	return result{code, out.String(), errOut.String()}
}

// want fails the test unless the program ended with code and said all of texts on either output.
func (r result) want(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code: got %d, want %d\n%s%s", r.code, code, r.out, r.errOut)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.errOut, text) {
			t.Errorf("the output does not say %q:\n%s%s", text, r.out, r.errOut)
		}
	}
}

// settingsFile writes a settings file.
func settingsFile(t *testing.T, driver string, config map[string]any) string {
	t.Helper()
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(connection.Settings{ID: "test", Driver: driver, Config: raw})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), driver+".json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// archived reads an archive's files with nothing of the program's: the digests of all messages, each compared with its
// file's name.
func archived(t *testing.T, dir string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	err := filepath.WalkDir(filepath.Join(dir, "messages"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		hash := sha256.New()
		_, err = io.Copy(hash, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		sum := hex.EncodeToString(hash.Sum(nil))
		if d.Name() != sum+".eml" {
			t.Errorf("%s: its octets have the SHA-256 %s", path, sum)
		}
		found[sum] = true
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return found
}

// wantArchived fails the test unless the archive in dir holds exactly raws, each octet for octet.
func wantArchived(t *testing.T, dir string, raws [][]byte) {
	t.Helper()
	found := archived(t, dir)
	want := map[string]bool{}
	for i, raw := range raws {
		sum := sha256.Sum256(raw)
		digest := hex.EncodeToString(sum[:])
		want[digest] = true
		if !found[digest] {
			t.Errorf("message %d (%d octets) is not in the archive", i, len(raw))
		}
	}
	if len(found) != len(want) {
		t.Errorf("got %d messages in the archive, want %d", len(found), len(want))
	}
}

// manifestLines counts the entries of all manifests in dir.
func manifestLines(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(filepath.Join(dir, "manifests"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		n += bytes.Count(data, []byte("\n")) - 1 // the header
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return n
}

func TestUsage(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"unknown flag":        {[]string{"-form", "x.json"}, "flag provided but not defined: -form"},
		"stray word":          {[]string{"x.json"}, `"x.json": unexpected`},
		"no destination":      {[]string{"-from", "x.json"}, "-to: missing"},
		"nothing to test":     {[]string{"-test"}, "-test: say what"},
		"follow what":         {[]string{"-follow"}, "-from: missing"},
		"no workers":          {[]string{"-workers", "0"}, "-workers 0: want at least 1"},
		"verify and transfer": {[]string{"-verify", "x", "-from", "y"}, "-verify: only"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			runArgs(t, test.args...).want(t, exitUsage, test.want)
		})
	}
	runArgs(t, "-help").want(t, exitOK, "-from", "-verify", "examples/archive/settings")
}

func TestPrinterKeepsTheTerminalSafe(t *testing.T) {
	var out, errOut bytes.Buffer
	p := newPrinter(&out, &errOut, false)
	p.problem(errors.New("the server says \x1b[2J\x07\u009b31m hello"))
	p.say("two\nlines")
	if got, want := errOut.String(), "problem: the server says  [2J  31m hello\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := out.String(); got != "two\nlines\n" {
		t.Errorf("got %q", got)
	}
}

func TestProblemsAreBounded(t *testing.T) {
	var out, errOut bytes.Buffer
	p := newPrinter(&out, &errOut, false)
	for range 10 * maxProblems {
		p.problem(errors.New("again"))
	}
	if got := strings.Count(errOut.String(), "again"); got != maxProblems {
		t.Errorf("got %d problems printed, want %d", got, maxProblems)
	}
}

func TestProgressOnATerminal(t *testing.T) {
	var out bytes.Buffer
	p := newPrinter(&out, &out, false)
	p.terminal = true
	for _, text := range []string{"a long line", "short"} {
		p.next = p.next.AddDate(-1, 0, 0)
		p.progress("progress", nil, func() string { return text })
	}
	p.say("done")
	if got, want := out.String(), "\ra long line\rshort      \r     \rdone\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		number(0): "0", number(999): "999", number(1000): "1,000", number(1234567): "1,234,567", number(-1000): "-1,000",
		counted(1, "message"): "1 message", counted(20000, "message"): "20,000 messages",
		octets(999): "999 B", octets(1500): "1.5 kB", octets(2_500_000): "2.5 MB", octets(3_000_000_000): "3.0 GB",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
