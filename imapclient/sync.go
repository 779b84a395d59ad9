package imapclient

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/mailconn/mailconn/connection"
)

// Sync implements [connection.Syncer] for one mailbox. Folder by folder it tells, in this order, that the folder is new
// or has a new name, which messages are gone, whose flags are others, and the new messages, as Fetch would; a Checkpoint
// follows each batch (the more a mailbox holds, the rarer), so that a long first Sync is not begun again after a crash.
// A message that was moved is Removed from one folder and Added to the other.
//
// The Checkpoint holds UIDVALIDITY, UIDNEXT, HIGHESTMODSEQ and the UIDs of all messages that were told, as ranges: some
// octets for each gap in a folder's UIDs. On a server without CONDSTORE (RFC 7162) it also holds the flags, and all of
// them are asked for each time. Two different commands must agree that a message is gone, and LIST and SELECT that a
// folder is. A folder under a new name is FolderRenamed if UIDVALIDITY, UIDs, and the dates and sizes of some messages
// prove it to be the old one; otherwise it is FolderRemoved and FolderAdded with all its messages.
//
// A message that cannot be had, or is over max_message, is an error with its Ref, and is tried again by the next Sync.
// So is a folder that cannot be opened, with Ref.Folder alone. A folder whose server keeps no UIDs (no UIDVALIDITY, or
// UIDNOTSTICKY) is ErrUnsupported in that way.
//
// A folder that was renumbered (another UIDVALIDITY) makes the Checkpoint ErrStale. With SyncOptions.Known, Sync goes on
// instead: the messages of the old life are Removed, those of the new one Added. Since a Ref holds the UIDVALIDITY, Known
// helps with a Checkpoint that was lost or cannot be read, and not with a renumbered folder, whose messages all have new
// Refs: there the host has to compare contents. A message that Known has is Updated, with its flags and without a Body.
// From "" with Known, whatever the host has in a folder that was told, and that was itself neither Added nor Updated when
// Sync ends without an error, is gone.
func (c *Conn) Sync(ctx context.Context, since connection.Checkpoint, opts *connection.SyncOptions) iter.Seq2[*connection.Change, error] {
	const op = "sync"
	var o connection.SyncOptions
	if opts != nil {
		o = *opts
		o.Folders = slices.Clone(o.Folders)
	}
	var used atomic.Bool
	return func(yield func(*connection.Change, error) bool) {
		if used.Swap(true) {
			yield(nil, c.problem(op, connection.Ref{}, connection.ErrInvalid, "this iterator was used before; call Sync again"))
			return
		}
		c, err := c.at(op, o.Mailbox)
		if err != nil {
			yield(nil, err)
			return
		}
		f, err := c.newFetch(ctx, op, connection.FetchOptions{Mailbox: o.Mailbox, Folders: o.Folders})
		if err != nil {
			yield(nil, err)
			return
		}
		s := &syncing{fetch: f, since: since, known: o.Known}
		f.unseen = false // a history has no holes
		f.pushed = s.added
		go f.run(s.run)
		defer f.stop()
		for {
			it, ok := f.next()
			if !ok {
				if f.err != nil {
					yield(nil, c.lastError(f.err))
				}
				return
			}
			change := it.change
			if it.msg != nil {
				change = &connection.Change{Op: connection.Added, Ref: it.msg.Ref, Message: it.msg}
			}
			if !yield(change, it.err) {
				return
			}
			it.end()
		}
	}
}

// A syncing is one running Sync. All of it belongs to the goroutine that reads.
type syncing struct {
	*fetch
	since connection.Checkpoint
	known func(context.Context, []connection.Ref) ([]bool, error) // nil: the host does not tell
	lost  bool                                                    // there is no history, so that Known is asked

	history *history
	now     *folderHistory  // of the folder in work
	renewed map[string]bool // folders that were renumbered

	died    int                   // sessions, of CHANGEDSINCE
	told    int                   // changes since the last Checkpoint
	weight  int                   // its length
	offered connection.Checkpoint // the last one
}

