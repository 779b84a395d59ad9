package swift_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/internal/peertest"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// settingsOf returns the settings for a container of a real Swift.
func settingsOf(t testing.TB, srv *peertest.SwiftServer, container string) connection.Settings {
	t.Helper()
	raw, err := json.Marshal(map[string]string{"location": srv.AuthURL, "identity": srv.User, "credential": srv.Key, "bucket": container})
	if err != nil {
		t.Fatal(err)
	}
	return connection.Settings{Driver: "openstack-swift", Config: raw}
}

// raced is why a real Swift does not keep the promise of an atomic put if absent.
const raced = "Swift looks whether the key is taken when a put begins, so two that overlap may both succeed; see the package comment"

func TestConformanceOfRealSwift(t *testing.T) {
	srv := peertest.Swift(t, nil)
	container := newContainers(srv)
	var at string
	with := func(more map[string]any) func(t testing.TB, env *connection.Env) connection.Connection {
		return func(t testing.TB, env *connection.Env) connection.Connection {
			return open(t, settingsOf(t, srv, at), env, more)
		}
	}
	connectiontest.Run(t, connectiontest.Harness{
		Reset:    func(t testing.TB) { at = container(t) },
		Open:     with(nil),
		Secret:   srv.Key,
		Eventual: 10 * time.Second,
		Broken: map[string]func(t testing.TB, env *connection.Env) connection.Connection{
			"wrong password":      with(map[string]any{"credential": "something else"}),
			"unknown container":   with(map[string]any{"bucket": "nowhere"}),
			"user without rights": with(map[string]any{"identity": srv.Reader}),
		},
		Skip: map[string]string{"lock-holds": "Swift has neither retention nor legal hold", connectiontest.PutIfAbsent: raced},
	})
}

func TestEdgeCasesOnRealSwift(t *testing.T) {
	srv := peertest.Swift(t, nil)
	container := newContainers(srv)
	var bucket string
	at := func(more map[string]any) objecttest.Opener {
		return func(t testing.TB, env *connection.Env, tuning objectstore.Tuning) connection.ObjectStore {
			return tuned(t, settingsOf(t, srv, bucket), env, tuning, more)
		}
	}
	objecttest.Run(t, objecttest.Harness{
		Reset:     func(t testing.TB) { bucket = container(t) },
		Open:      at(nil),
		Tuned:     true,
		Parts:     96 << 10,
		Eventual:  10 * time.Second,
		NoBucket:  at(map[string]any{"bucket": "nowhere"}),
		Denied:    at(map[string]any{"identity": srv.Reader}),
		Strangers: map[string]objecttest.Opener{"identity": at(map[string]any{"identity": "nobody"}), "credential": at(map[string]any{"credential": "something else"})},
		Secrets:   []string{srv.Key, srv.TempKey},
		Skip:      map[string]string{"E49-if-absent-large": raced},
	})
}

// newContainers returns a function that makes a container at each call.
func newContainers(srv *peertest.SwiftServer) func(t testing.TB) string {
	n := 0
	return func(t testing.TB) string {
		t.Helper()
		n++
		name := fmt.Sprintf("c%d", n)
		if _, err := srv.Request(t.Context(), http.MethodPut, "/"+name, nil); err != nil {
			t.Fatal(err)
		}
		return name
	}
}

