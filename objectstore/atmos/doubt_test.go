package atmos_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// page is what answers instead of a server that one must log in to first.
const page = "<!DOCTYPE html><html><body>Please log in</body></html>"

// A page is no success: a put whose last request it answers has stored nothing.
func TestPageIsNoSuccess(t *testing.T) {
	answer := objecttest.Status(http.StatusOK, page, "Content-Type: text/html")
	for _, op := range []string{"CreateObject", "Rename", "DeleteObject", "GetMetadata", "ReadObject"} {
		t.Run(op, func(t *testing.T) {
			srv := objecttest.NewAtmos(t, nil)
			c := open(t, srv, nil, map[string]any{"max_attempts": 1})
			put(t, c, "there", "mail", nil) // the bucket is known from here on
			srv.Fail(op, -1, answer)
			var err error
			switch op {
			case "DeleteObject":
				err = c.Delete(t.Context(), "there")
			case "GetMetadata":
				_, err = c.Stat(t.Context(), "away")
			case "ReadObject":
				_, err = get(t, c, "there", nil)
			default:
				_, err = c.Put(t.Context(), "k", strings.NewReader("mail"), nil)
			}
			if err == nil {
				t.Error("got no error")
			}
			_, err = c.Put(t.Context(), "k", strings.NewReader("mail"), &connection.PutOptions{IfAbsent: true})
			if stored := string(srv.Objects()["k"]); err == nil != (stored == "mail") || connection.KindOf(err) == connection.ErrExists {
				t.Errorf("put if absent: error %v, and the key holds %q", err, stored)
			}
		})
	}
}
