package swift_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// A 2xx that no store has said is no durable put: login pages are 200.
func TestSuccessOfNoStore(t *testing.T) {
	const page = "<html><h1>Please log in</h1></html>"
	for name, fault := range map[string]objecttest.Fault{
		"a page":                              objecttest.Status(http.StatusOK, page, "Content-Type: text/html"),
		"a page with an etag":                 objecttest.Status(http.StatusOK, page, "Content-Type: text/html", `ETag: "5f3e-62ab"`),
		"no content":                          objecttest.Status(http.StatusNoContent, ""),
		"201 without an etag":                 objecttest.Status(http.StatusCreated, ""),
		"a newer write's 202":                 objecttest.Status(http.StatusAccepted, "<h1>Accepted</h1>"),
		"a late verdict that is cut":          objecttest.Status(http.StatusAccepted, `  {"Response Status":"400 Bad Request","Errors":[["/a/b","404`),
		"a late verdict that is not there":    objecttest.Status(http.StatusAccepted, ""),
		"a late verdict of a cluster in need": objecttest.Status(http.StatusAccepted, `  {"Response Status":"503 Service Unavailable","Errors":[]}`, `ETag: "5f3e"`),
	} {
		t.Run(name, func(t *testing.T) {
			srv := objecttest.NewSwift(t, nil)
			c := conn(t, srv, parts)
			put(t, c, "source", octets(1, 10))
			put(t, c, "large", octets(1, 100<<10))
			for op, write := range map[string]func() error{
				"PutObject": func() error {
					_, err := c.Put(t.Context(), "key", strings.NewReader("octets"), nil)
					return err
				},
				"PutManifest": func() error {
					_, err := c.Put(t.Context(), "key", bytes.NewReader(octets(2, 100<<10)), nil)
					return err
				},
				"CopyObject": func() error {
					_, err := c.Copy(t.Context(), "key", "source", nil)
					return err
				},
			} {
				srv.Fail(op, -1, fault)
				if err := write(); connection.KindOf(err) != connection.ErrUncertain {
					t.Errorf("%s: got error %v, want %v", op, err, connection.ErrUncertain)
				}
				srv.ClearFaults()
			}
			// A segment that nobody has stored: there is no doubt, for there is no object without it.
			before := len(left(srv))
			srv.Fail("PutObject", -1, fault)
			if _, err := c.Put(t.Context(), "key", bytes.NewReader(octets(2, 100<<10)), nil); connection.KindOf(err) != connection.ErrNetwork {
				t.Errorf("a segment: got error %v, want %v", err, connection.ErrNetwork)
			}
			srv.ClearFaults()
			srv.Fail("CopyObject", -1, fault)
			if _, err := c.Copy(t.Context(), "key", "large", nil); err == nil {
				t.Error("a segment that is copied: got no error")
			}
			if got := len(left(srv)); got != before {
				t.Errorf("there are %d segments, want %d", got, before)
			}
			if got, ok := srv.Objects()["key"]; ok {
				t.Errorf("there is an object of %d octets", len(got))
			}
		})
	}
}

// E45: a verdict that breaks off is none.
func TestVerdictThatBreaksOff(t *testing.T) {
	srv := objecttest.NewSwift(t, &objecttest.SwiftOptions{LateManifest: true})
	c := conn(t, srv, map[string]any{"part_size": 64 << 10, "part_workers": 1, "single_put_limit": 64 << 10, "max_attempts": 1})
	for _, octetsOut := range []int64{0, 20} {
		// The first segment is gone when the second comes: the manifest is refused, and what says so is cut.
		srv.Fail("PutManifest", 1, objecttest.CutReply(octetsOut))
		srv.FailAfter("PutObject", 1, 1, objecttest.Hook(func() {
			for _, name := range left(srv) {
				srv.RemoveObject(segments, name)
			}
		}))
		_, err := c.Put(t.Context(), "key", bytes.NewReader(octets(1, 100<<10)), nil)
		if connection.KindOf(err) != connection.ErrUncertain {
			t.Errorf("cut after %d octets: got error %v, want %v", octetsOut, err, connection.ErrUncertain)
		}
		if _, ok := srv.Objects()["key"]; ok {
			t.Error("there is an object: nothing is shown")
		}
		srv.ClearFaults()
	}
}
