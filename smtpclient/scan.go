package smtpclient

import (
	"bytes"
	"encoding/binary"
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

	line    int64 // octets of the line that is not ended yet
	inLine  bool  // something of a line was seen
	lastCR  bool  // the last octet was CR
	foundCR bool
}

// write takes the next octets. It never fails.
func (s *scan) write(p []byte) {
	if len(p) == 0 {
		return
	}
	if !s.nul {
		if i := bytes.IndexByte(p, 0); i >= 0 {
			s.nul, s.firstNUL = true, s.size+int64(i)
		}
	}
	s.eightBit = s.eightBit || hasEightBit(p)
	crs := int64(bytes.Count(p, crByte))
	s.cr += crs
	before := s.crlf
	pendingCR := s.lastCR
	s.lines(p)
	if !s.foundCR && (pendingCR || crs > 0) && (pendingCR != s.lastCR || crs != s.crlf-before) {
		s.findCR(p, pendingCR)
	}
	s.size += int64(len(p))
}

var crByte = []byte{'\r'}

// lines counts line ends, line lengths and dots.
func (s *scan) lines(p []byte) {
	for from := 0; from < len(p); {
		if !s.inLine && p[from] == '.' {
			s.dots++
		}
		i := bytes.IndexByte(p[from:], '\n')
		if i < 0 {
			s.line += int64(len(p) - from)
			s.inLine, s.lastCR = true, p[len(p)-1] == '\r'
			return
		}
		end := from + i
		length := s.line + int64(i)
		s.lf++
		if i > 0 && p[end-1] == '\r' || i == 0 && s.lastCR {
			s.crlf++
			length--
		}
		s.longest = max(s.longest, length)
		s.line, s.inLine, s.lastCR = 0, false, false
		from = end + 1
	}
}

// findCR looks for the first CR that no LF follows.
func (s *scan) findCR(p []byte, pending bool) {
	if pending && p[0] != '\n' {
		s.foundCR, s.firstCR = true, s.size-1
		return
	}
	for from := 0; ; {
		i := bytes.IndexByte(p[from:], '\r')
		if i < 0 || from+i+1 == len(p) {
			return
		}
		if from += i + 1; p[from] != '\n' {
			s.foundCR, s.firstCR = true, s.size+int64(from-1)
			return
		}
	}
}

// end says that there are no more octets.
func (s *scan) end() {
	s.longest = max(s.longest, s.line)
	if s.lastCR && !s.foundCR {
		s.foundCR, s.firstCR = true, s.size-1
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

// hasEightBit looks at eight octets at a time.
func hasEightBit(p []byte) bool {
	const high = 0x8080808080808080
	for len(p) >= 32 {
		w := binary.LittleEndian.Uint64(p) | binary.LittleEndian.Uint64(p[8:]) | binary.LittleEndian.Uint64(p[16:]) | binary.LittleEndian.Uint64(p[24:])
		if w&high != 0 {
			return true
		}
		p = p[32:]
	}
	for _, c := range p {
		if c >= 0x80 {
			return true
		}
	}
	return false
}
