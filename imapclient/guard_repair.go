package imapclient

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// repair returns what is handed on of line, which is a piece of text of the response, whole but for literals.
func (g *guard) repair(line []byte) ([]byte, error) {
	switch g.kind {
	case kindSearch:
		return []byte(g.head), nil
	case kindStatus:
		return g.repairStatus(line)
	case kindUnknown, kindContinue:
		return line, nil
	}
	if g.drop {
		return line, nil
	}
	text, end := splitEnd(line)
	switch g.kind {
	case kindFlags:
		list, after := splitList(text[g.rest:])
		return g.rebuilt(line, text[:g.rest], g.filterFlags(list), after, end), nil
	case kindFetch:
		return g.repairFetch(text, end)
	case kindList, kindMailbox:
		return g.repairNames(line)
	}
	return append(bytes.TrimRight(text, " \r"), end...), nil
}

// rebuilt joins parts, or returns line if that is what they make.
func (g *guard) rebuilt(line []byte, parts ...[]byte) []byte {
	if joined := bytes.Join(parts, nil); !bytes.Equal(joined, line) {
		return joined
	}
	return line
}

// splitEnd splits off the line's end.
func splitEnd(line []byte) (text, end []byte) {
	text = trimEnd(line)
	return text, line[len(text):]
}

// splitList splits off the parenthesised list at the beginning of text; list is empty if there is none.
func splitList(text []byte) (list, after []byte) {
	if len(text) == 0 || text[0] != '(' {
		return nil, text
	}
	n := valueEnd(text, 0)
	return text[:n], text[n:]
}

// repairStatus takes notes of a status response, and removes or repairs the codes that go-imap dies of.
func (g *guard) repairStatus(line []byte) ([]byte, error) {
	text, end := splitEnd(line)
	n := parseStatus(string(text))
	told := n
	told.Time, told.Text = time.Now(), g.l.clean(n.Text)
	if n.Tag != "*" {
		if n.Type == "BYE" || n.Type == "PREAUTH" {
			return nil, g.violation("a tagged %s", n.Type)
		}
		g.hits = sought{}
		// Before the reply is known: a Read that waits afterwards has nothing to wait for.
		defer g.answered(n.Tag)
		if !g.underWay(n.Tag) {
			return nil, g.violation("a reply to a command that was not sent: %q", g.shown(line))
		}
	}
	if n.Code != "" || n.Type != "OK" {
		g.notes.add(told)
	}
	if n.Tag == "*" {
		g.l.notice(told)
		if n.Type == "BYE" {
			g.farewell(told)
		}
	}
	return g.rebuilt(line, []byte(g.statusText(n)), end), nil
}

// statusText writes a status response so that go-imap can take it.
func (g *guard) statusText(n note) string {
	code, arg := n.Code, n.Arg
	drop := func(quirk string) { code, arg = "", ""; g.quirk(quirk) }
	switch code {
	case "":
	case "CAPABILITY":
		code, arg = "", "" // the prelude knows them, and go-imap freezes on some
	case "UIDVALIDITY":
		if !isNumber(arg, 32) {
			arg = "1" // what it is stands in the notes
			g.quirk("uidvalidity")
		}
	case "UIDNEXT":
		if !isNumber(arg, 32) {
			drop("uidnext")
		}
	case "HIGHESTMODSEQ":
		if !isNumber(arg, 64) {
			drop("highestmodseq")
		}
	case "APPENDUID":
		if validity, uid := cutSpace(arg); !isNumber(validity, 32) || !isNumber(uid, 32) {
			drop("appenduid")
		}
	case "COPYUID":
		validity, rest := cutSpace(arg)
		from, to := cutSpace(rest)
		if !isNumber(validity, 32) || !isSet(from) || !isSet(to) || len(arg) > maxNoteArg {
			drop("copyuid")
		}
	case "PERMANENTFLAGS":
		if arg = string(g.filterFlags([]byte(arg))); !strings.HasPrefix(arg, "(") || !strings.HasSuffix(arg, ")") {
			drop("flag")
		}
	default:
		if !isAtom(code) {
			drop("response-code")
		}
	}
	if code == "" && strings.HasPrefix(n.Text, "[") {
		// go-imap would take this for a code, and look for a missing "]" in the lines that follow.
		n.Text = strings.TrimLeft(n.Text, "[ ")
		g.quirk("response-code")
	}
	var b strings.Builder
	b.WriteString(n.Tag + " " + n.Type)
	if code != "" {
		b.WriteString(" [" + code)
		if arg != "" {
			b.WriteString(" " + arg)
		}
		b.WriteByte(']')
	}
	if n.Text != "" {
		// A bare CR would end go-imap's line.
		b.WriteString(" " + strings.ReplaceAll(n.Text, "\r", "?"))
	}
	return b.String()
}

