package b2_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"runtime"
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

// E54: upload URLs that have had their day, or are busy, are replaced within one attempt.
func TestStaleUploadURL(t *testing.T) {
	for name, spoil := range map[string]func(srv *objecttest.B2){
		"expired": func(srv *objecttest.B2) { srv.ExpireUploads() },
		"busy": func(srv *objecttest.B2) {
			srv.Fail("b2_upload_file", 1, refusal(400, "bad_request", "more than one upload using auth token"))
		},
		"401": func(srv *objecttest.B2) { srv.Fail("b2_upload_file", 1, refusal(401, "bad_auth_token", "bad")) },
	} {
		srv := objecttest.NewB2(t, nil)
		c := open(t, srv, nil, map[string]any{"max_attempts": 1})
		put(t, c, "k", "old", nil)
		srv.ForgetRequests()
		spoil(srv)
		put(t, c, "k", "new", nil)
		if want := []string{"b2_upload_file", "b2_get_upload_url", "b2_upload_file"}; !slices.Equal(srv.Ops(), want) {
			t.Errorf("%s: asked %q, want %q", name, srv.Ops(), want)
		}
		if got := string(srv.Objects()["k"]); got != "new" {
			t.Errorf("%s: stored %q", name, got)
		}
	}
}

// E55: one upload host is dead.
func TestDeadUploadHost(t *testing.T) {
	srv := objecttest.NewB2(t, &objecttest.B2Options{DeadUploads: 1})
	c := open(t, srv, nil, nil)
	put(t, c, "k", "content", nil)
	if n := count(srv); n["b2_get_upload_url"] != 2 || n["b2_upload_file"] != 1 {
		t.Errorf("asked %v", n)
	}
}

// When the service is in trouble, upload URLs that came before are not tried one after the other.
func TestTroubleEmptiesThePool(t *testing.T) {
	srv := objecttest.NewB2(t, nil)
	c := open(t, srv, nil, nil)
	held := make(chan struct{})
	srv.Fail("b2_upload_file", 3, objecttest.Hook(func() { <-held }))
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			if _, err := c.Put(t.Context(), fmt.Sprint(i), strings.NewReader("x"), nil); err != nil {
				t.Error(err)
			}
		})
	}
	for count(srv)["b2_upload_file"] < 3 {
		runtime.Gosched()
	}
	close(held)
	wg.Wait()
	srv.ForgetRequests()
	srv.Fail("b2_upload_file", 1, refusal(503, "service_unavailable", "busy"))
	put(t, c, "k", "x", nil)
	if want := []string{"b2_upload_file", "b2_get_upload_url", "b2_upload_file"}; !slices.Equal(srv.Ops(), want) {
		t.Errorf("asked %q, want %q", srv.Ops(), want)
	}
}

// E56: all upload hosts are dead, or busy for ever: an error with the cause, soon, after few requests.
func TestAllUploadHostsDead(t *testing.T) {
	for name, tc := range map[string]struct {
		opts  objecttest.B2Options
		fault objecttest.Fault
		want  connection.Kind
		says  string
	}{
		"refused":             {objecttest.B2Options{DeadUploads: -1}, objecttest.Hook(func() {}), connection.ErrNetwork, "refused"},
		"503":                 {objecttest.B2Options{}, refusal(503, "service_unavailable", "no tomes available"), connection.ErrThrottled, "no tomes available"},
		"503 and Retry-After": {objecttest.B2Options{}, refusal(503, "service_unavailable", "no tomes available", "Retry-After: 1"), connection.ErrThrottled, "no tomes available"},
		"reset":               {objecttest.B2Options{}, objecttest.CutRequest(0), connection.ErrUncertain, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := objecttest.NewB2(t, &tc.opts)
			c := open(t, srv, nil, map[string]any{"max_attempts": 4, "max_elapsed": "5s"})
			srv.Fail("b2_upload_file", -1, tc.fault)
			began := time.Now()
			_, err := c.Put(t.Context(), "k", strings.NewReader("content"), nil)
			if took := time.Since(began); took > 6*time.Second {
				t.Errorf("took %s", took)
			}
			if name == "reset" && errors.Is(err, connection.ErrNetwork) {
				tc.want = connection.ErrNetwork // whether all was sent is a race
			}
			wantKind(t, name, err, tc.want)
			if !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "after 4 attempts") {
				t.Errorf("got %v: want %q and the attempts in it", err, tc.says)
			}
			if n := len(srv.Requests()); n > 19 {
				t.Errorf("%d requests: %q", n, srv.Ops())
			}
			if len(srv.Objects()) > 0 {
				t.Error("something was stored")
			}
		})
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

