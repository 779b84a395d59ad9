package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/internal/peertest"
)

// TestMain lets the test binary be the child that contenders start.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childArgument {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestEveryRowRuns(t *testing.T) {
	needDovecot(t)
	for _, r := range rows() {
		t.Run(r.name, func(t *testing.T) {
			var out strings.Builder
			if err := run(t.Context(), []string{"-scale", "0.001", "-runs", "1", "-memory", shortDir(t), "-disk", shortDir(t), r.name}, &out); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{r.what, "raw", "mailconn", "1.00x", "medians of 1"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("got\n%s\nwant %q in it", &out, want)
				}
			}
		})
	}
}

// needDovecot skips the test where Dovecot is not installed.
func needDovecot(t *testing.T) { peertest.Dovecot(t, nil) }

// shortDir is a folder in memory that servers can use: t.TempDir is closed to other users and may be too long for
// sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(memoryDir(), "mb")
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
	return dir
}

func TestWorkLeftUndoneIsAnError(t *testing.T) {
	unfinished := errors.New("half the mail is missing")
	cleaned := false
	r := row{name: "x", setup: func(_ context.Context, b *bed) ([]contender, error) {
		b.later(func() error { cleaned = true; return nil })
		return []contender{{
			name: "lazy",
			command: func(ctx context.Context, _ string) (*job, error) {
				return &job{cmd: exec.CommandContext(ctx, "go", "version")}, nil
			},
			check: func(string, []byte) error { return unfinished },
		}}, nil
	}}
	results, err := measure(t.Context(), &bed{memory: t.TempDir()}, r, 1)
	if !errors.Is(err, unfinished) || !strings.Contains(err.Error(), "lazy") || results != nil {
		t.Errorf("got %v, %v; want the check's error with the contender's name", results, err)
	}
	if !cleaned {
		t.Error("what the row left was not cleaned up")
	}
}

func TestCountFilesSeesWhatIsMissing(t *testing.T) {
	c := corpus{count: 20, min: 500, max: 900}
	dir := t.TempDir()
	if err := fillMaildir(dir, c); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".state"), []byte("not mail"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := countFiles(dir, c.count, c.octets(), true); err != nil {
		t.Error(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "cur", "*"))
	if err != nil || len(files) != c.count {
		t.Fatalf("got %d files, %v; want %d", len(files), err, c.count)
	}
	if err := os.Truncate(files[3], 499); err != nil {
		t.Fatal(err)
	}
	if countFiles(dir, c.count, c.octets(), true) == nil {
		t.Error("a file was cut short: want an error")
	}
	if err := countFiles(dir, c.count, c.octets(), false); err != nil {
		t.Error("some octets less:", err)
	}
	if err := os.Remove(files[3]); err != nil {
		t.Fatal(err)
	}
	if countFiles(dir, c.count, c.octets(), false) == nil {
		t.Error("a file is missing: want an error")
	}
}

func TestCorpusIsAlwaysTheSame(t *testing.T) {
	c := corpus{count: 50, min: 3000, max: 6000}
	var first []string
	for m := range c.messages() {
		first = append(first, string(m))
		if len(m) < c.min || len(m) > c.max {
			t.Errorf("a message of %d octets, want %d to %d", len(m), c.min, c.max)
		}
		if text := string(m); !strings.HasSuffix(text, "\r\n") || !strings.Contains(text, "\r\n\r\n") || strings.Count(text, "\n") != strings.Count(text, "\r\n") {
			t.Errorf("not a message: %q", text)
		}
	}
	i := 0
	for m := range c.messages() {
		if string(m) != first[i] {
			t.Fatalf("message %d is another one the second time", i)
		}
		i++
	}
	if i != c.count {
		t.Errorf("got %d messages, want %d", i, c.count)
	}
}

func TestTableComparesMedians(t *testing.T) {
	times := func(ms ...int) (all []time.Duration) {
		for _, n := range ms {
			all = append(all, time.Duration(n)*time.Millisecond)
		}
		return all
	}
	results := []*result{
		{contender: contender{name: "raw", role: limit}, times: times(90, 100, 500)},
		{contender: contender{name: "slow", role: peer}, times: times(300, 400, 401)},
		{contender: contender{name: "quick", role: peer}, times: times(100, 200, 300)},
		{contender: contender{name: "gone", role: peer, missing: "not installed"}},
		{contender: contender{name: "we", role: ours}, times: times(149, 150, 151), cpu: times(110, 120, 130), rss: 12 << 20},
	}
	var out strings.Builder
	if err := printTable(&out, row{name: "x", what: "work"}, 3, results); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"we 0.150 s 0.149 s 0.151 s 1.50x 0.75x 0.120 s 12 MB",
		"slow 0.400 s 0.300 s 0.401 s 4.00x 2.00x 0.000 s -",
		"gone not installed",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want %q in it", got, want)
		}
	}
}

func TestChoose(t *testing.T) {
	all := []row{{name: "imap-s"}, {name: "imap-l"}, {name: "maildir"}}
	for _, test := range []struct{ patterns, want string }{
		{"", "imap-s imap-l maildir"},
		{"maildir", "maildir"},
		{"imap-*", "imap-s imap-l"},
		{"maildir imap-l *", "maildir imap-l imap-s"},
	} {
		got, err := choose(all, strings.Fields(test.patterns))
		var names []string
		for _, r := range got {
			names = append(names, r.name)
		}
		if err != nil || strings.Join(names, " ") != test.want {
			t.Errorf("%q: got %q, %v; want %q", test.patterns, names, err, test.want)
		}
	}
	for _, bad := range []string{"imap", "[", "imap-s nothing"} {
		if got, err := choose(all, strings.Fields(bad)); err == nil {
			t.Errorf("%q: got %v, want an error", bad, got)
		}
	}
}
