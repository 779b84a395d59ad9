package soap_test

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

// FuzzReader reads any document as the answer to any operation. However it is cut into pieces, the result must be the same;
// and if encoding/xml can read the document, a slow decoder that looks at all of it at once must come to the same items.
func FuzzReader(f *testing.F) {
	ops := []string{"GetItem"}
	for name, s := range answers() {
		ops = append(ops, name)
		f.Add([]byte(s.document), uint8(len(ops)-1), uint64(1))
	}
	for _, mime := range []string{"", "Q", "QQ==", " QUFB\r\n&#xD;QUE", "<![CDATA[QQ==]]>", "<!-- a -->QUFB<b/>"} {
		f.Add([]byte(answer("GetItem", item("&#x0;\x01", mime), failure("GetItem", "ErrorItemNotFound"))), uint8(0), uint64(2))
		f.Add([]byte("<Envelope><Body><GetItemResponse><ResponseMessages><m><Items><Message><MimeContent>"+mime+"</MimeContent></Message></Items></m>"+
			"</ResponseMessages></GetItemResponse></Body></Envelope>"), uint8(0), uint64(3))
	}
	f.Fuzz(func(t *testing.T, document []byte, op uint8, seed uint64) {
		compare(t, document, ops[int(op)%len(ops)], seed)
	})
}

// TestReaderAgreesWithTheReference does the same with documents made at random of what answers are made of.
func TestReaderAgreesWithTheReference(t *testing.T) {
	read, failed, rounds := 0, 0, uint64(3000)
	if slow {
		rounds = 1000
	}
	for seed := range rounds {
		document := randomAnswer(rand.New(rand.NewPCG(seed, 7)))
		compare(t, document, "GetItem", seed)
		if _, end, ok := reference(document); ok && end == connection.ErrUnknown {
			read++
		} else if ok {
			failed++
		}
	}
	if read < 100 || failed < 30 {
		t.Errorf("the reference read %d documents and refused %d: nothing much is compared", read, failed)
	}
}

// randomAnswer makes an answer to GetItem that is somewhat wrong.
func randomAnswer(r *rand.Rand) []byte {
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	var parts func(depth int) string
	parts = func(depth int) string {
		var b strings.Builder
		for range r.IntN(4) {
			switch r.IntN(12) {
			case 0, 1:
				b.WriteString("<t:MimeContent>" + pick("", " ", "QQ==", "QUFB", "QUF\nB&#13;QQ", "Q", "QQ=", "<![CDATA[QUFB]]>", "QU<!-- -->E=", "QUFB<x/>", "!", strings.Repeat("QUFB", 40)) + "</t:MimeContent>")
			case 2, 3:
				b.WriteString("<t:ItemId " + pick(`Id="a"`, `Id='a'`, `Id="a"`, `Id="b"`, `xmlns:Id="c" t:Id="a&amp;&#x41;"`, "") + "/>")
			case 4:
				b.WriteString("<t:Subject>" + pick("Hello", " &lt;b&gt; ", "a&#x1;b", "\r\n\xff", "<i>x</i>y") + "</t:Subject>")
			case 5:
				b.WriteString(pick("<!-- <t:ItemId/> -->", " ", "\r\n", "text", "<?pi <?>", "<t:New a='>'/>", "</t:Odd>", "<![CDATA[ ]]>", "<t:Odd>"))
			case 6, 7:
				if name := pick("t:Attachments", "t:ItemAttachment", "t:Message", "m:Items"); depth < 4 {
					b.WriteString("<" + name + ">" + parts(depth+1) + "</" + name + ">")
				}
			default:
				b.WriteString("<t:Size>1</t:Size>")
			}
		}
		return b.String()
	}
	var messages []string
	for range 1 + r.IntN(3) {
		code := "<m:ResponseCode>" + pick("NoError", " a:NoError ", "ErrorItemNotFound", "") + "</m:ResponseCode>"
		var items strings.Builder
		for range 1 + r.IntN(5)/4 {
			kind := pick("t:Message", "t:Message", "Contact", "x:MeetingRequest")
			items.WriteString("<" + kind + ">" + parts(0) + "</" + kind + ">")
		}
		body := []string{code, "<m:Items>" + items.String() + "</m:Items>", pick("", "", "", parts(2))}
		r.Shuffle(len(body), func(i, j int) { body[i], body[j] = body[j], body[i] })
		messages = append(messages, "<m:M ResponseClass='"+pick("Success", "Success", "Warning", "Error", "")+"'>"+strings.Join(body, "")+"</m:M>")
	}
	return []byte(answer("GetItem", messages...))
}

// compare reads a document in several ways.
func compare(t *testing.T, document []byte, op string, seed uint64) {
	whole, err := read(soap.NewReader(bytes.NewReader(document), op))
	pieces, cut := read(soap.NewReader(&randomReader{bytes.NewReader(document), rand.New(rand.NewPCG(seed, 1))}, op))
	if !sameError(err, cut) || len(whole) != len(pieces) {
		t.Fatalf("as a whole %d messages and %v, in pieces %d and %v\n%s", len(whole), err, len(pieces), cut, document)
	}
	for i := range whole {
		same(t, whole[i], pieces[i])
	}
	if op != "GetItem" {
		return
	}
	want, end, ok := reference(document)
	if !ok {
		return
	}
	if end != connection.KindOf(err) || (end == connection.ErrUnknown) != (err == nil) {
		t.Fatalf("got %v, want %v\n%s", err, end, document)
	}
	if len(whole) != len(want) {
		t.Fatalf("got %d messages and %v, want %d\n%s", len(whole), err, len(want), document)
	}
	for i := range whole {
		if problem := differ(whole[i], want[i]); problem != "" {
			t.Fatalf("message %d: %s\n%s", i, problem, document)
		}
	}
}

func sameError(a, b error) bool {
	return (a == nil) == (b == nil) && connection.KindOf(a) == connection.KindOf(b) && reflect.TypeOf(a) == reflect.TypeOf(b)
}

func same(t *testing.T, a, b delivery) {
	t.Helper()
	if !sameError(a.Err, b.Err) {
		t.Fatalf("payload of %d: as a whole %v, in pieces %v", a.Response.Index, a.Err, b.Err)
	}
	if a.Err == nil && a.Octets != b.Octets {
		t.Fatalf("payload of %d: as a whole %q, in pieces %q", a.Response.Index, a.Octets, b.Octets)
	}
	if x, y := exported(a.Response), exported(b.Response); !reflect.DeepEqual(x, y) {
		t.Fatalf("as a whole\n%+v\nin pieces\n%+v", x, y)
	}
}

// exported returns a response without its payload.
func exported(r *soap.Response) []any {
	v := reflect.ValueOf(*r)
	var fields []any
	for i := range v.NumField() {
		if v.Type().Field(i).IsExported() {
			fields = append(fields, v.Field(i).Interface())
		}
	}
	return fields
}

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
						case msg.class == soap.Failed, paid == it:
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
