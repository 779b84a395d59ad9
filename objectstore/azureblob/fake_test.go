package azureblob_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/azureblob"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// quick makes failures short: one attempt.
var quick = objectstore.Tuning{MaxAttempts: 1}

// newFake starts a server with opts, which may be nil.
func newFake(t testing.TB, opts *objecttest.AzureOptions) *objecttest.Azure {
	t.Helper()
	var o objecttest.AzureOptions
	if opts != nil {
		o = *opts
	}
	o.Key = key
	return objecttest.NewAzure(t, &o)
}

// openWith opens a store on a fake, with changed settings; change may be nil.
func openWith(t testing.TB, srv *objecttest.Azure, change func(cfg *azureblob.Config), env *connection.Env) *azureblob.Conn {
	t.Helper()
	cfg := fakeConfig(srv, quick)
	if change != nil {
		change(&cfg)
	}
	return open(t, cfg, env)
}

func put(t testing.TB, c *azureblob.Conn, key, text string, opts *connection.PutOptions) connection.ObjectInfo {
	t.Helper()
	info, err := c.Put(t.Context(), key, bytes.NewReader([]byte(text)), opts)
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	return info
}

func read(ctx context.Context, c *azureblob.Conn, key string) (string, error) {
	o, err := c.Get(ctx, key, nil)
	if err != nil {
		return "", err
	}
	raw, err := io.ReadAll(o.Body)
	return string(raw), errors.Join(err, o.Body.Close())
}

// holds fails the test if key does not hold text.
func holds(t testing.TB, c *azureblob.Conn, key, text string) {
	t.Helper()
	if got, err := read(t.Context(), c, key); err != nil || got != text {
		t.Errorf("%s holds %q, error %v; want %q", key, got, err, text)
	}
}

// wants fails the test if err is not of the Kind.
func wants(t testing.TB, what string, err error, kind connection.Kind) {
	t.Helper()
	if err == nil || connection.KindOf(err) != kind {
		t.Errorf("%s: got error %v, want one of kind %q", what, err, kind)
	}
}

// An observer keeps the events of an environment.
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

// marked returns the keys for which a marker was told.
func (o *observer) marked() (keys []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, ev := range o.events {
		if ev.Kind == connection.EventMarker {
			keys = append(keys, ev.Key)
		}
	}
	return keys
}

// until polls for what becomes true soon.
func until(t testing.TB, what string, good func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !good(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

// noSuchHost is a dialler for which no name is known.
func noSuchHost(_ context.Context, network, address string) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Net: network, Err: &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}}
}
