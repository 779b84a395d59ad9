//go:build !unix

package filestore

import (
	"io/fs"
	"os"
	"time"
)

// A node is a directory of the store. os.Root keeps every access inside it, whatever the links in it say.
type node struct {
	top  *os.Root // the store's root, shared by all nodes and closed by that of openTop
	path string   // below top, "." for itself
}

func openTop(path string) (node, error) {
	top, err := os.OpenRoot(path)
	return node{top, "."}, err
}

func (n node) at(name string) string { return n.path + "/" + name }

func (n node) close() error {
	if n.path != "." {
		return nil
	}
	return n.top.Close()
}

// sync does nothing: these systems have no fsync for directories and write changes of names through their journal.
func (n node) sync() error { return nil }

func (n node) sub(name string) (node, error) {
	info, err := n.top.Lstat(n.at(name))
	if err != nil {
		return node{}, err
	}
	if !info.IsDir() {
		return node{}, &fs.PathError{Op: "open", Path: name, Err: errNotDirectory}
	}
	return node{n.top, n.at(name)}, nil
}

func (n node) mkdir(name string) error { return n.top.Mkdir(n.at(name), 0o700) }

func (n node) create(name string) (*os.File, error) {
	return n.top.OpenFile(n.at(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

func (n node) open(name string) (*os.File, error) {
	st, err := n.stat(name)
	switch {
	case err != nil:
		return nil, err
	case !st.regular:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return n.top.Open(n.at(name))
}

func (n node) lockFile(name string) (*os.File, error) {
	return n.top.OpenFile(n.at(name), os.O_RDWR|os.O_CREATE, 0o600)
}

func (n node) readable() (*os.File, error) { return n.top.Open(n.path) }

func (n node) stat(name string) (fileStat, error) {
	info, err := n.top.Lstat(n.at(name))
	if err != nil {
		return fileStat{}, err
	}
	return statOf(info), nil
}

func (n node) remove(name string) error { return n.top.Remove(n.at(name)) }

func (n node) rmdir(name string) error { return n.top.Remove(n.at(name)) }

func (n node) setTime(name string, t time.Time) error { return n.top.Chtimes(n.at(name), t, t) }

func (n node) rename(name string, to node, toName string) error {
	return n.top.Rename(n.at(name), to.at(toName))
}

// renameNew: os.Root has no exclusive rename; a second link is one.
func (n node) renameNew(name string, to node, toName string) error {
	if err := n.top.Link(n.at(name), to.at(toName)); err != nil {
		return err
	}
	return n.remove(name)
}

func (n node) writable() error { return nil }

func isLink(error) bool { return false }
