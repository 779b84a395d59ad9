package ewstest

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/multipart"
	"mime/quotedprintable"
	"strings"
)

const attachmentsOfItem = 1 << 10 // numbers of attachments that an item has

// attachmentID makes the id of the n-th attachment of an item.
func (s *Server) attachmentID(it *item, n int) string {
	return s.id(attachIDs, it.folder.mb.number, it.n*attachmentsOfItem+uint64(n)) //nolint:gosec // n counts parts
}

// decoded undoes the transfer encoding of a part; multipart itself does so for quoted-printable.
func decoded(part *multipart.Part) io.Reader {
	switch strings.ToLower(part.Header.Get("Content-Transfer-Encoding")) {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, part)
	case "quoted-printable":
		return quotedprintable.NewReader(part)
	}
	return part
}

// opGetAttachment is GetAttachment.
func opGetAttachment(s *Server, req *request) *reply {
	mime := isTrue(req.op.value("AttachmentShape", "IncludeMimeContent"))
	var messages []*node
	for _, id := range req.op.child("AttachmentIds").children() {
		n, bad := s.getAttachment(req, id.attr("Id"), mime)
		if bad != nil {
			messages = append(messages, req.failure(bad).add(msg("Attachments")))
			continue
		}
		messages = append(messages, req.success(msg("Attachments", n)))
	}
	return req.answer(messages...)
}

func (s *Server) getAttachment(req *request, id string, mime bool) (*node, *fault) {
	mb, n, bad := s.mailboxOf(id, attachIDs)
	if bad != nil {
		return nil, &fault{code: "ErrorInvalidAttachmentId", text: "The attachment id is invalid."}
	}
	if bad := s.may(req, mb); bad != nil {
		return nil, bad
	}
	it := mb.itemAt(n / attachmentsOfItem)
	if it == nil {
		return nil, itemNotFound()
	}
	v := &view{s: s, it: it}
	all := v.attachments()
	if int(n%attachmentsOfItem) >= len(all) { //nolint:gosec // less than attachmentsOfItem
		return nil, itemNotFound()
	}
	a := all[n%attachmentsOfItem]
	told := v.attachmentNode(a)
	if !a.message {
		content := typ("Content")
		content.payload = bytes.NewReader(a.content)
		return told.add(content), nil
	}
	inner := typ("Message")
	if mime {
		content := typ("MimeContent").with("CharacterSet", "UTF-8")
		content.payload = bytes.NewReader(a.content)
		inner.add(content)
	}
	nested := facts{header: (&item{body: bytes.NewReader(a.content)}).facts().header}
	return told.add(inner.add(leaf("ItemClass", "IPM.Note"), leaf("Subject", nested.text("Subject")))), nil
}
