package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// partLimits are those of the S3 user guide, "Multipart upload limits".
var partLimits = objectstore.PartLimits{MaxPut: 5 << 30, MinPart: 5 << 20, MaxPart: 5 << 30, MaxParts: 10_000}

// PartLimits implements objectstore.PartPutter.
func (b *backend) PartLimits() objectstore.PartLimits { return partLimits }

// Begin implements objectstore.PartPutter. For a put-if-absent it looks whether the key is taken: the answer comes sooner
// than behind all the parts.
func (b *backend) Begin(ctx context.Context, key string, req *objectstore.PutRequest) (upload string, err error) {
	if err := b.canLock(ctx, req.Lock); err != nil {
		return "", err
	}
	switch {
	case req.IfAbsent:
		err = b.absent(ctx, key)
	default:
		err = b.unlocked(ctx, key)
		if connection.KindOf(err) == connection.ErrNotFound {
			err = nil
		}
	}
	if err != nil {
		return "", err
	}
	return b.create(ctx, key, req)
}

func (b *backend) create(ctx context.Context, key string, req *objectstore.PutRequest) (upload string, err error) {
	in := &sdk.CreateMultipartUploadInput{
		Bucket: &b.cfg.Bucket, Key: &key, ContentType: optional(req.ContentType),
		StorageClass:         types.StorageClass(b.class(req.Class)),
		ServerSideEncryption: types.ServerSideEncryption(b.cfg.Encryption), SSEKMSKeyId: optional(b.cfg.KMSKey),
	}
	in.Metadata, in.CacheControl = metadata(req.Meta, req.SHA256)
	in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ObjectLockLegalHoldStatus = b.lock(req.Lock)
	err = b.do(ctx, exchange{root: "InitiateMultipartUploadResult"}, func(ctx context.Context, c *sdk.Client) error {
		out, err := c.CreateMultipartUpload(ctx, in)
		if err != nil {
			return err
		}
		if upload = text(out.UploadId); upload == "" {
			return &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the server gives the upload no id")}
		}
		return nil
	})
	return upload, worm(b.missing(ctx, err))
}

// PutPart implements objectstore.PartPutter. The tag is the part's ETag.
func (b *backend) PutPart(ctx context.Context, key, upload string, body io.ReadSeeker, req *objectstore.PartRequest) (tag string, err error) {
	number := int32(req.Number)
	in := &sdk.UploadPartInput{
		Bucket: &b.cfg.Bucket, Key: &key, UploadId: &upload, PartNumber: &number, ContentLength: &req.Size,
	}
	x := exchange{octets: true}
	if len(req.Wire) == sha256.Size {
		x.sha256 = hex.EncodeToString(req.Wire) // for the signature
	} else {
		in.ContentMD5 = digest(req.Wire)
	}
	err = b.do(ctx, x, func(ctx context.Context, c *sdk.Client) error {
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return err
		}
		in.Body = body
		out, err := c.UploadPart(ctx, in)
		if err != nil {
			return err
		}
		if tag = text(out.ETag); tag == "" {
			return &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the server gives the part no ETag")}
		}
		return nil
	})
	return tag, b.missing(ctx, err)
}

// Complete implements objectstore.PartPutter. The condition of a put-if-absent is decided here: by the server, but until one
// has shown that it does, by a look right before as well.
func (b *backend) Complete(ctx context.Context, key, upload string, parts []objectstore.Part, req *objectstore.PutRequest) (info connection.ObjectInfo, err error) {
	list := make([]types.CompletedPart, len(parts))
	for i, p := range parts {
		number := int32(p.Number)
		list[i] = types.CompletedPart{PartNumber: &number, ETag: &p.Tag}
	}
	return b.complete(ctx, key, upload, list, req)
}

func (b *backend) complete(ctx context.Context, key, upload string, parts []types.CompletedPart, req *objectstore.PutRequest) (info connection.ObjectInfo, err error) {
	in := &sdk.CompleteMultipartUploadInput{
		Bucket: &b.cfg.Bucket, Key: &key, UploadId: &upload, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	}
	if req.IfAbsent {
		in.IfNoneMatch = optional("*")
		if b.completes.Load() == unknown {
			// Begin has looked, but that was before all the parts.
			if err := b.absent(ctx, key); err != nil {
				return info, err
			}
		}
	}
	err = b.do(ctx, exchange{root: "CompleteMultipartUploadResult", decides: true}, func(ctx context.Context, c *sdk.Client) error {
		out, err := c.CompleteMultipartUpload(ctx, in)
		if err != nil {
			return err
		}
		info = connection.ObjectInfo{
			ETag: unquote(out.ETag), Version: version(out.VersionId), ContentType: req.ContentType, Meta: req.Meta,
			Class: b.class(req.Class), Lock: req.Lock,
		}
		return nil
	})
	switch kind := connection.KindOf(err); {
	case err == nil:
		b.sawVersion(info.Version)
	case req.IfAbsent && kind == connection.ErrExists:
		b.completes.Store(obeyed)
	case req.IfAbsent && kind == connection.ErrUnsupported:
		b.unconditional("the server refuses put-if-absent of an object in parts")
	}
	return info, worm(b.missing(ctx, err))
}

