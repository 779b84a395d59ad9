package imapclient

import (
	"errors"
	"math"
	"slices"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailconn/mailconn/connection"
)

const (
	askKnown    = 500    // messages between two Checkpoints, Refs that Known is asked about at once, and UIDs that one command names: RFC 7162, 4 wants short lines
	flagsAtOnce = 10_000 // messages whose flags one command asks for
)

// folder tells what happened in one folder since the history's.
func (s *syncing) folder(listed *connection.Folder, l *look) error {
	st := s.history.folders[l.name]
	if l.box == nil {
		if st != nil || listed != nil || connection.KindOf(l.err) != connection.ErrNotFound || s.isNamed(l.name) {
			s.failFolder(l.name, l.err)
		}
		return s.flush()
	}
	ask := s.lost && s.known != nil
	if s.renewed[l.name] {
		s.gone(l.name, st, slices.Clone(st.uids))
		st, ask = nil, true
		delete(s.history.folders, l.name)
	} else if st == nil {
		there := map[string]*connection.Folder{l.name: listed}
		folder := s.describe(there, l.name, "")
		folder.Messages = int64(l.box.exists)
		s.tell(&connection.Change{Op: connection.FolderAdded, Folder: folder})
	}
	if st == nil {
		st = &folderHistory{validity: l.box.validity, uidNext: 1, modSeq: l.box.modSeq}
		s.history.folders[l.name] = st
	}
	if b := l.box; b.uidNext != 0 && b.uidNext == st.uidNext && int(b.exists) == len(st.uids) &&
		b.modSeq != 0 && b.modSeq == st.modSeq && s.conn.flaggedIn(l.name) == 0 {
		return s.checkpoint(false)
	}
	s.now = st
	for {
		err := s.changes(l.name, st, ask)
		if err != nil && !isFinal(err) && connection.KindOf(err) == connection.ErrRejected {
			err = s.conn.fault(s.op, connection.Ref{Folder: l.name}, err) // what is refused here may be well elsewhere
		}
		switch {
		case err == nil:
			s.failures = 0
			return nil
		case errors.Is(err, errRenumbered):
			return s.stale(l.name)
		case isFinal(err) && !s.ofFolder(err):
			return err
		case s.ofFolder(err):
			s.failFolder(l.name, err)
			return s.flush()
		}
		if err := s.again(err); err != nil {
			return err
		}
	}
}

// isNamed reports whether the options or the settings name the folder itself, so that it ought to be there.
func (s *syncing) isNamed(name string) bool {
	if len(s.opts.Folders) > 0 {
		return slices.Contains(s.opts.Folders, name)
	}
	return slices.Contains(s.conn.cfg.folders(), name)
}

// changes brings st up to date. It may be repeated after an error.
func (s *syncing) changes(name string, st *folderHistory, ask bool) error {
	var b *box
	if err := s.do(name, true, func(_ *session, now *box) error { b = now; return nil }); err != nil {
		return err
	}
	fresh, late, err := s.compare(name, b, st)
	if err != nil {
		return err
	}
	if err := s.flags(name, b, st); err != nil {
		return err
	}
	if err := s.arrivals(name, b, st, late, ask); err != nil {
		return err
	}
	if err := s.arrivals(name, b, st, fresh, ask); err != nil {
		return err
	}
	switch {
	case b.uidNext != 0:
		st.uidNext = b.uidNext
	case len(st.uids) > 0:
		st.uidNext = max(st.uidNext, 1+min(st.uids[len(st.uids)-1], math.MaxUint32-1))
	}
	return s.checkpoint(false)
}

