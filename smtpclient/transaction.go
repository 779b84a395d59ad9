package smtpclient

import (
	"context"
	"errors"
	"fmt"

	"github.com/mailconn/mailconn/connection"
)

// A transaction is one delivery over one session (RFC 5321, 3.3).
type transaction struct {
	ctx    context.Context
	s      *session
	d      *delivery
	p      *plan
	ahead  bool            // the commands are on their way already
	behind func() []string // the commands of the next delivery, to ride behind the last octets; none if there is none

	accepted []path
	data     *reply // to DATA, if it was in flight
}

// run returns nil if the server took the message for at least one recipient. Where it returns an error and the session
// cannot be used any more, the session is closed.
func (t *transaction) run() error {
	d := t.d
	d.dropped, d.begun, d.committed = false, false, false
	d.receipt = connection.Receipt{MessageID: d.body.messageID}
	err := t.envelope()
	if err == nil {
		err = t.content()
	}
	if err == nil {
		err = t.outcome()
	}
	if d.committed && len(d.receipt.Accepted) > 0 {
		d.receipt.Rewritten = append(append(d.receipt.Rewritten, d.body.notes...), t.p.notes...)
	}
	return err
}

// envelope sends the commands, unless they are on their way, and reads the replies.
func (t *transaction) envelope() error {
	s, size := t.s, 1
	if s.ext.pipelining {
		size = window
	}
	var refused error // MAIL
	all := t.p.commands
	for from := 0; from < len(all) && refused == nil; from += size {
		group := all[from:min(from+size, len(all))]
		if !t.ahead {
			if err := s.send(group...); err != nil {
				return t.drop(err)
			}
		}
		for i := range group {
			r, err := s.reply()
			if err != nil {
				return t.drop(err)
			}
			if err := t.hear(from+i, r, &refused); err != nil {
				return err
			}
		}
	}
	switch {
	case refused != nil:
		t.giveUp()
		return refused
	case len(t.accepted) == 0:
		t.giveUp()
		return t.d.nobody("no recipient was accepted")
	case len(t.accepted) < len(t.d.to) && t.d.conn.cfg.aborts():
		t.giveUp()
		return t.d.nobody("a recipient was refused, and on_rejected_rcpt is abort")
	}
	return nil
}

// hear takes the reply to a command of the plan. An error ends the session.
func (t *transaction) hear(i int, r *reply, refused *error) error {
	s := t.s
	if r.code == 421 {
		return t.dismissed(stageMail, r)
	}
	switch {
	case i == 0:
		if !r.positive() {
			*refused = s.refusal(stageMail, r, "")
		}
	case i <= len(t.d.to):
		to := t.d.to[i-1]
		switch {
		case *refused != nil:
		case r.positive(): // 251 and 252 accept as well
			t.accepted = append(t.accepted, to)
		default:
			t.d.reject(to, s.refusal(stageRcpt, r, ""))
		}
	default:
		t.data = r
	}
	return nil
}

// dismissed closes a session that the server ends (RFC 5321, 3.8).
func (t *transaction) dismissed(at stage, r *reply) error { return t.drop(t.s.refusal(at, r, "")) }

// drop closes a session that ended by itself, or that is out of step.
func (t *transaction) drop(err error) error {
	t.d.dropped = !t.d.begun
	t.s.conn.Fail(err)
	return err
}

// giveUp ends a transaction of which no content was sent. A server that waits for content all the same is left.
func (t *transaction) giveUp() {
	s := t.s
	if t.data != nil && t.data.code == 354 {
		_ = s.conn.Close() // it must not take anything for a message
		return
	}
	r, err := s.command("RSET")
	if err != nil || !r.positive() {
		_ = s.conn.Close() // the refusal is what matters
	}
}

