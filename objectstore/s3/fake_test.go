package s3_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
	"github.com/mailconn/mailconn/objectstore/s3"
)

// open opens settings with further fields on top.
func open(t testing.TB, settings connection.Settings, env *connection.Env, more map[string]any) *s3.Conn {
	t.Helper()
	config := make(map[string]any)
	if err := json.Unmarshal(settings.Config, &config); err != nil {
		t.Fatal(err)
	}
	maps.Copy(config, more)
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	settings.Config = raw
	c, err := connection.NewRegistry(s3.Drivers()...).Open(settings, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c.(*s3.Conn)
}

func put(t testing.TB, c *s3.Conn, key string, raw []byte, opts *connection.PutOptions) connection.ObjectInfo {
	t.Helper()
	info, err := c.Put(t.Context(), key, bytes.NewReader(raw), opts)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func get(t testing.TB, c *s3.Conn, key string) []byte {
	t.Helper()
	o, err := c.Get(t.Context(), key, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(o.Body)
	if err := errors.Join(err, o.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return raw
}

// wantKind checks an error's kind.
func wantKind(t testing.TB, what string, err error, want connection.Kind) {
	t.Helper()
	_ = mustKind(t, what, err, want) // nobody asks for more
}

// mustKind checks an error's kind, and returns the error.
func mustKind(t testing.TB, what string, err error, want connection.Kind) *connection.Error {
	t.Helper()
	var e *connection.Error
	if !errors.As(err, &e) || e.Kind != want {
		t.Fatalf("%s: got %v, want %v", what, err, want)
	}
	if e.Driver != s3.DriverName || e.Op == "" || e.Endpoint == "" {
		t.Errorf("%s: the error lacks op, driver or endpoint: %+v", what, e)
	}
	return e
}

// counted returns how many requests there were for an operation since forget.
func counted(srv *objecttest.S3, ops ...string) int { return len(srv.Requests(ops...)) }

// verbs call each verb once, for errors that all have in common.
func verbs(t testing.TB, c *s3.Conn) map[string]error {
	ctx := t.Context()
	all := make(map[string]error)
	_, all["put"] = c.Put(ctx, "k", strings.NewReader("mail"), nil)
	_, all["put if absent"] = c.Put(ctx, "k", strings.NewReader("mail"), &connection.PutOptions{IfAbsent: true})
	_, all["put in parts"] = c.Put(ctx, "k", bytes.NewReader(make([]byte, 9<<20)), nil)
	_, all["stat"] = c.Stat(ctx, "k")
	if o, err := c.Get(ctx, "k", nil); err == nil {
		all["get"] = o.Body.Close()
	} else {
		all["get"] = err
	}
	for _, all["list"] = range c.List(ctx, nil) {
	}
	all["delete"] = c.Delete(ctx, "k")
	all["delete many"] = c.Delete(ctx, "k", "l")
	_, all["copy"] = c.Copy(ctx, "l", "k", nil)
	all["restore"] = c.Restore(ctx, "k", 0)
	for _, all["incomplete"] = range c.Incomplete(ctx) {
	}
	return all
}

// An observer keeps the events of a connection.
type observer struct {
	mu     sync.Mutex
	events []connection.Event
}

func (o *observer) env() *connection.Env {
	return &connection.Env{Observe: func(ev connection.Event) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.events = append(o.events, ev)
	}}
}

// of returns the events of a kind.
func (o *observer) of(kind connection.EventKind) (found []connection.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, ev := range o.events {
		if ev.Kind == kind {
			found = append(found, ev)
		}
	}
	return found
}

// ops returns what the server was asked, without repetitions that follow each other.
func ops(srv *objecttest.S3) []string { return slices.Compact(srv.Ops()) }

// fetch makes a request without credentials.
func fetch(t testing.TB, method, url, body string) (status int, raw []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	raw, err = io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, raw
}
