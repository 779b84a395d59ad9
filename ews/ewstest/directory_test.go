package ewstest_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/ews/ewstest"
)

func TestDirectory(t *testing.T) {
	srv := ewstest.NewServer(t, nil)
	srv.AddAccount("svc@corp.test", ewstest.AccountOptions{Password: password})
	for i := range 120 {
		srv.AddMailbox(fmt.Sprintf("user%03d@corp.test", i), ewstest.MailboxOptions{Display: fmt.Sprintf("User %03d", i)})
	}
	srv.AddMailbox("alice@corp.test", ewstest.MailboxOptions{Display: "Alice"})
	srv.AddMailbox("secret@corp.test", ewstest.MailboxOptions{Unlisted: true})
	srv.AddMailbox("moving@corp.test", ewstest.MailboxOptions{Fault: "ErrorMailboxMoveInProgress"})
	srv.AddGroup(ewstest.Group{Address: "all@corp.test", Name: "All", Members: []string{"alice@corp.test", "All@corp.test", "out@else.test"}})
	srv.AddGroup(ewstest.Group{Address: "hidden@corp.test", Members: []string{"alice@corp.test"}, Hidden: true})
	c := newClient(t, srv, "svc@corp.test")

	expand := `<m:ExpandDL><m:Mailbox><t:EmailAddress>%s</t:EmailAddress></m:Mailbox></m:ExpandDL>`
	var members []string
	for _, m := range c.ok(expand, "ALL@corp.test")[0].at("DLExpansion").Kids {
		members = append(members, m.text("MailboxType")+" "+m.text("EmailAddress"))
	}
	same(t, "members", members, []string{"Mailbox alice@corp.test", "PublicDL All@corp.test", "Contact out@else.test"})
	equal(t, "hidden members", len(c.ok(expand, "hidden@corp.test")[0].at("DLExpansion").Kids), 0)
	c.fails("ErrorNameResolutionNoResults", expand, "nobody@corp.test")

	resolve := `<m:ResolveNames ReturnFullContactData="false"><m:UnresolvedEntry>%s</m:UnresolvedEntry></m:ResolveNames>`
	one := c.ok(resolve, "ali")[0].at("ResolutionSet")
	equal(t, "resolved", one.Kids[0].text("Mailbox", "EmailAddress"), "alice@corp.test")
	many := c.fails("ErrorNameResolutionMultipleResults", resolve, "user")
	equal(t, "a warning", many.attr("ResponseClass"), "Warning")
	equal(t, "at most", len(many.at("ResolutionSet").Kids), 100)
	equal(t, "all of them", many.at("ResolutionSet").attr("IncludesLastItemInRange"), "false")
	c.fails("ErrorNameResolutionNoResults", resolve, "secret")

	people := `<m:FindPeople><m:IndexedPageItemView MaxEntriesReturned="50" Offset="%d" BasePoint="Beginning"/><m:ParentFolderId><t:DistinguishedFolderId Id="directory"/></m:ParentFolderId></m:FindPeople>`
	seen := map[string]bool{}
	for offset := 0; ; offset += 50 {
		page := c.call(people, offset)
		for _, p := range page.at("People").Kids {
			seen[p.text("EmailAddress", "EmailAddress")] = true
		}
		if offset+50 >= 124 {
			equal(t, "total", page.text("TotalNumberOfPeopleInView"), "124")
			break
		}
	}
	equal(t, "people", len(seen), 124)

	search := `<m:GetSearchableMailboxes><m:SearchFilter>%s</m:SearchFilter><m:ExpandGroupMembership>false</m:ExpandGroupMembership></m:GetSearchableMailboxes>`
	equal(t, "without the role", c.call(search, "").text("ResponseCode"), "ErrorAccessDenied")
	srv.GrantDiscovery("svc@corp.test")
	answer := c.call(search, "")
	equal(t, "searchable", len(answer.at("SearchableMailboxes").Kids), 122)
	equal(t, "failed", answer.at("FailedMailboxes").Kids[0].text("Mailbox"), "moving@corp.test")
	equal(t, "filtered", len(c.call(search, "ali").at("SearchableMailboxes").Kids), 1)
}

