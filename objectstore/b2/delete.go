package b2

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// How many rounds one Delete makes, each of so many versions of the key and of so many pages at most.
const (
	maxRounds   = 50
	maxPages    = 50
	maxVersions = 1000
)

// Delete implements objectstore.Backend: all versions, or a marker if the application key may delete none. The oldest goes
// first: a Delete that fails half-way must not bring an older version to light, nor one that was hidden.
func (b *backend) Delete(ctx context.Context, key string) error {
	return b.with(ctx, func(s *session) error {
		if !s.can("deleteFiles") {
			return b.hide(ctx, s, key)
		}
		for range maxRounds {
			versions, more, err := b.versions(ctx, s, key)
			if err != nil {
				return err
			}
			if err := checkLocks(versions); err != nil {
				return err
			}
			for _, f := range slices.Backward(versions) {
				err := b.deleteVersion(ctx, s, f)
				switch {
				case connection.KindOf(err) == connection.ErrPermission && f.Action == actionUpload && s.mayLock():
					return &connection.Error{Kind: connection.ErrLocked, Err: err} // a lock that this key may not read
				case connection.KindOf(err) == connection.ErrPermission:
					return b.hide(ctx, s, key)
				case err != nil:
					return err
				}
			}
			if !more {
				return nil
			}
		}
		return &connection.Error{Kind: connection.ErrUnavailable, Err: errors.New("the key has new versions all the time")}
	})
}

// versions returns the newest versions of key, newest first, and whether there are more. Uploads that are not finished are
// none.
func (b *backend) versions(ctx context.Context, s *session, key string) (versions []file, more bool, err error) {
	var out namesReply
	in := namesRequest{BucketID: s.bucket.ID, Start: key, Count: 100, Prefix: key}
	for page := 1; ; page++ {
		if err := b.api(ctx, s, opVersions, in, &out); err != nil {
			return nil, false, err
		}
		for _, f := range out.Files {
			if f.Name == key && f.Action != actionStart {
				versions = append(versions, f)
			}
		}
		if len(versions) >= maxVersions || page == maxPages || out.NextName != key || out.NextID == in.StartID {
			return versions, out.NextName == key, nil
		}
		in.StartID = out.NextID
		out = namesReply{}
	}
}

// checkLocks returns an error if one of the versions is locked.
func checkLocks(versions []file) error {
	for i := range versions {
		if err := lockError(versions[i].object().Lock); err != nil {
			return err
		}
	}
	return nil
}

// lockError returns an error if lock is in force.
func lockError(lock connection.Lock) error {
	switch {
	case lock.LegalHold:
		return &connection.Error{Kind: connection.ErrLocked, Err: errors.New("under legal hold")}
	case lock.RetainUntil.After(time.Now()):
		return &connection.Error{Kind: connection.ErrLocked, Err: errors.New("retained until " + lock.RetainUntil.UTC().Format(time.RFC3339))}
	}
	return nil
}

// deleteVersion removes one. A missing one is no error.
func (b *backend) deleteVersion(ctx context.Context, s *session, f file) error {
	err := b.run(ctx, opDelete, new(exchange), func(ctx context.Context) error {
		return s.bucket.File(f.ID, f.Name).DeleteFileVersion(ctx)
	})
	if connection.KindOf(err) == connection.ErrNotFound {
		return nil
	}
	return err
}

// hide puts a marker over a file, and says so.
func (b *backend) hide(ctx context.Context, s *session, key string) error {
	switch f, err := b.head(ctx, s, key); {
	case connection.KindOf(err) == connection.ErrNotFound:
		return nil
	case err != nil:
		return err
	default:
		if err := lockError(f.object().Lock); err != nil {
			return err
		}
	}
	err := b.run(ctx, opHide, new(exchange), func(ctx context.Context) error {
		_, err := s.bucket.HideFile(ctx, key)
		return err
	})
	switch {
	case isCode(err, "already_hidden"), connection.KindOf(err) == connection.ErrNotFound:
		return nil
	case err != nil:
		return err
	}
	b.env.Emit(connection.Event{Kind: connection.EventMarker, Connection: b.eventID(), Key: key, Detail: "the application key may not delete"})
	return nil
}

func isCode(err error, code string) bool {
	var e *connection.Error
	return errors.As(err, &e) && e.Code == code
}
