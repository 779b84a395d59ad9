package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// maxRescans is how often a folder is read again in one go because files were renamed meanwhile.
const maxRescans = 5

// errStop ends a pass because the consumer has had enough.
var errStop = errors.New("stop")

// Fetch implements [connection.Fetcher]. Messages come in no particular order. Their files keep their names: nothing
// goes from new to cur. A message that another program renames meanwhile is found again; one that it removes is passed
// over. A folder or a mailbox that cannot be read is an *Error whose Ref names it, and the others go on. FlagDeleted
// keeps no message from being yielded.
//
// With Follow, notification by the system is a hint; every PollInterval the directories are looked at anyway.
func (c *Conn) Fetch(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
	return single(c, "fetch", func(yield func(*connection.Message, error) bool) {
		f := &fetch{c: c, yield: yield, folders: map[folderKey]*followed{}, trouble: map[connection.Ref]string{}}
		if opts != nil {
			f.opts = *opts
		}
		ref := connection.Ref{Mailbox: f.opts.Mailbox}
		ctx, done, err := c.begin(ctx)
		if err != nil {
			yield(nil, c.fail("fetch", ref, err))
			return
		}
		defer done()
		f.ctx = ctx
		f.ahead = newReadahead(ctx, f.deliver)
		defer f.ahead.close()
		if f.opts.Follow {
			f.notify = c.newNotifier(ctx)
			defer f.notify.close()
		}
		err = f.mailboxes()
		if err == nil && f.opts.Follow {
			err = f.follow()
		}
		if err != nil && !errors.Is(err, errStop) {
			yield(nil, c.fail("fetch", ref, err))
		}
	})
}

// A fetch is one call of Fetch.
type fetch struct {
	c     *Conn
	ctx   context.Context
	opts  connection.FetchOptions
	yield func(*connection.Message, error) bool
	ahead *readahead

	folders map[folderKey]*followed   // what is known of each folder; with Follow it is kept
	trouble map[connection.Ref]string // with Follow: errors of folders and mailboxes that were told already
	skipped map[string]struct{}       // strange files that were told already
	notify  *notifier                 // with Follow, if the system has notification

	yielded      int
	missing      int // files that had gone when they were to be opened, in this pass
	count, bytes int64
}

// mailboxes reads each mailbox once. An error is the last.
func (f *fetch) mailboxes() error {
	for t, err := range f.c.trees(f.ctx, f.opts.Mailbox) {
		if err == nil {
			err = f.mailbox(t)
		}
		if err = f.tell(err); err != nil {
			return err
		}
	}
	return nil
}

// tell yields an error that has a Ref, with Follow only if it is news. It returns the others, and errStop.
func (f *fetch) tell(err error) error {
	if err == nil || errors.Is(err, errStop) {
		return err
	}
	if ended := ended(f.ctx); ended != nil {
		return ended
	}
	e, ok := errors.AsType[*connection.Error](err)
	if !ok || e.Ref.IsZero() {
		return err
	}
	if f.opts.Follow {
		if f.trouble[e.Ref] == e.Error() {
			return nil
		}
		f.trouble[e.Ref] = e.Error()
	}
	if !f.yield(nil, f.c.fail("fetch", e.Ref, e)) {
		return errStop
	}
	return nil
}

// mailbox reads the folders of t that are wanted.
func (f *fetch) mailbox(t *tree) error {
	ref := connection.Ref{Mailbox: t.mailbox}
	all, err := f.c.folders(t)
	if err != nil {
		if t.mailbox == "" {
			return err
		}
		return f.c.fail("fetch", ref, err)
	}
	if len(all) == 0 {
		return f.c.noMaildir(t)
	}
	delete(f.trouble, ref)
	wanted, absent := f.c.selectFolders(t, all, f.opts.Folders)
	if f.opts.Mailbox != "" || !f.c.pattern.many() {
		for _, name := range absent {
			if err := f.tell(&connection.Error{Kind: connection.ErrNotFound, Ref: connection.Ref{Mailbox: t.mailbox, Folder: name}, Err: errors.New("no such folder")}); err != nil {
				return err
			}
		}
	}
	for _, fo := range wanted {
		if err := f.tell(f.folder(t, fo)); err != nil {
			return err
		}
	}
	return nil
}

