package s3_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// A frontEnd stands before a server, as Google's and Cloudflare's do: it takes part in the choice of an encoding.
type frontEnd struct{ next http.RoundTripper }

func (f frontEnd) RoundTrip(req *http.Request) (*http.Response, error) {
	again := req.Clone(req.Context())
	again.Header.Set("Accept-Encoding", req.Header.Get("Accept-Encoding")+",gzip(gfe)")
	return f.next.RoundTrip(again)
}

// TestFrontEndThatRewritesAcceptEncoding: the signature must not cover what does not arrive as it was sent. The fake checks
// every signature.
func TestFrontEndThatRewritesAcceptEncoding(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	c := open(t, srv.Settings(), &connection.Env{HTTPClient: &http.Client{Transport: frontEnd{transport}}}, nil)
	put(t, c, "k", []byte("mail"), nil)
	if got := string(get(t, c, "k")); got != "mail" {
		t.Errorf("got %q", got)
	}
	for what, err := range verbs(t, c) {
		// Nothing of this is in a cold tier, and what is deleted cannot be copied; all that counts is whom the server sees.
		if connection.KindOf(err) == connection.ErrAuth {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestServersWithoutBulkDelete: each says so in its own words.
func TestServersWithoutBulkDelete(t *testing.T) {
	for name, answer := range map[string]string{
		"Google":  `<?xml version='1.0' encoding='UTF-8'?><Error><Code>InvalidArgument</Code><Message>Invalid argument.</Message><Details>Cannot create buckets using a POST.</Details></Error>`,
		"Scality": `<?xml version="1.0" encoding="UTF-8"?><Error><Code>InvalidURI</Code><Message>Couldn't parse the specified URI.</Message></Error>`,
	} {
		t.Run(name, func(t *testing.T) {
			srv := objecttest.NewS3(t, nil)
			srv.Fail("DeleteObjects", -1, objecttest.Status(http.StatusBadRequest, answer))
			c := open(t, srv.Settings(), nil, nil)
			var keys []string
			for i := range 5 {
				keys = append(keys, fmt.Sprint(i))
				srv.Plant(keys[i], []byte("mail"))
			}
			for _, some := range [][]string{keys[:2], keys[2:]} {
				if err := c.Delete(t.Context(), some...); err != nil {
					t.Error(err)
				}
			}
			if left, asked := len(srv.Objects()), counted(srv, "DeleteObjects"); left != 0 || asked != 1 {
				t.Errorf("%d objects are left, and the server was asked %d times for what it has not", left, asked)
			}
		})
	}
}
