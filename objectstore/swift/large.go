package swift

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ncw/swift/v2"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
	"github.com/mailconn/mailconn/objectstore"
)

// Large objects are static large objects: segments in a container of their own, and a manifest under the key that names
// them. The segments of one write lie under a prefix that no other write has, so that whole prefixes can be removed, and
// the manifest's metadata names the prefix:
//
//	<segment container>/mailconn/<time>-<random>/<number of the part, 8 digits>

const (
	uploadPrefix = "mailconn/"
	uploadTime   = "20060102T150405Z"
	keyMeta      = "key" // in a segment's metadata: what the segment is a part of
)

var partLimits = objectstore.PartLimits{
	MaxPut:   5 << 30, // max_file_size is 5 GiB and 2 octets
	MinPart:  1,       // min_segment_size
	MaxPart:  5 << 30,
	MaxParts: 1000, // max_manifest_segments
}

// abandonWithin is how long a copy that failed is being removed, whatever became of the caller's context.
const abandonWithin = 30 * time.Second

// recheckLarge is how long a look at the segment container stands.
const recheckLarge = time.Minute

// largeObjects is what is known of large objects in the bucket. While there are none, a put and a delete are one request.
type largeObjects struct {
	mu    sync.Mutex
	seen  bool           // there are, or it cannot be told
	at    time.Time      // of the last look
	parts map[string]int // the highest part of each upload of this connection that is not finished
}

// present reports whether there are large objects, as far as is known.
func (l *largeObjects) present() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen
}

// PartLimits implements objectstore.PartPutter.
func (b *backend) PartLimits() objectstore.PartLimits { return partLimits }

// Begin implements objectstore.PartPutter. The segment container is made if it is not there.
func (b *backend) Begin(ctx context.Context, _ string, _ *objectstore.PutRequest) (string, error) {
	return b.begin(ctx)
}

func (b *backend) begin(ctx context.Context) (upload string, err error) {
	a, err := b.send(ctx, &request{method: http.MethodHead, container: b.place.segments})
	if connection.KindOf(err) == connection.ErrNotFound {
		a, err = b.send(ctx, &request{method: http.MethodPut, container: b.place.segments})
	}
	if err != nil {
		return "", b.segmentHint(err)
	}
	a.discard()
	upload = time.Now().UTC().Format(uploadTime) + "-" + strings.ToLower(rand.Text())
	b.large.note(upload, 0)
	return upload, nil
}

// note says that a part of an upload is about to be put.
func (l *largeObjects) note(upload string, number int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = true
	if l.parts == nil {
		l.parts = make(map[string]int)
	}
	l.parts[upload] = max(l.parts[upload], number)
}

func (b *backend) segmentHint(err error) error {
	var e *connection.Error
	if !errors.As(err, &e) || e.Kind != connection.ErrPermission && e.Kind != connection.ErrNotFound {
		return err
	}
	again := *e
	again.Hint = "segment_container: create the container " + b.place.segments + ", writable for this user: it holds the parts of large objects"
	if e.Kind == connection.ErrNotFound {
		again.Kind = connection.ErrConfig
	}
	return &again
}

func segmentName(upload string, number int) string {
	return fmt.Sprintf("%s%s/%08d", uploadPrefix, upload, number)
}

// PutPart implements objectstore.PartPutter.
func (b *backend) PutPart(ctx context.Context, key, upload string, body io.ReadSeeker, req *objectstore.PartRequest) (string, error) {
	b.large.note(upload, req.Number)
	h := swift.Headers{"Content-Type": anyType, "ETag": hex.EncodeToString(req.Wire)}
	keyOf(h, key)
	a, err := b.send(ctx, &request{method: http.MethodPut, container: b.place.segments, object: segmentName(upload, req.Number), header: h, body: body, size: req.Size})
	if err != nil {
		return "", b.segmentHint(err)
	}
	a.discard()
	return etagOf(a.header), nil
}

// keyOf notes in a segment's metadata what it is a part of.
func keyOf(h swift.Headers, key string) { writeMeta(h, map[string]string{keyMeta: key}) }

// A segment is a line of a manifest as the server takes it.
type segment struct {
	Path string `json:"path"`
	ETag string `json:"etag"`
	Size int64  `json:"size_bytes"`
}

