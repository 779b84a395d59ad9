package swift_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
	"github.com/mailconn/mailconn/objectstore/swift"
)

// verbs are all that a store does.
func verbs(c *swift.Conn) map[string]func(t *testing.T) error {
	return map[string]func(t *testing.T) error{
		"Put": func(t *testing.T) error {
			_, err := c.Put(t.Context(), "key", strings.NewReader("octets"), nil)
			return err
		},
		"Put, large": func(t *testing.T) error {
			_, err := c.Put(t.Context(), "key", bytes.NewReader(octets(1, 100<<10)), nil)
			return err
		},
		"Get": func(t *testing.T) error {
			o, err := c.Get(t.Context(), "key", nil)
			if err == nil {
				err = o.Body.Close()
			}
			return err
		},
		"Stat": func(t *testing.T) error {
			_, err := c.Stat(t.Context(), "key")
			return err
		},
		"List": func(t *testing.T) error {
			for _, err := range c.List(t.Context(), nil) {
				return err
			}
			return nil
		},
		"Delete":       func(t *testing.T) error { return c.Delete(t.Context(), "key") },
		"Delete, bulk": func(t *testing.T) error { return c.Delete(t.Context(), "key", "key2") },
		"Copy": func(t *testing.T) error {
			_, err := c.Copy(t.Context(), "key2", "key", nil)
			return err
		},
	}
}

// E31, E32: a container that is missing is no missing object, with any verb.
func TestMissingContainer(t *testing.T) {
	for _, gone := range []bool{false, true} {
		srv := objecttest.NewSwift(t, nil)
		more := maps.Clone(parts)
		if !gone {
			more["bucket"] = "nowhere"
		}
		c := conn(t, srv, more)
		if gone { // while it is in use
			put(t, c, "key", nil)
			put(t, c, "large", octets(1, 100<<10))
			srv.RemoveContainer("archive")
		}
		for name, verb := range verbs(c) {
			err := verb(t)
			var e *connection.Error
			if !errors.As(err, &e) || e.Kind != connection.ErrConfig || errors.Is(err, connection.ErrNotFound) || !strings.Contains(e.Hint, "bucket") {
				t.Errorf("%s (gone while in use: %t): got error %v", name, gone, err)
			}
		}
	}
}

// The statuses of Swift and of Rackspace, by what they mean.
func TestStatuses(t *testing.T) {
	for _, test := range []struct {
		op, verb string
		fault    objecttest.Fault
		want     connection.Kind
	}{
		{"PutObject", "Put", objecttest.Status(498, "Slow down"), connection.ErrThrottled},
		{"PutObject", "Put", objecttest.Status(429, "Too Many Requests", "Retry-After: 1"), connection.ErrThrottled},
		{"PutObject", "Put", objecttest.Status(413, "<h1>Over Limit</h1>", "Retry-After: 1"), connection.ErrThrottled},
		{"PutObject", "Put", objecttest.Status(413, "<h1>Request Entity Too Large</h1>"), connection.ErrTooLarge},
		{"PutObject", "Put", objecttest.Status(413, "<p>Upload exceeds quota.</p>"), connection.ErrQuota},
		{"PutObject", "Put", objecttest.Status(507, "<h1>Insufficient Storage</h1>"), connection.ErrQuota},
		{"PutObject", "Put", objecttest.Status(503, "<h1>Service Unavailable</h1>"), connection.ErrUncertain},
		{"PutObject", "Put", objecttest.Status(501, "<h1>Not Implemented</h1>"), connection.ErrUnsupported},
		{"HeadObject", "Stat", objecttest.Status(503, "<h1>Service Unavailable</h1>"), connection.ErrUnavailable},
		{"PutObject", "Put", objecttest.Status(409, "<h1>Conflict</h1>"), connection.ErrUnavailable},
		{"PutObject", "Put", objecttest.Status(499, "Client Disconnect"), connection.ErrNetwork},
		{"PutObject", "Put", objecttest.Status(422, "<h1>Unprocessable Entity</h1>"), connection.ErrCorrupt},
		{"PutObject", "Put", objecttest.Status(400, "Total metadata too large; max 4096"), connection.ErrTooLarge},
		{"PutObject", "Put", objecttest.Status(400, "Object name length of 1025 longer than 1024"), connection.ErrUnsupported},
		{"PutObject", "Put", objecttest.Status(403, "<h1>Forbidden</h1>"), connection.ErrPermission},
		{"HeadObject", "Stat", objecttest.Status(403, ""), connection.ErrPermission},
		{"GetObject", "Get", objecttest.Status(409, "<h1>Conflict</h1>"), connection.ErrCorrupt},
		{"GetObject", "Get", objecttest.Status(408, "<h1>Request Timeout</h1>"), connection.ErrTimeout},
		{"ListObjects", "List", objecttest.Status(200, "[{"), connection.ErrNetwork},
		{"ListObjects", "List", objecttest.Status(200, "{}"), connection.ErrProtocol},
		{"ListObjects", "List", objecttest.Status(200, "<html>"), connection.ErrProtocol},
		{"ListObjects", "List", objecttest.Status(412, "Bad delimiter"), connection.ErrUnsupported},
		{"GetObject", "Get", objecttest.Status(206, "octets", "Content-Range: octets 1-2"), connection.ErrProtocol},
	} {
		srv := objecttest.NewSwift(t, nil)
		c := conn(t, srv, map[string]any{"max_attempts": 1})
		put(t, c, "key", []byte("before"))
		srv.Fail(test.op, -1, test.fault)
		if err := verbs(c)[test.verb](t); connection.KindOf(err) != test.want {
			t.Errorf("%s: got error %v, want %v", test.op, err, test.want)
		}
	}
}

