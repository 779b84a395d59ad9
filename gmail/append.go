package gmail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

var _ connection.Appender = (*Conn)(nil)

// Append implements [connection.Appender] by messages.import or messages.insert, as Config.AppendMethod says. It needs
// "append" among Config.Verbs, and with credentials of a domain AppendOptions.Mailbox.
//
// folder is a path as Folders lists it, a label's name in Gmail or its id; "Archive" puts the message into no folder. A label
// that is missing is ErrNotFound unless CreateFolder has it made. Flags become labels: without FlagSeen the message is
// unread, FlagFlagged is the star, FlagDraft makes a draft, and $Important and CATEGORY_… are Gmail's own. Other flags are
// left out, and an EventQuirk says so, as it does of a Received that is not the message's Date: Gmail records that, or with
// Config.InternalDate "receivedTime" the time of arrival, and nothing else.
//
// A message of more than 157,286,400 octets is ErrTooLarge, and one without any is ErrInvalid. Nothing in Gmail keeps a
// message from being stored twice; so when an answer is lost, Append looks for the message in the folder, by its Message-ID and
// its octets. If it is not found the error is ErrUncertain, since Gmail's index may lag behind. Called again with the same
// octets for the same folder, Append looks before it stores anything.
func (c *Conn) Append(ctx context.Context, folder string, body io.Reader, opts *connection.AppendOptions) (connection.Ref, error) {
	const op = "append"
	var o connection.AppendOptions
	if opts != nil {
		o = *opts
		o.Flags = slices.Clone(o.Flags)
	}
	inner, leave, err := c.enter(ctx, op)
	if err != nil {
		return connection.Ref{}, err
	}
	defer leave()
	a := &appending{conn: c, ctx: inner, path: folder, opts: o}
	if err = c.mayChange(op, VerbAppend); err == nil {
		a.box, err = c.box(inner, o.Mailbox)
	}
	var ref connection.Ref
	if err == nil {
		ref, err = a.run(body)
	}
	if err != nil {
		return connection.Ref{}, c.changeFailed(inner, op, connection.Ref{Mailbox: o.Mailbox, Folder: folder}, err)
	}
	return ref, nil
}

// mayChange returns an error if the settings do not permit to put anything into mailboxes.
func (c *Conn) mayChange(op, verb string) error {
	if c.cfg.monitored() {
		e := c.problem(op, connection.Ref{}, connection.ErrUnsupported, "retrieval by monitors only reads")
		e.Hint = "retrieval: synchronize can " + verb
		return e
	}
	return c.allowed(op, verb)
}

// changeFailed returns err as the error of a verb that puts something into a mailbox.
func (c *Conn) changeFailed(ctx context.Context, op string, ref connection.Ref, err error) error {
	var own *bodyError
	switch {
	case errors.As(err, &own):
		kind := connection.KindOf(own.err)
		if kind == connection.ErrUncertain { // of the source of the message: here nothing was done
			kind = connection.ErrUnknown
		}
		return c.problem(op, ref, kind, "%w", own)
	case connection.KindOf(err) == connection.ErrUncertain:
		return c.fail(op, ref, err)
	case ctx.Err() != nil:
		return c.ended(ctx, op, ref)
	}
	return c.fail(op, ref, err)
}

// An appending is one Append.
type appending struct {
	conn *Conn
	ctx  context.Context
	box  *box
	path string
	opts connection.AppendOptions

	label string // of the folder; "" for the archive
	head  *header
}

func (a *appending) run(body io.Reader) (connection.Ref, error) {
	u, err := a.conn.takeBody(a.ctx, body, a.opts.Size, maxAppend)
	if err != nil {
		return connection.Ref{}, err
	}
	defer func() { _ = u.close() }() // a temporary copy: the outcome does not hang on it
	if a.head, err = u.header(); err != nil {
		return connection.Ref{}, err
	}
	cached, err := a.folder()
	if err != nil {
		return connection.Ref{}, err
	}
	ref, err := a.store(u)
	if kind := connection.KindOf(err); cached && (kind == connection.ErrRejected || kind == connection.ErrInvalid) {
		// The label may be gone, and there again with another id.
		a.conn.forgetLabels(a.box)
		before := a.label
		if _, err := a.folder(); err != nil {
			return connection.Ref{}, err
		}
		if a.label != before {
			return a.store(u)
		}
	}
	return ref, err
}

// store gives the message to the server, and if its answer is lost looks whether it is there.
func (a *appending) store(u *upload) (connection.Ref, error) {
	c := a.conn
	doubt, err := a.doubt(u)
	if err != nil {
		return connection.Ref{}, err
	}
	if c.doubts.has(doubt) {
		if ref, err := a.find(u); err != nil || ref.ID != "" {
			if err == nil {
				c.doubts.drop(doubt)
			}
			return ref, err
		}
	}
	p := &posting{
		method: "messages." + c.cfg.appendMethod(), scope: scopeInsert, labels: a.labels(),
		spam: !c.cfg.neverMarkSpam(), date: c.cfg.internalDate(), vault: c.cfg.VaultOnly,
	}
	a.noteTime()
	made, err := c.post(a.ctx, a.box, p, u)
	switch {
	case err == nil:
		c.doubts.drop(doubt)
		return a.box.ref(made.Id), nil
	case connection.KindOf(err) != connection.ErrUncertain:
		return connection.Ref{}, err
	}
	c.doubts.add(doubt)
	ref, lost := a.find(u)
	if lost != nil {
		return connection.Ref{}, err // that it could not be looked for is not what matters
	}
	if ref.ID == "" {
		return connection.Ref{}, err
	}
	c.doubts.drop(doubt)
	return ref, nil
}

// labels returns what the folder and the flags are in Gmail.
func (a *appending) labels() []string {
	var all, left []string
	if a.label != "" {
		all = append(all, a.label)
	}
	add := func(id string) {
		if !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	seen := false
	for _, flag := range a.opts.Flags {
		switch {
		case sameFlag(flag, connection.FlagSeen):
			seen = true
		case sameFlag(flag, connection.FlagFlagged):
			add(labelStarred)
		case sameFlag(flag, connection.FlagDraft):
			add(labelDraft)
		case sameFlag(flag, flagImportant):
			add(labelImportant)
		case strings.HasPrefix(strings.ToUpper(string(flag)), categoryPrefix):
			add(strings.ToUpper(string(flag)))
		default:
			left = append(left, string(flag))
		}
	}
	if !seen {
		add(labelUnread)
	}
	if len(left) > 0 {
		a.quirk(fmt.Sprintf("gmail has no flags %q: they were left out", left))
	}
	return all
}

func sameFlag(a, b connection.Flag) bool { return strings.EqualFold(string(a), string(b)) }

// noteTime tells of an arrival time that Gmail cannot record.
func (a *appending) noteTime() {
	received := a.opts.Received
	if received.IsZero() || a.conn.cfg.internalDate() == DateHeader && received.Unix() == a.head.date().Unix() {
		return
	}
	a.quirk("gmail records no arrival time that it is told: " + a.conn.cfg.internalDate() + " is what it takes")
}

func (a *appending) quirk(text string) {
	a.conn.emit(connection.Event{Kind: connection.EventQuirk, Mailbox: a.box.shown(), Ref: connection.Ref{Mailbox: a.box.id, Folder: a.path}, Detail: text})
}
