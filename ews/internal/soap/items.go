package soap

import "strconv"

// GetItem asks for items by their ids, which are answered in this order.
type GetItem struct {
	Shape ItemShape
	Items []ItemID
}

// Name implements Operation.
func (GetItem) Name() string { return "GetItem" }

func (o GetItem) write(w *writer) {
	w.open("m:GetItem")
	o.Shape.write(w, "m:ItemShape")
	w.itemIDs("m:ItemIds", o.Items)
	w.end("m:GetItem")
}

// The values of CreateItem.Disposition.
const (
	SaveOnly        = "SaveOnly"
	SendOnly        = "SendOnly"
	SendAndSaveCopy = "SendAndSaveCopy"
)

// CreateItem stores messages, sends them, or both.
type CreateItem struct {
	Disposition string   // SaveOnly, SendOnly or SendAndSaveCopy
	Folder      FolderID // where it is stored; zero = where the server puts such items
	Items       []NewItem
}

// A NewItem is a message to be created.
type NewItem struct {
	MIME     Content
	Class    string // ItemClass; "" = the server's choice
	Extended []Property
	Read     *bool // IsRead; nil = the server's choice
}

// Name implements Operation.
func (CreateItem) Name() string { return "CreateItem" }

func (o CreateItem) write(w *writer) {
	w.oneOf("disposition", o.Disposition, SaveOnly, SendOnly, SendAndSaveCopy)
	w.some("items", len(o.Items))
	w.open("m:CreateItem", "MessageDisposition", o.Disposition)
	if o.Folder != (FolderID{}) {
		w.folderID("m:SavedItemFolderId", o.Folder)
	}
	w.open("m:Items")
	for _, item := range o.Items {
		item.write(w)
	}
	w.end("m:Items")
	w.end("m:CreateItem")
}

func (i NewItem) write(w *writer) {
	w.open("t:Message")
	if i.MIME.R != nil {
		w.content("t:MimeContent", i.MIME, "CharacterSet", "UTF-8")
	}
	w.maybe("t:ItemClass", i.Class)
	for _, p := range i.Extended {
		p.write(w)
	}
	if i.Read != nil {
		w.flag("t:IsRead", *i.Read)
	}
	w.end("t:Message")
}

// UpdateItem changes properties of items without sending anything.
type UpdateItem struct {
	Conflicts string // NeverOverwrite, AutoResolve or AlwaysOverwrite; "" = AutoResolve
	Changes   []ItemChange
}

// An ItemChange is the new values of one item's properties: IsRead, and extended ones.
type ItemChange struct {
	ID       ItemID
	Read     *bool
	Extended []Property
}

// Name implements Operation.
func (UpdateItem) Name() string { return "UpdateItem" }

func (o UpdateItem) write(w *writer) {
	conflicts := o.Conflicts
	if conflicts == "" {
		conflicts = "AutoResolve"
	}
	w.oneOf("conflict resolution", conflicts, "NeverOverwrite", "AutoResolve", "AlwaysOverwrite")
	w.some("item changes", len(o.Changes))
	w.open("m:UpdateItem", "ConflictResolution", conflicts, "MessageDisposition", SaveOnly, "SuppressReadReceipts", w.suppress())
	w.open("m:ItemChanges")
	for _, change := range o.Changes {
		change.write(w)
	}
	w.end("m:ItemChanges")
	w.end("m:UpdateItem")
}

// suppress returns the value of SuppressReadReceipts, which keeps the server from telling senders that their mail was read or was
// deleted unread. Versions below 2013 SP1 have no such switch.
func (w *writer) suppress() string {
	if w.version.Below(Exchange2013SP1) {
		return ""
	}
	return "true"
}

func (c ItemChange) write(w *writer) {
	updates := len(c.Extended)
	w.open("t:ItemChange")
	c.ID.write(w)
	w.open("t:Updates")
	if c.Read != nil {
		updates++
		w.open("t:SetItemField")
		Field("message:IsRead").write(w)
		w.open("t:Message")
		w.flag("t:IsRead", *c.Read)
		w.end("t:Message")
		w.end("t:SetItemField")
	}
	for _, p := range c.Extended {
		w.open("t:SetItemField")
		p.Path.write(w)
		w.open("t:Message")
		p.write(w)
		w.end("t:Message")
		w.end("t:SetItemField")
	}
	w.some("updates", updates)
	w.end("t:Updates")
	w.end("t:ItemChange")
}

