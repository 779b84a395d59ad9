package ewstest

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"
)

const exportLimit = 100 // items in one ExportItems

// exportMark begins what ExportItems gives out: in place of FastTransfer, the message itself.
const exportMark = "ewstest\x00"

// opExportItems is ExportItems.
func opExportItems(s *Server, req *request) *reply {
	var messages []*node
	ids := req.op.child("ItemIds").children()
	for i, id := range ids {
		it, bad := s.item(req, id)
		if bad == nil && i >= exportLimit {
			bad = &fault{code: "ErrorBatchProcessingStopped", text: "There was an internal processing error. The batch stopped."}
		}
		if bad == nil && it.broken == Corrupt {
			bad = &fault{code: string(Corrupt), text: "The item is corrupt."}
		}
		if bad != nil {
			messages = append(messages, req.failure(bad))
			continue
		}
		raw, err := io.ReadAll(io.NewSectionReader(it.body, 0, it.body.Size()))
		if err != nil {
			messages = append(messages, req.failure(&fault{code: "ErrorInternalServerError", text: "The item cannot be read."}))
			continue
		}
		data := &node{space: nsMessages, name: "Data", payload: bytes.NewReader(append([]byte(exportMark), raw...))}
		idNode := s.itemIDNode(it)
		idNode.space = nsMessages
		messages = append(messages, req.success(idNode, data))
	}
	return req.answer(messages...)
}

// opUploadItems is UploadItems.
func opUploadItems(s *Server, req *request) *reply {
	var messages []*node
	for _, n := range req.op.child("Items").children() {
		f, bad := s.folder(req, n.child("ParentFolderId").as("FolderId"))
		raw, err := base64.StdEncoding.DecodeString(strings.Map(dropSpace, n.child("Data").text))
		data, good := bytes.CutPrefix(raw, []byte(exportMark))
		if bad == nil && (err != nil || !good) {
			bad = &fault{code: "ErrorCorruptData", text: "The data is not what ExportItems gave out."}
		}
		var old *item
		if bad == nil && n.attr("CreateAction") != "CreateNew" {
			if old, bad = s.item(req, n.child("ItemId")); n.attr("CreateAction") == "UpdateOrCreate" && bad != nil {
				old, bad = nil, nil
			}
		}
		if bad != nil {
			messages = append(messages, req.failure(bad))
			continue
		}
		if old != nil {
			old.body = bytes.NewReader(data)
			old.touch(s)
		} else {
			old = f.mb.deliver(f, Message{Raw: data, Read: true})
		}
		idNode := s.itemIDNode(old)
		idNode.space = nsMessages
		messages = append(messages, req.success(idNode))
	}
	s.store.changed()
	return req.answer(messages...)
}

// as returns n as an element of another name.
func (n *node) as(name string) *node {
	return &node{space: n.space, name: name, attrs: n.attrs, kids: n.kids, line: n.line, column: n.column}
}
