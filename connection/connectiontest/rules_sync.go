package connectiontest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"

	"github.com/mailconn/mailconn/connection"
)

// A mirror is what a host keeps: the messages, and the last Checkpoint it was allowed to save.
type mirror struct {
	messages   map[connection.Ref][]byte
	checkpoint connection.Checkpoint
	added      int // Added changes of the last sync
	changes    int
}

func newMirror() *mirror { return &mirror{messages: map[connection.Ref][]byte{}} }

func (m *mirror) raws() [][]byte { return slices.Collect(maps.Values(m.messages)) }

func (x *exam) syncer() connection.Syncer { return x.open().(connection.Syncer) }

// apply stores one change in the mirror.
func (x *exam) apply(m *mirror, c *connection.Change) {
	m.changes++
	switch c.Op {
	case connection.Added:
		if c.Message == nil || c.Message.Body == nil {
			x.stop("sync: the added message %v has no body", c.Ref)
		}
		raw, err := x.read(c.Message)
		if err != nil {
			x.stop("sync: message %v: %v", c.Ref, err)
		}
		m.added++
		m.messages[c.Ref] = raw
	case connection.Removed:
		delete(m.messages, c.Ref)
	case connection.FolderRemoved:
		maps.DeleteFunc(m.messages, func(r connection.Ref, _ []byte) bool { return c.Folder != nil && r.Folder == c.Folder.Name })
	}
	if c.Checkpoint != "" {
		m.checkpoint = c.Checkpoint
	}
}

// syncLoop runs one Sync and checks the rules of its iterator.
func (x *exam) syncLoop(ctx context.Context, s connection.Syncer, since connection.Checkpoint, opts *connection.SyncOptions, step func(*connection.Change) bool) error {
	var last error
	for c, err := range s.Sync(ctx, since, opts) {
		x.noteError("sync", err)
		switch {
		case last != nil:
			x.stop("sync: after the error %v, which concerns no message, the loop went on", last)
		case (c == nil) == (err == nil):
			x.stop("sync: yielded change %v with error %v; want exactly one of them", c, err)
		case err != nil && aboutOne(err):
			x.stop("sync: %v", err)
		case err != nil:
			last = err
		case !step(c):
			return nil
		}
	}
	return last
}

// syncInto brings m up to date from its checkpoint, on a connection of its own.
func (x *exam) syncInto(m *mirror, opts *connection.SyncOptions) {
	m.added, m.changes = 0, 0
	x.within(3*x.h.patience(), "Sync", func() {
		err := x.syncLoop(x.ctx, x.syncer(), m.checkpoint, opts, func(c *connection.Change) bool {
			x.apply(m, c)
			return true
		})
		x.ok("sync", err)
	})
}

func checkSyncBytes(x *exam) {
	give, want := x.carried()
	for _, raw := range give {
		x.h.Fill(x.t, raw)
	}
	before := x.h.Left(x.t)
	m := newMirror()
	x.syncInto(m, nil)
	if diff := difference(m.raws(), want); diff != "" {
		x.fail("%s", diff)
	}
	if m.checkpoint == "" {
		x.fail("a Sync that went to its end gave no Checkpoint")
	}
	x.leftIs("after Sync", before)
}

func checkSyncResumes(x *exam) {
	want := x.fill(0, 5)
	m := newMirror()
	x.syncInto(m, nil)
	x.syncInto(m, nil)
	if m.added > 0 {
		x.fail("a Sync with nothing new adds %d messages", m.added)
	}
	for round := range 3 {
		want = append(want, x.fill(10+2*round, 2)...)
		if d, ok := x.open().(connection.Deleter); ok {
			for ref, raw := range m.messages {
				x.delete(d, ref)
				want = without(want, raw)
				break
			}
		}
		x.leftIs("after two messages came and one was deleted", want)
		x.syncInto(m, nil)
		if m.added != 2 {
			x.fail("two messages came since the Checkpoint, and Sync adds %d", m.added)
		}
		if diff := difference(m.raws(), want); diff != "" {
			x.fail("after two messages came and one was deleted, a mirror that follows Sync differs from the source: %s", diff)
		}
	}
}