// selectFolders returns those of all that names ask for, or without names the settings; and the names that are none.
func (c *Conn) selectFolders(t *tree, all []folder, names []string) (wanted []folder, absent []string) {
	for _, name := range names {
		if !slices.ContainsFunc(all, func(f folder) bool { return f.name == name }) {
			absent = append(absent, name)
		}
	}
	isTarget := c.moveTarget(t)
	for _, f := range all {
		if len(names) > 0 && slices.Contains(names, f.name) ||
			len(names) == 0 && c.cfg.wants(f.name) && !isTarget(f) {
			wanted = append(wanted, f)
		}
	}
	return wanted, absent
}

// moveTarget returns what reports whether a folder of t is the one that deleted messages go to: it is not read, or they
// would come again.
func (c *Conn) moveTarget(t *tree) func(folder) bool {
	name := c.cfg.moveFolder()
	target, _ := c.cfg.movePath(t.mailbox)
	if target == "" {
		return func(f folder) bool { return name != "" && f.name == name }
	}
	to, err := os.Stat(target)
	// A mailbox that is to move its INBOX onto itself is read, so that Delete says so.
	itself := !c.pattern.many() || strings.Contains(c.cfg.MoveTo, "{mailbox}")
	return func(f folder) bool {
		if err != nil || itself && f.name == inbox {
			return false
		}
		is, statErr := t.root.Stat(f.dir)
		return statErr == nil && os.SameFile(is, to)
	}
}

// folder reads one folder until a pass has overlooked nothing, within reason.
func (f *fetch) folder(t *tree, fo folder) error {
	key := folderKey{t.mailbox, fo.name}
	ref := connection.Ref{Mailbox: t.mailbox, Folder: fo.name}
	st := f.folders[key]
	if st == nil {
		st = &followed{seen: newSeen(f.c.seed)}
		f.c.reportStale(f.ctx, t, fo)
	}
	if f.opts.Follow {
		f.folders[key] = st
		if st.stamp != "" {
			if now, err := stampOf(t.root, fo.dir); err == nil && now == st.stamp {
				return nil
			}
		}
		f.notify.watch(t.path(fo.dir))
	}
	l := &loader{c: f.c, ctx: f.ctx, op: "fetch", mailbox: t.mailbox, folder: fo.name, keywords: readKeywords(t.root, fo.dir), seen: st.seen, since: f.opts.Since}
	f.count, f.bytes = 0, 0
	defer func() {
		if f.count > 0 {
			f.c.observe(connection.Event{Kind: connection.EventFetched, Mailbox: t.mailbox, Ref: ref, Count: f.count, Bytes: f.bytes})
		}
	}()
	for try := 0; ; try++ {
		st.seen.next()
		state, stamp, err := f.pass(t, fo, l)
		st.stamp = stamp
		switch {
		case errors.Is(err, errStop), err != nil && ended(f.ctx) != nil:
			return err
		case errors.Is(err, fs.ErrNotExist):
			return nil // the folder went away
		case err != nil:
			st.stamp = ""
			return f.c.fail("fetch", ref, err)
		}
		delete(f.trouble, ref)
		// A young directory is read a second time, not more: then nothing that was there at first was overlooked.
		again := f.missing > 0 || state == moving || state == young && try == 0
		if !again || try == maxRescans {
			return nil
		}
	}
}

