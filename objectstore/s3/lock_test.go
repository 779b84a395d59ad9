package s3_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// TestLockedObjects is E30 and E67: Put, Copy and Delete look first where S3 would write a version or a marker.
func TestLockedObjects(t *testing.T) {
	for name, opts := range map[string]objecttest.S3Options{"Amazon": {Lock: true}, "MinIO": {Lock: true, MinIOLockRefusal: true}, "may not ask for locks": {Lock: true, NoLockQuestion: true}} {
		t.Run(name, func(t *testing.T) {
			srv := objecttest.NewS3(t, &opts)
			c := open(t, srv.Settings(), nil, map[string]any{"single_put_limit": 1 << 20})
			for key, lock := range map[string]connection.Lock{
				"retained": {RetainUntil: time.Now().Add(time.Hour)}, "held": {LegalHold: true}, "free": {},
			} {
				put(t, c, key, []byte("mail"), &connection.PutOptions{Lock: lock})
			}
			for _, key := range []string{"retained", "held"} {
				_, err := c.Put(t.Context(), key, bytes.NewReader([]byte("other")), nil)
				wantKind(t, "put", err, connection.ErrLocked)
				_, err = c.Put(t.Context(), key, bytes.NewReader(make([]byte, 2<<20)), nil)
				wantKind(t, "put in parts", err, connection.ErrLocked)
				_, err = c.Copy(t.Context(), key, "free", nil)
				wantKind(t, "copy", err, connection.ErrLocked)
				wantKind(t, "delete", c.Delete(t.Context(), key), connection.ErrLocked)
				if n := srv.Versions(key); n != 1 {
					t.Errorf("%s has %d versions, want 1", key, n)
				}
			}
			err := c.Delete(t.Context(), "retained", "free", "held", "missing")
			var failed []string
			for e := range connection.Errors(err) {
				failed = append(failed, e.Key)
				wantKind(t, "delete many", e, connection.ErrLocked)
			}
			if slices.Sort(failed); !slices.Equal(failed, []string{"held", "retained"}) {
				t.Errorf("failed: %q", failed)
			}
			put(t, c, "new", []byte("mail"), nil)
			put(t, c, "new", []byte("newer"), nil)
			if n := srv.Versions("new"); n != 2 {
				t.Errorf("%d versions of what is not locked, want 2", n)
			}
		})
	}
}

// TestLock: retention is prolonged and never shortened, a legal hold set and lifted.
func TestLock(t *testing.T) {
	srv := objecttest.NewS3(t, &objecttest.S3Options{Lock: true})
	c := open(t, srv.Settings(), nil, nil)
	ctx, soon, late := t.Context(), time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
	put(t, c, "k", []byte("mail"), nil)
	for _, step := range []struct {
		lock connection.Lock
		kind connection.Kind // ErrUnknown: it is obeyed
		want connection.Lock
	}{
		{connection.Lock{LegalHold: true}, 0, connection.Lock{LegalHold: true}},
		{connection.Lock{RetainUntil: soon, LegalHold: true}, 0, connection.Lock{RetainUntil: soon, LegalHold: true}},
		{connection.Lock{RetainUntil: late}, 0, connection.Lock{RetainUntil: late}},
		{connection.Lock{RetainUntil: soon}, connection.ErrLocked, connection.Lock{RetainUntil: late}},
		{connection.Lock{}, 0, connection.Lock{RetainUntil: late}},
	} {
		err := c.Lock(ctx, "k", step.lock)
		if connection.KindOf(err) != step.kind {
			t.Fatalf("%+v: got %v, want %v", step.lock, err, step.kind)
		}
		info, err := c.Stat(ctx, "k")
		if err != nil {
			t.Fatal(err)
		}
		if d := info.Lock.RetainUntil.Sub(step.want.RetainUntil); info.Lock.LegalHold != step.want.LegalHold || d < 0 || d > time.Second {
			t.Errorf("%+v: got %+v, want %+v", step.lock, info.Lock, step.want)
		}
	}
	wantKind(t, "no object", c.Lock(ctx, "none", connection.Lock{LegalHold: true}), connection.ErrNotFound)
}

