//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package maildir

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// openDirectory are the flags with which directories are opened: nothing but a directory, and never waiting for the
// other end of a FIFO.
const openDirectory = os.O_RDONLY | unix.O_DIRECTORY | unix.O_NONBLOCK

// openFile are the flags with which other files are opened through os.Root.
const openFile = os.O_RDONLY | unix.O_NONBLOCK

// A handle is an open message file. It is a bare descriptor: an os.File for each of millions of small files costs
// several times as much as the file.
type handle struct{ fd int }

func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// openMessage opens the file called name, which must be one element, in d: no symbolic link, not waiting for a FIFO or
// a device. What it is the fileInfo tells. An error is an *fs.PathError.
func openMessage(d *directory, name string) (handle, fileInfo, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	})
	if err != nil {
		if errors.Is(err, unix.EMLINK) {
			err = unix.ELOOP // what the BSDs say about a symbolic link
		}
		return handle{}, fileInfo{}, &fs.PathError{Op: "open", Path: d.path(name), Err: err}
	}
	h := handle{fd}
	info, err := h.stat()
	if err != nil {
		_ = h.close() // nothing was written
		return handle{}, fileInfo{}, &fs.PathError{Op: "stat", Path: d.path(name), Err: err}
	}
	return h, info, nil
}

// adopt makes a handle of f, which it closes.
func adopt(f *os.File) (handle, fileInfo, error) {
	defer func() { _ = f.Close() }() // only read
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return handle{}, fileInfo{}, err
	}
	h := handle{fd}
	info, err := h.stat()
	if err != nil {
		_ = h.close() // nothing was written
		return handle{}, fileInfo{}, err
	}
	return h, info, nil
}

func (h handle) stat() (fileInfo, error) {
	var st unix.Stat_t
	_, err := retry(func() (int, error) { return 0, unix.Fstat(h.fd, &st) })
	if err != nil {
		return fileInfo{}, err
	}
	return fileInfo{
		regular: st.Mode&unix.S_IFMT == unix.S_IFREG,
		dir:     st.Mode&unix.S_IFMT == unix.S_IFDIR,
		shared:  st.Nlink > 1,
		owner:   int(st.Uid),
		size:    st.Size,
		mtime:   time.Unix(st.Mtim.Unix()),
		ident:   identify(uint64(st.Dev), st.Ino, st.Size), //nolint:unconvert // Dev is of another type on each system
	}, nil
}

func (h handle) read(p []byte) (int, error) {
	n, err := retry(func() (int, error) { return unix.Read(h.fd, p) })
	return max(n, 0), err
}

func (h handle) close() error { return unix.Close(h.fd) }

// infoOf is what a fileInfo tells about fi, of a Lstat.
func infoOf(fi fs.FileInfo) fileInfo {
	info := fileInfo{regular: fi.Mode().IsRegular(), dir: fi.IsDir(), size: fi.Size(), mtime: fi.ModTime(), owner: -1}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		info.shared, info.owner = st.Nlink > 1, int(st.Uid)
		info.ident = identify(uint64(st.Dev), st.Ino, st.Size) //nolint:unconvert // as above
	}
	return info
}

// mayRead reports whether a file with several links in d is one that the owner of d could have linked there without
// our help: his own. A directory of root that others may write to proves nothing.
func (d *directory) mayRead(info fileInfo) bool {
	return !info.shared || info.owner == d.owner && (d.owner != 0 || d.mode&0o022 == 0)
}

func ownerOf(fi fs.FileInfo) (uid, gid int) {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid), int(st.Gid)
	}
	return -1, -1
}

// giveTo makes f belong to the owner of the directory that fi describes, if this process is root, so that the user can
// read what was added to his folder.
func giveTo(f *os.File, fi fs.FileInfo) error {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid := ownerOf(fi)
	if uid <= 0 {
		return nil
	}
	return f.Chown(uid, gid)
}

// rename moves a file from one directory to another, over a file of that name if there is one.
func rename(from *directory, name string, to *directory, target string) error {
	if err := unix.Renameat(from.fd, name, to.fd, target); err != nil {
		return &os.LinkError{Op: "rename", Old: from.path(name), New: to.path(target), Err: err}
	}
	return nil
}

// link makes a second name for a file. It never replaces one.
func link(from *directory, name string, to *directory, target string) error {
	if err := unix.Linkat(from.fd, name, to.fd, target, 0); err != nil {
		return &os.LinkError{Op: "link", Old: from.path(name), New: to.path(target), Err: err}
	}
	return nil
}

// unlink removes a file.
func unlink(d *directory, name string) error {
	if err := unix.Unlinkat(d.fd, name, 0); err != nil {
		return &fs.PathError{Op: "unlink", Path: d.path(name), Err: err}
	}
	return nil
}

// sync makes what was done to the names in d durable.
func (d *directory) sync() error {
	err := d.file.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return nil // a file system that cannot (FUSE, some network file systems) orders by itself or not at all
	}
	return err
}

// noLinks reports whether err says that the file system has no hard links, or not for this file.
func noLinks(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EMLINK)
}

// otherDevice reports whether err says that two directories are on different file systems.
func otherDevice(err error) bool { return errors.Is(err, unix.EXDEV) }
