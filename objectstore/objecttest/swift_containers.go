package objecttest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

func (s *Swift) serveAccount(w http.ResponseWriter) {
	if s.opts.TempURLKey != "" && !s.opts.Reader {
		w.Header().Set("X-Account-Meta-Temp-Url-Key", s.opts.TempURLKey)
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Swift) serveContainer(w http.ResponseWriter, r *http.Request, op, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.containers[name]
	if op == "PutContainer" {
		status := http.StatusAccepted
		if c == nil {
			s.containers[name] = new(shelf[*swiftObject])
			status = http.StatusCreated
		}
		w.WriteHeader(status)
		return
	}
	if c == nil {
		swiftError(w, http.StatusNotFound, "The resource could not be found.")
		return
	}
	switch op {
	case "DeleteContainer":
		if len(c.sorted()) > 0 {
			swiftError(w, http.StatusConflict, "There was a conflict when trying to complete your request.")
			return
		}
		delete(s.containers, name)
		w.WriteHeader(http.StatusNoContent)
	case "HeadContainer":
		all, _ := c.list(listing{}, s.settled)
		size := int64(0)
		for _, e := range all {
			size += e.item.size()
		}
		w.Header().Set("X-Container-Object-Count", strconv.Itoa(len(all)))
		w.Header().Set("X-Container-Bytes-Used", strconv.FormatInt(size, 10))
		w.WriteHeader(http.StatusNoContent)
	default:
		s.list(w, r, c)
	}
}

// list serves a listing. The caller holds s.mu.
func (s *Swift) list(w http.ResponseWriter, r *http.Request, c *shelf[*swiftObject]) {
	q := r.URL.Query()
	limit := s.opts.PageSize
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > s.opts.PageSize {
			swiftError(w, http.StatusPreconditionFailed, fmt.Sprintf("Maximum limit is %d", s.opts.PageSize))
			return
		}
		limit = n
	}
	if q.Get("format") != "json" {
		swiftError(w, http.StatusBadRequest, "objecttest: listings are in JSON only")
		return
	}
	page, _ := c.list(listing{prefix: q.Get("prefix"), delimiter: q.Get("delimiter"), after: q.Get("marker"), resume: q.Get("marker"), limit: limit}, s.settled)
	lines := make([]map[string]any, len(page))
	for i, e := range page {
		if e.prefix {
			lines[i] = map[string]any{"subdir": e.key}
			continue
		}
		line := map[string]any{
			"name": e.key, "bytes": e.item.size(), "hash": strings.Trim(e.item.etag, `"`), "content_type": e.item.kind,
			"last_modified": e.item.modified.Format("2006-01-02T15:04:05.000000"),
		}
		if e.item.segments != nil {
			line["slo_etag"] = e.item.etag
			line["hash"] = e.item.manifestETag()
		}
		lines[i] = line
	}
	swiftJSON(w, http.StatusOK, lines)
}
