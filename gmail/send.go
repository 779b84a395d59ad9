package gmail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

var _ connection.Sender = (*Conn)(nil)

const smtpHint = "gmail has no envelope: it sends a message to all whom its To, Cc and Bcc name; use the smtp driver to send it to others"

// Send implements [connection.Sender] by messages.send, from the mailbox of env.From, or in single-mailbox use from that one.
// It needs "send" among Config.Verbs.
//
// Gmail has no envelope: it sends a message to all whom its To, Cc and Bcc fields name, and to nobody else. If those are not
// exactly the recipients of env, or cannot be read for certain, nothing is sent and the error is ErrUnsupported and names
// who differs. The sender in the message's From must be the mailbox or one of its send-as addresses; Gmail may replace
// another one. With NewMessageID the Message-ID field is replaced, which the Receipt says; all else is left untouched.
//
// Reports of delivery and RequireTLS are ErrUnsupported. A message of more than 36,700,160 octets is ErrTooLarge. When the
// answer is lost, or says that the server is at fault, the error is ErrUncertain and nothing is sent twice.
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
	if err = c.mayChange(op, VerbSend); err == nil {
		err = s.run(body)
	}
	if err != nil {
		return nil, c.changeFailed(inner, op, connection.Ref{}, err)
	}
	return &s.receipt, nil
}

// A sending is one Send.
type sending struct {
	conn    *Conn
	ctx     context.Context
	env     connection.Envelope
	opts    connection.SendOptions
	receipt connection.Receipt
}

func (s *sending) run(body io.Reader) error {
	c := s.conn
	if err := s.check(); err != nil {
		return err
	}
	u, err := c.takeBody(s.ctx, body, s.opts.Size, maxSend)
	if err != nil {
		return err
	}
	defer func() { _ = u.close() }() // a temporary copy: the outcome does not hang on it
	if err := s.address(u); err != nil {
		return err
	}
	mailbox := ""
	if c.domainUse() {
		mailbox = s.env.From
	}
	b, err := c.box(s.ctx, mailbox)
	if err != nil {
		return err
	}
	made, err := c.post(s.ctx, b, &posting{method: "messages.send", scope: scopeSend}, u)
	if err != nil {
		return err
	}
	s.receipt.Reply = "accepted as message " + made.Id
	s.receipt.Accepted = append(s.receipt.Accepted, s.env.To...)
	return nil
}

// check refuses what Gmail cannot do.
func (s *sending) check() error {
	unsupported := func(hint, text string) error {
		return &connection.Error{Kind: connection.ErrUnsupported, Hint: hint, Err: errors.New(text)}
	}
	switch {
	case s.opts.RequireTLS:
		return unsupported("the smtp driver can ask for it", "gmail cannot be asked for TLS on the way to the recipients")
	case s.opts.DSN != nil:
		return unsupported("the smtp driver can ask for them", "gmail cannot be asked for reports of delivery")
	case s.env.From == "" || s.env.From == "<>":
		if s.conn.domainUse() {
			return unsupported("the smtp driver can send without one", "gmail sends from the mailbox of a sender, and none is given")
		}
		s.receipt.Rewritten = append(s.receipt.Rewritten, "gmail has no null reverse-path: reports of failure go to the sender")
		return nil
	}
	if _, err := mailboxAddress(s.env.From); err != nil {
		return &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("sender %q %w", s.env.From, err)}
	}
	return nil
}

// address makes sure that the message goes to the envelope's recipients, and prepares what is sent of its header.
func (s *sending) address(u *upload) error {
	head, err := u.header()
	if err != nil {
		return err
	}
	if err := head.goesTo(s.env.To); err != nil {
		return err
	}
	s.receipt.MessageID = head.messageID()
	if !s.opts.NewMessageID {
		return nil
	}
	id := newMessageID(s.domain())
	if u.front, err = head.withMessageID(id); err != nil {
		return &connection.Error{Kind: connection.ErrUnsupported, Err: err}
	}
	u.from = int64(len(head.Raw))
	if u.length() > maxSend {
		return tooLarge(maxSend)
	}
	s.receipt.MessageID = id
	s.receipt.Rewritten = append(s.receipt.Rewritten, "the Message-ID is a new one; the old one is in "+originalName)
	return nil
}

// domain is that of a new Message-ID.
func (s *sending) domain() string {
	_, domain, _ := strings.Cut(s.env.From, "@")
	if domain == "" || strings.ContainsFunc(domain, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("<>()[],;:\"@", r) }) {
		return "mailconn.invalid" // RFC 2606, 2
	}
	return domain
}
