package soap

// peopleChild reads a child of a response message about people and their mailboxes.
func (r *Reader) peopleChild(name []byte) (err error) {
	s, m := r.s, r.resp
	switch string(name) {
	case "ResolutionSet":
		r.view()
		err = r.each(func([]byte) error { return r.mailboxes(&m.Mailboxes) })
	case "DLExpansion":
		r.view()
		err = r.mailboxes(&m.Mailboxes)
	case "People":
		err = r.each(func([]byte) error { return r.persona() })
	case "TotalNumberOfPeopleInView":
		var n int64
		n, err = s.integer()
		m.Total = int(min(n, 1<<31-1))
	case "SearchableMailboxes":
		err = r.each(func([]byte) error { return r.searchable() })
	case "FailedMailboxes":
		err = r.each(func([]byte) error { return r.unreadable() })
	}
	return err
}

// mailboxes reads the Mailbox children of the innermost open element.
func (r *Reader) mailboxes(into *[]Mailbox) error {
	return r.each(func(name []byte) error {
		if string(name) != "Mailbox" {
			return nil
		}
		box := Mailbox{}
		err := r.mailbox(&box)
		*into = append(*into, box)
		return r.entryAfter(err)
	})
}

// sender reads an element that holds one Mailbox; nil if it holds none.
func (r *Reader) sender() (*Mailbox, error) {
	var boxes []Mailbox
	if err := r.mailboxes(&boxes); err != nil || len(boxes) == 0 {
		return nil, err
	}
	return &boxes[0], nil
}

// mailbox reads an element of the type EmailAddress.
func (r *Reader) mailbox(box *Mailbox) error {
	s := r.s
	return r.each(func(name []byte) (err error) {
		switch string(name) {
		case "Name":
			box.Name, err = s.words()
		case "EmailAddress":
			box.Address, err = s.leaf()
		case "RoutingType":
			box.Routing, err = s.leaf()
		case "MailboxType":
			box.Type, err = s.leaf()
		case "ItemId":
			box.ItemID = s.attr("Id")
		}
		return err
	})
}

// persona reads one person of FindPeople. EmailAddress is the first of EmailAddresses.
func (r *Reader) persona() error {
	box, name := Mailbox{}, ""
	err := r.each(func(child []byte) (err error) {
		switch string(child) {
		case "DisplayName":
			name, err = r.s.words()
		case "EmailAddress":
			err = r.mailbox(&box)
		case "EmailAddresses":
			err = r.each(func([]byte) error {
				if box.Address != "" {
					return nil
				}
				return r.mailbox(&box)
			})
		}
		return err
	})
	if name != "" {
		box.Name = name
	}
	r.resp.Mailboxes = append(r.resp.Mailboxes, box)
	return r.entryAfter(err)
}

// searchable reads one mailbox of GetSearchableMailboxes.
func (r *Reader) searchable() error {
	s, box, external := r.s, Mailbox{}, ""
	err := r.each(func(name []byte) (err error) {
		switch string(name) {
		case "Guid":
			box.GUID, err = s.leaf()
		case "PrimarySmtpAddress":
			box.Address, err = s.leaf()
		case "IsExternalMailbox":
			box.External, err = s.boolean()
		case "ExternalEmailAddress":
			external, err = s.leaf()
		case "DisplayName":
			box.Name, err = s.words()
		case "IsMembershipGroup":
			box.Group, err = s.boolean()
		case "ReferenceId":
			box.ReferenceID, err = s.leaf()
		}
		return err
	})
	if box.External && external != "" {
		box.Address = external
	}
	r.resp.Mailboxes = append(r.resp.Mailboxes, box)
	return r.entryAfter(err)
}

// unreadable reads one mailbox that GetSearchableMailboxes could not look at.
func (r *Reader) unreadable() error {
	s, box := r.s, FailedMailbox{}
	err := r.each(func(name []byte) (err error) {
		switch string(name) {
		case "Mailbox":
			box.Mailbox, err = s.leaf()
		case "ErrorCode":
			box.Code, err = s.leaf()
		case "ErrorMessage":
			box.Text, err = s.leaf()
		case "IsArchive":
			box.Archive, err = s.boolean()
		}
		return err
	})
	r.resp.Unreadable = append(r.resp.Unreadable, box)
	return r.entryAfter(err)
}
