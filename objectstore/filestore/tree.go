package filestore

import (
	"container/list"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
)

// fileStat is what the store needs to know of a file.
type fileStat struct {
	size    int64
	mtime   int64 // nanoseconds since 1970
	regular bool
}

func statOf(info fs.FileInfo) fileStat {
	return fileStat{size: info.Size(), mtime: info.ModTime().UnixNano(), regular: info.Mode().IsRegular()}
}

// errNotDirectory stands for ENOTDIR where a system has none.
var errNotDirectory = errors.New("not a directory")

// openDirs is how many directories a tree keeps open for the next use, not counting those above them.
const openDirs = 256

// A tree hands out the store's directories, keeps those used last open, and makes their names durable.
type tree struct {
	durable bool
	path    string // of the root

	mu     sync.Mutex
	dirs   map[string]*dir
	idle   *list.List // of *dir without users, least recently used first
	closed bool
}

// A dir is one open directory. Whoever got one gives it back with tree.put.
type dir struct {
	node
	path string // elements joined by "/", "" for the root
	up   *dir   // nil for the root; held as long as this one

	refs  int           // guarded by tree.mu
	place *list.Element // in tree.idle when refs is 0
	stale bool          // no longer in tree.dirs

	anchor   sync.Mutex
	anchored bool // its own name, and those above, are on disk

	group sync.Mutex // guards next
	next  *syncRound
	run   sync.Mutex // held by the fsync in progress
}

type syncRound struct {
	done chan struct{}
	err  error
}

func newTree(top node, path string, durable bool) *tree {
	root := &dir{node: top, refs: 1}
	return &tree{durable: durable, path: path, dirs: map[string]*dir{"": root}, idle: list.New()}
}

// get opens the directory of elems, and with create makes what is missing.
func (t *tree) get(elems []string, create bool) (*dir, error) {
	t.mu.Lock()
	if d := t.cached(strings.Join(elems, "/")); d != nil {
		t.mu.Unlock()
		return d, nil
	}
	t.mu.Unlock()
	if len(elems) == 0 {
		return nil, fs.ErrClosed
	}
	last := len(elems) - 1
	up, err := t.get(elems[:last], create)
	if err != nil {
		return nil, err
	}
	n, err := up.sub(elems[last])
	if create && errors.Is(err, fs.ErrNotExist) {
		if err = up.mkdir(elems[last]); err == nil || errors.Is(err, fs.ErrExist) {
			n, err = up.sub(elems[last])
		}
	}
	if err != nil {
		if create && errors.Is(err, fs.ErrNotExist) {
			t.forget(up)
		}
		t.put(up)
		return nil, err
	}
	return t.add(&dir{node: n, path: strings.Join(elems, "/"), up: up})
}

// cached returns the open directory of path, now used once more, or nil. The caller holds t.mu.
func (t *tree) cached(path string) *dir {
	d := t.dirs[path]
	if d == nil {
		return nil
	}
	if d.place != nil {
		t.idle.Remove(d.place)
		d.place = nil
	}
	d.refs++
	return d
}

// add enters d, unless somebody else was faster with the same directory.
func (t *tree) add(d *dir) (*dir, error) {
	t.mu.Lock()
	if other := t.cached(d.path); other != nil {
		t.mu.Unlock()
		t.put(d.up)
		return other, d.close()
	}
	if t.closed {
		t.mu.Unlock()
		t.put(d.up)
		return nil, errors.Join(fs.ErrClosed, d.close())
	}
	d.refs = 1
	t.dirs[d.path] = d
	t.mu.Unlock()
	return d, nil
}

// put gives d back. Directories are open for reading only: closing them cannot lose anything.
func (t *tree) put(d *dir) {
	t.mu.Lock()
	gone := t.release(d, nil)
	for t.idle.Len() > openDirs {
		old, _ := t.idle.Remove(t.idle.Front()).(*dir)
		old.place = nil
		delete(t.dirs, old.path)
		gone = t.release(old.up, append(gone, old))
	}
	t.mu.Unlock()
	for _, d := range gone {
		_ = d.close()
	}
}

// release takes one use from d, and appends it to gone if nobody can want it any more, and then those above it too. The
// caller holds t.mu.
func (t *tree) release(d *dir, gone []*dir) []*dir {
	for ; d != nil; d = d.up {
		if d.refs--; d.refs > 0 {
			break
		}
		if !d.stale && !t.closed {
			d.place = t.idle.PushBack(d)
			break
		}
		gone = append(gone, d)
	}
	return gone
}

// forget makes the next get open d and those above it anew, because one of them was removed and perhaps made again.
func (t *tree) forget(d *dir) {
	t.mu.Lock()
	for ; d.up != nil; d = d.up {
		if t.dirs[d.path] == d {
			delete(t.dirs, d.path)
			d.stale = true
		}
	}
	t.mu.Unlock()
}

// removed makes the next get open the directory of elems anew.
func (t *tree) removed(elems []string) {
	t.mu.Lock()
	d := t.dirs[strings.Join(elems, "/")]
	var gone []*dir
	if d != nil && d.up != nil {
		delete(t.dirs, d.path)
		d.stale = true
		if d.place != nil {
			t.idle.Remove(d.place)
			d.place = nil
			gone = t.release(d.up, append(gone, d))
		}
	}
	t.mu.Unlock()
	for _, d := range gone {
		_ = d.close()
	}
}

// close closes every directory, those in use when they are given back.
func (t *tree) close() {
	t.mu.Lock()
	t.closed = true
	var gone []*dir
	for e := t.idle.Front(); e != nil; e = e.Next() {
		d, _ := e.Value.(*dir)
		d.place = nil
		d.refs++
		gone = append(gone, d)
	}
	t.idle.Init()
	root := t.dirs[""]
	clear(t.dirs)
	t.mu.Unlock()
	for _, d := range gone {
		t.put(d)
	}
	t.put(root)
}

// commit returns when every name that d got before the call is on disk, and d's own name and those above it as well.
// Calls that come together share one fsync.
func (t *tree) commit(d *dir) error {
	if !t.durable {
		return nil
	}
	if err := d.syncShared(); err != nil {
		return err
	}
	d.anchor.Lock()
	defer d.anchor.Unlock()
	if d.anchored {
		return nil
	}
	if d.up == nil {
		t.anchorRoot()
	} else if err := t.commit(d.up); err != nil {
		return err
	}
	d.anchored = true
	return nil
}

// anchorRoot puts the root's own name on disk, and those above it: the host may have made them a moment ago. Directories
// that we may not open, the host could not have written either.
func (t *tree) anchorRoot() {
	for path := t.path; filepath.Dir(path) != path; {
		path = filepath.Dir(path)
		if n, err := openTop(path); err == nil {
			_ = n.sync() // not every system's top directories can
			_ = n.close()
		}
	}
}

// syncShared is fsync for all who wait: the first to come leads and waits for the round in progress, since that one may
// have begun too early; whoever comes before its own fsync begins is served by it.
func (d *dir) syncShared() error {
	d.group.Lock()
	if r := d.next; r != nil {
		d.group.Unlock()
		<-r.done
		return r.err
	}
	r := &syncRound{done: make(chan struct{})}
	d.next = r
	d.group.Unlock()

	d.run.Lock()
	d.group.Lock()
	d.next = nil
	d.group.Unlock()
	r.err = d.sync()
	d.run.Unlock()
	close(r.done)
	return r.err
}
