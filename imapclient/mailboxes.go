package imapclient

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/saslx"
)

// The placeholders of Config.MailboxLogin.
const (
	mailboxHolder  = "{mailbox}"
	usernameHolder = "{username}"
)

// validateAccount checks who logs in. Whether the host has a token source, or Env.TLS a certificate, Open finds out.
func (c *Config) validateAccount() error {
	if c.OAuth2 != nil {
		if err := c.OAuth2.Validate(); err != nil {
			return err
		}
		if !c.Password.IsZero() {
			return errors.New("password, oauth2: give only one")
		}
	}
	a := c.account(nil)
	a.Certificate = true
	a.Token = func(context.Context, connection.TokenRequest) (connection.Secret, error) {
		return connection.Secret{}, errors.New("no token source")
	}
	if err := a.Validate(); err != nil {
		return err
	}
	for i, name := range c.Mailboxes {
		switch {
		case name == "":
			return errors.New(`mailboxes: "": empty name`)
		case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return fmt.Errorf("mailboxes: %q: control character", name)
		case slices.Contains(c.Mailboxes[:i], name):
			return fmt.Errorf("mailboxes: %q: given twice", name)
		}
		if c.MailboxLogin == "" {
			continue
		}
		a.Username = c.loginFor(name)
		if err := a.Validate(); err != nil {
			return fmt.Errorf("mailbox_login: for mailbox %q: %w", name, err)
		}
	}
	switch {
	case c.MailboxLogin == "":
	case len(c.Mailboxes) == 0:
		return errors.New("mailbox_login: set, but mailboxes is not")
	case !strings.Contains(c.MailboxLogin, mailboxHolder):
		return fmt.Errorf("mailbox_login: %q: want %s in it", c.MailboxLogin, mailboxHolder)
	}
	return nil
}

// loginFor returns the user name that Config.MailboxLogin makes of a mailbox.
func (c *Config) loginFor(mailbox string) string {
	return strings.NewReplacer(mailboxHolder, mailbox, usernameHolder, c.Username).Replace(c.MailboxLogin)
}

// forMailbox returns the settings with which one of Config.Mailboxes is opened: with the login itself if it is its own,
// else in the user name, or in the authorization identity (RFC 4422, 2) that the mechanism carries.
func (c *Config) forMailbox(name string) Config {
	one := *c
	one.Mailboxes, one.MailboxLogin, one.mailbox = nil, "", name
	switch {
	case name == c.Username:
	case c.MailboxLogin != "":
		one.Username = c.loginFor(name)
	default:
		one.actFor = name
	}
	return one
}

// Mailboxes implements [connection.MailboxLister]: those of Config.Mailboxes, in that order; without any there is the
// login's own, under its user name. It asks nobody: whether a mailbox can be opened, the first verb finds out.
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
		ctx, cancel, leave, err := c.enter(ctx, op)
		if err != nil {
			yield(nil, err)
			return
		}
		leave() // it holds no session
		defer cancel()
		names := c.cfg.Mailboxes
		if len(names) == 0 {
			names = []string{c.mailboxName()}
		}
		for _, name := range names {
			fits, err := path.Match(match, name)
			switch {
			case ctx.Err() != nil:
				yield(nil, c.ended(ctx, op, connection.Ref{}))
				return
			case err != nil:
				yield(nil, c.problem(op, connection.Ref{}, connection.ErrInvalid, "pattern %q: %w", match, err))
				return
			case match != "" && !fits:
			case !yield(&connection.Mailbox{Name: name}, nil):
				return
			}
		}
	}
}

// mailboxName returns whose mailbox c opens.
func (c *Conn) mailboxName() string {
	if c.cfg.mailbox != "" {
		return c.cfg.mailbox
	}
	return c.cfg.Username
}

// owns reports whether a Ref or an option with that mailbox means c's.
func (c *Conn) owns(mailbox string) bool {
	if c.cfg.mailbox != "" {
		return mailbox == c.cfg.mailbox
	}
	return mailbox == "" || mailbox == c.cfg.Username
}

// at returns the Conn that opens mailbox, which is c itself unless it has several. The Conn is never nil.
func (c *Conn) at(op, mailbox string) (*Conn, error) {
	if len(c.cfg.Mailboxes) == 0 {
		if !c.owns(mailbox) {
			return c, c.problem(op, connection.Ref{Mailbox: mailbox}, connection.ErrNotFound, "mailbox %q: this connection has that of %q only", mailbox, c.mailboxName())
		}
		return c, nil
	}
	switch {
	case mailbox == "":
		return c, c.problem(op, connection.Ref{}, connection.ErrInvalid, "no mailbox is named, and this connection has many")
	case !slices.Contains(c.cfg.Mailboxes, mailbox):
		e := c.problem(op, connection.Ref{Mailbox: mailbox}, connection.ErrNotFound, "mailbox %q is not one of this connection's", mailbox)
		e.Hint = "mailboxes: name there whose mailboxes to open"
		return c, e
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c, c.problem(op, connection.Ref{}, connection.ErrClosed, "%w", errClosed)
	}
	if one := c.others[mailbox]; one != nil {
		return one, nil
	}
	cfg := c.cfg.forMailbox(mailbox)
	auth, err := saslx.New(cfg.account(c.env))
	if err != nil {
		return c, c.problem(op, connection.Ref{}, connection.ErrConfig, "config: %w", err)
	}
	one := newConn(cfg, c.env, c.info.Endpoint, auth)
	one.whole, one.tls.whole = c, &c.tls
	if c.others == nil {
		c.others = make(map[string]*Conn)
	}
	c.others[mailbox] = one
	return one, nil
}

// closeAll closes several at once, so that one slow server does not add up.
func closeAll(all []*Conn) error {
	errs := make([]error, len(all))
	var closing sync.WaitGroup
	for i, c := range all {
		closing.Go(func() { errs[i] = c.Close() })
	}
	closing.Wait()
	return errors.Join(errs...)
}

// maxIdle is how many sessions of a Conn with several mailboxes wait for the next verb. Servers count connections.
const maxIdle = 16

// idlePool counts them, in the Conn that Open returned.
type idlePool struct{ n atomic.Int64 }

// moreIdle reports whether one more session may wait, and counts it then.
func (c *Conn) moreIdle() bool {
	if c.whole == nil {
		return true
	}
	if c.whole.pool.n.Add(1) <= maxIdle {
		return true
	}
	c.whole.pool.n.Add(-1)
	return false
}

func (c *Conn) fewerIdle() {
	if c.whole != nil {
		c.whole.pool.n.Add(-1)
	}
}

// each runs do for the refs of each mailbox, in the order of first appearance, and joins the errors.
func (c *Conn) each(op string, refs []connection.Ref, do func(one *Conn, refs []connection.Ref) error) error {
	var (
		names []string
		by    = make(map[string][]connection.Ref)
		errs  []error
	)
	for _, ref := range refs {
		if by[ref.Mailbox] == nil {
			names = append(names, ref.Mailbox)
		}
		by[ref.Mailbox] = append(by[ref.Mailbox], ref)
	}
	for _, name := range names {
		one, err := c.at(op, name)
		if err != nil {
			errs = append(errs, forEach(by[name], c.fault(op, connection.Ref{}, err)))
			continue
		}
		if err := do(one, by[name]); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
