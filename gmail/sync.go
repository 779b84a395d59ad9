package gmail

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// Sync implements [connection.Syncer] for one mailbox, named by its user's id, primary address or an alias; "" is the one of
// single-mailbox use, and with monitors their destination.
//
// From "" it tells the folders, and then all messages, newest first; after that, and from a Checkpoint of that state, what
// the mailbox's history holds. A Checkpoint follows each page of at most page_size messages; what came while the first
// pass ran, however often it was interrupted, is found in the history. Changes come at least once.
//
// A message is told once, whatever its labels: Message.Labels are the paths of its folders, and Message.Folder is the first
// of them. Its Ref has no Folder and stays good while labels change. Updated says what labels it has now; nothing is
// downloaded for that. To the trash is such a change; Removed means gone for good. What the settings leave out (spam, trash,
// drafts, chats) is not told until it loses that label: then it is Added. Without SyncOptions.Known Sync cannot tell which of
// those the host has, and may tell an Updated of a message that was left out before, and an Added of one that the host has.
//
// With SyncOptions.Folders a message that loses the last of these folders is Removed. A folder that is not there is an error
// with Ref.Folder. FolderRemoved means a label that is gone: the messages that had it are still in the mailbox, so a sink
// must not drop them.
//
// A message that cannot be read is an error with its Ref, and is tried again by each Sync from the Checkpoints that follow, once
// what is new was told, but for one that is too large or that Gmail gives nobody (ErrNoRaw). Of very many some wait for a
// later Sync. One that is gone before it is read is Removed.
//
// A listing that was interrupted goes on by the server's page token. Where pages shift when messages go, which is not known of
// Google, only a Sync with Known finds those that slipped past meanwhile.
//
// A Checkpoint is lost when the server's history does not reach back to it (Google keeps a week, sometimes hours), and when
// the settings or SyncOptions.Folders mean other messages than before. With SyncOptions.Known Sync then goes on by itself:
// EventRestarted says so, all ids are listed, and what the host lacks is Added, what it has Updated, and, with
// SyncOptions.Refs, what the mailbox has no more is Removed. So it is from "" if the host has something. Without Known it
// returns ErrStale. A history that is lost again within 15 minutes is ErrUnavailable until then. A Checkpoint of another
// mailbox is ErrConfig.
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
			yield(nil, c.usedTwice(op))
			return
		}
		inner, leave, err := c.enter(ctx, op)
		if err != nil {
			yield(nil, err)
			return
		}
		defer leave()
		s := &syncing{conn: c, ctx: inner, opts: o, yield: yield}
		mailbox := c.mailboxOr(o.Mailbox)
		if s.box, err = c.box(inner, mailbox); err == nil {
			err = s.run(since)
		}
		switch {
		case err == nil || errors.Is(err, errLeft):
		case inner.Err() != nil:
			yield(nil, c.ended(inner, op, connection.Ref{}))
		default:
			yield(nil, c.failMailbox(op, mailbox, err))
		}
	}
}

// mailboxOr returns the mailbox that is meant where none is named.
func (c *Conn) mailboxOr(name string) string {
	if name == "" && c.cfg.monitored() {
		return c.destinationAddress()
	}
	return name
}

// errLeft says that the loop was left: nothing may be yielded any more.
var errLeft = errors.New("the loop was left")

// A syncing is one running Sync. It belongs to the goroutine of the loop.
type syncing struct {
	conn  *Conn
	ctx   context.Context
	box   *box
	opts  connection.SyncOptions
	yield func(*connection.Change, error) bool

	place   *place
	offered connection.Checkpoint // the last one
	scope   *scope
	labels  *labelSet
	anew    bool    // the host has no Checkpoint, so that what it has is not known to be of any state
	profile profile // as it was when this Sync, or its listing, began
	listed  bool    // this Sync has listed the mailbox

	// seen holds the history ids that messages had when they were read, where these are above the place in the history: what
	// the history says of them up to there is stale.
	seen    map[string]string
	trouble trouble
}

func (s *syncing) run(since connection.Checkpoint) error {
	s.scope, s.seen = s.conn.scope(s.opts.Folders), make(map[string]string)
	lost, err := s.restore(since)
	if err != nil {
		return err
	}
	if s.profile, err = s.conn.profile(s.ctx, s.box, quota.Delta); err != nil {
		return err
	}
	if err := s.itsMailbox(); err != nil {
		return err
	}
	if lost != nil {
		if err := s.lost(lost); err != nil {
			return err
		}
	}
	for {
		if s.place.Phase != phaseDelta {
			if err := s.listing(); err != nil {
				return err
			}
		}
		err := s.delta()
		switch {
		case errors.Is(err, errOtherLabels):
			err = s.lost(err)
		case connection.KindOf(err) == connection.ErrStale:
			err = s.expired(err)
		default:
			return err
		}
		if err != nil {
			return err
		}
	}
}

// restore finds the place to go on from. lost says why there is none although there was a Checkpoint.
func (s *syncing) restore(since connection.Checkpoint) (lost, err error) {
	s.place = &place{Phase: phaseFull, Scope: s.scope.name}
	if since == "" {
		s.anew = true
		return nil, nil
	}
	p, err := decodePlace(since)
	switch {
	case err != nil:
		return err, nil
	case p.User != s.box.id:
		return nil, &connection.Error{Kind: connection.ErrConfig, Err: fmt.Errorf("the checkpoint is of mailbox %q", or(p.User, p.Email))}
	}
	s.place, s.offered = p, since
	switch {
	case p.Scope != s.scope.name:
		return errors.New("the settings or the folders asked for mean other messages than before"), nil
	case p.Phase == phaseReconcile && s.opts.Known == nil:
		return errors.New("what the host has was being held against the mailbox, and Known is not given any more"), nil
	}
	return nil, nil
}

