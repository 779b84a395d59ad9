package imaptest

import (
	"encoding/base64"
	"strings"
	"sync"
)

// redacted stands for passwords and for what would reveal them.
const redacted = "[redacted]"

// A Command is one command as a server received it, whether it was obeyed or not.
type Command struct {
	Conn int    // the connection, counted from 1 in the order of acceptance
	Tag  string // "" if the line had none
	Name string // upper case, "UID" included: "UID STORE"; "" if the line was no command
	Args string // as sent, without secrets; a literal is "{octets}"
}

// String returns the command as one line.
func (c Command) String() string {
	words := make([]string, 0, 3)
	for _, word := range []string{c.Tag, c.Name, c.Args} {
		if word != "" {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

// matches reports whether pattern, without regard to case and quotes, is c's name, perhaps with first arguments:
// "UID STORE", "SELECT Archive". A pattern without UID matches the UID form as well.
func (c Command) matches(pattern string) bool {
	text := c.Name
	if c.Args != "" {
		text += " " + strings.ReplaceAll(c.Args, `"`, "")
	}
	return hasWords(text, pattern) || hasWords(strings.TrimPrefix(text, "UID "), pattern)
}

func hasWords(text, words string) bool {
	n := len(words)
	return len(text) >= n && strings.EqualFold(text[:n], words) && (len(text) == n || text[n] == ' ')
}

// journal records commands. It is safe for concurrent use.
type journal struct {
	mu       sync.Mutex
	commands []Command
	secrets  *strings.Replacer
}

func newJournal(username, password string) *journal {
	blob := base64.StdEncoding.EncodeToString([]byte("\x00" + username + "\x00" + password))
	pairs := []string{blob, redacted}
	if password != "" {
		pairs = append(pairs, password, redacted)
	}
	return &journal{secrets: strings.NewReplacer(pairs...)}
}

func (j *journal) record(c Command) {
	c.Args = j.secrets.Replace(c.Args)
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

// describe makes the record of a command whose head was read; what authenticates is left out.
func describe(conn int, c *command) Command {
	d := Command{Conn: conn, Tag: c.tag, Name: c.fullName()}
	switch d.Name {
	case "LOGIN":
		probe := *c
		d.Args = redacted
		if probe.space() == nil {
			if user, err := probe.astring(); err == nil {
				d.Args = user + " " + redacted
			}
		}
	case "AUTHENTICATE":
		mechanism, _, hasInitial := strings.Cut(c.args(), " ")
		d.Args = mechanism
		if hasInitial {
			d.Args += " " + redacted
		}
	default:
		d.Args = c.args()
	}
	return d
}
