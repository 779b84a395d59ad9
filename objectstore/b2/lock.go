package b2

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// mayReplace refuses a put that would hide a locked object behind a new version, and a lock that the bucket cannot have.
// Buckets without file lock cost nothing.
func (b *backend) mayReplace(ctx context.Context, s *session, key string, lock connection.Lock) error {
	switch {
	case lock != (connection.Lock{}) && !s.mayLock():
		return &connection.Error{
			Kind: connection.ErrUnsupported, Err: errors.New("the bucket has no file lock"),
			Hint: "bucket: use a bucket that was made with file lock (Object Lock), or switch it on",
		}
	case !s.mayLock(), !s.lock.known && !s.can("readFileRetentions"): // then looking would tell nothing
		return nil
	}
	f, err := b.head(ctx, s, key)
	switch {
	case connection.KindOf(err) == connection.ErrNotFound:
		return nil
	case err != nil:
		return err
	}
	return lockError(f.object().Lock)
}

// Lock implements objectstore.Locker. The mode of a retention in force stays.
func (b *backend) Lock(ctx context.Context, key string, lock connection.Lock) error {
	return b.with(ctx, func(s *session) error {
		f, err := b.head(ctx, s, key)
		if err != nil {
			return err
		}
		if lock != (connection.Lock{}) && !s.mayLock() {
			return b.mayReplace(ctx, s, key, lock)
		}
		now := f.object().Lock
		if err := b.retain(ctx, s, f, now.RetainUntil, lock.RetainUntil); err != nil {
			return err
		}
		if lock.LegalHold == now.LegalHold {
			return nil
		}
		hold := map[bool]string{true: "on", false: "off"}[lock.LegalHold]
		return b.api(ctx, s, opLegalHold, map[string]any{"fileName": key, "fileId": f.ID, "legalHold": hold}, nil)
	})
}

func (b *backend) retain(ctx context.Context, s *session, f *file, now, until time.Time) error {
	until = until.Round(0).Truncate(time.Millisecond) // what the server can tell
	switch {
	case until.IsZero(), until.Equal(now):
		return nil
	case now.After(until) && now.After(time.Now()):
		return lockError(connection.Lock{RetainUntil: now})
	}
	mode := b.retentionMode()
	if now.After(time.Now()) && f.Retention.Value.Mode != "" {
		mode = f.Retention.Value.Mode
	}
	return b.api(ctx, s, opRetention, map[string]any{
		"fileName": f.Name, "fileId": f.ID,
		"fileRetention": map[string]any{"mode": mode, "retainUntilTimestamp": until.UnixMilli()},
	}, nil)
}

// Copy implements objectstore.Copier. The service copies up to 5 GB at a time.
func (b *backend) Copy(ctx context.Context, dst, src string, req *objectstore.CopyRequest) (info connection.ObjectInfo, err error) {
	err = b.with(ctx, func(s *session) error {
		from, err := b.head(ctx, s, src)
		if err != nil {
			return err
		}
		if from.Size > maxPart {
			return &connection.Error{Kind: connection.ErrTooLarge, Err: fmt.Errorf("%d octets; a copy has at most %d", from.Size, int64(maxPart))}
		}
		if err := b.mayReplace(ctx, s, dst, req.Lock); err != nil {
			return err
		}
		in := b.lockFields(req.Lock, "destinationServerSideEncryption")
		in["sourceFileId"], in["fileName"], in["metadataDirective"] = from.ID, dst, "COPY"
		if req.Replace {
			kept := fileInfo(from.object().SHA256, req.Meta)
			for name, value := range from.Info {
				if name = strings.ToLower(name); name == infoSHA1 {
					kept[name] = value
				}
			}
			in["metadataDirective"], in["contentType"], in["fileInfo"] = "REPLACE", contentType(req.ContentType), kept
		}
		var f file
		if err := b.api(ctx, s, opCopy, in, &f); err != nil {
			return err
		}
		info = f.object()
		return nil
	})
	return info, err
}

// maxPresign is how long an authorization to download may be valid.
const maxPresign = 7 * 24 * time.Hour

// Presign implements objectstore.Presigner. The token in the URL also opens keys that begin with this one.
func (b *backend) Presign(ctx context.Context, method, key string, expires time.Duration) (link connection.Secret, err error) {
	switch {
	case method != http.MethodGet:
		return link, &connection.Error{Kind: connection.ErrUnsupported, Err: errors.New("URLs of this store can only read")}
	case expires > maxPresign:
		return link, &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("expires %s: at most %s", expires, maxPresign)}
	}
	err = b.with(ctx, func(s *session) error {
		var out struct {
			Token string `json:"authorizationToken"`
		}
		in := map[string]any{"bucketId": s.bucket.ID, "fileNamePrefix": key, "validDurationInSeconds": int(expires.Seconds())}
		if err := b.api(ctx, s, opDownloadAuth, in, &out); err != nil {
			return err
		}
		link = connection.NewSecret(s.account.APIInfo.Storage.Download + "/file/" + s.bucket.Name + "/" + escape(key) + "?Authorization=" + url.QueryEscape(out.Token))
		return nil
	})
	return link, err
}

// escape writes a key into a URL.
func escape(key string) string {
	segments := strings.Split(key, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return strings.ReplaceAll(strings.Join(segments, "/"), "+", "%2B") // B2 reads + as a space
}
