package imapclient

import (
	"errors"
	"strings"
	"sync"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	goclient "github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailconn/mailconn/connection"
)

// facts are what a FETCH reply says of a message besides its body.
type facts struct {
	uid      uint32
	flags    []connection.Flag
	received time.Time
	size     int64 // RFC822.SIZE, which may be wrong; -1 if not told
}

// note takes in one item. It reports whether the item was the body, whole or a part of its octets, which it leaves alone.
func (f *facts) note(item goclient.FetchItemData) (whole goclient.FetchItemDataBodySection, ok bool) {
	switch item := item.(type) {
	case goclient.FetchItemDataUID:
		f.uid = uint32(item.UID)
	case goclient.FetchItemDataFlags:
		f.flags = f.flags[:0]
		for _, flag := range item.Flags {
			// \Recent is the session's, not the message's (RFC 3501, 2.3.2), and RFC 9051 has no such flag.
			if !strings.EqualFold(string(flag), `\Recent`) {
				f.flags = append(f.flags, connection.Flag(flag))
			}
		}
	case goclient.FetchItemDataInternalDate:
		f.received = item.Time
	case goclient.FetchItemDataRFC822Size:
		f.size = item.Size
	case goclient.FetchItemDataBodySection:
		return item, isWhole(item.Section)
	}
	return whole, false
}

func isWhole(s *goimap.FetchItemBodySection) bool {
	return s.Specifier == goimap.PartSpecifierNone && len(s.Part) == 0
}

// strays keeps the bodies of FETCH replies that go-imap could not give to a command: it needs the UID before the body
// (Microsoft 365 sends it last), and takes only the first of several replies for one UID (servers send flags alone at
// any time).
type strays struct {
	mu      sync.Mutex
	settled *sync.Cond
	running int
	room    int  // bodies that may still be kept
	chunks  bool // they may be parts
	kept    map[uint32]stray
	err     error // of the disk
}

type stray struct {
	facts
	body   *connection.Spooled
	origin *goimap.SectionPartial // of a part
}

// expect makes room for as many bodies, or parts of them.
func (st *strays) expect(n int, chunks bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.room, st.chunks = n, chunks
}

// receive is go-imap's handler of unsolicited FETCH replies. It runs on a goroutine of its own, and go-imap does not
// decode further while a literal is unread.
func (st *strays) receive(msg *goclient.FetchMessageData) {
	st.mu.Lock()
	st.running++
	st.mu.Unlock()
	s, err := st.read(msg) // on an error msg must not be touched any more: the decoder has gone on
	st.mu.Lock()
	defer st.mu.Unlock()
	st.running--
	if st.settled != nil {
		st.settled.Broadcast()
	}
	if errors.As(err, new(*diskError)) {
		st.err = err
	}
	if s.body == nil {
		return
	}
	if _, twice := st.kept[s.uid]; twice || s.uid == 0 {
		_ = s.body.Close() // a temporary file: nothing depends on it
		return
	}
	if st.kept == nil {
		st.kept = make(map[uint32]stray)
	}
	st.kept[s.uid] = s
}

func (st *strays) read(msg *goclient.FetchMessageData) (stray, error) {
	s := stray{facts: facts{size: -1}}
	for item := msg.Next(); item != nil; item = msg.Next() {
		section, ok := s.note(item)
		if !ok || section.Literal == nil || s.body != nil || !st.take(section.Section.Partial != nil) {
			continue // Next discards a literal
		}
		var err error
		s.origin = section.Section.Partial
		if s.body, err = spool(section.Literal, section.Literal.Size()); err != nil {
			return stray{}, err
		}
	}
	return s, nil
}

func (st *strays) take(part bool) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.room == 0 || part && !st.chunks {
		return false
	}
	st.room--
	return true
}

// collect returns what has strayed in since expect, when the command it belongs to has completed, and expects no more.
// The caller closes the bodies.
func (st *strays) collect() (map[uint32]stray, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.settled == nil {
		st.settled = sync.NewCond(&st.mu)
	}
	for st.running > 0 {
		st.settled.Wait()
	}
	kept, err := st.kept, st.err
	st.kept, st.err, st.room = nil, nil, 0
	return kept, err
}

// discard gives back everything. The client must be closed, so that nothing runs for long.
func (st *strays) discard() {
	kept, _ := st.collect() // the session is over: nobody is left to tell
	for _, s := range kept {
		_ = s.body.Close() // a temporary file: nothing depends on it
	}
}
