package objecttest

import (
	"encoding/xml"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
)

// An s3Request is a request whose sender is known.
type s3Request struct {
	*http.Request
	op  string
	key string
}

// An s3Operation is something that a client may ask for.
type s3Operation struct {
	method  string
	object  bool     // of a key, else of the bucket
	marks   []string // parameters by which the operation is known, or headers, with a capital letter
	params  []string // further parameters that it knows
	headers []string // further headers "x-amz-" that it knows
	serve   func(s *S3, w http.ResponseWriter, r *s3Request) *s3Error
}

// Headers of several operations.
var (
	s3LockHeaders = []string{"object-lock-mode", "object-lock-retain-until-date", "object-lock-legal-hold"}
	s3PutHeaders  = append([]string{"storage-class", "server-side-encryption", "server-side-encryption-aws-kms-key-id", "meta-*"}, s3LockHeaders...)
	s3CopyHeaders = append([]string{"copy-source", "copy-source-if-match", "metadata-directive"}, s3PutHeaders...)
)

// s3Operations returns what there is, by name.
func s3Operations() map[string]s3Operation {
	const get, put, post, del, head = http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodHead
	version := []string{"versionId"}
	return map[string]s3Operation{
		"HeadBucket":                 {method: head, serve: (*S3).headBucket},
		"ListObjectsV2":              {method: get, marks: []string{"list-type"}, params: []string{"prefix", "delimiter", "start-after", "continuation-token", "max-keys", "encoding-type", "fetch-owner"}, serve: (*S3).listObjects},
		"ListMultipartUploads":       {method: get, marks: []string{"uploads"}, params: []string{"prefix", "key-marker", "upload-id-marker", "max-uploads", "encoding-type"}, serve: (*S3).listUploads},
		"ListObjectVersions":         {method: get, marks: []string{"versions"}, params: []string{"prefix", "key-marker", "version-id-marker", "max-keys", "encoding-type"}, serve: (*S3).listVersions},
		"GetBucketVersioning":        {method: get, marks: []string{"versioning"}, serve: (*S3).getVersioning},
		"GetObjectLockConfiguration": {method: get, marks: []string{"object-lock"}, serve: (*S3).getLockConfiguration},
		"DeleteObjects":              {method: post, marks: []string{"delete"}, headers: []string{"checksum-crc32", "sdk-checksum-algorithm", "bypass-governance-retention"}, serve: (*S3).deleteObjects},

		"HeadObject":         {method: head, object: true, params: version, serve: (*S3).getObject},
		"GetObject":          {method: get, object: true, params: version, headers: []string{"checksum-mode"}, serve: (*S3).getObject},
		"PutObject":          {method: put, object: true, headers: append([]string{"checksum-crc32", "sdk-checksum-algorithm"}, s3PutHeaders...), serve: (*S3).putObject},
		"CopyObject":         {method: put, object: true, marks: []string{"X-Amz-Copy-Source"}, headers: s3CopyHeaders, serve: (*S3).copyObject},
		"DeleteObject":       {method: del, object: true, params: version, headers: []string{"bypass-governance-retention"}, serve: (*S3).deleteObject},
		"RestoreObject":      {method: post, object: true, marks: []string{"restore"}, params: version, headers: []string{"checksum-crc32", "sdk-checksum-algorithm"}, serve: (*S3).restoreObject},
		"GetObjectRetention": {method: get, object: true, marks: []string{"retention"}, params: version, serve: (*S3).getRetention},
		"PutObjectRetention": {method: put, object: true, marks: []string{"retention"}, params: version, headers: []string{"checksum-crc32", "sdk-checksum-algorithm", "bypass-governance-retention"}, serve: (*S3).putRetention},
		"PutObjectLegalHold": {method: put, object: true, marks: []string{"legal-hold"}, params: version, headers: []string{"checksum-crc32", "sdk-checksum-algorithm"}, serve: (*S3).putLegalHold},

		"CreateMultipartUpload":   {method: post, object: true, marks: []string{"uploads"}, headers: s3PutHeaders, serve: (*S3).createUpload},
		"UploadPart":              {method: put, object: true, marks: []string{"uploadId", "partNumber"}, headers: []string{"checksum-crc32", "sdk-checksum-algorithm"}, serve: (*S3).uploadPart},
		"UploadPartCopy":          {method: put, object: true, marks: []string{"uploadId", "partNumber", "X-Amz-Copy-Source"}, headers: []string{"copy-source", "copy-source-range", "copy-source-if-match"}, serve: (*S3).uploadPartCopy},
		"ListParts":               {method: get, object: true, marks: []string{"uploadId"}, params: []string{"max-parts", "part-number-marker"}, serve: (*S3).listParts},
		"CompleteMultipartUpload": {method: post, object: true, marks: []string{"uploadId"}, serve: (*S3).completeUpload},
		"AbortMultipartUpload":    {method: del, object: true, marks: []string{"uploadId"}, serve: (*S3).abortUpload},
	}
}

func (s *S3) operations() []string { return slices.Sorted(maps.Keys(s3Operations())) }

// operation finds the operation with the most marks that r bears.
func (s *S3) operation(r *http.Request) string {
	_, key, _ := s.address(r)
	best, marks := "", -1
	query := r.URL.Query()
	for name, op := range s3Operations() {
		if op.method != r.Method || op.object != (key != "") || len(op.marks) <= marks {
			continue
		}
		if !slices.ContainsFunc(op.marks, func(mark string) bool {
			return !query.Has(mark) && r.Header.Get(mark) == ""
		}) {
			best, marks = name, len(op.marks)
		}
	}
	return best
}

// address returns the bucket and the key that r is for.
func (s *S3) address(r *http.Request) (bucket, key string, ok bool) {
	rest := strings.TrimPrefix(r.URL.Path, "/")
	if host, _, _ := strings.Cut(r.Host, ":"); strings.HasPrefix(host, s.opts.Bucket+".") {
		return s.opts.Bucket, rest, true
	}
	bucket, key, _ = strings.Cut(rest, "/")
	return bucket, key, bucket != ""
}

// always are the headers of every request.
var s3Always = []string{"date", "content-sha256", "security-token", "user-agent", "expected-bucket-owner"}

func (s *S3) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.serial++
	w.Header().Set("X-Amz-Request-Id", strconv.Itoa(s.serial))
	s.mu.Unlock()
	w.Header().Set("Server", "objecttest")
	req := &s3Request{Request: r, op: s.operation(r)}
	refusal := s.admit(req)
	if refusal == nil {
		refusal = s3Operations()[req.op].serve(s, w, req)
	}
	if refusal != nil {
		refuseS3(w, r, refusal)
		return
	}
	w.WriteHeader(http.StatusOK) // where the operation has said nothing
}

// admit checks everything about a request but what its operation is about.
func (s *S3) admit(r *s3Request) *s3Error {
	if refusal := s.authorize(r.Request); refusal != nil {
		return refusal
	}
	bucket, key, _ := s.address(r.Request)
	if len(bucket) < 3 || strings.ToLower(bucket) != bucket {
		return s3Refuse(http.StatusBadRequest, "InvalidBucketName", "The specified bucket is not valid.")
	}
	s.mu.Lock()
	missing, denied := bucket != s.opts.Bucket || s.noBucket, s.denied[r.op]
	s.mu.Unlock()
	switch {
	case missing:
		return s3Refuse(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
	case r.op == "":
		return s3Refuse(http.StatusNotImplemented, "NotImplemented", "A header you provided implies functionality that is not implemented")
	case denied, r.op == "GetObjectLockConfiguration" && s.opts.NoLockQuestion:
		return s3Refuse(http.StatusForbidden, "AccessDenied", "Access Denied")
	case len(key) > 1024:
		return s3Refuse(http.StatusBadRequest, "KeyTooLongError", "Your key is too long")
	}
	r.key = key
	if s.opts.ResolvesDots && key != "" {
		r.key = path.Clean(key)
	}
	if s.opts.DropsFirstSlash {
		r.key = strings.TrimLeft(r.key, "/")
	}
	return s3Known(r)
}

// s3Known refuses what the operation does not know, which a driver would believe to be obeyed.
func s3Known(r *s3Request) *s3Error {
	op := s3Operations()[r.op]
	for name := range r.URL.Query() {
		if name != "x-id" && !strings.HasPrefix(name, "X-Amz-") && !slices.Contains(op.marks, name) && !slices.Contains(op.params, name) {
			return s3Refuse(http.StatusBadRequest, "InvalidArgument", "unknown parameter "+name)
		}
	}
	for name := range r.Header {
		short, ok := strings.CutPrefix(strings.ToLower(name), "x-amz-")
		if !ok || slices.Contains(s3Always, short) || slices.Contains(op.headers, short) {
			continue
		}
		if strings.HasPrefix(short, "meta-") && slices.Contains(op.headers, "meta-*") {
			continue
		}
		return s3Refuse(http.StatusBadRequest, "InvalidArgument", "unknown header "+name)
	}
	return nil
}

// refuseS3 answers with an error. HEAD has no body to say it in.
func refuseS3(w http.ResponseWriter, r *http.Request, e *s3Error) {
	_, _ = io.Copy(io.Discard, r.Body) // the client may still be sending
	for name, value := range e.header {
		w.Header().Set(name, value)
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(e.status)
		return
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(e.status)
	_, _ = io.WriteString(w, s3Document(e)) // the client has gone
}

// s3Document returns an error as XML.
func s3Document(e *s3Error) string {
	var b strings.Builder
	b.WriteString(xml.Header + "<Error><Code>")
	_ = xml.EscapeText(&b, []byte(e.code)) // memory
	b.WriteString("</Code><Message>")
	_ = xml.EscapeText(&b, []byte(e.message)) // memory
	b.WriteString("</Message>" + e.inside + "<RequestId>1</RequestId></Error>")
	return b.String()
}

// answerXML answers 200 with a document.
func answerXML(w http.ResponseWriter, document any) {
	raw, err := xml.Marshal(document)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	raw = append([]byte(xml.Header), raw...)
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	_, _ = w.Write(raw) // the client has gone
}

// readXML reads the document of a request.
func (s *S3) readXML(r *s3Request, document any) *s3Error {
	body, refusal := s.receive(r)
	if refusal != nil {
		return refusal
	}
	if err := xml.Unmarshal(body.bytes(), document); err != nil {
		return s3Refuse(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	return nil
}
