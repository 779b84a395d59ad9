package ewstest

import (
	"bytes"
	"io"
	"mime"
	"net/mail"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
)

const headLimit = 256 << 10 // octets of a message that may be its header

// facts are what the octets of an item say about it.
type facts struct {
	raw    []byte // the header, with the empty line behind it
	header mail.Header
}

// facts reads the header of a message. What is no message has an empty one.
func (it *item) facts() facts {
	head := make([]byte, min(headLimit, it.body.Size()))
	if _, err := io.ReadFull(io.NewSectionReader(it.body, 0, int64(len(head))), head); err != nil {
		return facts{}
	}
	for _, end := range []string{"\r\n\r\n", "\n\n"} {
		if i := bytes.Index(head, []byte(end)); i >= 0 {
			head = head[:i+len(end)]
			break
		}
	}
	msg, err := mail.ReadMessage(bytes.NewReader(head))
	if err != nil {
		return facts{raw: head, header: mail.Header{}}
	}
	return facts{head, msg.Header}
}

// text returns a header field as people read it.
func (f facts) text(name string) string {
	text := f.header.Get(name)
	if decoded, err := new(mime.WordDecoder).DecodeHeader(text); err == nil {
		return decoded
	}
	return text
}

// addresses returns the addresses of a header field, as far as they can be read.
func (f facts) addresses(name string) []*mail.Address {
	var all []*mail.Address
	for _, line := range f.header[textproto.CanonicalMIMEHeaderKey(name)] {
		if list, err := mail.ParseAddressList(line); err == nil {
			all = append(all, list...)
		}
	}
	return all
}

// xsTime writes a time as XML Schema does.
func xsTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// A property is one property of items, in the order of the schema.
type property struct {
	uri  string
	base int  // the smallest base shape that has it: 1 is Default, 2 AllProperties, 3 none
	mail bool // only messages have it
	find bool // FindItem and SyncFolderItems tell it too
	make func(v *view) *node
}

// A view is an item while it is told.
type view struct {
	s    *Server
	it   *item
	read *facts
}

// head returns the header, which is read when it is needed for the first time.
func (v *view) head() facts {
	if v.read == nil {
		f := v.it.facts()
		v.read = &f
	}
	return *v.read
}

// leaf makes an element of a text; of "" it makes none.
func leaf(name, text string) *node {
	if text == "" {
		return nil
	}
	return typ(name).say(text)
}

func truth(name string, b bool) *node { return typ(name).say(strconv.FormatBool(b)) }

// properties are what the server tells of items, in the order of the schema. MimeContent, ItemId and extended properties are
// told elsewhere.
var properties = []property{
	{"item:ParentFolderId", 2, false, true, func(v *view) *node { return v.it.folder.idNode("ParentFolderId") }},
	{"item:ItemClass", 2, false, true, func(v *view) *node { return leaf("ItemClass", v.it.class) }},
	{"item:Subject", 1, false, true, func(v *view) *node { return leaf("Subject", v.head().text("Subject")) }},
	{"item:Sensitivity", 1, false, true, func(*view) *node { return leaf("Sensitivity", "Normal") }},
	{"item:Body", 2, false, false, func(v *view) *node { return v.bodyNode() }},
	{"item:Attachments", 2, false, false, func(v *view) *node { return v.attachmentsNode() }},
	{"item:DateTimeReceived", 2, false, true, func(v *view) *node { return leaf("DateTimeReceived", xsTime(v.it.received)) }},
	{"item:Size", 1, false, true, func(v *view) *node { return leaf("Size", strconv.FormatInt(v.it.size(v.s), 10)) }},
	{"item:Categories", 2, false, true, func(v *view) *node { return v.categoriesNode() }},
	{"item:Importance", 2, false, true, func(*view) *node { return leaf("Importance", "Normal") }},
	{"item:InReplyTo", 2, false, true, func(v *view) *node { return leaf("InReplyTo", v.head().header.Get("In-Reply-To")) }},
	{"item:IsSubmitted", 2, false, true, func(*view) *node { return truth("IsSubmitted", false) }},
	{"item:IsDraft", 2, false, true, func(v *view) *node { return truth("IsDraft", v.it.draft) }},
	{"item:IsFromMe", 2, false, true, func(*view) *node { return truth("IsFromMe", false) }},
	{"item:IsResend", 2, false, true, func(*view) *node { return truth("IsResend", false) }},
	{"item:IsUnmodified", 2, false, true, func(v *view) *node { return truth("IsUnmodified", v.it.update == 0) }},
	{"item:InternetMessageHeaders", 2, false, false, func(v *view) *node { return v.headersNode() }},
	{"item:DateTimeSent", 1, false, true, func(v *view) *node {
		sent, err := v.head().header.Date()
		if err != nil {
			return nil
		}
		return leaf("DateTimeSent", xsTime(sent))
	}},
	{"item:DateTimeCreated", 1, false, true, func(v *view) *node { return leaf("DateTimeCreated", xsTime(v.it.received)) }},
	{"item:DisplayCc", 2, false, true, func(v *view) *node { return v.displayNode("DisplayCc", "Cc") }},
	{"item:DisplayTo", 2, false, true, func(v *view) *node { return v.displayNode("DisplayTo", "To") }},
	{"item:HasAttachments", 1, false, true, func(v *view) *node { return truth("HasAttachments", len(v.attachments()) > 0) }},
	{"extended", 4, false, true, nil},
	{"item:LastModifiedName", 2, false, true, func(v *view) *node { return leaf("LastModifiedName", "ewstest") }},
	{"item:LastModifiedTime", 2, false, true, func(v *view) *node { return leaf("LastModifiedTime", xsTime(v.it.modified)) }},
	{"item:IsAssociated", 2, false, true, func(v *view) *node { return truth("IsAssociated", false) }},
	{"message:Sender", 2, true, true, func(v *view) *node { return v.personNode("Sender", "Sender", "From") }},
	{"message:ToRecipients", 2, true, false, func(v *view) *node { return v.peopleNode("ToRecipients", "To") }},
	{"message:CcRecipients", 2, true, false, func(v *view) *node { return v.peopleNode("CcRecipients", "Cc") }},
	{"message:BccRecipients", 2, true, false, func(v *view) *node { return v.peopleNode("BccRecipients", "Bcc") }},
	{"message:From", 1, true, true, func(v *view) *node { return v.personNode("From", "From") }},
	{"message:InternetMessageId", 2, true, true, func(v *view) *node { return leaf("InternetMessageId", v.head().header.Get("Message-Id")) }},
	{"message:IsRead", 1, true, true, func(v *view) *node { return truth("IsRead", v.it.read) }},
	{"message:References", 2, true, true, func(v *view) *node { return leaf("References", v.head().header.Get("References")) }},
	{"message:ReplyTo", 2, true, false, func(v *view) *node { return v.peopleNode("ReplyTo", "Reply-To") }},
}

