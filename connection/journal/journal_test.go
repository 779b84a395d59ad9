package journal_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/journal"
)

const inner = "Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\nFrom: Ann <ann@example.org>\r\nTo: team@example.org\r\n" +
	"Subject: lunch\r\nMessage-ID: <1@example.org>\r\nContent-Type: multipart/mixed; boundary=\"in\"\r\n\r\n--in\r\n\r\nbody \t\r\n" +
	"--b-not\r\n --b\r\n-- b\r\n--in\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n\r\n\n\r--in--\r\n"

// crlf is for reports that are written down here as they look.
func crlf(s string) string { return strings.ReplaceAll(strings.TrimPrefix(s, "\n"), "\n", "\r\n") }

// report returns a report as Exchange 2007 and later write it.
func report(text, message string) string {
	return crlf(`
Received: from exch.example.org by exch.example.org
From: Microsoft Exchange <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@example.org>
Sender: Microsoft Exchange <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@example.org>
To: journal@example.org
Subject: lunch
X-MS-Journal-Report:
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b"

--b
Content-Type: text/plain; charset="utf-8"
Content-Transfer-Encoding: 7bit

`) + text + "\r\n--b\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\n" + message + "\r\n--b--\r\n"
}

func unwrap(t *testing.T, raw string) *journal.Report {
	t.Helper()
	r, err := journal.Unwrap(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantBody(t *testing.T, r *journal.Report, want string) {
	t.Helper()
	got, err := io.ReadAll(r.Body)
	if err != nil {
		t.Errorf("body: %v after %d octets", err, len(got))
	}
	if string(got) != want {
		t.Errorf("body: got %q, want %q", got, want)
	}
}

func to(address string) journal.Recipient {
	return journal.Recipient{Address: address, Kind: "to"}
}

func recipient(address string) journal.Recipient {
	return journal.Recipient{Address: address, Kind: "recipient"}
}

func TestVersions(t *testing.T) {
	const exchange2003 = `
Microsoft Mail Internet Headers Version 2.0
Received: by exch.example.org id <01C5.1234@exch.example.org>; Mon, 3 Jan 2005 10:00:00 -0000
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b"
Content-class: urn:content-classes:message
Content-Identifer: ExJournalReport
Subject: lunch
From: "System Administrator" <postmaster@example.org>
To: <journal@example.org>
Message-ID: <outer@exch.example.org>

This is a multi-part message in MIME format.

--b
Content-Type: multipart/alternative; boundary="b.alt"

--b.alt
Content-Type: text/plain; charset="iso-8859-1"
Content-Transfer-Encoding: quoted-printable

Sender: M=FCller, Ann <ann@example.org>
Message-ID: <1@example.org>
Recipients:
	Doe, John <john@example.org>
	"Bob ""B"" B" <bob@example.org>
	list@example.org


--b.alt
Content-Type: text/html; charset="iso-8859-1"

<html><body>Sender: evil@example.org<br>Recipients:<br>&nbsp;nobody@example.org</body></html>
--b.alt--

--b
Content-Type: message/rfc822

`
	tests := []struct {
		name string
		raw  string
		want journal.Report
	}{
		{
			"Exchange 2003", crlf(exchange2003) + inner + "\r\n--b--\r\n",
			journal.Report{
				Envelope:   connection.Envelope{From: "ann@example.org", To: []string{"john@example.org", "bob@example.org", "list@example.org"}},
				MessageID:  "<1@example.org>",
				Recipients: []journal.Recipient{recipient("john@example.org"), recipient("bob@example.org"), recipient("list@example.org")},
			},
		},
		{
			"Exchange 2003, spelt right, all on one line",
			crlf("\nContent-Identifier: exjournalreport\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n"+
				"Sender: ann@example.org\nMessage-ID: <1@example.org>\nRecipients: bob@example.org; \"Doe; J.\" <john@example.org>\n--b\nContent-Type: message/rfc822\n\n") +
				inner + "\r\n--b--\r\n",
			journal.Report{
				Envelope:   connection.Envelope{From: "ann@example.org", To: []string{"bob@example.org", "john@example.org"}},
				MessageID:  "<1@example.org>",
				Recipients: []journal.Recipient{recipient("bob@example.org"), recipient("john@example.org")},
			},
		},
		{
			"Exchange 2007", report(crlf(`
Sender: ann@example.org
Subject: lunch
Message-ID: <1@example.org>
Recipient: bob@example.com
`), inner),
			journal.Report{
				Envelope: connection.Envelope{From: "ann@example.org", To: []string{"bob@example.com"}},
				Subject:  "lunch", MessageID: "<1@example.org>", Recipients: []journal.Recipient{recipient("bob@example.com")},
			},
		},
		{
			"Exchange 2010", report(crlf(`
Sender: ann@example.org
On-Behalf-Of: chief@example.org
Subject: Re: lunch: today, or not
Message-ID: <1@example.org>
To: bob@example.org
To: dl-member@example.org, Expanded: dl@example.org
Cc: fwd@example.org, Forwarded: user@example.org
Bcc: secret@example.org, Expanded: dl@example.org
Recipient: out@example.com
`), inner),
			journal.Report{
				Envelope: connection.Envelope{From: "ann@example.org", To: []string{
					"bob@example.org", "dl-member@example.org", "fwd@example.org", "secret@example.org", "out@example.com",
				}},
				OnBehalfOf: "chief@example.org", Subject: "Re: lunch: today, or not", MessageID: "<1@example.org>",
				Recipients: []journal.Recipient{
					to("bob@example.org"),
					{Address: "dl-member@example.org", Kind: "to", Expanded: "dl@example.org"},
					{Address: "fwd@example.org", Kind: "cc", Forwarded: "user@example.org"},
					{Address: "secret@example.org", Kind: "bcc", Expanded: "dl@example.org"},
					recipient("out@example.com"),
				},
			},
		},
		{
			"Exchange 2013, other order, label", report(crlf(`
Sender: <ann@example.org>
Message-Id: <1@example.org>
Subject: lunch
Label: Company Confidential
Mailbox: ann@example.org
SentUtc: 2013-05-01 10:00:00Z
ReceivedUtc: 2013-05-01 10:00:01Z
To: bob@example.org
`), inner),
			journal.Report{
				Envelope: connection.Envelope{From: "ann@example.org", To: []string{"bob@example.org"}},
				Subject:  "lunch", MessageID: "<1@example.org>", Recipients: []journal.Recipient{to("bob@example.org")},
			},
		},
		{
			"Exchange 2016 within the organisation",
			strings.Replace(report("Sender: ann@example.org\r\nTo: bob@example.org\r\n", inner), "X-MS-Journal-Report:", "X-MS-Exchange-Organization-Journal-Report: true", 1),
			journal.Report{
				Envelope:   connection.Envelope{From: "ann@example.org", To: []string{"bob@example.org"}},
				Recipients: []journal.Recipient{to("bob@example.org")},
			},
		},
		{
			"Exchange Online, a recipient twice, a report of non-delivery", report(crlf(`
Sender: <>
Subject: Undeliverable: ü
Message-Id: <1@example.org>
To: bob@example.org
To: Bob@example.org, Expanded: team@example.org, Forwarded: ann@example.org
`), inner),
			journal.Report{
				Envelope: connection.Envelope{From: "", To: []string{"bob@example.org"}},
				Subject:  "Undeliverable: ü", MessageID: "<1@example.org>",
				Recipients: []journal.Recipient{
					to("bob@example.org"), {Address: "Bob@example.org", Kind: "to", Expanded: "team@example.org", Forwarded: "ann@example.org"},
				},
			},
		},
		{
			"another language", report(crlf(`
Absender: "Müller, Ann" <ann@example.org>
Betreff: Mittagessen
Nachrichten-ID: <1@example.org>
Empfänger:
	Bob <bob@example.org>
	john@example.org
`), inner),
			journal.Report{
				Envelope:   connection.Envelope{From: "ann@example.org", To: []string{"bob@example.org", "john@example.org"}},
				MessageID:  "<1@example.org>",
				Recipients: []journal.Recipient{recipient("bob@example.org"), recipient("john@example.org")},
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := unwrap(t, test.raw)
			wantBody(t, got, inner)
			have := journal.Report{
				Envelope: got.Envelope, OnBehalfOf: got.OnBehalfOf, Subject: got.Subject, MessageID: got.MessageID, Recipients: got.Recipients,
			}
			if !reflect.DeepEqual(have, test.want) {
				t.Errorf("got  %+v\nwant %+v", have, test.want)
			}
			if err := got.Next(); err != io.EOF { //nolint:errorlint // promised to be bare
				t.Errorf("Next: got %v, want io.EOF", err)
			}
		})
	}
}

func TestRecipientForms(t *testing.T) {
	dl := func(address, list string) journal.Recipient {
		return journal.Recipient{Address: address, Kind: "to", Expanded: list}
	}
	tests := []struct {
		name, text string
		want       []journal.Recipient
	}{
		{"folded behind a comma", "To: a@x.org,\r\n b@x.org,\r\n\tc@x.org\r\n", []journal.Recipient{to("a@x.org"), to("b@x.org"), to("c@x.org")}},
		{"folded inside", "To: a@x.org\r\n , Expanded: dl@x.org\r\nTo: b@x.org,\r\n  Expanded: dl@x.org\r\n", []journal.Recipient{dl("a@x.org", "dl@x.org"), dl("b@x.org", "dl@x.org")}},
		{"in a list", "To: a@x.org, Expanded: dl@x.org, b@x.org", []journal.Recipient{dl("a@x.org", "dl@x.org"), to("b@x.org")}},
		{"LF only", "To: a@x.org\nTo: b@x.org\n", []journal.Recipient{to("a@x.org"), to("b@x.org")}},
		{"CR only", "To: a@x.org\rTo: b@x.org\r", []journal.Recipient{to("a@x.org"), to("b@x.org")}},
		{"CRCRLF and empty lines", "To: a@x.org\r\r\n\r\r\n\r\nTo: b@x.org\r\r\n", []journal.Recipient{to("a@x.org"), to("b@x.org")}},
		{"byte order mark", "\ufeffTo: a@x.org\r\n", []journal.Recipient{to("a@x.org")}},
		{"upper case, no space, space before the colon", "TO:a@x.org\r\nto : b@x.org\r\n", []journal.Recipient{to("a@x.org"), to("b@x.org")}},
		{"types", "To: SMTP:a@x.org\r\nTo: B [SMTP:b@x.org]\r\nTo: mailto:c@x.org\r\n", []journal.Recipient{to("a@x.org"), to("b@x.org"), to("c@x.org")}},
		{"quoted local part", `To: "a,b;c"@x.org, "d\",e" <d@x.org>`, []journal.Recipient{to(`"a,b;c"@x.org`), to("d@x.org")}},
		{"domain literal", "To: a@[192.0.2.1]\r\n", []journal.Recipient{to("a@[192.0.2.1]")}},
		{"no SMTP address", "To: /o=Org/ou=Site/cn=Recipients/cn=ann\r\nTo: IMCEAEX-_O=ORG_CN=ANN@x.org\r\n", []journal.Recipient{to("/o=Org/ou=Site/cn=Recipients/cn=ann"), to("IMCEAEX-_O=ORG_CN=ANN@x.org")}},
		{"name only", "To: Conference Room\r\nTo: a@x.org", []journal.Recipient{to("Conference Room"), to("a@x.org")}},
		{"non-ASCII", "To: jörg@bücher.example\r\n", []journal.Recipient{to("jörg@bücher.example")}},
		{"unbalanced", "To: \"a@x.org, <b@x.org, c@x.org\r\n", []journal.Recipient{to("\"a@x.org"), to("<b@x.org"), to("c@x.org")}},
		{"unknown redirection", "To: a@x.org, Umgeleitet: dl@x.org\r\n", []journal.Recipient{to("a@x.org")}},
		{"nothing", "To:\r\nTo: ,;\r\nTo: a@x.org\r\n", []journal.Recipient{to("a@x.org")}},
		{"a footer", "To: a@x.org\r\n\r\nThis mail was scanned.\r\n  b@x.org\r\nSee https://x.org/to: it is\r\n", []journal.Recipient{to("a@x.org")}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := "Sender: s@x.org\r\n" + test.text
			if strings.HasPrefix(test.text, "\ufeff") {
				text = test.text
			}
			r := unwrap(t, report(text, inner))
			if !slices.Equal(r.Recipients, test.want) {
				t.Errorf("got %+v, want %+v", r.Recipients, test.want)
			}
			if r.Text != strings.TrimPrefix(text, "\ufeff") {
				t.Errorf("text: got %q, want %q", r.Text, text)
			}
			wantBody(t, r, inner)
		})
	}
}

func TestFields(t *testing.T) {
	r := unwrap(t, report(crlf(`
Sender: a@x.org
Subject: first: a
Subject: second
To: a@x.org,
 b@x.org
SentUtc: 1/2/2020 3:04:05 AM
X-Other: 1
`), inner))
	want := []journal.Field{
		{"Sender", "a@x.org"},
		{"Subject", "first: a"},
		{"Subject", "second"},
		{"To", "a@x.org,\nb@x.org"},
		{"SentUtc", "1/2/2020 3:04:05 AM"},
		{"X-Other", "1"},
	}
	if !slices.Equal(r.Fields, want) || r.Subject != "first: a" {
		t.Errorf("got %q, subject %q, want %q", r.Fields, r.Subject, want)
	}
}

// The text part comes in any charset and transfer encoding.
// A Subject is its sender's: no character of it may begin a line of the report.
func TestLinesWithinASubject(t *testing.T) {
	for _, end := range []string{"\v", "\f", "\u0085", "\u2028", "\u2029"} {
		subject := "lunch" + end + "Sender: eve@example.com" + end + "Bcc: eve@example.com"
		r := unwrap(t, report("Subject: "+subject+"\r\nSender: ann@example.org\r\nTo: bob@example.org", inner))
		if want := (connection.Envelope{From: "ann@example.org", To: []string{"bob@example.org"}}); !reflect.DeepEqual(r.Envelope, want) || r.Subject != subject {
			t.Errorf("%q: envelope %v, want %v; subject %q", end, r.Envelope, want, r.Subject)
		}
	}
}

func TestTextEncodings(t *testing.T) {
	part := func(header, text string) string {
		return crlf("\nX-MS-Journal-Report:\nContent-Type: multipart/mixed; boundary=b\n\n--b\n") + header + "\r\n\r\n" + text +
			"\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n" + inner + "\r\n--b--\r\n"
	}
	utf16 := func(s string) string {
		var b strings.Builder
		for _, c := range "\ufeff" + s {
			b.WriteByte(byte(c))
			b.WriteByte(byte(c >> 8))
		}
		return b.String()
	}
	const subject = "Grüße – 1"
	tests := []struct{ name, header, text, subject string }{
		{"quoted-printable, soft line breaks", "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: Quoted-Printable", "Sender: a@=\r\nx.org\r\nSubject: Gr=C3=BC=C3=9Fe =E2=80=93 1\r\nTo: b=\r\n@x.org\r\n", subject},
		{"base64", "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64", "U2VuZGVyOiBhQHgub3JnDQpTdWJqZWN0OiBHcsO8w59lIOKAkyAxDQpU\r\n  bzogYkB4Lm9yZw0K\r\n", subject},
		{"windows-1252", "Content-Type: text/plain; charset=\"Windows-1252\"", "Sender: a@x.org\r\nSubject: Gr\xfc\xdfe \x96 1\r\nTo: b@x.org\r\n", subject},
		{"another alphabet", "Content-Type: text/plain; charset=iso-8859-7", "Sender: a@x.org\r\nSubject: \xe1 1\r\nTo: b@x.org\r\n", "\ufffd 1"},
		{"utf-16", "Content-Type: text/plain; charset=utf-16\r\nContent-Transfer-Encoding: base64", base64Lines(utf16("Sender: a@x.org\r\nSubject: " + subject + "\r\nTo: b@x.org\r\n")), subject},
		{"said to be ASCII", "Content-Type: text/plain; charset=us-ascii", "Sender: a@x.org\r\nSubject: " + subject + "\r\nTo: b@x.org\r\n", subject},
		{"broken UTF-8", "Content-Type: text/plain; charset=utf-8", "Sender: a@x.org\r\nSubject: \xff 1\r\nTo: b@x.org\r\n", "\ufffd 1"},
		{"header that is not well formed", "Content-Type: text/plain; charset=; x", "Sender: a@x.org\r\nSubject: 1\r\nTo: b@x.org\r\n", "1"},
		{
			"HTML only", "Content-Type: text/html; charset=utf-8",
			"<html><head><style>To: x@x.org</style><title>To: y@x.org</title></head><BODY><!-- <p>To: z@x.org</p> --><div>Sender: <a\r\nhref=\"mailto:a@x.org\">a@x.org</a></div>\r\n<p>Subject: Gr&uuml;&szlig;e &#8211; 1</p><br>To:\r\nb@x.org<BR/></BODY></html>",
			subject,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := unwrap(t, part(test.header, test.text))
			want := connection.Envelope{From: "a@x.org", To: []string{"b@x.org"}}
			if !reflect.DeepEqual(r.Envelope, want) || r.Subject != test.subject {
				t.Errorf("got %+v, subject %q, want %+v, subject %q", r.Envelope, r.Subject, want, test.subject)
			}
			wantBody(t, r, inner)
		})
	}
}

