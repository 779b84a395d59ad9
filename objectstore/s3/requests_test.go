package s3_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// TestRequestsAreFew holds each verb against the number of requests that it needs, once the bucket is known.
func TestRequestsAreFew(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	c := open(t, srv.Settings(), nil, nil)
	put(t, c, "first", []byte("x"), nil) // asks for locks, too
	put(t, c, "second", []byte("x"), &connection.PutOptions{IfAbsent: true})
	srv.ForgetRequests()
	put(t, c, "k", nil, nil)
	put(t, c, "l", bytes.Repeat([]byte("mail"), 10_000), &connection.PutOptions{IfAbsent: true})
	if _, err := c.Stat(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	get(t, c, "l")
	if err := c.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), "l", "first", "second"); err != nil {
		t.Fatal(err)
	}
	want := []string{"PutObject", "PutObject", "HeadObject", "GetObject", "DeleteObject", "DeleteObjects"}
	if got := srv.Ops(); !slices.Equal(got, want) {
		t.Errorf("got the requests %q, want %q", got, want)
	}
	if empty := srv.Requests("PutObject")[0]; empty.Length != 0 || empty.Header.Get("Content-Length") == "" {
		t.Errorf("an empty object is put with length %d and headers %v", empty.Length, empty.Header)
	}
}

// TestDigestsOnTheWire shows what guards a body: its MD5, or the signature.
func TestDigestsOnTheWire(t *testing.T) {
	body := []byte("Subject: x\r\n\r\n")
	sha, sum := sha256.Sum256(body), md5.Sum(body)
	for _, tt := range []struct {
		name, unsigned string
		cert           objecttest.Certificate
		lock           bool
		want           string
		md5            bool
	}{
		{"http", "auto", "", false, hex.EncodeToString(sha[:]), false},
		{"http, with a lock", "auto", "", true, hex.EncodeToString(sha[:]), true},
		{"http, unsigned", "always", "", false, "UNSIGNED-PAYLOAD", true},
		{"https", "auto", objecttest.CertGood, false, "UNSIGNED-PAYLOAD", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := objecttest.NewS3(t, &objecttest.S3Options{Lock: true, ServerOptions: objecttest.ServerOptions{TLS: tt.cert}})
			c := open(t, srv.Settings(), nil, map[string]any{"unsigned_payload": tt.unsigned, "single_put_limit": 1 << 20})
			put(t, c, "k", body, &connection.PutOptions{Lock: connection.Lock{LegalHold: tt.lock}})
			h := srv.Requests("PutObject")[0].Header
			if got := h.Get("X-Amz-Content-Sha256"); got != tt.want {
				t.Errorf("the signature is for %s, want %s", got, tt.want)
			}
			if got := h.Get("Content-Md5"); tt.md5 != (got == base64.StdEncoding.EncodeToString(sum[:])) || !tt.md5 && got != "" {
				t.Errorf("Content-MD5 is %q, want one: %t", got, tt.md5)
			}
			put(t, c, "large", make([]byte, 2<<20), nil)
			part := srv.Requests("UploadPart")[0].Header
			if got := part.Get("X-Amz-Content-Sha256"); (got == "UNSIGNED-PAYLOAD") != (tt.want == "UNSIGNED-PAYLOAD") {
				t.Errorf("the signature of a part is for %s", got)
			}
			if got := part.Get("Content-Md5"); (got != "") != (tt.md5 && !tt.lock) {
				t.Errorf("Content-MD5 of a part is %q", got)
			}
			for _, r := range srv.Requests() {
				if te := r.Header.Get("Transfer-Encoding"); te != "" || r.Length < 0 {
					t.Errorf("%s has no length", r.Op)
				}
				if sum := r.Header.Get("X-Amz-Sdk-Checksum-Algorithm"); sum != "" {
					t.Errorf("%s has a checksum that many servers refuse: %s", r.Op, sum)
				}
			}
		})
	}
}

