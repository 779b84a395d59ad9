package ews

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
	"github.com/mailconn/mailconn/internal/mailheader"
)

// Send implements [connection.Sender] by CreateItem with the message's octets, from the mailbox of env.From if that is one
// of Config.Mailboxes and may be impersonated, else from the connection's own; with save_sent a copy stays in its Sent
// Items. A reply that is lost is ErrUncertain, and nothing is sent twice.
//
// EWS has no envelope: Exchange sends a message to all whom its To, Cc and Bcc name. Recipients of env that are not there
// are added as Bcc. If the header names anybody else, or may be taken to, nothing is sent and the error is ErrUnsupported:
// the smtp driver can do that. The sender is the one in the header, or the mailbox; other mailboxes' addresses need the
// right Send As, else the error is ErrPermission. The Bcc and, with NewMessageID, Message-ID fields are all that is
// edited: the Receipt says so. Exchange drops a message whose Message-ID it has in the same store already.
//
// A body that is an *os.File, a *bytes.Reader or the like is read while it is sent, and must not change meanwhile; any other
// is kept in memory or in a temporary file. Reports of delivery and RequireTLS are ErrUnsupported. Servers take about 64
// MiB; more is ErrTooLarge.
func (c *Conn) Send(ctx context.Context, env connection.Envelope, body io.Reader, opts *connection.SendOptions) (*connection.Receipt, error) {
	const op = "send"
	var o connection.SendOptions
	if opts != nil {
		o = *opts
	}
	inner, leave, err := c.enter(ctx, op)
	if err != nil {
		return nil, err
	}
	defer leave()
	s := &sending{conn: c, ctx: inner, env: env, opts: o}
	if s.t, err = c.target(c.sender(env.From)); err == nil {
		err = s.run(body)
	}
	if err != nil {
		return nil, c.changeFailed(inner, op, s.t, connection.Ref{}, err)
	}
	return &s.receipt, nil
}

// sender returns from which mailbox to send.
func (c *Conn) sender(from string) string {
	if c.cfg.access() == AccessImpersonation && slices.ContainsFunc(c.cfg.Mailboxes, func(m string) bool { return strings.EqualFold(m, from) }) {
		return from
	}
	return ""
}

// A sending is one Send.
type sending struct {
	conn    *Conn
	ctx     context.Context
	t       target
	env     connection.Envelope
	opts    connection.SendOptions
	receipt connection.Receipt
}

func (s *sending) run(body io.Reader) error {
	if err := s.check(); err != nil {
		return err
	}
	u, err := takeBody(s.ctx, body, s.opts.Size)
	if err != nil {
		return err
	}
	defer func() { _ = u.close() }() // a temporary copy: the outcome does not hang on it
	content, err := s.address(u)
	if err != nil {
		return err
	}
	op := soap.CreateItem{Disposition: soap.SendOnly, Items: []soap.NewItem{{MIME: content}}}
	if s.conn.cfg.SaveSent {
		op.Disposition, op.Folder = soap.SendAndSaveCopy, s.conn.distinguished(s.t, "sentitems")
	}
	r, err := s.conn.one(s.ctx, s.t, op)
	if own := u.failure(); err != nil && own != nil {
		return own
	}
	if err != nil {
		return err
	}
	s.receipt.Reply = strings.TrimSpace(r.Code + " " + r.Text)
	s.receipt.Accepted = append(s.receipt.Accepted, s.env.To...)
	return nil
}

// check refuses what EWS cannot do.
func (s *sending) check() error {
	unsupported := func(hint, text string) error {
		return &connection.Error{Kind: connection.ErrUnsupported, Hint: hint, Err: errors.New(text)}
	}
	switch {
	case s.opts.RequireTLS:
		return unsupported("the smtp driver can ask for it", "EWS cannot ask for TLS on the way to the recipients")
	case s.opts.DSN != nil:
		return unsupported("the smtp driver can ask for them", "EWS cannot ask for reports of delivery")
	case s.env.From == "" || s.env.From == "<>":
		s.receipt.Rewritten = append(s.receipt.Rewritten, "EWS has no null reverse-path: reports of failure go to the sender")
		return nil
	}
	if _, err := mailboxAddress(s.env.From); err != nil {
		return &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("sender %q %w", s.env.From, err)}
	}
	return nil
}

