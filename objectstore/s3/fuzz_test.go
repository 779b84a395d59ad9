package s3

import (
	"bytes"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// FuzzPlace: whatever somebody writes into Location, a password in it is in no error, and a place has a host and a region.
func FuzzPlace(f *testing.F) {
	for _, seed := range []string{"", "eu-west-1", "https://ams3.digitaloceanspaces.com", "http://user:sesame@host", "//sesame@host", "h:1/p", "[::1]:9000", "http://%zz@", "s3.amazonaws.com:443"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, location string) {
		c := configFor(location, "", "archive")
		p, err := c.place()
		if err != nil {
			if _, after, ok := strings.Cut(location, "@"); ok && len(after) < len(location) && strings.Contains(location, "://") && strings.Contains(err.Error(), "sesame") {
				t.Errorf("%q: the error repeats it: %v", location, err)
			}
			return
		}
		if u := p.url(); p.host == "" || !regionName.MatchString(p.region) || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
			t.Errorf("%q: got %+v", location, p)
		}
	})
}

// FuzzMetadata: what objectstore.CheckMeta lets pass comes back as it was.
func FuzzMetadata(f *testing.F) {
	f.Add("Name_1.x", "é  =?utf-8?q?x?= ")
	f.Add("mc--x", "")
	f.Add(shaName, "value")
	f.Fuzz(func(t *testing.T, name, value string) {
		meta := map[string]string{name: value}
		if objectstore.CheckMeta(meta) != nil {
			t.Skip("no metadata")
		}
		headers, cache := metadata(meta, "")
		for name, value := range headers {
			if strings.ContainsAny(name+value, "\r\n\x00") || strings.ToLower(name) != name {
				t.Errorf("%q: %q is no header", name, value)
			}
		}
		if got, sum := readMetadata(headers, text(cache)); !maps.Equal(got, meta) || sum != "" {
			t.Errorf("got %q, want %q", got, meta)
		}
	})
}

// FuzzAnswer: whatever a server says, it is an answer or a typed error, and no panic.
func FuzzAnswer(f *testing.F) {
	f.Add(200, []byte("<ListBucketResult></ListBucketResult>"), "bytes 0-9/10")
	f.Add(403, []byte("<Error><Code>AccessDenied</Code><Message>m</Message></Error>"), "bytes */10")
	f.Add(301, []byte("<Error><Region>x</Region></Error>"), "-")
	f.Fuzz(func(t *testing.T, status int, body []byte, contentRange string) {
		x := &exchange{root: "ListBucketResult"}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://host/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp := &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {contentRange}}, Body: http.NoBody, Request: r}
		resp.Body = readCloser{bytes.NewReader(body)}
		if err := x.receive(r, resp); err != nil && told(err) == nil {
			t.Errorf("%d %q: got %v", status, body, err)
		}
		if offset, size, err := extent(contentRange, nil); err == nil && (offset < 0 || size < -1) {
			t.Errorf("%q: got offset %d of %d", contentRange, offset, size)
		}
		state, until := restoreState("GLACIER", contentRange)
		if state != connection.RestoreDone && !until.IsZero() {
			t.Errorf("%q: got %q until %s", contentRange, state, until)
		}
	})
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }
