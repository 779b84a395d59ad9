package objecttest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A b2Error is an error as the service tells it.
type b2Error struct {
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

func b2Bad(format string, args ...any) *b2Error {
	return &b2Error{http.StatusBadRequest, "bad_request", fmt.Sprintf(format, args...)}
}

// A b2Call is an operation that takes JSON and answers with JSON.
type b2Call struct {
	capability string
	run        func(b *B2, body []byte) (any, *b2Error)
}

// b2Calls are the operations that take JSON.
var b2Calls = map[string]b2Call{
	"b2_list_buckets":                {"listBuckets", (*B2).listBuckets},
	"b2_get_upload_url":              {"writeFiles", (*B2).getUploadURL},
	"b2_get_upload_part_url":         {"writeFiles", (*B2).getUploadPartURL},
	"b2_start_large_file":            {"writeFiles", (*B2).startLargeFile},
	"b2_finish_large_file":           {"writeFiles", (*B2).finishLargeFile},
	"b2_cancel_large_file":           {"writeFiles", (*B2).cancelLargeFile},
	"b2_list_unfinished_large_files": {"listFiles", (*B2).listUnfinished},
	"b2_list_parts":                  {"writeFiles", (*B2).listParts},
	"b2_list_file_names":             {"listFiles", (*B2).listNames},
	"b2_list_file_versions":          {"listFiles", (*B2).listVersions},
	"b2_get_file_info":               {"readFiles", (*B2).getFileInfo},
	"b2_delete_file_version":         {"deleteFiles", (*B2).deleteVersion},
	"b2_hide_file":                   {"writeFiles", (*B2).hideFile},
	"b2_copy_file":                   {"writeFiles", (*B2).copyFile},
	"b2_get_download_authorization":  {"shareFiles", (*B2).downloadAuthorization},
	"b2_update_file_retention":       {"writeFileRetentions", (*B2).updateRetention},
	"b2_update_file_legal_hold":      {"writeFileLegalHolds", (*B2).updateLegalHold},
}

// serve implements provider.
func (b *B2) serve(w http.ResponseWriter, r *http.Request) {
	op := b.operation(r)
	var reply any
	var e *b2Error
	switch call, ok := b2Calls[op]; {
	case ok:
		reply, e = b.call(r, call)
	case op == "b2_authorize_account":
		reply, e = b.authorize(r)
	case op == "b2_upload_file", op == "b2_upload_part":
		reply, e = b.upload(r, op)
	case op == "b2_download_file_by_name":
		if e = b.download(w, r); e == nil {
			return
		}
	default:
		e = &b2Error{http.StatusMethodNotAllowed, "method_not_allowed", "there is no such operation"}
	}
	status := http.StatusOK
	if e != nil {
		reply, status = e, e.Status
	}
	raw, err := json.Marshal(reply)
	if err != nil {
		panic(err) // of our own types
	}
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(raw) // the client has gone
	}
}

func (b *B2) can(capability string) bool { return slices.Contains(b.opts.Capabilities, capability) }

// authorize is b2_authorize_account.
func (b *B2) authorize(r *http.Request) (any, *b2Error) {
	id, key, ok := r.BasicAuth()
	if !ok || id != b.opts.KeyID || key != b.opts.Key {
		return nil, &b2Error{http.StatusUnauthorized, "unauthorized", ""}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	token := "4_" + b2Random(20)
	b.tokens[token] = true
	storage := map[string]any{
		"apiUrl": b.URL(), "downloadUrl": b.URL(), "s3ApiUrl": b.URL(), "storageApi": "storageApi", "capabilities": b.opts.Capabilities,
		"absoluteMinimumPartSize": b2MinPart, "recommendedPartSize": 100_000_000, "bucketId": nil, "bucketName": nil, "namePrefix": nil,
	}
	if b.opts.NamePrefix != "" {
		storage["namePrefix"] = b.opts.NamePrefix
	}
	return map[string]any{
		"accountId": b.opts.KeyID[:min(12, len(b.opts.KeyID))], "authorizationToken": token,
		"apiInfo": map[string]any{"storageApi": storage}, "applicationKeyExpirationTimestamp": nil,
	}, nil
}

// admit checks an account token.
func (b *B2) admit(token, capability string) *b2Error {
	switch valid, known := b.tokens[token]; {
	case !known:
		return &b2Error{http.StatusUnauthorized, "bad_auth_token", "Invalid authorization token"}
	case !valid:
		return &b2Error{http.StatusUnauthorized, "expired_auth_token", "Authorization token has expired"}
	case !b.can(capability):
		return &b2Error{http.StatusUnauthorized, "unauthorized", "unauthorized: needs " + capability}
	}
	return nil
}

// call runs an operation that takes JSON.
func (b *B2) call(r *http.Request, c b2Call) (any, *b2Error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return nil, b2Bad("the body broke off")
	}
	if name, ok := b2Stranger(r.Header); ok {
		return nil, b2Bad("unknown header %s", name)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.admit(r.Header.Get("Authorization"), c.capability); e != nil {
		return nil, e
	}
	return c.run(b, body)
}

// b2Stranger returns a header of B2's that is not known among those given.
func b2Stranger(h http.Header, known ...string) (string, bool) {
	for name := range h {
		if strings.HasPrefix(name, "X-B") && !strings.HasPrefix(name, "X-Bz-Info-") && !slices.Contains(known, name) {
			return name, true
		}
	}
	return "", false
}

// b2Read reads the JSON of a request, without fields that are not known.
func b2Read(body []byte, into any) *b2Error {
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return b2Bad("%v", err)
	}
	return nil
}

