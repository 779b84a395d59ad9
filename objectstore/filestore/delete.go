package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// deleteWorkers delete at the same time, so that they share what fsync costs.
const deleteWorkers = 8

// Delete implements connection.ObjectStore. Directories that become empty are removed too. A key that is locked is
// ErrLocked.
func (c *Conn) Delete(ctx context.Context, keys ...string) error {
	errs := make([]error, len(keys))
	var next atomic.Int64
	work := func() {
		for i := next.Add(1) - 1; i < int64(len(keys)); i = next.Add(1) - 1 {
			if err := c.deleteOne(ctx, keys[i]); err != nil {
				errs[i] = c.fail("delete", keys[i], err)
			}
		}
	}
	var wg sync.WaitGroup
	for range min(len(keys), deleteWorkers) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	return errors.Join(errs...)
}

func (c *Conn) deleteOne(ctx context.Context, key string) error {
	if err := objectstore.CheckKey(key); err != nil {
		return err
	}
	t, err := c.open(ctx)
	if err != nil {
		return err
	}
	dirs, name := keyPath(key)
	for attempt := 1; ; attempt++ {
		d, err := t.get(dirs, false)
		if errors.Is(err, fs.ErrNotExist) {
			return c.missing(t)
		}
		if err != nil {
			return err
		}
		found, err := c.deleteIn(ctx, t, d, name, key)
		if !found {
			// Perhaps the directory is another by now.
			t.forget(d)
		}
		t.put(d)
		switch {
		case err != nil:
			return err
		case found:
			return c.prune(t, dirs)
		case attempt == 2:
			return c.missing(t)
		}
	}
}

// deleteIn removes the object, and the remains of one that an earlier Delete did not finish. The name is gone from the
// disk when it returns true.
func (c *Conn) deleteIn(ctx context.Context, t *tree, d *dir, name, key string) (found bool, err error) {
	unlock, err := c.lockKey(ctx, t, key)
	if err != nil {
		return false, err
	}
	defer unlock()
	st, err := d.stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !st.regular:
		return false, removeSidecar(d, name)
	case err != nil:
		return false, err
	}
	records, err := readSidecar(d, name)
	if err != nil {
		return false, err
	}
	if err := c.refuseLocked(d, name, key, records); err != nil {
		return false, err
	}
	if err := d.remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if len(records) > 0 {
		if err := removeSidecar(d, name); err != nil {
			return false, err
		}
	}
	if t.durable {
		return true, d.syncShared()
	}
	return true, nil
}

// refuseLocked returns ErrLocked if the object is. Of a damaged object each record counts.
func (c *Conn) refuseLocked(d *dir, name, key string, records []record) error {
	now := time.Now()
	held := false
	for _, r := range records {
		held = held || locked(r.Lock, now)
	}
	if !held {
		return nil
	}
	rec, err := c.version(d, name, key)
	switch {
	case errors.Is(err, errNoRecord):
		return &connection.Error{Kind: connection.ErrLocked, Err: errors.New("the object is damaged, and was locked")}
	case err != nil:
		return err
	case rec != nil && locked(rec.Lock, now):
		return lockedError(rec.Lock)
	}
	return nil
}

// prune removes the directories of dirs that are empty, from the last one up.
func (c *Conn) prune(t *tree, dirs []string) error {
	for i := len(dirs) - 1; i >= 0; i-- {
		up, err := t.get(dirs[:i], false)
		if err != nil {
			return ignoreMissing(err)
		}
		if err = up.rmdir(dirs[i]); err == nil {
			t.removed(dirs[:i+1])
		}
		t.put(up)
		if err != nil {
			return nil //nolint:nilerr // not empty, or in use: it stays, which does no harm
		}
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Lock implements connection.Locker. A RetainUntil that is zero leaves the retention as it is; one earlier than that in
// force is ErrLocked. LegalHold sets or lifts the hold.
func (c *Conn) Lock(ctx context.Context, key string, lock connection.Lock) error {
	if err := c.lock(ctx, key, lock); err != nil {
		return c.fail("lock", key, err)
	}
	return nil
}

func (c *Conn) lock(ctx context.Context, key string, lock connection.Lock) error {
	if err := objectstore.CheckKey(key); err != nil {
		return err
	}
	t, err := c.open(ctx)
	if err != nil {
		return err
	}
	unlock, err := c.lockKey(ctx, t, key)
	if err != nil {
		return err
	}
	defer unlock()
	dirs, name := keyPath(key)
	var d *dir
	var rec *record
	for attempt := 1; rec == nil; attempt++ {
		if d, err = t.get(dirs, false); err != nil {
			return c.notFound(t, err)
		}
		defer t.put(d)
		if rec, err = c.version(d, name, key); err != nil {
			return err
		}
		if rec == nil {
			if attempt == 2 {
				return c.notFound(t, fs.ErrNotExist)
			}
			t.forget(d) // perhaps the directory is another by now
		}
	}
	if lock.RetainUntil.IsZero() {
		lock.RetainUntil = rec.Lock.RetainUntil
	} else if until := rec.Lock.RetainUntil; until.After(time.Now()) && lock.RetainUntil.Before(until) {
		return &connection.Error{Kind: connection.ErrLocked, Err: fmt.Errorf("retained until %s, which can be prolonged but not shortened", until.UTC().Format(time.RFC3339))}
	}
	rec.Lock = connection.Lock{RetainUntil: lock.RetainUntil.UTC(), LegalHold: lock.LegalHold}
	return c.writeSidecar(t, d, name, []record{*rec})
}

// notFound is ErrNotFound for fs.ErrNotExist, unless the whole store is gone.
func (c *Conn) notFound(t *tree, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if missing := c.missing(t); missing != nil {
		return missing
	}
	return &connection.Error{Kind: connection.ErrNotFound}
}

func locked(l connection.Lock, now time.Time) bool { return l.LegalHold || l.RetainUntil.After(now) }

func lockedError(l connection.Lock) error {
	if l.LegalHold {
		return &connection.Error{Kind: connection.ErrLocked, Err: errors.New("under legal hold")}
	}
	return &connection.Error{Kind: connection.ErrLocked, Err: fmt.Errorf("retained until %s", l.RetainUntil.UTC().Format(time.RFC3339))}
}
