package swift

import (
	"maps"
	"net/http"
	"testing"

	"github.com/ncw/swift/v2"

	"github.com/mailconn/mailconn/objectstore"
)

// What is written comes back, through headers that lose the case of their names.
func FuzzMetadata(f *testing.F) {
	f.Add("folder", "INBOX", "Message-Id", "<a@example.org>")
	f.Add("a_b", " é ", "mailconn-sha256", "")
	f.Fuzz(func(t *testing.T, name, value, name2, value2 string) {
		meta := map[string]string{name: value, name2: value2}
		if objectstore.CheckMeta(meta) != nil {
			t.Skip("no metadata of ours")
		}
		sent := swift.Headers{}
		writeMeta(sent, meta)
		got := http.Header{}
		for k, v := range sent {
			if len(v) > maxMetaValue || v == "" {
				t.Fatalf("header %q holds %d octets", k, len(v))
			}
			got.Set(k, v)
		}
		if back, _, _ := readMeta(got); !maps.Equal(back, meta) {
			t.Errorf("got %q, want %q", back, meta)
		}
	})
}

// Nothing that a server says in a header or a body makes the driver fail hard.
func FuzzAnswers(f *testing.F) {
	f.Add("bytes 1-2/3", []byte(`{"Response Status":"400 Bad Request","Errors":[["/c/o","404 Not Found"]]}`))
	f.Add("bytes */5", []byte("Response Status: 401 Unauthorized\r\n"))
	f.Fuzz(func(t *testing.T, text string, body []byte) {
		if offset, size, err := contentRange(text); err == nil && size >= 0 && offset < 0 {
			t.Errorf("content range %q: offset %d", text, offset)
		}
		r := outcome(body)
		if r.segmentError() == nil && len(r.Errors) > 0 {
			t.Error("an error of a segment is lost")
		}
		if r.err() == nil && len(r.Errors) > 0 {
			t.Error("an error is lost")
		}
		if _, whole := r.failed("c", 1); whole && r.Deleted+r.NotFound+len(r.Errors) < 1 {
			t.Error("nothing accounts for the name")
		}
		if at := listedTime(text); at.Nanosecond() != 0 {
			t.Errorf("the time %q is %s, not in whole seconds", text, at)
		}
		readMeta(http.Header{metaPrefix + "A": {text}, http.CanonicalHeaderKey(metaPrefix + packName + "0"): {string(body)}})
	})
}
