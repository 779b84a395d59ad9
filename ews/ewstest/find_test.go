package ewstest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/ews/ewstest"
)

// dated puts n messages into the inbox, an hour apart, from 2026-01-01 on.
func dated(mb *ewstest.Mailbox, n int) []string {
	items := make([]ewstest.Message, n)
	for i := range items {
		items[i] = ewstest.Message{Raw: message(fmt.Sprint("m", i)), Received: time.Date(2026, 1, 1, i, 0, 0, 0, time.UTC)}
	}
	return mb.Folder("Inbox").DeliverItems(items...)
}

const (
	find     = `<m:FindItem Traversal="Shallow">` + idOnly + `%s<m:ParentFolderIds>` + inbox + `</m:ParentFolderIds></m:FindItem>`
	received = `<t:FieldURI FieldURI="item:DateTimeReceived"/>`
	oldest   = `<m:SortOrder><t:FieldOrder Order="Ascending">` + received + `</t:FieldOrder></m:SortOrder>`
)

func view(offset, most int) string {
	return fmt.Sprintf(`<m:IndexedPageItemView MaxEntriesReturned="%d" Offset="%d" BasePoint="Beginning"/>`, most, offset)
}

func compared(op, path, value string) string {
	return `<t:` + op + `>` + path + `<t:FieldURIOrConstant><t:Constant Value="` + value + `"/></t:FieldURIOrConstant></t:` + op + `>`
}

// found runs a FindItem, and returns its root folder and the ids in it.
func (c *client) found(parts string) (root element, ids []string) {
	c.t.Helper()
	root = c.ok(find, parts)[0].at("RootFolder")
	for _, k := range root.at("Items").Kids {
		ids = append(ids, k.at("ItemId").attr("Id"))
	}
	return root, ids
}

func TestFindItemPages(t *testing.T) {
	_, alice, c := alone(t, nil)
	want := dated(alice, 5)
	var got []string
	for offset := 0; ; {
		root, ids := c.found(view(offset, 2) + oldest)
		got = append(got, ids...)
		equal(t, "total", root.attr("TotalItemsInView"), "5")
		if root.attr("IncludesLastItemInRange") == "true" {
			break
		}
		offset += 2
		equal(t, "next", root.attr("IndexedPagingOffset"), fmt.Sprint(offset))
	}
	same(t, "ids", got, want)
	root, ids := c.found(view(100, 2) + oldest)
	equal(t, "past the end", fmt.Sprintln(len(ids), root.attr("IncludesLastItemInRange"), root.attr("IndexedPagingOffset")), "0 true 100\n")
	c.fails("ErrorInvalidPagingMaxRows", find, view(0, 0))
	c.fails("ErrorInvalidIndexedPagingParameters", find, view(-1, 1))
	_, arbitrary := c.found("")
	if strings.Join(arbitrary, "") == strings.Join(want, "") {
		t.Error("without an order the items come in the order of arrival")
	}
}

func TestFindItemRestrictions(t *testing.T) {
	_, alice, c := alone(t, nil)
	ids := dated(alice, 4)
	alice.SetRead(ids[1])
	noon := "2026-01-01T02:00:00Z"
	for name, test := range map[string]struct {
		expression string
		want       []string
	}{
		"greater":          {compared("IsGreaterThan", received, noon), ids[3:]},
		"greater or equal": {compared("IsGreaterThanOrEqualTo", received, noon), ids[2:]},
		"less":             {compared("IsLessThan", received, noon), ids[:2]},
		"less or equal":    {compared("IsLessThanOrEqualTo", received, noon), ids[:3]},
		"not equal":        {compared("IsNotEqualTo", received, noon), []string{ids[0], ids[1], ids[3]}},
		"read":             {compared("IsEqualTo", `<t:FieldURI FieldURI="message:IsRead"/>`, "true"), ids[1:2]},
		"not":              {`<t:Not>` + compared("IsEqualTo", `<t:FieldURI FieldURI="message:IsRead"/>`, "true") + `</t:Not>`, []string{ids[0], ids[2], ids[3]}},
		"or": {
			`<t:Or>` + compared("IsEqualTo", `<t:FieldURI FieldURI="item:Subject"/>`, "m0") + compared("IsGreaterThan", received, noon) + `</t:Or>`,
			[]string{ids[0], ids[3]},
		},
		"contains": {
			`<t:Contains ContainmentMode="Substring" ContainmentComparison="IgnoreCase"><t:FieldURI FieldURI="item:Subject"/><t:Constant Value="M2"/></t:Contains>`, ids[2:3],
		},
		"exists": {`<t:Exists><t:ExtendedFieldURI PropertyTag="0x0E07" PropertyType="Integer"/></t:Exists>`, ids},
		"none":   {`<t:Exists><t:ExtendedFieldURI PropertyTag="0x1234" PropertyType="String"/></t:Exists>`, nil},
	} {
		_, got := c.found(`<m:Restriction>` + test.expression + `</m:Restriction>` + oldest)
		same(t, name, got, test.want)
	}
	c.fails("ErrorUnsupportedPathForQuery", find, `<m:Restriction><t:Exists><t:FieldURI FieldURI="item:Attachments"/></t:Exists></m:Restriction>`)
}

