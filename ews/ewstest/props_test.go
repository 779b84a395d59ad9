package ewstest_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/ews/ewstest"
)

// recorder is a test whose errors are part of another.
type recorder struct {
	testing.TB
	errors  []string
	cleanup []func()
}

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.cleanup = append(r.cleanup, f) }
func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func TestBadRequestsFailTheTest(t *testing.T) {
	r := &recorder{TB: t}
	srv := ewstest.NewServer(r, nil)
	srv.AddMailbox("alice@corp.test", ewstest.MailboxOptions{Password: password})
	c := newClient(t, srv, "alice@corp.test")
	c.fails("ErrorSchemaValidation", `<m:GetItem/>`)
	c.http.CloseIdleConnections()
	for _, f := range r.cleanup {
		f()
	}
	if len(r.errors) != 1 || !strings.Contains(r.errors[0], "GetItem: The request failed schema validation") {
		t.Errorf("errors: %q", r.errors)
	}
}

func TestPropertiesOfItems(t *testing.T) {
	_, alice, c := alone(t, &ewstest.Options{Size: func(n int64) int64 { return n + 1000 }})
	raw := []byte("From: Bob <bob@corp.test>\r\nTo: Alice <alice@corp.test>, c@corp.test\r\nCc: d@corp.test\r\nReply-To: e@corp.test\r\nSubject: s\r\n" +
		"In-Reply-To: <i@x>\r\nReferences: <r@x>\r\nMessage-ID: <m@x>\r\nDate: Mon, 02 Mar 2026 10:00:00 +0100\r\n\r\nHello.\r\n")
	ids := alice.Folder("Inbox").DeliverItems(ewstest.Message{Raw: raw, Categories: []string{"red"}, Read: true},
		ewstest.Message{Raw: raw, Class: "IPM.Contact"}, ewstest.Message{Raw: raw, Class: "IPM.Schedule.Meeting.Request"}, ewstest.Message{Raw: raw, Kind: "Network", Class: "IPM.X"})
	got := c.ok(`<m:GetItem><m:ItemShape><t:BaseShape>AllProperties</t:BaseShape></m:ItemShape>%s</m:GetItem>`, itemIDs(ids...))
	item := got[0].at("Items", "Message")
	for path, want := range map[string]string{
		"ItemClass": "IPM.Note", "Subject": "s", "InReplyTo": "<i@x>", "References": "<r@x>", "InternetMessageId": "<m@x>", "DateTimeSent": "2026-03-02T09:00:00Z",
		"DisplayTo": "Alice; c@corp.test", "DisplayCc": "d@corp.test", "From/Mailbox/Name": "Bob", "Sender/Mailbox/EmailAddress": "bob@corp.test",
		"ToRecipients/Mailbox/EmailAddress": "alice@corp.test", "ReplyTo/Mailbox/EmailAddress": "e@corp.test", "Categories/String": "red", "IsRead": "true",
		"Size": fmt.Sprint(len(raw) + 1000), "Body": "Hello.", "InternetMessageHeaders/InternetMessageHeader": "Bob <bob@corp.test>", "HasAttachments": "false",
	} {
		equal(t, path, item.text(strings.Split(path, "/")...), want)
	}
	equal(t, "kind of a contact", got[1].at("Items").Kids[0].XMLName.Local, "Contact")
	equal(t, "a contact is not read", len(got[1].all("IsRead")), 0)
	equal(t, "kind of a meeting request", got[2].at("Items").Kids[0].XMLName.Local, "MeetingRequest")
	equal(t, "kind as asked", got[3].at("Items").Kids[0].XMLName.Local, "Network")

	const shape = `<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>%s</t:AdditionalProperties></m:ItemShape>%s</m:GetItem>`
	paths := ""
	for _, tag := range []string{"0x007D", "0x0E07", "3590", "0x0E08", "0x001A", "0x1234"} {
		paths += `<t:ExtendedFieldURI PropertyTag="` + tag + `" PropertyType="String"/>`
	}
	values := c.ok(shape, paths, itemIDs(ids[0]))[0].all("Value")
	equal(t, "extended properties", len(values), 5)
	if head := values[0].Text; !strings.HasPrefix(head, "From: Bob") || strings.Contains(head, "Hello") {
		t.Errorf("transport headers: %q", head)
	}
	equal(t, "flags", values[1].text(), "1")
	equal(t, "class", values[4].text(), "IPM.Note")
}

