package objecttest

import (
	"crypto/md5" //nolint:gosec // the digest of ETag and Content-MD5
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// s3MaxPut is the largest body of one request.
const s3MaxPut = 5 << 30

// receive reads a request's body and holds it against all digests that the request gives.
func (s *S3) receive(r *s3Request) (blob, *s3Error) {
	want := r.Header.Get("X-Amz-Content-Sha256")
	switch {
	case r.ContentLength < 0:
		return blob{}, s3Refuse(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	case strings.HasPrefix(want, "STREAMING-") || r.Header.Get("Content-Encoding") == "aws-chunked":
		return blob{}, s3Refuse(http.StatusNotImplemented, "NotImplemented", "A header you provided implies functionality that is not implemented")
	case r.ContentLength > s3MaxPut:
		return blob{}, s3Refuse(http.StatusBadRequest, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
	}
	sha, sum, crc := sha256.New(), md5.New(), crc32.NewIEEE() //nolint:gosec // as above
	data, err := readBlob(r.Body, io.MultiWriter(sha, sum, crc))
	if err != nil || data.size != r.ContentLength {
		return blob{}, s3Refuse(http.StatusBadRequest, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header")
	}
	if want != "UNSIGNED-PAYLOAD" && want != "" && want != hex.EncodeToString(sha.Sum(nil)) {
		return blob{}, s3Refuse(http.StatusBadRequest, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	if text := r.Header.Get("Content-Md5"); text != "" {
		given, err := base64.StdEncoding.DecodeString(text)
		switch {
		case err != nil || len(given) != md5.Size:
			return blob{}, s3Refuse(http.StatusBadRequest, "InvalidDigest", "The Content-MD5 you specified is not valid.")
		case string(given) != string(sum.Sum(nil)):
			return blob{}, s3Refuse(http.StatusBadRequest, "BadDigest", "The Content-MD5 you specified did not match what we received.")
		}
	}
	if text := r.Header.Get("X-Amz-Checksum-Crc32"); text != "" && text != base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc.Sum32())) {
		return blob{}, s3Refuse(http.StatusBadRequest, "BadDigest", "The CRC32 you specified did not match the calculated checksum.")
	}
	return data, nil
}

func s3ETag(b blob) string {
	sum := md5.New() //nolint:gosec // as above
	_, _ = io.Copy(sum, b.reader(0, b.size))
	return hex.EncodeToString(sum.Sum(nil))
}

// tag is s3ETag, and remembers that of zeros: large objects of tests are made of them.
func (s *S3) tag(b blob) string {
	if len(b.runs) != 1 || b.runs[0].data != nil {
		return s3ETag(b)
	}
	s.tags.Lock()
	defer s.tags.Unlock()
	if s.zeroTags == nil {
		s.zeroTags = make(map[int64]string)
	}
	if s.zeroTags[b.size] == "" {
		s.zeroTags[b.size] = s3ETag(b)
	}
	return s.zeroTags[b.size]
}

// describe reads the headers that say what an object is to be.
func (s *S3) describe(r *s3Request) (o s3Object, refusal *s3Error) {
	h := r.Header
	o = s3Object{contentType: h.Get("Content-Type"), cache: h.Get("Cache-Control"), meta: make(map[string]string), class: h.Get("X-Amz-Storage-Class")}
	size := 0
	for name := range h {
		if short, ok := strings.CutPrefix(strings.ToLower(name), "x-amz-meta-"); ok {
			o.meta[short] = strings.Join(h.Values(name), ",")
			if strings.ContainsFunc(o.meta[short], func(r rune) bool { return r > unicode.MaxASCII }) {
				return o, s3Refuse(http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again.") // as some servers do
			}
			size += len(short) + len(o.meta[short])
		}
	}
	if size > 2048 {
		return o, s3Refuse(http.StatusBadRequest, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size")
	}
	if o.class != "" && !slices.Contains(s.opts.Classes, o.class) && !slices.Contains(s.opts.Classes, "*") {
		return o, s3Refuse(http.StatusBadRequest, "InvalidStorageClass", "The storage class you specified is not valid")
	}
	o.sse, o.kmsKey = h.Get("X-Amz-Server-Side-Encryption"), h.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id")
	switch {
	case o.sse == "", o.sse == "AES256" && o.kmsKey == "":
	case o.sse != "aws:kms":
		return o, s3Refuse(http.StatusBadRequest, "InvalidEncryptionAlgorithmError", "The encryption request you specified is not valid")
	case s.opts.KMSKeys == nil:
		return o, s3Refuse(http.StatusNotImplemented, "KMSNotConfigured", "Server side encryption specified but KMS is not configured")
	case o.kmsKey == "":
		o.kmsKey = s.opts.KMSKeys[0]
	case !slices.Contains(s.opts.KMSKeys, o.kmsKey):
		return o, s3Refuse(http.StatusBadRequest, "KMS.NotFoundException", "Invalid keyId "+o.kmsKey)
	}
	refusal = s.describeLock(r, &o)
	return o, refusal
}

func (s *S3) putObject(w http.ResponseWriter, r *s3Request) *s3Error {
	o, refusal := s.describe(r)
	if refusal != nil {
		return refusal
	}
	if (o.mode != "" || o.hold) && r.Header.Get("Content-Md5") == "" && r.Header.Get("X-Amz-Checksum-Crc32") == "" {
		return s3Refuse(http.StatusBadRequest, "InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters")
	}
	if o.data, refusal = s.receive(r); refusal != nil {
		return refusal
	}
	o.etag = s3ETag(o.data)
	if o.sse == "aws:kms" {
		o.etag = strings.ToLower(rand.Text()) // no MD5 of anything
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if refusal := s.free(r, s.opts.Conditions == S3Obeyed || s.opts.Conditions == S3CreateOnly); refusal != nil {
		return refusal
	}
	stored := s.store(r.key, o)
	w.Header().Set("ETag", `"`+stored.etag+`"`)
	stored.answer(w.Header(), false)
	return nil
}

// free checks the condition that nothing is under the key. The caller holds s.mu.
func (s *S3) free(r *s3Request, obeyed bool) *s3Error {
	switch condition := r.Header.Get("If-None-Match"); {
	case condition == "":
		return nil
	case s.opts.Conditions == S3Refused:
		return &s3Error{status: http.StatusNotImplemented, code: "NotImplemented", message: "A header you provided implies functionality that is not implemented", inside: "<Header>If-None-Match</Header>"}
	case condition != "*":
		return s3Refuse(http.StatusNotImplemented, "NotImplemented", "only * is implemented")
	}
	if _, taken := s.current.get(r.key); taken && obeyed {
		return s3Refuse(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	}
	return nil
}

// answer sets the headers that belong to an object; with all of them, those of GET and HEAD.
func (o *s3Object) answer(h http.Header, all bool) {
	set := func(name, value string) {
		if value != "" {
			h.Set(name, value)
		}
	}
	set("X-Amz-Version-Id", o.version)
	set("X-Amz-Server-Side-Encryption", o.sse)
	set("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", o.kmsKey)
	if !all {
		return
	}
	set("ETag", `"`+o.etag+`"`)
	set("Content-Type", o.contentType)
	set("Cache-Control", o.cache)
	set("Last-Modified", o.modified.UTC().Format(http.TimeFormat))
	if o.class != "STANDARD" {
		set("X-Amz-Storage-Class", o.class)
	}
	for name, value := range o.meta {
		set("X-Amz-Meta-"+name, value)
	}
	set("X-Amz-Object-Lock-Mode", o.mode)
	if !o.until.IsZero() {
		set("X-Amz-Object-Lock-Retain-Until-Date", o.until.UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	if o.hold {
		set("X-Amz-Object-Lock-Legal-Hold", "ON")
	}
	switch o.restore {
	case "pending":
		set("X-Amz-Restore", `ongoing-request="true"`)
	case "done":
		set("X-Amz-Restore", fmt.Sprintf(`ongoing-request="false", expiry-date=%q`, o.restoreTo.UTC().Format(http.TimeFormat)))
	}
}

// find returns what a request is for: the newest version, or the one that it names. The caller holds s.mu.
func (s *S3) find(r *s3Request) (*s3Object, *s3Error) {
	id := r.URL.Query().Get("versionId")
	if id == "" {
		if o, ok := s.current.get(r.key); ok {
			return o, nil
		}
		e := s3Refuse(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
		if all := s.versions[r.key]; len(all) > 0 {
			e.header = map[string]string{"X-Amz-Delete-Marker": "true", "X-Amz-Version-Id": all[len(all)-1].version}
		}
		return nil, e
	}
	for _, o := range s.versions[r.key] {
		if o.version == id && !o.marker {
			return o, nil
		}
	}
	return nil, s3Refuse(http.StatusNotFound, "NoSuchVersion", "The specified version does not exist.")
}

func (s *S3) getObject(w http.ResponseWriter, r *s3Request) *s3Error {
	s.mu.Lock()
	found, refusal := s.find(r)
	var o s3Object
	if refusal == nil {
		o = *found // s.mu guards it
	}
	s.mu.Unlock()
	switch {
	case refusal != nil:
		return refusal
	case r.Header.Get("If-Match") != "" && strings.Trim(r.Header.Get("If-Match"), `"`) != o.etag:
		return s3Refuse(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	case r.Method == http.MethodGet && (o.class == "GLACIER" || o.class == "DEEP_ARCHIVE") && (o.restore != "done" || o.restoreTo.Before(s.Now())):
		return s3Refuse(http.StatusForbidden, "InvalidObjectState", "The operation is not valid for the object's storage class")
	}
	o.answer(w.Header(), true)
	w.Header().Set("Accept-Ranges", "bytes")
	offset, size, status := int64(0), o.data.size, http.StatusOK
	if text := r.Header.Get("Range"); text != "" && !s.opts.IgnoresRange {
		var ok bool
		if offset, size, ok = s3Range(text, o.data.size); !ok {
			return &s3Error{
				status: http.StatusRequestedRangeNotSatisfiable, code: "InvalidRange", message: "The requested range is not satisfiable",
				header: map[string]string{"Content-Range": fmt.Sprintf("bytes */%d", o.data.size)},
			}
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", offset, offset+size-1, o.data.size))
		status = http.StatusPartialContent
	}
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	w.WriteHeader(status)
	if r.Method == http.MethodGet {
		_, _ = io.Copy(w, o.data.reader(offset, size)) // the client has gone
	}
	return nil
}

// s3Range reads "bytes=first-last" or "bytes=first-".
func s3Range(text string, size int64) (offset, n int64, ok bool) {
	first, last, _ := strings.Cut(strings.TrimPrefix(text, "bytes="), "-")
	offset, err := strconv.ParseInt(first, 10, 64)
	if err != nil || offset >= size {
		return 0, 0, false
	}
	end := size - 1
	if last != "" {
		if end, err = strconv.ParseInt(last, 10, 64); err != nil || end < offset {
			return 0, 0, false
		}
	}
	return offset, min(end, size-1) - offset + 1, true
}

// source finds what x-amz-copy-source names. The caller holds s.mu.
func (s *S3) source(r *s3Request) (*s3Object, *s3Error) {
	name, err := url.PathUnescape(r.Header.Get("X-Amz-Copy-Source"))
	bucket, key, ok := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	if err != nil || !ok || bucket != s.opts.Bucket {
		return nil, s3Refuse(http.StatusBadRequest, "InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
	}
	from, refusal := s.find(&s3Request{Request: &http.Request{URL: &url.URL{}}, key: key})
	if refusal != nil {
		return nil, refusal
	}
	if want := r.Header.Get("X-Amz-Copy-Source-If-Match"); want != "" && strings.Trim(want, `"`) != from.etag {
		return nil, s3Refuse(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	}
	if (from.class == "GLACIER" || from.class == "DEEP_ARCHIVE") && from.restore != "done" {
		return nil, s3Refuse(http.StatusForbidden, "InvalidObjectState", "The source object of the COPY operation is not in the active tier")
	}
	return from, nil
}

type s3CopyResult struct {
	XMLName      xml.Name
	ETag         string
	LastModified string
}

func (s *S3) copyObject(w http.ResponseWriter, r *s3Request) *s3Error {
	o, refusal := s.describe(r)
	if refusal != nil {
		return refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	from, refusal := s.source(r)
	if refusal != nil {
		return refusal
	}
	if from.data.size > s3MaxPut {
		return s3Refuse(http.StatusBadRequest, "InvalidRequest", "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120")
	}
	if refusal := s.free(r, s.opts.Conditions == S3Obeyed); refusal != nil {
		return refusal
	}
	if r.Header.Get("X-Amz-Metadata-Directive") != "REPLACE" {
		if current, ok := s.current.get(r.key); ok && current == from && o.class == "" && o.sse == "" {
			return s3Refuse(http.StatusBadRequest, "InvalidRequest", "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata")
		}
		o.meta, o.contentType = maps.Clone(from.meta), from.contentType
	}
	o.data, o.etag = from.data, s3ETag(from.data)
	stored := s.store(r.key, o)
	stored.answer(w.Header(), false)
	answerXML(w, s3CopyResult{XMLName: xml.Name{Local: "CopyObjectResult"}, ETag: `"` + stored.etag + `"`, LastModified: s3Time(stored.modified)})
	return nil
}

func s3Time(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
