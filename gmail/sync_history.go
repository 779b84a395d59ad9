package gmail

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// A historyID is decimal text of any width. The generated client's uint64 would refuse what some servers send.
type historyID string

// UnmarshalJSON implements json.Unmarshaler: int64 values are strings in Google's JSON, and numbers in that of others.
func (h *historyID) UnmarshalJSON(data []byte) error {
	text := strings.Trim(string(data), `"`)
	if text == "null" {
		return nil
	}
	if !isHistoryID(text) {
		return &connection.Error{Kind: connection.ErrProtocol, Err: fmt.Errorf("historyId: %.40q is no decimal number", text)}
	}
	*h = historyID(text)
	return nil
}

// A profile is the answer to users.getProfile.
type profile struct {
	Email    string      `json:"emailAddress"`
	Messages json.Number `json:"messagesTotal"`
	History  historyID   `json:"historyId"`
}

// A historyPage is an answer to history.list.
type historyPage struct {
	Records []historyRecord `json:"history"`
	Next    string          `json:"nextPageToken"`
	History historyID       `json:"historyId"`
}

// A historyRecord is one step in a mailbox's history. Its member "messages" repeats the others and is not read.
type historyRecord struct {
	ID            historyID      `json:"id"`
	Added         []historyEvent `json:"messagesAdded"`
	Deleted       []historyEvent `json:"messagesDeleted"`
	LabelsAdded   []historyEvent `json:"labelsAdded"`
	LabelsRemoved []historyEvent `json:"labelsRemoved"`
}

type historyEvent struct {
	Message struct {
		ID     string   `json:"id"`
		Labels []string `json:"labelIds"` // all that it has; nil: not told
	} `json:"message"`
	Labels []string `json:"labelIds"` // those added or removed
}

// A fate is what became of one message in a window of the history.
type fate struct {
	id      string
	record  string // the last that names it
	added   bool
	deleted bool     // for good; to the trash is a label
	events  bool     // labels were added or removed
	labels  []string // all that it has, as far as the history tells; nil: not told
	gained  []string // labels
	lost    []string
}

// A window is a part of the history, coalesced by message.
type window struct {
	fates   []*fate // in the order in which the history first names them
	byID    map[string]*fate
	records int
	newest  string // id of the last record
	// ordered says that each record's id is above those before it: only then newest is a place to go on from.
	ordered bool
}

func newWindow() *window { return &window{byID: make(map[string]*fate), ordered: true} }

// add takes a record. told reports whether a message was told as it was at or after a record, so that what the record says
// of its labels, or of its arrival, is stale.
func (w *window) add(rec *historyRecord, told func(id, record string) bool) {
	w.records++
	if record := string(rec.ID); record != "" {
		if w.newest != "" && compareHistory(record, w.newest) < 0 {
			w.ordered = false
		}
		w.newest = record
	} else {
		w.ordered = false
	}
	for _, e := range rec.Added {
		if f := w.fate(e, rec, told); f != nil {
			f.added, f.deleted = true, false
			f.tellLabels(e.Message.Labels)
		}
	}
	for _, e := range rec.LabelsAdded {
		if f := w.fate(e, rec, told); f != nil {
			f.change(e, e.Labels, nil)
		}
	}
	for _, e := range rec.LabelsRemoved {
		if f := w.fate(e, rec, told); f != nil {
			f.change(e, nil, e.Labels)
		}
	}
	for _, e := range rec.Deleted {
		if f := w.fate(e, rec, func(string, string) bool { return false }); f != nil {
			f.deleted = true
		}
	}
}

// fate returns that of the message of e; nil if there is nothing to note.
func (w *window) fate(e historyEvent, rec *historyRecord, told func(id, record string) bool) *fate {
	id := e.Message.ID
	if id == "" || told(id, string(rec.ID)) {
		return nil
	}
	f := w.byID[id]
	if f == nil {
		f = &fate{id: id}
		w.byID[id] = f
		w.fates = append(w.fates, f)
	}
	f.record = string(rec.ID)
	return f
}

// change notes that labels were added or removed. What the server says of all labels may be as of before or after that.
func (f *fate) change(e historyEvent, gained, lost []string) {
	f.events = true
	f.tellLabels(e.Message.Labels)
	f.gained = append(minus(f.gained, lost), gained...)
	f.lost = append(minus(f.lost, gained), lost...)
	if f.labels != nil {
		f.labels = append(minus(f.labels, slices.Concat(gained, lost)), gained...)
	}
}

func (f *fate) tellLabels(labels []string) {
	if labels != nil {
		f.labels = slices.Clone(labels)
	}
}

// minus returns a copy of labels without some of them.
func minus(labels, some []string) []string {
	return slices.DeleteFunc(slices.Clone(labels), func(id string) bool { return slices.Contains(some, id) })
}
