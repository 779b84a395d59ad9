package ews

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net/mail"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

// transportHeaders is PR_TRANSPORT_MESSAGE_HEADERS: the header as it was received.
const transportHeaders = 0x007D

// rebuild makes a message of the properties of an item that the server cannot convert, and hands it out.
func (l *loader) rebuild(w *wanted, e *serverError) outcome {
	headers := soap.Tag(transportHeaders, "String")
	r, err := l.conn.oneWith(l.ctx, l.t, soap.GetItem{
		Shape: soap.ItemShape{Base: soap.AllProperties, BodyType: "Best", Properties: []soap.Path{soap.Field("item:Attachments"), headers}},
		Items: []soap.ItemID{w.id},
	}, callOptions{patient: l.o.patient})
	if err != nil || len(r.Items) != 1 || r.Items[0].ID != w.id.ID {
		if !l.lost(w, e.final(true)) {
			return stop
		}
		return done
	}
	item := &r.Items[0]
	m := l.byID[w.id.ID]
	m.msg.Labels = append(m.msg.Labels, Reconstructed)
	m.msg.Size = -1
	made := newRebuilt(l, item, item.Extended[headers.Key()])
	defer made.closeAnswer() // nobody need read it to its end
	m.body = newContent(l, m.msg.Ref, nil, made)
	l.conn.emit(connection.Event{Kind: connection.EventQuirk, Mailbox: l.t.mailbox, Ref: m.msg.Ref, Detail: "made of its properties, since the server cannot convert it: " + e.code})
	if !l.flush() || !l.hand(m) {
		return stop
	}
	return done
}

// A rebuilt reads a message that is made of an item's properties. Attachments are asked for one by one while it is read.
type rebuilt struct {
	l     *loader
	parts []func() (io.Reader, error)
	part  io.Reader // the first of parts, opened
	open  *answer   // of an attachment
	err   error
}

func newRebuilt(l *loader, item *soap.Item, headers string) *rebuilt {
	r := &rebuilt{l: l}
	text := func(s string) {
		r.parts = append(r.parts, func() (io.Reader, error) { return strings.NewReader(s), nil })
	}
	text(rebuiltHeader(item, headers))
	if len(item.Attachments) == 0 {
		text(rebuiltText(item))
		return r
	}
	boundary := rand.Text()
	text("Content-Type: multipart/mixed; boundary=" + boundary + "\r\n\r\n--" + boundary + "\r\n" + rebuiltText(item))
	for _, a := range item.Attachments {
		text("\r\n--" + boundary + "\r\n" + attachmentHeader(a))
		r.parts = append(r.parts, func() (io.Reader, error) { return r.attachment(a) })
	}
	text("\r\n--" + boundary + "--\r\n")
	return r
}

// Read implements io.Reader.
func (r *rebuilt) Read(p []byte) (int, error) {
	for r.err == nil {
		if r.part == nil {
			if len(r.parts) == 0 {
				r.err = io.EOF
				break
			}
			if r.part, r.err = r.parts[0](); r.err != nil {
				break
			}
			r.parts = r.parts[1:]
		}
		n, err := r.part.Read(p)
		switch {
		case err == io.EOF: //nolint:errorlint // only a bare io.EOF is an end
			r.part = nil
			r.closeAnswer()
		case err != nil:
			r.err = err
		}
		if n > 0 {
			return n, nil
		}
	}
	r.closeAnswer()
	return 0, r.err
}

func (r *rebuilt) closeAnswer() {
	if r.open != nil {
		r.open.Close()
		r.open = nil
	}
}

// attachment asks for an attachment. A file comes in base64, a message as it is.
func (r *rebuilt) attachment(a soap.Attachment) (io.Reader, error) {
	ask := soap.GetAttachment{MIME: a.Item, Attachments: []string{a.ID}}
	answer, err := r.l.conn.call(r.l.ctx, r.l.t, ask, callOptions{patient: r.l.o.patient})
	if err != nil {
		return nil, err
	}
	r.open = answer
	response, err := answer.Next()
	switch {
	case err == io.EOF: //nolint:errorlint // only a bare io.EOF is an end
		return nil, &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the server gives no answer about an attachment")}
	case err != nil:
		return nil, err
	}
	if e := refusal(response); e != nil {
		return nil, e.final(true)
	}
	body := response.Body()
	if body == nil {
		body = strings.NewReader("")
	}
	if a.Item {
		return body, nil
	}
	return &base64Lines{r: body}, nil
}

