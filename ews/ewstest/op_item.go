package ewstest

// item finds the item that an ItemId names. The caller holds the lock.
func (s *Server) item(req *request, id *node) (*item, *fault) {
	text, there := id.lookup("Id")
	if !there {
		text = cmpOr(id.attr("OccurrenceId"), id.attr("RecurringMasterId"))
	}
	if text == "" {
		return nil, &fault{code: "ErrorInvalidIdEmpty", text: "Id must be non-empty."}
	}
	mb, n, bad := s.mailboxOf(text, itemIDs)
	if bad != nil {
		return nil, bad
	}
	if bad := s.may(req, mb); bad != nil {
		return nil, bad
	}
	it := mb.itemAt(n)
	if it == nil || it.broken == ListedButNot {
		return nil, itemNotFound()
	}
	return it, nil
}

func itemNotFound() *fault {
	return &fault{code: "ErrorItemNotFound", text: "The specified object was not found in the store."}
}

// opGetItem is GetItem.
func opGetItem(s *Server, req *request) *reply {
	sh := readShape(req.op.child("ItemShape"))
	var messages []*node
	for _, id := range req.op.child("ItemIds").children() {
		n, bad := s.getItem(req, id, sh)
		if bad != nil {
			messages = append(messages, req.failure(bad).add(msg("Items")))
			continue
		}
		messages = append(messages, req.success(msg("Items", n)))
	}
	return req.answer(messages...)
}

func (s *Server) getItem(req *request, id *node, sh shape) (*node, *fault) {
	it, bad := s.item(req, id)
	if bad != nil {
		return nil, bad
	}
	if it.broken == Corrupt {
		return nil, &fault{code: string(Corrupt), text: "The item is corrupt."}
	}
	n := s.itemNode(it, sh, false)
	if sh.mime {
		if it.broken == Unconverted || it.broken == UnconvertedUTF8 {
			return nil, &fault{code: string(Unconverted), text: "MIME content conversion failed."}
		}
		if m := s.mimeNode(it, "MimeContent"); m != nil {
			n.kids = append([]*node{m}, n.kids...)
		}
	}
	if sh.utf8 {
		if it.broken == UnconvertedUTF8 {
			return nil, &fault{code: string(Unconverted), text: "MIME content conversion failed."}
		}
		n.add(s.mimeNode(it, "MimeContentUTF8"))
	}
	return n, nil
}

// mimeNode is the MIME of an item; nil if its element is left out.
func (s *Server) mimeNode(it *item, name string) *node {
	n := typ(name).with("CharacterSet", "UTF-8")
	switch it.broken {
	case NoMIME:
		return nil
	case EmptyMIME:
	default:
		n.payload = s.mimeOf(it)
	}
	return n
}

// opDeleteItem is DeleteItem.
func opDeleteItem(s *Server, req *request) *reply {
	var messages []*node
	for _, id := range req.op.child("ItemIds").children() {
		if bad := s.deleteItem(req, id); bad != nil {
			messages = append(messages, req.failure(bad))
			continue
		}
		messages = append(messages, req.success())
	}
	s.store.changed()
	return req.answer(messages...)
}

func (s *Server) deleteItem(req *request, id *node) *fault {
	it, bad := s.item(req, id)
	if bad != nil {
		return bad
	}
	mb := it.folder.mb
	switch {
	case it.isMeeting() && req.op.attr("SendMeetingCancellations") == "" && !s.opts.Quirks.NoMeetingCheck:
		return &fault{code: "ErrorSendMeetingCancellationsRequired", text: "SendMeetingCancellations attribute is required for Calendar items."}
	case it.kind == "Task" && req.op.attr("AffectedTaskOccurrences") == "":
		return &fault{code: "ErrorAffectedTaskOccurrencesRequired", text: "AffectedTaskOccurrences attribute is required for Task items."}
	case mb.protected:
		return &fault{code: "ErrorCannotDeleteObject", text: "The object cannot be deleted."}
	}
	if !it.read && !isTrue(req.op.attr("SuppressReadReceipts")) && it.facts().header.Get("Disposition-Notification-To") != "" {
		s.store.receipts = append(s.store.receipts, mb.itemID(it))
	}
	return mb.dispose(it, req.op.attr("DeleteType"))
}

func (it *item) isMeeting() bool {
	switch it.kind {
	case "CalendarItem", "MeetingRequest", "MeetingResponse", "MeetingCancellation", "MeetingMessage":
		return true
	}
	return false
}

// dispose removes an item as a DeleteType says: to Deleted Items, to Deletions, or to Purges. What is in Purges goes for
// good, but for a hold. Before 2010, and for public folders, there is no dumpster.
func (mb *Mailbox) dispose(it *item, how string) *fault {
	prefix := ""
	if root := it.folder.root(); root == mb.distinguished["archiveroot"] {
		prefix = "archive"
	}
	to := mb.distinguished[prefix+map[string]string{
		"MoveToDeletedItems": "deleteditems", "SoftDelete": "recoverableitemsdeletions", "HardDelete": "recoverableitemspurges",
	}[how]]
	switch {
	case to == nil, mb.s.product.speaks < v2010 && how != "MoveToDeletedItems":
		mb.drop(it)
	case it.folder == to && mb.opts.Hold:
	case it.folder == to, it.folder.known == prefix+"recoverableitemspurges":
		mb.drop(it)
	default:
		size := it.body.Size()
		if how != "MoveToDeletedItems" {
			if limit := mb.opts.RecoverableQuota; limit > 0 && mb.recoverable+size > limit {
				return &fault{code: "ErrorQuotaExceededOnDelete", text: "Cannot delete message because the destination folder is out of quota."}
			}
			mb.recoverable += size
		}
		mb.move(it, to)
	}
	return nil
}

// root returns the root of the tree that f is in.
func (f *Folder) root() *Folder {
	for f.parent != nil {
		f = f.parent
	}
	return f
}

// drop removes an item for good.
func (mb *Mailbox) drop(it *item) {
	if f := it.folder; f.known == "recoverableitemspurges" || f.known == "recoverableitemsdeletions" {
		mb.recoverable -= it.body.Size()
	}
	mb.used -= it.body.Size()
	it.folder.leave(it)
	mb.items[it.n] = nil
}

// move gives an item a new id in another folder, which may be of another mailbox, and returns it as it is there.
func (mb *Mailbox) move(it *item, to *Folder) *item {
	moved := *it
	moved.n = uint64(len(to.mb.items))
	moved.changed, moved.marked, moved.died = 0, 0, 0
	moved.modified = mb.s.clock.Now()
	moved.came, moved.cameAs = it.folder, it.n
	mb.used -= it.body.Size()
	it.left = true
	it.folder.leave(it)
	mb.items[it.n] = nil
	to.mb.items = append(to.mb.items, &moved)
	to.mb.used += it.body.Size()
	to.enter(&moved)
	return &moved
}