// startData gets the server's consent to content.
func (t *transaction) startData() error {
	r := t.data
	if r == nil {
		var err error
		if r, err = t.s.command("DATA"); err != nil {
			return t.drop(err)
		}
	}
	switch {
	case r.code == 421:
		return t.dismissed(stageData, r)
	case r.code == 354:
		return nil
	case r.code/100 < 4:
		return t.drop(t.s.peer.Errorf(connection.ErrProtocol, "", "DATA was answered with %s", t.s.said(r)))
	}
	t.data = nil
	err := t.s.refusal(stageData, r, "")
	t.giveUp()
	return err
}

// content sends the message. After an error the session is closed: to end the content in good order would be to have
// the server deliver a part of it.
func (t *transaction) content() error {
	if !t.p.bdat {
		if err := t.startData(); err != nil {
			return err
		}
	}
	r, err := t.d.body.open()
	if err != nil {
		t.s.conn.Fail(err)
		return err
	}
	w := &writer{t: t, r: r, left: t.d.body.scan.size}
	if t.p.bdat {
		err = w.bdat()
	} else {
		t.d.begun = true
		err = w.data()
	}
	if err == nil {
		return nil
	}
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		err = refused.err
	case w.writing:
		err = t.lastWords(err)
	}
	t.s.conn.Fail(err)
	return err
}

// lastWords returns the refusal that a server sent before it closed the connection on content that it does not want, and
// err if there is none.
func (t *transaction) lastWords(err error) error {
	s := t.s
	if !s.alive() || t.ctx.Err() != nil {
		return t.lostAt(err)
	}
	s.conn.Watch(quitLimit)
	r, readErr := s.reply()
	if readErr == nil && r.code >= 400 {
		t.d.committed = false // a server that refuses does not deliver
		return s.refusal(stageFinal, r, "")
	}
	return t.lostAt(err)
}

// lostAt is err, or ErrUncertain if the server may have the whole message.
func (t *transaction) lostAt(err error) error {
	if !t.d.committed {
		return err
	}
	c := t.d.conn
	if t.ctx.Err() != nil {
		err = c.ended(t.ctx, "send")
	}
	return c.problem("send", connection.ErrUncertain, "", "the message was sent whole and the reply to it was lost; the server may have taken it: %w", err)
}

// outcome reads what became of the message.
func (t *transaction) outcome() error {
	s, d := t.s, t.d
	s.conn.Watch(d.conn.cfg.finalTimeout())
	defer func() { s.conn.Watch(d.conn.cfg.NoDataTimeout.D()) }()
	if d.conn.cfg.LMTP {
		return t.outcomes()
	}
	r, err := s.reply()
	if err == nil && r.code/100 == 3 {
		err = s.peer.Errorf(connection.ErrProtocol, "", "the message was answered with %s", s.said(r))
	}
	if err != nil {
		err = t.lostAt(err)
		s.conn.Fail(err)
		return err
	}
	d.receipt.Reply = s.said(r)
	if r.positive() {
		d.receipt.Accepted = addresses(t.accepted)
		return nil
	}
	if r.code == 421 {
		return t.dismissed(stageFinal, r)
	}
	return s.refusal(stageFinal, r, "")
}

// outcomes reads a reply for each recipient (RFC 2033, 4.2).
func (t *transaction) outcomes() error {
	s, d := t.s, t.d
	for i, to := range t.accepted {
		r, err := s.reply()
		if err != nil {
			err = t.lostAt(fmt.Errorf("what became of it for %s: %w", addresses(t.accepted[i:]), err))
			s.conn.Fail(err)
			return err
		}
		d.receipt.Reply = s.said(r)
		if r.positive() {
			d.receipt.Accepted = append(d.receipt.Accepted, to.address)
		} else {
			d.reject(to, s.refusal(stageFinal, r, ""))
		}
	}
	if len(d.receipt.Accepted) == 0 {
		return d.nobody("the message was refused for every recipient")
	}
	return nil
}

func addresses(paths []path) []string {
	all := make([]string, len(paths))
	for i, p := range paths {
		all[i] = p.address
	}
	return all
}
