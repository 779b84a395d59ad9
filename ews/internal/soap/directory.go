package soap

// ResolveNames asks for the people whose name or address begins with Entry: 100 at most, without a way to ask for more.
type ResolveNames struct {
	Entry string
	Scope string // "ActiveDirectory", "ActiveDirectoryContacts", "Contacts", "ContactsActiveDirectory"; "" = the server's choice
	Full  bool   // ReturnFullContactData
}

// Name implements Operation.
func (ResolveNames) Name() string { return "ResolveNames" }

func (o ResolveNames) write(w *writer) {
	if o.Scope != "" {
		w.oneOf("search scope", o.Scope, "ActiveDirectory", "ActiveDirectoryContacts", "Contacts", "ContactsActiveDirectory")
	}
	w.some("entry", len(o.Entry))
	full := "false"
	if o.Full {
		full = "true"
	}
	w.open("m:ResolveNames", "ReturnFullContactData", full, "SearchScope", o.Scope)
	w.leaf("m:UnresolvedEntry", o.Entry)
	w.end("m:ResolveNames")
}

// ExpandDL asks for the members of a distribution list, one level deep.
type ExpandDL struct {
	Address string // of a public list
	ID      ItemID // of a private one
}

// Name implements Operation.
func (ExpandDL) Name() string { return "ExpandDL" }

func (o ExpandDL) write(w *writer) {
	w.some("distribution list", len(o.Address)+len(o.ID.ID))
	w.open("m:ExpandDL")
	w.open("m:Mailbox")
	w.maybe("t:EmailAddress", o.Address)
	if o.ID != (ItemID{}) {
		o.ID.write(w)
	}
	w.end("m:Mailbox")
	w.end("m:ExpandDL")
}

// FindPeople asks for a page of an address list.
type FindPeople struct {
	Shape  *FolderShape // nil = the server's choice
	Page   Page         // Max must be set
	Folder FolderID     // "directory" for the global address list
	Query  string       // what the names begin with; "" = all
}

// Name implements Operation.
func (FindPeople) Name() string { return "FindPeople" }

func (o FindPeople) write(w *writer) {
	w.since(Exchange2013SP1, "FindPeople")
	w.within("people", o.Page.Max, 1, 1000)
	w.open("m:FindPeople")
	if o.Shape != nil {
		o.Shape.write(w, "m:PersonaShape")
	}
	o.Page.write(w, "m:IndexedPageItemView")
	if o.Folder != (FolderID{}) {
		w.folderID("m:ParentFolderId", o.Folder)
	}
	w.maybe("m:QueryString", o.Query)
	w.end("m:FindPeople")
}

// GetSearchableMailboxes asks for the mailboxes that the account may search.
type GetSearchableMailboxes struct {
	Filter string // what the names begin with; "" = all
	Expand bool   // the members of groups too
}

// Name implements Operation.
func (GetSearchableMailboxes) Name() string { return "GetSearchableMailboxes" }

func (o GetSearchableMailboxes) write(w *writer) {
	w.since(Exchange2013, "GetSearchableMailboxes")
	w.open("m:GetSearchableMailboxes")
	w.leaf("m:SearchFilter", o.Filter)
	w.flag("m:ExpandGroupMembership", o.Expand)
	w.end("m:GetSearchableMailboxes")
}

// ConvertId turns ids into another format.
type ConvertId struct {
	Format string // of the answer: "EwsId", "EwsLegacyId", "EntryId", "HexEntryId", "StoreId" or "OwaId"
	IDs    []AlternateID
}

// Name implements Operation.
func (ConvertId) Name() string { return "ConvertId" }

func (o ConvertId) write(w *writer) {
	w.idFormat(o.Format)
	w.some("ids", len(o.IDs))
	w.open("m:ConvertId", "DestinationFormat", o.Format)
	w.open("m:SourceIds")
	for _, id := range o.IDs {
		w.idFormat(id.Format)
		w.some("id", len(id.ID))
		w.some("mailbox", len(id.Mailbox))
		archive := ""
		if id.Archive {
			w.since(Exchange2010SP1, "id of an archive mailbox")
			archive = "true"
		}
		w.empty("t:AlternateId", "Format", id.Format, "Id", id.ID, "Mailbox", id.Mailbox, "IsArchive", archive)
	}
	w.end("m:SourceIds")
	w.end("m:ConvertId")
}

func (w *writer) idFormat(format string) {
	w.oneOf("id format", format, "EwsLegacyId", "EwsId", "EntryId", "HexEntryId", "StoreId", "OwaId")
}