func (s *syncing) run() error {
	if err := s.restore(); err != nil {
		return err
	}
	listed, err := s.list()
	if err != nil {
		return err
	}
	there := make(map[string]*connection.Folder, len(listed))
	for _, folder := range listed {
		there[folder.Name] = folder
	}
	looks, err := s.survey(there)
	if err != nil {
		return err
	}
	if err := s.settleFolders(there, looks); err != nil {
		return err
	}
	if s.told > 0 {
		if err := s.checkpoint(true); err != nil {
			return err
		}
	}
	for _, look := range looks {
		if err := s.folder(there[look.name], look); err != nil {
			return err
		}
	}
	return s.checkpoint(true)
}

// restore finds the place to go on from.
func (s *syncing) restore() error {
	name := s.conn.mailboxName()
	s.history = &history{mailbox: name, folders: make(map[string]*folderHistory)}
	s.renewed = make(map[string]bool)
	s.lost = true
	if s.since == "" {
		return nil
	}
	h, err := decodeHistory(s.since, name)
	switch {
	case err == nil:
		s.history, s.lost, s.offered, s.weight = h, false, s.since, len(s.since)
	case s.known == nil:
		return &final{s.conn.problem(s.op, connection.Ref{}, connection.ErrStale, "%w", err)}
	default:
		s.conn.emit(connection.Event{Kind: connection.EventRestarted, Detail: err.Error()})
	}
	return nil
}

// A look is what a SELECT found at the beginning of a Sync.
type look struct {
	name string
	box  *box
	err  error // why it cannot be opened, if box is nil
}

// wanted returns the names of the folders to sync: those of the options, else those that the settings mean.
func (s *syncing) wanted(there map[string]*connection.Folder) []string {
	if len(s.opts.Folders) > 0 {
		return s.opts.Folders
	}
	all := slices.SortedFunc(maps.Values(there), func(a, b *connection.Folder) int { return compareFolders(a.Name, b.Name) })
	return s.conn.cfg.among(all)
}

// compareFolders orders INBOX first.
func compareFolders(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == defaultFolder || b != defaultFolder && a < b:
		return -1
	}
	return 1
}

// inScope reports whether a folder that is not listed any more is one that this Sync would read.
func (s *syncing) inScope(name string) bool {
	if len(s.opts.Folders) > 0 {
		return slices.Contains(s.opts.Folders, name)
	}
	return true
}