func TestUpdatesOfProperties(t *testing.T) {
	_, alice, c := alone(t, nil)
	ids := alice.Deliver("Inbox", message("a"))
	const path = `<t:ExtendedFieldURI PropertySetId="00020329-0000-0000-C000-000000000046" PropertyName="tag" PropertyType="String"/>`
	update := func(what string) {
		t.Helper()
		c.ok(`<m:UpdateItem ConflictResolution="AutoResolve" MessageDisposition="SaveOnly"><m:ItemChanges><t:ItemChange><t:ItemId Id="%s"/><t:Updates>%s</t:Updates></t:ItemChange></m:ItemChanges></m:UpdateItem>`, ids[0], what)
	}
	values := func() (all []string) {
		t.Helper()
		item := c.ok(`<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties><t:FieldURI FieldURI="item:Categories"/>%s</t:AdditionalProperties></m:ItemShape>%s</m:GetItem>`, path, itemIDs(ids...))[0]
		for _, v := range append(item.all("String"), item.all("Value")...) {
			all = append(all, v.text())
		}
		return all
	}
	set := func(path, element string) string {
		return `<t:SetItemField>` + path + `<t:Message>` + element + `</t:Message></t:SetItemField>`
	}
	property := func(value string) string {
		return set(path, `<t:ExtendedProperty>`+path+`<t:Value>`+value+`</t:Value></t:ExtendedProperty>`)
	}
	categories := `<t:FieldURI FieldURI="item:Categories"/>`
	c.fails("ErrorMessageDispositionRequired", `<m:UpdateItem ConflictResolution="AutoResolve"><m:ItemChanges><t:ItemChange><t:ItemId Id="%s"/><t:Updates>%s</t:Updates></t:ItemChange></m:ItemChanges></m:UpdateItem>`, ids[0], property("zero"))
	_, state := c.sync("", 512)
	update(property("one") + set(categories, `<t:Categories><t:String>red</t:String><t:String>blue</t:String></t:Categories>`))
	same(t, "set", values(), []string{"red", "blue", "one"})
	update(property("two"))
	same(t, "set again", values(), []string{"red", "blue", "two"})
	update(`<t:DeleteItemField>` + path + `</t:DeleteItemField><t:DeleteItemField>` + categories + `</t:DeleteItemField>`)
	same(t, "deleted", values(), nil)
	told, _ := c.sync(state, 512)
	same(t, "told", told, prefixed("Update", ids))
	alice.SetRead(ids...)
	alice.SetUnread(ids...)
}

func TestItemsOfFields(t *testing.T) {
	srv, _, c := alone(t, nil)
	c.ok(`<m:CreateItem MessageDisposition="SendOnly"><m:Items><t:Message><t:Subject>s</t:Subject><t:Body BodyType="Text">Hello.</t:Body><t:ToRecipients><t:Mailbox><t:EmailAddress>alice@corp.test</t:EmailAddress></t:Mailbox></t:ToRecipients></t:Message></m:Items></m:CreateItem>`)
	equal(t, "sent", string(srv.Sent()[0].Raw), "To: alice@corp.test\r\nSubject: s\r\n\r\nHello.\r\n")
	equal(t, "arrived", len(srv.Messages("alice@corp.test", "Inbox")), 1)
	c.fails("ErrorMimeContentInvalidBase64String", create, "SaveOnly", "", "", "")
	c.fails("ErrorInvalidExtendedPropertyValue", create, "SaveOnly", "", encoded(message("a")), extended("0x0E06", "SystemTime", "yesterday"))
}

