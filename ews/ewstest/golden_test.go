package ewstest_test

import (
	"bytes"
	"encoding/xml"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/ews/ewstest"
)

// A frozen clock always tells the same time.
type frozen struct{ now time.Time }

func (f frozen) Now() time.Time                     { return f.now }
func (frozen) After(time.Duration) <-chan time.Time { return nil }

// print writes an element with the usual prefixes, a line each.
func (e element) print(b *strings.Builder, indent string) {
	prefix := map[string]string{
		"http://schemas.xmlsoap.org/soap/envelope/":                    "s:",
		"http://schemas.microsoft.com/exchange/services/2006/types":    "t:",
		"http://schemas.microsoft.com/exchange/services/2006/messages": "m:",
	}[e.XMLName.Space]
	b.WriteString(indent + "<" + prefix + e.XMLName.Local)
	for _, a := range e.Attrs {
		if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
			b.WriteString(" " + a.Name.Local + `="` + a.Value + `"`)
		}
	}
	text := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(strings.TrimSpace(e.Text))
	switch {
	case len(e.Kids) > 0:
		b.WriteString(">\n")
		for _, k := range e.Kids {
			k.print(b, indent+"  ")
		}
		b.WriteString(indent + "</" + prefix + e.XMLName.Local + ">\n")
	case text != "":
		b.WriteString(">" + text + "</" + prefix + e.XMLName.Local + ">\n")
	default:
		b.WriteString("/>\n")
	}
}

// TestGoldenAnswers sends the requests of testdata/golden, and compares the answers with those there. What is in braces stands
// for an id, a sync state and the like.
func TestGoldenAnswers(t *testing.T) {
	requests, err := filepath.Glob("testdata/golden/*.request.xml")
	if err != nil || len(requests) == 0 {
		t.Fatal("no requests", err)
	}
	for _, path := range requests {
		operation := strings.TrimSuffix(filepath.Base(path), ".request.xml")
		t.Run(operation, func(t *testing.T) {
			at := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
			srv, alice, c := alone(t, &ewstest.Options{Clock: frozen{at}})
			srv.AddGroup(ewstest.Group{Address: "all@corp.test", Name: "All", Members: []string{"alice@corp.test"}})
			srv.GrantDiscovery("alice@corp.test")
			ids := alice.Deliver("Inbox", message("one"), []byte(parts), message("gone"))
			draft := alice.Folder("Drafts").DeliverItems(ewstest.Message{Raw: message("draft"), Draft: true})
			alice.Remove(ids[2])
			names := []string{"{first}", ids[0], "{second}", ids[1], "{gone}", ids[2], "{draft}", draft[0], "{nothing}", "bm90aGluZw=="}
			for _, folder := range []string{"Inbox", "Drafts", "Sent Items", "Deleted Items"} {
				names = append(names, "{"+strings.ToLower(folder)+"}", alice.Folder(folder).ID())
			}
			names = append(names, "{top}", c.ok(`<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape><m:FolderIds><t:DistinguishedFolderId Id="msgfolderroot"/></m:FolderIds></m:GetFolder>`)[0].all("FolderId")[0].attr("Id"))
			first := c.ok(`<m:GetItem><m:ItemShape><t:BaseShape>AllProperties</t:BaseShape></m:ItemShape>%s</m:GetItem>`, itemIDs(ids[:2]...))
			names = append(names, "{key}", first[0].all("ItemId")[0].attr("ChangeKey"), "{attachment}", first[1].all("AttachmentId")[0].attr("Id"))
			if operation == "GetEvents" || operation == "Unsubscribe" {
				sub := c.ok(`<m:Subscribe><m:PullSubscriptionRequest><t:FolderIds>` + inbox + `</t:FolderIds><t:EventTypes><t:EventType>CreatedEvent</t:EventType></t:EventTypes><t:Timeout>9</t:Timeout></m:PullSubscriptionRequest></m:Subscribe>`)[0]
				names = append(names, "{subscription}", sub.text("SubscriptionId"), "{watermark}", sub.text("Watermark"), "{fourth}", alice.Deliver("Inbox", message("new"))[0])
			}
			request, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			document := strings.NewReplacer(names...).Replace(string(request))
			var got element
			if err := xml.NewDecoder(bytes.NewReader(c.post(document))).Decode(&got); err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			got.print(&b, "")
			slices.Reverse(names)
			told := strings.NewReplacer(names...).Replace(b.String())
			for _, name := range []string{"SyncState", "SubscriptionId", "Watermark", "PreviousWatermark"} {
				told = opaque(told, "<m:"+name+">")
				told = opaque(told, "<t:"+name+">")
			}
			told = opaque(told, ` Id="`)
			want, err := os.ReadFile(strings.TrimSuffix(path, "request.xml") + "response.xml")
			if err != nil {
				t.Fatalf("%v; got\n%s", err, told)
			}
			if told != string(want) {
				t.Errorf("got\n%s\nwant\n%s", told, want)
			}
		})
	}
}

// opaque replaces what stands behind a mark, unless it has a name already.
func opaque(text, mark string) string {
	pieces := strings.Split(text, mark)
	for i := 1; i < len(pieces); i++ {
		end := strings.IndexAny(pieces[i], `<"`)
		if !strings.HasPrefix(pieces[i], "{") {
			pieces[i] = "{opaque}" + pieces[i][end:]
		}
	}
	return strings.Join(pieces, mark)
}