// Complete implements objectstore.PartPutter: it puts the manifest, whose segments the server checks.
func (b *backend) Complete(ctx context.Context, key, upload string, parts []objectstore.Part, req *objectstore.PutRequest) (connection.ObjectInfo, error) {
	segments := make([]segment, len(parts))
	for i, p := range parts {
		segments[i] = segment{b.segmentPath(upload, p.Number), p.Tag, p.Size}
	}
	return b.finish(ctx, key, upload, segments, headersOf(req))
}

func (b *backend) segmentPath(upload string, number int) string {
	return "/" + b.place.segments + "/" + segmentName(upload, number)
}

// finish puts the manifest of an upload, and removes what it takes the place of.
func (b *backend) finish(ctx context.Context, key, upload string, segments []segment, h swift.Headers) (connection.ObjectInfo, error) {
	old, err := b.segmentsBefore(ctx, key, h["If-None-Match"] != "")
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	manifest, err := json.Marshal(segments)
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	h[metaPrefix+uploadName] = upload
	h["Accept"] = "application/json"
	info, err := b.putManifest(ctx, key, manifest, h)
	if err != nil {
		return info, err
	}
	b.forgetUpload(upload)
	// An attempt before this one may have been obeyed: then what it replaces is itself.
	old = slices.DeleteFunc(old, func(l manifestLine) bool {
		return slices.ContainsFunc(segments, func(s segment) bool { return s.Path == l.Name })
	})
	b.removeSegments(ctx, key, old)
	return info, nil
}

func (b *backend) putManifest(ctx context.Context, key string, manifest []byte, h swift.Headers) (info connection.ObjectInfo, err error) {
	a, err := b.send(ctx, &request{
		method: http.MethodPut, container: b.place.container, object: key, query: url.Values{"multipart-manifest": {"put"}},
		header: h, body: bytes.NewReader(manifest), size: int64(len(manifest)),
	})
	if err != nil {
		err = kindFor(kindFor(err, "412", connection.ErrExists), "409", connection.ErrUnavailable)
		if code(err) == "400" {
			err = kindFor(err, "400", connection.ErrCorrupt) // a segment is missing or not what it was
		}
		return info, b.missing(ctx, err)
	}
	defer a.discard()
	// The status is sent before the segments were looked at; what came of it is in the body.
	if err := outcome(httpx.ReadLimited(a.body)).err(); err != nil {
		return info, kindFor(kindFor(err, "412", connection.ErrExists), "400", connection.ErrCorrupt)
	}
	return connection.ObjectInfo{ETag: etagOf(a.header), Modified: modifiedOf(a.header)}, nil
}

func (b *backend) forgetUpload(upload string) {
	b.large.mu.Lock()
	delete(b.large.parts, upload)
	b.large.mu.Unlock()
}

// Abort implements objectstore.PartPutter. A listing may not show yet what this connection has just put, so the names of
// that are not asked for.
func (b *backend) Abort(ctx context.Context, _, upload string) error {
	b.large.mu.Lock()
	parts := b.large.parts[upload]
	b.large.mu.Unlock()
	var names []string
	for n := range parts {
		names = append(names, segmentName(upload, n+1))
	}
	if err := b.removeNames(ctx, b.place.segments, names); err != nil {
		return err
	}
	if _, err := b.removeUpload(ctx, upload); err != nil {
		return err
	}
	b.forgetUpload(upload)
	return nil
}

// removeUpload removes the segments of an upload that the listing shows, and returns how many there were.
func (b *backend) removeUpload(ctx context.Context, upload string) (int, error) {
	count, marker := 0, ""
	for {
		page, err := b.listing(ctx, b.place.segments, uploadPrefix+upload+"/", "", marker, 0)
		if connection.KindOf(err) == connection.ErrNotFound || err == nil && len(page) == 0 {
			return count, nil
		}
		if err != nil {
			return count, err
		}
		names := make([]string, len(page))
		for i, e := range page {
			names[i] = e.Name
		}
		if err := b.removeNames(ctx, b.place.segments, names); err != nil {
			return count, err
		}
		count += len(names)
		marker = names[len(names)-1]
	}
}

// look asks whether there are large objects in the bucket at all. Who may not look must take it that there are.
func (b *backend) look(ctx context.Context) error {
	a, err := b.send(ctx, &request{method: http.MethodHead, container: b.place.segments})
	seen := false
	switch connection.KindOf(err) {
	case connection.ErrNotFound:
	case connection.ErrPermission:
		seen = true
	default:
		if err != nil {
			return err
		}
		a.discard()
		seen = a.header.Get("X-Container-Object-Count") != "0"
	}
	b.large.mu.Lock()
	defer b.large.mu.Unlock()
	b.large.seen = b.large.seen || seen
	b.large.at = time.Now()
	return nil
}

