package gmail_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

const ann = "ann@corp.example"

// A syncRig is a domain with one user, and a connection to it, in a bubble of testing/synctest: waiting takes no time.
type syncRig struct {
	*gmailtest.Server
	cfg  gmail.Config
	env  *connection.Env
	conn *gmail.Conn
	id   string // ann's

	mu     sync.Mutex
	events []connection.Event
}

// inBubble runs test against a server with ann's mailbox. set, if not nil, changes the settings.
func inBubble(t *testing.T, opts *gmailtest.Options, set func(*gmail.Config), test func(t *testing.T, r *syncRig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := gmailtest.Options{}
		if opts != nil {
			o = *opts
		}
		o.Memory = true
		r := &syncRig{Server: gmailtest.NewServer(t, &o)}
		r.id = r.AddUser(gmailtest.User{Email: ann})
		r.cfg, r.env = r.Config(), r.Env()
		if set != nil {
			set(&r.cfg)
		}
		r.env.Observe = func(ev connection.Event) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.events = append(r.events, ev)
		}
		r.conn = r.open(t)
		test(t, r)
	})
}

// open opens one more connection.
func (r *syncRig) open(t testing.TB) *gmail.Conn {
	t.Helper()
	c, err := gmail.Open(r.cfg, r.env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // a test that cares closes by itself
	return c
}

// told returns the events of a kind.
func (r *syncRig) told(kind connection.EventKind) []connection.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.events), func(ev connection.Event) bool { return ev.Kind != kind })
}

// reads returns how often messages were asked for, in any format, and how often with their octets.
func (r *syncRig) reads() (all, raw int) {
	for _, q := range r.Requests() {
		if q.Method == "messages.get" {
			all++
			if strings.Contains(q.Query, "format=raw") {
				raw++
			}
		}
	}
	return all, raw
}

// mail returns small messages, each another.
func mail(n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = fmt.Appendf(nil, "From: bob@corp.example\r\nSubject: number %d\r\nMessage-ID: <%d@corp.example>\r\n\r\n%s\r\n", i, i, strings.Repeat("x", i%9))
	}
	return all
}

// A copied is what a host keeps of a message.
type copied struct {
	raw    string
	labels []string // sorted
	flags  []connection.Flag
}

// A hostCopy is a host that follows one mailbox. It is the simplest sink that the doc comment of Sync permits.
type hostCopy struct {
	messages   map[connection.Ref]copied
	folders    map[string]string // paths by label id
	checkpoint connection.Checkpoint
	lends      bool // Known and Refs

	ops    []string // of the last sync: "added 5", "folder renamed x"
	failed []error  // those with a Ref, of the last sync
}

func newHostCopy() *hostCopy {
	return &hostCopy{messages: map[connection.Ref]copied{}, folders: map[string]string{}}
}

func (h *hostCopy) options(mailbox string) *connection.SyncOptions {
	o := &connection.SyncOptions{Mailbox: mailbox}
	if h.lends {
		o.Known = func(_ context.Context, refs []connection.Ref) ([]bool, error) {
			has := make([]bool, len(refs))
			for i, ref := range refs {
				_, has[i] = h.messages[ref]
			}
			return has, nil
		}
		o.Refs = func(context.Context) iter.Seq2[connection.Ref, error] {
			return func(yield func(connection.Ref, error) bool) {
				for ref := range h.messages {
					if !yield(ref, nil) {
						return
					}
				}
			}
		}
	}
	return o
}

// sync follows the mailbox to the end of its history. The error is the last one, without a Ref.
func (h *hostCopy) sync(t testing.TB, c *gmail.Conn, mailbox string) error {
	t.Helper()
	return h.until(t, c, h.options(mailbox), func(*connection.Change) bool { return true })
}

// mustSync is sync that must go through.
func (h *hostCopy) mustSync(t testing.TB, r *syncRig) {
	t.Helper()
	if err := h.sync(t, r.conn, ann); err != nil {
		t.Fatal(err)
	}
	if len(h.failed) > 0 {
		t.Fatal(errors.Join(h.failed...))
	}
}

// until is sync that leaves the loop when keep says so, before it stores that change.
func (h *hostCopy) until(t testing.TB, c *gmail.Conn, opts *connection.SyncOptions, keep func(*connection.Change) bool) error {
	t.Helper()
	h.ops, h.failed = nil, nil
	for change, err := range c.Sync(t.Context(), h.checkpoint, opts) {
		var e *connection.Error
		switch {
		case errors.As(err, &e) && !e.Ref.IsZero():
			h.failed = append(h.failed, err)
		case err != nil:
			return err
		case !keep(change):
			return nil
		default:
			h.apply(t, change)
		}
	}
	return nil
}

func (h *hostCopy) apply(t testing.TB, c *connection.Change) {
	t.Helper()
	raw := ""
	if c.Op == connection.Added {
		octets, err := io.ReadAll(c.Message.Body)
		if err != nil {
			t.Errorf("the body of %v: %v", c.Ref, err)
			return
		}
		raw = string(octets)
	}
	if err := h.store(c, raw); err != nil {
		t.Error(err)
	}
	if c.Checkpoint != "" {
		h.checkpoint = c.Checkpoint
	}
}

