package s3

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// Get implements objectstore.Backend.
func (b *backend) Get(ctx context.Context, key string, req *objectstore.GetRequest) (reply *objectstore.Reply, err error) {
	in := &sdk.GetObjectInput{Bucket: &b.cfg.Bucket, Key: &key}
	if req.IfMatch != "" {
		in.IfMatch = optional(`"` + req.IfMatch + `"`)
	}
	if req.Offset > 0 || req.Length > 0 {
		span := fmt.Sprintf("bytes=%d-", req.Offset)
		if req.Length > 0 && req.Length <= math.MaxInt64-req.Offset {
			span += strconv.FormatInt(req.Offset+req.Length-1, 10)
		}
		in.Range = &span
	}
	err = b.do(ctx, exchange{body: true}, func(ctx context.Context, c *sdk.Client) error {
		out, err := c.GetObject(ctx, in)
		if err != nil {
			return err
		}
		if text(out.ETag) == "" {
			return errors.Join(noObject(), out.Body.Close())
		}
		info := describeObject(out.Metadata, out.CacheControl, out.LastModified, out.ETag, out.ContentType, out.StorageClass, out.VersionId, out.Restore)
		info.Lock = lockOf(out.ObjectLockRetainUntilDate, out.ObjectLockLegalHoldStatus)
		reply = &objectstore.Reply{ObjectInfo: info, Body: out.Body}
		reply.Offset, reply.Size, err = extent(text(out.ContentRange), out.ContentLength)
		if err != nil {
			return errors.Join(err, out.Body.Close())
		}
		return nil
	})
	if err != nil {
		return nil, b.missing(ctx, err)
	}
	return reply, nil
}

// extent returns where an answer begins in its object, and the object's size, -1 if unknown (RFC 9110, section 14.4).
func extent(contentRange string, length *int64) (offset, size int64, err error) {
	if contentRange == "" {
		if length == nil {
			return 0, -1, nil
		}
		return 0, *length, nil
	}
	bad := &connection.Error{Kind: connection.ErrProtocol, Err: fmt.Errorf("the server answers with range %.60q", contentRange)}
	span, total, ok := strings.Cut(strings.TrimPrefix(contentRange, "bytes "), "/")
	first, _, okFirst := strings.Cut(span, "-")
	offset, errFirst := strconv.ParseInt(first, 10, 64)
	if !ok || !okFirst || errFirst != nil || offset < 0 {
		return 0, 0, bad
	}
	if total == "*" {
		return offset, -1, nil
	}
	size, err = strconv.ParseInt(total, 10, 64)
	if err != nil || size < 0 {
		return 0, 0, bad
	}
	return offset, size, nil
}

// Stat implements objectstore.Backend.
func (b *backend) Stat(ctx context.Context, key string) (connection.ObjectInfo, error) {
	out, err := b.head(ctx, key)
	if err != nil {
		return connection.ObjectInfo{}, b.missing(ctx, err)
	}
	info := describeObject(out.Metadata, out.CacheControl, out.LastModified, out.ETag, out.ContentType, out.StorageClass, out.VersionId, out.Restore)
	info.Lock = lockOf(out.ObjectLockRetainUntilDate, out.ObjectLockLegalHoldStatus)
	if out.ContentLength == nil {
		return info, &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the server does not tell the size")}
	}
	info.Size = *out.ContentLength
	return info, nil
}

// head asks for an object's headers. Its error says no more than the status.
func (b *backend) head(ctx context.Context, key string) (out *sdk.HeadObjectOutput, err error) {
	err = b.do(ctx, exchange{}, func(ctx context.Context, c *sdk.Client) error {
		out, err = c.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: &b.cfg.Bucket, Key: &key})
		if err == nil && text(out.ETag) == "" {
			err = noObject()
		}
		return err
	})
	return out, err
}

// noObject is the error for a success without an ETag, which every S3 gives to an object: a page to log in, say, which must
// not pass for one that is there.
func noObject() error {
	return &connection.Error{
		Kind: connection.ErrProtocol, Err: errors.New("the answer has no ETag, as that of an object has"),
		Hint: "location: what answers there is no S3",
	}
}

// describeObject is what GET and HEAD have in common.
func describeObject(
	headers map[string]string, cache *string, modified *time.Time, etag, contentType *string, class types.StorageClass, id, restore *string,
) connection.ObjectInfo {
	info := connection.ObjectInfo{
		Modified: when(modified), ETag: unquote(etag), ContentType: text(contentType), Class: string(class), Version: version(id),
	}
	info.Meta, info.SHA256 = readMetadata(headers, text(cache))
	info.Restore, info.ReadableTo = restoreState(class, text(restore))
	return info
}

// missing finds out what an answer without a code means: HEAD has no body to hold one, and what lies before a server has
// codes of its own. A listing tells whether the bucket, the identity or only the object is at fault.
func (b *backend) missing(ctx context.Context, err error) error {
	e := told(err)
	if e == nil {
		return err
	}
	_, known := kinds[e.Code]
	_, number := strconv.Atoi(e.Code) // the status, in want of a code
	switch {
	case known, errors.Is(err, objectstore.ErrRange), number != nil && e.Kind != connection.ErrNotFound:
		return err
	case e.Kind == connection.ErrNotFound, e.Kind == connection.ErrPermission, e.Kind == connection.ErrAuth, e.Kind == connection.ErrConfig, e.Kind == connection.ErrRejected:
	default:
		return err
	}
	_, asked := b.List(ctx, &objectstore.ListRequest{Limit: 1})
	switch kind := connection.KindOf(asked); {
	case asked == nil:
		if e.Code == strconv.Itoa(http.StatusNotFound) {
			e.Code = "NoSuchKey"
		}
		return err
	case kind == connection.ErrPermission && e.Kind == connection.ErrNotFound:
		return err // we may not list: what was said first stands
	case kind == connection.ErrConfig, kind == connection.ErrAuth, kind == connection.ErrPermission, connection.Temporary(asked), ctx.Err() != nil:
		return asked
	}
	return err
}
