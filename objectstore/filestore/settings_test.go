package filestore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/filestore"
)

func openJSON(t *testing.T, config string) (connection.Connection, error) {
	t.Helper()
	c, err := connection.NewRegistry(filestore.Driver()).Open(connection.Settings{ID: "vol1", Name: "Archive", Driver: "file", Config: json.RawMessage(config)}, nil)
	if err == nil {
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return c, err
}

func TestSettings(t *testing.T) {
	abs := "/var/archive"
	if runtime.GOOS == "windows" {
		abs = "C:/archive"
	}
	cases := []struct{ config, want string }{
		{`{}`, "location: missing"},
		{`{"location": "archive"}`, "location: \"archive\" is not an absolute path"},
		{`{"location": "ABS", "identity": "me"}`, "identity: "},
		{`{"location": "ABS", "credential": "hunter2hunter2"}`, "credential: "},
		{`{"location": "ABS", "bucket": "../x"}`, "bucket: "},
		{`{"location": "ABS", "bucket": "/x"}`, "bucket: "},
		{`{"location": "ABS", "bucket": "a//b"}`, "bucket: "},
		{`{"location": "ABS", "bucket": ".tmp"}`, "bucket: "},
		{`{"location": "ABS", "sync": "maybe"}`, "sync: "},
		{`{"locaton": "ABS"}`, `did you mean "location"?`},
		{`{"location": 7}`, "location: got a number, want a string"},
	}
	for _, tc := range cases {
		_, err := openJSON(t, strings.ReplaceAll(tc.config, "ABS", abs))
		if !errors.Is(err, connection.ErrConfig) || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want ErrConfig that says %q", tc.config, err, tc.want)
		}
	}
	c, err := openJSON(t, fmt.Sprintf(`{"location": %q, "bucket": "a/b"}`, abs)) // which is not there: Open does not look
	if err != nil {
		t.Fatal(err)
	}
	if info := c.Info(); info.ID != "vol1" || info.Name != "Archive" || info.Driver != "file" || info.Endpoint != filepath.Join(abs, "a", "b") {
		t.Errorf("got %+v", info)
	}
	var names []string
	for _, f := range filestore.Driver().Fields() {
		names = append(names, f.Name)
	}
	if want := []string{"identity", "credential", "location", "bucket", "sync"}; !slices.Equal(names, want) {
		t.Errorf("got fields %v, want %v", names, want)
	}
}

func TestMissingStoreIsNotAMissingObject(t *testing.T) {
	base := t.TempDir()
	if err := os.WriteFile(filepath.Join(base, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct{ location, bucket, field, says string }{
		{filepath.Join(base, "none"), "", "location", "does not exist"},
		{filepath.Join(base, "file"), "", "location", "not a directory"},
		{base, "none", "bucket", "does not exist"},
		{base, "file", "bucket", "not a directory"},
	}
	for _, tc := range cases {
		config, err := json.Marshal(map[string]string{"location": tc.location, "bucket": tc.bucket})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := openJSON(t, string(config))
		if err != nil {
			t.Fatal(err)
		}
		c, err := connection.As[connection.ObjectStore](conn)
		if err != nil {
			t.Fatal(err)
		}
		for verb, err := range everyVerb(t, c) {
			if connection.KindOf(err) != connection.ErrConfig || !strings.Contains(fmt.Sprint(err), tc.field+": ") || !strings.Contains(fmt.Sprint(err), tc.says) {
				t.Errorf("%s %s: %s: got %v, want ErrConfig that says %s %s", tc.location, tc.bucket, verb, err, tc.field, tc.says)
			}
		}
		report, err := c.Test(t.Context(), nil)
		if !errors.Is(err, connection.ErrConfig) || report.OK() || !strings.Contains(report.String(), "Hint: "+tc.field) {
			t.Errorf("got %v and\n%s", err, report)
		}
	}
}

func everyVerb(t *testing.T, c connection.ObjectStore) map[string]error {
	t.Helper()
	errs := map[string]error{}
	_, errs["put"] = c.Put(t.Context(), "a/k", strings.NewReader("x"), nil)
	_, errs["get"] = c.Get(t.Context(), "a/k", nil)
	_, errs["stat"] = c.Stat(t.Context(), "a/k")
	errs["delete"] = c.Delete(t.Context(), "a/k")
	for _, err := range c.List(t.Context(), nil) {
		errs["list"] = err
	}
	if len(errs) != 5 {
		t.Error("list: nothing, not even an error")
	}
	return errs
}

func TestLocationRemovedAndMadeAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c := open(t, dir)
	put(t, c, "a/b.eml", "x", nil)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for verb, err := range everyVerb(t, c) {
		wantKind(t, err, connection.ErrConfig, "location: ", "does not exist")
		if errors.Is(err, connection.ErrNotFound) {
			t.Errorf("%s: a store that is gone looks like an object that is not there: %v", verb, err)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, c, "a/b.eml", "again", nil)
	if got := get(t, c, "a/b.eml", nil); got != "again" {
		t.Errorf("got %q", got)
	}
}

func TestTmpRemovedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	put(t, c, "a/b/c.eml", "x", nil)
	for _, name := range []string{".tmp", "a"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		put(t, c, "a/b/c.eml", "again", nil)
		if got := get(t, c, "a/b/c.eml", nil); got != "again" {
			t.Errorf("got %q", got)
		}
	}
}

func TestSymlinksDoNotLeadOut(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "out")); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	c := open(t, dir)
	_, err := c.Put(t.Context(), "out/k", strings.NewReader("x"), nil)
	wantKind(t, err, connection.ErrCorrupt, "location")
	if got := files(t, outside); len(got) > 0 {
		t.Errorf("written outside: %v", got)
	}
	linked, err := openJSON(t, fmt.Sprintf(`{"location": %q, "bucket": "out"}`, dir))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := linked.Test(t.Context(), nil); !errors.Is(err, connection.ErrConfig) {
		t.Errorf("a bucket that leads out: got %v, want ErrConfig", err)
	}
}

func TestReport(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	var seen []string
	opts := &connection.TestOptions{Progress: func(s connection.Step) { seen = append(seen, s.Name+" "+string(s.Status)) }}
	report, err := c.Test(t.Context(), opts)
	if want := []string{"open ok", "read ok", "write skipped", "remove skipped"}; err != nil || !slices.Equal(seen, want) || len(report.Steps) != len(want) {
		t.Errorf("got %v, %v; want %v", seen, err, want)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("without Write the test left %v, %v", entries, err)
	}
	seen, opts.Write = nil, true
	report, err = c.Test(t.Context(), opts)
	if want := []string{"open ok", "read ok", "write ok", "remove ok"}; err != nil || !slices.Equal(seen, want) || !report.OK() {
		t.Errorf("got %v, %v; want %v", seen, err, want)
	}
	if got := files(t, dir); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
	scratch, err := openJSON(t, fmt.Sprintf(`{"location": %q, "sync": "none"}`, dir))
	if err != nil {
		t.Fatal(err)
	}
	report, err = scratch.Test(t.Context(), nil)
	if err != nil || report.Steps[0].Status != connection.StatusWarned || !strings.Contains(report.Steps[0].Hint, "sync: ") {
		t.Errorf("sync none: got %v and\n%s", err, report)
	}
}
