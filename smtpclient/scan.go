package smtpclient

import (
	"encoding/binary"
	"math/bits"
)

// maxTextLine is the longest line of a message without its end (RFC 5322, 2.1.1).
const maxTextLine = 998

// A scan is what the octets of a message are, as far as it decides how they can be sent. The zero value has seen none.
type scan struct {
	size     int64
	lf, crlf int64 // line ends: all of them, and those of CRLF
	cr       int64
	firstCR  int64 // where the first bare CR is, once one was found
	dots     int64 // lines that begin with a dot
	eightBit bool
	nul      bool
	firstNUL int64
	longest  int64 // line, without its end

	line    int64 // where the line begins that is not ended yet
	inLine  bool  // something of that line was seen
	lastCR  bool  // the last octet was CR
	foundCR bool
}

// write takes the next octets. It never fails. It looks at eight octets at a time, and only at control characters one by
// one.
func (s *scan) write(p []byte) {
	if len(p) == 0 {
		return
	}
	if s.lastCR && p[0] != '\n' {
		s.loneCR(s.size - 1)
	}
	if !s.inLine && p[0] == '.' {
		s.dots++
	}
	const space, high = 0x2020202020202020, 0x8080808080808080
	seen, at := uint64(0), 0
	for ; len(p)-at >= 8; at += 8 {
		w := binary.LittleEndian.Uint64(p[at:])
		seen |= w
		// High where an octet is less than a space, and at times where the octet before it is.
		for low := (w - space) &^ w & high; low != 0; low &= low - 1 {
			s.control(p, at+bits.TrailingZeros64(low)/8)
		}
	}
	for ; at < len(p); at++ {
		seen |= uint64(p[at])
		s.control(p, at)
	}
	s.eightBit = s.eightBit || seen&high != 0
	s.size += int64(len(p))
	s.inLine, s.lastCR = s.line < s.size, p[len(p)-1] == '\r'
}

// control looks at one octet of p.
func (s *scan) control(p []byte, i int) {
	at := s.size + int64(i)
	switch p[i] {
	case '\n':
		s.lf++
		length := at - s.line
		if i > 0 && p[i-1] == '\r' || i == 0 && s.lastCR {
			s.crlf++
			length--
		}
		s.longest = max(s.longest, length)
		s.line = at + 1
		if i+1 < len(p) && p[i+1] == '.' {
			s.dots++
		}
	case '\r':
		s.cr++
		if i+1 < len(p) && p[i+1] != '\n' {
			s.loneCR(at)
		}
	case 0:
		if !s.nul {
			s.nul, s.firstNUL = true, at
		}
	}
}

// loneCR notes the first CR that no LF follows.
func (s *scan) loneCR(at int64) {
	if !s.foundCR {
		s.foundCR, s.firstCR = true, at
	}
}

// end says that there are no more octets.
func (s *scan) end() {
	s.longest = max(s.longest, s.size-s.line)
	if s.lastCR {
		s.loneCR(s.size - 1)
	}
}

func (s *scan) bareLF() int64 { return s.lf - s.crlf }

func (s *scan) bareCR() int64 { return s.cr - s.crlf }

// unfinished reports whether the last line has no end.
func (s *scan) unfinished() bool { return s.inLine }

// binary reports whether it is more than 8BITMIME permits (RFC 6152, 2; RFC 3030, 3).
func (s *scan) binary() bool {
	return s.nul || s.bareLF() > 0 || s.bareCR() > 0 || s.longest > maxTextLine
}
