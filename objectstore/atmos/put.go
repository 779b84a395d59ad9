package atmos

import (
	"context"
	"crypto/md5" //nolint:gosec // what the server checks
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

func wireHash() hash.Hash { return md5.New() } //nolint:gosec // see the import

// Put implements objectstore.Backend: a file under a temporary name, then a rename. So a key never holds a part, and
// IfAbsent is the server's own decision. A body that is to be locked goes to its key at once: a retained file may not be
// renamed.
func (b *backend) Put(ctx context.Context, key string, body io.ReadSeeker, req *objectstore.PutRequest) (connection.ObjectInfo, error) {
	if err := b.needBucket(ctx); err != nil {
		return connection.ObjectInfo{}, err
	}
	if req.Lock != (connection.Lock{}) {
		return b.putLocked(ctx, key, body, req)
	}
	tmp := tmpDir + "/" + strings.ToLower(rand.Text())
	id, err := b.create(ctx, tmp, body, req)
	if err == nil {
		err = b.place(ctx, tmp, pathOf(key), id, req.IfAbsent)
	} else if connection.KindOf(err) == connection.ErrUncertain {
		// The key holds what it held: only the temporary file may be there or not.
		err = &connection.Error{Kind: connection.ErrNetwork, RetryAfter: connection.RetryAfter(err), Err: err}
	}
	if err != nil {
		if connection.KindOf(err) != connection.ErrUncertain { // else the file may be the object by now
			b.discard(ctx, tmp)
		}
		return connection.ObjectInfo{}, err
	}
	return connection.ObjectInfo{ETag: etag(id, req.Size)}, nil
}

// create writes a new file and returns its object ID.
func (b *backend) create(ctx context.Context, rel string, body io.Reader, req *objectstore.PutRequest) (id string, err error) {
	h := http.Header{
		"Content-Type":     {contentType(req.ContentType)},
		"X-Emc-Meta":       {metaHeader(req.SHA256, req.Meta)},
		"X-Emc-Wschecksum": {"MD5/" + strconv.FormatInt(req.Size, 10) + "/" + hex.EncodeToString(req.Wire)},
	}
	if until := req.Lock.RetainUntil; !until.IsZero() {
		h.Set("X-Emc-Meta", h.Get("X-Emc-Meta")+","+retention(until))
	}
	answer, err := b.call(ctx, request{method: http.MethodPost, path: b.namespace(rel), header: h, body: body, size: req.Size})
	if err != nil {
		return "", err
	}
	location := answer.Get("Location")
	id = location[strings.LastIndexByte(location, '/')+1:]
	if id == "" {
		return "", &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the store does not tell the ID of a new object")}
	}
	return id, nil
}

func contentType(given string) string {
	if given == "" {
		return "application/octet-stream"
	}
	return given
}

// putLocked writes a key that is to be retained.
func (b *backend) putLocked(ctx context.Context, key string, body io.ReadSeeker, req *objectstore.PutRequest) (connection.ObjectInfo, error) {
	if err := checkLock(req.Lock); err != nil {
		return connection.ObjectInfo{}, err
	}
	rel := pathOf(key)
	switch there, err := b.find(ctx, rel); {
	case err == nil && req.IfAbsent:
		return connection.ObjectInfo{}, &connection.Error{Kind: connection.ErrExists}
	case err == nil && there.Lock.RetainUntil.After(time.Now()):
		return connection.ObjectInfo{}, lockedError(there.Lock)
	case err == nil:
		return connection.ObjectInfo{}, &connection.Error{Kind: connection.ErrUnsupported, Err: errors.New("a lock can be given to a new key only: delete the old object first")}
	case connection.KindOf(err) != connection.ErrNotFound:
		return connection.ObjectInfo{}, err
	}
	id, err := b.create(ctx, rel, body, req)
	if connection.KindOf(err) == connection.ErrExists { // a directory
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return connection.ObjectInfo{}, err
		}
		rel += beside
		id, err = b.create(ctx, rel, body, req)
	}
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	if err := b.confirm(ctx, rel, req.Lock.RetainUntil); err != nil {
		if connection.KindOf(err) != connection.ErrUnsupported {
			return connection.ObjectInfo{}, &connection.Error{Kind: connection.ErrUncertain, Err: fmt.Errorf("stored, but whether it is retained is not known: %w", err)}
		}
		b.discard(ctx, rel)
		return connection.ObjectInfo{}, err
	}
	return connection.ObjectInfo{ETag: etag(id, req.Size), Lock: connection.Lock{RetainUntil: wholeSecond(req.Lock.RetainUntil)}}, nil
}

// discard removes a file that is not to stay, as well as it can: Incomplete lists what it leaves. It outlives ctx, but
// not for long.
func (b *backend) discard(ctx context.Context, rel string) {
	patience := 10 * time.Second
	if ctx.Err() != nil {
		patience = time.Second / 2
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	_ = b.remove(ctx, rel) // the error that led here is the one to tell
}

// remove deletes a file. A missing one is no error.
func (b *backend) remove(ctx context.Context, rel string) error {
	_, err := b.call(ctx, request{method: http.MethodDelete, path: b.namespace(rel)})
	if connection.KindOf(err) == connection.ErrNotFound {
		return nil
	}
	return err
}

// Delete implements objectstore.Backend. The file beside goes first: what is left after a halt is the newer one.
func (b *backend) Delete(ctx context.Context, key string) error {
	rel := pathOf(key)
	if err := b.remove(ctx, rel+beside); err != nil {
		return err
	}
	_, err := b.call(ctx, request{method: http.MethodDelete, path: b.namespace(rel)})
	if connection.KindOf(err) == connection.ErrNotFound {
		return b.lookAtBucket(ctx)
	}
	if hasCode(err, codeNotEmpty) { // a directory: the file beside it was the object
		return nil
	}
	return err
}
