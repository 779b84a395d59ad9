package maildir

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/utf7"
)

// Append implements [connection.Appender]. The file is written in tmp, synced, and then linked into new, or with flags
// into cur; nil is returned after that directory is synced too. Whatever happens before, new and cur hold nothing of
// it. A keyword without a letter in the folder's dovecot-keywords is left out, with an EventQuirk. If the process is
// root, the file belongs to the folder's owner.
func (c *Conn) Append(ctx context.Context, folder string, body io.Reader, opts *connection.AppendOptions) (connection.Ref, error) {
	var o connection.AppendOptions
	if opts != nil {
		o = *opts
	}
	if folder == "" {
		folder = inbox
	}
	ref := connection.Ref{Mailbox: o.Mailbox, Folder: folder}
	ctx, done, err := c.begin(ctx)
	if err != nil {
		return connection.Ref{}, c.fail("append", ref, err)
	}
	defer done()
	if o.Mailbox == "" && c.pattern.many() {
		return connection.Ref{}, c.fail("append", ref, &connection.Error{Kind: connection.ErrInvalid, Err: errors.New("no mailbox is named, and this connection has many")})
	}
	for t, err := range c.trees(ctx, o.Mailbox) {
		if err == nil {
			ref.Mailbox = t.mailbox
			ref.ID, err = c.appendTo(ctx, t, folder, body, &o)
		}
		if err != nil {
			return connection.Ref{}, c.fail("append", connection.Ref{Mailbox: o.Mailbox, Folder: folder}, err)
		}
		break
	}
	return ref, nil
}

func (c *Conn) appendTo(ctx context.Context, t *tree, name string, body io.Reader, o *connection.AppendOptions) (string, error) {
	fo, err := c.folder(t, name)
	if errors.Is(err, connection.ErrNotFound) && o.CreateFolder {
		fo, err = c.createFolder(t, name)
	}
	if err != nil {
		return "", err
	}
	d := &delivery{c: c, root: t.root, dir: fo.dir, sub: "new", received: o.Received, size: o.Size}
	letters, unknown := readKeywords(t.root, fo.dir).letters(o.Flags)
	if letters != "" {
		d.sub, d.info = "cur", withLetters("", letters)
	}
	unique, err := d.deliver(ctx, body)
	if err != nil {
		return "", err
	}
	for _, flag := range unknown {
		c.observe(connection.Event{
			Kind: connection.EventQuirk, Mailbox: t.mailbox, Ref: connection.Ref{Mailbox: t.mailbox, Folder: fo.name, ID: escape(unique)},
			Detail: "keyword " + quoted(string(flag)) + " has no letter in dovecot-keywords and was left out",
		})
	}
	return escape(unique), nil
}

// A delivery writes one message to a folder.
type delivery struct {
	c        *Conn
	root     *os.Root
	dir      string
	sub      string // "new" or "cur"
	info     string
	received time.Time // zero: now
	size     int64     // announced; 0 if it was not
}

// deliver returns the unique part of the new message's name.
func (d *delivery) deliver(ctx context.Context, body io.Reader) (string, error) {
	tmp, err := openSub(d.root, d.dir, "tmp")
	if err != nil {
		return "", err
	}
	defer tmp.close()
	to, err := openSub(d.root, d.dir, d.sub)
	if err != nil {
		return "", err
	}
	defer to.close()
	unique := d.c.uniqueName()
	n, err := d.write(ctx, tmp, unique, body)
	if err == nil {
		name := unique
		unique = fmt.Sprintf("%s,S=%d", unique, n)
		err = d.place(tmp, name, to, unique+d.info)
		if err == nil {
			return unique, nil
		}
		unique = name
	}
	if gone := unlink(tmp, unique); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return "", err
}

