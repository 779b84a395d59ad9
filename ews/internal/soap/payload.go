package soap

import (
	"bytes"
	"encoding/base64"
	"errors"

	"github.com/mailconn/mailconn/connection"
)

// A payload decodes the base64 text of one element as it is read. White space, references to it, comments, CDATA sections and
// missing padding are borne; anything else is ErrCorrupt, which leaves the scanner where it can go on.
//
// The usual text is unbroken: it is decoded from the scanner's buffer straight to where it is wanted. Once something else
// than base64 was met, the rest of the payload is picked together octet by octet.
type payload struct {
	s      *scanner
	depth  int  // of the element
	cdata  bool // inside a CDATA section
	broken bool // has shown more than base64
	padded bool // the padding was seen: nothing may follow
	quads  [4096]byte
	n      int // base64 waiting in quads
	out    [3072]byte
	head   []byte // of out: decoded, and not yet read
	err    error  // of what is behind head
}

// begin takes the innermost open element for a payload, and reports whether there is an octet, or something corrupt, in it.
// If not, the element is closed.
func (p *payload) begin(s *scanner) (bool, error) {
	p.s, p.depth = s, s.depth
	p.cdata, p.broken, p.padded, p.n, p.head, p.err = false, false, false, 0, nil, nil
	n, more, err := p.decode(p.out[:])
	p.head = p.out[:n]
	switch {
	case err != nil && s.err != nil:
		return false, err
	case err != nil:
		p.err = err
		return true, nil
	}
	return n > 0 || more, nil
}

// read is as io.Reader's, but tells by more whether the payload goes on. At its end the element is closed.
func (p *payload) read(b []byte) (n int, more bool, err error) {
	if len(p.head) > 0 {
		n = copy(b, p.head)
		p.head = p.head[n:]
		return n, true, nil
	}
	if p.err != nil {
		return 0, false, p.err
	}
	if p.s.depth < p.depth {
		return 0, false, nil
	}
	if len(b) >= 3 {
		return p.decode(b)
	}
	n, more, err = p.decode(p.out[:3])
	p.head = p.out[:n]
	n = copy(b, p.head)
	p.head = p.head[n:]
	return n, more || len(p.head) > 0, err
}

// decode decodes some octets into b, which has room for 3 at least: none only at the end, or with an error.
func (p *payload) decode(b []byte) (n int, more bool, err error) {
	for {
		if p.s.closed { // <MimeContent/>
			_, err := p.s.token(nil)
			return 0, false, err
		}
		chunk, at, err := p.chunk(len(b) / 3 * 4)
		switch {
		case err != nil:
			return 0, false, err
		case len(chunk) == 0:
			ended, err := p.markup(at)
			if err != nil {
				return 0, false, err
			}
			if ended {
				n, err := p.last(b)
				return n, false, err
			}
			continue
		case !p.broken:
			if n, ok := p.whole(b, chunk); ok {
				return n, true, nil
			}
			p.broken = true
		}
		if n, err := p.pick(b, chunk); n > 0 || err != nil {
			return n, true, err
		}
	}
}

// chunk returns up to about limit octets of text. If there are none, at is the octet that ends the text.
func (p *payload) chunk(limit int) (text []byte, at byte, err error) {
	if err := p.s.need(1); err != nil {
		return nil, 0, err
	}
	stop := byte('<')
	if p.cdata {
		stop = ']'
	}
	for {
		text = p.s.buf[p.s.pos:p.s.end]
		text = text[:min(len(text), max(limit, maxReference))]
		i := bytes.IndexByte(text, stop)
		if i >= 0 {
			return text[:i], stop, nil
		}
		if len(text) >= maxReference { // whatever begins in it can be told
			return text, 0, nil
		}
		if err := p.s.fill(); err != nil {
			return nil, 0, err
		}
	}
}