// TestNoLocksInThisBucket is E66: who asks for a lock where there is none is told, and nothing is stored.
func TestNoLocksInThisBucket(t *testing.T) {
	for name, opts := range map[string]objecttest.S3Options{"none": {}, "versions only": {Versions: true}, "may not ask": {NoLockQuestion: true}} {
		t.Run(name, func(t *testing.T) {
			srv := objecttest.NewS3(t, &opts)
			c := open(t, srv.Settings(), nil, map[string]any{"single_put_limit": 1 << 20})
			for _, size := range []int{4, 2 << 20} {
				_, err := c.Put(t.Context(), "k", bytes.NewReader(make([]byte, size)), &connection.PutOptions{Lock: connection.Lock{LegalHold: true}})
				wantKind(t, "put", err, connection.ErrUnsupported)
			}
			put(t, c, "k", []byte("mail"), nil)
			wantKind(t, "lock", c.Lock(t.Context(), "k", connection.Lock{LegalHold: true}), connection.ErrUnsupported)
			if n := srv.Versions("k"); n != 1 {
				t.Errorf("%d versions, want 1", n)
			}
			srv.ForgetRequests()
			put(t, c, "l", []byte("mail"), nil)
			if n := counted(srv); n != 1 && name != "versions only" {
				t.Errorf("a put makes %d requests, want 1", n)
			}
		})
	}
	srv := objecttest.NewS3(t, &objecttest.S3Options{Classes: []string{"STANDARD"}})
	c := open(t, srv.Settings(), nil, nil)
	_, err := c.Put(t.Context(), "k", bytes.NewReader([]byte("mail")), &connection.PutOptions{Class: "GLACIER"})
	wantKind(t, "a class that the server does not know", err, connection.ErrUnsupported)
	c = open(t, srv.Settings(), nil, map[string]any{"encryption": "aws:kms"})
	_, err = c.Put(t.Context(), "k", bytes.NewReader([]byte("mail")), nil)
	wantKind(t, "encryption that the server has not", err, connection.ErrUnsupported)
	if n := len(srv.Objects()); n != 0 {
		t.Errorf("%d objects are stored", n)
	}
}

// TestMarkers is E29: a delete that only hides says so.
func TestMarkers(t *testing.T) {
	srv, o := objecttest.NewS3(t, &objecttest.S3Options{Versions: true}), new(observer)
	c := open(t, srv.Settings(), o.env(), nil)
	for _, key := range []string{"a", "b", "c"} {
		put(t, c, key, []byte("mail"), nil)
	}
	if err := c.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), "b", "c"); err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, ev := range o.of(connection.EventMarker) {
		told = append(told, ev.Key)
	}
	if slices.Sort(told); !slices.Equal(told, []string{"a", "b", "c"}) {
		t.Errorf("markers were told of %q", told)
	}
	for info, err := range c.List(t.Context(), nil) {
		t.Errorf("the listing shows %s, error %v", info.Key, err)
	}
	_, err := c.Get(t.Context(), "a", nil)
	wantKind(t, "get", err, connection.ErrNotFound)
	if n := srv.Versions("a"); n != 2 {
		t.Errorf("%d versions, want the object and its marker", n)
	}
}

// TestColdObjects is E64 and E65.
func TestColdObjects(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	c := open(t, srv.Settings(), nil, map[string]any{"restore_tier": "Bulk"})
	ctx := t.Context()
	put(t, c, "cold", []byte("mail"), &connection.PutOptions{Class: "DEEP_ARCHIVE"})
	put(t, c, "warm", []byte("mail"), nil)
	state := func(want connection.RestoreState) connection.ObjectInfo {
		t.Helper()
		info, err := c.Stat(ctx, "cold")
		if err != nil || info.Restore != want || info.Class != "DEEP_ARCHIVE" {
			t.Fatalf("got state %q, class %s, error %v; want %q", info.Restore, info.Class, err, want)
		}
		o, err := c.Get(ctx, "cold", nil)
		if want == connection.RestoreDone {
			if err != nil {
				t.Fatal(err)
			}
			_ = o.Body.Close()
		} else {
			wantKind(t, "get", err, connection.ErrArchived)
		}
		return info
	}
	state(connection.RestoreNeeded)
	_, err := c.Copy(ctx, "copy", "cold", nil)
	wantKind(t, "copy", err, connection.ErrArchived)
	for range 2 { // the second is already under way
		if err := c.Restore(ctx, "cold", 36*time.Hour); err != nil {
			t.Fatal(err)
		}
		state(connection.RestorePending)
	}
	until := time.Now().Add(48 * time.Hour).Truncate(time.Second)
	srv.FinishRestores(until)
	if info := state(connection.RestoreDone); !info.ReadableTo.Equal(until) {
		t.Errorf("readable until %s, want %s", info.ReadableTo, until)
	}
	if err := c.Restore(ctx, "cold", 0); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := c.Restore(ctx, "warm", time.Hour); err != nil {
		t.Errorf("what is not cold: %v", err)
	}
	wantKind(t, "no object", c.Restore(ctx, "none", time.Hour), connection.ErrNotFound)
	for info, err := range c.List(ctx, nil) {
		if want := map[string]connection.RestoreState{"cold": connection.RestoreNeeded}[info.Key]; err != nil || info.Restore != want {
			t.Errorf("the listing says that %s is %q, error %v", info.Key, info.Restore, err)
		}
	}
}
