package gmailtest

import (
	"slices"
	"strconv"
	"strings"
)

// The labels that the fake itself sets.
const (
	labelInbox  = "INBOX"
	labelUnread = "UNREAD"
	labelSent   = "SENT"
	labelDraft  = "DRAFT"
	labelTrash  = "TRASH"
	labelSpam   = "SPAM"
	labelChat   = "CHAT"
)

// systemLabels are those of every mailbox, in the order of labels.list.
var systemLabels = []string{
	labelChat, labelSent, labelInbox, "IMPORTANT", labelTrash, labelDraft, labelSpam, "CATEGORY_FORUMS", "CATEGORY_UPDATES",
	"CATEGORY_PERSONAL", "CATEGORY_PROMOTIONS", "CATEGORY_SOCIAL", "STARRED", labelUnread,
}

// maxLabels is how many labels of its own a mailbox may have through the API.
const maxLabels = 10_000

// A label is one label of a mailbox; a user label if its id is not its name.
type label struct {
	id, name          string
	messages, threads string // messageListVisibility, labelListVisibility
}

func (l *label) system() bool { return slices.Contains(systemLabels, l.id) }

// plantLabel makes a user label, without a look at the names that there are. The mailbox is locked.
func (mb *mailbox) plantLabel(name string) *label {
	mb.label += 1 + mb.gaps.Uint64N(3)
	l := &label{id: "Label_" + strconv.FormatUint(mb.label, 10), name: name}
	mb.labels[l.id] = l
	mb.names = append(mb.names, l)
	return l
}

// named returns the label whose name differs in case at most; nil if there is none.
func (mb *mailbox) named(name string) *label {
	for _, l := range mb.names {
		if strings.EqualFold(l.name, name) {
			return l
		}
	}
	return nil
}

// removeLabel takes a user label from the mailbox and from its messages. History does not tell of it.
func (mb *mailbox) removeLabel(id string) bool {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	l := mb.labels[id]
	if l == nil {
		return false
	}
	delete(mb.labels, id)
	mb.names = slices.DeleteFunc(mb.names, func(x *label) bool { return x == l })
	for _, m := range mb.list {
		m.labels = slices.DeleteFunc(slices.Clone(m.labels), func(x string) bool { return x == id })
	}
	return true
}

// AddLabel makes a user label of any name, also one that Google would refuse, and returns its id.
func (s *Server) AddLabel(mailbox, name string) string {
	mb := s.mustBox(mailbox)
	mb.mu.Lock()
	defer mb.mu.Unlock()
	return mb.plantLabel(name).id
}

// RenameLabel gives a label, told by its id, another name. History does not tell of it.
func (s *Server) RenameLabel(mailbox, id, name string) {
	mb := s.mustBox(mailbox)
	mb.mu.Lock()
	defer mb.mu.Unlock()
	l := mb.labels[id]
	if l == nil {
		panic("gmailtest: no label " + id)
	}
	l.name = name
}

// RemoveLabel deletes a label, told by its id, and takes it from the mailbox's messages. History does not tell of it.
func (s *Server) RemoveLabel(mailbox, id string) {
	if !s.mustBox(mailbox).removeLabel(id) {
		panic("gmailtest: no label " + id)
	}
}

// Labels returns the names of a mailbox's labels by their ids, those of the system too.
func (s *Server) Labels(mailbox string) map[string]string {
	mb := s.mustBox(mailbox)
	mb.mu.Lock()
	defer mb.mu.Unlock()
	out := make(map[string]string, len(mb.names))
	for _, l := range mb.names {
		out[l.id] = l.name
	}
	return out
}
