package imaptest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// told is a mod-sequence (RFC 7162) as clients see it: never 0, and lower than the folder's own count once
// [Server.LowerModSeq] was called.
func (f *folder) told(modSeq uint64) uint64 {
	if modSeq <= f.lowered {
		return 1
	}
	return modSeq - f.lowered
}

// ModSeq returns the HIGHESTMODSEQ of a folder, 0 if there is no such folder or it has no mod-sequences.
func (s *Server) ModSeq(name string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.folder(name); f != nil && !f.noModSeq {
		return f.told(f.modSeq)
	}
	return 0
}

// LowerModSeq makes the mod-sequences of folders (without names: all) begin again at 1, while UIDVALIDITY stays, as
// after a restore from a backup. RFC 7162 forbids that, and a client that believes it forbidden misses changes.
func (s *Server) LowerModSeq(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.named(names) {
		f.lowered = f.modSeq - 1
	}
}

// condstore reports whether there are mod-sequences at all.
func (s *session) condstore() bool { return !s.server.without["CONDSTORE"] }

// wantModSeqs is called by commands that only a client sends that knows mod-sequences: from then on it is told of them
// whenever it is told flags (RFC 7162, 3.1).
func (s *session) wantModSeqs() { s.modSeqs = true }

// noModSeq says why a command with mod-sequences cannot be obeyed in the folder selected; it may be nil.
func (s *session) noModSeq() error {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	if s.folder.noModSeq {
		return syntaxf("the folder has no mod-sequences") // RFC 7162, 3.1.2.2
	}
	return nil
}

// telling reports whether flags of f are told with mod-sequences. The caller holds the server's lock.
func (s *session) telling(f *folder) bool { return s.modSeqs && !f.noModSeq }

// modSeqItem is the MODSEQ item of a FETCH response. The caller holds the server's lock.
func (f *folder) modSeqItem(m *stored) string {
	return "MODSEQ (" + strconv.FormatUint(f.told(m.modSeq), 10) + ")"
}

// tellHighest sends the code of SELECT that says how far the mod-sequences are. The caller holds the server's lock.
func (s *session) tellHighest(f *folder) {
	switch {
	case !s.condstore():
	case f.noModSeq:
		s.line("* OK [NOMODSEQ] no mod-sequences here")
	default:
		s.line("* OK [HIGHESTMODSEQ %d] the highest", f.told(f.modSeq))
	}
}

// selectParameters reads " (CONDSTORE)" (RFC 4466, 2.1) behind the name in SELECT.
func (s *session) selectParameters(c *command) error {
	if c.ended() {
		return nil
	}
	if err := c.space(); err != nil {
		return err
	}
	err := c.list(func() error {
		word, err := c.atom()
		if err == nil && (!strings.EqualFold(word, "CONDSTORE") || !s.condstore()) {
			err = syntaxf("unknown select parameter %s", word)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.wantModSeqs()
	return c.end()
}

// modifier reads "(NAME number)" if it is next (RFC 4466, 2.4 and 2.5), and reports whether it was.
func (s *session) modifier(c *command, name string) (n uint64, found bool, err error) {
	if c.peek() != '(' {
		return 0, false, nil
	}
	err = c.list(func() error {
		word, err := c.atom()
		if err != nil {
			return err
		}
		if found || !strings.EqualFold(word, name) || !s.condstore() {
			return syntaxf("unknown modifier %s", word)
		}
		found = true
		if err := c.space(); err != nil {
			return err
		}
		n, err = c.number()
		return err
	})
	if err == nil && !found {
		err = syntaxf("empty list of modifiers")
	}
	if err == nil {
		err = s.noModSeq()
		s.wantModSeqs()
	}
	return n, found, err
}

// enableExtensions obeys ENABLE (RFC 5161), of which this server knows CONDSTORE alone; the rest is ignored.
func (s *session) enableExtensions(c *command) (string, error) {
	words := strings.Fields(c.args())
	if !s.condstore() || !slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, "CONDSTORE") }) {
		return s.enable(c)
	}
	for !c.ended() {
		if err := c.space(); err != nil {
			return "", err
		}
		if _, err := c.atom(); err != nil {
			return "", err
		}
	}
	s.line("* ENABLED CONDSTORE")
	s.wantModSeqs()
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	if s.folder != nil {
		s.tellHighest(s.folder)
	}
	return "OK done", nil
}

// modSeqKey reads the argument of the search key MODSEQ (RFC 7162, 3.1.5).
func (s *session) modSeqKey(c *command) (criterion, error) {
	if !s.condstore() {
		return nil, syntaxf("unknown search key MODSEQ")
	}
	if err := s.noModSeq(); err != nil {
		return nil, err
	}
	if c.peek() == '"' { // an entry and its type: this server keeps one mod-sequence for all flags
		if _, err := c.str(); err != nil {
			return nil, err
		}
		if err := c.space(); err != nil {
			return nil, err
		}
		word, err := c.atom()
		if err != nil {
			return nil, err
		}
		if !slices.Contains([]string{"all", "priv", "shared"}, strings.ToLower(word)) {
			return nil, syntaxf("unknown entry type %s", word)
		}
		if err := c.space(); err != nil {
			return nil, err
		}
	}
	n, err := c.number()
	if err != nil {
		return nil, err
	}
	s.wantModSeqs()
	s.searchesModSeq = true
	f := s.folder
	return func(m subject) bool { return f.told(m.modSeq) >= n }, nil
}

// modified is the code that names the messages which an UNCHANGEDSINCE has kept from being changed.
func modified(numbers []uint32) string {
	if len(numbers) == 0 {
		return ""
	}
	return fmt.Sprintf("[MODIFIED %s] ", formatUIDs(numbers))
}
