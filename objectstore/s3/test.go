package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/probe"
	"github.com/mailconn/mailconn/objectstore"
)

// maxSkew is from where on Test warns of a clock. S3 refuses requests from 15 minutes on.
const maxSkew = 5 * time.Minute

// Test implements connection.Connection. The steps are resolve, connect and tls, on a connection of their own; auth and
// open (does the server know the identity, and is the bucket there, in the region that is signed for); capabilities (locks,
// versions, unfinished uploads); and read, write and remove (see package probe). In a bucket with object lock nothing is
// written: its default retention could keep the probe for years.
func (c *Conn) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	b, p := c.b, probe.New(c.Info(), opts)
	t := b.target.Load()
	detail := t.scheme + "://" + t.host + ", region " + t.region
	b.http.Probe(ctx, p, strings.Join(append([]string{detail}, t.notes...), "\n"))
	p.Step("auth", func() (string, string, error) { return b.testAuth(ctx) })
	p.Step("open", func() (string, string, error) { return b.testOpen(ctx) })
	locks := false
	p.Step("capabilities", func() (detail, hint string, err error) {
		detail, hint, locks, err = b.testCapabilities(ctx)
		return detail, hint, err
	})
	o := probe.BucketOptions{
		Write: opts != nil && opts.Write, IfAbsent: c.Features().IfAbsent,
		IgnoredHint: "emulate_if_absent: without a conditional put two writers can overwrite each other; Put with IfAbsent is refused, or looks first if this is set",
	}
	if locks {
		o.KeepsAll = "not tried: the bucket has object lock, and might keep what is written"
	}
	p.Bucket(ctx, c, o)
	return p.Report()
}

// testAuth finds out whether the server knows the identity. What it says of the bucket is the next step's.
func (b *backend) testAuth(ctx context.Context) (detail, hint string, err error) {
	_, err = b.List(ctx, &objectstore.ListRequest{Limit: 1})
	if kind := connection.KindOf(err); err != nil && kind != connection.ErrConfig && kind != connection.ErrPermission {
		return "", "", b.tested(err)
	}
	detail = "access key " + b.cfg.Settings.Identity
	if skew, known := b.http.Skew(); known {
		detail += fmt.Sprintf("; the server's clock is %s", describe(skew))
		if skew.Abs() > maxSkew {
			hint = "the clocks differ much: from 15 minutes on the server refuses everything; set this machine's clock"
		}
	}
	return detail, hint, nil
}

func (b *backend) testOpen(ctx context.Context) (detail, hint string, err error) {
	before := b.cfg.Region
	if _, err := b.List(ctx, &objectstore.ListRequest{Limit: 1}); err != nil {
		return "", "", b.tested(err)
	}
	t := b.target.Load()
	if p, err := b.cfg.place(); err == nil {
		before = p.region
	}
	u := t.url()
	if t.region != before {
		return u.String(), fmt.Sprintf("location and region: the bucket is in %s, not in %s; each new connection finds that out by one request more", t.region, before), nil
	}
	return u.String() + ", region " + t.region, "", nil
}

// testCapabilities says what the bucket has. What may not be asked is no failure.
func (b *backend) testCapabilities(ctx context.Context) (detail, hint string, locks bool, err error) {
	var lines []string
	locks, err = b.mayLock(ctx)
	switch {
	case err != nil:
		return "", "", false, b.tested(err)
	case b.lockState().guess:
		lines = append(lines, "object lock: not known: this access key may not ask (s3:GetBucketObjectLockConfiguration)")
	case locks:
		lines = append(lines, "object lock: yes")
	default:
		lines = append(lines, "object lock: no")
	}
	versions, err := b.versioning(ctx)
	if err != nil {
		versions = "not known: " + err.Error()
	}
	lines = append(lines, "versions: "+versions)
	found, next, err := b.Incomplete(ctx, "")
	switch {
	case err != nil:
		lines = append(lines, "unfinished uploads: not known: "+err.Error())
	case len(found) > 0:
		more := ""
		if next != "" {
			more = " or more"
		}
		lines = append(lines, fmt.Sprintf("unfinished uploads: %d%s, the oldest of %s", len(found), more, oldest(found).UTC().Format(time.RFC3339)))
		hint = "unfinished uploads cost room: remove them by AbortIncomplete, or give the bucket a lifecycle rule that does"
	default:
		lines = append(lines, "unfinished uploads: none")
	}
	if ctx.Err() != nil {
		return "", "", false, b.tested(ctx.Err())
	}
	return strings.Join(lines, "\n"), hint, locks, nil
}

func oldest(all []connection.Incomplete) time.Time {
	at := all[0].Started
	for _, one := range all {
		if one.Started.Before(at) {
			at = one.Started
		}
	}
	return at
}

func (b *backend) versioning(ctx context.Context) (status string, err error) {
	err = b.do(ctx, exchange{root: "VersioningConfiguration"}, func(ctx context.Context, c *sdk.Client) error {
		out, err := c.GetBucketVersioning(ctx, &sdk.GetBucketVersioningInput{Bucket: &b.cfg.Bucket})
		if err != nil {
			return err
		}
		switch out.Status {
		case types.BucketVersioningStatusEnabled:
			status = "yes: a delete hides an object and keeps its versions"
		case types.BucketVersioningStatusSuspended:
			status = "suspended: older versions are kept"
		default:
			status = "no"
		}
		return nil
	})
	return status, err
}

// tested completes an error for a step.
func (b *backend) tested(err error) error {
	e := connection.Error{Kind: connection.KindOf(err), Err: err}
	var inner *connection.Error
	if errors.As(err, &inner) {
		e = *inner
	}
	e.Op, e.Driver, e.Endpoint = "test", DriverName, b.target.Load().endpoint()
	return &e
}
