package gmail

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// delta tells what the history holds since the place. If the server does not know a history so old, the error is ErrStale.
func (s *syncing) delta() error {
	p := s.place
	moved := s.listed || compareHistory(string(s.profile.History), p.Cursor) != 0
	walk := &walk{syncing: s}
	var w *window
	if moved {
		var err error
		if w, err = walk.window(); err != nil { // before anything is told
			return err
		}
	}
	if s.labels == nil {
		if err := s.folders(); err != nil {
			return err
		}
	}
	old := s.place.Pending
	for moved {
		if err := s.tellWindow(w); err != nil {
			return err
		}
		walk.acknowledge(w)
		if err := s.checkpoint(); err != nil {
			return err
		}
		if walk.done {
			break
		}
		var err error
		if w, err = walk.window(); err != nil {
			return err
		}
	}
	// What is new does not wait for this: what could not be read for long takes long, and may never be.
	if err := s.retry(old); err != nil {
		return err
	}
	return s.checkpoint()
}

// retry tries again what could not be read before, if it still is to be.
func (s *syncing) retry(old []pending) error {
	s.trouble.over()
	// Those that were tried least go first, as this may end before all had their turn.
	old = slices.SortedStableFunc(slices.Values(old), func(a, b pending) int { return cmp.Compare(a.Attempts, b.Attempts) })
	var wants []want
	for _, m := range old {
		if s.pending(m.ID) >= 0 {
			wants = append(wants, want{id: m.ID, labels: m.Labels, held: m.Held})
		}
	}
	err := s.read(wants, quota.Delta)
	if errors.As(err, new(tooMany)) {
		return nil
	}
	return err
}

// A walk reads the history from a place to its end. All pages are asked for by the same startHistoryId, and the history id
// that the first page gives is where the next walk starts: later pages tell newer ones, of records that this walk does not
// see.
type walk struct {
	*syncing
	guard    pageGuard
	start    string // the history id that all pages are asked for by
	token    string
	first    string // the history id that the first page gave
	newest   string // id of the last record seen
	jumbled  bool   // the records are not in order: none is a place to start from
	done     bool
	restarts int
}

// A window ends with the page that makes it so large.
const (
	windowRecords = 10_000
	windowReads   = 500 // messages to be read
	mostRestarts  = 3   // for page tokens that the server forgets
)

// window reads the next part of the history.
func (h *walk) window() (*window, error) {
	w := newWindow()
	w.newest = h.newest
	for {
		if h.token == "" {
			h.start = h.place.Cursor
		}
		page, err := h.conn.history(h.ctx, h.box, h.start, h.token)
		if expiredPage(err, h.token) && h.restarts < mostRestarts {
			h.restarts++
			h.token, h.first, h.newest, h.guard = "", "", "", pageGuard{}
			w = newWindow()
			continue
		}
		if err != nil {
			return nil, err
		}
		if h.first == "" {
			h.first = or(string(page.History), string(h.profile.History))
			if compareHistory(h.first, h.place.Cursor) < 0 && compareHistory(string(h.profile.History), h.place.Cursor) < 0 {
				return nil, &connection.Error{
					Kind: connection.ErrStale, Err: fmt.Errorf("the server's history is at %s and was at %s: it has begun anew", h.first, h.place.Cursor),
				}
			}
		}
		for i := range page.Records {
			w.add(&page.Records[i], h.told)
		}
		if err := h.guard.next("history.list", page.Next, len(page.Records)); err != nil {
			return nil, err
		}
		if h.token = page.Next; h.token == "" {
			h.done = true
			return w, nil
		}
		if w.records >= windowRecords || w.reads() >= windowReads {
			return w, nil
		}
	}
}

// acknowledge moves the place behind a window that was told.
func (h *walk) acknowledge(w *window) {
	h.newest, h.jumbled = w.newest, h.jumbled || !w.ordered
	to := h.first
	if !h.done {
		if h.jumbled {
			return
		}
		if compareHistory(w.newest, to) < 0 {
			to = w.newest
		}
	}
	if compareHistory(to, h.place.Cursor) > 0 {
		h.place.Cursor = to
	}
}

// reads is about how many messages of the window will have to be read.
func (w *window) reads() int {
	n := 0
	for _, f := range w.fates {
		if !f.deleted && (f.added || f.labels == nil) {
			n++
		}
	}
	return n
}

var errNeverSeen = errors.New("came and went before it was read: nobody has seen its content")

// tellWindow tells what became of the messages in a window.
func (s *syncing) tellWindow(w *window) error {
	var ids []string
	for _, f := range w.fates {
		if !f.deleted {
			ids = append(ids, f.id)
		}
	}
	has, err := s.known(ids)
	if err != nil {
		return err
	}
	var wants []want
	for _, f := range w.fates {
		switch {
		case f.deleted:
			if f.added {
				s.conn.emit(connection.Event{
					Kind: connection.EventSkipped, Mailbox: s.box.shown(), Ref: s.box.ref(f.id), Count: 1, Detail: errNeverSeen.Error(), Err: errNeverSeen,
				})
			}
			s.settle(f.id)
			err = s.tell(&connection.Change{Op: connection.Removed, Ref: s.box.ref(f.id)})
		case s.told(f.id, f.record): // it was read after the history was
		case s.pending(f.id) >= 0: // it is still to be read
		case s.arrives(f, has):
			if f.labels == nil || s.scope.holds(f.labels, s.labels) {
				wants = append(wants, want{id: f.id})
			}
		case !f.events: // the host has it, and nothing has become of it since
		case f.labels == nil:
			wants = append(wants, want{id: f.id, labels: true, held: has != nil || s.scope.left(f.gained, f.lost)})
		default:
			err = s.update(f.id, f.labels, has != nil || s.scope.left(f.gained, f.lost))
		}
		if err != nil {
			return err
		}
	}
	return s.read(wants, quota.Delta)
}

// arrives reports whether a message is new to the host, given what that has; nil if it could not be asked.
func (s *syncing) arrives(f *fate, has map[string]bool) bool {
	if has != nil {
		return !has[f.id]
	}
	return f.added || s.scope.entered(f.gained, f.lost)
}
