package soap_test

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

// A told is what the reference makes of a response message.
type told struct {
	class, code string
	kind        string
	id, subject string
	payload     string
	has, bad    bool // there is a payload; it is not base64, or what follows it is wrong
}

// differ tells where a delivery is not what the reference makes of it.
func differ(got delivery, want told) string {
	has := got.Response.Body() != nil
	if has != want.has || has && (got.Err != nil) != want.bad || has && !want.bad && got.Octets != want.payload {
		return fmt.Sprintf("got a payload %t %q %v, want %+v", has, got.Octets, got.Err, want)
	}
	if got.Err != nil {
		return ""
	}
	is := told{class: got.Response.Class, code: got.Response.Code}
	if items := got.Response.Items; len(items) > 0 {
		is.kind, is.id, is.subject = items[0].Kind, items[0].ID, items[0].Subject
	}
	want.payload, want.has, want.bad = "", false, false
	if is != want {
		return fmt.Sprintf("got %+v, want %+v", is, want)
	}
	return ""
}

// A tree is an element with all that is in it.
type tree struct {
	prefix, name string
	attrs        []xml.Attr
	kids         []*tree
	text         string // its own
}

func (n *tree) attr(name string) string {
	for _, a := range n.attrs {
		if a.Name.Local == name && a.Name.Space != "xmlns" {
			return a.Value
		}
	}
	return ""
}

// A document that is no XML for other reasons than these is not compared.
var (
	referenceForm = regexp.MustCompile(`&#(x[0-9a-fA-F]{1,20}|[0-9]{1,20});`)
	longReference = regexp.MustCompile(`&#x?[0-9a-fA-F]{21,}`)
)

// legalise replaces what XML forbids by U+FFFD, so that encoding/xml can read it.
func legalise(document []byte) []byte {
	var b []byte
	for rest := bytes.TrimPrefix(document, []byte("\ufeff")); len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		if !legal(r) {
			r = utf8.RuneError
		}
		b = utf8.AppendRune(b, r)
		rest = rest[size:]
	}
	return referenceForm.ReplaceAllFunc(b, func(ref []byte) []byte {
		digits, base := string(ref[2:len(ref)-1]), 10
		if digits[0] == 'x' {
			digits, base = digits[1:], 16
		}
		if n, err := strconv.ParseUint(digits, base, 32); err != nil || n > utf8.MaxRune || !legal(rune(n)) {
			return []byte("\ufffd")
		}
		return ref
	})
}

func legal(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= ' ' && r != 0xfffe && r != 0xffff && utf8.ValidRune(r)
}

// parse makes a tree of the document; nil if encoding/xml cannot, or if it is beyond what the Reader takes.
func parse(document []byte) *tree {
	if bytes.Contains(document, []byte("<![CDATA[")) && referenceForm.Match(document) || longReference.Match(document) {
		return nil // legalise would also change what only looks like a reference
	}
	d := xml.NewDecoder(bytes.NewReader(legalise(document)))
	top := &tree{}
	path := []*tree{top}
	for {
		token, err := d.RawToken()
		if err == io.EOF { //nolint:errorlint // the end is bare
			if len(path) > 1 || len(top.kids) != 1 || strings.TrimSpace(top.text) != "" {
				return nil
			}
			return top.kids[0]
		}
		if err != nil || len(path) > 64 {
			return nil
		}
		in := path[len(path)-1]
		switch token := token.(type) {
		case xml.StartElement:
			n := &tree{prefix: token.Name.Space, name: token.Name.Local, attrs: token.Copy().Attr}
			if strings.Contains(n.name, ":") {
				return nil
			}
			for _, a := range n.attrs {
				if strings.Contains(a.Name.Local, ":") {
					return nil
				}
			}
			in.kids = append(in.kids, n)
			path = append(path, n)
		case xml.EndElement:
			if len(path) == 1 || token.Name.Local != in.name || token.Name.Space != in.prefix {
				return nil
			}
			path = path[:len(path)-1]
		case xml.CharData:
			in.text += string(token)
		case xml.Directive:
			return nil
		}
	}
}

