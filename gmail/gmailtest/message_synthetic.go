package gmailtest

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
)

// A Synthetic is a message that holds no octets: they are made while they are read, always the same ones for the same Seed and
// Octets. It is a legal message of RFC 5322 with CRLF line ends if Octets is at least 512. It is meant for [Delivery.Content].
type Synthetic struct {
	Seed   uint64
	Octets int64
}

// Size returns how many octets the message has.
func (s Synthetic) Size() int64 { return s.Octets }

// MessageID returns the message's Message-ID without the angle brackets.
func (s Synthetic) MessageID() string { return fmt.Sprintf("%d.%d@synthetic.test", s.Seed, s.Octets) }

// head is the header of the message with the empty line.
func (s Synthetic) head() string {
	return fmt.Sprintf("From: sender%d@corp.example\r\nTo: ann@corp.example\r\nSubject: synthetic %d\r\nMessage-ID: <%s>\r\n"+
		"Date: Mon, 06 Jan 2025 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n", s.Seed%1000, s.Seed, s.MessageID())
}

// syntheticLine is the length of a line of the body with its CRLF.
const syntheticLine = 78

// ReadAt implements io.ReaderAt. It may be called by several goroutines at once.
func (s Synthetic) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("a message has no octet %d", off)
	}
	want := len(p)
	p = p[:max(0, min(int64(want), s.Octets-off))]
	head := s.head()
	for n := 0; n < len(p); {
		if at := off + int64(n); at < int64(len(head)) {
			n += copy(p[n:], head[at:])
		} else {
			n += s.line(p[n:], at-int64(len(head)))
		}
	}
	for at, end := max(off, s.Octets-3), off+int64(len(p)); at < end; at++ { // the last line is cut: it ends here
		switch i := at - off; {
		case at == s.Octets-1:
			p[i] = '\n'
		case at == s.Octets-2:
			p[i] = '\r'
		case p[i] == '\r':
			p[i] = 'A'
		}
	}
	if len(p) < want {
		return len(p), io.EOF
	}
	return len(p), nil
}

// line fills p with the body from octet off on, to the end of a line at most, and returns how many octets that were.
func (s Synthetic) line(p []byte, off int64) int {
	number, within := off/syntheticLine, int(off%syntheticLine)
	var text [syntheticLine + 2]byte
	state := mix(s.Seed ^ uint64(number)<<1 ^ 0x9e3779b97f4a7c15) //nolint:gosec // it is only mixed
	for i := 0; i < len(text); i += 8 {
		state = mix(state)
		binary.LittleEndian.PutUint64(text[i:], state&0x1f1f1f1f1f1f1f1f+0x4141414141414141) // "A" to "`": no blank, no dot, no "From "
	}
	text[syntheticLine-2], text[syntheticLine-1] = '\r', '\n'
	return copy(p, text[within:syntheticLine])
}

// mix is the finisher of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return bits.RotateLeft64(x^x>>31, 17)
}
