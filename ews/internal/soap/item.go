package soap

import "strings"

// itemsChild begins an item: any element is one, and its name is its kind.
func (r *Reader) itemsChild(name []byte) error {
	if err := r.entry(); err != nil {
		return err
	}
	kind := kindOf(name)
	r.resp.Items = append(r.resp.Items, Item{Kind: kind, Size: -1})
	switch {
	case r.op != (GetAttachment{}).Name():
		r.push((*Reader).wantedChild)
	case kind == "ItemAttachment":
		r.push((*Reader).itemAttachmentChild)
	default:
		r.push((*Reader).fileAttachmentChild)
	}
	return nil
}

// wantedChild reads a child of an item. Its MIME is given out if it was asked for; that of an attached item lies deeper, and
// never gets here.
func (r *Reader) wantedChild(name []byte) error {
	switch string(name) {
	case "MimeContent", "MimeContentUTF8":
		if r.op == (GetItem{}).Name() {
			return r.open()
		}
		return nil
	}
	return r.itemChild(r.item(), name)
}

func (r *Reader) fileAttachmentChild(name []byte) error {
	if string(name) == "Content" {
		return r.open()
	}
	return r.attachmentChild(name)
}

func (r *Reader) itemAttachmentChild(name []byte) error {
	switch string(name) {
	case "Item", "Message", "CalendarItem", "Contact", "Task", "MeetingMessage", "MeetingRequest", "MeetingResponse",
		"MeetingCancellation", "PostItem", "DistributionList", "SharingMessage":
		r.push((*Reader).attachedChild)
		return nil
	}
	return r.attachmentChild(name)
}

// attachedChild reads a child of the item in an ItemAttachment. The attachment keeps its own id.
func (r *Reader) attachedChild(name []byte) error {
	switch string(name) {
	case "MimeContent", "MimeContentUTF8":
		return r.open()
	case "ItemId":
		return nil
	}
	return r.itemChild(r.item(), name)
}

// attachmentChild reads a child of an attachment that is the item.
func (r *Reader) attachmentChild(name []byte) (err error) {
	it := r.item()
	switch string(name) {
	case "AttachmentId":
		it.ID = r.s.attr("Id")
	case "Name":
		it.Name, err = r.s.words()
	case "ContentType":
		it.ContentType, err = r.s.leaf()
	case "Size":
		it.Size, err = r.s.integer()
	case "LastModifiedTime":
		it.Modified, err = r.s.time()
	}
	return err
}

// itemChild reads a property of an item.
func (r *Reader) itemChild(it *Item, name []byte) (err error) {
	s := r.s
	switch string(name) {
	case "ItemId":
		id := s.attr("Id")
		if it.ID != "" && it.ID != id {
			return s.protocol("item with two ids")
		}
		it.ID, it.ChangeKey = id, s.attr("ChangeKey")
	case "ParentFolderId":
		it.ParentFolder = s.attr("Id")
	case "ItemClass":
		it.Class, err = s.leaf()
	case "Subject":
		it.Subject, err = s.words()
	case "Sensitivity":
		it.Sensitivity, err = s.leaf()
	case "Importance":
		it.Importance, err = s.leaf()
	case "Size":
		it.Size, err = s.integer()
	case "DateTimeReceived":
		it.Received, err = s.time()
	case "DateTimeSent":
		it.Sent, err = s.time()
	case "DateTimeCreated":
		it.Created, err = s.time()
	case "LastModifiedTime":
		it.Modified, err = s.time()
	case "InternetMessageId":
		it.MessageID, err = s.leaf()
	case "InReplyTo":
		it.InReplyTo, err = s.leaf()
	case "References":
		it.References, err = s.leaf()
	case "IsRead":
		it.Read, err = s.boolean()
		it.ReadKnown = true
	case "IsDraft":
		it.Draft, err = s.boolean()
	case "IsAssociated":
		it.Associated, err = s.boolean()
	case "HasAttachments":
		it.Attached, err = s.boolean()
	default:
		return r.compoundChild(it, name)
	}
	return err
}

