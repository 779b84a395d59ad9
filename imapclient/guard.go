package imapclient

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// The guard's limits. What exceeds one is ErrProtocol, found while the octets arrive.
const (
	maxLine      = 1 << 20  // text of one response, without its literals
	maxSearch    = 64 << 20 // text of one SEARCH response
	maxFound     = 8 << 20  // numbers in one SEARCH response
	maxDepth     = 64       // parentheses in parentheses
	maxBufLit    = 1 << 20  // a literal that is no message body, as go-imap keeps it in memory
	maxHead      = 64       // octets before the type of a response is known
	searchPiece  = 32 << 10 // of a SEARCH response handed on at once
	keptCapacity = 64 << 10 // of the line buffer from one response to the next
)

// A guard stands between the server and go-imap. To go-imap it is a net.Conn whose server begins with PREAUTH: the
// prelude has done all that comes before. It tokenises what the server sends so far that it can enforce limits, drop
// what nobody asked for, repair what go-imap dies of (imap.md, 6.4, has the list), keep notes of what go-imap throws
// away, and let message bodies through as a stream. It owns all timeouts: the deadline methods do nothing.
//
// One goroutine reads and one writes, as go-imap's do; all other methods may be called at any time by anybody.
type guard struct {
	l       *link
	observe func(quirk string) // told of each kind of repair once; may be nil
	notes   noteRing
	seen    map[string]bool // quirks told of

	out   []byte                // ready for the reader
	line  []byte                // the text being read, up to its LF
	lit   int64                 // octets of a literal still to come
	found []uint32              // numbers of a SEARCH response
	left  []uint32              // those still to hand on
	tail  string                // what follows them; "" when all is handed on
	taker atomic.Pointer[taker] // of small bodies; nil while there is none
	fixed []byte                // what repairFetch made of a piece
	most  searchLimits
	hits  sought
	names nameMap // folder names that go-imap cannot take
	news  news    // of the folder selected
	response
	commands
}

// response is the state of the response being read.
type response struct {
	started bool   // its type is known
	kind    kind   //
	text    int    // octets of text so far
	scanned int    // octets of line that depth and quoted take into account
	depth   int    // open parentheses
	quoted  bool   // within a quoted string
	escaped bool   // behind a backslash there
	drop    bool   // nothing of it is handed on
	more    bool   // a literal of size follows line, and then more text
	size    int64  //
	head    string // "* 1 FETCH", for errors
	rest    int    // where the text behind head begins in the first line
	listed  bool   // the list of a FETCH response was opened
	bodied  bool   // a body was in it
	told    bool   // the taker knows of it
	handing bool   // its first piece was offered to the taker

	searching *searching // of a SEARCH response
}

// newGuard returns a guard over l, which it owns from then on. observe, which may be nil, is told once of each kind of
// oddity that was repaired or dropped.
func newGuard(l *link, observe func(quirk string)) *guard {
	g := &guard{l: l, observe: observe, seen: make(map[string]bool), most: searchLimits{octets: maxSearch, numbers: maxFound}}
	g.commands.init(l)
	g.news.come = make(chan struct{}, 1)
	g.out = []byte("* PREAUTH [CAPABILITY " + strings.Join(handedOver(l), " ") + "] mailconn\r\n")
	return g
}

// handedOver returns the capabilities that go-imap may know. It must not hear of what the prelude has dealt with, and
// not of QRESYNC, whose responses it does not know. Of IMAP4rev2 it hears only if there is no IMAP4rev1: it would send
// quoted UTF-8 at once, which RFC 9051 permits only after ENABLE on such servers.
func handedOver(l *link) []string {
	rev1 := slices.Contains(l.caps, "IMAP4REV1")
	var caps []string
	for _, name := range l.caps {
		switch {
		case !l.has(name), strings.HasPrefix(name, "AUTH="), strings.HasPrefix(name, "COMPRESS="):
		case name == "STARTTLS", name == "SASL-IR", name == "LOGINDISABLED", name == "QRESYNC", name == "UTF8=ONLY":
		case name == "IMAP4REV2" && rev1:
		default:
			caps = append(caps, name)
		}
	}
	if !slices.Contains(caps, "IMAP4REV1") && !slices.Contains(caps, "IMAP4REV2") {
		caps = append([]string{"IMAP4REV1"}, caps...)
	}
	return caps
}

