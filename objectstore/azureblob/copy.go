package azureblob

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/backoff"
	"github.com/mailconn/mailconn/objectstore"
)

// defaultType is the content type of a blob for which none was given.
const defaultType = "application/octet-stream"

// Copy implements objectstore.Copier. Copy Blob does it in one request, but knows neither an encryption scope nor another
// content type, and if it fails, what it was to replace is gone: then the copy is made of blocks, which is seen only when it
// is whole.
func (b *backend) Copy(ctx context.Context, dst, src string, req *objectstore.CopyRequest) (connection.ObjectInfo, error) {
	p, err := b.properties(ctx, src)
	if err != nil {
		return connection.ObjectInfo{}, fmt.Errorf("the source %q: %w", src, err)
	}
	from := statInfo(src, p)
	if from.Restore != connection.RestoreNone {
		return from, &connection.Error{Kind: connection.ErrArchived, Code: string(deref(p.ArchiveStatus)), Err: fmt.Errorf("the source %q is in the archive tier", src)}
	}
	info := connection.ObjectInfo{Key: dst, Size: from.Size, SHA256: from.SHA256}
	contentType, meta := deref(p.ContentType), p.Metadata
	if req.Replace {
		contentType, meta = cmp.Or(req.ContentType, defaultType), metadata(req.Meta, from.SHA256)
	}
	s, err := b.settings(contentType, req.Class, p.ContentMD5, req.IfAbsent, req.Lock)
	if err == nil {
		err = b.ready(ctx, dst, req.IfAbsent, req.Lock)
	}
	if err != nil {
		return info, err
	}
	h := s.headers
	h.BlobCacheControl, h.BlobContentDisposition, h.BlobContentEncoding, h.BlobContentLanguage = p.CacheControl, p.ContentDisposition, p.ContentEncoding, p.ContentLanguage
	if s.scope != nil || contentType != deref(p.ContentType) || len(meta) == 0 && len(p.Metadata) > 0 {
		return b.copyBlocks(ctx, info, src, p, meta, s)
	}
	if !req.IfAbsent {
		switch _, err := b.properties(ctx, dst); {
		case err == nil:
			return b.copyBlocks(ctx, info, src, p, meta, s)
		case !errors.Is(err, connection.ErrNotFound):
			return info, err
		}
	}
	copied, err := b.copyBlob(ctx, info, src, p, req.Replace, meta, s)
	if errors.Is(err, connection.ErrExists) && !req.IfAbsent { // since a moment ago
		return b.copyBlocks(ctx, info, src, p, meta, s)
	}
	return copied, err
}

// copyBlob copies by Copy Blob to a key that holds nothing, which the service may do at once or later. ErrExists if somebody
// has written it meanwhile.
func (b *backend) copyBlob(ctx context.Context, info connection.ObjectInfo, src string, p *blob.GetPropertiesResponse, replace bool, meta map[string]*string, s *settings) (connection.ObjectInfo, error) {
	opts := &blob.StartCopyFromURLOptions{
		Tier: s.tier, AccessConditions: putIfAbsent(), LegalHold: s.hold, ImmutabilityPolicyExpiry: s.until, ImmutabilityPolicyMode: s.mode,
		SourceModifiedAccessConditions: &blob.SourceModifiedAccessConditions{SourceIfMatch: p.ETag},
	}
	if replace {
		opts.Metadata = meta
	}
	resp, err := b.blob(info.Key).StartCopyFromURL(ctx, b.blob(src).URL(), opts)
	if err != nil {
		return info, refused(b.fail(ctx, err, connection.ErrExists), true)
	}
	b.sawVersion(resp.VersionID)
	info.ETag, info.Modified, info.Version = etag(resp.ETag), deref(resp.LastModified), deref(resp.VersionID)
	if deref(resp.CopyStatus) != blob.CopyStatusTypePending {
		return info, nil
	}
	return b.await(ctx, info, deref(resp.CopyID))
}

// How long a copy that the service does later is waited for: between two looks, and while it makes no progress.
const (
	lookMin      = 100 * time.Millisecond
	lookMax      = 5 * time.Second
	copyPatience = 15 * time.Minute
)

