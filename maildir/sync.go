package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"slices"

	"github.com/mailconn/mailconn/connection"
)

// minCheckpoint is after how many messages at the earliest Sync offers another Checkpoint. The larger the mailbox, the
// rarer: a Checkpoint holds the names of all messages.
const minCheckpoint = 256

// Sync implements [connection.Syncer] for one mailbox. The Checkpoint holds the names and flags that were told, packed,
// and when each directory changed last; a directory that did not change since is not read. A folder that was renamed is
// a FolderAdded with its messages and a FolderRemoved. A message is Removed when no reading of its folder met it.
// A Checkpoint that cannot be read, or is of another mailbox, is ErrStale; with SyncOptions.Known its place, or that of
// "", is taken by asking for each message: one that the host has is Updated, without a Body.
func (c *Conn) Sync(ctx context.Context, since connection.Checkpoint, opts *connection.SyncOptions) iter.Seq2[*connection.Change, error] {
	return single(c, "sync", func(yield func(*connection.Change, error) bool) {
		s := &syncing{c: c, yield: yield, since: since}
		if opts != nil {
			s.opts = *opts
		}
		ref := connection.Ref{Mailbox: s.opts.Mailbox}
		ctx, done, err := c.begin(ctx)
		if err == nil {
			defer done()
			s.ctx = ctx
			s.ahead = newReadahead(ctx, s.deliver)
			defer s.ahead.close()
			err = s.run()
		}
		if err != nil && !errors.Is(err, errStop) {
			yield(nil, c.fail("sync", ref, err))
		}
	})
}

// A syncing is one call of Sync.
type syncing struct {
	c     *Conn
	ctx   context.Context
	opts  connection.SyncOptions
	since connection.Checkpoint
	yield func(*connection.Change, error) bool
	ahead *readahead
	state *state
	asks  bool // whether Known is asked

	// of the folder in work
	folder  folder
	entries map[string]*entry
	loader  *loader
	pass    int
	missing int
	dirty   bool // something could not be read: look again next time

	told int // changes since the last Checkpoint
}

func (s *syncing) run() error {
	if s.opts.Mailbox == "" && s.c.pattern.many() {
		return &connection.Error{Kind: connection.ErrInvalid, Err: errors.New("no mailbox is named, and this connection has many")}
	}
	for t, err := range s.c.trees(s.ctx, s.opts.Mailbox) {
		if err != nil {
			return err
		}
		return s.mailbox(t)
	}
	return nil
}

func (s *syncing) mailbox(t *tree) error {
	if err := s.restore(t); err != nil {
		return err
	}
	all, err := s.c.folders(t)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		// Rather a file system that is not mounted than a mailbox that lost all its folders at once.
		return s.c.noMaildir(t)
	}
	wanted, absent := s.c.selectFolders(t, all, s.opts.Folders)
	for _, name := range absent {
		if s.state.folders[name] != nil {
			continue // it is told as removed, below
		}
		e := s.c.fail("sync", connection.Ref{Mailbox: t.mailbox, Folder: name}, &connection.Error{Kind: connection.ErrNotFound, Err: errors.New("no such folder")})
		if !s.yield(nil, e) {
			return errStop
		}
	}
	for _, fo := range wanted {
		if err := s.syncFolder(t, fo); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.state.folders)) {
		if slices.ContainsFunc(all, func(f folder) bool { return f.name == name }) || len(s.opts.Folders) > 0 && !slices.Contains(s.opts.Folders, name) || t.hides(name) {
			continue
		}
		delete(s.state.folders, name)
		if err := s.tell(&connection.Change{Op: connection.FolderRemoved, Folder: &connection.Folder{Mailbox: t.mailbox, Name: name, Messages: -1}}); err != nil {
			return err
		}
	}
	if cp := s.state.encode(); cp != s.since {
		return s.tell(&connection.Change{Op: connection.Progressed, Checkpoint: cp})
	}
	return nil
}