// What cannot be opened comes back whole.
func TestRefused(t *testing.T) {
	const text = "Sender: a@x.org\r\nTo: b@x.org\r\n"
	good := report(text, inner)
	deep := "X-MS-Journal-Report:\r\nContent-Type: multipart/mixed; boundary=b0\r\n\r\n"
	for i := range 30 {
		deep += fmt.Sprintf("--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n", i, i+1)
	}
	tests := []struct {
		name, raw string
		want      error
	}{
		{"ordinary message", inner, journal.ErrNotReport},
		{"nothing", "", journal.ErrNotReport},
		{"no header", "hello\r\nworld", journal.ErrNotReport},
		{"not marked", strings.Replace(good, "X-MS-Journal-Report:", "X-Other:", 1), journal.ErrNotReport},
		{"marked in the body", "Subject: x\r\n\r\nX-MS-Journal-Report:\r\n", journal.ErrNotReport},
		{"another identifier", strings.Replace(good, "X-MS-Journal-Report:", "Content-Identifier: x", 1), journal.ErrNotReport},
		{"no multipart", "X-MS-Journal-Report:\r\n\r\n" + text, connection.ErrUnsupported},
		{"TNEF", "X-MS-Journal-Report:\r\nContent-Type: application/ms-tnef; name=winmail.dat\r\n\r\nxxxx", connection.ErrUnsupported},
		{"no message", strings.Replace(good, "message/rfc822", "text/plain", 1), connection.ErrUnsupported},
		{"something else in front", strings.Replace(good, "--b\r\n", "--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b\r\n", 1), connection.ErrUnsupported},
		{"no text", strings.Replace(good, text, "", 1), connection.ErrCorrupt},
		{"other text", strings.Replace(good, text, "hello,\r\nworld\r\nSubject: a@x.org\r\n", 1), connection.ErrCorrupt},
		{"no boundary", strings.Replace(good, "boundary", "border", 1), connection.ErrCorrupt},
		{"empty boundary", strings.Replace(good, `"b"`, `""`, 1), connection.ErrCorrupt},
		{"endless boundary", strings.Replace(good, `"b"`, strings.Repeat("b", 1000), 1), connection.ErrCorrupt},
		{"cut before the text", good[:strings.Index(good, text)-10], connection.ErrCorrupt},
		{"cut within the text", good[:strings.Index(good, text)+9], connection.ErrCorrupt},
		{"cut in the part's header", good[:strings.Index(good, "message/rfc822")-1], connection.ErrCorrupt},
		{"broken base64", strings.Replace(good, "7bit", "base64", 1), connection.ErrCorrupt},
		{"too deep", deep, connection.ErrCorrupt},
		{"endless header", "X-MS-Journal-Report:\r\n" + strings.Repeat("X-Filler: x\r\n", 500_000), connection.ErrTooLarge},
		{"endless field", "X-MS-Journal-Report:\r\nX-Filler:" + strings.Repeat("x\r\n ", 2_000_000), connection.ErrTooLarge},
		{"endless line", "X-MS-Journal-Report:\r\nX-Filler:" + strings.Repeat("x", 6_000_000), connection.ErrTooLarge},
		{"endless part header", strings.Replace(good, "7bit", strings.Repeat("x", 100_000), 1), connection.ErrTooLarge},
		{"endless text", strings.Replace(good, text, text+strings.Repeat("To: a@x.org\r\n", 500_000), 1), connection.ErrTooLarge},
		{"endless preamble", strings.Replace(good, "\r\n--b\r\n", strings.Repeat("x\r\n", 2_000_000), 1), connection.ErrTooLarge},
		{"too many recipients", strings.Replace(good, text, text+"To: "+strings.Repeat("a@x,", 300_000)+"\r\n", 1), connection.ErrTooLarge},
		{"too many lines", strings.Replace(good, text, text+strings.Repeat("a:\r\n", 300_000)+"\r\n", 1), connection.ErrTooLarge},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := journal.Unwrap(strings.NewReader(test.raw))
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			var e *connection.Error
			if !errors.As(err, &e) || e.Op != "unwrap" {
				t.Errorf("got %#v, want a *connection.Error of unwrap", err)
			}
			got, err := io.ReadAll(r.Body)
			if err != nil || string(got) != test.raw {
				t.Errorf("body: got %d octets, %v, want the %d that came", len(got), err, len(test.raw))
			}
			if err := r.Next(); !errors.Is(err, connection.ErrInvalid) {
				t.Errorf("Next: got %v, want ErrInvalid", err)
			}
		})
	}
}

