package imaptest

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	dateTimeLayout = "_2-Jan-2006 15:04:05 -0700"
	dateLayout     = "2-Jan-2006"
	maxSearchDepth = 32
)

// subject is a message while it is tested by a search.
type subject struct {
	*stored
	number uint32
}

// criterion is one search key. It is called with the server's lock held.
type criterion func(m subject) bool

// search obeys SEARCH and UID SEARCH.
func (s *session) search(c *command) (string, error) {
	if err := c.space(); err != nil {
		return "", err
	}
	before := c.pos
	if word := c.run(isAtom); strings.EqualFold(word, "CHARSET") {
		if err := c.space(); err != nil {
			return "", err
		}
		charset, err := c.astring()
		if err != nil {
			return "", err
		}
		if !strings.EqualFold(charset, "UTF-8") && !strings.EqualFold(charset, "US-ASCII") {
			return "NO [BADCHARSET (US-ASCII UTF-8)] unknown charset", nil
		}
		if err := c.space(); err != nil {
			return "", err
		}
	} else {
		c.pos = before
	}
	var keys []criterion
	s.searchesModSeq = false
	for first := true; first || c.accept(' '); first = false {
		key, err := s.searchKey(c, 0)
		if err != nil {
			return "", err
		}
		keys = append(keys, key)
	}
	if err := c.end(); err != nil {
		return "", err
	}
	found, highest := s.find(all(keys), c.uid)
	if s.server.opts.Quirks.SearchDescending {
		slices.Reverse(found)
	}
	s.lines = append(s.lines, "* SEARCH"...)
	for _, n := range found {
		s.lines = append(s.lines, ' ')
		s.lines = strconv.AppendUint(s.lines, uint64(n), 10)
	}
	if s.searchesModSeq && len(found) > 0 {
		s.lines = fmt.Appendf(s.lines, " (MODSEQ %d)", highest)
	}
	s.lines = append(s.lines, "\r\n"...)
	return "OK searched", nil
}

// find returns the numbers or UIDs of the messages that match, ascending, and their highest mod-sequence.
func (s *session) find(match criterion, uid bool) (found []uint32, highest uint64) {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	for i, e := range s.view {
		m := subject{e.stored, uint32(i + 1)}
		if e.expunged || !match(m) {
			continue
		}
		highest = max(highest, s.folder.told(m.modSeq))
		if uid {
			found = append(found, m.uid)
		} else {
			found = append(found, m.number)
		}
	}
	return found, highest
}

func all(keys []criterion) criterion {
	return func(m subject) bool {
		for _, key := range keys {
			if !key(m) {
				return false
			}
		}
		return true
	}
}

func not(key criterion) criterion { return func(m subject) bool { return !key(m) } }

func flagged(flag string) criterion { return func(m subject) bool { return m.has(flag) } }

// searchKey reads one search key (RFC 3501, 6.4.4).
func (s *session) searchKey(c *command, depth int) (criterion, error) {
	if depth > maxSearchDepth {
		return nil, syntaxf("search nested over %d levels", maxSearchDepth)
	}
	if c.peek() == '(' {
		var keys []criterion
		err := c.list(func() error {
			key, err := s.searchKey(c, depth+1)
			keys = append(keys, key)
			return err
		})
		if err == nil && len(keys) == 0 {
			err = syntaxf("empty search key")
		}
		return all(keys), err
	}
	if b := c.peek(); b >= '0' && b <= '9' || b == '*' {
		return s.setKey(c, false)
	}
	word, err := c.atom()
	if err != nil {
		return nil, err
	}
	word = strings.ToUpper(word)
	if key := flagKey(word); key != nil {
		return key, nil
	}
	if err := c.space(); err != nil {
		return nil, syntaxf("unknown search key %s, or its argument is missing", word)
	}
	switch word {
	case "UID":
		return s.setKey(c, true)
	case "NOT":
		key, err := s.searchKey(c, depth+1)
		return not(key), err
	case "OR":
		a, err := s.searchKey(c, depth+1)
		if err != nil {
			return nil, err
		}
		if err := c.space(); err != nil {
			return nil, err
		}
		b, err := s.searchKey(c, depth+1)
		return func(m subject) bool { return a(m) || b(m) }, err
	case "KEYWORD", "UNKEYWORD":
		flag, err := c.flag()
		if word == "KEYWORD" {
			return flagged(flag), err
		}
		return not(flagged(flag)), err
	case "MODSEQ":
		return s.modSeqKey(c)
	case "LARGER", "SMALLER":
		n, err := c.number()
		return func(m subject) bool {
			size := uint64(len(m.raw))
			return word == "LARGER" && size > n || word == "SMALLER" && size < n
		}, err
	case "BEFORE", "ON", "SINCE", "SENTBEFORE", "SENTON", "SENTSINCE":
		return dateKey(c, word)
	}
	return textKey(c, word)
}

