package b2_test

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

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
			if took := time.Since(began); took > 20*time.Second {
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
		{500, "internal_error", "", connection.ErrUncertain, 3, ""},
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
