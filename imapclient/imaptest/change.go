package imaptest

import (
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"
)

func parseDate(value string) (time.Time, bool) {
	at, err := mail.ParseDate(value)
	return at, err == nil
}

// store obeys STORE and UID STORE.
func (s *session) store(c *command) (string, error) {
	if err := c.space(); err != nil {
		return "", err
	}
	set, err := c.set()
	if err != nil {
		return "", err
	}
	if err := c.space(); err != nil {
		return "", err
	}
	unchangedSince, conditional, err := s.modifier(c, "UNCHANGEDSINCE")
	if err != nil {
		return "", err
	}
	if conditional {
		if err := c.space(); err != nil {
			return "", err
		}
	}
	operation := ""
	if c.accept('+') {
		operation = "+"
	} else if c.accept('-') {
		operation = "-"
	}
	word, err := c.atom()
	if err != nil {
		return "", err
	}
	word, silent := strings.CutSuffix(strings.ToUpper(word), ".SILENT")
	if word != "FLAGS" {
		return "", syntaxf("FLAGS expected, not %s", word)
	}
	if err := c.space(); err != nil {
		return "", err
	}
	flags, err := c.storeFlags()
	if err != nil {
		return "", err
	}
	if err := c.end(); err != nil {
		return "", err
	}
	picked, err := s.pick(set, c.uid)
	if err != nil {
		return "", err
	}
	if s.readOnly {
		return readOnlyReply, nil
	}
	failed := s.heldBack(&picked, conditional, unchangedSince, c.uid)
	gone := s.change(picked, operation, flags, silent, c.uid)
	switch {
	case len(failed) > 0:
		return "OK " + modified(failed) + "some messages have changed", nil
	case gone:
		return "OK [EXPUNGEISSUED] some messages are gone", nil
	}
	return "OK stored", nil
}