// E43: what asks to wait is asked again, when it wants to.
func TestThrottling(t *testing.T) {
	for name, fault := range map[string]objecttest.Fault{
		"498":                  objecttest.Status(498, "Slow down"),
		"413 with Retry-After": objecttest.Status(413, "OverLimit Retry...", "Retry-After: 1"),
	} {
		srv := objecttest.NewSwift(t, &objecttest.SwiftOptions{Auth: objecttest.SwiftRackspace})
		c := conn(t, srv, nil)
		put(t, c, "first", nil)
		srv.Fail("PutObject", 2, fault)
		began := time.Now()
		put(t, c, "key", []byte("octets"))
		if strings.Contains(name, "Retry-After") && time.Since(began) < 2*time.Second {
			t.Errorf("%s: came back after %s, want 1s each time", name, time.Since(began))
		}
		if got := srv.Objects()["key"]; string(got) != "octets" {
			t.Errorf("%s: stored %q", name, got)
		}
	}
}

// An object that is just being replaced may be missing for a moment.
func TestMissingForAMoment(t *testing.T) {
	srv := objecttest.NewSwift(t, nil)
	c := conn(t, srv, nil)
	put(t, c, "key", []byte("octets"))
	srv.Fail("GetObject", 1, objecttest.Status(http.StatusNotFound, "<h1>Not Found</h1>"))
	if got := get(t, c, "key"); string(got) != "octets" {
		t.Errorf("got %q", got)
	}
	srv.ForgetRequests()
	if _, err := c.Get(t.Context(), "none", nil); connection.KindOf(err) != connection.ErrNotFound || len(srv.Requests()) > 3 {
		t.Errorf("got error %v after %q", err, srv.Ops())
	}
}