// checkSyncCheckpoint is a host that crashes after each change in turn, having saved what it may.
func checkSyncCheckpoint(x *exam) {
	want := x.fill(0, 6)
	total := newMirror()
	x.syncInto(total, nil)
	for crashAfter := 1; crashAfter <= total.changes; crashAfter++ {
		m := newMirror()
		x.within(x.h.patience(), "Sync", func() {
			n := 0
			err := x.syncLoop(x.ctx, x.syncer(), "", nil, func(c *connection.Change) bool {
				x.apply(m, c)
				n++
				return n < crashAfter
			})
			x.ok("sync", err)
		})
		before := m.checkpoint
		x.syncInto(m, nil)
		if diff := difference(m.raws(), want); diff != "" {
			x.fail("a host that stored the first %d changes, saved the Checkpoint %q and started again misses mail: %s", crashAfter, before, diff)
			return
		}
	}
	// A crash between yield and store: the change was seen, but neither it nor its Checkpoint was kept.
	m := newMirror()
	for range total.changes {
		x.within(x.h.patience(), "Sync", func() {
			stored := 0
			err := x.syncLoop(x.ctx, x.syncer(), m.checkpoint, nil, func(c *connection.Change) bool {
				if stored == 1 {
					return false
				}
				stored++
				x.apply(m, c)
				return true
			})
			x.ok("sync", err)
		})
	}
	x.syncInto(m, nil)
	if diff := difference(m.raws(), want); diff != "" {
		x.fail("a host that crashed before it stored what it was given misses mail: %s", diff)
	}
}

// bogus are checkpoints that no driver can have given.
var bogus = []connection.Checkpoint{"no checkpoint of anybody", "\x00", "{}", "999999999999999999999999", "é/../..", "1:2:3:4:5:6:7:8:9"}

func checkSyncStale(x *exam) {
	x.fill(0, 2)
	for _, cp := range bogus {
		x.within(x.h.patience(), "Sync from a checkpoint that means nothing", func() {
			err := x.syncLoop(x.ctx, x.syncer(), cp, nil, func(c *connection.Change) bool {
				x.fail("Sync from %q yields %s of %v before its error", cp, c.Op, c.Ref)
				return true
			})
			x.wantKind("sync", err, connection.ErrStale)
		})
	}
}

func checkSyncKnown(x *exam) {
	x.fill(0, 4)
	m := newMirror()
	x.syncInto(m, nil)
	want := append(m.raws(), x.fill(10, 2)...)
	asked := 0
	known := func(_ context.Context, refs []connection.Ref) ([]bool, error) {
		asked += len(refs)
		has := make([]bool, len(refs))
		for i, ref := range refs {
			_, has[i] = m.messages[ref]
		}
		return has, nil
	}
	m.checkpoint = bogus[0]
	x.syncInto(m, &connection.SyncOptions{Known: known})
	if diff := difference(m.raws(), want); diff != "" {
		x.fail("a mirror that lost its place differs from the source: %s", diff)
	}
	if m.added != 2 {
		x.fail("the host has all but 2 messages, and Sync adds %d (Known was asked about %d)", m.added, asked)
	}
	if m.checkpoint == bogus[0] {
		x.fail("after it found its place again Sync gave no Checkpoint")
	}
	x.syncInto(m, nil)
	if m.added != 0 {
		x.fail("Sync from the new Checkpoint adds %d messages, want none", m.added)
	}
}

func checkSyncBodyEnds(x *exam) {
	want := x.fillRaw(append(letters(0, 3), x.large(1, 300<<10), letter(3), x.large(2, 300<<10), letter(4))...)
	whole := newMirror()
	x.syncInto(whole, nil)
	var old io.Reader
	var oldRef connection.Ref
	n := 0
	got := newMirror()
	x.within(x.h.patience(), "Sync with bodies that are not read", func() {
		err := x.syncLoop(x.ctx, x.syncer(), "", nil, func(c *connection.Change) bool {
			if old != nil {
				buf := make([]byte, 512)
				k, err := old.Read(buf)
				switch {
				case k > 0 && !bytes.Contains(whole.messages[oldRef], buf[:k]):
					x.fail("the body of %v, read after its loop step, gives octets of something else: %q", oldRef, buf[:min(k, 60)])
				case k == 0 && errors.Is(err, io.EOF):
					x.fail("the body of %v, not read before its loop step ended, then ends in io.EOF, as if it were whole", oldRef)
				}
				old = nil
			}
			if c.Op != connection.Added {
				return true
			}
			if n++; n%2 == 0 {
				x.apply(got, c)
			} else {
				old, oldRef = c.Message.Body, c.Ref
			}
			return true
		})
		x.ok("sync", err)
	})
	if n != len(want) {
		x.fail("a Sync whose bodies are not read adds %d messages, want %d", n, len(want))
	}
	for ref, raw := range got.messages {
		if !holds(want, raw) {
			x.fail("message %v, behind one that was not read: %s", ref, difference([][]byte{raw}, want))
		}
	}
}