// itsMailbox holds the Checkpoint against the mailbox, and notes what it is called now.
func (s *syncing) itsMailbox() error {
	p := s.place
	if s.box.id == "" && p.Email != "" && !strings.EqualFold(p.Email, s.profile.Email) {
		return &connection.Error{
			Kind: connection.ErrConfig, Err: fmt.Errorf("the checkpoint is of mailbox %q, and the credentials are those of %q", p.Email, s.profile.Email),
			Hint: "use other credentials, or begin without a checkpoint",
		}
	}
	p.User, p.Email = s.box.id, s.profile.Email
	return nil
}

// lost begins to hold what the host has against the mailbox, since the history cannot be followed; without Known it
// returns ErrStale.
func (s *syncing) lost(why error) error {
	if s.opts.Known == nil {
		return &connection.Error{Kind: connection.ErrStale, Err: why}
	}
	s.conn.emit(connection.Event{Kind: connection.EventRestarted, Mailbox: s.box.shown(), Detail: why.Error(), Err: why})
	s.conn.env.Log().Warn("a mailbox's history is lost; its messages are listed anew", "mailbox", s.box.shown(), "error", why)
	p := s.place
	p.Scope, p.Phase, p.Base, p.Cursor, p.PageToken, p.List = s.scope.name, phaseReconcile, "", "", "", 0
	return nil
}

// How often a history may be lost before something is wrong with it: each time everything is listed.
const (
	expiredWindow = time.Hour
	expiredRest   = 15 * time.Minute
)

// expired is lost for a history that does not reach back to the Checkpoint.
func (s *syncing) expired(err error) error {
	p, now := s.place, s.conn.now()
	last := time.Unix(p.ExpiredAt, 0)
	if p.Expired > 0 && now.Sub(last) < expiredWindow {
		p.Expired++
	} else {
		p.Expired = 1
	}
	if rest := expiredRest - now.Sub(last); s.opts.Known != nil && p.Expired > 1 && rest > 0 {
		return &connection.Error{
			Kind: connection.ErrUnavailable, RetryAfter: rest,
			Err: fmt.Errorf("the history was lost %d times within an hour: %w", p.Expired, err),
		}
	}
	from := p.Cursor
	p.ExpiredAt = now.Unix()
	fresh, profileErr := s.conn.profile(s.ctx, s.box, quota.Delta)
	if profileErr != nil {
		return profileErr
	}
	s.profile = fresh
	return s.lost(&connection.Error{Kind: connection.ErrStale, Code: codeOf(err), Err: fmt.Errorf("a gap in the history from %s on: %w", from, err)})
}

func codeOf(err error) string {
	var e *connection.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// tell yields a change.
func (s *syncing) tell(change *connection.Change) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
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

// checkpoint offers a Checkpoint of what was told.
func (s *syncing) checkpoint() error {
	cp, err := s.place.encode()
	if err != nil {
		return err
	}
	if cp == s.offered {
		return nil
	}
	s.offered = cp
	return s.tell(&connection.Change{Op: connection.Progressed, Checkpoint: cp})
}

// folders asks for the labels, and tells what became of them since they were told last.
func (s *syncing) folders() error {
	set, err := s.conn.labelSet(s.ctx, s.box)
	if err != nil {
		return err
	}
	var missing []string
	if s.labels == nil {
		missing = s.scope.resolve(set)
		if err := s.sameFolders(); err != nil {
			return err
		}
	}
	if err := s.tellFolders(set); err != nil {
		return err
	}
	for _, name := range missing {
		if err := s.report(s.conn.noFolder("sync", s.box, name)); err != nil {
			return err
		}
	}
	return nil
}

// tellFolders tells how the labels of set differ from those told last.
func (s *syncing) tellFolders(set *labelSet) error {
	s.labels = set
	var changes []connection.Change
	if s.place.Labels == nil {
		for _, f := range set.folders(s.box.id) {
			changes = append(changes, connection.Change{Op: connection.FolderAdded, Folder: f})
		}
	} else {
		changes = diffLabels(s.place.Labels, set.paths())
	}
	for i := range changes {
		changes[i].Folder.Mailbox = s.box.id
		if err := s.tell(&changes[i]); err != nil {
			return err
		}
	}
	s.place.Labels = set.paths()
	return nil
}

// labelled returns a set that knows labels, as far as the server does: a label may be new since the set was asked for.
func (s *syncing) labelled(labels []string) (*labelSet, error) {
	if _, _, _, known := s.labels.sort(labels); known {
		return s.labels, nil
	}
	set, err := s.conn.labels(s.ctx, s.box, labels...)
	if err != nil || set == s.labels {
		return s.labels, err
	}
	return set, s.tellFolders(set)
}

// known asks the host which of ids it has; nil if it cannot be asked.
func (s *syncing) known(ids []string) (map[string]bool, error) {
	if s.opts.Known == nil {
		return nil, nil
	}
	has := make(map[string]bool, len(ids))
	for chunk := range slices.Chunk(ids, defaultPageSize) {
		refs := make([]connection.Ref, len(chunk))
		for i, id := range chunk {
			refs[i] = s.box.ref(id)
		}
		answer, err := s.opts.Known(s.ctx, refs)
		if err == nil && len(answer) != len(refs) {
			err = &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("SyncOptions.Known answered %d of %d refs", len(answer), len(refs))}
		}
		if err != nil {
			return nil, fmt.Errorf("asking what is known: %w", err)
		}
		for i, id := range chunk {
			if answer[i] {
				has[id] = true
			}
		}
	}
	return has, nil
}
