package azureblob_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/azureblob"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

const long = "more than one part holds"

// inParts sends everything above ten octets in parts of ten, one after the other.
func inParts(cfg *azureblob.Config) { cfg.SinglePutLimit, cfg.PartSize, cfg.PartWorkers = 10, 10, 1 }

func unfinished(t testing.TB, c *azureblob.Conn) (all []connection.Incomplete) {
	t.Helper()
	for one, err := range c.Incomplete(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

// E15: whatever fails, no block stays behind, and the object that was there is whole.
func TestFailedUpload(t *testing.T) {
	for name, exists := range map[string]bool{"stages count as nothing": false, "stages count as blobs": true} {
		for op, skip := range map[string]int{"PutBlock": 1, "PutBlockList": 0} {
			t.Run(name+" "+op, func(t *testing.T) {
				srv := newFake(t, &objecttest.AzureOptions{StagesExist: exists})
				c := openWith(t, srv, inParts, nil)
				srv.FailAfter(op, skip, 1, objecttest.Status(400, "", "x-ms-error-code: InvalidInput"))
				_, err := c.Put(t.Context(), "key", strings.NewReader(long), nil)
				wants(t, "put", err, connection.ErrRejected)
				if left := srv.Uncommitted(); len(left) > 0 || len(srv.Objects()) > 0 {
					t.Errorf("blocks left behind: %v, objects: %v", left, srv.Objects())
				}
			})
		}
	}
}

// A block that comes behind the request that removed its upload does not keep the next upload of its key from being removed.
func TestLateBlock(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, inParts, nil)
	for range 2 {
		srv.ForgetRequests()
		srv.FailAfter("PutBlock", 1, 1, objecttest.Status(400, "", "x-ms-error-code: InvalidInput"))
		_, err := c.Put(t.Context(), "key", strings.NewReader(long), nil)
		wants(t, "put", err, connection.ErrRejected)
		if left := srv.Uncommitted(); len(left) > 0 {
			t.Fatalf("blocks left behind: %v", left)
		}
		name, err := base64.StdEncoding.DecodeString(srv.Requests("PutBlock")[0].Query.Get("blockid"))
		if err != nil || len(name) == 0 {
			t.Fatalf("block id %q: %v", name, err)
		}
		srv.Stage("key", string(name), []byte("too late"))
	}
}

// An upload that is finished while another one of the same key is given up must survive: it is what nil was returned for.
func TestAbortSparesWhatIsFinished(t *testing.T) {
	for name, exists := range map[string]bool{"stages count as nothing": false, "stages count as blobs": true} {
		t.Run(name, func(t *testing.T) {
			srv := newFake(t, &objecttest.AzureOptions{StagesExist: exists})
			c, other := openWith(t, srv, inParts, nil), openWith(t, srv, inParts, nil)
			srv.Fail("PutBlockList", 1, objecttest.Status(400, "", "x-ms-error-code: InvalidInput"))
			srv.Fail("DeleteBlob", 1, objecttest.Hook(func() { put(t, other, "key", long, nil) }))
			_, err := c.Put(t.Context(), "key", strings.NewReader("another text, in parts"), nil)
			wants(t, "put", err, connection.ErrRejected)
			holds(t, other, "key", long)
		})
	}
}

// While somebody else uploads to the same key his blocks stay, and ours with them.
func TestAbortSparesOthers(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, inParts, nil)
	srv.Stage("key", "mailconn-00deadbeef-0123456789abcdef-00001", []byte("of another"))
	srv.Fail("PutBlockList", 1, objecttest.Status(400, "", "x-ms-error-code: InvalidInput"))
	_, err := c.Put(t.Context(), "key", strings.NewReader(long), nil)
	wants(t, "put", err, connection.ErrRejected)
	if left := srv.Uncommitted()["key"]; left != 4 {
		t.Errorf("%d blocks, want the other's and our three", left)
	}
}

// E17: what others and we have left unfinished is listed with its time and size, and removed when it is old.
func TestLeftovers(t *testing.T) {
	srv := newFake(t, &objecttest.AzureOptions{PageSize: 2})
	c := openWith(t, srv, inParts, nil)
	put(t, c, "there", long, nil)
	put(t, c, "empty", "", nil)
	srv.Stage("ours", "mailconn-0060000000-0123456789abcdef-00001", []byte("12345"))
	srv.Stage("ours", "mailconn-0060000000-0123456789abcdef-00002", []byte("123"))
	srv.Stage("theirs", "block1", []byte("1234"))
	srv.Stage("there", "mailconn-0060000000-0123456789abcdef-00001", []byte("beside an object"))
	found := make(map[string]connection.Incomplete)
	for _, one := range unfinished(t, c) {
		found[one.Key] = one
	}
	if ours := found["ours"]; len(found) != 2 || ours.Size != 8 || !ours.Started.Equal(time.Unix(0x60000000, 0)) {
		t.Errorf("found %+v", found)
	}
	if theirs := found["theirs"]; theirs.Size != 4 || time.Since(theirs.Started) > time.Minute {
		t.Errorf("found %+v", theirs)
	}
	if n, err := c.AbortIncomplete(t.Context(), time.Now().Add(-time.Hour)); n != 1 || err != nil {
		t.Errorf("removed %d, error %v; want the one of 2021", n, err)
	}
	if n, err := c.AbortIncomplete(t.Context(), time.Now().Add(time.Hour)); n != 1 || err != nil {
		t.Errorf("removed %d, error %v; want the other", n, err)
	}
	if left := unfinished(t, c); len(left) > 0 {
		t.Errorf("left: %+v", left)
	}
	holds(t, c, "there", long)
	holds(t, c, "empty", "")
}

