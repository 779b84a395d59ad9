package raw

import (
	"encoding/binary"
	"io"
)

// A payload decodes the base64 text of a JSON string, behind its quotation mark, as it is read. Both alphabets of RFC 4648
// will do, also mixed, with the padding that belongs there or none. An escape may stand for any octet. Line breaks, which are
// always escaped, are passed over, as in MIME. Anything else is ErrCorrupt.
//
// Read ends in io.EOF once the closing quotation mark was taken and no digit was left over.
type payload struct {
	s      *scanner
	bits   uint32 // of the digits of a quantum that is not yet full
	n      int    // digits in bits
	pads   int    // padding seen: nothing but more of it may follow
	digits int64  // taken so far, and …
	breaks int64  // … line breaks, which must not be the most of it
	out    [3]byte
	have   []byte // of out: decoded, and not yet read
	err    error  // behind have
}

// Read implements [io.Reader]. It does not wait for more once it has something.
func (p *payload) Read(b []byte) (n int, err error) {
	for n < len(b) {
		switch {
		case len(p.have) > 0:
			k := copy(b[n:], p.have)
			p.have = p.have[k:]
			n += k
			continue
		case p.err != nil && n > 0:
			return n, nil
		case p.err != nil:
			return 0, p.err
		case p.n == 0 && p.pads == 0:
			taken, made := quanta(b[n:], p.s.buf[p.s.pos:p.s.end])
			p.s.pos += taken
			p.digits += int64(taken)
			n += made
		}
		if n > 0 && p.s.pos == p.s.end {
			return n, nil
		}
		if n < len(b) {
			p.err = p.step()
		}
	}
	return n, nil
}

// step takes one octet or one escape. io.EOF is the end of the text.
func (p *payload) step() error {
	c, err := p.octet()
	if err != nil {
		return err
	}
	r := rune(c)
	switch {
	case c == '"':
		return p.end()
	case c == '\\':
		if r, err = p.escape(); err != nil {
			return err
		}
	case c < ' ':
		return corrupt("raw: a control character in the text")
	}
	switch {
	case r == '=':
		if p.pads++; p.n < 2 || p.n+p.pads > 4 {
			return corrupt("raw: padding where none belongs")
		}
	case r == '\r', r == '\n':
		if p.breaks++; p.breaks > p.digits+4 {
			return corrupt("raw: more line breaks than text")
		}
	case r >= 0x80 || values[r] == none:
		return corrupt("raw: %q is no base64", r)
	case p.pads > 0:
		return corrupt("raw: text behind the padding")
	default:
		p.digits++
		p.bits = p.bits<<6 | uint32(values[r])
		if p.n++; p.n == 4 {
			p.out = [3]byte{byte(p.bits >> 16), byte(p.bits >> 8), byte(p.bits)}
			p.have = p.out[:]
			p.bits, p.n = 0, 0
		}
	}
	return nil
}

// end decodes what is left when the text has ended.
func (p *payload) end() error {
	switch {
	case p.n == 1, p.pads > 0 && p.n+p.pads != 4:
		return corrupt("raw: the text ends within an octet")
	case p.n > 1:
		p.bits <<= 6 * (4 - p.n)
		p.out = [3]byte{byte(p.bits >> 16), byte(p.bits >> 8)}
		p.have = p.out[:p.n-1]
	}
	return io.EOF
}

// octet takes one octet.
func (p *payload) octet() (byte, error) {
	if err := p.s.fill(); err != nil {
		return 0, cut(err)
	}
	c := p.s.buf[p.s.pos]
	p.s.pos++
	return c, nil
}

// escape takes the rest of an escape behind the backslash, and returns what it stands for.
func (p *payload) escape() (rune, error) {
	c, err := p.octet()
	if err != nil {
		return 0, err
	}
	switch c {
	case '/':
		return '/', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 'u':
	default:
		return 0, corrupt("raw: an escape of what is no base64")
	}
	r := rune(0)
	for range 4 {
		if c, err = p.octet(); err != nil {
			return 0, err
		}
		digit := hex(c)
		if digit < 0 {
			return 0, corrupt("raw: a broken escape")
		}
		r = r<<4 | digit
	}
	return r, nil
}

// none is the value of what is no digit of base64.
const none = 0xff

// values has the digits of both alphabets (RFC 4648, sections 4 and 5).
var values = func() (t [256]byte) {
	for i := range t {
		t[i] = none
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(i)
	}
	t['-'], t['_'] = t['+'], t['/']
	return t
}()

// quanta decodes as much of src as dst has room for, up to what is no digit, in whole quanta of four digits. It may write
// two octets behind what it says to have made.
func quanta(dst, src []byte) (taken, made int) {
	for len(src)-taken >= 8 && len(dst)-made >= 8 {
		q := src[taken : taken+8 : taken+8]
		a, b, c, d := values[q[0]], values[q[1]], values[q[2]], values[q[3]]
		e, f, g, h := values[q[4]], values[q[5]], values[q[6]], values[q[7]]
		if (a|b|c|d|e|f|g|h)&0x80 != 0 {
			break
		}
		binary.BigEndian.PutUint64(dst[made:], uint64(a)<<58|uint64(b)<<52|uint64(c)<<46|uint64(d)<<40|
			uint64(e)<<34|uint64(f)<<28|uint64(g)<<22|uint64(h)<<16)
		taken, made = taken+8, made+6
	}
	for len(src)-taken >= 4 && len(dst)-made >= 3 {
		q := src[taken : taken+4 : taken+4]
		a, b, c, d := values[q[0]], values[q[1]], values[q[2]], values[q[3]]
		if (a|b|c|d)&0x80 != 0 {
			break
		}
		v := uint32(a)<<18 | uint32(b)<<12 | uint32(c)<<6 | uint32(d)
		dst[made], dst[made+1], dst[made+2] = byte(v>>16), byte(v>>8), byte(v)
		taken, made = taken+4, made+3
	}
	return taken, made
}
