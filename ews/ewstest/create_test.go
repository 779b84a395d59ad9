package ewstest_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/ews/ewstest"
)

func encoded(raw []byte) string { return base64.StdEncoding.EncodeToString(raw) }

const create = `<m:CreateItem MessageDisposition="%s">%s<m:Items><t:Message><t:MimeContent>%s</t:MimeContent>%s</t:Message></m:Items></m:CreateItem>`

// extended makes an ExtendedProperty of a tag.
func extended(tag, kind, value string) string {
	return `<t:ExtendedProperty><t:ExtendedFieldURI PropertyTag="` + tag + `" PropertyType="` + kind + `"/><t:Value>` + value + `</t:Value></t:ExtendedProperty>`
}

func TestCreateItemSaves(t *testing.T) {
	srv, _, c := alone(t, nil)
	raw := message("saved")
	to := `<m:SavedItemFolderId>` + inbox + `</m:SavedItemFolderId>`
	got := c.ok(create, "SaveOnly", to, encoded(raw), extended("0x0E07", "Integer", "1")+extended("0x0E06", "SystemTime", "2020-02-03T04:05:06Z"))
	kept := srv.Messages("alice@corp.test", "Inbox")
	if len(kept) != 1 {
		t.Fatalf("got %d messages", len(kept))
	}
	equal(t, "id", got[0].at("Items", "Message", "ItemId").attr("Id"), kept[0].ID)
	equal(t, "octets", string(kept[0].Raw), string(raw))
	equal(t, "draft", kept[0].Draft, false)
	equal(t, "read", kept[0].Read, true)
	equal(t, "received", kept[0].Received.Equal(time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)), true)

	c.ok(create, "SaveOnly", "", encoded(raw), "")
	draft := srv.Messages("alice@corp.test", "Drafts")[0]
	equal(t, "without flags it is a draft", draft.Draft, true)
	c.fails("ErrorMessageDispositionRequired", `<m:CreateItem><m:Items><t:Message><t:MimeContent>%s</t:MimeContent></t:Message></m:Items></m:CreateItem>`, encoded(raw))
}

func TestCreateItemSends(t *testing.T) {
	srv, alice, c := alone(t, nil)
	bob := srv.AddMailbox("bob@corp.test", ewstest.MailboxOptions{Password: password})
	raw := []byte("From: alice@corp.test\r\nTo: Bob <bob@corp.test>\r\nBcc: eve@corp.test,\r\n carol@corp.test\r\nMessage-ID: <m@corp.test>\r\nSubject: s\r\n\r\nHello.\r\n")
	got := c.ok(create, "SendAndSaveCopy", "", encoded(raw), "")
	equal(t, "saved", len(srv.Messages(alice.Address(), "Sent Items")), 1)
	equal(t, "told", len(got[0].all("ItemId")), 1)
	sent := srv.Sent()
	equal(t, "recipients", strings.Join(sent[0].Recipients, " "), "bob@corp.test eve@corp.test carol@corp.test")
	equal(t, "octets", bytes.Equal(sent[0].Raw, raw), true)
	arrived := srv.Messages(bob.Address(), "Inbox")
	if len(arrived) != 1 || bytes.Contains(arrived[0].Raw, []byte("Bcc")) || bytes.Contains(arrived[0].Raw, []byte("carol")) {
		t.Errorf("arrived: %v", arrived)
	}
	got = c.ok(create, "SendOnly", "", encoded(raw), "")
	equal(t, "no id comes back", len(got[0].all("ItemId")), 0)
	equal(t, "a Message-ID that is there is dropped", len(srv.Messages(bob.Address(), "Inbox")), 1)
	equal(t, "sent", len(srv.Sent()), 2)

	c.fails("ErrorMissingRecipients", create, "SendOnly", "", encoded([]byte("From: alice@corp.test\r\n\r\nx\r\n")), "")
	c.fails("ErrorSendAsDenied", create, "SendOnly", "", encoded([]byte("From: bob@corp.test\r\nTo: bob@corp.test\r\n\r\nx\r\n")), "")
	equal(t, "sent after refusals", len(srv.Sent()), 2)
}

