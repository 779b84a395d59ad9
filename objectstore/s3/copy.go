package s3

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // the digest of Content-MD5, which the protocol demands
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// Copies of more than this go in parts (S3 API reference, CopyObject).
const (
	maxCopy  = 5 << 30
	copyPart = 256 << 20 // or more, if there were too many
)

// abortWithin is how long an upload that failed is being removed, whatever became of the caller's context.
const abortWithin = 30 * time.Second

// Copy implements objectstore.Copier. An object above 5 GiB goes in parts, and so does any with IfAbsent, which servers
// obey on the last request of an upload but seldom on a copy.
func (b *backend) Copy(ctx context.Context, dst, src string, req *objectstore.CopyRequest) (connection.ObjectInfo, error) {
	if err := b.canLock(ctx, req.Lock); err != nil {
		return connection.ObjectInfo{}, err
	}
	from, err := b.Stat(ctx, src)
	if err != nil {
		return from, err
	}
	put := &objectstore.PutRequest{
		Size: from.Size, SHA256: from.SHA256, IfAbsent: req.IfAbsent, ContentType: from.ContentType, Meta: maps.Clone(from.Meta), Class: req.Class, Lock: req.Lock,
	}
	if req.Replace {
		put.ContentType, put.Meta = req.ContentType, req.Meta
	}
	if put.IfAbsent {
		err = b.absent(ctx, dst)
	} else if err = b.unlocked(ctx, dst); connection.KindOf(err) == connection.ErrNotFound {
		err = nil
	}
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	switch {
	case dst == src && !req.Replace && req.Class == "" && req.Lock == connection.Lock{}:
		return from, nil // S3 refuses a copy that changes nothing
	case from.Size == 0 && put.IfAbsent:
		sum := md5.Sum(nil) //nolint:gosec // as above
		put.Wire = sum[:]
		return b.Put(ctx, dst, bytes.NewReader(nil), put)
	case from.Size > maxCopy, put.IfAbsent:
		return b.copyParts(ctx, dst, src, from, put)
	}
	return b.copyWhole(ctx, dst, src, from, put)
}

func (b *backend) copyWhole(ctx context.Context, dst, src string, from connection.ObjectInfo, put *objectstore.PutRequest) (info connection.ObjectInfo, err error) {
	in := &sdk.CopyObjectInput{
		Bucket: &b.cfg.Bucket, Key: &dst, CopySource: b.source(src), CopySourceIfMatch: optional(`"` + from.ETag + `"`),
		// What belongs to the object is given anew, so that its digest goes with it in any case.
		MetadataDirective: types.MetadataDirectiveReplace, ContentType: optional(put.ContentType),
		StorageClass:         types.StorageClass(b.class(put.Class)),
		ServerSideEncryption: types.ServerSideEncryption(b.cfg.Encryption), SSEKMSKeyId: optional(b.cfg.KMSKey),
	}
	in.Metadata, in.CacheControl = metadata(put.Meta, put.SHA256)
	in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ObjectLockLegalHoldStatus = b.lock(put.Lock)
	err = b.do(ctx, exchange{root: "CopyObjectResult", decides: true}, func(ctx context.Context, c *sdk.Client) error {
		out, err := c.CopyObject(ctx, in)
		if err != nil {
			return err
		}
		info = connection.ObjectInfo{
			Size: from.Size, SHA256: put.SHA256, ContentType: put.ContentType, Meta: put.Meta, Class: b.class(put.Class), Lock: put.Lock,
			Version: version(out.VersionId),
		}
		if r := out.CopyObjectResult; r != nil {
			info.ETag, info.Modified = unquote(r.ETag), when(r.LastModified)
		}
		return nil
	})
	return info, changed(err)
}

func (b *backend) copyParts(ctx context.Context, dst, src string, from connection.ObjectInfo, put *objectstore.PutRequest) (connection.ObjectInfo, error) {
	upload, err := b.create(ctx, dst, put)
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	parts, err := b.copyRanges(ctx, dst, src, upload, from)
	info := connection.ObjectInfo{}
	if err == nil {
		info, err = b.complete(ctx, dst, upload, parts, put)
	}
	if err != nil && connection.KindOf(err) != connection.ErrUncertain {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortWithin)
		defer cancel()
		if left := b.Abort(clean, dst, upload); left != nil {
			b.env.Log().Warn("an unfinished upload stays behind", "key", dst, "error", left)
		}
	}
	info.Size, info.SHA256 = from.Size, put.SHA256
	return info, err
}

func (b *backend) copyRanges(ctx context.Context, dst, src, upload string, from connection.ObjectInfo) ([]types.CompletedPart, error) {
	var parts []types.CompletedPart
	size := max(copyPart, (from.Size+int64(partLimits.MaxParts)-1)/int64(partLimits.MaxParts))
	for at := int64(0); at < from.Size; at += size {
		number := int32(len(parts) + 1)
		in := &sdk.UploadPartCopyInput{
			Bucket: &b.cfg.Bucket, Key: &dst, UploadId: &upload, PartNumber: &number, CopySource: b.source(src),
			CopySourceIfMatch: optional(`"` + from.ETag + `"`),
			CopySourceRange:   optional(fmt.Sprintf("bytes=%d-%d", at, min(at+size, from.Size)-1)),
		}
		err := b.do(ctx, exchange{root: "CopyPartResult"}, func(ctx context.Context, c *sdk.Client) error {
			out, err := c.UploadPartCopy(ctx, in)
			if err != nil {
				return err
			}
			if out.CopyPartResult == nil || out.CopyPartResult.ETag == nil {
				return &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the server gives the part no ETag")}
			}
			parts = append(parts, types.CompletedPart{PartNumber: &number, ETag: out.CopyPartResult.ETag})
			return nil
		})
		if err != nil {
			return nil, changed(err)
		}
		objectstore.Progress(ctx)
	}
	return parts, nil
}

// changed says that the condition of a copy was that the source stays what it was.
func changed(err error) error {
	if hasCode(err, "PreconditionFailed") {
		told(err).Kind = connection.ErrChanged
	}
	return worm(err)
}

// source names an object as the header x-amz-copy-source has it.
func (b *backend) source(key string) *string {
	path := b.cfg.Bucket + "/" + (&url.URL{Path: key}).EscapedPath()
	path = strings.ReplaceAll(path, "+", "%2B") // some servers take it for a space
	return &path
}