// heldBack takes out of picked the messages that changed after an UNCHANGEDSINCE, and returns their numbers or UIDs
// (RFC 7162, 3.1.3).
func (s *session) heldBack(picked *[]int, conditional bool, since uint64, uid bool) []uint32 {
	if !conditional {
		return nil
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	var failed []uint32
	*picked = slices.DeleteFunc(*picked, func(i int) bool {
		e := s.view[i]
		if e.expunged || s.folder.told(e.modSeq) <= since {
			return false
		}
		if uid {
			failed = append(failed, e.uid)
		} else {
			failed = append(failed, uint32(i+1))
		}
		return true
	})
	return failed
}

// storeFlags reads flags in parentheses, or bare.
func (c *command) storeFlags() ([]string, error) {
	if c.peek() == '(' {
		return c.flags()
	}
	var flags []string
	for first := true; first || c.accept(' '); first = false {
		flag, err := c.flag()
		if err != nil {
			return nil, err
		}
		flags = withFlag(flags, flag)
	}
	return flags, nil
}

// change sets flags and tells the client, unless it wants silence. It reports whether messages were gone.
func (s *session) change(picked []int, operation string, flags []string, silent, uid bool) (gone bool) {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	changed := false
	for _, i := range picked {
		e := &s.view[i]
		if e.expunged {
			gone = true
			continue
		}
		after := e.flags
		switch operation {
		case "":
			after = flags
		case "+":
			for _, flag := range flags {
				after = withFlag(after, flag)
			}
		case "-":
			for _, flag := range flags {
				after = withoutFlag(after, flag)
			}
		}
		known := e.told == e.modSeq
		changed = s.folder.setFlags(e.stored, after) || changed
		if silent && known {
			e.told = e.modSeq // if not, another session's change is to be told, and this with it
		}
		if line := s.storeReply(i, silent, uid); line != "" {
			s.line("%s", line)
		}
	}
	if changed {
		s.server.changed(s.folder, s)
	}
	return gone
}

// storeReply is the untagged response of STORE, "" if there is none. A client that knows mod-sequences is told the new
// one, SILENT or not (RFC 7162, 3.1.3). The caller holds the server's lock.
func (s *session) storeReply(i int, silent, uid bool) string {
	e := &s.view[i]
	var items []string
	if uid {
		items = append(items, fmt.Sprintf("UID %d", e.uid))
	}
	if !silent {
		e.told = e.modSeq
		items = append(items, "FLAGS ("+strings.Join(e.flags, " ")+")")
	}
	switch {
	case s.telling(s.folder):
		items = append(items, s.folder.modSeqItem(e.stored))
	case silent:
		return ""
	}
	return fmt.Sprintf("* %d FETCH (%s)", i+1, strings.Join(items, " "))
}

// copy obeys COPY, MOVE (RFC 6851) and their UID forms.
func (s *session) copy(c *command) (string, error) {
	if err := c.space(); err != nil {
		return "", err
	}
	set, err := c.set()
	if err != nil {
		return "", err
	}
	name, err := c.onlyMailbox()
	if err != nil {
		return "", err
	}
	picked, err := s.pick(set, c.uid)
	if err != nil {
		return "", err
	}
	move := c.name == "MOVE"
	srv := s.server
	srv.mu.Lock()
	defer srv.mu.Unlock()
	target := srv.store.get(name)
	switch {
	case target == nil || target.noSelect:
		return "NO [TRYCREATE] no such folder", nil
	case target.readOnly:
		return "NO [NOPERM] that folder is read-only", nil
	case move && s.readOnly:
		return readOnlyReply, nil
	}
	var from, to []uint32
	moved := make(map[*stored]bool)
	for _, i := range picked {
		e := s.view[i]
		if e.expunged {
			if !c.uid { // RFC 2180, 4.4: COPY is all or nothing
				return "NO [EXPUNGEISSUED] some messages are gone", nil
			}
			continue
		}
		from = append(from, e.uid)
		moved[e.stored] = true
	}
	for _, i := range picked {
		if e := s.view[i]; moved[e.stored] {
			to = append(to, target.add(e.raw, e.flags, e.received).uid)
		}
	}
	if len(to) == 0 {
		return "OK nothing to do", nil
	}
	code := ""
	if !srv.without["UIDPLUS"] {
		code = fmt.Sprintf("[COPYUID %d %s %s] ", target.uidValidity, formatUIDs(from), formatUIDs(to))
	}
	srv.changed(target, s)
	if !move {
		return "OK " + code + "copied", nil
	}
	if code != "" {
		s.line("* OK %smoved", code) // RFC 6851, 4.3: before the EXPUNGEs
	}
	s.folder.expunge(func(m *stored) bool { return moved[m] })
	srv.changed(s.folder, s)
	return "OK moved", nil
}

// appendArgs reads what comes before the literal of an APPEND.
func (c *command) appendArgs() (name string, flags []string, received time.Time, err error) {
	if err = c.space(); err != nil {
		return
	}
	if name, err = c.mailbox(); err != nil {
		return
	}
	if err = c.space(); err != nil {
		return
	}
	if c.peek() == '(' {
		if flags, err = c.flags(); err != nil {
			return
		}
		if err = c.space(); err != nil {
			return
		}
	}
	if c.peek() == '"' {
		var text string
		if text, err = c.str(); err != nil {
			return
		}
		if received, err = time.Parse(dateTimeLayout, text); err != nil {
			err = syntaxf("date and time expected, not %q", text)
			return
		}
		err = c.space()
	}
	return
}

// refuseAppend returns why an APPEND whose literal was announced cannot be obeyed, "" if it can. Real servers say so
// before the octets come.
func (s *session) refuseAppend(c *command) string {
	probe := *c
	name, _, _, err := probe.appendArgs()
	if err != nil || !probe.ended() { // the mailbox may be a literal: its octets are still to come
		return ""
	}
	return s.checkAppend(name)
}

func (s *session) checkAppend(name string) string {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	f := s.server.store.get(name)
	switch {
	case f == nil || f.noSelect:
		return "NO [TRYCREATE] no such folder"
	case f.readOnly:
		return "NO [NOPERM] the folder is read-only"
	}
	return ""
}

func (s *session) append(c *command) (string, error) {
	name, flags, received, err := c.appendArgs()
	if err != nil {
		return "", err
	}
	if !c.accept(0) || len(c.literals) != 1 {
		return "", syntaxf("literal expected before %q", c.rest())
	}
	if err := c.end(); err != nil {
		return "", err
	}
	if refusal := s.checkAppend(name); refusal != "" {
		return refusal, nil
	}
	if received.IsZero() {
		received = time.Now().Truncate(time.Second)
	}
	srv := s.server
	srv.mu.Lock()
	defer srv.mu.Unlock()
	f := srv.store.get(name)
	if f == nil {
		return "NO [TRYCREATE] no such folder", nil
	}
	m := f.add(c.literals[0], flags, received)
	srv.changed(f, s)
	if srv.without["UIDPLUS"] {
		return "OK appended", nil
	}
	return fmt.Sprintf("OK [APPENDUID %d %d] appended", f.uidValidity, m.uid), nil
}
