package pop3client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"slices"

	"github.com/mailconn/mailconn/connection"
)

// doubtful reports whether the id may stand for another message in another session: one of several with one UIDL, or a
// UIDL that looks like a message number.
func (e *entry) doubtful() bool { return e.shared || e.id == decimal(e.num) }

// A fact is what is known of a message that was read.
type fact struct {
	session uint64 // whose snapshot it was in
	size    int64  // as LIST told it then; -1: not told
	header  digest // of its header, if it is doubtful
}

// A digest is a SHA-256; zero means none.
type digest [sha256.Size]byte

// headerDigest hashes a message's header: the octets up to its first empty line, with it. What follows is not read.
func headerDigest(r io.Reader) (digest, error) {
	hash := sha256.New()
	buf := make([]byte, 4<<10)
	end := []byte("\r\n\r\n")
	tail := []byte("\r\n") // an empty line at the very beginning is an empty header
	for {
		n, err := r.Read(buf)
		window := append(tail, buf[:n]...)
		if i := bytes.Index(window, end); i >= 0 {
			hash.Write(buf[:max(0, i+len(end)-len(tail))])
			return digest(hash.Sum(nil)), nil
		}
		hash.Write(buf[:n])
		tail = bytes.Clone(window[max(0, len(window)-len(end)+1):])
		if errors.Is(err, io.EOF) {
			return digest(hash.Sum(nil)), nil
		}
		if err != nil {
			return digest{}, err
		}
	}
}

// same reports whether e is the message that was read as f.
func (s *session) same(ctx context.Context, op string, e *entry, f fact, known bool) (bool, error) {
	switch {
	case !known: // read by another process
		return !e.doubtful(), nil
	case f.session == s.number:
		return true, nil
	case f.size >= 0 && e.size >= 0 && f.size != e.size:
		return false, nil
	case f.header == digest{}:
		return !e.shared, nil
	}
	// It was doubtful then. That nobody else has its UIDL now proves nothing.
	same := false
	err := s.run(ctx, op, func() error {
		sum, ok, err := s.header(e.num)
		same = ok && sum == f.header
		return err
	})
	return same, err
}

// A memory is an entry under whose id a message was read.
type memory struct {
	e *entry
	f fact
}

// still reports for each memory whether its entry is the message that was read. Where UIDLs are the message numbers, a
// message that goes gives all behind it other ones: the header of the last is asked for, and only if it is another one
// that of some more, to find where that begins.
func (s *session) still(ctx context.Context, op string, all []memory) ([]bool, error) {
	is := make([]bool, len(all))
	var numbers []int // in all, by message number
	for i, m := range all {
		if m.e.id == decimal(m.e.num) && m.f.session != s.number {
			numbers = append(numbers, i)
			continue
		}
		var err error
		if is[i], err = s.same(ctx, op, m.e, m.f, true); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(numbers, func(i, j int) int { return cmp.Compare(all[i].e.num, all[j].e.num) })
	same, next := 0, len(numbers) // so many are the same; the first that is not is before next, or next itself
	for probe := next - 1; same < next; probe = (same + next) / 2 {
		m := all[numbers[probe]]
		ok, err := s.same(ctx, op, m.e, m.f, true)
		if err != nil {
			return nil, err
		}
		if ok {
			same = probe + 1
		} else {
			next = probe
		}
	}
	for _, i := range numbers[:same] {
		is[i] = all[i].f.size < 0 || all[i].e.size < 0 || all[i].f.size == all[i].e.size
	}
	return is, nil
}

// others returns the numbers of the entries that were seen, but are other messages now. The turn must be held.
func (f *fetch) others(s *session) (map[uint32]bool, error) {
	var all []memory
	for i := range s.entries {
		e := &s.entries[i]
		if known, ok := f.doubts[e.key()]; ok {
			all = append(all, memory{e, known})
		}
	}
	still, err := s.still(f.ctx, f.op, all)
	others := make(map[uint32]bool)
	for i, ok := range still {
		if !ok {
			others[all[i].e.num] = true
		}
	}
	if len(others) > 0 {
		f.reused()
	}
	return others, err
}

// reused tells, once, that a Ref does not stand for one message alone.
func (f *fetch) reused() {
	if !f.warned {
		f.warned = true
		f.conn.emit(connection.Event{Kind: connection.EventQuirk, Detail: uidlReused})
	}
}
