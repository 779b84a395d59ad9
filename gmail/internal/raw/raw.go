// Package raw reads the answer to messages.get with format=raw as a stream: the message's octets go from the base64 text
// in the JSON to memory or a temporary file, and the text itself is never held. A message of any size takes the same memory.
package raw

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// Options are the options of [Read]. The zero value is good.
type Options struct {
	Memory int    // octets of the message kept in memory before the rest goes to a temporary file; 0 = 1 MiB, negative = none
	Max    int64  // a larger message is ErrTooLarge; 0 = 1 GiB, far above what Gmail takes: an answer without end must not fill the disk
	Dir    string // for temporary files; "" = os.TempDir
}

const (
	defaultMemory = 1 << 20
	defaultMax    = 1 << 30
)

// spool returns o as [connection.Spool] understands it.
func (o Options) spool() *connection.SpoolOptions {
	s := &connection.SpoolOptions{Memory: int64(o.Memory), Max: o.Max, Dir: o.Dir}
	if o.Memory == 0 {
		s.Memory = defaultMemory
	}
	if o.Max <= 0 {
		s.Max = defaultMax
	}
	return s
}

// A Message is one answer that was read to its end. Close it when done.
type Message struct {
	ID, ThreadID string    // opaque
	HistoryID    string    // decimal digits without leading zeros, of any length; "" if the answer has no such number
	Labels       []string  // label ids, as the server ordered them
	Internal     time.Time // InternalMS as a time; zero without one, and beyond the years 1 to 9999, which JSON cannot hold
	InternalMS   int64     // milliseconds since 1970; may be 0 or negative
	SizeEstimate int64     // the server's guess of Size; 0 without one
	HasRaw       bool      // the answer held the message. An empty text does not count: there is no empty message
	Size         int64     // octets of the message

	content *connection.Spooled // nil without HasRaw
	closed  atomic.Bool
}

// Body returns a new reader at the message's first octet, valid until Close: then it fails with [os.ErrClosed]. Readers are
// independent of each other. It is nil if the answer held no message.
func (m *Message) Body() io.ReadSeeker {
	if m.content == nil {
		return nil
	}
	return &body{m: m, r: m.content.Reader()}
}

// Close gives up the memory or the temporary file. No reader may be at work meanwhile. A second Close does nothing.
func (m *Message) Close() error {
	if m.closed.Swap(true) || m.content == nil {
		return nil
	}
	return m.content.Close()
}

// body keeps a reader from what the memory holds after Close.
type body struct {
	m *Message
	r io.ReadSeeker
}

func (b *body) Read(p []byte) (int, error) {
	if b.m.closed.Load() {
		return 0, os.ErrClosed
	}
	return b.r.Read(p)
}

func (b *body) Seek(offset int64, whence int) (int64, error) {
	if b.m.closed.Load() {
		return 0, os.ErrClosed
	}
	return b.r.Seek(offset, whence)
}

// Read reads an answer from r, the decompressed body of the response, to its end, and returns the message only if it is
// whole: the base64 text closed, the JSON closed, nothing but white space behind, and r at its end. Users of HTTP must still
// look at the status first.
//
// The fields may come in any order, with others among them, whose nested members may be called raw, too. The base64 text may
// be of either alphabet, with and without padding, with escapes anywhere. What the answer holds besides that text is limited
// to 1 MiB.
//
// Errors are of type *connection.Error. ErrCorrupt is text that is no base64, or JSON that is broken inside; ErrProtocol an
// answer that is no message; ErrTooLarge a message above Options.Max. A failure of r is wrapped with its own Kind, or
// ErrNetwork if it has none; so is an end of r before that of the answer, since a shorter text may decode as well. A
// temporary file that cannot be written has the Kind of its cause. In any case nothing of the message is kept.
func Read(r io.Reader, o Options) (*Message, error) {
	s := scanners.Get().(*scanner)
	defer scanners.Put(s)
	s.reset(r)
	defer s.reset(nil)
	m := new(Message)
	err := m.read(s, o)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// scanners are kept between messages for their buffers.
var scanners = sync.Pool{New: func() any { return &scanner{buf: make([]byte, bufferSize)} }}

func (m *Message) read(s *scanner, o Options) error {
	c, err := s.token()
	if err != nil {
		return err
	}
	if c != '{' {
		return protocol("the answer is no JSON object: it begins with %q", rune(c))
	}
	if err := s.members(func(key string) error { return m.member(s, key, o) }); err != nil {
		return err
	}
	if err := s.finish(); err != nil {
		return err
	}
	if m.ID == "" && !m.HasRaw {
		return protocol("the answer is no message: it has neither id nor raw")
	}
	return nil
}

// member reads the value of one member of the answer.
func (m *Message) member(s *scanner, key string, o Options) (err error) {
	var n number
	switch key {
	case "raw":
		return m.readRaw(s, o)
	case "id":
		return s.decode(key, &m.ID)
	case "threadId":
		return s.decode(key, &m.ThreadID)
	case "labelIds":
		return s.decode(key, &m.Labels)
	case "historyId":
		err = s.decode(key, &n)
		m.HistoryID = n.digits()
	case "internalDate":
		err = s.decode(key, &n)
		if ms, ok := n.int64(); ok {
			m.InternalMS, m.Internal = ms, instant(ms)
		}
	case "sizeEstimate":
		err = s.decode(key, &n)
		m.SizeEstimate, _ = n.int64()
	default:
		return s.value(1)
	}
	return err
}

// instant returns the time of ms if JSON can hold it.
func instant(ms int64) time.Time {
	t := time.UnixMilli(ms).UTC()
	if year := t.Year(); year < 1 || year > 9999 {
		return time.Time{}
	}
	return t
}

// readRaw reads the member raw.
func (m *Message) readRaw(s *scanner, o Options) error {
	if m.content != nil {
		return corrupt("raw: comes twice")
	}
	c, err := s.token()
	switch {
	case err != nil:
		return err
	case c != '"':
		s.unread()
		var none *string
		return s.decode("raw", &none) // null is none; anything else fails
	}
	text := &payload{s: s}
	hint := min(max(m.SizeEstimate, 0), math.MaxInt32) // whatever comes, Spool grows by it only up to its limits
	content, err := connection.Spool(&connection.Message{Body: text, Size: hint}, o.spool())
	if err != nil {
		return err
	}
	if content.Size == 0 {
		return content.Close()
	}
	m.content, m.Size, m.HasRaw = content, content.Size, true
	return nil
}

func protocol(format string, args ...any) error {
	return &connection.Error{Kind: connection.ErrProtocol, Err: fmt.Errorf(format, args...)}
}

func corrupt(format string, args ...any) error {
	return &connection.Error{Kind: connection.ErrCorrupt, Err: fmt.Errorf(format, args...)}
}
