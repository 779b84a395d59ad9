package objecttest

import (
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/filestore"
)

// toyHarness is a harness over the toy.
func toyHarness(f flaws, b *bent) Harness {
	var srv *toy
	page := f.page
	if page == 0 {
		page = 10
	}
	open := func(key, bucket string) Opener {
		return func(t testing.TB, env *connection.Env, tuning objectstore.Tuning) connection.ObjectStore {
			s, err := openToy(srv.URL(), key, bucket, env, tuning, b)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
	return Harness{
		Reset: func(t testing.TB) { srv = newToy(t, ServerOptions{}, f) },
		Open:  open(toySecret, "bucket"), Tuned: true, Parts: 300 << 10, Page: page,
		Lag:       func(_ testing.TB, d time.Duration) { srv.Lag(d) },
		Damage:    func(_ testing.TB, key string) { srv.damage(key) },
		Plant:     func(_ testing.TB, key string, raw []byte) bool { return srv.plant(key, raw) },
		Server:    func() *Server { return &srv.Server },
		NoBucket:  open(toySecret, "no-such-bucket"),
		Denied:    open(toyDenied, "bucket"),
		Strangers: map[string]Opener{"credential": open("wrong-wrong-wrong", "bucket")},
		At: func(t testing.TB, env *connection.Env, tuning objectstore.Tuning, url string) connection.ObjectStore {
			s, err := openToy(url, toySecret, "bucket", env, tuning, b)
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Huge:    6 << 30,
		Secrets: []string{toySecret, toyDenied},
	}
}

func TestToy(t *testing.T) {
	h := toyHarness(flaws{}, &bent{})
	h.Huge = 3 << 20
	Run(t, h)
}

func TestFileStore(t *testing.T) {
	dir := ""
	Run(t, Harness{
		Reset: func(t testing.TB) { dir = t.TempDir() },
		Open: func(t testing.TB, env *connection.Env, _ objectstore.Tuning) connection.ObjectStore {
			c, err := filestore.Open(filestore.Config{Settings: objectstore.Settings{Location: dir}}, env)
			if err != nil {
				t.Fatal(err)
			}
			return c
		},
		Features: objectstore.Features{IfAbsent: true, Meta: true, Lock: true},
	})
}

func TestMemory(t *testing.T) {
	var double *connectiontest.ObjectStore
	Run(t, Harness{
		Reset: func(testing.TB) { double = connectiontest.NewObjectStore() },
		Open: func(testing.TB, *connection.Env, objectstore.Tuning) connection.ObjectStore {
			return double.Reopen()
		},
		Features: objectstore.Features{IfAbsent: true, Meta: true, Lock: true},
		Damage:   func(_ testing.TB, key string) { double.Damage(key) },
		Skip: map[string]string{
			"E3-E7-bad-keys": "the double's Copy looks for its source before it looks at the key",
			"E78-metadata":   "the double keeps any metadata",
		},
	})
}
