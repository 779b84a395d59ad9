package maildir

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/mailconn/mailconn/connection"
)

// Delete implements [connection.Deleter] as Config.DeleteMode says. The file is found by its unique part in new and cur
// of its folder; what this Conn remembers of it must still be true, else the error is ErrChanged and nothing is done.
// With delete_mode move a message of the very folder that move_to names is left alone, and the error is ErrConfig.
// The directories are synced once a call.
func (c *Conn) Delete(ctx context.Context, refs ...connection.Ref) error {
	newAction := c.removal
	switch c.cfg.DeleteMode {
	case "", DeleteNone:
		newAction = nil
	case DeleteTrash:
		newAction = func(*tree, folder) (action, error) { return &flagging{c: c, letters: "T"}, nil }
	case DeleteMove:
		newAction = func(t *tree, f folder) (action, error) { return c.relocation(ctx, t, f) }
	}
	return c.changeAll(ctx, "delete", refs, newAction, &connection.Error{
		Kind: connection.ErrConfig, Err: errors.New("delete_mode is none"),
		Hint: "delete_mode: choose remove, trash or move, if messages are to leave this Maildir once they are stored",
	})
}

// Mark implements [connection.Marker]: flags become letters of the file's info part, and a message in new goes to cur,
// as the Maildir specification asks for. A keyword that the folder's dovecot-keywords does not name is ErrUnsupported.
func (c *Conn) Mark(ctx context.Context, refs []connection.Ref, flags ...connection.Flag) error {
	return c.changeAll(ctx, "mark", refs, func(t *tree, f folder) (action, error) {
		letters, unknown := readKeywords(t.root, f.dir).letters(flags)
		if len(unknown) > 0 {
			return nil, &connection.Error{Kind: connection.ErrUnsupported, Err: errors.New("keyword " + quoted(string(unknown[0])) + " has no letter in the folder's dovecot-keywords")}
		}
		return &flagging{c: c, letters: letters}, nil
	}, nil)
}

// changeAll runs change, or fails all refs with refusal if there is no action.
func (c *Conn) changeAll(ctx context.Context, op string, refs []connection.Ref, newAction func(*tree, folder) (action, error), refusal error) error {
	ctx, done, err := c.begin(ctx)
	if err == nil {
		defer done()
		if newAction == nil {
			err = refusal
		}
	}
	if err != nil {
		errs := make([]error, len(refs))
		for i, ref := range refs {
			errs[i] = c.fail(op, ref, err)
		}
		if len(refs) == 0 && !errors.Is(err, refusal) {
			return c.fail(op, connection.Ref{}, err)
		}
		return errors.Join(errs...)
	}
	n, err := c.change(ctx, op, refs, newAction)
	if n > 0 && op == "delete" {
		c.observe(connection.Event{Kind: connection.EventDeleted, Count: int64(n)})
	}
	return err
}

// A touch list holds directories once.
type touch []*directory

func (t *touch) add(d *directory) {
	if !slices.Contains(*t, d) {
		*t = append(*t, d)
	}
}

// removing removes the file.
type removing struct{ dirs touch }

func (c *Conn) removal(*tree, folder) (action, error) { return &removing{}, nil }

func (r *removing) stage(*finder, string, spot) error { return nil }

func (r *removing) finish(_ *finder, _ string, at spot) error {
	r.dirs.add(at.d)
	return unlink(at.d, at.name)
}

func (r *removing) touched() (_, _ []*directory) { return nil, r.dirs }

func (r *removing) close() {}

// flagging adds flags to the file's name and brings it to cur.
type flagging struct {
	c       *Conn
	letters string
	dirs    touch
}

func (g *flagging) stage(*finder, string, spot) error { return nil }

func (g *flagging) finish(f *finder, id string, at spot) error {
	unique, info := splitName(at.name)
	target := unique + withLetters(info, g.letters)
	if at.d.sub == "cur" && target == at.name {
		return nil
	}
	cur, err := f.ensure("cur")
	if err != nil {
		return err
	}
	if _, err := cur.root.Lstat(cur.rel(target)); err == nil {
		return &connection.Error{Kind: connection.ErrExists, Err: errors.New(quoted(target) + " is there already")}
	}
	g.dirs.add(at.d)
	g.dirs.add(cur)
	if err := rename(at.d, at.name, cur, target); err != nil {
		return err
	}
	key := g.c.refKey(f.ref(id))
	if was, ok := g.c.recent.get(key); ok {
		g.c.recent.put(key, place{sub: "cur", name: target, ident: was.ident})
	}
	return nil
}

