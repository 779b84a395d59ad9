package b2

import (
	"context"
	"encoding/hex"
	"io"

	"github.com/Backblaze/blazer/base"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// PartLimits implements objectstore.PartPutter.
func (b *backend) PartLimits() objectstore.PartLimits { return partLimits() }

// Begin implements objectstore.PartPutter. The upload's name is the ID of the file to be.
func (b *backend) Begin(ctx context.Context, key string, req *objectstore.PutRequest) (upload string, err error) {
	info := fileInfo(req.SHA256, req.Meta)
	info[infoSHA1] = hex.EncodeToString(req.Wire)
	x := &exchange{fields: b.lockFields(req.Lock, "serverSideEncryption")}
	err = b.with(ctx, func(s *session) error {
		if err := b.mayReplace(ctx, s, key, req.Lock); err != nil {
			return err
		}
		return b.run(ctx, opStart, x, func(ctx context.Context) error {
			large, err := s.bucket.StartLargeFile(ctx, key, contentType(req.ContentType), info)
			if err == nil {
				upload = large.ID
			}
			return err
		})
	})
	return upload, err
}

// largeFile returns the handle of an upload in this session.
func largeFile(s *session, key, upload string, hashes map[int]string) *base.LargeFile {
	return s.bucket.File(upload, key).CompileParts(0, hashes)
}

// chunks returns the pool of an upload's URLs.
func (b *backend) chunks(upload string) *pool[*base.FileChunk] {
	p, _ := b.parts.LoadOrStore(upload, new(pool[*base.FileChunk]))
	return p.(*pool[*base.FileChunk]) //nolint:forcetypeassert // nothing else is in there
}

// PutPart implements objectstore.PartPutter.
func (b *backend) PutPart(ctx context.Context, key, upl string, body io.ReadSeeker, req *objectstore.PartRequest) (tag string, err error) {
	tag = hex.EncodeToString(req.Wire)
	err = b.with(ctx, func(s *session) error {
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return err
		}
		fetch := func() (chunk *base.FileChunk, err error) {
			err = b.run(ctx, opPartURL, new(exchange), func(ctx context.Context) error {
				chunk, err = largeFile(s, key, upl, nil).GetUploadPartURL(ctx)
				return err
			})
			return chunk, err
		}
		return upload(b.chunks(upl), body, fetch, func(chunk *base.FileChunk, body io.Reader) error {
			return b.run(ctx, opUploadPart, new(exchange), func(ctx context.Context) error {
				_, err := chunk.UploadPart(ctx, body, tag, int(req.Size), req.Number)
				return err
			})
		})
	})
	return tag, err
}

// Complete implements objectstore.PartPutter.
func (b *backend) Complete(ctx context.Context, key, upload string, parts []objectstore.Part, req *objectstore.PutRequest) (info connection.ObjectInfo, err error) {
	hashes := make(map[int]string, len(parts))
	for _, p := range parts {
		hashes[p.Number] = p.Tag
	}
	x := new(exchange)
	err = b.with(ctx, func(s *session) error {
		if err := b.mayReplace(ctx, s, key, req.Lock); err != nil {
			return err
		}
		return b.run(ctx, opFinish, x, func(ctx context.Context) error {
			_, err := largeFile(s, key, upload, hashes).FinishLargeFile(ctx)
			return err
		})
	})
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	b.parts.Delete(upload)
	return stored(x.reply)
}

// Abort implements objectstore.PartPutter.
func (b *backend) Abort(ctx context.Context, key, upload string) error {
	b.parts.Delete(upload)
	err := b.with(ctx, func(s *session) error {
		return b.run(ctx, opCancel, new(exchange), func(ctx context.Context) error {
			return s.bucket.File(upload, key).AsLargeFile().CancelLargeFile(ctx)
		})
	})
	if connection.KindOf(err) == connection.ErrNotFound {
		return nil
	}
	return err
}
