package imaptest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// selectFolder obeys SELECT and EXAMINE.
func (s *session) selectFolder(c *command) (string, error) {
	if err := c.space(); err != nil {
		return "", err
	}
	name, err := c.mailbox()
	if err != nil {
		return "", err
	}
	if err := s.selectParameters(c); err != nil {
		return "", err
	}
	srv := s.server
	srv.mu.Lock()
	defer srv.mu.Unlock()
	s.leave() // RFC 3501, 6.3.1: also when the new one cannot be selected
	f := srv.store.get(name)
	if f == nil || f.noSelect {
		return "NO [NONEXISTENT] no such folder", nil
	}
	s.folder, s.state = f, stateSelected
	s.readOnly = c.name == "EXAMINE" || f.readOnly
	s.modSeq = f.modSeq
	s.view = make([]entry, len(f.messages))
	unseen := 0
	for i, m := range f.messages {
		s.view[i] = entry{m, m.modSeq}
		if unseen == 0 && !m.has(`\Seen`) {
			unseen = i + 1
		}
	}
	flags := slices.Clone(systemFlags[:])
	for _, m := range f.messages {
		for _, flag := range m.flags {
			if !slices.Contains(flags, flag) {
				flags = append(flags, flag)
			}
		}
	}
	s.line("* FLAGS (%s)", strings.Join(flags, " "))
	if s.readOnly {
		s.line("* OK [PERMANENTFLAGS ()] read-only")
	} else {
		s.line(`* OK [PERMANENTFLAGS (%s \*)] kept for ever`, strings.Join(flags, " "))
	}
	s.line("* %d EXISTS", len(s.view))
	s.line("* 0 RECENT")
	if unseen > 0 {
		s.line("* OK [UNSEEN %d] first unseen", unseen)
	}
	quirks := srv.opts.Quirks
	if !quirks.NoUIDValidity {
		s.line("* OK [UIDVALIDITY %d] UIDs are of this life", f.uidValidity)
	}
	if !quirks.NoUIDNext {
		s.line("* OK [UIDNEXT %d] the next one", f.tellUIDNext(quirks))
	}
	s.tellHighest(f)
	if quirks.UIDNotSticky {
		s.line("* NO [UIDNOTSTICKY] UIDs do not last")
	}
	if s.readOnly {
		return "OK [READ-ONLY] selected", nil
	}
	return "OK [READ-WRITE] selected", nil
}

// leave forgets the selected folder. The caller holds the server's lock.
func (s *session) leave() {
	s.folder, s.view, s.bye, s.readOnly = nil, nil, "", false
	s.state = stateAuthenticated
}

