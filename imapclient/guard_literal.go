package imapclient

import (
	"bytes"
	"io"
	"strconv"
	"strings"
)

// literal finds the announcement of a literal at the end of line.
func (g *guard) literal() error {
	if g.kind == kindContinue || g.kind == kindStatus || g.kind == kindSearch || g.quoted {
		return nil
	}
	before, size, ok := cutLiteral(trimEnd(g.line))
	switch {
	case !ok:
		return nil
	case g.kind == kindCount, g.kind == kindFlags, g.kind == kindESearch:
		return g.violation("%s with a literal", g.head)
	case size < 0:
		return g.violation("a literal of an impossible size in %s", g.head)
	case g.kind == kindFetch && isBody(before):
		if !g.asked(kindFetch) {
			g.drop = true
			g.quirk("unasked-body")
		}
	case size > maxBufLit:
		return g.violation("%s with a literal of %d octets", g.head, size)
	case g.kind == kindFetch:
		// Nobody asked for anything but bodies that could be a literal, and go-imap does not survive it.
		return g.violation("%s with a literal that is no body", g.head)
	}
	g.more, g.size = true, size
	return nil
}

// appendLiteral takes the literal that line announces into line itself.
func (g *guard) appendLiteral() error {
	g.text += int(g.size) // at most maxBufLit
	if g.text > maxLine {
		return g.violation("a response over %d octets (%s)", maxLine, g.head)
	}
	from := len(g.line)
	g.line = append(g.line, make([]byte, g.size)...)
	if _, err := io.ReadFull(g.l.br, g.line[from:]); err != nil {
		return g.cut(err)
	}
	g.scanned = len(g.line)
	return nil
}

// cutLiteral splits "text{12}" into the text and 12. A size that no int64 holds, or with a sign, is -1.
func cutLiteral(line []byte) (before []byte, size int64, ok bool) {
	if len(line) < 3 || line[len(line)-1] != '}' {
		return line, 0, false
	}
	open := bytes.LastIndexByte(line, '{')
	if open < 0 {
		return line, 0, false
	}
	digits := string(line[open+1 : len(line)-1])
	bare := strings.TrimRight(strings.TrimLeft(digits, "+-"), "+")
	if bare == "" || strings.ContainsFunc(bare, func(r rune) bool { return r < '0' || r > '9' }) {
		return line, 0, false
	}
	size, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || digits != bare {
		size = -1
	}
	return line[:open], size, true
}

// isBody reports whether the text before a literal ends as BODY[], BODY[]<0> or BINARY[] do.
func isBody(before []byte) bool {
	before = bytes.TrimRight(before, " ~")
	return len(before) > 0 && (before[len(before)-1] == ']' || before[len(before)-1] == '>')
}

// trimEnd takes CR and LF from the end of a line. bytes.TrimRight, which does the same, makes a set of them each time.
func trimEnd(line []byte) []byte {
	n := len(line)
	for n > 0 && (line[n-1] == '\n' || line[n-1] == '\r') {
		n--
	}
	return line[:n]
}
