package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mailconn/mailconn/connection"
)

// lockTTL is how long it is believed whether a bucket has locks: they can be switched on later.
const lockTTL = 5 * time.Minute

// A lockState says what is known of a bucket's locks.
type lockState struct {
	asked time.Time
	may   bool // objects may be locked: look before each overwrite and delete
	guess bool // the server did not tell: a put without a version will
	rule  bool // what is put is retained by default
}

// mayLock reports whether objects of the bucket can be locked. In such a bucket S3 lets a put or delete of a locked object
// succeed, by a new version or a marker; so somebody has to look first.
func (b *backend) mayLock(ctx context.Context) (bool, error) {
	select {
	case b.asking <- struct{}{}: // one at a time
		defer func() { <-b.asking }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if state := b.lockState(); time.Since(state.asked) < lockTTL {
		return state.may, nil
	}
	state, err := b.askLocks(ctx)
	if connection.KindOf(err) == connection.ErrNotFound {
		// Amazon has a code for it. A proxy's 404 is not to be believed: it asks once more, if the bucket answers.
		if err = b.missing(ctx, err); connection.KindOf(err) == connection.ErrNotFound {
			state, err = b.askLocks(ctx)
		}
	}
	state.asked = time.Now()
	var other otherRoot
	switch kind := connection.KindOf(err); {
	case err == nil:
	case errors.As(err, &other) && other == "ListBucketResult":
		// A server that has never heard of locks takes no notice of the question: it lists the bucket (rclone serve s3).
	case kind == connection.ErrUnsupported, kind == connection.ErrNotFound, kind == connection.ErrRejected, kind == connection.ErrInvalid:
		// No lock configuration, or a server that has never heard of one.
	case kind == connection.ErrPermission:
		state.may, state.guess = true, true
	default:
		return false, err
	}
	b.mu.Lock()
	b.locks = state
	b.mu.Unlock()
	return state.may, nil
}

// askLocks asks for the bucket's lock configuration.
func (b *backend) askLocks(ctx context.Context) (state lockState, err error) {
	err = b.do(ctx, exchange{root: "ObjectLockConfiguration"}, func(ctx context.Context, c *sdk.Client) error {
		out, err := c.GetObjectLockConfiguration(ctx, &sdk.GetObjectLockConfigurationInput{Bucket: &b.cfg.Bucket})
		if err == nil && out.ObjectLockConfiguration != nil {
			state.may = out.ObjectLockConfiguration.ObjectLockEnabled == types.ObjectLockEnabledEnabled
			state.rule = out.ObjectLockConfiguration.Rule != nil
		}
		return err
	})
	return state, err
}

func (b *backend) lockState() lockState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.locks
}

// sawVersion takes the version of a put as a sign: without versions there are no locks.
func (b *backend) sawVersion(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.locks.guess {
		b.locks.guess, b.locks.may = false, id != ""
	}
}

// unlocked returns ErrLocked if the object under key may not be replaced or deleted now, and ErrNotFound if locks had to
// be looked for and there is no object.
func (b *backend) unlocked(ctx context.Context, key string) error {
	if may, err := b.mayLock(ctx); err != nil || !may {
		return err
	}
	return b.unlockedNow(ctx, key)
}

func (b *backend) unlockedNow(ctx context.Context, key string) error {
	out, err := b.head(ctx, key)
	switch {
	case connection.KindOf(err) == connection.ErrPermission:
		return nil // we may not look; the server keeps what is locked as an older version
	case err != nil:
		return err
	}
	return inForce(lockOf(out.ObjectLockRetainUntilDate, out.ObjectLockLegalHoldStatus))
}

// inForce returns ErrLocked if lock protects its object now.
func inForce(lock connection.Lock) error {
	switch {
	case lock.LegalHold:
		return &connection.Error{Kind: connection.ErrLocked, Err: errors.New("it is under legal hold")}
	case lock.RetainUntil.After(time.Now()):
		return &connection.Error{Kind: connection.ErrLocked, Err: fmt.Errorf("it is retained until %s", lock.RetainUntil.UTC().Format(time.RFC3339))}
	}
	return nil
}

func lockOf(until *time.Time, hold types.ObjectLockLegalHoldStatus) connection.Lock {
	return connection.Lock{RetainUntil: when(until), LegalHold: hold == types.ObjectLockLegalHoldStatusOn}
}

