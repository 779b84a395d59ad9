package atmos

import (
	"context"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/probe"
	"github.com/mailconn/mailconn/objectstore"
)

// Test implements connection.Connection. The steps are resolve, connect, tls, auth (a signed question about the service),
// open (the bucket), read (a listing of one), and with opts.Write write and remove.
func (c *Conn) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	p := probe.New(c.Info(), opts)
	c.backend.web.Probe(ctx, p, c.backend.base.String())
	p.Step("auth", func() (string, string, error) { return c.auth(ctx) })
	p.Step("open", func() (string, string, error) {
		return "directory " + c.cfg.Bucket, "", c.explain(c.backend.lookAtBucket(ctx))
	})
	p.Bucket(ctx, c, probe.BucketOptions{
		Write: opts != nil && opts.Write, IfAbsent: true,
		Ignored:     func() { c.Learn(func(f *objectstore.Features) { f.IfAbsent = false }) },
		IgnoredHint: "location: this server renames over what is there; put if absent cannot be relied upon",
	})
	return p.Report()
}
