package gmail

import (
	"fmt"
	"slices"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// read reads messages and tells what they are: those whose octets are wanted as Added, the others as Updated.
func (s *syncing) read(wants []want, w quota.Work) error {
	for g := range s.conn.ahead(s.ctx, s.box, wants, w) {
		if err := s.got(g); err != nil {
			return err
		}
	}
	return s.ctx.Err()
}

// got tells one message that was read.
func (s *syncing) got(g got) error {
	if g.err != nil {
		return s.failed(g)
	}
	s.trouble.over()
	if h := g.msg.HistoryID; h != "" && len(s.seen) < mostSeen && compareHistory(h, s.mark()) > 0 {
		s.seen[g.id] = h
	}
	if g.labels {
		if err := s.update(g.id, g.msg.Labels, g.held); err != nil {
			return err
		}
		s.settle(g.id)
		return nil
	}
	set, err := s.labelled(g.msg.Labels)
	if err != nil {
		return err
	}
	if s.scope.holds(g.msg.Labels, set) {
		m := s.conn.handOver(s.box, g.msg, g.id, set)
		if err := s.conn.unwrap(s.box, g.msg, m); err != nil {
			return err
		}
		if err := s.tell(&connection.Change{Op: connection.Added, Ref: m.Ref, Message: m}); err != nil {
			return err
		}
	}
	s.settle(g.id)
	return nil
}

// mostSeen bounds what is remembered of messages that changed while they were listed. For more than that the history is
// followed to the letter, which tells some changes twice.
const mostSeen = 1 << 17

// mark is the place in the history up to which everything was told.
func (s *syncing) mark() string { return or(s.place.Cursor, s.place.Base) }

// told reports whether a message was read at or after a record of the history.
func (s *syncing) told(id, record string) bool {
	at, ok := s.seen[id]
	return ok && record != "" && compareHistory(record, at) <= 0
}

// update tells the labels of a message that the host has. If held is false it need not have one that is not in the folders.
func (s *syncing) update(id string, labels []string, held bool) error {
	set, err := s.labelled(labels)
	if err != nil {
		return err
	}
	if !s.scope.inFolders(labels, set) {
		if !held {
			return nil
		}
		return s.tell(&connection.Change{Op: connection.Removed, Ref: s.box.ref(id)})
	}
	m := &connection.Message{Ref: s.box.ref(id), Size: -1}
	m.Folder, m.Labels, m.Flags, _ = set.sort(labels)
	return s.tell(&connection.Change{Op: connection.Updated, Ref: m.Ref, Message: m})
}

// failed decides about a message that could not be read.
func (s *syncing) failed(g got) error {
	e := s.conn.fail("sync", s.box.ref(g.id), g.err)
	e.Settled = true // if it is told at all
	blame, verdict := s.trouble.judge(s.ctx, s.conn, s.box, g.err)
	switch blame {
	case blameNobody:
		s.settle(g.id)
		return s.tell(&connection.Change{Op: connection.Removed, Ref: s.box.ref(g.id)})
	case blameMessage:
		s.settle(g.id)
		s.conn.emit(connection.Event{Kind: connection.EventSkipped, Mailbox: s.box.shown(), Ref: e.Ref, Count: 1, Detail: e.Err.Error(), Err: e})
		return s.report(e)
	case blameMoment:
		if err := s.postpone(g.want); err != nil {
			return err
		}
		return s.report(e)
	case blameMany:
		// The next Sync must come further than this one, or messages that nobody can read would hold up all others for ever.
		if err := s.postpone(g.want); err != nil {
			return err
		}
		if err := s.report(e); err != nil {
			return err
		}
		if err := s.checkpoint(); err != nil {
			return err
		}
	}
	return verdict
}

// postpone keeps a message to be tried again by the next Sync.
func (s *syncing) postpone(w want) error {
	p := s.place
	if i := s.pending(w.id); i >= 0 {
		p.Pending[i].Attempts++
		return nil
	}
	if len(p.Pending) >= maxPending {
		return &connection.Error{Kind: connection.ErrCorrupt, Err: fmt.Errorf("more than %d messages of the mailbox cannot be read", maxPending)}
	}
	p.Pending = append(p.Pending, pending{ID: w.id, Attempts: 1, Labels: w.labels, Held: w.held})
	return nil
}

// settle forgets that a message was to be tried again.
func (s *syncing) settle(id string) {
	if i := s.pending(id); i >= 0 {
		s.place.Pending = slices.Delete(slices.Clone(s.place.Pending), i, i+1)
	}
}

func (s *syncing) pending(id string) int {
	return slices.IndexFunc(s.place.Pending, func(m pending) bool { return m.ID == id })
}
