package connectiontest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A Mailbox is a connection to a mailbox that lives in memory: a double for the tests of programs that fetch, delete,
// sync and append. It keeps the promises of package connection, obeys every option, and is safe for concurrent use.
// Make one with [NewMailbox].
type Mailbox struct {
	double
	state *mailboxState
}

// mailboxState is what all connections to one mailbox share.
type mailboxState struct {
	fault faultFunc

	mu       sync.Mutex
	folders  []string
	messages []*stored // by ascending id
	history  []event
	life     int // checkpoints of an earlier life are stale
	lastID   int64
	changed  chan struct{} // closed and replaced at each change
}

// stored is one message. raw and ref never change.
type stored struct {
	id       int64
	ref      connection.Ref
	raw      []byte
	received time.Time
	flags    []connection.Flag
}

// event is one step of the history; its place there is its number.
type event struct {
	op     connection.ChangeOp
	ref    connection.Ref
	folder string
}

var (
	_ connection.Source        = (*Mailbox)(nil)
	_ connection.MailboxSyncer = (*Mailbox)(nil)
	_ connection.Appender      = (*Mailbox)(nil)
	_ connection.Opener        = (*Mailbox)(nil)
	_ connection.Marker        = (*Mailbox)(nil)
	_ connection.FolderLister  = (*Mailbox)(nil)
)

const inbox = "INBOX"

// NewMailbox returns a mailbox whose folder INBOX holds the messages given.
func NewMailbox(raw ...[]byte) *Mailbox {
	s := &mailboxState{folders: []string{inbox}, changed: make(chan struct{})}
	s.history = []event{{op: connection.FolderAdded, folder: inbox}}
	m := &Mailbox{double: newDouble("mailbox", &s.fault), state: s}
	m.Deliver(raw...)
	return m
}

// Reopen returns a new connection to the same mailbox, as a program gets that starts again.
func (m *Mailbox) Reopen() *Mailbox {
	return &Mailbox{double: newDouble("mailbox", &m.state.fault), state: m.state}
}

// Deliver puts messages into INBOX and returns their Refs. The octets are copied.
func (m *Mailbox) Deliver(raw ...[]byte) []connection.Ref {
	m.state.mu.Lock()
	defer m.state.mu.Unlock()
	refs := make([]connection.Ref, len(raw))
	for i, octets := range raw {
		refs[i] = m.state.add(inbox, bytes.Clone(octets), nil, time.Now())
	}
	return refs
}

// Messages returns the octets of the messages of all folders, oldest first.
func (m *Mailbox) Messages() [][]byte {
	m.state.mu.Lock()
	defer m.state.mu.Unlock()
	all := make([][]byte, len(m.state.messages))
	for i, s := range m.state.messages {
		all[i] = bytes.Clone(s.raw)
	}
	return all
}

// Flags returns the flags of the message of ref, nil if it has none or is gone.
func (m *Mailbox) Flags(ref connection.Ref) []connection.Flag {
	m.state.mu.Lock()
	defer m.state.mu.Unlock()
	if s := m.state.find(ref); s != nil {
		return slices.Clone(s.flags)
	}
	return nil
}

// ForgetHistory makes every Checkpoint given so far stale.
func (m *Mailbox) ForgetHistory() {
	m.state.mu.Lock()
	defer m.state.mu.Unlock()
	m.state.life++
}

// Inject makes verbs fail: f is asked with the verb ("fetch", "delete", "open", "mark", "sync", "append", "folders",
// "mailboxes", "test") and the message concerned, and the error it returns becomes the verb's for that message. Fetch and
// Sync ask with the zero Ref before anything else, and so do the verbs that concern no message; that error is the last. An error without a *connection.Error in its chain is wrapped in one. f may
// block, and is called by several goroutines at once. It holds for all connections to this mailbox; nil ends it.
func (m *Mailbox) Inject(f func(op string, ref connection.Ref) error) {
	m.state.fault.mu.Lock()
	defer m.state.fault.mu.Unlock()
	m.state.fault.f = nil
	if f != nil {
		m.state.fault.f = func(op, id string) error {
			ref, _ := m.state.refOf(id)
			return f(op, ref)
		}
	}
}

// refOf returns the Ref that was given the id, also when the message is gone.
func (s *mailboxState) refOf(id string) (connection.Ref, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.history {
		if e.ref.ID == id && id != "" {
			return e.ref, true
		}
	}
	return connection.Ref{ID: id}, false
}

// add, find and tell need the lock.

func (s *mailboxState) add(folder string, raw []byte, flags []connection.Flag, received time.Time) connection.Ref {
	if !slices.Contains(s.folders, folder) {
		s.folders = append(s.folders, folder)
		s.tell(event{op: connection.FolderAdded, folder: folder})
	}
	s.lastID++
	ref := connection.Ref{Folder: folder, ID: strconv.FormatInt(s.lastID, 10)}
	s.messages = append(s.messages, &stored{id: s.lastID, ref: ref, raw: raw, received: received, flags: slices.Clone(flags)})
	s.tell(event{op: connection.Added, ref: ref})
	return ref
}

func (s *mailboxState) find(ref connection.Ref) *stored {
	for _, m := range s.messages {
		if m.ref == ref {
			return m
		}
	}
	return nil
}

func (s *mailboxState) tell(e event) {
	s.history = append(s.history, e)
	close(s.changed)
	s.changed = make(chan struct{})
}

