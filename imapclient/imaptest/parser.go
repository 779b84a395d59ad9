package imaptest

import (
	"errors"
	"fmt"
	"strings"
)

// command is one client command. Its literals are held aside: in line a NUL, which no line may hold (RFC 3501, 9),
// stands for each.
type command struct {
	tag      string
	name     string // upper case, without UID
	uid      bool   // the UID form
	line     []byte
	literals [][]byte
	pos      int
	record   Command // as it was written down
}

// fullName returns the name as transcripts and faults know it: "UID STORE".
func (c *command) fullName() string {
	if c.uid {
		return "UID " + c.name
	}
	return c.name
}

// args returns what follows the name, literals as "{n}".
func (c *command) args() string {
	rest := strings.TrimPrefix(string(c.line[c.pos:]), " ")
	literals := c.literals
	var b strings.Builder
	for {
		before, after, found := strings.Cut(rest, "\x00")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if len(literals) > 0 { // none while the command is still being read
			fmt.Fprintf(&b, "{%d}", len(literals[0]))
			literals = literals[1:]
		}
		rest = after
	}
}

// errSyntax is the class of errors that are answered with BAD.
var errSyntax = errors.New("syntax error")

func syntaxf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errSyntax, fmt.Sprintf(format, args...))
}

// head reads tag and name.
func (c *command) head() error {
	tag := c.run(func(b byte) bool { return isAtom(b) && b != '+' || b == ']' })
	if tag == "" {
		return syntaxf("no tag")
	}
	c.tag = tag
	if err := c.space(); err != nil {
		return err
	}
	name := c.run(isAtom)
	if strings.EqualFold(name, "UID") {
		if err := c.space(); err != nil {
			return err
		}
		c.uid = true
		name = c.run(isAtom)
	}
	if name == "" {
		return syntaxf("no command")
	}
	c.name = strings.ToUpper(name)
	return nil
}

// isAtom reports whether b is an ATOM-CHAR (RFC 3501, 9).
func isAtom(b byte) bool {
	return b > ' ' && b < 0x7f && !strings.ContainsRune(`(){%*"\]`, rune(b))
}

func (c *command) run(ok func(byte) bool) string {
	start := c.pos
	for c.pos < len(c.line) && ok(c.line[c.pos]) {
		c.pos++
	}
	return string(c.line[start:c.pos])
}

// peek returns the next octet; 0 at the end and at a literal.
func (c *command) peek() byte {
	if c.pos < len(c.line) {
		return c.line[c.pos]
	}
	return 0
}

func (c *command) ended() bool { return c.pos == len(c.line) }

func (c *command) end() error {
	if !c.ended() {
		return syntaxf("unexpected %q", c.rest())
	}
	return nil
}

// rest returns a little of what is left, for messages.
func (c *command) rest() string { return string(c.line[c.pos:min(len(c.line), c.pos+20)]) }

func (c *command) space() error { return c.expect(' ') }

func (c *command) expect(b byte) error {
	if c.ended() || c.line[c.pos] != b {
		return syntaxf("%q expected before %q", b, c.rest())
	}
	c.pos++
	return nil
}

// accept skips b if it is next.
func (c *command) accept(b byte) bool {
	if c.ended() || c.line[c.pos] != b {
		return false
	}
	c.pos++
	return true
}

func (c *command) atom() (string, error) {
	if s := c.run(isAtom); s != "" {
		return s, nil
	}
	return "", syntaxf("atom expected before %q", c.rest())
}

func (c *command) number() (uint64, error) {
	n, err := parseNumber(c.run(func(b byte) bool { return b >= '0' && b <= '9' }))
	if err != nil {
		return 0, syntaxf("number expected before %q", c.rest())
	}
	return n, nil
}

func (c *command) set() (numSet, error) {
	set, err := parseNumSet(c.run(func(b byte) bool { return b >= '0' && b <= '9' || b == ':' || b == ',' || b == '*' }))
	if err != nil {
		return nil, syntaxf("sequence set expected before %q", c.rest())
	}
	return set, nil
}

// isString reports whether a quoted string or a literal is next.
func (c *command) isString() bool {
	return !c.ended() && (c.line[c.pos] == '"' || c.line[c.pos] == 0)
}

// str reads a quoted string or a literal.
func (c *command) str() (string, error) {
	if !c.isString() {
		return "", syntaxf("string expected before %q", c.rest())
	}
	if c.accept(0) {
		if len(c.literals) == 0 {
			return "", syntaxf("NUL")
		}
		s := string(c.literals[0])
		c.literals = c.literals[1:]
		return s, nil
	}
	c.pos++
	var b strings.Builder
	for !c.ended() {
		switch octet := c.line[c.pos]; octet {
		case '"':
			c.pos++
			return b.String(), nil
		case 0:
			return "", syntaxf("literal within a quoted string")
		case '\\':
			c.pos++
			if c.ended() || c.line[c.pos] != '"' && c.line[c.pos] != '\\' {
				return "", syntaxf("bad escape in a quoted string")
			}
			b.WriteByte(c.line[c.pos])
		default:
			b.WriteByte(octet)
		}
		c.pos++
	}
	return "", syntaxf("quoted string without end")
}

func (c *command) astring() (string, error) {
	if c.isString() {
		return c.str()
	}
	if s := c.run(func(b byte) bool { return isAtom(b) || b == ']' }); s != "" {
		return s, nil
	}
	return "", syntaxf("argument expected before %q", c.rest())
}

// mailbox reads a folder's name.
func (c *command) mailbox() (string, error) {
	name, err := c.astring()
	if err != nil {
		return "", err
	}
	return canonical(name), nil
}

// pattern reads a list-mailbox.
func (c *command) pattern() (string, error) {
	if c.isString() {
		return c.str()
	}
	if s := c.run(func(b byte) bool { return isAtom(b) || b == ']' || b == '%' || b == '*' }); s != "" {
		return s, nil
	}
	return "", syntaxf("pattern expected before %q", c.rest())
}

// list reads "(" items ")" with spaces between the items; it may be empty.
func (c *command) list(item func() error) error {
	if err := c.expect('('); err != nil {
		return err
	}
	if c.accept(')') {
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if c.accept(')') {
			return nil
		}
		if err := c.space(); err != nil {
			return err
		}
	}
}

func (c *command) flag() (string, error) {
	prefix := ""
	if c.accept('\\') {
		prefix = `\`
	}
	name, err := c.atom()
	if err != nil {
		return "", syntaxf("flag expected before %q", c.rest())
	}
	return prefix + name, nil
}

// flags reads a flag list in parentheses.
func (c *command) flags() ([]string, error) {
	var flags []string
	err := c.list(func() error {
		flag, err := c.flag()
		flags = withFlag(flags, flag)
		return err
	})
	return flags, err
}
