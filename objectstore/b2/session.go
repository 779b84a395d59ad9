package b2

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/Backblaze/blazer/base"

	"github.com/mailconn/mailconn/connection"
)

// A session is an authorization, and the bucket as it was then. It does not change.
type session struct {
	account *account
	b2      *base.B2
	bucket  *base.Bucket
	lock    fileLock
}

// A fileLock says what is known of a bucket's file lock.
type fileLock struct {
	known   bool
	enabled bool
	byRule  bool // files are locked without being asked
}

// mayLock reports whether files of the bucket can be locked.
func (s *session) mayLock() bool { return s.lock.enabled || !s.lock.known }

// can reports whether the application key has a capability.
func (s *session) can(capability string) bool {
	return slices.Contains(s.account.APIInfo.Storage.Capabilities, capability)
}

// session returns the present session, and begins one if there is none. One caller does so while the others wait.
func (b *backend) session(ctx context.Context) (*session, error) {
	if s := b.current.Load(); s != nil {
		return s, nil
	}
	select {
	case b.gate <- struct{}{}:
		defer func() { <-b.gate }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s := b.current.Load(); s != nil {
		return s, nil
	}
	s, err := b.authorize(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.findBucket(ctx, s); err != nil {
		return nil, err
	}
	b.current.Store(s)
	return s, nil
}

// authorize asks for a token.
func (b *backend) authorize(ctx context.Context) (*session, error) {
	x, s := new(exchange), new(session)
	err := b.run(ctx, opAuthorize, x, func(ctx context.Context) (err error) {
		s.b2, err = base.AuthorizeAccount(ctx, b.cfg.Settings.Identity, b.cfg.Credential.Reveal(),
			base.SetAPIBase(b.base.String()), base.Transport(b.fence), base.UserAgent("mailconn"))
		return err
	})
	if err != nil {
		return nil, err
	}
	s.account, err = readAccount(x.reply)
	return s, err
}

// findBucket looks for the bucket of the settings, by ID and then by name.
func (b *backend) findBucket(ctx context.Context, s *session) error {
	x := new(exchange)
	var all []*base.Bucket
	err := b.run(ctx, opBuckets, x, func(ctx context.Context) (err error) {
		all, err = s.b2.ListBuckets(ctx, "")
		return err
	})
	if err != nil {
		return err
	}
	for _, same := range []func(*base.Bucket) string{func(k *base.Bucket) string { return k.ID }, func(k *base.Bucket) string { return k.Name }} {
		for _, bucket := range all {
			if same(bucket) == b.cfg.Bucket {
				s.bucket, s.lock = bucket, lockOf(x.reply, bucket.ID)
				return nil
			}
		}
	}
	return b.noBucket()
}

// lockOf reads what package base leaves out.
func lockOf(reply []byte, id string) fileLock {
	var all struct {
		Buckets []struct {
			ID   string `json:"bucketId"`
			Lock struct {
				Known bool `json:"isClientAuthorizedToRead"`
				Value *struct {
					Enabled bool `json:"isFileLockEnabled"`
					Default struct {
						Mode string `json:"mode"`
					} `json:"defaultRetention"`
				} `json:"value"`
			} `json:"fileLockConfiguration"`
		} `json:"buckets"`
	}
	if json.Unmarshal(reply, &all) != nil {
		return fileLock{} // base has read it, so it is something new
	}
	for _, k := range all.Buckets {
		if k.ID == id && k.Lock.Value != nil {
			return fileLock{known: k.Lock.Known, enabled: k.Lock.Value.Enabled, byRule: k.Lock.Value.Default.Mode != ""}
		}
	}
	return fileLock{}
}

func (b *backend) noBucket() *connection.Error {
	return &connection.Error{
		Kind: connection.ErrConfig, Err: errors.New("bucket: there is no bucket " + b.cfg.Bucket + ", by ID or by name, that this application key may see"),
		Hint: "bucket: create the bucket " + b.cfg.Bucket + ", or correct Bucket UID, its ID or name; it is never created by itself",
	}
}

// forget ends a session that is of no more use.
func (b *backend) forget(s *session) { b.current.CompareAndSwap(s, nil) }

// with runs f in a session, and once more in a new one if the token has expired.
func (b *backend) with(ctx context.Context, f func(s *session) error) error {
	for again := false; ; again = true {
		s, err := b.session(ctx)
		if err != nil {
			return err
		}
		err = f(s)
		switch {
		case connection.KindOf(err) == connection.ErrConfig: // the bucket turned out to be gone
			b.forget(s)
			return err
		case !expired(err):
			return err
		case again: // the token is new
			return &connection.Error{Kind: connection.ErrPermission, Err: err, Hint: "credential: the application key may not do that, or a cap of the account is reached"}
		}
		b.forget(s)
	}
}

// missing decides what ErrNotFound of a file means: the file, or the whole bucket.
func (b *backend) missing(ctx context.Context, s *session, err error) error {
	if connection.KindOf(err) != connection.ErrNotFound {
		return err
	}
	again := *s
	if bucket := b.findBucket(ctx, &again); bucket != nil {
		return bucket
	}
	return err
}
