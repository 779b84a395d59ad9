package pop3client

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/mailconn/mailconn/connection"
)

// Sync implements [connection.Syncer]: it is how mail is archived that stays on the server. It tells the messages that
// are gone, then the new ones, as Fetch would; a Checkpoint follows each few of them, the more the mailbox holds the
// rarer. A program that is started again with the last Checkpoint it has saved reads no message twice but those told
// since.
//
// The Checkpoint holds UIDL and size of every message told, compressed, and where a UIDL may stand for another message
// in another session (it looks like a message number, or several have it) a hash of the header, which TOP then tells in
// each session. A message is Removed when STAT, UIDL and LIST agree on how many there are and it is not among them; not,
// however, once the server was caught listing messages only until they were read, as Gmail does.
//
// A Checkpoint that cannot be read, or is of another user, is ErrStale. With SyncOptions.Known, Sync goes on instead, and
// asks for each message: one that the host has is Updated, without a Body. When a server has given all messages other
// UIDLs, all are Removed and Added, and an event says so.
//
// A message that cannot be had, or is over max_message, is an error with its Ref, and is tried again by the next Sync.
func (c *Conn) Sync(ctx context.Context, since connection.Checkpoint, opts *connection.SyncOptions) iter.Seq2[*connection.Change, error] {
	const op = "sync"
	var o connection.SyncOptions
	if opts != nil {
		o = *opts
	}
	var used atomic.Bool
	return func(yield func(*connection.Change, error) bool) {
		if used.Swap(true) {
			yield(nil, c.problem(op, connection.Ref{}, connection.ErrInvalid, "this iterator was used before; call Sync again"))
			return
		}
		y, err := c.newSyncing(since, o.Known)
		if err != nil {
			yield(nil, err)
			return
		}
		f, err := c.newFetch(ctx, op, connection.FetchOptions{Mailbox: o.Mailbox, Folders: o.Folders})
		if err != nil {
			yield(nil, err)
			return
		}
		f.sync, y.fetch = y, f
		f.each(ctx, func(it item) bool {
			if it.msg != nil {
				return yield(&connection.Change{Op: connection.Added, Ref: it.msg.Ref, Message: it.msg}, nil)
			}
			return yield(it.change, it.err)
		})
	}
}

// A syncing is what a Sync has beside its fetch. It belongs to the goroutine that reads.
type syncing struct {
	*fetch
	past    *history
	resumed bool                                                    // past is what a Checkpoint told
	known   func(context.Context, []connection.Ref) ([]bool, error) // asked if there is no past; or nil
	offered connection.Checkpoint                                   // the last one
	changed int                                                     // changes since
}

func (c *Conn) newSyncing(since connection.Checkpoint, known func(context.Context, []connection.Ref) ([]bool, error)) (*syncing, error) {
	y := &syncing{known: known, past: &history{mailbox: c.cfg.Username, count: -1, octets: -1, told: make(map[string]fact)}}
	if since == "" {
		return y, nil
	}
	h, err := decodeHistory(since, c.cfg.Username)
	switch {
	case err == nil:
		y.past, y.resumed, y.offered = h, true, since
	case known == nil:
		return nil, c.problem("sync", connection.Ref{}, connection.ErrStale, "%w", err)
	default:
		c.emit(connection.Event{Kind: connection.EventRestarted, Detail: err.Error()})
	}
	return y, nil
}

