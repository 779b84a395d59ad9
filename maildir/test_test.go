package maildir_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/maildir"
	"github.com/mailconn/mailconn/maildir/maildirtest"
)

func statuses(r *connection.Report) []string {
	var all []string
	for _, s := range r.Steps {
		all = append(all, s.Name+" "+string(s.Status))
	}
	return all
}

func TestReport(t *testing.T) {
	tree := maildirtest.New(t)
	tree.AddFolder("Sent")
	tree.Put("INBOX", "new", "1.a", []byte("12345"))
	tree.Put("INBOX", "tmp", "0.left", nil)
	old := time.Now().Add(-37 * time.Hour)
	if err := os.Chtimes(filepath.Join(tree.Path, "tmp", "0.left"), old, old); err != nil {
		t.Fatal(err)
	}
	before := tree.Names("INBOX")
	var progress []string
	r, err := open(t, tree.Config()).Test(t.Context(), &connection.TestOptions{Write: true, Progress: func(s connection.Step) { progress = append(progress, s.Name) }})
	if err != nil {
		t.Fatalf("%v\n%s", err, r)
	}
	if want := []string{"open ok", "folders warned", "read ok", "write ok", "remove ok"}; !slices.Equal(statuses(r), want) {
		t.Errorf("got %q, want %q\n%s", statuses(r), want, r)
	}
	if len(progress) != len(r.Steps) {
		t.Errorf("got progress %q", progress)
	}
	text := r.String()
	for _, want := range []string{"2 folders, 1 message", "INBOX: 1 message", "5 octets", "36 hours"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	if after := tree.Names("INBOX"); !slices.Equal(before, after) {
		t.Errorf("got %q after the test, want %q", after, before)
	}
	if _, err := os.Stat(filepath.Join(tree.Path, "tmp", "0.left")); err != nil {
		t.Errorf("the old file in tmp was touched: %v", err)
	}
}

func TestReportWithoutWriteChangesNothing(t *testing.T) {
	tree := maildirtest.New(t)
	old := time.Now().Add(-time.Hour)
	for _, sub := range []string{"new", "cur", "tmp"} {
		if err := os.Chtimes(filepath.Join(tree.Path, sub), old, old); err != nil {
			t.Fatal(err)
		}
	}
	r, err := open(t, tree.Config()).Test(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"open ok", "folders ok", "read ok", "write skipped", "remove skipped"}; !slices.Equal(statuses(r), want) {
		t.Errorf("got %q, want %q", statuses(r), want)
	}
	for _, sub := range []string{"new", "cur", "tmp"} {
		if fi, err := os.Stat(filepath.Join(tree.Path, sub)); err != nil || !fi.ModTime().Equal(old) {
			t.Errorf("%s changed: %v %v", sub, fi.ModTime(), err)
		}
	}
}

func TestReportOfWhatIsMissing(t *testing.T) {
	partial := t.TempDir()
	if err := os.Mkdir(filepath.Join(partial, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ path, want string }{
		"path":         {filepath.Join(t.TempDir(), "none"), "does not exist"},
		"cur and new":  {partial, "cur, new missing"},
		"match":        {filepath.Join(partial, "*"), "no directory matches"},
		"no directory": {"test_test.go", "is not a directory"},
	} {
		r, err := open(t, maildir.Config{Path: test.path}).Test(t.Context(), nil)
		if !errors.Is(err, connection.ErrConfig) || r.OK() {
			t.Errorf("%s: got %v, want ErrConfig", name, err)
		}
		if text := r.String(); !strings.Contains(text, test.want) || !strings.Contains(text, "path: ") {
			t.Errorf("%s: the report lacks %q, or the setting's name:\n%s", name, test.want, text)
		}
		if len(r.Steps) != 5 {
			t.Errorf("%s: got %q, want all steps", name, statuses(r))
		}
	}
}

func TestReportNamesAMissingTmp(t *testing.T) {
	tree := maildirtest.New(t)
	if err := os.Remove(filepath.Join(tree.Path, "tmp")); err != nil {
		t.Fatal(err)
	}
	r, err := open(t, tree.Config()).Test(t.Context(), nil)
	if err != nil || r.Steps[0].Status != connection.StatusWarned || !strings.Contains(r.String(), "tmp missing") {
		t.Errorf("got %v, want a warning that tmp is missing\n%s", err, r)
	}
}
