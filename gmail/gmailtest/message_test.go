package gmailtest_test

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mailconn/mailconn/gmail/gmailtest"
	gapi "google.golang.org/api/gmail/v1"
)

const nested = "From: bob@corp.example\r\nTo: ann@corp.example\r\nSubject: parts\r\n and more\r\nMIME-Version: 1.0\r\nX-Odd:\r\n" +
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" +
	"Gr=C3=BC=C3=9Fe & more\r\n--b\r\nContent-Type: application/pdf; name=\"a.pdf\"\r\nContent-Disposition: attachment; filename=\"a.pdf\"\r\n" +
	"Content-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nInner text\r\n--b--\r\n"

func rawOf(t *testing.T, m *gapi.Message) []byte {
	t.Helper()
	raw, err := base64.URLEncoding.DecodeString(m.Raw)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestGetFormats(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{})
	at := time.Date(2026, 5, 6, 7, 8, 9, 123e6, time.UTC)
	id := srv.DeliverWith(ann, []byte(nested), gmailtest.Delivery{Internal: at, Labels: []string{"INBOX", "STARRED"}})
	get := func(format string) *gapi.Message {
		t.Helper()
		m, err := svc.Users.Messages.Get("me", id).Format(format).Do()
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(m.LabelIds)
		if m.Id != id || m.ThreadId == "" || m.HistoryId != srv.HistoryID(ann) || m.InternalDate != at.UnixMilli() ||
			!slices.Equal(m.LabelIds, []string{"INBOX", "STARRED"}) || m.SizeEstimate == int64(len(nested)) || m.SizeEstimate == 0 {
			t.Errorf("%s: got %+v", format, m)
		}
		if m.Snippet != "Grüße &amp; more" {
			t.Errorf("%s: snippet %q", format, m.Snippet)
		}
		return m
	}
	if m := get("minimal"); m.Payload != nil || m.Raw != "" {
		t.Errorf("minimal: got %+v", m)
	}
	if m := get("raw"); m.Payload != nil || string(rawOf(t, m)) != nested {
		t.Errorf("raw: got %q", rawOf(t, m))
	}
	if m := get("metadata"); m.Payload == nil || m.Payload.Parts != nil || m.Payload.Body != nil || len(m.Payload.Headers) != 6 || m.Payload.Headers[2].Value != "parts and more" {
		t.Errorf("metadata: got %+v", m.Payload)
	}
	m := get("full")
	p := m.Payload
	if p.MimeType != "multipart/mixed" || len(p.Parts) != 3 || p.PartId != "" {
		t.Fatalf("full: got %+v", p)
	}
	text, pdf, inner := p.Parts[0], p.Parts[1], p.Parts[2]
	if data, err := base64.URLEncoding.DecodeString(text.Body.Data); err != nil || string(data) != "Grüße & more" || text.PartId != "0" {
		t.Errorf("text: got %q, %v", data, err)
	}
	if pdf.Filename != "a.pdf" || pdf.Body.AttachmentId == "" || pdf.Body.Data != "" || pdf.Body.Size != 4 {
		t.Errorf("attachment: got %+v", pdf.Body)
	}
	if inner.MimeType != "message/rfc822" || len(inner.Parts) != 1 || inner.Parts[0].PartId != "2.0" {
		t.Errorf("message in message: got %+v", inner)
	}
	a, err := svc.Users.Messages.Attachments.Get("me", id, pdf.Body.AttachmentId).Do()
	if err != nil || a.Data != base64.URLEncoding.EncodeToString([]byte("%PDF")) || a.Size != 4 {
		t.Errorf("attachment: got %+v, %v", a, err)
	}
	one, err := svc.Users.Messages.Get("me", id).Format("metadata").MetadataHeaders("subject").Do()
	if err != nil || len(one.Payload.Headers) != 1 {
		t.Errorf("one header field: got %+v, %v", one.Payload, err)
	}
	fields, err := svc.Users.Messages.Get("me", id).Format("raw").Fields("id", "raw").Do()
	if err != nil || fields.HistoryId != 0 || fields.Snippet != "" || string(rawOf(t, fields)) != nested {
		t.Errorf("fields: got %+v, %v", fields, err)
	}
}

