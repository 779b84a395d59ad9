package azureblob_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/azureblob"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// E30, E67: the service would make a new version of a locked object, or hide it. We do not even ask.
func TestLockedObject(t *testing.T) {
	for name, lock := range map[string]connection.Lock{
		"legal hold": {LegalHold: true},
		"retention":  {RetainUntil: time.Now().Add(time.Hour)},
		"both":       {RetainUntil: time.Now().Add(time.Hour), LegalHold: true},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newFake(t, &objecttest.AzureOptions{Locks: true})
			c := openWith(t, srv, func(cfg *azureblob.Config) { cfg.SinglePutLimit, cfg.PartSize = 10, 10 }, nil)
			put(t, c, "key", "text", &connection.PutOptions{Lock: lock})
			put(t, c, "other", "other", nil)
			srv.ForgetRequests()
			ctx := t.Context()
			for verb, err := range map[string]error{
				"put":           putError(ctx, c, nil),
				"put of parts":  second(c.Put(ctx, "key", strings.NewReader("more than one part holds"), nil)),
				"delete":        c.Delete(ctx, "key"),
				"copy onto it":  second(c.Copy(ctx, "key", "other", nil)),
				"put if absent": putError(ctx, c, &connection.PutOptions{IfAbsent: true}),
			} {
				want := connection.ErrLocked
				if verb == "put if absent" {
					want = connection.ErrExists
				}
				wants(t, verb, err, want)
			}
			for _, r := range srv.Requests("PutBlob", "PutBlockList", "CopyBlob", "DeleteBlob") {
				if r.Status < 400 {
					t.Errorf("%s was sent and answered %d", r.Op, r.Status)
				}
			}
			if n := srv.Earlier("key"); n != 0 {
				t.Errorf("%d earlier versions, want none", n)
			}
			if left := srv.Uncommitted(); len(left) != 0 {
				t.Errorf("blocks are left behind: %v", left)
			}
			holds(t, c, "key", "text")
			info, err := c.Stat(ctx, "key")
			if err != nil || info.Lock.LegalHold != lock.LegalHold || info.Lock.RetainUntil.Before(lock.RetainUntil) {
				t.Errorf("stat tells the lock %+v, error %v; want %+v", info.Lock, err, lock)
			}
			if d := info.Lock.RetainUntil.Sub(lock.RetainUntil); d >= time.Second {
				t.Errorf("the retention is %s longer than asked", d)
			}
		})
	}
}

func TestLock(t *testing.T) {
	srv := newFake(t, &objecttest.AzureOptions{Locks: true})
	c := openWith(t, srv, nil, nil)
	ctx := t.Context()
	put(t, c, "key", "text", nil)
	soon, late := time.Now().Add(time.Hour), time.Now().Add(48*time.Hour)
	lock := func(what string, l connection.Lock, want connection.Kind) {
		t.Helper()
		err := c.Lock(ctx, "key", l)
		if want == connection.ErrUnknown && err != nil || want != connection.ErrUnknown && connection.KindOf(err) != want {
			t.Fatalf("%s: got error %v, want %q", what, err, want)
		}
	}
	state := func(want connection.Lock) {
		t.Helper()
		info, err := c.Stat(ctx, "key")
		if d := info.Lock.RetainUntil.Sub(want.RetainUntil); err != nil || info.Lock.LegalHold != want.LegalHold || d < 0 || d >= time.Second {
			t.Errorf("the lock is %+v, error %v; want %+v", info.Lock, err, want)
		}
	}
	lock("retain", connection.Lock{RetainUntil: soon}, 0)
	state(connection.Lock{RetainUntil: soon})
	lock("prolong, and hold", connection.Lock{RetainUntil: late, LegalHold: true}, 0)
	state(connection.Lock{RetainUntil: late, LegalHold: true})
	lock("shorten", connection.Lock{RetainUntil: soon, LegalHold: true}, connection.ErrLocked)
	state(connection.Lock{RetainUntil: late, LegalHold: true})
	lock("lift the hold", connection.Lock{}, 0)
	state(connection.Lock{RetainUntil: late})
	wants(t, "delete", c.Delete(ctx, "key"), connection.ErrLocked)
	wants(t, "lock of a missing object", c.Lock(ctx, "missing", connection.Lock{LegalHold: true}), connection.ErrNotFound)
}

