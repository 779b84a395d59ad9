package azureblob

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/probe"
	"github.com/mailconn/mailconn/objectstore"
)

// Test implements connection.Connection: resolve, connect, tls, auth, capabilities, open and read, and with Write write and
// remove. A container that is missing is never made.
func (c *Conn) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	p := probe.New(c.Info(), opts)
	b := c.b
	b.http.Probe(ctx, p, strings.Join(append([]string{b.at.base.String()}, b.at.notes...), "\n"))
	var (
		found  container.GetPropertiesResponse
		failed error
	)
	p.Step("auth", func() (string, string, error) {
		found, failed = c.lookAt(ctx)
		if failed != nil && !errors.Is(failed, connection.ErrConfig) {
			return "", "", failed
		}
		// That the container is missing is told only to those who may know.
		return "account " + b.cfg.Settings.Identity + clockOf(b), "", nil
	})
	p.Step("capabilities", func() (string, string, error) {
		return "put if absent, metadata, tiers, copy, presigned URLs, unfinished uploads" + locksOf(failed, &found), "", nil
	})
	p.Step("open", func() (string, string, error) { return "container " + b.cfg.Bucket, "", failed })
	o := probe.BucketOptions{
		Write: opts != nil && opts.Write, IfAbsent: true,
		Ignored:     func() { c.Learn(func(f *objectstore.Features) { f.IfAbsent = false }) },
		IgnoredHint: "location: the server does not obey If-None-Match, as Azure does: of two writers both may succeed",
	}
	if deref(found.HasImmutabilityPolicy) || deref(found.HasLegalHold) {
		o.KeepsAll = "the container has an immutability policy or a legal hold: what is written would stay"
	}
	p.Bucket(ctx, c, o)
	return p.Report()
}

// lookAt asks for the container, as each verb would.
func (c *Conn) lookAt(ctx context.Context) (container.GetPropertiesResponse, error) {
	found, err := c.b.container.GetProperties(ctx, nil)
	if err = c.b.failAt(ctx, err, connection.ErrChanged); err == nil {
		return found, nil
	}
	e := &connection.Error{Op: "test", Driver: DriverName, Endpoint: c.Info().Endpoint, Kind: connection.KindOf(err), Err: err}
	var inner *connection.Error
	if errors.As(err, &inner) {
		e.Code, e.RetryAfter, e.Hint, e.Err = inner.Code, inner.RetryAfter, inner.Hint, inner.Err
	}
	return found, e
}

// clockOf tells how far the clocks are apart, if it is worth telling.
func clockOf(b *backend) string {
	d, known := b.http.Skew()
	if !known || d.Abs() < 5*time.Second {
		return ""
	}
	return fmt.Sprintf("; the server's clock differs by %s", d.Round(time.Second))
}

func locksOf(failed error, p *container.GetPropertiesResponse) string {
	switch {
	case failed != nil:
		return ""
	case deref(p.IsImmutableStorageWithVersioningEnabled):
		return ", retention and legal hold of single objects"
	case deref(p.HasImmutabilityPolicy), deref(p.HasLegalHold):
		return "; the whole container is under retention or legal hold"
	}
	return "; no retention of single objects (the container lacks version-level immutability)"
}
