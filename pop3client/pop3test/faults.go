package pop3test

import (
	"slices"
	"strings"
)

type faultKind uint8

const (
	faultReply  faultKind = iota // the command is not obeyed, the reply is the test's
	faultInject                  // lines before the command is obeyed
	faultStall                   // not obeyed, no reply
	faultDrop                    // not obeyed, connection closed
	faultLose                    // obeyed, connection closed before the reply
)

// fault is what a test wants to happen at a command.
type fault struct {
	pattern string
	kind    faultKind
	lines   []string
	left    int // how often; negative = always
}

func (s *Server) addFault(kind faultKind, pattern, lines string, times []int) {
	left := -1
	if len(times) > 0 {
		left = times[0]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &fault{pattern: pattern, kind: kind, lines: strings.Split(lines, "\n"), left: left})
}

// Fail makes the server answer commands with reply instead of obeying them. The command is a name, perhaps with first
// arguments, without regard to case: "DELE", "RETR 2". The reply is sent as it is: "-ERR [SYS/TEMP] disk"; several lines
// are separated by "\n". With times only so many commands fail, otherwise all until [Server.ClearFaults]. If several
// faults match a command, the oldest one that is not used up applies.
func (s *Server) Fail(command, reply string, times ...int) {
	s.addFault(faultReply, command, reply, times)
}

// Inject makes the server send lines, as they are, before it obeys command. Command and times are as for [Server.Fail].
func (s *Server) Inject(command, lines string, times ...int) {
	s.addFault(faultInject, command, lines, times)
}

// Stall makes the server fall silent at a command: it is not obeyed, there is no reply, and the connection stays open
// until the client closes it. Command and times are as for [Server.Fail].
func (s *Server) Stall(command string, times ...int) { s.addFault(faultStall, command, "", times) }

// Drop makes the server close the connection at a command, which it does not obey. Command and times are as for
// [Server.Fail].
func (s *Server) Drop(command string, times ...int) { s.addFault(faultDrop, command, "", times) }

// LoseReply makes the server obey a command and close the connection before the reply: the client cannot know. Command
// and times are as for [Server.Fail].
func (s *Server) LoseReply(command string, times ...int) { s.addFault(faultLose, command, "", times) }

// ClearFaults makes the server healthy again. A connection that is already stalled stays so, and one that was accepted
// under a CutAfter is still cut.
func (s *Server) ClearFaults() {
	s.line.Heal()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// takeFault returns the fault that applies to c, and counts it.
func (s *Server) takeFault(c Command) *fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.faults, func(f *fault) bool { return f.left != 0 && c.matches(f.pattern) })
	if i < 0 {
		return nil
	}
	if s.faults[i].left > 0 {
		s.faults[i].left--
	}
	return s.faults[i]
}