// What depends on how a cluster is set up: short tokens, small files, limits of the rate.
func TestRealSwiftWithLimits(t *testing.T) {
	srv := peertest.Swift(t, &peertest.SwiftOptions{TokenLife: 6 * time.Second, MaxFile: 1 << 20})
	c := open(t, settingsOf(t, srv, "mail"), nil, map[string]any{"part_size": 300 << 10, "single_put_limit": 2 << 20})
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	put(t, c, "first", []byte("octets"))
	// E44: tokens end all the time, and nobody notices.
	for began := time.Now(); time.Since(began) < 13*time.Second; { // two ends of tokens, on a machine that may take seconds for a request
		if got := get(t, c, "first"); string(got) != "octets" {
			t.Fatalf("got %q", got)
		}
		put(t, c, "again", octets(1, 10_000))
	}
	if _, err := c.Put(t.Context(), "big", bytes.NewReader(octets(1, 3<<19)), nil); connection.KindOf(err) != connection.ErrTooLarge {
		t.Errorf("a put above max_file_size: got error %v", err)
	}
	large := octets(2, 5<<20)
	put(t, c, "large", large)
	if got := get(t, c, "large"); !bytes.Equal(got, large) {
		t.Errorf("got %d octets that differ", len(got))
	}
	if _, err := c.Copy(t.Context(), "copy", "large", &connection.PutOptions{IfAbsent: true}); err != nil {
		t.Error(err)
	}
	if _, err := c.Copy(t.Context(), "again", "first", &connection.PutOptions{IfAbsent: true}); connection.KindOf(err) != connection.ErrExists {
		t.Errorf("copy onto what is there: got error %v", err)
	}
	if err := c.Delete(t.Context(), "large"); err != nil {
		t.Error(err)
	}
	if got := get(t, c, "copy"); !bytes.Equal(got, large) {
		t.Errorf("the copy has %d octets that differ, after the source was deleted", len(got))
	}
	if err := c.Delete(t.Context(), "copy", "first", "again"); err != nil {
		t.Error(err)
	}
	h, err := srv.Request(t.Context(), http.MethodGet, "/mail_segments?format=json", nil)
	if err != nil || h.Get("X-Container-Object-Count") != "0" && h.Get("Content-Length") != "2" {
		t.Errorf("segments are left: %q, error %v", h, err)
	}
	report, err := c.Test(t.Context(), &connection.TestOptions{Write: true})
	if err != nil || !strings.Contains(report.String(), "one request takes up to 1048576 octets") {
		t.Errorf("got error %v\n%s", err, report)
	}
}

// E43: a cluster that limits the rate of writes gets them in the end.
func TestRealSwiftThatThrottles(t *testing.T) {
	srv := peertest.Swift(t, &peertest.SwiftOptions{RateLimit: 2})
	var throttled atomic.Int64
	c := open(t, settingsOf(t, srv, "mail"), &connection.Env{Observe: func(e connection.Event) {
		if e.Kind == connection.EventRetry && connection.KindOf(e.Err) == connection.ErrThrottled {
			throttled.Add(1)
		}
	}}, map[string]any{"max_attempts": 20})
	// The limit begins when the proxy knows that the container is not empty.
	for began, n := time.Now(), 0; throttled.Load() == 0 && time.Since(began) < time.Minute; n++ {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if _, err := c.Put(t.Context(), fmt.Sprint("key", n, "-", i), strings.NewReader("octets"), nil); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	if throttled.Load() == 0 {
		t.Error("the server never said 498: nothing is shown")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// Rackspace's way in, with a catalogue of two regions, before a real Swift.
func TestRackspaceBeforeRealSwift(t *testing.T) {
	srv := peertest.Swift(t, nil)
	identity := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ask struct {
			Auth struct {
				APIKey struct{ Username, APIKey string } `json:"RAX-KSKEY:apiKeyCredentials"`
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || r.URL.Path != "/v2.0/tokens" || ask.Auth.APIKey.APIKey != "the API key" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h, err := srv.LogIn(r.Context(), ask.Auth.APIKey.Username)
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = fmt.Fprintf(w, `{"access":{"token":{"id":%q},"serviceCatalog":[{"type":"object-store","endpoints":[
			{"region":"LON","publicURL":"http://127.0.0.1:1/v1/none"},{"region":"DFW","publicURL":%q}]}]}}`, h.Get("X-Auth-Token"), h.Get("X-Storage-Url")) // the client has gone
	}))
	defer identity.Close()
	settings := func(region string) connection.Settings {
		raw, err := json.Marshal(map[string]string{"location": identity.URL + "/v2.0", "region": region, "identity": srv.User, "credential": "the API key", "bucket": "mail"})
		if err != nil {
			t.Fatal(err)
		}
		return connection.Settings{Driver: "rackspace-cloudfiles", Config: raw}
	}
	c := open(t, settings("DFW"), nil, parts)
	data := octets(1, 200<<10)
	put(t, c, "key", data)
	if got := get(t, c, "key"); !bytes.Equal(got, data) {
		t.Error("the object differs")
	}
	wrong := open(t, settings("NOPE"), nil, nil)
	if _, err := wrong.Stat(t.Context(), "key"); !strings.Contains(fmt.Sprint(err), "it has DFW, LON") {
		t.Errorf("unknown region: got error %v", err)
	}
	if err := errors.Join(c.Close(), wrong.Close()); err != nil {
		t.Error(err)
	}
}
