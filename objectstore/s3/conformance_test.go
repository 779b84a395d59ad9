package s3_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// tuned puts the settings of a rule on top of others.
func tuned(t testing.TB, tuning objectstore.Tuning, more map[string]any) map[string]any {
	all := make(map[string]any)
	raw, err := json.Marshal(tuning)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	if tuning.NoDataTimeout == 0 {
		delete(all, "no_data_timeout")
	}
	for name, value := range more {
		all[name] = value
	}
	return all
}

// fake makes a harness over the fake that opts describe.
func fake(opts objecttest.S3Options) (connectiontest.Harness, objecttest.Harness) {
	var srv *objecttest.S3
	opts.AccessKey, opts.SecretKey = "AKIDEXAMPLE", "NobodyMaySeeThisSecretKey"
	reset := func(t testing.TB) { srv = objecttest.NewS3(t, &opts) }
	with := func(more map[string]any) objecttest.Opener {
		return func(t testing.TB, env *connection.Env, tuning objectstore.Tuning) connection.ObjectStore {
			return open(t, srv.Settings(), env, tuned(t, tuning, more))
		}
	}
	broken := func(more map[string]any) func(t testing.TB, env *connection.Env) connection.Connection {
		return func(t testing.TB, env *connection.Env) connection.Connection {
			return open(t, srv.Settings(), env, more)
		}
	}
	basic := connectiontest.Harness{
		Reset: reset,
		Open:  broken(nil),
		Broken: map[string]func(t testing.TB, env *connection.Env) connection.Connection{
			"wrong secret":   broken(map[string]any{"credential": "wrong secret key"}),
			"wrong key":      broken(map[string]any{"identity": "AKIDOTHER"}),
			"no such bucket": broken(map[string]any{"bucket": "none"}),
		},
		Secret: opts.SecretKey,
	}
	if !opts.Lock {
		basic.Skip = map[string]string{"lock-holds": "the bucket has no object lock"}
	}
	suite := objecttest.Harness{
		Reset: reset, Open: with(nil), Tuned: true, Parts: 5 << 20, Page: opts.PageSize, Huge: 256 << 20,
		Lag:      func(_ testing.TB, d time.Duration) { srv.Lag(d) },
		Damage:   func(_ testing.TB, key string) { srv.Damage(key) },
		Plant:    func(_ testing.TB, key string, raw []byte) bool { srv.Plant(key, raw); return true },
		NoBucket: with(map[string]any{"bucket": "none"}),
		Denied: func(t testing.TB, env *connection.Env, tuning objectstore.Tuning) connection.ObjectStore {
			srv.Deny()
			return open(t, srv.Settings(), env, tuned(t, tuning, nil))
		},
		At: func(t testing.TB, env *connection.Env, tuning objectstore.Tuning, url string) connection.ObjectStore {
			return open(t, srv.Settings(), env, tuned(t, tuning, map[string]any{"location": url}))
		},
		Strangers: map[string]objecttest.Opener{
			"identity":   with(map[string]any{"identity": "AKIDOTHER"}),
			"credential": with(map[string]any{"credential": "wrong secret key"}),
		},
		Secrets: []string{opts.SecretKey},
	}
	return basic, suite
}

func TestConformance(t *testing.T) {
	for name, opts := range map[string]objecttest.S3Options{
		"plain":       {},
		"with locks":  {Lock: true},
		"small pages": {PageSize: 3, EmptyPages: true},
		"over TLS":    {ServerOptions: objecttest.ServerOptions{TLS: objecttest.CertGood}},
	} {
		t.Run(name, func(t *testing.T) {
			basic, _ := fake(opts)
			connectiontest.Run(t, basic)
		})
	}
}

// TestEdgeCases is E1 to E84 of the suite, as far as they concern every engine.
func TestEdgeCases(t *testing.T) {
	_, suite := fake(objecttest.S3Options{Lock: true, PageSize: 7})
	suite.Skip = map[string]string{"E28-delete-many": "in a bucket with object lock each key is looked at first; TestBulkDelete has 2,500 keys in another"}
	objecttest.Run(t, suite)
}
