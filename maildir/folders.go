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
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

const (
	inbox      = "INBOX"
	maxFolders = 100_000 // of one mailbox
	maxDepth   = 32      // of nested directories
)

// A folder is a directory with new or cur.
type folder struct {
	name string
	dir  string // below the tree's root, with slashes
}

// Folders implements [connection.FolderLister]. With many mailboxes, "" yields the folders of all. Messages are not
// counted. Folders that the settings leave out are not yielded.
func (c *Conn) Folders(ctx context.Context, mailbox string) iter.Seq2[*connection.Folder, error] {
	return single(c, "folders", func(yield func(*connection.Folder, error) bool) {
		ctx, done, err := c.begin(ctx)
		if err != nil {
			yield(nil, c.fail("folders", connection.Ref{Mailbox: mailbox}, err))
			return
		}
		defer done()
		for t, err := range c.trees(ctx, mailbox) {
			var folders []folder
			if err == nil {
				folders, err = c.folders(t)
			}
			if err != nil {
				yield(nil, c.fail("folders", connection.Ref{Mailbox: mailbox}, err))
				return
			}
			for _, f := range folders {
				if !c.cfg.wants(f.name) {
					continue
				}
				if !yield(&connection.Folder{Mailbox: t.mailbox, Name: f.name, Messages: -1}, nil) {
					return
				}
			}
		}
	})
}

// folders lists the folders of t: INBOX first, then by name. What the settings leave out is in it too.
func (c *Conn) folders(t *tree) ([]folder, error) {
	if t.all != nil {
		return t.all, nil
	}
	l := &lister{root: t.root, layout: c.cfg.Layout, links: c.cfg.FollowSymlinks, names: map[string]bool{}}
	if isFolder(t.root, ".") {
		l.add(inbox, ".", ".")
	}
	if err := l.list(".", "", 0); err != nil {
		return nil, err
	}
	slices.SortFunc(l.found, func(a, b folder) int {
		switch {
		case a.name == b.name:
			return 0
		case a.name == inbox:
			return -1
		case b.name == inbox:
			return 1
		}
		return strings.Compare(a.name, b.name)
	})
	c.mu.Lock()
	for _, f := range l.found {
		c.dirs[folderKey{t.mailbox, f.name}] = f.dir
	}
	c.mu.Unlock()
	t.all, t.unlisted = l.found, l.unlisted
	return l.found, nil
}

// folder returns the folder of t called name; ErrNotFound if there is none.
func (c *Conn) folder(t *tree, name string) (folder, error) {
	if name == "" {
		name = inbox
	}
	c.mu.Lock()
	dir, ok := c.dirs[folderKey{t.mailbox, name}]
	c.mu.Unlock()
	if ok && isFolder(t.root, dir) {
		return folder{name: name, dir: dir}, nil
	}
	all, err := c.folders(t)
	if err != nil {
		return folder{}, err
	}
	if i := slices.IndexFunc(all, func(f folder) bool { return f.name == name }); i >= 0 {
		return all[i], nil
	}
	return folder{}, &connection.Error{Kind: connection.ErrNotFound, Ref: connection.Ref{Mailbox: t.mailbox, Folder: name}, Err: errors.New("no such folder")}
}

// isFolder reports whether dir holds new or cur. One that cannot be looked at is a folder, so that reading it tells why.
func isFolder(root *os.Root, dir string) bool {
	for _, sub := range []string{"cur", "new"} {
		fi, err := root.Stat(path.Join(dir, sub))
		if err == nil && fi.IsDir() || err != nil && !notThere(err) {
			return true
		}
	}
	return false
}

// A lister finds the folders of one tree.
type lister struct {
	root   *os.Root
	layout string
	links  bool
	found  []folder
	names  map[string]bool
	// names of directories that may not be listed; reading them as folders tells why
	unlisted []string
	dirs     []fs.FileInfo // of found, to know links to them; only with links
}

// add takes the folder in dir. Two directories whose names mean the same (".Entw&APw-rfe" and ".Entwürfe") keep apart
// by the second's raw name.
func (l *lister) add(name, raw, dir string) {
	if l.names[name] {
		name = escape(raw)
	}
	for l.names[name] {
		name = "./" + name
	}
	l.names[name] = true
	l.found = append(l.found, folder{name: name, dir: dir})
	if l.links {
		if fi, err := l.root.Stat(dir); err == nil {
			l.dirs = append(l.dirs, fi)
		}
	}
}

