package pop3test

import (
	"encoding/base64"
	"strings"
	"sync"
)

// redacted stands for passwords and for what would reveal them.
const redacted = "[redacted]"

// A Command is one command as a server received it, whether it was obeyed or not. The lines of a SASL exchange are not
// commands and are not kept.
type Command struct {
	Conn int    // the connection, counted from 1 in the order of acceptance
	Name string // upper case
	Args string // as sent, without secrets
}

// String returns the command as one line.
func (c Command) String() string { return strings.TrimRight(c.Name+" "+c.Args, " ") }

// matches reports whether pattern, without regard to case, is c's name, perhaps with first arguments: "RETR 2".
func (c Command) matches(pattern string) bool {
	text, n := c.String(), len(pattern)
	return len(text) >= n && strings.EqualFold(text[:n], pattern) && (len(text) == n || text[n] == ' ')
}

// journal records commands. It is safe for concurrent use.
type journal struct {
	mu       sync.Mutex
	commands []Command
	secrets  *strings.Replacer
}

func newJournal(username, password string) *journal {
	pairs := []string{base64.StdEncoding.EncodeToString([]byte("\x00" + username + "\x00" + password)), redacted}
	if password != "" {
		pairs = append(pairs, password, redacted)
	}
	return &journal{secrets: strings.NewReplacer(pairs...)}
}

// note records one line that a client sent as a command.
func (j *journal) note(conn int, line string) Command {
	name, args, _ := strings.Cut(line, " ")
	c := Command{Conn: conn, Name: strings.ToUpper(name), Args: args}
	switch c.Name {
	case "PASS":
		c.Args = redacted
	case "APOP", "AUTH":
		if first, _, more := strings.Cut(args, " "); more {
			c.Args = first + " " + redacted
		}
	}
	c.Args = j.secrets.Replace(c.Args)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.commands = append(j.commands, c)
	return c
}

// all returns the commands that match one of the patterns; without patterns, all.
func (j *journal) all(patterns []string) []Command {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []Command
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
