package ewstest

import (
	"bytes"
	"encoding/base64"
	"net/mail"
	"strconv"
	"strings"
	"time"
)

// opCreateItem is CreateItem.
func opCreateItem(s *Server, req *request) *reply {
	var messages []*node
	for _, n := range req.op.child("Items").children() {
		saved, bad := s.createItem(req, n)
		if bad != nil {
			messages = append(messages, req.failure(bad).add(msg("Items")))
			continue
		}
		messages = append(messages, req.success(msg("Items").add(saved)))
	}
	s.store.changed()
	return req.answer(messages...)
}

// createItem saves or sends one item, and returns what to tell of it.
func (s *Server) createItem(req *request, n *node) (*node, *fault) {
	how := req.op.attr("MessageDisposition")
	if n.name == "Message" && how == "" {
		return nil, dispositionRequired()
	}
	m, bad := s.readItem(n)
	if bad != nil {
		return nil, bad
	}
	folder, bad := s.saveFolder(req, how)
	if bad != nil {
		return nil, bad
	}
	mb := folder.mb
	if limit := mb.opts.Quota; limit > 0 && mb.used+int64(len(m.Raw)) > limit {
		return nil, &fault{code: "ErrorQuotaExceeded", text: "The mailbox exceeded the size limit."}
	}
	if how != "SaveOnly" && how != "" {
		if bad := s.send(req, mb, m, how == "SendAndSaveCopy"); bad != nil {
			return nil, bad
		}
		m.Read, m.Draft = true, false
	}
	if how == "SendOnly" {
		return nil, nil
	}
	it := mb.deliver(folder, m)
	it.keep(n)
	return typ(it.kind, s.itemIDNode(it)), nil
}

func dispositionRequired() *fault {
	return &fault{code: "ErrorMessageDispositionRequired", text: "MessageDisposition attribute is required for messages."}
}

// saveFolder finds where a new item is to be saved: by default in Drafts, or in Sent Items.
func (s *Server) saveFolder(req *request, how string) (*Folder, *fault) {
	target := typ("DistinguishedFolderId").with("Id", "drafts")
	if how == "SendAndSaveCopy" {
		target.attrs[0].value = "sentitems"
	}
	if named := req.op.child("SavedItemFolderId"); named != nil {
		target = named.kids[0]
	}
	return s.folder(req, target)
}

// readItem reads the item that is to be made: its MIME, or fields if there is none.
func (s *Server) readItem(n *node) (Message, *fault) {
	m := Message{Kind: n.name, Class: cmpOr(n.value("ItemClass"), "IPM.Note"), Draft: true}
	content := n.child("MimeContent")
	if content != nil {
		raw, err := base64.StdEncoding.DecodeString(strings.Map(dropSpace, content.text))
		if err != nil || len(raw) == 0 {
			return m, &fault{code: "ErrorMimeContentInvalidBase64String", text: "The MIME content is not base64."}
		}
		m.Raw = raw
	} else {
		m.Raw = fieldsMessage(n)
	}
	if limit := s.opts.MaxMessage; limit > 0 && int64(len(m.Raw)) > limit {
		return m, &fault{code: "ErrorMessageSizeExceeded", text: "The message exceeds the maximum supported size."}
	}
	if n.name != "Message" {
		m.Draft = false
	}
	m.Read = isTrue(n.value("IsRead")) || n.child("IsRead") == nil && m.Draft
	for _, p := range n.kids {
		if p.name != "ExtendedProperty" {
			continue
		}
		switch tag(p.child("ExtendedFieldURI")) {
		case 0x0e07:
			flags, err := strconv.Atoi(p.value("Value"))
			if err != nil {
				return m, &fault{code: "ErrorInvalidExtendedPropertyValue", text: "The value of the extended property is invalid."}
			}
			m.Draft, m.Read = flags&flagUnsent != 0, flags&flagRead != 0
		case 0x0e06:
			at, err := time.Parse(time.RFC3339Nano, p.value("Value"))
			if err != nil {
				return m, &fault{code: "ErrorInvalidExtendedPropertyValue", text: "The value of the extended property is invalid."}
			}
			m.Received = at
		}
	}
	return m, nil
}

