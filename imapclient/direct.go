package imapclient

import (
	"bytes"
	"io"
	"strconv"
	"strings"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailconn/mailconn/connection"
)

// A taker is given the small bodies of one FETCH by the guard itself. go-imap, to which the guard gives all else, makes
// three channels and switches goroutines several times for each message, which costs more than reading it.
//
// The guard calls it from the goroutine that reads, which may wait in it.
type taker interface {
	// begin tells that another response has begun: what was given before had a well-formed end.
	begin()
	// room returns memory for a body of size octets, nil if the reply is to go to go-imap. about is what stood before
	// the body.
	room(about *facts, size int64) (octets []byte, give func())
	// take gives a reply that was read to its end. octets is what room returned.
	take(about facts, octets []byte, give func())
}

// direct makes t take the bodies that come from now on; nil ends that.
func (g *guard) direct(t taker) {
	if t == nil {
		g.taker.Store(nil)
		return
	}
	g.taker.Store(&t)
}

// give gives a FETCH reply to the taker, if there is one that wants it. text is the reply's first piece, repaired. taken
// is false if the reply must be handed on, of which nothing but text has been read then.
func (g *guard) give(text []byte) (taken bool, err error) {
	t := g.taker.Load()
	if t == nil {
		return false, nil
	}
	if !g.told {
		g.told = true
		(*t).begin()
	}
	if g.kind != kindFetch || g.handing {
		return false, nil
	}
	g.handing = true
	about := facts{size: -1}
	value, ok := about.read(text[min(g.rest+1, len(text)):])
	if !ok || !isOctets(value) {
		return false, nil
	}
	var octets []byte
	var free func()
	if g.more {
		if octets, free = (*t).room(&about, g.size); octets == nil {
			return false, nil
		}
		if err := g.takeLiteral(&about, octets); err != nil {
			free()
			return false, err
		}
	} else {
		body := unquote(value)
		if octets, free = (*t).room(&about, int64(len(body))); octets == nil {
			return false, nil
		}
		copy(octets, body)
	}
	(*t).take(about, octets, free)
	return true, nil
}

// takeLiteral reads the literal that is announced, and the end of its response.
func (g *guard) takeLiteral(about *facts, octets []byte) error {
	g.l.trace.Octets(false, g.size)
	g.lit = g.size
	n, err := io.ReadFull(g.l.br, octets)
	g.lit -= int64(n)
	if err != nil {
		return g.cut(err)
	}
	text, err := g.piece()
	switch {
	case err != nil:
		return err
	case g.more:
		return g.violation("%s with a second literal", g.head)
	}
	if _, ok := about.read(text); !ok {
		return g.violation("%s with %q behind a body", g.head, g.shown(text))
	}
	return nil
}

// isOctets reports whether value is a body: a literal's announcement or a quoted string. NIL is none (RFC 9051, 7.5.2).
func isOctets(value []byte) bool {
	return len(value) > 1 && (value[0] == '{' || value[0] == '"' && value[len(value)-1] == '"')
}

// read takes in the items of text, which the guard has repaired, up to its end or that of the list. body is the value of
// BODY[], nil if there was none. It reports false if there is anything in text that it does not know.
func (f *facts) read(text []byte) (body []byte, ok bool) {
	for at := 0; ; {
		for at < len(text) && text[at] == ' ' {
			at++
		}
		if at == len(text) || text[at] == ')' || text[at] == '\r' || text[at] == '\n' {
			return body, true
		}
		nameEnd := itemNameEnd(text, at)
		from := nameEnd
		for from < len(text) && text[from] == ' ' {
			from++
		}
		to := valueEnd(text, from)
		name, value := text[at:nameEnd], trimEnd(text[from:to])
		at = to
		switch {
		case bytes.EqualFold(name, []byte("BODY[]")) && body == nil:
			body = value
		case !f.known(name, value):
			return nil, false
		}
	}
}

// known takes in one item besides the body.
func (f *facts) known(name, value []byte) bool {
	is := func(want string) bool { return bytes.EqualFold(name, []byte(want)) }
	switch {
	case is("UID"):
		n, err := strconv.ParseUint(string(value), 10, 32)
		if err != nil || n == 0 || value[0] == '+' {
			return false
		}
		f.uid = uint32(n)
	case is("FLAGS"):
		f.flags = f.flags[:0]
		for flag := range bytes.FieldsSeq(bytes.Trim(value, "()")) {
			f.flag(string(flag))
		}
	case is("INTERNALDATE"):
		received, err := parseDate(value)
		if err != nil {
			return false
		}
		f.received = received
	case is("RFC822.SIZE"), is("MODSEQ"):
	default:
		return false
	}
	return true
}

// flag adds a flag as a server spells it.
func (f *facts) flag(flag string) {
	// \Recent is the session's, not the message's (RFC 3501, 2.3.2), and RFC 9051 has no such flag.
	if strings.EqualFold(flag, `\Recent`) {
		return
	}
	for _, usual := range usualFlags {
		if strings.EqualFold(flag, string(usual)) {
			f.flags = append(f.flags, connection.Flag(usual))
			return
		}
	}
	f.flags = append(f.flags, connection.Flag(flag))
}

// usualFlags are those that go-imap spells as the RFCs do, whatever the server's upper and lower case.
var usualFlags = [...]goimap.Flag{
	goimap.FlagSeen, goimap.FlagAnswered, goimap.FlagFlagged, goimap.FlagDeleted, goimap.FlagDraft, goimap.FlagForwarded,
	goimap.FlagMDNSent, goimap.FlagJunk, goimap.FlagNotJunk, goimap.FlagPhishing, goimap.FlagImportant,
}
