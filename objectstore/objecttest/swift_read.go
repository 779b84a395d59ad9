package objecttest

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
)

func (s *Swift) getObject(w http.ResponseWriter, r *http.Request, op, container, name string) {
	s.mu.Lock()
	c := s.containers[container]
	var o *swiftObject
	found := false
	if c != nil {
		o, found = c.get(name)
	}
	var data blob
	var err error
	if found && op == "GetObject" {
		data, err = s.whole(o)
	}
	s.mu.Unlock()
	if !found {
		swiftError(w, http.StatusNotFound, "The resource could not be found.")
		return
	}
	h := w.Header()
	for k, v := range o.meta {
		h[k] = []string{v}
	}
	h.Set("Content-Type", o.kind)
	h.Set("ETag", o.etag)
	h.Set("Last-Modified", lastModified(o.modified))
	h.Set("X-Timestamp", fmt.Sprintf("%d.%05d", o.modified.Unix(), o.modified.Nanosecond()/10_000))
	h.Set("Accept-Ranges", "bytes")
	if o.segments != nil {
		h.Set("X-Static-Large-Object", "True")
	}
	if op == "GetManifest" && o.segments != nil {
		swiftJSON(w, http.StatusOK, o.lines())
		return
	}
	if match := r.Header.Get("If-Match"); match != "" && !s.opts.NoIfMatch && strings.Trim(match, `"`) != strings.Trim(o.etag, `"`) {
		swiftError(w, http.StatusPreconditionFailed, "A precondition for this request was not met.")
		return
	}
	if op == "HeadObject" {
		h.Set("Content-Length", strconv.FormatInt(o.size(), 10))
		w.WriteHeader(http.StatusOK)
		return
	}
	if op == "GetManifest" {
		data = o.data
	}
	if err != nil {
		swiftError(w, http.StatusConflict, err.Error())
		return
	}
	s.sendRange(w, r, data)
}

// sendRange answers with the octets that the request wants.
func (s *Swift) sendRange(w http.ResponseWriter, r *http.Request, data blob) {
	first, last, ranged, err := byteRange(r.Header.Get("Range"), data.size)
	if s.opts.NoRange {
		first, last, ranged, err = 0, data.size-1, false, nil
	}
	if err != nil {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", data.size))
		swiftError(w, http.StatusRequestedRangeNotSatisfiable, "The Range requested is not available.")
		return
	}
	status := http.StatusOK
	if ranged {
		status = http.StatusPartialContent
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, data.size))
	}
	w.Header().Set("Content-Length", strconv.FormatInt(last-first+1, 10))
	w.WriteHeader(status)
	_, _ = io.Copy(w, data.reader(first, last-first+1)) // the client has gone
}

var errUnsatisfiable = errors.New("no such range")

// byteRange reads "bytes=5-9" and "bytes=5-".
func byteRange(text string, size int64) (first, last int64, ranged bool, err error) {
	if text == "" {
		return 0, size - 1, false, nil
	}
	from, to, _ := strings.Cut(strings.TrimPrefix(text, "bytes="), "-")
	if first, err = strconv.ParseInt(from, 10, 64); err != nil || first >= size {
		return 0, 0, false, errUnsatisfiable
	}
	last = int64(math.MaxInt64)
	if to != "" {
		if last, err = strconv.ParseInt(to, 10, 64); err != nil || last < first {
			return 0, 0, false, errUnsatisfiable
		}
	}
	return first, min(last, size-1), true, nil
}
