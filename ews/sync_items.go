package ews

import (
	"errors"
	"fmt"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

// pageSize is the most changes that SyncFolderItems gives at once, and Refs that Known is asked about.
const pageSize = 512

// folder tells what became of the messages of one folder.
func (s *syncing) folder(id string) error {
	f := s.history.Folders[id]
	first := f.State
	s.anew = s.lost
	guard := newGuard(f.State)
	for {
		r, err := s.conn.one(s.ctx, s.t, soap.SyncFolderItems{Folder: soap.FolderID{ID: id}, SyncState: f.State, Max: pageSize})
		if err == nil && r.SyncState == "" {
			err = errNoState
		}
		switch {
		case err == nil:
		case connection.KindOf(err) == connection.ErrStale && f.State != "" && !s.anew:
			s.anew = true
			s.restarted(s.paths[id], err)
			f.State, guard = "", newGuard("")
			continue
		default:
			f.State = or(f.State, first)
			return s.failFolder(id, err)
		}
		if err := s.page(id, r.Changes); err != nil {
			return err
		}
		f.State = r.SyncState
		last := r.Last || !r.LastKnown && len(r.Changes) == 0
		if err := s.checkpoint(!last && s.told > 0); err != nil || last {
			return err
		}
		if err := guard.next(f.State, len(r.Changes)); err != nil {
			return s.failFolder(id, err)
		}
	}
}

// failFolder reports that a folder cannot be read, if err is about that folder alone and not about all that follows. One
// that was deleted meanwhile is no error: the next Sync will tell of it.
func (s *syncing) failFolder(id string, err error) error {
	if !s.ofFolder(err) {
		return err
	}
	switch connection.KindOf(err) {
	case connection.ErrNotFound, connection.ErrStale:
		there, existsErr := s.exists(id)
		if existsErr != nil && !s.ofFolder(existsErr) {
			return existsErr
		}
		if existsErr == nil && !there {
			s.conn.emit(connection.Event{
				Kind: connection.EventSkipped, Mailbox: s.t.mailbox, Ref: s.t.folderRef(s.paths[id]),
				Detail: "the folder was deleted meanwhile", Err: err,
			})
			return nil
		}
	}
	e := s.conn.fail("sync", s.t, s.t.folderRef(s.paths[id]), err)
	if e.Kind == connection.ErrStale { // of a history that was not asked for
		e.Kind = connection.ErrProtocol
	}
	return s.report(e)
}

// ofFolder reports whether other folders may be well in spite of err: the server said something, and it was not about
// the mailbox, the account, or its own state.
func (s *syncing) ofFolder(err error) bool {
	var e *connection.Error
	if s.ctx.Err() != nil || !errors.As(err, &e) {
		return false
	}
	switch e.Kind {
	case connection.ErrProtocol, connection.ErrCorrupt, connection.ErrTooLarge, connection.ErrStale:
		return true
	case connection.ErrUnknown, connection.ErrUnsupported:
		return e.Code != ""
	}
	switch e.Code {
	case "ErrorFolderNotFound", "ErrorItemNotFound", "ErrorAccessDenied", "ErrorInternalServerError", "ErrorInternalServerTransientError", "ErrorTimeoutExpired":
		return true
	}
	return false
}

// page tells a page of changes: of each message what it comes to.
func (s *syncing) page(id string, changes []soap.Change) error {
	last := make(map[string]soap.Change, len(changes))
	var order []string
	for _, change := range changes {
		if change.Item == nil || change.Item.ID == "" {
			continue
		}
		before, twice := last[change.Item.ID]
		if !twice {
			order = append(order, change.Item.ID)
		}
		switch {
		case twice && before.Op == soap.Created && change.Op != soap.Deleted:
			continue // it is told as it is now
		case twice && before.Op == soap.Updated && change.Op == soap.ReadFlags:
			continue
		}
		last[change.Item.ID] = change
	}
	var created, updated []soap.ItemID
	f := s.history.Folders[id]
	for _, item := range order {
		change := last[item]
		if i := f.owes(item); i >= 0 && change.Op != soap.Deleted && (change.Op != soap.Created || !f.Owed[i].Known) {
			continue // it is told as it is when it can be read
		}
		f.settle(item)
		var tell *connection.Change
		switch change.Op {
		case soap.Deleted:
			tell = &connection.Change{Op: connection.Removed, Ref: s.t.ref(item)}
		case soap.ReadFlags:
			m := &connection.Message{Ref: s.t.ref(item), Folder: s.paths[id], Size: -1}
			if change.Item.Read {
				m.Flags = []connection.Flag{connection.FlagSeen}
			}
			tell = &connection.Change{Op: connection.Updated, Ref: m.Ref, Message: m}
		case soap.Updated:
			updated = append(updated, soap.ItemID{ID: item})
			continue
		default:
			created = append(created, soap.ItemID{ID: item})
			continue
		}
		if err := s.tell(tell); err != nil {
			return err
		}
	}
	if err := s.updates(id, updated); err != nil {
		return err
	}
	return s.arrivals(id, created)
}

// updates tells what is known of messages now, without their octets. Those that are gone meanwhile are left out.
func (s *syncing) updates(id string, items []soap.ItemID) error {
	if len(items) == 0 {
		return nil
	}
	found, bad, err := s.conn.metadata(s.ctx, s.t, items, s.load(id))
	for _, e := range bad {
		if len(found) > 0 {
			s.well()
		}
		if err := s.unread(id, e, true); err != nil {
			return err
		}
	}
	if err != nil {
		return s.ending(err)
	}
	for _, l := range found {
		s.well()
		if err := s.tell(&connection.Change{Op: connection.Updated, Ref: l.msg.Ref, Message: l.msg}); err != nil {
			return err
		}
		s.history.Folders[id].settle(l.id.ID)
	}
	return nil
}

// arrivals hands over new messages, but for those that the host has.
func (s *syncing) arrivals(id string, items []soap.ItemID) error {
	if s.anew && s.opts.Known != nil && len(items) > 0 {
		refs := make([]connection.Ref, len(items))
		for i, item := range items {
			refs[i] = s.t.ref(item.ID)
		}
		has, err := s.opts.Known(s.ctx, refs)
		if err == nil && len(has) != len(refs) {
			err = &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("SyncOptions.Known answered %d of %d refs", len(has), len(refs))}
		}
		if err != nil {
			return fmt.Errorf("asking what is known: %w", err)
		}
		var known, others []soap.ItemID
		for i, item := range items {
			if has[i] {
				known = append(known, item)
			} else {
				others = append(others, item)
			}
		}
		if err := s.updates(id, known); err != nil {
			return err
		}
		items = others
	}
	return s.read(id, items)
}

