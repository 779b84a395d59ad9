package s3

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

const maxKeys = 1000

// List implements objectstore.Backend.
func (b *backend) List(ctx context.Context, req *objectstore.ListRequest) (page *objectstore.Page, err error) {
	// Keys that XML cannot hold come escaped (ListObjectsV2, encoding-type).
	in := &sdk.ListObjectsV2Input{
		Bucket: &b.cfg.Bucket, EncodingType: types.EncodingTypeUrl, Prefix: optional(req.Prefix), Delimiter: optional(req.Delimiter),
		StartAfter: optional(req.After), ContinuationToken: optional(req.Token),
	}
	if req.Limit > 0 {
		limit := int32(min(req.Limit, maxKeys))
		in.MaxKeys = &limit
	}
	err = b.do(ctx, exchange{root: "ListBucketResult"}, func(ctx context.Context, c *sdk.Client) error {
		out, err := c.ListObjectsV2(ctx, in)
		if err != nil {
			return err
		}
		page, err = readPage(out)
		return err
	})
	return page, noBucket(err)
}

// noBucket returns err as one of the settings if it says 404: a bucket without objects has a listing. It is told of the
// bucket by a code of S3, and else by something that stands where the server should, an ingress without a backend say.
func noBucket(err error) error {
	if e := told(err); e != nil && e.Kind == connection.ErrNotFound {
		e.Kind = connection.ErrConfig
		e.Hint = "location: what answers there says 404 to a listing of the bucket as S3 does not: is it the server?"
	}
	return err
}

func readPage(out *sdk.ListObjectsV2Output) (*objectstore.Page, error) {
	page := &objectstore.Page{Entries: make([]connection.ObjectInfo, 0, len(out.Contents)+len(out.CommonPrefixes))}
	for _, o := range out.Contents {
		key, err := unescapeKey(o.Key, out.EncodingType)
		if err != nil {
			return nil, err
		}
		info := connection.ObjectInfo{Key: key, Modified: when(o.LastModified), ETag: unquote(o.ETag), Class: string(o.StorageClass)}
		if o.Size != nil {
			info.Size = *o.Size
		}
		info.Restore, _ = restoreState(types.StorageClass(o.StorageClass), "")
		page.Entries = append(page.Entries, info)
	}
	for _, p := range out.CommonPrefixes {
		key, err := unescapeKey(p.Prefix, out.EncodingType)
		if err != nil {
			return nil, err
		}
		page.Entries = append(page.Entries, connection.ObjectInfo{Key: key, Prefix: true})
	}
	if len(out.CommonPrefixes) > 0 {
		// Keys and prefixes come apart, each in order.
		slices.SortStableFunc(page.Entries, func(a, b connection.ObjectInfo) int { return strings.Compare(a.Key, b.Key) })
	}
	if out.IsTruncated != nil && *out.IsTruncated {
		page.Token = text(out.NextContinuationToken)
		if page.Token == "" {
			return nil, &connection.Error{Kind: connection.ErrProtocol, Err: fmt.Errorf("a page of %d keys says that there are more, and not where", len(out.Contents))}
		}
	}
	return page, nil
}

// unescapeKey returns a key of a listing. A server may take no notice of the wish for escapes, and says then so.
func unescapeKey(s *string, encoding types.EncodingType) (string, error) {
	if encoding != types.EncodingTypeUrl {
		return text(s), nil
	}
	key, err := url.QueryUnescape(text(s))
	if err != nil {
		return "", &connection.Error{Kind: connection.ErrProtocol, Err: fmt.Errorf("a key of the listing: %w", err)}
	}
	return key, nil
}
