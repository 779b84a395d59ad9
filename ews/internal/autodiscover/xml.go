package autodiscover

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of what a server may say.
const (
	maxReply = 1 << 20 // octets
	maxDepth = 64
	maxNodes = 50_000
)

var (
	errHTML  = errors.New("the answer is a web page")
	errLarge = fmt.Errorf("the answer is longer than %d octets", maxReply)
)

// A node is an element. Names are local names: prefixes differ from server to server.
type node struct {
	name string
	text []byte
	kids []*node
}

// kid returns the first child of that name along the path, nil if there is none. It may be called on nil.
func (n *node) kid(path ...string) *node {
	for _, name := range path {
		var next *node
		if n != nil {
			for _, k := range n.kids {
				if k.name == name {
					next = k
					break
				}
			}
		}
		n = next
	}
	return n
}

// all returns the children of that name. It may be called on nil.
func (n *node) all(name string) []*node {
	if n == nil {
		return nil
	}
	var found []*node
	for _, k := range n.kids {
		if k.name == name {
			found = append(found, k)
		}
	}
	return found
}

// value returns the text of the child along the path, without white space around it.
func (n *node) value(path ...string) string {
	if k := n.kid(path...); k != nil {
		return strings.TrimSpace(string(k.text))
	}
	return ""
}

// parse reads a document and returns its root. What XML forbids and servers send is mended first.
func parse(data []byte) (*node, error) {
	if len(data) >= 2 && (data[0] == 0xfe && data[1] == 0xff || data[0] == 0xff && data[1] == 0xfe) {
		return nil, errors.New("the answer is UTF-16, want UTF-8")
	}
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	if len(data) == 0 {
		return nil, errors.New("the answer is empty")
	}
	d := xml.NewDecoder(bytes.NewReader(mend(data)))
	d.Strict = false // entities that no DTD declares
	root := &node{}
	open := []*node{root}
	count := 0
	for {
		token, err := d.RawToken()
		if err == io.EOF { //nolint:errorlint // only the bare one is the end
			break
		}
		if err != nil {
			return nil, fmt.Errorf("the answer is no XML: %w", err)
		}
		top := open[len(open)-1]
		switch t := token.(type) {
		case xml.StartElement:
			if strings.EqualFold(t.Name.Local, "html") && len(open) == 1 {
				return nil, errHTML
			}
			if len(open) > maxDepth {
				return nil, errors.New("the answer is nested too deep")
			}
			if count++; count > maxNodes {
				return nil, errors.New("the answer has too many elements")
			}
			n := &node{name: t.Name.Local}
			top.kids = append(top.kids, n)
			open = append(open, n)
		case xml.EndElement:
			if len(open) == 1 || top.name != t.Name.Local {
				return nil, errors.New("the answer is no XML: end tags do not match")
			}
			open = open[:len(open)-1]
		case xml.CharData:
			top.text = append(top.text, t...)
		case xml.Directive:
			if len(t) >= 12 && strings.EqualFold(string(t[:12]), "DOCTYPE html") {
				return nil, errHTML
			}
			return nil, errors.New("the answer has a DOCTYPE")
		}
	}
	if len(open) != 1 || len(root.kids) != 1 {
		return nil, errors.New("the answer breaks off")
	}
	return root.kids[0], nil
}

// mend replaces what XML 1.0 forbids by U+FFFD, and removes an XML declaration, which may claim an encoding or a version
// that encoding/xml refuses.
func mend(data []byte) []byte {
	if bytes.HasPrefix(data, []byte("<?xml")) {
		if end := bytes.Index(data, []byte("?>")); end >= 0 {
			data = data[end+2:]
		}
	}
	out := make([]byte, 0, len(data))
	for len(data) > 0 {
		if data[0] == '&' && len(data) > 1 && data[1] == '#' {
			if n, ok := reference(data); n > 0 && !ok {
				out, data = append(out, "\uFFFD"...), data[n:]
				continue
			}
		}
		r, n := utf8.DecodeRune(data)
		if r == utf8.RuneError && n == 1 || !legal(r) {
			out = append(out, "\uFFFD"...)
		} else {
			out = append(out, data[:n]...)
		}
		data = data[n:]
	}
	return out
}

// reference measures the character reference that data begins with, 0 if it is none, and tells whether its character is
// one that XML permits.
func reference(data []byte) (n int, ok bool) {
	end := bytes.IndexByte(data[:min(len(data), 16)], ';')
	if end < 3 {
		return 0, false
	}
	digits, base := string(data[2:end]), 10
	if digits[0] == 'x' || digits[0] == 'X' {
		digits, base = digits[1:], 16
	}
	r, err := strconv.ParseUint(digits, base, 31)
	if errors.Is(err, strconv.ErrSyntax) {
		return 0, false
	}
	return end + 1, err == nil && legal(rune(r))
}

// legal is the production Char of XML 1.0.
func legal(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xd7ff || r >= 0xe000 && r <= 0xfffd || r >= 0x10000 && r <= 0x10ffff
}

// clean makes a server's text fit for an outcome: one line, printable, short.
func clean(text string) string {
	text = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == utf8.RuneError || !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, text)), " ")
	const most = 200
	if utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:most]) + "…"
	}
	return text
}

// escape writes text into XML.
func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}
