package gmailtest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A CopyStyle is how the copies that monitors make are wrapped. The real form is not documented.
type CopyStyle string

// The styles.
const (
	CopyDefault CopyStyle = ""       // multipart/mixed: a text, and the message as message/rfc822
	CopyBase64  CopyStyle = "base64" // the same, the message in base64
	CopyTwice   CopyStyle = "twice"  // two parts of message/rfc822
	CopyNested  CopyStyle = "nested" // a copy of a copy
	CopyNone    CopyStyle = "none"   // no message/rfc822: the message is an attachment of octets
	CopyBare    CopyStyle = "bare"   // the message itself, not wrapped
)

// A direction is what a mailbox did with a message.
type direction uint8

const (
	incoming direction = iota
	outgoing
)

// level is what a monitor takes of a message: all, its header, or "" nothing.
func (m *Monitor) level(d direction, msg *message) string {
	switch {
	case msg.has(labelChat):
		return m.Chats
	case msg.has(labelDraft):
		return m.Drafts
	case d == outgoing:
		return m.Outgoing
	}
	return m.Incoming
}

// copyToMonitors delivers copies of a message to those that monitor the user.
func (s *Server) copyToMonitors(user *account, d direction, msg *message) {
	now := s.now()
	type target struct {
		level string
		box   *mailbox
	}
	var targets []target
	s.mu.Lock()
	address := user.Email
	source, domain, _ := strings.Cut(address, "@")
	for _, m := range s.monitors.of(source) {
		level := m.level(d, msg)
		if dest := s.directory.find(m.Destination + "@" + domain); level != "" && dest != nil && dest.box != nil &&
			!now.Before(m.Begin) && now.Before(m.End) {
			targets = append(targets, target{level, dest.box})
		}
	}
	s.mu.Unlock()
	for _, t := range targets {
		raw := s.wrap(address, msg, t.level, now)
		t.box.add(&message{labels: []string{labelInbox, labelUnread}, content: asContent(raw), internal: instant(now)})
	}
}

// wrap is the copy of a message.
func (s *Server) wrap(source string, msg *message, level string, now time.Time) []byte {
	inner := msg.header()
	if level == FullMessage {
		whole, err := io.ReadAll(msg.reader())
		if err != nil {
			return nil // a Content that cannot be read has no copy
		}
		inner = whole
	}
	style := s.opts.Mail.Monitors.Copies
	switch style {
	case CopyBare:
		return inner
	case CopyNested:
		inner = wrapOnce(source, msg, inner, CopyDefault, now)
	}
	return wrapOnce(source, msg, inner, style, now)
}

// wrapOnce puts a message into another one, which is from the source and has the recipients of the message.
func wrapOnce(source string, msg *message, inner []byte, style CopyStyle, now time.Time) []byte {
	boundary := "=_gmailtest"
	for bytes.Contains(inner, []byte(boundary)) {
		boundary += "_"
	}
	encoding := "7bit"
	if slices.ContainsFunc(inner, func(b byte) bool { return b >= 0x80 }) {
		encoding = "8bit"
	}
	kind, body := "message/rfc822", inner
	switch style {
	case CopyBase64:
		encoding, body = "base64", lines64(inner)
	case CopyNone:
		kind, encoding, body = "application/octet-stream", "base64", lines64(inner)
	}
	var w bytes.Buffer
	fmt.Fprintf(&w, "From: %s\r\n", source)
	for _, name := range []string{"To", "Cc"} {
		if value := msg.field(name); value != "" {
			fmt.Fprintf(&w, "%s: %s\r\n", name, value)
		}
	}
	fmt.Fprintf(&w, "Date: %s\r\nSubject: %s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"%s\"\r\n\r\n", now.UTC().Format(time.RFC1123Z),
		or(msg.field("Subject"), "(no subject)"), boundary)
	fmt.Fprintf(&w, "--%s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nA copy of a message of %s.\r\n", boundary, source)
	times := 1
	if style == CopyTwice {
		times = 2
	}
	for range times {
		fmt.Fprintf(&w, "\r\n--%s\r\nContent-Type: %s\r\nContent-Disposition: attachment; filename=\"message.eml\"\r\nContent-Transfer-Encoding: %s\r\n\r\n", boundary, kind, encoding)
		w.Write(body)
	}
	fmt.Fprintf(&w, "\r\n--%s--\r\n", boundary)
	return w.Bytes()
}

// lines64 is base64 in lines of 76 characters.
func lines64(data []byte) []byte {
	text := base64.StdEncoding.EncodeToString(data)
	var out bytes.Buffer
	for len(text) > 76 {
		out.WriteString(text[:76] + "\r\n")
		text = text[76:]
	}
	out.WriteString(text)
	return out.Bytes()
}
