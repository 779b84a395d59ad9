package soap_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

const mime = "From: a@corp.test\r\nSubject: Hello\r\n\r\nBody.\r\n"

func TestE01IllegalReferences(t *testing.T) {
	for _, c := range []struct{ written, want string }{
		{"a&#x0;b", "a\ufffdb"},
		{"a&#0;b", "a\ufffdb"},
		{"a&#x1A;b", "a\ufffdb"},
		{"a&#xFFFE;b", "a\ufffdb"},
		{"a&#xD83D;&#xDE00;b", "a\ufffd\ufffdb"},
		{"a&#x110000;b", "a\ufffdb"},
		{"a&#99999999999999999999999;b", "a\ufffdb"},
		{"a&#x00000000000000000041;b", "aAb"},
		{"&lt;&#x1F600;&amp;&gt;&quot;&apos;", "<\U0001f600&>\"'"},
		{"R&D &nbsp; &#xZZ; &", "R&D &nbsp; &#xZZ; &"},
	} {
		document := answer("GetItem", success("GetItem", `<m:Items><t:Message><t:MimeContent>`+encode(mime)+`</t:MimeContent><t:ItemId Id="a"/>`+
			`<t:Subject>`+c.written+`</t:Subject><t:Attachments><t:FileAttachment><t:Name>`+c.written+`</t:Name></t:FileAttachment></t:Attachments></t:Message></m:Items>`))
		got := mustRead(t, document, "GetItem", "a")[0]
		equal(t, "subject "+c.written, got.Response.Items[0].Subject, c.want)
		equal(t, "attachment", got.Response.Items[0].Attachments[0].Name, c.want)
		equal(t, "octets", got.Octets, mime)
	}
}

func TestE02IllegalOctets(t *testing.T) {
	for _, c := range []struct{ written, want string }{
		{"a\x01b", "a\ufffdb"},
		{"a\x00b", "a\ufffdb"},
		{"a\xffb", "a\ufffdb"},
		{"a\xc3b", "a\ufffdb"},
		{"a\xed\xa0\x80b", "a\ufffd\ufffd\ufffdb"},
		{"a\ufffeb\uffff", "a\ufffdb\ufffd"},
		{"cr\rlf\ncrlf\r\n.", "cr\nlf\ncrlf\n."},
		{"<![CDATA[a\x01<b>&amp;]]x]]>", "a\ufffd<b>&amp;]]x"},
		{"a<!-- <b> \x01 -- -->b<?pi ?>", "ab"},
	} {
		document := answer("GetItem", success("GetItem", `<m:Items><t:Message><t:Subject>`+c.written+`</t:Subject><t:ItemId Id="`+
			strings.NewReplacer("<", "", ">", "").Replace(c.written)+`"/></t:Message></m:Items>`))
		equal(t, "subject", mustRead(t, document, "GetItem")[0].Response.Items[0].Subject, c.want)
	}
}

func TestE03SplitReferences(t *testing.T) {
	document := answer("GetItem", item("&#x41;&amp;", encode(mime)), strings.Replace(item("b", "&#xD;"+encode("second")+"&#13;"), "Hello", "x&#x1A;&#65;&lt;€\r\n]", 1))
	want := mustRead(t, document, "GetItem", "A&", "b")
	for at := range document {
		two := pieces{document[:at], document[at:]}
		got, err := read(newReader(&two, "GetItem", "A&", "b"))
		if err != nil || len(got) != 2 {
			t.Fatalf("split at %d, %q: got %d messages and %v", at, document[max(0, at-10):at], len(got), err)
		}
		for i := range got {
			equal(t, "octets", got[i].Octets, want[i].Octets)
			equal(t, "subject", got[i].Response.Items[0].Subject, want[i].Response.Items[0].Subject)
		}
		equal(t, "subject", got[1].Response.Items[0].Subject, "x\ufffdA<€\n]")
	}
}

