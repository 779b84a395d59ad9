package filestore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// Get implements connection.Getter. An object that is replaced or deleted while its Body is read goes on to be read as it
// was. What is not a regular file is ErrNotFound.
func (c *Conn) Get(ctx context.Context, key string, opts *connection.GetOptions) (*connection.Object, error) {
	var o connection.GetOptions
	if opts != nil {
		o = *opts
	}
	if err := objectstore.CheckGet(key, &o); err != nil {
		return nil, c.fail("get", key, err)
	}
	f, rec, err := c.lookup(ctx, key)
	if err != nil {
		return nil, c.fail("get", key, err)
	}
	info := rec.info(key)
	if o.IfMatch != "" && o.IfMatch != info.ETag {
		_ = f.Close()
		return nil, c.fail("get", key, &connection.Error{Kind: connection.ErrChanged, Err: fmt.Errorf("etag is %s, not %s", info.ETag, o.IfMatch)})
	}
	b := &body{c: c, ctx: ctx, key: key, f: f, next: min(o.Offset, rec.Size), end: rec.Size}
	if o.Length > 0 && o.Length < b.end-b.next {
		b.end = b.next + o.Length
	}
	if !o.NoVerify && rec.SHA256 != "" && b.next == 0 && b.end == rec.Size {
		b.hash, b.want = sha256.New(), rec.SHA256
	}
	return &connection.Object{ObjectInfo: info, Body: b}, nil
}

// Stat implements connection.ObjectStore. It does not read the data: a damaged object may have a Stat.
func (c *Conn) Stat(ctx context.Context, key string) (connection.ObjectInfo, error) {
	if err := objectstore.CheckKey(key); err != nil {
		return connection.ObjectInfo{}, c.fail("stat", key, err)
	}
	f, rec, err := c.lookup(ctx, key)
	if err != nil {
		return connection.ObjectInfo{}, c.fail("stat", key, err)
	}
	_ = f.Close() // read only
	return rec.info(key), nil
}

// lookup opens the data of key and finds what belongs to it.
func (c *Conn) lookup(ctx context.Context, key string) (*os.File, *record, error) {
	t, err := c.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	dirs, name := keyPath(key)
	for attempt := 1; ; attempt++ {
		f, rec, err := c.lookupOnce(t, dirs, name, key)
		switch {
		case err == nil:
			return f, rec, nil
		case errors.Is(err, errNoRecord) && attempt < maxTries:
			// Replaced twice between our look at the data and at the sidecar, or really damaged.
		case errors.Is(err, fs.ErrNotExist):
			if missing := c.missing(t); missing != nil {
				return nil, nil, missing
			}
			return nil, nil, &connection.Error{Kind: connection.ErrNotFound}
		default:
			return nil, nil, err
		}
	}
}

func (c *Conn) lookupOnce(t *tree, dirs []string, name, key string) (*os.File, *record, error) {
	d, err := t.get(dirs, false)
	if err != nil {
		return nil, nil, err
	}
	defer t.put(d)
	f, st, err := openData(d, name)
	if errors.Is(err, fs.ErrNotExist) {
		// The directory may have been removed and made again by somebody else since it was opened.
		t.forget(d)
		fresh, err := t.get(dirs, false)
		if err != nil {
			return nil, nil, err
		}
		defer t.put(fresh)
		d = fresh
		f, st, err = openData(d, name)
		if err != nil {
			return nil, nil, err
		}
	} else if err != nil {
		return nil, nil, err
	}
	records, err := readSidecar(d, name)
	if err == nil {
		var rec *record
		if rec, err = match(records, st, f); rec != nil {
			// The status is the truth about time: a restored backup may have lost the recorded one.
			found := *rec
			found.MTime = st.mtime
			return f, &found, nil
		}
	}
	if err != nil {
		_ = f.Close() // read only
		return nil, nil, err
	}
	return f, &record{Size: st.size, MTime: st.mtime, SHA256: nameDigest(key)}, nil
}

// openData opens the regular file name; anything else is fs.ErrNotExist.
func openData(d *dir, name string) (*os.File, fileStat, error) {
	f, err := d.open(name)
	if err != nil {
		if isLink(err) {
			err = fs.ErrNotExist
		}
		return nil, fileStat{}, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		_ = f.Close() // read only
		return nil, fileStat{}, err
	}
	return f, statOf(info), nil
}

// A body reads the octets from next to end of f.
type body struct {
	c    *Conn
	ctx  context.Context //nolint:containedctx // Get's ctx governs the Body
	key  string
	f    *os.File
	next int64
	end  int64
	hash hash.Hash // nil if nothing is to be verified
	want string
	err  error // sticky
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if err := b.c.alive(b.ctx); err != nil {
		b.err = b.c.fail("get", b.key, err)
		return 0, b.err
	}
	if b.next == b.end {
		b.err = b.verify()
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.f.ReadAt(p[:min(int64(len(p)), b.end-b.next)], b.next)
	b.next += int64(n)
	if b.hash != nil {
		_, _ = b.hash.Write(p[:n]) // a hash never fails
	}
	switch {
	case b.next == b.end && b.hash != nil:
		// The last octets and the verdict together: whoever stops at the announced size has them verified too.
		if err := b.verify(); !errors.Is(err, io.EOF) {
			b.err = err
			return 0, err
		}
		b.err = io.EOF
		return n, io.EOF
	case b.next == b.end || err == nil:
		return n, nil
	case errors.Is(err, io.EOF):
		err = &connection.Error{Kind: connection.ErrCorrupt, Err: fmt.Errorf("the file ends after %d of %d octets: %w", b.next, b.end, io.ErrUnexpectedEOF)}
	}
	b.err = b.c.fail("get", b.key, err)
	return n, b.err
}

func (b *body) verify() error {
	if b.hash == nil {
		return io.EOF
	}
	if got := hexOf(b.hash.Sum(nil)); got != b.want {
		return b.c.fail("get", b.key, &connection.Error{Kind: connection.ErrCorrupt, Err: fmt.Errorf("sha256 is %s, want %s", got, b.want)})
	}
	return io.EOF
}

// Close implements io.Closer. A second Close does nothing.
func (b *body) Close() error {
	if b.f == nil {
		return nil
	}
	err := b.f.Close()
	b.f, b.err = nil, b.c.fail("get", b.key, connection.ErrClosed)
	if err != nil {
		return b.c.fail("get", b.key, err)
	}
	return nil
}
