package ews

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

// Without a header that the server has kept, the properties make one, each in a field of its own.
func TestRebuiltHeader(t *testing.T) {
	item := &soap.Item{
		Subject: "grüße\r\nX-Evil: 1", MessageID: "<1@a.test>", InReplyTo: "<0@a.test>", Sent: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		From: &soap.Mailbox{Name: "Änn", Address: "ann@a.test"},
		To:   []soap.Mailbox{{Address: "bob@a.test"}, {Name: "Chief", Address: "/o=a/cn=chief", Routing: "EX"}},
	}
	m, err := mail.ReadMessage(strings.NewReader(rebuiltHeader(item, "") + rebuiltText(item)))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"From": "=?utf-8?q?=C3=84nn?= <ann@a.test>", "To": "<bob@a.test>, Chief:;", "Message-Id": "<1@a.test>", "In-Reply-To": "<0@a.test>",
		"Date": "Fri, 02 Jan 2026 03:04:05 +0000", "X-Evil": "", "Mime-Version": "1.0", "Cc": "",
	} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || subject != "grüße  X-Evil: 1" {
		t.Errorf("got subject %q, %v", subject, err)
	}

	// One that it has kept is used, but for what describes the body.
	kept := "Received: from x\n\tby y\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary=old\r\nSubject: as it was\r\nno field\r\n"
	got := rebuiltHeader(item, kept)
	if want := "Received: from x\r\n\tby y\r\nSubject: as it was\r\nMIME-Version: 1.0\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAttachmentHeader(t *testing.T) {
	for _, test := range []struct {
		a    soap.Attachment
		want []string
	}{
		{soap.Attachment{Item: true}, []string{"Content-Type: message/rfc822\r\n\r\n"}},
		{soap.Attachment{Name: "ü.pdf", ContentType: "application/pdf"}, []string{"Content-Type: application/pdf\r\n", "filename*=utf-8''%C3%BC.pdf"}},
		{soap.Attachment{Name: "a\r\nb", ContentType: "x\r\ny: z", Inline: true, ContentID: "<c>"}, []string{"application/octet-stream", "inline; filename=\"a  b\"", "Content-ID: <c>\r\n"}},
	} {
		got := attachmentHeader(test.a)
		for _, want := range test.want {
			if !strings.Contains(got, want) || !strings.HasSuffix(got, "\r\n\r\n") {
				t.Errorf("%+v: got %q, want %q in it", test.a, got, want)
			}
		}
	}
}

func TestBase64Lines(t *testing.T) {
	for _, n := range []int{0, 1, 56, 57, 58, 57 * 64, 57*64 + 1, 100_000} {
		raw := bytes.Repeat([]byte("ab\x00\xff"), n/4+1)[:n]
		got, err := io.ReadAll(iotest.OneByteReader(&base64Lines{r: iotest.HalfReader(bytes.NewReader(raw))}))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(got)) {
			if len(line) > 78 || !strings.HasSuffix(line, "\r\n") {
				t.Fatalf("%d: got the line %q", n, line)
			}
		}
		back, err := base64.StdEncoding.DecodeString(string(got))
		if err != nil || !bytes.Equal(back, raw) {
			t.Errorf("%d: got %d octets back, %v", n, len(back), err)
		}
	}
	broken := &base64Lines{r: io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(fmt.Errorf("cut: %w", io.EOF)))}
	if _, err := io.ReadAll(broken); err == nil || !strings.HasPrefix(err.Error(), "cut") {
		t.Errorf("got %v for a reader that breaks", err)
	}
}

// A text and a message in it, as others read them.
func TestRebuiltParts(t *testing.T) {
	r := newRebuilt(nil, &soap.Item{Subject: "s", Text: "<p>ä</p>", TextType: "HTML"}, "")
	m, err := mail.ReadMessage(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, m.Body))
	if err != nil || string(body) != "<p>ä</p>" || m.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("got %q, %q, %v", m.Header.Get("Content-Type"), body, err)
	}

	r = newRebuilt(nil, &soap.Item{Subject: "s", Attachments: []soap.Attachment{{Name: "a"}}}, "")
	r.parts[3] = func() (io.Reader, error) { return &base64Lines{r: strings.NewReader("attached")}, nil }
	if m, err = mail.ReadMessage(r); err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for _, want := range []string{"", "attached"} {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, part))
		if err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if _, err := parts.NextPart(); err != io.EOF { //nolint:errorlint // the bare one, as multipart has it
		t.Errorf("got %v", err)
	}
}

// Paths are what they are whatever the server says about parents.
func TestFolderPaths(t *testing.T) {
	node := func(id, parent, name string) *folderNode {
		return &folderNode{id: id, parent: parent, name: name}
	}
	nodes := map[string]*folderNode{}
	for _, n := range []*folderNode{
		node("a", "root", "A"), node("b", "a", "B/C"), node("o", "nobody", "Orphan"), node("l1", "l2", "Loop"), node("l2", "l1", "Loop2"),
		node("s1", "a", "S"), node("s2", "a", "S"), node("d", "dump", "Deletions"), node("e", "a", ""),
	} {
		nodes[n.id] = n
	}
	roots := map[string]string{"root": "", "dump": "Recoverable Items"}
	paths := folderPaths(nodes, roots)
	for id, want := range map[string]string{"a": "A", "b": "A/B%2FC", "o": "Orphan", "d": "Recoverable Items/Deletions"} {
		if paths[id] != want {
			t.Errorf("%s: got %q, want %q", id, paths[id], want)
		}
	}
	if paths["s1"] == paths["s2"] || !strings.HasPrefix(paths["s1"], "A/S~") || paths["e"] == "A/" || len(paths["l1"]) > 4000 {
		t.Errorf("got %q", paths)
	}
	again := folderPaths(nodes, roots)
	for id := range paths {
		if paths[id] != again[id] {
			t.Errorf("%s: %q, and then %q", id, paths[id], again[id])
		}
	}
}

// What was yielded is remembered for long, and not for ever.
func TestRecentIsBounded(t *testing.T) {
	r := newRecent()
	ref := func(i int) connection.Ref { return connection.Ref{ID: fmt.Sprint(i)} }
	for i := range mostRecent + 1000 {
		r.add(ref(i))
		r.add(ref(i))
	}
	if len(r.set) != mostRecent || len(r.ring) != mostRecent {
		t.Errorf("%d are remembered, %d in the ring", len(r.set), len(r.ring))
	}
	if r.has(ref(0)) || !r.has(ref(1000)) || !r.has(ref(mostRecent+999)) {
		t.Error("the wrong ones are forgotten")
	}
}
