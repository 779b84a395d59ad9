package soap

import (
	"strconv"
	"strings"
	"time"
)

// messageChild reads a child of a response message.
func (r *Reader) messageChild(name []byte) (err error) {
	s, m := r.s, r.resp
	switch string(name) {
	case "ResponseCode":
		m.Code, err = s.leaf()
		m.Code = local(m.Code)
	case "MessageText":
		m.Text, err = s.said()
	case "MessageXml":
		var d detail
		if err = r.detail(&d, s.depth); err == nil {
			m.Values, m.Line, m.Column, m.Violation = d.values, d.line, d.position, d.violation
		}
	case "SyncState":
		m.SyncState, err = s.state()
	case "IncludesLastItemInRange", "IncludesLastFolderInRange":
		m.Last, err = s.boolean()
		m.LastKnown = true
	case "Items", "Attachments":
		r.push((*Reader).itemsChild)
	case "Folders":
		r.push((*Reader).foldersChild)
	case "RootFolder":
		r.view()
		r.push((*Reader).rootChild)
	case "Changes":
		r.push((*Reader).changesChild)
	case "Data":
		if r.op == (ExportItems{}).Name() {
			r.single()
			err = r.open()
		}
	case "ItemId":
		err = r.itemChild(r.single(), name)
	case "AlternateId":
		m.Alternate = append(m.Alternate, AlternateID{s.attr("Format"), s.attr("Id"), s.attr("Mailbox"), truth(s.attr("IsArchive"))})
		err = r.entry()
	default:
		return r.eventsChild(name)
	}
	return err
}

// eventsChild reads a child of a response message about subscriptions.
func (r *Reader) eventsChild(name []byte) (err error) {
	s, m := r.s, r.resp
	switch string(name) {
	case "SubscriptionId":
		m.Subscription, err = s.leaf()
	case "Watermark":
		m.Watermark, err = s.leaf()
	case "ConnectionStatus":
		m.ConnectionStatus, err = s.leaf()
	case "Notification":
		err = r.notification()
	case "Notifications", "ErrorSubscriptionIds":
		err = r.each(func(name []byte) (err error) {
			switch string(name) {
			case "Notification":
				return r.notification()
			case "SubscriptionId":
				var id string
				if id, err = s.leaf(); err == nil {
					m.FailedSubscriptions = append(m.FailedSubscriptions, id)
					err = r.entry()
				}
			}
			return err
		})
	default:
		return r.peopleChild(name)
	}
	return err
}

// single returns the item of a response message that does not wrap it.
func (r *Reader) single() *Item {
	if len(r.resp.Items) == 0 {
		r.resp.Items = append(r.resp.Items, Item{Kind: "Item", Size: -1})
	}
	return r.item()
}

// item returns the item that is being read.
func (r *Reader) item() *Item { return &r.resp.Items[len(r.resp.Items)-1] }

// view reads the attributes that tell which part of a list this is.
func (r *Reader) view() {
	m := r.resp
	if last := r.s.attr("IncludesLastItemInRange"); last != "" {
		m.Last, m.LastKnown = truth(last), true
	}
	m.Total = r.s.natural("TotalItemsInView")
	m.NextOffset = r.s.natural("IndexedPagingOffset")
}

// rootChild reads a child of RootFolder. Groups may stand there too, against the schema.
func (r *Reader) rootChild(name []byte) error {
	switch string(name) {
	case "Items":
		r.push((*Reader).itemsChild)
	case "Folders":
		r.push((*Reader).foldersChild)
	}
	return nil
}

// each calls child with every child of the innermost open element.
func (r *Reader) each(child func(name []byte) error) error {
	d := r.s.depth
	for {
		name, err := r.s.child(d)
		if name == nil || err != nil {
			return err
		}
		if err := child(name); err != nil {
			return err
		}
	}
}

// changesChild reads one change.
func (r *Reader) changesChild(name []byte) error {
	if err := r.entry(); err != nil {
		return err
	}
	c := Change{}
	switch string(name) {
	case Created:
		c.Op = Created
	case Updated:
		c.Op = Updated
	case Deleted:
		c.Op = Deleted
	case ReadFlags:
		c.Op = ReadFlags
	default:
		return nil
	}
	var err error
	if r.op == (SyncFolderHierarchy{}).Name() {
		c.Folder = newFolder("")
		err = r.folderChange(&c)
	} else {
		c.Item = &Item{Size: -1}
		err = r.itemChange(&c)
	}
	r.resp.Changes = append(r.resp.Changes, c)
	return err
}

func (r *Reader) itemChange(c *Change) error {
	return r.each(func(name []byte) error {
		if c.Op == Deleted || c.Op == ReadFlags {
			return r.itemChild(c.Item, name)
		}
		c.Item.Kind = kindOf(name)
		return r.each(func(name []byte) error { return r.itemChild(c.Item, name) })
	})
}

func (r *Reader) folderChange(c *Change) error {
	return r.each(func(name []byte) error {
		if c.Op == Deleted {
			return r.folderChild(c.Folder, name)
		}
		c.Folder.Kind = kindOf(name)
		return r.each(func(name []byte) error { return r.folderChild(c.Folder, name) })
	})
}

// leaf returns the text of the innermost open element, without white space around it.
func (s *scanner) leaf() (string, error) {
	text, err := s.content(maxLeaf)
	return strings.TrimSpace(string(text)), err
}

// said is as leaf for what the server says for people to read.
func (s *scanner) said() (string, error) {
	text, err := s.leaf()
	return s.hidden(text), err
}

func (s *scanner) hidden(text string) string {
	if s.hide == nil {
		return text
	}
	return s.hide(text)
}

// words returns the text of the innermost open element as it is.
func (s *scanner) words() (string, error) {
	text, err := s.content(maxLeaf)
	return string(text), err
}

// long is as words for text that may be as long as all text together.
func (s *scanner) long() (string, error) {
	text, err := s.content(maxText)
	return string(text), err
}

func (s *scanner) state() (string, error) {
	text, err := s.content(maxState)
	return strings.TrimSpace(string(text)), err
}

func (s *scanner) boolean() (bool, error) {
	text, err := s.leaf()
	return truth(text), err
}

// integer returns a number that cannot be negative, -1 if it is none.
func (s *scanner) integer() (int64, error) {
	text, err := s.leaf()
	if err != nil {
		return -1, err
	}
	return natural(text), nil
}

// natural returns a number that is an attribute and cannot be negative, -1 if it is none. It may have leading zeros.
func (s *scanner) natural(attr string) int { return int(min(natural(s.attr(attr)), 1<<31-1)) }

// time returns the zero time if the text is none. Fractions of a second have up to 9 digits; a server may leave the zone out.
func (s *scanner) time() (time.Time, error) {
	text, err := s.leaf()
	if err != nil {
		return time.Time{}, err
	}
	for _, layout := range [...]string{time.RFC3339, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, nil
}

// truth reads xs:boolean, in any case: .NET writes "True" where nobody looks.
func truth(text string) bool { return strings.EqualFold(text, "true") || text == "1" }

func natural(text string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// local returns what follows the prefix of a qualified name, which is a code: errors show it, so that it is printable and short.
func local(name string) string { return excerpt(name[strings.LastIndexByte(name, ':')+1:]) }
