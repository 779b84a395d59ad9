package s3_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// leaveUpload makes an upload that nobody ends, with the key and the octets given.
func leaveUpload(t *testing.T, srv *objecttest.S3, key string, size int) {
	t.Helper()
	c := open(t, srv.Settings(), nil, map[string]any{"single_put_limit": 1, "max_attempts": 1})
	srv.Fail("AbortMultipartUpload", 1, objecttest.Status(500, ""))
	srv.Fail("CompleteMultipartUpload", 1, objecttest.Status(403, "<Error><Code>AccessDenied</Code></Error>"))
	if _, err := c.Put(t.Context(), key, bytes.NewReader(make([]byte, size)), nil); err == nil {
		t.Fatal("the put succeeded")
	}
}

// TestIncomplete is E17 over several pages: leftovers are listed with their sizes, and only old ones removed.
func TestIncomplete(t *testing.T) {
	srv := objecttest.NewS3(t, &objecttest.S3Options{PageSize: 3})
	want := make(map[string]int64)
	for i := range 8 {
		key := fmt.Sprintf("dir/é %d&", i%5) // some keys have several
		leaveUpload(t, srv, key, 100+i)
		want[key] += int64(100 + i)
	}
	leaveUpload(t, srv, "large", 20<<20)
	want["large"] = 20 << 20
	c := open(t, srv.Settings(), nil, nil)
	got, count := make(map[string]int64), 0
	for one, err := range c.Incomplete(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got[one.Key] += one.Size
		count++
		if one.ID == "" || time.Since(one.Started) > time.Minute {
			t.Errorf("got %+v", one)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || count != 9 {
		t.Errorf("got %d: %v, want 9: %v", count, got, want)
	}
	srv.AgeUploads(time.Hour)
	leaveUpload(t, srv, "young", 10)
	n, err := c.AbortIncomplete(t.Context(), time.Now().Add(-30*time.Minute))
	if err != nil || n != 9 || srv.Uploads() != 1 {
		t.Errorf("aborted %d, %d are left, error %v", n, srv.Uploads(), err)
	}
	if len(srv.Objects()) != 0 {
		t.Error("an unfinished upload is visible")
	}
}

// TestLargeCopies: more than 5 GiB go in parts, whose octets the server copies.
func TestLargeCopies(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	c := open(t, srv.Settings(), nil, nil)
	srv.PlantZeros("src", 5<<30+1)
	info, err := c.Copy(t.Context(), "dst", "src", &connection.PutOptions{ContentType: "message/rfc822", Meta: map[string]string{"A": "é"}})
	if err != nil {
		t.Fatal(err)
	}
	if info.Size != 5<<30+1 || counted(srv, "UploadPartCopy") != 21 {
		t.Errorf("got %d octets by %d parts", info.Size, counted(srv, "UploadPartCopy"))
	}
	info, err = c.Stat(t.Context(), "dst")
	if err != nil || info.Size != 5<<30+1 || info.ContentType != "message/rfc822" || info.Meta["A"] != "é" {
		t.Errorf("got %+v, error %v", info, err)
	}
	// A part that fails leaves nothing behind.
	srv.FailAfter("UploadPartCopy", 3, -1, objecttest.Status(403, "<Error><Code>AccessDenied</Code></Error>"))
	_, err = c.Copy(t.Context(), "other", "src", nil)
	wantKind(t, "copy", err, connection.ErrPermission)
	if n := srv.Uploads(); n != 0 {
		t.Errorf("%d uploads are left", n)
	}
}

// TestCopies of one request, and what S3 refuses.
func TestCopies(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	c := open(t, srv.Settings(), nil, nil)
	put(t, c, "a+b é&%", []byte("mail"), &connection.PutOptions{ContentType: "message/rfc822", Meta: map[string]string{"A": "é"}})
	info, err := c.Copy(t.Context(), "dst +", "a+b é&%", nil)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := c.Stat(t.Context(), "dst +")
	if err != nil || stat.Meta["A"] != "é" || stat.ContentType != "message/rfc822" || stat.SHA256 == "" || stat.SHA256 != info.SHA256 || stat.ETag != info.ETag {
		t.Errorf("got %+v, Stat %+v, error %v", info, stat, err)
	}
	if _, err := c.Copy(t.Context(), "dst +", "dst +", nil); err != nil {
		t.Errorf("onto itself: %v", err)
	}
	if _, err := c.Copy(t.Context(), "dst +", "dst +", &connection.PutOptions{Class: "STANDARD_IA"}); err != nil {
		t.Errorf("onto itself in another class: %v", err)
	}
	if stat, err = c.Stat(t.Context(), "dst +"); err != nil || stat.Class != "STANDARD_IA" {
		t.Errorf("got %+v, error %v", stat, err)
	}
	_, err = c.Copy(t.Context(), "x", "none", nil)
	wantKind(t, "no source", err, connection.ErrNotFound)
	// The source is replaced while it is looked at.
	srv.Fail("CopyObject", 1, objecttest.Hook(func() { srv.Plant("a+b é&%", []byte("other")) }))
	_, err = c.Copy(t.Context(), "x", "a+b é&%", nil)
	wantKind(t, "a source that changes", err, connection.ErrChanged)
	if string(get(t, c, "dst +")) != "mail" {
		t.Error("the copy is not the source")
	}
}