// inBucket checks an ID of a bucket.
func (b *B2) inBucket(id string) *b2Error {
	if b.gone || id != b.bucketID {
		return &b2Error{http.StatusBadRequest, "bad_bucket_id", "Bucket " + id + " does not exist"}
	}
	return nil
}

// checkName checks the name of a file.
func (b *B2) checkName(name string) *b2Error {
	bad := func(why string) *b2Error { return b2Bad("File name %s", why) }
	switch {
	case name == "" || len(name) > 1024:
		return bad("must have 1 to 1024 bytes")
	case strings.HasPrefix(name, "/"), strings.HasSuffix(name, "/"), strings.Contains(name, "//"):
		return bad("must not start or end with / or contain //")
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return bad("must not contain control characters")
	case !strings.HasPrefix(name, b.opts.NamePrefix):
		return &b2Error{http.StatusUnauthorized, "unauthorized", "the key is restricted to other names"}
	}
	for segment := range strings.SplitSeq(name, "/") {
		if len(segment) > b.opts.SegmentLimit {
			return bad(fmt.Sprintf("segment too long: must have %d or fewer bytes", b.opts.SegmentLimit))
		}
	}
	return nil
}

func (b *B2) listBuckets(body []byte) (any, *b2Error) {
	var in struct {
		AccountID string   `json:"accountId"`
		ID        string   `json:"bucketId"`
		Name      string   `json:"bucketName"`
		Types     []string `json:"bucketTypes"`
	}
	if e := b2Read(body, &in); e != nil {
		return nil, e
	}
	buckets := []any{}
	other := map[string]any{"bucketId": b2Random(12), "bucketName": "another", "bucketType": "allPrivate", "bucketInfo": map[string]string{}, "lifecycleRules": []any{}, "revision": 1}
	if !b.gone {
		lock := map[string]any{"isClientAuthorizedToRead": b.can("readBucketRetentions"), "value": nil}
		if b.can("readBucketRetentions") {
			retention := map[string]any{"mode": nil, "period": nil}
			if b.opts.Retention > 0 {
				retention = map[string]any{"mode": "governance", "period": map[string]any{"duration": 1, "unit": "days"}}
			}
			lock["value"] = map[string]any{"isFileLockEnabled": b.opts.FileLock, "defaultRetention": retention}
		}
		buckets = append(buckets, map[string]any{
			"bucketId": b.bucketID, "bucketName": b.opts.Bucket, "bucketType": "allPrivate", "bucketInfo": map[string]string{},
			"lifecycleRules": []any{}, "revision": 1, "fileLockConfiguration": lock,
		})
	}
	return map[string]any{"buckets": append(buckets, other)}, nil
}

func (b *B2) downloadAuthorization(body []byte) (any, *b2Error) {
	var in struct {
		BucketID string `json:"bucketId"`
		Prefix   string `json:"fileNamePrefix"`
		Seconds  int64  `json:"validDurationInSeconds"`
	}
	if e := b2Read(body, &in); e != nil {
		return nil, e
	}
	if e := b.inBucket(in.BucketID); e != nil {
		return nil, e
	}
	if in.Seconds < 1 || in.Seconds > 604800 {
		return nil, b2Bad("validDurationInSeconds must be 1 to 604800")
	}
	token := "3_" + b2Random(20)
	b.shares[token] = b2Share{in.Prefix, b.Now().Add(time.Duration(in.Seconds) * time.Second)}
	return map[string]any{"bucketId": in.BucketID, "fileNamePrefix": in.Prefix, "authorizationToken": token}, nil
}