// write makes the file in tmp, whole and synced.
func (d *delivery) write(ctx context.Context, tmp *directory, name string, body io.Reader) (n int64, err error) {
	f, err := d.root.OpenFile(tmp.rel(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, asCreate(err)
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	owner, err := d.root.Stat(d.dir)
	if err != nil {
		return 0, err
	}
	if err := giveTo(f, owner); err != nil {
		return 0, err
	}
	buf := getBuffer(largeBuffer)
	defer putBuffer(buf)
	n, err = io.CopyBuffer(struct{ io.Writer }{f}, &checkedReader{ctx: ctx, r: body}, *buf)
	switch {
	case err != nil:
		return n, err
	case d.size > 0 && n != d.size:
		return n, &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("the body has %d octets, %d were announced", n, d.size)}
	}
	if !d.received.IsZero() {
		if err := d.root.Chtimes(tmp.rel(name), d.received, d.received); err != nil {
			return n, err
		}
	}
	return n, f.Sync()
}

// place brings the file from tmp to its folder, under a name that must be free, and makes that durable.
func (d *delivery) place(tmp *directory, name string, to *directory, target string) error {
	err := link(tmp, name, to, target)
	switch {
	case err == nil:
		err = unlink(tmp, name)
	case noLinks(err):
		if _, there := d.root.Lstat(to.rel(target)); there == nil {
			return &connection.Error{Kind: connection.ErrExists, Err: errors.New(quoted(target) + " is there already")}
		}
		err = rename(tmp, name, to, target)
	default:
		return err
	}
	if err == nil {
		err = to.sync()
	}
	if err != nil {
		err = errors.Join(err, unlink(to, target))
	}
	return err
}

// asCreate lets an error's text say that a file was to be made.
func asCreate(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: "create", Path: pathErr.Path, Err: pathErr.Err}
	}
	return err
}

// checkedReader ends when ctx does.
type checkedReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *checkedReader) Read(p []byte) (int, error) {
	if err := ended(r.ctx); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// uniqueName makes a name as the Maildir specification describes: seconds, then microseconds (M), process (P), a
// counter (Q) and a random number (R), then the host, with the characters escaped that a name cannot hold.
func (c *Conn) uniqueName() string {
	now := time.Now()
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	host = strings.NewReplacer("/", `\057`, ":", `\072`, ",", `\054`).Replace(host)
	return fmt.Sprintf("%d.M%06dP%dQ%dR%s.%s", now.Unix(), now.Nanosecond()/1000, os.Getpid(), c.counter.Add(1), hex.EncodeToString(random[:]), host)
}

// createFolder makes the folder called name, in the layout of the settings, or of the folders that are there.
func (c *Conn) createFolder(t *tree, name string) (folder, error) {
	dir, err := c.folderDir(t, name)
	if err != nil {
		return folder{}, &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("folder %s: %w", quoted(name), err)}
	}
	owner, err := t.root.Stat(".")
	if err != nil {
		return folder{}, err
	}
	var dirs []string
	for up := dir; up != "."; up = path.Dir(up) {
		dirs = append([]string{up}, dirs...)
	}
	// cur comes last: with it the folder begins to be one.
	dirs = append(dirs, path.Join(dir, "tmp"), path.Join(dir, "new"), path.Join(dir, "cur"))
	for _, d := range dirs {
		err := t.root.Mkdir(d, 0o700)
		switch {
		case errors.Is(err, fs.ErrExist):
			continue
		case err != nil:
			return folder{}, err
		}
		if uid, gid := ownerOf(owner); os.Geteuid() == 0 && uid > 0 {
			if err := t.root.Lchown(d, uid, gid); err != nil {
				return folder{}, err
			}
		}
		if err := syncDir(t.root, path.Dir(d)); err != nil {
			return folder{}, err
		}
	}
	t.all = nil
	return c.folder(t, name)
}

// folderDir returns the directory that a new folder gets.
func (c *Conn) folderDir(t *tree, name string) (string, error) {
	all, err := c.folders(t)
	if err != nil {
		return "", err
	}
	nested := c.cfg.Layout == LayoutFS
	for _, f := range all {
		if c.cfg.Layout != LayoutMaildirPP && f.dir != "." && f.dir[0] != '.' {
			nested = true
		}
	}
	if name == inbox && !nested {
		return ".", nil
	}
	levels := strings.Split(name, "/")
	for i, level := range levels {
		switch {
		case level == "":
			return "", errors.New("a level without a name")
		case strings.ContainsRune(level, 0):
			return "", errors.New("holds a NUL")
		case !nested && strings.Contains(level, "."):
			return "", errors.New(`holds a ".", which separates levels in Maildir++`)
		case nested && (level[0] == '.' || level == "cur" || level == "new" || level == "tmp"):
			return "", errors.New("is a name that Maildir needs itself")
		}
		levels[i] = utf7.Encode(level)
	}
	if nested {
		return strings.Join(levels, "/"), nil
	}
	return "." + strings.Join(levels, "."), nil
}

func syncDir(root *os.Root, dir string) error {
	d, err := openSub(root, path.Dir(dir), path.Base(dir))
	if err != nil {
		return err
	}
	defer d.close()
	return d.sync()
}