// whole decodes unbroken text: as many quanta as there are in chunk and as fit into b.
func (p *payload) whole(b, chunk []byte) (int, bool) {
	size := min(len(chunk)/4, len(b)/3) * 4
	if size == 0 || p.padded {
		return 0, false
	}
	n, err := base64.StdEncoding.Decode(b, chunk[:size])
	if err != nil || n == 0 {
		return 0, false
	}
	p.s.pos += size
	p.padded = n%3 != 0
	return n, true
}

// pick takes what is base64 out of chunk, up to what fits into b, and decodes whole quanta of it.
func (p *payload) pick(b, chunk []byte) (int, error) {
	room := min(len(p.quads), len(b)/3*4)
	i := 0
	for i < len(chunk) && p.n < room {
		c := chunk[i]
		switch {
		case base64Class[c] == digit:
			p.quads[p.n] = c
			p.n++
			i++
		case base64Class[c] == space:
			i++
		case c == '&' && !p.cdata:
			if len(chunk)-i < maxReference && !p.ends(chunk) {
				chunk = chunk[:i] // it may go on behind this chunk, which begins with it the next time
				continue
			}
			r, size := reference(chunk[i:])
			if size == 0 || r > 0x7f || base64Class[r] == other {
				return 0, p.corrupt()
			}
			if base64Class[r] == digit {
				p.quads[p.n] = byte(r)
				p.n++
			}
			i += size
		default:
			return 0, p.corrupt()
		}
	}
	p.s.pos += i
	size := p.n / 4 * 4
	if size == 0 {
		return 0, nil
	}
	if p.padded {
		return 0, p.corrupt()
	}
	n, err := base64.StdEncoding.Decode(b, p.quads[:size])
	if err != nil {
		return 0, p.corrupt()
	}
	p.padded = n%3 != 0
	p.n = copy(p.quads[:], p.quads[size:p.n])
	return n, nil
}

// ends reports whether a tag follows chunk.
func (p *payload) ends(chunk []byte) bool {
	end := p.s.pos + len(chunk)
	return end < p.s.end && p.s.buf[end] == '<'
}

// skip leaves the payload unread, and closes its element.
func (p *payload) skip() error {
	if p.s.depth >= p.depth && p.cdata {
		if err := p.s.cdata(nil); err != nil {
			return err
		}
	}
	p.head = nil
	return p.s.skip(p.depth)
}

// last decodes what is left of a quantum whose padding is missing.
func (p *payload) last(b []byte) (int, error) {
	rest := bytes.TrimRight(p.quads[:p.n], "=")
	if p.n == 0 {
		return 0, nil
	}
	p.n = 0
	n, err := base64.RawStdEncoding.Decode(b, rest)
	if err != nil || n == 0 || p.padded {
		return 0, p.corrupt()
	}
	return n, nil
}

// markup scans what ends a run of text, and reports whether it is the payload's end.
func (p *payload) markup(at byte) (ended bool, err error) {
	s := p.s
	if at == ']' {
		if err := s.need(3); err != nil {
			return false, err
		}
		if !bytes.HasPrefix(s.buf[s.pos:s.end], []byte("]]>")) {
			return false, p.corrupt()
		}
		s.pos += 3
		p.cdata = false
		return false, nil
	}
	k, err := s.markup()
	switch {
	case err != nil:
		return false, err
	case k == startTag:
		return false, p.corrupt()
	}
	p.cdata = k == chars
	return k == endTag, nil
}

// corrupt ends the payload; the scanner can go on behind it.
func (p *payload) corrupt() error {
	p.err = &connection.Error{Kind: connection.ErrCorrupt, Err: errors.New("payload is not base64")}
	return p.err
}

// Classes of octets in base64 text.
const (
	other = iota
	digit // and padding
	space
)

var base64Class = func() (class [256]uint8) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=" {
		class[c] = digit
	}
	for _, c := range " \t\r\n" {
		class[c] = space
	}
	return class
}()
