package azureblob_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/azureblob"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// misreported is an environment in which change is made to the answers to an operation.
func misreported(is func(*http.Request) bool, change func(*http.Response)) *connection.Env {
	return &connection.Env{HTTPClient: &http.Client{Transport: tripper(func(r *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err == nil && is(r) {
			change(resp)
		}
		return resp, err
	})}}
}

// A gateway that gives up, or that has a page of its own, does not know what the service behind it has done. A look decides,
// and where it cannot, the doubt is told.
func TestGatewayTrouble(t *testing.T) {
	for op, tc := range map[string]struct {
		is func(r *http.Request) bool
		do func(t *testing.T, c *azureblob.Conn) error
	}{
		"PutBlob": {
			func(r *http.Request) bool {
				return r.Method == http.MethodPut && r.URL.RawQuery == "" && r.Header.Get("X-Ms-Copy-Source") == ""
			},
			func(t *testing.T, c *azureblob.Conn) error {
				return second(c.Put(t.Context(), "key", strings.NewReader("text"), nil))
			},
		},
		"PutBlockList": {
			func(r *http.Request) bool { return r.URL.Query().Get("comp") == "blocklist" },
			func(t *testing.T, c *azureblob.Conn) error {
				return second(c.Put(t.Context(), "key", strings.NewReader(long), nil))
			},
		},
		"CopyBlob": {
			func(r *http.Request) bool { return r.URL.RawQuery == "" && r.Header.Get("X-Ms-Copy-Source") != "" },
			func(t *testing.T, c *azureblob.Conn) error { return second(c.Copy(t.Context(), "key", "from", nil)) },
		},
	} {
		for _, status := range []int{200, 500, 502, 504} {
			t.Run(fmt.Sprint(op, " ", status), func(t *testing.T) {
				srv := newFake(t, nil)
				put(t, openWith(t, srv, nil, nil), "from", "text", nil)
				c := openWith(t, srv, inParts, misreported(tc.is, func(resp *http.Response) { resp.StatusCode = status }))
				if err := tc.do(t, c); err != nil {
					t.Errorf("it was done all the same: got error %v", err)
				}

				srv = newFake(t, nil)
				c = openWith(t, srv, inParts, nil)
				put(t, c, "from", "text", nil)
				srv.Fail(op, -1, objecttest.Status(status, "<html>nobody answers</html>"))
				wants(t, "it was not done", tc.do(t, c), connection.ErrUncertain)
			})
		}
	}
}

// What became of a single block leaves no doubt about the object.
func TestGatewayTroubleOfBlocks(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, inParts, nil)
	put(t, c, "from", "text", nil)
	for op, do := range map[string]func() error{
		"PutBlock": func() error { return second(c.Put(t.Context(), "key", strings.NewReader(long), nil)) },
		"PutBlockFromURL": func() error {
			return second(c.Copy(t.Context(), "key", "from", &connection.PutOptions{ContentType: "text/plain"}))
		},
	} {
		srv.Fail(op, 1, objecttest.Status(http.StatusBadGateway, ""))
		wants(t, op, do(), connection.ErrNetwork)
		srv.ClearFaults()
		if left := srv.Uncommitted(); len(left) > 0 {
			t.Errorf("%s: left behind: %v", op, left)
		}
	}
}

// What answers everything by a page makes nobody believe that an object is there: who hears that a key is taken deletes the
// mail that it is named by.
func TestPageIsNoObject(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, inParts, nil)
	put(t, c, "there", "text", nil) // the container is known from here on
	srv.Fail("", -1, objecttest.Status(http.StatusOK, "<!DOCTYPE html><html>Please log in</html>", "Content-Type: text/html"))
	for name, text := range map[string]string{"put": "text", "put in parts": long} {
		_, err := c.Put(t.Context(), "key", strings.NewReader(text), &connection.PutOptions{IfAbsent: true})
		if err == nil || connection.KindOf(err) == connection.ErrExists {
			t.Errorf("%s if absent: got error %v", name, err)
		}
	}
	wants(t, "stat", second(c.Stat(t.Context(), "there")), connection.ErrProtocol)
	o, err := c.Get(t.Context(), "there", nil)
	if err == nil {
		_ = o.Body.Close()
	}
	wants(t, "get", err, connection.ErrProtocol)
}