// Text that is made to take long takes no longer than other text: with quadratic work this would take hours.
func TestHostileText(t *testing.T) {
	const size = 1 << 20
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	for name, text := range map[string]string{
		"brackets":              "To: " + fill("<"),
		"quotes":                "To: " + fill(`"`),
		"closed at the end":     "To: " + fill("<") + ">",
		"short lines":           "To: x\r\n" + fill(" \n"),
		"names without address": "To: " + fill("x,"),
		"long name":             "To: " + fill("x "),
		"separators":            "To: " + fill(",;"),
		"redirections":          "To: a@x.org" + fill(", Expanded: b"),
		"colons":                fill(":") + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			wantBody(t, unwrap(t, report("Sender: a@x.org\r\n"+text, inner)), inner)
		})
	}
	for name, text := range map[string]string{"comments": fill("<!--<a>"), "styles": fill("<style>"), "tags": fill("<"), "entities": fill("&"), "breaks": fill("<br>")} {
		t.Run("HTML "+name, func(t *testing.T) {
			raw := strings.Replace(report("Sender: a@x.org<br>To: b@x.org<br>"+text, inner), "text/plain", "text/html", 1)
			wantBody(t, unwrap(t, raw), inner)
		})
	}
}

// A report that breaks behind its text never looks whole.
func TestBrokenBehindTheText(t *testing.T) {
	const text = "Sender: a@x.org\r\nTo: b@x.org\r\n"
	good := report(text, inner)
	const part = "\r\n--b\r\nContent-Type: "
	at := strings.LastIndex(good, "\r\n--b--")
	tests := []struct {
		name, raw string
		body      string // what can be read all the same
		want      error
	}{
		{"no last delimiter", good[:at], inner[:strings.LastIndex(inner, "--in--")], connection.ErrCorrupt},
		{"last delimiter cut", good[:at+5], inner, connection.ErrCorrupt},
		{"empty message", report(text, ""), "", connection.ErrCorrupt},
		{"something else behind", good[:at] + part + "image/png\r\n\r\nx\r\n--b--\r\n", inner, connection.ErrUnsupported},
		{"endless header behind", good[:at] + part + strings.Repeat("x", 100_000) + "\r\n\r\nx\r\n--b--\r\n", inner, connection.ErrTooLarge},
		{"no boundary behind", good[:at] + part + "multipart/mixed\r\n\r\nx\r\n--b--\r\n", inner, connection.ErrCorrupt},
		{"cut behind", good[:at] + part + "text/plain\r\n\r\nx\r\n", inner, connection.ErrCorrupt},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := unwrap(t, test.raw)
			got, err := io.ReadAll(r.Body)
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if test.body == inner && string(got) != inner || !strings.HasPrefix(inner, string(got)) {
				t.Errorf("got %q, want %q", got, test.body)
			}
			again, err2 := r.Body.Read(make([]byte, 10))
			if again != 0 || !errors.Is(err2, test.want) {
				t.Errorf("read again: got %d, %v", again, err2)
			}
			if err := r.Next(); !errors.Is(err, test.want) {
				t.Errorf("Next: got %v, want %v", err, test.want)
			}
		})
	}
}

