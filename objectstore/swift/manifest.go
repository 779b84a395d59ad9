package swift

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ncw/swift/v2"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// lookAfterLogin is look with a new session. A token that is refused then is for the request to heal that the login is for.
func (b *backend) lookAfterLogin(ctx context.Context, s *session) error {
	err := b.look(func(r *request) (*answer, error) { return b.sendWith(ctx, s, r) })
	if connection.KindOf(err) == connection.ErrAuth {
		return nil
	}
	return err
}

// look asks whether there are large objects in the bucket at all. Who may not look must take it that there are.
func (b *backend) look(send func(r *request) (*answer, error)) error {
	a, err := send(&request{method: http.MethodHead, container: b.place.segments})
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
	err := b.look(func(r *request) (*answer, error) { return b.send(ctx, r) })
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

// overwrite makes a write whose request has the headers h, and removes the segments of what it replaces. Where there may be
// any, a write that must find the key free goes first: most keys are new, and then it is the only request.
func (b *backend) overwrite(ctx context.Context, key string, h swift.Headers, write func() (connection.ObjectInfo, error)) (connection.ObjectInfo, error) {
	if h["If-None-Match"] != "" {
		return write()
	}
	large, err := b.mayBeLarge(ctx)
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	if !large {
		return write()
	}
	if !b.ignorant.Load() {
		h["If-None-Match"] = "*"
		info, err := write()
		if connection.KindOf(err) != connection.ErrExists {
			return info, err
		}
		delete(h, "If-None-Match")
	}
	return b.replace(ctx, key, write)
}

// replace makes a write and removes the segments of what it replaces.
func (b *backend) replace(ctx context.Context, key string, write func() (connection.ObjectInfo, error)) (connection.ObjectInfo, error) {
	old, err := b.segmentsOf(ctx, key)
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	info, err := write()
	if err != nil || len(old) == 0 {
		return info, err
	}
	// An earlier attempt of the same write may have been obeyed: then what it replaces is itself.
	now, err := b.segmentsOf(ctx, key)
	if err != nil {
		b.stays(ctx, key, err)
		return info, nil
	}
	old = slices.DeleteFunc(old, func(o manifestLine) bool {
		return slices.ContainsFunc(now, func(n manifestLine) bool { return n.Name == o.Name })
	})
	b.removeSegments(ctx, key, old)
	return info, nil
}

// segmentsOf returns the segments of the object under key, none if it is no large one.
func (b *backend) segmentsOf(ctx context.Context, key string) ([]manifestLine, error) {
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
		b.stays(ctx, key, err)
	}
}

func (b *backend) stays(ctx context.Context, key string, err error) {
	b.env.Log().WarnContext(ctx, "segments of a replaced object stay behind", "key", key, "error", err)
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
