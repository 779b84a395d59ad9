package ewstest

import "fmt"

// locked finds an item that is there; otherwise it panics, since the test asks for what cannot be.
func (mb *Mailbox) locked(id string) *item {
	where, n, bad := mb.s.mailboxOf(id, itemIDs)
	if bad != nil || where != mb || mb.itemAt(n) == nil {
		panic(fmt.Sprintf("ewstest: no item %.20s… in %s", id, mb.account.address))
	}
	return mb.itemAt(n)
}

// Move moves an item to a folder, which is made if it is not there, and returns its new id.
func (mb *Mailbox) Move(id, folder string) string {
	to := mb.Folder(folder)
	mb.s.mu.Lock()
	defer mb.s.mu.Unlock()
	defer mb.s.store.changed()
	return mb.itemID(mb.move(mb.locked(id), to))
}

// SetRead marks items as read.
func (mb *Mailbox) SetRead(ids ...string) { mb.mark(true, ids) }

// SetUnread marks items as not read.
func (mb *Mailbox) SetUnread(ids ...string) { mb.mark(false, ids) }

func (mb *Mailbox) mark(read bool, ids []string) {
	mb.s.mu.Lock()
	defer mb.s.mu.Unlock()
	for _, id := range ids {
		mb.locked(id).setRead(read)
	}
	mb.s.store.changed()
}

func (it *item) setRead(read bool) {
	if it.read != read {
		it.read = read
		it.update++
		it.marked = it.folder.record(it, eventRead)
	}
}

// touch notes that an item changed.
func (it *item) touch(s *Server) {
	it.update++
	it.modified = s.clock.Now()
	it.changed = it.folder.record(it, eventUpdate)
}

// Touch changes items without changing what they say: their change keys are others.
func (mb *Mailbox) Touch(ids ...string) {
	mb.s.mu.Lock()
	defer mb.s.mu.Unlock()
	for _, id := range ids {
		mb.locked(id).touch(mb.s)
	}
	mb.s.store.changed()
}

// Remove removes items for good, whatever holds and dumpsters there are.
func (mb *Mailbox) Remove(ids ...string) {
	mb.s.mu.Lock()
	defer mb.s.mu.Unlock()
	for _, id := range ids {
		mb.drop(mb.locked(id))
	}
	mb.s.store.changed()
}

// Break spoils items: see [Breakage]. [Whole] mends them.
func (mb *Mailbox) Break(how Breakage, ids ...string) {
	mb.s.mu.Lock()
	defer mb.s.mu.Unlock()
	for _, id := range ids {
		mb.locked(id).broken = how
	}
}

// BreakConversion spoils items such that their MIME cannot be made.
func (mb *Mailbox) BreakConversion(ids ...string) { mb.Break(Unconverted, ids...) }

// Fail makes every operation on the mailbox fail with a code from now on; "" mends it.
func (mb *Mailbox) Fail(code string) {
	mb.s.mu.Lock()
	defer mb.s.mu.Unlock()
	mb.opts.Fault = code
}

// Protect lets DeleteItem fail with ErrorCannotDeleteObject, or with false no longer.
func (mb *Mailbox) Protect(on bool) {
	mb.s.mu.Lock()
	defer mb.s.mu.Unlock()
	mb.protected = on
}

// Rename renames the folder.
func (f *Folder) Rename(name string) {
	f.mb.s.mu.Lock()
	defer f.mb.s.mu.Unlock()
	f.name = name
	f.touch()
}

// MoveTo moves the folder, with what is in it, into another of the same mailbox.
func (f *Folder) MoveTo(parent *Folder) {
	f.mb.s.mu.Lock()
	defer f.mb.s.mu.Unlock()
	f.unhook()
	f.parent = parent
	parent.kids = append(parent.kids, f)
	f.touch()
}

// Delete removes the folder and all that is in it.
func (f *Folder) Delete() {
	f.mb.s.mu.Lock()
	defer f.mb.s.mu.Unlock()
	f.unhook()
	for _, k := range append(f.descend(nil), f) {
		for it := range k.all() {
			f.mb.drop(it)
		}
		k.gone = true
		f.mb.log = append(f.mb.log, folderEvent{k, eventDelete})
	}
	f.mb.s.store.changed()
}

// Search makes the folder a search folder, and returns it.
func (f *Folder) Search() *Folder {
	f.mb.s.mu.Lock()
	defer f.mb.s.mu.Unlock()
	f.kind = "SearchFolder"
	f.touch()
	return f
}

func (f *Folder) unhook() {
	kids := f.parent.kids
	for i, k := range kids {
		if k == f {
			f.parent.kids = append(kids[:i:i], kids[i+1:]...)
		}
	}
}
