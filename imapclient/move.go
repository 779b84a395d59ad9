package imapclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailconn/mailconn/connection"
)

// moveGroup moves messages of the selected folder to where delete_mode says.
func (s *session) moveGroup(ctx context.Context, op string, g *group) error {
	target, err := s.target(ctx, op)
	if err != nil {
		return err
	}
	if sameFolder(target, g.folder) {
		e := s.conn.problem(op, connection.Ref{}, connection.ErrConfig, "the messages are in %q already, where delete_mode %s would move them", target, s.conn.cfg.DeleteMode)
		e.Hint = "folders, delete_mode: leave the target out of folders, or use delete_mode expunge"
		return e
	}
	wire, err := s.wireName(ctx, op, target)
	if err != nil {
		return err
	}
	move := s.copyAndExpunge
	if s.has(goimap.CapMove) {
		move = s.move
	} else if err := s.mayExpunge(ctx, op, g.uids); err != nil {
		return err
	}
	if s.conn.flaggedIn(g.folder) > 0 {
		// Copied before, and not removed for good: it must not be copied twice.
		if err := s.expunge(ctx, op); err != nil {
			return err
		}
	}
	var errs []error
	for uids := range slices.Chunk(g.uids, storeAtOnce) {
		err := error(nil)
		if s.broken() {
			err = s.conn.problem(op, connection.Ref{}, connection.ErrNetwork, "the session ended before this message's turn")
		} else {
			err = move(ctx, op, g, uids, wire)
		}
		if err != nil {
			errs = append(errs, s.unmoved(ctx, op, g, uids, err))
		}
	}
	return errors.Join(errs...)
}

// target returns the folder that messages are moved to.
func (s *session) target(ctx context.Context, op string) (string, error) {
	c := s.conn
	if c.cfg.DeleteMode == DeleteMove {
		return c.cfg.MoveTo, nil
	}
	c.mu.Lock()
	known := c.trash
	c.mu.Unlock()
	if known != "" {
		return known, nil
	}
	all, err := s.list(ctx, op)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(all, func(f *connection.Folder) bool { return strings.EqualFold(f.Special, `\Trash`) })
	if i < 0 {
		e := c.problem(op, connection.Ref{}, connection.ErrConfig, "the server marks no folder as its trash")
		e.Hint = "delete_mode: use move, and name the trash folder in move_to"
		return "", e
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trash = all[i].Name
	return c.trash, nil
}

// move moves uids by the MOVE command (RFC 6851). go-imap's Move must not be called without that capability: it would
// mark and expunge without waiting for what becomes of its COPY.
func (s *session) move(ctx context.Context, op string, g *group, uids []uint32, wire string) error {
	err := s.doubtful(ctx, op, func() error {
		_, err := s.client.Move(uidSet(uids), wire).Wait()
		return err
	})
	if err != nil {
		return s.conn.targetError(op, err)
	}
	// A UID that is not there is no error to the server; one that it passed over would be none either.
	there, err := s.searchSet(ctx, op, uids, goimap.SearchCriteria{})
	if err != nil {
		return err
	}
	if n := int64(len(uids) - len(there)); n > 0 {
		s.conn.emit(connection.Event{Kind: connection.EventDeleted, Ref: connection.Ref{Folder: g.folder}, Count: n})
	}
	if len(there) > 0 {
		return s.conn.problem(op, connection.Ref{}, connection.ErrRejected, "the server says that it has moved the message, which is still there")
	}
	return nil
}

// copyAndExpunge moves uids where MOVE is missing. Each command is awaited, and only what is proven to have been copied
// is removed.
func (s *session) copyAndExpunge(ctx context.Context, op string, g *group, uids []uint32, wire string) error {
	c := s.conn
	var data *goimap.CopyData
	err := s.doubtful(ctx, op, func() error {
		var err error
		data, err = s.client.Copy(uidSet(uids), wire).Wait()
		return err
	})
	if err != nil {
		return c.targetError(op, err)
	}
	copied := uids // RFC 9051, 6.4.7: a COPY succeeds as a whole or not at all
	if s.has(goimap.CapUIDPlus) {
		copied = proven(uids, data)
	}
	if len(copied) > 0 {
		if err := s.removeCopied(ctx, op, g, copied); err != nil {
			return err
		}
	}
	if len(copied) == len(uids) {
		return nil
	}
	rest := slices.DeleteFunc(slices.Clone(uids), func(uid uint32) bool { return slices.Contains(copied, uid) })
	there, err := s.searchSet(ctx, op, rest, goimap.SearchCriteria{})
	if err != nil || len(there) == 0 {
		return err
	}
	e := c.problem(op, connection.Ref{}, connection.ErrRejected, "the server does not say that it has copied the message (no COPYUID), so it is not removed")
	e.Hint = `disable_extensions: "UIDPLUS" takes the server's OK as proof`
	return e
}

// proven returns those of uids that COPYUID names (RFC 4315, 3), each with a UID in the target.
func proven(uids []uint32, data *goimap.CopyData) []uint32 {
	if count(data.SourceUIDs) != count(data.DestUIDs) {
		return nil
	}
	var copied []uint32
	for _, uid := range uids {
		if data.SourceUIDs.Contains(goimap.UID(uid)) {
			copied = append(copied, uid)
		}
	}
	return copied
}

// count returns how many UIDs a set holds, without unfolding its ranges.
func count(set goimap.UIDSet) (n uint64) {
	for _, r := range set {
		lo, hi := min(r.Start, r.Stop), max(r.Start, r.Stop)
		n += uint64(hi-lo) + 1
	}
	return n
}

// removeCopied removes messages that have been copied.
func (s *session) removeCopied(ctx context.Context, op string, g *group, uids []uint32) error {
	if err := s.mark(ctx, op, uids); err != nil {
		if connection.KindOf(err) == connection.ErrUncertain {
			s.conn.flag(g.folder, g.validity, uids, true)
		}
		return err
	}
	s.conn.flag(g.folder, g.validity, uids, false)
	return s.expunge(ctx, op)
}

// unmoved returns err for those of uids that may still be there.
func (s *session) unmoved(ctx context.Context, op string, g *group, uids []uint32, err error) error {
	if !s.broken() && ctx.Err() == nil {
		if there, lookErr := s.searchSet(ctx, op, uids, goimap.SearchCriteria{}); lookErr == nil {
			uids = there
		}
	}
	var refs []connection.Ref
	for i, uid := range g.uids {
		if slices.Contains(uids, uid) {
			refs = append(refs, g.refs[i])
		}
	}
	if len(refs) == 0 {
		return nil
	}
	return forEach(refs, err)
}

// targetError adds to the error of a MOVE or COPY what the settings have to do with it.
func (c *Conn) targetError(op string, err error) error {
	e := c.fault(op, connection.Ref{}, err)
	if e.Kind == connection.ErrNotFound {
		e.Hint = fmt.Sprintf("move_to: is the folder spelled as on the server, and is it there? delete_mode is %s", c.cfg.DeleteMode)
		c.mu.Lock()
		c.trash = "" // it may have been renamed
		c.mu.Unlock()
	}
	return e
}