// restore finds the place to go on from.
func (s *syncing) restore(t *tree) error {
	s.state = &state{mailbox: t.mailbox, folders: map[string]*folderState{}}
	s.asks = s.opts.Known != nil
	if s.since == "" {
		return nil
	}
	st, err := decodeState(s.since, t.mailbox)
	switch {
	case err == nil:
		s.state, s.asks = st, false
	case s.opts.Known == nil:
		return err
	default:
		s.c.observe(connection.Event{Kind: connection.EventRestarted, Mailbox: t.mailbox, Detail: err.Error()})
	}
	return nil
}

func (s *syncing) tell(ch *connection.Change) error {
	if err := ended(s.ctx); err != nil {
		return err
	}
	if ch.Op != connection.Progressed {
		s.told++
	}
	if !s.yield(ch, nil) {
		return errStop
	}
	return nil
}

// syncFolder tells what changed in one folder. Errors of the folder itself are told, and the next goes on.
func (s *syncing) syncFolder(t *tree, fo folder) error {
	ref := connection.Ref{Mailbox: t.mailbox, Folder: fo.name}
	st := s.state.folders[fo.name]
	if st == nil {
		if err := s.tell(&connection.Change{Op: connection.FolderAdded, Folder: &connection.Folder{Mailbox: t.mailbox, Name: fo.name, Messages: -1}}); err != nil {
			return err
		}
		st = &folderState{}
		s.state.folders[fo.name] = st
	} else if st.stamp != "" {
		if now, err := stampOf(t.root, fo.dir); err == nil && now == st.stamp {
			return nil
		}
	}
	entries, err := st.unpack()
	if err != nil {
		return err
	}
	s.folder, s.entries, s.pass, s.dirty = fo, entries, 0, false
	s.loader = &loader{c: s.c, ctx: s.ctx, op: "sync", mailbox: t.mailbox, folder: fo.name, keywords: readKeywords(t.root, fo.dir), seen: newSeen(s.c.seed)}
	st.stamp = ""
	stamp, err := s.passes(t, st)
	switch {
	case errors.Is(err, errStop), err != nil && ended(s.ctx) != nil:
		return err
	case errors.Is(err, fs.ErrNotExist):
		return nil // it went away meanwhile: the next Sync tells
	case err != nil:
		if !s.yield(nil, s.c.fail("sync", ref, err)) {
			return errStop
		}
		st.pack(s.entries)
		return nil
	}
	for _, id := range slices.Sorted(maps.Keys(s.entries)) {
		if s.entries[id].pass > 0 {
			continue
		}
		delete(s.entries, id)
		ref.ID = escape(id)
		if err := s.tell(&connection.Change{Op: connection.Removed, Ref: ref}); err != nil {
			return err
		}
	}
	if !s.dirty {
		st.stamp = stamp
	}
	st.pack(s.entries)
	return nil
}

// passes reads the folder until nothing can have been overlooked, within reason.
func (s *syncing) passes(t *tree, st *folderState) (string, error) {
	for try := 0; ; try++ {
		s.pass++
		s.missing = 0
		p, err := openPass(t.root, s.folder.dir)
		if err != nil {
			return "", err
		}
		state, stamp, err := s.read(p, st)
		if err != nil {
			return "", err
		}
		again := s.missing > 0 || state == moving || state == young && try == 0
		if s.missing > 0 {
			stamp = ""
		}
		if !again || try == maxRescans {
			return stamp, nil
		}
	}
}

