package filestore_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/filestore"
)

func TestConformance(t *testing.T) {
	dir := ""
	at := func(t testing.TB, s objectstore.Settings, env *connection.Env) connection.Connection {
		c, err := filestore.Open(filestore.Config{Settings: s}, env)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	connectiontest.Run(t, connectiontest.Harness{
		Reset: func(t testing.TB) { dir = t.TempDir() },
		Open: func(t testing.TB, env *connection.Env) connection.Connection {
			return at(t, objectstore.Settings{Location: dir}, env)
		},
		Broken: map[string]func(t testing.TB, env *connection.Env) connection.Connection{
			"no such location": func(t testing.TB, env *connection.Env) connection.Connection {
				return at(t, objectstore.Settings{Location: filepath.Join(dir, "none")}, env)
			},
			"no such bucket": func(t testing.TB, env *connection.Env) connection.Connection {
				return at(t, objectstore.Settings{Location: dir, Bucket: "none"}, env)
			},
			"location is a file": func(t testing.TB, env *connection.Env) connection.Connection {
				path := filepath.Join(dir, "file")
				if err := os.WriteFile(path, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				return at(t, objectstore.Settings{Location: path}, env)
			},
		},
	})
}