// TestSettingsAreObeyedOnEveryWrite looks at the headers of puts, uploads and copies.
func TestSettingsAreObeyedOnEveryWrite(t *testing.T) {
	srv := objecttest.NewS3(t, &objecttest.S3Options{KMSKeys: []string{"key-1", "key-2"}, Lock: true, SessionToken: "token of a session"})
	c := open(t, srv.Settings(), nil, map[string]any{
		"encryption": "aws:kms", "kms_key": "key-2", "storage_class": "STANDARD_IA", "retention_mode": "compliance", "single_put_limit": 1 << 20,
	})
	until := time.Now().Add(time.Hour)
	lock := connection.Lock{RetainUntil: until, LegalHold: true}
	put(t, c, "k", []byte("mail"), &connection.PutOptions{Lock: lock})
	put(t, c, "large", make([]byte, 2<<20), &connection.PutOptions{Lock: lock})
	if _, err := c.Copy(t.Context(), "copy", "k", &connection.PutOptions{Lock: lock}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Copy(t.Context(), "copy2", "k", &connection.PutOptions{Lock: lock, IfAbsent: true}); err != nil {
		t.Fatal(err)
	}
	writes := srv.Requests("PutObject", "CreateMultipartUpload", "CopyObject")
	if len(writes) != 4 {
		t.Fatalf("got %d writes, want 4", len(writes))
	}
	for _, r := range writes {
		for name, want := range map[string]string{
			"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "key-2", "X-Amz-Storage-Class": "STANDARD_IA",
			"X-Amz-Object-Lock-Mode": "COMPLIANCE", "X-Amz-Object-Lock-Legal-Hold": "ON",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", r.Op, name, got, want)
			}
		}
		got, err := time.Parse(time.RFC3339, r.Header.Get("X-Amz-Object-Lock-Retain-Until-Date"))
		if err != nil || got.Before(until) || got.After(until.Add(time.Second)) {
			t.Errorf("%s: retained until %s, want %s or a second more", r.Op, got, until)
		}
	}
	info, err := c.Stat(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	if info.Class != "STANDARD_IA" || !info.Lock.LegalHold || info.Lock.RetainUntil.Before(until) {
		t.Errorf("Stat gives %+v", info)
	}
	// The ETag of what a key service encrypts is no MD5 (E76).
	if got := get(t, c, "k"); string(got) != "mail" {
		t.Errorf("got %q", got)
	}
}

// TestListingsAreDecoded takes keys that need escapes through listings of every kind (E8, E20, E22).
func TestListingsAreDecoded(t *testing.T) {
	for name, opts := range map[string]objecttest.S3Options{
		"url": {PageSize: 4}, "plain": {PageSize: 4, PlainListing: true}, "empty pages": {PageSize: 4, EmptyPages: true},
	} {
		t.Run(name, func(t *testing.T) {
			srv := objecttest.NewS3(t, &opts)
			c := open(t, srv.Settings(), nil, nil)
			keys := []string{"a b", "a+b", "a%2Bb", "a%20b", "dir/x?y", "dir/x&y", "dir/é", "dir#", "z\U0001F4E7"}
			foreign := []string{"/lead", "dir//x", "e/../f"}
			if name == "url" {
				foreign = append(foreign, "ctl\x01", "new\nline") // which XML cannot hold (E8)
			}
			for _, key := range keys {
				put(t, c, key, []byte("x"), nil)
			}
			for _, key := range foreign {
				srv.Plant(key, []byte("x"))
			}
			want := append(slices.Clone(keys), foreign...)
			slices.Sort(want)
			var got []string
			for info, err := range c.List(t.Context(), nil) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, info.Key)
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			got = nil
			for info, err := range c.List(t.Context(), &connection.ListOptions{Prefix: "dir/x", Delimiter: "&"}) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprint(info.Key, info.Prefix))
			}
			if want := []string{"dir/x&true", "dir/x?yfalse"}; !slices.Equal(got, want) {
				t.Errorf("with a delimiter: got %q, want %q", got, want)
			}
		})
	}
}

// TestPresignedURLs stores and reads by URLs, until they expire.
func TestPresignedURLs(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	c := open(t, srv.Settings(), nil, nil)
	url, err := c.Presign(t.Context(), http.MethodPut, "a b/é", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if status, raw := fetch(t, http.MethodPut, url.Reveal(), "mail"); status != http.StatusOK {
		t.Fatalf("got %d %s", status, raw)
	}
	if got := get(t, c, "a b/é"); string(got) != "mail" {
		t.Errorf("got %q", got)
	}
	url, err = c.Presign(t.Context(), http.MethodGet, "a b/é", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if status, raw := fetch(t, http.MethodGet, url.Reveal(), ""); status != http.StatusOK || string(raw) != "mail" {
		t.Errorf("got %d %s", status, raw)
	}
	if status, _ := fetch(t, http.MethodPut, url.Reveal(), "other"); status != http.StatusForbidden {
		t.Errorf("the URL for GET puts: %d", status)
	}
	srv.Skew(2 * time.Minute)
	if status, raw := fetch(t, http.MethodGet, url.Reveal(), ""); status != http.StatusForbidden || !strings.Contains(string(raw), "expired") {
		t.Errorf("after its end: got %d %s", status, raw)
	}
	_, err = c.Presign(t.Context(), http.MethodGet, "k", 8*24*time.Hour)
	wantKind(t, "8 days", err, connection.ErrInvalid)
}
