package gmail

import (
	"context"
	"errors"
	"fmt"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// A blame is what is at fault when a message cannot be read.
type blame uint8

const (
	blameMailbox blame = iota // or what is in between: nothing more can be read now
	blameMessage              // for ever
	blameMoment               // this message, for now
	blameNobody               // it is gone
	blameMany                 // this message as so many before it: there may be no end of them
)

// trouble tells messages that cannot be read from mailboxes that cannot. The zero value is ready.
type trouble struct {
	row int // messages in a row that could not be read, though the mailbox answered
}

// tooMany is the error of blameMany.
type tooMany struct{ error }

func (e tooMany) Unwrap() error { return e.error }

// mostInARow messages may fail while the mailbox itself answers. After that it is no matter of messages.
const mostInARow = 10

// over is told of a message that was read.
func (t *trouble) over() { t.row = 0 }

// judge decides what an error of load means for the others. With blameMailbox and blameMany the error returned is the one that
// ends all.
func (t *trouble) judge(ctx context.Context, c *Conn, b *box, err error) (blame, error) {
	if ctx.Err() != nil {
		return blameMailbox, ctx.Err()
	}
	is, sure := gone(err)
	switch {
	case is && sure:
		return blameNobody, nil
	case is: // something that does not speak as Gmail says so
		return t.probed(ctx, c, b, err, blameNobody)
	}
	switch connection.KindOf(err) {
	case connection.ErrTooLarge, connection.ErrUnsupported:
		t.over()
		return blameMessage, nil
	case connection.ErrCorrupt:
		return blameMoment, nil
	case connection.ErrProtocol, connection.ErrNetwork, connection.ErrTimeout, connection.ErrUnavailable, connection.ErrPermission,
		connection.ErrInvalid, connection.ErrRejected, connection.ErrUnknown:
		return t.probed(ctx, c, b, err, blameMoment)
	}
	return blameMailbox, err
}

// probed returns then if the mailbox itself answers.
func (t *trouble) probed(ctx context.Context, c *Conn, b *box, err error, then blame) (blame, error) {
	if _, probeErr := c.profile(ctx, b, quota.Delta); probeErr != nil {
		return blameMailbox, errors.Join(ctx.Err(), err)
	}
	if t.row++; t.row > mostInARow {
		return blameMany, tooMany{named(fmt.Sprintf("%d messages in a row cannot be read", t.row), err)}
	}
	return then, nil
}
