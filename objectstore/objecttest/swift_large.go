package objecttest

import (
	"bufio"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

const (
	swiftMaxSegments = 1000
	swiftMaxManifest = 8 << 20
	swiftMaxBulk     = 10_000
)

// A swiftSegment is one segment of a static large object.
type swiftSegment struct {
	container, name, etag string
	size                  int64
}

// whole returns the octets that a client reads: those of the segments, as they are now. The caller holds s.mu.
func (s *Swift) whole(o *swiftObject) (blob, error) {
	if o.segments == nil {
		return o.data, nil
	}
	var parts []blob
	for _, g := range o.segments {
		var part *swiftObject
		ok := false
		if c := s.containers[g.container]; c != nil {
			part, ok = c.get(g.name)
		}
		if !ok || part.etag != g.etag || part.data.size != g.size {
			return blob{}, fmt.Errorf("Object /%s/%s is not what the manifest names", g.container, g.name) //nolint:staticcheck // the server's words
		}
		parts = append(parts, part.data)
	}
	return join(parts...), nil
}

// lines is the manifest as the server shows it.
func (o *swiftObject) lines() []map[string]any {
	all := make([]map[string]any, len(o.segments))
	for i, g := range o.segments {
		all[i] = map[string]any{
			"name": "/" + g.container + "/" + g.name, "bytes": g.size, "hash": g.etag, "content_type": "application/octet-stream",
			"last_modified": o.modified.Format("2006-01-02T15:04:05.000000"),
		}
	}
	return all
}

// manifestETag is the MD5 of the manifest itself, which only listings show.
func (o *swiftObject) manifestETag() string {
	data, _ := json.Marshal(o.lines()) // plain data
	sum := md5.Sum(data)
	return hex.EncodeToString(sum[:])
}

// A manifestEntry is a line of a manifest that a client puts.
type manifestEntry struct {
	Path string `json:"path"`
	ETag string `json:"etag"`
	Size *int64 `json:"size_bytes"`
}

// A bulkResult is what the middlewares bulk and slo answer.
type bulkResult struct {
	Status   string      `json:"Response Status"`
	Body     string      `json:"Response Body"`
	Errors   [][2]string `json:"Errors"`
	Deleted  int         `json:"Number Deleted"`
	NotFound int         `json:"Number Not Found"`
}

func (s *Swift) putManifest(w http.ResponseWriter, r *http.Request, container, name string) {
	if s.opts.NoSLO {
		s.putObject(w, r, container, name) // the parameter means nothing to it
		return
	}
	o, ok := s.take(w, r, container, name, swiftMaxManifest)
	if !ok {
		return
	}
	var entries []manifestEntry
	d := json.NewDecoder(o.data.reader(0, o.data.size))
	d.DisallowUnknownFields()
	if err := d.Decode(&entries); err != nil || len(entries) == 0 || len(entries) > swiftMaxSegments {
		swiftError(w, http.StatusBadRequest, "Manifest must be valid JSON with 1 to 1000 segments.")
		return
	}
	result := s.resolve(o, entries)
	if len(result.Errors) > 0 {
		result.Status = "400 Bad Request"
		if s.opts.LateManifest {
			swiftJSON(w, http.StatusAccepted, result)
			return
		}
		swiftJSON(w, http.StatusBadRequest, result)
		return
	}
	if s.opts.LateManifest {
		late := &lateAnswer{header: make(http.Header)}
		s.store(late, r, container, name, o)
		result.Status = fmt.Sprintf("%d %s", late.status, http.StatusText(late.status))
		w.Header().Set("ETag", o.etag)
		swiftJSON(w, http.StatusAccepted, result)
		return
	}
	s.store(w, r, container, name, o)
}

// A lateAnswer keeps the status that goes into the body.
type lateAnswer struct {
	header http.Header
	status int
}

func (l *lateAnswer) Header() http.Header         { return l.header }
func (l *lateAnswer) WriteHeader(status int)      { l.status = status }
func (l *lateAnswer) Write(p []byte) (int, error) { return len(p), nil }

// resolve makes o of the segments, and says which of them are not what they should be.
func (s *Swift) resolve(o *swiftObject, entries []manifestEntry) (result bulkResult) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sums := md5.New()
	for _, e := range entries {
		container, object, ok := strings.Cut(strings.TrimPrefix(e.Path, "/"), "/")
		var part *swiftObject
		if c := s.containers[container]; ok && c != nil {
			part, ok = c.get(object)
		} else {
			ok = false
		}
		switch {
		case !ok:
			result.Errors = append(result.Errors, [2]string{e.Path, "404 Not Found"})
			continue
		case part.segments != nil:
			result.Errors = append(result.Errors, [2]string{e.Path, "objecttest: a segment that is a large object"})
			continue
		case e.ETag != "" && e.ETag != part.etag:
			result.Errors = append(result.Errors, [2]string{e.Path, "Etag Mismatch"})
			continue
		case e.Size != nil && *e.Size != part.data.size:
			result.Errors = append(result.Errors, [2]string{e.Path, "Size Mismatch"})
			continue
		}
		o.segments = append(o.segments, swiftSegment{container, object, part.etag, part.data.size})
		_, _ = io.WriteString(sums, part.etag) // a hash never fails
	}
	o.etag = `"` + hex.EncodeToString(sums.Sum(nil)) + `"`
	o.data = blob{}
	return result
}

