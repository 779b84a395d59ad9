package s3_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// TestBucketMissing is E31: each verb says that the bucket is missing, and none that only the object is.
func TestBucketMissing(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	c := open(t, srv.Settings(), nil, nil)
	put(t, c, "k", []byte("mail"), nil)
	srv.RemoveBucket()
	for verb, err := range verbs(t, c) {
		e := mustKind(t, verb, err, connection.ErrConfig)
		if !strings.Contains(e.Hint, "Bucket UID") {
			t.Errorf("%s: the hint is %q", verb, e.Hint)
		}
	}
}

// TestHeadIsExplained is E32 and E34: HEAD says only a number, so a listing is asked what it means.
func TestHeadIsExplained(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	c := open(t, srv.Settings(), nil, nil)
	_, err := c.Stat(t.Context(), "k")
	wantKind(t, "no object", err, connection.ErrNotFound)
	if got := ops(srv); !slices.Equal(got, []string{"HeadObject", "ListObjectsV2"}) {
		t.Errorf("got the requests %q", got)
	}
	srv.Deny("HeadObject")
	_, err = c.Stat(t.Context(), "k")
	wantKind(t, "denied to look", err, connection.ErrPermission)
	srv.Deny("ListObjectsV2")
	_, err = c.Stat(t.Context(), "k")
	wantKind(t, "denied to list, too", err, connection.ErrPermission)

	writer := objecttest.NewS3(t, nil)
	writer.Deny("ListObjectsV2")
	c = open(t, writer.Settings(), nil, nil)
	_, err = c.Stat(t.Context(), "k")
	wantKind(t, "no object, and denied to list", err, connection.ErrNotFound)
}

// TestStrangers is E34, also with a server that answers 404 to an access key that it does not know.
func TestStrangers(t *testing.T) {
	for name, tt := range map[string]struct {
		opts  objecttest.S3Options
		more  map[string]any
		field string
	}{
		"access key":               {objecttest.S3Options{}, map[string]any{"identity": "AKIDOTHER"}, "identity"},
		"access key, answered 404": {objecttest.S3Options{UnknownKeyIs404: true}, map[string]any{"identity": "AKIDOTHER"}, "identity"},
		"secret key":               {objecttest.S3Options{}, map[string]any{"credential": "of somebody else"}, "credential"},
		"session token":            {objecttest.S3Options{SessionToken: "valid"}, map[string]any{"session_token": "expired"}, "session_token"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := objecttest.NewS3(t, &tt.opts)
			c := open(t, srv.Settings(), nil, tt.more)
			for verb, err := range verbs(t, c) {
				e := mustKind(t, verb, err, connection.ErrAuth)
				if !strings.HasPrefix(e.Hint, tt.field) {
					t.Errorf("%s: the hint is %q, want one for %s", verb, e.Hint, tt.field)
				}
			}
		})
	}
}

// TestSkewedClock is E35: one request, no repetition, and how much the clocks differ.
func TestSkewedClock(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	srv.Skew(20 * time.Minute)
	c := open(t, srv.Settings(), nil, nil)
	for range 2 { // a server does not set our clock
		srv.ForgetRequests()
		o, err := c.Get(t.Context(), "k", nil)
		if err == nil {
			_ = o.Body.Close()
		}
		e := mustKind(t, "get", err, connection.ErrAuth)
		if e.Code != "RequestTimeTooSkewed" || !strings.Contains(e.Hint, "20m0s ahead") && !strings.Contains(e.Hint, "19m59s ahead") {
			t.Errorf("got code %s, hint %q", e.Code, e.Hint)
		}
		if n := counted(srv); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	}
}

