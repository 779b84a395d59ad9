package atmos

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
)

// Metadata by which the server retains an object.
const (
	retentionEnable = "user.maui.retentionEnable"
	retentionEnd    = "user.maui.retentionEnd"
)

// checkLock returns an error for a lock that no server of this kind has.
func checkLock(lock connection.Lock) error {
	switch {
	case lock.LegalHold:
		return &connection.Error{Kind: connection.ErrUnsupported, Err: errors.New("this store has no legal hold")}
	case !lock.RetainUntil.After(time.Now()):
		return &connection.Error{Kind: connection.ErrInvalid, Err: errors.New("the retention would end in the past")}
	}
	return nil
}

// Lock implements objectstore.Locker, and asks the server whether it really keeps the object.
func (b *backend) Lock(ctx context.Context, key string, lock connection.Lock) error {
	if lock == (connection.Lock{}) {
		_, err := b.find(ctx, pathOf(key))
		return err
	}
	if err := checkLock(lock); err != nil {
		return err
	}
	now, err := b.find(ctx, pathOf(key))
	if err != nil {
		return err
	}
	until := wholeSecond(lock.RetainUntil)
	switch {
	case now.Lock.RetainUntil.Equal(until):
		return nil
	case now.Lock.RetainUntil.After(until):
		return lockedError(now.Lock)
	}
	h := http.Header{"Content-Type": {"application/octet-stream"}, "X-Emc-Meta": {retention(until)}}
	if _, err := b.call(ctx, request{method: http.MethodPost, path: b.namespace(now.rel), query: "metadata/user", header: h}); err != nil {
		return err
	}
	if err := b.confirm(ctx, now.rel, until); err != nil {
		return fmt.Errorf("asked to retain the object: %w", err)
	}
	return nil
}

// wholeSecond rounds a time up to what the server can tell.
func wholeSecond(t time.Time) time.Time { return t.UTC().Add(time.Second - 1).Truncate(time.Second) }

// retention returns the metadata that retains an object.
func retention(until time.Time) string {
	return retentionEnable + "=true," + retentionEnd + "=" + wholeSecond(until).Format(time.RFC3339)
}

// confirm asks whether the server keeps a file until then: one whose policy has no retention takes the metadata as any
// other.
func (b *backend) confirm(ctx context.Context, rel string, until time.Time) error {
	resp, err := b.do(ctx, request{method: http.MethodGet, path: b.namespace(rel), query: "info"})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // read as far as wanted
	var info struct {
		Enabled bool   `xml:"retention>enabled"`
		EndAt   string `xml:"retention>endAt"`
	}
	if err := xml.Unmarshal(httpx.ReadLimited(resp.Body), &info); err != nil {
		return &connection.Error{Kind: connection.ErrProtocol, Err: err}
	}
	if !info.Enabled || timeOf(info.EndAt).Before(until) {
		return &connection.Error{Kind: connection.ErrUnsupported, Err: errors.New("this server does not retain the object: its policy has to enable retention")}
	}
	return nil
}
