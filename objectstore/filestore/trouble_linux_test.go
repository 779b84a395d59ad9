package filestore_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

// mount makes a small file system of its own, for which it takes root.
func mount(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("mounting a tmpfs takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFullDisk(t *testing.T) {
	for name, options := range map[string]string{"octets": "size=256k", "inodes": "nr_inodes=8"} {
		t.Run(name, func(t *testing.T) {
			dir := mount(t, options)
			c := open(t, dir)
			put(t, c, "a/k.eml", "before", nil)
			var err error
			for i := 0; err == nil; i++ {
				_, err = c.Put(t.Context(), "b/"+strings.Repeat("x", i%50+1), strings.NewReader(strings.Repeat("y", 100_000)), nil)
			}
			wantKind(t, err, connection.ErrQuota, "location", dir)
			_, err = c.Put(t.Context(), "a/k.eml", strings.NewReader(strings.Repeat("y", 1<<20)), nil)
			wantKind(t, err, connection.ErrQuota, "location", dir)
			if got := get(t, c, "a/k.eml", nil); got != "before" {
				t.Errorf("got %.20q", got)
			}
			for _, err := range c.Incomplete(t.Context()) {
				t.Errorf("something is left in .tmp, or: %v", err)
			}
			report, err := c.Test(t.Context(), &connection.TestOptions{Write: true})
			if err == nil && name == "inodes" {
				t.Errorf("the test succeeds on a full disk:\n%s", report)
			}
			// Room can be made.
			if err := c.Delete(t.Context(), list(t, c, nil)...); err != nil {
				t.Error(err)
			}
			put(t, c, "a/k.eml", "after", nil)
		})
	}
}

func TestReadOnlyFileSystem(t *testing.T) {
	dir := mount(t, "size=1m")
	put(t, open(t, dir), "k", "content", nil)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("remounting read-only: %v", err)
	}
	c := open(t, dir)
	if got := get(t, c, "k", nil); got != "content" {
		t.Errorf("got %q", got)
	}
	_, err := c.Put(t.Context(), "new", strings.NewReader("x"), nil)
	wantKind(t, err, connection.ErrPermission, "location", "read-only")
	wantKind(t, c.Delete(t.Context(), "k"), connection.ErrPermission, "read-only")
	report, err := c.Test(t.Context(), nil)
	if err != nil || report.Steps[0].Status != connection.StatusWarned || !strings.Contains(report.Steps[0].Hint, "read-only") {
		t.Errorf("got %v and\n%s", err, report)
	}
	report, err = c.Test(t.Context(), &connection.TestOptions{Write: true})
	wantKind(t, err, connection.ErrPermission)
	if !strings.Contains(report.String(), "location: ") {
		t.Errorf("the report names no setting:\n%s", report)
	}
}

func TestUnwritableDirectory(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "store")
	if err := os.Mkdir(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	cmd := child(t, "putter", dir)
	if os.Getuid() == 0 { // whom no permission stops: let the child be somebody else
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Skipf("giving a directory away: %v", err)
		}
		for _, d := range []string{base, filepath.Dir(base)} {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		cmd.Env = append(cmd.Env, childUID+"=65534")
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	kind, hint, _ := strings.Cut(string(out), "|")
	if kind != connection.ErrPermission.Error() || !strings.Contains(hint, "location: ") || !strings.Contains(hint, dir) || !strings.Contains(hint, "writable") {
		t.Errorf("got %q, want permission denied and a hint that names location", out)
	}
}

func TestFileSizeLimit(t *testing.T) {
	dir := t.TempDir()
	cmd := child(t, "putter", dir)
	cmd.Env = append(cmd.Env, childFileLimit+"=65536")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if kind, hint, _ := strings.Cut(string(out), "|"); kind != connection.ErrTooLarge.Error() || !strings.Contains(hint, "ulimit -f") {
		t.Errorf("got %q, want too large and a hint about the limit", out)
	}
	if got := files(t, dir); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
}

func TestFIFOIsNoObject(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.eml"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := open(t, dir)
	_, err := c.Get(t.Context(), "pipe.eml", nil)
	wantKind(t, err, connection.ErrNotFound)
	if got := list(t, c, nil); len(got) > 0 {
		t.Errorf("got %q", got)
	}
}
