package b2_test

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// A liar hands on what a server does, and answers with a page of its own instead, so many times.
type liar struct {
	next  http.RoundTripper
	op    string
	times atomic.Int64
}

func (l *liar) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if err != nil || !strings.Contains(r.URL.Path, l.op) || l.times.Add(-1) < 0 {
		return resp, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	page := "<!DOCTYPE html><html><body>" + strings.Repeat("Please log in. ", 10) + "</body></html>"
	resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(page)), int64(len(page))
	resp.Header.Del("Content-Length")
	return resp, nil
}

// A success that cannot be read does not say that nothing was stored: what is under the key tells.
func TestStoredWhateverTheAnswer(t *testing.T) {
	for op, size := range map[string]int{"b2_upload_file": 100, "b2_finish_large_file": 6_000_000} {
		for attempts := 1; attempts <= 2; attempts++ {
			srv := objecttest.NewB2(t, nil)
			transport := new(http.Transport)
			t.Cleanup(transport.CloseIdleConnections)
			l := &liar{next: transport, op: op}
			l.times.Store(int64(attempts))
			config := maps.Clone(small)
			config["max_attempts"] = attempts
			c := open(t, srv, &connection.Env{HTTPClient: &http.Client{Transport: l}}, config)
			want := bytes.Repeat([]byte("m"), size)
			if _, err := c.Put(t.Context(), "k", bytes.NewReader(want), nil); err != nil {
				t.Errorf("%s, %d attempts: %v", op, attempts, err)
			}
			if got := srv.Objects()["k"]; !bytes.Equal(got, want) {
				t.Errorf("%s: the key holds %d octets, want %d", op, len(got), len(want))
			}
		}
	}
	// And if nothing is there, nobody knows.
	srv := objecttest.NewB2(t, nil)
	srv.Fail("b2_upload_file", -1, objecttest.Status(http.StatusOK, "<html>"+strings.Repeat("Please log in. ", 10)+"</html>"))
	_, err := open(t, srv, nil, map[string]any{"max_attempts": 1}).Put(t.Context(), "k", strings.NewReader("mail"), nil)
	wantKind(t, "a put that a page answers", err, connection.ErrUncertain)
}
