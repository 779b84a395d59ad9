package ewstest

import (
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
)

func itoa(n int) string { return strconv.Itoa(n) }

// A Folder is one folder of a Mailbox. Its methods lock the server.
type Folder struct {
	mb     *Mailbox
	n      uint64
	parent *Folder // nil: the root of a tree
	kids   []*Folder
	name   string
	class  string
	kind   string // the element: Folder, SearchFolder, CalendarFolder, ContactsFolder, TasksFolder
	known  string // distinguished id
	gone   bool
	update uint32 // of the change key

	replica string // PR_REPLICA_LIST: where a public folder's content is

	born, changed int // places in the mailbox's log of folders

	log  []event // every change, the oldest first; place i is log[i-1]
	head int     // places up to here hold nothing that is still there
	live int
}

// An event is one change of a folder's content.
type event struct {
	item *item
	kind eventKind
}

type eventKind uint8

const (
	eventCreate eventKind = iota
	eventUpdate
	eventRead
	eventDelete
)

// A folderEvent is one change of a mailbox's folders.
type folderEvent struct {
	folder *Folder
	kind   eventKind
}

// usualFolders are what every mailbox has: parent, distinguished id, name, class and element.
var usualFolders = [...][5]string{
	{"", "root", "root", "", "Folder"},
	{"root", "msgfolderroot", "Top of Information Store", "IPF.Note", "Folder"},
	{"msgfolderroot", "inbox", "Inbox", "IPF.Note", "Folder"},
	{"msgfolderroot", "drafts", "Drafts", "IPF.Note", "Folder"},
	{"msgfolderroot", "sentitems", "Sent Items", "IPF.Note", "Folder"},
	{"msgfolderroot", "deleteditems", "Deleted Items", "IPF.Note", "Folder"},
	{"msgfolderroot", "outbox", "Outbox", "IPF.Note", "Folder"},
	{"msgfolderroot", "junkemail", "Junk Email", "IPF.Note", "Folder"},
	{"msgfolderroot", "calendar", "Calendar", "IPF.Appointment", "CalendarFolder"},
	{"msgfolderroot", "contacts", "Contacts", "IPF.Contact", "ContactsFolder"},
	{"msgfolderroot", "tasks", "Tasks", "IPF.Task", "TasksFolder"},
	{"msgfolderroot", "notes", "Notes", "IPF.StickyNote", "Folder"},
	{"msgfolderroot", "journal", "Journal", "IPF.Journal", "Folder"},
	{"root", "searchfolders", "Finder", "", "Folder"},
	{"root", "recoverableitemsroot", "Recoverable Items", "", "Folder"},
	{"recoverableitemsroot", "recoverableitemsdeletions", "Deletions", "", "Folder"},
	{"recoverableitemsroot", "recoverableitemsversions", "Versions", "", "Folder"},
	{"recoverableitemsroot", "recoverableitemspurges", "Purges", "", "Folder"},
}

// archiveFolders are what an in-place archive has.
var archiveFolders = [...][5]string{
	{"", "archiveroot", "root", "", "Folder"},
	{"archiveroot", "archivemsgfolderroot", "Top of Information Store", "IPF.Note", "Folder"},
	{"archivemsgfolderroot", "archiveinbox", "Inbox", "IPF.Note", "Folder"},
	{"archivemsgfolderroot", "archivedeleteditems", "Deleted Items", "IPF.Note", "Folder"},
	{"archiveroot", "archiverecoverableitemsroot", "Recoverable Items", "", "Folder"},
	{"archiverecoverableitemsroot", "archiverecoverableitemsdeletions", "Deletions", "", "Folder"},
	{"archiverecoverableitemsroot", "archiverecoverableitemsversions", "Versions", "", "Folder"},
	{"archiverecoverableitemsroot", "archiverecoverableitemspurges", "Purges", "", "Folder"},
}

// plant makes the usual folders.
func (mb *Mailbox) plant() {
	for _, p := range usualFolders {
		mb.grow(p)
	}
}

func (mb *Mailbox) grow(p [5]string) *Folder {
	f := mb.newFolder(mb.distinguished[p[0]], p[2], p[3], p[4])
	f.known = p[1]
	mb.distinguished[p[1]] = f
	return f
}

// newFolder makes a folder in parent, which is nil for the root of a tree.
func (mb *Mailbox) newFolder(parent *Folder, name, class, kind string) *Folder {
	f := &Folder{mb: mb, n: uint64(len(mb.folders)), parent: parent, name: name, class: class, kind: kind}
	mb.folders = append(mb.folders, f)
	if parent != nil {
		parent.kids = append(parent.kids, f)
	}
	mb.log = append(mb.log, folderEvent{f, eventCreate})
	f.born = len(mb.log)
	return f
}

// Archive gives the mailbox an in-place archive, if it has none, and returns its top.
func (mb *Mailbox) Archive() *Folder {
	mb.s.mu.Lock()
	defer mb.s.mu.Unlock()
	if mb.distinguished["archiveroot"] == nil {
		for _, p := range archiveFolders {
			mb.grow(p)
		}
		mb.s.store.changed()
	}
	return mb.distinguished["archivemsgfolderroot"]
}

// Recoverable returns the top of the recoverable items: its folders are Deletions, Versions and Purges.
func (mb *Mailbox) Recoverable() *Folder { return mb.top("recoverableitemsroot") }

