package gmail

import (
	"errors"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/audit"
	"github.com/mailconn/mailconn/gmail/internal/raw"
)

// unwrap replaces a copy that a monitor has sent to b by the message in it, unless the settings want copies as they are: Body
// and Size become the message's, and Envelope is what the copy's header tells. What is not certainly a plain copy stays as it
// is, and an EventQuirk says so. msg.Body reads from m, which stays the caller's to close.
func (c *Conn) unwrap(b *box, m *raw.Message, msg *connection.Message) error {
	if !c.cfg.monitored() || !c.cfg.Monitors.unwrap() || !m.HasRaw {
		return nil
	}
	opened, err := audit.Unwrap(m.Body(), b.email())
	if errors.Is(err, audit.ErrOdd) {
		c.emit(connection.Event{Kind: connection.EventQuirk, Mailbox: b.id, Ref: msg.Ref, Detail: "a message that is no monitor's copy, or one that cannot be opened for certain", Err: err})
		return nil
	}
	if err != nil {
		return err
	}
	msg.Body, msg.Size, msg.Envelope = opened.Body(), opened.Size, opened.Envelope
	return nil
}