func TestE04Declarations(t *testing.T) {
	rest := strings.TrimPrefix(answer("GetItem", item("a", encode(mime))), `<?xml version="1.0" encoding="utf-8"?>`)
	for _, start := range []string{
		"", "\ufeff", "\ufeff<?xml version='1.0'?>", `<?xml version="1.1"?>`, `<?xml version="1.0" encoding="utf-16"?>`,
		"\r\n <?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n<!-- a comment -->\n",
	} {
		equal(t, "octets after "+start, mustRead(t, start+rest, "GetItem", "a")[0].Octets, mime)
	}
	for name, document := range map[string]string{
		"UTF-16, little end first": "\xff\xfe<\x00s\x00",
		"UTF-16, big end first":    "\xfe\xff\x00<\x00s",
		"UTF-16 without its mark":  "<\x00s\x00:\x00",
		"and the other way round":  "\x00<\x00s\x00:",
	} {
		_, err := read(newReader(strings.NewReader(document), "GetItem"))
		wantKind(t, err, connection.ErrProtocol)
		if err == nil || !strings.Contains(err.Error(), "UTF-16") {
			t.Errorf("%s: got %v, want UTF-16 to be named", name, err)
		}
	}
	_, err := read(newReader(strings.NewReader(`<!DOCTYPE Envelope [<!ENTITY a "b">]>`+rest), "GetItem"))
	wantKind(t, err, connection.ErrProtocol)
}

func TestE08Prefixes(t *testing.T) {
	document := answer("GetItem", item("a", encode(mime)), failure("GetItem", "ErrorItemNotFound"))
	for name, replace := range map[string][]string{
		"others":     {"s:", "SOAP-ENV:", "m:", "q0.-:", "t:", "typ:", "xmlns:s=", "xmlns:SOAP-ENV="},
		"swapped":    {"s:", "t:", "m:", "s:", "t:", "m:"},
		"none":       {"s:", "", "m:", "", "t:", "", "xmlns:s=", "xmlns=", "xmlns:m=", "xmlns=", "xmlns:t=", "n="},
		"white":      {"?>", "?>", ">", "\r\n >", "<", "<", "/>", "\r\n/>"},
		"quotes":     {`"`, `'`},
		"spaces":     {"=", " = ", "ResponseClass", "\n\tResponseClass"},
		"the codes":  {"NoError", "\r\n   NoError\t", "ErrorItemNotFound", " ErrorItemNotFound\n"},
		"more":       {"<t:Subject>", "<t:New x='>' y=\"</t:Message>\"><t:ItemId Id='z'/></t:New><t:Subject x='1' x=\"2\">", "<m:Items>", "<m:What/><m:Items>"},
		"processing": {"<t:ItemId", "<?a <t:ItemId?><!--<t:ItemId Id='z'/>--><t:ItemId"},
	} {
		for how, r := range chunks(strings.NewReplacer(replace...).Replace(document)) {
			got, err := read(newReader(r, "GetItem", "a", "b"))
			if err != nil || len(got) != 2 {
				t.Errorf("%s, %s: got %d messages and %v", name, how, len(got), err)
				continue
			}
			equal(t, name+" octets", strings.Trim(got[0].Octets, " "), mime)
			equal(t, name+" id", got[0].Response.Items[0].ID, "a")
			equal(t, name+" kind", got[0].Response.Items[0].Kind, "Message")
			equal(t, name+" code", got[1].Response.Code, "ErrorItemNotFound")
			equal(t, name+" ok", got[1].Response.OK(), false)
		}
	}
}

func TestE09NestedPayloads(t *testing.T) {
	inner := `<t:Attachments><t:FileAttachment><t:AttachmentId Id="f"/><t:Name>f.txt</t:Name><t:Content>` + encode(strings.Repeat("file", 50_000)) + `</t:Content></t:FileAttachment>` +
		`<t:ItemAttachment><t:AttachmentId Id="i"/><t:Name>inner</t:Name><t:Message><t:MimeContent>` + encode("inner") + `</t:MimeContent><t:ItemId Id="inner"/>` +
		`<t:Subject>inner</t:Subject></t:Message></t:ItemAttachment></t:Attachments>`
	for name, content := range map[string]string{
		"behind": "<t:MimeContent>" + encode(mime) + `</t:MimeContent><t:ItemId Id="a"/><t:Subject>outer</t:Subject>` + inner,
		"before": inner + `<t:ItemId Id="a"/><t:Subject>outer</t:Subject><t:MimeContent>` + encode(mime) + "</t:MimeContent>",
		"both":   inner + "<t:MimeContent>" + encode(mime) + `</t:MimeContent><t:ItemId Id="a"/><t:Subject>outer</t:Subject><t:MimeContentUTF8>` + encode("second") + "</t:MimeContentUTF8>",
	} {
		document := answer("GetItem", success("GetItem", "<m:Items><t:Message>"+content+"</t:Message></m:Items>"))
		got := mustRead(t, document, "GetItem", "a")
		equal(t, name, got[0].Octets, mime)
		it := got[0].Response.Items[0]
		equal(t, name, it.Subject, "outer")
		if name != "both" {
			equal(t, name, fmt.Sprint(it.Attachments), "[{false f f.txt   -1 false} {true i inner   -1 false}]")
		}
	}
	document := answer("GetItem", success("GetItem", "<m:Items><t:Message>"+inner+`<t:ItemId Id="a"/></t:Message></m:Items>`))
	if mustRead(t, document, "GetItem", "a")[0].Response.Body() != nil {
		t.Error("an attached item's MIME was given out as the item's")
	}
}

