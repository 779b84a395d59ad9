package b2_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/b2"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

func put(t testing.TB, c *b2.Conn, key, content string, opts *connection.PutOptions) connection.ObjectInfo {
	t.Helper()
	info, err := c.Put(t.Context(), key, strings.NewReader(content), opts)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func get(t testing.TB, c *b2.Conn, key string, opts *connection.GetOptions) (string, error) {
	t.Helper()
	o, err := c.Get(t.Context(), key, opts)
	if err != nil {
		return "", err
	}
	got, err := io.ReadAll(o.Body)
	return string(got), errors.Join(err, o.Body.Close())
}

func wantKind(t testing.TB, what string, err error, want connection.Kind) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// refusal is an error as the service writes it.
func refusal(status int, code, message string, headers ...string) objecttest.Fault {
	return objecttest.Status(status, fmt.Sprintf(`{"status":%d,"code":%q,"message":%q}`, status, code, message), headers...)
}

// count returns how often each operation was asked for.
func count(srv *objecttest.B2) map[string]int {
	n := make(map[string]int)
	for _, op := range srv.Ops() {
		n[op]++
	}
	return n
}

// Once a token and an upload URL are held, each verb is one request.
func TestOneRequestForEachVerb(t *testing.T) {
	srv := objecttest.NewB2(t, nil)
	c := open(t, srv, nil, nil)
	put(t, c, "first", "x", nil)
	srv.ForgetRequests()
	put(t, c, "k", "content", nil)
	if _, err := c.Stat(t.Context(), "k"); err != nil {
		t.Error(err)
	}
	if got, err := get(t, c, "k", nil); got != "content" {
		t.Errorf("got %q, %v", got, err)
	}
	if want := []string{"b2_upload_file", "b2_download_file_by_name", "b2_download_file_by_name"}; !slices.Equal(srv.Ops(), want) {
		t.Errorf("asked %q, want %q", srv.Ops(), want)
	}
}

// E53: the token has expired: one authorization more, whatever the verb.
func TestExpiredToken(t *testing.T) {
	verbs := map[string]func(c *b2.Conn) error{
		"put":    func(c *b2.Conn) error { _, err := c.Put(t.Context(), "new", strings.NewReader("x"), nil); return err },
		"get":    func(c *b2.Conn) error { _, err := get(t, c, "k", nil); return err },
		"stat":   func(c *b2.Conn) error { _, err := c.Stat(t.Context(), "k"); return err },
		"delete": func(c *b2.Conn) error { return c.Delete(t.Context(), "k") },
		"copy":   func(c *b2.Conn) error { _, err := c.Copy(t.Context(), "l", "k", nil); return err },
		"list": func(c *b2.Conn) error {
			for _, err := range c.List(t.Context(), nil) {
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	for name, verb := range verbs {
		srv := objecttest.NewB2(t, nil)
		c := open(t, srv, nil, map[string]any{"max_attempts": 1})
		srv.Add("k", []byte("x"))
		if _, err := c.Stat(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		srv.ForgetRequests()
		srv.ExpireTokens()
		if err := verb(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := count(srv)["b2_authorize_account"]; n != 1 {
			t.Errorf("%s: %d authorizations, want 1", name, n)
		}
	}
}

// A token that the service never accepts is not asked for without end.
func TestTokenThatIsAlwaysRefused(t *testing.T) {
	srv := objecttest.NewB2(t, nil)
	c := open(t, srv, nil, nil)
	srv.Fail("b2_list_file_names", -1, refusal(401, "expired_auth_token", "expired"))
	for _, err := range c.List(t.Context(), nil) {
		wantKind(t, "list", err, connection.ErrPermission)
	}
	if n := count(srv); n["b2_authorize_account"] != 2 || n["b2_list_file_names"] != 2 {
		t.Errorf("asked %v", n)
	}
}

// Many verbs at once begin one session.
func TestOneSessionForAll(t *testing.T) {
	srv := objecttest.NewB2(t, nil)
	c := open(t, srv, nil, nil)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if _, err := c.Put(t.Context(), fmt.Sprint(i), strings.NewReader("x"), nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := count(srv); n["b2_authorize_account"] != 1 || n["b2_list_buckets"] != 1 || len(srv.Objects()) != 20 {
		t.Errorf("asked %v, stored %d", n, len(srv.Objects()))
	}
}

// E57: a download that is cut each time ends, with the cause.
func TestDownloadCutEachTime(t *testing.T) {
	srv := objecttest.NewB2(t, nil)
	c := open(t, srv, nil, map[string]any{"max_attempts": 3})
	content := strings.Repeat("0123456789", 1000)
	put(t, c, "k", content, nil)
	srv.Fail("b2_download_file_by_name", 2, objecttest.CutReply(100))
	if got, err := get(t, c, "k", nil); got != content {
		t.Errorf("cut twice: got %d octets, %v", len(got), err)
	}
	srv.ForgetRequests()
	srv.Fail("b2_download_file_by_name", -1, objecttest.CutReply(10))
	_, err := get(t, c, "k", nil)
	wantKind(t, "cut for ever", err, connection.ErrNetwork)
	if n := len(srv.Requests()); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
}

// E60: the bucket is found by its ID and by its name.
func TestBucket(t *testing.T) {
	srv := objecttest.NewB2(t, nil)
	for _, bucket := range []string{srv.BucketID(), "archive"} {
		put(t, open(t, srv, nil, map[string]any{"bucket": bucket}), bucket, "x", nil)
	}
	verbs := func(c *b2.Conn) map[string]error {
		_, putErr := c.Put(t.Context(), "k", strings.NewReader("x"), nil)
		_, getErr := get(t, c, "k", nil)
		_, statErr := c.Stat(t.Context(), "k")
		var listErr error
		for _, listErr = range c.List(t.Context(), nil) {
		}
		return map[string]error{"put": putErr, "get": getErr, "stat": statErr, "list": listErr, "delete": c.Delete(t.Context(), "k")}
	}
	missing := open(t, srv, nil, map[string]any{"bucket": "none"})
	gone := open(t, srv, nil, nil)
	put(t, gone, "k", "x", nil)
	all := map[string]map[string]error{"never there": verbs(missing)}
	srv.RemoveBucket()
	all["removed"] = verbs(gone)
	for when, errs := range all {
		for verb, err := range errs {
			var e *connection.Error
			if !errors.As(err, &e) || e.Kind != connection.ErrConfig || !strings.HasPrefix(e.Hint, "bucket: ") {
				t.Errorf("%s, %s: got %v, want ErrConfig with a hint about the bucket", when, verb, err)
			}
		}
	}
}

// A bucket that was made anew has another ID.
func TestBucketMadeAnew(t *testing.T) {
	srv := objecttest.NewB2(t, nil)
	c := open(t, srv, nil, map[string]any{"bucket": "archive"})
	put(t, c, "k", "old", nil)
	srv.ReplaceBucket()
	for _, err := range c.List(t.Context(), nil) {
		wantKind(t, "list", err, connection.ErrConfig)
	}
	for info, err := range c.List(t.Context(), nil) {
		t.Errorf("the new bucket holds %q, error %v; want nothing", info.Key, err)
	}
}

// E71, E72, E74.
func TestGet(t *testing.T) {
	srv := objecttest.NewB2(t, nil)
	c := open(t, srv, nil, nil)
	info := put(t, c, "k", "0123456789", nil)
	put(t, c, "empty", "", nil)
	for _, tc := range []struct {
		key  string
		opts connection.GetOptions
		want string
	}{
		{"k", connection.GetOptions{Offset: 3, Length: 2, IfMatch: info.ETag}, "34"},
		{"k", connection.GetOptions{Offset: 9}, "9"},
		{"k", connection.GetOptions{Offset: 10}, ""},
		{"k", connection.GetOptions{Offset: 8, Length: 100}, "89"},
		{"empty", connection.GetOptions{}, ""},
		{"empty", connection.GetOptions{Offset: 5, Length: 1}, ""},
	} {
		if got, err := get(t, c, tc.key, &tc.opts); got != tc.want || err != nil {
			t.Errorf("%s %+v: got %q, %v; want %q", tc.key, tc.opts, got, err, tc.want)
		}
	}
	srv.Fail("b2_download_file_by_name", 1, objecttest.CutReply(3))
	o, err := c.Get(t.Context(), "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, "k", "9876543210", nil)
	_, err = io.ReadAll(o.Body)
	wantKind(t, "replaced while it is read", err, connection.ErrChanged)
	if err := o.Body.Close(); err != nil {
		t.Error(err)
	}
}

// An application key that is for one prefix only lists that.
func TestKeyOfOnePrefix(t *testing.T) {
	srv := objecttest.NewB2(t, &objecttest.B2Options{NamePrefix: "mails/"})
	c := open(t, srv, nil, nil)
	put(t, c, "mails/a", "x", nil)
	srv.Add("other/b", nil)
	for _, prefix := range []string{"", "mai", "mails/", "mails/a"} {
		n := 0
		for info, err := range c.List(t.Context(), &connection.ListOptions{Prefix: prefix}) {
			if n++; err != nil || info.Key != "mails/a" {
				t.Errorf("%q: got %q, %v", prefix, info.Key, err)
			}
		}
		if n != 1 {
			t.Errorf("%q: %d entries", prefix, n)
		}
	}
	_, err := c.Put(t.Context(), "other/c", strings.NewReader("x"), nil)
	wantKind(t, "put elsewhere", err, connection.ErrPermission)
	_, err = c.Stat(t.Context(), "k")
	wantKind(t, "stat of what is not there", err, connection.ErrNotFound)
}

func TestPresign(t *testing.T) {
	srv := objecttest.NewB2(t, nil)
	c := open(t, srv, nil, nil)
	put(t, c, "mails/a b+é", "content", nil)
	link, err := c.Presign(t.Context(), "GET", "mails/a b+é", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for _, later := range []time.Duration{0, 2 * time.Minute} {
		srv.Skew(later)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link.Reveal(), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if (string(got) == "content") != (later == 0) {
			t.Errorf("%s later: got %d %q", later, resp.StatusCode, got)
		}
	}
	_, err = c.Presign(t.Context(), "PUT", "k", time.Minute)
	wantKind(t, "PUT", err, connection.ErrUnsupported)
	_, err = c.Presign(t.Context(), "GET", "k", 8*24*time.Hour)
	wantKind(t, "eight days", err, connection.ErrInvalid)
}
