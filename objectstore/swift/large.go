package swift

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ncw/swift/v2"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/backoff"
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
	mu   sync.Mutex
	seen bool      // there are, or it cannot be told
	at   time.Time // of the last look

	uploads map[string]upload // of this connection, that are not finished
}

// An upload is a large object that is being written.
type upload struct {
	parts int  // the highest number so far
	doubt bool // a part was left without an answer
	used  bool // its manifest was sent: it may be what an object is made of
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
func (l *largeObjects) note(name string, number int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = true
	if l.uploads == nil {
		l.uploads = make(map[string]upload)
	}
	u := l.uploads[name]
	u.parts = max(u.parts, number)
	l.uploads[name] = u
}

// doubt says that a part was left without an answer.
func (l *largeObjects) doubt(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.uploads[name]
	u.doubt = true
	l.uploads[name] = u
}

// mayBeUsed says that the manifest of an upload is about to be put.
func (l *largeObjects) mayBeUsed(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.uploads[name]
	u.used = true
	l.uploads[name] = u
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
	r := &request{method: http.MethodPut, container: b.place.segments, object: segmentName(upload, req.Number), header: h, body: body, size: req.Size}
	a, err := b.send(ctx, r)
	if err == nil {
		a.discard()
		err = created(a, r)
	}
	if err != nil {
		if ctx.Err() != nil || connection.KindOf(inDoubt(err)) == connection.ErrUncertain {
			b.large.doubt(upload)
		}
		return "", b.segmentHint(err)
	}
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
	manifest, err := json.Marshal(segments)
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	b.large.mayBeUsed(upload)
	h[metaPrefix+uploadName] = upload
	h["Accept"] = "application/json"
	info, err := b.overwrite(ctx, key, h, func() (connection.ObjectInfo, error) { return b.putManifest(ctx, key, manifest, h) })
	if err == nil {
		b.forgetUpload(upload)
	}
	return info, err
}

func (b *backend) putManifest(ctx context.Context, key string, manifest []byte, h swift.Headers) (info connection.ObjectInfo, err error) {
	req := &request{
		method: http.MethodPut, container: b.place.container, object: key, query: url.Values{"multipart-manifest": {"put"}},
		header: h, body: bytes.NewReader(manifest), size: int64(len(manifest)), decides: true,
	}
	a, err := b.send(ctx, req)
	if err != nil {
		var r *refusedError
		if errors.As(err, &r) {
			err = cmp.Or(outcome(r.body).segmentError(), err)
		}
		return info, b.missing(ctx, kindFor(kindFor(err, "412", connection.ErrExists), "409", connection.ErrUnavailable))
	}
	defer a.discard()
	if err := verdict(ctx, a, req); err != nil {
		return info, kindFor(err, "412", connection.ErrExists)
	}
	return connection.ObjectInfo{ETag: etagOf(a.header), Modified: modifiedOf(a.header)}, nil
}

// maxVerdict is how much is read of what a server says of a manifest.
const maxVerdict = 1 << 20

// verdict reads what became of a manifest. A status may be sent before the segments were looked at (202): what came of it is
// in the body then, which must be there whole.
func verdict(ctx context.Context, a *answer, r *request) error {
	text, err := io.ReadAll(io.LimitReader(moving{ctx, a.body}, maxVerdict))
	if err != nil {
		return &connection.Error{Kind: connection.ErrUncertain, Err: fmt.Errorf("the answer to a manifest: %w", err)}
	}
	said := outcome(text)
	if err := cmp.Or(said.segmentError(), inDoubt(said.err())); err != nil || said.Status != "" {
		return err
	}
	return created(a, r)
}

// segmentError returns what the server says of the first segment that it could not take, nil if it says nothing of any: a
// segment that is missing or differs is damage, one that it could not look at is not.
func (r *result) segmentError() error {
	if len(r.Errors) == 0 {
		return nil
	}
	err := lineError(r.Errors[0][1], "")
	if connection.KindOf(err) == connection.ErrNotFound {
		return kindFor(err, "404", connection.ErrCorrupt)
	}
	return err
}

func (b *backend) forgetUpload(upload string) {
	b.large.mu.Lock()
	delete(b.large.uploads, upload)
	b.large.mu.Unlock()
}

// lateParts is when an upload is cleared again if a part of it was left without an answer: its server may yet obey it.
var lateParts = [...]time.Duration{100 * time.Millisecond, 300 * time.Millisecond}

// Abort implements objectstore.PartPutter. A listing may not show yet what this connection has just put, so the names of
// that are not asked for. A part that is obeyed even later is what Incomplete finds. Nothing is removed of an upload whose
// manifest an earlier try has put after all.
func (b *backend) Abort(ctx context.Context, key, upload string) error {
	b.large.mu.Lock()
	u := b.large.uploads[upload]
	b.large.mu.Unlock()
	if u.used {
		if used, err := b.refersTo(ctx, key, upload); err != nil || used {
			return err
		}
	}
	var names []string
	for n := range u.parts {
		names = append(names, segmentName(upload, n+1))
	}
	if err := b.clear(ctx, upload, names); err != nil {
		return err
	}
	if u.doubt {
		for _, wait := range lateParts {
			if err := backoff.Wait(ctx, wait); err != nil {
				return err
			}
			if err := b.clear(ctx, upload, names); err != nil {
				return err
			}
		}
	}
	b.forgetUpload(upload)
	return nil
}

// clear removes the segments of an upload: those named, and those that the listing shows.
func (b *backend) clear(ctx context.Context, upload string, names []string) error {
	return errors.Join(b.removeNames(ctx, b.place.segments, names), b.removeUpload(ctx, upload))
}

// removeUpload removes the segments of an upload that the listing shows.
func (b *backend) removeUpload(ctx context.Context, upload string) error {
	marker := ""
	for {
		page, err := b.listing(ctx, b.place.segments, uploadPrefix+upload+"/", "", marker, 0)
		if connection.KindOf(err) == connection.ErrNotFound || err == nil && len(page) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		names := make([]string, len(page))
		for i, e := range page {
			names[i] = e.Name
		}
		if err := b.removeNames(ctx, b.place.segments, names); err != nil {
			return err
		}
		marker = names[len(names)-1]
	}
}
