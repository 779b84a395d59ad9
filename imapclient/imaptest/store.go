package imaptest

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A Message is one message of the server's store.
type Message struct {
	Raw      []byte            // the octets, as delivered
	Flags    []connection.Flag // without \Recent, which this server does not keep
	Received time.Time         // INTERNALDATE, to the second; zero when delivering: now
	UID      uint32            // zero when delivering: the next one
}

// stored is a message in a folder. Its raw octets and its flags slice are never changed in place, so that a session
// may send them without holding the store's lock.
type stored struct {
	uid      uint32
	raw      []byte
	flags    []string
	received time.Time
	modSeq   uint64 // of the last change of flags, and of the arrival
	expunged bool
}

func (m *stored) has(flag string) bool {
	return slices.ContainsFunc(m.flags, func(f string) bool { return strings.EqualFold(f, flag) })
}

// folder is a mailbox in the sense of RFC 3501.
type folder struct {
	name        string // as on the wire: modified UTF-7 or whatever Options.Folders says
	attrs       []string
	noSelect    bool
	readOnly    bool
	subscribed  bool
	uidValidity uint32
	uidNext     uint32
	noModSeq    bool   // to clients
	modSeq      uint64 // grows with every change
	lowered     uint64 // what is taken off before a client is told
	messages    []*stored
}

// store is one user's mailbox. The server's lock guards it.
type store struct {
	delimiter    string
	folders      map[string]*folder // by wire name; INBOX in upper case
	nextValidity uint32
}

func newStore(delimiter string) *store {
	st := &store{delimiter: delimiter, folders: make(map[string]*folder), nextValidity: 1}
	st.create("INBOX").subscribed = true
	return st
}

// canonical makes INBOX, which alone is case-insensitive, upper case (RFC 3501, 5.1).
func canonical(name string) string {
	if strings.EqualFold(name, "INBOX") {
		return "INBOX"
	}
	return name
}

func (st *store) get(name string) *folder { return st.folders[canonical(name)] }

// create adds an empty folder. A folder of that name must not exist.
func (st *store) create(name string) *folder {
	f := &folder{name: canonical(name), uidValidity: st.nextValidity, uidNext: 1, modSeq: 1}
	st.nextValidity++ // RFC 3501, 6.3.3: a folder that is made anew must not look like the old one
	st.folders[f.name] = f
	return f
}

func (st *store) sorted() []*folder {
	all := make([]*folder, 0, len(st.folders))
	for _, f := range st.folders {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *folder) int { return strings.Compare(a.name, b.name) })
	return all
}

// children reports whether a folder exists below name.
func (st *store) children(name string) bool {
	return st.hasBelow(name, func(*folder) bool { return true })
}

// hasBelow reports whether a folder that ok likes exists below name.
func (st *store) hasBelow(name string, ok func(*folder) bool) bool {
	if st.delimiter == "" {
		return false
	}
	for other, f := range st.folders {
		if strings.HasPrefix(other, name+st.delimiter) && ok(f) {
			return true
		}
	}
	return false
}

// add appends a message whose octets nobody changes any more.
func (f *folder) add(raw []byte, flags []string, received time.Time) *stored {
	f.modSeq++
	m := &stored{uid: f.uidNext, raw: raw, flags: flags, received: received, modSeq: f.modSeq}
	f.uidNext++
	f.messages = append(f.messages, m)
	return m
}

// deliver adds copies of messages, as a delivery agent does. Either all are added or none.
func (f *folder) deliver(messages []Message) error {
	next := uint64(f.uidNext)
	for i, m := range messages {
		if m.UID != 0 {
			if uint64(m.UID) < next {
				return fmt.Errorf("message %d: uid %d: the folder's next is %d", i, m.UID, next)
			}
			next = uint64(m.UID)
		}
		next++
	}
	if next > 1<<32-1 {
		return fmt.Errorf("no uid left: the next would be %d", next)
	}
	for _, m := range messages {
		if m.UID != 0 {
			f.uidNext = m.UID
		}
		received := m.Received
		if received.IsZero() {
			received = time.Now()
		}
		var flags []string
		for _, flag := range m.Flags {
			flags = withFlag(flags, string(flag))
		}
		f.add(bytes.Clone(m.Raw), flags, received.Truncate(time.Second))
	}
	return nil
}

