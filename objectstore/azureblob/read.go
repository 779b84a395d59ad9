package azureblob

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// etag returns an ETag as listings show it: headers have it in quotes.
func etag(e *azcore.ETag) string { return strings.Trim(string(deref(e)), `"`) }

// ifMatch returns the condition that an object has the ETag.
func ifMatch(tag string) *blob.AccessConditions {
	if tag == "" {
		return nil
	}
	quoted := azcore.ETag(`"` + tag + `"`)
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: &quoted}}
}

// lockOf returns the lock of an object. A policy that has ended protects nothing any more, but is told.
func lockOf(until *time.Time, hold *bool) connection.Lock {
	return connection.Lock{RetainUntil: deref(until), LegalHold: deref(hold)}
}

// restoreState returns whether an object of the tier can be read.
func restoreState(tier, status string) connection.RestoreState {
	switch {
	case strings.HasPrefix(status, "rehydrate-pending"):
		return connection.RestorePending
	case tier == string(blob.AccessTierArchive):
		return connection.RestoreNeeded
	}
	return connection.RestoreNone
}

// Stat implements objectstore.Backend.
func (b *backend) Stat(ctx context.Context, key string) (connection.ObjectInfo, error) {
	p, err := b.properties(ctx, key)
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	return statInfo(key, p), nil
}

// properties asks for what the service knows of an object.
func (b *backend) properties(ctx context.Context, key string) (*blob.GetPropertiesResponse, error) {
	resp, err := b.blob(key).GetProperties(ctx, nil)
	if err != nil {
		return nil, b.settle(ctx, b.fail(ctx, err, connection.ErrChanged))
	}
	if etag(resp.ETag) == "" {
		return nil, noObject()
	}
	b.sawVersion(resp.VersionID)
	return &resp, nil
}

// noObject is the error for a success without an ETag, which the service gives to every object: a page to log in, say, which
// must not pass for one that is there.
func noObject() error {
	return &connection.Error{
		Kind: connection.ErrProtocol, Err: errors.New("the answer has no ETag, as that of an object has"),
		Hint: "location: the server does not answer as Azure's blob service does",
	}
}

func statInfo(key string, p *blob.GetPropertiesResponse) connection.ObjectInfo {
	info := connection.ObjectInfo{
		Key: key, Size: deref(p.ContentLength), Modified: deref(p.LastModified), ETag: etag(p.ETag), ContentType: deref(p.ContentType),
		Class: deref(p.AccessTier), Version: deref(p.VersionID), Lock: lockOf(p.ImmutabilityPolicyExpiresOn, p.LegalHold),
		Restore: restoreState(deref(p.AccessTier), deref(p.ArchiveStatus)),
	}
	setMeta(&info, p.Metadata)
	return info
}

// Get implements objectstore.Backend.
func (b *backend) Get(ctx context.Context, key string, req *objectstore.GetRequest) (*objectstore.Reply, error) {
	wanted := blob.HTTPRange{Offset: req.Offset, Count: req.Length}
	if wanted.Count > math.MaxInt64-wanted.Offset {
		wanted.Count = blob.CountToEnd
	}
	var raw *http.Response
	resp, err := b.blob(key).DownloadStream(policy.WithCaptureResponse(ctx, &raw), &blob.DownloadStreamOptions{Range: wanted, AccessConditions: ifMatch(req.IfMatch)})
	if err != nil {
		return nil, b.settle(ctx, b.fail(ctx, err, connection.ErrChanged))
	}
	if etag(resp.ETag) == "" {
		return nil, errors.Join(noObject(), resp.Body.Close())
	}
	b.sawVersion(resp.VersionID)
	r := &objectstore.Reply{
		ObjectInfo: connection.ObjectInfo{
			Key: key, Size: -1, Modified: deref(resp.LastModified), ETag: etag(resp.ETag), ContentType: deref(resp.ContentType),
			Class: deref(resp.AccessTier), Version: deref(resp.VersionID), Lock: lockOf(resp.ImmutabilityPolicyExpiresOn, resp.LegalHold),
		},
		Body: resp.Body,
	}
	setMeta(&r.ObjectInfo, resp.Metadata)
	if resp.ContentRange == nil && (raw == nil || raw.StatusCode != http.StatusPartialContent) {
		if resp.ContentLength != nil && *resp.ContentLength >= 0 {
			r.Size = *resp.ContentLength
		}
		return r, nil
	}
	if r.Offset, r.Size, err = parseRange(deref(resp.ContentRange)); err != nil {
		return nil, errors.Join(&connection.Error{Kind: connection.ErrProtocol, Err: err}, resp.Body.Close())
	}
	return r, nil
}

// parseRange reads a Content-Range: "bytes 5-9/20" (RFC 9110, 14.4). The size is -1 if it is not told.
func parseRange(text string) (offset, size int64, err error) {
	span, total, ok := strings.Cut(strings.TrimPrefix(text, "bytes "), "/")
	first, _, dash := strings.Cut(span, "-")
	offset, err = strconv.ParseInt(first, 10, 64)
	if !ok || !dash || err != nil || offset < 0 {
		return 0, 0, fmt.Errorf("content range %.100q", text)
	}
	if total == "*" {
		return offset, -1, nil
	}
	if size, err = strconv.ParseInt(total, 10, 64); err != nil || size < offset {
		return 0, 0, fmt.Errorf("content range %.100q", text)
	}
	return offset, size, nil
}
