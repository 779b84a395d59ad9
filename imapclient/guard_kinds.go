package imapclient

import (
	"bytes"
	"strconv"

	"github.com/mailconn/mailconn/internal/wirelog"
)

// A kind is what a response is, as far as the guard has to know.
type kind uint8

const (
	kindUnknown   kind = iota // nothing that go-imap or the driver knows: dropped
	kindContinue              // "+": a continuation request
	kindStatus                // OK, NO, BAD, BYE, PREAUTH, tagged or not
	kindCount                 // EXISTS, RECENT, EXPUNGE
	kindFlags                 //
	kindFetch                 //
	kindSearch                //
	kindESearch               //
	kindList                  //
	kindMailbox               // STATUS
	kindNamespace             //
)

// kindOf are the responses that are handed on. Those with a number before them have no kind without one, and vice
// versa. CAPABILITY and ENABLED are not among them: an open parenthesis in one freezes go-imap for ever, and the driver
// has no use for either.
var kindOf = map[string]struct {
	kind     kind
	numbered bool
}{
	"OK": {kind: kindStatus}, "NO": {kind: kindStatus}, "BAD": {kind: kindStatus}, "BYE": {kind: kindStatus}, "PREAUTH": {kind: kindStatus},
	"EXISTS": {kindCount, true}, "RECENT": {kindCount, true}, "EXPUNGE": {kindCount, true}, "FETCH": {kindFetch, true},
	"FLAGS": {kind: kindFlags}, "SEARCH": {kind: kindSearch}, "ESEARCH": {kind: kindESearch}, "LIST": {kind: kindList},
	"STATUS": {kind: kindMailbox}, "NAMESPACE": {kind: kindNamespace},
}

// droppedKinds are the names under which dropped responses are told of; all others are "unknown-response".
var droppedKinds = map[string]string{
	"VANISHED": "vanished", "LSUB": "lsub", "XLIST": "xlist", "ID": "id", "CAPABILITY": "capability", "ENABLED": "enabled",
}

// askedBy are the commands that a response answers. A kind that is not here may come unasked (RFC 9051, 7).
var askedBy = map[kind][]string{
	kindFetch: {"FETCH"}, kindSearch: {"SEARCH"}, kindESearch: {"SEARCH"}, kindList: {"LIST"},
	kindMailbox: {"STATUS", "LIST"}, kindNamespace: {"NAMESPACE"},
}

// assembled reports whether the response is taken as a whole, with its literals, since they may need repair.
func (k kind) assembled() bool { return k == kindList || k == kindMailbox || k == kindNamespace }

// nests reports whether parentheses and quotes mean something in the response.
func (k kind) nests() bool { return k >= kindCount && k != kindSearch }

// classify finds out, from what line holds so far, what response begins.
func (g *guard) classify() error {
	line := g.line
	if len(bytes.TrimSpace(line)) == 0 && len(line) < maxHead {
		return nil // an empty line
	}
	g.started = true
	if line[0] == '+' {
		g.kind, g.head = kindContinue, "a continuation request"
		g.drop = !g.busy()
		if g.drop {
			g.quirk("unasked-continuation")
		}
		return g.heard(true)
	}
	tag, at := word(line, 0)
	name, at := word(line, at)
	number, numbered := "", false
	if len(name) > 0 && name[0] >= '0' && name[0] <= '9' {
		number, numbered = string(name), true
		name, at = word(line, at)
	}
	if len(name) == 0 || at >= maxHead {
		return g.violation("no response: %q", g.shown(line))
	}
	if _, err := strconv.ParseUint(number, 10, 32); numbered && err != nil {
		return g.violation("a number out of range: %q", g.shown(line))
	}
	typ := string(bytes.ToUpper(name))
	g.head = string(tag) + " "
	if numbered {
		g.head += number + " "
	}
	g.head += typ
	known, ok := kindOf[typ]
	switch {
	case ok && known.numbered == numbered && (string(tag) == "*" || known.kind == kindStatus):
		g.kind = known.kind
	case string(tag) != "*":
		return g.violation("no status in a tagged reply: %q", g.shown(line))
	}
	_, must := askedBy[g.kind]
	chatter := g.kind == kindFlags || g.kind == kindStatus && string(tag) == "*"
	switch {
	case g.kind == kindUnknown:
		g.drop = true
		quirk := droppedKinds[typ]
		if quirk == "" {
			quirk = "unknown-response"
		}
		g.quirk(quirk)
	case must && g.kind != kindFetch && !g.asked(g.kind):
		g.drop = true
		g.quirk("unasked-response")
	case g.kind == kindCount:
		n, _ := strconv.ParseUint(number, 10, 32) // in range: it was looked at above
		chatter = !g.counted(typ, uint32(n))
	case g.kind == kindFetch:
		chatter = g.taker.Load() == nil && !g.asked(kindFetch)
	}
	g.squeeze(at, typ, string(name))
	return g.heard(chatter || g.drop)
}

// Limits of what a server may say between two commands of ours, or in answer to one. Without them a server that always
// says something in time would keep a command alive for ever. A session that meets one is replaced by a new one.
const (
	maxResponses = 1 << 20 // responses of any kind: more than the messages or folders that one command asks for
	maxChatter   = 10_000  // of those, the ones that answer nothing, beside one for each message: somebody may flag them all
)

// heard counts one response.
func (g *guard) heard(chatter bool) error {
	if n := g.responses.Add(1); n > maxResponses {
		return g.violation("over %d responses to one command", maxResponses)
	}
	if chatter && g.chatter.Add(1) > maxChatter+int64(g.news.messages()) {
		return g.violation("over %d responses that answer nothing", maxChatter)
	}
	return nil
}

// squeeze makes the spaces in and behind the head single ones, as go-imap wants them. at is where the head ends.
func (g *guard) squeeze(at int, typ, name string) {
	end := at
	for end < len(g.line) && g.line[end] == ' ' {
		end++
	}
	want := g.head
	if typ != name {
		want = g.head[:len(g.head)-len(typ)] + name
	}
	g.rest = len(want)
	if end > at {
		g.rest++
		want += " "
	}
	if string(g.line[:end]) == want {
		return
	}
	g.quirk("spaces")
	g.line = append([]byte(want), g.line[end:]...)
}

// shown returns the beginning of a line for an error.
func (g *guard) shown(line []byte) string {
	return wirelog.Clip(g.l.cleanCut(string(bytes.TrimSpace(line))))
}

// word returns the word that begins at or after at, up to a space, parenthesis or line end, and where it ends.
func word(line []byte, at int) ([]byte, int) {
	for at < len(line) && line[at] == ' ' {
		at++
	}
	from := at
	for at < len(line) && line[at] != ' ' && line[at] != '\r' && line[at] != '\n' && line[at] != '(' {
		at++
	}
	return line[from:at], at
}
