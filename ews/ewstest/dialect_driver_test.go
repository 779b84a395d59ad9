package ewstest_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// told is everything that the driver says about a mailbox, in an order of its own.
func told(t *testing.T, srv *ewstest.Server) string {
	t.Helper()
	conn, err := ews.Open(srv.Config(), srv.Env())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}()
	var lines []string
	message := func(what string, m *connection.Message) {
		hash := sha256.New()
		n, err := io.Copy(hash, m.Body)
		if err != nil || n != m.Size {
			t.Errorf("%s: read %d octets of %d, %v", what, n, m.Size, err)
		}
		lines = append(lines, fmt.Sprintf("%s %v %s %v %v %x", what, m.Ref, m.Folder, m.Received, m.Flags, hash.Sum(nil)))
	}
	for f, err := range conn.Folders(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("folder %+v", *f))
	}
	var refs []connection.Ref
	for m, err := range conn.Fetch(t.Context(), &connection.FetchOptions{Folders: []string{"Inbox", "A/B"}}) {
		if err != nil {
			t.Fatal(err)
		}
		message("fetched", m)
		refs = append(refs, m.Ref)
	}
	for ch, err := range conn.Sync(t.Context(), "", &connection.SyncOptions{Folders: []string{"Inbox", "A/B"}}) {
		if err != nil {
			t.Fatal(err)
		}
		if ch.Message != nil && ch.Message.Body != nil {
			message("synced", ch.Message)
		}
	}
	one, err := conn.Open(t.Context(), refs[0])
	if err != nil {
		t.Fatal(err)
	}
	message("opened", one)
	if closer, ok := one.Body.(io.Closer); ok {
		if err := closer.Close(); err != nil {
			t.Error(err)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// The same answers give the driver the same mailbox, however they are written, cut up and read.
func TestDriverUnderstandsEveryDialect(t *testing.T) {
	srv, mb := server(t, nil)
	mb.Deliver("Inbox", nasty, []byte("Subject: b\r\n\r\nb"), bytes.Repeat([]byte("0123456789abcde\n"), 30))
	mb.Deliver("A/B", []byte("From: x\r\n\r\n\x00\xff"))
	want := told(t, srv)
	if n := strings.Count(want, "\n"); n < 8+4+4 {
		t.Fatalf("the driver says too little:\n%s", want)
	}
	dialects := ewstest.Dialects()
	for seed := range uint64(8) {
		dialects[fmt.Sprintf("random %d", seed)] = ewstest.RandomDialect(seed)
	}
	shreds := ewstest.Shreds()
	check := func(dialect, shred string, read ewstest.ReadSize) {
		t.Run(fmt.Sprintf("%s, %s, reads of %d", dialect, shred, read), func(t *testing.T) {
			srv.SetDialect(dialects[dialect])
			srv.SetShred(shreds[shred])
			srv.SetRead(read)
			if got := told(t, srv); got != want {
				t.Error(difference(got, want))
			}
		})
	}
	for shred := range shreds {
		check("plain", shred, 0)
	}
	reads := []ewstest.ReadSize{0, -200, 0, 3}
	for i, dialect := range slices.Sorted(maps.Keys(dialects)) { // each with something else
		check(dialect, "hostile", reads[i%len(reads)])
	}
	check("plain", "whole", 1)
}
