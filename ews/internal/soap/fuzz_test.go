package soap_test

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

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
