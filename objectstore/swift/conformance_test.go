package swift_test

import (
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/objecttest"
	"github.com/mailconn/mailconn/objectstore/swift"
)

// open opens the connection of s, with the settings of more on top.
func open(t testing.TB, s connection.Settings, env *connection.Env, more map[string]any) *swift.Conn {
	t.Helper()
	config := map[string]any{}
	if err := json.Unmarshal(s.Config, &config); err != nil {
		t.Fatal(err)
	}
	maps.Copy(config, more)
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	s.Config = raw
	c, err := connection.NewRegistry(swift.Drivers()...).Open(s, env)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*swift.Conn)
}

// quick are settings for tests in which something fails for good.
var quick = map[string]any{"max_attempts": 3, "max_elapsed": "5s", "no_data_timeout": "2s"}

// auths are the ways to log in.
var auths = []string{objecttest.SwiftV1, objecttest.SwiftV2, objecttest.SwiftV3, objecttest.SwiftRackspace}

var identityPath = map[string]string{
	objecttest.SwiftV1: "/auth/v1.0", objecttest.SwiftV2: "/v2.0", objecttest.SwiftRackspace: "/v2.0", objecttest.SwiftV3: "/v3",
}

func TestConformance(t *testing.T) {
	for _, auth := range auths {
		t.Run(auth, func(t *testing.T) {
			t.Parallel()
			var srv *objecttest.Swift
			with := func(s func() connection.Settings, more map[string]any) func(t testing.TB, env *connection.Env) connection.Connection {
				return func(t testing.TB, env *connection.Env) connection.Connection { return open(t, s(), env, more) }
			}
			settings := func() connection.Settings { return srv.Settings() }
			connectiontest.Run(t, connectiontest.Harness{
				Reset:  func(t testing.TB) { srv = objecttest.NewSwift(t, &objecttest.SwiftOptions{Auth: auth, Key: canary}) },
				Secret: canary,
				Open:   with(settings, nil),
				Broken: map[string]func(t testing.TB, env *connection.Env) connection.Connection{
					"wrong password":    with(settings, map[string]any{"credential": "something else"}),
					"unknown user":      with(settings, map[string]any{"identity": "nobody"}),
					"unknown container": with(settings, map[string]any{"bucket": "nowhere"}),
					"closed port": func(t testing.TB, env *connection.Env) connection.Connection {
						more := maps.Clone(quick)
						more["location"] = "http://" + objecttest.DeadAddr(t) + identityPath[auth]
						return open(t, srv.Settings(), env, more)
					},
				},
				Skip: map[string]string{"lock-holds": "Swift has neither retention nor legal hold"},
			})
		})
	}
}

const canary = "canary-of-swift"

func TestEdgeCases(t *testing.T) {
	for _, auth := range []string{objecttest.SwiftV3, objecttest.SwiftRackspace} {
		t.Run(auth, func(t *testing.T) {
			t.Parallel()
			var srv *objecttest.Swift
			at := func(more map[string]any) objecttest.Opener {
				return func(t testing.TB, env *connection.Env, tuning objectstore.Tuning) connection.ObjectStore {
					return tuned(t, srv.Settings(), env, tuning, more)
				}
			}
			objecttest.Run(t, objecttest.Harness{
				Reset: func(t testing.TB) {
					srv = objecttest.NewSwift(t, &objecttest.SwiftOptions{Auth: auth, Key: canary, PageSize: 500, TempURLKey: "canary-of-urls"})
				},
				Open:   at(nil),
				Tuned:  true,
				Parts:  96 << 10,
				Page:   500,
				Lag:    func(_ testing.TB, d time.Duration) { srv.Lag(d) },
				Damage: func(_ testing.TB, key string) { srv.Damage(key) },
				Plant: func(_ testing.TB, key string, raw []byte) bool {
					srv.Plant(key, raw)
					return true
				},
				At: func(t testing.TB, env *connection.Env, tuning objectstore.Tuning, url string) connection.ObjectStore {
					return tuned(t, srv.Settings(), env, tuning, map[string]any{"location": url + identityPath[auth]})
				},
				NoBucket:  at(map[string]any{"bucket": "nowhere"}),
				Strangers: map[string]objecttest.Opener{"identity": at(map[string]any{"identity": "nobody"}), "credential": at(map[string]any{"credential": "something else"})},
				Denied:    at(map[string]any{"identity": guest(auth)}),
				Secrets:   []string{canary, "canary-of-urls"},
				Server:    func() *objecttest.Server { return &srv.Server },
			})
		})
	}
}

// guest is the identity of a user without rights.
func guest(auth string) string {
	if auth == objecttest.SwiftRackspace {
		return objecttest.SwiftGuest
	}
	return "mail:" + objecttest.SwiftGuest
}

// tuned is open with the settings of tuning.
func tuned(t testing.TB, s connection.Settings, env *connection.Env, tuning objectstore.Tuning, more map[string]any) *swift.Conn {
	t.Helper()
	raw, err := json.Marshal(tuning)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	maps.Copy(all, more)
	return open(t, s, env, all)
}
