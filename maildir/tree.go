package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/mailconn/mailconn/connection"
)

// A tree is one mailbox, open. Nothing is reached but through root.
type tree struct {
	root    *os.Root
	mailbox string
	all     []folder // once they were listed

	unlisted []string // names of directories that may hold more folders, and may not be listed
}

// hides reports whether the folder called name may be there although it was not found.
func (t *tree) hides(name string) bool {
	return slices.ContainsFunc(t.unlisted, func(dir string) bool { return strings.HasPrefix(name, dir+"/") })
}

func (t *tree) close() {
	_ = t.root.Close() // a directory that was only read
}

// path is for people and for notification.
func (t *tree) path(rel string) string { return filepath.Join(t.root.Name(), filepath.FromSlash(rel)) }

// openBase opens the literal part of the path, which is the administrator's: its symbolic links are followed. The "/."
// makes the system refuse a FIFO instead of waiting for its other end.
func (c *Conn) openBase() (*os.Root, error) {
	root, err := os.OpenRoot(filepath.Join(c.pattern.base) + string(filepath.Separator) + ".")
	if err == nil {
		return root, nil
	}
	e := &connection.Error{Kind: kindOf(err), Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Kind, e.Hint = connection.ErrConfig, "path: "+quoted(c.pattern.base)+" does not exist: correct it, or mount the file system"
	case errors.Is(err, syscall.ENOTDIR):
		e.Kind, e.Hint = connection.ErrConfig, "path: "+quoted(c.pattern.base)+" is not a directory: give the directory that holds new and cur"
	}
	return nil, e
}

var (
	errLink     = errors.New("is a symbolic link")
	errReplaced = errors.New("was replaced while it was opened")
)

// descend opens the directory called name in root. A symbolic link is refused unless follow is set, and then it cannot
// leave root. Lstat comes after opening: what it sees must be what was opened, so nobody can put a link in between.
func descend(root *os.Root, name string, follow bool) (*os.Root, error) {
	sub, err := root.OpenRoot(name + "/.")
	if err != nil || follow {
		return sub, err
	}
	is, err := sub.Stat(".")
	var named fs.FileInfo
	if err == nil {
		named, err = root.Lstat(name)
	}
	switch {
	case err != nil:
	case named.Mode()&fs.ModeSymlink != 0:
		err = errLink
	case !os.SameFile(is, named):
		err = errReplaced
	default:
		return sub, nil
	}
	return nil, errors.Join(&fs.PathError{Op: "open", Path: filepath.Join(root.Name(), name), Err: err}, sub.Close())
}

// notThere reports whether err says that a pattern does not match here.
func notThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// trees yields the mailboxes that the path matches, or the one called only. Each tree is closed at the next step. An
// *Error with a Ref concerns one mailbox; any other is the last. That nothing matches is an error.
func (c *Conn) trees(ctx context.Context, only string) iter.Seq2[*tree, error] {
	return func(yield func(*tree, error) bool) {
		if only != "" {
			if t, err := c.openKnown(only); err == nil {
				defer t.close()
				yield(t, nil)
				return
			}
		}
		base, err := c.openBase()
		if err != nil {
			yield(nil, err)
			return
		}
		w := &walker{c: c, ctx: ctx, only: only, yield: yield, names: map[string]string{}}
		more := w.walk(base, nil)
		_ = base.Close() // only read
		switch {
		case !more || w.found > 0:
		case only != "":
			yield(nil, &connection.Error{Kind: connection.ErrNotFound, Ref: connection.Ref{Mailbox: only}, Err: errors.New("path matches no mailbox of this name")})
		case w.failed == 0:
			yield(nil, &connection.Error{
				Kind: connection.ErrConfig, Err: errors.New("no directory matches"),
				Hint: "path: nothing that matches " + quoted(c.cfg.Path) + " holds a Maildir (a directory with new and cur)",
			})
		}
	}
}

