package pop3client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/wirelog"
)

// Limits of what one listing may hold. They bound memory; no maildrop comes near.
const (
	maxEntries = 2 << 20
	maxListing = 64 << 20 // octets of UIDLs
	maxUIDL    = 1 << 10  // octets of one; RFC 1939, 7 permits 70
)

// An entry is one message of a session's snapshot.
type entry struct {
	num    uint32 // valid in this session only
	size   int64  // as LIST told it; -1: not told
	id     string // Ref.ID
	shared bool   // other messages of this session have the same UIDL, or the same hash
}

// list asks for the snapshot (RFC 1939, 5 and 7). UIDL rules where STAT, LIST and UIDL disagree.
func (s *session) list(ctx context.Context) error {
	commands := []string{"STAT", "UIDL", "LIST"}
	read := []func() error{s.readStat, s.readUIDL, s.readList}
	if s.l.pipelines() {
		if err := s.l.send(commands...); err != nil {
			return err
		}
		for _, f := range read {
			if err := f(); err != nil {
				return err
			}
		}
	} else {
		for i, f := range read {
			if err := s.l.send(commands[i]); err != nil {
				return err
			}
			if err := f(); err != nil {
				return err
			}
		}
	}
	if s.noUIDL {
		s.entries = make([]entry, 0, len(s.sizes))
		for _, size := range s.sizes {
			s.entries = append(s.entries, entry{num: size.num, size: size.size})
		}
		if s.noList {
			for num := uint32(1); int64(num) <= min(s.count, maxEntries); num++ {
				s.entries = append(s.entries, entry{num: num, size: -1})
			}
		}
	} else {
		s.addSizes()
	}
	s.agrees = s.count == int64(len(s.entries)) && (s.noList || len(s.sizes) == len(s.entries))
	s.sizes = nil
	if err := s.identify(ctx); err != nil {
		return err
	}
	s.tellApart()
	return nil
}

// readStat reads "+OK count octets". A server that says less is believed nothing.
func (s *session) readStat() error {
	r, err := s.l.reply()
	if err != nil {
		return err
	}
	s.count, s.octets = -1, -1
	words := strings.Fields(r.text)
	if r.ok && len(words) > 0 {
		s.count = number(words[0])
	}
	if r.ok && len(words) > 1 {
		s.octets = number(words[1])
	}
	return nil
}

// number reads a number that is not negative, -1 if it is none.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// each hands over the lines of a listing whose command was just sent: a message number and the word behind it, which
// may be missing. ok is false if the server refuses the command.
func (s *session) each(add func(num uint32, word string)) (ok bool, err error) {
	r, err := s.l.reply()
	if err != nil || !r.ok {
		return false, err
	}
	lines, octets := 0, 0
	return true, s.l.lines(func(line string) error {
		if lines++; lines > maxEntries {
			return s.l.peer.Errorf(connection.ErrProtocol, "", "a listing of over %d messages", maxEntries)
		}
		words := strings.Fields(line)
		if len(words) == 0 {
			return nil
		}
		num := number(words[0])
		if num < 1 || num > math.MaxInt32 {
			return s.l.peer.Errorf(connection.ErrProtocol, "", "no message number in the listing: %q", wirelog.Clip(s.l.clean(line)))
		}
		word := ""
		if len(words) > 1 {
			word = words[1]
		}
		if octets += len(word); octets > maxListing {
			return s.l.peer.Errorf(connection.ErrProtocol, "", "a listing of over %d octets", maxListing)
		}
		add(uint32(num), word)
		return nil
	})
}

func (s *session) readUIDL() error {
	ok, err := s.each(func(num uint32, word string) {
		s.entries = append(s.entries, entry{num: num, size: -1, id: refID(word)})
	})
	s.noUIDL = !ok
	return err
}

// refID returns what a UIDL is in a Ref, which is text; "" if it cannot be one.
func refID(uidl string) string {
	switch {
	case len(uidl) > maxUIDL, strings.ContainsFunc(uidl, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return ""
	case !utf8.ValidString(uidl):
		return "x:" + hex.EncodeToString([]byte(uidl))
	}
	return strings.Clone(uidl) // its line is let go
}

// numbered is one line of LIST.
type numbered struct {
	num  uint32
	size int64
}

func (s *session) readList() error {
	ok, err := s.each(func(num uint32, word string) {
		s.sizes = append(s.sizes, numbered{num, number(word)})
	})
	s.noList = !ok
	return err
}

// addSizes puts LIST's sizes to UIDL's entries. Both come in the same order from every server that is sane.
func (s *session) addSizes() {
	var byNum map[uint32]int64
	for i := range s.entries {
		e := &s.entries[i]
		if i < len(s.sizes) && s.sizes[i].num == e.num {
			e.size = s.sizes[i].size
			continue
		}
		if byNum == nil {
			byNum = make(map[uint32]int64, len(s.sizes))
			for _, n := range s.sizes {
				byNum[n.num] = n.size
			}
		}
		if size, ok := byNum[e.num]; ok {
			e.size = size
		}
	}
}

// identify gives the entries without a UIDL an id: a hash over the header, if the server has TOP, or over the whole
// message, and over the size that LIST told.
func (s *session) identify(ctx context.Context) error {
	for i := range s.entries {
		e := &s.entries[i]
		if e.id != "" {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		sum, ok, err := s.header(e.num)
		if err != nil {
			return err
		}
		if !ok {
			continue // gone, or not to be read: RETR will say so
		}
		sum = sha256.Sum256(strconv.AppendInt(sum[:], e.size, 10))
		e.id = "h:" + hex.EncodeToString(sum[:])
	}
	return nil
}

// header hashes a message's header, by TOP where the server has it. ok is false if it refuses.
func (s *session) header(num uint32) (sum digest, ok bool, err error) {
	n := decimal(num)
	if !s.noTop {
		sum, ok, err = s.hash("TOP " + n + " 0")
		if err != nil || ok {
			return sum, ok, err
		}
		s.noTop = s.l.caps.known && !s.l.caps.has("TOP")
	}
	s.loans.add(num)
	if sum, ok, err = s.hash("RETR " + n); !ok && err == nil {
		s.loans.settle(num)
	}
	return sum, ok, err
}

func (s *session) hash(command string) (sum digest, ok bool, err error) {
	r, err := s.l.command(command)
	if err != nil || !r.ok {
		return sum, false, err
	}
	body := s.l.body()
	if sum, err = headerDigest(body); err == nil {
		_, err = io.Copy(io.Discard, body) // some servers do not count TOP's lines
	}
	if err != nil {
		return sum, false, s.l.lost(err)
	}
	return sum, true, nil
}

// tellApart gives each message an id of its own: the second one with the same gets "#2", and so on. A message that has
// none, since the server refuses to show it, is named by its number, for the error that tells of it.
func (s *session) tellApart() {
	s.index = make(map[string]int, len(s.entries))
	for i := range s.entries {
		e := &s.entries[i]
		if e.id == "" {
			e.id, e.shared = "n:"+decimal(e.num), true
		}
		first, taken := s.index[e.id]
		if taken {
			s.entries[first].shared, e.shared = true, true
			base := e.id
			for n := 2; taken; n++ {
				e.id = base + "#" + strconv.Itoa(n)
				_, taken = s.index[e.id]
			}
		}
		s.index[e.id] = i
	}
}

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
