package objecttest

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// download is b2_download_file_by_name.
func (b *B2) download(w http.ResponseWriter, r *http.Request) *b2Error {
	path, err := url.QueryUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/file/")) // + is a space here too
	bucket, name, ok := strings.Cut(path, "/")
	if stranger, ok := b2Stranger(r.Header); ok || err != nil {
		return b2Bad("unknown header %s, or a bad path", stranger)
	}
	b.mu.Lock()
	e := b.admitDownload(r, name)
	var v b2Version
	if e == nil {
		found := b.visible(name)
		switch {
		case !ok || b.gone || bucket != b.opts.Bucket:
			e = &b2Error{http.StatusNotFound, "not_found", "Bucket " + bucket + " does not exist"}
		case found == nil:
			e = &b2Error{http.StatusNotFound, "not_found", "File with such name does not exist."}
		default:
			v = *found
		}
	}
	b.mu.Unlock()
	if e != nil {
		return e
	}
	offset, n, status := int64(0), v.data.size, http.StatusOK
	if text := r.Header.Get("Range"); text != "" {
		if offset, n, ok = b2Span(text, v.data.size); !ok {
			return &b2Error{http.StatusRequestedRangeNotSatisfiable, "range_not_satisfiable", "The Range in the request is outside the size of the file"}
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", offset, offset+n-1, v.data.size))
		status = http.StatusPartialContent
	}
	b.headers(w.Header(), &v)
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	w.WriteHeader(status)
	if r.Method == http.MethodGet {
		_, _ = io.Copy(w, v.data.reader(offset, n)) // the client has gone
	}
	return nil
}

// admitDownload checks the token of an account, or of an authorization to download.
func (b *B2) admitDownload(r *http.Request, name string) *b2Error {
	token := r.Header.Get("Authorization")
	if q := r.URL.Query(); q.Has("Authorization") {
		token = q.Get("Authorization")
	}
	share, ok := b.shares[token]
	switch {
	case !ok:
		return b.admit(token, "readFiles")
	case b.Now().After(share.until):
		return &b2Error{http.StatusUnauthorized, "expired_auth_token", "Authorization token has expired"}
	case !strings.HasPrefix(name, share.prefix):
		return &b2Error{http.StatusUnauthorized, "unauthorized", "the token is for other names"}
	}
	return nil
}

// headers tells of a version in the headers of a download.
func (b *B2) headers(h http.Header, v *b2Version) {
	h.Set("Content-Type", v.contentType)
	h.Set("X-Bz-File-Id", v.id)
	h.Set("X-Bz-File-Name", url.QueryEscape(v.name))
	h.Set("X-Bz-Content-Sha1", v.sha1)
	h.Set("X-Bz-Upload-Timestamp", strconv.FormatInt(v.uploaded, 10))
	for name, value := range v.info {
		h.Set("X-Bz-Info-"+name, b2Encode(value))
	}
	if v.mode != "" && b.can("readFileRetentions") {
		h.Set("X-Bz-File-Retention-Mode", v.mode)
		h.Set("X-Bz-File-Retention-Retain-Until-Timestamp", strconv.FormatInt(v.until, 10))
	}
	if v.hold && b.can("readFileLegalHolds") {
		h.Set("X-Bz-File-Legal-Hold", "on")
	}
}

// b2Encode writes text as the service does in headers.
func b2Encode(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

// b2Span reads a Range of one span.
func b2Span(text string, size int64) (offset, n int64, ok bool) {
	first, last, ok := strings.Cut(strings.TrimPrefix(text, "bytes="), "-")
	offset, err := strconv.ParseInt(first, 10, 64)
	end := size - 1
	if last != "" && err == nil {
		end, err = strconv.ParseInt(last, 10, 64)
	}
	if !ok || err != nil || offset >= size || end < offset {
		return 0, 0, false
	}
	return offset, min(end, size-1) - offset + 1, true
}

type b2List struct {
	BucketID  string `json:"bucketId"`
	Start     string `json:"startFileName"`
	StartID   string `json:"startFileId"`
	Count     int    `json:"maxFileCount"`
	Prefix    string `json:"prefix"`
	Delimiter string `json:"delimiter"`
}

// readList checks what a listing asks for.
func (b *B2) readList(body []byte) (b2List, *b2Error) {
	var in b2List
	if e := b2Read(body, &in); e != nil {
		return in, e
	}
	if e := b.inBucket(in.BucketID); e != nil {
		return in, e
	}
	if !strings.HasPrefix(in.Prefix, b.opts.NamePrefix) {
		return in, &b2Error{http.StatusUnauthorized, "unauthorized", "the key is restricted to other names"}
	}
	if in.Count < 0 || in.Count > 10_000 {
		return in, b2Bad("maxFileCount out of range: %d", in.Count)
	}
	if in.Count == 0 {
		in.Count = 100
	}
	if b.opts.PageSize > 0 {
		in.Count = min(in.Count, b.opts.PageSize)
	}
	return in, nil
}

func (b *B2) listNames(body []byte) (any, *b2Error) {
	in, e := b.readList(body)
	switch {
	case e != nil:
		return nil, e
	case in.StartID != "":
		return nil, b2Bad("unknown field startFileId")
	}
	files, last := []any{}, ""
	for _, name := range slices.Sorted(maps.Keys(b.versions)) {
		v := b.visible(name)
		if v == nil || !strings.HasPrefix(name, in.Prefix) {
			continue
		}
		entry := b.describe(v)
		if head, _, ok := strings.Cut(name[len(in.Prefix):], in.Delimiter); ok && in.Delimiter != "" {
			name = in.Prefix + head + in.Delimiter
			entry = map[string]any{"action": "folder", "fileName": name, "fileId": nil, "contentLength": 0, "uploadTimestamp": 0, "fileInfo": map[string]string{}}
		}
		if name < in.Start || name == last {
			continue
		}
		if len(files) == in.Count {
			return map[string]any{"files": files, "nextFileName": name}, nil
		}
		last = name
		files = append(files, entry)
	}
	return map[string]any{"files": files, "nextFileName": nil}, nil
}

func (b *B2) listVersions(body []byte) (any, *b2Error) {
	in, e := b.readList(body)
	switch {
	case e != nil:
		return nil, e
	case in.Delimiter != "" || in.StartID != "" && in.Start == "":
		return nil, b2Bad("bad combination of fields")
	}
	all := maps.Clone(b.versions)
	for _, l := range b.large {
		all[l.name] = append(slices.Clone(all[l.name]), &l.b2Version)
	}
	files, found := []any{}, in.StartID == ""
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if name < in.Start || !strings.HasPrefix(name, in.Prefix) {
			continue
		}
		for _, v := range slices.Backward(all[name]) {
			if found = found || v.id == in.StartID || name > in.Start; !found {
				continue
			}
			if len(files) == in.Count {
				return map[string]any{"files": files, "nextFileName": name, "nextFileId": v.id}, nil
			}
			files = append(files, b.describe(v))
		}
	}
	return map[string]any{"files": files, "nextFileName": nil, "nextFileId": nil}, nil
}

func (b *B2) listUnfinished(body []byte) (any, *b2Error) {
	in, e := b.readList(body)
	if e != nil {
		return nil, e
	}
	files := []any{}
	for _, id := range slices.Sorted(maps.Keys(b.large)) {
		if id < in.StartID {
			continue
		}
		if len(files) == in.Count {
			return map[string]any{"files": files, "nextFileId": id}, nil
		}
		files = append(files, b.describe(&b.large[id].b2Version))
	}
	return map[string]any{"files": files, "nextFileId": nil}, nil
}

// version looks for a version by its ID, and by its name if that is given.
func (b *B2) version(id, name string) (*b2Version, *b2Error) {
	for _, all := range b.versions {
		for _, v := range all {
			if v.id == id && (name == "" || v.name == name) {
				return v, nil
			}
		}
	}
	return nil, &b2Error{http.StatusBadRequest, "file_not_present", "file_not_present: " + id}
}

func (b *B2) getFileInfo(body []byte) (any, *b2Error) {
	var in struct {
		ID string `json:"fileId"`
	}
	if e := b2Read(body, &in); e != nil {
		return nil, e
	}
	v, e := b.version(in.ID, "")
	if e != nil {
		return nil, e
	}
	return b.describe(v), nil
}

func (b *B2) deleteVersion(body []byte) (any, *b2Error) {
	var in struct {
		Name string `json:"fileName"`
		ID   string `json:"fileId"`
	}
	if e := b2Read(body, &in); e != nil {
		return nil, e
	}
	if l := b.large[in.ID]; l != nil && l.name == in.Name {
		delete(b.large, in.ID) // as b2_cancel_large_file
		return map[string]any{"fileId": in.ID, "fileName": in.Name}, nil
	}
	v, e := b.version(in.ID, in.Name)
	switch {
	case e != nil:
		return nil, e
	case b.locked(v):
		return nil, &b2Error{http.StatusForbidden, "access_denied", "the file version is under retention or legal hold"}
	}
	left := slices.DeleteFunc(b.versions[v.name], func(other *b2Version) bool { return other == v })
	if b.versions[v.name] = left; len(left) == 0 {
		delete(b.versions, v.name)
	}
	return map[string]any{"fileId": in.ID, "fileName": in.Name}, nil
}

func (b *B2) hideFile(body []byte) (any, *b2Error) {
	var in struct {
		BucketID string `json:"bucketId"`
		Name     string `json:"fileName"`
	}
	if e := b2Read(body, &in); e != nil {
		return nil, e
	}
	if e := b.inBucket(in.BucketID); e != nil {
		return nil, e
	}
	switch {
	case len(b.versions[in.Name]) == 0:
		return nil, &b2Error{http.StatusBadRequest, "no_such_file", "File not present: " + in.Name}
	case b.visible(in.Name) == nil:
		return nil, &b2Error{http.StatusBadRequest, "already_hidden", "File already hidden: " + in.Name}
	}
	v := &b2Version{name: in.Name, action: "hide"}
	b.store(v)
	return b.describe(v), nil
}

func (b *B2) copyFile(body []byte) (any, *b2Error) {
	var in struct {
		Source      string            `json:"sourceFileId"`
		Name        string            `json:"fileName"`
		Directive   string            `json:"metadataDirective"`
		ContentType string            `json:"contentType"`
		Info        map[string]string `json:"fileInfo"`
		Retention   *b2Retention      `json:"fileRetention"`
		Hold        string            `json:"legalHold"`
		Encryption  *b2Encryption     `json:"destinationServerSideEncryption"`
	}
	if e := b2Read(body, &in); e != nil {
		return nil, e
	}
	from, e := b.version(in.Source, "")
	if e != nil {
		return nil, e
	}
	v := &b2Version{name: in.Name, action: "upload", data: from.data, contentType: from.contentType, sha1: from.sha1, info: maps.Clone(from.info)}
	switch replace := in.ContentType != "" || in.Info != nil; {
	case from.action != "upload" || from.data.size > b2MaxFile:
		return nil, b2Bad("the source cannot be copied")
	case in.Directive == "REPLACE" && in.ContentType != "" && in.Info != nil:
		v.contentType, v.info = in.ContentType, in.Info
	case in.Directive != "COPY" || replace:
		return nil, b2Bad("metadataDirective does not fit contentType and fileInfo")
	}
	if e := b.admitFile(v, b2Lock{in.Retention, in.Hold, in.Encryption}); e != nil {
		return nil, e
	}
	b.store(v)
	return b.describe(v), nil
}

func (b *B2) updateRetention(body []byte) (any, *b2Error) {
	var in struct {
		Name      string       `json:"fileName"`
		ID        string       `json:"fileId"`
		Retention *b2Retention `json:"fileRetention"`
	}
	if e := b2Read(body, &in); e != nil {
		return nil, e
	}
	v, e := b.version(in.ID, in.Name)
	switch {
	case e != nil:
		return nil, e
	case in.Retention == nil || in.Retention.Until < v.until || v.mode == "compliance" && in.Retention.Mode != v.mode:
		return nil, &b2Error{http.StatusForbidden, "access_denied", "a retention can be prolonged only"}
	}
	hold, sse := v.hold, v.sse
	e = b.applyLock(v, b2Lock{Retention: in.Retention})
	v.hold, v.sse = hold, sse
	return map[string]any{"fileId": v.id, "fileName": v.name, "fileRetention": in.Retention}, e
}

func (b *B2) updateLegalHold(body []byte) (any, *b2Error) {
	var in struct {
		Name string `json:"fileName"`
		ID   string `json:"fileId"`
		Hold string `json:"legalHold"`
	}
	if e := b2Read(body, &in); e != nil {
		return nil, e
	}
	v, e := b.version(in.ID, in.Name)
	switch {
	case e != nil:
		return nil, e
	case !b.opts.FileLock || in.Hold != "on" && in.Hold != "off":
		return nil, b2Bad("bad legal hold, or the bucket is not file lock enabled")
	}
	v.hold = in.Hold == "on"
	return map[string]any{"fileId": v.id, "fileName": v.name, "legalHold": in.Hold}, nil
}