// store keeps a change, of Added with the octets of the message. An error says what is wrong with the change.
func (h *hostCopy) store(c *connection.Change, raw string) error {
	switch c.Op {
	case connection.Added:
		if c.Message.Size != int64(len(raw)) || c.Message.Folder != c.Message.Labels[0] || c.Message.Ref != c.Ref || c.Ref.Folder != "" {
			return fmt.Errorf("added %+v with %d octets", c.Message, len(raw))
		}
		h.messages[c.Ref] = copied{raw, slices.Sorted(slices.Values(c.Message.Labels)), c.Message.Flags}
		h.ops = append(h.ops, "added "+subject(raw))
	case connection.Updated:
		if c.Message.Body != nil {
			return fmt.Errorf("an Updated of %v with a body", c.Ref)
		}
		if m, ok := h.messages[c.Ref]; ok {
			m.labels, m.flags = slices.Sorted(slices.Values(c.Message.Labels)), c.Message.Flags
			h.messages[c.Ref] = m
		}
		h.ops = append(h.ops, "updated "+subject(h.messages[c.Ref].raw))
	case connection.Removed:
		h.ops = append(h.ops, "removed "+subject(h.messages[c.Ref].raw))
		delete(h.messages, c.Ref)
	case connection.FolderAdded:
		h.folders[c.Folder.ID] = c.Folder.Name
		h.ops = append(h.ops, "folder added "+c.Folder.Name)
	case connection.FolderRemoved:
		delete(h.folders, c.Folder.ID)
		h.relabel(c.Folder.Name, "")
		h.ops = append(h.ops, "folder removed "+c.Folder.Name)
	case connection.FolderRenamed:
		if was := h.folders[c.Folder.ID]; was != c.Folder.Previous && was != c.Folder.Name {
			return fmt.Errorf("folder %q renamed from %q, which was %q", c.Folder.Name, c.Folder.Previous, was)
		}
		h.folders[c.Folder.ID] = c.Folder.Name
		h.relabel(c.Folder.Previous, c.Folder.Name)
		h.ops = append(h.ops, "folder renamed "+c.Folder.Name)
	}
	return nil
}

// relabel puts another path in the place of one, or none.
func (h *hostCopy) relabel(old, now string) {
	for ref, m := range h.messages {
		if i := slices.Index(m.labels, old); i >= 0 {
			m.labels = slices.Delete(slices.Clone(m.labels), i, i+1)
			if now != "" {
				m.labels = append(m.labels, now)
			}
			if len(m.labels) == 0 {
				m.labels = []string{"Archive"}
			}
			slices.Sort(m.labels)
			h.messages[ref] = m
		}
	}
}

// subject returns the number in a message's subject, "?" of a message that is not there.
func subject(raw string) string {
	_, rest, ok := strings.Cut(raw, "Subject: number ")
	if !ok {
		return "?"
	}
	number, _, _ := strings.Cut(rest, "\r\n")
	return number
}

// wantOps compares what the last sync told, but for the folders of a first one.
func (h *hostCopy) wantOps(t testing.TB, want ...string) {
	t.Helper()
	got := slices.DeleteFunc(slices.Clone(h.ops), func(op string) bool { return strings.HasPrefix(op, "folder added") })
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("sync told %q, want %q", got, want)
	}
}

// wantAll compares the copy with the mailbox: those of its messages that are neither drafts, chats, spam nor trash.
func (h *hostCopy) wantAll(t testing.TB, r *syncRig) {
	t.Helper()
	want := map[string]string{}
	names := r.Labels(ann)
	for _, m := range r.Messages(ann) {
		if slices.ContainsFunc(m.Labels, func(id string) bool { return slices.Contains([]string{"SPAM", "TRASH", "DRAFT", "CHAT"}, id) }) {
			continue
		}
		want[m.ID] = fmt.Sprintf("%q %q", m.Raw, paths(m.Labels, names))
	}
	got := map[string]string{}
	for ref, m := range h.messages {
		if !slices.Contains(m.labels, "TRASH") && !slices.Contains(m.labels, "SPAM") {
			got[ref.ID] = fmt.Sprintf("%q %q", m.raw, m.labels)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("the copy is\n%v\nand the mailbox\n%v", got, want)
	}
}

// paths returns the paths of labels whose names need no encoding, sorted.
func paths(ids []string, names map[string]string) []string {
	var all []string
	for _, id := range ids {
		switch {
		case id == "UNREAD" || id == "STARRED" || id == "IMPORTANT" || strings.HasPrefix(id, "CATEGORY_"):
		default:
			all = append(all, names[id])
		}
	}
	if len(all) == 0 {
		return []string{"Archive"}
	}
	slices.Sort(all)
	return all
}

func TestSyncFollowsAMailbox(t *testing.T) {
	for name, labels := range map[string]bool{"history without labels": false, "history with labels": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, &gmailtest.Options{Mail: gmailtest.MailOptions{HistoryLabels: labels}}, nil, func(t *testing.T, r *syncRig) {
				work := r.AddLabel(ann, "Work")
				ids := r.Deliver(ann, mail(5)...)
				h := newHostCopy()
				h.mustSync(t, r)
				h.wantAll(t, r)
				if len(h.ops) < 10 || h.folders[work] != "Work" {
					t.Errorf("the first sync told %q", h.ops)
				}
				r.SetLabels(ann, ids[1], []string{work}, []string{"INBOX", "UNREAD"})
				r.SetLabels(ann, ids[2], []string{"TRASH"}, []string{"INBOX"})
				r.Remove(ann, ids[3])
				r.Deliver(ann, mail(6)[5])
				r.ResetLog()
				h.mustSync(t, r)
				h.wantOps(t, "updated 1", "updated 2", "removed 3", "added 5")
				h.wantAll(t, r)
				all, raw := r.reads()
				if raw != 1 {
					t.Errorf("%d messages were downloaded, want 1", raw)
				}
				if want := 1; labels && all != want {
					t.Errorf("%d messages were asked for, want %d", all, want)
				}
				r.ResetLog()
				h.mustSync(t, r)
				h.wantOps(t)
				if units := r.Units(ann); units > 2 {
					t.Errorf("a sync with nothing new took %d units, want 2: getProfile and labels.list", units)
				}
			})
		})
	}
}