func TestIDs(t *testing.T) {
	for _, long := range []bool{false, true} {
		_, alice, c := alone(t, &ewstest.Options{LongIDs: long})
		ids := alice.Deliver("Inbox", message("a"), message("b"), message("c"), message("d"))
		equal(t, "two ids differ in case only", strings.EqualFold(ids[0], ids[1]) && ids[0] != ids[1], true)
		for _, id := range append(ids, alice.Folder("Inbox").ID()) {
			if raw, err := base64.StdEncoding.DecodeString(id); err != nil || len(raw) < 100 || long != (len(id) > 512) || !strings.ContainsAny(id, "+/") || !strings.HasSuffix(id, "=") {
				t.Errorf("id %q: %v", id, err)
			}
		}
		got := c.ok(`<m:GetItem><m:ItemShape><t:BaseShape>Default</t:BaseShape></m:ItemShape>%s</m:GetItem>`, itemIDs(ids...))
		for i, want := range []string{"a", "b", "c", "d"} {
			equal(t, "subject", got[i].all("Subject")[0].text(), want)
		}
		get := `<m:GetItem>` + idOnly + `%s</m:GetItem>`
		c.fails("ErrorInvalidIdMalformed", get, itemIDs(strings.ToLower(ids[0])))
		c.fails("ErrorInvalidIdMalformed", get, itemIDs(ids[0][:40]))
		c.fails("ErrorInvalidIdEmpty", get, itemIDs(""))
		c.fails("ErrorCannotUseFolderIdForItemId", get, itemIDs(alice.Folder("Inbox").ID()))
		c.fails("ErrorCannotUseItemIdForFolderId", `<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape><m:FolderIds><t:FolderId Id="%s"/></m:FolderIds></m:GetFolder>`, ids[0])
		hex := c.ok(`<m:ConvertId DestinationFormat="HexEntryId"><m:SourceIds><t:AlternateId Format="EwsId" Id="%s" Mailbox="alice@corp.test"/></m:SourceIds></m:ConvertId>`, ids[0])
		if id := hex[0].at("AlternateId").attr("Id"); !strings.HasPrefix(id, "010324") {
			t.Errorf("converted: %s", id)
		}
	}
}

func TestSubscriptionsTellWhatHappens(t *testing.T) {
	srv, alice, c := alone(t, nil)
	old := alice.Deliver("Inbox", message("old"))
	sub := c.ok(`<m:Subscribe><m:PullSubscriptionRequest SubscribeToAllFolders="true"><t:EventTypes><t:EventType>CreatedEvent</t:EventType><t:EventType>NewMailEvent</t:EventType>` +
		`<t:EventType>DeletedEvent</t:EventType><t:EventType>ModifiedEvent</t:EventType><t:EventType>MovedEvent</t:EventType></t:EventTypes><t:Timeout>5</t:Timeout></m:PullSubscriptionRequest></m:Subscribe>`)[0]
	id, mark := sub.text("SubscriptionId"), sub.text("Watermark")
	const get = `<m:GetEvents><m:SubscriptionId>%s</m:SubscriptionId><m:Watermark>%s</m:Watermark></m:GetEvents>`
	events := func() (told []string) {
		t.Helper()
		for _, e := range c.ok(get, id, mark)[0].at("Notification").Kids {
			if w := e.text("Watermark"); w != "" {
				mark = w
			}
			if strings.HasSuffix(e.XMLName.Local, "Event") {
				told = append(told, strings.TrimSpace(e.XMLName.Local+" "+e.at("ItemId").attr("Id")+" "+e.at("OldItemId").attr("Id")))
			}
		}
		return told
	}
	same(t, "nothing yet", events(), []string{"StatusEvent"})
	first := mark
	fresh := alice.Deliver("Inbox", message("new"))
	alice.SetRead(old...)
	moved := alice.Move(old[0], "New folder")
	alice.Remove(fresh...)
	told := events()
	same(t, "events", told, []string{
		"CreatedEvent " + fresh[0], "NewMailEvent " + fresh[0], "ModifiedEvent " + old[0], "DeletedEvent " + fresh[0], "MovedEvent " + moved + " " + old[0],
	})
	same(t, "nothing more", events(), []string{"StatusEvent"})
	c.fails("ErrorInvalidWatermark", get, id, first)
	srv.AddMailbox("bob@corp.test", ewstest.MailboxOptions{Password: password})
	newClient(t, srv, "bob@corp.test").fails("ErrorSubscriptionAccessDenied", get, id, mark)
	equal(t, "subscriptions", srv.Subscriptions(), 1)
	c.ok(`<m:Unsubscribe><m:SubscriptionId>%s</m:SubscriptionId></m:Unsubscribe>`, id)
	c.fails("ErrorSubscriptionNotFound", get, id, mark)
	equal(t, "subscriptions", srv.Subscriptions(), 0)
}

// parts is a message with a text, a file and another message.
const parts = "From: a@corp.test\r\nReceived: by x; Mon, 02 Mar 2026 10:00:00 +0100\r\nDKIM-Signature: v=1;\r\n b=x\r\nSubject: =?utf-8?q?gr=C3=BCn?=\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: multipart/mixed; boundary=\"bnd\"\r\n\r\n--bnd\r\nContent-Type: text/plain\r\n\r\nHello.\r\n--bnd\r\n" +
	"Content-Type: application/octet-stream; name=\"f.bin\"\r\nContent-Disposition: attachment; filename=\"f.bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--bnd\r\n" +
	"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nInner.\r\n--bnd--\r\n"

