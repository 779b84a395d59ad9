package s3

import (
	"context"
	"crypto/md5" //nolint:gosec // the digest of Content-MD5, which the protocol demands
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// Whether a server obeys If-None-Match on a kind of request. One that does not know the header takes no notice, and overwrites.
const (
	unknown int32 = iota
	obeyed
	ignored
)

// Put implements objectstore.Backend.
func (b *backend) Put(ctx context.Context, key string, body io.ReadSeeker, req *objectstore.PutRequest) (connection.ObjectInfo, error) {
	if err := b.canLock(ctx, req.Lock); err != nil {
		return connection.ObjectInfo{}, err
	}
	if !req.IfAbsent {
		if err := b.unlocked(ctx, key); err != nil && connection.KindOf(err) != connection.ErrNotFound {
			return connection.ObjectInfo{}, err
		}
		return b.put(ctx, key, body, req)
	}
	doubt := b.conditions.Load() == unknown
	if doubt {
		if err := b.absent(ctx, key); err != nil {
			return connection.ObjectInfo{}, err
		}
	}
	info, err := b.put(ctx, key, body, req)
	switch {
	case connection.KindOf(err) == connection.ErrExists:
		b.conditions.Store(obeyed)
	case connection.KindOf(err) == connection.ErrUnsupported:
		b.unconditional("the server refuses put-if-absent")
	case err == nil && doubt:
		b.examine(ctx, key, body, req)
	}
	return info, err
}

// absent returns nil if nothing is under key.
func (b *backend) absent(ctx context.Context, key string) error {
	_, err := b.head(ctx, key)
	switch {
	case err == nil:
		return &connection.Error{Kind: connection.ErrExists, Err: errors.New("the key is taken")}
	case connection.KindOf(err) == connection.ErrNotFound:
		return nil // or the bucket is missing: the put will say so
	}
	return b.missing(ctx, err)
}

// examine finds out whether the server obeys If-None-Match: it puts once more what it has just put, which must be refused.
// An error that says something else leaves the question open.
func (b *backend) examine(ctx context.Context, key string, body io.ReadSeeker, req *objectstore.PutRequest) {
	_, err := b.put(ctx, key, body, req)
	switch {
	case connection.KindOf(err) == connection.ErrExists:
		b.conditions.Store(obeyed)
	case err == nil:
		b.unconditional("the server ignores put-if-absent")
	}
}

// unconditional notes that the server has no put-if-absent. The Store then refuses or emulates it.
func (b *backend) unconditional(why string) {
	if b.conditions.Swap(ignored) == ignored {
		return
	}
	b.store.Learn(func(f *objectstore.Features) { f.IfAbsent = false })
	b.env.Emit(connection.Event{Kind: connection.EventQuirk, Connection: b.eventID(), Detail: why})
}

// put makes the request.
func (b *backend) put(ctx context.Context, key string, body io.ReadSeeker, req *objectstore.PutRequest) (info connection.ObjectInfo, err error) {
	in := &sdk.PutObjectInput{
		Bucket: &b.cfg.Bucket, Key: &key, ContentLength: &req.Size, ContentMD5: digest(req.Wire),
		ContentType:          optional(req.ContentType),
		StorageClass:         types.StorageClass(b.class(req.Class)),
		ServerSideEncryption: types.ServerSideEncryption(b.cfg.Encryption), SSEKMSKeyId: optional(b.cfg.KMSKey),
	}
	in.Metadata, in.CacheControl = metadata(req.Meta, req.SHA256)
	in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ObjectLockLegalHoldStatus = b.lock(req.Lock)
	if req.Lock != (connection.Lock{}) && in.ContentMD5 == nil {
		// With a lock S3 wants it whatever the signature covers.
		if in.ContentMD5, err = digestOf(body); err != nil {
			return info, err
		}
	}
	if req.IfAbsent {
		// Any ETag: RFC 9110, section 13.1.2.
		in.IfNoneMatch = optional("*")
	}
	err = b.do(ctx, exchange{octets: true, sha256: req.SHA256, decides: true}, func(ctx context.Context, c *sdk.Client) error {
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return err
		}
		in.Body = body
		out, err := c.PutObject(ctx, in)
		if err != nil {
			return err
		}
		if text(out.ETag) == "" {
			// Every S3 gives one. What lies before it, and answers 200 with a page to log in say, does not.
			return &connection.Error{Kind: connection.ErrUncertain, Err: errors.New("the server says that the object is stored, and gives it no ETag")}
		}
		info = connection.ObjectInfo{
			ETag: unquote(out.ETag), Version: version(out.VersionId), ContentType: req.ContentType, Meta: req.Meta,
			Class: b.class(req.Class), Lock: req.Lock,
		}
		return nil
	})
	if err == nil {
		b.sawVersion(info.Version)
	}
	return info, worm(b.missing(ctx, err))
}

// class returns the storage class for a put, "" for the bucket's own.
func (b *backend) class(wanted string) string {
	if wanted != "" {
		return wanted
	}
	return b.cfg.StorageClass
}

// digest returns an MD5 as Content-MD5 has it (RFC 1864).
func digest(sum []byte) *string {
	if sum == nil {
		return nil
	}
	text := base64.StdEncoding.EncodeToString(sum)
	return &text
}

func digestOf(body io.ReadSeeker) (*string, error) {
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	sum := md5.New() //nolint:gosec // as the protocol demands
	if _, err := io.Copy(sum, body); err != nil {
		return nil, err
	}
	return digest(sum.Sum(nil)), nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// unquote returns an ETag without its quotes.
func unquote(etag *string) string { return strings.Trim(text(etag), `"`) }

// version returns a version's id. An object of a bucket without versions has none, or "null".
func version(id *string) string {
	if text(id) == "null" {
		return ""
	}
	return text(id)
}

func when(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
