package objecttest

import (
	"crypto/sha1" //nolint:gosec // the protocol's choice
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	b2MinPart  = 5_000_000
	b2MaxFile  = 5_000_000_000
	b2MaxParts = 10_000
	b2MaxInfo  = 10
)

// slot makes an upload URL.
func (b *B2) slot(op, file string) (any, *b2Error) {
	token := "5_" + b2Random(20)
	b.uploads[token] = &b2Slot{file: file}
	base := b.URL()
	if b.given++; b.opts.DeadUploads < 0 || b.given <= b.opts.DeadUploads {
		base = "http://" + b.dead
		if b.CAPEM() != "" {
			base = "https://" + b.dead
		}
	}
	answer := map[string]any{"uploadUrl": base + b2API + op + "/" + b2Random(8), "authorizationToken": token}
	if file == "" {
		answer["bucketId"] = b.bucketID
	} else {
		answer["fileId"] = file
	}
	return answer, nil
}

func (b *B2) getUploadURL(body []byte) (any, *b2Error) {
	var in struct {
		BucketID string `json:"bucketId"`
	}
	if e := b2Read(body, &in); e != nil {
		return nil, e
	}
	if e := b.inBucket(in.BucketID); e != nil {
		return nil, e
	}
	return b.slot("b2_upload_file", "")
}

func (b *B2) getUploadPartURL(body []byte) (any, *b2Error) {
	l, e := b.largeOf(body)
	if e != nil {
		return nil, e
	}
	return b.slot("b2_upload_part", l.id)
}

// largeOf returns the large file that a request names and says nothing else of.
func (b *B2) largeOf(body []byte) (*b2Large, *b2Error) {
	var in struct {
		ID string `json:"fileId"`
	}
	if e := b2Read(body, &in); e != nil {
		return nil, e
	}
	l := b.large[in.ID]
	if l == nil {
		return nil, &b2Error{http.StatusNotFound, "not_found", "file " + in.ID + " is no unfinished large file"}
	}
	return l, nil
}

// upload is b2_upload_file and b2_upload_part.
func (b *B2) upload(r *http.Request, op string) (any, *b2Error) {
	token := r.Header.Get("Authorization")
	b.mu.Lock()
	slot := b.uploads[token]
	e := b.takeSlot(slot, op)
	b.mu.Unlock()
	if e != nil {
		return nil, e
	}
	sum := sha1.New() //nolint:gosec // see the import
	data, err := readBlob(r.Body, sum)
	b.mu.Lock()
	defer b.mu.Unlock()
	slot.busy = false
	switch given := r.Header.Get("X-Bz-Content-Sha1"); {
	case err != nil || r.ContentLength < 0:
		return nil, b2Bad("the body broke off, or its length was not told")
	case given != hex.EncodeToString(sum.Sum(nil)):
		return nil, b2Bad("Checksum did not match data received")
	case data.size > b2MaxFile:
		return nil, &b2Error{http.StatusRequestEntityTooLarge, "bad_request", "too large"}
	case op == "b2_upload_part":
		return b.storePart(r.Header, slot.file, data, given)
	default:
		return b.storeFile(r.Header, data, given)
	}
}

// takeSlot lets one request at a time use an upload URL.
func (b *B2) takeSlot(s *b2Slot, op string) *b2Error {
	switch {
	case s == nil:
		return &b2Error{http.StatusUnauthorized, "expired_auth_token", "Upload authorization token has expired"}
	case (s.file != "") != (op == "b2_upload_part"):
		return &b2Error{http.StatusUnauthorized, "bad_auth_token", "the token is for another kind of upload"}
	case s.busy:
		return b2Bad("more than one upload using auth token")
	case b.gone:
		return b.inBucket(b.bucketID)
	}
	s.busy = true
	return nil
}

