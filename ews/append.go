package ews

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

// MAPI properties of a message that is stored ([MS-OXPROPS]).
var (
	tagMessageFlags = soap.Tag(0x0E07, "Integer")    // PR_MESSAGE_FLAGS
	tagDelivered    = soap.Tag(0x0E06, "SystemTime") // PR_MESSAGE_DELIVERY_TIME
	tagFlagStatus   = soap.Tag(0x1090, "Integer")    // PR_FLAG_STATUS
	tagLastVerb     = soap.Tag(0x1081, "Integer")    // PR_LAST_VERB_EXECUTED
)

const (
	messageRead   = 0x1 // MSGFLAG_READ
	messageUnsent = 0x8 // MSGFLAG_UNSENT: a draft
	followUp      = 2   // of PR_FLAG_STATUS
	verbReply     = 102 // of PR_LAST_VERB_EXECUTED
	verbForward   = 104
)

// Append implements [connection.Appender] by CreateItem, which gives the server the octets; what it makes of them is said
// in the package comment. The message is no draft unless FlagDraft is among AppendOptions.Flags; FlagSeen, FlagFlagged,
// FlagAnswered and FlagForwarded are set too. Exchange has no other flags: they are left out, and an EventQuirk says so.
// A message without any octet is ErrInvalid, since Exchange could not give it back.
//
// folder is a path as Folders lists it, or the name of a well-known folder as in FetchOptions.Folders. A folder that is
// missing is ErrNotFound, unless CreateFolder has it made with all above it. The rules for body are those of [Conn.Send]. A
// reply that is lost is ErrUncertain.
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
	var ref connection.Ref
	if a.t, err = c.target(o.Mailbox); err == nil {
		ref, err = a.run(body)
	}
	if err != nil {
		return connection.Ref{}, c.changeFailed(inner, op, a.t, a.t.folderRef(folder), err)
	}
	return ref, nil
}

// An appending is one Append.
type appending struct {
	conn *Conn
	ctx  context.Context
	t    target
	path string
	opts connection.AppendOptions
}

func (a *appending) run(body io.Reader) (connection.Ref, error) {
	u, err := takeBody(a.ctx, body, a.opts.Size)
	if err != nil {
		return connection.Ref{}, err
	}
	defer func() { _ = u.close() }() // a temporary copy: the outcome does not hang on it
	if u.size == 0 {
		return connection.Ref{}, &connection.Error{Kind: connection.ErrInvalid, Err: errors.New("a message without any octet")}
	}
	for {
		id, remembered, err := a.folder()
		if err != nil {
			return connection.Ref{}, err
		}
		ref, err := a.store(u, id)
		if connection.KindOf(err) == connection.ErrNotFound && remembered {
			a.conn.spots.forget(a.spot())
			continue // it may be there again, with another id
		}
		return ref, err
	}
}

func (a *appending) store(u *upload, folder soap.FolderID) (connection.Ref, error) {
	item := soap.NewItem{MIME: u.content(nil, 0), Extended: a.properties()}
	r, err := a.conn.one(a.ctx, a.t, soap.CreateItem{Disposition: soap.SaveOnly, Folder: folder, Items: []soap.NewItem{item}})
	if own := u.failure(); err != nil && own != nil {
		return connection.Ref{}, own
	}
	if err != nil {
		return connection.Ref{}, err
	}
	ref := a.t.ref("")
	if len(r.Items) == 1 {
		ref.ID = r.Items[0].ID
	}
	return ref, nil
}

// properties returns the flags and the time of arrival. Without PR_MESSAGE_FLAGS the message would be a draft.
func (a *appending) properties() []soap.Property {
	flags := 0
	var more []soap.Property
	number := func(path soap.Path, n int) {
		p := soap.Property{Path: path, Value: strconv.Itoa(n)}
		if !slices.Contains(more, p) {
			more = append(more, p)
		}
	}
	var left []string
	for _, flag := range a.opts.Flags {
		switch {
		case same(flag, connection.FlagSeen):
			flags |= messageRead
		case same(flag, connection.FlagDraft):
			flags |= messageUnsent
		case same(flag, connection.FlagFlagged):
			number(tagFlagStatus, followUp)
		case same(flag, connection.FlagAnswered):
			number(tagLastVerb, verbReply)
		case same(flag, connection.FlagForwarded) && !slices.ContainsFunc(a.opts.Flags, func(f connection.Flag) bool { return same(f, connection.FlagAnswered) }):
			number(tagLastVerb, verbForward)
		default:
			left = append(left, string(flag))
		}
	}
	if len(left) > 0 {
		a.conn.emit(connection.Event{
			Kind: connection.EventQuirk, Mailbox: a.t.mailbox, Ref: a.t.folderRef(a.path),
			Detail: fmt.Sprintf("Exchange has no flags %q: they were left out", left),
		})
	}
	all := []soap.Property{{Path: tagMessageFlags, Value: strconv.Itoa(flags)}}
	if !a.opts.Received.IsZero() {
		all = append(all, soap.Property{Path: tagDelivered, Value: a.opts.Received.UTC().Format(time.RFC3339)})
	}
	return append(all, more...)
}

func same(a, b connection.Flag) bool { return strings.EqualFold(string(a), string(b)) }
