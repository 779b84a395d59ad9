package maildir

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"
)

// granularity is the coarsest step of a file system's clock (FAT: 2 s). A directory that changed so short a time ago
// may change again without its modification time telling.
const granularity = 2 * time.Second

// chunk is how many names are read from a directory at a time.
const chunk = 512

// A fileInfo is what matters of a file's status.
type fileInfo struct {
	regular, dir bool
	shared       bool // it has more than one name
	owner        int  // uid, -1 if unknown
	size         int64
	mtime        time.Time
	ident        uint64 // tells the file from others, whatever its name; its low half does so well enough
}

// identify mixes what tells a file from others into one number.
func identify(dev, ino uint64, size int64) uint64 {
	h := dev*0x9e3779b97f4a7c15 ^ ino
	h = (h ^ h>>32) * 0xd6e8feb86659fd93
	h = (h ^ h>>32 ^ uint64(size)) * 0xd6e8feb86659fd93
	return h ^ h>>32
}

// A directory is an open new or cur (or tmp).
type directory struct {
	root  *os.Root
	file  *os.File
	fd    int
	dir   string // below the root, with slashes
	sub   string // "new", "cur", "tmp"
	owner int
	mode  fs.FileMode
	mtime time.Time // when it was opened
}

// openSub opens one of new, cur and tmp of the folder in dir. It may be a symbolic link to elsewhere in the tree, and
// to nothing else.
func openSub(root *os.Root, dir, sub string) (*directory, error) {
	f, err := root.OpenFile(path.Join(dir, sub), openDirectory, 0)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.IsDir() {
		err = &fs.PathError{Op: "open", Path: f.Name(), Err: syscall.ENOTDIR}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	d := &directory{root: root, file: f, fd: int(f.Fd()), dir: dir, sub: sub, mode: fi.Mode(), mtime: fi.ModTime()}
	d.owner, _ = ownerOf(fi)
	return d, nil
}

func (d *directory) rel(name string) string { return path.Join(d.dir, d.sub, name) }

// folderRel is rel for another directory of the same folder.
func (d *directory) folderRel(sub, name string) string { return path.Join(d.dir, sub, name) }

// path is for people.
func (d *directory) path(name string) string {
	return filepath.Join(d.root.Name(), filepath.FromSlash(d.rel(name)))
}

func (d *directory) close() {
	_ = d.file.Close() // a directory that was only read
}

// each calls visit for every entry, in the order of the directory, until visit returns an error, which it returns.
func (d *directory) each(ctx context.Context, visit func(d *directory, name string, typ fs.FileMode) error) error {
	for {
		if err := ended(ctx); err != nil {
			return err
		}
		entries, err := d.file.ReadDir(chunk)
		for _, e := range entries {
			if err := visit(d, e.Name(), e.Type()); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// A pass is one reading of a folder's new and cur.
type pass struct {
	dirs    []*directory
	started time.Time
}

// openPass opens new, then cur: a message that is moved from new to cur meanwhile is met at least once. One of the two
// may be missing.
func openPass(root *os.Root, dir string) (*pass, error) {
	p := &pass{started: time.Now()}
	var missing error
	for _, sub := range []string{"new", "cur"} {
		d, err := openSub(root, dir, sub)
		if errors.Is(err, fs.ErrNotExist) && missing == nil {
			missing = err
			continue
		}
		if err != nil {
			p.close()
			return nil, err
		}
		p.dirs = append(p.dirs, d)
	}
	return p, nil
}

func (p *pass) close() {
	for _, d := range p.dirs {
		d.close()
	}
}

func (p *pass) each(ctx context.Context, visit func(d *directory, name string, typ fs.FileMode) error) error {
	for _, d := range p.dirs {
		if err := d.each(ctx, visit); err != nil {
			return err
		}
	}
	return nil
}

// A stability says what a pass can have overlooked.
type stability uint8

const (
	stable stability = iota // nothing
	young                   // changes so shortly before or during the pass that the clock does not tell
	moving                  // the directories changed during the pass
)

// settled compares the directories with what they were when p began. The stamp, of a stable pass, stays the same until
// one of them changes; else it is "".
func (p *pass) settled() (stability, string) {
	state := stable
	stamp := ""
	for _, d := range p.dirs {
		fi, err := d.file.Stat()
		switch {
		case err != nil || !fi.ModTime().Equal(d.mtime):
			return moving, ""
		case p.started.Sub(d.mtime) <= granularity:
			state = young
		}
		stamp += d.sub + fi.ModTime().UTC().Format(time.RFC3339Nano)
	}
	if state != stable {
		stamp = ""
	}
	return state, stamp
}

// stampOf returns the stamp that a stable pass over the folder in dir would return now.
func stampOf(root *os.Root, dir string) (string, error) {
	stamp := ""
	for _, sub := range []string{"new", "cur"} {
		fi, err := root.Stat(path.Join(dir, sub))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return "", err
		default:
			stamp += sub + fi.ModTime().UTC().Format(time.RFC3339Nano)
		}
	}
	return stamp, nil
}
