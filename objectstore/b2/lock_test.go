package b2_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/b2"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// E67: a locked object is neither deleted nor hidden behind a new version, by no verb of ours.
func TestLock(t *testing.T) {
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	for name, tc := range map[string]struct {
		lock connection.Lock
		make func(c *b2.Conn, lock connection.Lock) error
	}{
		"put, retention": {connection.Lock{RetainUntil: until}, func(c *b2.Conn, lock connection.Lock) error {
			_, err := c.Put(t.Context(), "k", strings.NewReader("kept"), &connection.PutOptions{Lock: lock})
			return err
		}},
		"put, hold": {connection.Lock{LegalHold: true}, func(c *b2.Conn, lock connection.Lock) error {
			_, err := c.Put(t.Context(), "k", strings.NewReader("kept"), &connection.PutOptions{Lock: lock})
			return err
		}},
		"lock": {connection.Lock{RetainUntil: until, LegalHold: true}, func(c *b2.Conn, lock connection.Lock) error {
			put(t, c, "k", "kept", nil)
			return c.Lock(t.Context(), "k", lock)
		}},
		"copy": {connection.Lock{RetainUntil: until}, func(c *b2.Conn, lock connection.Lock) error {
			put(t, c, "source", "kept", nil)
			_, err := c.Copy(t.Context(), "k", "source", &connection.PutOptions{Lock: lock})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := objecttest.NewB2(t, &objecttest.B2Options{FileLock: true})
			c := open(t, srv, nil, small)
			if err := tc.make(c, tc.lock); err != nil {
				t.Fatal(err)
			}
			info, err := c.Stat(t.Context(), "k")
			if err != nil || !info.Lock.RetainUntil.Equal(tc.lock.RetainUntil) || info.Lock.LegalHold != tc.lock.LegalHold {
				t.Errorf("got %+v, %v; want %+v", info.Lock, err, tc.lock)
			}
			for info, err := range c.List(t.Context(), &connection.ListOptions{Prefix: "k"}) {
				if err != nil || !info.Lock.RetainUntil.Equal(tc.lock.RetainUntil) || info.Lock.LegalHold != tc.lock.LegalHold {
					t.Errorf("listed as %+v, %v; want %+v", info.Lock, err, tc.lock)
				}
			}
			wantKind(t, "delete", c.Delete(t.Context(), "k"), connection.ErrLocked)
			_, err = c.Put(t.Context(), "k", strings.NewReader("new"), nil)
			wantKind(t, "put", err, connection.ErrLocked)
			_, err = c.Put(t.Context(), "k", bytes.NewReader(large(6_000_000)), nil)
			wantKind(t, "put of a large object", err, connection.ErrLocked)
			put(t, c, "other", "new", nil)
			_, err = c.Copy(t.Context(), "k", "other", nil)
			wantKind(t, "copy", err, connection.ErrLocked)
			if n := len(srv.Versions("k")); n != 1 || srv.Unfinished() != 0 {
				t.Errorf("%d versions, %d unfinished", n, srv.Unfinished())
			}
			if !tc.lock.RetainUntil.IsZero() {
				wantKind(t, "shorten", c.Lock(t.Context(), "k", connection.Lock{RetainUntil: until.Add(-time.Minute), LegalHold: tc.lock.LegalHold}), connection.ErrLocked)
				if err := c.Lock(t.Context(), "k", connection.Lock{RetainUntil: until.Add(time.Minute), LegalHold: tc.lock.LegalHold}); err != nil {
					t.Errorf("prolong: %v", err)
				}
				return
			}
			if err := c.Lock(t.Context(), "k", connection.Lock{}); err != nil {
				t.Errorf("end the hold: %v", err)
			}
			if err := c.Delete(t.Context(), "k"); err != nil {
				t.Errorf("delete behind the hold: %v", err)
			}
		})
	}
}

// Nothing is deleted if one of the versions is locked.
func TestDeleteOfALockedVersion(t *testing.T) {
	srv := objecttest.NewB2(t, &objecttest.B2Options{FileLock: true})
	c := open(t, srv, nil, nil)
	put(t, c, "k", "kept", &connection.PutOptions{Lock: connection.Lock{LegalHold: true}})
	srv.Add("k", []byte("newer"))
	wantKind(t, "delete", c.Delete(t.Context(), "k"), connection.ErrLocked)
	if n := len(srv.Versions("k")); n != 2 {
		t.Errorf("%d versions, want both", n)
	}
}

func TestRetentionMode(t *testing.T) {
	for mode, want := range map[string]string{"": "governance", "governance": "governance", "compliance": "compliance"} {
		srv := objecttest.NewB2(t, &objecttest.B2Options{FileLock: true})
		c := open(t, srv, nil, map[string]any{"retention_mode": mode, "part_size": 5_000_000, "single_put_limit": 5_000_000})
		opts := &connection.PutOptions{Lock: connection.Lock{RetainUntil: time.Now().Add(time.Hour)}}
		put(t, c, "small", "x", opts)
		if _, err := c.Put(t.Context(), "large", bytes.NewReader(large(6_000_000)), opts); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"small", "large"} {
			if got := srv.Versions(key)[0].Retention; got != want {
				t.Errorf("%q, %s: got %q, want %q", mode, key, got, want)
			}
		}
		// The mode of a retention in force stays.
		other := open(t, srv, nil, map[string]any{"retention_mode": "governance"})
		if err := other.Lock(t.Context(), "small", connection.Lock{RetainUntil: time.Now().Add(2 * time.Hour)}); err != nil {
			t.Errorf("%q: %v", mode, err)
		}
		if got := srv.Versions("small")[0].Retention; got != want {
			t.Errorf("%q: prolonging made it %q", mode, got)
		}
	}
}

