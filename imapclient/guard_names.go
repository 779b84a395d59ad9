package imapclient

import (
	"bytes"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/mailconn/mailconn/internal/utf7"
)

// maxNames is how many odd folder names of one server are kept.
const maxNames = 10_000

// A nameMap holds the folder names of a server that go-imap cannot take: bad modified UTF-7 (RFC 3501, 5.1.3) such as
// "R&D", octets that are no UTF-8, control characters. go-imap sees a readable name instead, and when it sends that one,
// the server gets its own octets back. A readable name that the server uses for another folder means that other folder.
// The zero value is ready; it is safe for concurrent use.
type nameMap struct {
	mu    sync.Mutex
	raw   map[string]string // the server's octets, by the name as go-imap sends it
	taken map[string]bool   // names of the server's own that a readable one could hide
}

// learn returns the name that stands for raw.
func (m *nameMap) learn(raw string) string {
	name := utf7.Encode(readable(raw))
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.taken[name] && len(m.raw) < maxNames {
		if m.raw == nil {
			m.raw = make(map[string]string)
		}
		m.raw[name] = raw
	}
	return name
}

// take notes a name of the server's own that is encoded.
func (m *nameMap) take(name string) {
	if !strings.Contains(name, "&") {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.raw, name)
	if len(m.taken) < maxNames {
		if m.taken == nil {
			m.taken = make(map[string]bool)
		}
		m.taken[name] = true
	}
}

// restore returns what is sent to the server for p, and whether that is something else: names in a command that goes
// out in one piece become the server's own octets again.
func (m *nameMap) restore(p []byte) (sent []byte, replaced bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.raw) == 0 || bytes.IndexByte(p, '\n') != len(p)-1 {
		return p, false
	}
	var out []byte
	done := 0
	for at := 0; at < len(p); at++ {
		if p[at] != '"' {
			continue
		}
		end := valueEnd(p, at)
		raw, ok := m.raw[unquote(p[at:end])]
		if ok {
			out = append(append(out, p[done:at]...), quote(raw)...)
			done = end
		}
		at = end - 1
	}
	if done == 0 {
		return p, false
	}
	return append(out, p[done:]...), true
}

// unquote returns what a quoted string holds.
func unquote(quoted []byte) string {
	inner := bytes.TrimSuffix(bytes.TrimPrefix(quoted, []byte(`"`)), []byte(`"`))
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var b strings.Builder
	for i := 0; i < len(inner); i++ {
		if inner[i] == '\\' && i+1 < len(inner) {
			i++
		}
		b.WriteByte(inner[i])
	}
	return b.String()
}

// quote makes a quoted string of s.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// repairNames rewrites the folder name of a LIST or STATUS response if go-imap cannot take it, and an empty delimiter
// as NIL. line is the whole response, its literals included.
func (g *guard) repairNames(line []byte) ([]byte, error) {
	out := append([]byte(nil), line[:min(g.rest, len(line))]...)
	rest := line[min(g.rest, len(line)):]
	if g.kind == kindList {
		attrs, after := splitList(rest)
		delim, after := cutWord(after)
		switch {
		case len(attrs) == 0 || len(delim) == 0:
			return nil, g.violation("%s without a delimiter", g.head)
		case bytes.EqualFold(delim, []byte("NIL")):
			delim = []byte("NIL")
		case delim[0] != '"' || utf8.RuneCountInString(unquote(delim)) != 1 || !utf8.Valid(delim):
			g.quirk("delimiter")
			delim = []byte("NIL")
		}
		out = append(append(append(append(out, g.filterFlags(attrs)...), ' '), delim...), ' ')
		rest = after
	}
	if n := len(out); n > 0 && out[n-1] != ' ' {
		out = append(out, ' ') // "* STATUS()"
	}
	token, raw, after := g.cutName(rest)
	switch name := string(raw); {
	case len(token) == 0:
		return nil, g.violation("%s without a name", g.head)
	case isEncoded(name):
		g.names.take(name)
		out = append(out, token...)
	case strings.ContainsAny(name, "\r\n\x00"):
		// No command can carry it: nobody could ever open it.
		g.quirk("folder-name")
		g.drop = true
		return nil, nil
	default:
		g.quirk("folder-name")
		out = append(out, quote(g.names.learn(name))...)
	}
	text, end := splitEnd(after) // of what is behind the name: a literal's last space is the name's own
	return g.rebuilt(line, out, bytes.TrimRight(text, " \r"), end), nil
}

// cutWord splits off the next atom or quoted string.
func cutWord(text []byte) (token, after []byte) {
	text = bytes.TrimLeft(text, " ")
	end := valueEnd(text, 0)
	return text[:end], bytes.TrimLeft(text[end:], " ")
}

// cutName splits off a folder name: the token to hand on if the name is good, the octets of the name, and what follows.
func (g *guard) cutName(text []byte) (token, raw, after []byte) {
	switch {
	case len(text) == 0:
		return nil, nil, nil
	case text[0] == '"':
		end := valueEnd(text, 0)
		return text[:end], []byte(unquote(text[:end])), text[end:]
	case text[0] == '{':
		announced := bytes.IndexByte(text, '\n') + 1
		_, size, ok := cutLiteral(bytes.TrimRight(text[:announced], "\r\n"))
		if !ok || size < 0 || size > int64(len(text)-announced) {
			return nil, nil, nil
		}
		end := announced + int(size)
		return text[:end], text[announced:end], text[end:]
	}
	line, end := splitEnd(text)
	cut := bytes.IndexByte(line, ' ')
	odd := cut >= 0 && bytes.ContainsAny(line[:cut], `()"`)
	switch {
	case cut < 0, g.kind == kindList && (odd || !bytes.HasPrefix(bytes.TrimLeft(line[cut:], " "), []byte("("))):
		// A name with spaces that should have been quoted.
		cut = len(bytes.TrimRight(line, " "))
	case odd:
		return nil, nil, nil
	}
	raw, token = line[:cut], line[:cut]
	if bytes.ContainsAny(raw, `(){ %*"\`) {
		g.quirk("folder-name")
		token = []byte(quote(string(raw)))
	}
	return token, raw, append(line[cut:len(line):len(line)], end...)
}

// isEncoded reports whether a name is what its folder's name is encoded as. Any other spelling, UTF-8 that was never
// encoded included, is not what go-imap would send for the name that it reads from it.
func isEncoded(name string) bool {
	_, ok := utf7.Decode(name)
	return ok
}

// readable makes a name for people of octets that are none.
func readable(raw string) string {
	if !utf8.ValidString(raw) {
		latin1 := make([]rune, len(raw))
		for i := range len(raw) {
			latin1[i] = rune(raw[i])
		}
		raw = string(latin1)
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ':
			return r + 0x2400 // the picture of the control character
		case r == 0x7f:
			return 0x2421
		}
		return r
	}, raw)
}