func (g *flagging) touched() (_, _ []*directory) { return nil, g.dirs }

func (g *flagging) close() {}

// relocating moves the file to another Maildir: a second link there, then the first is removed.
type relocating struct {
	c    *Conn
	ctx  context.Context
	root *os.Root // of the other tree, nil if it is this one
	cur  *directory
	dirs touch
}

func (c *Conn) relocation(ctx context.Context, t *tree, from folder) (action, error) {
	m := &relocating{c: c, ctx: ctx}
	root, dir := t.root, "."
	hint := "move_to: " + quoted(c.cfg.MoveTo) + " must exist and hold new, cur and tmp"
	if name := c.cfg.moveFolder(); name != "" {
		fo, err := c.folder(t, name)
		if err != nil {
			return nil, &connection.Error{Kind: connection.ErrConfig, Hint: hint, Err: err}
		}
		dir = fo.dir
	} else {
		target, ok := c.cfg.movePath(t.mailbox)
		if !ok {
			return nil, &connection.Error{Kind: connection.ErrConfig, Hint: hint, Err: errors.New("the mailbox's name " + quoted(t.mailbox) + " cannot be part of a path")}
		}
		var err error
		m.root, err = os.OpenRoot(target + string(filepath.Separator) + ".")
		if err != nil {
			return nil, &connection.Error{Kind: connection.ErrConfig, Hint: hint, Err: err}
		}
		root = m.root
	}
	cur, err := openSub(root, dir, "cur")
	if err != nil {
		m.close()
		return nil, &connection.Error{Kind: connection.ErrConfig, Hint: hint, Err: err}
	}
	m.cur = cur
	if m.isAlready(t, from) {
		m.close()
		return nil, &connection.Error{
			Kind: connection.ErrConfig, Hint: "move_to: name another folder, or another Maildir, than the one that the messages are in",
			Err: errors.New("the message is in " + quoted(c.cfg.MoveTo) + " already"),
		}
	}
	return m, nil
}

// isAlready reports whether messages of the folder from are where they are to go: what looks like the second link of a
// message is the message itself there.
func (m *relocating) isAlready(t *tree, from folder) bool {
	to, err := m.cur.file.Stat()
	for _, sub := range []string{"cur", "new"} {
		if is, errFrom := t.root.Stat(path.Join(from.dir, sub)); err == nil && errFrom == nil && os.SameFile(is, to) {
			return true
		}
	}
	return false
}

func (m *relocating) touched() (staged, finished []*directory) { return []*directory{m.cur}, m.dirs }

func (m *relocating) close() {
	if m.cur != nil {
		m.cur.close()
	}
	if m.root != nil {
		_ = m.root.Close() // nothing depends on it
	}
}

func (m *relocating) stage(_ *finder, _ string, at spot) error {
	fi, err := at.d.root.Lstat(at.d.rel(at.name))
	switch {
	case err != nil:
		return err
	case !fi.Mode().IsRegular():
		return &connection.Error{Kind: connection.ErrUnsupported, Err: errors.New("a message that is a symbolic link cannot be moved")}
	case !at.d.mayRead(infoOf(fi)):
		return &connection.Error{Kind: connection.ErrPermission, Err: errors.New("the file has several hard links and belongs to another user than its directory")}
	}
	unique, info := splitName(at.name)
	if info == "" {
		info = withLetters("", "")
	}
	err = link(at.d, at.name, m.cur, unique+info)
	if errors.Is(err, fs.ErrExist) {
		if there, statErr := m.cur.root.Lstat(m.cur.rel(unique + info)); statErr == nil && os.SameFile(fi, there) {
			return nil // an earlier call came so far
		}
		// Another message of that name is there, and stays.
		err = link(at.d, at.name, m.cur, m.c.uniqueName()+info)
	}
	if err == nil || !otherDevice(err) && !noLinks(err) {
		return err
	}
	return m.copy(at, info)
}

func (m *relocating) finish(_ *finder, _ string, at spot) error {
	m.dirs.add(at.d)
	return unlink(at.d, at.name)
}

// copy writes the message to the other Maildir, for want of links.
func (m *relocating) copy(at spot, info string) error {
	h, st, err := openMessage(at.d, at.name)
	if err != nil {
		return err
	}
	defer func() { _ = h.close() }() // only read
	b := &body{c: m.c, ctx: m.ctx, op: "delete", rest: st.size, file: &h}
	d := &delivery{c: m.c, root: m.cur.root, dir: m.cur.dir, sub: "cur", info: info, received: st.mtime}
	_, err = d.deliver(m.ctx, b)
	return err
}
