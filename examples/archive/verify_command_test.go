package main

import (
	"os"
	"path/filepath"
	"testing"
)

// edit replaces a file's octets by what change makes of them.
func edit(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func flip(b []byte) []byte { b[len(b)/2] ^= 4; return b }

func largest(paths []string) string {
	best, size := "", int64(-1)
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.Size() > size {
			best, size = path, info.Size()
		}
	}
	return best
}

func TestVerifyCommand(t *testing.T) {
	_, from := demoServer(t, samples(30, 9))
	fill := func(t *testing.T) (dir string, messages, manifests []string) {
		dir = t.TempDir()
		runArgs(t, "-keep", "-from", from, "-to", dir).want(t, exitOK)
		messages, _ = filepath.Glob(filepath.Join(dir, "messages", "*", "*", "*.eml"))
		manifests, _ = filepath.Glob(filepath.Join(dir, "manifests", "*", "*.jsonl"))
		if len(messages) == 0 || len(manifests) == 0 {
			t.Fatalf("got %d messages and %d manifests", len(messages), len(manifests))
		}
		return dir, messages, manifests
	}
	tests := []struct {
		name   string
		damage func(t *testing.T, dir string, messages, manifests []string)
		code   int
		want   string
	}{
		{"none", func(*testing.T, string, []string, []string) {}, exitOK, "the archive is whole"},
		{"flipped bit", func(t *testing.T, _ string, m, _ []string) { edit(t, largest(m), flip) }, exitFailed, "changed: messages/"},
		{"truncated", func(t *testing.T, _ string, m, _ []string) {
			edit(t, largest(m), func(b []byte) []byte { return b[:len(b)/2] })
		}, exitFailed, "changed: messages/"},
		{"deleted", func(t *testing.T, _ string, m, _ []string) {
			if err := os.Remove(m[0]); err != nil {
				t.Fatal(err)
			}
		}, exitFailed, "missing: messages/"},
		{"manifest changed", func(t *testing.T, _ string, _, m []string) { edit(t, m[0], flip) }, exitFailed, "manifest"},
		{"manifest torn", func(t *testing.T, _ string, _, m []string) {
			edit(t, m[0], func(b []byte) []byte { return b[:len(b)-7] })
		}, exitFailed, "cut short"},
		{"junk", func(t *testing.T, dir string, _, _ []string) {
			if err := os.WriteFile(filepath.Join(dir, "messages", "notes.txt"), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, exitOK, "left alone: 1 object"},
		{"leftovers of a killed run", func(t *testing.T, dir string, _, _ []string) {
			if err := os.MkdirAll(filepath.Join(dir, ".tmp"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, ".tmp", "put-123"), []byte("half a mess"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, exitOK, "the archive is whole"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir, messages, manifests := fill(t)
			test.damage(t, dir, messages, manifests)
			runArgs(t, "-verify", dir).want(t, test.code, test.want)
			store := settingsFile(t, "file", map[string]any{"location": dir})
			runArgs(t, "-verify", store, "-workers", "1").want(t, test.code, test.want)
		})
	}
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	runArgs(t, "-verify", nowhere).want(t, exitFailed, "-verify", "nowhere")
	if _, err := os.Stat(nowhere); err == nil {
		t.Error("-verify made the folder that it was to read")
	}
	runArgs(t, "-verify", t.TempDir()).want(t, exitOK, "There is no message here yet")
}

// What is damaged in the archive while the source still has it is mended by the next run.
func TestNextRunRepairs(t *testing.T) {
	raws := samples(30, 18)
	srv, from := demoServer(t, raws)
	dir := t.TempDir()
	runArgs(t, "-keep", "-from", from, "-to", dir).want(t, exitOK)
	messages, err := filepath.Glob(filepath.Join(dir, "messages", "*", "*", "*.eml"))
	if err != nil || len(messages) < 4 {
		t.Fatalf("got %d messages, %v", len(messages), err)
	}
	edit(t, messages[1], func(b []byte) []byte { return append(b, "more"...) })
	if err := os.Remove(messages[0]); err != nil {
		t.Fatal(err)
	}
	edit(t, largest(messages[2:]), flip)
	runArgs(t, "-verify", dir).want(t, exitFailed, "3 findings")
	runArgs(t, "-from", from, "-to", dir).want(t, exitOK, "2 in the archive were damaged and are replaced", "Deleted 30")
	runArgs(t, "-verify", dir).want(t, exitOK, "the archive is whole")
	wantArchived(t, dir, raws)
	if left := len(srv.Messages()); left != 0 {
		t.Errorf("%d messages are still on the server", left)
	}
}
