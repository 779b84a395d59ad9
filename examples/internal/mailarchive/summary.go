package mailarchive

import (
	"bufio"
	"io"
	"mime"
	"net/mail"
	"strings"
	"time"
	"unicode"
)

// A Summary is what people look for a message by. It is read from the header as well as that can be read: the message
// itself is never touched, and a field that makes no sense is left out.
type Summary struct {
	From    string    `json:"from,omitempty"`
	To      string    `json:"to,omitempty"`
	Subject string    `json:"subject,omitempty"`
	Date    time.Time `json:"date,omitzero"`
}

// Limits of a Summary: a header may be of any size.
const (
	maxHeader = 64 << 10
	maxField  = 500 // characters
)

// summarize reads the header at the beginning of r. Of a field that is there more than once the first counts.
func summarize(r io.Reader) Summary {
	fields := make(map[string]string)
	name := ""
	for lines := bufio.NewScanner(io.LimitReader(r, maxHeader)); lines.Scan() && lines.Text() != ""; {
		line := lines.Text()
		if line[0] == ' ' || line[0] == '\t' {
			fields[name] += line // folded
			continue
		}
		before, value, found := strings.Cut(line, ":")
		name = strings.ToLower(strings.TrimSpace(before))
		if _, again := fields[name]; again || !found {
			name = "" // and what it is folded into
			continue
		}
		fields[name] = value
	}
	s := Summary{From: readable(fields["from"]), To: readable(fields["to"]), Subject: readable(fields["subject"])}
	if date, err := mail.ParseDate(strings.TrimSpace(fields["date"])); err == nil {
		s.Date = writable(date)
	}
	return s
}

// readable decodes encoded words, and drops what does not print.
func readable(field string) string {
	var words mime.WordDecoder
	if text, err := words.DecodeHeader(field); err == nil {
		field = text
	}
	field = strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(field, "�")))
	if runes := []rune(field); len(runes) > maxField {
		field = string(runes[:maxField]) + "…"
	}
	return field
}
