package gmailtest

import (
	"bytes"
	"io"
	"slices"
	"time"
)

// Content is the octets of a message. They must not change.
type Content interface {
	io.ReaderAt
	Size() int64
}

// A message is one message of a mailbox. Guarded by the mailbox's lock; content does not change.
type message struct {
	id       string
	thread   string
	labels   []string // ids, in no order
	content  Content
	internal time.Time
	history  uint64 // of the record that changed it last
	arrival  uint64
	trouble  Trouble
}

func (m *message) has(label string) bool { return slices.Contains(m.labels, label) }

func (m *message) entry() entry { return entry{m.id, m.thread} }

// reader reads the message from its first octet on.
func (m *message) reader() *io.SectionReader {
	return io.NewSectionReader(m.content, 0, m.content.Size())
}

// maxHeader bounds what is read of a message to find its header fields.
const maxHeader = 256 << 10

// header returns the header block of the message with the empty line, or what maxHeader leaves of it.
func (m *message) header() []byte {
	b, err := io.ReadAll(io.LimitReader(m.reader(), maxHeader))
	if err != nil {
		return nil // a Content that cannot be read has no header
	}
	end := len(b)
	for _, empty := range []string{"\r\n\r\n", "\n\n"} {
		if at := bytes.Index(b, []byte(empty)); at >= 0 {
			end = min(end, at+len(empty))
		}
	}
	return b[:end]
}

// A Message is one message as a Server holds it.
type Message struct {
	ID        string
	ThreadID  string
	Labels    []string // ids, sorted
	Raw       []byte   // nil if it was delivered as Content
	Content   Content
	Internal  time.Time
	HistoryID uint64
}

// Delivery says how a message comes into a mailbox. The zero value is new mail: in the inbox, unread, now.
type Delivery struct {
	// Labels are label ids; nil is INBOX and UNREAD. Ids that the mailbox does not know are kept as they are.
	Labels []string
	// Internal is internalDate; the zero time is now.
	Internal time.Time
	// Thread is the thread's id; "" makes one.
	Thread string
	// ID is the message's id, as other servers have others than Google. If it is "" or taken, one of 16 hexadecimal digits is made.
	ID string
	// Content stands in place of the raw octets: they are made while they are read, so a test may have huge messages.
	Content Content
	Trouble Trouble
}

// Trouble is what is wrong with one message.
type Trouble struct {
	// NoRaw leaves raw out of messages.get this many times; -1 always. Chats and client-side encrypted mail have none.
	NoRaw int
	// Unlisted hides the message from searches with q, as an index that lags does. It is listed without q.
	Unlisted bool
	// Stuck fails whatever would delete or trash the message with 400 failedPrecondition.
	Stuck bool
	// Spoiled puts octets into raw that no base64 has.
	Spoiled bool
}

type octets struct{ *bytes.Reader }

func asContent(raw []byte) Content { return octets{bytes.NewReader(raw)} }

// Deliver puts new mail into a mailbox, told by id, address or alias, and returns the messages' ids. If monitors watch the
// mailbox, their copies are delivered too.
func (s *Server) Deliver(mailbox string, raw ...[]byte) []string {
	ids := make([]string, 0, len(raw))
	for _, r := range raw {
		ids = append(ids, s.DeliverWith(mailbox, r, Delivery{}))
	}
	return ids
}

// DeliverWith puts one message into a mailbox, told by id, address or alias, and returns its id.
func (s *Server) DeliverWith(mailbox string, raw []byte, d Delivery) string {
	m := &message{
		id: d.ID, thread: d.Thread, labels: slices.Clone(d.Labels), content: d.Content, internal: d.Internal, trouble: d.Trouble,
	}
	if m.content == nil {
		m.content = asContent(bytes.Clone(raw))
	}
	if d.Labels == nil {
		m.labels = []string{labelInbox, labelUnread}
	}
	if m.internal.IsZero() {
		m.internal = s.now()
	}
	m.internal = instant(m.internal)
	mb := s.mustBox(mailbox)
	added := mb.add(m)
	s.copyToMonitors(mb.user, incoming, &added)
	return added.id
}

// Messages returns the messages of a mailbox, the oldest first, with those in spam and trash.
func (s *Server) Messages(mailbox string) []Message {
	mb := s.mustBox(mailbox)
	mb.mu.Lock()
	defer mb.mu.Unlock()
	return public(mb.list)
}

// Vaulted returns the messages that were uploaded with deleted=true, which the mailbox does not show.
func (s *Server) Vaulted(mailbox string) []Message {
	mb := s.mustBox(mailbox)
	mb.mu.Lock()
	defer mb.mu.Unlock()
	return public(mb.vault)
}

func public(list []*message) []Message {
	out := make([]Message, 0, len(list))
	for _, m := range list {
		p := Message{
			ID: m.id, ThreadID: m.thread, Labels: slices.Sorted(slices.Values(m.labels)), Content: m.content, Internal: m.internal,
			HistoryID: m.history,
		}
		if o, ok := m.content.(octets); ok {
			p.Raw = make([]byte, o.Size())
			_, _ = o.ReadAt(p.Raw, 0) // it holds that many
		}
		out = append(out, p)
	}
	return out
}

// SetLabels adds and removes labels of a message, as a user does in another program. History tells of what changed.
func (s *Server) SetLabels(mailbox, id string, add, remove []string) {
	s.mustBox(mailbox).modify([]string{id}, add, remove)
}

// Remove deletes a message for ever, as a user does in another program.
func (s *Server) Remove(mailbox string, id ...string) { s.mustBox(mailbox).remove(id...) }

// Trouble sets what is wrong with a message from now on.
func (s *Server) Trouble(mailbox, id string, t Trouble) {
	mb := s.mustBox(mailbox)
	mb.mu.Lock()
	defer mb.mu.Unlock()
	if m := mb.byID[id]; m != nil {
		m.trouble = t
	}
}

// mustBox is for the methods of tests: a mailbox that there is not is a mistake in the test.
func (s *Server) mustBox(mailbox string) *mailbox {
	a := s.lookup(mailbox)
	if a == nil || a.box == nil {
		panic("gmailtest: no mailbox " + mailbox)
	}
	return a.box
}
