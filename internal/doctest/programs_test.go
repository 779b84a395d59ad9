package doctest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// overlay writes the files of Go on p as if they lay in a package of this module, and returns the package's path and the
// file that tells the go command so.
func overlay(t *testing.T, p *page, name string) (pkg, file string) {
	t.Helper()
	at, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	dir, replace := t.TempDir(), make(map[string]string)
	for i, b := range p.blocks {
		if b.language != "go" || !strings.HasPrefix(b.text, "package ") {
			continue
		}
		base := fmt.Sprintf("shown%d_test.go", i)
		replace[filepath.Join(at, base)] = filepath.Join(dir, base)
		if err := os.WriteFile(filepath.Join(dir, base), []byte(b.text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if len(replace) == 0 {
		t.Fatalf("%s shows no file of Go", p.path)
	}
	raw, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return "./" + name, file
}

// passes builds and runs the tests of a page. The package's folder does not exist, so that the go command cannot run them.
func passes(t *testing.T, p *page, name string) error {
	t.Helper()
	pkg, file := overlay(t, p, name)
	binary := filepath.Join(t.TempDir(), "shown.test.exe") // the name does for every system
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", file, "-o", binary, pkg).CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Dir = t.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// The test files that pages show pass, as they stand there.
func TestShownTests(t *testing.T) {
	t.Parallel()
	for _, p := range pages(t, "docs/test-doubles.md", "docs/writing-a-driver.md") {
		if err := passes(t, p, strings.TrimSuffix(filepath.Base(p.path), ".md")); err != nil {
			t.Errorf("the tests of %s: %v", p.path, err)
		}
	}
}

// What a page shows is found not to compile, or not to pass.
func TestPlantedTests(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text string
		fails      bool
	}{
		{"good", "package x_test\n\nimport \"testing\"\n\nfunc TestGood(*testing.T) {}\n", false},
		{"does not compile", "package x_test\n\nimport \"testing\"\n\nfunc TestBad(t *testing.T) { t.Nonsense() }\n", true},
		{"fails", "package x_test\n\nimport \"testing\"\n\nfunc TestBad(t *testing.T) { t.Error() }\n", true},
	} {
		if err := passes(t, parse("page.md", fence("go", test.text)), "planted"); (err != nil) != test.fails {
			t.Errorf("%s: got error %v, want one: %t", test.name, err, test.fails)
		}
	}
}
