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
	until := lock.RetainUntil.UTC().Add(time.Second - 1).Truncate(time.Second) // what the server can tell
	switch {
	case now.Lock.RetainUntil.Equal(until):
		return nil
	case now.Lock.RetainUntil.After(until):
		return lockedError(now.Lock)
	}
	path := b.namespace(now.rel)
	h := http.Header{
		"Content-Type": {"application/octet-stream"},
		"X-Emc-Meta":   {retentionEnable + "=true," + retentionEnd + "=" + until.Format(time.RFC3339)},
	}
	if _, err := b.call(ctx, request{method: http.MethodPost, path: path, query: "metadata/user", header: h}); err != nil {
		return err
	}
	resp, err := b.do(ctx, request{method: http.MethodGet, path: path, query: "info"})
	if err != nil {
		return fmt.Errorf("whether the object is retained is not known: %w", err)
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
