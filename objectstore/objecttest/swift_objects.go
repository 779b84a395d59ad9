package objecttest

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	swiftMaxName     = 1024
	swiftMaxMetaName = 128
	swiftMaxMeta     = 256 // octets of one value
	swiftMaxMetaAll  = 4096
	swiftMaxMetaN    = 90
)

func md5Of(b blob) string {
	h := md5.New()
	_, _ = io.Copy(h, b.reader(0, b.size)) // of memory: never fails
	return hex.EncodeToString(h.Sum(nil))
}

// size is what a client reads.
func (o *swiftObject) size() int64 {
	if o.segments == nil {
		return o.data.size
	}
	total := int64(0)
	for _, g := range o.segments {
		total += g.size
	}
	return total
}

// take checks a put's headers and reads its body. It has answered if ok is false.
func (s *Swift) take(w http.ResponseWriter, r *http.Request, container, name string, limit int64) (o *swiftObject, ok bool) {
	s.mu.Lock()
	began := s.tick()
	refused := s.refuse(w, r, container, name)
	s.mu.Unlock()
	switch {
	case refused:
		return nil, false
	case r.ContentLength > limit:
		swiftError(w, http.StatusRequestEntityTooLarge, "The body of your request was too large for this server.")
		return nil, false
	}
	o = &swiftObject{modified: began, kind: r.Header.Get("Content-Type"), meta: keptHeaders(r.Header)}
	h := md5.New()
	var err error
	if o.data, err = readBlob(r.Body, h); err != nil {
		return nil, false // the client has gone: 499
	}
	if o.data.size > limit {
		swiftError(w, http.StatusRequestEntityTooLarge, "The body of your request was too large for this server.")
		return nil, false
	}
	o.etag = hex.EncodeToString(h.Sum(nil))
	return o, true
}

// keptHeaders returns what is stored with an object besides its octets.
func keptHeaders(h http.Header) map[string]string {
	kept := make(map[string]string)
	for name, values := range h {
		if strings.HasPrefix(name, "X-Object-Meta-") || name == "Content-Encoding" || name == "X-Delete-At" {
			kept[name] = values[0]
		}
	}
	return kept
}

// refuse answers a put that is refused by its head alone. The caller holds s.mu.
func (s *Swift) refuse(w http.ResponseWriter, r *http.Request, container, name string) bool {
	c := s.containers[container]
	text := metaRule(r.Header)
	switch {
	case len(name) > swiftMaxName:
		swiftError(w, http.StatusBadRequest, fmt.Sprintf("Object name length of %d longer than %d", len(name), swiftMaxName))
	case !utf8.ValidString(name) || strings.Contains(name, "\x00"):
		swiftError(w, http.StatusPreconditionFailed, "Invalid UTF8 or contains NULL")
	case c == nil:
		swiftError(w, http.StatusNotFound, "The resource could not be found.")
	case text != "":
		swiftError(w, http.StatusBadRequest, text)
	case r.ContentLength < 0 && !strings.Contains(strings.Join(r.TransferEncoding, ","), "chunked"):
		swiftError(w, http.StatusLengthRequired, "Missing Content-Length header.")
	case s.opts.Quota > 0 && s.used(c)+r.ContentLength > s.opts.Quota:
		swiftError(w, http.StatusRequestEntityTooLarge, "Upload exceeds quota.")
	default:
		return s.taken(w, r, c, name)
	}
	return true
}

// taken answers a put that must not replace anything, and would.
func (s *Swift) taken(w http.ResponseWriter, r *http.Request, c *shelf[*swiftObject], name string) bool {
	switch r.Header.Get("If-None-Match") {
	case "":
		return false
	case "*":
	default:
		swiftError(w, http.StatusBadRequest, "If-None-Match only supports *")
		return true
	}
	if _, there := c.get(name); !there || s.opts.NoIfAbsent {
		return false
	}
	swiftError(w, http.StatusPreconditionFailed, "A precondition for this request was not met.")
	return true
}

func (s *Swift) used(c *shelf[*swiftObject]) (total int64) {
	for _, name := range c.sorted() {
		o, _ := c.get(name)
		total += o.size()
	}
	return total
}

// metaRule returns what is wrong with the metadata, in the words of the proxy's check_metadata.
func metaRule(h http.Header) string {
	count, total := 0, 0
	for name, values := range h {
		meta, ok := strings.CutPrefix(name, "X-Object-Meta-")
		if !ok {
			continue
		}
		count++
		total += len(meta) + len(values[0])
		switch {
		case meta == "":
			return "Metadata name cannot be empty"
		case !utf8.ValidString(values[0]):
			return "Metadata must be valid UTF-8"
		case len(meta) > swiftMaxMetaName:
			return fmt.Sprintf("Metadata name too long: X-Object-Meta-%s", meta)
		case len(values[0]) > swiftMaxMeta:
			return fmt.Sprintf("Metadata value longer than %d: X-Object-Meta-%s", swiftMaxMeta, meta)
		}
	}
	switch {
	case count > swiftMaxMetaN:
		return fmt.Sprintf("Too many metadata items; max %d", swiftMaxMetaN)
	case total > swiftMaxMetaAll:
		return fmt.Sprintf("Total metadata too large; max %d", swiftMaxMetaAll)
	}
	return ""
}

