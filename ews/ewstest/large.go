package ewstest

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
)

// A Synthetic is a message that holds no octets: they are made while they are read, always the same ones for the same Seed
// and Size. It is a legal message of RFC 5322 with CRLF line ends if Size is at least 512. The zero value is empty.
type Synthetic struct {
	Seed   uint64
	Octets int64
}

// lineLength is that of a line of a synthetic body with its CRLF.
const lineLength = 78

// Size returns how many octets the message has.
func (s Synthetic) Size() int64 { return s.Octets }

// ReadAt implements io.ReaderAt. It may be called by several goroutines at once.
func (s Synthetic) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("a message has no octet %d", off)
	}
	head, total := s.head(), 0
	for total < len(p) && off < s.Octets {
		part := p[total:min(int64(len(p)), int64(total)+s.Octets-off)]
		var n int
		if off < int64(len(head)) {
			n = copy(part, head[off:])
		} else {
			n = s.line(part, off-int64(len(head)))
		}
		total, off = total+n, off+int64(n)
	}
	if total < len(p) {
		return total, io.EOF
	}
	return total, nil
}

// head is the header of the message with the empty line.
func (s Synthetic) head() string {
	return fmt.Sprintf("From: sender%d@corp.test\r\nTo: journal@corp.test\r\nSubject: synthetic %d\r\nMessage-ID: <%s>\r\n"+
		"Date: Mon, 06 Jan 2025 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n",
		s.Seed%1000, s.Seed, s.MessageID())
}

// MessageID returns the message's Message-ID without the angle brackets.
func (s Synthetic) MessageID() string { return fmt.Sprintf("%d.%d@synthetic.test", s.Seed, s.Octets) }

// line fills p with the body from octet off on, to the end of a line at most, and returns how many octets that were.
func (s Synthetic) line(p []byte, off int64) int {
	number, within := off/lineLength, int(off%lineLength)
	var text [lineLength]byte
	state := mix(s.Seed ^ uint64(number)<<1 ^ 0x9e3779b97f4a7c15) //nolint:gosec // it is only mixed
	for i := 0; i < lineLength-2; i += 8 {
		state = mix(state)
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], state&0x1f1f1f1f1f1f1f1f)
		for j := range word {
			if i+j < lineLength-2 {
				text[i+j] = 'A' + word[j] // "A" to "`": no space, no dot, no "From "
			}
		}
	}
	text[lineLength-2], text[lineLength-1] = '\r', '\n'
	return copy(p, text[within:])
}

// mix is the finisher of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return bits.RotateLeft64(x^x>>31, 17)
}

// Fill puts n synthetic messages of a size into the folder, with the seeds seed, seed+1 and so on. A million of them take a
// quarter of a GiB, whatever their size.
func (f *Folder) Fill(n int, seed uint64, octets int64) {
	f.mb.s.mu.Lock()
	defer f.mb.s.mu.Unlock()
	for i := range n {
		f.mb.deliver(f, Message{Body: Synthetic{Seed: seed + uint64(i), Octets: octets}}) //nolint:gosec // n is not negative
	}
	f.mb.s.store.changed()
}