// survey opens every folder that is to be synced, and those that were told before and are not listed any more.
func (s *syncing) survey(there map[string]*connection.Folder) ([]*look, error) {
	names := s.wanted(there)
	for _, name := range slices.Sorted(maps.Keys(s.history.folders)) {
		if there[name] == nil && s.inScope(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	looks := make([]*look, 0, len(names))
	for _, name := range names {
		l, err := s.lookAt(name)
		if err != nil {
			return nil, err
		}
		looks = append(looks, l)
	}
	return looks, nil
}

// lookAt opens a folder. What concerns that folder alone is not an error.
func (s *syncing) lookAt(name string) (*look, error) {
	l := &look{name: name}
	err := s.do(name, true, func(_ *session, b *box) error {
		l.box = b
		return nil
	})
	switch {
	case errors.Is(err, errRenumbered):
		return nil, s.stale(name)
	case err != nil && s.ofFolder(err):
		s.failures, l.box, l.err = 0, nil, err
	case err != nil:
		return nil, err
	case !l.box.lasting:
		e := s.conn.problem(s.op, connection.Ref{}, connection.ErrUnsupported, "the server keeps no UIDs in this folder, so nothing can be told of its history")
		e.Hint = "exclude_folders: leave the folder out; Fetch can read it"
		l.box, l.err = nil, e
	}
	return l, nil
}

// ofFolder reports whether err is about one folder, so that the others may go on.
func (s *syncing) ofFolder(err error) bool {
	var e *connection.Error
	if s.ctx.Err() != nil || !errors.As(err, &e) || e.Ref.Folder == "" {
		return false
	}
	return ofFolder(e.Kind)
}

// ofFolder reports whether an error of that kind, in answer to a command about a folder, may be that folder's alone.
func ofFolder(kind connection.Kind) bool {
	switch kind {
	case connection.ErrNotFound, connection.ErrPermission, connection.ErrUnavailable, connection.ErrCorrupt, connection.ErrUnsupported, connection.ErrRejected:
		return true
	}
	return false
}

func (s *syncing) stale(folder string) error {
	return &final{s.conn.problem(s.op, connection.Ref{}, connection.ErrStale, "folder %q was renumbered: its UIDVALIDITY is another one", folder)}
}

// lastError makes err one that ends the iterator: with a Ref it would be about that Ref alone.
func (c *Conn) lastError(err error) error {
	e := c.fault("sync", connection.Ref{}, err)
	if folder := e.Ref.Folder; folder != "" && e.Err != nil {
		e.Err = fmt.Errorf("folder %q: %w", folder, e.Err)
	}
	e.Ref = connection.Ref{}
	return e
}

// settleFolders finds out which folders are new, gone or have other names, and whether the Checkpoint still holds. Only
// then it tells anything.
func (s *syncing) settleFolders(there map[string]*connection.Folder, looks []*look) error {
	renames, err := s.renames(looks)
	if err != nil {
		return err
	}
	target := make(map[string]bool)
	source := make(map[string]bool)
	for _, r := range renames {
		source[r.from], target[r.to] = true, true
	}
	var gone []string
	for _, l := range looks {
		st := s.history.folders[l.name]
		switch {
		case st == nil || source[l.name] || target[l.name]:
		case l.box == nil && connection.KindOf(l.err) == connection.ErrNotFound && there[l.name] == nil:
			gone = append(gone, l.name)
		case l.box != nil && l.box.validity != st.validity:
			if s.known == nil {
				return s.stale(l.name)
			}
			s.renewed[l.name] = true
		}
	}
	for _, r := range renames {
		s.history.folders[r.to] = s.history.folders[r.from]
		delete(s.history.folders, r.from)
		s.tell(&connection.Change{Op: connection.FolderRenamed, Folder: s.describe(there, r.to, r.from)})
	}
	for _, name := range gone {
		delete(s.history.folders, name)
		s.tell(&connection.Change{Op: connection.FolderRemoved, Folder: s.describe(there, name, "")})
	}
	return nil
}

func (s *syncing) describe(there map[string]*connection.Folder, name, previous string) *connection.Folder {
	folder := connection.Folder{Mailbox: s.conn.cfg.mailbox, Name: name, Messages: -1}
	if listed := there[name]; listed != nil {
		folder = *listed
	}
	folder.Previous = previous
	return &folder
}

// tell hands over a change.
func (s *syncing) tell(change *connection.Change) {
	s.told++
	s.push(item{change: change})
}

// added notes a message that was handed over.
func (s *syncing) added(m *connection.Message) {
	_, uid, _ := parseID(m.Ref.ID)
	s.now.add(uid, m.Flags)
	s.now.prove(m, uid)
	s.told++
}

// checkpoint offers a Checkpoint of what was told so far, if enough was since the last one, or at the end.
func (s *syncing) checkpoint(end bool) error {
	if !end && s.told < max(s.conn.cfg.messagesPerCycle(), s.weight/64) {
		return nil
	}
	cp, err := s.history.encode()
	if err != nil {
		return &final{s.conn.fault(s.op, connection.Ref{}, err)}
	}
	s.told, s.weight = 0, len(cp)
	if cp == s.offered {
		return nil
	}
	s.offered = cp
	s.push(item{change: &connection.Change{Op: connection.Progressed, Checkpoint: cp}})
	return s.flush()
}

// failFolder reports a folder that cannot be read now.
func (s *syncing) failFolder(name string, err error) {
	e := s.conn.fault(s.op, connection.Ref{Mailbox: s.conn.cfg.mailbox, Folder: name}, err)
	s.push(item{err: e})
}

// ask has the host say which messages it has.
func (s *syncing) ask(refs []connection.Ref) ([]bool, error) {
	var (
		has []bool
		err error
	)
	if ended := s.consult(func() { has, err = s.known(s.ctx, refs) }); ended != nil {
		return nil, ended
	}
	if err == nil && len(has) != len(refs) {
		err = s.conn.problem(s.op, connection.Ref{}, connection.ErrInvalid, "SyncOptions.Known answered %d of %d refs", len(has), len(refs))
	}
	if err != nil {
		return nil, &final{s.conn.fault(s.op, connection.Ref{}, fmt.Errorf("asking what is known: %w", err))}
	}
	return has, nil
}
