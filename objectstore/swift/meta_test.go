package swift_test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// E78: metadata come back as they went, whatever the headers that carry them lose.
func TestMetadata(t *testing.T) {
	many := map[string]string{}
	for i := range 120 {
		many[fmt.Sprintf("name-%d", i)] = "value"
	}
	for name, meta := range map[string]map[string]string{
		"plain":             {"folder": "INBOX", "message-id": "<a@example.org>"},
		"capitals":          {"Folder": "INBOX", "folder": "Sent", "FOLDER": "Drafts"},
		"underscores":       {"a_b": "1", "a-b": "2", "a.b": "3"},
		"not ASCII":         {"folder": "INBOX/Grüße 🙂", "a": "é"},
		"spaces at the end": {"folder": " INBOX ", "empty": "", "space": " "},
		"long value":        {"references": strings.Repeat("<0123456789@example.org> ", 80)[:2000]},
		"looks like ours":   {"mailconn-sha256": "0", "mailconn-upload": "1", "mailconn-pack-0": "2"},
		"two kilobytes":     {"a": strings.Repeat("é", 1000), "b": strings.Repeat("x", 46)},
		"many":              many,
		"none":              nil,
	} {
		t.Run(name, func(t *testing.T) {
			srv := objecttest.NewSwift(t, nil)
			c := conn(t, srv, nil)
			opts := &connection.PutOptions{ContentType: "message/rfc822", Meta: meta}
			if _, err := c.Put(t.Context(), "key", strings.NewReader("octets"), opts); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Copy(t.Context(), "copy", "key", nil); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Copy(t.Context(), "changed", "key", &connection.PutOptions{Meta: map[string]string{"New": "one"}}); err != nil {
				t.Fatal(err)
			}
			for key, want := range map[string]map[string]string{"key": meta, "copy": meta, "changed": {"New": "one"}} {
				info, err := c.Stat(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				if !maps.Equal(info.Meta, want) || info.SHA256 == "" || key != "changed" && info.ContentType != "message/rfc822" {
					t.Errorf("%s: got %q (%s, %s), want %q", key, info.Meta, info.ContentType, info.SHA256, want)
				}
			}
		})
	}
	// What other programs are to see they see.
	srv := objecttest.NewSwift(t, nil)
	c := conn(t, srv, nil)
	if _, err := c.Put(t.Context(), "key", strings.NewReader("octets"), &connection.PutOptions{Meta: map[string]string{"folder": "INBOX"}}); err != nil {
		t.Fatal(err)
	}
	r := srv.Requests("PutObject")[0]
	if got := r.Header.Get("X-Object-Meta-Folder"); got != "INBOX" || r.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("X-Object-Meta-Folder is %q, Content-Type %q", got, r.Header.Get("Content-Type"))
	}
	if _, err := c.Put(t.Context(), "key", strings.NewReader("octets"), &connection.PutOptions{Meta: map[string]string{"a": strings.Repeat("x", 3000)}}); connection.KindOf(err) != connection.ErrTooLarge {
		t.Errorf("3 KB of metadata: got error %v", err)
	}
}

// What a hostile or broken server says of an object is not believed further than it goes.
func TestStrangeHeaders(t *testing.T) {
	srv := objecttest.NewSwift(t, nil)
	c := conn(t, srv, nil)
	put(t, c, "key", []byte("octets"))
	srv.Fail("HeadObject", 1, objecttest.Status(http.StatusOK, "",
		"X-Object-Meta-Mailconn-Sha256: no digest", "X-Object-Meta-Mailconn-Pack-0: !!!", "X-Object-Meta-A: \xff\xfe", "Last-Modified: yesterday",
		"X-Object-Meta-B: good", "ETag: \"0123\""))
	info, err := c.Stat(t.Context(), "key")
	if err != nil || info.SHA256 != "" || !maps.Equal(info.Meta, map[string]string{"b": "good"}) || !info.Modified.IsZero() || info.ETag != "0123" {
		t.Errorf("got %+v, error %v", info, err)
	}
}