// read hands over messages whole.
func (s *syncing) read(id string, items []soap.ItemID) error {
	if len(items) == 0 {
		return nil
	}
	for l, err := range s.conn.load(s.ctx, s.t, items, s.load(id)) {
		if e := new(connection.Error); errors.As(err, &e) && e.Ref.ID != "" { // the others go on
			if err := s.unread(id, e, false); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return s.ending(err)
		}
		if err := s.tell(&connection.Change{Op: connection.Added, Ref: l.msg.Ref, Message: l.msg}); err != nil {
			return err
		}
		if err := s.handed(id, l); err != nil {
			return err
		}
	}
	return nil
}

// handed decides about a message after its loop step.
func (s *syncing) handed(id string, l *loaded) error {
	err := l.failed()
	switch {
	case err == nil:
		s.well()
		s.history.Folders[id].settle(l.id.ID)
		return nil
	case s.ctx.Err() != nil, s.conn.life.Err() != nil: // Close ends the context a moment later
		return err
	}
	if _, err := s.owe(id, l.id.ID, false, err); err != nil {
		return err
	}
	return s.inARow(err)
}

// ending is called with the error that ends a Sync while messages are read.
func (s *syncing) ending(err error) error {
	if !errors.Is(err, errTooMany) {
		return err
	}
	if err := s.checkpoint(true); err != nil { // see inARow
		return err
	}
	return err
}

func (s *syncing) load(id string) loadOptions {
	return loadOptions{op: "sync", folder: s.paths[id], settled: true, well: s.well}
}
