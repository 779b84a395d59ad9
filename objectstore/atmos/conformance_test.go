package atmos_test

import (
	"encoding/json"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
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
