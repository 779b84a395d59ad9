package maildir

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// A spot is a file found for a Ref.
type spot struct {
	d    *directory
	name string
}

var errDouble = errors.New("several files have this unique name: which of them is meant is not known")

func (c *Conn) refKey(ref connection.Ref) uint64 {
	return maphash.String(c.seed, ref.Mailbox+"\x00"+ref.Folder+"\x00"+ref.ID)
}

// A finder looks for files of one folder by the ID of their Ref. Its directories stay open until close.
type finder struct {
	c       *Conn
	t       *tree
	mailbox string
	folder  folder
	p       *pass
	old     []*pass // before p; what was found in them may still have to be synced
}

func (c *Conn) newFinder(t *tree, f folder) (*finder, error) {
	p, err := openPass(t.root, f.dir)
	if err != nil {
		return nil, err
	}
	return &finder{c: c, t: t, mailbox: t.mailbox, folder: f, p: p}, nil
}

func (f *finder) close() {
	for _, p := range append(f.old, f.p) {
		p.close()
	}
}

func (f *finder) dir(sub string) *directory {
	for _, d := range f.p.dirs {
		if d.sub == sub {
			return d
		}
	}
	return nil
}

func (f *finder) ref(id string) connection.Ref {
	return connection.Ref{Mailbox: f.mailbox, Folder: f.folder.name, ID: id}
}

// find looks for ids. An ID that is in neither map has no file. One in bad must not be touched: what was read under it
// is no longer what is there, or it does not say which of two files it means.
func (f *finder) find(ctx context.Context, ids []string) (found map[string]spot, bad map[string]error, err error) {
	found, bad = map[string]spot{}, map[string]error{}
	open := map[string]bool{}
	for _, id := range ids {
		if at, ok := f.remembered(id); ok {
			found[id] = at
		} else {
			open[id] = true
		}
	}
	for try := 0; len(open) > 0; try++ {
		if err := f.scan(ctx, open, found, bad); err != nil {
			return nil, nil, err
		}
		state, _ := f.p.settled()
		if try == maxRescans || state == stable || state == young && try > 0 {
			break
		}
		// A rename during the scan may have hidden a file.
		p, err := openPass(f.t.root, f.folder.dir)
		if err != nil {
			return nil, nil, err
		}
		for id := range open {
			if _, ok := found[id]; ok || bad[id] != nil {
				delete(open, id)
			}
		}
		f.old, f.p = append(f.old, f.p), p
	}
	return found, bad, nil
}

// remembered returns where this Conn saw the message last, if that very file is there still.
func (f *finder) remembered(id string) (spot, bool) {
	was, ok := f.c.recent.get(f.c.refKey(f.ref(id)))
	if !ok {
		return spot{}, false
	}
	d := f.dir(was.sub)
	if d == nil {
		return spot{}, false
	}
	fi, err := d.root.Lstat(d.rel(was.name))
	if err != nil || !fi.Mode().IsRegular() || infoOf(fi).ident != was.ident {
		return spot{}, false
	}
	return spot{d, was.name}, true
}

// scan reads the directories once and sorts what it finds into found and bad.
func (f *finder) scan(ctx context.Context, open map[string]bool, found map[string]spot, bad map[string]error) error {
	return f.p.each(ctx, func(d *directory, name string, typ fs.FileMode) error {
		if !isMessageName(name) || typ.IsDir() || typ&fs.ModeType != 0 && typ&fs.ModeSymlink == 0 {
			return nil
		}
		unique, _ := splitName(name)
		for _, id := range []string{escape(unique), escape(name), escape(d.sub + "/" + name)} {
			if !open[id] {
				continue
			}
			at := spot{d, name}
			if before, ok := found[id]; ok {
				f.second(id, before, at, found, bad)
			} else if err := f.check(id, at); err == nil {
				found[id] = at
			} else if bad[id] == nil && !errors.Is(err, fs.ErrNotExist) {
				bad[id] = err
			}
			break
		}
		return nil
	})
}

// check compares the file at at with the one that was read under id, as far as that is remembered.
func (f *finder) check(id string, at spot) error {
	fi, err := at.d.root.Lstat(at.d.rel(at.name))
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() && !(f.c.cfg.FollowSymlinks && fi.Mode()&fs.ModeSymlink != 0) {
		return fs.ErrNotExist // no message
	}
	was, ok := f.c.recent.get(f.c.refKey(f.ref(id)))
	if ok && fi.Mode().IsRegular() && infoOf(fi).ident != was.ident {
		return &connection.Error{Kind: connection.ErrChanged, Err: errors.New("another file came under this unique name since the message was read")}
	}
	return nil
}

// second is called for another file with the unique name of one found: the same, if it was renamed meanwhile or has
// two links, or one that only looks the same.
func (f *finder) second(id string, before, at spot, found map[string]spot, bad map[string]error) {
	b, errB := at.d.root.Lstat(at.d.rel(at.name))
	if errB != nil || !b.Mode().IsRegular() {
		return
	}
	a, errA := before.d.root.Lstat(before.d.rel(before.name))
	switch {
	case errA != nil:
		found[id] = at // renamed
	case !os.SameFile(a, b):
		if f.check(id, at) == nil && bad[id] == nil {
			delete(found, id)
			bad[id] = &connection.Error{
				Kind: connection.ErrChanged, Err: fmt.Errorf("%w: %s and %s", errDouble, quoted(before.name), quoted(at.name)),
				Hint: "fetch again: then each of them has a name of its own",
			}
		}
	}
}

// ensure returns the directory called sub, opened if the folder had none when it was looked at.
func (f *finder) ensure(sub string) (*directory, error) {
	if d := f.dir(sub); d != nil {
		return d, nil
	}
	d, err := openSub(f.t.root, f.folder.dir, sub)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.TrimPrefix(path.Join(f.folder.dir, sub), "./"), err)
	}
	f.p.dirs = append(f.p.dirs, d)
	return d, nil
}