func TestFindItemCaps(t *testing.T) {
	_, alice, c := alone(t, nil)
	var all [][]byte
	for range 1001 {
		all = append(all, []byte("Subject: s\r\n\r\n"))
	}
	alice.Deliver("Inbox", all...)
	_, ids := c.found(oldest)
	equal(t, "page", len(ids), 1000)
	_, ids = c.found(`<m:Restriction>` + compared("IsGreaterThan", received, "2000-01-01T00:00:00Z") + `</m:Restriction>` + oldest)
	equal(t, "page of a restriction", len(ids), 250)
}

func TestFindItemQuirks(t *testing.T) {
	start := func(q ewstest.Quirks) (*client, *ewstest.Mailbox, []string) {
		_, alice, c := alone(t, &ewstest.Options{Quirks: q})
		return c, alice, dated(alice, 4)
	}
	c, _, _ := start(ewstest.Quirks{ShortPages: true})
	root, got := c.found(view(0, 4) + oldest)
	equal(t, "short page", fmt.Sprintln(len(got), root.attr("IncludesLastItemInRange"), root.attr("IndexedPagingOffset")), "2 false 2\n")

	c, _, _ = start(ewstest.Quirks{ZeroOffset: true})
	root, _ = c.found(view(0, 2) + oldest)
	equal(t, "offset of zero", root.attr("IndexedPagingOffset"), "0")

	c, _, _ = start(ewstest.Quirks{StuckOffset: true})
	root, got = c.found(view(2, 2) + oldest)
	equal(t, "stuck", fmt.Sprintln(len(got), root.attr("IncludesLastItemInRange"), root.attr("IndexedPagingOffset")), "0 false 2\n")

	c, _, _ = start(ewstest.Quirks{Groups: true})
	root, _ = c.found("")
	equal(t, "groups", len(root.all("Groups")), 1)

	c, _, ids := start(ewstest.Quirks{IgnoreQuery: true})
	got = nil
	for _, k := range c.ok(`<m:FindItem Traversal="Shallow">` + idOnly + oldest + `<m:ParentFolderIds>` + inbox + `</m:ParentFolderIds><m:QueryString>m1</m:QueryString></m:FindItem>`)[0].all("ItemId") {
		got = append(got, k.attr("Id"))
	}
	same(t, "query ignored", got, ids)

	c, _, _ = start(ewstest.Quirks{RefuseOrEqual: true})
	c.fails("ErrorInvalidRestriction", find, `<m:Restriction>`+compared("IsLessThanOrEqualTo", received, "2026-01-01T00:00:00Z")+`</m:Restriction>`)

	c, _, _ = start(ewstest.Quirks{StrayDate: true})
	root, _ = c.found("")
	equal(t, "stray date", root.all("DateTimeReceived")[0].text(), "2026-03-02T09:00:00Z")

	c, alice, _ := start(ewstest.Quirks{})
	twice := alice.Folder("Inbox").DeliverItems(ewstest.Message{Raw: message("c"), Categories: []string{"red", "blue"}})
	_, got = c.found(view(4, 10) + oldest)
	same(t, "once per category", got, []string{twice[0], twice[0]})
}

func TestItemsThatAreBroken(t *testing.T) {
	_, alice, c := alone(t, nil)
	ids := alice.Deliver("Inbox", message("a"))
	const plain = `<m:GetItem>` + idOnly + `%s</m:GetItem>`
	const mime = `<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:IncludeMimeContent>true</t:IncludeMimeContent></m:ItemShape>%s</m:GetItem>`
	const utf8 = `<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties><t:FieldURI FieldURI="item:MimeContentUTF8"/></t:AdditionalProperties></m:ItemShape>%s</m:GetItem>`
	id := itemIDs(ids...)

	alice.BreakConversion(ids...)
	c.fails("ErrorMimeContentConversionFailed", mime, id)
	c.ok(plain, id)
	equal(t, "MimeContentUTF8", len(c.ok(utf8, id)[0].all("MimeContentUTF8")), 1)
	alice.Break(ewstest.UnconvertedUTF8, ids...)
	c.fails("ErrorMimeContentConversionFailed", utf8, id)
	alice.Break(ewstest.Corrupt, ids...)
	c.fails("ErrorItemCorrupt", plain, id)
	alice.Break(ewstest.NoMIME, ids...)
	equal(t, "absent", len(c.ok(mime, id)[0].all("MimeContent")), 0)
	alice.Break(ewstest.EmptyMIME, ids...)
	got := c.ok(mime, id)[0].all("MimeContent")
	equal(t, "empty", fmt.Sprintf("%d %q", len(got), got[0].text()), `1 ""`)
	alice.Break(ewstest.ListedButNot, ids...)
	c.fails("ErrorItemNotFound", plain, id)
	told, _ := c.sync("", 512)
	same(t, "still listed", told, prefixed("Create", ids))
	alice.Break(ewstest.Whole, ids...)
	c.ok(mime, id)
}
