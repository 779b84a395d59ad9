package imapclient

import (
	"context"
	"errors"
	"maps"
	"slices"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailconn/mailconn/connection"
)

// flagged are the messages of one folder that Delete has marked \Deleted and that are not expunged yet.
type flagged struct {
	validity string
	uids     map[uint32]struct{}
	doubt    bool // a reply was lost: some may be expunged already, or not be marked
}

// flag adds uids to those that are to be expunged.
func (c *Conn) flag(folder, validity string, uids []uint32, doubt bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fl := c.flagged[folder]
	if fl == nil || fl.validity != validity {
		fl = &flagged{validity: validity, uids: make(map[uint32]struct{})}
		c.flagged[folder] = fl
	}
	for _, uid := range uids {
		fl.uids[uid] = struct{}{}
	}
	fl.doubt = fl.doubt || doubt
}

// unflag removes uids from those that are to be expunged.
func (c *Conn) unflag(folder string, uids []uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fl := c.flagged[folder]
	if fl == nil {
		return
	}
	for _, uid := range uids {
		delete(fl.uids, uid)
	}
	if len(fl.uids) == 0 {
		delete(c.flagged, folder)
	}
}

// forget drops what is remembered of an earlier life of folder.
func (c *Conn) forget(folder, validity string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if fl := c.flagged[folder]; fl != nil && fl.validity != validity {
		delete(c.flagged, folder)
	}
}

// outstanding returns the UIDs of folder that are to be expunged, ascending.
func (c *Conn) outstanding(folder string) (uids []uint32, doubt bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fl := c.flagged[folder]
	if fl == nil {
		return nil, false
	}
	return slices.Sorted(maps.Keys(fl.uids)), fl.doubt
}

func (c *Conn) flaggedIn(folder string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if fl := c.flagged[folder]; fl != nil {
		return len(fl.uids)
	}
	return 0
}

// unflagged returns those of uids that Delete has not marked.
func (c *Conn) unflagged(folder string, uids []uint32) []uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	fl := c.flagged[folder]
	if fl == nil {
		return uids
	}
	return slices.DeleteFunc(slices.Clone(uids), func(uid uint32) bool {
		_, ok := fl.uids[uid]
		return ok
	})
}

func (c *Conn) setDoubt(folder string, doubt bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if fl := c.flagged[folder]; fl != nil {
		fl.doubt = doubt
	}
}

// settle looks, after a reply was lost, which of the marked messages are still there, and expunges them. Those that
// turn out not to be marked are fetched again. It does nothing where nothing is in doubt; an error is left to the next
// Delete or Close.
func (c *Conn) settle(ctx context.Context, op, folder string) {
	if _, doubt := c.outstanding(folder); !doubt {
		return
	}
	if err := c.expungeFlagged(ctx, op, []string{folder}); err != nil && ctx.Err() == nil {
		c.env.Log().WarnContext(ctx, "what became of deleted messages is not known yet", "endpoint", c.info.Endpoint, "error", err)
	}
}

// expungeAll expunges what is outstanding in all folders.
func (c *Conn) expungeAll(ctx context.Context, op string) error {
	c.mu.Lock()
	folders := slices.Sorted(maps.Keys(c.flagged))
	c.mu.Unlock()
	return c.expungeFlagged(ctx, op, folders)
}

// expungeFlagged expunges what is outstanding in folders.
func (c *Conn) expungeFlagged(ctx context.Context, op string, folders []string) error {
	var errs []error
	for _, folder := range folders {
		if c.flaggedIn(folder) == 0 {
			continue
		}
		if err := c.expungeFolder(ctx, op, folder); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (c *Conn) expungeFolder(ctx context.Context, op, folder string) error {
	if !c.deleting.take(ctx) {
		return c.ended(ctx, op, connection.Ref{Folder: folder})
	}
	defer c.deleting.give()
	uids, _ := c.outstanding(folder)
	if len(uids) == 0 {
		return nil
	}
	s, done, err := c.opened(ctx, op, folder, uids[len(uids)-1])
	if err != nil {
		return c.fault(op, connection.Ref{Folder: folder}, err)
	}
	defer done()
	if err := s.expunge(ctx, op); err != nil {
		return c.fault(op, connection.Ref{Folder: folder}, err)
	}
	return nil
}

// expunge expunges what is outstanding in the selected folder. c.deleting must be held.
func (s *session) expunge(ctx context.Context, op string) error {
	c, folder := s.conn, s.box.folder
	c.forget(folder, s.box.validity)
	uids, doubt := c.outstanding(folder)
	if doubt {
		marked, err := s.searchSet(ctx, op, uids, goimap.SearchCriteria{Flag: []goimap.Flag{goimap.FlagDeleted}})
		if err != nil {
			return err
		}
		c.unflag(folder, slices.DeleteFunc(uids, func(uid uint32) bool {
			_, still := slices.BinarySearch(marked, uid)
			return still
		}))
		c.setDoubt(folder, false)
		uids = marked
	}
	if len(uids) == 0 {
		return nil
	}
	if !s.has(goimap.CapUIDPlus) {
		if err := s.mayExpunge(ctx, op, nil); err != nil {
			return err
		}
		return s.expunged(ctx, op, uids, func() error { return s.client.Expunge().Close() })
	}
	for some := range slices.Chunk(uids, storeAtOnce) {
		// RFC 9051, 6.4.9: UID EXPUNGE removes only these.
		if err := s.expunged(ctx, op, some, func() error { return s.client.UIDExpunge(uidSet(some)).Close() }); err != nil {
			return err
		}
	}
	return nil
}

// expunged runs a command that expunges uids, and strikes them off.
func (s *session) expunged(ctx context.Context, op string, uids []uint32, command func() error) error {
	if err := s.doubtful(ctx, op, command); err != nil {
		if connection.KindOf(err) == connection.ErrUncertain {
			s.conn.setDoubt(s.box.folder, true)
		}
		return err
	}
	s.conn.unflag(s.box.folder, uids)
	s.conn.emit(connection.Event{Kind: connection.EventDeleted, Ref: connection.Ref{Folder: s.box.folder}, Count: int64(len(uids))})
	return nil
}

// mayExpunge refuses where the server can only expunge all that is marked (no UIDPLUS, RFC 4315) and somebody else has
// marked messages besides ours and those of coming. Between this look and the EXPUNGE another client may still mark one.
func (s *session) mayExpunge(ctx context.Context, op string, coming []uint32) error {
	if s.has(goimap.CapUIDPlus) || s.conn.cfg.AllowPlainExpunge {
		return nil
	}
	marked, err := s.search(ctx, op, 1, 0, goimap.SearchCriteria{Flag: []goimap.Flag{goimap.FlagDeleted}})
	if err != nil {
		return err
	}
	ours, _ := s.conn.outstanding(s.box.folder)
	for _, uid := range marked {
		if _, is := slices.BinarySearch(ours, uid); is || slices.Contains(coming, uid) {
			continue
		}
		e := s.conn.problem(op, connection.Ref{}, connection.ErrUnsupported, "the server cannot expunge single messages (no UIDPLUS), and somebody else has marked messages as deleted")
		e.Hint = "allow_plain_expunge: true removes those too; delete_mode: flag marks without removing"
		return e
	}
	return nil
}
