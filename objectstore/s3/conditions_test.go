package s3_test

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

var ifAbsent = &connection.PutOptions{IfAbsent: true}

// TestServersWithoutConditions is E50: what is there is never overwritten, whatever the server makes of If-None-Match.
func TestServersWithoutConditions(t *testing.T) {
	for _, conditions := range []objecttest.S3Conditions{objecttest.S3Ignored, objecttest.S3Refused} {
		for _, emulate := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, emulate %t", conditions, emulate), func(t *testing.T) {
				srv, o := objecttest.NewS3(t, &objecttest.S3Options{Conditions: conditions}), new(observer)
				c := open(t, srv.Settings(), o.env(), map[string]any{"emulate_if_absent": emulate, "single_put_limit": 1 << 20})
				srv.Plant("taken", []byte("old"))
				_, err := c.Put(t.Context(), "taken", bytes.NewReader([]byte("new")), ifAbsent)
				wantKind(t, "the first put", err, connection.ErrExists)
				// The first put to a free key finds out.
				if _, err := c.Put(t.Context(), "free", bytes.NewReader([]byte("mail")), ifAbsent); err != nil {
					wantKind(t, "the put that finds out", err, connection.ErrUnsupported)
				}
				if c.Capabilities().IfAbsent {
					t.Error("the store still says that it has put-if-absent")
				}
				if n := len(o.of(connection.EventQuirk)); n != 1 {
					t.Errorf("%d events of the discovery, want 1", n)
				}
				want := connection.ErrUnsupported
				if emulate {
					want = connection.ErrExists
				}
				for what, size := range map[string]int{"a put after that": 3, "a large put after that": 2 << 20} {
					_, err = c.Put(t.Context(), "taken", bytes.NewReader(make([]byte, size)), ifAbsent)
					wantKind(t, what, err, want)
				}
				_, err = c.Put(t.Context(), "another", bytes.NewReader([]byte("mail")), ifAbsent)
				if emulate != (err == nil) {
					t.Errorf("a put to a free key: got %v", err)
				}
				if got := srv.Objects()["taken"]; string(got) != "old" {
					t.Errorf("the key that was taken holds %q", got)
				}
			})
		}
	}
}

// TestConditionOnCreateOnly: a server that looks at the wrong request does not see what came before the upload.
func TestConditionOnCreateOnly(t *testing.T) {
	srv := objecttest.NewS3(t, &objecttest.S3Options{Conditions: objecttest.S3CreateOnly})
	c := open(t, srv.Settings(), nil, map[string]any{"single_put_limit": 1 << 20})
	srv.Plant("taken", []byte("old"))
	_, err := c.Put(t.Context(), "taken", bytes.NewReader(make([]byte, 2<<20)), ifAbsent)
	wantKind(t, "put", err, connection.ErrExists)
	if _, err := c.Copy(t.Context(), "taken", "taken", ifAbsent); err == nil {
		t.Error("a copy overwrites")
	}
	if got := srv.Objects()["taken"]; string(got) != "old" {
		t.Errorf("the key that was taken holds %d octets", len(got))
	}
}

// TestConditionIsSentWhereItCounts is E49: on Complete, and on the copy's Complete.
func TestConditionIsSentWhereItCounts(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	c := open(t, srv.Settings(), nil, map[string]any{"single_put_limit": 1 << 20})
	large := make([]byte, 2<<20)
	// Another writer comes in between: only the server can see it.
	srv.Fail("CompleteMultipartUpload", 1, objecttest.Hook(func() { srv.Plant("k", []byte("other")) }))
	_, err := c.Put(t.Context(), "k", bytes.NewReader(large), ifAbsent)
	wantKind(t, "put", err, connection.ErrExists)
	put(t, c, "src", large, nil)
	put(t, c, "empty", nil, nil)
	srv.Fail("CompleteMultipartUpload", 1, objecttest.Hook(func() { srv.Plant("l", []byte("other")) }))
	_, err = c.Copy(t.Context(), "l", "src", ifAbsent)
	wantKind(t, "copy", err, connection.ErrExists)
	srv.Fail("PutObject", 1, objecttest.Hook(func() { srv.Plant("m", []byte("other")) }))
	_, err = c.Copy(t.Context(), "m", "empty", ifAbsent)
	wantKind(t, "copy of nothing", err, connection.ErrExists)
	for _, key := range []string{"k", "l", "m"} {
		if got := srv.Objects()[key]; string(got) != "other" {
			t.Errorf("%s holds %d octets", key, len(got))
		}
	}
	if n := srv.Uploads(); n != 0 {
		t.Errorf("%d uploads are left", n)
	}
}

