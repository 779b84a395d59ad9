package gmailtest

import (
	"bufio"
	"encoding/base64"
	"html"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// maxInline is the most octets of a part that messages.get tells itself; more are an attachment.
const maxInline = 64 << 10

// maxNesting bounds how deep parts lie within each other. What lies deeper is an attachment.
const maxNesting = 20

// A part is one MIME part as messages.get tells it.
type part struct {
	id       string
	fields   []field
	kind     string // media type, lower case
	filename string
	size     int64  // octets of the body, decoded
	data     []byte // the body if it is short, or wanted
	inline   bool
	parts    []*part
}

// A mimeWalk reads the parts of a message.
type mimeWalk struct {
	want string // the id of the part whose body is kept, however long it is
}

// A field is one header field.
type field struct{ name, value string }

// readPart reads a MIME entity. What is malformed is taken as it is: Gmail refuses no message for it.
func (w mimeWalk) read(r io.Reader, id string, depth int) *part {
	b := bufio.NewReader(r)
	p := &part{id: id, fields: readFields(b)}
	w.body(p, b, depth)
	return p
}

func (w mimeWalk) body(p *part, body io.Reader, depth int) {
	kind, params, err := mime.ParseMediaType(p.field("Content-Type"))
	if p.kind = kind; err != nil {
		p.kind = "text/plain"
	}
	if _, disposition, err := mime.ParseMediaType(p.field("Content-Disposition")); err == nil {
		p.filename = disposition["filename"]
	}
	if p.filename == "" {
		p.filename = params["name"]
	}
	switch {
	case depth < maxNesting && strings.HasPrefix(p.kind, "multipart/") && params["boundary"] != "":
		w.parts(p, multipart.NewReader(body, params["boundary"]), depth)
	case depth < maxNesting && p.kind == "message/rfc822":
		p.parts = []*part{w.read(p.decoder(body), p.child(0), depth+1)}
	default:
		w.measure(p, p.decoder(body))
	}
}

func (w mimeWalk) parts(p *part, mr *multipart.Reader, depth int) {
	for {
		raw, err := mr.NextRawPart()
		if err != nil {
			return // the end, or a part that is cut
		}
		child := &part{id: p.child(len(p.parts))}
		for name, values := range raw.Header {
			for _, v := range values {
				child.fields = append(child.fields, field{name, v})
			}
		}
		slices.SortStableFunc(child.fields, func(a, b field) int { return strings.Compare(a.name, b.name) })
		w.body(child, raw, depth+1)
		p.parts = append(p.parts, child)
	}
}

// measure reads a body that has no parts. A transfer encoding that is broken ends it.
func (w mimeWalk) measure(p *part, body io.Reader) {
	keep := int64(maxInline)
	if p.id == w.want {
		keep = maxUpload
	}
	p.data, _ = io.ReadAll(io.LimitReader(body, keep))
	rest, _ := io.Copy(io.Discard, body)
	p.size = int64(len(p.data)) + rest
	p.inline = p.size <= maxInline && p.filename == ""
}

func (p *part) child(n int) string {
	if p.id == "" {
		return strconv.Itoa(n)
	}
	return p.id + "." + strconv.Itoa(n)
}

// decoder undoes the transfer encoding.
func (p *part) decoder(body io.Reader) io.Reader {
	switch strings.ToLower(strings.TrimSpace(p.field("Content-Transfer-Encoding"))) {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		return quotedprintable.NewReader(body)
	}
	return body
}

func (p *part) field(name string) string {
	for _, f := range p.fields {
		if strings.EqualFold(f.name, name) {
			return f.value
		}
	}
	return ""
}

// readFields reads header fields to the empty line, unfolded, in their order.
func readFields(r *bufio.Reader) []field {
	var fields []field
	for total := 0; total < maxHeader; {
		line, err := r.ReadString('\n')
		total += len(line)
		text := strings.TrimRight(line, "\r\n")
		if text == "" {
			return fields
		}
		if (text[0] == ' ' || text[0] == '\t') && len(fields) > 0 {
			fields[len(fields)-1].value += " " + textproto.TrimString(text)
		} else if name, value, ok := strings.Cut(text, ":"); ok {
			fields = append(fields, field{strings.TrimSpace(name), textproto.TrimString(value)})
		}
		if err != nil {
			return fields
		}
	}
	return fields
}

// object is the part as messages.get tells it, with its children.
func (p *part) object() object {
	body := obj("size", int(p.size))
	switch {
	case p.inline && p.size > 0:
		body = obj("size", int(p.size), "data", base64.URLEncoding.EncodeToString(p.data))
	case !p.inline && len(p.parts) == 0:
		body = obj("attachmentId", attachmentID(p.id), "size", int(p.size))
	}
	var parts any
	if len(p.parts) > 0 {
		list := make([]object, len(p.parts))
		for i, c := range p.parts {
			list[i] = c.object()
		}
		parts = list
	}
	return obj("partId", p.id, "mimeType", p.kind, "filename", p.filename, "headers", headers(p.fields, nil), "body", body, "parts", parts)
}

// headers are header fields as messages.get tells them; those of some names if there are any.
func headers(fields []field, names []string) []object {
	list := []object{}
	for _, f := range fields {
		if len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, f.name) }) {
			list = append(list, obj("name", f.name, "value", f.value))
		}
	}
	return list
}

// attachmentID is the id of the attachment that is a part.
func attachmentID(part string) string { return "ANGjdJ_" + part }

// find returns a part by its id; nil if there is none.
func (p *part) find(id string) *part {
	if p.id == id {
		return p
	}
	for _, c := range p.parts {
		if found := c.find(id); found != nil {
			return found
		}
	}
	return nil
}

// snippet is the beginning of the first plain text.
func (p *part) snippet() string {
	if p.kind == "text/plain" && p.inline {
		text := []rune(strings.Join(strings.Fields(string(p.data)), " "))
		return html.EscapeString(string(text[:min(len(text), 180)]))
	}
	for _, c := range p.parts {
		if s := c.snippet(); s != "" {
			return s
		}
	}
	return ""
}