// A retention that nobody can take back asks for a policy that is locked, and prolonging it keeps it so, whatever the
// settings say by then.
func TestRetentionMode(t *testing.T) {
	srv := newFake(t, &objecttest.AzureOptions{Locks: true})
	mode := func(op string) string {
		all := srv.Requests(op)
		return all[len(all)-1].Header.Get("X-Ms-Immutability-Policy-Mode")
	}
	strict := openWith(t, srv, func(cfg *azureblob.Config) { cfg.RetentionMode = azureblob.RetentionCompliance }, nil)
	lax := openWith(t, srv, nil, nil)
	put(t, lax, "lax", "text", &connection.PutOptions{Lock: connection.Lock{RetainUntil: time.Now().Add(time.Hour)}})
	if got := mode("PutBlob"); got != "Unlocked" {
		t.Errorf("governance puts with the mode %q", got)
	}
	put(t, strict, "strict", "text", &connection.PutOptions{Lock: connection.Lock{RetainUntil: time.Now().Add(time.Hour)}})
	if got := mode("PutBlob"); got != "Locked" {
		t.Errorf("compliance puts with the mode %q", got)
	}
	if err := lax.Lock(t.Context(), "strict", connection.Lock{RetainUntil: time.Now().Add(2 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if got := mode("SetBlobImmutabilityPolicy"); got != "Locked" {
		t.Errorf("prolonging a locked policy asks for the mode %q", got)
	}
}

// A retention that has ended protects nothing any more.
func TestRetentionEnds(t *testing.T) {
	srv := newFake(t, &objecttest.AzureOptions{Locks: true})
	c := openWith(t, srv, nil, nil)
	put(t, c, "key", "text", &connection.PutOptions{Lock: connection.Lock{RetainUntil: time.Now().Add(time.Minute)}})
	wants(t, "delete before its end", c.Delete(t.Context(), "key"), connection.ErrLocked)
	srv.Skew(10 * time.Minute) // it is the server's clock that counts
	if _, err := c.Stat(t.Context(), "key"); err != nil {
		t.Fatal(err)
	}
	put(t, c, "key", "new", nil)
	if err := c.Delete(t.Context(), "key"); err != nil {
		t.Errorf("delete after its end: %v", err)
	}
}

// A policy of the whole container is the service's to enforce.
func TestContainerPolicy(t *testing.T) {
	srv := newFake(t, &objecttest.AzureOptions{Policy: true})
	c := openWith(t, srv, nil, nil)
	put(t, c, "key", "text", nil)
	wants(t, "put", putError(t.Context(), c, nil), connection.ErrLocked)
	wants(t, "delete", c.Delete(t.Context(), "key"), connection.ErrLocked)
	// The service finds the policy before the condition; but that the key is taken is what was asked.
	wants(t, "put if absent", putError(t.Context(), c, &connection.PutOptions{IfAbsent: true}), connection.ErrExists)
	holds(t, c, "key", "text")
}

// E66: a lock that the container cannot keep is refused before any octet is sent.
func TestNoLocks(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, func(cfg *azureblob.Config) { cfg.SinglePutLimit, cfg.PartSize = 10, 10 }, nil)
	for _, text := range []string{"text", "more than one part holds"} {
		_, err := c.Put(t.Context(), "key", strings.NewReader(text), &connection.PutOptions{Lock: connection.Lock{LegalHold: true}})
		wants(t, "put with a lock", err, connection.ErrUnsupported)
	}
	put(t, c, "other", "other", nil)
	wants(t, "lock", c.Lock(t.Context(), "other", connection.Lock{LegalHold: true}), connection.ErrUnsupported)
	if slices.Contains(srv.Ops(), "SetBlobLegalHold") || len(srv.Objects()) != 1 {
		t.Errorf("requests %v, objects %d", srv.Ops(), len(srv.Objects()))
	}
	if c.Capabilities().Lock {
		t.Error("the capabilities still tell of locks")
	}
}

// E29: where versions or deleted objects are kept, Delete says that it only made a marker.
func TestMarkers(t *testing.T) {
	for name, tc := range map[string]struct {
		opts objecttest.AzureOptions
		want []string
	}{
		"plain":       {objecttest.AzureOptions{}, nil},
		"versions":    {objecttest.AzureOptions{Versions: true}, []string{"key"}},
		"soft delete": {objecttest.AzureOptions{SoftDelete: true}, []string{"key"}},
		"locks":       {objecttest.AzureOptions{Locks: true}, []string{"key"}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newFake(t, &tc.opts)
			srv.Add("key", []byte("text"))
			var o observer
			c := openWith(t, srv, nil, o.env())
			// The first verb of the connection: nothing is known yet.
			if err := c.Delete(t.Context(), "key", "missing"); err != nil {
				t.Fatal(err)
			}
			if got := o.marked(); !slices.Equal(got, tc.want) {
				t.Errorf("markers %q, want %q", got, tc.want)
			}
			_, err := c.Get(t.Context(), "key", nil)
			wants(t, "get", err, connection.ErrNotFound)
			if len(srv.Objects()) != 0 {
				t.Error("it is still there")
			}
		})
	}
}

// How often the container is asked about: once for many verbs, and never for a put that must be the first.
func TestRequestsOfAVerb(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, nil, nil)
	for _, tc := range []struct {
		verb string
		do   func() error
		want string
	}{
		{"put if absent", func() error { return putError(t.Context(), c, &connection.PutOptions{IfAbsent: true}) }, "PutBlob"},
		{"get", func() error { _, err := read(t.Context(), c, "key"); return err }, "GetBlob"},
		{"stat", func() error { return second(c.Stat(t.Context(), "key")) }, "GetBlobProperties"},
		{"first put", func() error { return putError(t.Context(), c, nil) }, "GetContainerProperties PutBlob"},
		{"put", func() error { return putError(t.Context(), c, nil) }, "PutBlob"},
		{"delete", func() error { return c.Delete(t.Context(), "key") }, "DeleteBlob"},
		{"list", func() error { return listError(t.Context(), c) }, "ListBlobs"},
	} {
		srv.ForgetRequests()
		if err := tc.do(); err != nil {
			t.Fatalf("%s: %v", tc.verb, err)
		}
		if got := strings.Join(srv.Ops(), " "); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.verb, got, tc.want)
		}
	}
}
