package ewstest

// opUpdateItem is UpdateItem: of IsRead, of categories, and of extended properties. Other properties are taken, and come to
// nothing but a new change key.
func opUpdateItem(s *Server, req *request) *reply {
	var messages []*node
	for _, change := range req.op.child("ItemChanges").children() {
		it, bad := s.item(req, change.kids[0])
		if bad == nil && req.op.attr("ConflictResolution") == "NeverOverwrite" {
			if key := change.kids[0].attr("ChangeKey"); key != "" && key != changeKey(it.update) {
				bad = &fault{code: "ErrorIrresolvableConflict", text: "The send or update operation could not be performed because the change key passed in the request does not match the current change key for the item."}
			}
		}
		if bad == nil && it.isMail() && req.op.attr("MessageDisposition") == "" {
			bad = dispositionRequired()
		}
		if bad != nil {
			messages = append(messages, req.failure(bad).add(msg("Items")))
			continue
		}
		for _, update := range change.child("Updates").children() {
			s.update(it, update)
		}
		messages = append(messages, req.success(msg("Items", typ(it.kind, s.itemIDNode(it))), msg("ConflictResults", typ("Count").say("0"))))
	}
	s.store.changed()
	return req.answer(messages...)
}

func (s *Server) update(it *item, change *node) {
	path := change.kids[0]
	if change.name != "DeleteItemField" && path.attr("FieldURI") == "message:IsRead" {
		it.setRead(isTrue(change.kids[1].value("IsRead")))
		return
	}
	if it.more == nil {
		it.more = &itemMore{}
	}
	switch {
	case path.attr("FieldURI") == "item:Categories":
		it.more.categories = nil
	case path.name == "ExtendedFieldURI":
		it.more.extended = without(it.more.extended, path)
	}
	if change.name != "DeleteItemField" {
		it.keep(change.kids[1])
	}
	it.touch(s)
}

// without drops the extended property at a path.
func without(all []*node, path *node) []*node {
	var kept []*node
	for _, p := range all {
		if !samePath(p.child("ExtendedFieldURI"), path) {
			kept = append(kept, p)
		}
	}
	return kept
}

// opMoveItem is MoveItem.
func opMoveItem(s *Server, req *request) *reply {
	to, bad := s.folder(req, req.op.child("ToFolderId").kids[0])
	tell := req.op.child("ReturnNewItemIds") == nil || isTrue(req.op.value("ReturnNewItemIds"))
	var messages []*node
	for _, id := range req.op.child("ItemIds").children() {
		var it *item
		why := bad
		if why == nil {
			it, why = s.item(req, id)
		}
		if why != nil {
			messages = append(messages, req.failure(why).add(msg("Items")))
			continue
		}
		it = it.folder.mb.move(it, to)
		items := msg("Items")
		if tell {
			items.add(typ(it.kind, s.itemIDNode(it)))
		}
		messages = append(messages, req.success(items))
	}
	s.store.changed()
	return req.answer(messages...)
}
