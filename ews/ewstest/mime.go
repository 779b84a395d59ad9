package ewstest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/textproto"
	"regexp"
	"strings"
)

// mimeOf returns the octets of an item as the server gives them out.
func (s *Server) mimeOf(it *item) payload {
	if s.opts.MIME != MIMEResynthesised {
		return it.body
	}
	raw := make([]byte, it.body.Size())
	if _, err := io.ReadFull(io.NewSectionReader(it.body, 0, it.body.Size()), raw); err != nil {
		return it.body
	}
	s.store.made++
	return bytes.NewReader(resynthesise(raw, s.store.made))
}

// transport are the header fields that a message loses when it is made from properties.
var transport = regexp.MustCompile(`(?i)^(?:received|return-path|dkim-signature|authentication-results|list-id|arc-[a-z-]+|x-[a-z0-9-]+)$`)

var boundaryParameter = regexp.MustCompile(`(?i)boundary="?([^";\r\n]+)"?`)

// resynthesise makes a message anew, as Exchange does: what properties do not hold is lost, some is added, and the boundaries
// of parts are others each time.
func resynthesise(raw []byte, nth int) []byte {
	head, body, found := bytes.Cut(raw, []byte("\r\n\r\n"))
	if !found {
		return raw
	}
	var kept bytes.Buffer
	keep := false
	for line := range bytes.Lines(append(bytes.Clone(head), '\r', '\n')) {
		if line[0] != ' ' && line[0] != '\t' {
			name, _, _ := bytes.Cut(line, []byte(":"))
			keep = !transport.Match(bytes.TrimSpace(name))
		}
		if keep {
			kept.Write(line)
		}
	}
	fmt.Fprintf(&kept, "Thread-Index: %s\r\nX-Mailer: ewstest\r\n", hex.EncodeToString(fmt.Append(nil, nth)))
	made := append(kept.Bytes(), "\r\n"...)
	made = append(made, body...)
	for _, m := range boundaryParameter.FindAllSubmatch(kept.Bytes(), 1) {
		made = bytes.ReplaceAll(made, m[1], fmt.Appendf(nil, "_%06d_made_", nth))
	}
	return made
}

// An attachment is one part of a message that is not its text.
type attachment struct {
	number      int
	name        string
	contentType string
	contentID   string
	content     []byte // decoded
	message     bool   // message/rfc822
}

const attachmentLimit = 16 << 20 // octets of a message whose attachments are looked for

// attachments takes a message apart. Larger ones than attachmentLimit have none.
func (v *view) attachments() []attachment {
	kind, params, err := mime.ParseMediaType(v.head().header.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(kind, "multipart/") || v.it.body.Size() > attachmentLimit {
		return nil
	}
	body := io.NewSectionReader(v.it.body, int64(len(v.head().raw)), v.it.body.Size()-int64(len(v.head().raw)))
	return walkParts(body, params["boundary"], nil, 0)
}

func walkParts(body io.Reader, boundary string, all []attachment, depth int) []attachment {
	parts := multipart.NewReader(body, boundary)
	for depth < 8 && boundary != "" {
		part, err := parts.NextPart()
		if err != nil {
			break
		}
		kind, params, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if err == nil && strings.HasPrefix(kind, "multipart/") {
			all = walkParts(part, params["boundary"], all, depth+1)
			continue
		}
		a := attachment{
			number: len(all), name: cmpOr(part.FileName(), params["name"]), contentType: kind, message: kind == "message/rfc822",
			contentID: strings.Trim(part.Header.Get("Content-Id"), "<>"),
		}
		if a.name == "" && !a.message && disposition(part.Header) != "attachment" {
			continue // the text
		}
		if a.content, err = io.ReadAll(io.LimitReader(decoded(part), attachmentLimit)); err != nil {
			continue
		}
		all = append(all, a)
	}
	return all
}

func disposition(h textproto.MIMEHeader) string {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Disposition"))
	if err != nil {
		return ""
	}
	return kind
}

// attachmentsNode tells the attachments without their content.
func (v *view) attachmentsNode() *node {
	n := typ("Attachments")
	for _, a := range v.attachments() {
		n.add(v.attachmentNode(a))
	}
	if len(n.kids) == 0 {
		return nil
	}
	return n
}

func (v *view) attachmentNode(a attachment) *node {
	name := "FileAttachment"
	if a.message {
		name = "ItemAttachment"
	}
	id := typ("AttachmentId").with("Id", v.s.attachmentID(v.it, a.number))
	return typ(name, id).add(leaf("Name", cmpOr(a.name, "message.eml")), leaf("ContentType", a.contentType), leaf("ContentId", a.contentID),
		typ("Size").say(itoa(len(a.content))), truth("IsInline", a.contentID != ""))
}