// Test implements connection.Connection.
func (m *Mailbox) Test(ctx context.Context, opts *connection.TestOptions) (*connection.Report, error) {
	return m.test(ctx, opts, "open", fmt.Sprintf("%d messages", len(m.Messages())))
}

// Fetch implements connection.Fetcher.
func (m *Mailbox) Fetch(ctx context.Context, opts *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
	var o connection.FetchOptions
	if opts != nil {
		o = *opts
	}
	return func(yield func(*connection.Message, error) bool) {
		if err := m.planned("fetch", ""); err != nil {
			yield(nil, m.failed("fetch", connection.Ref{}, "", err))
			return
		}
		var last int64
		for n := 0; o.Limit == 0 || n < o.Limit; {
			if err := m.begin(ctx, "fetch"); err != nil {
				yield(nil, err)
				return
			}
			next, changed := m.state.after(last, &o)
			if next == nil {
				if !o.Follow {
					return
				}
				select {
				case <-changed:
				case <-ctx.Done():
				case <-m.closed:
				}
				continue
			}
			last = next.id
			if o.Skip != nil && o.Skip(next.ref) {
				continue
			}
			n++
			if !m.yieldMessage(ctx, "fetch", next, yield) {
				return
			}
		}
	}
}

// after returns the first message behind id that the options want, and what to wait for if there is none.
func (s *mailboxState) after(id int64, o *connection.FetchOptions) (*stored, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.Mailbox != "" {
		return nil, s.changed
	}
	for _, m := range s.messages {
		switch {
		case m.id <= id:
		case len(o.Folders) > 0 && !slices.Contains(o.Folders, m.ref.Folder):
		case o.Unseen && slices.Contains(m.flags, connection.FlagSeen):
		case m.received.Before(o.Since):
		default:
			return m, nil
		}
	}
	return nil, s.changed
}

// yieldMessage yields s, or the error that the test wants for it, and ends the life of the body behind the step.
func (m *Mailbox) yieldMessage(ctx context.Context, op string, s *stored, yield func(*connection.Message, error) bool) bool {
	if err := m.planned(op, s.ref.ID); err != nil {
		var e *connection.Error
		if !errors.As(err, &e) {
			err = m.error(op, s.ref, "", connection.KindOf(err), err)
		}
		more := yield(nil, err)
		return more && errors.As(err, &e) && !e.Ref.IsZero()
	}
	msg, b := m.message(ctx, op, s)
	defer b.stale.Store(true)
	return yield(msg, nil)
}

func (m *Mailbox) message(ctx context.Context, op string, s *stored) (*connection.Message, *body) {
	m.state.mu.Lock()
	flags := slices.Clone(s.flags)
	m.state.mu.Unlock()
	b := &body{double: &m.double, ctx: ctx, op: op, ref: s.ref, r: bytes.NewReader(s.raw)}
	return &connection.Message{Ref: s.ref, Folder: s.ref.Folder, Size: int64(len(s.raw)), Received: s.received, Flags: flags, Body: b}, b
}

// Open implements connection.Opener.
func (m *Mailbox) Open(ctx context.Context, ref connection.Ref) (*connection.Message, error) {
	if err := m.begin(ctx, "open"); err != nil {
		return nil, err
	}
	if err := m.planned("open", ref.ID); err != nil {
		return nil, m.failed("open", ref, "", err)
	}
	m.state.mu.Lock()
	s := m.state.find(ref)
	m.state.mu.Unlock()
	if s == nil {
		return nil, m.error("open", ref, "", connection.ErrNotFound, nil)
	}
	msg, _ := m.message(ctx, "open", s)
	return msg, nil
}

// Folders implements connection.FolderLister.
func (m *Mailbox) Folders(ctx context.Context, mailbox string) iter.Seq2[*connection.Folder, error] {
	return func(yield func(*connection.Folder, error) bool) {
		m.state.mu.Lock()
		folders := slices.Clone(m.state.folders)
		counts := map[string]int64{}
		for _, s := range m.state.messages {
			counts[s.ref.Folder]++
		}
		m.state.mu.Unlock()
		for _, name := range folders {
			err := m.begin(ctx, "folders")
			if err == nil {
				err = m.planned("folders", "")
			}
			if err == nil && mailbox != "" {
				err = m.error("folders", connection.Ref{Mailbox: mailbox}, "", connection.ErrNotFound, nil)
			}
			if err != nil {
				yield(nil, m.failed("folders", connection.Ref{}, "", err))
				return
			}
			if !yield(&connection.Folder{Name: name, Messages: counts[name]}, nil) {
				return
			}
		}
	}
}

// Mailboxes implements connection.MailboxLister: there is one, named "".
func (m *Mailbox) Mailboxes(ctx context.Context, opts *connection.MailboxOptions) iter.Seq2[*connection.Mailbox, error] {
	return func(yield func(*connection.Mailbox, error) bool) {
		err := m.begin(ctx, "mailboxes")
		if err == nil {
			err = m.planned("mailboxes", "")
		}
		if err == nil && opts != nil && opts.Match != "" {
			var ok bool
			if ok, err = path.Match(opts.Match, ""); err != nil {
				err = m.error("mailboxes", connection.Ref{}, "", connection.ErrInvalid, err)
			} else if !ok {
				return
			}
		}
		if err != nil {
			yield(nil, m.failed("mailboxes", connection.Ref{}, "", err))
			return
		}
		yield(&connection.Mailbox{Display: "in memory"}, nil)
	}
}
