package journal

import (
	"bufio"
	"bytes"
	"io"
	"mime"
	"strings"
)

// A header is what matters of the header of a report or of one of its parts.
type header struct {
	fields    map[string]string // those of headerFields that it has, the first of each
	mediaType string            // lower case; "" if there is none, or none that can be understood
	boundary  string
	charset   string // lower case
	encoding  string // lower case
	filename  string
}

// The fields by which a report is told: those of Exchange 2007 and later (the second one until it leaves the organisation),
// and those of Exchange 2003, which misspells its own.
const (
	markJournal    = "x-ms-journal-report"
	markInternal   = "x-ms-exchange-organization-journal-report"
	markIdentifier = "content-identifier"
	markMisspelt   = "content-identifer"
)

const (
	contentType        = "content-type"
	contentEncoding    = "content-transfer-encoding"
	contentDisposition = "content-disposition"
)

// headerFields are the fields that are kept.
var headerFields = map[string]bool{
	markJournal: true, markInternal: true, markIdentifier: true, markMisspelt: true,
	contentType: true, contentEncoding: true, contentDisposition: true,
}

// marked reports whether the header is that of a journal report.
func (h *header) marked() bool {
	for _, name := range []string{markJournal, markInternal} {
		if _, ok := h.fields[name]; ok {
			return true
		}
	}
	return strings.EqualFold(h.fields[markIdentifier], "ExJournalReport") || strings.EqualFold(h.fields[markMisspelt], "ExJournalReport")
}

func (h *header) multipart() bool { return strings.HasPrefix(h.mediaType, "multipart/") }

// message reports whether the part is a message. Gateways relabel them.
func (h *header) message() bool {
	switch h.mediaType {
	case "message/rfc822", "message/global":
		return true
	case "application/octet-stream":
		return strings.HasSuffix(strings.ToLower(h.filename), ".eml")
	}
	return false
}

// header reads a header of at most limit octets, and the empty line behind it. A delimiter or the end of the source ends
// it too.
func (w *walker) header(limit int) (*header, error) {
	h := &header{fields: make(map[string]string)}
	size, begins := 0, true
	var field []byte
	for {
		line, err := w.src.ReadSlice('\n')
		ended := err == io.EOF                                  //nolint:errorlint // only the bare one is the end
		if err != nil && !ended && err != bufio.ErrBufferFull { //nolint:errorlint // ReadSlice's own, never wrapped
			return nil, err
		}
		if size += len(line); size > limit {
			return nil, tooLarge("a header is over %d octets", limit)
		}
		w.fresh = begins
		text := bytes.TrimRight(line, "\r\n")
		switch {
		case w.delimiter(line), begins && len(text) == 0:
			h.add(field)
			h.understand()
			w.fresh = true
			return h, nil
		case !begins, text[0] == ' ', text[0] == '\t':
			field = append(field, text...)
		default:
			h.add(field)
			field = append(field[:0], text...)
		}
		begins = err == nil || ended
	}
}

// add keeps an unfolded field if it is one of those that matter.
func (h *header) add(field []byte) {
	name, value, ok := bytes.Cut(field, []byte(":"))
	if !ok {
		return
	}
	key := strings.ToLower(string(bytes.TrimSpace(name)))
	if _, again := h.fields[key]; again || !headerFields[key] {
		return
	}
	h.fields[key] = string(bytes.TrimSpace(value))
}

// understand fills in what the fields say.
func (h *header) understand() {
	h.encoding = strings.ToLower(h.fields[contentEncoding])
	if _, params, err := mime.ParseMediaType(h.fields[contentDisposition]); err == nil {
		h.filename = params["filename"]
	}
	value := h.fields[contentType]
	mediaType, params, err := mime.ParseMediaType(value)
	if err != nil {
		// Whoever wrote it does not know the syntax; a report is not refused for that.
		mediaType, _, _ = strings.Cut(value, ";")
		mediaType = strings.ToLower(strings.TrimSpace(mediaType))
		params = map[string]string{"boundary": parameter(value, "boundary"), "charset": parameter(value, "charset")}
	}
	h.mediaType = mediaType
	h.boundary = strings.TrimRight(params["boundary"], " \t") // RFC 2046, 5.1.1: it does not end in white space
	h.charset = strings.ToLower(params["charset"])
	if h.filename == "" {
		h.filename = params["name"]
	}
}

// parameter finds name's value in a field that is not well formed.
func parameter(field, name string) string {
	at := strings.Index(lower(field), name+"=")
	if at < 0 {
		return ""
	}
	value := strings.TrimLeft(field[at+len(name)+1:], " \t")
	if quoted, ok := strings.CutPrefix(value, `"`); ok {
		value, _, _ = strings.Cut(quoted, `"`)
		return value
	}
	if end := strings.IndexAny(value, "; \t"); end >= 0 {
		value = value[:end]
	}
	return value
}

// lower changes ASCII letters only, so that what is found in the result is at the same place in s.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
