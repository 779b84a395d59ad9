package gmail

import (
	"context"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// An Estimate is what it takes to read a mailbox for the first time.
type Estimate struct {
	Messages int64         // in the mailbox, with drafts, chats, spam and trash, whether they are read or not
	Units    int64         // quota units for the octets of all of them and for their list
	Time     time.Duration // at least, by what Google lets one user spend in a minute
}

// Estimate asks how many messages a mailbox has ("" in single-mailbox use), for one quota unit, and says what it will take to read
// them. The budget of the day (see [Conn.Usage]) is not regarded.
func (c *Conn) Estimate(ctx context.Context, mailbox string) (*Estimate, error) {
	const op = "estimate"
	ctx, leave, err := c.enter(ctx, op)
	if err != nil {
		return nil, err
	}
	defer leave()
	b, err := c.box(ctx, mailbox)
	if err != nil {
		return nil, c.failMailbox(op, mailbox, err)
	}
	profile, err := c.profile(ctx, b, quota.Other)
	if err != nil {
		return nil, c.failMailbox(op, mailbox, err)
	}
	messages, err := profile.Messages.Int64()
	if err != nil || messages < 0 || messages > mostMessages {
		return nil, c.problem(op, connection.Ref{}, connection.ErrProtocol, "messagesTotal: %q is no count of messages", profile.Messages)
	}
	return c.estimate(messages), nil
}

// estimate says what it takes to read so many messages of one mailbox.
func (c *Conn) estimate(messages int64) *Estimate {
	prices := quota.Profile(c.cfg.quotaProfile())
	pages := (messages + c.cfg.pageSize() - 1) / c.cfg.pageSize()
	e := &Estimate{Messages: messages}
	e.Units = messages*int64(prices.Units("messages.get")) + pages*int64(prices.Units("messages.list"))
	e.Time = time.Duration(float64(e.Units) / float64(prices.Limit()) * float64(time.Minute))
	return e
}

// mostMessages is what no mailbox has.
const mostMessages = 1e9
