package gmailtest_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/gmail/gmailtest"
	gapi "google.golang.org/api/gmail/v1"
)

const auditScope = "https://apps-apis.google.com/a/feeds/compliance/audit/"

// An audit is a client of the audit feed.
type audit struct {
	t     *testing.T
	srv   *gmailtest.Server
	token string
}

// auditor starts a server with the users ann, bob and journal, and a client with an administrator's token.
func auditor(t *testing.T, o gmailtest.Options) audit {
	t.Helper()
	srv := gmailtest.NewServer(t, &o)
	for _, user := range []string{"ann", "bob", "journal"} {
		srv.AddUser(gmailtest.User{Email: user + "@corp.example"})
	}
	return audit{t, srv, srv.Token("admin@corp.example", auditScope)}
}

func (a audit) do(method, path, body string) (int, string) {
	a.t.Helper()
	where := path
	if !strings.HasPrefix(path, "http") {
		where = a.srv.URL() + "/a/feeds/compliance/audit/mail/monitor/" + path
	}
	r, err := http.NewRequestWithContext(a.t.Context(), method, where, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/atom+xml")
	}
	resp, err := bearer{a.token, transport(a.t, a.srv)}.RoundTrip(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// monitor is the body that creates a monitor with some properties: names and values.
func monitor(props ...string) string {
	var b strings.Builder
	b.WriteString("<atom:entry xmlns:atom='http://www.w3.org/2005/Atom' xmlns:apps='http://schemas.google.com/apps/2006'>")
	for i := 0; i < len(props); i += 2 {
		fmt.Fprintf(&b, "<apps:property name='%s' value='%s'/>", props[i], props[i+1])
	}
	b.WriteString("</atom:entry>")
	return b.String()
}

const longAfter = "2099-12-31 23:59"

// properties reads an answer by local names, as a client has to: the properties of each entry, and the link to the next page.
func properties(t *testing.T, text string) (entries []map[string]string, next string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	d.Strict = false
	for {
		token, err := d.Token()
		if err == io.EOF { //nolint:errorlint // a bare io.EOF is the end
			return entries, next
		}
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		attrs := map[string]string{}
		for _, a := range e.Attr {
			attrs[a.Name.Local] = a.Value
		}
		switch {
		case e.Name.Local == "entry":
			entries = append(entries, map[string]string{})
		case e.Name.Local == "property" && len(entries) > 0:
			entries[len(entries)-1][attrs["name"]] = attrs["value"]
		case e.Name.Local == "link" && attrs["rel"] == "next":
			next = attrs["href"]
		}
	}
}

func TestAuditCreateListDelete(t *testing.T) {
	for _, style := range []gmailtest.AtomStyle{gmailtest.AtomDefault, gmailtest.AtomPrefixed, gmailtest.AtomMixed} {
		a := auditor(t, gmailtest.Options{Mail: gmailtest.MailOptions{Monitors: gmailtest.MonitorOptions{XML: style, PageSize: 2}}})
		status, body := a.do("POST", "corp.example/ann", monitor("destUserName", "journal", "beginDate", "", "endDate", longAfter, "outgoingEmailMonitorLevel", "HEADER_ONLY",
			"chatMonitorLevel", "FULL_MESSAGE"))
		made, _ := properties(t, body)
		if status != http.StatusCreated || len(made) != 1 || made[0]["destUserName"] != "journal" || made[0]["endDate"] != longAfter {
			t.Fatalf("%s: got %d %s", style, status, body)
		}
		for _, dest := range []string{"bob", "admin"} { // admin has no mailbox
			status, body = a.do("POST", "corp.example/ann", monitor("destUserName", dest, "endDate", longAfter))
			if want := map[string]int{"bob": 201, "admin": 400}[dest]; status != want {
				t.Errorf("%s: got %d %s, want %d", dest, status, body, want)
			}
		}
		a.srv.PutMonitor(gmailtest.Monitor{Source: "ann", Destination: "zoe", End: time.Now().Add(time.Hour)})
		var all []map[string]string
		pages := 0
		for where := "corp.example/ann"; where != ""; pages++ {
			status, body = a.do("GET", where, "")
			if status != http.StatusCreated {
				t.Fatalf("%s: got %d %s", style, status, body)
			}
			var entries []map[string]string
			entries, where = properties(t, body)
			all = append(all, entries...)
		}
		if pages != 2 || len(all) != 3 || all[1]["destUserName"] != "journal" || all[1]["requestId"] == "" {
			t.Fatalf("%s: got %d pages with %v", style, pages, all)
		}
		if m := all[1]; m["incomingEmailMonitorLevel"] != "FULL_MESSAGE" || m["outgoingEmailMonitorLevel"] != "HEADER_ONLY" || m["draftMonitorLevel"] != "" || m["chatMonitorLevel"] != "FULL_MESSAGE" {
			t.Errorf("%s: got %v", style, m)
		}
		// An update resets what it does not name.
		if status, body = a.do("POST", "corp.example/ann", monitor("destUserName", "journal", "endDate", longAfter)); status != http.StatusCreated {
			t.Fatalf("%s: got %d %s", style, status, body)
		}
		for _, m := range a.srv.Monitors() {
			if m.Destination == "journal" && (m.Outgoing != gmailtest.FullMessage || m.Chats != "") {
				t.Errorf("got %+v, want defaults", m)
			}
		}
		if status, _ = a.do("DELETE", "corp.example/ann/journal", ""); status != http.StatusOK || len(a.srv.Monitors()) != 2 {
			t.Errorf("%s: got %d, %d left", style, status, len(a.srv.Monitors()))
		}
		if status, body = a.do("DELETE", "corp.example/ann/journal", ""); status != http.StatusNotFound || !strings.Contains(body, `errorCode="1301"`) {
			t.Errorf("%s: got %d %s", style, status, body)
		}
		if n := a.srv.MonitorWrites(); n != 6 {
			t.Errorf("%s: got %d requests counted, want 6", style, n)
		}
	}
}

func TestAuditBrokenXML(t *testing.T) {
	a := auditor(t, gmailtest.Options{Mail: gmailtest.MailOptions{Monitors: gmailtest.MonitorOptions{XML: gmailtest.AtomBroken, ListStatus: http.StatusOK}}})
	a.srv.PutMonitor(gmailtest.Monitor{Source: "ann", Destination: "journal", End: time.Now().Add(time.Hour)})
	status, body := a.do("GET", "corp.example/ann", "")
	if status != http.StatusOK || xml.Unmarshal([]byte(body), new(struct{})) == nil {
		t.Errorf("got %d and XML that is well-formed: %s", status, body)
	}
}

func TestAuditRefusals(t *testing.T) {
	clock := gmailtest.NewClock(time.Date(2026, 12, 1, 23, 0, 0, 0, time.UTC))
	a := auditor(t, gmailtest.Options{Clock: clock, Mail: gmailtest.MailOptions{Monitors: gmailtest.MonitorOptions{Daily: 20}}})
	a.srv.AddUser(gmailtest.User{Email: "gone@corp.example", Suspended: true})
	for _, c := range []struct {
		name, path, body, want string
		status                 int
	}{
		{"no such source", "corp.example/eve", monitor("destUserName", "journal", "endDate", longAfter), "1301", 404},
		{"no such destination", "corp.example/ann", monitor("destUserName", "eve", "endDate", longAfter), "1301", 404},
		{"destination is source", "corp.example/ann", monitor("destUserName", "ann", "endDate", longAfter), "1801", 400},
		{"destination suspended", "corp.example/ann", monitor("destUserName", "gone", "endDate", longAfter), "1101", 403},
		{"an address", "corp.example/ann", monitor("destUserName", "journal@corp.example", "endDate", longAfter), "1303", 400},
		{"no destination", "corp.example/ann", monitor("endDate", longAfter), "1303", 400},
		{"no end", "corp.example/ann", monitor("destUserName", "journal"), "1801", 400},
		{"begin before now", "corp.example/ann", monitor("destUserName", "journal", "beginDate", "2026-12-01 22:59", "endDate", longAfter), "1801", 400},
		{"end before begin", "corp.example/ann", monitor("destUserName", "journal", "beginDate", "2027-01-02 00:00", "endDate", "2027-01-01 00:00"), "1801", 400},
		{"another form of time", "corp.example/ann", monitor("destUserName", "journal", "endDate", "2099-12-31"), "1801", 400},
		{"no such level", "corp.example/ann", monitor("destUserName", "journal", "endDate", longAfter, "chatMonitorLevel", "NONE"), "1801", 400},
		{"no such property", "corp.example/ann", monitor("destUserName", "journal", "endDate", longAfter, "colour", "red"), "1801", 400},
		{"another domain", "other.example/ann", monitor("destUserName", "journal", "endDate", longAfter), "Invalid domain.", 400},
		{"no XML", "corp.example/ann", "{}", "Invalid XML", 400},
		{"not an entry", "corp.example/ann", "<entry/>", "Invalid XML", 400},
	} {
		if status, body := a.do("POST", c.path, c.body); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: got %d %s, want %d and %s", c.name, status, body, c.status, c.want)
		}
	}
	if n := a.srv.MonitorWrites(); n != 14 {
		t.Errorf("got %d requests counted, want 14: the other domain is not ours", n)
	}
	good := monitor("destUserName", "journal", "endDate", longAfter)
	a.srv.SpendMonitorWrites(6)
	if status, body := a.do("POST", "corp.example/ann", good); status != http.StatusForbidden {
		t.Errorf("the day is over: got %d %s", status, body)
	}
	if status, _ := a.do("GET", "corp.example/ann", ""); status != http.StatusCreated {
		t.Errorf("lists are not counted: got %d", status)
	}
	clock.Advance(2 * time.Hour)
	if status, body := a.do("POST", "corp.example/ann", good); status != http.StatusCreated {
		t.Errorf("the next day: got %d %s", status, body)
	}

	for token, want := range map[string]string{
		a.srv.Token("ann@corp.example", auditScope):                "You are not authorized to access this API",
		a.srv.Token("admin@corp.example", gapi.MailGoogleComScope): "wrong scope",
		"nonsense": "Invalid token",
	} {
		a.token = token
		if status, body := a.do("GET", "corp.example/ann", ""); status != http.StatusForbidden && status != http.StatusUnauthorized || !strings.Contains(body, want) {
			t.Errorf("got %d %s, want %s", status, body, want)
		}
	}
}

func TestAuditGone(t *testing.T) {
	a := auditor(t, gmailtest.Options{Mail: gmailtest.MailOptions{Monitors: gmailtest.MonitorOptions{NoneIsError: true}}})
	for g, want := range map[gmailtest.Gone]struct {
		status int
		text   string
	}{
		gmailtest.NotGone: {404, `"1301"`}, gmailtest.Gone404: {404, "Not Found"}, gmailtest.Gone410: {410, "Gone"}, gmailtest.Gone501: {501, "Not Implemented"},
		gmailtest.GoneHTML: {200, "<html"}, gmailtest.GoneHTML404: {404, "<html"}, gmailtest.GoneFeature: {403, `"1203"`}, gmailtest.GoneNotForUser: {403, `"1410"`},
		gmailtest.GoneDeprecated: {400, "deprecated"},
	} {
		a.srv.SetGone(g)
		if status, body := a.do("GET", "corp.example/ann", ""); status != want.status || !strings.Contains(body, want.text) {
			t.Errorf("%q: got %d %s, want %d and %s", g, status, body, want.status, want.text)
		}
	}
	a.srv.SetGone(gmailtest.NotGone)
	a.srv.SetGoneFor("ann", gmailtest.GoneHTML404)
	for user, want := range map[string]string{"ann": "<html", "bob": `"1301"`} {
		if _, body := a.do("GET", "corp.example/"+user, ""); !strings.Contains(body, want) {
			t.Errorf("%s: got %s, want %s", user, body, want)
		}
	}
}

func TestAuditCopies(t *testing.T) {
	eight := []byte("From: eve@other.example\r\nTo: ann@corp.example\r\nSubject: caf\xe9\r\n\r\nBody\r\n--=_gmailtest\r\nmore\r\n")
	for _, style := range []gmailtest.CopyStyle{gmailtest.CopyDefault, gmailtest.CopyBase64, gmailtest.CopyTwice, gmailtest.CopyNested, gmailtest.CopyNone, gmailtest.CopyBare} {
		a := auditor(t, gmailtest.Options{Mail: gmailtest.MailOptions{Monitors: gmailtest.MonitorOptions{Copies: style}}})
		end := time.Now().Add(time.Hour)
		a.srv.PutMonitor(gmailtest.Monitor{Source: "ann", Destination: "journal", End: end, Incoming: gmailtest.FullMessage, Outgoing: gmailtest.HeaderOnly})
		a.srv.PutMonitor(gmailtest.Monitor{Source: "bob", Destination: "journal", End: time.Now().Add(-time.Hour), Incoming: gmailtest.FullMessage}) // over
		a.srv.PutMonitor(gmailtest.Monitor{Source: "ann", Destination: "bob", Begin: end, End: end.Add(time.Hour), Incoming: gmailtest.FullMessage}) // not yet
		a.srv.Deliver(ann, eight)
		a.srv.Deliver("bob@corp.example", eight)
		a.srv.DeliverWith(ann, eight, gmailtest.Delivery{Labels: []string{"DRAFT"}}) // not watched
		copies := a.srv.Messages("journal@corp.example")
		if len(copies) != 1 || !slices.Equal(copies[0].Labels, []string{"INBOX", "UNREAD"}) {
			t.Fatalf("%q: got %d copies", style, len(copies))
		}
		raw := copies[0].Raw
		m, err := mail.ReadMessage(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if style == gmailtest.CopyBare {
			if !bytes.Equal(raw, eight) {
				t.Errorf("bare: got %s", raw)
			}
			continue
		}
		if m.Header.Get("From") != ann || m.Header.Get("To") != ann || !strings.HasPrefix(m.Header.Get("Content-Type"), "multipart/mixed") {
			t.Errorf("%q: got %v", style, m.Header)
		}
		counts := map[gmailtest.CopyStyle][2]int{ // parts of message/rfc822, and the message as it is
			gmailtest.CopyDefault: {1, 1}, gmailtest.CopyBase64: {1, 0}, gmailtest.CopyTwice: {2, 2}, gmailtest.CopyNested: {2, 1}, gmailtest.CopyNone: {0, 0},
		}[style]
		if got := [2]int{bytes.Count(raw, []byte("Content-Type: message/rfc822\r\n")), bytes.Count(raw, eight)}; got != counts {
			t.Errorf("%q: got %v, want %v in\n%s", style, got, counts, raw)
		}
		if n := len(a.srv.Messages("bob@corp.example")); n != 1 {
			t.Errorf("%q: bob has %d messages, though his monitor has not begun", style, n)
		}
		_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		parts := multipart.NewReader(m.Body, params["boundary"])
		var last []byte
		for part, err := parts.NextRawPart(); err != io.EOF; part, err = parts.NextRawPart() { //nolint:errorlint // a bare io.EOF is the end
			if err != nil {
				t.Fatalf("%q: %v", style, err)
			}
			if last, err = io.ReadAll(part); err != nil {
				t.Fatalf("%q: %v", style, err)
			}
		}
		if style == gmailtest.CopyDefault && !bytes.Equal(last, eight) {
			t.Errorf("got %q, want the message as it is", last)
		}
	}
}

func TestAuditCopiesWhatIsSent(t *testing.T) {
	a := auditor(t, gmailtest.Options{})
	end := time.Now().Add(time.Hour)
	a.srv.PutMonitor(gmailtest.Monitor{Source: "ann", Destination: "journal", End: end, Incoming: gmailtest.FullMessage, Outgoing: gmailtest.HeaderOnly})
	a.srv.PutMonitor(gmailtest.Monitor{Source: "bob", Destination: "journal", End: end, Incoming: gmailtest.FullMessage})
	svc := gmail(t, a.srv, a.srv.Token(ann, gapi.GmailSendScope))
	if _, err := svc.Users.Messages.Send("me", &gapi.Message{Raw: "VG86IGJvYkBjb3JwLmV4YW1wbGUNCg0KYm9keSB0ZXh0DQo="}).Do(); err != nil { // To: bob, and a body
		t.Fatal(err)
	}
	copies := a.srv.Messages("journal@corp.example")
	if len(copies) != 2 {
		t.Fatalf("got %d copies, want what ann sent and what bob got", len(copies))
	}
	if bytes.Contains(copies[0].Raw, []byte("body text")) || !bytes.Contains(copies[0].Raw, []byte("From: "+ann)) {
		t.Errorf("ann's: got %s, want the header alone", copies[0].Raw)
	}
	if !bytes.Contains(copies[1].Raw, []byte("body text")) || !bytes.Contains(copies[1].Raw, []byte("From: bob@")) {
		t.Errorf("bob's: got %s", copies[1].Raw)
	}
}

func TestAuditCopiesByKind(t *testing.T) {
	for kind, m := range map[string]gmailtest.Monitor{"DRAFT": {Drafts: gmailtest.HeaderOnly}, "CHAT": {Chats: gmailtest.FullMessage}, "INBOX": {Incoming: gmailtest.FullMessage}} {
		a := auditor(t, gmailtest.Options{Mail: gmailtest.MailOptions{Monitors: gmailtest.MonitorOptions{Copies: gmailtest.CopyBare}}})
		m.Source, m.Destination, m.End = "ann", "journal", time.Now().Add(time.Hour)
		a.srv.PutMonitor(m)
		for _, label := range []string{"DRAFT", "CHAT", "INBOX"} {
			a.srv.DeliverWith(ann, letter(label), gmailtest.Delivery{Labels: []string{label}})
		}
		if got := a.srv.Messages("journal@corp.example"); len(got) != 1 || !bytes.Contains(got[0].Raw, []byte("Subject: letter "+kind)) {
			t.Errorf("%s: got %d copies", kind, len(got))
		}
		a.srv.DropMonitor("ann", "journal")
		a.srv.DeliverWith(ann, letter(kind), gmailtest.Delivery{Labels: []string{kind}})
		if got := a.srv.Messages("journal@corp.example"); len(got) != 1 {
			t.Errorf("%s: got %d copies, though there is no monitor any more", kind, len(got))
		}
	}
}
