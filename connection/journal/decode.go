package journal

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"html"
	"io"
	"mime/quotedprintable"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// decode undoes the transfer encoding of a part. ahead is how the part begins, if known: octets that cannot be base64 are
// not taken for it, whatever the header says.
func (h *header) decode(r io.Reader, ahead []byte) io.Reader {
	switch {
	case h.encoding == "base64" && looksBase64(ahead):
		return base64.NewDecoder(base64.StdEncoding, withoutSpace{r})
	case h.encoding == "quoted-printable":
		return quotedprintable.NewReader(r)
	}
	return r
}

func looksBase64(b []byte) bool {
	line, _, _ := bytes.Cut(bytes.TrimLeft(b, "\r\n"), []byte("\n"))
	for _, c := range bytes.TrimRight(line, " \t\r") {
		if !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=", rune(c)) {
			return false
		}
	}
	return true
}

// withoutSpace drops the white space that encoding/base64 would stumble over.
type withoutSpace struct{ r io.Reader }

func (s withoutSpace) Read(p []byte) (int, error) {
	for {
		n, err := s.r.Read(p)
		kept := 0
		for _, c := range p[:n] {
			if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
				p[kept] = c
				kept++
			}
		}
		if kept > 0 || err != nil || len(p) == 0 {
			return kept, err
		}
	}
}

// utf8 returns the text of a part. Reports are ASCII but for the subject, so that a charset which is not known here costs
// no more than some of its letters.
func (h *header) utf8(raw []byte) string {
	var text string
	switch {
	case strings.HasPrefix(h.charset, "utf-16"):
		text = fromUTF16(raw, h.charset == "utf-16le")
	case h.charset != "utf-8" && singleByte(h.charset):
		text = fromLatin(raw, h.charset)
	default:
		text = strings.ToValidUTF8(string(raw), string(utf8.RuneError))
	}
	text = strings.TrimPrefix(text, "\ufeff")
	if h.mediaType == "text/html" {
		text = fromHTML(text)
	}
	return text
}

func singleByte(charset string) bool {
	return strings.HasPrefix(charset, "iso-8859-") || strings.HasPrefix(charset, "windows-125")
}

// windows1252 are its letters from 0x80, where ISO 8859-1 has controls.
const windows1252 = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ"

// fromLatin reads the charsets of western Europe right. Of the others of one octet a letter only ASCII is certain.
func fromLatin(raw []byte, charset string) string {
	western := charset == "iso-8859-1" || charset == "windows-1252"
	upper := []rune(windows1252)
	var b strings.Builder
	for _, c := range raw {
		switch {
		case c < utf8.RuneSelf:
			b.WriteByte(c)
		case !western:
			b.WriteRune(utf8.RuneError)
		case c < 0xa0:
			b.WriteRune(upper[c-0x80])
		default:
			b.WriteRune(rune(c))
		}
	}
	return b.String()
}

func fromUTF16(raw []byte, little bool) string {
	var order binary.ByteOrder = binary.BigEndian
	if little || bytes.HasPrefix(raw, []byte{0xff, 0xfe}) {
		order = binary.LittleEndian
	}
	units := make([]uint16, 0, len(raw)/2)
	for ; len(raw) >= 2; raw = raw[2:] {
		units = append(units, order.Uint16(raw))
	}
	return string(utf16.Decode(units))
}

// hidden are the elements whose content is not shown, separate those that begin a line and end one.
var (
	hidden   = map[string]bool{"style": true, "script": true, "title": true}
	separate = map[string]bool{"br": true, "p": true, "div": true, "tr": true, "li": true, "pre": true, "table": true, "body": true}
)

// fromHTML returns the lines that a page shows. Servers that render a report anew may leave nothing but HTML of it.
func fromHTML(page string) string {
	page = strings.NewReplacer("\r", " ", "\n", " ").Replace(page)
	plain := lower(page)
	var b strings.Builder
	for at := 0; at < len(page); {
		open := strings.IndexByte(page[at:], '<')
		if open < 0 {
			b.WriteString(page[at:])
			break
		}
		b.WriteString(page[at : at+open])
		at += open
		tag, rest, _ := strings.Cut(plain[at+1:], ">")
		name := tagName(tag)
		at = len(page) - len(rest)
		switch {
		case strings.HasPrefix(tag, "!--"):
			at = after(plain, at-1, "-->")
		case hidden[name]:
			at = after(plain, at, "</"+name+">")
		case separate[strings.TrimPrefix(name, "/")]:
			b.WriteByte('\n')
		}
	}
	text := strings.Split(html.UnescapeString(b.String()), "\n")
	for i, line := range text {
		text[i] = strings.TrimLeft(line, " ")
	}
	return strings.Join(text, "\n")
}

func tagName(tag string) string {
	if end := strings.IndexAny(tag, " \t/"); end > 0 {
		return tag[:end]
	}
	return tag
}

// after returns where what follows mark begins, or the end if there is none.
func after(s string, at int, mark string) int {
	if i := strings.Index(s[at:], mark); i >= 0 {
		return at + i + len(mark)
	}
	return len(s)
}
