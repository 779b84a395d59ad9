package gmail

import (
	"context"
	"fmt"
	"iter"
	"path"
	"strings"
	"sync/atomic"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// Mailboxes implements [connection.MailboxLister]: the users of the directory that the settings select and whose mail can be
// read. Name is a user's immutable id, so that a renamed user keeps her checkpoint; Aliases are all addresses, the primary
// one first, and MailboxOptions.Match is held against them too. A user who is left out because she is suspended, archived, a
// guest or without a mailbox is told as an EventSkipped; include_suspended lists those who are suspended or archived.
//
// In single-mailbox use there is one, whose Name is "" and whose address is its only alias.
func (c *Conn) Mailboxes(ctx context.Context, opts *connection.MailboxOptions) iter.Seq2[*connection.Mailbox, error] {
	const op = "mailboxes"
	var used atomic.Bool
	match := ""
	if opts != nil {
		match = opts.Match
	}
	return func(yield func(*connection.Mailbox, error) bool) {
		if used.Swap(true) {
			yield(nil, c.usedTwice(op))
			return
		}
		if _, err := path.Match(match, ""); err != nil {
			yield(nil, c.problem(op, connection.Ref{}, connection.ErrInvalid, "match: %q: %w", match, err))
			return
		}
		ctx, leave, err := c.enter(ctx, op)
		if err != nil {
			yield(nil, err)
			return
		}
		defer leave()
		for m, err := range c.listMailboxes(ctx) {
			if err != nil {
				yield(nil, c.fail(op, connection.Ref{}, err))
				return
			}
			if matches(match, m) && !yield(m, nil) {
				return
			}
		}
	}
}

func matches(pattern string, m *connection.Mailbox) bool {
	if pattern == "" {
		return true
	}
	for _, name := range append([]string{m.Name}, m.Aliases...) {
		if ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(name)); err == nil && ok {
			return true
		}
	}
	return false
}

func (c *Conn) listMailboxes(ctx context.Context) iter.Seq2[*connection.Mailbox, error] {
	return func(yield func(*connection.Mailbox, error) bool) {
		if !c.domainUse() {
			address, err := c.ownAddress(ctx)
			if err != nil {
				yield(nil, err)
				return
			}
			yield(&connection.Mailbox{Display: address, Aliases: []string{address}}, nil)
			return
		}
		for u, err := range c.users(ctx) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !c.listed(u) {
				continue
			}
			c.people.add(u)
			if !yield(&connection.Mailbox{Name: u.ID, Display: u.Name, Aliases: u.addresses()}, nil) {
				return
			}
		}
	}
}

// listed reports whether a user's mailbox is listed, and tells of one that is selected and cannot be read.
func (c *Conn) listed(u *user) bool {
	switch u.Skip {
	case "":
		return true
	case skipNotSelected:
		return false
	case skipSuspended, skipArchived:
		if c.cfg.IncludeSuspended {
			return true
		}
	}
	c.emit(connection.Event{Kind: connection.EventSkipped, Mailbox: u.ID, Detail: u.Email + ": " + u.Skip})
	return false
}

// ownAddress returns the address of the one mailbox of single-mailbox use.
func (c *Conn) ownAddress(ctx context.Context) (string, error) {
	if address := c.people.ownAddress(); address != "" {
		return address, nil
	}
	p, err := c.profile(ctx, c.own, quota.Other)
	if err != nil {
		return "", err
	}
	c.people.setOwn(p.Email)
	return p.Email, nil
}

// ownBox returns the one mailbox of single-mailbox use, if that is what mailbox names.
func (c *Conn) ownBox(ctx context.Context, mailbox string) (*box, error) {
	if mailbox == "" || mailbox == "me" {
		return c.own, nil
	}
	address, err := c.ownAddress(ctx)
	switch {
	case err != nil:
		return nil, err
	case strings.EqualFold(mailbox, address):
		return c.own, nil
	}
	return nil, &connection.Error{
		Driver: DriverName, Kind: connection.ErrConfig, Err: fmt.Errorf("mailbox %q is not the one that these credentials open", mailbox),
		Hint: "credentials: only a service account, or a token hook together with admin, opens the mailboxes of others",
	}
}