// Mark returns a place in the notes for Since.
func (g *guard) Mark() uint64 { return g.notes.mark() }

// Since returns the notes taken after mark, oldest first, of which at most the last 64 are kept.
func (g *guard) Since(mark uint64) []note { return g.notes.since(mark) }

// setIdle sets the no-data limit to limit until it is called with 0. Without it, the settings' no_data_timeout holds
// while a command is under way, and none in between.
func (g *guard) setIdle(limit time.Duration) { g.setLimit(limit) }

// Read implements net.Conn. The end of the stream is io.EOF only between two responses: go-imap takes io.EOF inside a
// literal for the end of the literal.
func (g *guard) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(g.out) == 0 {
		if err := g.ended(); err != nil {
			return 0, err
		}
		switch {
		case g.lit > 0 && !g.drop:
			n, err := g.l.br.Read(p[:min(int64(len(p)), g.lit)])
			g.lit -= int64(n)
			if n > 0 {
				return n, nil
			}
			if err != nil {
				return 0, g.cut(err)
			}
		case g.lit > 0:
			n, err := g.l.br.Discard(int(min(g.lit, linkBuffer)))
			g.lit -= int64(n)
			if err != nil {
				return 0, g.cut(err)
			}
		case g.tail != "":
			g.handOnFound()
		default:
			if err := g.next(); err != nil {
				return 0, err
			}
		}
	}
	n := copy(p, g.out)
	g.out = g.out[n:]
	return n, nil
}

// next reads text up to a line's end and makes of it what is handed on, or gives the response to the taker.
func (g *guard) next() error {
	out, err := g.piece()
	if err != nil || !g.started {
		return err
	}
	if !g.drop {
		taken, err := g.give(out)
		if err != nil {
			return err
		}
		if !taken {
			g.out = out
		}
	}
	if !g.more {
		g.response = response{}
		return nil
	}
	g.lit = g.size
	g.l.trace.Octets(false, g.size)
	return nil
}

// piece reads text up to a line's end, or to its literal, and returns it repaired. Of an empty line nothing is left, and
// started is false then.
func (g *guard) piece() ([]byte, error) {
	if cap(g.line) > keptCapacity {
		g.line = nil
	}
	g.line, g.scanned = g.line[:0], 0
	if err := g.readText(); err != nil {
		return nil, err
	}
	if !g.started {
		return nil, nil // an empty line
	}
	for g.kind.assembled() && g.more {
		if err := g.appendLiteral(); err != nil {
			return nil, err
		}
		if err := g.readText(); err != nil {
			return nil, err
		}
	}
	if !g.more && g.depth != 0 && !g.drop {
		return nil, g.violation("parentheses that do not close in %s", g.head)
	}
	return g.repair(g.line)
}

// readText appends octets up to and including LF to line, checking them as they arrive, and finds out whether a literal
// follows: then more is set.
func (g *guard) readText() error {
	g.more, g.size, g.quoted, g.escaped = false, 0, false, false
	for {
		if _, err := g.l.br.Peek(1); err != nil {
			return g.cut(err)
		}
		part, _ := g.l.br.Peek(g.l.br.Buffered()) // no error: they are there
		end := bytes.IndexByte(part, '\n') + 1
		if end > 0 {
			part = part[:end]
		}
		if g.kind == kindSearch {
			if err := g.search(part); err != nil {
				return err
			}
		} else if err := g.accept(part, end > 0); err != nil {
			return err
		}
		_, _ = g.l.br.Discard(len(part)) // cannot fail: they are buffered
		switch {
		case end == 0:
		case !g.started && len(bytes.TrimSpace(g.line)) == 0:
			g.quirk("empty-line")
			g.response = response{}
			return g.heard(true)
		default:
			g.l.trace.Received(g.line)
			return g.literal()
		}
	}
}