// lock returns the headers of a put for lock. Retention counts whole seconds, and never less than asked for.
func (b *backend) lock(lock connection.Lock) (mode types.ObjectLockMode, until *time.Time, hold types.ObjectLockLegalHoldStatus) {
	if !lock.RetainUntil.IsZero() {
		mode = types.ObjectLockModeGovernance
		if b.cfg.RetentionMode == RetentionCompliance {
			mode = types.ObjectLockModeCompliance
		}
		t := wholeSecond(lock.RetainUntil)
		until = &t
	}
	if lock.LegalHold {
		hold = types.ObjectLockLegalHoldStatusOn
	}
	return mode, until, hold
}

func wholeSecond(t time.Time) time.Time {
	if s := t.Truncate(time.Second); s.Equal(t) {
		return s.UTC()
	}
	return t.Truncate(time.Second).Add(time.Second).UTC()
}

// canLock returns ErrUnsupported if the bucket has no locks, for a put that asks for one.
func (b *backend) canLock(ctx context.Context, lock connection.Lock) error {
	if lock == (connection.Lock{}) {
		return nil
	}
	if may, err := b.mayLock(ctx); err != nil || may {
		return err
	}
	return &connection.Error{
		Kind: connection.ErrUnsupported, Err: errors.New("the bucket has no object lock"),
		Hint: "bucket: object lock is switched on when a bucket is created, or by its owner",
	}
}

// Lock implements objectstore.Locker.
func (b *backend) Lock(ctx context.Context, key string, lock connection.Lock) error {
	if err := b.canLock(ctx, connection.Lock{LegalHold: true}); err != nil {
		return err
	}
	out, err := b.head(ctx, key)
	if err != nil {
		return b.missing(ctx, err)
	}
	have := lockOf(out.ObjectLockRetainUntilDate, out.ObjectLockLegalHoldStatus)
	mode, until, _ := b.lock(lock)
	if until != nil && !until.Equal(have.RetainUntil) {
		if until.Before(have.RetainUntil) && have.RetainUntil.After(time.Now()) {
			return inForce(connection.Lock{RetainUntil: have.RetainUntil})
		}
		if have.RetainUntil.After(time.Now()) && out.ObjectLockMode == types.ObjectLockModeCompliance {
			mode = types.ObjectLockModeCompliance // it is never taken back
		}
		if err := b.retain(ctx, key, mode, until); err != nil {
			return err
		}
	}
	if lock.LegalHold == have.LegalHold {
		return nil
	}
	return b.hold(ctx, key, lock.LegalHold)
}

func (b *backend) retain(ctx context.Context, key string, mode types.ObjectLockMode, until *time.Time) error {
	err := b.do(ctx, exchange{}, func(ctx context.Context, c *sdk.Client) error {
		_, err := c.PutObjectRetention(ctx, &sdk.PutObjectRetentionInput{
			Bucket: &b.cfg.Bucket, Key: &key, Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionMode(mode), RetainUntilDate: until},
		}, withContentMD5)
		return err
	})
	return worm(err)
}

func (b *backend) hold(ctx context.Context, key string, on bool) error {
	status := types.ObjectLockLegalHoldStatusOff
	if on {
		status = types.ObjectLockLegalHoldStatusOn
	}
	err := b.do(ctx, exchange{}, func(ctx context.Context, c *sdk.Client) error {
		_, err := c.PutObjectLegalHold(ctx, &sdk.PutObjectLegalHoldInput{
			Bucket: &b.cfg.Bucket, Key: &key, LegalHold: &types.ObjectLockLegalHold{Status: status},
		}, withContentMD5)
		return err
	})
	return worm(err)
}

// worm tells a refusal because of a lock from others of the same code. Amazon and MinIO say it in words only.
func worm(err error) error {
	e := told(err)
	if e == nil || e.Err == nil || e.Code != "AccessDenied" && e.Code != "InvalidRequest" {
		return err
	}
	words := strings.ToLower(e.Err.Error())
	switch {
	case strings.Contains(words, "worm protected"), strings.Contains(words, "protected by object lock"):
		e.Kind, e.Hint = connection.ErrLocked, ""
	case strings.Contains(words, "object lock configuration"):
		e.Kind = connection.ErrUnsupported
	}
	return e
}
