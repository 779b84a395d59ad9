package s3_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
	"github.com/mailconn/mailconn/objectstore/s3"
)

// page is what answers instead of a server that one must log in to first.
const page = "<!DOCTYPE html><html><body>Please log in</body></html>"

// TestPutThatAPageAnswers: a proxy's 200 is no put.
func TestPutThatAPageAnswers(t *testing.T) {
	for name, opts := range map[string]*connection.PutOptions{"put": nil, "put if absent": ifAbsent} {
		t.Run(name, func(t *testing.T) {
			srv := objecttest.NewS3(t, nil)
			srv.Fail("PutObject", -1, objecttest.Status(http.StatusOK, page, "Content-Type: text/html"))
			_, err := open(t, srv.Settings(), nil, map[string]any{"max_attempts": 1}).Put(t.Context(), "k", bytes.NewReader([]byte("mail")), opts)
			wantKind(t, "one attempt", err, connection.ErrUncertain)
			srv.ClearFaults()
			srv.Fail("PutObject", 1, objecttest.Status(http.StatusOK, page, "Content-Type: text/html"))
			put(t, open(t, srv.Settings(), nil, nil), "k", []byte("mail"), opts)
			if got := srv.Objects()["k"]; string(got) != "mail" {
				t.Errorf("the key holds %q", got)
			}
		})
	}
}

// TestPageIsNoObject: what answers everything by a page makes nobody believe that an object is there. Who hears that a key is
// taken deletes the mail that it is named by.
func TestPageIsNoObject(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	srv.Fail("", -1, objecttest.Status(http.StatusOK, page, "Content-Type: text/html"))
	c := open(t, srv.Settings(), nil, map[string]any{"max_attempts": 1, "single_put_limit": 1 << 20})
	for _, size := range []int{100, 2 << 20} {
		_, err := c.Put(t.Context(), "k", bytes.NewReader(make([]byte, size)), ifAbsent)
		wantKind(t, fmt.Sprintf("put if absent of %d octets", size), err, connection.ErrProtocol)
	}
	_, err := c.Stat(t.Context(), "k")
	wantKind(t, "stat", err, connection.ErrProtocol)
	o, err := c.Get(t.Context(), "k", nil)
	if err == nil {
		_ = o.Body.Close()
	}
	wantKind(t, "get", err, connection.ErrProtocol)
}

// A liar hands on what a server does, and tells of it what it likes, so many times.
type liar struct {
	next   http.RoundTripper
	about  func(r *http.Request) bool
	times  atomic.Int64
	status int
	body   string
}

func (l *liar) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if err != nil || !l.about(r) || l.times.Add(-1) < 0 {
		return resp, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	resp.StatusCode, resp.Body, resp.ContentLength = l.status, io.NopCloser(strings.NewReader(l.body)), int64(len(l.body))
	resp.Header.Del("Content-Length")
	return resp, nil
}

// TestStoredWhateverTheAnswer: an object that is there has been put, even if the server's answer cannot be read or says that
// it gave up half-way. What is under the key tells.
func TestStoredWhateverTheAnswer(t *testing.T) {
	const gaveUp = `<?xml version="1.0"?><Error><Code>InternalError</Code><Message>We encountered an internal error. Please try again.</Message></Error>`
	single := func(r *http.Request) bool { return r.Method == http.MethodPut && !r.URL.Query().Has("uploadId") }
	last := func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") }
	for name, tt := range map[string]struct {
		about  func(r *http.Request) bool
		size   int
		status int
		body   string
	}{
		"put, 500":             {single, 100, http.StatusInternalServerError, gaveUp},
		"complete, 500":        {last, 2 << 20, http.StatusInternalServerError, gaveUp},
		"complete, 200, empty": {last, 2 << 20, http.StatusOK, ""},
		"complete, 200, cut":   {last, 2 << 20, http.StatusOK, "<CompleteMultipartUploadResult><ETag>"},
	} {
		for _, opts := range []*connection.PutOptions{nil, ifAbsent} {
			for _, attempts := range []int{1, 2} {
				t.Run(fmt.Sprintf("%s, absent %t, %d attempts", name, opts != nil, attempts), func(t *testing.T) {
					srv := objecttest.NewS3(t, nil)
					transport := new(http.Transport)
					t.Cleanup(transport.CloseIdleConnections)
					l := &liar{next: transport, about: tt.about, status: tt.status, body: tt.body}
					c := open(t, srv.Settings(), &connection.Env{HTTPClient: &http.Client{Transport: l}}, map[string]any{"max_attempts": attempts, "single_put_limit": 1 << 20})
					put(t, c, "known", []byte("mail"), ifAbsent) // that the server obeys the condition
					l.times.Store(int64(attempts))
					want := bytes.Repeat([]byte("m"), tt.size)
					put(t, c, "k", want, opts)
					if got := srv.Objects()["k"]; !bytes.Equal(got, want) {
						t.Errorf("the key holds %d octets, want %d", len(got), len(want))
					}
					if n := srv.Uploads(); n != 0 {
						t.Errorf("%d uploads are left", n)
					}
				})
			}
		}
	}
}