func TestLimits(t *testing.T) {
	srv := ewstest.NewServer(t, &ewstest.Options{MaxMessage: 1000})
	srv.AddMailbox("alice@corp.test", ewstest.MailboxOptions{Password: password, Quota: 1500, RecoverableQuota: 900})
	c := newClient(t, srv, "alice@corp.test")
	big := append([]byte("To: a@corp.test\r\n\r\n"), bytes.Repeat([]byte("x"), 700)...)
	first := c.ok(create, "SaveOnly", "", encoded(big), "")[0].all("ItemId")[0].attr("Id")
	second := c.ok(create, "SaveOnly", "", encoded(big), "")[0].all("ItemId")[0].attr("Id")
	c.fails("ErrorQuotaExceeded", create, "SaveOnly", "", encoded(big), "")
	c.fails("ErrorMessageSizeExceeded", create, "SaveOnly", "", encoded(append(big, big...)), "")
	const remove = `<m:DeleteItem DeleteType="HardDelete">%s</m:DeleteItem>`
	c.ok(remove, itemIDs(first))
	c.fails("ErrorQuotaExceededOnDelete", remove, itemIDs(second))
}

func TestDeleteItem(t *testing.T) {
	srv, alice, c := alone(t, nil)
	for how, folder := range map[string]string{"MoveToDeletedItems": "Deleted Items", "SoftDelete": "Deletions", "HardDelete": "Purges"} {
		ids := alice.Deliver("Inbox", message(how))
		c.ok(`<m:DeleteItem DeleteType="%s">%s</m:DeleteItem>`, how, itemIDs(ids...))
		left := alice.Recoverable().Folder(folder).Messages()
		if how == "MoveToDeletedItems" {
			left = srv.Messages(alice.Address(), folder)
		}
		if len(left) != 1 || left[0].ID == ids[0] {
			t.Errorf("%s: in %s: %v", how, folder, left)
		}
		c.fails("ErrorItemNotFound", `<m:DeleteItem DeleteType="%s">%s</m:DeleteItem>`, how, itemIDs(ids...))
	}
	equal(t, "inbox", len(srv.Messages(alice.Address(), "Inbox")), 0)
	purged := alice.Recoverable().Folder("Purges").Messages()[0].ID
	c.ok(`<m:DeleteItem DeleteType="HardDelete">%s</m:DeleteItem>`, itemIDs(purged))
	equal(t, "purges", len(alice.Recoverable().Folder("Purges").Messages()), 0)

	inbox := alice.Folder("Inbox")
	meeting := inbox.DeliverItems(ewstest.Message{Raw: message("m"), Class: "IPM.Schedule.Meeting.Request"})
	c.fails("ErrorSendMeetingCancellationsRequired", `<m:DeleteItem DeleteType="HardDelete">%s</m:DeleteItem>`, itemIDs(meeting...))
	c.ok(`<m:DeleteItem DeleteType="HardDelete" SendMeetingCancellations="SendToNone">%s</m:DeleteItem>`, itemIDs(meeting...))
	task := inbox.DeliverItems(ewstest.Message{Raw: message("t"), Class: "IPM.Task"})
	c.fails("ErrorAffectedTaskOccurrencesRequired", `<m:DeleteItem DeleteType="HardDelete">%s</m:DeleteItem>`, itemIDs(task...))
	alice.Protect(true)
	c.fails("ErrorCannotDeleteObject", `<m:DeleteItem DeleteType="HardDelete" AffectedTaskOccurrences="AllOccurrences">%s</m:DeleteItem>`, itemIDs(task...))
	c.fails("ErrorInvalidIdMalformed", `<m:DeleteItem DeleteType="HardDelete">%s</m:DeleteItem>`, itemIDs("AAMk"))
}