// change puts an object, or takes it away if o is nil. As in Swift the time counts at which the request came: what came
// before the last one that was obeyed has no effect, though it succeeds. The caller holds s.mu.
func (s *Swift) change(c *shelf[*swiftObject], container, name string, o *swiftObject) {
	at := s.tick()
	if o != nil {
		at = o.modified
	}
	key := container + "/" + name
	if s.changed[key].After(at) {
		return
	}
	s.changed[key] = at
	if o == nil {
		c.remove(name)
		return
	}
	c.put(name, o)
}

// store makes an object visible, unless the condition of the request no longer holds, and answers.
func (s *Swift) store(w http.ResponseWriter, r *http.Request, container, name string, o *swiftObject) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.containers[container]
	if c == nil {
		swiftError(w, http.StatusNotFound, "The resource could not be found.")
		return
	}
	if s.taken(w, r, c, name) {
		return
	}
	if o.kind == "" {
		o.kind = "application/octet-stream"
	}
	s.change(c, container, name, o)
	w.Header().Set("ETag", o.etag)
	w.Header().Set("Last-Modified", lastModified(o.modified))
	w.WriteHeader(http.StatusCreated)
}

// lastModified rounds up, as Swift does.
func lastModified(t time.Time) string {
	if whole := t.Truncate(time.Second); !whole.Equal(t) {
		t = whole.Add(time.Second)
	}
	return t.UTC().Format(http.TimeFormat)
}

func (s *Swift) putObject(w http.ResponseWriter, r *http.Request, container, name string) {
	o, ok := s.take(w, r, container, name, s.opts.MaxFile)
	if !ok {
		return
	}
	if want := strings.Trim(r.Header.Get("ETag"), `"`); want != "" && want != o.etag {
		swiftError(w, http.StatusUnprocessableEntity, "Unable to process the contained instructions")
		return
	}
	s.store(w, r, container, name, o)
}

// postObject replaces all of an object's metadata, and leaves its octets.
func (s *Swift) postObject(w http.ResponseWriter, r *http.Request, container, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.containers[container]
	var o *swiftObject
	found := false
	if c != nil {
		o, found = c.get(name)
	}
	switch text := metaRule(r.Header); {
	case !found:
		swiftError(w, http.StatusNotFound, "The resource could not be found.")
		return
	case text != "":
		swiftError(w, http.StatusBadRequest, text)
		return
	}
	again := *o
	again.modified, again.meta = s.tick(), keptHeaders(r.Header)
	if kind := r.Header.Get("Content-Type"); kind != "" {
		again.kind = kind
	}
	s.change(c, container, name, &again)
	w.WriteHeader(http.StatusAccepted)
}

// copyObject serves PUT with X-Copy-From: a copy of the octets, with the source's metadata unless X-Fresh-Metadata. As in
// Swift a condition is one on the source.
func (s *Swift) copyObject(w http.ResponseWriter, r *http.Request, container, name string) {
	path, err := url.PathUnescape(r.Header.Get("X-Copy-From"))
	from, object, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if err != nil || !ok || r.ContentLength > 0 {
		swiftError(w, http.StatusPreconditionFailed, "X-Copy-From header must be of the form <container name>/<object name>")
		return
	}
	s.mu.Lock()
	began := s.tick()
	unconditional := r.Clone(r.Context())
	unconditional.Header.Del("If-None-Match")
	refused := s.refuse(w, unconditional, container, name)
	var src *swiftObject
	found := false
	if c := s.containers[from]; c != nil {
		src, found = c.get(object)
	}
	var data blob
	if found {
		data, err = s.whole(src)
	}
	s.mu.Unlock()
	switch {
	case refused:
		return
	case !found:
		swiftError(w, http.StatusNotFound, "The resource could not be found.")
		return
	case err != nil:
		swiftError(w, http.StatusConflict, err.Error())
		return
	case r.Header.Get("If-None-Match") != "":
		w.WriteHeader(http.StatusNotModified)
		return
	case data.size > s.opts.MaxFile:
		swiftError(w, http.StatusRequestEntityTooLarge, "The body of your request was too large for this server.")
		return
	}
	o := &swiftObject{data: data, etag: md5Of(data), modified: began, kind: r.Header.Get("Content-Type"), meta: map[string]string{}}
	if o.kind == "" {
		o.kind = src.kind
	}
	if r.Header.Get("X-Fresh-Metadata") != "true" {
		for k, v := range src.meta {
			o.meta[k] = v
		}
	}
	for k, v := range keptHeaders(r.Header) {
		o.meta[k] = v
	}
	s.store(w, r, container, name, o)
}

func (s *Swift) deleteObject(w http.ResponseWriter, container, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.remove(container, name) {
		swiftError(w, http.StatusNotFound, "The resource could not be found.")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// remove takes an object away, and reports whether it was there. The caller holds s.mu.
func (s *Swift) remove(container, name string) bool {
	c := s.containers[container]
	if c == nil {
		return false
	}
	_, ok := c.get(name)
	s.change(c, container, name, nil)
	return ok
}