func TestUploadsAndReplicas(t *testing.T) {
	srv, alice, c := alone(t, nil)
	ids := alice.Deliver("Inbox", message("a"), message("b"))
	data := c.ok(`<m:ExportItems>%s</m:ExportItems>`, itemIDs(ids[0]))[0].text("Data")
	const upload = `<m:UploadItems><m:Items><t:Item CreateAction="%s"><t:ParentFolderId Id="%s"/><t:ItemId Id="%s"/><t:Data>%s</t:Data></t:Item></m:Items></m:UploadItems>`
	inboxID := alice.Folder("Inbox").ID()
	c.ok(upload, "Update", inboxID, ids[1], data)
	equal(t, "updated", string(srv.Messages("alice@corp.test", "Inbox")[1].Raw), string(message("a")))
	alice.Remove(ids[1])
	c.fails("ErrorItemNotFound", upload, "Update", inboxID, ids[1], data)
	c.ok(upload, "UpdateOrCreate", inboxID, ids[1], data)
	equal(t, "created", alice.Folder("Inbox").Count(), 2)
	c.fails("ErrorCorruptData", upload, "CreateNew", inboxID, ids[1], "aGVsbG8=")
	alice.Break(ewstest.Corrupt, ids[0])
	c.fails("ErrorItemCorrupt", `<m:ExportItems>%s</m:ExportItems>`, itemIDs(ids[0]))

	public := srv.PublicFolders().Folder("News").Replica("2b0ab1dd-0b0e-4c3c-b8a1-000000000001")
	value := c.ok(`<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties><t:ExtendedFieldURI PropertyTag="0x6698" PropertyType="Binary"/></t:AdditionalProperties></m:FolderShape><m:FolderIds><t:FolderId Id="%s"/></m:FolderIds></m:GetFolder>`, public.ID())[0].all("Value")[0].text()
	raw, err := base64.StdEncoding.DecodeString(value)
	equal(t, "replica", fmt.Sprintf("%s %v", raw, err), "2b0ab1dd-0b0e-4c3c-b8a1-000000000001\x00 <nil>")
}

// TestIDsOfAnotherServer asks a server for what only another one with the same seed has.
func TestIDsOfAnotherServer(t *testing.T) {
	_, alice, c := alone(t, nil)
	item := alice.Deliver("Inbox", []byte(parts), []byte(parts))[1]
	attachment := c.ok(`<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties><t:FieldURI FieldURI="item:Attachments"/></t:AdditionalProperties></m:ItemShape>%s</m:GetItem>`, itemIDs(item))[0].all("AttachmentId")[0].attr("Id")
	folder := alice.Folder("Further").ID()
	_, _, other := alone(t, nil)
	other.fails("ErrorItemNotFound", `<m:GetItem>%s%s</m:GetItem>`, idOnly, itemIDs(item))
	other.fails("ErrorFolderNotFound", `<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape><m:FolderIds><t:FolderId Id="%s"/></m:FolderIds></m:GetFolder>`, folder)
	other.fails("ErrorItemNotFound", `<m:GetAttachment><m:AttachmentIds><t:AttachmentId Id="%s"/></m:AttachmentIds></m:GetAttachment>`, attachment)
}

func TestSortOrders(t *testing.T) {
	_, alice, c := alone(t, nil)
	ids := dated(alice, 3)
	alice.Touch(ids[1])
	for path, want := range map[string][]string{
		"item:DateTimeReceived": {ids[2], ids[1], ids[0]}, "item:Subject": {ids[2], ids[1], ids[0]}, "item:LastModifiedTime": {ids[1]}, "item:Size": ids,
	} {
		_, got := c.found(`<m:SortOrder><t:FieldOrder Order="Descending"><t:FieldURI FieldURI="` + path + `"/></t:FieldOrder></m:SortOrder>`)
		same(t, path, got[:len(want)], want)
	}
	c.fails("ErrorUnsupportedPathForSortGroup", find, `<m:SortOrder><t:FieldOrder Order="Descending"><t:FieldURI FieldURI="item:Body"/></t:FieldOrder></m:SortOrder>`)
	_, got := c.found(`<m:FractionalPageItemView MaxEntriesReturned="1" Numerator="2" Denominator="3"/>` + oldest)
	same(t, "the last third", got, ids[2:])
	_, got = c.found(`<m:IndexedPageItemView MaxEntriesReturned="2" Offset="0" BasePoint="End"/>` + oldest)
	same(t, "from the end", got, ids[1:])
}
