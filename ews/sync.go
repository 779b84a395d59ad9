package ews

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/mailconn/mailconn/connection"
)

// Sync implements [connection.Syncer] by SyncFolderHierarchy and SyncFolderItems, for one mailbox. It tells first which
// folders are gone, have other names, or are new, and then, folder by folder, what became of the messages: of a page of at
// most 512 changes first which are gone, then which are others, then the new ones as Fetch would. A message that was moved
// is Removed, and Added with another Ref. Where only the read flag changed the Message holds nothing but Flags.
//
// A Checkpoint follows each page (in a mailbox of very many folders, several short ones), so that a crash re-delivers at
// most about that much. Changes come at least once: the same message may be Added twice, also in one Sync.
//
// Folders are those of SyncOptions.Folders, else all that folder_classes mean; search folders have no history and are left
// out. A folder that cannot be read is an error with Ref.Folder, one of SyncOptions.Folders that is not there too. A folder
// whose history the server has forgotten is told from its beginning; what was removed from it meanwhile is not told, and
// EventRestarted says so. A Checkpoint is ErrStale if it is damaged, of another mailbox, or if the server has forgotten the
// mailbox's folders; with SyncOptions.Known everything is then told from the beginning, without the messages that the host
// has: these are Updated, with their flags and without a Body. From "" with Known, whatever the host has in a folder that
// was told, and that was itself neither Added nor Updated when Sync ends without an error, is gone.
//
// A message that cannot be read, or whose Body breaks, is tried again at the end of this Sync, once what is new was told,
// and by later ones from the Checkpoints that follow, less and less often: its error, with its Ref, is Settled. One that is
// too large is given up. Where very many in a row cannot be read Sync ends, and the next one goes on behind them.
//
// Message.Folder is the path under which the folder was told. The public folders have no history: ErrUnsupported.
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
		inner, leave, err := c.enter(ctx, op)
		if err != nil {
			yield(nil, err)
			return
		}
		defer leave()
		s := &syncing{conn: c, ctx: inner, opts: o, yield: yield, lost: true}
		if s.t, err = c.target(o.Mailbox); err == nil {
			err = s.run(since)
		}
		switch {
		case err == nil || errors.Is(err, errLeft):
		case inner.Err() != nil:
			yield(nil, c.ended(inner, op, connection.Ref{}))
		default:
			yield(nil, s.last(err))
		}
	}
}

// errLeft says that the loop was left: nothing may be yielded any more.
var errLeft = errors.New("the loop was left")

// A syncing is one running Sync. It belongs to the goroutine of the loop.
type syncing struct {
	conn  *Conn
	ctx   context.Context
	t     target
	opts  connection.SyncOptions
	yield func(*connection.Change, error) bool

	history *history
	lost    bool              // there is no history
	anew    bool              // the folder in work is told from its beginning, so that Known is asked
	paths   map[string]string // of the folders, by id
	meant   map[string]bool   // the ids of the folders that SyncOptions.Folders mean
	missing []string          // names of those that are not there

	row     int                   // messages in a row that could not be read
	told    int                   // changes since the last Checkpoint
	weight  int                   // its length
	offered connection.Checkpoint // the last one
}

func (s *syncing) run(since connection.Checkpoint) error {
	if s.t.public {
		return &connection.Error{
			Kind: connection.ErrUnsupported, Hint: "Fetch can read the public folders",
			Err: errors.New("public folders have no history that Exchange tells"),
		}
	}
	if err := s.restore(since); err != nil {
		return err
	}
	gone, err := s.listing()
	if err != nil {
		return err
	}
	if err := s.roles(); err != nil {
		return err
	}
	if err := s.settle(gone); err != nil {
		return err
	}
	for _, id := range s.inScope() {
		if err := s.folder(id); err != nil {
			return err
		}
	}
	// What is new does not wait for this: what could not be read for long takes long, and may never be.
	if err := s.checkpoint(true); err != nil {
		return err
	}
	if err := s.retry(); err != nil {
		return err
	}
	return s.checkpoint(true)
}

// restore finds the place to go on from.
func (s *syncing) restore(since connection.Checkpoint) error {
	s.history = newHistory(s.t.mailbox)
	if since == "" {
		return nil
	}
	h, err := decodeHistory(since, s.t.mailbox)
	if err != nil {
		return s.stale(err)
	}
	s.history, s.lost, s.offered, s.weight = h, false, since, len(since)
	return nil
}

// stale forgets the history if Known can help with that, and else returns ErrStale.
func (s *syncing) stale(why error) error {
	if s.opts.Known == nil {
		return &connection.Error{Kind: connection.ErrStale, Err: why}
	}
	s.restarted("", why)
	s.history, s.lost = newHistory(s.t.mailbox), true
	return nil
}

func (s *syncing) restarted(path string, why error) {
	s.conn.emit(connection.Event{Kind: connection.EventRestarted, Mailbox: s.t.mailbox, Ref: s.t.folderRef(path), Detail: why.Error(), Err: why})
}

// tell yields a change.
func (s *syncing) tell(change *connection.Change) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	s.told++
	if !s.yield(change, nil) {
		return errLeft
	}
	return nil
}

// report yields an error after which the loop goes on: one with a Ref.
func (s *syncing) report(err error) error {
	if !s.yield(nil, err) {
		return errLeft
	}
	return nil
}

// checkpoint offers a Checkpoint of what was told: in any case, or only if that is worth one. In a mailbox of a thousand
// folders with a few changes in each, most of what is told would be Checkpoints otherwise.
func (s *syncing) checkpoint(always bool) error {
	if !always && (s.told == 0 || s.told < min(pageSize, s.weight/512)) {
		return nil
	}
	cp, err := s.history.encode()
	if err != nil {
		return err
	}
	s.told, s.weight = 0, len(cp)
	if cp == s.offered {
		return nil
	}
	s.offered = cp
	if !s.yield(&connection.Change{Op: connection.Progressed, Checkpoint: cp}, nil) {
		return errLeft
	}
	return nil
}

// last makes err the error that ends the loop: with a Ref it would be about that Ref alone.
func (s *syncing) last(err error) error {
	e := s.conn.fail("sync", s.t, connection.Ref{}, err)
	if e.Ref.Folder != "" && e.Err != nil {
		e.Err = fmt.Errorf("folder %q: %w", e.Ref.Folder, e.Err)
	}
	e.Ref = connection.Ref{}
	return e
}

// inScope returns the ids of the folders whose messages are to be told: the inbox first, then by path.
func (s *syncing) inScope() []string {
	ids := slices.Collect(maps.Keys(s.history.Folders))
	ids = slices.DeleteFunc(ids, func(id string) bool { return !s.wants(id) })
	slices.SortFunc(ids, func(a, b string) int {
		if first := s.history.Folders[a].Role == inbox; first != (s.history.Folders[b].Role == inbox) {
			if first {
				return -1
			}
			return 1
		}
		return strings.Compare(s.paths[a], s.paths[b])
	})
	return ids
}