// E66: a lock that cannot be had is refused before anything is sent.
func TestBucketWithoutFileLock(t *testing.T) {
	srv := objecttest.NewB2(t, nil)
	c := open(t, srv, nil, nil)
	lock := connection.Lock{LegalHold: true}
	_, err := c.Put(t.Context(), "k", strings.NewReader("x"), &connection.PutOptions{Lock: lock})
	wantKind(t, "put", err, connection.ErrUnsupported)
	var e *connection.Error
	if !errors.As(err, &e) || !strings.HasPrefix(e.Hint, "bucket: ") {
		t.Errorf("got hint %q", e.Hint)
	}
	if n := count(srv); n["b2_upload_file"]+n["b2_get_upload_url"] > 0 {
		t.Errorf("asked %v", n)
	}
	put(t, c, "k", "x", nil)
	wantKind(t, "lock", c.Lock(t.Context(), "k", lock), connection.ErrUnsupported)
	if err := c.Lock(t.Context(), "k", connection.Lock{}); err != nil {
		t.Errorf("no lock: %v", err)
	}
	if !c.Capabilities().Lock {
		t.Error("nothing is known yet, and locks are said not to be there")
	}
	if report, err := c.Test(t.Context(), nil); err != nil {
		t.Fatalf("%v\n%s", err, report)
	}
	if c.Capabilities().Lock {
		t.Error("Test has seen that there are no locks")
	}
}

// A lock that the application key may not read is still no permission to delete.
func TestLockThatCannotBeRead(t *testing.T) {
	srv := objecttest.NewB2(t, &objecttest.B2Options{FileLock: true, Retention: time.Hour, Capabilities: []string{"listBuckets", "listFiles", "readFiles", "writeFiles", "deleteFiles"}})
	c := open(t, srv, nil, nil)
	put(t, c, "k", "x", nil)
	wantKind(t, "delete", c.Delete(t.Context(), "k"), connection.ErrLocked)
	if n := len(srv.Versions("k")); n != 1 {
		t.Errorf("%d versions: a marker hides what is locked", n)
	}
}

// Encryption is asked for on every put and copy.
func TestEncryption(t *testing.T) {
	for _, encryption := range []string{"", b2.EncryptionB2} {
		srv := objecttest.NewB2(t, nil)
		c := open(t, srv, nil, map[string]any{"encryption": encryption, "part_size": 5_000_000, "single_put_limit": 5_000_000})
		put(t, c, "small", "x", nil)
		if _, err := c.Put(t.Context(), "large", bytes.NewReader(large(6_000_000)), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Copy(t.Context(), "copy", "small", nil); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"small", "large", "copy"} {
			if got := srv.Versions(key)[0].Encrypted; got != (encryption != "") {
				t.Errorf("%q, %s: encrypted %t", encryption, key, got)
			}
		}
	}
}

func TestCopyKeepsOrReplaces(t *testing.T) {
	srv := objecttest.NewB2(t, nil)
	c := open(t, srv, nil, small)
	content := large(6_000_000)
	from, err := c.Put(t.Context(), "from", bytes.NewReader(content), &connection.PutOptions{Meta: map[string]string{"a": "1"}, ContentType: "message/rfc822"})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		opts  *connection.PutOptions
		a, ct string
	}{
		"keep":    {nil, "1", "message/rfc822"},
		"replace": {&connection.PutOptions{Meta: map[string]string{"a": "2"}}, "2", "application/octet-stream"},
	} {
		info, err := c.Copy(t.Context(), "to", "from", tc.opts)
		if err != nil {
			t.Fatal(err)
		}
		stat, err := c.Stat(t.Context(), "to")
		if err != nil || stat.Meta["a"] != tc.a || stat.ContentType != tc.ct || stat.SHA256 != from.SHA256 || stat.ETag != info.ETag {
			t.Errorf("%s: got %+v, %v", name, stat, err)
		}
		if got, err := get(t, c, "to", nil); got != string(content) {
			t.Errorf("%s: got %d octets, %v", name, len(got), err)
		}
		if sum := srv.Versions("to")[0].Info["large_file_sha1"]; len(sum) != 40 {
			t.Errorf("%s: large_file_sha1 is %q", name, sum)
		}
	}
	_, err = c.Copy(t.Context(), "to", "missing", nil)
	wantKind(t, "copy of nothing", err, connection.ErrNotFound)
	if got := srv.Ops(); slices.Contains(got, "") {
		t.Errorf("asked for what is not there: %q", got)
	}
}