func (s *syncing) read(p *pass, st *folderState) (stability, string, error) {
	defer p.close()
	var batch []job
	flush := func() error {
		jobs, err := s.ask(batch)
		if err != nil {
			return err
		}
		size := batchSize(len(jobs))
		for part := range slices.Chunk(jobs, size) {
			if !s.ahead.submit(s.loader, part) {
				return s.stopped()
			}
		}
		batch = batch[:0]
		return s.offer(st)
	}
	err := p.each(s.ctx, func(d *directory, name string, typ fs.FileMode) error {
		if !isMessageName(name) || typ.IsDir() || typ&fs.ModeType != 0 && (typ&fs.ModeSymlink == 0 || !s.c.cfg.FollowSymlinks) {
			return nil
		}
		unique, info := splitName(name)
		j := job{d: d, name: name, unique: unique, info: info}
		id := unique
		if double := doubleID(d.sub, name, info); s.entries[double] != nil {
			id, j.id = double, double
		}
		isNew, err := s.meet(d, j, id, &batch)
		if err != nil || !isNew || len(batch) < 2*readers*maxBatch {
			return err
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if !errors.Is(err, errStop) && ended(s.ctx) == nil && !s.ahead.drain() {
		err = s.stopped()
	}
	if errors.Is(err, errStop) || ended(s.ctx) != nil {
		s.ahead.abandon() // before the directories are closed
	}
	state, stamp := p.settled()
	return state, stamp, err
}

func (s *syncing) stopped() error {
	if err := ended(s.ctx); err != nil {
		return err
	}
	return errStop
}

// meet compares one file with what was told under id. A new message is added to batch.
func (s *syncing) meet(d *directory, j job, id string, batch *[]job) (isNew bool, err error) {
	e, ok := s.entries[id]
	switch {
	case !ok:
		if s.loader.seen.knows(j.unique, d.sub, j.name) {
			return false, nil
		}
		*batch = append(*batch, j)
		return true, nil
	case e.pass == s.pass && (e.sub != d.sub || e.info != j.info) && j.id == "":
		// Met already in this pass, under another name.
		b, err := d.root.Lstat(d.rel(j.name))
		if err != nil {
			return false, nil // renamed again: the next pass meets it
		}
		a, err := d.root.Lstat(d.folderRel(e.sub, j.unique+e.info))
		if err == nil && !os.SameFile(a, b) {
			j.id = doubleID(d.sub, j.name, j.info)
			return s.meet(d, j, j.id, batch)
		}
		if err == nil {
			return false, nil // two links of one file
		}
	}
	before := e.info
	e.sub, e.info, e.pass = d.sub, j.info, s.pass
	if flagLetters(before) == flagLetters(j.info) {
		return false, nil
	}
	return false, s.tell(s.updated(id, j))
}

func (s *syncing) updated(id string, j job) *connection.Change {
	ref := s.loader.ref(id)
	return &connection.Change{
		Op: connection.Updated, Ref: ref,
		Message: &connection.Message{Ref: ref, Folder: s.folder.name, Size: -1, Flags: s.loader.keywords.flags(j.info)},
	}
}

// ask tells those of jobs that the host has as Updated, and returns the others.
func (s *syncing) ask(jobs []job) ([]job, error) {
	jobs = slices.Clone(jobs)
	if !s.asks || len(jobs) == 0 {
		return jobs, nil
	}
	refs := make([]connection.Ref, len(jobs))
	for i, j := range jobs {
		refs[i] = s.loader.ref(j.unique)
	}
	known, err := s.opts.Known(s.ctx, refs)
	if err == nil && len(known) != len(refs) {
		err = &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("the host answered %d of %d refs", len(known), len(refs))}
	}
	if err != nil {
		return nil, err
	}
	var rest []job
	for i, j := range jobs {
		if !known[i] {
			rest = append(rest, j)
			continue
		}
		s.entries[j.unique] = &entry{sub: j.d.sub, info: j.info, pass: s.pass}
		if err := s.tell(s.updated(j.unique, j)); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// deliver tells a new message.
func (s *syncing) deliver(it *item) bool {
	switch it.outcome {
	case vanished:
		s.missing++
	case failed:
		s.dirty = true
		return s.yield(nil, it.err)
	case loaded:
		id := it.unique
		if it.id != "" || it.msg.Ref.ID != escape(it.unique) {
			id = doubleID(it.d.sub, it.name, it.info)
		}
		s.entries[id] = &entry{sub: it.d.sub, info: it.info, pass: s.pass}
		s.c.remember(it)
		s.c.checkNamedSize(it)
		return s.tell(&connection.Change{Op: connection.Added, Ref: it.msg.Ref, Message: &it.msg.Message}) == nil
	case passed, strange:
	}
	return true
}

// offer yields a Checkpoint if there is much that one would save.
func (s *syncing) offer(st *folderState) error {
	total := 0
	for _, f := range s.state.folders {
		total += f.count
	}
	if s.told < max(minCheckpoint, total/4) {
		return nil
	}
	st.pack(s.entries)
	s.told = 0
	return s.tell(&connection.Change{Op: connection.Progressed, Checkpoint: s.state.encode()})
}