// closeFolder obeys CLOSE, which expunges, and UNSELECT (RFC 3691), which does not.
func (s *session) closeFolder(c *command) (string, error) {
	if err := c.end(); err != nil {
		return "", err
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	if c.name == "CLOSE" && !s.readOnly {
		if s.folder.expunge(func(m *stored) bool { return m.has(`\Deleted`) }) > 0 {
			s.server.changed(s.folder, s)
		}
	}
	s.leave()
	return "OK closed", nil
}

const readOnlyReply = "NO [READ-ONLY] the folder is read-only"

// expunge obeys EXPUNGE and UID EXPUNGE (RFC 4315, 2.1: only messages of the set that are \Deleted).
func (s *session) expunge(c *command) (string, error) {
	var set numSet
	if c.uid {
		if err := c.space(); err != nil {
			return "", err
		}
		var err error
		if set, err = c.set(); err != nil {
			return "", err
		}
	}
	if err := c.end(); err != nil {
		return "", err
	}
	if s.readOnly {
		return readOnlyReply, nil
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	if c.uid {
		set = set.resolve(s.largest(true))
	}
	removed := s.folder.expunge(func(m *stored) bool {
		return m.has(`\Deleted`) && (!c.uid || set.contains(m.uid))
	})
	if removed > 0 {
		s.server.changed(s.folder, s)
	}
	return "OK expunged", nil
}

// largest returns what "*" stands for.
func (s *session) largest(uid bool) uint32 {
	n := len(s.view)
	if n == 0 || !uid {
		return uint32(n)
	}
	return s.view[n-1].uid
}

// pick returns the indexes into the view of a set of UIDs or sequence numbers, ascending. A sequence number that does
// not exist is an error; a UID that does not is ignored (RFC 3501, 6.4.8).
func (s *session) pick(set numSet, uid bool) ([]int, error) {
	ranges := set.resolve(s.largest(uid))
	var picked []int
	for _, r := range ranges {
		if !uid {
			if r.first == 0 || int64(r.last) > int64(len(s.view)) {
				return nil, syntaxf("there are only %d messages", len(s.view))
			}
			for n := r.first; n <= r.last; n++ {
				picked = append(picked, int(n)-1)
			}
			continue
		}
		i, _ := slices.BinarySearchFunc(s.view, r.first, func(e entry, uid uint32) int { return cmp.Compare(e.uid, uid) })
		for ; i < len(s.view) && s.view[i].uid <= r.last; i++ {
			picked = append(picked, i)
		}
	}
	return picked, nil
}

// announce tells the client what has changed in its folder since it was last told. Without expunges, messages that
// are gone keep their sequence numbers.
func (s *session) announce(expunges bool) {
	for _, line := range s.news(expunges) {
		s.line("%s", line)
	}
}

// news brings the view up to date and returns the untagged responses that say so.
func (s *session) news(expunges bool) []string {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	f := s.folder
	if f == nil || s.bye != "" || f.modSeq == s.modSeq {
		return nil
	}
	var lines []string
	kept := s.view
	postponed := false
	if expunges {
		kept = s.view[:0]
	}
	for i := range s.view {
		e := s.view[i]
		switch {
		case e.expunged && expunges:
			lines = append(lines, fmt.Sprintf("* %d EXPUNGE", len(kept)+1))
			continue
		case e.expunged:
			postponed = true
		case e.told != e.modSeq:
			e.told = e.modSeq
			n := i + 1
			if expunges {
				n = len(kept) + 1
			}
			item := ""
			if s.telling(f) {
				item = " " + f.modSeqItem(e.stored)
			}
			lines = append(lines, fmt.Sprintf("* %d FETCH (FLAGS (%s)%s)", n, strings.Join(e.flags, " "), item))
		}
		if expunges {
			kept = append(kept, e)
		} else {
			kept[i] = e
		}
	}
	clear(s.view[len(kept):]) // so that the messages can be collected
	s.view = kept
	if more := s.unknown(); len(more) > 0 {
		for _, m := range more {
			s.view = append(s.view, entry{m, m.modSeq})
		}
		lines = append(lines, fmt.Sprintf("* %d EXISTS", len(s.view)), "* 0 RECENT")
	}
	if !postponed {
		s.modSeq = f.modSeq
	}
	return lines
}

// unknown returns the messages that came after the last of the view. The caller holds the server's lock.
func (s *session) unknown() []*stored {
	all := s.folder.messages
	if len(s.view) == 0 {
		return all
	}
	last := s.view[len(s.view)-1].uid
	i, _ := slices.BinarySearchFunc(all, last+1, func(m *stored, uid uint32) int { return cmp.Compare(m.uid, uid) })
	return all[i:]
}

// idle obeys IDLE (RFC 2177).
func (s *session) idle(c *command) (string, error) {
	if err := c.end(); err != nil {
		return "", err
	}
	habit := s.server.opts.Quirks.Idle
	if habit.NewsFirst {
		s.announce(true)
	}
	s.line("+ idling")
	if err := s.flush(); err != nil {
		return "", err
	}
	if habit.Dead {
		s.meter.Silence()
		return "", errLeave
	}
	done, stopped := make(chan struct{}), make(chan struct{})
	s.wakeUp() // what happened since the last command
	go func() {
		defer close(stopped)
		s.tell(done, habit)
	}()
	line, err := readLine(s.r, maxLineBefore)
	close(done)
	<-stopped
	switch {
	case err != nil:
		return "", err
	case s.doomed() != "":
		return "", errLeave
	case !strings.EqualFold(string(line), "DONE"):
		return "BAD DONE expected", nil
	}
	return "OK idled", nil
}

// tell announces news as it comes, until done.
func (s *session) tell(done <-chan struct{}, habit IdleQuirks) {
	var limit <-chan time.Time
	if habit.Limit > 0 {
		timer := time.NewTimer(habit.Limit)
		defer timer.Stop()
		limit = timer.C
	}
	for {
		text := ""
		select {
		case <-done:
			return
		case <-limit:
			text = "you idle for too long"
		case <-s.wake:
			text = s.doomed()
		}
		if text != "" {
			s.line("* BYE %s", text)
			_ = s.flush() // it ends either way
			s.meter.Cut()
			return
		}
		if habit.Silent {
			continue
		}
		s.announce(true)
		if s.flush() != nil {
			s.meter.Cut()
			return
		}
	}
}

// doomed returns why the session must end, if it must.
func (s *session) doomed() string {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	return s.bye
}
