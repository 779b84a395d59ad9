package maildir_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/maildir"
	"github.com/mailconn/mailconn/maildir/maildirtest"
)

// TestConformance holds the driver against the promises of package connection.
func TestConformance(t *testing.T) {
	var tree *maildirtest.Tree
	open := func(t testing.TB, env *connection.Env, cfg maildir.Config) connection.Connection {
		cfg.PollInterval = connection.Duration(50e6)
		c, err := maildir.Open(cfg, env)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	connectiontest.Run(t, connectiontest.Harness{
		Reset: func(t testing.TB) { tree = maildirtest.New(t) },
		Open: func(t testing.TB, env *connection.Env) connection.Connection {
			return open(t, env, tree.Config())
		},
		Fill: func(t testing.TB, raw ...[]byte) {
			for _, r := range raw {
				tree.Deliver("INBOX", r)
			}
		},
		Left: func(testing.TB) [][]byte { return tree.Messages("INBOX") },
		Spoil: func(t testing.TB, raw []byte) {
			for _, name := range tree.Names("INBOX") {
				path := filepath.Join(tree.Path, name)
				if data, err := os.ReadFile(path); err != nil || !bytes.Equal(data, raw) {
					continue
				}
				spoil(t, path)
			}
		},
		Broken: map[string]func(t testing.TB, env *connection.Env) connection.Connection{
			"no such path": func(t testing.TB, env *connection.Env) connection.Connection {
				return open(t, env, maildir.Config{Path: filepath.Join(t.TempDir(), "nothing")})
			},
			"no maildir": func(t testing.TB, env *connection.Env) connection.Connection {
				return open(t, env, maildir.Config{Path: t.TempDir()})
			},
			"nothing matches": func(t testing.TB, env *connection.Env) connection.Connection {
				return open(t, env, maildir.Config{Path: filepath.Join(t.TempDir(), "*", "Maildir")})
			},
		},
	})
}

// spoil makes a file impossible to read, for root too: a second link, and an owner who could not have made it.
func spoil(t testing.TB, path string) {
	t.Helper()
	if os.Geteuid() != 0 {
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := os.Link(path, filepath.Join(t.TempDir(), "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 65534, 65534); err != nil {
		t.Fatal(err)
	}
}