// list adds the folders in dir, whose own name is prefix.
func (l *lister) list(dir, prefix string, depth int) error {
	entries, err := l.entries(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if len(l.found) >= maxFolders {
			return &connection.Error{Kind: connection.ErrTooLarge, Err: fmt.Errorf("more than %d folders", maxFolders)}
		}
		raw := e.Name()
		rel := path.Join(dir, raw)
		if e.Type()&fs.ModeSymlink != 0 && l.listed(rel) {
			continue
		}
		name, dotted := l.nameOf(raw)
		if name == "" || isOwn(l.root, dir, raw) {
			continue
		}
		if prefix != "" {
			name = prefix + "/" + name
		}
		if isFolder(l.root, rel) {
			l.add(name, rel, rel)
		}
		if dotted {
			continue
		}
		if depth == maxDepth {
			return &connection.Error{Kind: connection.ErrTooLarge, Err: fmt.Errorf("directories are nested deeper than %d", maxDepth)}
		}
		switch err := l.list(rel, name, depth+1); {
		case err == nil || notThere(err):
		case kindOf(err) == connection.ErrPermission:
			l.unlisted = append(l.unlisted, name)
		default:
			return err
		}
	}
	return nil
}

// nameOf returns the folder name that the layout gives a directory called raw, "" if it can be none.
func (l *lister) nameOf(raw string) (name string, dotted bool) {
	dotted = raw[0] == '.'
	switch {
	case dotted && l.layout != LayoutFS:
		levels := strings.Split(raw[1:], ".")
		for i, level := range levels {
			levels[i] = folderName(level)
		}
		return strings.Join(levels, "/"), true
	case !dotted && l.layout != LayoutMaildirPP:
		return folderName(raw), false
	}
	return "", dotted
}

// entries returns the directories in dir by name, symbolic links last: a link to a directory that has been listed is
// the same folder again.
func (l *lister) entries(dir string) ([]fs.DirEntry, error) {
	f, err := l.root.OpenFile(dir, openDirectory, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	var dirs []fs.DirEntry
	for {
		entries, err := f.ReadDir(chunk)
		for _, e := range entries {
			if e.IsDir() || l.links && e.Type()&fs.ModeSymlink != 0 {
				dirs = append(dirs, e)
			}
		}
		switch {
		case len(dirs) > maxFolders:
			return nil, &connection.Error{Kind: connection.ErrTooLarge, Err: fmt.Errorf("more than %d directories", maxFolders)}
		case errors.Is(err, io.EOF):
			slices.SortFunc(dirs, func(a, b fs.DirEntry) int {
				if a.IsDir() != b.IsDir() {
					if a.IsDir() {
						return -1
					}
					return 1
				}
				return strings.Compare(a.Name(), b.Name())
			})
			return dirs, nil
		case err != nil:
			return nil, err
		}
	}
}

// listed reports whether the link rel leads to a folder that was found already, or out of the tree.
func (l *lister) listed(rel string) bool {
	fi, err := l.root.Stat(rel)
	if err != nil || !fi.IsDir() {
		return true
	}
	if slices.ContainsFunc(l.dirs, func(d fs.FileInfo) bool { return os.SameFile(d, fi) }) {
		return true
	}
	// A link upwards would never end.
	for up := path.Dir(rel); ; up = path.Dir(up) {
		if above, err := l.root.Stat(up); err == nil && os.SameFile(above, fi) {
			return true
		}
		if up == "." {
			return false
		}
	}
}

// isOwn reports whether raw is dir's own new, cur or tmp, also where the file system ignores case.
func isOwn(root *os.Root, dir, raw string) bool {
	for _, sub := range []string{"cur", "new", "tmp"} {
		if raw == sub {
			return true
		}
		if !strings.EqualFold(raw, sub) {
			continue
		}
		a, errA := root.Lstat(path.Join(dir, raw))
		b, errB := root.Lstat(path.Join(dir, sub))
		if errA == nil && errB == nil && os.SameFile(a, b) {
			return true
		}
	}
	return false
}
