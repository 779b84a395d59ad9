package b2

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// What is kept with a file comes back by HTTP headers, which have another case, and by JSON.
func FuzzFileInfo(f *testing.F) {
	f.Add("folder", "INBOX", "received", "2026-02-13")
	f.Add("Folder", "", "folder", "ü + % {\"}")
	f.Add("b2-cache-control", "x", "mailconn-meta", "{}")
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string) {
		meta := map[string]string{name1: value1, name2: value2}
		if objectstore.CheckMeta(meta) != nil {
			return
		}
		kept := fileInfo("00", meta)
		h := make(http.Header)
		for name, value := range kept {
			h.Set("X-Bz-Info-"+name, url.QueryEscape(value))
		}
		raw, err := json.Marshal(map[string]any{"fileInfo": kept})
		if err != nil {
			t.Fatal(err)
		}
		var listed file
		if err := json.Unmarshal(raw, &listed); err != nil {
			t.Fatal(err)
		}
		for from, info := range map[string]connection.ObjectInfo{"headers": fileOf(h).object(), "JSON": listed.object()} {
			if !maps.Equal(info.Meta, meta) || info.SHA256 != "00" {
				t.Fatalf("%s: got %q and %q, want %q; kept as %q", from, info.Meta, info.SHA256, meta, kept)
			}
		}
	})
}

// Whatever a server says, nothing panics, and no size or offset is out of its range.
func FuzzAnswers(f *testing.F) {
	f.Add(`{"accountId":"a","authorizationToken":"t","apiInfo":{"storageApi":{"apiUrl":"http://x","downloadUrl":"http://y"}}}`, "bytes 1-2/3")
	f.Add(`{"buckets":[{"bucketId":"1","fileLockConfiguration":{"value":null}}]}`, "bytes */5")
	f.Add(`{"fileId":"4","fileInfo":{"a":"b"},"fileRetention":{"value":{"mode":null}}}`, "bytes 9223372036854775808-/")
	f.Fuzz(func(t *testing.T, reply, span string) {
		if a, err := readAccount([]byte(reply)); err == nil && (a.Token == "" || !isURL(a.APIInfo.Storage.API)) {
			t.Errorf("%s: an account without token or URL", reply)
		}
		lockOf([]byte(reply), "1")
		if info, err := stored([]byte(reply)); err == nil && info.ETag == "" {
			t.Errorf("%s: stored without an ID", reply)
		}
		if offset, size, ok := contentRange(span); ok && (offset < 0 || size < -1) {
			t.Errorf("%q: offset %d of %d", span, offset, size)
		}
		b := &backend{}
		for _, op := range []string{opAuthorize, opUpload, opFinish, opDownload} {
			for _, status := range []int{400, 401, 403, 503} {
				if err := b.refusal(op, &exchange{status: status, answer: make(http.Header), reply: []byte(reply)}); connection.KindOf(err) == connection.ErrUnknown {
					t.Errorf("%s, %d: %v", op, status, err)
				}
			}
		}
	})
}
