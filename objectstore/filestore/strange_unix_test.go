//go:build unix

package filestore_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

// TestIfAbsentDoesNotTakeAStrangerForAnObject: whoever hears ErrExists deletes the mail it has. Something that Get calls
// missing must not bring that about.
func TestIfAbsentDoesNotTakeAStrangerForAnObject(t *testing.T) {
	key := addressed("content")
	for name, plant := range map[string]func(path string) error{
		"dangling link":   func(path string) error { return os.Symlink("nowhere", path) },
		"link to a file":  func(path string) error { return os.Symlink("/etc/passwd", path) },
		"FIFO":            func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory":       func(path string) error { return os.Mkdir(path, 0o700) },
		"link in the way": nil,
	} {
		for _, opts := range []*connection.PutOptions{{IfAbsent: true}, {IfAbsent: true, Meta: map[string]string{"a": "b"}}} {
			t.Run(name, func(t *testing.T) {
				dir := t.TempDir()
				c := open(t, dir)
				path := filepath.Join(dir, filepath.FromSlash(key))
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if plant == nil {
					up := filepath.Dir(path)
					if err := os.Rename(up, up+"-moved"); err != nil {
						t.Fatal(err)
					}
					if err := os.Symlink(up+"-moved", up); err != nil {
						t.Fatal(err)
					}
				} else if err := plant(path); err != nil {
					t.Fatal(err)
				}
				_, err := c.Put(t.Context(), key, strings.NewReader("content"), opts)
				wantKind(t, err, connection.ErrCorrupt, "location", dir)
				for _, err := range c.Incomplete(t.Context()) {
					t.Errorf("something is left in .tmp, or: %v", err)
				}
			})
		}
	}
}