// compoundChild reads a property of an item that is more than a value.
func (r *Reader) compoundChild(it *Item, name []byte) (err error) {
	s := r.s
	switch string(name) {
	case "Body":
		it.TextType = s.attr("BodyType")
		it.Text, err = s.long()
	case "From":
		it.From, err = r.sender()
	case "Sender":
		it.Sender, err = r.sender()
	case "ToRecipients":
		err = r.mailboxes(&it.To)
	case "CcRecipients":
		err = r.mailboxes(&it.Cc)
	case "BccRecipients":
		err = r.mailboxes(&it.Bcc)
	case "Categories":
		err = r.each(func([]byte) error {
			text, err := s.words()
			it.Categories = append(it.Categories, text)
			return r.entryAfter(err)
		})
	case "InternetMessageHeaders":
		err = r.each(func([]byte) error {
			field := HeaderField{Name: s.attr("HeaderName")}
			var err error
			field.Value, err = s.words()
			it.Headers = append(it.Headers, field)
			return r.entryAfter(err)
		})
	case "Attachments":
		err = r.each(func(name []byte) error { return r.attachment(it, string(name) == "ItemAttachment") })
	case "ExtendedProperty":
		err = r.extended(&it.Extended)
	}
	return err
}

// entryAfter is entry, unless there was an error before.
func (r *Reader) entryAfter(err error) error {
	if err != nil {
		return err
	}
	return r.entry()
}

// attachment reads one of an item's attachments, without its content.
func (r *Reader) attachment(it *Item, item bool) error {
	s, a := r.s, Attachment{Item: item, Size: -1}
	err := r.each(func(name []byte) (err error) {
		switch string(name) {
		case "AttachmentId":
			a.ID = s.attr("Id")
		case "Name":
			a.Name, err = s.words()
		case "ContentType":
			a.ContentType, err = s.leaf()
		case "ContentId":
			a.ContentID, err = s.leaf()
		case "Size":
			a.Size, err = s.integer()
		case "IsInline":
			a.Inline, err = s.boolean()
		}
		return err
	})
	it.Attachments = append(it.Attachments, a)
	return r.entryAfter(err)
}

// extended reads an ExtendedProperty into properties, which it makes if there are none.
func (r *Reader) extended(properties *map[string]string) error {
	s, key := r.s, ""
	var values []string
	one := func() error {
		text, err := s.long()
		values = append(values, text)
		return r.entryAfter(err)
	}
	err := r.each(func(name []byte) error {
		switch string(name) {
		case "ExtendedFieldURI":
			key = extendedKey(s.attr)
		case "Value":
			return one()
		case "Values":
			return r.each(func([]byte) error { return one() })
		}
		return nil
	})
	if err != nil {
		return err
	}
	if *properties == nil {
		*properties = map[string]string{}
	}
	(*properties)[key] = strings.Join(values, "\n")
	return nil
}

func newFolder(kind string) *Folder {
	return &Folder{Kind: kind, Total: -1, Children: -1, Unread: -1}
}

// foldersChild reads a folder: any element is one.
func (r *Reader) foldersChild(name []byte) error {
	if err := r.entry(); err != nil {
		return err
	}
	f := newFolder(kindOf(name))
	err := r.each(func(name []byte) error { return r.folderChild(f, name) })
	r.resp.Folders = append(r.resp.Folders, *f)
	return err
}

// folderChild reads a property of a folder.
func (r *Reader) folderChild(f *Folder, name []byte) (err error) {
	s := r.s
	switch string(name) {
	case "FolderId":
		f.ID, f.ChangeKey = s.attr("Id"), s.attr("ChangeKey")
	case "ParentFolderId":
		f.Parent = s.attr("Id")
	case "FolderClass":
		f.Class, err = s.leaf()
	case "DisplayName":
		f.Name, err = s.words()
	case "TotalCount":
		f.Total, err = s.integer()
	case "ChildFolderCount":
		f.Children, err = s.integer()
	case "UnreadCount":
		f.Unread, err = s.integer()
	case "DistinguishedFolderId":
		f.Distinguished, err = s.leaf()
	case "ExtendedProperty":
		err = r.extended(&f.Extended)
	}
	return err
}

// kindOf returns the name of an element as a string, without a copy for the usual ones.
func kindOf(name []byte) string {
	switch string(name) {
	case "Message":
		return "Message"
	case "MeetingRequest":
		return "MeetingRequest"
	case "CalendarItem":
		return "CalendarItem"
	case "Contact":
		return "Contact"
	case "Folder":
		return "Folder"
	}
	return string(clean(nil, name, false))
}