func (b *B2) storeFile(h http.Header, data blob, sum string) (any, *b2Error) {
	known := []string{
		"X-Bz-File-Name", "X-Bz-Content-Sha1", "X-Bz-File-Retention-Mode", "X-Bz-File-Retention-Retain-Until-Timestamp", "X-Bz-File-Legal-Hold", "X-Bz-Server-Side-Encryption",
	}
	if name, ok := b2Stranger(h, known...); ok {
		return nil, b2Bad("unknown header %s", name)
	}
	name, err := url.QueryUnescape(h.Get("X-Bz-File-Name"))
	if err != nil || h.Get("Content-Type") == "" {
		return nil, b2Bad("File name or content type missing")
	}
	v := &b2Version{name: name, action: "upload", data: data, contentType: h.Get("Content-Type"), sha1: sum, info: make(map[string]string)}
	for header := range h {
		if own, ok := strings.CutPrefix(header, "X-Bz-Info-"); ok {
			value, err := url.QueryUnescape(h.Get(header))
			if err != nil {
				return nil, b2Bad("%s: %v", header, err)
			}
			v.info[strings.ToLower(own)] = value
		}
	}
	lock := b2Lock{Hold: h.Get("X-Bz-File-Legal-Hold")}
	if mode := h.Get("X-Bz-File-Retention-Mode"); mode != "" {
		until, err := strconv.ParseInt(h.Get("X-Bz-File-Retention-Retain-Until-Timestamp"), 10, 64)
		if err != nil {
			return nil, b2Bad("retainUntilTimestamp: %v", err)
		}
		lock.Retention = &b2Retention{mode, until}
	}
	if sse := h.Get("X-Bz-Server-Side-Encryption"); sse != "" {
		lock.Encryption = &b2Encryption{"SSE-B2", sse}
	}
	if e := b.admitFile(v, lock); e != nil {
		return nil, e
	}
	b.store(v)
	return b.describe(v), nil
}

// A b2Lock is what locks and encrypts a new file.
type b2Lock struct {
	Retention  *b2Retention
	Hold       string
	Encryption *b2Encryption
}

type b2Retention struct {
	Mode  string `json:"mode"`
	Until int64  `json:"retainUntilTimestamp"`
}

type b2Encryption struct {
	Mode      string `json:"mode"`
	Algorithm string `json:"algorithm"`
}

