package imaptest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// item is one data item of a FETCH.
type item struct {
	name    string // "FLAGS", "BODY[", "RFC822.HEADER"…
	section section
	label   string // BODY[section]<origin>, as the response says it
	peek    bool
	partial bool
	offset  uint64
	count   uint64
}

// marksSeen reports whether the item sets \Seen (RFC 3501, 6.4.5).
func (it *item) marksSeen() bool {
	switch it.name {
	case "BODY[":
		return !it.peek
	case "RFC822", "RFC822.TEXT":
		return true
	}
	return false
}

var fetchMacros = map[string][]string{
	"ALL":  {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"},
	"FAST": {"FLAGS", "INTERNALDATE", "RFC822.SIZE"},
}

func (c *command) fetchItems() ([]item, error) {
	var items []item
	one := func() error {
		it, err := c.fetchItem()
		items = append(items, it)
		return err
	}
	if c.peek() == '(' {
		err := c.list(one)
		if err == nil && len(items) == 0 {
			err = syntaxf("no fetch item")
		}
		return items, err
	}
	before := c.pos
	if macro, ok := fetchMacros[strings.ToUpper(c.run(isAtom))]; ok {
		for _, name := range macro {
			items = append(items, item{name: name})
		}
		return items, nil
	}
	c.pos = before
	return items, one()
}

func (c *command) fetchItem() (item, error) {
	name := strings.ToUpper(c.run(func(b byte) bool { return isAtom(b) && b != '[' && b != '<' }))
	it := item{name: name}
	switch name {
	case "FLAGS", "UID", "MODSEQ", "INTERNALDATE", "RFC822.SIZE", "RFC822", "RFC822.HEADER", "RFC822.TEXT", "ENVELOPE":
		return it, nil
	case "BODY", "BODY.PEEK":
	default:
		return it, syntaxf("unknown fetch item %q", name)
	}
	if !c.accept('[') {
		return it, syntaxf("body structures are not told by this server")
	}
	it.name, it.peek = "BODY[", name == "BODY.PEEK"
	var err error
	if it.section, err = c.section(); err != nil {
		return it, err
	}
	it.label = "BODY[" + it.section.String() + "]"
	if !c.accept('<') {
		return it, nil
	}
	it.partial = true
	if it.offset, err = c.number(); err != nil {
		return it, err
	}
	if err := c.expect('.'); err != nil {
		return it, err
	}
	if it.count, err = c.number(); err != nil || it.count == 0 {
		return it, syntaxf("bad octet count")
	}
	it.label += fmt.Sprintf("<%d>", it.offset)
	return it, c.expect('>')
}

// picture is one message at the moment of a FETCH.
type picture struct {
	number  int
	m       *stored
	flags   []string
	modSeq  uint64 // as it is told; 0 if the folder has none
	changed bool   // the FETCH itself has set \Seen
	gone    bool   // expunged, which the client does not know yet
}

// fetch obeys FETCH and UID FETCH.
func (s *session) fetch(c *command) (string, error) {
	if err := c.space(); err != nil {
		return "", err
	}
	set, err := c.set()
	if err != nil {
		return "", err
	}
	if err := c.space(); err != nil {
		return "", err
	}
	items, err := c.fetchItems()
	if err != nil {
		return "", err
	}
	since, limited, err := uint64(0), false, error(nil)
	if c.accept(' ') {
		if since, limited, err = s.modifier(c, "CHANGEDSINCE"); err != nil {
			return "", err
		}
	}
	if err := c.end(); err != nil {
		return "", err
	}
	hasModSeq := slices.ContainsFunc(items, func(it item) bool { return it.name == "MODSEQ" })
	if hasModSeq {
		if err := s.fetchesModSeq(); err != nil {
			return "", err
		}
	}
	if limited && !hasModSeq {
		items = append(items, item{name: "MODSEQ"}) // RFC 7162, 3.1.4.1
	}
	picked, err := s.pick(set, c.uid)
	if err != nil {
		return "", err
	}
	if c.uid && !slices.ContainsFunc(items, func(it item) bool { return it.name == "UID" }) {
		items = append([]item{{name: "UID"}}, items...) // RFC 3501, 6.4.8
	}
	gone := false
	for _, p := range s.pictures(picked, items, since) {
		gone = gone || p.gone
		if p.gone && !s.server.opts.Quirks.NilExpunged {
			continue
		}
		if s.byes != nil {
			if s.byeIn == 0 {
				return "", violation(s.byes.lines[0])
			}
			s.byeIn--
		}
		if err := s.sendPicture(&p, items); err != nil {
			return "", err
		}
		if s.server.opts.Quirks.Twice {
			if err := s.sendPicture(&p, items); err != nil {
				return "", err
			}
		}
	}
	if gone {
		return "OK [EXPUNGEISSUED] some messages are gone", nil // RFC 5530
	}
	return "OK fetched", nil
}

// fetchesModSeq checks that MODSEQ may be fetched.
func (s *session) fetchesModSeq() error {
	if !s.condstore() {
		return syntaxf("unknown fetch item MODSEQ")
	}
	s.wantModSeqs()
	return s.noModSeq()
}

// pictures takes the pictures of messages that changed after the mod-sequence since, and sets \Seen where items say so.
func (s *session) pictures(picked []int, items []item, since uint64) []picture {
	seen := !s.readOnly && slices.ContainsFunc(items, func(it item) bool { return it.marksSeen() })
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	all := make([]picture, 0, len(picked))
	changed := false
	for _, i := range picked {
		e := &s.view[i]
		if since > 0 && (e.expunged || s.folder.told(e.modSeq) <= since) {
			continue
		}
		p := picture{number: i + 1, m: e.stored, gone: e.expunged}
		if seen && !e.expunged {
			p.changed = s.folder.setFlags(e.stored, withFlag(e.flags, `\Seen`))
			changed = changed || p.changed
		}
		p.flags = e.flags
		if !s.folder.noModSeq {
			p.modSeq = s.folder.told(e.modSeq)
		}
		if p.changed || slices.ContainsFunc(items, func(it item) bool { return it.name == "FLAGS" }) {
			e.told = e.modSeq
		}
		all = append(all, p)
	}
	if changed {
		s.server.changed(s.folder, s)
	}
	return all
}

// sendPicture writes the FETCH response of one message, without holding a lock.
func (s *session) sendPicture(p *picture, items []item) error {
	quirks := &s.server.opts.Quirks
	items = slices.Clone(items)
	if p.changed && !slices.ContainsFunc(items, func(it item) bool { return it.name == "FLAGS" }) {
		items = append(items, item{name: "FLAGS"}) // RFC 3501, 6.4.5: the new flags are part of the response
		if s.modSeqs && p.modSeq > 0 && !slices.ContainsFunc(items, func(it item) bool { return it.name == "MODSEQ" }) {
			items = append(items, item{name: "MODSEQ"})
		}
	}
	if quirks.FlagsFirst {
		s.lines = fmt.Appendf(s.lines, "* %d FETCH (UID %d FLAGS (%s))\r\n", p.number, p.m.uid, strings.Join(p.flags, " "))
		items = slices.DeleteFunc(items, func(it item) bool { return it.name == "FLAGS" })
	}
	if quirks.UIDLast {
		slices.SortStableFunc(items, func(a, b item) int {
			switch {
			case a.name == b.name:
				return 0
			case a.name == "UID":
				return 1
			case b.name == "UID":
				return -1
			}
			return 0
		})
	}
	s.lines = append(s.lines, "* "...)
	s.lines = strconv.AppendInt(s.lines, int64(p.number), 10)
	s.lines = append(s.lines, " FETCH ("...)
	for i := range items {
		if i > 0 {
			s.lines = append(s.lines, ' ')
		}
		s.sendItem(p, &items[i])
	}
	s.lines = append(s.lines, ")\r\n"...)
	return s.push()
}

// push moves what is queued into the writer.
func (s *session) push() error {
	_, err := s.w.Write(s.lines)
	s.lines = s.lines[:0]
	return err
}

func (s *session) sendItem(p *picture, it *item) {
	m := p.m
	switch it.name {
	case "FLAGS":
		s.lines = fmt.Appendf(s.lines, "FLAGS (%s)", strings.Join(p.flags, " "))
	case "UID":
		s.lines = append(s.lines, "UID "...)
		s.lines = strconv.AppendUint(s.lines, uint64(m.uid), 10)
	case "MODSEQ":
		s.lines = fmt.Appendf(s.lines, "MODSEQ (%d)", p.modSeq)
	case "INTERNALDATE":
		s.lines = append(s.lines, `INTERNALDATE "`...)
		s.lines = m.received.AppendFormat(s.lines, dateTimeLayout)
		s.lines = append(s.lines, '"')
	case "RFC822.SIZE":
		size := int64(len(m.raw))
		if told := s.server.opts.Quirks.Size; told != nil {
			size = told(size)
		}
		s.lines = append(s.lines, "RFC822.SIZE "...)
		s.lines = strconv.AppendInt(s.lines, size, 10)
	case "ENVELOPE":
		s.lines = append(s.lines, "ENVELOPE "...)
		s.lines = append(s.lines, envelope(m.raw)...)
	case "RFC822":
		s.sendOctets(p, "RFC822", m.raw)
	case "RFC822.HEADER":
		header, _ := splitMessage(m.raw)
		s.sendOctets(p, "RFC822.HEADER", header)
	case "RFC822.TEXT":
		_, text := splitMessage(m.raw)
		s.sendOctets(p, "RFC822.TEXT", text)
	case "BODY[":
		octets, label := it.section.of(m.raw), it.label
		switch {
		case it.partial && s.server.opts.Quirks.IgnorePartial:
			label, _, _ = strings.Cut(label, "<")
		case it.partial && s.server.opts.Quirks.PartialNil && it.offset >= uint64(len(octets)):
			s.lines = append(s.lines, label+" NIL"...)
			return
		case it.partial:
			octets = octets[min(it.offset, uint64(len(octets))):]
			octets = octets[:min(it.count+s.server.opts.Quirks.PartialMore, uint64(len(octets)))]
		}
		s.sendOctets(p, label, octets)
	}
}

// sendOctets writes a literal. What was queued goes before it; a body is not copied on the way to a large write.
func (s *session) sendOctets(p *picture, label string, octets []byte) {
	s.lines = append(s.lines, label...)
	if p.gone {
		s.lines = append(s.lines, " NIL"...)
		return
	}
	s.lines = append(s.lines, " {"...)
	s.lines = strconv.AppendInt(s.lines, int64(len(octets)), 10)
	s.lines = append(s.lines, "}\r\n"...)
	_ = s.push() // sticky
	_, _ = s.w.Write(octets)
}
