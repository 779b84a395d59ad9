package gmailtest_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/gmail/gmailtest"
	gapi "google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"
)

// rfc822 is what uploads must be.
var rfc822 = googleapi.ContentType("message/rfc822")

func TestUploadForms(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{})
	label := srv.AddLabel(ann, "Old")
	big := append(letter("big"), bytes.Repeat([]byte("0123456789abcdef\xe4\xf6\r\n"), 60_000)...) // 1.2 MB in 5 chunks
	meta := &gapi.Message{LabelIds: []string{label, "UNREAD"}}
	for name, c := range map[string]struct {
		raw    []byte
		upload func(raw []byte) (*gapi.Message, error)
	}{
		"json": {letter("json"), func(raw []byte) (*gapi.Message, error) {
			m := *meta
			m.Raw = base64.URLEncoding.EncodeToString(raw)
			return svc.Users.Messages.Insert("me", &m).Do()
		}},
		"json, unpadded": {letter("jsons"), func(raw []byte) (*gapi.Message, error) {
			m := *meta
			m.Raw = base64.RawURLEncoding.EncodeToString(raw)
			return svc.Users.Messages.Insert("me", &m).Do()
		}},
		"multipart": {letter("multipart"), func(raw []byte) (*gapi.Message, error) {
			return svc.Users.Messages.Insert("me", meta).Media(bytes.NewReader(raw), rfc822).Do()
		}},
		"resumable": {big, func(raw []byte) (*gapi.Message, error) {
			return svc.Users.Messages.Insert("me", meta).Media(bytes.NewReader(raw), rfc822, googleapi.ChunkSize(256<<10)).Do()
		}},
		"resumable, import, size not told": {big, func(raw []byte) (*gapi.Message, error) {
			return svc.Users.Messages.Import("me", meta).Media(io.MultiReader(bytes.NewReader(raw)), rfc822, googleapi.ChunkSize(512<<10)).Do()
		}},
		"resumable, last chunk full": {big[:512<<10], func(raw []byte) (*gapi.Message, error) {
			return svc.Users.Messages.Import("me", meta).Media(bytes.NewReader(raw), rfc822, googleapi.ChunkSize(256<<10)).Do()
		}},
	} {
		m, err := c.upload(c.raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		at := slices.IndexFunc(srv.Messages(ann), func(x gmailtest.Message) bool { return x.ID == m.Id })
		if at < 0 {
			t.Errorf("%s: not in the mailbox", name)
			continue
		}
		if got := srv.Messages(ann)[at]; !bytes.Equal(got.Raw, c.raw) || !slices.Equal(got.Labels, []string{label, "UNREAD"}) || got.ThreadID != m.ThreadId {
			t.Errorf("%s: got %d octets with %v, want %d", name, len(got.Raw), got.Labels, len(c.raw))
		}
	}
}

// An answered is the answer to a request.
type answered struct {
	status int
	header http.Header
	body   string
}

