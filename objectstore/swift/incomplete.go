package swift

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// Incomplete implements objectstore.IncompleteLister: a page of uploads that no object refers to, whether their put has
// not finished or their object was replaced or deleted by somebody who left them behind.
func (b *backend) Incomplete(ctx context.Context, token string) (found []connection.Incomplete, next string, err error) {
	const page = 100
	all, err := b.listing(ctx, b.place.segments, uploadPrefix, "/", token, page)
	if connection.KindOf(err) == connection.ErrNotFound {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	for _, e := range all {
		next = e.Subdir + lastRune
		upload, ok := strings.CutSuffix(strings.TrimPrefix(e.Subdir, uploadPrefix), "/")
		if !ok {
			next = e.Name
			continue // an object that is none of ours
		}
		one, orphan, err := b.inspect(ctx, upload)
		if err != nil {
			return nil, "", err
		}
		if orphan {
			found = append(found, one)
		}
		objectstore.Progress(ctx)
	}
	return found, next, nil
}

// inspect finds out whether an object refers to an upload.
func (b *backend) inspect(ctx context.Context, upload string) (one connection.Incomplete, orphan bool, err error) {
	one.ID = upload
	stamp, _, _ := strings.Cut(upload, "-")
	if one.Started, err = time.Parse(uploadTime, stamp); err != nil {
		return one, false, nil // not made by this driver
	}
	segments, err := b.listing(ctx, b.place.segments, uploadPrefix+upload+"/", "", "", 0)
	if err != nil || len(segments) == 0 {
		return one, false, err
	}
	for _, e := range segments {
		one.Size += e.Bytes
	}
	a, err := b.send(ctx, &request{method: http.MethodHead, container: b.place.segments, object: segments[0].Name, header: newest()})
	if connection.KindOf(err) == connection.ErrNotFound {
		return one, false, nil // the listing lags: it has just been removed
	}
	if err != nil {
		return one, false, err
	}
	a.discard()
	meta, _, _ := readMeta(a.header)
	one.Key = meta[keyMeta]
	if one.Key == "" {
		return one, false, nil
	}
	used, err := b.refersTo(ctx, one.Key, upload)
	return one, !used, err
}

// refersTo reports whether the object under key is made of segments of upload. The name in its metadata is only the quick
// way to know: another program that sets metadata drops it.
func (b *backend) refersTo(ctx context.Context, key, upload string) (bool, error) {
	h, err := b.head(ctx, key, newest())
	if err = b.missing(ctx, err); connection.KindOf(err) == connection.ErrNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !isLarge(h) {
		return false, nil
	}
	if _, _, name := readMeta(h); name == upload {
		return true, nil
	}
	lines, err := b.manifest(ctx, key)
	if connection.KindOf(err) == connection.ErrNotFound {
		return true, nil // it is just being changed: the next look tells
	}
	prefix := "/" + b.place.segments + "/" + uploadPrefix + upload + "/"
	return slices.ContainsFunc(lines, func(line manifestLine) bool { return strings.HasPrefix(line.Name, prefix) }), err
}

// AbortIncomplete implements objectstore.IncompleteLister. Whether an object refers to the upload is asked again.
func (b *backend) AbortIncomplete(ctx context.Context, one connection.Incomplete) error {
	used, err := b.refersTo(ctx, one.Key, one.ID)
	if err != nil || used {
		return err
	}
	return b.removeUpload(ctx, one.ID)
}