// reference reads the answer to GetItem from a tree of all of it. The kind is that of the error at its end. It is not ok if
// encoding/xml cannot read the document.
func reference(document []byte) (messages []told, end connection.Kind, ok bool) {
	root := parse(document)
	switch {
	case root == nil:
		return nil, 0, false
	case root.name != "Envelope":
		return nil, connection.ErrProtocol, true
	}
	for _, body := range root.kids {
		if body.name != "Body" {
			continue
		}
		for _, n := range body.kids {
			var all []*tree
			switch {
			case n.name == "Fault":
				return nil, 0, false // read by TestFaults
			case n.name != "GetItemResponse":
				continue
			case n.attr("ResponseClass") != "":
				all = append(all, n)
			default:
				for _, list := range n.kids {
					if list.name == "ResponseMessages" {
						all = append(all, list.kids...)
					}
				}
			}
			for _, m := range all {
				msg, broken := tell(m)
				if !broken || msg.has {
					messages = append(messages, msg)
				}
				if broken {
					return messages, connection.ErrProtocol, true
				}
			}
		}
	}
	if len(messages) == 0 {
		return nil, connection.ErrProtocol, true
	}
	return messages, connection.ErrUnknown, true
}

// tell reads a response message. It is broken if the answer cannot be read on behind it.
func tell(m *tree) (msg told, broken bool) {
	msg.class = m.attr("ResponseClass")
	failed := func() bool {
		return msg.class == soap.Failed || msg.class == "" && msg.code != "" && msg.code != soap.NoError
	}
	first, paid := true, (*tree)(nil)
	id := func(n *tree, have *string) {
		if *have != "" && *have != n.attr("Id") {
			broken = true
		}
		*have = n.attr("Id")
	}
	ids := map[*tree]*string{}
	var last *tree
	for _, n := range m.kids {
		switch n.name {
		case "ResponseCode":
			text := strings.TrimSpace(n.text)
			msg.code = text[strings.LastIndexByte(text, ':')+1:]
		case "ItemId":
			if last == nil {
				last, first, msg.kind = &tree{}, false, "Item"
				ids[last] = &msg.id
			}
			id(n, ids[last])
		case "Items", "Attachments":
			for _, it := range n.kids {
				last, ids[it] = it, new(string)
				if first {
					first, msg.kind, ids[it] = false, it.name, &msg.id
				}
				isFirst := ids[it] == &msg.id
				for _, p := range it.kids {
					switch p.name {
					case "ItemId":
						id(p, ids[it])
					case "Subject":
						if isFirst {
							msg.subject = p.text
						}
					case "MimeContent", "MimeContentUTF8":
						octets, some, bad := decode(p)
						switch {
						case failed(), paid == it:
						case paid != nil:
							broken = true
						case some:
							paid, msg.payload, msg.has, msg.bad = it, octets, true, bad
						}
					}
					if broken {
						msg.bad = true
						return msg, true
					}
				}
			}
		}
		if broken {
			msg.bad = true
			return msg, true
		}
	}
	msg.bad = msg.bad || failed()
	return msg, false
}

// decode decodes a payload that is there as a whole.
func decode(n *tree) (octets string, some, bad bool) {
	text := strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "").Replace(n.text)
	if text == "" || len(n.kids) > 0 {
		return "", text != "" || len(n.kids) > 0, len(n.kids) > 0
	}
	whole, rest := text[:len(text)/4*4], text[len(text)/4*4:]
	a, err := base64.StdEncoding.DecodeString(whole)
	short := strings.TrimRight(rest, "=")
	b, short2 := base64.RawStdEncoding.DecodeString(short)
	bad = err != nil || short2 != nil || rest != "" && (short == "" || strings.Contains(whole, "="))
	return string(a) + string(b), true, bad
}

func TestReference(t *testing.T) {
	document := answer("GetItem", item("a", encode(mime)), failure("GetItem", "ErrorItemNotFound"))
	messages, end, ok := reference([]byte(document))
	if !ok || end != connection.ErrUnknown || len(messages) != 2 || messages[0].payload != mime || messages[1].code != "ErrorItemNotFound" {
		t.Fatalf("got %+v, %v, %t: the fuzz test compares nothing", messages, end, ok)
	}
}
