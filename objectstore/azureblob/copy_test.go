package azureblob_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/azureblob"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

func TestCopy(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, nil, nil)
	meta := map[string]string{"subject": "Grüße"}
	from := put(t, c, "from", "text", &connection.PutOptions{Meta: meta, ContentType: "message/rfc822"})
	for name, tc := range map[string]struct {
		opts        *connection.PutOptions
		meta        map[string]string
		contentType string
		by          string
	}{
		"as it is":          {nil, meta, "message/rfc822", "CopyBlob"},
		"other metadata":    {&connection.PutOptions{Meta: map[string]string{"a": "b"}, ContentType: "message/rfc822"}, map[string]string{"a": "b"}, "message/rfc822", "CopyBlob"},
		"no metadata":       {&connection.PutOptions{Meta: map[string]string{}, ContentType: "message/rfc822"}, nil, "message/rfc822", "CopyBlob"},
		"other type":        {&connection.PutOptions{Meta: meta, ContentType: "text/plain"}, meta, "text/plain", "PutBlockList"},
		"the store's type":  {&connection.PutOptions{Meta: meta}, meta, "application/octet-stream", "PutBlockList"},
		"only if it is new": {&connection.PutOptions{IfAbsent: true}, meta, "message/rfc822", "CopyBlob"},
	} {
		t.Run(name, func(t *testing.T) {
			srv.ForgetRequests()
			key := "to/" + name
			info, err := c.Copy(t.Context(), key, "from", tc.opts)
			if err != nil {
				t.Fatal(err)
			}
			stat, err := c.Stat(t.Context(), key)
			if err != nil || info.Key != key || info.Size != 4 || info.SHA256 != from.SHA256 || info.ETag != stat.ETag {
				t.Errorf("copy tells %+v, stat %+v, error %v", info, stat, err)
			}
			if !maps.Equal(stat.Meta, tc.meta) || stat.ContentType != tc.contentType || stat.SHA256 != from.SHA256 {
				t.Errorf("the copy has %q, %q, %q; want %q, %q", stat.Meta, stat.ContentType, stat.SHA256, tc.meta, tc.contentType)
			}
			if !slices.Contains(srv.Ops(), tc.by) {
				t.Errorf("it was made by %v, want %s", srv.Ops(), tc.by)
			}
			holds(t, c, key, "text")
		})
	}
	for _, opts := range []*connection.PutOptions{{IfAbsent: true}, {IfAbsent: true, ContentType: "text/plain"}} {
		_, err := c.Copy(t.Context(), "to/as it is", "from", opts)
		wants(t, "copy that must be the first", err, connection.ErrExists)
	}
	_, err := c.Copy(t.Context(), "to", "missing", nil)
	wants(t, "copy of a missing object", err, connection.ErrNotFound)
}

// The service may copy later. Then the copy is waited for.
func TestCopyLater(t *testing.T) {
	srv := newFake(t, &objecttest.AzureOptions{CopyLater: true})
	c := openWith(t, srv, nil, nil)
	put(t, c, "from", "text", nil)
	done := make(chan error, 1)
	copying := func(ctx context.Context) {
		srv.ForgetRequests()
		go func() { done <- second(c.Copy(ctx, "to", "from", nil)) }()
		until(t, "nobody asks how far it is", func() bool {
			ops := srv.Ops()
			begun := slices.Index(ops, "CopyBlob")
			return begun >= 0 && len(ops)-begun > 2 // what comes behind it are looks
		})
		select {
		case err := <-done:
			t.Fatalf("copy returned %v before it was done", err)
		default:
		}
	}
	copying(t.Context())
	srv.FinishCopy("to", true)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	holds(t, c, "to", "text")
	if err := c.Delete(t.Context(), "to"); err != nil {
		t.Fatal(err)
	}

	copying(t.Context())
	srv.FinishCopy("to", false)
	wants(t, "copy that the service gives up", <-done, connection.ErrRejected)
	if _, ok := srv.Objects()["to"]; ok {
		t.Error("the empty object that the service left is still there")
	}

	ctx, cancel := context.WithCancel(t.Context())
	copying(ctx)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("copy whose context ends: got error %v", err)
	}
	if _, ok := srv.Objects()["to"]; ok || len(srv.Requests("AbortCopyBlob")) == 0 {
		t.Errorf("the copy goes on, or left an empty object: %v", srv.Ops())
	}
}

