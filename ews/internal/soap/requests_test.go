package soap_test

import (
	"strings"

	"github.com/mailconn/mailconn/ews/internal/soap"
)

// requests are requests of every operation, with and without what may be left out, and the oldest version that has it all.
func requests() map[string]struct {
	since soap.Version
	op    soap.Operation
} {
	type entry = struct {
		since soap.Version
		op    soap.Operation
	}
	yes, no := true, false
	content := soap.Content{R: strings.NewReader(mime), Size: int64(len(mime))}
	ids := []soap.ItemID{{ID: "AAMkA+/="}, {ID: "AAMkAG==", ChangeKey: "CQAA"}}
	full := soap.ItemShape{Base: soap.AllProperties, MIME: true, BodyType: "Text", Properties: []soap.Path{
		soap.Field("item:Size"), soap.Field("message:InternetMessageId"), soap.IndexedField("item:InternetMessageHeader", "Received"),
		soap.Tag(0x7d, "String"), soap.NamedProperty("00020386-0000-0000-C000-000000000046", "x-list", "String"),
		soap.NumberedProperty("00062008-0000-0000-C000-000000000046", 34051, "Integer"),
	}}
	folders := soap.FolderShape{Properties: []soap.Path{soap.Field("folder:DisplayName"), soap.Tag(0x6698, "Binary")}}
	inbox, named := soap.Inbox(""), soap.Inbox("joe@corp.test")
	folder := soap.FolderID{ID: "AQMk=", ChangeKey: "AQ=="}
	received := soap.Field("item:DateTimeReceived")
	const day = "2016-02-29T00:00:00Z"
	where := soap.And(soap.Greater(received, day), soap.Less(received, day), soap.Or(soap.Equal(soap.Field("message:IsRead"), "false"), soap.NotEqual(soap.Field("item:Subject"), "")),
		soap.Not(soap.Exists(soap.Tag(0x7d, "String"))), soap.Contains(soap.Field("item:Subject"), `<"R&D">`), soap.GreaterOrEqual(received, day), soap.LessOrEqual(received, day))
	return map[string]entry{
		"SyncFolderHierarchy":          {soap.Exchange2007SP1, soap.SyncFolderHierarchy{Root: soap.FolderID{Distinguished: "msgfolderroot"}}},
		"SyncFolderHierarchy, all":     {soap.Exchange2007SP1, soap.SyncFolderHierarchy{Shape: folders, Root: named, SyncState: "H4sI"}},
		"SyncFolderHierarchy, archive": {soap.Exchange2010SP1, soap.SyncFolderHierarchy{Root: soap.FolderID{Distinguished: "archivemsgfolderroot"}}},
		"SyncFolderItems":              {soap.Exchange2007SP1, soap.SyncFolderItems{Folder: inbox, Max: 512}},
		"SyncFolderItems, all":         {soap.Exchange2010, soap.SyncFolderItems{Shape: full, Folder: folder, SyncState: "H4sI", Ignore: ids, Max: 1, Associated: true}},
		"GetFolder":                    {soap.Exchange2007SP1, soap.GetFolder{Folders: []soap.FolderID{inbox, folder, named}}},
		"GetFolder, all":               {soap.Exchange2010, soap.GetFolder{Shape: folders, Folders: []soap.FolderID{{Distinguished: "recoverableitemsroot"}}}},
		"FindFolder":                   {soap.Exchange2007SP1, soap.FindFolder{Parents: []soap.FolderID{inbox}}},
		"FindFolder, all":              {soap.Exchange2007SP1, soap.FindFolder{Traversal: soap.Deep, Shape: folders, Page: &soap.Page{Max: 100, Offset: 200}, Restriction: soap.Exists(soap.Field("folder:DisplayName")), Parents: []soap.FolderID{inbox, folder}}},
		"CreateFolder":                 {soap.Exchange2007SP1, soap.CreateFolder{Parent: folder, Folders: []soap.NewFolder{{Name: "a/b & <c>"}, {Name: "d", Class: "IPF.Note"}}}},
		"FindItem":                     {soap.Exchange2007SP1, soap.FindItem{Parents: []soap.FolderID{inbox}}},
		"FindItem, all":                {soap.Exchange2010, soap.FindItem{Traversal: soap.Associated, Shape: soap.ItemShape{Properties: full.Properties}, Page: &soap.Page{Max: 1000}, Restriction: where, Sort: []soap.Order{{By: received}, {By: soap.Field("item:Size"), Descending: true}}, Parents: []soap.FolderID{folder}}},
		"GetItem":                      {soap.Exchange2007SP1, soap.GetItem{Items: ids}},
		"GetItem, all":                 {soap.Exchange2007SP1, soap.GetItem{Shape: full, Items: ids}},
		"CreateItem":                   {soap.Exchange2007SP1, soap.CreateItem{Disposition: soap.SendOnly, Items: []soap.NewItem{{MIME: content}}}},
		"CreateItem, all": {soap.Exchange2007SP1, soap.CreateItem{Disposition: soap.SaveOnly, Folder: folder, Items: []soap.NewItem{
			{MIME: content, Class: "IPM.Note", Extended: []soap.Property{{Path: soap.Tag(0x0e07, "Integer"), Value: "1"}, {Path: soap.Tag(0x0e06, "SystemTime"), Value: day}}, Read: &no},
			{MIME: soap.Content{R: strings.NewReader("")}},
		}}},
		"UpdateItem":             {soap.Exchange2007SP1, soap.UpdateItem{Changes: []soap.ItemChange{{ID: ids[1], Read: &yes}}}},
		"UpdateItem, all":        {soap.Exchange2007SP1, soap.UpdateItem{Conflicts: "AlwaysOverwrite", Changes: []soap.ItemChange{{ID: ids[0], Extended: []soap.Property{{Path: soap.Tag(0x0e07, "Integer"), Value: "1"}}}, {ID: ids[1], Read: &no}}}},
		"DeleteItem":             {soap.Exchange2007SP1, soap.DeleteItem{Type: soap.HardDelete, Items: ids}},
		"DeleteItem, softly":     {soap.Exchange2007SP1, soap.DeleteItem{Type: soap.SoftDelete, Items: ids[:1]}},
		"MoveItem":               {soap.Exchange2007SP1, soap.MoveItem{To: inbox, Items: ids}},
		"MoveItem, all":          {soap.Exchange2007SP1, soap.MoveItem{To: folder, Items: ids, ReturnIDs: true}},
		"GetAttachment":          {soap.Exchange2007SP1, soap.GetAttachment{Attachments: []string{"AAMk1", "AAMk2"}}},
		"GetAttachment, all":     {soap.Exchange2007SP1, soap.GetAttachment{MIME: true, Attachments: []string{"AAMk1"}}},
		"ExportItems":            {soap.Exchange2010SP1, soap.ExportItems{Items: ids}},
		"UploadItems":            {soap.Exchange2010SP1, soap.UploadItems{Items: []soap.Upload{{Action: soap.CreateNew, Folder: soap.ItemID{ID: "AQMk="}, Data: content}}}},
		"UploadItems, all":       {soap.Exchange2010SP1, soap.UploadItems{Items: []soap.Upload{{Action: soap.Update, Associated: true, Folder: soap.ItemID{ID: "AQMk=", ChangeKey: "AQ=="}, ID: ids[0], Data: content}}}},
		"Subscribe":              {soap.Exchange2007SP1, soap.Subscribe{Folders: []soap.FolderID{inbox}, Events: []string{"NewMailEvent"}, Timeout: 30}},
		"Subscribe, all":         {soap.Exchange2010, soap.Subscribe{Events: []string{"NewMailEvent", "CreatedEvent", "DeletedEvent", "ModifiedEvent", "MovedEvent", "CopiedEvent"}, Watermark: "AAAA", Timeout: 1440}},
		"Subscribe, streaming":   {soap.Exchange2010SP1, soap.Subscribe{Streaming: true, Folders: []soap.FolderID{inbox, folder}, Events: []string{"NewMailEvent"}}},
		"GetStreamingEvents":     {soap.Exchange2010SP1, soap.GetStreamingEvents{Subscriptions: []string{"a", "b"}, Minutes: 30}},
		"GetEvents":              {soap.Exchange2007SP1, soap.GetEvents{Subscription: "a", Watermark: "AAAA"}},
		"Unsubscribe":            {soap.Exchange2007SP1, soap.Unsubscribe{Subscription: "a"}},
		"ResolveNames":           {soap.Exchange2007SP1, soap.ResolveNames{Entry: "smtp:j"}},
		"ResolveNames, all":      {soap.Exchange2007SP1, soap.ResolveNames{Entry: "j", Scope: "ActiveDirectory", Full: true}},
		"ExpandDL":               {soap.Exchange2007SP1, soap.ExpandDL{Address: "all@corp.test"}},
		"ExpandDL, private":      {soap.Exchange2007SP1, soap.ExpandDL{ID: ids[0]}},
		"FindPeople":             {soap.Exchange2013SP1, soap.FindPeople{Page: soap.Page{Max: 100}}},
		"FindPeople, all":        {soap.Exchange2013SP1, soap.FindPeople{Shape: &soap.FolderShape{Base: soap.Default, Properties: []soap.Path{soap.Field("persona:DisplayName")}}, Page: soap.Page{Max: 100, Offset: 100}, Folder: soap.FolderID{Distinguished: "directory"}, Query: "j"}},
		"GetSearchableMailboxes": {soap.Exchange2013, soap.GetSearchableMailboxes{Filter: "j", Expand: true}},
		"ConvertId":              {soap.Exchange2007SP1, soap.ConvertId{Format: "EwsId", IDs: []soap.AlternateID{{Format: "HexEntryId", ID: "0A", Mailbox: "joe@corp.test"}}}},
		"ConvertId, archive":     {soap.Exchange2010SP1, soap.ConvertId{Format: "EntryId", IDs: []soap.AlternateID{{Format: "EwsId", ID: "AAMk", Mailbox: "joe@corp.test", Archive: true}}}},
	}
}
