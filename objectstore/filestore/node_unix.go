//go:build unix

package filestore

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A node is an open directory of the store. Every name given to its methods is one path element, and no method follows
// a symbolic link in it, so that nothing in the store can lead out of it.
type node struct{ f *os.File }

// openTop opens the store's root. Here alone symbolic links are followed: the administrator wrote the path.
func openTop(path string) (node, error) {
	fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return node{}, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return node{os.NewFile(uintptr(fd), path)}, nil
}

func (n node) fd() int { return int(n.f.Fd()) }

func (n node) close() error { return n.f.Close() }

func (n node) sync() error { return n.f.Sync() }

// sub opens the directory name.
func (n node) sub(name string) (node, error) {
	f, err := n.openat(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	return node{f}, err
}

func (n node) mkdir(name string) error {
	return pathError("mkdir", name, unix.Mkdirat(n.fd(), name, 0o700))
}

// create makes the file name, which must not be there, for reading and writing.
func (n node) create(name string) (*os.File, error) {
	return n.openat(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW)
}

// open opens the file name for reading. O_NONBLOCK: a FIFO must not hang us; the caller looks what it got.
func (n node) open(name string) (*os.File, error) {
	return n.openat(name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
}

// lockFile opens the file name, made if need be, for a lock.
func (n node) lockFile(name string) (*os.File, error) {
	return n.openat(name, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK)
}

func (n node) openat(name string, flags int) (*os.File, error) {
	fd, err := retry(func() (int, error) { return unix.Openat(n.fd(), name, flags|unix.O_CLOEXEC, 0o600) })
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// readable opens the directory again, for reading its names from the start.
func (n node) readable() (*os.File, error) { return n.openat(".", unix.O_RDONLY|unix.O_DIRECTORY) }

// stat describes name without following it.
func (n node) stat(name string) (fileStat, error) {
	var st unix.Stat_t
	_, err := retry(func() (int, error) { return 0, unix.Fstatat(n.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return fileStat{}, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return fileStat{size: st.Size, mtime: st.Mtim.Nano(), regular: st.Mode&unix.S_IFMT == unix.S_IFREG}, nil
}

func (n node) remove(name string) error {
	return pathError("unlink", name, unix.Unlinkat(n.fd(), name, 0))
}

func (n node) rmdir(name string) error {
	return pathError("rmdir", name, unix.Unlinkat(n.fd(), name, unix.AT_REMOVEDIR))
}

func (n node) setTime(name string, t time.Time) error {
	ts := unix.NsecToTimespec(t.UnixNano())
	return pathError("utimensat", name, unix.UtimesNanoAt(n.fd(), name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
}

// rename moves name to toName in to, and replaces what is there.
func (n node) rename(name string, to node, toName string) error {
	return pathError("rename", toName, unix.Renameat(n.fd(), name, to.fd(), toName))
}

// renameNew moves name to toName in to, atomically and only if nothing is there: else fs.ErrExist.
func (n node) renameNew(name string, to node, toName string) error {
	err := renameExclusive(n.fd(), name, to.fd(), toName)
	if !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, unix.EINVAL) {
		return pathError("rename", toName, err)
	}
	// A second link is exclusive on every file system that has links at all.
	if err := unix.Linkat(n.fd(), name, to.fd(), toName, 0); err != nil {
		return pathError("link", toName, err)
	}
	return n.remove(name)
}

// writable reports why the directory cannot be written, nil if it can; root is told of a read-only file system too.
func (n node) writable() error {
	return pathError("access", n.f.Name(), unix.Faccessat(n.fd(), ".", unix.W_OK|unix.X_OK, 0))
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// retry repeats a system call that a signal interrupted.
func retry[T any](call func() (T, error)) (T, error) {
	for {
		v, err := call()
		if !errors.Is(err, unix.EINTR) {
			return v, err
		}
	}
}

// isLink reports whether err says that an open met a symbolic link. FreeBSD says EMLINK.
func isLink(err error) bool { return errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EMLINK) }