func isNumber(s string, bits int) bool {
	_, err := strconv.ParseUint(s, 10, bits)
	return err == nil && s[0] != '+'
}

// isSet reports whether s is a set of UIDs as COPYUID may hold it: without "*".
func isSet(s string) bool {
	for part := range strings.SplitSeq(s, ",") {
		lo, hi, ranged := strings.Cut(part, ":")
		if !isNumber(lo, 32) || ranged && !isNumber(hi, 32) || strings.HasPrefix(lo, "0") || strings.HasPrefix(hi, "0") {
			return false
		}
	}
	return true
}

func isAtom(s string) bool {
	for i := range len(s) {
		if !isAtomChar(s[i]) {
			return false
		}
	}
	return s != ""
}

// repairFetch walks the items of a FETCH response, and leaves out or repairs those that go-imap dies of. A piece of text
// behind a literal goes on in the list that the first piece opened.
//
// Behind a body nothing unknown is borne: if the literal was announced too short, the rest of the message stands there,
// and what came before it must not pass for the whole.
func (g *guard) repairFetch(text, end []byte) ([]byte, error) {
	if cap(g.fixed) > keptCapacity {
		g.fixed = nil
	}
	out := g.fixed[:0] // all that was made of the piece before has been handed on
	at := 0
	if !g.listed {
		if len(text) <= g.rest || text[g.rest] != '(' {
			return nil, g.violation("%s without a list", g.head)
		}
		g.listed = true
		at = g.rest + 1
		out = append(out, text[:at]...)
	}
	for {
		if g.bodied && at < len(text) && text[at] != ' ' && text[at] != ')' {
			return nil, g.violation("%s with %q behind a body", g.head, g.shown(text[at:]))
		}
		for at < len(text) && text[at] == ' ' {
			at++
		}
		if at == len(text) {
			break
		}
		if text[at] == ')' {
			if len(bytes.TrimSpace(text[at+1:])) > 0 {
				return nil, g.violation("%s with %q behind its list", g.head, g.shown(text[at+1:]))
			}
			out = append(out, ')')
			break
		}
		nameEnd := itemNameEnd(text, at)
		from := nameEnd
		for from < len(text) && text[from] == ' ' {
			from++
		}
		to := valueEnd(text, from)
		name, value := text[at:nameEnd], text[from:to]
		if !validItem(name) {
			return nil, g.violation("%s with %q in it", g.head, g.shown(text[at:]))
		}
		if g.bodied && !mayFollowBody(name, value) {
			return nil, g.violation("%s with %q behind a body", g.head, g.shown(text[at:]))
		}
		g.bodied = g.bodied || bytes.IndexByte(name, '[') >= 0
		at = to
		value, keep := g.repairItem(name, value)
		if !keep {
			if g.more && at == len(text) {
				return nil, g.violation("%s with a literal as %q", g.head, g.shown(name))
			}
			continue
		}
		if len(out) == 0 || out[len(out)-1] != '(' {
			out = append(out, ' ')
		}
		out = append(out, name...)
		if len(value) > 0 {
			out = append(out, ' ')
			out = append(out, value...)
		}
	}
	g.fixed = append(out, end...)
	return g.fixed, nil
}

