package filestore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// maxTries bounds how often a directory is made again that somebody else has just removed as empty.
const maxTries = 8

// copyBuffer holds most messages whole, so that they are one write.
const copyBuffer = 256 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// Put implements connection.Putter, under the promise in the package comment. Class is ErrUnsupported. A key that is
// locked is ErrLocked. ctx is looked at between two reads of r: it cannot end a Read that blocks.
func (c *Conn) Put(ctx context.Context, key string, r io.Reader, opts *connection.PutOptions) (connection.ObjectInfo, error) {
	var o connection.PutOptions
	if opts != nil {
		o = *opts
	}
	info, err := c.store(ctx, key, r, &o)
	if err != nil {
		return connection.ObjectInfo{}, c.fail("put", key, err)
	}
	return info, nil
}

func (c *Conn) store(ctx context.Context, key string, r io.Reader, o *connection.PutOptions) (connection.ObjectInfo, error) {
	var none connection.ObjectInfo
	if err := objectstore.CheckPut(key, o); err != nil {
		return none, err
	}
	if o.Class != "" {
		return none, &connection.Error{Kind: connection.ErrUnsupported, Err: fmt.Errorf("class %q: files have no storage classes", o.Class)}
	}
	if r == nil {
		return none, &connection.Error{Kind: connection.ErrInvalid, Err: errors.New("no reader given")}
	}
	t, err := c.open(ctx)
	if err != nil {
		return none, err
	}
	dirs, name := keyPath(key)
	if o.IfAbsent {
		if err := c.refuseTaken(t, dirs, name); err != nil {
			return none, err
		}
	}
	tmp, err := c.newTemp(t)
	if err != nil {
		return none, c.gone(t, err)
	}
	defer tmp.discard()
	rec := record{ContentType: o.ContentType, Meta: maps.Clone(o.Meta), Lock: o.Lock}
	if err := c.fill(ctx, tmp.file, r, o, &rec); err != nil {
		return none, err
	}
	plain := rec.SHA256 == nameDigest(key) && rec.ContentType == "" && len(rec.Meta) == 0 && rec.Lock == connection.Lock{}
	if !plain {
		if err := tmp.dir.setTime(tmp.name, c.nextStamp()); err != nil {
			return none, err
		}
	}
	info, err := tmp.file.Stat()
	if err != nil {
		return none, err
	}
	rec.MTime = info.ModTime().UnixNano()
	if err := tmp.finish(t.durable); err != nil {
		return none, err
	}
	for attempt := 1; ; attempt++ {
		err := c.place(ctx, t, tmp, target{key: key, dirs: dirs, name: name, plain: plain, ifAbsent: o.IfAbsent}, &rec)
		switch {
		case err == nil:
			return rec.info(key), nil
		case !errors.Is(err, fs.ErrNotExist):
			return none, err
		case attempt == maxTries:
			return none, c.gone(t, err)
		}
	}
}

// fill copies r to f, and counts and hashes what it copies.
func (c *Conn) fill(ctx context.Context, f *os.File, r io.Reader, o *connection.PutOptions, rec *record) error {
	buf, _ := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buf)
	h := sha256.New()
	for end := false; !end; {
		n := 0
		for empty := 0; n < len(buf) && !end; {
			if err := c.alive(ctx); err != nil {
				return err
			}
			m, err := r.Read(buf[n:])
			n += m
			switch {
			case err == io.EOF:
				end = true
			case err != nil:
				return &sourceError{err}
			case m > 0:
				empty = 0
			default:
				if empty++; empty == 100 {
					return &sourceError{io.ErrNoProgress}
				}
			}
		}
		rec.Size += int64(n)
		if o.Size > 0 && rec.Size > o.Size {
			return &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("the reader goes on after the %d octets announced", o.Size)}
		}
		if n == 0 {
			break
		}
		_, _ = h.Write(buf[:n]) // a hash never fails
		if _, err := f.Write(buf[:n]); err != nil {
			return err
		}
		if o.Progress != nil {
			o.Progress(rec.Size)
		}
	}
	if o.Size > 0 && rec.Size < o.Size {
		return &connection.Error{
			Kind: connection.ErrInvalid,
			Err:  fmt.Errorf("the reader ended after %d of the %d octets announced: %w", rec.Size, o.Size, io.ErrUnexpectedEOF),
		}
	}
	rec.SHA256 = hexOf(h.Sum(nil))
	if o.SHA256 != "" && o.SHA256 != rec.SHA256 {
		return &connection.Error{Kind: connection.ErrCorrupt, Err: fmt.Errorf("sha256 is %s, want %s", rec.SHA256, o.SHA256)}
	}
	return c.alive(ctx)
}

// A target is where a temporary file goes.
type target struct {
	key      string
	dirs     []string
	name     string
	plain    bool // the name says all there is to say: no sidecar
	ifAbsent bool
}

var errTaken = &connection.Error{Kind: connection.ErrExists, Err: errors.New("the key is taken")}