// rebuiltHeader returns the header without the fields that describe the body: as it was received, if the server knows it.
func rebuiltHeader(item *soap.Item, received string) string {
	var b strings.Builder
	keep := true
	for line := range strings.Lines(strings.ReplaceAll(received, "\r\n", "\n")) {
		line = strings.TrimRight(line, "\n")
		if line == "" {
			continue
		}
		if line[0] != ' ' && line[0] != '\t' {
			name, _, ok := strings.Cut(line, ":")
			name = strings.ToLower(strings.TrimSpace(name))
			keep = ok && name != "mime-version" && !strings.HasPrefix(name, "content-")
		}
		if keep {
			b.WriteString(line + "\r\n")
		}
	}
	if b.Len() == 0 {
		field := func(name, value string) {
			if value != "" {
				b.WriteString(name + ": " + value + "\r\n")
			}
		}
		field("From", addresses(item.From))
		field("Sender", addresses(item.Sender))
		field("To", addresses(pointers(item.To)...))
		field("Cc", addresses(pointers(item.Cc)...))
		field("Bcc", addresses(pointers(item.Bcc)...))
		field("Subject", mime.QEncoding.Encode("utf-8", oneLine(item.Subject)))
		for _, sent := range []time.Time{item.Sent, item.Received} {
			if !sent.IsZero() {
				field("Date", sent.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
				break
			}
		}
		field("Message-ID", oneLine(item.MessageID))
		field("In-Reply-To", oneLine(item.InReplyTo))
		field("References", oneLine(item.References))
	}
	return b.String() + "MIME-Version: 1.0\r\n"
}

func pointers(all []soap.Mailbox) []*soap.Mailbox {
	out := make([]*soap.Mailbox, len(all))
	for i := range all {
		out[i] = &all[i]
	}
	return out
}

// addresses returns a list of addresses as a header field has it.
func addresses(all ...*soap.Mailbox) string {
	var out []string
	for _, m := range all {
		if m == nil || m.Address == "" && m.Name == "" {
			continue
		}
		a := mail.Address{Name: oneLine(m.Name), Address: oneLine(m.Address)}
		if !strings.Contains(a.Address, "@") { // Exchange's own kind of address means nothing elsewhere
			out = append(out, mime.QEncoding.Encode("utf-8", or(a.Name, a.Address))+":;")
			continue
		}
		out = append(out, a.String())
	}
	return strings.Join(out, ", ")
}

// oneLine keeps a property from becoming more than one header field.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if control(r) {
			return ' '
		}
		return r
	}, s))
}

// rebuiltText returns the text of a message, as a part with its header.
func rebuiltText(item *soap.Item) string {
	kind := "plain"
	if strings.EqualFold(item.TextType, "HTML") {
		kind = "html"
	}
	var b strings.Builder
	b.WriteString("Content-Type: text/" + kind + "; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	_, _ = io.Copy(&b, &base64Lines{r: strings.NewReader(item.Text)}) // neither end of it fails
	return b.String()
}

func attachmentHeader(a soap.Attachment) string {
	if a.Item {
		return "Content-Type: message/rfc822\r\n\r\n"
	}
	kind := a.ContentType
	if _, _, err := mime.ParseMediaType(kind); err != nil || strings.ContainsFunc(kind, control) {
		kind = "application/octet-stream"
	}
	disposition := "attachment"
	if a.Inline {
		disposition = "inline"
	}
	h := "Content-Type: " + kind + "\r\nContent-Transfer-Encoding: base64\r\n"
	if with := mime.FormatMediaType(disposition, map[string]string{"filename": oneLine(a.Name)}); a.Name != "" && with != "" {
		disposition = with
	}
	h += "Content-Disposition: " + disposition + "\r\n"
	if id := oneLine(a.ContentID); id != "" {
		h += "Content-ID: <" + strings.Trim(id, "<>") + ">\r\n"
	}
	return h + "\r\n"
}

// base64Lines reads what r has in base64, in lines (RFC 2045, 6.8).
type base64Lines struct {
	r    io.Reader
	line []byte
	err  error
}

const base64Line = 57 // octets, which make 76 characters

// Read implements io.Reader.
func (b *base64Lines) Read(p []byte) (int, error) {
	if len(b.line) == 0 && b.err == nil && len(p) > 0 {
		raw := make([]byte, 64*base64Line)
		n, err := io.ReadFull(b.r, raw)
		switch {
		case err == io.EOF, err == io.ErrUnexpectedEOF: //nolint:errorlint // as io.ReadFull has it: what wraps them is a failure
			b.err = io.EOF
		case err != nil:
			b.err = err
			return 0, err
		}
		for raw = raw[:n]; len(raw) > 0; {
			k := min(len(raw), base64Line)
			b.line = base64.StdEncoding.AppendEncode(b.line, raw[:k])
			b.line = append(b.line, '\r', '\n')
			raw = raw[k:]
		}
	}
	n := copy(p, b.line)
	b.line = b.line[n:]
	if n == 0 && len(p) > 0 {
		return 0, b.err
	}
	return n, nil
}