func TestSyncTakesManyPages(t *testing.T) {
	inBubble(t, nil, func(c *gmail.Config) { c.PageSize = 7 }, func(t *testing.T, r *syncRig) {
		r.Deliver(ann, mail(40)...)
		h := newHostCopy()
		h.mustSync(t, r)
		h.wantAll(t, r)
		for i, id := range r.Deliver(ann, mail(30)...) {
			if i%3 == 0 {
				r.SetLabels(ann, id, []string{"STARRED"}, nil)
			}
		}
		h.mustSync(t, r)
		h.wantAll(t, r)
	})
}

func TestSyncRefusesACheckpointOfAnotherMailbox(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		r.AddUser(gmailtest.User{Email: "bob@corp.example"})
		h := newHostCopy()
		h.mustSync(t, r)
		if err := h.sync(t, r.conn, "bob@corp.example"); !errors.Is(err, connection.ErrConfig) {
			t.Errorf("got %v, want %v", err, connection.ErrConfig)
		}
	})
}

// Settings that mean other messages are a lost place: what they add must come, and not only from now on.
func TestSyncAfterOtherSettings(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		ids := r.Deliver(ann, mail(3)...)
		r.SetLabels(ann, ids[0], []string{"SPAM"}, []string{"INBOX"})
		h := newHostCopy()
		h.mustSync(t, r)
		h.wantOps(t, "added 1", "added 2")
		r.cfg.IncludeSpamTrash = true
		r.conn = r.open(t)
		if err := h.sync(t, r.conn, ann); !errors.Is(err, connection.ErrStale) || len(h.ops) > 0 {
			t.Errorf("got %v after %q, want %v at once", err, h.ops, connection.ErrStale)
		}
		h.lends = true
		h.mustSync(t, r)
		h.wantOps(t, "added 0", "updated 1", "updated 2")
	})
}

func TestSyncOfFolders(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		work, home := r.AddLabel(ann, "Work"), r.AddLabel(ann, "Home")
		ids := r.Deliver(ann, mail(4)...)
		r.SetLabels(ann, ids[0], []string{work, home}, nil)
		r.SetLabels(ann, ids[1], []string{home}, nil)
		r.SetLabels(ann, ids[2], []string{work}, nil)
		h := newHostCopy()
		sync := func(want ...string) {
			t.Helper()
			opts := &connection.SyncOptions{Mailbox: ann, Folders: []string{"Work", "Nowhere"}}
			if err := h.until(t, r.conn, opts, func(*connection.Change) bool { return true }); err != nil {
				t.Fatal(err)
			}
			h.wantOps(t, want...)
			var e *connection.Error
			if len(h.failed) != 1 || !errors.As(h.failed[0], &e) || e.Ref.Folder != "Nowhere" || e.Kind != connection.ErrNotFound {
				t.Errorf("got errors %v, want one of the folder that is not there", h.failed)
			}
		}
		sync("added 0", "added 2")
		r.SetLabels(ann, ids[0], nil, []string{work})
		r.SetLabels(ann, ids[1], []string{work}, nil)
		r.SetLabels(ann, ids[2], []string{"STARRED"}, nil)
		r.SetLabels(ann, ids[3], []string{"STARRED"}, nil)
		sync("removed 0", "added 1", "updated 2")
	})
}

func TestSyncUntilCanceled(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		r.Deliver(ann, mail(3)...)
		r.Fail(gmailtest.On("messages.get"), gmailtest.StallAfter(10))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, cancel)
		began := time.Now()
		var last error
		for _, err := range r.conn.Sync(ctx, "", &connection.SyncOptions{Mailbox: ann}) {
			last = err
		}
		if !errors.Is(last, context.Canceled) || time.Since(began) != 5*time.Second {
			t.Errorf("got %v after %v, want %v after 5s", last, time.Since(began), context.Canceled)
		}
	})
}
