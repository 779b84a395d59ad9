package azureblob_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/azureblob"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// E63: an archived object can be neither read nor overwritten. That a key is taken is known all the same.
func TestArchived(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, nil, nil)
	put(t, c, "key", "text", nil)
	srv.Archive("key")
	ctx := t.Context()
	wants(t, "get", second(c.Get(ctx, "key", nil)), connection.ErrArchived)
	wants(t, "put", putError(ctx, c, nil), connection.ErrArchived)
	wants(t, "copy from it", second(c.Copy(ctx, "other", "key", nil)), connection.ErrArchived)
	wants(t, "put if absent", putError(ctx, c, &connection.PutOptions{IfAbsent: true}), connection.ErrExists)
	if _, ok := srv.Objects()["other"]; ok {
		t.Error("the copy is there")
	}
}

// E65: how far a rehydration is, until a rule of the account archives the object again.
func TestRehydration(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, func(cfg *azureblob.Config) { cfg.RehydrateTier, cfg.RehydratePriority = "Cool", "High" }, nil)
	put(t, c, "key", "text", nil)
	state := func(when string, restore connection.RestoreState, class string) {
		t.Helper()
		info, err := c.Stat(t.Context(), "key")
		if err != nil || info.Restore != restore || info.Class != class {
			t.Errorf("%s: stat tells %q, class %q, error %v; want %q, %q", when, info.Restore, info.Class, err, restore, class)
		}
		for info, err := range c.List(t.Context(), nil) {
			if err != nil || info.Restore != restore || info.Class != class {
				t.Errorf("%s: list tells %q, class %q, error %v; want %q, %q", when, info.Restore, info.Class, err, restore, class)
			}
		}
	}
	restore := func() {
		t.Helper()
		if err := c.Restore(t.Context(), "key", time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	state("stored", connection.RestoreNone, "Hot")
	restore() // not in a cold tier: nothing to do, and not moved to another
	state("restored when not archived", connection.RestoreNone, "Hot")
	srv.Archive("key")
	state("archived", connection.RestoreNeeded, "Archive")
	restore()
	state("asked for", connection.RestorePending, "Archive")
	wants(t, "get", second(c.Get(t.Context(), "key", nil)), connection.ErrArchived)
	restore() // already under way
	if n := len(srv.Requests("SetBlobTier")); n != 1 {
		t.Errorf("%d times asked for another tier, want once", n)
	}
	if h := srv.Requests("SetBlobTier")[0].Header; h.Get("X-Ms-Access-Tier") != "Cool" || h.Get("X-Ms-Rehydrate-Priority") != "High" {
		t.Errorf("asked for the tier %q with the priority %q", h.Get("X-Ms-Access-Tier"), h.Get("X-Ms-Rehydrate-Priority"))
	}
	srv.Rehydrate("key")
	state("done", connection.RestoreNone, "Cool")
	holds(t, c, "key", "text")
	srv.Archive("key")
	state("archived again", connection.RestoreNeeded, "Archive")
	wants(t, "restore of a missing object", c.Restore(t.Context(), "missing", 0), connection.ErrNotFound)
}

// Two who restore at the same time: the second is told that it is under way, which is no error.
func TestRestoreRace(t *testing.T) {
	srv := newFake(t, nil)
	c, other := openWith(t, srv, nil, nil), openWith(t, srv, nil, nil)
	put(t, c, "key", "text", nil)
	srv.Archive("key")
	srv.Fail("SetBlobTier", 1, objecttest.Hook(func() {
		if err := other.Restore(t.Context(), "key", 0); err != nil {
			t.Error(err)
		}
	}))
	if err := c.Restore(t.Context(), "key", 0); err != nil {
		t.Error(err)
	}
}

func TestStorageClass(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, func(cfg *azureblob.Config) {
		cfg.StorageClass, cfg.SinglePutLimit, cfg.PartSize = "Cool", 10, 10
	}, nil)
	put(t, c, "settings", "text", nil)
	put(t, c, "option", "text", &connection.PutOptions{Class: "Cold"})
	put(t, c, "parts", "more than one part holds", &connection.PutOptions{Class: "Archive"})
	if _, err := c.Copy(t.Context(), "copy", "option", &connection.PutOptions{Class: "Hot"}); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"settings": "Cool", "option": "Cold", "parts": "Archive", "copy": "Hot"} {
		if info, err := c.Stat(t.Context(), key); err != nil || info.Class != want {
			t.Errorf("%s is of class %q, error %v; want %q", key, info.Class, err, want)
		}
	}
	// E66
	srv.ForgetRequests()
	for _, text := range []string{"text", "more than one part holds"} {
		_, err := c.Put(t.Context(), "key", strings.NewReader(text), &connection.PutOptions{Class: "GLACIER"})
		wants(t, "put of a class that there is not", err, connection.ErrUnsupported)
	}
	if _, ok := srv.Objects()["key"]; ok || len(srv.Requests("PutBlob", "PutBlockList")) > 0 {
		t.Errorf("it was sent: %v", srv.Ops())
	}
}
