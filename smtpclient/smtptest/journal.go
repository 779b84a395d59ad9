package smtptest

import (
	"strings"
	"sync"
)

// redacted stands for what authenticates.
const redacted = "[redacted]"

// End is the name of what ends a message in place of a command: the dot of DATA, or the last octet of BDAT LAST.
const End = "END"

// A Command is one command as a server received it, whether it was obeyed or not.
type Command struct {
	Conn int    // the connection, counted from 1 in the order of acceptance
	Name string // upper case: "MAIL"; End at the end of a message; "" if the line was empty
	Args string // as sent, without secrets
}

// String returns the command as one line.
func (c Command) String() string { return strings.TrimRight(c.Name+" "+c.Args, " ") }

// matches reports whether pattern is c's name, perhaps with the beginning of its arguments, without regard to case:
// "RCPT", "RCPT TO:<bob@".
func (c Command) matches(pattern string) bool {
	name, args, _ := strings.Cut(pattern, " ")
	return strings.EqualFold(name, c.Name) && len(c.Args) >= len(args) && strings.EqualFold(c.Args[:len(args)], args)
}

// parse takes a line apart.
func parse(conn int, line string) Command {
	name, args, _ := strings.Cut(line, " ")
	return Command{Conn: conn, Name: strings.ToUpper(name), Args: args}
}

// journal records commands. It is safe for concurrent use.
type journal struct {
	mu       sync.Mutex
	commands []Command
}

func (j *journal) record(c Command) {
	if c.Name == "AUTH" {
		if mechanism, _, initial := strings.Cut(c.Args, " "); initial {
			c.Args = mechanism + " " + redacted
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.commands = append(j.commands, c)
}

// all returns the commands that match one of the patterns; without patterns, all.
func (j *journal) all(patterns []string) []Command {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]Command, 0, len(j.commands))
	for _, c := range j.commands {
		wanted := len(patterns) == 0
		for _, p := range patterns {
			wanted = wanted || c.matches(p)
		}
		if wanted {
			out = append(out, c)
		}
	}
	return out
}
