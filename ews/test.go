package ews

import (
	"context"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
	"github.com/mailconn/mailconn/internal/probe"
)

// Test implements [connection.Connection].
func (c *Conn) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	const op = "test"
	p := probe.New(c.info, opts)
	p.Step("open", func() (detail, hint string, err error) {
		ctx, leave, err := c.enter(ctx, op)
		if err != nil {
			return "", "", err
		}
		defer leave()
		t, err := c.target("")
		if err != nil {
			return "", "", c.fail(op, t, connection.Ref{}, err)
		}
		if _, err := c.one(ctx, t, soap.GetFolder{Folders: []soap.FolderID{c.distinguished(t, "inbox")}}); err != nil {
			return "", "", c.fail(op, t, connection.Ref{}, err)
		}
		return "the inbox", "", nil
	})
	return p.Report()
}