// await returns when a copy is done. One that is not to be waited for any longer is ended.
func (b *backend) await(ctx context.Context, info connection.ObjectInfo, id string) (connection.ObjectInfo, error) {
	look := backoff.Policy{Min: lookMin, Max: lookMax}
	progress, moved := "", time.Now()
	for n := 1; ; n++ {
		if err := backoff.Wait(ctx, look.Delay(n, 0)); err != nil {
			return info, errors.Join(err, b.giveUp(ctx, info.Key, id))
		}
		p, err := b.properties(ctx, info.Key)
		if err == nil && deref(p.CopyID) != id {
			return info, &connection.Error{Kind: connection.ErrChanged, Err: errors.New("somebody has written the object while it was copied")}
		}
		if err == nil {
			switch status := deref(p.CopyStatus); status {
			case blob.CopyStatusTypeSuccess:
				info.ETag, info.Modified, info.Version = etag(p.ETag), deref(p.LastModified), deref(p.VersionID)
				return info, nil
			case blob.CopyStatusTypePending:
				objectstore.Progress(ctx)
				if now := deref(p.CopyProgress); now != progress {
					progress, moved = now, time.Now()
				}
			default:
				err = &connection.Error{Kind: connection.ErrRejected, Code: string(status), Err: fmt.Errorf("the service could not copy: %.200s", deref(p.CopyStatusDescription))}
			}
		}
		if time.Since(moved) > copyPatience {
			err = &connection.Error{Kind: connection.ErrTimeout, Err: errors.Join(fmt.Errorf("the copy made no progress for %s", copyPatience), err)}
		} else if connection.Temporary(err) {
			continue
		}
		if err != nil {
			return info, errors.Join(err, b.giveUp(ctx, info.Key, id))
		}
	}
}

// cleanupWithin is how long a copy that failed is being removed, whatever became of the caller's context.
const cleanupWithin = 30 * time.Second

// giveUp ends a copy and removes the empty object that the service leaves then.
func (b *backend) giveUp(ctx context.Context, key, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupWithin)
	defer cancel()
	_, aborted := b.blob(key).AbortCopyFromURL(ctx, id, nil) // it fails if the copy has ended, which is looked for next
	p, err := b.properties(ctx, key)
	switch {
	case errors.Is(err, connection.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("an unfinished copy stays behind: %w", errors.Join(err, b.fail(ctx, aborted, connection.ErrChanged)))
	case deref(p.CopyID) != id || deref(p.CopyStatus) == blob.CopyStatusTypeSuccess:
		return nil
	}
	_, err = b.blob(key).Delete(ctx, &blob.DeleteOptions{AccessConditions: ifMatch(etag(p.ETag))})
	if err = b.fail(ctx, err, connection.ErrChanged); err != nil && !errors.Is(err, connection.ErrChanged) && !errors.Is(err, connection.ErrNotFound) {
		return fmt.Errorf("an unfinished copy stays behind: %w", err)
	}
	return nil
}

// copyPart is the size of the blocks of a copy, and signedFor how long the service may read the source for one of them.
const (
	copyPart  = 256 << 20
	signedFor = time.Hour
)

// copyBlocks copies by Put Block From URL, which lets the service read what it is to copy by a signature, and Put Block List.
func (b *backend) copyBlocks(ctx context.Context, info connection.ObjectInfo, src string, p *blob.GetPropertiesResponse, meta map[string]*string, s *settings) (connection.ObjectInfo, error) {
	upload := newUpload()
	var ids []string
	for offset := int64(0); offset < info.Size; offset += copyPart {
		source, err := b.signed(src, sas.BlobPermissions{Read: true}, signedFor)
		if err != nil {
			return info, err
		}
		id := blockID(upload, len(ids)+1)
		_, err = b.blockBlob(info.Key).StageBlockFromURL(ctx, id, source, &blockblob.StageBlockFromURLOptions{
			Range: blob.HTTPRange{Offset: offset, Count: min(copyPart, info.Size-offset)}, CPKScopeInfo: s.scope,
			SourceModifiedAccessConditions: &blob.SourceModifiedAccessConditions{SourceIfMatch: p.ETag},
		})
		b.staged.Store(upload, err != nil)
		if err != nil {
			return info, errors.Join(withoutDoubt(b.fail(ctx, err, connection.ErrChanged)), b.abandon(ctx, info.Key, upload))
		}
		objectstore.Progress(ctx)
		ids = append(ids, id)
	}
	info, err := b.commit(ctx, info, ids, meta, s)
	if err == nil {
		b.staged.Delete(upload)
	}
	if err != nil && connection.KindOf(err) != connection.ErrUncertain {
		err = errors.Join(err, b.abandon(ctx, info.Key, upload))
	}
	return info, err
}

// withoutDoubt is the error of a block: what became of it is of no interest, since without a list there is no object.
func withoutDoubt(err error) error {
	if connection.KindOf(err) == connection.ErrUncertain {
		return &connection.Error{Kind: connection.ErrNetwork, RetryAfter: connection.RetryAfter(err), Err: err}
	}
	return err
}

// abandon removes the blocks of a copy that failed.
func (b *backend) abandon(ctx context.Context, key, upload string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupWithin)
	defer cancel()
	if err := b.Abort(ctx, key, upload); err != nil {
		return fmt.Errorf("an unfinished copy stays behind: %w", err)
	}
	return nil
}
