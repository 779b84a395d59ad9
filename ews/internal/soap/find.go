package soap

import (
	"strconv"

	"github.com/mailconn/mailconn/connection"
)

// The values of Traversal.
const (
	Shallow     = "Shallow"
	Deep        = "Deep"
	SoftDeleted = "SoftDeleted"
	Associated  = "Associated"
)

// A Page is a part of a list that is read in parts.
type Page struct {
	Max    int // most entries; 0 = as many as the server wants to send
	Offset int // of the first one, from the beginning
}

func (p *Page) write(w *writer, name string) {
	if p == nil {
		return
	}
	if p.Max < 0 || p.Offset < 0 {
		w.fail(connection.ErrInvalid, "page: negative")
	}
	most := ""
	if p.Max > 0 {
		most = strconv.Itoa(p.Max)
	}
	w.empty(name, "MaxEntriesReturned", most, "Offset", strconv.Itoa(p.Offset), "BasePoint", "Beginning")
}

// An Order sorts the items of a FindItem.
type Order struct {
	By         Path
	Descending bool
}

// SyncFolderHierarchy asks for the changes of the folders below a root since a state; the same root must be given each time.
type SyncFolderHierarchy struct {
	Shape     FolderShape
	Root      FolderID
	SyncState string // "" = from the beginning
}

// Name implements Operation.
func (SyncFolderHierarchy) Name() string { return "SyncFolderHierarchy" }

func (o SyncFolderHierarchy) write(w *writer) {
	w.open("m:SyncFolderHierarchy")
	o.Shape.write(w, "m:FolderShape")
	w.folderID("m:SyncFolderId", o.Root)
	w.maybe("m:SyncState", o.SyncState)
	w.end("m:SyncFolderHierarchy")
}

// SyncFolderItems asks for the changes of the items of a folder since a state.
type SyncFolderItems struct {
	Shape      ItemShape // ids alone cost the server least
	Folder     FolderID
	SyncState  string   // "" = from the beginning
	Ignore     []ItemID // items whose changes are not wanted
	Max        int      // most changes, 1 to 512
	Associated bool     // hidden items too; needs Exchange2010
}

// Name implements Operation.
func (SyncFolderItems) Name() string { return "SyncFolderItems" }

func (o SyncFolderItems) write(w *writer) {
	w.open("m:SyncFolderItems")
	o.Shape.write(w, "m:ItemShape")
	w.folderID("m:SyncFolderId", o.Folder)
	w.maybe("m:SyncState", o.SyncState)
	if len(o.Ignore) > 0 {
		w.itemIDs("m:Ignore", o.Ignore)
	}
	w.within("changes", o.Max, 1, 512)
	w.leaf("m:MaxChangesReturned", strconv.Itoa(o.Max))
	if o.Associated {
		w.since(Exchange2010, "SyncScope")
		w.leaf("m:SyncScope", "NormalAndAssociatedItems")
	}
	w.end("m:SyncFolderItems")
}

// GetFolder asks for folders by their ids.
type GetFolder struct {
	Shape   FolderShape
	Folders []FolderID
}

// Name implements Operation.
func (GetFolder) Name() string { return "GetFolder" }

func (o GetFolder) write(w *writer) {
	w.open("m:GetFolder")
	o.Shape.write(w, "m:FolderShape")
	w.folderIDs("m:FolderIds", o.Folders)
	w.end("m:GetFolder")
}

// FindFolder asks for the folders below others.
type FindFolder struct {
	Traversal   string // Shallow, Deep or SoftDeleted; "" = Shallow
	Shape       FolderShape
	Page        *Page // nil = all
	Restriction *Restriction
	Parents     []FolderID
}

// Name implements Operation.
func (FindFolder) Name() string { return "FindFolder" }

func (o FindFolder) write(w *writer) {
	w.open("m:FindFolder", "Traversal", w.traversal(o.Traversal, Shallow, Deep, SoftDeleted))
	o.Shape.write(w, "m:FolderShape")
	o.Page.write(w, "m:IndexedPageFolderView")
	o.Restriction.write(w)
	w.folderIDs("m:ParentFolderIds", o.Parents)
	w.end("m:FindFolder")
}

// FindItem asks for the items of folders.
type FindItem struct {
	Traversal   string // Shallow, SoftDeleted or, from Exchange2010, Associated; "" = Shallow
	Shape       ItemShape
	Page        *Page // nil = as many as the server wants to send
	Restriction *Restriction
	Sort        []Order // without it the order is arbitrary
	Parents     []FolderID
}

// Name implements Operation.
func (FindItem) Name() string { return "FindItem" }

func (o FindItem) write(w *writer) {
	if o.Traversal == Associated {
		w.since(Exchange2010, "search for associated items")
	}
	w.open("m:FindItem", "Traversal", w.traversal(o.Traversal, Shallow, SoftDeleted, Associated))
	o.Shape.write(w, "m:ItemShape")
	o.Page.write(w, "m:IndexedPageItemView")
	o.Restriction.write(w)
	if len(o.Sort) > 0 {
		w.open("m:SortOrder")
		for _, order := range o.Sort {
			direction := "Ascending"
			if order.Descending {
				direction = "Descending"
			}
			w.open("t:FieldOrder", "Order", direction)
			order.By.write(w)
			w.end("t:FieldOrder")
		}
		w.end("m:SortOrder")
	}
	w.folderIDs("m:ParentFolderIds", o.Parents)
	w.end("m:FindItem")
}

func (w *writer) traversal(value string, allowed ...string) string {
	if value == "" {
		return Shallow
	}
	w.oneOf("traversal", value, allowed...)
	return value
}