func TestE10OtherOrderThanRequested(t *testing.T) {
	ids := []string{"a", "b", "c"}
	for name, c := range map[string]struct {
		messages []string
		want     string // the items that are given out whole
		agreed   bool
	}{
		"as requested": {[]string{item("a", encode("a")), item("b", encode("b")), item("c", encode("c"))}, "abc", true},
		"swapped":      {[]string{item("b", encode("b")), item("a", encode("a")), item("c", encode("c"))}, "c", false},
		"one missing":  {[]string{item("a", encode("a")), item("c", encode("c"))}, "a", false},
		"tail missing": {[]string{item("a", encode("a")), item("b", encode("b"))}, "ab", false},
		"one more":     {[]string{item("a", encode("a")), item("b", encode("b")), item("c", encode("c")), item("a", encode("a"))}, "abc", false},
		"tail stopped": {[]string{item("a", encode("a")), failure("GetItem", "ErrorBatchProcessingStopped"), failure("GetItem", "ErrorBatchProcessingStopped")}, "a", true},
		"failed twice": {[]string{failure("GetItem", "ErrorItemNotFound"), item("a", encode("a")), item("c", encode("c"))}, "c", false},
		"other case":   {[]string{item("A", encode("a")), item("b", encode("b")), item("c", encode("c"))}, "bc", false},
		"without MIME": {[]string{item("b", ""), item("b", encode("b")), item("c", encode("c"))}, "bc", false},
	} {
		r := newReader(strings.NewReader(answer("GetItem", c.messages...)), "GetItem", ids...)
		all, err := read(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got := ""
		for i, d := range all {
			equal(t, name+" index", d.Response.Index, i)
			switch {
			case d.Err != nil:
				wantKind(t, d.Err, connection.ErrProtocol)
			case d.Response.Body() != nil:
				got += ids[i]
				equal(t, name, d.Octets, ids[i])
			}
		}
		equal(t, name, got, c.want)
		equal(t, name+" agreed", r.Agreed(), c.agreed)
	}
}

func TestE11MixedClasses(t *testing.T) {
	warning := strings.NewReplacer("Success", "Warning", "NoError", "ErrorBatchProcessingStopped").Replace(item("b", encode("b")))
	failed := strings.NewReplacer("Success", "Error", "NoError", "ErrorMimeContentConversionFailed").Replace(item("c", encode("half of it")))
	got := mustRead(t, answer("GetItem", item("a", encode("a")), warning, failed, failure("GetItem", "ErrorItemCorrupt"), item("e", encode("e"))), "GetItem", "a", "b", "c", "d", "e")
	var said []string
	for _, d := range got {
		said = append(said, fmt.Sprintf("%s %s %t %q", d.Response.Class, d.Response.Code, d.Response.OK(), d.Octets))
	}
	equal(t, "deliveries", strings.Join(said, "; "), `Success NoError true "a"; Warning ErrorBatchProcessingStopped true "b"; `+
		`Error ErrorMimeContentConversionFailed false ""; Error ErrorItemCorrupt false ""; Success NoError true "e"`)
}

func TestE12WhatIsNoAnswer(t *testing.T) {
	for name, document := range map[string]string{
		"nothing":             "",
		"white space":         "\r\n  ",
		"a declaration":       `<?xml version="1.0"?>`,
		"half a declaration":  `<?xml vers`,
		"a web page":          "<!DOCTYPE html><html><head><title>Sign in</title></head></html>",
		"a bare web page":     "<HTML><body>Runtime Error</body></HTML>",
		"text":                "Maximum request length exceeded.",
		"another document":    `<?xml version="1.0"?><Autodiscover/>`,
		"no body":             `<s:Envelope xmlns:s="x"><s:Header/></s:Envelope>`,
		"empty body":          envelopeStart + envelopeEnd,
		"another answer":      answer("FindItem", success("FindItem", "")),
		"no response message": answer("GetItem"),
		"empty fault":         envelopeStart + "<s:Fault/>" + envelopeEnd,
		"wrong end tag":       strings.Replace(answer("GetItem", item("a", encode("a"))), "</m:Items>", "</m:Itens>", 1),
		"end tag too many":    strings.Replace(answer("GetItem", item("a", encode("a"))), "</m:Items>", "</m:Items></m:Items>", 1),
		"unclosed":            strings.Replace(answer("GetItem", item("a", encode("a"))), "</m:Items>", "", 1),
		"tag in a tag":        strings.Replace(answer("GetItem", failure("GetItem", "a")), "<m:MessageText>", "<m:MessageText <b>>", 1),
		"nameless tag":        strings.Replace(answer("GetItem", failure("GetItem", "a")), "<m:DescriptiveLinkKey>", "<>", 1),
		"inner doctype":       strings.Replace(answer("GetItem", failure("GetItem", "a")), "<m:DescriptiveLinkKey>", "<!DOCTYPE a>", 1),
		"two ids":             strings.Replace(answer("GetItem", item("a", encode("a"))), "<t:Subject>", `<t:ItemId Id="b"/><t:Subject>`, 1),
		"two payloads":        answer("GetItem", strings.Replace(item("a", encode("a")), "</m:Items>", "<t:Message><t:MimeContent>QUFB</t:MimeContent></t:Message></m:Items>", 1)),
	} {
		for how, r := range chunks(document) {
			all, err := read(newReader(r, "GetItem"))
			if err == nil || !errors.Is(err, connection.ErrProtocol) {
				t.Errorf("%s, %s: got %v", name, how, err)
			}
			for _, d := range all {
				if d.Response.Body() != nil && d.Err == nil {
					t.Errorf("%s, %s: a payload was given out as whole: %q", name, how, d.Octets)
				}
			}
		}
	}
	_, err := read(newReader(strings.NewReader("<!DOCTYPE html><html><head><title>Sign in</title></head></html>"), "GetItem"))
	if err == nil || !strings.Contains(err.Error(), "Sign in") || !strings.Contains(err.Error(), "URL") {
		t.Errorf("got %v, want the page's text and a hint", err)
	}
}

func TestE18CutAnywhere(t *testing.T) {
	reset := &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	document := answer("GetItem", item("a", encode(mime)), item("b", encode("second")))
	whole := [2]int{strings.Index(document, "</m:GetItemResponseMessage>"), strings.LastIndex(document, "</m:GetItemResponseMessage>")}
	for at := range document {
		for _, cause := range []error{io.EOF, reset, fmt.Errorf("body: %w", io.EOF)} {
			got, err := read(newReader(io.MultiReader(strings.NewReader(document[:at]), &failing{cause}), "GetItem", "a", "b"))
			switch {
			case err == nil:
				t.Fatalf("cut at %d by %v: got no error", at, cause)
			case cause == io.EOF: //nolint:errorlint // the bare one of the table
				wantKind(t, err, connection.ErrProtocol)
			case !errors.Is(err, cause):
				t.Errorf("cut at %d by %v: got %v", at, cause, err)
			}
			for i, d := range got {
				complete := d.Err == nil && d.Response.Body() != nil
				if end := whole[i] + len("</m:GetItemResponseMessage>"); complete != (at >= end) {
					t.Fatalf("cut at %d, item %d ends at %d: got %q and %v", at, i, end, d.Octets, d.Err)
				}
			}
		}
	}
	if connection.KindOf(reset) != connection.ErrNetwork {
		t.Error("a reset is no network error")
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func TestE20IdsThatDifferInCase(t *testing.T) {
	r := newReader(strings.NewReader(answer("GetItem", item("AAMkA+/=", encode("a")), item("AAMka+/=", encode("b")))), "GetItem", "AAMkA+/=", "AAMka+/=")
	got, err := read(r)
	if err != nil || got[0].Err != nil || got[1].Err != nil || !r.Agreed() {
		t.Fatalf("got %+v and %v", got, err)
	}
	equal(t, "first id", got[0].Response.Items[0].ID, "AAMkA+/=")
	equal(t, "second id", got[1].Response.Items[0].ID, "AAMka+/=")
}

func TestE21LongIds(t *testing.T) {
	id := strings.Repeat("AAMkAGI2+/", 3000) + "=="
	for how, r := range chunks(answer("GetItem", item(id, encode(mime)))) {
		got, err := read(newReader(r, "GetItem", id))
		if err != nil || got[0].Err != nil || got[0].Response.Items[0].ID != id {
			t.Errorf("%s: got %v", how, err)
		}
	}
}

func TestE48StrayGroupsAndKinds(t *testing.T) {
	document := answer("FindItem", success("FindItem", `<m:RootFolder IndexedPagingOffset="2" TotalItemsInView="7" IncludesLastItemInRange="false">`+
		`<t:Groups><t:GroupedItems><t:Items><t:Message><t:ItemId Id="grouped"/></t:Message></t:Items></t:GroupedItems></t:Groups>`+
		`<t:Items><t:MeetingRequest><t:ItemId Id="a" ChangeKey="k"/><t:DateTimeReceived>2016-02-29T23:59:59.123456789Z</t:DateTimeReceived>`+
		`<t:ItemClass>IPM.Schedule.Meeting.Request</t:ItemClass><t:IsRead>1</t:IsRead></t:MeetingRequest>`+
		`<t:Strange><t:ItemId Id="b"/><t:DateTimeReceived>2016-02-29T23:59:59</t:DateTimeReceived><t:Size>-1</t:Size></t:Strange></t:Items><t:Groups/></m:RootFolder>`))
	got := mustRead(t, document, "FindItem")[0].Response
	equal(t, "items", len(got.Items), 2)
	equal(t, "kind", got.Items[0].Kind, "MeetingRequest")
	equal(t, "class", got.Items[0].Class, "IPM.Schedule.Meeting.Request")
	equal(t, "received", got.Items[0].Received, time.Date(2016, 2, 29, 23, 59, 59, 123456789, time.UTC))
	equal(t, "read", got.Items[0].Read && got.Items[0].ReadKnown, true)
	equal(t, "other kind", got.Items[1].Kind, "Strange")
	equal(t, "no zone", got.Items[1].Received, time.Date(2016, 2, 29, 23, 59, 59, 0, time.UTC))
	equal(t, "read unknown", got.Items[1].ReadKnown, false)
	equal(t, "offset", got.NextOffset, 2)
	equal(t, "total", got.Total, 7)
	equal(t, "last", got.Last, false)
	equal(t, "last known", got.LastKnown, true)
}

func TestE58AnotherItemsId(t *testing.T) {
	for name, id := range map[string]string{"another": `<t:ItemId Id="b"/>`, "none": "", "an empty one": `<t:ItemId Id=""/>`} {
		first := strings.Replace(item("a", encode(mime)), `<t:ItemId Id="a" ChangeKey="CQ=="/>`, id, 1)
		r := newReader(strings.NewReader(answer("GetItem", first, item("c", encode("next")))), "GetItem", "a", "c")
		got, err := read(r)
		if err != nil || len(got) != 2 {
			t.Fatalf("%s: got %d messages and %v", name, len(got), err)
		}
		wantKind(t, got[0].Err, connection.ErrProtocol)
		equal(t, "next", got[1].Octets, "next")
		equal(t, "agreed", r.Agreed(), false)
	}
	got := mustRead(t, answer("GetItem", item("b", encode(mime))), "GetItem") // nothing is expected
	equal(t, "octets", got[0].Octets, mime)
}

func TestBodyThatIsLeft(t *testing.T) {
	long := encode(strings.Repeat(mime, 20_000))
	for how, r := range chunks(answer("GetItem", item("a", long), item("b", "<![CDATA["+long+"]]>"), item("c", encode("last")))) {
		if how == "octet by octet" {
			continue // slow, and no different from the others
		}
		reader := newReader(r, "GetItem", "a", "b", "c")
		var left io.Reader
		for i := range 3 {
			resp, err := reader.Next()
			if err != nil || resp.Index != i {
				t.Fatalf("%s: got %v", how, err)
			}
			if left != nil {
				if n, err := left.Read(make([]byte, 10)); n > 0 || err == nil || err == io.EOF { //nolint:errorlint // the end is bare
					t.Errorf("%s: a body that was left gives %d octets and %v", how, n, err)
				}
			}
			left = resp.Body()
			if _, err := left.Read(make([]byte, 4)); err != nil {
				t.Errorf("%s: %v", how, err)
			}
		}
		if octets, err := io.ReadAll(left); err != nil || string(octets) != "t" && string(octets) != "" {
			t.Errorf("%s: got %q and %v", how, octets, err)
		}
		if _, err := reader.Next(); err != io.EOF { //nolint:errorlint // the end is bare
			t.Errorf("%s: got %v, want the end", how, err)
		}
		equal(t, "agreed", reader.Agreed(), true)
	}
}