// refuseTaken returns errTaken if something has the name. The caller may then rely on it as if it had put it itself, so
// it is made durable first: another process may have been about to.
func (c *Conn) refuseTaken(t *tree, dirs []string, name string) error {
	d, err := t.get(dirs, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer t.put(d)
	return ignoreMissing(taken(t, d, name))
}

// errStranger: whoever hears that a key is taken relies on what is there, and this is nothing that Get would read.
var errStranger = errors.New("what has the key's name is not a regular file")

func taken(t *tree, d *dir, name string) error {
	st, err := d.stat(name)
	switch {
	case err != nil:
		return err
	case !st.regular:
		return &fs.PathError{Op: "put", Path: name, Err: errStranger}
	}
	if err := t.commit(d); err != nil {
		return err
	}
	return errTaken
}

// place gives tmp the name of to. fs.ErrNotExist means that the directory was removed meanwhile: try again.
func (c *Conn) place(ctx context.Context, t *tree, tmp *temp, to target, rec *record) error {
	d, err := t.get(to.dirs, true)
	if err != nil {
		return err
	}
	defer t.put(d)
	if to.plain {
		_, err = d.stat(to.name + suffixSidecar)
	}
	if to.plain && errors.Is(err, fs.ErrNotExist) {
		// Nothing but equal octets can be under a name that is their digest: neither a lock nor a sidecar is at stake.
		err = move(tmp, d, to)
		if errors.Is(err, fs.ErrExist) {
			return taken(t, d, to.name)
		}
	} else if err == nil {
		err = c.placeLocked(ctx, t, d, tmp, to, rec)
	}
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			t.forget(d)
		}
		return err
	}
	return uncertain(t.commit(d))
}

// uncertain marks an error after which the new name may or may not survive a halt.
func uncertain(err error) error {
	if err == nil {
		return nil
	}
	return &connection.Error{Kind: connection.ErrUncertain, Err: fmt.Errorf("the name may not be on disk: %w", err)}
}

func move(tmp *temp, d *dir, to target) error {
	if to.ifAbsent {
		return tmp.renameNew(d, to.name)
	}
	return tmp.rename(d, to.name)
}

// placeLocked moves tmp where a sidecar is involved. The sidecar with the records of both versions goes first: from the
// rename of the data on, readers find the new record in it, until then the old.
func (c *Conn) placeLocked(ctx context.Context, t *tree, d *dir, tmp *temp, to target, rec *record) error {
	unlock, err := c.lockKey(ctx, t, to.key)
	if err != nil {
		return err
	}
	defer unlock()
	old, err := c.version(d, to.name, to.key)
	switch {
	case errors.Is(err, errNoRecord):
		// What is there is damaged. It may be replaced, unless it was locked.
		records, err := readSidecar(d, to.name)
		if err != nil {
			return err
		}
		for _, r := range records {
			if locked(r.Lock, time.Now()) {
				return lockedError(r.Lock)
			}
		}
	case err != nil:
		return err
	case old != nil && locked(old.Lock, time.Now()) && !to.ifAbsent:
		return lockedError(old.Lock)
	}
	if to.ifAbsent && (old != nil || err != nil) {
		return taken(t, d, to.name)
	}
	records := []record{*rec}
	if old != nil {
		records = []record{*old, *rec}
	}
	if err := c.writeSidecar(t, d, to.name, records); err != nil {
		return err
	}
	if err := move(tmp, d, to); err != nil {
		if old == nil {
			err = errors.Join(err, removeSidecar(d, to.name))
		}
		if errors.Is(err, fs.ErrExist) {
			return taken(t, d, to.name)
		}
		return err
	}
	if to.plain {
		return uncertain(removeSidecar(d, to.name))
	}
	return nil
}

// version returns the record of the data under name, nil if there is none. Data without a sidecar gets one made up.
func (c *Conn) version(d *dir, name, key string) (*record, error) {
	f, st, err := openData(d, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // nothing there is an answer
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	records, err := readSidecar(d, name)
	if err != nil {
		return nil, err
	}
	rec, err := match(records, st, f)
	if err != nil || rec != nil {
		return rec, err
	}
	rec = &record{Size: st.size, MTime: st.mtime, SHA256: nameDigest(key)}
	if rec.SHA256 == "" {
		rec.SHA256, err = digestOf(f)
	}
	return rec, err
}

// gone turns the error for a store whose directory was removed into one that says so, and makes the next verb open the
// directory anew.
func (c *Conn) gone(t *tree, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if missing := c.missing(t); missing != nil {
		return missing
	}
	return err
}

// missing returns an error if the store's directory is no longer there.
func (c *Conn) missing(t *tree) error {
	setting, value := "location", c.location
	_, err := os.Stat(c.location)
	if err == nil && c.cfg.Bucket != "" {
		setting, value = "bucket", c.cfg.Bucket
		_, err = os.Stat(c.endpoint())
	}
	if err == nil {
		return nil
	}
	c.mu.Lock()
	if c.tree == t {
		c.reset()
	}
	c.mu.Unlock()
	return c.settingError(setting, value, err)
}

func (r *record) info(key string) connection.ObjectInfo {
	return connection.ObjectInfo{
		Key: key, Size: r.Size, Modified: time.Unix(0, r.MTime).UTC(), ETag: etag(r.Size, r.MTime), SHA256: r.SHA256,
		ContentType: r.ContentType, Meta: r.Meta, Lock: r.Lock,
	}
}

// etag tells versions of an object apart: no two have the same modification time.
func etag(size, mtime int64) string {
	return strconv.FormatInt(mtime, 16) + "-" + strconv.FormatInt(size, 16)
}

func digestOf(r io.Reader) (string, error) {
	h := sha256.New()
	buf, _ := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buf)
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{r}, buf[:]); err != nil {
		return "", err
	}
	return hexOf(h.Sum(nil)), nil
}
