package smtpclient

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// Send implements [connection.Sender]. The body is read once before anything is sent, and once more while it is sent: one
// that can seek is read from where it stands, any other is kept in memory or in a temporary file meanwhile. "<>" as
// env.From is the null reverse-path, as "" is.
//
// The Receipt is also returned beside an error if anything is known: which recipients were refused and why, and for LMTP
// which have the message when the others are uncertain.
func (c *Conn) Send(ctx context.Context, env connection.Envelope, body io.Reader, opts *connection.SendOptions) (*connection.Receipt, error) {
	inner, leave, err := c.enter(ctx, "send")
	if err != nil {
		return nil, err
	}
	defer leave()
	var o connection.SendOptions
	if opts != nil {
		o = *opts
	}
	d, err := c.newDelivery(env, &o)
	if err != nil {
		return nil, err
	}
	if d.body, err = load(inner, body, c.how(env.From, &o)); err != nil {
		return nil, c.failed(inner, err)
	}
	defer func() { _ = d.body.close() }() // a temporary copy: the outcome does not hang on it
	err = c.deliver(inner, d)
	if err == nil {
		return &d.receipt, nil
	}
	err = c.failed(inner, err)
	if len(d.receipt.Accepted) == 0 && len(d.receipt.Rejected) == 0 && !errors.Is(err, connection.ErrUncertain) {
		return nil, err
	}
	return &d.receipt, err
}

// failed makes err the verb's.
func (c *Conn) failed(ctx context.Context, err error) error {
	var body *bodyError
	switch {
	case ctx.Err() != nil && !errors.Is(err, connection.ErrUncertain):
		return c.ended(ctx, "send")
	case errors.As(err, &body):
		return c.problem("send", connection.KindOf(body.err), "", "%w", body)
	}
	return c.fault("send", err)
}

// newDelivery checks the envelope and the options.
func (c *Conn) newDelivery(env connection.Envelope, o *connection.SendOptions) (*delivery, error) {
	d := &delivery{conn: c, dsn: o.DSN, tlsOnly: o.RequireTLS, to: make([]path, 0, len(env.To))}
	var err error
	if d.from, err = parsePath(env.From, true, c.cfg.LMTP); err != nil {
		return nil, c.problem("send", connection.ErrInvalid, "", "sender %q: %w", env.From, err)
	}
	for _, address := range env.To {
		to, err := parsePath(address, false, c.cfg.LMTP)
		if err != nil {
			return nil, c.problem("send", connection.ErrInvalid, "", "recipient %q: %w", address, err)
		}
		d.to = append(d.to, to)
	}
	if len(d.to) == 0 {
		return nil, c.problem("send", connection.ErrInvalid, "", "no recipient")
	}
	if err := validateDSN(o.DSN); err != nil {
		return nil, c.problem("send", connection.ErrInvalid, "", "delivery reports: %w", err)
	}
	if d.dsn == nil {
		d.dsn = c.cfg.DSN
	}
	return d, nil
}

// how says what is to be made of a message.
func (c *Conn) how(from string, o *connection.SendOptions) how {
	h := how{size: o.Size}
	if !o.NewMessageID && or(c.cfg.SendStrategy, NewMessageID) != NewMessageID {
		return h
	}
	domain := domainOf(from)
	for _, other := range []string{domainOf(c.cfg.FromAddress), c.cfg.EHLOName} {
		if domain == "" || !ascii(domain) {
			domain = other
		}
	}
	if domain == "" || !ascii(domain) {
		domain = "mailconn.invalid" // RFC 2606, 2
	}
	h.id = newMessageID(domain)
	if c.cfg.Resent {
		h.resent = &resending{from: c.cfg.FromAddress, at: time.Now()}
	}
	return h
}

func ascii(s string) bool { return !hasEightBit([]byte(s)) }

// deliver sends d over a session. It tries a second time, over a new one, where the first try has left nothing with the
// server: see the package comment.
func (c *Conn) deliver(ctx context.Context, d *delivery) error {
	fellBack := false
	for fresh := false; ; fresh = true {
		if err := ctx.Err(); err != nil {
			return err
		}
		g, err := c.pool.acquire(ctx, d, fresh)
		if err != nil {
			return err
		}
		made := g.s == nil
		if made {
			if g.s, err = c.login(ctx, nil); err != nil {
				c.pool.release(nil)
				return err
			}
		}
		err = c.over(ctx, g, d)
		switch {
		case err == nil, ctx.Err() != nil:
			return err
		case errors.Is(err, errNoBDAT) && c.cfg.BodyPath == PathBDAT:
			return c.problem("send", connection.ErrUnsupported, "body_path: use auto or data for this server", "%w", err)
		case errors.Is(err, errNoBDAT) && !fellBack:
			fellBack = true
			c.setBDATFails()
		case made || fresh || !d.dropped:
			return err
		}
	}
}

// over sends d over the session of g, and gives the session on.
func (c *Conn) over(ctx context.Context, g grant, d *delivery) error {
	s := g.s
	t := &transaction{ctx: ctx, s: s, d: d, p: g.p, ahead: g.p != nil}
	var next *waiter
	var nextPlan *plan
	t.behind = func() []string {
		if next, nextPlan = c.pool.rider(s); next == nil {
			return nil
		}
		return nextPlan.commands
	}
	release := s.conn.Bind(ctx)
	err := c.attempt(t)
	if !release() {
		s.conn.Fail(context.Cause(ctx)) // it is being closed; nobody else may use it
	}
	if next != nil {
		c.pool.hand(s, next, nextPlan)
	} else {
		c.pool.release(s)
	}
	return err
}

func (c *Conn) attempt(t *transaction) error {
	if t.p == nil {
		t.d.noBDAT = c.bdatFails()
		var err error
		if t.p, err = t.d.plan(t.s); err != nil {
			return err
		}
		t.s.messages++
	}
	return t.run()
}