// Blocks of another program whose names have another length keep ours out, and the error says what helps.
func TestForeignBlocks(t *testing.T) {
	srv := newFake(t, nil)
	srv.Stage("key", "block1", []byte("1234"))
	c := openWith(t, srv, inParts, nil)
	_, err := c.Put(t.Context(), "key", strings.NewReader(long), nil)
	var e *connection.Error
	if !errors.As(err, &e) || e.Code != "InvalidBlobOrBlock" || !strings.Contains(e.Hint, "AbortIncomplete") {
		t.Fatalf("got error %v", err)
	}
	if _, err := c.AbortIncomplete(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	put(t, c, "key", long, nil)
}

// E46: the answer to Put Block List is lost; the commit is repeated, and meets its own blocks.
func TestLostCommit(t *testing.T) {
	for name, opts := range map[string]*connection.PutOptions{"put": nil, "put if absent": {IfAbsent: true}} {
		t.Run(name, func(t *testing.T) {
			srv := newFake(t, nil)
			c := openWith(t, srv, func(cfg *azureblob.Config) { inParts(cfg); cfg.MaxAttempts = 3 }, nil)
			srv.Fail("PutBlockList", 1, objecttest.LoseReply())
			put(t, c, "key", long, opts)
			holds(t, c, "key", long)
		})
	}
}

// E49: of two writers of parts who must both be the first, one is, and the other is told before it has sent everything if
// it is late for certain.
func TestIfAbsentParts(t *testing.T) {
	srv := newFake(t, nil)
	c, other := openWith(t, srv, inParts, nil), openWith(t, srv, inParts, nil)
	first := &connection.PutOptions{IfAbsent: true}
	srv.Fail("PutBlockList", 1, objecttest.Hook(func() { put(t, other, "key", "was quicker, in parts", first) }))
	_, err := c.Put(t.Context(), "key", strings.NewReader(long), first)
	wants(t, "put", err, connection.ErrExists)
	holds(t, c, "key", "was quicker, in parts")
	srv.ForgetRequests()
	_, err = c.Put(t.Context(), "key", strings.NewReader(long), first)
	wants(t, "put", err, connection.ErrExists)
	if n := len(srv.Requests("PutBlock")); n > 0 {
		t.Errorf("%d blocks were sent in vain", n)
	}
}

// E16: when Put returns, its body is not touched any more, although the server has not taken all of it.
func TestBodyIsGivenBack(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, func(cfg *azureblob.Config) { cfg.SinglePutLimit = 100 << 20 }, nil)
	srv.Fail("PutBlob", 1, objecttest.StallRequest(1000))
	ctx, cancel := context.WithCancel(t.Context())
	raw := make([]byte, 50<<20)
	done := make(chan error, 1)
	go func() {
		_, err := c.Put(ctx, "key", bytes.NewReader(raw), nil)
		done <- err
	}()
	until(t, "nothing was sent", func() bool { return len(srv.Requests("PutBlob")) == 1 })
	cancel()
	err := <-done
	clear(raw) // the race detector tells if somebody still reads
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v", err)
	}
}

// E11, E12: the number of parts stays within what the service takes.
func TestPartLimits(t *testing.T) {
	cfg := azureblob.Config{Settings: settings("archiva", "", "mail"), Tuning: objectstore.Tuning{PartSize: 4001 << 20}}
	_, err := azureblob.Open(cfg, nil)
	wants(t, "parts that are too large", err, connection.ErrConfig)
	cfg.Tuning = objectstore.Tuning{SinglePutLimit: 257 << 20}
	_, err = azureblob.Open(cfg, nil)
	wants(t, "a single put that is too large", err, connection.ErrConfig)
}

// Each empty object costs a request, since it might be an unfinished upload. All of a page together take as long as they need.
func TestIncompleteAmongEmptyObjects(t *testing.T) {
	srv := newFake(t, nil)
	for i := range 20 {
		srv.Add(fmt.Sprint("empty/", i), nil)
	}
	srv.Stage("staged", "block", []byte("text"))
	c := openWith(t, srv, func(cfg *azureblob.Config) { cfg.NoDataTimeout = connection.Duration(time.Second) }, nil)
	srv.Fail("GetBlobProperties", -1, objecttest.Hook(func() { <-time.After(100 * time.Millisecond) }))
	if all := unfinished(t, c); len(all) != 1 || all[0].Key != "staged" {
		t.Errorf("got %+v, want the one that is staged", all)
	}
}