// setFlags gives m new flags and reports whether that changed anything.
func (f *folder) setFlags(m *stored, flags []string) bool {
	if slices.Equal(m.flags, flags) {
		return false
	}
	f.modSeq++
	m.flags, m.modSeq = flags, f.modSeq
	return true
}

// expunge removes the messages for which gone is true and returns how many they were.
func (f *folder) expunge(gone func(*stored) bool) int {
	kept := make([]*stored, 0, len(f.messages))
	for _, m := range f.messages {
		if gone(m) {
			m.expunged = true
			continue
		}
		kept = append(kept, m)
	}
	n := len(f.messages) - len(kept)
	if n > 0 {
		f.messages = kept
		f.modSeq++
	}
	return n
}

// find returns the message with this UID, or nil.
func (f *folder) find(uid uint32) *stored {
	i := sort.Search(len(f.messages), func(i int) bool { return f.messages[i].uid >= uid })
	if i < len(f.messages) && f.messages[i].uid == uid {
		return f.messages[i]
	}
	return nil
}

// renumber puts a folder in the place of f that has another UIDVALIDITY and f's messages with UIDs from 1. What a
// session still does to f changes nothing in it.
func (st *store) renumber(f *folder) {
	fresh := &folder{name: f.name, attrs: f.attrs, noSelect: f.noSelect, readOnly: f.readOnly, noModSeq: f.noModSeq, subscribed: f.subscribed, uidValidity: st.nextValidity, uidNext: 1, modSeq: 1}
	st.nextValidity++
	for _, m := range f.messages {
		fresh.add(m.raw, m.flags, m.received)
	}
	st.folders[f.name] = fresh
}

// tellUIDNext is the next UID as a server with such quirks tells it.
func (f *folder) tellUIDNext(quirks Quirks) uint32 {
	if quirks.LowUIDNext {
		return max(1, f.uidNext-1)
	}
	return f.uidNext
}

func (f *folder) count(flag string, want bool) int {
	n := 0
	for _, m := range f.messages {
		if m.has(flag) == want {
			n++
		}
	}
	return n
}

// snapshot returns copies of the messages.
func (f *folder) snapshot() []Message {
	all := make([]Message, len(f.messages))
	for i, m := range f.messages {
		all[i] = Message{UID: m.uid, Raw: bytes.Clone(m.raw), Received: m.received}
		for _, flag := range m.flags {
			all[i].Flags = append(all[i].Flags, connection.Flag(flag))
		}
	}
	return all
}

// systemFlags are the flags whose spelling does not depend on the client.
var systemFlags = [...]string{`\Answered`, `\Flagged`, `\Deleted`, `\Seen`, `\Draft`}

// withFlag returns flags and flag, sorted; flags itself is not changed. \Recent is the server's own and is dropped.
func withFlag(flags []string, flag string) []string {
	if strings.EqualFold(flag, `\Recent`) {
		return flags
	}
	for _, known := range systemFlags {
		if strings.EqualFold(flag, known) {
			flag = known
		}
	}
	if slices.ContainsFunc(flags, func(f string) bool { return strings.EqualFold(f, flag) }) {
		return flags
	}
	out := append(slices.Clone(flags), flag)
	slices.Sort(out)
	return out
}

// withoutFlag returns flags without flag; flags itself is not changed.
func withoutFlag(flags []string, flag string) []string {
	return slices.DeleteFunc(slices.Clone(flags), func(f string) bool { return strings.EqualFold(f, flag) })
}