// openKnown opens a mailbox that was found before.
func (c *Conn) openKnown(name string) (*tree, error) {
	c.mu.Lock()
	elems, ok := c.boxes[name]
	c.mu.Unlock()
	if !ok {
		return nil, fs.ErrNotExist
	}
	root, err := c.openBase()
	if err != nil {
		return nil, err
	}
	for _, elem := range elems {
		next, err := descend(root, elem, c.cfg.FollowSymlinks)
		_ = root.Close() // only read
		if err != nil {
			return nil, err
		}
		root = next
	}
	return &tree{root: root, mailbox: name}, nil
}

// A walker looks for the directories that a pattern matches.
type walker struct {
	c      *Conn
	ctx    context.Context
	only   string
	yield  func(*tree, error) bool
	names  map[string]string // of mailboxes so far, if they can be ambiguous
	found  int
	failed int
}

// walk goes down from root, to which elems lead. It returns false to stop.
func (w *walker) walk(root *os.Root, elems []string) bool {
	p := w.c.pattern
	if len(elems) == len(p.elems) {
		return w.arrive(root, elems)
	}
	e := &p.elems[len(elems)]
	if !e.wild {
		return w.step(root, elems, e.text)
	}
	dir, err := root.OpenFile(".", openDirectory, 0)
	if err != nil {
		return w.fail(elems, err)
	}
	defer func() { _ = dir.Close() }() // only read
	for {
		if err := ended(w.ctx); err != nil {
			w.yield(nil, err)
			return false
		}
		entries, err := dir.ReadDir(chunk)
		for _, entry := range entries {
			typ := entry.Type()
			if _, ok := e.match(entry.Name()); !ok || !typ.IsDir() && typ&fs.ModeSymlink == 0 {
				continue
			}
			if !w.step(root, elems, entry.Name()) {
				return false
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return true
		case err != nil:
			return w.fail(elems, err)
		}
	}
}

func (w *walker) step(root *os.Root, elems []string, name string) bool {
	elems = append(slices.Clip(elems), name)
	sub, err := descend(root, name, w.c.cfg.FollowSymlinks)
	switch {
	case notThere(err):
		return true
	case err != nil:
		return w.fail(elems, err)
	}
	defer func() { _ = sub.Close() }() // only read
	return w.walk(sub, elems)
}

// fail reports a directory that may be a mailbox and cannot be looked at.
func (w *walker) fail(elems []string, err error) bool {
	name := w.c.pattern.distinguishing(elems)
	if w.only != "" && w.only != name || name == "" && w.c.pattern.many() && len(elems) > 0 {
		return true
	}
	w.failed++
	e := &connection.Error{Kind: kindOf(err), Ref: connection.Ref{Mailbox: name}, Err: err}
	switch {
	case errors.Is(err, errLink):
		e.Kind, e.Hint = connection.ErrPermission, "follow_symlinks: a mailbox that is a symbolic link is not read unless this is set"
	case errors.Is(err, errReplaced):
		e.Kind = connection.ErrChanged
	}
	return w.yield(nil, e)
}

// arrive takes the directory root for a mailbox, if it is one.
func (w *walker) arrive(root *os.Root, elems []string) bool {
	c := w.c
	t := &tree{root: root, mailbox: c.pattern.nameOf(elems)}
	if w.only != "" && w.only != t.mailbox {
		return true
	}
	if c.pattern.many() {
		// One that cannot be listed is yielded, so that the caller meets the error.
		if folders, err := c.folders(t); err == nil && len(folders) == 0 {
			return true
		}
	}
	if c.pattern.ambiguous() {
		if other, taken := w.names[t.mailbox]; taken {
			w.yield(nil, &connection.Error{
				Kind: connection.ErrConfig,
				Err:  fmt.Errorf("%s and %s both are mailbox %q", other, path.Join(elems...), t.mailbox),
				Hint: "mailbox_name: choose what tells the mailboxes apart, or leave it out",
			})
			return false
		}
		w.names[t.mailbox] = path.Join(elems...)
	}
	w.found++
	c.mu.Lock()
	c.boxes[t.mailbox] = elems
	c.mu.Unlock()
	return w.yield(t, nil)
}