// compare tells which messages are gone. It returns the UIDs of those that are new, and of those that should have been
// told earlier and could not be had.
func (s *syncing) compare(name string, b *box, st *folderHistory) (fresh, late []uint32, err error) {
	next := st.uidNext
	if b.uidNext != 0 && b.uidNext < next {
		next = b.uidNext // no server may do that; then the UIDs from there on are not what they were
	}
	if b.exists > 0 && (b.uidNext == 0 || b.uidNext > next) {
		if fresh, err = s.uidsFrom(name, b, next, 0, s.search); err != nil {
			return nil, nil, err
		}
	}
	listed := len(fresh)
	fresh = slices.DeleteFunc(s.conn.unflagged(name, fresh), st.has) // after a UIDNEXT that shrank, or a repeated try
	// UIDs only ascend: if the older ones are as many as were told, they are the same.
	older := 0
	for _, uid := range st.uids {
		if uid < next {
			older++
		}
	}
	if next == st.uidNext && older == len(st.uids) && int64(b.exists)-int64(len(fresh)) == int64(older) && s.conn.flaggedIn(name) == 0 {
		return fresh, nil, nil
	}
	var now []uint32
	if b.exists > 0 && st.uidNext > 1 {
		if now, err = s.uidsFrom(name, b, 1, st.uidNext-1, s.search); err != nil {
			return nil, nil, err
		}
		listed += len(now)
	}
	if listed < int(b.exists) {
		// SEARCH tells fewer than there are, as in fetch.short: FETCH may know of the others.
		all, err := s.uidsFrom(name, b, 1, 0, s.listed)
		if err != nil {
			return nil, nil, err
		}
		for _, uid := range all {
			if uid < st.uidNext {
				now = append(now, uid)
			} else if !st.has(uid) {
				fresh = append(fresh, uid)
			}
		}
		slices.Sort(now)
		slices.Sort(fresh)
		now, fresh = slices.Compact(now), s.conn.unflagged(name, slices.Compact(fresh))
	}
	now = s.conn.unflagged(name, now)
	for _, uid := range now {
		if !st.has(uid) && uid < next {
			late = append(late, uid)
		}
	}
	var missing []uint32
	for _, uid := range st.uids {
		_, is := slices.BinarySearch(now, uid)
		_, again := slices.BinarySearch(fresh, uid)
		if !is && !again && (uid < st.uidNext) {
			missing = append(missing, uid)
		}
	}
	missing, err = s.confirm(name, b, missing)
	if err != nil {
		return nil, nil, err
	}
	s.gone(name, st, missing)
	return fresh, late, s.flush()
}

// uidsFrom returns the UIDs from lo to hi (0: no end), ascending, as list tells them. A large folder is listed in windows.
func (s *syncing) uidsFrom(name string, b *box, lo, hi uint32, list func(folder string, lo, hi uint32) ([]uint32, error)) ([]uint32, error) {
	var all []uint32
	last := uint64(math.MaxUint32)
	if hi != 0 {
		last = uint64(hi)
	}
	for from, width := uint64(lo), uint64(firstWindow); from <= last; {
		to := from + width - 1
		end := uint32(0)
		switch {
		case to < last && b.exists > smallFolder && (b.uidNext == 0 || to+1 < uint64(b.uidNext)) && to <= math.MaxUint32:
			end = uint32(to)
		case hi != 0:
			end = hi
		}
		uids, err := list(name, uint32(from), end)
		if err != nil {
			return nil, err
		}
		all = append(all, uids...)
		if len(all) > maxUIDs {
			return nil, &final{s.conn.problem(s.op, connection.Ref{Folder: name}, connection.ErrTooLarge, "over %d messages in a folder", maxUIDs)}
		}
		if end == 0 || end == hi {
			break
		}
		from = to + 1
		if width = min(2*width, lastWindow); len(uids) > 0 {
			width = firstWindow
		}
	}
	return all, nil
}

// confirm returns those of missing that FETCH does not know of either: a mirror deletes them, so the server has to say so
// twice, in different words. Of a folder that SELECT calls empty it may also refuse to tell anything.
func (s *syncing) confirm(name string, b *box, missing []uint32) ([]uint32, error) {
	alive := make(map[uint32]bool)
	for some := range slices.Chunk(missing, askKnown) {
		err := s.facts(name, uidSet(some), &goimap.FetchOptions{UID: true}, func(about facts) { alive[about.uid] = true })
		switch {
		case err == nil:
		case b.exists == 0 && !isFinal(err) && !connection.Temporary(err) && s.sess != nil && !s.sess.broken():
		default:
			return nil, err
		}
	}
	flagged, _ := s.conn.outstanding(name)
	return slices.DeleteFunc(missing, func(uid uint32) bool {
		_, ours := slices.BinarySearch(flagged, uid)
		return alive[uid] && !ours
	}), nil
}

// gone tells that messages are gone.
func (s *syncing) gone(name string, st *folderHistory, uids []uint32) {
	old := &box{mailbox: s.conn.cfg.mailbox, folder: name, validity: st.validity}
	st.remove(uids)
	for _, uid := range uids {
		s.tell(&connection.Change{Op: connection.Removed, Ref: old.ref(uid)})
	}
}

