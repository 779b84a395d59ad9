//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package maildir

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

const (
	openDirectory = os.O_RDONLY
	openFile      = os.O_RDONLY
)

// A handle is an open message file.
type handle struct{ f *os.File }

// openMessage opens the file called name, which must be one element, in d. os.Root keeps it inside the tree.
func openMessage(d *directory, name string) (handle, fileInfo, error) {
	before, err := d.root.Lstat(d.rel(name))
	if err != nil {
		return handle{}, fileInfo{}, err
	}
	if !before.Mode().IsRegular() {
		return handle{}, fileInfo{}, &fs.PathError{Op: "open", Path: d.path(name), Err: syscall.ELOOP}
	}
	f, err := d.root.Open(d.rel(name))
	if err != nil {
		return handle{}, fileInfo{}, err
	}
	return adopt(f)
}

// adopt takes f over.
func adopt(f *os.File) (handle, fileInfo, error) {
	fi, err := f.Stat()
	if err != nil {
		return handle{}, fileInfo{}, errors.Join(err, f.Close())
	}
	return handle{f}, infoOf(fi), nil
}

func (h handle) read(p []byte) (int, error) {
	n, err := h.f.Read(p)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (h handle) close() error { return h.f.Close() }

// infoOf is what a fileInfo tells about fi. There is no inode here: size and modification time stand for it.
func infoOf(fi fs.FileInfo) fileInfo {
	return fileInfo{
		regular: fi.Mode().IsRegular(), dir: fi.IsDir(), owner: -1, size: fi.Size(), mtime: fi.ModTime(),
		ident: identify(0, uint64(fi.ModTime().UnixNano()), fi.Size()),
	}
}

func (d *directory) mayRead(fileInfo) bool { return true }

func ownerOf(fs.FileInfo) (uid, gid int) { return -1, -1 }

func giveTo(*os.File, fs.FileInfo) error { return nil }

// rename moves a file from one directory to another, over a file of that name if there is one.
func rename(from *directory, name string, to *directory, target string) error {
	if from.root == to.root {
		return from.root.Rename(from.rel(name), to.rel(target))
	}
	return os.Rename(from.path(name), to.path(target))
}

// link makes a second name for a file. It never replaces one.
func link(from *directory, name string, to *directory, target string) error {
	if from.root == to.root {
		return from.root.Link(from.rel(name), to.rel(target))
	}
	return os.Link(from.path(name), to.path(target))
}

// unlink removes a file.
func unlink(d *directory, name string) error { return d.root.Remove(d.rel(name)) }

// sync does nothing: directories cannot be synced here.
func (d *directory) sync() error { return nil }

// noLinks reports whether err may say that the file system has no hard links.
func noLinks(err error) bool { return !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) }

// otherDevice reports whether err may say that two directories are on different file systems: there is no portable
// way to tell, and copying is always right.
func otherDevice(err error) bool {
	return !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist)
}