// Exchange attaches a protected message twice: as it was sent, and decrypted.
func TestTwoMessages(t *testing.T) {
	good := report("Sender: a@x.org\r\nTo: b@x.org\r\n", inner)
	at := strings.LastIndex(good, "--b--")
	const second = "Subject: clear\r\n\r\ntext\r\n"
	raw := good[:at] + "--b\r\nContent-Type: text/plain\r\n\r\na footer\r\n--b\r\nContent-Type: application/octet-stream; name=\"clear.EML\"\r\n\r\n" + second + "\r\n--b--\r\n"
	t.Run("one after the other", func(t *testing.T) {
		r := unwrap(t, raw)
		got, err := io.ReadAll(r.Body)
		if string(got) != inner || !errors.Is(err, journal.ErrMore) || !errors.Is(err, connection.ErrUnsupported) {
			t.Fatalf("got %q, %v, want the first message and ErrMore", got, err)
		}
		if err := r.Next(); err != nil {
			t.Fatal(err)
		}
		wantBody(t, r, second)
		if err := r.Next(); err != io.EOF { //nolint:errorlint // promised to be bare
			t.Errorf("Next: got %v, want io.EOF", err)
		}
	})
	t.Run("the first passed over", func(t *testing.T) {
		r := unwrap(t, raw)
		if err := r.Next(); err != nil {
			t.Fatal(err)
		}
		wantBody(t, r, second)
	})
}