func (s *session) setKey(c *command, uid bool) (criterion, error) {
	set, err := c.set()
	if err != nil {
		return nil, err
	}
	set = set.resolve(s.largest(uid))
	return func(m subject) bool {
		if uid {
			return set.contains(m.uid)
		}
		return set.contains(m.number)
	}, nil
}

// flagKey returns the key for words without an argument, nil for others. \Recent is never set here.
func flagKey(word string) criterion {
	switch word {
	case "ALL", "OLD":
		return func(subject) bool { return true }
	case "NEW", "RECENT":
		return func(subject) bool { return false }
	case "SEEN", "ANSWERED", "FLAGGED", "DELETED", "DRAFT":
		return flagged(`\` + word)
	case "UNSEEN", "UNANSWERED", "UNFLAGGED", "UNDELETED", "UNDRAFT":
		return not(flagged(`\` + word[2:]))
	}
	return nil
}

// dateKey reads a date and compares the day, without regard to the time and its zone (RFC 3501, 6.4.4).
func dateKey(c *command, word string) (criterion, error) {
	text, err := c.astring()
	if err != nil {
		return nil, err
	}
	day, err := time.Parse(dateLayout, text)
	if err != nil {
		return nil, syntaxf("date expected, not %q", text)
	}
	which, sent := strings.CutPrefix(word, "SENT")
	return func(m subject) bool {
		at := m.received
		if sent {
			header, _ := splitMessage(m.raw)
			value, _ := headerValue(header, "Date")
			var ok bool
			if at, ok = parseDate(value); !ok {
				return false
			}
		}
		at = time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, time.UTC)
		switch which {
		case "BEFORE":
			return at.Before(day)
		case "ON":
			return at.Equal(day)
		}
		return !at.Before(day)
	}, nil
}

// textKey reads a key that looks for a string, without regard to case.
func textKey(c *command, word string) (criterion, error) {
	field := word
	switch word {
	case "BCC", "CC", "FROM", "SUBJECT", "TO", "BODY", "TEXT":
	case "HEADER":
		var err error
		if field, err = c.astring(); err != nil {
			return nil, err
		}
		if err := c.space(); err != nil {
			return nil, err
		}
	default:
		return nil, syntaxf("unknown search key %s", word)
	}
	wanted, err := c.astring()
	if err != nil {
		return nil, err
	}
	wanted = strings.ToLower(wanted)
	return func(m subject) bool {
		header, text := splitMessage(m.raw)
		switch word {
		case "BODY":
			return bytes.Contains(bytes.ToLower(text), []byte(wanted))
		case "TEXT":
			return bytes.Contains(bytes.ToLower(m.raw), []byte(wanted))
		}
		for name, value := range headerFields(header) {
			if !strings.EqualFold(name, field) {
				continue
			}
			plain := unfold(value)
			if strings.Contains(strings.ToLower(plain), wanted) || strings.Contains(strings.ToLower(decoded(plain)), wanted) {
				return true
			}
		}
		return false
	}, nil
}
