package ewstest

import (
	"math/rand/v2"
	"slices"
	"strconv"
)

// opSyncFolderItems is SyncFolderItems.
func opSyncFolderItems(s *Server, req *request) *reply {
	f, bad := s.folder(req, req.op.child("SyncFolderId").kids[0])
	if bad != nil {
		if bad.code == "ErrorFolderNotFound" {
			bad = &fault{code: "ErrorSyncFolderNotFound", text: "The folder to synchronize could not be found."}
		}
		return req.answer(req.failure(bad))
	}
	if f.kind == "SearchFolder" || f.mb == s.store.public {
		return req.answer(req.failure(&fault{code: "ErrorInvalidFolderTypeForOperation", text: "The folder type is invalid for this operation."}))
	}
	st, bad := s.readState(req.op.value("SyncState"), itemsState, f)
	if bad != nil {
		return req.answer(req.failure(bad))
	}
	limit := min(number32(req.op.value("MaxChangesReturned")), cmpInt(s.opts.SyncCap, 512))
	if s.opts.Quirks.EmptyPages && !st.Pause && int(st.Base) < len(f.log) {
		st.Pause = true
		return req.answer(s.syncPage(req, st, false, "Item", typ("Changes")))
	}
	st.Pause = false
	page, next, last := f.page(st, limit, s.newestFirst())
	if s.opts.SyncOrder == Shuffled {
		rng := rand.New(rand.NewPCG(s.opts.Seed, uint64(len(page)))) //nolint:gosec // tests want to be repeated
		rng.Shuffle(len(page), func(i, j int) { page[i], page[j] = page[j], page[i] })
	}
	if s.opts.Quirks.NeverLast && len(page) == 0 {
		next, last = st, false
	}
	return req.answer(s.syncPage(req, next, last, "Item", s.itemChanges(req, f, page)))
}

// cmpInt returns a if it is not 0, else b.
func cmpInt(a, b int) int {
	if a != 0 {
		return a
	}
	return b
}

func number32(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0 // the grammar lets none through
	}
	return n
}

// newestFirst reports whether syncs tell the newest change first: from 2010_SP2 on.
func (s *Server) newestFirst() bool {
	if s.opts.SyncOrder == "" {
		return s.product.speaks >= v2010SP2
	}
	return s.opts.SyncOrder == NewestFirst
}

func (s *Server) syncPage(req *request, next syncState, last bool, what string, changes *node) *node {
	changes.space = nsMessages
	return req.success(msg("SyncState").say(s.writeState(next)), msg("IncludesLast"+what+"InRange").say(strconv.FormatBool(last)), changes)
}

// page returns the next changes for a state, and the state behind them.
func (f *Folder) page(st syncState, limit int, newestFirst bool) (page []event, next syncState, last bool) {
	end := uint32(len(f.log)) //nolint:gosec // not so many
	if !newestFirst {
		base := st.Base
		for st.At = st.Base; st.At < end; st.At++ {
			if e := f.log[st.At]; f.tells(e, int(st.At)+1, int(base)) {
				if len(page) == limit {
					break
				}
				page = append(page, e)
			}
		}
		st.Base, st.Top = st.At, st.At
		return page, st, st.At == end
	}
	if st.Top == st.Base {
		st.Top, st.At = end, end
	}
	for ; st.At > st.Base; st.At-- {
		if e := f.log[st.At-1]; f.tells(e, int(st.At), int(st.Base)) {
			if len(page) == limit {
				return page, st, false
			}
			page = append(page, e)
		}
	}
	st.Base, st.At = st.Top, st.Top
	return page, st, st.Top == end
}

// tells reports whether the event at a place of the log is to be told to a client that knows everything up to base: what came
// and went since is nothing, and of several changes only the last counts.
func (f *Folder) tells(e event, place, base int) bool {
	it := e.item
	there := it.folder == f
	switch e.kind {
	case eventCreate:
		return there
	case eventUpdate:
		return there && it.changed == place && it.born <= base
	case eventRead:
		return there && it.marked == place && it.born <= base && it.changed <= base
	default:
		return it.born <= base
	}
}

// itemChanges writes the changes of a page of f.
func (s *Server) itemChanges(req *request, f *Folder, page []event) *node {
	sh := readShape(req.op.child("ItemShape"))
	var ignored []string
	for _, id := range req.op.child("Ignore").children() {
		ignored = append(ignored, id.attr("Id"))
	}
	changes := msg("Changes")
	for _, e := range page {
		id := s.id(itemIDs, f.mb.number, e.item.n)
		if slices.Contains(ignored, id) {
			continue
		}
		idNode := typ("ItemId").with("Id", id).with("ChangeKey", changeKey(e.item.update))
		var change *node
		switch {
		case e.kind == eventCreate:
			change = typ("Create", s.itemNode(e.item, sh, true))
		case e.kind == eventDelete:
			change = typ("Delete", idNode)
		case e.kind == eventUpdate || s.opts.Quirks.ReadAsUpdate || req.version < v2010:
			change = typ("Update", s.itemNode(e.item, sh, true))
		default:
			change = typ("ReadFlagChange", idNode, truth("IsRead", e.item.read))
		}
		changes.add(change)
		if s.opts.Quirks.Twice {
			changes.add(change)
		}
	}
	return changes
}

// opSyncFolderHierarchy is SyncFolderHierarchy.
func opSyncFolderHierarchy(s *Server, req *request) *reply {
	id := req.op.child("SyncFolderId")
	target := typ("DistinguishedFolderId").with("Id", "msgfolderroot")
	if id != nil {
		target = id.kids[0]
	}
	root, bad := s.folder(req, target)
	if bad != nil {
		return req.answer(req.failure(bad))
	}
	if root.mb == s.store.public {
		return req.answer(req.failure(&fault{code: "ErrorInvalidFolderTypeForOperation", text: "The folder type is invalid for this operation."}))
	}
	st, bad := s.readState(req.op.value("SyncState"), hierarchyState, root)
	if bad != nil {
		return req.answer(req.failure(bad))
	}
	shape, base, limit := req.op.child("FolderShape"), int(st.Base), cmpInt(s.opts.SyncCap, 512)
	changes := msg("Changes")
	log := root.mb.log
	for ; int(st.Base) < len(log); st.Base++ {
		e, place := log[st.Base], int(st.Base)+1
		var change *node
		switch {
		case !e.folder.within(root):
		case e.kind == eventCreate && !e.folder.gone:
			change = typ("Create", e.folder.node(shape, req.version))
		case e.kind == eventUpdate && !e.folder.gone && e.folder.changed == place && e.folder.born <= base:
			change = typ("Update", e.folder.node(shape, req.version))
		case e.kind == eventDelete && e.folder.born <= base:
			change = typ("Delete", e.folder.idNode("FolderId"))
		}
		if change != nil {
			if len(changes.kids) == limit {
				break
			}
			changes.add(change)
		}
	}
	st.Top, st.At = st.Base, st.Base
	return req.answer(s.syncPage(req, st, int(st.Base) == len(log), "Folder", changes))
}

// within reports whether f is below root.
func (f *Folder) within(root *Folder) bool {
	for up := f.parent; up != nil; up = up.parent {
		if up == root {
			return true
		}
	}
	return false
}