func TestHoldKeepsWhatIsPurged(t *testing.T) {
	srv := ewstest.NewServer(t, nil)
	alice := srv.AddMailbox("alice@corp.test", ewstest.MailboxOptions{Password: password, Hold: true})
	c := newClient(t, srv, "alice@corp.test")
	for range 2 {
		alice.Deliver("Inbox", message("held"))
		for _, m := range append(srv.Messages(alice.Address(), "Inbox"), alice.Recoverable().Folder("Purges").Messages()...) {
			c.ok(`<m:DeleteItem DeleteType="HardDelete">%s</m:DeleteItem>`, itemIDs(m.ID))
		}
	}
	equal(t, "purges", len(alice.Recoverable().Folder("Purges").Messages()), 2)
}

func TestReceiptsOfUnreadMail(t *testing.T) {
	srv, alice, c := alone(t, nil)
	raw := append([]byte("Disposition-Notification-To: bob@corp.test\r\n"), message("r")...)
	ids := alice.Deliver("Inbox", raw, raw)
	c.ok(`<m:DeleteItem DeleteType="HardDelete" SuppressReadReceipts="true">%s</m:DeleteItem>`, itemIDs(ids[0]))
	equal(t, "suppressed", len(srv.Receipts()), 0)
	c.ok(`<m:DeleteItem DeleteType="HardDelete">%s</m:DeleteItem>`, itemIDs(ids[1]))
	equal(t, "sent", strings.Join(srv.Receipts(), " "), ids[1])
}

func TestUpdateMoveAndExport(t *testing.T) {
	srv, alice, c := alone(t, nil)
	ids := alice.Deliver("Inbox", message("a"))
	set := `<m:UpdateItem ConflictResolution="%s" MessageDisposition="SaveOnly"><m:ItemChanges><t:ItemChange><t:ItemId Id="%s" ChangeKey="%s"/><t:Updates>` +
		`<t:SetItemField><t:FieldURI FieldURI="message:IsRead"/><t:Message><t:IsRead>true</t:IsRead></t:Message></t:SetItemField></t:Updates></t:ItemChange></m:ItemChanges></m:UpdateItem>`
	get := `<m:GetItem><m:ItemShape><t:BaseShape>AllProperties</t:BaseShape></m:ItemShape>%s</m:GetItem>`
	key := c.ok(get, itemIDs(ids...))[0].all("ItemId")[0].attr("ChangeKey")
	c.ok(set, "AlwaysOverwrite", ids[0], key)
	item := c.ok(get, itemIDs(ids...))[0].at("Items", "Message")
	equal(t, "read", item.text("IsRead"), "true")
	if item.at("ItemId").attr("ChangeKey") == key {
		t.Error("the change key stays")
	}
	c.fails("ErrorIrresolvableConflict", set, "NeverOverwrite", ids[0], key)

	data := c.ok(`<m:ExportItems>%s</m:ExportItems>`, itemIDs(ids...))[0].text("Data")
	up := c.ok(`<m:UploadItems><m:Items><t:Item CreateAction="CreateNew"><t:ParentFolderId Id="%s"/><t:Data>%s</t:Data></t:Item></m:Items></m:UploadItems>`,
		alice.Folder("Copy").ID(), data)
	copied := srv.Messages(alice.Address(), "Copy")[0]
	equal(t, "uploaded", copied.ID, up[0].at("ItemId").attr("Id"))
	equal(t, "octets", string(copied.Raw), string(message("a")))

	moved := c.ok(`<m:MoveItem><m:ToFolderId><t:FolderId Id="%s"/></m:ToFolderId>%s</m:MoveItem>`, alice.Folder("Elsewhere").ID(), itemIDs(ids...))
	there := srv.Messages(alice.Address(), "Elsewhere")[0].ID
	equal(t, "new id", moved[0].all("ItemId")[0].attr("Id"), there)
	c.fails("ErrorItemNotFound", get, itemIDs(ids...))
}