// TestPartWithoutItsPlace: where the octets of a 206 belong must be told (RFC 9110, section 15.3.7).
func TestPartWithoutItsPlace(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	srv.Plant("k", []byte("0123456789"))
	srv.Fail("GetObject", -1, objecttest.Status(http.StatusPartialContent, "56789", `ETag: "x"`))
	c := open(t, srv.Settings(), nil, map[string]any{"max_attempts": 1})
	for what, opts := range map[string]*connection.GetOptions{"from the middle": {Offset: 5}, "whole": nil} {
		o, err := c.Get(t.Context(), "k", opts)
		if err == nil {
			_ = o.Body.Close()
		}
		wantKind(t, what, err, connection.ErrProtocol)
	}
}

// TestServerThatListsInsteadOfLocks: to a server that takes no notice of ?object-lock the question is a listing.
func TestServerThatListsInsteadOfLocks(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	srv.Fail("GetObjectLockConfiguration", -1, objecttest.Status(http.StatusOK,
		`<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>archive</Name><IsTruncated>false</IsTruncated></ListBucketResult>`))
	c := open(t, srv.Settings(), nil, nil)
	put(t, c, "k", []byte("mail"), nil)
	if err := c.Delete(t.Context(), "k"); err != nil {
		t.Error(err)
	}
	_, err := c.Put(t.Context(), "l", bytes.NewReader(nil), &connection.PutOptions{Lock: connection.Lock{LegalHold: true}})
	wantKind(t, "a put with a lock", err, connection.ErrUnsupported)

	// A page says nothing of locks.
	srv.ClearFaults()
	srv.Fail("GetObjectLockConfiguration", -1, objecttest.Status(http.StatusOK, page))
	c = open(t, srv.Settings(), nil, map[string]any{"max_attempts": 1})
	wantKind(t, "a delete behind a proxy", c.Delete(t.Context(), "k"), connection.ErrProtocol)
}

// TestIngressWithoutBackend: a 404 to everything does not mean that the objects are gone.
func TestIngressWithoutBackend(t *testing.T) {
	for _, locks := range []bool{false, true} {
		t.Run(fmt.Sprintf("locks %t", locks), func(t *testing.T) {
			srv := objecttest.NewS3(t, &objecttest.S3Options{Lock: locks})
			fresh, used := open(t, srv.Settings(), nil, nil), open(t, srv.Settings(), nil, nil)
			put(t, used, "k", []byte("mail"), nil) // it knows whether there are locks
			srv.Fail("", -1, objecttest.Status(http.StatusNotFound, "default backend - 404"))
			for name, c := range map[string]*s3.Conn{"fresh": fresh, "used": used} {
				for verb, err := range verbs(t, c) {
					for e := range connection.Errors(err) {
						if e.Kind != connection.ErrConfig || !strings.HasPrefix(e.Hint, "location") {
							t.Errorf("%s, %s: got %v, hint %q", name, verb, e, e.Hint)
						}
					}
					if err == nil {
						t.Errorf("%s, %s: got no error", name, verb)
					}
				}
			}
		})
	}
}

// TestOneStray404: a single 404 that the server has not spoken neither hides an object nor its lock.
func TestOneStray404(t *testing.T) {
	stray := objecttest.Status(http.StatusNotFound, "default backend - 404")
	for name, tt := range map[string]struct {
		op   string
		lock bool
		keys []string
		want connection.Kind
	}{
		"to HEAD":                     {"HeadObject", true, []string{"k"}, 0},
		"to HEAD of several":          {"HeadObject", true, []string{"k", "l"}, 0},
		"to HEAD of one that is held": {"HeadObject", true, []string{"held"}, connection.ErrLocked},
		"to DELETE":                   {"DeleteObject", false, []string{"k"}, 0},
		"to the question for locks":   {"GetObjectLockConfiguration", true, []string{"held"}, connection.ErrLocked},
	} {
		t.Run(name, func(t *testing.T) {
			srv := objecttest.NewS3(t, &objecttest.S3Options{Lock: tt.lock})
			writer := open(t, srv.Settings(), nil, nil)
			for _, key := range tt.keys {
				put(t, writer, key, []byte("mail"), &connection.PutOptions{Lock: connection.Lock{LegalHold: key == "held"}})
			}
			srv.Fail(tt.op, 1, stray)
			c := open(t, srv.Settings(), nil, nil)
			if err := c.Delete(t.Context(), tt.keys...); connection.KindOf(err) != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if n := len(srv.Objects()); (n == 0) != (tt.want == 0) {
				t.Errorf("%d objects are there", n)
			}
		})
	}
}

// TestManySlowLooksAreProgress: the looks before a bulk delete are one attempt, and longer together than any may be silent.
func TestManySlowLooksAreProgress(t *testing.T) {
	srv := objecttest.NewS3(t, &objecttest.S3Options{Lock: true})
	srv.Fail("HeadObject", -1, objecttest.Hook(func() { <-time.After(60 * time.Millisecond) }))
	keys := make([]string, 25)
	for i := range keys {
		keys[i] = fmt.Sprint(i)
		srv.Plant(keys[i], []byte("mail"))
	}
	c := open(t, srv.Settings(), nil, map[string]any{"workers": 1, "no_data_timeout": "1s", "max_attempts": 1})
	if err := c.Delete(t.Context(), keys...); err != nil {
		t.Error(err)
	}
	if n := len(srv.Objects()); n != 0 {
		t.Errorf("%d objects are left", n)
	}
}
