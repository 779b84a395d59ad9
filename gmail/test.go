package gmail

import (
	"context"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
	"github.com/mailconn/mailconn/internal/probe"
)

// Test implements [connection.Connection].
func (c *Conn) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	const op = "test"
	p := probe.New(c.info, opts)
	ctx, leave, err := c.enter(ctx, op)
	if err != nil {
		p.Step("key", func() (string, string, error) { return "", "", err })
		return p.Report()
	}
	defer leave()
	p.Step("mailbox", func() (string, string, error) {
		if c.own == nil {
			return "", "", nil
		}
		found, err := c.profile(ctx, c.own, quota.Other)
		if err != nil {
			return "", "", c.fail(op, connection.Ref{}, err)
		}
		return found.Email, "", nil
	})
	return p.Report()
}
