package imaptest

import (
	"slices"
	"strings"
)

type faultKind uint8

const (
	faultReply  faultKind = iota // the command is not obeyed, the reply is the test's
	faultStall                   // not obeyed, no reply
	faultDrop                    // not obeyed, connection closed
	faultInject                  // lines before the command is obeyed; with this and what follows it is obeyed
	faultLose                    // obeyed, connection closed before the reply
	faultBye                     // obeyed in part, BYE
)

// fault is what a test wants to happen at a command.
type fault struct {
	pattern string
	kind    faultKind
	lines   []string
	after   int // FETCH responses before a faultBye
	left    int // how often; negative = always
}

func often(times []int) int {
	if len(times) == 0 {
		return -1
	}
	return times[0]
}

func (s *Server) addFault(f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Fail makes the server refuse commands instead of obeying them. The command is a name, perhaps with first arguments,
// without regard to case: "STORE" (with or without UID), "UID STORE", "SELECT Archive". The reply is what follows the
// tag: "NO [OVERQUOTA] full". Of several lines (separated by "\n") the last is tagged and the others are sent as they
// are; a line that begins with "BYE" is sent untagged and ends the connection. With times only so many commands fail,
// otherwise all until [Server.ClearFaults]. If several faults match a command, the oldest one that is not used up
// applies.
func (s *Server) Fail(command, reply string, times ...int) {
	s.addFault(fault{pattern: command, kind: faultReply, lines: strings.Split(reply, "\n"), left: often(times)})
}

// Inject makes the server send lines, as they are, before it obeys command: unsolicited data, or what no server
// should send. Command and times are as for [Server.Fail].
func (s *Server) Inject(command, lines string, times ...int) {
	s.addFault(fault{pattern: command, kind: faultInject, lines: strings.Split(lines, "\n"), left: often(times)})
}

// Stall makes the server fall silent at a command: it is not obeyed, there is no reply, and the connection stays open
// until the client closes it. Command and times are as for [Server.Fail].
func (s *Server) Stall(command string, times ...int) {
	s.addFault(fault{pattern: command, kind: faultStall, left: often(times)})
}

// Drop makes the server close the connection at a command, which it does not obey. Command and times are as for
// [Server.Fail].
func (s *Server) Drop(command string, times ...int) {
	s.addFault(fault{pattern: command, kind: faultDrop, left: often(times)})
}

// LoseReply makes the server obey a command and close the connection before the reply: the client cannot know.
// Command and times are as for [Server.Fail].
func (s *Server) LoseReply(command string, times ...int) {
	s.addFault(fault{pattern: command, kind: faultLose, left: often(times)})
}

// Bye makes the server say BYE with text in the middle of a command, and close the connection: after so many FETCH
// responses if the command has them, and at the latest before the tagged reply, with everything done. Command and times
// are as for [Server.Fail].
func (s *Server) Bye(command, text string, after int, times ...int) {
	s.addFault(fault{pattern: command, kind: faultBye, lines: []string{text}, after: after, left: often(times)})
}

// ClearFaults makes the server healthy again. A connection that is already stalled stays so, and one that was accepted
// under a CutAfter is still cut.
func (s *Server) ClearFaults() {
	s.connections.Heal()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// takeFault returns the fault that applies to c, and counts it. While the command is still being read (early), only
// those faults apply that keep it from being obeyed.
func (s *Server) takeFault(c Command, early bool) *fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.faults, func(f *fault) bool { return f.left != 0 && c.matches(f.pattern) })
	if i < 0 || early && s.faults[i].kind >= faultInject {
		return nil
	}
	if s.faults[i].left > 0 {
		s.faults[i].left--
	}
	return s.faults[i]
}