// put makes a request as it is, for ann.
func put(t *testing.T, srv *gmailtest.Server, method, path string, header map[string]string, body string) answered {
	t.Helper()
	where := path
	if strings.HasPrefix(path, "/") {
		where = srv.URL() + path
	}
	r, err := http.NewRequestWithContext(t.Context(), method, where, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	rt := bearer{srv.Token(ann, gapi.MailGoogleComScope), transport(t, srv)}
	resp, err := rt.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{resp.StatusCode, resp.Header, string(b)}
}

const uploads = "/upload/gmail/v1/users/me/messages?uploadType="

// threeParts is an upload with one part too many.
const threeParts = "--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nx: y\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nx: z\r\n--b--\r\n"

func TestUploadMedia(t *testing.T) {
	srv, _ := mailbox(t, gmailtest.Options{AllowBadRequests: true})
	message := map[string]string{"Content-Type": "message/rfc822"}
	if resp := put(t, srv, "POST", uploads+"media", message, string(letter("media"))); resp.status != http.StatusOK || !strings.Contains(resp.body, `"id"`) {
		t.Errorf("got %d %s", resp.status, resp.body)
	}
	if got := srv.Messages(ann); len(got) != 1 || !bytes.Equal(got[0].Raw, letter("media")) || len(got[0].Labels) != 0 {
		t.Errorf("got %+v", got)
	}
	for name, c := range map[string]struct {
		path   string
		header map[string]string
		body   string
	}{
		"text":              {uploads + "media", map[string]string{"Content-Type": "text/plain; charset=utf-8"}, "x"},
		"no type":           {uploads + "media", nil, "x"},
		"empty":             {uploads + "media", message, ""},
		"another form":      {uploads + "simple", message, "x"},
		"no form":           {"/upload/gmail/v1/users/me/messages", message, "x"},
		"one part":          {uploads + "multipart", map[string]string{"Content-Type": "multipart/related; boundary=b"}, "--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b--\r\n"},
		"mixed":             {uploads + "multipart", map[string]string{"Content-Type": "multipart/mixed; boundary=b"}, "--b--"},
		"resumable text":    {uploads + "resumable", map[string]string{"X-Upload-Content-Type": "text/plain"}, ""},
		"json without raw":  {"/gmail/v1/users/me/messages", map[string]string{"Content-Type": "application/json"}, `{"labelIds":["INBOX"]}`},
		"json with oddness": {"/gmail/v1/users/me/messages", map[string]string{"Content-Type": "application/json"}, `{"raw":"eA","colour":"red"}`},
		"raw no base64":     {"/gmail/v1/users/me/messages", map[string]string{"Content-Type": "application/json"}, `{"raw":"e!"}`},
		"unknown label":     {"/gmail/v1/users/me/messages", map[string]string{"Content-Type": "application/json"}, `{"raw":"eDp5","labelIds":["Label_99"]}`},
		"flag of no kind":   {uploads + "media&deleted=perhaps", message, "x: y"},
		"no length":         {uploads + "resumable", map[string]string{"X-Upload-Content-Type": "message/rfc822", "X-Upload-Content-Length": "long"}, ""},
		"a part cut off":    {uploads + "multipart", map[string]string{"Content-Type": "multipart/related; boundary=b"}, threeParts[:90]},
		"json no json":      {uploads + "multipart", map[string]string{"Content-Type": "multipart/related; boundary=b"}, strings.Replace(threeParts, "{}", "{[", 1)},
		"a part too many":   {uploads + "multipart", map[string]string{"Content-Type": "multipart/related; boundary=b"}, threeParts},
		"text in the parts": {uploads + "multipart", map[string]string{"Content-Type": "multipart/related; boundary=b"}, strings.Replace(threeParts, "message/rfc822", "text/plain", 1)},
		"no json first":     {uploads + "multipart", map[string]string{"Content-Type": "multipart/related; boundary=b"}, strings.Replace(threeParts, "application/json", "text/plain", 1)},
		"date of no kind":   {uploads + "media&internalDateSource=now", message, "x: y"},
	} {
		if resp := put(t, srv, "POST", c.path, c.header, c.body); resp.status != http.StatusBadRequest {
			t.Errorf("%s: got %d %s, want 400", name, resp.status, resp.body)
		}
	}
	if n := len(srv.Messages(ann)); n != 1 {
		t.Errorf("got %d messages, want 1", n)
	}
}

// The protocol of resumable uploads, step by step, as programs without Google's client speak it.
func TestUploadResumes(t *testing.T) {
	srv, _ := mailbox(t, gmailtest.Options{AllowBadRequests: true})
	whole := string(letter("r")) + strings.Repeat("x", 300<<10)
	resp := put(t, srv, "POST", uploads+"resumable", map[string]string{
		"X-Upload-Content-Type": "message/rfc822", "X-Upload-Content-Length": fmt.Sprint(len(whole)), "Content-Type": "application/json",
	}, `{"labelIds":["STARRED"]}`)
	where := resp.header.Get("Location")
	if resp.status != http.StatusOK || !strings.Contains(where, "upload_id=") {
		t.Fatalf("got %d, Location %q", resp.status, where)
	}
	const quantum = 256 << 10
	chunk := func(method, span, body string, quiet bool) answered {
		header := map[string]string{"Content-Range": "bytes " + span + "/" + fmt.Sprint(len(whole))}
		if quiet {
			header["X-GUploader-No-308"] = "yes"
		}
		return put(t, srv, method, where, header, body)
	}
	ask := func(want string) {
		t.Helper()
		resp := chunk("PUT", "*", "", false)
		if got := resp.header.Get("Range"); resp.status != http.StatusPermanentRedirect || got != want {
			t.Errorf("got %d, Range %q; want 308 and %q", resp.status, got, want)
		}
	}
	ask("")
	for span, body := range map[string]string{"0-999": whole[:1000], "1000-1999": whole[:1000], "0-262143": "short", "9-5": "x", "0-262143/": ""} {
		if resp := chunk("PUT", span, body, false); resp.status != http.StatusBadRequest {
			t.Errorf("%s: got %d, want 400", span, resp.status)
		}
	}
	if resp := chunk("PUT", "0-262143", whole[:quantum], true); resp.status != http.StatusOK || resp.header.Get("X-HTTP-Status-Code-Override") != "308" {
		t.Errorf("got %d with %v, want 200 that means 308", resp.status, resp.header)
	}
	ask("bytes=0-262143")
	if resp := chunk("POST", "0-262143", whole[:quantum], false); resp.status != http.StatusPermanentRedirect { // once more
		t.Errorf("got %d, want 308", resp.status)
	}
	last := fmt.Sprintf("%d-%d", quantum, len(whole)-1)
	first := chunk("PUT", last, whole[quantum:], false).body
	resp = chunk("PUT", "*", "", false) // the answer was lost
	if resp.status != http.StatusOK || first != resp.body || !strings.Contains(first, `"STARRED"`) {
		t.Errorf("got %d %s, want %s", resp.status, resp.body, first)
	}
	if got := srv.Messages(ann); len(got) != 1 || string(got[0].Raw) != whole {
		t.Errorf("got %d messages", len(got))
	}
	if resp := put(t, srv, "POST", uploads+"resumable", map[string]string{"X-Upload-Content-Type": "message/rfc822", "X-Upload-Content-Length": "157286401"}, ""); resp.status != http.StatusRequestEntityTooLarge {
		t.Errorf("more than 150 MiB: got %d, want 413", resp.status)
	}
	resp = put(t, srv, "POST", "/resumable"+uploads+"resumable", map[string]string{"X-Upload-Content-Type": "message/rfc822"}, "")
	if resp = put(t, srv, "PUT", resp.header.Get("Location"), nil, whole); resp.status != http.StatusOK || len(srv.Messages(ann)) != 2 {
		t.Errorf("all at once: got %d %s", resp.status, resp.body)
	}
	if resp := put(t, srv, "PUT", where+"x", nil, ""); resp.status != http.StatusNotFound {
		t.Errorf("another session: got %d, want 404", resp.status)
	}
	if units := srv.Units(ann); units != 3*25 {
		t.Errorf("got %d units, want those of three starts", units)
	}
}

func TestUploadOverHTTP2(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{Protocol: gmailtest.HTTP2})
	big := append(letter("big"), bytes.Repeat([]byte("0123456789abcd\r\n"), 60_000)...)
	if _, err := svc.Users.Messages.Insert("me", nil).Media(bytes.NewReader(big), rfc822, googleapi.ChunkSize(256<<10)).Do(); err != nil || !bytes.Equal(srv.Messages(ann)[0].Raw, big) {
		t.Errorf("got %v", err)
	}
}

