package imaptest

import (
	"bytes"
	"mime"
	"net/mail"
	"slices"
	"strings"
)

// section is what stands in the brackets of BODY[…]: "", HEADER, TEXT, HEADER.FIELDS or HEADER.FIELDS.NOT.
type section struct {
	name   string
	fields []string
}

func (c *command) section() (section, error) {
	sec := section{name: strings.ToUpper(c.run(func(b byte) bool { return isAtom(b) && b != ']' }))}
	switch sec.name {
	case "", "HEADER", "TEXT":
	case "HEADER.FIELDS", "HEADER.FIELDS.NOT":
		if err := c.space(); err != nil {
			return sec, err
		}
		err := c.list(func() error {
			field, err := c.astring()
			sec.fields = append(sec.fields, field)
			return err
		})
		if err != nil {
			return sec, err
		}
		if len(sec.fields) == 0 {
			return sec, syntaxf("no header field")
		}
	default:
		return sec, syntaxf("section %s: this server knows no parts", sec.name)
	}
	return sec, c.expect(']')
}

// String returns the section as responses name it.
func (sec section) String() string {
	if len(sec.fields) == 0 {
		return sec.name
	}
	quoted := make([]string, len(sec.fields))
	for i, field := range sec.fields {
		quoted[i] = field
		if strings.ContainsFunc(field, func(r rune) bool { return r > 0x7f || !isAtom(byte(r)) }) {
			quoted[i] = quote(field)
		}
	}
	return sec.name + " (" + strings.Join(quoted, " ") + ")"
}

// of returns the octets of the section.
func (sec section) of(raw []byte) []byte {
	if sec.name == "" {
		return raw
	}
	header, text := splitMessage(raw)
	switch sec.name {
	case "HEADER":
		return header
	case "TEXT":
		return text
	}
	var out []byte
	for name, field := range headerFields(header) {
		listed := slices.ContainsFunc(sec.fields, func(f string) bool { return strings.EqualFold(f, name) })
		if listed == (sec.name == "HEADER.FIELDS") {
			out = append(out, field...)
		}
	}
	return append(out, "\r\n"...) // RFC 3501, 6.4.5: the delimiting blank line is always there
}

// splitMessage cuts a message behind the empty line that ends its header. Both parts together are raw; a message
// without an empty line is all header.
func splitMessage(raw []byte) (header, text []byte) {
	for at := 0; at < len(raw); {
		end := bytes.IndexByte(raw[at:], '\n')
		if end < 0 {
			break
		}
		line := raw[at : at+end]
		at += end + 1
		if len(line) == 0 || len(line) == 1 && line[0] == '\r' {
			return raw[:at], raw[at:]
		}
	}
	return raw, nil
}

// headerFields yields the fields of a header in order: the name, and the octets with name, folded lines and line ends.
func headerFields(header []byte) func(yield func(name string, field []byte) bool) {
	return func(yield func(string, []byte) bool) {
		for len(header) > 0 {
			end := lineEnd(header)
			for end < len(header) && (header[end] == ' ' || header[end] == '\t') {
				end += lineEnd(header[end:])
			}
			field := header[:end]
			header = header[end:]
			name, _, found := bytes.Cut(field, []byte(":"))
			if !found {
				continue // the empty line, or no field at all
			}
			if !yield(string(bytes.TrimRight(name, " \t")), field) {
				return
			}
		}
	}
}

func lineEnd(octets []byte) int {
	if i := bytes.IndexByte(octets, '\n'); i >= 0 {
		return i + 1
	}
	return len(octets)
}

// headerValue returns the first field of that name, unfolded, "" if there is none.
func headerValue(header []byte, name string) (value string, found bool) {
	for n, field := range headerFields(header) {
		if strings.EqualFold(n, name) {
			return unfold(field), true
		}
	}
	return "", false
}

func unfold(field []byte) string {
	_, value, _ := bytes.Cut(field, []byte(":"))
	return strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(string(value)))
}

// decoded returns a header value with its encoded words decoded (RFC 2047), as far as that is possible.
func decoded(value string) string {
	words := mime.WordDecoder{}
	if text, err := words.DecodeHeader(value); err == nil {
		return text
	}
	return value
}

// envelope writes the ENVELOPE of a message, from its top-level header alone.
func envelope(raw []byte) []byte {
	header, _ := splitMessage(raw)
	text := func(name string) []byte {
		value, found := headerValue(header, name)
		if !found {
			return []byte("NIL")
		}
		return nstring(value)
	}
	addresses := func(names ...string) []byte {
		for _, name := range names {
			value, found := headerValue(header, name)
			if !found {
				continue
			}
			if list := addressList(value); list != nil {
				return list
			}
		}
		return []byte("NIL")
	}
	return bytes.Join([][]byte{
		append([]byte("("), text("Date")...), text("Subject"), addresses("From"), addresses("Sender", "From"),
		addresses("Reply-To", "From"), addresses("To"), addresses("Cc"), addresses("Bcc"), text("In-Reply-To"),
		append(text("Message-ID"), ')'),
	}, []byte(" "))
}

// addressList writes the addresses of a header value, nil if there are none.
func addressList(value string) []byte {
	parser := mail.AddressParser{WordDecoder: &mime.WordDecoder{}}
	list, err := parser.ParseList(value)
	if err != nil || len(list) == 0 {
		return nil
	}
	out := []byte("(")
	for _, a := range list {
		name := []byte("NIL")
		if a.Name != "" {
			name = nstring(mime.QEncoding.Encode("utf-8", a.Name))
		}
		at := strings.LastIndexByte(a.Address, '@')
		out = append(out, '(')
		out = append(out, name...)
		out = append(out, " NIL "...)
		out = append(out, nstring(a.Address[:max(at, 0)])...)
		out = append(out, ' ')
		out = append(out, nstring(a.Address[at+1:])...)
		out = append(out, ')')
	}
	return append(out, ')')
}

// nstring writes a value that is there, as a literal if a quoted string cannot hold it.
func nstring(s string) []byte {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
		return []byte(literal(s))
	}
	return []byte(quote(s))
}
