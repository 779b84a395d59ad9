package s3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
// versions, unfinished uploads); and read, write and remove (see package probe). In a bucket with a default retention nothing
// is written, since it would stay.
func (c *Conn) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	b, p, began := c.b, probe.New(c.Info(), opts), time.Now()
	t := b.target.Load()
	detail := t.scheme + "://" + t.host + ", region " + t.region
	b.http.Probe(ctx, p, strings.Join(append([]string{detail}, t.notes...), "\n"))
	p.Step("auth", func() (string, string, error) { return b.testAuth(ctx) })
	p.Step("open", func() (string, string, error) { return b.testOpen(ctx) })
	var found bucketFacts
	p.Step("capabilities", func() (detail, hint string, err error) {
		found, detail, hint, err = b.testCapabilities(ctx)
		return detail, hint, err
	})
	p.Bucket(ctx, c, probe.BucketOptions{
		Write: opts != nil && opts.Write, IfAbsent: c.Features().IfAbsent, KeepsAll: found.keepsAll,
		IgnoredHint: "emulate_if_absent: without a conditional put two writers can overwrite each other; Put with IfAbsent is refused, or looks first if this is set",
	})
	if found.versions && opts != nil && opts.Write && found.keepsAll == "" {
		if err := b.sweep(ctx, began); err != nil {
			b.env.Log().LogAttrs(ctx, slog.LevelWarn, "versions of the probe stay behind", slog.String("prefix", probe.Prefix), slog.Any("error", err))
		}
	}
	return p.Report()
}

// sweep removes what the probe left in a bucket with versions: its versions and its marker.
func (b *backend) sweep(ctx context.Context, since time.Time) error {
	skew, _ := b.http.Skew()
	since = since.Add(skew - 10*time.Second) // the server dates versions, and rounds
	prefix := probe.Prefix
	return b.do(ctx, exchange{root: "ListVersionsResult"}, func(ctx context.Context, c *sdk.Client) error {
		out, err := c.ListObjectVersions(ctx, &sdk.ListObjectVersionsInput{Bucket: &b.cfg.Bucket, Prefix: &prefix})
		if err != nil {
			return err
		}
		var errs []error
		for _, v := range out.Versions {
			if when(v.LastModified).After(since) {
				errs = append(errs, b.erase(ctx, v.Key, v.VersionId))
			}
		}
		for _, m := range out.DeleteMarkers {
			if when(m.LastModified).After(since) {
				errs = append(errs, b.erase(ctx, m.Key, m.VersionId))
			}
		}
		return errors.Join(errs...)
	})
}

// erase removes one version of one object.
func (b *backend) erase(ctx context.Context, key, id *string) error {
	return b.do(ctx, exchange{}, func(ctx context.Context, c *sdk.Client) error {
		_, err := c.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: &b.cfg.Bucket, Key: key, VersionId: id})
		return err
	})
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

// bucketFacts are what the capabilities step finds.
type bucketFacts struct {
	keepsAll string // why nothing that is written can be removed, "" = it can
	versions bool
}

// testCapabilities says what the bucket has. What may not be asked is no failure.
func (b *backend) testCapabilities(ctx context.Context) (found bucketFacts, detail, hint string, err error) {
	locks, err := b.mayLock(ctx)
	state := b.lockState()
	lines := []string{"object lock: no"}
	switch {
	case err != nil:
		return found, "", "", b.tested(err)
	case state.guess:
		lines[0] = "object lock: not known: this access key may not ask (s3:GetBucketObjectLockConfiguration)"
	case state.rule:
		lines[0] = "object lock: yes, with a default retention"
		found.keepsAll = "not tried: the bucket has a default retention, which would keep what is written"
	case locks:
		lines[0] = "object lock: yes"
	}
	status, err := b.versioning(ctx)
	found.versions = status != types.BucketVersioningStatus("")
	switch {
	case err != nil:
		lines = append(lines, "versions: not known: "+err.Error())
	case status == types.BucketVersioningStatusEnabled:
		lines = append(lines, "versions: yes: a delete hides an object and keeps its versions")
	case found.versions:
		lines = append(lines, "versions: "+string(status)+": older versions are kept")
	default:
		lines = append(lines, "versions: no")
	}
	if b.completes.Load() == unknown && b.conditions.Load() != ignored {
		lines = append(lines, "put-if-absent of objects in parts: not proven: a look right before the last request guards them")
	}
	uploads, next, err := b.Incomplete(ctx, "")
	switch {
	case err != nil:
		lines = append(lines, "unfinished uploads: not known: "+err.Error())
	case len(uploads) > 0:
		more := ""
		if next != "" {
			more = " or more"
		}
		lines = append(lines, fmt.Sprintf("unfinished uploads: %d%s, the oldest of %s", len(uploads), more, oldest(uploads).UTC().Format(time.RFC3339)))
		hint = "unfinished uploads cost room: remove them by AbortIncomplete, or give the bucket a lifecycle rule that does"
	default:
		lines = append(lines, "unfinished uploads: none")
	}
	if ctx.Err() != nil {
		return found, "", "", b.tested(ctx.Err())
	}
	return found, strings.Join(lines, "\n"), hint, nil
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

func (b *backend) versioning(ctx context.Context) (status types.BucketVersioningStatus, err error) {
	err = b.do(ctx, exchange{root: "VersioningConfiguration"}, func(ctx context.Context, c *sdk.Client) error {
		out, err := c.GetBucketVersioning(ctx, &sdk.GetBucketVersioningInput{Bucket: &b.cfg.Bucket})
		if err == nil {
			status = out.Status
		}
		return err
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