func TestUploadLimits(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{Mail: gmailtest.MailOptions{MaxUpload: 1000, MaxSend: 300_000}})
	big := append(letter("big"), make([]byte, 1000)...)
	_, err := svc.Users.Messages.Insert("me", &gapi.Message{Raw: base64.URLEncoding.EncodeToString(big)}).Do()
	refusal(t, err, http.StatusRequestEntityTooLarge, "uploadTooLarge")
	_, err = svc.Users.Messages.Insert("me", nil).Media(bytes.NewReader(big), rfc822).Do()
	refusal(t, err, http.StatusRequestEntityTooLarge, "uploadTooLarge")
	huge := append(letter("huge"), make([]byte, 300_000)...)
	_, err = svc.Users.Messages.Send("me", nil).Media(bytes.NewReader(huge), rfc822, googleapi.ChunkSize(256<<10)).Do()
	refusal(t, err, http.StatusRequestEntityTooLarge, "uploadTooLarge")
	if n := len(srv.Messages(ann)); n != 0 {
		t.Errorf("got %d messages, want none", n)
	}
}

func TestUploadOddServers(t *testing.T) {
	_, svc := mailbox(t, gmailtest.Options{Mail: gmailtest.MailOptions{NoResumable: true}})
	_, err := svc.Users.Messages.Insert("me", nil).Media(bytes.NewReader(make([]byte, 600<<10)), rfc822, googleapi.ChunkSize(256<<10)).Do()
	refusal(t, err, http.StatusBadRequest, "badRequest")

	srv, svc := mailbox(t, gmailtest.Options{Mail: gmailtest.MailOptions{WholeMultipart: true}})
	if _, err := svc.Users.Messages.Insert("me", &gapi.Message{LabelIds: []string{"INBOX"}}).Media(bytes.NewReader(letter("1")), rfc822).Do(); err != nil {
		t.Fatal(err)
	}
	if got := srv.Messages(ann)[0]; !bytes.Contains(got.Raw, letter("1")) || !bytes.HasPrefix(got.Raw, []byte("--")) || got.Labels[0] != "INBOX" {
		t.Errorf("got %q", got.Raw)
	}

	srv, _ = mailbox(t, gmailtest.Options{Mail: gmailtest.MailOptions{RecodeMedia: true}})
	put(t, srv, "POST", uploads+"media", map[string]string{"Content-Type": "message/rfc822"}, "x: y\r\n\r\n\xe4")
	if got := srv.Messages(ann)[0]; string(got.Raw) != "x: y\r\n\r\nä" {
		t.Errorf("got %q", got.Raw)
	}
}