// Folder returns the folder with that path below f, and makes it if it is not there.
func (f *Folder) Folder(path string) *Folder {
	f.mb.s.mu.Lock()
	defer f.mb.s.mu.Unlock()
	for _, name := range strings.Split(path, "/") {
		next := f.kid(name)
		if next == nil {
			next = f.mb.newFolder(f, name, "IPF.Note", "Folder")
			f.mb.s.store.changed()
		}
		f = next
	}
	return f
}

// Add makes a folder in f whose name may hold anything, and that may have siblings of the same name.
func (f *Folder) Add(name string) *Folder {
	f.mb.s.mu.Lock()
	defer f.mb.s.mu.Unlock()
	defer f.mb.s.store.changed()
	return f.mb.newFolder(f, name, "IPF.Note", "Folder")
}

// below returns the folder with that path below f, nil if there is none. The caller holds the lock.
func (f *Folder) below(path string) *Folder {
	for _, name := range strings.Split(path, "/") {
		if f = f.kid(name); f == nil {
			return nil
		}
	}
	return f
}

// kid returns the first folder in f of that name, nil if there is none.
func (f *Folder) kid(name string) *Folder {
	if i := slices.IndexFunc(f.kids, func(k *Folder) bool { return strings.EqualFold(k.name, name) }); i >= 0 {
		return f.kids[i]
	}
	return nil
}

// Class sets the folder's class, and returns f. A class beginning with IPF.Appointment, IPF.Contact or IPF.Task makes it one
// of another element.
func (f *Folder) Class(class string) *Folder {
	f.mb.s.mu.Lock()
	defer f.mb.s.mu.Unlock()
	f.class = class
	f.kind = folderKind(class)
	f.touch()
	return f
}

func folderKind(class string) string {
	switch {
	case strings.HasPrefix(class, "IPF.Appointment"):
		return "CalendarFolder"
	case strings.HasPrefix(class, "IPF.Contact"):
		return "ContactsFolder"
	case strings.HasPrefix(class, "IPF.Task"):
		return "TasksFolder"
	}
	return "Folder"
}

// ID returns the folder's id.
func (f *Folder) ID() string { return f.mb.s.id(folderIDs, f.mb.number, f.n) }

// Deliver puts messages into the folder, and returns their ids.
func (f *Folder) Deliver(raw ...[]byte) []string {
	items := make([]Message, len(raw))
	for i, r := range raw {
		items[i].Raw = r
	}
	return f.DeliverItems(items...)
}

// DeliverItems puts items into the folder, and returns their ids.
func (f *Folder) DeliverItems(items ...Message) []string {
	f.mb.s.mu.Lock()
	defer f.mb.s.mu.Unlock()
	ids := make([]string, len(items))
	for i, m := range items {
		ids[i] = f.mb.itemID(f.mb.deliver(f, m))
	}
	f.mb.s.store.changed()
	return ids
}

// Count returns how many items are in the folder.
func (f *Folder) Count() int {
	f.mb.s.mu.Lock()
	defer f.mb.s.mu.Unlock()
	return f.live
}

// Messages returns what is in the folder, in the order of arrival, with all the octets.
func (f *Folder) Messages() []Message {
	f.mb.s.mu.Lock()
	defer f.mb.s.mu.Unlock()
	var all []Message
	for it := range f.all() {
		all = append(all, f.mb.message(it))
	}
	return all
}

func (mb *Mailbox) message(it *item) Message {
	m := Message{
		ID: mb.itemID(it), Folder: it.folder.path(), Kind: it.kind, Class: it.class, Received: it.received,
		Read: it.read, Draft: it.draft, Body: it.body,
	}
	m.Raw = make([]byte, it.body.Size())
	if _, err := io.ReadFull(io.NewSectionReader(it.body, 0, it.body.Size()), m.Raw); err != nil {
		m.Raw = nil
	}
	if it.more != nil {
		m.Categories = slices.Clone(it.more.categories)
	}
	return m
}

func (mb *Mailbox) itemID(it *item) string { return mb.s.id(itemIDs, mb.number, it.n) }

// path returns the names from below the top of the tree.
func (f *Folder) path() string {
	if f.parent == nil || f.parent.parent == nil {
		return f.name
	}
	if up := f.parent; up.parent.parent != nil {
		return up.path() + "/" + f.name
	}
	return f.name
}

// enter adds an item to the folder, leave takes it out, and record notes a change of one that stays. The caller holds the lock.
func (f *Folder) enter(it *item) {
	it.folder = f
	f.live++
	it.born = f.record(it, eventCreate)
}

func (f *Folder) leave(it *item) {
	it.died = f.record(it, eventDelete)
	it.folder = nil
	f.live--
}

// all yields the items that are there, in the order of arrival. An item is in a folder once in its life.
func (f *Folder) all() iter.Seq[*item] {
	return func(yield func(*item) bool) {
		for f.head < len(f.log) && !f.log[f.head].lasts(f) {
			f.head++
		}
		for _, e := range f.log[f.head:] {
			if e.lasts(f) && !yield(e.item) {
				return
			}
		}
	}
}

// lasts reports whether e is the arrival of an item that is still in f.
func (e event) lasts(f *Folder) bool { return e.kind == eventCreate && e.item.folder == f }

func (f *Folder) record(it *item, kind eventKind) int {
	f.log = append(f.log, event{it, kind})
	return len(f.log)
}

// touch notes that the folder itself changed.
func (f *Folder) touch() {
	f.update++
	f.mb.log = append(f.mb.log, folderEvent{f, eventUpdate})
	f.changed = len(f.mb.log)
	f.mb.s.store.changed()
}
