package filestore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// Memory for the names of one directory. What does not fit is found by reading the directory again from the last name
// on, so that a directory of any size is listed in order within this bound; a name of 70 octets counts about 120, so up to
// 70,000 names take one pass. Directories further down have less, since those above keep theirs.
const (
	listMemory    = 8 << 20
	listMemoryMin = 64 << 10
	nameOverhead  = 56 // octets of an entry besides its name
	namesAtOnce   = 1024
)

// List implements connection.ObjectStore. It reads no sidecar: Key, Size, Modified and ETag are told, Meta, SHA256 and
// Lock by Stat. With Delimiter an entry for a common prefix stands at its place in the order, and After applies to it as
// to a key. Objects put or deleted meanwhile may or may not be seen; all others are, once.
func (c *Conn) List(ctx context.Context, opts *connection.ListOptions) iter.Seq2[connection.ObjectInfo, error] {
	var o connection.ListOptions
	if opts != nil {
		o = *opts
	}
	return func(yield func(connection.ObjectInfo, error) bool) {
		w := &walker{c: c, ctx: ctx, o: o, yield: yield}
		if err := w.start(); err != nil && !errors.Is(err, errStop) {
			yield(connection.ObjectInfo{}, c.fail("list", "", err))
		}
	}
}

var errStop = errors.New("stop")

// A walker goes through the store in the order of keys.
type walker struct {
	c      *Conn
	ctx    context.Context //nolint:containedctx // one call of List
	o      connection.ListOptions
	yield  func(connection.ObjectInfo, error) bool
	folded string // the last common prefix yielded or passed over; "" = none
	count  int
}

// An entry is a name in a directory. The sort key of a file is its part of the key, that of a directory ends in a slash,
// and that of a cut one is the part it holds: entries in this order have their keys in order.
type entry struct {
	name string
	sort string
	kind nameKind
}

func (w *walker) start() error {
	t, err := w.c.open(w.ctx)
	if err != nil {
		return err
	}
	if err := w.c.missing(t); err != nil {
		return err
	}
	// Begin in the deepest directory that holds all keys with the prefix.
	var elems []string
	inside := ""
	if i := strings.LastIndexByte(w.o.Prefix, '/'); i >= 0 {
		inside = w.o.Prefix[:i+1]
		if objectstore.CheckKey(w.o.Prefix[:i]) != nil {
			return nil // no key begins so
		}
		elems, _ = keyPath(inside + "x")
	}
	d, err := t.get(elems, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer t.put(d)
	return w.walk(d.node, inside, false, listMemory)
}

// walk yields what is in the directory n. All keys in it begin with prefix; cut says whether it has the suffix %c.
func (w *walker) walk(n node, prefix string, cut bool, memory int) error {
	var floor *entry
	for {
		batch, more, err := w.names(n, prefix, cut, floor, memory)
		if err != nil {
			return err
		}
		for _, e := range batch {
			if err := w.visit(n, prefix, e, memory); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		floor = &batch[len(batch)-1]
	}
}

func (w *walker) visit(n node, prefix string, e entry, memory int) error {
	if err := w.c.alive(w.ctx); err != nil {
		return err
	}
	key := prefix + e.sort
	if e.kind == fileName {
		return w.file(n, e.name, key)
	}
	if !w.wanted(key, e.kind) {
		return nil // all of it has been folded since its name was read
	}
	sub, err := n.sub(e.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case isNotDirectory(err):
		return nil // a stranger's file or link
	case err != nil:
		return err
	}
	defer func() { _ = sub.close() }()
	return w.walk(sub, key, e.kind == cutName, max(memory/2, listMemoryMin))
}

func isNotDirectory(err error) bool {
	return errors.Is(err, syscall.ENOTDIR) || errors.Is(err, errNotDirectory) || isLink(err)
}

func (w *walker) file(n node, name, key string) error {
	if !w.wanted(key, fileName) || objectstore.CheckKey(key) != nil {
		return nil
	}
	st, err := n.stat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !st.regular {
		return nil
	}
	if err != nil {
		return err
	}
	info := connection.ObjectInfo{Key: key, Size: st.size, Modified: time.Unix(0, st.mtime).UTC(), ETag: etag(st.size, st.mtime)}
	if w.o.Delimiter != "" {
		if i := strings.Index(key[len(w.o.Prefix):], w.o.Delimiter); i >= 0 {
			w.folded = key[:len(w.o.Prefix)+i+len(w.o.Delimiter)]
			info = connection.ObjectInfo{Key: w.folded, Prefix: true}
		}
	}
	if info.Key <= w.o.After && w.o.After != "" {
		return nil
	}
	if !w.yield(info, nil) {
		return errStop
	}
	w.count++
	if w.o.Limit > 0 && w.count >= w.o.Limit {
		return errStop
	}
	return nil
}

// wanted reports whether the key, or if it is not a file's some key that begins with it, may be yielded.
func (w *walker) wanted(key string, kind nameKind) bool {
	p := w.o.Prefix
	return (strings.HasPrefix(key, p) || kind != fileName && strings.HasPrefix(p, key)) && (w.folded == "" || !strings.HasPrefix(key, w.folded))
}

// ahead reports whether a key that begins with the key of a directory, or that of the file itself, can be after After.
func (w *walker) ahead(key string, kind nameKind) bool {
	return key > w.o.After || kind != fileName && strings.HasPrefix(w.o.After, key)
}

// names returns the smallest entries above floor that fit in memory, in order, and whether there are more.
func (w *walker) names(n node, prefix string, cut bool, floor *entry, memory int) (batch []entry, more bool, err error) {
	f, err := n.readable()
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, false, nil // removed since it was opened
		}
		return nil, false, err
	}
	defer func() { _ = f.Close() }() // read only
	used, ceiling := 0, ""
	for {
		if err := w.c.alive(w.ctx); err != nil {
			return nil, false, err
		}
		names, err := f.Readdirnames(namesAtOnce)
		for _, name := range names {
			piece, kind := parseName(name, cut)
			if kind == foreignName {
				continue
			}
			if kind == dirName {
				piece += "/"
			}
			if floor != nil && piece <= floor.sort || more && piece >= ceiling {
				continue
			}
			if key := prefix + piece; !w.wanted(key, kind) || !w.ahead(key, kind) {
				continue
			}
			batch = append(batch, entry{name: name, sort: piece, kind: kind})
			used += len(name) + nameOverhead
		}
		// Twice the memory is filled, then the greater half goes: each name is compared a few times only.
		if used > 2*memory {
			batch, used = smallest(batch, memory)
			more, ceiling = true, batch[len(batch)-1].sort
		}
		if errors.Is(err, io.EOF) || err == nil && len(names) == 0 {
			break
		}
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, false, err
		}
	}
	kept, _ := smallest(batch, memory)
	return kept, more || len(kept) < len(batch), nil
}

// smallest sorts batch and cuts it where it exceeds memory.
func smallest(batch []entry, memory int) (kept []entry, used int) {
	slices.SortFunc(batch, func(a, b entry) int { return strings.Compare(a.sort, b.sort) })
	// A name that moves while the directory is read may come twice.
	batch = slices.CompactFunc(batch, func(a, b entry) bool { return a.sort == b.sort })
	for i, e := range batch {
		if used += len(e.name) + nameOverhead; used > memory && i > 0 {
			clear(batch[i:])
			return batch[:i], used - len(e.name) - nameOverhead
		}
	}
	return batch, used
}
