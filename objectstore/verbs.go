package objectstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// Copy implements connection.Copier. opts without ContentType and Meta keep those of the source; Size and SHA256 must be
// what the source has, or not be given.
func (s *Store) Copy(ctx context.Context, dst, src string, opts *connection.PutOptions) (info connection.ObjectInfo, err error) {
	var o connection.PutOptions
	if opts != nil {
		o = *opts
	}
	err = s.do(ctx, "copy", dst, func(ctx context.Context) error {
		info, err = s.copy(ctx, dst, src, &o)
		return err
	})
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	info.Key = dst
	return info, nil
}

func (s *Store) copy(ctx context.Context, dst, src string, o *connection.PutOptions) (connection.ObjectInfo, error) {
	e, ok := s.backend.(Copier)
	if !ok {
		return connection.ObjectInfo{}, lacking("copy")
	}
	if err := s.checkKey(src); err != nil {
		return connection.ObjectInfo{}, err
	}
	if err := s.checkPut(dst, o); err != nil {
		return connection.ObjectInfo{}, err
	}
	if err := s.emulateIfAbsent(ctx, dst, o); err != nil {
		return connection.ObjectInfo{}, err
	}
	from, err := s.stat(ctx, src)
	if err != nil {
		return connection.ObjectInfo{}, fmt.Errorf("the source %q: %w", src, err)
	}
	switch {
	case o.Size > 0 && o.Size != from.Size:
		return from, &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("the source has %d octets, not the %d announced", from.Size, o.Size)}
	case o.SHA256 != "" && o.SHA256 != from.SHA256:
		return from, &connection.Error{Kind: connection.ErrCorrupt, Err: fmt.Errorf("sha256 of the source is %q, want %s", from.SHA256, o.SHA256)}
	}
	req := &CopyRequest{
		IfAbsent: o.IfAbsent, Replace: o.ContentType != "" || o.Meta != nil,
		ContentType: o.ContentType, Meta: maps.Clone(o.Meta), Class: o.Class, Lock: o.Lock,
	}
	info, err := s.decide(ctx, dst, &payload{size: from.Size, sha256: from.SHA256, lock: o.Lock}, func() (info connection.ObjectInfo, err error) {
		err = s.tryWhole(ctx, func(ctx context.Context, _ *watchdog) error {
			info, err = e.Copy(ctx, dst, src, req)
			return err
		})
		return info, err
	})
	if err == nil {
		info.Size, info.SHA256 = from.Size, from.SHA256
	}
	return info, err
}

// Lock implements connection.Locker.
func (s *Store) Lock(ctx context.Context, key string, lock connection.Lock) error {
	return s.do(ctx, "lock", key, func(ctx context.Context) error {
		e, ok := s.backend.(Locker)
		if !ok || !s.Features().Lock {
			return lacking("retention")
		}
		if err := s.checkKey(key); err != nil {
			return err
		}
		return s.repeat(ctx, "lock", func(ctx context.Context, _ *watchdog) error { return e.Lock(ctx, key, lock) })
	})
}

// Restore implements connection.Restorer.
func (s *Store) Restore(ctx context.Context, key string, keep time.Duration) error {
	return s.do(ctx, "restore", key, func(ctx context.Context) error {
		e, ok := s.backend.(Restorer)
		if !ok {
			return lacking("cold tiers")
		}
		if err := s.checkKey(key); err != nil {
			return err
		}
		if keep < 0 {
			return &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("keep %s: negative", keep)}
		}
		return s.repeat(ctx, "restore", func(ctx context.Context, _ *watchdog) error { return e.Restore(ctx, key, keep) })
	})
}

// Presign implements connection.Presigner.
func (s *Store) Presign(ctx context.Context, method, key string, expires time.Duration) (url connection.Secret, err error) {
	err = s.do(ctx, "presign", key, func(ctx context.Context) error {
		e, ok := s.backend.(Presigner)
		if !ok {
			return lacking("presigned URLs")
		}
		if err := s.checkKey(key); err != nil {
			return err
		}
		switch {
		case method != "GET" && method != "PUT":
			return &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("method %q: want GET or PUT", method)}
		case expires < time.Second:
			return &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("expires %s: want at least a second", expires)}
		}
		return s.repeat(ctx, "presign", func(ctx context.Context, _ *watchdog) error {
			url, err = e.Presign(ctx, method, key, expires)
			return err
		})
	})
	return url, err
}

// Incomplete implements connection.IncompleteLister.
func (s *Store) Incomplete(ctx context.Context) iter.Seq2[connection.Incomplete, error] {
	return func(yield func(connection.Incomplete, error) bool) {
		token := ""
		for {
			var found []connection.Incomplete
			next := ""
			err := s.do(ctx, "incomplete", "", func(ctx context.Context) error {
				e, ok := s.backend.(IncompleteLister)
				if !ok {
					return lacking("unfinished writes")
				}
				return s.repeat(ctx, "incomplete", func(ctx context.Context, _ *watchdog) (err error) {
					found, next, err = e.Incomplete(ctx, token)
					return err
				})
			})
			if err == nil && next == token && next != "" {
				err = s.fail(ctx, "incomplete", "", &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the pages of the listing have no end")})
			}
			if err != nil {
				yield(connection.Incomplete{}, err)
				return
			}
			for _, one := range found {
				if !yield(one, nil) {
					return
				}
			}
			if token = next; token == "" {
				return
			}
		}
	}
}

// AbortIncomplete implements connection.IncompleteLister. What the store gives no time for stays.
func (s *Store) AbortIncomplete(ctx context.Context, before time.Time) (int, error) {
	count := 0
	var failed []error
	for one, err := range s.Incomplete(ctx) {
		if err != nil {
			return count, errors.Join(append(failed, err)...)
		}
		if one.Started.IsZero() || !one.Started.Before(before) {
			continue
		}
		err = s.do(ctx, "abort", one.Key, func(ctx context.Context) error {
			e := s.backend.(IncompleteLister) //nolint:forcetypeassert // it has just listed them
			return s.repeat(ctx, "abort", func(ctx context.Context, _ *watchdog) error { return e.AbortIncomplete(ctx, one) })
		})
		if err != nil {
			failed = append(failed, err)
			continue
		}
		count++
	}
	return count, errors.Join(failed...)
}

func lacking(what string) error {
	return &connection.Error{Kind: connection.ErrUnsupported, Err: errors.New("this store has no " + what)}
}