// isMail reports whether an item has the properties of a message.
func (it *item) isMail() bool {
	return !slices.Contains([]string{"CalendarItem", "Contact", "DistributionList", "Task", "Item"}, it.kind)
}

// size is what the server says about the size: that of the MIME, unless [Options.Size] says otherwise.
func (it *item) size(s *Server) int64 {
	if s.opts.Size != nil {
		return s.opts.Size(it.body.Size())
	}
	return it.body.Size()
}

func mailbox(a *mail.Address) *node {
	return typ("Mailbox", leaf("Name", cmpOr(a.Name, a.Address)), leaf("EmailAddress", a.Address), leaf("RoutingType", "SMTP"))
}

func (v *view) personNode(name string, fields ...string) *node {
	for _, field := range fields {
		if list := v.head().addresses(field); len(list) > 0 {
			return typ(name, mailbox(list[0]))
		}
	}
	return nil
}

func (v *view) peopleNode(name, field string) *node {
	list := v.head().addresses(field)
	if len(list) == 0 {
		return nil
	}
	n := typ(name)
	for _, a := range list {
		n.add(mailbox(a))
	}
	return n
}

func (v *view) displayNode(name, field string) *node {
	var names []string
	for _, a := range v.head().addresses(field) {
		names = append(names, cmpOr(a.Name, a.Address))
	}
	return typ(name).say(strings.Join(names, "; "))
}

func (v *view) categoriesNode() *node {
	if v.it.more == nil || len(v.it.more.categories) == 0 {
		return nil
	}
	n := typ("Categories")
	for _, c := range v.it.more.categories {
		n.add(typ("String").say(c))
	}
	return n
}

func (v *view) headersNode() *node {
	n := typ("InternetMessageHeaders")
	for _, line := range strings.Split(strings.NewReplacer("\r\n\t", " ", "\r\n ", " ").Replace(string(v.head().raw)), "\r\n") {
		if name, value, found := strings.Cut(line, ":"); found {
			n.add(typ("InternetMessageHeader").with("HeaderName", name).say(strings.TrimSpace(value)))
		}
	}
	if len(n.kids) == 0 {
		return nil
	}
	return n
}

// bodyNode tells the text of a message, as far as it is simple.
func (v *view) bodyNode() *node {
	rest := make([]byte, min(headLimit, v.it.body.Size()-int64(len(v.head().raw))))
	if _, err := io.ReadFull(io.NewSectionReader(v.it.body, int64(len(v.head().raw)), int64(len(rest))), rest); err != nil {
		return nil
	}
	return typ("Body").with("BodyType", "Text").say(strings.ToValidUTF8(string(rest), "\ufffd"))
}