func TestGetRefusals(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{AllowBadRequests: true})
	id := srv.Deliver(ann, letter("1"))[0]
	_, err := svc.Users.Messages.Get("me", "18c0").Do()
	refusal(t, err, http.StatusNotFound, "notFound")
	_, err = svc.Users.Messages.Get("me", "msg_12ab").Do()
	refusal(t, err, http.StatusBadRequest, "invalidArgument")
	_, err = svc.Users.Messages.Get("me", id).Format("RAW").Do()
	refusal(t, err, http.StatusBadRequest, "invalidParameter")
	for _, attachment := range []string{"x", "ANGjdJ_7"} {
		_, err = svc.Users.Messages.Attachments.Get("me", id, attachment).Do()
		refusal(t, err, http.StatusBadRequest, "invalidArgument")
	}
	metadata := gmail(t, srv, srv.Token(ann, gapi.GmailMetadataScope))
	_, err = metadata.Users.Messages.Get("me", id).Format("raw").Do()
	refusal(t, err, http.StatusForbidden, "insufficientPermissions")
	if _, err = metadata.Users.Messages.Get("me", id).Format("metadata").Do(); err != nil {
		t.Error(err)
	}
}

func TestOddIDs(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{})
	for _, id := range []string{"msg_12ab", "a/b c", "é?#"} {
		if got := srv.DeliverWith(ann, letter(id), gmailtest.Delivery{ID: id}); got != id {
			t.Errorf("got %q, want %q", got, id)
		}
		if m, err := svc.Users.Messages.Get("me", id).Do(); err != nil || m.Id != id {
			t.Errorf("%q: got %+v, %v", id, m, err)
		}
	}
}

func TestTrouble(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{})
	raw := func(id string) *gapi.Message {
		t.Helper()
		m, err := svc.Users.Messages.Get("me", id).Format("raw").Do()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	once := srv.DeliverWith(ann, letter("1"), gmailtest.Delivery{Trouble: gmailtest.Trouble{NoRaw: 1}})
	if first, second := raw(once), raw(once); first.Raw != "" || second.Raw == "" {
		t.Errorf("got %q and %q, want none and some", first.Raw, second.Raw)
	}
	never := srv.DeliverWith(ann, letter("2"), gmailtest.Delivery{Trouble: gmailtest.Trouble{NoRaw: -1}})
	for range 3 {
		if m := raw(never); m.Raw != "" {
			t.Errorf("got %q, want none", m.Raw)
		}
	}
	if m, err := svc.Users.Messages.Get("me", never).Format("full").Do(); err != nil || m.Payload == nil {
		t.Errorf("full: got %+v, %v", m, err)
	}
	spoiled := srv.DeliverWith(ann, letter("3"), gmailtest.Delivery{Trouble: gmailtest.Trouble{Spoiled: true}})
	if m := raw(spoiled); !strings.HasSuffix(m.Raw, "!") {
		t.Errorf("got %q", m.Raw)
	}
	stuck := srv.DeliverWith(ann, letter("4"), gmailtest.Delivery{Trouble: gmailtest.Trouble{Stuck: true}})
	err := svc.Users.Messages.BatchDelete("me", &gapi.BatchDeleteMessagesRequest{Ids: []string{once, stuck}}).Do()
	refusal(t, err, http.StatusBadRequest, "failedPrecondition")
	_, err = svc.Users.Messages.Trash("me", stuck).Do()
	refusal(t, err, http.StatusBadRequest, "failedPrecondition")
	err = svc.Users.Messages.Delete("me", stuck).Do()
	refusal(t, err, http.StatusBadRequest, "failedPrecondition")
	if n := len(srv.Messages(ann)); n != 4 {
		t.Errorf("got %d messages, want all 4: a batch is refused as a whole", n)
	}
}

// octets makes a message while it is read.
type octets struct{ size int64 }

func (o octets) Size() int64 { return o.size }

func (o octets) ReadAt(p []byte, off int64) (int, error) {
	for i := range p {
		p[i] = "x: y\r\n"[(off+int64(i))%6]
	}
	return len(p), nil
}

func TestContentIsMadeWhileItIsRead(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{})
	for _, size := range []int64{1, 2, 3, 3 << 14, 3<<14 + 1, 5 << 20} {
		id := srv.DeliverWith(ann, nil, gmailtest.Delivery{Content: octets{size}})
		m, err := svc.Users.Messages.Get("me", id).Format("raw").Do()
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, size)
		_, _ = octets{size}.ReadAt(want, 0) // it holds that many
		if !bytes.Equal(rawOf(t, m), want) {
			t.Errorf("%d octets: got others", size)
		}
	}
	if m := srv.Messages(ann)[0]; m.Raw != nil || m.Content.Size() != 1 {
		t.Errorf("got %+v", m)
	}
}

func TestTimes(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{})
	for _, ms := range []int64{0, -1, -86400_000_123, 32503680000_000} {
		id := srv.DeliverWith(ann, letter("1"), gmailtest.Delivery{Internal: time.UnixMilli(ms)})
		if m, err := svc.Users.Messages.Get("me", id).Do(); err != nil || m.InternalDate != ms {
			t.Errorf("got %d, %v; want %d", m.InternalDate, err, ms)
		}
	}
}

