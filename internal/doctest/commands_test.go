package doctest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A shown is a command that a page shows to be run as it is.
type shown struct {
	page *page
	line int
	args []string
}

// runnable returns the commands in the sh blocks of p that are to run, block by block, and findings where one cannot be
// read. A command for a reader's own server stands in a block of another kind. Of the rest of a block, "make test" is
// passed over, since it runs this test, and so is everything else that is no command of go's.
func runnable(p *page) (blocks [][]shown, findings []string) {
	for _, b := range p.blocks {
		if b.language != "sh" {
			continue
		}
		var commands []shown
		for i, line := range strings.Split(strings.TrimSuffix(b.text, "\n"), "\n") {
			text, _, _ := strings.Cut(line, " #")
			text = strings.TrimSpace(text)
			switch {
			case !strings.HasPrefix(text, "go run ./examples/") && !strings.HasPrefix(text, "go test") && !strings.HasPrefix(text, "go doc"):
				continue
			case strings.ContainsAny(text, "\\|&;<>$`\"'*?~"):
				findings = append(findings, p.at(b.line+i, "a command that is tested has one line and no special characters: %s", text))
				continue
			}
			commands = append(commands, shown{page: p, line: b.line + i, args: strings.Fields(text)})
		}
		if len(commands) > 0 {
			blocks = append(blocks, commands)
		}
	}
	return blocks, findings
}

// A workplace looks like the module's root, in a folder that can be written to and that is the home of what runs there.
type workplace struct {
	dir, bin string
	env      []string
}

// newWorkplace makes one whose programs lie in bin.
func newWorkplace(t *testing.T, bin string) *workplace {
	t.Helper()
	w := &workplace{dir: t.TempDir(), bin: bin}
	at, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(at)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Symlink(filepath.Join(at, e.Name()), filepath.Join(w.dir, e.Name())); err != nil {
			t.Skipf("without symbolic links the commands cannot be run anywhere but in the repository: %v", err)
		}
	}
	caches, err := exec.CommandContext(t.Context(), "go", "env", "GOCACHE", "GOMODCACHE", "GOPATH").Output()
	if err != nil {
		t.Fatal(err)
	}
	places := strings.Fields(string(caches))
	if len(places) != 3 {
		t.Fatalf("go env says %q", caches)
	}
	home := t.TempDir()
	w.env = append(os.Environ(), "GOCACHE="+places[0], "GOMODCACHE="+places[1], "GOPATH="+places[2], "HOME="+home, "USERPROFILE="+home, "TMPDIR="+home, "TMP="+home)
	return w
}

// program builds an example, unless bin has it.
func (w *workplace) program(ctx context.Context, name string) (string, error) {
	path := filepath.Join(w.bin, filepath.Base(name)+".exe") // the name does for every system
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", path, name)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", name, err, out)
	}
	return path, nil
}

// run runs a command as it is shown; a program of the examples is built first and runs without the go command.
func (w *workplace) run(ctx context.Context, args []string) error {
	var cmd *exec.Cmd
	if args[1] == "run" {
		path, err := w.program(ctx, args[2])
		if err != nil {
			return err
		}
		cmd = exec.CommandContext(ctx, path, args[3:]...)
		cmd.Dir = w.dir
	} else {
		cmd = exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir = root
	}
	cmd.Env = w.env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// Every command that a page shows runs. Those of one block run one after the other, in one folder.
func TestCommands(t *testing.T) {
	t.Parallel()
	n, bin := 0, t.TempDir()
	for _, p := range pages(t, "README.md", "docs/*.md", "docs/*/*.md") {
		blocks, findings := runnable(p)
		report(t, findings)
		for _, commands := range blocks {
			n += len(commands)
			w := newWorkplace(t, bin)
			for _, c := range commands {
				if err := w.run(t.Context(), c.args); err != nil {
					t.Error(p.at(c.line, "%v", err))
				}
			}
		}
	}
	if n == 0 {
		t.Error("no page shows a command: is the test blind?")
	}
	t.Run("planted", func(t *testing.T) { plantedCommands(t, bin) })
}
