package soap_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/ews/internal/soap"
)

// answers are answers to every operation, as Microsoft's documentation shows them, cut down.
func answers() map[string]struct{ op, document string } {
	type entry = struct{ op, document string }
	direct := func(op, payload string) string {
		return envelopeStart + `<` + op + `Response ResponseClass="Success" xmlns="http://schemas.microsoft.com/exchange/services/2006/messages"><ResponseCode>NoError</ResponseCode>` +
			payload + `</` + op + `Response>` + envelopeEnd
	}
	all := map[string]string{
		"SyncFolderHierarchy": `<m:SyncState>H4sI</m:SyncState><m:IncludesLastFolderInRange>true</m:IncludesLastFolderInRange><m:Changes>` +
			`<t:Create><t:Folder><t:FolderId Id="f1" ChangeKey="k"/><t:ParentFolderId Id="root"/><t:FolderClass>IPF.Note</t:FolderClass><t:DisplayName> a/b&#xA;</t:DisplayName>` +
			`<t:TotalCount>7</t:TotalCount><t:ChildFolderCount>1</t:ChildFolderCount><t:UnreadCount>2</t:UnreadCount><t:DistinguishedFolderId>inbox</t:DistinguishedFolderId></t:Folder></t:Create>` +
			`<t:Update><t:SearchFolder><t:FolderId Id="f2"/><t:DisplayName>search</t:DisplayName></t:SearchFolder></t:Update><t:Delete><t:FolderId Id="f3"/></t:Delete></m:Changes>`,
		"SyncFolderItems": `<m:SyncState>H4sI</m:SyncState><m:IncludesLastItemInRange>false</m:IncludesLastItemInRange><m:Changes>` +
			`<t:Create><t:Message><t:ItemId Id="i1" ChangeKey="k"/></t:Message></t:Create><t:Update><t:MeetingRequest><t:ItemId Id="i2"/><t:IsRead>false</t:IsRead></t:MeetingRequest></t:Update>` +
			`<t:Delete><t:ItemId Id="i3" ChangeKey="k"/></t:Delete><t:ReadFlagChange><t:ItemId Id="i4"/><t:IsRead>true</t:IsRead></t:ReadFlagChange><t:Later/></m:Changes>`,
		"GetFolder":    `<m:Folders><t:CalendarFolder><t:FolderId Id="f1"/><t:DisplayName>Calendar</t:DisplayName></t:CalendarFolder></m:Folders>`,
		"CreateFolder": `<m:Folders><t:Folder><t:FolderId Id="f1"/></t:Folder></m:Folders>`,
		"FindFolder": `<m:RootFolder TotalItemsInView="1" IncludesLastItemInRange="true"><t:Folders><t:Folder><t:FolderId Id="f1"/>` +
			`<t:ExtendedProperty><t:ExtendedFieldURI PropertyTag="0x6698" PropertyType="Binary"/><t:Value>AAAA</t:Value></t:ExtendedProperty></t:Folder></t:Folders></m:RootFolder>`,
		"FindItem": `<m:RootFolder IndexedPagingOffset="250" TotalItemsInView="1000" IncludesLastItemInRange="false"><t:Items><t:Message><t:ItemId Id="i1"/></t:Message></t:Items></m:RootFolder>`,
		"GetItem": `<m:Items><t:Message><t:ItemId Id="i1" ChangeKey="k"/><t:ParentFolderId Id="f1"/><t:ItemClass>IPM.Note</t:ItemClass><t:Subject>Hello</t:Subject><t:Sensitivity>Normal</t:Sensitivity>` +
			`<t:Body BodyType="Text"> text </t:Body><t:Attachments><t:FileAttachment><t:AttachmentId Id="a1"/><t:Name>a.txt</t:Name><t:ContentType>text/plain</t:ContentType><t:ContentId>c</t:ContentId><t:Size>3</t:Size>` +
			`<t:IsInline>true</t:IsInline></t:FileAttachment></t:Attachments><t:DateTimeReceived>2016-02-29T12:00:00Z</t:DateTimeReceived><t:Size>1234</t:Size><t:Categories><t:String>red</t:String><t:String>blue</t:String></t:Categories>` +
			`<t:Importance>High</t:Importance><t:InReplyTo>&lt;0@x&gt;</t:InReplyTo><t:IsDraft>true</t:IsDraft><t:InternetMessageHeaders><t:InternetMessageHeader HeaderName="Received">by x</t:InternetMessageHeader></t:InternetMessageHeaders>` +
			`<t:DateTimeSent>2016-02-29T11:59:00+01:00</t:DateTimeSent><t:DateTimeCreated>2016-02-29T12:00:01Z</t:DateTimeCreated><t:HasAttachments>true</t:HasAttachments>` +
			`<t:ExtendedProperty><t:ExtendedFieldURI PropertyTag="0x007d" PropertyType="String"/><t:Value>Received: by x&#xD;&#xA;</t:Value></t:ExtendedProperty>` +
			`<t:ExtendedProperty><t:ExtendedFieldURI PropertySetId="00020386-0000-0000-c000-000000000046" PropertyName="x-list" PropertyType="StringArray"/><t:Values><t:Value>a</t:Value><t:Value>b</t:Value></t:Values></t:ExtendedProperty>` +
			`<t:LastModifiedTime>2016-03-01T00:00:00Z</t:LastModifiedTime><t:IsAssociated>false</t:IsAssociated><t:Sender><t:Mailbox><t:Name>Ann</t:Name><t:EmailAddress>ann@corp.test</t:EmailAddress><t:RoutingType>SMTP</t:RoutingType>` +
			`</t:Mailbox></t:Sender><t:ToRecipients><t:Mailbox><t:EmailAddress>bob@corp.test</t:EmailAddress></t:Mailbox><t:Mailbox><t:Name>Cy</t:Name></t:Mailbox></t:ToRecipients><t:CcRecipients/>` +
			`<t:BccRecipients><t:Mailbox><t:EmailAddress>dan@corp.test</t:EmailAddress></t:Mailbox></t:BccRecipients><t:From><t:Mailbox><t:EmailAddress>/O=CORP/CN=ann</t:EmailAddress><t:RoutingType>EX</t:RoutingType></t:Mailbox></t:From>` +
			`<t:InternetMessageId> &lt;1@x&gt; </t:InternetMessageId><t:IsRead>true</t:IsRead><t:References>&lt;0@x&gt;</t:References></t:Message></m:Items>`,
		"CreateItem":    `<m:Items><t:Message><t:ItemId Id="i1" ChangeKey="k"/></t:Message></m:Items>`,
		"UpdateItem":    `<m:Items><t:Message><t:ItemId Id="i1" ChangeKey="k2"/></t:Message></m:Items><m:ConflictResults><t:Count>0</t:Count></m:ConflictResults>`,
		"DeleteItem":    ``,
		"MoveItem":      `<m:Items><t:Message><t:ItemId Id="i2"/></t:Message></m:Items>`,
		"GetAttachment": `<m:Attachments><t:FileAttachment><t:AttachmentId Id="a1"/><t:Name>a.txt</t:Name><t:ContentType>text/plain</t:ContentType><t:LastModifiedTime>2016-03-01T00:00:00Z</t:LastModifiedTime><t:Size>6</t:Size><t:Content>` + encode("a file") + `</t:Content></t:FileAttachment></m:Attachments>`,
		"ExportItems":   `<m:ItemId Id="i1" ChangeKey="k"/><m:Data>` + encode("exported") + `</m:Data>`,
		"UploadItems":   `<m:ItemId Id="i1" ChangeKey="k"/>`,
		"Subscribe":     `<m:SubscriptionId>sub</m:SubscriptionId><m:Watermark>AAAA</m:Watermark>`,
		"GetEvents": `<m:Notification><t:SubscriptionId>sub</t:SubscriptionId><t:PreviousWatermark>AAAA</t:PreviousWatermark><t:MoreEvents>true</t:MoreEvents>` +
			`<t:MovedEvent><t:Watermark>BBBB</t:Watermark><t:TimeStamp>2016-02-29T12:00:00Z</t:TimeStamp><t:ItemId Id="i2"/><t:ParentFolderId Id="f2"/><t:OldItemId Id="i1"/><t:OldParentFolderId Id="f1"/></t:MovedEvent>` +
			`<t:CopiedEvent><t:FolderId Id="f4"/><t:OldFolderId Id="f3"/></t:CopiedEvent></m:Notification>`,
		"Unsubscribe":  ``,
		"ResolveNames": `<m:ResolutionSet TotalItemsInView="100" IncludesLastItemInRange="false"><t:Resolution><t:Mailbox><t:Name>Ann</t:Name><t:EmailAddress>ann@corp.test</t:EmailAddress><t:RoutingType>SMTP</t:RoutingType><t:MailboxType>Mailbox</t:MailboxType></t:Mailbox><t:Contact><t:DisplayName>A</t:DisplayName></t:Contact></t:Resolution></m:ResolutionSet>`,
		"ExpandDL":     `<m:DLExpansion TotalItemsInView="2" IncludesLastItemInRange="true"><t:Mailbox><t:Name>all</t:Name><t:EmailAddress>all@corp.test</t:EmailAddress><t:MailboxType>PublicDL</t:MailboxType></t:Mailbox><t:Mailbox><t:Name>mine</t:Name><t:MailboxType>PrivateDL</t:MailboxType><t:ItemId Id="dl"/></t:Mailbox></m:DLExpansion>`,
		"ConvertId":    `<m:AlternateId xsi:type="t:AlternateIdType" Format="HexEntryId" Id="0A" Mailbox="joe@corp.test" xmlns:xsi="x" xmlns:Id="y" IsArchive="true"/>`,
	}
	out := map[string]entry{}
	for op, payload := range all {
		out[op] = entry{op, answer(op, success(op, payload))}
	}
	out["FindPeople"] = entry{"FindPeople", direct("FindPeople", `<People><Persona><PersonaId Id="p"/><DisplayName>Ann</DisplayName><EmailAddress><Name>x</Name><EmailAddress>ann@corp.test</EmailAddress><RoutingType>SMTP</RoutingType><MailboxType>Mailbox</MailboxType></EmailAddress></Persona>`+
		`<Persona><DisplayName>Bob</DisplayName><EmailAddresses><Address><EmailAddress>bob@corp.test</EmailAddress></Address><Address><EmailAddress>b@corp.test</EmailAddress></Address></EmailAddresses></Persona></People><TotalNumberOfPeopleInView>12</TotalNumberOfPeopleInView>`)}
	out["GetSearchableMailboxes"] = entry{"GetSearchableMailboxes", direct("GetSearchableMailboxes", `<SearchableMailboxes><SearchableMailbox><Guid>g</Guid><PrimarySmtpAddress>ann@corp.test</PrimarySmtpAddress><IsExternalMailbox>false</IsExternalMailbox>`+
		`<ExternalEmailAddress/><DisplayName>Ann</DisplayName><IsMembershipGroup>false</IsMembershipGroup><ReferenceId>/o=corp</ReferenceId></SearchableMailbox><SearchableMailbox><PrimarySmtpAddress>x@corp.test</PrimarySmtpAddress><IsExternalMailbox>true</IsExternalMailbox>`+
		`<ExternalEmailAddress>x@other.test</ExternalEmailAddress><IsMembershipGroup>true</IsMembershipGroup></SearchableMailbox></SearchableMailboxes><FailedMailboxes><FailedMailbox><Mailbox>z@corp.test</Mailbox><ErrorCode>5</ErrorCode><ErrorMessage>no</ErrorMessage><IsArchive>true</IsArchive></FailedMailbox></FailedMailboxes>`)}
	out["GetStreamingEvents"] = entry{"GetStreamingEvents", answer("GetStreamingEvents", success("GetStreamingEvents", `<m:Notifications><m:Notification><t:SubscriptionId>sub</t:SubscriptionId><t:NewMailEvent><t:TimeStamp>2016-02-29T12:00:00Z</t:TimeStamp><t:ItemId Id="i1"/><t:ParentFolderId Id="f1"/></t:NewMailEvent></m:Notification></m:Notifications>`),
		`<m:GetStreamingEventsResponseMessage ResponseClass="Error"><m:ResponseCode>ErrorInvalidSubscription</m:ResponseCode><m:ErrorSubscriptionIds><m:SubscriptionId>s1</m:SubscriptionId><m:SubscriptionId>s2</m:SubscriptionId></m:ErrorSubscriptionIds><m:ConnectionStatus>OK</m:ConnectionStatus></m:GetStreamingEventsResponseMessage>`)}
	return out
}