// A copy over what is there replaces it when it is whole, and not at all if it is given up.
func TestCopyOver(t *testing.T) {
	for name, opts := range map[string]*connection.PutOptions{"as it is": nil, "other metadata": {Meta: map[string]string{"a": "b"}, ContentType: "application/octet-stream"}} {
		t.Run(name, func(t *testing.T) {
			srv := newFake(t, &objecttest.AzureOptions{CopyLater: true})
			c := openWith(t, srv, nil, nil)
			put(t, c, "from", "text", nil)
			put(t, c, "to", "old mail", nil)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			srv.Fail("CopyBlob", -1, objecttest.Hook(cancel)) // which leaves it pending
			srv.Fail("PutBlockList", 1, objecttest.Status(400, "", "x-ms-error-code: InvalidInput"))
			_, err := c.Copy(ctx, "to", "from", opts)
			wants(t, "copy that fails in the end", err, connection.ErrRejected)
			if got := string(srv.Objects()["to"]); got != "old mail" {
				t.Fatalf("it leaves %q", got)
			}
			if _, err := c.Copy(t.Context(), "to", "from", opts); err != nil {
				t.Fatal(err)
			}
			holds(t, c, "to", "text")
			if ops := srv.Ops(); slices.Contains(ops, "CopyBlob") {
				t.Errorf("it was made by %v, of which Copy Blob empties what is there", ops)
			}
			if _, err := c.Copy(t.Context(), "to", "to", opts); err != nil {
				t.Errorf("copy onto itself: %v", err)
			}
			holds(t, c, "to", "text")
		})
	}
}

// What somebody writes when nothing was there a moment ago is not emptied either.
func TestCopyOverWhatIsNew(t *testing.T) {
	srv := newFake(t, &objecttest.AzureOptions{CopyLater: true})
	c := openWith(t, srv, nil, nil)
	put(t, c, "from", "text", nil)
	srv.Fail("CopyBlob", 1, objecttest.Hook(func() { srv.Add("to", []byte("new mail")) }))
	srv.Fail("PutBlockList", 1, objecttest.Status(400, "", "x-ms-error-code: InvalidInput"))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := c.Copy(ctx, "to", "from", nil)
	wants(t, "copy that fails in the end", err, connection.ErrRejected)
	holds(t, c, "to", "new mail")
	if _, err := c.Copy(ctx, "to", "from", nil); err != nil {
		t.Fatal(err)
	}
	holds(t, c, "to", "text")
}

// A source that is replaced in between is not mixed with its successor.
func TestCopySourceChanges(t *testing.T) {
	for name, opts := range map[string]*connection.PutOptions{"CopyBlob": nil, "PutBlockFromURL": {ContentType: "text/plain"}} {
		t.Run(name, func(t *testing.T) {
			srv := newFake(t, nil)
			c := openWith(t, srv, nil, nil)
			put(t, c, "from", "text", nil)
			srv.Fail(name, 1, objecttest.Hook(func() { srv.Add("from", []byte("another")) }))
			_, err := c.Copy(t.Context(), "to", "from", opts)
			wants(t, "copy", err, connection.ErrChanged)
			if left := srv.Uncommitted(); len(left) > 0 || len(srv.Objects()) != 1 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// What has no octets has no blocks either.
func TestCopyEmpty(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, func(cfg *azureblob.Config) { cfg.EncryptionScope = "scope" }, nil)
	put(t, c, "from", "", nil)
	if _, err := c.Copy(t.Context(), "to", "from", nil); err != nil {
		t.Fatal(err)
	}
	holds(t, c, "to", "")
}

// A copy in blocks that fails leaves none.
func TestCopyBlocksFails(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, nil, nil)
	put(t, c, "from", "text", nil)
	srv.Fail("PutBlockList", 1, objecttest.Status(400, "", "x-ms-error-code: InvalidInput"))
	_, err := c.Copy(t.Context(), "to", "from", &connection.PutOptions{ContentType: "text/plain"})
	wants(t, "copy", err, connection.ErrRejected)
	if left := srv.Uncommitted(); len(left) > 0 || strings.Contains(err.Error(), "stays behind") {
		t.Errorf("left behind: %v, error %v", left, err)
	}
}