// fieldsMessage makes a message of the fields of an item that has no MimeContent. It may have neither From nor Message-ID.
func fieldsMessage(n *node) []byte {
	var b bytes.Buffer
	for _, field := range [][2]string{{"ToRecipients", "To"}, {"CcRecipients", "Cc"}, {"BccRecipients", "Bcc"}} {
		for _, box := range n.child(field[0]).children() {
			b.WriteString(field[1] + ": " + box.value("EmailAddress") + "\r\n")
		}
	}
	b.WriteString("Subject: " + n.value("Subject") + "\r\n\r\n" + n.value("Body") + "\r\n")
	return b.Bytes()
}

// keep stores the extended properties that a client set.
func (it *item) keep(n *node) {
	for _, p := range n.kids {
		if p.name != "ExtendedProperty" {
			continue
		}
		if it.more == nil {
			it.more = &itemMore{}
		}
		it.more.extended = append(it.more.extended, p)
	}
	for _, c := range n.child("Categories").children() {
		if it.more == nil {
			it.more = &itemMore{}
		}
		it.more.categories = append(it.more.categories, c.text)
	}
}

// send hands a message over: to the mailboxes of this server among its recipients, and into the record of what was sent.
func (s *Server) send(req *request, mb *Mailbox, m Message, saved bool) *fault {
	f := (&item{body: bytes.NewReader(m.Raw)}).facts()
	var to []string
	for _, field := range []string{"To", "Cc", "Bcc"} {
		for _, a := range f.addresses(field) {
			to = append(to, a.Address)
		}
	}
	if len(to) == 0 {
		return &fault{code: "ErrorMissingRecipients", text: "At least one recipient is required."}
	}
	if from := f.addresses("From"); len(from) > 0 && !s.maySendAs(mb, from[0]) {
		return &fault{code: "ErrorSendAsDenied", text: "The user account which was used to submit this request does not have the right to send mail on behalf of the specified sending account."}
	}
	s.store.sent = append(s.store.sent, Sent{
		Mailbox: mb.account.address, Account: req.user.address, Recipients: to, Raw: bytes.Clone(m.Raw), Saved: saved, At: s.clock.Now(),
	})
	raw := m.Raw
	if !s.opts.Quirks.KeepBcc {
		raw = withoutBcc(raw)
	}
	for _, a := range s.store.accounts {
		for _, address := range to {
			if a.mailbox != nil && a.hasAddress(address) && !a.mailbox.holds(f.header.Get("Message-Id")) {
				a.mailbox.deliver(a.mailbox.distinguished["inbox"], Message{Raw: raw})
				break
			}
		}
	}
	return nil
}

// maySendAs reports whether a mailbox may send with an address in From.
func (s *Server) maySendAs(mb *Mailbox, from *mail.Address) bool {
	if s.opts.Quirks.NoSendAsCheck || mb.account.hasAddress(from.Address) {
		return true
	}
	for _, address := range mb.opts.SendAs {
		if strings.EqualFold(address, from.Address) {
			return true
		}
	}
	return false
}

// holds reports whether the mailbox has a message of that id: Exchange then drops another one that is delivered.
func (mb *Mailbox) holds(messageID string) bool {
	if messageID == "" {
		return false
	}
	for _, it := range mb.items {
		if it != nil && it.folder != nil && it.facts().header.Get("Message-Id") == messageID && it.folder.known != "sentitems" {
			return true
		}
	}
	return false
}

// withoutBcc takes the Bcc fields out of a header.
func withoutBcc(raw []byte) []byte {
	head, body, found := bytes.Cut(raw, []byte("\r\n\r\n"))
	if !found {
		return raw
	}
	var kept []byte
	skip := false
	for line := range bytes.Lines(append(bytes.Clone(head), '\r', '\n')) {
		if line[0] != ' ' && line[0] != '\t' {
			skip = len(line) > 4 && strings.EqualFold(string(line[:4]), "bcc:")
		}
		if !skip {
			kept = append(kept, line...)
		}
	}
	return append(append(kept, '\r', '\n'), body...)
}