func TestAnswersOfEveryOperation(t *testing.T) {
	noon := time.Date(2016, 2, 29, 12, 0, 0, 0, time.UTC)
	tag, list := soap.Tag(0x7d, "String").Key(), soap.NamedProperty("00020386-0000-0000-C000-000000000046", "x-list", "StringArray").Key()
	want := map[string]func(r *soap.Response){
		"SyncFolderHierarchy": func(r *soap.Response) {
			equal(t, "changes", len(r.Changes), 3)
			f := r.Changes[0].Folder
			equal(t, "created", fmt.Sprintf("%+v", *f), `{Kind:Folder ID:f1 ChangeKey:k Parent:root Class:IPF.Note Name: a/b`+"\n"+` Total:7 Children:1 Unread:2 Distinguished:inbox Extended:map[]}`)
			equal(t, "updated", r.Changes[1].Op+r.Changes[1].Folder.Kind+r.Changes[1].Folder.ID, "UpdateSearchFolderf2")
			equal(t, "deleted", r.Changes[2].Op+r.Changes[2].Folder.ID, "Deletef3")
			equal(t, "state", r.SyncState, "H4sI")
			equal(t, "last", r.Last, true)
		},
		"SyncFolderItems": func(r *soap.Response) {
			var got []string
			for _, c := range r.Changes {
				got = append(got, fmt.Sprintf("%s %s %s %t %t", c.Op, c.Item.Kind, c.Item.ID, c.Item.Read, c.Item.ReadKnown))
			}
			equal(t, "changes", strings.Join(got, "; "), "Create Message i1 false false; Update MeetingRequest i2 false true; Delete  i3 false false; ReadFlagChange  i4 true true")
			equal(t, "last", r.Last || !r.LastKnown, false)
		},
		"GetFolder": func(r *soap.Response) {
			equal(t, "folder", r.Folders[0].Kind+r.Folders[0].Name, "CalendarFolderCalendar")
		},
		"CreateFolder": func(r *soap.Response) { equal(t, "folder", r.Folders[0].ID, "f1") },
		"FindFolder": func(r *soap.Response) {
			equal(t, "property", r.Folders[0].Extended[soap.Tag(0x6698, "Binary").Key()], "AAAA")
			equal(t, "total", fmt.Sprint(r.Total, r.NextOffset, r.Last), "1 -1 true")
			equal(t, "unknown", r.Folders[0].Total, -1)
		},
		"FindItem": func(r *soap.Response) {
			equal(t, "view", fmt.Sprint(r.Total, r.NextOffset, r.Last, len(r.Items)), "1000 250 false 1")
		},
		"GetItem": func(r *soap.Response) {
			it := r.Items[0]
			equal(t, "ids", it.ID+it.ChangeKey+it.ParentFolder, "i1kf1")
			equal(t, "texts", fmt.Sprint(it.Class, it.Subject, it.Sensitivity, it.Importance, it.MessageID, it.InReplyTo, it.References), "IPM.NoteHelloNormalHigh<1@x><0@x><0@x>")
			equal(t, "times", fmt.Sprint(it.Received.Equal(noon), it.Sent.Equal(noon.Add(-time.Minute-time.Hour)), it.Created.Equal(noon.Add(time.Second)), it.Modified.Equal(noon.Add(12*time.Hour))), "true true true true")
			equal(t, "flags", fmt.Sprint(it.Read, it.ReadKnown, it.Draft, it.Associated, it.Attached, it.Size), "true true true false true 1234")
			equal(t, "lists", fmt.Sprint(it.Categories, it.Headers, it.Attachments), "[red blue] [{Received by x}] [{false a1 a.txt text/plain c 3 true}]")
			equal(t, "people", it.From.Address+it.From.Routing+it.Sender.Name+it.To[0].Address+it.To[1].Name+it.Bcc[0].Address+fmt.Sprint(len(it.Cc)), "/O=CORP/CN=annEXAnnbob@corp.testCydan@corp.test0")
			equal(t, "body", it.TextType+it.Text, "Text text ")
			equal(t, "header", it.Extended[tag], "Received: by x\r\n")
			equal(t, "list", it.Extended[list], "a\nb")
		},
		"CreateItem": func(r *soap.Response) { equal(t, "item", r.Items[0].ID, "i1") },
		"UpdateItem": func(r *soap.Response) { equal(t, "item", r.Items[0].ChangeKey, "k2") },
		"DeleteItem": func(r *soap.Response) { equal(t, "items", len(r.Items), 0) },
		"MoveItem":   func(r *soap.Response) { equal(t, "item", r.Items[0].ID, "i2") },
		"GetAttachment": func(r *soap.Response) {
			it := r.Items[0]
			equal(t, "attachment", fmt.Sprint(it.Kind, it.ID, it.Name, it.ContentType, it.Size, it.Modified.Equal(noon.Add(12*time.Hour))), "FileAttachmenta1a.txttext/plain6 true")
		},
		"ExportItems": func(r *soap.Response) { equal(t, "item", r.Items[0].ID, "i1") },
		"UploadItems": func(r *soap.Response) { equal(t, "item", r.Items[0].ID+r.Items[0].ChangeKey, "i1k") },
		"Subscribe":   func(r *soap.Response) { equal(t, "subscription", r.Subscription+r.Watermark, "subAAAA") },
		"GetEvents": func(r *soap.Response) {
			n := r.Notifications[0]
			equal(t, "notification", fmt.Sprint(n.Subscription, n.Previous, n.More, len(n.Events)), "subAAAAtrue 2")
			equal(t, "moved", n.Events[0], soap.Event{Kind: "MovedEvent", Watermark: "BBBB", Time: noon, Item: "i2", ParentFolder: "f2", OldItem: "i1", OldParent: "f1"})
			equal(t, "copied", n.Events[1], soap.Event{Kind: "CopiedEvent", Folder: "f4", OldFolder: "f3"})
		},
		"Unsubscribe": func(r *soap.Response) { equal(t, "code", r.Code, soap.NoError) },
		"ResolveNames": func(r *soap.Response) {
			equal(t, "people", fmt.Sprint(r.Mailboxes, r.Total, r.Last), "[{Ann ann@corp.test SMTP Mailbox    false false}] 100 false")
		},
		"ExpandDL": func(r *soap.Response) {
			equal(t, "people", fmt.Sprint(r.Mailboxes, r.Last), "[{all all@corp.test  PublicDL    false false} {mine   PrivateDL dl   false false}] true")
		},
		"FindPeople": func(r *soap.Response) {
			equal(t, "people", fmt.Sprint(r.Mailboxes, r.Total), "[{Ann ann@corp.test SMTP Mailbox    false false} {Bob bob@corp.test      false false}] 12")
		},
		"GetSearchableMailboxes": func(r *soap.Response) {
			equal(t, "people", fmt.Sprint(r.Mailboxes, r.Unreadable), "[{Ann ann@corp.test    g /o=corp false false} { x@other.test      true true}] [{z@corp.test 5 no true}]")
		},
		"ConvertId": func(r *soap.Response) {
			equal(t, "id", r.Alternate[0], soap.AlternateID{Format: "HexEntryId", ID: "0A", Mailbox: "joe@corp.test", Archive: true})
		},
		"GetStreamingEvents": func(r *soap.Response) {
			equal(t, "event", r.Notifications[0].Events[0], soap.Event{Kind: "NewMailEvent", Time: noon, Item: "i1", ParentFolder: "f1"})
		},
	}
	payloads := map[string]string{"GetAttachment": "a file", "ExportItems": "exported"}
	for name, c := range answers() {
		check := want[name]
		if check == nil {
			t.Errorf("%s: not looked at", name)
			continue
		}
		for how, r := range chunks(c.document) {
			reader := soap.NewReader(r, c.op)
			all, err := read(reader)
			if err != nil || len(all) == 0 || all[0].Err != nil || !all[0].Response.OK() {
				t.Fatalf("%s, %s: got %d messages and %v", name, how, len(all), err)
			}
			check(all[0].Response)
			equal(t, name+" payload", all[0].Octets, payloads[c.op])
			info, ok := reader.Server()
			equal(t, "server", info, soap.ServerVersionInfo{Major: 15, Minor: 1, MajorBuild: 2507, MinorBuild: 6, Version: "V2017_07_11"})
			equal(t, "server is known", ok, true)
		}
	}
}

