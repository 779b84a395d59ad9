package imapclient

import (
	"context"
	"errors"
	"slices"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailconn/mailconn/connection"
)

// Mark implements [connection.Marker], whatever delete_mode is. A flag that the folder does not keep (RFC 9051, 7.1:
// PERMANENTFLAGS) is ErrUnsupported and nothing is set. \Deleted is no mark but a half-done delete, and \Recent the
// server's: both are ErrInvalid. The error rules are those of [Conn.Delete].
func (c *Conn) Mark(ctx context.Context, refs []connection.Ref, flags ...connection.Flag) error {
	const op = "mark"
	if len(refs) == 0 || len(flags) == 0 {
		return nil
	}
	if len(c.cfg.Mailboxes) > 0 {
		return c.each(op, refs, func(one *Conn, refs []connection.Ref) error { return one.Mark(ctx, refs, flags...) })
	}
	set, err := c.flags(op, flags)
	if err != nil {
		return forEach(refs, err)
	}
	if slices.Contains(set, goimap.FlagDeleted) {
		return forEach(refs, c.problem(op, connection.Ref{}, connection.ErrInvalid, "%s is for Delete to set", goimap.FlagDeleted))
	}
	ctx, cancel, leave, err := c.enter(ctx, op)
	if err != nil {
		return forEach(refs, err)
	}
	defer leave()
	defer cancel()
	groups, errs := c.group(op, refs)
	if !c.deleting.take(ctx) {
		return forEach(refs, c.ended(ctx, op, connection.Ref{}))
	}
	defer c.deleting.give()
	for _, g := range groups {
		if err := c.markGroup(ctx, op, g, set); err != nil {
			errs = append(errs, forEach(g.refs, err))
		}
	}
	return errors.Join(errs...)
}

// flags returns flags as go-imap takes them.
func (c *Conn) flags(op string, flags []connection.Flag) ([]goimap.Flag, error) {
	var set []goimap.Flag
	for _, flag := range flags {
		name := string(flag)
		if len(name) > 0 && name[0] == '\\' {
			name = name[1:]
		}
		if !isAtom(name) || goimap.Flag(flag) == `\Recent` {
			return nil, c.problem(op, connection.Ref{}, connection.ErrInvalid, "%q is no flag that can be set", flag)
		}
		set = append(set, goimap.Flag(flag))
	}
	return set, nil
}

func (c *Conn) markGroup(ctx context.Context, op string, g *group, flags []goimap.Flag) error {
	s, done, err := c.opened(ctx, op, g.folder, slices.Max(g.uids))
	if err != nil {
		return err
	}
	defer done()
	if s.box.readOnly && !c.cfg.deletes() {
		// An earlier verb may have opened it to read only.
		if _, err := s.open(ctx, op, g.folder); err != nil {
			return err
		}
		if s.box.lasting {
			defer func() { s.box = nil }() // nobody else is to find it open for writing
		}
	}
	switch {
	case s.box.validity != g.validity:
		return s.stale(op)
	case s.box.readOnly:
		e := c.problem(op, connection.Ref{}, connection.ErrPermission, "the folder is read-only")
		e.Hint = "username: the user has no right to change flags in this folder"
		return e
	}
	for _, flag := range flags {
		if !s.box.keeps(flag) {
			return c.problem(op, connection.Ref{}, connection.ErrUnsupported, "the folder does not keep the flag %s (PERMANENTFLAGS)", flag)
		}
	}
	for uids := range slices.Chunk(g.uids, storeAtOnce) {
		if err := s.set(ctx, op, uids, flags); err != nil {
			return err
		}
	}
	return nil
}