// mayBeLarge reports whether objects of the bucket may have segments. What another connection has made within the last
// minute may be overlooked: then Incomplete finds its segments later.
func (b *backend) mayBeLarge(ctx context.Context) (bool, error) {
	if _, err := b.account.session(ctx); err != nil {
		return false, err // a login looks
	}
	b.large.mu.Lock()
	seen, fresh := b.large.seen, time.Since(b.large.at) < recheckLarge
	b.large.mu.Unlock()
	if seen || fresh {
		return seen, nil
	}
	err := b.look(ctx)
	return b.large.present(), err
}

// A manifestLine is a line of a manifest as the server shows it.
type manifestLine struct {
	Name   string // "/container/object"
	Bytes  int64
	Hash   string
	Range  string
	SubSLO bool `json:"sub_slo"`
	Data   string
}

// segmentsBefore returns the segments of what a write to key will replace. Nothing can be replaced if it must be absent.
func (b *backend) segmentsBefore(ctx context.Context, key string, absent bool) ([]manifestLine, error) {
	if absent {
		return nil, nil
	}
	if large, err := b.mayBeLarge(ctx); err != nil || !large {
		return nil, err
	}
	h, err := b.head(ctx, key, newest())
	if connection.KindOf(err) == connection.ErrNotFound || err == nil && !isLarge(h) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	lines, err := b.manifest(ctx, key)
	if connection.KindOf(err) == connection.ErrNotFound {
		err = nil
	}
	return lines, err
}

func isLarge(h http.Header) bool { return strings.EqualFold(h.Get("X-Static-Large-Object"), "true") }

// How much of a manifest is read: 1000 segments take some 300 KiB.
const (
	maxManifest = 8 << 20
	maxLines    = 20_000
)

// manifest returns the segments of a large object, none of another.
func (b *backend) manifest(ctx context.Context, key string) ([]manifestLine, error) {
	a, err := b.send(ctx, &request{
		method: http.MethodGet, container: b.place.container, object: key,
		query: url.Values{"multipart-manifest": {"get"}}, header: newest(),
	})
	if err != nil {
		return nil, err
	}
	defer a.discard()
	if !isLarge(a.header) {
		return nil, nil
	}
	return decodeArray[manifestLine](ctx, a.body, maxManifest, maxLines)
}

// removeSegments removes what a write has replaced, as far as it lies in the segment container. That it fails does not
// undo the write: Incomplete finds what stays.
func (b *backend) removeSegments(ctx context.Context, key string, old []manifestLine) {
	var names []string
	for _, line := range old {
		if name, ok := strings.CutPrefix(line.Name, "/"+b.place.segments+"/"); ok {
			names = append(names, name)
		}
	}
	if err := b.removeNames(ctx, b.place.segments, names); err != nil {
		b.env.Log().WarnContext(ctx, "segments of a replaced object stay behind", "driver", b.place.driver, "key", key, "segments", len(names), "error", err)
	}
}

// removeNames removes objects of a container that are no large objects. Missing ones are no error.
func (b *backend) removeNames(ctx context.Context, container string, names []string) error {
	for len(names) > 0 {
		part := names[:min(len(names), maxBulk)]
		names = names[len(part):]
		each, _, err := b.deleteNames(ctx, container, part)
		for i := range each {
			each[i] = gone(each[i])
		}
		if err := errors.Join(append(each, err)...); err != nil {
			return err
		}
		objectstore.Progress(ctx)
	}
	return nil
}

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

// refersTo reports whether the object under key is made of the segments of upload.
func (b *backend) refersTo(ctx context.Context, key, upload string) (bool, error) {
	h, err := b.head(ctx, key, newest())
	if err = b.missing(ctx, err); connection.KindOf(err) == connection.ErrNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, _, name := readMeta(h)
	return isLarge(h) && name == upload, nil
}

// AbortIncomplete implements objectstore.IncompleteLister. Whether an object refers to the upload is asked again.
func (b *backend) AbortIncomplete(ctx context.Context, one connection.Incomplete) error {
	used, err := b.refersTo(ctx, one.Key, one.ID)
	if err != nil || used {
		return err
	}
	_, err = b.removeUpload(ctx, one.ID)
	return err
}
