package atmos_test

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"sync"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/atmos"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

const secret = "c2VjcmV0IG9mIHRoZSBhcmNoaXZlcg=="

// open opens a connection to srv, with the settings of change put over its own.
func open(t testing.TB, srv *objecttest.Atmos, env *connection.Env, change map[string]any) *atmos.Conn {
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
	c, err := connection.NewRegistry(atmos.Driver()).Open(s, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	conn, ok := c.(*atmos.Conn)
	if !ok {
		t.Fatalf("got a %T", c)
	}
	return conn
}

func TestConformance(t *testing.T) {
	for name, opts := range map[string]objecttest.AtmosOptions{
		"plain": {},
		"odd":   {PageSize: 3, EmptyPages: true, NoXMLNamespace: true, MakesParents: true, ServerOptions: objecttest.ServerOptions{TLS: objecttest.CertGood}},
	} {
		t.Run(name, func(t *testing.T) {
			var srv *objecttest.Atmos
			opts.Secret = secret
			connectiontest.Run(t, connectiontest.Harness{
				Reset: func(t testing.TB) { srv = objecttest.NewAtmos(t, &opts) },
				Open: func(t testing.TB, env *connection.Env) connection.Connection {
					return open(t, srv, env, nil)
				},
				Broken: map[string]func(t testing.TB, env *connection.Env) connection.Connection{
					"wrong secret": func(t testing.TB, env *connection.Env) connection.Connection {
						return open(t, srv, env, map[string]any{"credential": "d3Jvbmc="})
					},
					"wrong UID": func(t testing.TB, env *connection.Env) connection.Connection {
						return open(t, srv, env, map[string]any{"identity": "nobody"})
					},
					"no such bucket": func(t testing.TB, env *connection.Env) connection.Connection {
						return open(t, srv, env, map[string]any{"bucket": "none"})
					},
					"closed port": func(t testing.TB, env *connection.Env) connection.Connection {
						return open(t, srv, env, map[string]any{"location": "http://" + objecttest.DeadAddr(t), "max_attempts": 1})
					},
				},
				Secret: secret,
				Skip: map[string]string{
					"copy-copies": "Atmos has no copy",
					"lock-holds":  "Atmos has no legal hold; TestLock has its retention",
				},
			})
		})
	}
}

// E1 to E84, as far as they concern every engine.
func TestEdgeCases(t *testing.T) {
	const page = 7
	opts := objecttest.AtmosOptions{Secret: secret, PageSize: page, MakesParents: true}
	var srv *objecttest.Atmos
	var busy sync.RWMutex
	with := func(change func(cfg *atmos.Config)) objecttest.Opener {
		return func(t testing.TB, env *connection.Env, tuning objectstore.Tuning) connection.ObjectStore {
			cfg := atmos.Config{Tuning: tuning, Settings: objectstore.Settings{
				Identity: "subtenant/archiver", Credential: connection.NewSecret(secret), Location: srv.URL(), Bucket: "archive",
			}}
			change(&cfg)
			c, err := atmos.Open(cfg, env)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			})
			return &calm{c, &busy}
		}
	}
	objecttest.Run(t, objecttest.Harness{
		Reset: func(t testing.TB) { srv = objecttest.NewAtmos(t, &opts) },
		Open:  with(func(*atmos.Config) {}),
		Tuned: true,
		Page:  page,
		Damage: func(_ testing.TB, key string) {
			srv.Damage(key)
		},
		At: func(t testing.TB, env *connection.Env, tuning objectstore.Tuning, url string) connection.ObjectStore {
			return with(func(cfg *atmos.Config) { cfg.Location = url })(t, env, tuning)
		},
		NoBucket: with(func(cfg *atmos.Config) { cfg.Bucket = "none" }),
		Strangers: map[string]objecttest.Opener{
			"identity":   with(func(cfg *atmos.Config) { cfg.Settings.Identity = "nobody" }),
			"credential": with(func(cfg *atmos.Config) { cfg.Credential = connection.NewSecret("d3Jvbmc=") }),
		},
		Secrets: []string{secret},
		Skip:    map[string]string{"presigned-urls": "URLs of Atmos can only read; TestPresign has them"},
	})
}

// A calm connection lists unfinished writes while no other one of the test writes: those under way would be among them.
type calm struct {
	*atmos.Conn
	busy *sync.RWMutex
}

func (c *calm) Put(ctx context.Context, key string, r io.Reader, opts *connection.PutOptions) (connection.ObjectInfo, error) {
	c.busy.RLock()
	defer c.busy.RUnlock()
	return c.Conn.Put(ctx, key, r, opts)
}

func (c *calm) Incomplete(ctx context.Context) iter.Seq2[connection.Incomplete, error] {
	return func(yield func(connection.Incomplete, error) bool) {
		c.busy.Lock()
		var all []connection.Incomplete
		var failed error
		for one, err := range c.Conn.Incomplete(ctx) {
			if failed = err; err == nil {
				all = append(all, one)
			}
		}
		c.busy.Unlock()
		for _, one := range all {
			if !yield(one, nil) {
				return
			}
		}
		if failed != nil {
			yield(connection.Incomplete{}, failed)
		}
	}
}