func TestModify(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{})
	id := srv.Deliver(ann, letter("1"))[0]
	labels := func() string { return strings.Join(srv.Messages(ann)[0].Labels, " ") }
	modify := func(add, remove []string) error {
		m, err := svc.Users.Messages.Modify("me", id, &gapi.ModifyMessageRequest{AddLabelIds: add, RemoveLabelIds: remove}).Do()
		if err == nil && (m.Id != id || len(m.LabelIds) != len(srv.Messages(ann)[0].Labels)) {
			t.Errorf("got %+v", m)
		}
		return err
	}
	if err := modify([]string{"STARRED"}, []string{"UNREAD"}); err != nil || labels() != "INBOX STARRED" {
		t.Errorf("got %s, %v", labels(), err)
	}
	for _, c := range [][2][]string{{{"SENT"}, nil}, {nil, {"DRAFT"}}, {{"Label_9"}, nil}, {{"SPAM"}, {"SPAM"}}, {nil, nil}} {
		refusal(t, modify(c[0], c[1]), http.StatusBadRequest, "invalidArgument")
	}
	refusal(t, modify(slices.Repeat([]string{"STARRED"}, 101), nil), http.StatusBadRequest, "invalidArgument")
	_, err := svc.Users.Messages.Modify("me", "18c0", &gapi.ModifyMessageRequest{AddLabelIds: []string{"STARRED"}}).Do()
	refusal(t, err, http.StatusNotFound, "notFound")
	for _, c := range []*gapi.BatchModifyMessagesRequest{{AddLabelIds: []string{"STARRED"}}, {Ids: []string{id}, AddLabelIds: []string{"CHAT"}}, {Ids: []string{"no id"}}} {
		refusal(t, svc.Users.Messages.BatchModify("me", c).Do(), http.StatusBadRequest, "invalidArgument")
	}
	if _, err := svc.Users.Messages.Trash("me", id).Do(); err != nil || labels() != "STARRED TRASH" {
		t.Errorf("trash: got %s, %v", labels(), err)
	}
	if _, err := svc.Users.Messages.Untrash("me", id).Do(); err != nil || labels() != "STARRED" {
		t.Errorf("untrash: got %s, %v", labels(), err)
	}
	_, err = svc.Users.Messages.Trash("me", "18c0").Do()
	refusal(t, err, http.StatusNotFound, "notFound")
}

func TestDelete(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{})
	ids := srv.Deliver(ann, letter("1"), letter("2"), letter("3"))
	remove := func(ids ...string) error {
		return svc.Users.Messages.BatchDelete("me", &gapi.BatchDeleteMessagesRequest{Ids: ids}).Do()
	}
	if err := remove(ids[0], "18c0", ids[2]); err != nil || len(srv.Messages(ann)) != 1 {
		t.Errorf("got %v, %d left", err, len(srv.Messages(ann)))
	}
	refusal(t, remove(), http.StatusBadRequest, "invalidArgument")
	refusal(t, remove(ids[1], "not an id"), http.StatusBadRequest, "invalidArgument")
	refusal(t, remove(make([]string, 1001)...), http.StatusBadRequest, "invalidArgument")
	if err := svc.Users.Messages.Delete("me", ids[1]).Do(); err != nil || len(srv.Messages(ann)) != 0 {
		t.Errorf("got %v, %d left", err, len(srv.Messages(ann)))
	}
	refusal(t, svc.Users.Messages.Delete("me", ids[1]).Do(), http.StatusNotFound, "notFound")

	less := gmail(t, srv, srv.Token(ann, gapi.GmailModifyScope))
	err := less.Users.Messages.BatchDelete("me", &gapi.BatchDeleteMessagesRequest{Ids: ids}).Do()
	refusal(t, err, http.StatusForbidden, "insufficientPermissions")
}

func TestSynthetic(t *testing.T) {
	for size := int64(512); size < 512+2*78; size++ {
		m := gmailtest.Synthetic{Seed: 5, Octets: size}
		whole, err := io.ReadAll(io.NewSectionReader(m, 0, 1<<20))
		if err != nil || int64(len(whole)) != size || m.Size() != size {
			t.Fatalf("%d octets: got %d, %v", size, len(whole), err)
		}
		pieces, err := io.ReadAll(iotest.OneByteReader(io.NewSectionReader(m, 0, size)))
		if err != nil || !bytes.Equal(whole, pieces) {
			t.Errorf("%d octets: read one by one they are others: %v", size, err)
		}
		if !bytes.HasSuffix(whole, []byte("\r\n")) || bytes.Count(whole, []byte("\r")) != bytes.Count(whole, []byte("\r\n")) ||
			bytes.Count(whole, []byte("\n")) != bytes.Count(whole, []byte("\r\n")) {
			t.Errorf("%d octets: line ends are not all CRLF", size)
		}
		if parsed, err := mail.ReadMessage(bytes.NewReader(whole)); err != nil || parsed.Header.Get("Message-Id") != "<"+m.MessageID()+">" {
			t.Errorf("%d octets: got %v, %v", size, parsed, err)
		}
	}
}

