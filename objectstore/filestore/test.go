package filestore

import (
	"context"
	"errors"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/probe"
)

// Test implements connection.Connection. The steps are open (location and bucket), read (a listing of one), and with
// opts.Write write and remove: an object is put twice with IfAbsent, of which the second must be refused, read back and
// deleted.
func (c *Conn) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	p := probe.New(c.Info(), opts)
	p.Step("open", func() (string, string, error) { return c.probeDir(ctx) })
	p.Bucket(ctx, c, probe.BucketOptions{
		Write: opts != nil && opts.Write, IfAbsent: true,
		IgnoredHint: "location: use another file system: this one does not keep two writers apart",
	})
	return p.Report()
}

// probeDir opens the directory and says what it is worth.
func (c *Conn) probeDir(ctx context.Context) (detail, hint string, err error) {
	t, err := c.open(ctx)
	if err == nil {
		err = c.missing(t)
	}
	if err != nil {
		return "", "", c.fail("test", "", err)
	}
	root, err := t.get(nil, false)
	if err != nil {
		return "", "", c.fail("test", "", err)
	}
	defer t.put(root)
	detail = c.endpoint()
	if !t.durable {
		detail += "\nsync is none: what is stored may be lost when the machine halts"
		hint = "sync: set it to full unless the data can be made again"
	}
	if err := root.writable(); err != nil {
		var e *connection.Error
		if errors.As(c.fail("test", "", err), &e) {
			return detail + "\ncan be read, but not written", e.Hint, nil
		}
	}
	return detail, hint, nil
}
