package atmos

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/mailconn/mailconn/objectstore"
)

// E87: the vector of the Atmos Programmer's Guide.
func TestSignatureVector(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString("LJLuryj6zs8ste6Y3jTGQp71xq0=")
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://atmos.example.org/rest/objects", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{
		"Content-Type":        {"application/octet-stream"},
		"X-Emc-Groupacl":      {"other=NONE"},
		"X-Emc-Listable-Meta": {"part4/part7/part8=quick"},
		"X-Emc-Meta":          {"part1=buy"},
		"X-Emc-Useracl":       {"john=FULL_CONTROL,mary=WRITE"},
	}
	s := signer{"6039ac182f194e15b9261d73ce044939/user1", key}
	s.sign(r, time.Date(2008, time.June, 5, 16, 38, 19, 0, time.UTC))
	if got, want := r.Header.Get("X-Emc-Date"), "Thu, 05 Jun 2008 16:38:19 GMT"; got != want {
		t.Errorf("got date %q, want %q", got, want)
	}
	if got, want := r.Header.Get("X-Emc-Signature"), "WHJo1MFevMnK4jCthJ974L3YHoo="; got != want {
		t.Errorf("got signature %s, want %s, of\n%s", got, want, stringToSign(r))
	}
}

func TestStringToSignNormalizes(t *testing.T) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://atmos.example.org/rest/namespace/Archive/AB?info", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Range": {"bytes=1-2"}, "Date": {"now"}, "X-Emc-Meta": {"  a=b   c "}, "X-Emc-Date": {"now"}, "Accept": {"*/*"}, "X-Emc-Signature": {"old"}}
	want := "GET\n\nbytes=1-2\nnow\n/rest/namespace/archive/ab?info\nx-emc-date:now\nx-emc-meta:a=b c"
	if got := stringToSign(r); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPathOf(t *testing.T) {
	for key, want := range map[string]string{
		"a/b.c-d_e":        "a/b.c-d_e",
		"a b/ü":            "a~20b/~C3~BC",
		"a~b":              "a~7Eb",
		"%41":              "~2541",
		".mailconn-tmp/x":  "~2Emailconn-tmp/x",
		".mailconn-tmpx/y": ".mailconn-tmpx/y",
		"a//b/":            "a/~/b/~",
	} {
		got := pathOf(key)
		if got != want {
			t.Errorf("%q: got %q, want %q", key, got, want)
		}
		segments := strings.Split(got, "/")
		for i := range segments {
			segments[i] = keyOf(segments[i])
		}
		if back := strings.Join(segments, "/"); back != key {
			t.Errorf("%q comes back as %q", key, back)
		}
	}
	for _, foreign := range []string{"a~b", "a~2", "~2g", "x~2e"} {
		if got := unescape(foreign); got != foreign {
			t.Errorf("%q of another program became %q", foreign, got)
		}
	}
}

func TestParseMetaKeepsCommasInValues(t *testing.T) {
	got := parseMeta("part1=a,b, m.x=1=2,size=5, objectid=ff")
	for name, want := range map[string]string{"part1": "a,b", "m.x": "1=2", "size": "5", "objectid": "ff"} {
		if got[name] != want {
			t.Errorf("%s: got %q, want %q", name, got[name], want)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, key := range []string{"a/b", "~41", "a//b", ".mailconn-tmp", "é/🙂", "%2F"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if !utf8.ValidString(key) || objectstore.CheckKey(key) != nil {
			return
		}
		path := pathOf(key)
		if i := strings.IndexFunc(path, func(r rune) bool { return r != '/' && r != '~' && (r > 0x7f || !plain(byte(r))) }); i >= 0 {
			t.Fatalf("%q: the path %q holds %q", key, path, path[i])
		}
		segments := strings.Split(path, "/")
		if segments[0] == tmpDir {
			t.Fatalf("%q is in the directory of temporary files", key)
		}
		for i := range segments {
			segments[i] = keyOf(segments[i])
		}
		if got := strings.Join(segments, "/"); got != key {
			t.Fatalf("got %q, want %q", got, key)
		}
		meta := map[string]string{"name": key, "empty": ""}
		if got := userMeta(parseMeta(metaHeader("00", meta) + ", size=5, name=other")); len(got) != 2 || got["name"] != key {
			t.Fatalf("got metadata %q, want %q", got, meta)
		}
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add("a=b,c", "bytes 1-2/3")
	f.Add("size=-1,type=directory", "bytes */3")
	f.Fuzz(func(t *testing.T, meta, span string) {
		if n := nodeOf(http.Header{"X-Emc-Meta": {meta}, "X-Emc-Retention-Period": {span}}); n.Size < -1 {
			t.Errorf("a size of %d", n.Size)
		}
		if offset, size, err := contentRange(span, -1); err == nil && (offset < 0 || size < -1) {
			t.Errorf("an offset of %d of %d", offset, size)
		}
	})
}
