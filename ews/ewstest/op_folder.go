package ewstest

import "strconv"

// opGetFolder is GetFolder.
func opGetFolder(s *Server, req *request) *reply {
	var messages []*node
	for _, id := range req.op.find("FolderIds").children() {
		f, bad := s.folder(req, id)
		if bad != nil {
			messages = append(messages, req.failure(bad))
			continue
		}
		messages = append(messages, req.success(msg("Folders", f.node(req.op.child("FolderShape")))))
	}
	return req.answer(messages...)
}

// node tells what a folder shape asks for.
func (f *Folder) node(shape *node) *node {
	n := typ(f.kind, f.idNode("FolderId"))
	if f.parent != nil {
		n.add(f.parent.idNode("ParentFolderId"))
	}
	n.add(typ("FolderClass").say(f.class), typ("DisplayName").say(f.name), typ("TotalCount").say(strconv.Itoa(f.live)),
		typ("ChildFolderCount").say(strconv.Itoa(len(f.kids))))
	_ = shape
	return n
}

func (f *Folder) idNode(name string) *node {
	return typ(name).with("Id", f.ID()).with("ChangeKey", changeKey(f.update))
}