// Whatever happens to the source happens to Body, and an end that only looks like one is none.
func TestSourceFails(t *testing.T) {
	good := report("Sender: a@x.org\r\nTo: b@x.org\r\n", inner)
	cut := errors.New("the line was cut")
	wrapped := fmt.Errorf("cut: %w", io.EOF)
	for at := range len(good) + 1 {
		for _, fault := range []error{cut, wrapped} {
			src := io.MultiReader(strings.NewReader(good[:at]), iotest.ErrReader(fault))
			r, err := journal.Unwrap(src)
			got, bodyErr := io.ReadAll(r.Body)
			if !errors.Is(bodyErr, fault) {
				t.Fatalf("cut at %d: body: got %v, want %v", at, bodyErr, fault)
			}
			if err != nil && (!errors.Is(err, fault) || string(got) != good[:at]) {
				t.Fatalf("cut at %d: got %v and %d octets, want %v and all of them", at, err, len(got), fault)
			}
			if err == nil && !strings.HasPrefix(inner, string(got)) {
				t.Fatalf("cut at %d: got body %q", at, got)
			}
		}
	}
}

// It does not matter in which pieces a report comes.
func TestPieces(t *testing.T) {
	long := "Subject: long\r\n\r\n" + strings.Repeat("x", 33_000) + "\r" + strings.Repeat("y", 32_767) + "\r\n" + strings.Repeat("z\r", 16_400) + "\n\r\n"
	for _, message := range []string{inner, long, "x", "\r\n", "\n", "\r", "x\r\n\r\n\r\n", strings.Repeat("--b-\r\n", 10_000)} {
		raw := report("Sender: a@x.org\r\nTo: b@x.org\r\n", message)
		for name, split := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "octets": iotest.OneByteReader, "halves": iotest.HalfReader, "end with data": iotest.DataErrReader,
		} {
			t.Run(name, func(t *testing.T) {
				r, err := journal.Unwrap(split(strings.NewReader(raw)))
				if err != nil {
					t.Fatal(err)
				}
				wantBody(t, r, message)
			})
		}
	}
}

