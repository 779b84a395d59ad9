package ews

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"strings"
	"sync/atomic"

	"github.com/mailconn/mailconn/connection"
)

var (
	_ connection.Source        = (*Conn)(nil)
	_ connection.MailboxSyncer = (*Conn)(nil)
)

// Mailboxes implements [connection.MailboxLister]. The names are those of the settings mailboxes and groups, if there are
// any: the members of groups are looked up, down through the groups in them. Otherwise they are what the server tells
// of the organisation, by the first of these that it permits: GetSearchableMailboxes (2013 and later, role Discovery
// Management), FindPeople in the global address list (2013 SP1 and later), ResolveNames for one beginning of a name
// after the other. With access own there is one mailbox, the account's.
//
// With include_archive each mailbox that has an in-place archive is followed by that, as a mailbox of its own: its name is
// the mailbox's with "#archive" behind it.
//
// What is no mailbox or cannot be used as one (a contact, a group that hides its members, a mailbox that the server
// failed to look at) is left out and told by EventSkipped. That a mailbox is listed does not mean that the account may
// open it: the verb that opens it says so.
func (c *Conn) Mailboxes(ctx context.Context, opts *connection.MailboxOptions) iter.Seq2[*connection.Mailbox, error] {
	const op = "mailboxes"
	match := ""
	if opts != nil {
		match = opts.Match
	}
	var used atomic.Bool
	return func(yield func(*connection.Mailbox, error) bool) {
		if used.Swap(true) {
			yield(nil, c.problem(op, connection.Ref{}, connection.ErrInvalid, "this iterator was used before; call Mailboxes again"))
			return
		}
		if _, err := path.Match(match, ""); err != nil {
			yield(nil, c.problem(op, connection.Ref{}, connection.ErrInvalid, "pattern %q: %w", match, err))
			return
		}
		ctx, leave, err := c.enter(ctx, op)
		if err != nil {
			yield(nil, err)
			return
		}
		defer leave()
		l := &lister{conn: c, match: match, yield: yield, told: make(map[string]bool)}
		switch err := l.list(ctx); {
		case errors.Is(err, errLeft):
		case ctx.Err() != nil:
			yield(nil, c.ended(ctx, op, connection.Ref{}))
		case err != nil:
			yield(nil, c.fail(op, target{}, connection.Ref{}, err))
		}
	}
}

// A lister lists mailboxes to one caller.
type lister struct {
	conn  *Conn
	match string
	yield func(*connection.Mailbox, error) bool
	told  map[string]bool // what was listed or skipped, in lower case
	dir   directory
}

// list lists what the settings say.
func (l *lister) list(ctx context.Context) error {
	cfg := &l.conn.cfg
	if cfg.access() == AccessOwn {
		name := ""
		if strings.Contains(cfg.Username, "@") {
			name = cfg.Username
		}
		return l.add(ctx, &connection.Mailbox{Name: name, Display: cfg.Username})
	}
	for _, name := range cfg.Mailboxes {
		if err := l.add(ctx, &connection.Mailbox{Name: name}); err != nil {
			return err
		}
	}
	switch {
	case len(cfg.Groups) > 0:
		return l.members(ctx, cfg.Groups)
	case len(cfg.Mailboxes) > 0:
		return nil
	}
	return l.everybody(ctx)
}

// everybody lists what the server tells, by the first way that it permits.
func (l *lister) everybody(ctx context.Context) error {
	var refusals []error
	for _, way := range []struct {
		name string
		list func(context.Context) (found bool, err error)
	}{
		{"GetSearchableMailboxes", l.searchable},
		{"FindPeople", l.people},
		{"ResolveNames", l.resolve},
	} {
		found, err := way.list(ctx)
		switch {
		case err == nil && found:
			return nil
		case err == nil:
			err = errors.New("the server knows nobody")
		case found || !refusesList(err):
			return err
		}
		refusals = append(refusals, fmt.Errorf("%s: %w", way.name, err))
	}
	e := &connection.Error{
		Driver: DriverName, Kind: connection.ErrUnsupported, Err: fmt.Errorf("the server does not tell which mailboxes there are: %w", errors.Join(refusals...)),
		Hint: "mailboxes: name them, or groups; or give the account the role Discovery Management",
	}
	return e
}

// refusesList reports whether err means that the server does not list mailboxes in this way, so that another may do.
func refusesList(err error) bool {
	switch connection.KindOf(err) {
	case connection.ErrUnsupported, connection.ErrPermission, connection.ErrNotFound, connection.ErrProtocol, connection.ErrUnknown:
		return true
	}
	return false
}

// add lists a mailbox, and its archive if those are wanted, unless it was listed before or is not asked for.
func (l *lister) add(ctx context.Context, m *connection.Mailbox) error {
	if ctx.Err() != nil || !l.fresh(m.Name) {
		return ctx.Err()
	}
	if err := l.give(m); err != nil || !l.conn.cfg.IncludeArchive || strings.HasSuffix(m.Name, archiveSuffix) {
		return err
	}
	archive := &connection.Mailbox{Name: m.Name + archiveSuffix, Display: m.Display}
	if !l.wants(archive.Name) || !l.fresh(archive.Name) {
		return nil
	}
	has, err := l.conn.hasArchive(ctx, archive.Name)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		l.skip(archive.Name, "nobody knows whether it has an archive", err)
		return nil
	case !has:
		return nil
	}
	return l.give(archive)
}

// fresh reports whether a name was not seen before.
func (l *lister) fresh(name string) bool {
	key := strings.ToLower(name)
	if l.told[key] {
		return false
	}
	l.told[key] = true
	return true
}

// wants reports whether the caller asked for a name.
func (l *lister) wants(name string) bool {
	fits, err := path.Match(l.match, name)
	return l.match == "" || err == nil && fits
}

func (l *lister) give(m *connection.Mailbox) error {
	if l.wants(m.Name) && !l.yield(m, nil) {
		return errLeft
	}
	return nil
}

// skip tells the host what was left out.
func (l *lister) skip(name, why string, err error) {
	if err != nil {
		err = l.conn.fail("mailboxes", target{}, connection.Ref{Mailbox: name}, err)
	}
	l.conn.emit(connection.Event{Kind: connection.EventSkipped, Mailbox: name, Detail: why, Err: err})
}

// hasArchive reports whether a mailbox has the in-place archive of this name.
func (c *Conn) hasArchive(ctx context.Context, name string) (bool, error) {
	t, err := c.target(name)
	if err != nil {
		return false, err
	}
	root, _, err := c.root(ctx, &t, "archivemsgfolderroot")
	return root != nil, err
}
