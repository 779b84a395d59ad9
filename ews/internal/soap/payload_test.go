package soap_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

func TestE05Base64AsServersWriteIt(t *testing.T) {
	octets := strings.Repeat(mime, 2000) // more than a buffer
	if len(octets)%3 == 0 {
		octets += "."
	}
	plain := encode(octets)
	lines := func(every int, end string) string {
		var b strings.Builder
		for i := 0; i < len(plain); i += every {
			b.WriteString(plain[i:min(len(plain), i+every)] + end)
		}
		return b.String()
	}
	for name, written := range map[string]string{
		"unbroken":                         plain,
		"LF":                               lines(76, "\n"),
		"CRLF":                             lines(76, "\r\n"),
		"references":                       lines(76, "&#xD;\n"),
		"decimal references":               lines(75, "&#13;&#10;"),
		"spaces and tabs":                  lines(5, " \t"),
		"each digit alone":                 lines(1, "\n"),
		"space around":                     "\n      " + plain + "\n    ",
		"no padding":                       strings.TrimRight(plain, "="),
		"half the padding":                 strings.TrimSuffix(plain, "="),
		"CDATA":                            "<![CDATA[" + plain + "]]>",
		"two CDATA, a comment and a break": "<![CDATA[" + plain[:1001] + "]]>\n<!-- < -->" + plain[1001:2003] + "<?x?><![CDATA[\n" + plain[2003:] + "]]>",
		"digits as references":             "&#x" + fmt.Sprintf("%x", plain[0]) + ";" + plain[1:],
	} {
		document := answer("GetItem", item("a", written), item("b", encode("next")))
		for how, r := range chunks(document) {
			got, err := read(newReader(r, "GetItem", "a", "b"))
			if err != nil || len(got) != 2 || got[0].Err != nil {
				t.Errorf("%s, %s: got %d messages and %v", name, how, len(got), err)
				continue
			}
			if got[0].Octets != octets {
				t.Errorf("%s, %s: got %d other octets than the %d sent", name, how, len(got[0].Octets), len(octets))
			}
			equal(t, "next", got[1].Octets, "next")
		}
	}
}

func TestE05CorruptBase64ConcernsOneItem(t *testing.T) {
	long := encode(strings.Repeat(mime, 3000))
	for name, written := range map[string]string{
		"foreign octet":       "AAA!" + long,
		"later":               long + "\x00AAA",
		"one digit left":      long + "A",
		"padding alone":       "====",
		"after the padding":   "AA==AAAA" + long,
		"padding, far behind": "AA==" + strings.Repeat("\n", 100_000) + "AAAA",
		"named reference":     "AAAA&amp;AAAA",
		"unknown reference":   "AAAA&#xE9;AAAA",
		"an element":          "AAAA<t:b>AAAA</t:b>AAAA",
		"a bracket in CDATA":  "<![CDATA[AAAA]AAAA</t:MimeContent>]]>",
	} {
		document := answer("GetItem", item("a", written), item("b", encode("next")))
		for how, r := range chunks(document) {
			got, err := read(newReader(r, "GetItem", "a", "b"))
			if err != nil || len(got) != 2 {
				t.Errorf("%s, %s: got %d messages and %v, want the next item", name, how, len(got), err)
				continue
			}
			wantKind(t, got[0].Err, connection.ErrCorrupt)
			equal(t, "next", got[1].Octets, "next")
		}
	}
}

func TestE06SplitQuanta(t *testing.T) {
	octets := strings.Repeat("0123456789", 20)
	for size := len(octets) - 4; size <= len(octets); size++ {
		document := answer("GetItem", item("a", encode(octets[:size])))
		start := strings.Index(document, "MimeContent")
		for at := start; at < strings.LastIndex(document, "MimeContent"); at++ {
			for _, behind := range []int{1, 2, 3} {
				three := pieces{document[:at], document[at : at+behind], document[at+behind:]}
				got, err := read(newReader(&three, "GetItem", "a"))
				if err != nil || got[0].Octets != octets[:size] {
					t.Fatalf("%d octets split at %d: got %q and %v", size, at-start, got[0].Octets, err)
				}
			}
		}
	}
}

func TestE06ReadsOfAnySize(t *testing.T) {
	octets := strings.Repeat("0123456789", 2000)
	for _, written := range []string{encode(octets), encode(octets)[:5000] + "\n" + encode(octets)[5000:]} {
		for _, size := range []int{1, 2, 3, 4, 5, 7, 100, 4095, 100_000} {
			r := newReader(strings.NewReader(answer("GetItem", item("a", written))), "GetItem", "a")
			resp, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			if _, err := io.CopyBuffer(onlyWriter{&got}, resp.Body(), make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			equal(t, fmt.Sprintf("octets by %d", size), got.String(), octets)
		}
	}
}

type onlyWriter struct{ io.Writer }

func TestE07SuccessWithoutBody(t *testing.T) {
	for name, content := range map[string]string{
		"absent":      "",
		"empty":       "<t:MimeContent></t:MimeContent>",
		"closed":      `<t:MimeContent CharacterSet="UTF-8"/>`,
		"white space": "<t:MimeContent>\r\n &#xD;<!-- -->\t</t:MimeContent>",
		"empty CDATA": "<t:MimeContent><![CDATA[ ]]></t:MimeContent>",
	} {
		document := answer("GetItem", success("GetItem", "<m:Items><t:Message>"+content+`<t:ItemId Id="a"/><t:Size>7</t:Size></t:Message></m:Items>`), item("b", encode("next")))
		for how, r := range chunks(document) {
			got, err := read(newReader(r, "GetItem", "a", "b"))
			if err != nil || len(got) != 2 {
				t.Fatalf("%s, %s: got %d messages and %v", name, how, len(got), err)
			}
			if got[0].Response.Body() != nil || !got[0].Response.OK() || got[0].Response.Items[0].ID != "a" {
				t.Errorf("%s, %s: got a body, or no item: %+v", name, how, got[0].Response)
			}
			equal(t, "next", got[1].Octets, "next")
		}
	}
}