// address makes the header name exactly the recipients, and returns what is to be uploaded.
func (s *sending) address(u *upload) (soap.Content, error) {
	head, err := u.header()
	if err != nil {
		return soap.Content{}, err
	}
	missing, err := head.missing(s.env.To)
	if err != nil {
		return soap.Content{}, err
	}
	id := ""
	if s.opts.NewMessageID {
		id = newMessageID(s.domain())
		s.receipt.Rewritten = append(s.receipt.Rewritten, "the Message-ID is a new one; the old one is in "+originalName)
	}
	if len(missing) > 0 {
		s.receipt.Rewritten = append(s.receipt.Rewritten, fmt.Sprintf("%d recipients were added as Bcc", len(missing)))
	}
	s.receipt.MessageID = or(id, head.messageID())
	front, err := head.edit(id, missing)
	if err != nil {
		return soap.Content{}, &connection.Error{Kind: connection.ErrUnsupported, Hint: smtpHint, Err: err}
	}
	return u.content(front, int64(len(head.Raw))), nil
}

// domain is that of a new Message-ID.
func (s *sending) domain() string {
	for _, address := range []string{s.env.From, s.t.address} {
		if domain := domainOf(address); domain != "" && !strings.ContainsFunc(domain, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("<>()[],;:\"", r) }) {
			return domain
		}
	}
	return "mailconn.invalid" // RFC 2606, 2
}

// header reads the message's header section. One that is too long is ErrTooLarge.
func (u *upload) header() (*header, error) {
	for size := int64(8 << 10); ; size *= 8 {
		size = min(size, maxHeader, u.size)
		raw := make([]byte, size)
		if n, err := u.ReadAt(raw, 0); int64(n) < size {
			if own := u.failure(); own != nil {
				err = own
			}
			return nil, err
		}
		end, ok := mailheader.End(raw, size == u.size)
		switch {
		case ok:
			return parseHeader(raw[:end:end]), nil
		case size == maxHeader:
			return nil, &connection.Error{Kind: connection.ErrTooLarge, Err: fmt.Errorf("the header section is longer than %d octets", maxHeader)}
		}
	}
}

// changeFailed returns err as the error of a verb that changes something. Where the server may have acted it is
// ErrUncertain: what its answer does not rule out counts as done.
func (c *Conn) changeFailed(ctx context.Context, op string, t target, ref connection.Ref, err error) error {
	var own *bodyError
	var said *serverError
	switch {
	case errors.As(err, &own):
		return c.problem(op, ref, connection.KindOf(own.err), "%w", own)
	case connection.KindOf(err) == connection.ErrUncertain:
		e := c.fail(op, t, ref, err)
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			e.Err = errors.Join(e.Err, ctx.Err())
		}
		return e
	case errors.As(err, &said) && said.inDoubt():
		e := c.fail(op, t, ref, err)
		e.Kind, e.Hint = connection.ErrUncertain, ""
		return e
	case ctx.Err() != nil:
		return c.ended(ctx, op, ref)
	}
	return c.fail(op, t, ref, err)
}

// inDoubt reports whether the server may have done what it was asked for in spite of its refusal.
func (e *serverError) inDoubt() bool {
	if e.fault != nil && e.code == "" && e.inner == "" {
		// A server was seen to send such a fault behind a message that it had taken. One that does not know the
		// request, or says that it is at fault, has done nothing.
		return !e.fault.UnknownRequest() && e.fault.Actor != "Client"
	}
	switch e.code {
	case "ErrorInternalServerError":
		return e.inner == "" || judge(e.inner, "").class == unclear
	case "ErrorInternalServerTransientError", "ErrorTimeoutExpired", "ErrorMailboxFailover", "ErrorConnectionFailed", "ErrorBatchProcessingStopped":
		return true
	}
	return false
}