// The values of DeleteItem.Type.
const (
	HardDelete         = "HardDelete"
	SoftDelete         = "SoftDelete"
	MoveToDeletedItems = "MoveToDeletedItems"
)

// DeleteItem removes items. It never sends cancellations of meetings, and no receipts where the version can prevent them.
type DeleteItem struct {
	Type  string // HardDelete, SoftDelete or MoveToDeletedItems
	Items []ItemID
}

// Name implements Operation.
func (DeleteItem) Name() string { return "DeleteItem" }

func (o DeleteItem) write(w *writer) {
	w.oneOf("delete type", o.Type, HardDelete, SoftDelete, MoveToDeletedItems)
	w.open("m:DeleteItem", "DeleteType", o.Type, "SendMeetingCancellations", "SendToNone",
		"AffectedTaskOccurrences", "AllOccurrences", "SuppressReadReceipts", w.suppress())
	w.itemIDs("m:ItemIds", o.Items)
	w.end("m:DeleteItem")
}

// MoveItem moves items to another folder, where they get other ids.
type MoveItem struct {
	To        FolderID
	Items     []ItemID
	ReturnIDs bool // answer with the new ids, which servers below 2010 SP1 decide themselves
}

// Name implements Operation.
func (MoveItem) Name() string { return "MoveItem" }

func (o MoveItem) write(w *writer) {
	w.open("m:MoveItem")
	w.folderID("m:ToFolderId", o.To)
	w.itemIDs("m:ItemIds", o.Items)
	if o.ReturnIDs && !w.version.Below(Exchange2010SP1) {
		w.flag("m:ReturnNewItemIds", true)
	}
	w.end("m:MoveItem")
}

// GetAttachment asks for attachments by their ids.
type GetAttachment struct {
	MIME        bool // the MIME of attached items
	Attachments []string
}

// Name implements Operation.
func (GetAttachment) Name() string { return "GetAttachment" }

func (o GetAttachment) write(w *writer) {
	w.some("attachment ids", len(o.Attachments))
	w.open("m:GetAttachment")
	if o.MIME {
		w.open("m:AttachmentShape")
		w.flag("t:IncludeMimeContent", true)
		w.end("m:AttachmentShape")
	}
	w.open("m:AttachmentIds")
	for _, id := range o.Attachments {
		w.some("attachment id", len(id))
		w.empty("t:AttachmentId", "Id", id)
	}
	w.end("m:AttachmentIds")
	w.end("m:GetAttachment")
}

// ExportItems asks for items in the server's own format, at most 100 of them.
type ExportItems struct{ Items []ItemID }

// Name implements Operation.
func (ExportItems) Name() string { return "ExportItems" }

func (o ExportItems) write(w *writer) {
	w.since(Exchange2010SP1, "ExportItems")
	w.open("m:ExportItems")
	w.itemIDs("m:ItemIds", o.Items)
	w.end("m:ExportItems")
}

// The values of Upload.Action.
const (
	CreateNew      = "CreateNew"
	Update         = "Update"
	UpdateOrCreate = "UpdateOrCreate"
)

// UploadItems stores items that ExportItems gave.
type UploadItems struct{ Items []Upload }

// An Upload is one item of UploadItems.
type Upload struct {
	Action     string // CreateNew, Update or UpdateOrCreate
	Associated bool
	Folder     ItemID // the folder's id; names are not allowed here
	ID         ItemID // of an item to be replaced; zero for CreateNew
	Data       Content
}

// Name implements Operation.
func (UploadItems) Name() string { return "UploadItems" }

func (o UploadItems) write(w *writer) {
	w.since(Exchange2010SP1, "UploadItems")
	w.some("items", len(o.Items))
	w.open("m:UploadItems")
	w.open("m:Items")
	for _, item := range o.Items {
		item.write(w)
	}
	w.end("m:Items")
	w.end("m:UploadItems")
}

func (u Upload) write(w *writer) {
	w.oneOf("upload action", u.Action, CreateNew, Update, UpdateOrCreate)
	w.some("folder id", len(u.Folder.ID))
	associated := ""
	if u.Associated {
		associated = strconv.FormatBool(true)
	}
	w.open("t:Item", "CreateAction", u.Action, "IsAssociated", associated)
	w.empty("t:ParentFolderId", "Id", u.Folder.ID, "ChangeKey", u.Folder.ChangeKey)
	if u.ID != (ItemID{}) {
		u.ID.write(w)
	}
	w.content("t:Data", u.Data)
	w.end("t:Item")
}
