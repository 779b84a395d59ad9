package dropfolder_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"

	"example.com/recorder/dropfolder"
)

// The promises of package connection, one a subtest.
func TestPromises(t *testing.T) {
	var dir string
	n := 0
	connectiontest.Run(t, connectiontest.Harness{
		Reset: func(t testing.TB) { dir = t.TempDir() },
		Open: func(t testing.TB, env *connection.Env) connection.Connection {
			c, err := dropfolder.Open(dropfolder.Config{Path: dir}, env)
			if err != nil {
				t.Fatal(err)
			}
			return c
		},
		Fill: func(t testing.TB, raw ...[]byte) {
			for _, msg := range raw {
				n++
				name := filepath.Join(dir, fmt.Sprintf("%06d", n))
				if err := os.WriteFile(name, msg, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(name, name+".eml"); err != nil {
					t.Fatal(err)
				}
			}
		},
		Left: func(t testing.TB) (all [][]byte) {
			names, err := filepath.Glob(filepath.Join(dir, "*.eml"))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				raw, err := os.ReadFile(name)
				if errors.Is(err, fs.ErrNotExist) {
					continue // deleted just now
				}
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, raw)
			}
			return all
		},
		Broken: map[string]func(testing.TB, *connection.Env) connection.Connection{
			"no such folder": func(t testing.TB, env *connection.Env) connection.Connection {
				c, err := dropfolder.Open(dropfolder.Config{Path: filepath.Join(t.TempDir(), "missing")}, env)
				if err != nil {
					t.Fatal(err)
				}
				return c
			},
		},
	})
}