// work compares a session's snapshot with the past. It tells what is gone, and returns what is new. The turn must be
// held.
func (y *syncing) work(s *session) ([]entry, error) {
	if !y.begun {
		y.conn.committed = make(map[string]struct{})
	}
	var met []memory
	var gone, unlisted []string
	for id, f := range y.past.told {
		if e, listed := s.find(id); listed {
			met = append(met, memory{e, f})
		} else if s.agrees {
			unlisted = append(unlisted, id)
		}
	}
	still, err := s.still(y.ctx, y.op, met)
	if err != nil {
		return nil, err
	}
	same := make(map[string]bool, len(met))
	for i, m := range met {
		if same[m.e.id] = still[i]; !still[i] {
			gone = append(gone, m.e.id)
			y.reused()
		}
	}
	if y.vanished(unlisted) {
		y.past.partial = true
	}
	if !y.past.partial {
		gone = append(gone, unlisted...)
	}
	if y.resumed && !y.begun && len(met) == 0 && len(y.past.told) > 0 && s.count > 0 && s.count == y.past.count && s.octets == y.past.octets {
		y.conn.emit(connection.Event{Kind: connection.EventQuirk, Detail: uidlChanged, Count: s.count})
	}
	y.past.count, y.past.octets = s.count, s.octets
	slices.Sort(gone)
	for _, id := range gone {
		delete(y.past.told, id)
		y.tell(&connection.Change{Op: connection.Removed, Ref: y.conn.ref(id)})
	}
	var work []entry
	for _, e := range s.entries {
		_, seen := y.seen[e.key()]
		_, read := y.doubts[e.key()] // and it is another one now, if it is not the same
		_, pending := y.conn.pending[e.id]
		if !pending && !same[e.id] && (!seen || read) {
			work = append(work, e)
		}
	}
	return work, nil
}

// vanished reports whether one of the messages was read by this Sync, and deleted by nobody here: the server lists a
// message until it was read.
func (y *syncing) vanished(unlisted []string) bool {
	for _, id := range unlisted {
		e := entry{id: id, size: y.past.told[id].size}
		_, now := y.seen[e.key()]
		_, deleted := y.conn.committed[id]
		if now && !deleted {
			return true
		}
	}
	return false
}

// unknown removes the messages that the host has, where nothing is known of the past. An id that may stand for another message is
// not asked about. The turn must not be held.
func (y *syncing) unknown(some []entry) ([]entry, error) {
	if y.resumed || y.known == nil {
		return some, nil
	}
	var rest, asked []entry
	var refs []connection.Ref
	for _, e := range some {
		if e.doubtful() {
			rest = append(rest, e)
			continue
		}
		asked, refs = append(asked, e), append(refs, y.conn.ref(e.id))
	}
	if len(refs) == 0 {
		return rest, nil
	}
	has, err := y.known(y.ctx, refs)
	if err == nil && len(has) != len(refs) {
		err = y.conn.problem(y.op, connection.Ref{}, connection.ErrInvalid, "SyncOptions.Known answered %d of %d refs", len(has), len(refs))
	}
	if err != nil {
		return nil, fmt.Errorf("SyncOptions.Known: %w", err)
	}
	for i, e := range asked {
		if !has[i] {
			rest = append(rest, e)
			continue
		}
		y.note(e)
		y.past.told[e.id] = fact{size: e.size}
		y.tell(&connection.Change{Op: connection.Updated, Ref: refs[i], Message: &connection.Message{Ref: refs[i], Folder: folder, Size: e.size}})
	}
	return rest, nil
}

// added notes that a message was told.
func (y *syncing) added(e entry, header digest) {
	y.past.told[e.id] = fact{size: e.size, header: header}
	y.moved()
}

func (y *syncing) tell(ch *connection.Change) {
	y.queue.add(item{change: ch})
	y.moved()
}

// checkpointShare is the part of the mailbox that changes between two Checkpoints: a Checkpoint is as long as the mailbox
// is large, and all of them together shall not be much longer.
const checkpointShare = 16

func (y *syncing) moved() {
	if y.changed++; y.changed*checkpointShare >= len(y.past.told) {
		y.checkpoint()
	}
}

// checkpoint offers a Checkpoint for all that was told, unless it is the one before. The taker is woken with what follows,
// or by the end.
func (y *syncing) checkpoint() {
	y.changed = 0
	if cp := y.past.encode(); cp != y.offered {
		y.offered = cp
		y.queue.stage(item{change: &connection.Change{Op: connection.Progressed, Checkpoint: cp}})
	}
}
