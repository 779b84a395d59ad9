package azureblob_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/internal/peertest"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/azureblob"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// fakeConfig returns the settings that reach a fake.
func fakeConfig(srv *objecttest.Azure, tuning objectstore.Tuning) azureblob.Config {
	return azureblob.Config{Settings: settings("devstoreaccount1", srv.Location(), "mail"), Tuning: tuning}
}

func TestConformance(t *testing.T) {
	for name, opts := range map[string]objecttest.AzureOptions{
		"plain":       {},
		"with locks":  {Locks: true},
		"small pages": {PageSize: 3, EmptyPages: true},
	} {
		t.Run(name, func(t *testing.T) {
			var srv *objecttest.Azure
			opts.Key = key
			h := connectiontest.Harness{
				Reset: func(t testing.TB) { srv = objecttest.NewAzure(t, &opts) },
				Open: func(t testing.TB, env *connection.Env) connection.Connection {
					return open(t, fakeConfig(srv, objectstore.Tuning{}), env)
				},
				Broken: map[string]func(t testing.TB, env *connection.Env) connection.Connection{
					"wrong key": func(t testing.TB, env *connection.Env) connection.Connection {
						cfg := fakeConfig(srv, objectstore.Tuning{})
						cfg.Credential = connection.NewSecret("d3Jvbmcga2V5")
						return open(t, cfg, env)
					},
					"no such container": func(t testing.TB, env *connection.Env) connection.Connection {
						cfg := fakeConfig(srv, objectstore.Tuning{})
						cfg.Bucket = "none"
						return open(t, cfg, env)
					},
				},
				Secret: key,
			}
			if !opts.Locks {
				h.Skip = map[string]string{"lock-holds": "the container has no version-level immutability"}
			}
			connectiontest.Run(t, h)
		})
	}
}

// inOrder sends parts one after the other where nothing is repeated: the service knows of no upload before its first part
// has arrived, and a rule of the suite lets the line die at the second.
func inOrder(tuning objectstore.Tuning) objectstore.Tuning {
	if tuning.MaxAttempts == 1 {
		tuning.PartWorkers = 1
	}
	return tuning
}

// E1 to E84, as far as they concern every engine.
func TestEdgeCases(t *testing.T) {
	var srv *objecttest.Azure
	const page = 7
	with := func(change func(cfg *azureblob.Config)) objecttest.Opener {
		return func(t testing.TB, env *connection.Env, tuning objectstore.Tuning) connection.ObjectStore {
			cfg := fakeConfig(srv, inOrder(tuning))
			change(&cfg)
			return open(t, cfg, env)
		}
	}
	objecttest.Run(t, objecttest.Harness{
		Reset: func(t testing.TB) {
			srv = objecttest.NewAzure(t, &objecttest.AzureOptions{Key: key, Locks: true, PageSize: page})
		},
		Open:     with(func(*azureblob.Config) {}),
		Tuned:    true,
		Parts:    256 << 10,
		Page:     page,
		Huge:     1 << 30,
		Lag:      func(_ testing.TB, d time.Duration) { srv.Lag(d) },
		Damage:   func(_ testing.TB, key string) { srv.Damage(key) },
		Plant:    func(_ testing.TB, key string, raw []byte) bool { srv.Add(key, raw); return true },
		NoBucket: with(func(cfg *azureblob.Config) { cfg.Bucket = "none" }),
		Denied: func(t testing.TB, env *connection.Env, tuning objectstore.Tuning) connection.ObjectStore {
			srv.Fail("", -1, objecttest.Status(403, "", "x-ms-error-code: InsufficientAccountPermissions"))
			return open(t, fakeConfig(srv, tuning), env)
		},
		At: func(t testing.TB, env *connection.Env, tuning objectstore.Tuning, url string) connection.ObjectStore {
			cfg := fakeConfig(srv, tuning)
			cfg.Location = url + "/devstoreaccount1"
			return open(t, cfg, env)
		},
		Strangers: map[string]objecttest.Opener{
			"identity":   with(func(cfg *azureblob.Config) { cfg.Settings.Identity, cfg.Location = "otheraccount1", srv.URL() }),
			"credential": with(func(cfg *azureblob.Config) { cfg.Credential = connection.NewSecret("d3Jvbmcga2V5") }),
		},
		Secrets: []string{key},
	})
}

func TestAzuriteConformance(t *testing.T) {
	a := &azurite{AzuriteServer: peertest.Azurite(t, nil)}
	connectiontest.Run(t, connectiontest.Harness{
		Reset:  func(t testing.TB) { a.fresh(t) },
		Open:   func(t testing.TB, env *connection.Env) connection.Connection { return open(t, a.config(), env) },
		Secret: a.Key,
		Skip:   map[string]string{"lock-holds": "Azurite has no locks"},
	})
}

func TestAzuriteEdgeCases(t *testing.T) {
	a := &azurite{AzuriteServer: peertest.Azurite(t, nil)}
	with := func(change func(cfg *azureblob.Config)) objecttest.Opener {
		return func(t testing.TB, env *connection.Env, tuning objectstore.Tuning) connection.ObjectStore {
			cfg := a.config()
			cfg.Tuning = inOrder(tuning)
			change(&cfg)
			return open(t, cfg, env)
		}
	}
	objecttest.Run(t, objecttest.Harness{
		Reset:    func(t testing.TB) { a.fresh(t) },
		Open:     with(func(*azureblob.Config) {}),
		Tuned:    true,
		Parts:    256 << 10,
		NoBucket: with(func(cfg *azureblob.Config) { cfg.Bucket = "none" }),
		Strangers: map[string]objecttest.Opener{
			"identity": with(func(cfg *azureblob.Config) {
				cfg.Settings.Identity, cfg.Location = "otheraccount1", strings.TrimSuffix(a.URL, "/"+a.Account)
			}),
			"credential": with(func(cfg *azureblob.Config) { cfg.Credential = connection.NewSecret("d3Jvbmcga2V5") }),
		},
		Secrets: []string{a.Key},
		Skip:    map[string]string{"E5-any-key": "Azurite turns a backslash into a slash"},
	})
}