// flags tells whose flags are others: as the server's mod-sequences say, or by asking for all of them.
func (s *syncing) flags(name string, b *box, st *folderHistory) error {
	switch {
	case len(st.uids) == 0:
		st.modSeq, st.codes = b.modSeq, nil
		return nil
	case b.modSeq != 0 && b.modSeq == st.modSeq:
		return nil
	case st.modSeq != 0 && b.modSeq > st.modSeq:
		err := s.flagsSince(name, b, st, st.modSeq)
		if err == nil || b.modSeq != 0 {
			return err
		}
	}
	return s.flagsSince(name, b, st, 0)
}

// flagsSince asks for the flags that changed since a mod-sequence (RFC 7162, 3.1.4.1), 0 for all flags. If the server
// refuses the former, the folder has no mod-sequence any more.
func (s *syncing) flagsSince(name string, b *box, st *folderHistory, since uint64) error {
	codes := make([]uint16, len(st.uids))
	for i, all := 0, slices.Clone(st.uids); i < len(all); i += flagsAtOnce {
		some := all[i:min(i+flagsAtOnce, len(all))]
		var changed []*connection.Change
		window := goimap.UIDSet{{Start: goimap.UID(some[0]), Stop: goimap.UID(some[len(some)-1])}}
		err := s.facts(name, window, &goimap.FetchOptions{UID: true, Flags: true, ChangedSince: since}, func(about facts) {
			at, ok := slices.BinarySearch(all, about.uid)
			if !ok {
				return
			}
			differs := since != 0 || !st.same(at, about.flags)
			if b.modSeq == 0 {
				codes[at] = st.code(about.flags)
			}
			if differs {
				ref := b.ref(about.uid)
				changed = append(changed, &connection.Change{Op: connection.Updated, Ref: ref, Message: &connection.Message{
					Ref: ref, Folder: name, Size: -1, Flags: slices.Clone(about.flags),
				}})
			}
		})
		if err != nil {
			if since != 0 && s.refused(err) {
				s.conn.giveUpModSeqs()
				b.modSeq = 0
			}
			return err
		}
		for _, change := range changed {
			s.tell(change)
		}
	}
	st.modSeq, st.codes = b.modSeq, codes
	if b.modSeq != 0 {
		st.codes, st.flags = nil, nil
	}
	return s.flush()
}

// refused reports whether CHANGEDSINCE is what err is about: the server said so, or sessions died of it twice.
func (s *syncing) refused(err error) bool {
	if isFinal(err) || s.sess == nil {
		return false
	}
	if s.sess.broken() {
		s.died++
		return s.died > 1
	}
	return s.sess.refusedModSeqs(err)
}

// arrivals hands over the messages of uids, in batches, but for those that the host has.
func (s *syncing) arrivals(name string, b *box, st *folderHistory, uids []uint32, ask bool) error {
	for some := range slices.Chunk(uids, askKnown) {
		if ask {
			var err error
			if some, err = s.recognise(name, b, some); err != nil {
				return err
			}
		}
		if len(some) == 0 {
			continue
		}
		if err := s.batch(name, b, some); err != nil {
			return err
		}
		st.uidNext = max(st.uidNext, 1+min(some[len(some)-1], math.MaxUint32-1))
		if err := s.checkpoint(false); err != nil {
			return err
		}
	}
	return nil
}

// recognise tells the flags of those of uids that the host has, and returns the others.
func (s *syncing) recognise(name string, b *box, uids []uint32) ([]uint32, error) {
	refs := make([]connection.Ref, len(uids))
	for i, uid := range uids {
		refs[i] = b.ref(uid)
	}
	has, err := s.ask(refs)
	if err != nil {
		return nil, err
	}
	var known, others []uint32
	for i, uid := range uids {
		if has[i] {
			known = append(known, uid)
		} else {
			others = append(others, uid)
		}
	}
	if len(known) == 0 {
		return others, nil
	}
	var found []*connection.Message
	opts := &goimap.FetchOptions{UID: true, Flags: true, InternalDate: true, RFC822Size: true}
	err = s.facts(name, uidSet(known), opts, func(about facts) {
		found = append(found, &connection.Message{
			Ref: b.ref(about.uid), Folder: name, Size: about.size, Received: about.received, Flags: slices.Clone(about.flags),
		})
	})
	if err != nil {
		return nil, err
	}
	for _, m := range found {
		_, uid, _ := parseID(m.Ref.ID)
		if _, asked := slices.BinarySearch(known, uid); asked && !s.now.has(uid) {
			s.added(m)
			s.push(item{change: &connection.Change{Op: connection.Updated, Ref: m.Ref, Message: m}})
		}
	}
	s.now.uidNext = max(s.now.uidNext, 1+min(known[len(known)-1], math.MaxUint32-1))
	return others, s.flush()
}
