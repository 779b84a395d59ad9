package gmailtest

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// uploadQuantum is what the size of each chunk but the last must be a multiple of.
const uploadQuantum = 256 << 10

// startUpload opens a session and says where its chunks go.
func (s *Server) startUpload(q *request, u upload, most int64) (any, error) {
	if s.opts.Mail.NoResumable {
		return nil, apiErr(http.StatusBadRequest, "badRequest", "INVALID_ARGUMENT", "Resumable uploads are not supported.")
	}
	h := q.http.Header
	if err := checkMedia(h.Get("X-Upload-Content-Type")); err != nil {
		return nil, err
	}
	up := &session{of: u, size: -1}
	if text := h.Get("X-Upload-Content-Length"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return nil, malformed("badRequest", "Invalid X-Upload-Content-Length "+strconv.Quote(text))
		}
		if err := tooLarge(n, most); err != nil {
			return nil, err
		}
		up.size = n
	}
	meta, err := readAll(q.http.Body, maxMeta)
	if err != nil {
		return nil, err
	}
	if err := up.of.readMeta(meta); err != nil {
		return nil, err
	}
	mb := q.user.box
	mb.mu.Lock()
	id := fmt.Sprintf("AHmUCY%x", mb.gaps.Uint64())
	if mb.sessions == nil {
		mb.sessions = make(map[string]*session)
	}
	mb.sessions[id] = up
	mb.mu.Unlock()
	scheme := "http"
	if q.http.TLS != nil {
		scheme = "https"
	}
	where := *q.http.URL
	where.Scheme, where.Host = scheme, q.http.Host
	params := where.Query()
	params.Set("upload_id", id)
	where.RawQuery = params.Encode()
	return reply{status: http.StatusOK, header: http.Header{
		"Location": {where.String()}, "X-Guploader-Uploadid": {id}, "Content-Type": {"text/plain; charset=utf-8"},
	}}, nil
}

// continueUpload takes a chunk of a session, or tells how far it has come.
func (s *Server) continueUpload(q *request, most int64) (any, error) {
	mb, id := q.user.box, q.query.Get("upload_id")
	mb.mu.Lock()
	u := mb.sessions[id]
	mb.mu.Unlock()
	if u == nil || u.of.method != q.method {
		return nil, notFound("Upload session not found.")
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.result != nil {
		return u.result, nil // the reply to the last chunk may have been lost
	}
	r, err := parseRange(q.http.Header.Get("Content-Range"), q.http.ContentLength)
	if err != nil {
		return nil, err
	}
	if r.total >= 0 {
		if u.size >= 0 && u.size != r.total {
			return nil, malformed("badRequest", "Content-Range has another total than before")
		}
		if err := tooLarge(r.total, most); err != nil {
			return nil, err
		}
		u.size = r.total
	}
	if r.from >= 0 {
		if err := u.take(q.http.Body, r, most); err != nil {
			return nil, err
		}
	}
	if u.size < 0 || int64(len(u.of.data)) < u.size {
		return u.incomplete(q), nil
	}
	if u.result, err = s.store(q, u.of); err != nil {
		return nil, err
	}
	return u.result, nil
}

// take adds a chunk. One that was taken before is passed over: the client has not heard of it.
func (u *session) take(body io.Reader, r contentRange, most int64) error {
	have := int64(len(u.of.data))
	last := r.total >= 0 && r.to+1 == r.total
	switch {
	case r.from > have:
		return malformed("badRequest", fmt.Sprintf("Content-Range begins at %d; so far there are %d", r.from, have))
	case !last && (r.to+1-r.from)%uploadQuantum != 0:
		return malformed("badRequest", "All chunks but the last must be a multiple of 262144 octets")
	}
	chunk, err := readAll(body, r.to+1-r.from)
	if err != nil || int64(len(chunk)) != r.to+1-r.from {
		return apiErr(http.StatusBadRequest, "badRequest", "INVALID_ARGUMENT", "The body is not what Content-Range says")
	}
	if r.to < have {
		return nil
	}
	if err := tooLarge(r.to+1, most); err != nil {
		return err
	}
	u.of.data = append(u.of.data, chunk[have-r.from:]...)
	return nil
}

// incomplete says how far an upload has come. The code for it is 308, which means something else outside of uploads: clients
// may ask for 200.
func (u *session) incomplete(q *request) reply {
	out := reply{status: http.StatusPermanentRedirect, header: make(http.Header)}
	if n := len(u.of.data); n > 0 {
		out.header.Set("Range", fmt.Sprintf("bytes=0-%d", n-1))
	}
	if q.http.Header.Get("X-Guploader-No-308") == "yes" {
		out.status = http.StatusOK
		out.header.Set("X-Http-Status-Code-Override", "308")
	}
	return out
}

// A contentRange is what Content-Range says of a chunk.
type contentRange struct {
	from, to int64 // from is -1 if there are no octets: a question, or an empty message
	total    int64 // -1 = not known yet
}

func parseRange(text string, length int64) (contentRange, error) {
	wrong := malformed("badRequest", "Invalid Content-Range header: "+strconv.Quote(text))
	if text == "" && length >= 0 { // the whole message at once
		if length == 0 {
			return contentRange{-1, -1, -1}, nil
		}
		return contentRange{0, length - 1, length}, nil
	}
	span, total, ok := strings.Cut(strings.TrimPrefix(text, "bytes "), "/")
	r := contentRange{-1, -1, -1}
	var err error
	if !ok || !strings.HasPrefix(text, "bytes ") {
		return r, wrong
	}
	if total != "*" {
		if r.total, err = strconv.ParseInt(total, 10, 64); err != nil || r.total < 0 {
			return r, wrong
		}
	}
	if span == "*" {
		return r, nil
	}
	from, to, ok := strings.Cut(span, "-")
	if r.from, err = strconv.ParseInt(from, 10, 64); err != nil || !ok {
		return r, wrong
	}
	if r.to, err = strconv.ParseInt(to, 10, 64); err != nil || r.from < 0 || r.to < r.from || r.total >= 0 && r.to >= r.total {
		return r, wrong
	}
	return r, nil
}
