package azureblob

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// bucketFresh is how long what is known of the container is believed.
const bucketFresh = 5 * time.Minute

// A bucket is what is known of the container's locks. It is asked for when it is first needed, by one request for all.
type bucket struct {
	busy  chan struct{} // held by who reads or asks
	asked time.Time
	worm  bool // objects can have locks, and overwriting or deleting them would only make versions
}

// lockable reports whether objects of the container can be locked one by one.
func (b *backend) lockable(ctx context.Context) (bool, error) {
	select {
	case b.bucket.busy <- struct{}{}:
		defer func() { <-b.bucket.busy }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if !b.bucket.asked.IsZero() && time.Since(b.bucket.asked) < bucketFresh {
		return b.bucket.worm, nil
	}
	p, err := b.container.GetProperties(ctx, nil)
	if err != nil {
		return false, b.failAt(ctx, err, connection.ErrChanged)
	}
	b.bucket.worm, b.bucket.asked = deref(p.IsImmutableStorageWithVersioningEnabled), time.Now()
	b.store.Learn(func(f *objectstore.Features) { f.Lock = b.bucket.worm })
	if b.bucket.worm {
		b.versions.Store(keeps)
	}
	return b.bucket.worm, nil
}

// needLocks is ErrUnsupported if objects cannot be locked.
func (b *backend) needLocks(ctx context.Context) error {
	worm, err := b.lockable(ctx)
	if err != nil || worm {
		return err
	}
	return &connection.Error{
		Kind: connection.ErrUnsupported, Err: errors.New("the container has no locks of single objects"),
		Hint: fmt.Sprintf("bucket: switch on version-level immutability of the container %q", b.cfg.Bucket),
	}
}

// unlocked is ErrLocked if key holds a locked object in a container where the service would take that for a new version. A
// policy of the whole container needs no look: the service refuses by itself.
func (b *backend) unlocked(ctx context.Context, key string) error {
	worm, err := b.lockable(ctx)
	if err != nil || !worm {
		return err
	}
	p, err := b.properties(ctx, key)
	switch {
	case errors.Is(err, connection.ErrNotFound):
		return nil
	case err != nil:
		return err
	case deref(p.LegalHold):
		return &connection.Error{Kind: connection.ErrLocked, Err: errors.New("a legal hold is on the object")}
	case deref(p.ImmutabilityPolicyExpiresOn).After(b.now()):
		return &connection.Error{Kind: connection.ErrLocked, Err: fmt.Errorf("the object is retained until %s", p.ImmutabilityPolicyExpiresOn.Format(time.RFC3339))}
	}
	return nil
}

// now returns the service's time.
func (b *backend) now() time.Time {
	skew, _ := b.http.Skew()
	return time.Now().Add(skew)
}

// retentionMode returns the service's word for the setting.
func (b *backend) retentionMode() blob.ImmutabilityPolicySetting {
	if b.cfg.RetentionMode == RetentionCompliance {
		return blob.ImmutabilityPolicySettingLocked
	}
	return blob.ImmutabilityPolicySettingUnlocked
}

// wholeSeconds rounds up: a header has no fractions, and a retention must not become shorter.
func wholeSeconds(t time.Time) time.Time {
	if whole := t.Truncate(time.Second); whole.Before(t) {
		return whole.Add(time.Second)
	}
	return t
}

// Lock implements objectstore.Locker: Set Blob Immutability Policy and Set Blob Legal Hold.
func (b *backend) Lock(ctx context.Context, key string, lock connection.Lock) error {
	if err := b.needLocks(ctx); err != nil {
		return err
	}
	p, err := b.properties(ctx, key)
	if err != nil {
		return err
	}
	// The hold is set first and lifted last: there is no moment in which neither protects.
	if lock.LegalHold && !deref(p.LegalHold) {
		if err := b.setHold(ctx, key, true); err != nil {
			return err
		}
	}
	if err := b.retain(ctx, key, lock.RetainUntil, p); err != nil {
		return err
	}
	if !lock.LegalHold && deref(p.LegalHold) {
		return b.setHold(ctx, key, false)
	}
	return nil
}

func (b *backend) setHold(ctx context.Context, key string, on bool) error {
	_, err := b.blob(key).SetLegalHold(ctx, on, nil)
	return b.fail(ctx, err, connection.ErrChanged)
}

// retain prolongs the retention of an object, which has the properties given. A policy that is locked stays so.
func (b *backend) retain(ctx context.Context, key string, until time.Time, p *blob.GetPropertiesResponse) error {
	if until.IsZero() {
		return nil
	}
	until = wholeSeconds(until)
	mode, has := b.retentionMode(), deref(p.ImmutabilityPolicyExpiresOn)
	locked := deref(p.ImmutabilityPolicyMode) == blob.ImmutabilityPolicyModeLocked
	if locked {
		mode = blob.ImmutabilityPolicySettingLocked
	}
	switch {
	case until.Before(has) && has.After(b.now()):
		return &connection.Error{Kind: connection.ErrLocked, Err: fmt.Errorf("the object is retained until %s, which cannot be shortened", has.Format(time.RFC3339))}
	case until.Equal(has) && (locked || mode == blob.ImmutabilityPolicySettingUnlocked):
		return nil
	}
	_, err := b.blob(key).SetImmutabilityPolicy(ctx, until, &blob.SetImmutabilityPolicyOptions{Mode: &mode})
	return b.fail(ctx, err, connection.ErrChanged)
}