// pass reads new and cur once.
func (f *fetch) pass(t *tree, fo folder, l *loader) (stability, string, error) {
	p, err := openPass(t.root, fo.dir)
	if err != nil {
		return stable, "", err
	}
	f.missing = 0
	var batch []job
	flush := func(size int) bool {
		for len(batch) > 0 {
			n := min(size, len(batch))
			if f.opts.Limit > 0 {
				// Nothing is read that the limit will keep from being yielded.
				n = min(n, max(f.opts.Limit-f.yielded-f.ahead.pending, 1))
				if f.ahead.pending >= f.opts.Limit-f.yielded && !f.ahead.drain() {
					return false
				}
			}
			if !f.ahead.submit(l, slices.Clone(batch[:n])) {
				return false
			}
			batch = append(batch[:0], batch[n:]...)
		}
		return true
	}
	err = p.each(f.ctx, func(d *directory, name string, typ fs.FileMode) error {
		j, ok := f.candidate(l, d, name, typ)
		if !ok {
			return nil
		}
		batch = append(batch, j)
		if len(batch) >= 2*readers*maxBatch && !flush(maxBatch) {
			return f.stopped()
		}
		return nil
	})
	if !errors.Is(err, errStop) && ended(f.ctx) == nil && (!flush(batchSize(len(batch))) || !f.ahead.drain()) {
		err = f.stopped()
	}
	if errors.Is(err, errStop) || ended(f.ctx) != nil {
		f.ahead.abandon() // before the directories are closed
	}
	state, stamp := p.settled()
	p.close()
	if f.missing > 0 {
		stamp = ""
	}
	return state, stamp, err
}

// stopped says why a pass ended early.
func (f *fetch) stopped() error {
	if err := ended(f.ctx); err != nil {
		return err
	}
	return errStop
}

// candidate decides from the directory entry alone whether the file may be a message to yield.
func (f *fetch) candidate(l *loader, d *directory, name string, typ fs.FileMode) (job, bool) {
	if !isMessageName(name) || typ.IsDir() {
		return job{}, false
	}
	if typ&fs.ModeType != 0 && (typ&fs.ModeSymlink == 0 || !f.c.cfg.FollowSymlinks) {
		f.strange(l, d, name)
		return job{}, false
	}
	unique, info := splitName(name)
	j := job{d: d, name: name, unique: unique, info: info}
	switch {
	case f.opts.Unseen && strings.Contains(flagLetters(info), "S"):
		return job{}, false
	case l.seen.knows(unique, d.sub, name):
		return job{}, false
	case f.opts.Skip != nil && f.opts.Skip(l.ref(unique)):
		return job{}, false
	}
	return j, true
}

// strange tells, once, that something in a folder is no message.
func (f *fetch) strange(l *loader, d *directory, name string) {
	rel := l.mailbox + "\x00" + d.rel(name)
	if _, told := f.skipped[rel]; told || len(f.skipped) > window {
		return
	}
	if f.skipped == nil {
		f.skipped = map[string]struct{}{}
	}
	f.skipped[rel] = struct{}{}
	unique, _ := splitName(name)
	f.c.env.Log().WarnContext(f.ctx, "not a message: symbolic link, FIFO, socket or device", "path", d.path(name))
	f.c.observe(connection.Event{Kind: connection.EventSkipped, Mailbox: l.mailbox, Ref: l.ref(unique), Detail: "not a regular file"})
}

// deliver yields what became of one file.
func (f *fetch) deliver(it *item) bool {
	switch it.outcome {
	case vanished:
		f.missing++
	case strange:
		f.c.env.Log().WarnContext(f.ctx, "not a message: symbolic link, FIFO, socket or device", "path", it.d.path(it.name))
	case failed:
		return f.yield(nil, it.err)
	case loaded:
		if f.opts.Limit > 0 && f.yielded == f.opts.Limit {
			return false
		}
		f.yielded++
		f.count++
		f.bytes += it.msg.Size
		f.c.remember(it)
		f.c.checkNamedSize(it)
		return f.yield(&it.msg.Message, nil) && (f.opts.Limit == 0 || f.yielded < f.opts.Limit)
	case passed:
	}
	return true
}

// remember keeps where the message of it is, for Delete.
func (c *Conn) remember(it *item) {
	c.recent.put(c.refKey(it.msg.Ref), place{sub: it.d.sub, name: it.name, ident: it.ident})
}

// checkNamedSize tells when the name promises another size than the file has: it was cut, or is compressed.
func (c *Conn) checkNamedSize(it *item) {
	if n := namedSize(it.unique); n >= 0 && n != it.msg.Size {
		c.observe(connection.Event{
			Kind: connection.EventQuirk, Mailbox: it.msg.Ref.Mailbox, Ref: it.msg.Ref,
			Detail: fmt.Sprintf("the file's name says %d octets, the file has %d: cut short or compressed", n, it.msg.Size),
		})
	}
}