// accept takes a piece of text: it classifies the response as soon as its head is there, and enforces the limits.
func (g *guard) accept(part []byte, whole bool) error {
	for len(part) > 0 {
		// Until the type is known, only so much is taken as knowing it needs.
		n := len(part)
		if !g.started {
			n = min(n, maxHead)
		}
		g.line = append(g.line, part[:n]...)
		g.text += n
		part = part[n:]
		if !g.started && (whole && len(part) == 0 || len(g.line) >= maxHead) {
			if err := g.classify(); err != nil {
				return err
			}
			if g.kind == kindSearch {
				// Its numbers are not kept as text.
				if err := g.search(g.line[g.rest:]); err != nil {
					return err
				}
				return g.search(part)
			}
		}
		if !g.started {
			if len(part) == 0 {
				return nil
			}
			continue
		}
		if g.text > maxLine {
			return g.violation("a response line over %d octets (%s)", maxLine, g.head)
		}
		if err := g.scan(); err != nil {
			return err
		}
	}
	return nil
}

// scan follows parentheses and quoted strings through what is new in line.
func (g *guard) scan() error {
	if !g.kind.nests() {
		return nil
	}
	for _, c := range g.line[g.scanned:] {
		switch {
		case g.escaped:
			g.escaped = false
		case g.quoted && c == '\\':
			g.escaped = true
		case c == '"':
			g.quoted = !g.quoted
		case g.quoted:
		case c == '(':
			g.depth++
			if g.depth > maxDepth {
				return g.violation("parentheses nested over %d deep in %s", maxDepth, g.head)
			}
		case c == ')':
			g.depth--
		}
	}
	g.scanned = len(g.line)
	return nil
}

// cut makes an error of what ended the stream below. It is io.EOF only between two responses.
func (g *guard) cut(err error) error {
	if ended := g.ended(); ended != nil {
		return ended
	}
	end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) // the latter is TLS without a farewell
	between := !g.started && len(g.line) == 0 && g.lit == 0
	switch {
	case between || !end:
	case g.lit > 0:
		err = g.l.peer.Errorf(connection.ErrNetwork, "", "the connection was cut inside a literal, %d octets before its end: %w", g.lit, io.ErrUnexpectedEOF)
	default:
		err = g.l.peer.Errorf(connection.ErrNetwork, "", "the connection was cut inside a response: %w", io.ErrUnexpectedEOF)
	}
	g.lost(g.l.lost(err), between)
	if ended := g.ended(); ended != nil && !(between && end) {
		return ended
	}
	return io.EOF
}

// violation ends the connection because of what the server sent.
func (g *guard) violation(format string, args ...any) error {
	err := g.l.peer.Errorf(connection.ErrProtocol, "", format, args...)
	g.fail(err)
	return err
}

// quirk tells of an oddity, once.
func (g *guard) quirk(name string) {
	if g.seen[name] {
		return
	}
	g.seen[name] = true
	if slices.Contains(g.l.strict, name) {
		_ = g.violation("an oddity that disable_quirks does not permit to be worked around: %s", name) // the next Read says so
		return
	}
	if g.observe != nil {
		g.observe(name)
	}
}

// Write implements net.Conn. It notes which commands are under way.
func (g *guard) Write(p []byte) (int, error) {
	if err := g.ended(); err != nil {
		return 0, err
	}
	g.sent(p)
	sent, replaced := g.names.restore(p)
	n, err := g.l.stream.Write(sent)
	if err != nil {
		err = g.l.lost(err)
		g.lost(err, false)
		return min(n, len(p)), err
	}
	if replaced {
		n = len(p)
	}
	return n, nil
}

// LocalAddr implements net.Conn.
func (g *guard) LocalAddr() net.Addr { return g.l.stream.LocalAddr() }

// RemoteAddr implements net.Conn.
func (g *guard) RemoteAddr() net.Addr { return g.l.stream.RemoteAddr() }

// SetDeadline implements net.Conn and does nothing: go-imap's constants would end a large message on a slow line, and
// hang on a mute server.
func (g *guard) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn and does nothing.
func (g *guard) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn and does nothing.
func (g *guard) SetWriteDeadline(time.Time) error { return nil }