// admitFile checks all that a new file is given.
func (b *B2) admitFile(v *b2Version, lock b2Lock) *b2Error {
	if e := b.checkName(v.name); e != nil {
		return e
	}
	size := len(b2Encode(v.name))
	for name, value := range v.info {
		size += len(name) + len(b2Encode(value))
		if name == "" || len(name) > 50 || strings.ContainsFunc(name, func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-_.`~!#$%^&*'|+", r)
		}) {
			return b2Bad("bad name %q in file info", name)
		}
	}
	switch {
	case len(v.info) > b2MaxInfo:
		return b2Bad("more than %d file info headers", b2MaxInfo)
	case size > 7000:
		return b2Bad("more than 7000 bytes of file info")
	}
	return b.applyLock(v, lock)
}

func (b *B2) applyLock(v *b2Version, lock b2Lock) *b2Error {
	switch r := lock.Retention; {
	case (r != nil || lock.Hold != "") && !b.opts.FileLock:
		return b2Bad("the bucket is not file lock enabled")
	case r == nil:
	case !b.can("writeFileRetentions"):
		return &b2Error{http.StatusUnauthorized, "unauthorized", "needs writeFileRetentions"}
	case r.Mode != "governance" && r.Mode != "compliance" || r.Until <= b.Now().UnixMilli():
		return b2Bad("bad retention")
	default:
		v.mode, v.until = r.Mode, r.Until
	}
	switch {
	case lock.Hold != "" && !b.can("writeFileLegalHolds"):
		return &b2Error{http.StatusUnauthorized, "unauthorized", "needs writeFileLegalHolds"}
	case lock.Hold != "" && lock.Hold != "on" && lock.Hold != "off":
		return b2Bad("bad legal hold")
	case lock.Encryption != nil && (lock.Encryption.Mode != "SSE-B2" || lock.Encryption.Algorithm != "AES256"):
		return b2Bad("bad encryption")
	}
	v.hold, v.sse = lock.Hold == "on", lock.Encryption != nil
	return nil
}

func (b *B2) storePart(h http.Header, file string, data blob, sum string) (any, *b2Error) {
	number, err := strconv.Atoi(h.Get("X-Bz-Part-Number"))
	l := b.large[file]
	switch stranger, ok := b2Stranger(h, "X-Bz-Part-Number", "X-Bz-Content-Sha1"); {
	case ok:
		return nil, b2Bad("unknown header %s", stranger)
	case err != nil || number < 1 || number > b2MaxParts:
		return nil, b2Bad("bad part number")
	case l == nil:
		return nil, b2Bad("No active upload for: %s", file)
	}
	l.parts[number] = b2Part{data, sum}
	return map[string]any{"fileId": file, "partNumber": number, "contentLength": data.size, "contentSha1": sum}, nil
}

func (b *B2) startLargeFile(body []byte) (any, *b2Error) {
	var in struct {
		BucketID    string            `json:"bucketId"`
		Name        string            `json:"fileName"`
		ContentType string            `json:"contentType"`
		Info        map[string]string `json:"fileInfo"`
		Retention   *b2Retention      `json:"fileRetention"`
		Hold        string            `json:"legalHold"`
		Encryption  *b2Encryption     `json:"serverSideEncryption"`
	}
	if e := b2Read(body, &in); e != nil {
		return nil, e
	}
	if e := b.inBucket(in.BucketID); e != nil {
		return nil, e
	}
	l := &b2Large{parts: make(map[int]b2Part)}
	l.b2Version = b2Version{name: in.Name, action: "start", contentType: in.ContentType, sha1: "none", info: in.Info}
	if e := b.admitFile(&l.b2Version, b2Lock{in.Retention, in.Hold, in.Encryption}); e != nil {
		return nil, e
	}
	b.name(&l.b2Version)
	b.large[l.id] = l
	return b.describe(&l.b2Version), nil
}

func (b *B2) finishLargeFile(body []byte) (any, *b2Error) {
	var in struct {
		ID   string   `json:"fileId"`
		Sums []string `json:"partSha1Array"`
	}
	if e := b2Read(body, &in); e != nil {
		return nil, e
	}
	l := b.large[in.ID]
	if l == nil {
		return nil, b2Bad("No active upload for: %s", in.ID)
	}
	if len(in.Sums) < 2 || len(in.Sums) != len(l.parts) {
		return nil, b2Bad("%d parts given, %d uploaded; at least 2 are needed", len(in.Sums), len(l.parts))
	}
	var all []blob
	for i, sum := range in.Sums {
		part, ok := l.parts[i+1]
		switch {
		case !ok || part.sha1 != sum:
			return nil, b2Bad("sha1 of part %d does not match", i+1)
		case part.data.size < b2MinPart && i+1 < len(in.Sums):
			return nil, b2Bad("part %d is smaller than %d bytes", i+1, b2MinPart)
		}
		all = append(all, part.data)
	}
	delete(b.large, in.ID)
	v := l.b2Version
	v.data, v.action = join(all...), "upload"
	b.store(&v)
	return b.describe(&v), nil
}

func (b *B2) cancelLargeFile(body []byte) (any, *b2Error) {
	l, e := b.largeOf(body)
	if e != nil {
		return nil, e
	}
	delete(b.large, l.id)
	return map[string]any{"fileId": l.id, "bucketId": b.bucketID, "fileName": l.name}, nil
}

func (b *B2) listParts(body []byte) (any, *b2Error) {
	var in struct {
		ID    string `json:"fileId"`
		Start int    `json:"startPartNumber"`
		Count int    `json:"maxPartCount"`
	}
	if e := b2Read(body, &in); e != nil {
		return nil, e
	}
	l := b.large[in.ID]
	if l == nil {
		return nil, b2Bad("No active upload for: %s", in.ID)
	}
	numbers := make([]int, 0, len(l.parts))
	for n := range l.parts {
		if n >= in.Start {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	parts, next := []any{}, any(nil)
	for i, n := range numbers {
		if in.Count > 0 && i == in.Count {
			next = n
			break
		}
		parts = append(parts, map[string]any{"fileId": in.ID, "partNumber": n, "contentLength": l.parts[n].data.size, "contentSha1": l.parts[n].sha1})
	}
	return map[string]any{"parts": parts, "nextPartNumber": next}, nil
}

// describe returns what the service tells of a version.
func (b *B2) describe(v *b2Version) map[string]any {
	retention := map[string]any{"isClientAuthorizedToRead": b.can("readFileRetentions"), "value": nil}
	if b.can("readFileRetentions") {
		value := map[string]any{"mode": nil, "retainUntilTimestamp": nil}
		if v.mode != "" {
			value = map[string]any{"mode": v.mode, "retainUntilTimestamp": v.until}
		}
		retention["value"] = value
	}
	hold := map[string]any{"isClientAuthorizedToRead": b.can("readFileLegalHolds"), "value": nil}
	if b.can("readFileLegalHolds") && v.hold {
		hold["value"] = "on"
	}
	return map[string]any{
		"accountId": b.opts.KeyID, "action": v.action, "bucketId": b.bucketID, "contentLength": v.data.size, "contentSha1": v.sha1,
		"contentType": v.contentType, "fileId": v.id, "fileInfo": v.info, "fileName": v.name, "uploadTimestamp": v.uploaded,
		"fileRetention": retention, "legalHold": hold, "serverSideEncryption": map[string]any{"mode": map[bool]any{true: "SSE-B2"}[v.sse]},
	}
}
