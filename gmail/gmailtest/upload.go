package gmailtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// An upload is a message on its way into a mailbox.
type upload struct {
	method string
	params url.Values
	meta   uploadMeta
	data   []byte
}

// A session is a resumable upload.
type session struct {
	mu     sync.Mutex
	of     upload
	size   int64 // -1 = not told yet
	result any   // once it is whole
}

// uploadMeta is the JSON that comes with a message, or holds it. What a client cannot set is passed over.
type uploadMeta struct {
	Raw      string   `json:"raw"`
	LabelIDs []string `json:"labelIds"`
	ThreadID string   `json:"threadId"`

	ID           string          `json:"id"`
	HistoryID    json.RawMessage `json:"historyId"`
	InternalDate json.RawMessage `json:"internalDate"`
	Snippet      string          `json:"snippet"`
	SizeEstimate int64           `json:"sizeEstimate"`
	Payload      json.RawMessage `json:"payload"`
}

const noMessage = "'raw' RFC822 payload message string or uploading message via /upload/* URL required"

// uploadMethods says what answers the methods that bring a message.
func (s *Server) uploadMethods() {
	saving := []string{scopeFull, scopeModify, scopeInsert}
	s.handle("messages.insert", saving, s.takeMessage)
	s.handle("messages.import", saving, s.takeMessage)
	s.handle("messages.send", []string{scopeFull, scopeModify, scopeCompose, scopeSend}, s.takeMessage)
}

// takeMessage reads a message in whatever form it comes.
func (s *Server) takeMessage(q *request) (any, error) {
	u := upload{method: q.method, params: q.query}
	most := s.opts.Mail.maxUpload()
	if q.method == "messages.send" {
		most = s.opts.Mail.maxSend()
	}
	if !q.upload {
		if err := q.decode(&u.meta); err != nil {
			return nil, err
		}
		if err := u.decodeRaw(most); err != nil {
			return nil, err
		}
		return s.store(q, u)
	}
	if q.has("upload_id") {
		return s.continueUpload(q, most)
	}
	var err error
	switch kind := q.query.Get("uploadType"); kind {
	case "media":
		err = s.readMedia(q, &u, most)
	case "multipart":
		err = s.readMultipart(q, &u, most)
	case "resumable":
		return s.startUpload(q, u, most)
	default:
		err = malformed("badRequest", "Invalid upload request: uploadType "+strconv.Quote(kind))
	}
	if err != nil {
		return nil, err
	}
	return s.store(q, u)
}

// decodeRaw takes the message out of the JSON.
func (u *upload) decodeRaw(most int64) error {
	if u.meta.Raw == "" {
		return invalidArgument(noMessage)
	}
	data, err := decodeBase64(u.meta.Raw)
	if err != nil {
		return malformed("invalidArgument", "Invalid value at 'message.raw' (TYPE_BYTES), Base64 decoding failed")
	}
	u.meta.Raw, u.data = "", data
	return tooLarge(int64(len(data)), most)
}

func tooLarge(size, most int64) error {
	if size <= most {
		return nil
	}
	return apiErr(http.StatusRequestEntityTooLarge, "uploadTooLarge", "", fmt.Sprintf("Request body is too large. Limit: %d", most))
}

// readAll reads a body of at most so many octets.
func readAll(r io.Reader, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, malformed("badRequest", "The body ended early: "+err.Error())
	}
	return b, tooLarge(int64(len(b)), most)
}

// checkMedia refuses what is no message: uploads are message/*.
func checkMedia(contentType string) error {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil || !strings.HasPrefix(kind, "message/") {
		return malformed("badContent", "Media type '"+contentType+"' is not supported. Valid media types: [message/*]")
	}
	return nil
}

func (s *Server) readMedia(q *request, u *upload, most int64) (err error) {
	if err := checkMedia(q.http.Header.Get("Content-Type")); err != nil {
		return err
	}
	if u.data, err = readAll(q.http.Body, most); err != nil {
		return err
	}
	if s.opts.Mail.RecodeMedia {
		u.data = latin1(u.data)
	}
	return nil
}

// latin1 takes octets for characters of ISO 8859-1 and writes them as UTF-8.
func latin1(data []byte) []byte {
	out := make([]rune, len(data))
	for i, b := range data {
		out[i] = rune(b)
	}
	return []byte(string(out))
}

// maxMeta is the longest JSON that may come with an upload, in octets.
const maxMeta = 1 << 20

func (s *Server) readMultipart(q *request, u *upload, most int64) error {
	kind, params, err := mime.ParseMediaType(q.http.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/related" || params["boundary"] == "" {
		return malformed("badRequest", "Invalid multipart request: want multipart/related with a boundary")
	}
	body := io.Reader(q.http.Body)
	if s.opts.Mail.WholeMultipart {
		if u.data, err = readAll(body, most); err != nil {
			return err
		}
		body = bytes.NewReader(u.data)
	}
	parts := multipart.NewReader(body, params["boundary"])
	first, err := parts.NextRawPart()
	if err != nil {
		return malformed("badRequest", "Invalid multipart request with 0 mime parts.")
	}
	if kind, _, err := mime.ParseMediaType(first.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return malformed("badContent", "The first part must be application/json")
	}
	meta, err := readAll(first, maxMeta)
	if err != nil {
		return err
	}
	if err := u.readMeta(meta); err != nil {
		return err
	}
	second, err := parts.NextRawPart()
	if err != nil {
		return malformed("badRequest", "Invalid multipart request with 1 mime parts.")
	}
	if err := checkMedia(second.Header.Get("Content-Type")); err != nil || s.opts.Mail.WholeMultipart {
		return err
	}
	if u.data, err = readAll(second, most); err != nil {
		return err
	}
	if _, err := parts.NextRawPart(); err != io.EOF { //nolint:errorlint // a bare io.EOF is the end; a missing one is wrapped
		return malformed("badRequest", "Invalid multipart request: more than 2 mime parts, or no end")
	}
	return nil
}

func (u *upload) readMeta(text []byte) error {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&u.meta); err != nil {
		return malformed("parseError", "Invalid JSON payload received. "+err.Error())
	}
	u.meta.Raw = "" // the message is uploaded
	return nil
}