func TestAttachments(t *testing.T) {
	_, alice, c := alone(t, nil)
	ids := alice.Deliver("Inbox", []byte(parts))
	item := c.ok(`<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties><t:FieldURI FieldURI="item:Attachments"/><t:FieldURI FieldURI="item:Subject"/></t:AdditionalProperties></m:ItemShape>%s</m:GetItem>`, itemIDs(ids...))[0].at("Items", "Message")
	equal(t, "subject", item.text("Subject"), "grün")
	list := item.at("Attachments").Kids
	equal(t, "attachments", len(list), 2)
	get := `<m:GetAttachment><m:AttachmentShape><t:IncludeMimeContent>true</t:IncludeMimeContent></m:AttachmentShape><m:AttachmentIds><t:AttachmentId Id="%s"/></m:AttachmentIds></m:GetAttachment>`
	file := c.ok(get, list[0].at("AttachmentId").attr("Id"))[0].at("Attachments", "FileAttachment")
	equal(t, "file", file.text("Name")+" "+file.text("Content"), "f.bin AAEC")
	inner := c.ok(get, list[1].at("AttachmentId").attr("Id"))[0].at("Attachments", "ItemAttachment", "Message")
	raw, err := base64.StdEncoding.DecodeString(inner.text("MimeContent"))
	equal(t, "message", inner.text("Subject")+fmt.Sprintf(" %q %v", raw, err), `inner "Subject: inner\r\n\r\nInner." <nil>`)
	c.fails("ErrorInvalidAttachmentId", get, ids[0])
}

func TestResynthesisedMIME(t *testing.T) {
	_, alice, c := alone(t, &ewstest.Options{MIME: ewstest.MIMEResynthesised})
	ids := alice.Deliver("Inbox", []byte(parts))
	get := func() string {
		raw, err := base64.StdEncoding.DecodeString(c.ok(`<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:IncludeMimeContent>true</t:IncludeMimeContent></m:ItemShape>%s</m:GetItem>`,
			itemIDs(ids...))[0].all("MimeContent")[0].text())
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	first, second := get(), get()
	if first == second {
		t.Error("the same octets twice")
	}
	for _, lost := range []string{"Received:", "DKIM", "b=x", "bnd"} {
		if strings.Contains(first, lost) {
			t.Errorf("%s is still there", lost)
		}
	}
	for _, kept := range []string{"Subject: =?utf-8?q?gr=C3=BCn?=", "AAEC", "Inner."} {
		if !strings.Contains(first, kept) {
			t.Errorf("%s is lost", kept)
		}
	}
}

func TestFoldersOfAMailbox(t *testing.T) {
	srv, alice, c := alone(t, nil)
	create := `<m:CreateFolder><m:ParentFolderId><t:FolderId Id="%s"/></m:ParentFolderId><m:Folders><t:Folder><t:FolderClass>%s</t:FolderClass><t:DisplayName>%s</t:DisplayName></t:Folder></m:Folders></m:CreateFolder>`
	top := alice.Folder("A")
	c.ok(create, top.ID(), "IPF.Appointment", "Dates")
	c.fails("ErrorFolderExists", create, top.ID(), "IPF.Note", "dates")
	top.Add("x/y")
	top.Add("x/y")
	find := `<m:FindFolder Traversal="%s"><m:FolderShape><t:BaseShape>AllProperties</t:BaseShape></m:FolderShape>%s<m:ParentFolderIds><t:DistinguishedFolderId Id="msgfolderroot"/></m:ParentFolderIds></m:FindFolder>`
	named := func(parts string) (names []string) {
		t.Helper()
		for _, n := range c.ok(find, "Deep", parts)[0].all("DisplayName") {
			names = append(names, n.text())
		}
		return names
	}
	restriction := `<m:Restriction><t:IsEqualTo><t:FieldURI FieldURI="folder:FolderClass"/><t:FieldURIOrConstant><t:Constant Value="IPF.Appointment"/></t:FieldURIOrConstant></t:IsEqualTo></m:Restriction>`
	same(t, "appointments", named(restriction), []string{"Calendar", "Dates"})
	same(t, "page", named(`<m:IndexedPageFolderView MaxEntriesReturned="2" Offset="12" BasePoint="Beginning"/>`), []string{"Dates", "x/y"})
	root := c.ok(find, "Shallow", "")[0].at("RootFolder")
	equal(t, "total", root.attr("TotalItemsInView"), "12")
	b := alice.Folder("B").Class("IPF.Note.Special")
	alice.Deliver("b", message("1"), message("2"))
	b.MoveTo(top)
	equal(t, "moved with its content", len(srv.Messages(alice.Address(), "A/B")), 2)
	equal(t, "not where it was", srv.Messages(alice.Address(), "B") == nil, true)
	got := c.ok(`<m:GetFolder><m:FolderShape><t:BaseShape>AllProperties</t:BaseShape></m:FolderShape><m:FolderIds><t:FolderId Id="%s"/></m:FolderIds></m:GetFolder>`, b.ID())[0].at("Folders", "Folder")
	equal(t, "properties", got.text("FolderClass")+" "+got.text("TotalCount")+" "+got.text("UnreadCount")+" "+got.text("DisplayName"), "IPF.Note.Special 2 2 B")
	equal(t, "parent", got.at("ParentFolderId").attr("Id"), top.ID())
}