// Line ends of the report may be LF; what is attached keeps its own.
func TestLineFeedsOnly(t *testing.T) {
	raw := strings.ReplaceAll(report("Sender: a@x.org\r\nTo: b@x.org\r\n", "@"), "\r\n", "\n")
	r := unwrap(t, strings.Replace(raw, "@\n--b--", inner+"\n--b--  ", 1))
	wantBody(t, r, inner)
}

// The attached message may be encoded, although RFC 2046 forbids it, or be said to be.
func TestEncodedMessage(t *testing.T) {
	for name, test := range map[string]struct{ encoding, raw string }{
		"base64":            {"base64", base64Lines(inner)},
		"said to be base64": {"BASE64", inner},
		"quoted-printable":  {"quoted-printable", strings.NewReplacer("=", "=3D", "\t\r", "=09\r", "\r\n\n\r", "\r\n=0A=0D").Replace(inner)},
		"binary":            {"binary", inner},
	} {
		t.Run(name, func(t *testing.T) {
			raw := report("Sender: a@x.org\r\nTo: b@x.org\r\n", test.raw)
			raw = strings.Replace(raw, "Content-Disposition: attachment", "Content-Transfer-Encoding: "+test.encoding, 1)
			wantBody(t, unwrap(t, raw), inner)
		})
	}
	t.Run("base64 cut short", func(t *testing.T) {
		raw := report("Sender: a@x.org\r\nTo: b@x.org\r\n", base64Lines(inner)[:101])
		raw = strings.Replace(raw, "Content-Disposition: attachment", "Content-Transfer-Encoding: base64", 1)
		if _, err := io.Copy(io.Discard, unwrap(t, raw).Body); !errors.Is(err, connection.ErrCorrupt) {
			t.Errorf("got %v, want ErrCorrupt", err)
		}
	})
}

func base64Lines(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		n := min(57, len(s))
		b.WriteString(base64.StdEncoding.EncodeToString([]byte(s[:n])) + "\r\n")
		s = s[n:]
	}
	return b.String()
}