// TestRacingWriters is E48: of many writers of one key exactly one succeeds, and the key holds what it wrote.
func TestRacingWriters(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	for _, size := range []int{100, 2 << 20} {
		key := fmt.Sprint(size)
		var wg sync.WaitGroup
		var mu sync.Mutex
		var won []byte
		for i := range 8 {
			c := open(t, srv.Settings(), nil, map[string]any{"single_put_limit": 1 << 20})
			wg.Go(func() {
				body := bytes.Repeat([]byte{byte('a' + i)}, size)
				_, err := c.Put(t.Context(), key, bytes.NewReader(body), ifAbsent)
				switch {
				case err == nil:
					mu.Lock()
					won = append(won, body[0])
					mu.Unlock()
				case connection.KindOf(err) != connection.ErrExists:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := srv.Objects()[key]; len(won) != 1 || len(got) != size || got[0] != won[0] {
			t.Errorf("size %d: %d writers won (%q), the key holds %d octets", size, len(won), won, len(got))
		}
	}
}

// TestAnotherWriterDuringTheParts: that a server obeys the condition on one kind of request says nothing of the other.
func TestAnotherWriterDuringTheParts(t *testing.T) {
	for _, conditions := range []objecttest.S3Conditions{objecttest.S3Obeyed, objecttest.S3CreateOnly, objecttest.S3Ignored} {
		t.Run(string(conditions), func(t *testing.T) {
			srv := objecttest.NewS3(t, &objecttest.S3Options{Conditions: conditions})
			c := open(t, srv.Settings(), nil, map[string]any{"single_put_limit": 1 << 20})
			srv.Plant("src", []byte("mail"))
			if conditions != objecttest.S3Ignored {
				put(t, c, "small", []byte("mail"), ifAbsent) // shows that PutObject obeys
			}
			srv.Fail("UploadPart", 1, objecttest.Hook(func() { srv.Plant("k", []byte("other")) }))
			_, err := c.Put(t.Context(), "k", bytes.NewReader(make([]byte, 2<<20)), ifAbsent)
			wantKind(t, "put", err, connection.ErrExists)
			srv.Fail("UploadPartCopy", 1, objecttest.Hook(func() { srv.Plant("l", []byte("other")) }))
			_, err = c.Copy(t.Context(), "l", "src", ifAbsent)
			wantKind(t, "copy", err, connection.ErrExists)
			for _, key := range []string{"k", "l"} {
				if got := srv.Objects()[key]; string(got) != "other" {
					t.Errorf("%s holds %d octets", key, len(got))
				}
			}
			if n := srv.Uploads(); n != 0 {
				t.Errorf("%d uploads are left", n)
			}
		})
	}
}

// TestLookBeforeCompleteEnds: when Complete has been refused once, the server is believed.
func TestLookBeforeCompleteEnds(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	c := open(t, srv.Settings(), nil, map[string]any{"single_put_limit": 1 << 20})
	large := make([]byte, 2<<20)
	want := []string{"HeadObject", "CreateMultipartUpload", "UploadPart", "HeadObject", "CompleteMultipartUpload"}
	put(t, c, "first", nil, nil) // asks for locks, too
	srv.ForgetRequests()
	put(t, c, "k", large, ifAbsent)
	if got := ops(srv); !slices.Equal(got, want) {
		t.Errorf("not known: got %q, want %q", got, want)
	}
	srv.Fail("CompleteMultipartUpload", 1, objecttest.Hook(func() { srv.Plant("l", []byte("other")) }))
	_, err := c.Put(t.Context(), "l", bytes.NewReader(large), ifAbsent)
	wantKind(t, "put", err, connection.ErrExists)
	srv.ForgetRequests()
	put(t, c, "m", large, ifAbsent)
	if got, want := ops(srv), slices.Delete(want, 3, 4); !slices.Equal(got, want) {
		t.Errorf("known: got %q, want %q", got, want)
	}
}

// TestConditionOnCompleteIsRefused: a server that does not take the condition there has no put-if-absent.
func TestConditionOnCompleteIsRefused(t *testing.T) {
	srv, o := objecttest.NewS3(t, nil), new(observer)
	srv.Fail("CompleteMultipartUpload", 1, objecttest.Status(501, "<Error><Code>NotImplemented</Code></Error>"))
	c := open(t, srv.Settings(), o.env(), map[string]any{"single_put_limit": 1 << 20, "emulate_if_absent": true})
	_, err := c.Put(t.Context(), "k", bytes.NewReader(make([]byte, 2<<20)), ifAbsent)
	wantKind(t, "put", err, connection.ErrUnsupported)
	if c.Capabilities().IfAbsent || len(o.of(connection.EventQuirk)) != 1 || srv.Uploads() != 0 {
		t.Errorf("if absent: %t, events %v, %d uploads are left", c.Capabilities().IfAbsent, o.of(connection.EventQuirk), srv.Uploads())
	}
	put(t, c, "k", make([]byte, 2<<20), ifAbsent)
}

// TestConflictIsTriedAgain: while another writer is at it, S3 answers 409.
func TestConflictIsTriedAgain(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	c := open(t, srv.Settings(), nil, nil)
	put(t, c, "first", nil, ifAbsent)
	srv.ForgetRequests()
	srv.Fail("PutObject", 1, objecttest.Status(409, "<Error><Code>ConditionalRequestConflict</Code></Error>"))
	put(t, c, "k", []byte("mail"), ifAbsent)
	if got := srv.Ops(); !slices.Equal(got, []string{"PutObject", "PutObject"}) {
		t.Errorf("got %q", got)
	}
}