func TestInsertAndImport(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{})
	insert := func(raw []byte) *gapi.UsersMessagesInsertCall {
		return svc.Users.Messages.Insert("me", &gapi.Message{Raw: base64.URLEncoding.EncodeToString(raw), LabelIds: []string{"INBOX"}})
	}
	spam := append(letter("spam"), gmailtest.Spam...)
	imported := func() *gapi.UsersMessagesImportCall {
		return svc.Users.Messages.Import("me", &gapi.Message{Raw: base64.URLEncoding.EncodeToString(spam), LabelIds: []string{"INBOX"}})
	}
	stored := func(m *gapi.Message, err error) gmailtest.Message {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(srv.Messages(ann), func(x gmailtest.Message) bool { return x.ID == m.Id })
		return srv.Messages(ann)[at]
	}
	date := time.Date(2025, 1, 6, 10, 0, 0, 0, time.UTC) // of the letter
	if m := stored(insert(spam).Do()); m.Internal.Equal(date) || m.Labels[0] != "INBOX" {
		t.Errorf("insert: got %v %v, want now", m.Internal, m.Labels)
	}
	if m := stored(insert(spam).InternalDateSource("dateHeader").Do()); !m.Internal.Equal(date) {
		t.Errorf("insert by date: got %v", m.Internal)
	}
	if m := stored(imported().Do()); !m.Internal.Equal(date) || !slices.Equal(m.Labels, []string{"SPAM"}) {
		t.Errorf("import: got %v %v, want spam of then", m.Internal, m.Labels)
	}
	if m := stored(imported().NeverMarkSpam(true).InternalDateSource("receivedTime").Do()); m.Internal.Equal(date) || m.Labels[0] != "INBOX" {
		t.Errorf("import: got %v %v, want no spam of now", m.Internal, m.Labels)
	}
	twice := svc.Users.Messages.Import("me", &gapi.Message{Raw: base64.URLEncoding.EncodeToString(spam), LabelIds: []string{"SPAM", "INBOX", "STARRED"}})
	if m := stored(twice.Do()); !slices.Equal(m.Labels, []string{"SPAM", "STARRED"}) {
		t.Errorf("import of spam as spam: got %v", m.Labels)
	}
	before := len(srv.Messages(ann))
	if _, err := insert(letter("vault")).Deleted(true).Do(); err != nil || len(srv.Messages(ann)) != before || len(srv.Vaulted(ann)) != 1 {
		t.Errorf("vault: got %v, %d in the mailbox, %d in Vault", err, len(srv.Messages(ann)), len(srv.Vaulted(ann)))
	}
	less := gmail(t, srv, srv.Token(ann, gapi.GmailInsertScope))
	if _, err := less.Users.Messages.Insert("me", &gapi.Message{Raw: "eDp5"}).Do(); err != nil {
		t.Error(err)
	}
	_, err := less.Users.Messages.Send("me", &gapi.Message{Raw: "eDp5"}).Do()
	refusal(t, err, http.StatusForbidden, "insufficientPermissions")
}