func TestAttachedItemKeepsTheAttachmentsId(t *testing.T) {
	document := answer("GetAttachment", success("GetAttachment", `<m:Attachments><t:ItemAttachment><t:AttachmentId Id="a1"/><t:Name>inner</t:Name><t:Message><t:MimeContent>`+encode(mime)+
		`</t:MimeContent><t:ItemId Id="i9"/><t:Subject>Inner</t:Subject></t:Message></t:ItemAttachment></m:Attachments>`))
	got := mustRead(t, document, "GetAttachment", "a1")[0]
	equal(t, "octets", got.Octets, mime)
	equal(t, "attachment", got.Response.Items[0].ID+got.Response.Items[0].Name+got.Response.Items[0].Subject, "a1innerInner")
}

func TestExportedDataBeforeItsId(t *testing.T) {
	document := answer("ExportItems", success("ExportItems", `<m:Data>`+encode("exported")+`</m:Data><m:ItemId Id="i1"/>`))
	equal(t, "octets", mustRead(t, document, "ExportItems", "i1")[0].Octets, "exported")
	all, err := read(newReader(strings.NewReader(document), "ExportItems", "i2"))
	if err != nil || all[0].Err == nil {
		t.Errorf("got %v and %v, want the wrong id to be told", all[0].Err, err)
	}
}

func TestReaderStopsAtTheEnvelopesEnd(t *testing.T) {
	r := io.MultiReader(strings.NewReader(answer("DeleteItem", success("DeleteItem", ""))), &failing{io.ErrClosedPipe})
	if _, err := read(soap.NewReader(r, "DeleteItem")); err != nil {
		t.Errorf("got %v, want nothing to be read behind the envelope", err)
	}
	mustRead(t, answer("DeleteItem", success("DeleteItem", ""))+"<garbage", "DeleteItem")
}
