package maildir_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/maildir"
	"github.com/mailconn/mailconn/maildir/maildirtest"
)

func TestAppendNameAndPlace(t *testing.T) {
	tree := maildirtest.New(t)
	if err := os.WriteFile(filepath.Join(tree.Path, "dovecot-keywords"), []byte("3 Work\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var quirks int
	c := openEnv(t, tree.Config(), &connection.Env{Observe: func(ev connection.Event) {
		if ev.Kind == connection.EventQuirk {
			quirks++
		}
	}})
	when := time.Unix(1600000000, 0)
	plain, err := c.Append(t.Context(), "", strings.NewReader("bare\nlf"), nil)
	if err != nil {
		t.Fatal(err)
	}
	flagged, err := c.Append(t.Context(), "INBOX", strings.NewReader("x"), &connection.AppendOptions{
		Flags: []connection.Flag{`\Seen`, "work", `\Answered`, "Unheard"}, Received: when, Size: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	unique := regexp.MustCompile(`^\d{10}\.M\d{6}P\d+Q\d+R[0-9a-f]{16}\.[^/:]+,S=\d+$`)
	for _, ref := range []connection.Ref{plain, flagged} {
		if !unique.MatchString(ref.ID) || ref.Folder != "INBOX" {
			t.Errorf("got %+v, want a unique name as the Maildir specification has it", ref)
		}
	}
	sep := ":2,"
	if runtime.GOOS == "windows" {
		sep = ";2,"
	}
	want := []string{"cur/" + flagged.ID + sep + "RSd", "new/" + plain.ID}
	if got := tree.Names("INBOX"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if quirks != 1 {
		t.Errorf("got %d quirks, want one about the keyword that has no letter", quirks)
	}
	all, errs := fetch(t, c, nil)
	noErrors(t, errs)
	if m := all[flagged.ID]; !m.Received.Equal(when) || m.raw != "x" {
		t.Errorf("got %+v, want it received %s", m, when)
	}
	if all[plain.ID].raw != "bare\nlf" {
		t.Errorf("got %q", all[plain.ID].raw)
	}
}

func TestAppendLeavesNothingBehind(t *testing.T) {
	broken := errors.New("broken")
	ctx, cancel := context.WithCancel(t.Context())
	tests := map[string]struct {
		ctx  context.Context
		body io.Reader
		opts connection.AppendOptions
		want error
	}{
		"reader fails":       {t.Context(), io.MultiReader(strings.NewReader(strings.Repeat("x", 200_000)), iotest.ErrReader(broken)), connection.AppendOptions{}, broken},
		"size is another":    {t.Context(), strings.NewReader("four"), connection.AppendOptions{Size: 5}, connection.ErrInvalid},
		"canceled meanwhile": {ctx, io.MultiReader(strings.NewReader("x"), readerFunc(func([]byte) (int, error) { cancel(); return 0, nil })), connection.AppendOptions{}, context.Canceled},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			tree := maildirtest.New(t)
			_, err := open(t, tree.Config()).Append(test.ctx, "INBOX", test.body, &test.opts)
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			assertEmpty(t, tree.Path)
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func assertEmpty(t testing.TB, path string) {
	t.Helper()
	for _, sub := range []string{"new", "cur", "tmp"} {
		entries, err := os.ReadDir(filepath.Join(path, sub))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			t.Errorf("left behind: %s/%s", sub, e.Name())
		}
	}
}

func TestAppendFolders(t *testing.T) {
	tests := []struct {
		layout, name, dir string
		existing          []string
		bad               bool
	}{
		{layout: "auto", name: "Entwürfe/2024", dir: ".Entw&APw-rfe.2024"},
		{layout: "auto", name: "A/B", dir: "A/B", existing: []string{"Old"}},
		{layout: "fs", name: "R&D/x.y", dir: "R&-D/x.y"},
		{layout: "maildir++", name: "a.b", bad: true},
		{layout: "fs", name: "a/cur", bad: true},
		{layout: "fs", name: ".a", bad: true},
		{layout: "fs", name: "../escape", bad: true},
		{layout: "auto", name: "../escape", bad: true},
		{layout: "auto", name: "a//b", bad: true},
		{layout: "auto", name: "a\x00b", bad: true},
	}
	for _, test := range tests {
		t.Run(test.layout+" "+test.name, func(t *testing.T) {
			tree := maildirtest.New(t)
			for _, dir := range test.existing {
				mkMaildir(t, filepath.Join(tree.Path, dir))
			}
			c := open(t, maildir.Config{Path: tree.Path, Layout: test.layout})
			if _, err := c.Append(t.Context(), test.name, strings.NewReader("x"), nil); !errors.Is(err, connection.ErrNotFound) {
				t.Errorf("without CreateFolder: got %v, want ErrNotFound", err)
			}
			ref, err := c.Append(t.Context(), test.name, strings.NewReader("x"), &connection.AppendOptions{CreateFolder: true})
			if test.bad {
				if !errors.Is(err, connection.ErrInvalid) {
					t.Errorf("got %v, want ErrInvalid", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(tree.Path, filepath.FromSlash(test.dir), "new", ref.ID)); err != nil {
				t.Error(err)
			}
			all, errs := fetch(t, c, nil)
			noErrors(t, errs)
			wantKeys(t, all, test.name+"/"+ref.ID)
		})
	}
}

func TestAppendConcurrently(t *testing.T) {
	tree := maildirtest.New(t)
	a, b := open(t, tree.Config()), open(t, tree.Config())
	done := make(chan error)
	for i := range 8 {
		go func() {
			c := []*maildir.Conn{a, b}[i%2]
			for range 20 {
				if _, err := c.Append(t.Context(), "INBOX", strings.NewReader("x"), nil); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := len(tree.Names("INBOX")); n != 160 {
		t.Errorf("got %d messages, want 160", n)
	}
}