func TestSend(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{Mail: gmailtest.MailOptions{NewMessageID: true}})
	srv.AddUser(gmailtest.User{Email: ann, Aliases: []string{"anna@corp.example"}})
	srv.AddUser(gmailtest.User{Email: "bob@corp.example", Aliases: []string{"bobby@corp.example"}})
	raw := "From: ann@corp.example\r\nTo: Bob <bob@corp.example>,\r\n eve@other.example\r\nbcc: bobby@corp.example, Ann@corp.example, anna@corp.example\r\nMessage-Id: <mine@x>\r\n\r\nHello\r\nBcc: text\r\n"
	send := func(raw string) (*gapi.Message, error) {
		return svc.Users.Messages.Send("me", &gapi.Message{Raw: base64.URLEncoding.EncodeToString([]byte(raw))}).Do()
	}
	m, err := send(raw)
	if err != nil {
		t.Fatal(err)
	}
	mine, his, sent := srv.Messages(ann), srv.Messages("bob@corp.example"), srv.Sent()
	if len(mine) != 1 || mine[0].ID != m.Id || !slices.Equal(mine[0].Labels, []string{"INBOX", "SENT", "UNREAD"}) || !strings.Contains(string(mine[0].Raw), "bcc: bobby") {
		t.Errorf("the sender has %+v", mine)
	}
	if len(his) != 1 || strings.Contains(string(his[0].Raw), "bobby") || !strings.HasSuffix(string(his[0].Raw), "\r\n\r\nHello\r\nBcc: text\r\n") {
		t.Errorf("the recipient has %+v", his)
	}
	if strings.Contains(string(his[0].Raw), "mine@x") || !strings.Contains(string(his[0].Raw), "Message-ID: <CA1@mail.gmail.com>\r\n") {
		t.Errorf("got %s, want another Message-ID", his[0].Raw)
	}
	if len(sent) != 1 || sent[0].From != ann || !slices.Equal(sent[0].To, []string{"bob@corp.example", "eve@other.example", "bobby@corp.example", "Ann@corp.example", "anna@corp.example"}) {
		t.Errorf("sent %+v", sent)
	}
	for _, bad := range []string{"From: ann@corp.example\r\n\r\nNobody\r\n", "To: <<\r\n\r\n"} {
		_, err := send(bad)
		refusal(t, err, http.StatusBadRequest, "invalidArgument")
	}
}