func TestRawWithPayload(t *testing.T) {
	srv, _ := mailbox(t, gmailtest.Options{Rendering: gmailtest.Rendering{IgnoreFields: true}, Mail: gmailtest.MailOptions{PayloadWithRaw: true}})
	id := srv.DeliverWith(ann, letter("1"), gmailtest.Delivery{})
	got := put(t, srv, "GET", "/gmail/v1/users/me/messages/"+id+"?format=raw&fields=raw", nil, "")
	if strings.Count(got.body, `"raw":`) != 2 || strings.Index(got.body, `"payload"`) > strings.LastIndex(got.body, `"raw"`) {
		t.Errorf("got %s, want raw within payload too", got.body)
	}
}

func TestThreads(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{})
	first := srv.Deliver(ann, letter("1"))[0]
	second := srv.Deliver(ann, letter("2"))[0]
	reply := srv.DeliverWith(ann, letter("3"), gmailtest.Delivery{Thread: srv.Messages(ann)[0].ThreadID, Labels: []string{"SENT"}})
	thread := func(i int) string { return srv.Messages(ann)[i].ThreadID }
	var got []string
	err := svc.Users.Threads.List("me").MaxResults(1).Pages(t.Context(), func(page *gapi.ListThreadsResponse) error {
		for _, x := range page.Threads {
			got = append(got, x.Id)
			if x.Snippet == "" || x.HistoryId == 0 {
				t.Errorf("got %+v", x)
			}
		}
		return nil
	})
	if err != nil || !slices.Equal(got, []string{thread(0), thread(1)}) {
		t.Errorf("got %v, %v; want the one with the newest message first", got, err)
	}
	sent, err := svc.Users.Threads.List("me").LabelIds("SENT").Do()
	if err != nil || len(sent.Threads) != 1 || sent.Threads[0].Id != thread(0) {
		t.Errorf("got %+v, %v", sent, err)
	}
	whole, err := svc.Users.Threads.Get("me", thread(0)).Format("minimal").Do()
	if err != nil || len(whole.Messages) != 2 || whole.Messages[0].Id != first || whole.Messages[1].Id != reply || whole.Messages[0].Payload != nil {
		t.Errorf("got %+v, %v", whole, err)
	}
	_, err = svc.Users.Threads.Get("me", "18c0").Do()
	refusal(t, err, http.StatusNotFound, "notFound")
	profile, err := svc.Users.GetProfile("me").Do()
	if err != nil || profile.ThreadsTotal != 2 || profile.MessagesTotal != 3 {
		t.Errorf("got %+v, %v", profile, err)
	}
	into := func(thread string) error {
		_, err := svc.Users.Messages.Insert("me", &gapi.Message{Raw: base64.URLEncoding.EncodeToString(letter("4")), ThreadId: thread}).Do()
		return err
	}
	refusal(t, into("18c0"), http.StatusNotFound, "notFound")
	if err := into(thread(0)); err != nil || thread(3) != thread(0) {
		t.Errorf("got %v, thread %s; want %s", err, thread(3), thread(0))
	}
	metadata := gmail(t, srv, srv.Token(ann, gapi.GmailMetadataScope))
	_, err = metadata.Users.Threads.Get("me", thread(0)).Do()
	refusal(t, err, http.StatusForbidden, "insufficientPermissions")
	srv.Remove(ann, second)
	if profile, err = svc.Users.GetProfile("me").Do(); err != nil || profile.ThreadsTotal != 1 {
		t.Errorf("got %+v, %v", profile, err)
	}
}

func TestMistakesOfTests(t *testing.T) {
	srv, _ := mailbox(t, gmailtest.Options{})
	for name, f := range map[string]func(){
		"no user":              func() { srv.Deliver("nobody@corp.example", letter("1")) },
		"no mailbox":           func() { srv.Messages("admin@corp.example") },
		"no label to rename":   func() { srv.RenameLabel(ann, "Label_99", "x") },
		"no label to take off": func() { srv.RemoveLabel(ann, "Label_99") },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if why, ok := recover().(string); !ok || !strings.HasPrefix(why, "gmailtest: no ") {
					t.Errorf("got %q, want a panic that tells what there is not", why)
				}
			}()
			f()
		})
	}
}
