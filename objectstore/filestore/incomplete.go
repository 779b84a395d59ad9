package filestore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// Incomplete implements connection.IncompleteLister. It also yields what other processes are writing at this moment:
// Started tells when they last wrote. Key is unknown.
func (c *Conn) Incomplete(ctx context.Context) iter.Seq2[connection.Incomplete, error] {
	return func(yield func(connection.Incomplete, error) bool) {
		err := c.leftovers(ctx, func(_ *dir, name string, st fileStat) error {
			if !yield(connection.Incomplete{ID: name, Size: st.size, Started: time.Unix(0, st.mtime).UTC()}, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(connection.Incomplete{}, c.fail("incomplete", "", err))
		}
	}
}

// AbortIncomplete implements connection.IncompleteLister. Choose a time that no writer can still be at work since: an
// hour ago, say. A Put whose file is removed under it fails, and stores nothing.
func (c *Conn) AbortIncomplete(ctx context.Context, before time.Time) (int, error) {
	removed := 0
	err := c.leftovers(ctx, func(d *dir, name string, st fileStat) error {
		if !time.Unix(0, st.mtime).Before(before) {
			return nil
		}
		if err := d.remove(name); err != nil {
			return ignoreMissing(err)
		}
		removed++
		return nil
	})
	if err != nil {
		return removed, c.fail("abort incomplete", "", err)
	}
	return removed, nil
}

// leftovers calls visit for each temporary file.
func (c *Conn) leftovers(ctx context.Context, visit func(d *dir, name string, st fileStat) error) error {
	t, err := c.open(ctx)
	if err != nil {
		return err
	}
	if err := c.missing(t); err != nil {
		return err
	}
	d, err := t.get([]string{tmpDir}, false)
	if err != nil {
		return ignoreMissing(err)
	}
	defer t.put(d)
	f, err := d.readable()
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // read only
	for {
		if err := c.alive(ctx); err != nil {
			return err
		}
		names, err := f.Readdirnames(namesAtOnce)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			if strings.HasPrefix(name, lockPrefix) {
				continue
			}
			st, err := d.stat(name)
			if errors.Is(err, fs.ErrNotExist) || err == nil && !st.regular {
				continue
			}
			if err != nil {
				return err
			}
			if err := visit(d, name, st); err != nil {
				return err
			}
		}
	}
}
