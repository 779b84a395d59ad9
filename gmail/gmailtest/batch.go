package gmailtest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// batchPath is where batches of Gmail go.
const batchPath = "/batch/gmail/v1"

// maxBatchBody bounds the body of a batch, in octets.
const maxBatchBody = 16 << 20

// batchService says what answers batches.
func (s *Server) batchService() { s.mount("batch", batchPath, s.serveBatch) }

// serveBatch answers many requests at once. Each has its own status within the 200 of the batch; they are answered in another
// order than they were asked, as Google may do.
func (s *Server) serveBatch(q *request) {
	parts, err := s.readBatch(q)
	if err != nil {
		s.answer(q, q.w.(*answer), &plan{cut: -1}, asAPIError(err)) // what is mounted has an answer to write to
		return
	}
	var out bytes.Buffer
	w := multipart.NewWriter(&out)
	for i := len(parts) - 1; i >= 0; i-- {
		rec := &recorder{header: make(http.Header)}
		s.serveAPI(rec, parts[i].r)
		head := textproto.MIMEHeader{"Content-Type": {"application/http"}}
		if id := parts[i].id; id != "" {
			head.Set("Content-ID", "<response-"+strings.TrimPrefix(id, "<"))
		}
		part, _ := w.CreatePart(head) // it writes to memory
		rec.writeTo(part)
	}
	_ = w.Close() // as above
	q.w.Header().Set("Content-Type", "multipart/mixed; boundary="+w.Boundary())
	q.w.WriteHeader(http.StatusOK)
	_, _ = q.w.Write(out.Bytes()) // the client may be gone
}

// A batchPart is one request of a batch.
type batchPart struct {
	id string // Content-ID
	r  *http.Request
}

func (s *Server) readBatch(q *request) ([]batchPart, error) {
	if q.http.Method != http.MethodPost || q.http.URL.Path != batchPath {
		return nil, notFound(noEntity)
	}
	kind, params, err := mime.ParseMediaType(q.http.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/mixed" || params["boundary"] == "" {
		return nil, errBatch("Missing multipart/mixed boundary.")
	}
	body, err := readAll(q.http.Body, maxBatchBody)
	if err != nil {
		return nil, err
	}
	var parts []batchPart
	limit := orDefault(s.opts.Mail.BatchLimit, maxBatch)
	for mr := multipart.NewReader(bytes.NewReader(body), params["boundary"]); ; {
		part, err := mr.NextRawPart()
		if err == io.EOF { //nolint:errorlint // a bare io.EOF is the end
			break
		}
		if err != nil {
			return nil, errBatch(err.Error())
		}
		if len(parts) == limit {
			return nil, errBatch(fmt.Sprintf("Inner request count exceeds the limit of %d.", limit))
		}
		if kind, _, err := mime.ParseMediaType(part.Header.Get("Content-Type")); err != nil || kind != "application/http" {
			return nil, errBatch("An inner request is not application/http.")
		}
		r, err := q.inner(part)
		if err != nil {
			return nil, err
		}
		parts = append(parts, batchPart{part.Header.Get("Content-ID"), r})
	}
	if len(parts) == 0 {
		return nil, errBatch("0 items.")
	}
	return parts, nil
}

// errBatch is the answer to a batch that is none.
func errBatch(why string) *apiError {
	return malformed("badRequest", "The batch request could not be processed: "+why)
}

// inner reads one request of a batch: a request line with a path alone, with or without the version, header fields, and a body. It
// has the token of the batch, unless it brings one.
func (q *request) inner(body io.Reader) (*http.Request, error) {
	b := bufio.NewReader(body)
	tp := textproto.NewReader(b)
	line, err := tp.ReadLine()
	if err != nil {
		return nil, errBatch("An inner request is empty.")
	}
	words := strings.Fields(line)
	if len(words) != 2 && (len(words) != 3 || !strings.HasPrefix(words[2], "HTTP/1.")) {
		return nil, errBatch("Invalid request line " + line)
	}
	where, err := url.ParseRequestURI(words[1])
	if err != nil || where.Host != "" || !strings.HasPrefix(words[1], gmailBase) {
		return nil, errBatch("Invalid inner URL " + words[1])
	}
	header, err := tp.ReadMIMEHeader()
	if err != nil && len(header) == 0 && err != io.EOF { //nolint:errorlint // a bare io.EOF is the end: no field, no body
		return nil, errBatch("Invalid header fields.")
	}
	rest, err := io.ReadAll(b)
	if err != nil {
		return nil, errBatch(err.Error())
	}
	r, err := http.NewRequestWithContext(q.http.Context(), words[0], where.String(), bytes.NewReader(rest))
	if err != nil {
		return nil, errBatch(err.Error())
	}
	r.Header = http.Header(header)
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	if r.Header.Get("Authorization") == "" {
		r.Header.Set("Authorization", q.http.Header.Get("Authorization"))
	}
	r.Header.Del("Accept-Encoding") // an inner answer is not compressed
	r.Host, r.TLS, r.RemoteAddr = q.http.Host, q.http.TLS, q.http.RemoteAddr
	return r, nil
}

// A recorder keeps the answer to one request of a batch.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}

// writeTo writes the answer as HTTP has it.
func (r *recorder) writeTo(w io.Writer) {
	var head bytes.Buffer
	fmt.Fprintf(&head, "HTTP/1.1 %d %s\r\n", r.status, http.StatusText(r.status))
	r.header.Set("Content-Length", fmt.Sprint(r.body.Len()))
	_ = r.header.Write(&head)          // into memory
	_, _ = w.Write(head.Bytes())       // as above
	_, _ = io.WriteString(w, "\r\n")   // as above
	_, _ = io.Copy(w, &r.body)         // as above
	_, _ = io.WriteString(w, "\r\n\n") // as above
}
