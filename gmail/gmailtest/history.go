package gmailtest

import "slices"

// A record is one entry of a mailbox's history. One call makes one record, also if it concerns several messages.
type record struct {
	id             uint64
	added, deleted []entry
	plus, minus    []labelling
}

// An entry names a message in a record: with its id and thread alone.
type entry struct{ id, thread string }

// A labelling is the labels that one message won or lost.
type labelling struct {
	entry
	labels []string
}

// The kinds of history that a client may ask for.
const (
	historyAdded   = "messageAdded"
	historyDeleted = "messageDeleted"
	historyPlus    = "labelAdded"
	historyMinus   = "labelRemoved"
)

// of returns what the record tells of the given kinds, nil meaning all, and of the label, "" meaning any. had tells
// which messages have that label.
func (r record) of(kinds []string, label string, had func(id string) bool) (record, bool) {
	wants := func(kind string) bool { return len(kinds) == 0 || slices.Contains(kinds, kind) }
	out := record{id: r.id}
	entries := func(list []entry) []entry {
		return slices.DeleteFunc(slices.Clone(list), func(e entry) bool { return label != "" && !had(e.id) })
	}
	changes := func(list []labelling) []labelling {
		return slices.DeleteFunc(slices.Clone(list), func(l labelling) bool {
			return label != "" && !had(l.id) && !slices.Contains(l.labels, label)
		})
	}
	if wants(historyAdded) {
		out.added = entries(r.added)
	}
	if wants(historyDeleted) {
		out.deleted = entries(r.deleted)
	}
	if wants(historyPlus) {
		out.plus = changes(r.plus)
	}
	if wants(historyMinus) {
		out.minus = changes(r.minus)
	}
	return out, len(out.added)+len(out.deleted)+len(out.plus)+len(out.minus) > 0
}

// A historyPage is one page of a mailbox's history.
type historyPage struct {
	records []record
	next    uint64 // the id of the last record that was looked at; 0 if there are no more
	told    uint64 // the mailbox's newest history id
	expired bool   // there is no history from there on any more
}

// historyFrom returns what was recorded after an id: at most limit records are looked at, so that a page of few kinds may
// be empty and yet not the last.
func (mb *mailbox) historyFrom(start, after uint64, limit int, kinds []string, label string, silent bool) historyPage {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	page := historyPage{told: mb.told}
	if start > mb.told || start < mb.since && !silent {
		page.expired = true
		return page
	}
	first, _ := slices.BinarySearchFunc(mb.history, after+1, func(r record, id uint64) int {
		switch {
		case r.id < id:
			return -1
		case r.id > id:
			return 1
		}
		return 0
	})
	rest := mb.history[first:]
	if len(rest) > limit {
		rest = rest[:limit]
		page.next = rest[limit-1].id
	}
	had := func(id string) bool { m := mb.byID[id]; return m != nil && m.has(label) }
	for _, r := range rest {
		if told, any := r.of(kinds, label, had); any {
			page.records = append(page.records, told)
		}
	}
	return page
}

// ExpireHistory forgets the whole history of a mailbox: history.list then answers each id that a client has from before
// with 404.
func (s *Server) ExpireHistory(mailbox string) {
	mb := s.mustBox(mailbox)
	mb.mu.Lock()
	defer mb.mu.Unlock()
	mb.forget(mb.nextHistory())
}

// ExpireHistoryBefore forgets the history of a mailbox before an id: history.list answers earlier ones with 404.
func (s *Server) ExpireHistoryBefore(mailbox string, id uint64) {
	mb := s.mustBox(mailbox)
	mb.mu.Lock()
	defer mb.mu.Unlock()
	mb.forget(id)
}

// forget drops the records up to an id.
func (mb *mailbox) forget(id uint64) {
	mb.since = max(mb.since, id)
	mb.history = slices.DeleteFunc(mb.history, func(r record) bool { return r.id <= id })
}

// HistoryID returns the newest history id of a mailbox.
func (s *Server) HistoryID(mailbox string) uint64 {
	mb := s.mustBox(mailbox)
	mb.mu.Lock()
	defer mb.mu.Unlock()
	return mb.told
}