// mayFollowBody reports whether a FETCH item is one that servers are known to send behind a body, with a value of its
// kind.
func mayFollowBody(name, value []byte) bool {
	v := string(value)
	list := strings.HasPrefix(v, "(") && strings.HasSuffix(v, ")")
	switch strings.ToUpper(string(name)) {
	case "UID", "X-GM-MSGID", "X-GM-THRID":
		return isNumber(v, 64)
	case "FLAGS", "X-GM-LABELS":
		return list
	case "MODSEQ":
		return list && isNumber(strings.TrimSpace(v[1:len(v)-1]), 64)
	case "INTERNALDATE":
		return strings.EqualFold(v, "NIL") || len(v) > 1 && v[0] == '"' && v[len(v)-1] == '"'
	case "RFC822.SIZE":
		_, err := strconv.ParseInt(v, 10, 64)
		return err == nil
	}
	return false
}

// validItem reports whether name may be that of a FETCH item: an atom, or BODY or BINARY with a section.
func validItem(name []byte) bool {
	base, section, ok := bytes.Cut(name, []byte("["))
	if !ok {
		return isAtom(string(base))
	}
	is := func(want string) bool { return bytes.EqualFold(base, []byte(want)) }
	return bytes.IndexByte(section, ']') >= 0 && (is("BODY") || is("BINARY") || is("BINARY.SIZE"))
}

// parseDate reads an INTERNALDATE in go-imap's layout. What does not fit it is not known then, but the message is.
func parseDate(value []byte) (time.Time, error) {
	return time.Parse(`"_2-Jan-2006 15:04:05 -0700"`, string(value))
}

// itemNameEnd returns where the name of a FETCH item ends, which may be BODY[HEADER.FIELDS (TO)]<0>.
func itemNameEnd(text []byte, at int) int {
	for ; at < len(text); at++ {
		switch text[at] {
		case ' ', '(', ')':
			return at
		case '[':
			n := bytes.IndexByte(text[at:], ']')
			if n < 0 {
				return len(text)
			}
			at += n
		}
	}
	return at
}

// valueEnd returns where the value ends that begins at from: a list, a quoted string, a literal's announcement, an atom.
func valueEnd(text []byte, from int) int {
	depth, quoted := 0, false
	for at := from; at < len(text); at++ {
		c := text[at]
		switch {
		case quoted && c == '\\':
			at++
		case c == '"':
			quoted = !quoted
			if !quoted && depth == 0 {
				return at + 1
			}
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			if depth == 0 {
				return at
			}
			depth--
			if depth == 0 {
				return at + 1
			}
		case c == ' ' && depth == 0:
			return at
		}
	}
	return len(text)
}

// repairItem returns the value to hand on, and whether the item is to be handed on at all.
func (g *guard) repairItem(name, value []byte) ([]byte, bool) {
	is := func(want string) bool { return bytes.EqualFold(name, []byte(want)) }
	switch {
	case bytes.IndexByte(name, '[') >= 0:
		if len(value) == 3 && bytes.EqualFold(value, []byte("NIL")) && string(value) != "NIL" {
			g.quirk("nil")
			value = []byte("NIL")
		}
		return value, true
	case is("UID"), is("MODSEQ"):
		return value, true
	case is("FLAGS"):
		return g.fewFlags(g.filterFlags(value)), true
	case is("INTERNALDATE"):
		if _, err := parseDate(value); err == nil {
			return value, true
		}
		g.quirk("internaldate")
		return nil, false
	case is("RFC822.SIZE"):
		if isNumber(string(value), 63) {
			return value, true
		}
		g.quirk("size")
		return nil, false
	}
	g.quirk("unasked-item")
	return nil, false
}
