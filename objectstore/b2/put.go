package b2

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/Backblaze/blazer/base"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// A pool holds the upload URLs that are not in use: each serves one request at a time.
type pool[T any] struct {
	mu   sync.Mutex
	free []T
}

func (p *pool[T]) get() (url T, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		url, p.free = p.free[n-1], p.free[:n-1]
		return url, true
	}
	return url, false
}

func (p *pool[T]) put(url T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, url)
}

func (p *pool[T]) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = nil
}

// upload sends body to an upload URL. One that has had its day is replaced once; one that failed in any way is not used
// again, and if it is the server that is in trouble, none of those that came with it.
func upload[T any](p *pool[T], body io.ReadSeeker, fetch func() (T, error), send func(url T, body io.Reader) error) error {
	for fresh := false; ; fresh = true {
		url, ok := p.get()
		if !ok || fresh {
			var err error
			if url, err = fetch(); err != nil {
				return err
			}
		}
		lent := &loan{r: body}
		err := send(url, lent)
		lent.end()
		if err == nil {
			p.put(url)
			return nil
		}
		if connection.Temporary(err) || connection.KindOf(err) == connection.ErrUncertain {
			p.clear()
		}
		if fresh || !isStale(err) {
			return err
		}
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
}

// isStale reports whether the error is that of an upload URL alone.
func isStale(err error) bool {
	e, ok := err.(*connection.Error) //nolint:errorlint // made by refusal, not wrapped
	return ok && e.Kind == connection.ErrUnavailable && (e.Code == codeExpired || e.Code == codeBadToken || e.Code == "bad_request" || e.Code == strconv.Itoa(http.StatusUnauthorized))
}

// Put implements objectstore.Backend.
func (b *backend) Put(ctx context.Context, key string, body io.ReadSeeker, req *objectstore.PutRequest) (info connection.ObjectInfo, err error) {
	err = b.with(ctx, func(s *session) error {
		if err := b.mayReplace(ctx, s, key, req.Lock); err != nil {
			return err
		}
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return err
		}
		info, err = b.putFile(ctx, s, key, body, req)
		return err
	})
	return info, err
}

func (b *backend) putFile(ctx context.Context, s *session, key string, body io.ReadSeeker, req *objectstore.PutRequest) (connection.ObjectInfo, error) {
	var reply []byte
	fetch := func() (url *base.URL, err error) {
		err = b.run(ctx, opUploadURL, new(exchange), func(ctx context.Context) error {
			url, err = s.bucket.GetUploadURL(ctx)
			return err
		})
		return url, err
	}
	err := upload(&b.urls, body, fetch, func(url *base.URL, body io.Reader) error {
		x := &exchange{header: b.lockHeaders(req.Lock)}
		err := b.run(ctx, opUpload, x, func(ctx context.Context) error {
			_, err := url.UploadFile(ctx, body, int(req.Size), key, contentType(req.ContentType), hex.EncodeToString(req.Wire), fileInfo(req.SHA256, req.Meta))
			return err
		})
		reply = x.reply
		return err
	})
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	return stored(reply)
}

// stored reads the answer that tells of a new file.
func stored(reply []byte) (connection.ObjectInfo, error) {
	var f file
	if err := json.Unmarshal(reply, &f); err != nil || f.ID == "" {
		return connection.ObjectInfo{}, &connection.Error{Kind: connection.ErrUncertain, Err: err}
	}
	return f.object(), nil
}

// lockHeaders returns the headers of b2_upload_file for locks and encryption.
func (b *backend) lockHeaders(lock connection.Lock) http.Header {
	h := make(http.Header)
	if !lock.RetainUntil.IsZero() {
		h.Set("X-Bz-File-Retention-Mode", b.retentionMode())
		h.Set("X-Bz-File-Retention-Retain-Until-Timestamp", strconv.FormatInt(lock.RetainUntil.UnixMilli(), 10))
	}
	if lock.LegalHold {
		h.Set("X-Bz-File-Legal-Hold", "on")
	}
	if b.cfg.Encryption == EncryptionB2 {
		h.Set("X-Bz-Server-Side-Encryption", "AES256")
	}
	return h
}

// lockFields returns the same for the JSON of other operations; encryption is the name of the field for that.
func (b *backend) lockFields(lock connection.Lock, encryption string) map[string]any {
	fields := make(map[string]any)
	if !lock.RetainUntil.IsZero() {
		fields["fileRetention"] = map[string]any{"mode": b.retentionMode(), "retainUntilTimestamp": lock.RetainUntil.UnixMilli()}
	}
	if lock.LegalHold {
		fields["legalHold"] = "on"
	}
	if b.cfg.Encryption == EncryptionB2 {
		fields[encryption] = map[string]any{"mode": "SSE-B2", "algorithm": "AES256"}
	}
	return fields
}

func (b *backend) retentionMode() string {
	if b.cfg.RetentionMode == "" {
		return Governance
	}
	return b.cfg.RetentionMode
}
