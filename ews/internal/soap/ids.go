package soap

import "github.com/mailconn/mailconn/connection"

// An ItemID names an item. Ids are case-sensitive and of any length. Without a ChangeKey the item's newest state is meant.
type ItemID struct{ ID, ChangeKey string }

func (id ItemID) write(w *writer) {
	w.some("item id", len(id.ID))
	w.empty("t:ItemId", "Id", id.ID, "ChangeKey", id.ChangeKey)
}

// itemIDs writes the list of items that an operation is about.
func (w *writer) itemIDs(name string, ids []ItemID) {
	w.some("item ids", len(ids))
	w.open(name)
	for _, id := range ids {
		id.write(w)
	}
	w.end(name)
}

// A FolderID names a folder: by its ID, or by its Distinguished name such as "inbox", of the mailbox with that address if
// Mailbox is not empty.
type FolderID struct {
	ID, ChangeKey string
	Distinguished string
	Mailbox       string
}

// Inbox returns the id of the inbox of a mailbox, "" for that of the account or of the one it impersonates.
func Inbox(mailbox string) FolderID { return FolderID{Distinguished: "inbox", Mailbox: mailbox} }

func (f FolderID) write(w *writer) {
	switch {
	case f.ID == "" && f.Distinguished == "":
		w.fail(connection.ErrInvalid, "folder id: none given")
	case f.ID != "" && f.Distinguished != "":
		w.fail(connection.ErrInvalid, "folder id: both an id and the name %q", f.Distinguished)
	case f.ID != "":
		w.empty("t:FolderId", "Id", f.ID, "ChangeKey", f.ChangeKey)
	default:
		f.writeName(w)
	}
}

func (f FolderID) writeName(w *writer) {
	since := namedSince(f.Distinguished)
	if !since.Valid() {
		w.fail(connection.ErrInvalid, "folder id: no folder has the distinguished name %q", f.Distinguished)
	}
	w.since(since, "folder "+f.Distinguished)
	if f.Mailbox == "" {
		w.empty("t:DistinguishedFolderId", "Id", f.Distinguished, "ChangeKey", f.ChangeKey)
		return
	}
	w.open("t:DistinguishedFolderId", "Id", f.Distinguished, "ChangeKey", f.ChangeKey)
	w.open("t:Mailbox")
	w.leaf("t:EmailAddress", f.Mailbox)
	w.end("t:Mailbox")
	w.end("t:DistinguishedFolderId")
}

// namedSince returns the first version whose schema has the distinguished name, "" if none has. A server that does not know
// the name answers with a fault about the whole request.
func namedSince(name string) Version {
	switch name {
	case "calendar", "contacts", "deleteditems", "drafts", "inbox", "journal", "notes", "outbox", "sentitems", "tasks",
		"msgfolderroot", "publicfoldersroot", "root", "junkemail", "searchfolders", "voicemail":
		return Exchange2007
	case "recoverableitemsroot", "recoverableitemsdeletions", "recoverableitemsversions", "recoverableitemspurges":
		return Exchange2010
	case "archiveroot", "archivemsgfolderroot", "archivedeleteditems", "archiverecoverableitemsroot",
		"archiverecoverableitemsdeletions", "archiverecoverableitemsversions", "archiverecoverableitemspurges":
		return Exchange2010SP1
	case "syncissues", "conflicts", "localfailures", "serverfailures", "recipientcache", "quickcontacts", "conversationhistory",
		"adminauditlogs", "todosearch", "mycontacts", "directory", "imcontactlist", "peopleconnect", "favorites":
		return Exchange2013
	case "archiveinbox", "recoverableitemsdiscoveryholds":
		return Exchange2013SP1
	case "archiverecoverableitemsdiscoveryholds":
		return Exchange2016
	}
	return unknownVersion
}

// folderIDs writes a list of folders that must not be empty.
func (w *writer) folderIDs(name string, ids []FolderID) {
	w.some("folder ids", len(ids))
	w.open(name)
	for _, id := range ids {
		id.write(w)
	}
	w.end(name)
}

// folderID writes an element that holds exactly one folder.
func (w *writer) folderID(name string, id FolderID) {
	w.open(name)
	id.write(w)
	w.end(name)
}