// E58, E59, and what else the service has codes for.
func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		status        int
		code, message string
		want          connection.Kind
		attempts      int
		hint          string
	}{
		{403, "storage_cap_exceeded", "Cannot upload files, storage cap exceeded.", connection.ErrQuota, 1, "cap"},
		{403, "cap_exceeded", "", connection.ErrQuota, 1, "cap"},
		{403, "access_denied", "", connection.ErrPermission, 1, ""},
		{401, "unauthorized", "", connection.ErrPermission, 1, "credential"},
		{400, "bad_request", "Checksum did not match data received", connection.ErrCorrupt, 1, ""},
		{400, "bad_request", "File name contains bad characters", connection.ErrUnsupported, 1, ""},
		{400, "bad_request", "something else", connection.ErrRejected, 1, ""},
		{408, "request_timeout", "", connection.ErrTimeout, 3, ""},
		{429, "too_many_requests", "", connection.ErrThrottled, 3, ""},
		{500, "internal_error", "", connection.ErrUnavailable, 3, ""},
		{503, "service_unavailable", "", connection.ErrThrottled, 3, ""},
	} {
		srv := objecttest.NewB2(t, nil)
		c := open(t, srv, nil, map[string]any{"max_attempts": 3})
		srv.Fail("b2_upload_file", -1, refusal(tc.status, tc.code, tc.message))
		_, err := c.Put(t.Context(), "k", strings.NewReader("x"), nil)
		var e *connection.Error
		if !errors.As(err, &e) || e.Kind != tc.want || e.Code != tc.code || !strings.Contains(e.Hint, tc.hint) {
			t.Errorf("%d %s: got %v, want %v", tc.status, tc.code, err, tc.want)
		}
		if n := count(srv)["b2_upload_file"]; n != tc.attempts {
			t.Errorf("%d %s: %d attempts, want %d", tc.status, tc.code, n, tc.attempts)
		}
	}
}

