package ewstest

import (
	"slices"
	"strconv"
)

// opGetFolder is GetFolder.
func opGetFolder(s *Server, req *request) *reply {
	shape := req.op.child("FolderShape")
	var messages []*node
	for _, id := range req.op.child("FolderIds").children() {
		f, bad := s.folder(req, id)
		if bad != nil {
			messages = append(messages, req.failure(bad).add(msg("Folders")))
			continue
		}
		messages = append(messages, req.success(msg("Folders", f.node(shape, req.version))))
	}
	return req.answer(messages...)
}

// opFindFolder is FindFolder.
func opFindFolder(s *Server, req *request) *reply {
	var messages []*node
	for _, id := range req.op.child("ParentFolderIds").children() {
		f, bad := s.folder(req, id)
		if bad != nil {
			messages = append(messages, req.failure(bad))
			continue
		}
		var found []*Folder
		switch req.op.attr("Traversal") {
		case "Shallow":
			found = slices.Clone(f.kids)
		case "Deep":
			found = f.descend(nil)
		}
		if r := req.op.child("Restriction"); r != nil {
			if found, bad = s.filterFolders(found, r.kids[0]); bad != nil {
				messages = append(messages, req.failure(bad))
				continue
			}
		}
		total := len(found)
		offset, limit, bad := viewOf(req.op.child("IndexedPageFolderView"), total)
		if bad != nil {
			messages = append(messages, req.failure(bad))
			continue
		}
		end := min(total, offset+limit)
		page := typ("Folders")
		for _, k := range found[min(offset, total):max(end, min(offset, total))] {
			page.add(k.node(req.op.child("FolderShape"), req.version))
		}
		messages = append(messages, req.success(msg("RootFolder", page).with("IndexedPagingOffset", strconv.Itoa(offset+len(page.kids))).
			with("TotalItemsInView", strconv.Itoa(total)).with("IncludesLastItemInRange", strconv.FormatBool(end >= total))))
	}
	return req.answer(messages...)
}

// descend appends all folders below f, each before those in it.
func (f *Folder) descend(all []*Folder) []*Folder {
	for _, k := range f.kids {
		all = k.descend(append(all, k))
	}
	return all
}

// viewOf reads an indexed page view of total things: where it begins, and how many it wants at most. Without a view it is
// all of them.
func viewOf(v *node, total int) (offset, limit int, bad *fault) {
	if v == nil {
		return 0, total, nil
	}
	offset, limit = number32(v.attr("Offset")), total
	if most, there := v.lookup("MaxEntriesReturned"); there {
		limit = number32(most)
	}
	switch {
	case offset < 0:
		return 0, 0, &fault{code: "ErrorInvalidIndexedPagingParameters", text: "IndexedPageView must have an offset that is not negative."}
	case limit < 1 && total > 0:
		return 0, 0, &fault{code: "ErrorInvalidPagingMaxRows", text: "MaxEntriesReturned must be greater than zero."}
	case v.attr("BasePoint") == "End":
		offset = max(0, total-offset-limit)
	}
	return offset, limit, nil
}

// opCreateFolder is CreateFolder.
func opCreateFolder(s *Server, req *request) *reply {
	parent, bad := s.folder(req, req.op.child("ParentFolderId").kids[0])
	var messages []*node
	for _, n := range req.op.child("Folders").children() {
		name := n.child("DisplayName")
		switch {
		case bad != nil:
		case name == nil || name.text == "":
			bad = &fault{code: "ErrorFolderSavePropertyError", text: "The folder save operation failed due to invalid property values."}
		case parent.kid(name.text) != nil:
			bad = &fault{code: "ErrorFolderExists", text: "A folder with the specified name already exists."}
		}
		if bad != nil {
			messages = append(messages, req.failure(bad).add(msg("Folders")))
			continue
		}
		class := n.value("FolderClass")
		if class == "" {
			class = "IPF.Note"
		}
		f := parent.mb.newFolder(parent, name.text, class, folderKind(class))
		if n.name == "SearchFolder" {
			f.kind = n.name
		}
		s.store.changed()
		messages = append(messages, req.success(msg("Folders", typ(f.kind, f.idNode("FolderId")))))
	}
	return req.answer(messages...)
}
