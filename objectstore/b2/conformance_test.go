package b2_test

import (
	"encoding/json"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/b2"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

const secret = "K005secretOfTheArchiver123"

// settings returns the fake's with the fields of change put over them.
func settings(t testing.TB, srv *objecttest.B2, change map[string]any) connection.Settings {
	t.Helper()
	s := srv.Settings()
	config := map[string]any{}
	if err := json.Unmarshal(s.Config, &config); err != nil {
		t.Fatal(err)
	}
	for name, value := range change {
		config[name] = value
	}
	var err error
	if s.Config, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	return s
}

// open opens a connection to srv, with the settings of change put over its own.
func open(t testing.TB, srv *objecttest.B2, env *connection.Env, change map[string]any) *b2.Conn {
	t.Helper()
	c, err := connection.NewRegistry(b2.Driver()).Open(settings(t, srv, change), env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	conn, ok := c.(*b2.Conn)
	if !ok {
		t.Fatalf("got a %T", c)
	}
	return conn
}

func TestConformance(t *testing.T) {
	for name, opts := range map[string]objecttest.B2Options{
		"plain": {},
		"lock":  {FileLock: true, PageSize: 3, ServerOptions: objecttest.ServerOptions{TLS: objecttest.CertGood}},
	} {
		t.Run(name, func(t *testing.T) {
			var srv *objecttest.B2
			opts.Key = secret
			skip := map[string]string{"put-if-absent-one-winner": "B2 has no conditional put"}
			if !opts.FileLock {
				skip["lock-holds"] = "the bucket has no file lock"
			}
			connectiontest.Run(t, connectiontest.Harness{
				Reset: func(t testing.TB) { srv = objecttest.NewB2(t, &opts) },
				Open: func(t testing.TB, env *connection.Env) connection.Connection {
					return open(t, srv, env, map[string]any{"emulate_if_absent": true})
				},
				Broken: map[string]func(t testing.TB, env *connection.Env) connection.Connection{
					"wrong key": func(t testing.TB, env *connection.Env) connection.Connection {
						return open(t, srv, env, map[string]any{"credential": "K005wrong"})
					},
					"no such bucket": func(t testing.TB, env *connection.Env) connection.Connection {
						return open(t, srv, env, map[string]any{"bucket": "none"})
					},
					"closed port": func(t testing.TB, env *connection.Env) connection.Connection {
						return open(t, srv, env, map[string]any{"location": "http://" + objecttest.DeadAddr(t), "max_attempts": 1})
					},
				},
				Secret: secret,
				Skip:   skip,
			})
		})
	}
}

// E1 to E84, as far as they concern every engine.
func TestEdgeCases(t *testing.T) {
	const page = 7
	huge := int64(5_000_000_001) // over the largest that one request may have
	if raced {
		huge = 256 << 20
	}
	opts := objecttest.B2Options{KeyID: "005keyOfTheArchiver", Key: secret, PageSize: page, FileLock: true}
	var srv, closed *objecttest.B2
	with := func(change func(cfg *b2.Config)) objecttest.Opener {
		return func(t testing.TB, env *connection.Env, tuning objectstore.Tuning) connection.ObjectStore {
			tuning.PartWorkers = 1 // so that the second upload is the second part; TestLargeFiles has more at once
			cfg := b2.Config{Tuning: tuning, Settings: objectstore.Settings{
				Identity: opts.KeyID, Credential: connection.NewSecret(secret), Location: srv.URL(), Bucket: "archive",
			}}
			change(&cfg)
			c, err := b2.Open(cfg, env)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			})
			return c
		}
	}
	objecttest.Run(t, objecttest.Harness{
		Reset: func(t testing.TB) {
			srv = objecttest.NewB2(t, &opts)
			few := opts
			few.Capabilities = []string{"listBuckets"}
			closed = objecttest.NewB2(t, &few)
		},
		Open:   with(func(*b2.Config) {}),
		Tuned:  true,
		Parts:  5_000_000,
		Page:   page,
		Huge:   huge,
		Damage: func(_ testing.TB, key string) { srv.Damage(key) },
		Plant:  func(_ testing.TB, key string, raw []byte) bool { srv.Add(key, raw); return true },
		At: func(t testing.TB, env *connection.Env, tuning objectstore.Tuning, url string) connection.ObjectStore {
			return with(func(cfg *b2.Config) { cfg.Location = url })(t, env, tuning)
		},
		NoBucket: with(func(cfg *b2.Config) { cfg.Bucket = "none" }),
		Denied: func(t testing.TB, env *connection.Env, tuning objectstore.Tuning) connection.ObjectStore {
			return with(func(cfg *b2.Config) { cfg.Location = closed.URL() })(t, env, tuning)
		},
		Strangers: map[string]objecttest.Opener{
			"identity":   with(func(cfg *b2.Config) { cfg.Settings.Identity = "005nobody" }),
			"credential": with(func(cfg *b2.Config) { cfg.Credential = connection.NewSecret("K005wrong") }),
		},
		Secrets: []string{secret},
		Skip:    map[string]string{"presigned-urls": "URLs of B2 can only read; TestPresign has them"},
	})
}
