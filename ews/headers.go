package ews

import (
	"context"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

var tagTransportHeaders = soap.Tag(0x007D, "String") // PR_TRANSPORT_MESSAGE_HEADERS

// TransportHeaders returns the header section of a message as it was received, with the trace and signature fields that
// Exchange leaves out when it makes the message anew, and with CRLF as line ends. It is "" if the server has not kept it,
// as of messages that never came by SMTP. A message that is gone is ErrNotFound.
func (c *Conn) TransportHeaders(ctx context.Context, ref connection.Ref) (string, error) {
	const op = "transport headers"
	if ref.ID == "" {
		return "", c.problem(op, ref, connection.ErrInvalid, "the Ref has no ID")
	}
	ctx, leave, err := c.enter(ctx, op)
	if err != nil {
		return "", err
	}
	defer leave()
	t, err := c.target(ref.Mailbox)
	if err != nil {
		return "", c.fail(op, t, ref, err)
	}
	shape := soap.ItemShape{Properties: []soap.Path{tagTransportHeaders}}
	r, err := c.oneWith(ctx, t, soap.GetItem{Shape: shape, Items: []soap.ItemID{{ID: ref.ID}}}, callOptions{})
	switch {
	case ctx.Err() != nil:
		return "", c.ended(ctx, op, ref)
	case err != nil:
		return "", c.fail(op, t, ref, err)
	case len(r.Items) != 1 || r.Items[0].ID != ref.ID:
		return "", c.problem(op, ref, connection.ErrProtocol, "the server's answer is about something else")
	}
	text := r.Items[0].Extended[tagTransportHeaders.Key()]
	return strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n"), nil // XML need not keep CR
}
