package smtptest

import (
	"slices"
	"strings"
)

type faultKind uint8

const (
	faultReply  faultKind = iota // the command is not obeyed, the reply is the test's
	faultStall                   // not obeyed, no reply
	faultDrop                    // not obeyed, connection closed
	faultInject                  // obeyed, and text behind the reply in the same write
	faultLose                    // obeyed, connection closed before the reply
)

// fault is what a test wants to happen at a command.
type fault struct {
	pattern string
	kind    faultKind
	text    string
	left    int // how often; negative = always
}

func (s *Server) addFault(f fault, times []int) {
	f.left = -1
	if len(times) > 0 {
		f.left = times[0]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Fail makes the server refuse commands instead of obeying them, with the reply given: "452 4.3.1 full". The command is a
// name, perhaps with the beginning of its arguments, without regard to case: "RCPT", "RCPT TO:<bob@", "GREETING", or
// [End] for the reply to a message. A reply of several lines is separated by "\n", without codes on the lines but the
// last if they have none of their own; one that begins with 421 ends the connection. With times only so many commands
// fail, otherwise all until [Server.ClearFaults]. If several faults match a command, the oldest one that is not used up
// applies.
func (s *Server) Fail(command, reply string, times ...int) {
	s.addFault(fault{pattern: command, kind: faultReply, text: reply}, times)
}

// Inject makes the server send text, as it is, behind the reply to a command that it obeys, in the same write. Command
// and times are as for [Server.Fail].
func (s *Server) Inject(command, text string, times ...int) {
	s.addFault(fault{pattern: command, kind: faultInject, text: text}, times)
}

// Stall makes the server fall silent at a command: it is not obeyed, there is no reply, nothing is read any more, and
// the connection stays open until the client closes it. Command and times are as for [Server.Fail].
func (s *Server) Stall(command string, times ...int) {
	s.addFault(fault{pattern: command, kind: faultStall}, times)
}

// Drop makes the server close the connection at a command, which it does not obey. Command and times are as for
// [Server.Fail].
func (s *Server) Drop(command string, times ...int) {
	s.addFault(fault{pattern: command, kind: faultDrop}, times)
}

// LoseReply makes the server obey a command and close the connection before the reply: the client cannot know. At [End]
// the message was taken. Command and times are as for [Server.Fail].
func (s *Server) LoseReply(command string, times ...int) {
	s.addFault(fault{pattern: command, kind: faultLose}, times)
}

// Refuse makes the server refuse a recipient with the reply given, until [Server.ClearFaults].
func (s *Server) Refuse(address, reply string) { s.Fail("RCPT TO:<"+address+">", reply) }

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

// replyLines makes lines of a reply of one or several.
func replyLines(text string) []string {
	lines := strings.Split(text, "\n")
	last := lines[len(lines)-1]
	code, _, _ := strings.Cut(last, " ")
	for i, line := range lines[:len(lines)-1] {
		if !strings.HasPrefix(line, code) {
			lines[i] = code + "-" + line
		}
	}
	return lines
}