// deleteLarge removes a large object with its segments.
func (s *Swift) deleteLarge(w http.ResponseWriter, container, name string) {
	if s.opts.NoSLO {
		s.deleteObject(w, container, name)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	result := bulkResult{Status: "200 OK", Errors: [][2]string{}}
	c := s.containers[container]
	var o *swiftObject
	ok := false
	if c != nil {
		o, ok = c.get(name)
	}
	switch {
	case !ok:
		result.NotFound = 1
	case o.segments == nil:
		result.Status = "400 Bad Request"
		result.Errors = append(result.Errors, [2]string{(&url.URL{Path: "/" + container + "/" + name}).EscapedPath(), "Not an SLO manifest"})
	default:
		for _, g := range o.segments {
			s.count(&result, g.container, g.name)
		}
		s.count(&result, container, name)
	}
	swiftJSON(w, http.StatusOK, result)
}

// count removes one object for a bulkResult.
func (s *Swift) count(result *bulkResult, container, name string) {
	if s.remove(container, name) {
		result.Deleted++
	} else {
		result.NotFound++
	}
}

// bulkDelete serves the middleware bulk: a list of escaped paths, one a line.
func (s *Swift) bulkDelete(w http.ResponseWriter, r *http.Request) {
	if s.opts.NoBulk {
		w.WriteHeader(http.StatusNoContent) // an account's POST without metadata
		return
	}
	if kind := r.Header.Get("Content-Type"); kind != "text/plain" {
		swiftError(w, http.StatusNotAcceptable, "Content-Type must be text/plain")
		return
	}
	var paths []string
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		path, err := url.PathUnescape(strings.TrimSpace(lines.Text()))
		if err != nil {
			swiftError(w, http.StatusBadRequest, "a line is not escaped as it must be")
			return
		}
		paths = append(paths, path)
	}
	if lines.Err() != nil {
		return // the client has gone
	}
	result := bulkResult{Status: "200 OK", Errors: [][2]string{}}
	s.mu.Lock()
	for _, path := range paths {
		container, object, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		if !ok || object == "" {
			result.Errors = append(result.Errors, [2]string{(&url.URL{Path: path}).EscapedPath(), "400 Bad Request"})
			continue
		}
		s.count(&result, container, object)
	}
	s.mu.Unlock()
	switch {
	case len(paths) > swiftMaxBulk:
		result = bulkResult{Status: "413 Request Entity Too Large", Body: "Maximum Bulk Deletes: 10000 per request", Errors: [][2]string{}}
	case len(result.Errors) > 0:
		result.Status = "400 Bad Request"
	}
	swiftJSON(w, http.StatusOK, result)
}