// TestRegionIsCorrected is E36: once, and from then on it is known.
func TestRegionIsCorrected(t *testing.T) {
	for name, opts := range map[string]objecttest.S3Options{
		"by 400": {Region: "eu-central-1"}, "by 301": {Region: "eu-central-1", Redirects: true},
	} {
		t.Run(name, func(t *testing.T) {
			srv, o := objecttest.NewS3(t, &opts), new(observer)
			c := open(t, srv.Settings(), o.env(), map[string]any{"region": "us-west-2"})
			body := bytes.Repeat([]byte("mail"), 1<<20)
			put(t, c, "k", body, nil)
			if n := counted(srv, "GetObjectLockConfiguration"); n != 2 {
				t.Errorf("the first request was made %d times, want twice", n)
			}
			if n := counted(srv, "PutObject"); n != 1 {
				t.Errorf("the put was made %d times, want once", n)
			}
			if n := len(o.of(connection.EventQuirk)); n != 1 {
				t.Errorf("%d events of the correction, want 1", n)
			}
			// HEAD has no body to name the region in.
			c = open(t, srv.Settings(), nil, map[string]any{"region": "us-west-2"})
			info, err := c.Stat(t.Context(), "k")
			if err != nil || info.Size != int64(len(body)) {
				t.Errorf("Stat: got %d octets, error %v", info.Size, err)
			}
			report, err := open(t, srv.Settings(), nil, map[string]any{"region": "us-west-2"}).Test(t.Context(), nil)
			if err != nil || !strings.Contains(report.String(), "the bucket is in eu-central-1, not in us-west-2") {
				t.Errorf("Test: error %v\n%s", err, report)
			}
		})
	}
}

// TestRegionIsCorrectedWithItsBody: the body of a put is sent again from its beginning.
func TestRegionIsCorrectedWithItsBody(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	c := open(t, srv.Settings(), nil, nil)
	put(t, c, "first", []byte("x"), nil)
	srv.Fail("PutObject", 1, objecttest.Status(307, "", "Location: "+srv.URL()+"/archive/k"))
	body := bytes.Repeat([]byte("0123456789"), 100_000)
	put(t, c, "k", body, nil)
	if got := get(t, c, "k"); !bytes.Equal(got, body) {
		t.Errorf("got %d octets, want %d", len(got), len(body))
	}
}

// TestWrongRegionForEver: a server that never agrees is an error after the second request.
func TestWrongRegionForEver(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	c := open(t, srv.Settings(), nil, nil)
	srv.Fail("", -1, objecttest.Status(301, "<Error><Code>PermanentRedirect</Code><Message>m</Message></Error>", "X-Amz-Bucket-Region: mars-north-1"))
	_, err := c.Put(t.Context(), "k", strings.NewReader("mail"), &connection.PutOptions{IfAbsent: true})
	e := mustKind(t, "put", err, connection.ErrConfig)
	if !strings.Contains(e.Hint, "mars-north-1") {
		t.Errorf("the hint is %q", e.Hint)
	}
	if n := counted(srv); n > 4 {
		t.Errorf("%d requests", n)
	}
}

// TestRedirects is E37: to the same host and scheme, once.
func TestRedirects(t *testing.T) {
	other := objecttest.NewS3(t, nil)
	for name, tt := range map[string]struct {
		location func(srv *objecttest.S3) string
		follow   bool
	}{
		"same host":    {func(srv *objecttest.S3) string { return srv.URL() + "/archive/k" }, true},
		"other scheme": {func(srv *objecttest.S3) string { return "https://" + srv.Addr() + "/archive/k" }, false},
		"other host": {func(*objecttest.S3) string {
			return strings.Replace(other.URL(), "127.0.0.1", "localhost", 1) + "/archive/k"
		}, false},
		"with password": {func(srv *objecttest.S3) string { return "http://user:pass@" + srv.Addr() + "/archive/k" }, false},
		"nowhere":       {func(*objecttest.S3) string { return "" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			srv := objecttest.NewS3(t, nil)
			c := open(t, srv.Settings(), nil, nil)
			put(t, c, "k", []byte("mail"), nil)
			srv.Fail("GetObject", 1, objecttest.Status(307, "", "Location: "+tt.location(srv)))
			o, err := c.Get(t.Context(), "k", nil)
			if tt.follow {
				if err != nil {
					t.Fatal(err)
				}
				_ = o.Body.Close()
				return
			}
			wantKind(t, "get", err, connection.ErrConfig)
		})
	}
	if n := counted(other); n != 0 {
		t.Errorf("%d requests went to another host", n)
	}
	srv := objecttest.NewS3(t, nil)
	c := open(t, srv.Settings(), nil, nil)
	srv.Fail("GetObject", -1, objecttest.Status(307, "", "Location: "+srv.URL()+"/archive/k"))
	_, err := c.Get(t.Context(), "k", nil)
	wantKind(t, "for ever", err, connection.ErrConfig)
	if n := counted(srv, "GetObject"); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

// TestErrorsIn200 is E45: an answer that begins well may tell an error. One that makes no sense leaves in doubt whether the
// object is there, where the request was to make it visible.
func TestErrorsIn200(t *testing.T) {
	const failed = `<?xml version="1.0"?><Error><Code>%s</Code><Message>We encountered an internal error.</Message></Error>`
	once := map[string]any{"max_attempts": 1, "single_put_limit": 1 << 20}
	for op, call := range map[string]func(c connection.ObjectStore) error{
		"CompleteMultipartUpload": func(c connection.ObjectStore) error {
			_, err := c.Put(t.Context(), "large", bytes.NewReader(make([]byte, 2<<20)), nil)
			return err
		},
		"CopyObject": func(c connection.ObjectStore) error {
			_, err := c.(connection.Copier).Copy(t.Context(), "copy", "k", nil)
			return err
		},
		"DeleteObjects": func(c connection.ObjectStore) error { return c.Delete(t.Context(), "k", "l") },
		"ListObjectsV2": func(c connection.ObjectStore) error {
			for _, err := range c.List(t.Context(), nil) {
				return err
			}
			return nil
		},
	} {
		t.Run(op, func(t *testing.T) {
			srv := objecttest.NewS3(t, nil)
			c := open(t, srv.Settings(), nil, once)
			put(t, c, "k", []byte("mail"), nil)
			senseless, uploads := connection.ErrProtocol, 0
			switch op {
			case "CompleteMultipartUpload":
				senseless, uploads = connection.ErrUncertain, 5 // which may be objects by now: nobody removes them
			case "CopyObject":
				senseless = connection.ErrUncertain
			}
			for text, want := range map[string]connection.Kind{
				fmt.Sprintf(failed, "InternalError"): connection.ErrUnavailable, fmt.Sprintf(failed, "SlowDown"): connection.ErrThrottled,
				fmt.Sprintf(failed, "NeverHeardOf"): connection.ErrUnavailable, fmt.Sprintf(failed, "AccessDenied"): connection.ErrPermission,
				"": senseless, "<html></html>": senseless, "<" + strings.Repeat("a><", 200) + "a>": senseless,
				"<ListBucketResult><Contents>": senseless, "no XML": senseless,
			} {
				srv.Fail(op, 1, objecttest.Status(http.StatusOK, text))
				err := call(c)
				for e := range connection.Errors(err) {
					if e.Kind != want {
						t.Errorf("%q: got %v, want %v", text, e, want)
					}
				}
				if err == nil {
					t.Errorf("%q: got no error", text)
				}
			}
			if objects := srv.Objects(); len(objects) != 1 || string(objects["k"]) != "mail" {
				t.Errorf("the bucket holds %d objects", len(objects))
			}
			if n := srv.Uploads(); n != uploads {
				t.Errorf("%d uploads are left, want %d", n, uploads)
			}
		})
	}
}

// TestEarlyRefusal is E51 and E52: a server that refuses before it has read the body is not sent the body, and the next
// request does not suffer.
func TestEarlyRefusal(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	c := open(t, srv.Settings(), nil, nil)
	put(t, c, "first", []byte("x"), nil)
	srv.ForgetRequests()
	for i := range 20 {
		srv.Fail("PutObject", 1, objecttest.EarlyStatus(http.StatusInsufficientStorage, "<Error><Code>XMinioStorageFull</Code></Error>"))
		_, err := c.Put(t.Context(), "k", bytes.NewReader(make([]byte, 4<<20)), nil)
		wantKind(t, "full", err, connection.ErrQuota)
		if _, err := c.Stat(t.Context(), "first"); err != nil {
			t.Fatalf("round %d: the next request: %v", i, err)
		}
	}
	for _, r := range srv.Requests("PutObject") {
		if r.Size != 0 {
			t.Errorf("%d octets were sent to a server that had refused", r.Size)
		}
	}
}

// TestBulkDelete is E27 and E28, with the servers that want something of their own.
func TestBulkDelete(t *testing.T) {
	for name, tt := range map[string]struct {
		opts   objecttest.S3Options
		single bool
	}{
		"Amazon": {}, "wants Content-MD5": {opts: objecttest.S3Options{WantsMD5: true}}, "has none": {opts: objecttest.S3Options{NoBulkDelete: true}, single: true},
		"with locks": {opts: objecttest.S3Options{Lock: true}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := objecttest.NewS3(t, &tt.opts)
			c := open(t, srv.Settings(), nil, nil)
			var keys []string
			for i := range 30 {
				keys = append(keys, fmt.Sprintf("k/%02d <&>", i))
				srv.Plant(keys[i], []byte("x"))
			}
			if err := c.Delete(t.Context(), append([]string{"missing", "missing", keys[0]}, keys...)...); err != nil {
				t.Fatal(err)
			}
			if left := srv.Objects(); len(left) != 0 {
				t.Errorf("%d objects are left", len(left))
			}
			if got := counted(srv, "DeleteObject") > 0; got != tt.single {
				t.Errorf("single deletes: %t, want %t", got, tt.single)
			}
			if bulk := counted(srv, "DeleteObjects"); bulk != 1 {
				t.Errorf("%d bulk deletes, want 1", bulk)
			}
		})
	}
	srv := objecttest.NewS3(t, nil)
	c := open(t, srv.Settings(), nil, nil)
	keys := make([]string, 2500)
	for i := range keys {
		keys[i] = fmt.Sprint(i)
		srv.Plant(keys[i], nil)
	}
	if err := c.Delete(t.Context(), keys...); err != nil || len(srv.Objects()) != 0 || counted(srv, "DeleteObjects", "DeleteObject") != 3 {
		t.Errorf("2,500 keys: error %v, %d requests", err, counted(srv))
	}
	for _, key := range []string{"a", "b", "c"} {
		srv.Plant(key, []byte("x"))
	}
	srv.DenyKey("b")
	err := c.Delete(t.Context(), "a", "b", "c", "d")
	var failed []string
	for e := range connection.Errors(err) {
		failed = append(failed, e.Key+": "+e.Kind.Error())
	}
	if want := []string{"b: permission denied"}; !slices.Equal(failed, want) {
		t.Errorf("got %q, want %q", failed, want)
	}
	srv.Fail("DeleteObjects", 1, objecttest.Status(http.StatusOK, "<DeleteResult><Deleted><Key>a</Key></Deleted></DeleteResult>"))
	failed = nil
	for e := range connection.Errors(open(t, srv.Settings(), nil, map[string]any{"max_attempts": 1}).Delete(t.Context(), "a", "b")) {
		failed = append(failed, e.Key+": "+e.Kind.Error())
	}
	if want := []string{"b: outcome uncertain"}; !slices.Equal(failed, want) {
		t.Errorf("an answer that leaves out a key: got %q, want %q", failed, want)
	}
}
