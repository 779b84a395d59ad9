package swift

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
	"github.com/mailconn/mailconn/internal/probe"
	"github.com/mailconn/mailconn/objectstore"
)

// muchSkew is from where on a clock is worth a warning.
const muchSkew = 2 * time.Minute

// Test implements connection.Connection. The steps are resolve, connect and tls (the identity service), auth (one login,
// even if an earlier one was refused), capabilities (what the cluster tells of itself), open (the container), read (a
// listing of one), and with opts.Write write and remove.
func (c *Conn) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	p := probe.New(c.info, opts)
	if err := ctx.Err(); err != nil {
		p.Step("resolve", func() (string, string, error) { return "", "the test was ended", c.failed(err) })
		return p.Report()
	}
	c.http.Probe(ctx, p, c.resolved())
	p.Step("auth", func() (string, string, error) { return c.testAuth(ctx) })
	p.Step("capabilities", func() (string, string, error) { return c.testCapabilities(ctx) })
	p.Step("open", func() (string, string, error) { return c.testContainer(ctx) })
	p.Bucket(ctx, c, probe.BucketOptions{
		Write: opts != nil && opts.Write, IfAbsent: c.Features().IfAbsent,
		Ignored: func() {
			c.backend.ignorant.Store(true)
			c.Learn(func(f *objectstore.Features) { f.IfAbsent = false })
		},
		IgnoredHint: "emulate_if_absent: set it if put-if-absent is needed: the server does not know it, and two writers at the same time may then both succeed",
	})
	return p.Report()
}

// failed makes the error that leaves Test.
func (c *Conn) failed(err error) error {
	if err == nil {
		return nil
	}
	e := &connection.Error{Op: "test", Driver: c.info.Driver, Endpoint: c.info.Endpoint, Kind: connection.KindOf(err), Err: err}
	if inner, ok := err.(*connection.Error); ok { //nolint:errorlint // of this package, not wrapped
		e.Code, e.Hint, e.RetryAfter, e.Err = inner.Code, inner.Hint, inner.RetryAfter, inner.Err
	}
	return e
}

func (c *Conn) resolved() string {
	p := c.backend.place
	lines := append([]string{fmt.Sprintf("%s, version %d of the identity protocol", p.identity, p.version)}, p.notes...)
	return strings.Join(lines, "\n")
}

func (c *Conn) testAuth(ctx context.Context) (detail, hint string, err error) {
	c.backend.account.forget()
	s, err := c.backend.account.session(ctx)
	if err != nil {
		return "", "", c.failed(err)
	}
	lines := []string{map[form]string{
		formHeaders: "user and key", formPassword: "user and password", formAPIKey: "user and API key", formApplication: "application credential",
	}[s.asker.asked] + " accepted"}
	if s.asker.project != "" {
		lines = append(lines, "project "+httpx.Clean(s.asker.project))
	}
	if len(s.asker.regions) > 0 {
		lines = append(lines, "regions of the catalogue: "+httpx.Clean(strings.Join(s.asker.regions, ", ")))
	}
	lines = append(lines, "storage at "+httpx.Clean(s.storage.String()))
	if skew, ok := c.http.Skew(); ok {
		lines = append(lines, fmt.Sprintf("the server's clock is %s ahead of ours", skew.Round(time.Second)))
		if skew.Abs() > muchSkew {
			hint = "set this machine's clock: AbortIncomplete judges by it what is old"
		}
	}
	return strings.Join(lines, "\n"), hint, nil
}

func (c *Conn) testCapabilities(ctx context.Context) (detail, hint string, err error) {
	info, err := c.backend.info(ctx)
	switch connection.KindOf(err) {
	case connection.ErrNotFound, connection.ErrPermission, connection.ErrUnsupported, connection.ErrProtocol, connection.ErrAuth, connection.ErrRejected, connection.ErrChanged:
		return "the cluster does not tell what it has (/info)", "", nil
	}
	if err != nil {
		return "", "", c.failed(err)
	}
	var lines []string
	if v := httpx.Clean(info.Swift.Version); v != "" {
		lines = append(lines, "swift "+v)
	}
	if n := info.Swift.MaxFileSize; n > 0 {
		lines = append(lines, fmt.Sprintf("one request takes up to %d octets", n))
	}
	if info.SLO == nil {
		c.Learn(func(f *objectstore.Features) { f.MaxSize = partLimits.MaxPut })
		lines = append(lines, "no large objects")
		hint = "single_put_limit: the cluster has no static large objects; raise it above the largest object that is to be stored"
	} else {
		lines = append(lines, fmt.Sprintf("large objects of up to %d segments", info.SLO.MaxSegments))
	}
	if info.BulkDelete == nil {
		c.backend.noBulk.Store(true)
		lines = append(lines, "no bulk delete: keys are removed one by one")
	} else {
		lines = append(lines, "bulk delete")
	}
	if info.TempURL == nil {
		lines = append(lines, "no presigned URLs")
	} else {
		lines = append(lines, "presigned URLs")
	}
	return strings.Join(lines, "\n"), hint, nil
}

func (c *Conn) testContainer(ctx context.Context) (detail, hint string, err error) {
	b := c.backend
	a, err := b.send(ctx, &request{method: http.MethodHead, container: b.place.container})
	switch connection.KindOf(err) {
	case connection.ErrNotFound:
		err = b.noContainer(err)
	case connection.ErrPermission:
		return "container " + b.place.container + ": this user may not look at it", "", nil // the next step tells whether it may read
	}
	if err != nil {
		return "", "", c.failed(err)
	}
	a.discard()
	detail = "container " + b.place.container
	if n := httpx.Clean(a.header.Get("X-Container-Object-Count")); n != "" {
		detail += " with " + n + " objects"
	}
	if b.large.present() {
		detail += "; large objects have their parts in " + b.place.segments
	}
	return detail, "", nil
}
