package b2

import (
	"context"
	"fmt"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
	"github.com/mailconn/mailconn/internal/probe"
	"github.com/mailconn/mailconn/objectstore"
)

// Test implements connection.Connection. The steps are resolve, connect, tls, auth, capabilities (of the application key),
// open (the bucket, by ID or name), read (a listing of one), and with opts.Write write and remove.
func (c *Conn) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	b := c.backend
	p := probe.New(c.Info(), opts)
	b.web.Probe(ctx, p, b.base.String())
	var s *session
	p.Step("auth", func() (string, string, error) {
		var err error
		if s, err = b.authorize(ctx); err != nil {
			return "", "", c.explain(err)
		}
		return "account " + httpx.Clean(s.account.AccountID), c.skew(), nil
	})
	p.Step("capabilities", func() (string, string, error) { return c.capabilities(s) })
	keepsAll := ""
	p.Step("open", func() (string, string, error) {
		if err := b.findBucket(ctx, s); err != nil {
			return "", "", c.explain(err)
		}
		b.current.Store(s)
		if s.lock.known && !s.lock.enabled {
			c.Learn(func(f *objectstore.Features) { f.Lock = false })
		}
		if s.lock.byRule {
			keepsAll = "the bucket locks all that is put"
		}
		return fmt.Sprintf("bucket %s, ID %s", s.bucket.Name, s.bucket.ID), "", nil
	})
	p.Bucket(ctx, c, probe.BucketOptions{Write: opts != nil && opts.Write, KeepsAll: keepsAll})
	return p.Report()
}