// Abort implements objectstore.PartPutter.
func (b *backend) Abort(ctx context.Context, key, upload string) error {
	err := b.do(ctx, exchange{}, func(ctx context.Context, c *sdk.Client) error {
		_, err := c.AbortMultipartUpload(ctx, &sdk.AbortMultipartUploadInput{Bucket: &b.cfg.Bucket, Key: &key, UploadId: &upload})
		return err
	})
	if hasCode(err, "NoSuchUpload") {
		return nil
	}
	return err
}

// uploadPage is how many uploads are asked for at once. Each costs one more request, for its size.
const uploadPage = 100

// A uploadToken says where a listing of uploads goes on.
type uploadToken struct{ Key, Upload string }

// Incomplete implements objectstore.IncompleteLister.
func (b *backend) Incomplete(ctx context.Context, token string) (found []connection.Incomplete, next string, err error) {
	limit := int32(uploadPage)
	in := &sdk.ListMultipartUploadsInput{Bucket: &b.cfg.Bucket, EncodingType: types.EncodingTypeUrl, MaxUploads: &limit}
	if token != "" {
		var from uploadToken
		if err := json.Unmarshal([]byte(token), &from); err != nil {
			return nil, "", &connection.Error{Kind: connection.ErrInvalid, Err: err}
		}
		in.KeyMarker, in.UploadIdMarker = &from.Key, &from.Upload
	}
	err = b.do(ctx, exchange{root: "ListMultipartUploadsResult"}, func(ctx context.Context, c *sdk.Client) error {
		out, err := c.ListMultipartUploads(ctx, in)
		if err == nil {
			found, next, err = readUploads(out)
		}
		return err
	})
	if err != nil {
		return nil, "", b.missing(ctx, err)
	}
	uploads := make([]string, len(found))
	at := make(map[string]*connection.Incomplete, len(found))
	for i := range found {
		uploads[i] = found[i].ID
		at[found[i].ID] = &found[i]
	}
	errs := b.each(ctx, uploads, func(id string) (err error) {
		at[id].Size, err = b.sizeOf(ctx, at[id].Key, id)
		return err
	})
	return found, next, errors.Join(errs...)
}

func readUploads(out *sdk.ListMultipartUploadsOutput) (found []connection.Incomplete, next string, err error) {
	for _, u := range out.Uploads {
		key, err := unescapeKey(u.Key, out.EncodingType)
		if err != nil {
			return nil, "", err
		}
		found = append(found, connection.Incomplete{ID: text(u.UploadId), Key: key, Started: when(u.Initiated)})
	}
	if out.IsTruncated == nil || !*out.IsTruncated {
		return found, "", nil
	}
	key, err := unescapeKey(out.NextKeyMarker, out.EncodingType)
	if err != nil {
		return nil, "", err
	}
	raw, err := json.Marshal(uploadToken{key, text(out.NextUploadIdMarker)})
	return found, string(raw), err
}

// sizeOf returns how many octets an upload holds. One that has ended meanwhile has none.
func (b *backend) sizeOf(ctx context.Context, key, upload string) (size int64, err error) {
	in := &sdk.ListPartsInput{Bucket: &b.cfg.Bucket, Key: &key, UploadId: &upload}
	for range partLimits.MaxParts/maxKeys + 1 {
		var out *sdk.ListPartsOutput
		err := b.do(ctx, exchange{root: "ListPartsResult"}, func(ctx context.Context, c *sdk.Client) (err error) {
			out, err = c.ListParts(ctx, in)
			return err
		})
		if hasCode(err, "NoSuchUpload") {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		for _, p := range out.Parts {
			if p.Size != nil {
				size += *p.Size
			}
		}
		if out.IsTruncated == nil || !*out.IsTruncated {
			break
		}
		in.PartNumberMarker = out.NextPartNumberMarker
	}
	return size, nil
}

// AbortIncomplete implements objectstore.IncompleteLister.
func (b *backend) AbortIncomplete(ctx context.Context, one connection.Incomplete) error {
	return b.Abort(ctx, one.Key, one.ID)
}
