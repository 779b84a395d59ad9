package swift

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/ncw/swift/v2"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// Copy implements objectstore.Copier. Of a large object each segment is copied: two objects that share segments would
// lose them together.
func (b *backend) Copy(ctx context.Context, dst, src string, req *objectstore.CopyRequest) (connection.ObjectInfo, error) {
	from, err := b.head(ctx, src, nil)
	if err != nil {
		return connection.ObjectInfo{}, b.missing(ctx, err)
	}
	h := b.copyHeaders(from, req)
	if isLarge(from) {
		lines, err := b.manifest(ctx, src)
		if err != nil {
			return connection.ObjectInfo{}, b.missing(ctx, err)
		}
		if simple(lines) {
			return b.copyLarge(ctx, dst, lines, h)
		}
	}
	if req.IfAbsent {
		// The middleware copy takes a condition for one on the source, so this is no more than a look.
		if _, err := b.head(ctx, dst, newest()); connection.KindOf(err) != connection.ErrNotFound {
			return connection.ObjectInfo{}, cmp.Or(err, error(&connection.Error{Kind: connection.ErrExists, Err: errors.New("the key is taken")}))
		}
		delete(h, "If-None-Match")
	}
	h["X-Copy-From"] = escaped(b.place.container, src)
	if isLarge(from) || req.Replace {
		h["X-Fresh-Metadata"] = "true" // else the server adds what only it knows, a content encoding say
	}
	return b.replace(ctx, dst, func() (connection.ObjectInfo, error) {
		return b.write(ctx, &request{method: http.MethodPut, container: b.place.container, object: dst, header: h})
	})
}

// copyHeaders returns what is kept with the copy.
func (b *backend) copyHeaders(from http.Header, req *objectstore.CopyRequest) swift.Headers {
	put := &objectstore.PutRequest{IfAbsent: req.IfAbsent, ContentType: req.ContentType, Meta: req.Meta}
	info := describe(from)
	put.SHA256 = info.SHA256
	if !req.Replace {
		put.ContentType, put.Meta = info.ContentType, info.Meta
	}
	return headersOf(put)
}

// simple reports whether a manifest names whole objects only.
func simple(lines []manifestLine) bool {
	for _, line := range lines {
		if line.Name == "" || line.Range != "" || line.SubSLO || line.Data != "" || line.Hash == "" {
			return false
		}
	}
	return len(lines) > 0
}

// copyLarge copies the segments of a manifest, and then makes one of the copies.
func (b *backend) copyLarge(ctx context.Context, dst string, lines []manifestLine, h swift.Headers) (connection.ObjectInfo, error) {
	upload, err := b.begin(ctx)
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	segments := make([]segment, len(lines))
	for i, line := range lines {
		if err := b.copySegment(ctx, dst, upload, i+1, line); err != nil {
			return connection.ObjectInfo{}, b.abandon(ctx, dst, upload, err)
		}
		segments[i] = segment{b.segmentPath(upload, i+1), line.Hash, line.Bytes}
		objectstore.Progress(ctx)
	}
	info, err := b.finish(ctx, dst, upload, segments, h)
	if err != nil && ctx.Err() == nil && connection.KindOf(err) != connection.ErrUncertain {
		err = b.abandon(ctx, dst, upload, err)
	}
	return info, err
}

func (b *backend) copySegment(ctx context.Context, key, upload string, number int, line manifestLine) error {
	b.large.note(upload, number)
	h := swift.Headers{"Content-Type": anyType, "X-Copy-From": (&url.URL{Path: line.Name}).EscapedPath(), "X-Fresh-Metadata": "true", "ETag": line.Hash}
	keyOf(h, key)
	r := &request{method: http.MethodPut, container: b.place.segments, object: segmentName(upload, number), header: h}
	a, err := b.send(ctx, r)
	if err == nil {
		a.discard()
		err = created(a, r)
	}
	if err != nil {
		return fmt.Errorf("segment %s: %w", strings.TrimPrefix(line.Name, "/"), b.segmentHint(err))
	}
	return nil
}

// abandon removes what a copy that failed has written. err is why it failed.
func (b *backend) abandon(ctx context.Context, key, upload string, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonWithin)
	defer cancel()
	if left := b.Abort(ctx, key, upload); left != nil {
		b.env.Log().WarnContext(ctx, "segments of an unfinished copy stay behind", "key", key, "error", left)
	}
	return err
}
