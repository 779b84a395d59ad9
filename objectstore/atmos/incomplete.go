package atmos

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// Incomplete implements objectstore.IncompleteLister: temporary files that no rename made objects of.
func (b *backend) Incomplete(ctx context.Context, token string) (found []connection.Incomplete, next string, err error) {
	page, next, err := b.readDir(ctx, tmpDir+"/", token)
	if connection.KindOf(err) == connection.ErrNotFound {
		return nil, "", b.lookAtBucket(ctx)
	}
	if err != nil {
		return nil, "", err
	}
	for _, e := range page {
		if !e.dir {
			found = append(found, connection.Incomplete{ID: e.name, Size: e.info.Size, Started: e.info.Modified})
		}
	}
	return found, next, nil
}

// AbortIncomplete implements objectstore.IncompleteLister.
func (b *backend) AbortIncomplete(ctx context.Context, one connection.Incomplete) error {
	if one.ID == "" || strings.ContainsFunc(one.ID, func(r rune) bool { return r > 0x7f || !plain(byte(r)) }) {
		return &connection.Error{Kind: connection.ErrInvalid, Err: errors.New("no name of an unfinished write: " + one.ID)}
	}
	return b.remove(ctx, tmpDir+"/"+one.ID)
}

// Presign implements objectstore.Presigner: a shareable URL, which can only read. It expires by the server's clock.
func (b *backend) Presign(ctx context.Context, method, key string, expires time.Duration) (connection.Secret, error) {
	if method != http.MethodGet {
		return connection.Secret{}, &connection.Error{Kind: connection.ErrUnsupported, Err: errors.New("URLs of this store can only read")}
	}
	rel := pathOf(key)
	switch there, err := b.find(ctx, rel); {
	case err == nil:
		rel = there.rel
	case connection.KindOf(err) != connection.ErrNotFound:
		return connection.Secret{}, err
	}
	path := b.namespace(rel)
	skew, _ := b.web.Skew()
	query := b.signer.share(path, time.Now().Add(skew+expires))
	return connection.NewSecret(b.base.Scheme + "://" + b.base.Host + path + "?" + query), nil
}
