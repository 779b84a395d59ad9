package swift_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
	"github.com/mailconn/mailconn/objectstore/swift"
)

// parts makes every object of more than 64 KiB a large one.
var parts = map[string]any{"part_size": 64 << 10, "single_put_limit": 64 << 10, "max_attempts": 2, "no_data_timeout": "5s"}

const segments = "archive_segments"

// octets returns n octets that differ with the seed.
func octets(seed byte, n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i*7+i/251) + seed
	}
	return data
}

// left returns the names of all segments that there are.
func left(srv *objecttest.Swift) []string {
	var names []string
	for name := range srv.ObjectsOf(segments) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// E68: what is replaced or deleted takes its segments along, and no others.
func TestSegmentsGoWithTheirObject(t *testing.T) {
	big, bigger, small := octets(1, 200<<10), octets(2, 300<<10), octets(3, 100)
	for name, change := range map[string]struct {
		do   func(t *testing.T, c *swift.Conn) error
		want []byte // nil: the object is gone
	}{
		"replaced by a small one": {func(t *testing.T, c *swift.Conn) error { put(t, c, "key", small); return nil }, small},
		"replaced by a large one": {func(t *testing.T, c *swift.Conn) error { put(t, c, "key", bigger); return nil }, bigger},
		"replaced by a copy": {func(t *testing.T, c *swift.Conn) error {
			_, err := c.Copy(t.Context(), "key", "small", nil)
			return err
		}, small},
		"replaced by a large copy": {func(t *testing.T, c *swift.Conn) error {
			_, err := c.Copy(t.Context(), "key", "other", nil)
			return err
		}, big},
		"copied onto itself": {func(t *testing.T, c *swift.Conn) error {
			_, err := c.Copy(t.Context(), "key", "key", &connection.PutOptions{Meta: map[string]string{"a": "b"}})
			return err
		}, big},
		"deleted":             {func(t *testing.T, c *swift.Conn) error { return c.Delete(t.Context(), "key") }, nil},
		"deleted with others": {func(t *testing.T, c *swift.Conn) error { return c.Delete(t.Context(), "key", "small2", "none") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			srv := objecttest.NewSwift(t, nil)
			first := conn(t, srv, parts)
			put(t, first, "key", big)
			before := left(srv)
			put(t, first, "other", big)
			put(t, first, "small", small)
			put(t, first, "small2", small)
			if len(before) != 4 {
				t.Fatalf("the segments of the object are %q, want 4", before)
			}
			// Another connection has made none of them.
			c := conn(t, srv, parts)
			if err := change.do(t, c); err != nil {
				t.Fatal(err)
			}
			now := left(srv)
			for _, name := range before {
				if slices.Contains(now, name) {
					t.Errorf("segment %s of the old object is still there", name)
				}
			}
			if got := get(t, c, "other"); !bytes.Equal(got, big) {
				t.Error("another large object has changed")
			}
			if got, ok := srv.Objects()["key"]; !bytes.Equal(got, change.want) || ok != (change.want != nil) {
				t.Errorf("the object has %d octets now (%t), want %d", len(got), ok, len(change.want))
			}
			for one, err := range c.Incomplete(t.Context()) {
				t.Errorf("left behind: %+v, error %v", one, err)
			}
		})
	}
}

// E46: when the answer to a manifest is lost, the manifest that is put again replaces itself, and keeps its segments.
func TestManifestThatReplacesItself(t *testing.T) {
	srv := objecttest.NewSwift(t, nil)
	c := conn(t, srv, parts)
	old, data := octets(1, 200<<10), octets(2, 200<<10)
	put(t, c, "key", old)
	srv.FailAfter("PutManifest", 1, 1, objecttest.LoseReply()) // the first of a put finds the key taken
	put(t, c, "key", data)
	if n := len(srv.Requests("PutManifest")); n < 4 {
		t.Fatalf("%d manifests were put: nothing is shown", n)
	}
	if got := get(t, c, "key"); !bytes.Equal(got, data) {
		t.Errorf("got %d octets that differ", len(got))
	}
	// What the lost one replaced nobody has removed; it is found.
	if n, err := c.AbortIncomplete(t.Context(), time.Now().Add(time.Hour)); n != 1 || err != nil {
		t.Errorf("aborted %d, error %v; want 1", n, err)
	}
	if got := get(t, c, "key"); !bytes.Equal(got, data) {
		t.Errorf("after AbortIncomplete: got %d octets that differ", len(got))
	}
}

// E17, and what other programs leave behind: uploads without an object that refers to them, and only those.
func TestIncomplete(t *testing.T) {
	srv := objecttest.NewSwift(t, nil)
	c := conn(t, srv, parts)
	big := octets(1, 200<<10)
	put(t, c, "kept", big)
	put(t, c, "grüße/🙂 a%b", big)
	put(t, c, "replaced", big)
	put(t, c, "deleted", big)
	// Other programs know nothing of segments.
	srv.Plant("replaced", []byte("small"))
	srv.Plant("grüße/🙂 a%b", []byte("small"))
	plain := conn(t, srv, nil)
	srv.Fail("HeadContainer", 1, objecttest.Status(http.StatusNotFound, "")) // it takes the bucket for one without large objects
	if err := plain.Delete(t.Context(), "deleted"); err != nil {
		t.Fatal(err)
	}
	// A connection that dies in the middle: neither the manifest nor the clearing up gets through.
	srv.Fail("PutManifest", -1, objecttest.Reset())
	srv.Fail("BulkDelete", -1, objecttest.Reset())
	srv.Fail("DeleteObject", -1, objecttest.Reset())
	began := time.Now()
	if _, err := c.Put(t.Context(), "dead", bytes.NewReader(big), nil); err == nil {
		t.Fatal("put returned nil")
	}
	srv.ClearFaults()
	found := map[string]connection.Incomplete{}
	for one, err := range c.Incomplete(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		found[one.Key] = one
	}
	for _, key := range []string{"dead", "replaced", "deleted", "grüße/🙂 a%b"} {
		one, ok := found[key]
		if !ok || one.Size != int64(len(big)) || one.ID == "" || one.Started.Before(began.Add(-time.Minute)) || one.Started.After(time.Now()) {
			t.Errorf("%q: found %+v (%t)", key, one, ok)
		}
	}
	if len(found) != 4 {
		t.Errorf("found %d, want 4: %+v", len(found), found)
	}
	if n, err := c.AbortIncomplete(t.Context(), time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("aborted %d young ones, error %v", n, err)
	}
	if n, err := c.AbortIncomplete(t.Context(), time.Now().Add(time.Hour)); n != 4 || err != nil {
		t.Errorf("aborted %d, error %v; want 4", n, err)
	}
	if got := left(srv); len(got) != 4 {
		t.Errorf("segments left: %q, want the 4 of what is kept", got)
	}
	if got := get(t, c, "kept"); !bytes.Equal(got, big) {
		t.Error("the object that was kept has changed")
	}
}

// E45: the answer to a manifest may say yes before the server has looked.
func TestManifestIsAnsweredLate(t *testing.T) {
	srv := objecttest.NewSwift(t, &objecttest.SwiftOptions{LateManifest: true})
	c := conn(t, srv, parts)
	big := octets(1, 200<<10)
	put(t, c, "key", big)
	_, err := c.Put(t.Context(), "key", bytes.NewReader(big), &connection.PutOptions{IfAbsent: true})
	if connection.KindOf(err) != connection.ErrExists {
		t.Errorf("put with IfAbsent: got error %v", err)
	}
	kept := left(srv)
	for when, suffix := range map[string]string{"the first": "/00000001", "each": ""} {
		srv.Fail("PutManifest", 1, objecttest.Hook(func() {
			for _, name := range left(srv) {
				if strings.HasSuffix(name, suffix) && !slices.Contains(kept, name) {
					srv.RemoveObject(segments, name)
				}
			}
		}))
		if _, err := c.Put(t.Context(), "other", bytes.NewReader(big), nil); err == nil {
			t.Errorf("%s segment lost before the manifest: put returned nil", when)
		}
		if _, ok := srv.Objects()["other"]; ok {
			t.Errorf("%s segment lost before the manifest: there is an object", when)
		}
	}
	if got := get(t, c, "key"); !bytes.Equal(got, big) {
		t.Error("the object that was there has changed")
	}
}

// A bulk delete and the delete of a large object say what failed in the body of a 200.
func TestErrorsInTheBodyOfSuccess(t *testing.T) {
	srv := objecttest.NewSwift(t, nil)
	c := conn(t, srv, parts)
	put(t, c, "large", octets(1, 100<<10))
	for op, body := range map[string]string{
		"DeleteLargeObject": `{"Response Status":"400 Bad Request","Response Body":"","Errors":[["/archive/large","403 Forbidden"]],"Number Deleted":1,"Number Not Found":0}`,
		"BulkDelete":        `{"Response Status":"400 Bad Request","Response Body":"","Errors":[["/archive/a%20b","403 Forbidden"]],"Number Deleted":1,"Number Not Found":0}`,
	} {
		srv.Fail(op, 1, objecttest.Status(http.StatusOK, "  \r\n"+body, "Content-Type: application/json"))
	}
	if err := c.Delete(t.Context(), "large"); connection.KindOf(err) != connection.ErrPermission {
		t.Errorf("delete of a large object: got error %v", err)
	}
	put(t, c, "a b", nil)
	put(t, c, "c", nil)
	err := c.Delete(t.Context(), "a b", "c")
	var failed []string
	for e := range connection.Errors(err) {
		failed = append(failed, e.Key)
		if e.Kind != connection.ErrPermission {
			t.Errorf("got error %v", e)
		}
	}
	if !slices.Equal(failed, []string{"a b"}) {
		t.Errorf("bulk delete: %q failed, want only %q", failed, "a b")
	}
	// A server that gives up in the middle has not deleted the rest, which is asked for again.
	srv.Fail("BulkDelete", 1, objecttest.Status(http.StatusOK, `{"Response Status":"400 Bad Request","Response Body":"Max delete failures exceeded","Errors":[],"Number Deleted":1,"Number Not Found":0}`))
	if err := c.Delete(t.Context(), "a b", "c"); err != nil || len(srv.Objects()) != 1 {
		t.Errorf("got error %v, and there are %d objects, want 1", err, len(srv.Objects()))
	}
	srv.Fail("BulkDelete", -1, objecttest.Status(http.StatusOK, `{"Response Status":"401 Unauthorized","Response Body":"","Errors":[]}`))
	put(t, c, "x", nil)
	put(t, c, "y", nil)
	if err := c.Delete(t.Context(), "x", "y"); connection.KindOf(err) != connection.ErrUnavailable {
		t.Errorf("got error %v", err)
	}
	// A token that ends under a request is found out by the next.
	srv.ClearFaults()
	srv.Fail("BulkDelete", 1, objecttest.Status(http.StatusOK, `{"Response Status":"400 Bad Request","Errors":[["/archive/x","401 Unauthorized"],["/archive/y","401 Unauthorized"]]}`))
	srv.ExpireTokens()
	if err := c.Delete(t.Context(), "x", "y"); err != nil {
		t.Errorf("got error %v", err)
	}
}

// Clusters need have neither large objects nor bulk deletes.
func TestPlainCluster(t *testing.T) {
	srv := objecttest.NewSwift(t, &objecttest.SwiftOptions{NoBulk: true, NoTempURL: true})
	c := conn(t, srv, parts)
	for i := range 5 {
		put(t, c, fmt.Sprint("key", i), nil)
	}
	if err := c.Delete(t.Context(), "key0", "key1", "key2", "key3", "none"); err != nil || len(srv.Objects()) != 1 {
		t.Errorf("got error %v, and there are %d objects, want 1", err, len(srv.Objects()))
	}
	if n := len(srv.Requests("BulkDelete")); n != 1 {
		t.Errorf("%d bulk deletes, want 1", n)
	}
	srv.RemoveContainer("archive")
	if err := c.Delete(t.Context(), "key4", "key5"); connection.KindOf(err) != connection.ErrConfig {
		t.Errorf("delete in a container that is gone: got error %v", err)
	}
}

// The setting workers is how many keys are asked about or deleted at once, where that takes a request each.
func TestWorkers(t *testing.T) {
	for _, test := range []struct {
		op      string
		workers int
	}{{"DeleteObject", 2}, {"DeleteObject", 12}, {"HeadObject", 2}, {"HeadObject", 12}} {
		srv := objecttest.NewSwift(t, &objecttest.SwiftOptions{NoBulk: true})
		more := maps.Clone(parts)
		more["workers"] = test.workers
		c := conn(t, srv, more)
		if test.op == "HeadObject" {
			put(t, c, "large", octets(1, 100<<10)) // each key may be another one
		}
		keys := make([]string, 2*test.workers)
		for i := range keys {
			keys[i] = fmt.Sprint("key", i)
			srv.Plant(keys[i], nil)
		}
		var now, most atomic.Int64
		srv.Fail(test.op, -1, objecttest.Hook(func() {
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			<-time.After(300 * time.Millisecond) // for the others to come
			now.Add(-1)
		}))
		if err := c.Delete(t.Context(), keys...); err != nil {
			t.Fatal(err)
		}
		if got := most.Load(); got != int64(test.workers) {
			t.Errorf("%d requests %s at once, want %d", got, test.op, test.workers)
		}
	}
}

// A put is one request once a token is held, and so are Get, Stat and Delete, while there are no large objects.
func TestRequests(t *testing.T) {
	srv := objecttest.NewSwift(t, nil)
	c := conn(t, srv, nil)
	put(t, c, "key", []byte("octets"))
	srv.ForgetRequests()
	put(t, c, "key", []byte("octets"))
	put(t, c, "key2", []byte("octets"))
	get(t, c, "key")
	if _, err := c.Stat(t.Context(), "key"); err != nil {
		t.Error(err)
	}
	if err := errors.Join(c.Delete(t.Context(), "key"), c.Delete(t.Context(), "key2")); err != nil {
		t.Error(err)
	}
	if got, want := srv.Ops(), []string{"PutObject", "PutObject", "GetObject", "HeadObject", "DeleteObject", "DeleteObject"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// E17: another program that sets metadata drops the name of the upload. The object is made of its segments all the same.
func TestMetadataSetByOthers(t *testing.T) {
	clusters(t, func(t *testing.T, settings connection.Settings) {
		c := opened(t, settings, nil, patient)
		data := octets(1, 200<<10)
		put(t, c, "key", data)
		post(t, settings, "key", "X-Object-Meta-Colour", "blue")
		if info, err := c.Stat(t.Context(), "key"); err != nil || info.Meta["colour"] != "blue" || info.SHA256 != "" {
			t.Fatalf("stat: got %+v, error %v: nothing is shown", info, err)
		}
		for one, err := range c.Incomplete(t.Context()) {
			t.Errorf("left behind: %+v, error %v", one, err)
		}
		if n, err := c.AbortIncomplete(t.Context(), time.Now().Add(time.Hour)); n != 0 || err != nil {
			t.Errorf("aborted %d, error %v; want none", n, err)
		}
		if got, err := tryGet(t, c, "key"); err != nil || !bytes.Equal(got, data) {
			t.Errorf("got %d octets, error %v", len(got), err)
		}
	})
}
