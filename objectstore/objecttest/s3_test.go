package objecttest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The example of the S3 API reference, "Signature calculations for the authorization header", with its secret key.
const (
	exampleSecret    = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	exampleSignature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
	emptySHA256      = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

func TestS3SignatureIsThePublishedOne(t *testing.T) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://examplebucket.s3.amazonaws.com/test.txt", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Range": "bytes=0-9", "X-Amz-Content-Sha256": emptySHA256, "X-Amz-Date": "20130524T000000Z",
		"Authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=" + exampleSignature,
	} {
		r.Header.Set(name, value)
	}
	sig, refusal := readSignature(r)
	if refusal != nil {
		t.Fatalf("%+v", refusal)
	}
	s := newS3(&S3Options{SecretKey: exampleSecret})
	if got := s.sign(r, sig); got != exampleSignature || sig.signature != exampleSignature {
		t.Errorf("got %s, want %s", got, exampleSignature)
	}
}

// askS3 makes a request that is signed by hand, changed before or after that.
func askS3(t *testing.T, s *S3, method, path, body string, before, after func(r *http.Request)) (status int, raw string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	stamp := time.Now().UTC().Format("20060102T150405Z")
	r.Header.Set("X-Amz-Date", stamp)
	r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	if before != nil {
		before(r)
	}
	sig := s3Signature{day: stamp[:8], region: "us-east-1", date: stamp, signed: []string{"host"}}
	for _, name := range []string{"content-md5", "x-amz-content-sha256", "x-amz-date", "x-amz-unheard-of"} {
		if r.Header.Get(name) != "" {
			sig.signed = append(sig.signed, name)
		}
	}
	if len(sig.signed) > 2 && sig.signed[1] == "content-md5" {
		sig.signed[0], sig.signed[1] = sig.signed[1], sig.signed[0] // in order
	}
	r.Host = s.Addr()
	r.Header.Set("Authorization", fmt.Sprintf("%s Credential=AKIDEXAMPLE/%s/us-east-1/s3/aws4_request, SignedHeaders=%s, Signature=%s",
		s3Algorithm, sig.day, strings.Join(sig.signed, ";"), s.sign(r, sig)))
	if after != nil {
		after(r)
	}
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// TestS3IsStrict: what a driver gets wrong is refused.
func TestS3IsStrict(t *testing.T) {
	set := func(name, value string) func(r *http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for name, tt := range map[string]struct {
		path          string
		before, after func(r *http.Request)
		code          string // "" = it is obeyed
	}{
		"all is well":       {path: "/archive/k"},
		"escaped key":       {path: "/archive/a%20b%2Bc"},
		"good digest":       {path: "/archive/k", before: set("Content-Md5", "uDqIalxDfM2awVRz/W8XiA==")},
		"other digest":      {path: "/archive/k", before: set("Content-Md5", "1B2M2Y8AsgTpgAmY7PhCfg=="), code: "BadDigest"},
		"no digest":         {path: "/archive/k", before: set("Content-Md5", "x"), code: "InvalidDigest"},
		"other payload":     {path: "/archive/k", before: set("X-Amz-Content-Sha256", emptySHA256), code: "XAmzContentSHA256Mismatch"},
		"chunks":            {path: "/archive/k", before: set("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), code: "NotImplemented"},
		"changed path":      {path: "/archive/k", after: func(r *http.Request) { r.URL.Path = "/archive/l" }, code: "SignatureDoesNotMatch"},
		"changed query":     {path: "/archive/k", after: func(r *http.Request) { r.URL.RawQuery = "x-id=x" }, code: "SignatureDoesNotMatch"},
		"unsigned header":   {path: "/archive/k", after: set("X-Amz-Storage-Class", "GLACIER"), code: "AccessDenied"},
		"unsigned digest":   {path: "/archive/k", after: set("Content-Md5", "uDqIalxDfM2awVRz/W8XiA=="), code: "AccessDenied"},
		"unknown header":    {path: "/archive/k", before: set("X-Amz-Unheard-Of", "x"), code: "InvalidArgument"},
		"unknown parameter": {path: "/archive/k?unheard-of=x", code: "InvalidArgument"},
		"nobody":            {path: "/archive/k", after: func(r *http.Request) { r.Header.Del("Authorization") }, code: "AccessDenied"},
		"other bucket":      {path: "/other/k", code: "NoSuchBucket"},
		"bad bucket":        {path: "/AB/k", code: "InvalidBucketName"},
		"long key":          {path: "/archive/" + strings.Repeat("k", 1025), code: "KeyTooLongError"},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewS3(t, nil)
			status, raw := askS3(t, s, http.MethodPut, tt.path, "mail", tt.before, tt.after)
			if tt.code == "" && status != http.StatusOK || !strings.Contains(raw, tt.code) {
				t.Errorf("got %d %s, want %s", status, raw, tt.code)
			}
			if n := len(s.Objects()); (n == 1) != (tt.code == "") {
				t.Errorf("%d objects are stored", n)
			}
		})
	}
}

// TestS3PartsAreWhole: an upload is visible when it is complete, and only with parts as S3 takes them.
func TestS3PartsAreWhole(t *testing.T) {
	s := NewS3(t, &S3Options{MinPart: 10})
	begin := func() string {
		_, raw := askS3(t, s, http.MethodPost, "/archive/k?uploads=", "", nil, nil)
		_, after, _ := strings.Cut(raw, "<UploadId>")
		id, _, ok := strings.Cut(after, "</UploadId>")
		if !ok {
			t.Fatalf("got %s", raw)
		}
		return url.QueryEscape(id)
	}
	part := func(id string, number int, body string) {
		if status, raw := askS3(t, s, http.MethodPut, fmt.Sprintf("/archive/k?partNumber=%d&uploadId=%s", number, id), body, nil, nil); status != http.StatusOK {
			t.Fatalf("part %d: %d %s", number, status, raw)
		}
	}
	etag := func(body string) string {
		var b blob
		b.add([]byte(body))
		return s3ETag(b)
	}
	complete := func(id string, parts ...string) string {
		var list bytes.Buffer
		for i := 0; i < len(parts); i += 2 {
			fmt.Fprintf(&list, "<Part><PartNumber>%s</PartNumber><ETag>%q</ETag></Part>", parts[i], etag(parts[i+1]))
		}
		_, raw := askS3(t, s, http.MethodPost, "/archive/k?uploadId="+id, "<CompleteMultipartUpload>"+list.String()+"</CompleteMultipartUpload>", nil, nil)
		return raw
	}
	id := begin()
	part(id, 1, "0123456789")
	part(id, 2, "short")
	part(id, 3, "last")
	for want, parts := range map[string][]string{
		"MalformedXML": nil, "InvalidPart": {"1", "other"}, "InvalidPartOrder": {"1", "0123456789", "1", "0123456789"}, "EntityTooSmall": {"1", "0123456789", "2", "short", "3", "last"},
	} {
		if raw := complete(id, parts...); !strings.Contains(raw, want) {
			t.Errorf("%q: got %s, want %s", parts, raw, want)
		}
	}
	if n := len(s.Objects()); n != 0 {
		t.Errorf("%d objects are visible", n)
	}
	if raw := complete(id, "1", "0123456789", "3", "last"); !strings.Contains(raw, "-2") {
		t.Errorf("got %s", raw)
	}
	if got := string(s.Objects()["k"]); got != "0123456789last" {
		t.Errorf("got %q", got)
	}
	if raw := complete(id, "1", "0123456789"); !strings.Contains(raw, "NoSuchUpload") {
		t.Errorf("again: got %s", raw)
	}
}

// TestS3Oddities shows what servers do otherwise than Amazon's, as far as a driver's tests do not.
func TestS3Oddities(t *testing.T) {
	put := func(s *S3, path string, before func(r *http.Request)) string {
		t.Helper()
		_, raw := askS3(t, s, http.MethodPut, path, "0123456789", before, nil)
		return raw
	}
	s := NewS3(t, &S3Options{ResolvesDots: true, DropsFirstSlash: true, HidesChildren: true, IgnoresRange: true, Classes: []string{"*"}})
	for _, path := range []string{"/archive/a/../b", "/archive//c", "/archive/c/d"} {
		if raw := put(s, path, nil); raw != "" {
			t.Errorf("%s: %s", path, raw)
		}
	}
	if got := s.Objects(); len(got) != 3 || got["b"] == nil || got["c"] == nil {
		t.Errorf("got %q", got)
	}
	if _, raw := askS3(t, s, http.MethodGet, "/archive?list-type=2", "", nil, nil); !strings.Contains(raw, "<Key>c</Key>") || strings.Contains(raw, "c/d") {
		t.Errorf("the listing is %s", raw)
	}
	get := func(s *S3) (int, string) {
		return askS3(t, s, http.MethodGet, "/archive/b", "", func(r *http.Request) { r.Header.Set("Range", "bytes=3-4") }, nil)
	}
	if status, raw := get(s); status != http.StatusOK || raw != "0123456789" {
		t.Errorf("a range: got %d %s", status, raw)
	}
	s = NewS3(t, nil)
	put(s, "/archive/b", nil)
	if status, raw := get(s); status != http.StatusPartialContent || raw != "34" {
		t.Errorf("a range: got %d %s", status, raw)
	}
	if _, refusal := s.describe(&s3Request{Request: &http.Request{Header: http.Header{"X-Amz-Meta-A": {"é"}}}}); refusal == nil || refusal.status != http.StatusInternalServerError {
		t.Errorf("metadata that is not ASCII: got %+v", refusal)
	}
	for class, known := range map[string]bool{"GLACIER": true, "NEVER_HEARD_OF": false} {
		if _, refusal := s.describe(&s3Request{Request: &http.Request{Header: http.Header{"X-Amz-Storage-Class": {class}}}}); (refusal == nil) != known {
			t.Errorf("%s: got %+v", class, refusal)
		}
	}
}