// E59: a bit that flips on the way is noticed by the server, at rest by us.
func TestFlippedBits(t *testing.T) {
	srv := objecttest.NewB2(t, nil)
	c := open(t, srv, nil, nil)
	srv.Fail("b2_upload_file", 1, objecttest.FlipRequest(3))
	_, err := c.Put(t.Context(), "k", strings.NewReader("content"), nil)
	wantKind(t, "on the way in", err, connection.ErrCorrupt)
	put(t, c, "k", "content", nil)
	srv.Damage("k")
	_, err = get(t, c, "k", nil)
	wantKind(t, "at rest", err, connection.ErrCorrupt)
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
			if !errors.As(err, &e) || e.Kind != connection.ErrConfig || !strings.HasPrefix(e.Hint, "Bucket UID: ") {
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

// E61: Delete removes all versions, or says that it left them.
func TestDelete(t *testing.T) {
	srv := objecttest.NewB2(t, &objecttest.B2Options{PageSize: 2})
	c := open(t, srv, nil, nil)
	for i := range 5 {
		put(t, c, "k", fmt.Sprint(i), nil)
	}
	put(t, c, "k2", "x", nil)
	if err := c.Delete(t.Context(), "k", "missing"); err != nil {
		t.Fatal(err)
	}
	if got := slices.Collect(maps.Keys(srv.Objects())); !slices.Equal(got, []string{"k2"}) || len(srv.Versions("k")) > 0 {
		t.Errorf("left: %q and %d versions", got, len(srv.Versions("k")))
	}

	var markers []string
	env := &connection.Env{Observe: func(e connection.Event) {
		if e.Kind == connection.EventMarker {
			markers = append(markers, e.Key)
		}
	}}
	without := slices.DeleteFunc(objecttest.B2Capabilities(), func(s string) bool { return s == "deleteFiles" })
	for how, opts := range map[string]objecttest.B2Options{"known": {Capabilities: without}, "found out": {}} {
		markers = nil
		srv := objecttest.NewB2(t, &opts)
		c := open(t, srv, env, nil)
		put(t, c, "k", "1", nil)
		put(t, c, "k", "2", nil)
		if how == "found out" {
			srv.Fail("b2_delete_file_version", -1, refusal(401, "unauthorized", "no"))
		}
		for range 2 {
			if err := c.Delete(t.Context(), "k"); err != nil {
				t.Errorf("%s: %v", how, err)
			}
		}
		_, err := c.Stat(t.Context(), "k")
		wantKind(t, how+", after the marker", err, connection.ErrNotFound)
		if n := len(srv.Versions("k")); n != 3 || !slices.Equal(markers, []string{"k"}) {
			t.Errorf("%s: %d versions, markers %q", how, n, markers)
		}
	}
}

// Other programs' unfinished uploads of the key are not touched.
func TestDeleteSparesUploadsUnderWay(t *testing.T) {
	srv := objecttest.NewB2(t, nil)
	c := open(t, srv, nil, map[string]any{"max_attempts": 1})
	leaveUnfinished(t, srv, c, "k")
	put(t, c, "k", "x", nil)
	if err := c.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if srv.Unfinished() != 1 || len(srv.Versions("k")) > 0 {
		t.Errorf("%d unfinished, %d versions", srv.Unfinished(), len(srv.Versions("k")))
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

// E78: metadata comes back as it was, whatever its names; what fits is plain for other programs.
func TestMetadata(t *testing.T) {
	many := make(map[string]string)
	for i := range 30 {
		many[fmt.Sprintf("name-%d", i)] = strings.Repeat("ü", i)
	}
	for name, tc := range map[string]struct {
		meta  map[string]string
		plain bool
	}{
		"plain":    {map[string]string{"folder": "INBOX/Grüße 100%+", "a.b_c": "x"}, true},
		"case":     {map[string]string{"Folder": "a", "folder": "b"}, false},
		"empty":    {map[string]string{"folder": ""}, false},
		"many":     {many, false},
		"long":     {map[string]string{strings.Repeat("n", 60): "x"}, false},
		"reserved": {map[string]string{"b2-content-disposition": "inline", "mailconn-sha256": "00", "large_file_sha1": "11"}, false},
	} {
		srv := objecttest.NewB2(t, nil)
		c := open(t, srv, nil, nil)
		put(t, c, "k", "content", &connection.PutOptions{Meta: tc.meta, ContentType: "message/rfc822"})
		stat, err := c.Stat(t.Context(), "k")
		if err != nil || !maps.Equal(stat.Meta, tc.meta) || stat.ContentType != "message/rfc822" {
			t.Errorf("%s: got %q %q, %v; want %q", name, stat.Meta, stat.ContentType, err, tc.meta)
		}
		for info, err := range c.List(t.Context(), nil) {
			if err != nil || !maps.Equal(info.Meta, tc.meta) || info.ETag != stat.ETag || info.SHA256 != stat.SHA256 || !info.Modified.Equal(stat.Modified) {
				t.Errorf("%s: listed as %+v, %v; Stat says %+v", name, info, err, stat)
			}
		}
		kept := srv.Versions("k")[0].Info
		for own, value := range tc.meta {
			if got, ok := kept[own]; (ok && got == value) != tc.plain {
				t.Errorf("%s: other programs see %q", name, kept)
				break
			}
		}
	}
}

// E6: the server's own limit of names.
func TestSegmentLimit(t *testing.T) {
	srv := objecttest.NewB2(t, &objecttest.B2Options{SegmentLimit: 250})
	c := open(t, srv, nil, nil)
	put(t, c, strings.Repeat("k", 250), "x", nil)
	_, err := c.Put(t.Context(), strings.Repeat("k", 251), strings.NewReader("x"), nil)
	wantKind(t, "251 octets", err, connection.ErrUnsupported)
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