// A user who may only read reads, and is told why he cannot write.
func TestReader(t *testing.T) {
	srv := objecttest.NewSwift(t, &objecttest.SwiftOptions{Reader: true})
	srv.Plant("key", []byte("octets"))
	c := conn(t, srv, parts)
	if got := get(t, c, "key"); string(got) != "octets" {
		t.Errorf("got %q", got)
	}
	for _, name := range []string{"Put", "Put, large", "Delete", "Delete, bulk", "Copy"} {
		err := verbs(c)[name](t)
		for e := range connection.Errors(err) {
			if e.Kind != connection.ErrPermission || e.Hint == "" {
				t.Errorf("%s: got error %v", name, e)
			}
		}
		if err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// E5x of servers that only look like Swift: they ignore conditions and ranges.
func TestIgnorantServer(t *testing.T) {
	srv := objecttest.NewSwift(t, &objecttest.SwiftOptions{NoIfAbsent: true, NoIfMatch: true, NoRange: true, NoInfo: true})
	c := conn(t, srv, nil)
	data := octets(1, 100<<10)
	put(t, c, "key", data)
	o, err := c.Get(t.Context(), "key", &connection.GetOptions{Offset: 1000, Length: 500})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(o.Body)
	if err := errors.Join(err, o.Body.Close()); err != nil || !bytes.Equal(got, data[1000:1500]) {
		t.Errorf("range: got %d octets, error %v", len(got), err)
	}
	if _, err := c.Get(t.Context(), "key", &connection.GetOptions{IfMatch: "0123"}); connection.KindOf(err) != connection.ErrChanged {
		t.Errorf("IfMatch: got error %v", err)
	}
	report, err := c.Test(t.Context(), &connection.TestOptions{Write: true})
	if err != nil || !strings.Contains(report.String(), "emulate_if_absent") {
		t.Errorf("Test: error %v\n%s", err, report)
	}
	if _, err := c.Put(t.Context(), "key", bytes.NewReader(data), &connection.PutOptions{IfAbsent: true}); connection.KindOf(err) != connection.ErrUnsupported {
		t.Errorf("IfAbsent after Test: got error %v", err)
	}
	if n := len(srv.Objects()); n != 1 {
		t.Errorf("Test left %d objects, want 1", n)
	}
}

// E66: what Swift does not have is refused before anything is sent.
func TestUnsupported(t *testing.T) {
	srv := objecttest.NewSwift(t, nil)
	c := conn(t, srv, nil)
	for name, opts := range map[string]*connection.PutOptions{
		"class":      {Class: "COLD"},
		"retention":  {Lock: connection.Lock{RetainUntil: time.Now().Add(time.Hour)}},
		"legal hold": {Lock: connection.Lock{LegalHold: true}},
	} {
		if _, err := c.Put(t.Context(), "key", strings.NewReader("octets"), opts); connection.KindOf(err) != connection.ErrUnsupported {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"Lock":    c.Lock(t.Context(), "key", connection.Lock{LegalHold: true}),
		"Restore": c.Restore(t.Context(), "key", time.Hour),
	} {
		if connection.KindOf(err) != connection.ErrUnsupported {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	if n := len(srv.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
	if caps := c.Capabilities(); caps.Lock || caps.Class || caps.Restore || !caps.IfAbsent || !caps.Meta || !caps.Parts || !caps.BulkDelete || !caps.Copy || !caps.Presign || !caps.Incomplete {
		t.Errorf("capabilities: %+v", caps)
	}
}

// E51: an early refusal whose connection the server then closes does not spoil what follows.
func TestEarlyRefusal(t *testing.T) {
	srv := objecttest.NewSwift(t, nil)
	c := conn(t, srv, nil)
	put(t, c, "first", []byte("octets"))
	srv.Fail("PutObject", 3, objecttest.EarlyStatus(400, "no", "Connection: close"))
	for i := range 3 {
		if _, err := c.Put(t.Context(), fmt.Sprint("key", i), bytes.NewReader(octets(1, 2<<20)), nil); connection.KindOf(err) != connection.ErrRejected {
			t.Errorf("got error %v", err)
		}
		if got := get(t, c, "first"); string(got) != "octets" {
			t.Errorf("got %q", got)
		}
	}
	// E52: more than a megabyte waits for the server's word, and is not sent when that is no.
	for _, r := range srv.Requests("PutObject")[1:] {
		if r.Size != 0 || r.Header.Get("Expect") != "100-continue" || r.Status != http.StatusBadRequest {
			t.Errorf("a refused put of 2 MiB sent %d octets, Expect %q", r.Size, r.Header.Get("Expect"))
		}
	}
	for _, r := range srv.Requests("PutObject")[:1] {
		if r.Header.Get("Expect") != "" {
			t.Error("a small put waits for 100 Continue")
		}
	}
}
