// Package inflate reads raw DEFLATE as IMAP's COMPRESS has it (RFC 4978): a stream that never ends, and of which each
// flush must come through at once, in whatever way the other end flushes.
package inflate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrCorrupt is in the error of a stream that is no DEFLATE.
var ErrCorrupt = errors.New("the compressed data is corrupt")

// A Reader reads raw DEFLATE (RFC 1951) and holds back nothing that it can know: before it waits for input, it has
// handed on every octet that the input so far makes out. compress/flate does that only behind an empty stored block,
// which zlib's Z_SYNC_FLUSH ends with. A server that flushes otherwise (Z_PARTIAL_FLUSH, Z_BLOCK) would leave its reader
// waiting for the next response with the end of the last one in its hands: for ever.
//
// Memory is about 110 KiB, whatever the input. One goroutine at a time may use it.
type Reader struct {
	src io.Reader
	in  []byte // read and not used yet
	buf []byte // what in is in

	bits  uint64 // the next count bits of input, the lowest first; what is above them is the beginning of in, or zero
	count uint

	step   func(*Reader) error // what comes next; returns errDue when what is due must be handed on first
	final  bool                // this block is the last
	stored int                 // octets left of a stored block
	lit    *huffman
	dist   *huffman

	fixedLit, fixedDist huffman
	ownLit, ownDist     huffman // of a dynamic block

	window [windowSize]byte // a ring
	end    int              // where the next octet goes
	due    int              // octets before end that were not handed on
	known  int              // octets before end that a copy may reach, at most maxDistance
	err    error
}

const (
	windowSize  = 1 << 16 // twice what a copy can reach, so that half may be due
	windowMask  = windowSize - 1
	maxDistance = 1 << 15
	maxDue      = windowSize - maxDistance - 300 // no symbol makes more than 258 octets
	inputSize   = 32 << 10

	maxCodeLength = 15
	endOfBlock    = 256
)

// errDue ends a step that can only go on by waiting, or has filled the window.
var errDue = errors.New("output is due")

// NewReader returns a Reader of begun, which it keeps, and what follows it in src.
func NewReader(begun []byte, src io.Reader) *Reader {
	f := &Reader{src: src, in: begun, buf: make([]byte, inputSize), step: (*Reader).header}
	var lengths [288]uint8
	for i := range lengths { // RFC 1951, 3.2.6
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	_ = f.fixedLit.build(lengths[:]) // complete, as the RFC says
	for i := range 30 {
		lengths[i] = 5
	}
	_ = f.fixedDist.build(lengths[:30])
	return f
}

// Read implements io.Reader. It waits only if it has nothing to give.
func (f *Reader) Read(p []byte) (int, error) {
	for f.due == 0 && len(p) > 0 {
		if f.err != nil {
			return 0, f.err
		}
		if err := f.step(f); err != nil && !errors.Is(err, errDue) {
			f.err = err
		}
	}
	from := (f.end - f.due) & windowMask
	n := copy(p, f.window[from:min(from+f.due, windowSize)])
	f.due -= n
	return n, nil
}

// put adds one octet of output.
func (f *Reader) put(c byte) {
	f.window[f.end] = c
	f.end = (f.end + 1) & windowMask
	f.due++
	f.known = min(f.known+1, maxDistance)
}

// copyBack repeats length octets from distance back.
func (f *Reader) copyBack(length, distance int) {
	from := (f.end - distance) & windowMask
	if to := f.end; from+length <= windowSize && to+length <= windowSize && distance >= length {
		copy(f.window[to:to+length], f.window[from:from+length])
	} else {
		for range length { // it may overlap itself, which repeats
			f.window[to] = f.window[from]
			from, to = (from+1)&windowMask, (to+1)&windowMask
		}
	}
	f.end = (f.end + length) & windowMask
	f.due += length
	f.known = min(f.known+length, maxDistance)
}

// fill moves input into bits, as far as there is any without waiting.
func (f *Reader) fill() {
	if len(f.in) >= 8 {
		f.bits |= binary.LittleEndian.Uint64(f.in) << f.count
		n := (63 - f.count) / 8
		f.in = f.in[n:]
		f.count += n * 8
		return
	}
	for f.count <= 56 && len(f.in) > 0 {
		f.bits |= uint64(f.in[0]) << f.count
		f.in = f.in[1:]
		f.count += 8
	}
}

// wait reads input. It is errDue if something must be handed on before.
func (f *Reader) wait() error {
	switch {
	case f.due > 0:
		return errDue
	case len(f.in) > 0:
		return nil
	}
	for range 100 {
		n, err := f.src.Read(f.buf)
		f.in = f.buf[:n]
		switch {
		case n > 0:
			return nil // an error will come again
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF // DEFLATE says itself where it ends
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}

// need waits until there are n bits, at most 32.
func (f *Reader) need(n uint) error {
	for f.fill(); f.count < n; f.fill() {
		if err := f.wait(); err != nil {
			return err
		}
	}
	return nil
}

// take removes and returns n bits, which must be there.
func (f *Reader) take(n uint) int {
	v := f.bits & (1<<n - 1)
	f.bits >>= n
	f.count -= n
	return int(v)
}

// header reads the beginning of a block (RFC 1951, 3.2.3). Nothing may be due, as it may wait anywhere.
func (f *Reader) header() error {
	if f.due > 0 {
		return errDue
	}
	if f.final {
		return io.EOF
	}
	if err := f.need(3); err != nil {
		return err
	}
	f.final = f.take(1) == 1
	switch f.take(2) {
	case 0:
		return f.beginStored()
	case 1:
		f.lit, f.dist = &f.fixedLit, &f.fixedDist
	case 2:
		if err := f.codeTables(); err != nil {
			return err
		}
		f.lit, f.dist = &f.ownLit, &f.ownDist
	default:
		return fmt.Errorf("%w: no such type of block", ErrCorrupt)
	}
	f.step = (*Reader).symbols
	return nil
}

func (f *Reader) beginStored() error {
	f.take(f.count % 8) // what is left of the octet
	if err := f.need(32); err != nil {
		return err
	}
	n, complement := f.take(16), f.take(16)
	if n != complement^0xffff {
		return fmt.Errorf("%w: the length of a stored block", ErrCorrupt)
	}
	f.stored, f.step = n, (*Reader).copyStored
	return nil
}

func (f *Reader) copyStored() error {
	for f.stored > 0 {
		switch {
		case f.due >= maxDue:
			return errDue
		case f.count >= 8:
			f.put(byte(f.take(8)))
			f.stored--
			continue
		case len(f.in) == 0:
			if err := f.wait(); err != nil {
				return err
			}
		}
		f.bits = 0 // it began in, of which now more is taken
		n := copy(f.window[f.end:], f.in[:min(len(f.in), f.stored, maxDue-f.due)])
		f.in = f.in[n:]
		f.stored -= n
		f.end = (f.end + n) & windowMask
		f.due += n
		f.known = min(f.known+n, maxDistance)
	}
	f.step = (*Reader).header
	return nil
}

// lengths and distances by symbol (RFC 1951, 3.2.5): the least value, and how many bits of input are added to it.
var (
	lengthBase = [...]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthMore = [...]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBase   = [...]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distMore   = [...]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// symbols decodes what a block says. A symbol with all that belongs to it, 48 bits at most, is taken as a whole or not
// at all, so that it can be tried again when more input is there.
func (f *Reader) symbols() error {
	for f.due < maxDue {
		f.fill()
		bits, left := f.bits, f.count
		symbol, n := f.lit.decode(bits)
		if n == 0 || n > left {
			if err := f.short(n, left); err != nil {
				return err
			}
			continue
		}
		bits, left = bits>>n, left-n
		switch {
		case symbol < endOfBlock:
			f.bits, f.count = bits, left
			f.put(byte(symbol))
			continue
		case symbol == endOfBlock:
			f.bits, f.count = bits, left
			f.step = (*Reader).header
			return nil
		case int(symbol) >= endOfBlock+1+len(lengthBase):
			return fmt.Errorf("%w: no such length", ErrCorrupt)
		}
		i := symbol - endOfBlock - 1
		more := uint(lengthMore[i])
		length := int(lengthBase[i]) + int(bits&(1<<more-1))
		var d uint16
		if more <= left {
			bits, left = bits>>more, left-more
			d, n = f.dist.decode(bits)
		} else {
			n = maxCodeLength + 1
		}
		if n == 0 || n > left {
			if err := f.short(n, left); err != nil {
				return err
			}
			continue
		}
		bits, left = bits>>n, left-n
		if int(d) >= len(distBase) {
			return fmt.Errorf("%w: no such distance", ErrCorrupt)
		}
		more = uint(distMore[d])
		if more > left {
			if err := f.wait(); err != nil {
				return err
			}
			continue
		}
		distance := int(distBase[d]) + int(bits&(1<<more-1))
		if distance > f.known {
			return fmt.Errorf("%w: a copy from before the beginning", ErrCorrupt)
		}
		f.bits, f.count = bits>>more, left-more
		f.copyBack(length, distance)
	}
	return errDue
}

// short waits for the rest of a code of which left bits are there; n is 0 if they begin no code.
func (f *Reader) short(n, left uint) error {
	if n == 0 && left >= maxCodeLength {
		return fmt.Errorf("%w: no such code", ErrCorrupt)
	}
	return f.wait()
}

// codeTables reads the codes of a dynamic block (RFC 1951, 3.2.7).
func (f *Reader) codeTables() error {
	if err := f.need(14); err != nil {
		return err
	}
	nLit, nDist, nCode := 257+f.take(5), 1+f.take(5), 4+f.take(4)
	if nLit > 286 || nDist > 30 {
		return fmt.Errorf("%w: too many codes", ErrCorrupt)
	}
	var lengths [286 + 30]uint8
	order := [...]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	for _, i := range order[:nCode] {
		if err := f.need(3); err != nil {
			return err
		}
		lengths[i] = uint8(f.take(3))
	}
	codes := &f.ownLit // for the moment
	if !codes.build(lengths[:19]) {
		return fmt.Errorf("%w: the codes of the code lengths", ErrCorrupt)
	}
	lengths = [286 + 30]uint8{}
	for i := 0; i < nLit+nDist; {
		symbol, err := f.codeLength(codes)
		if err != nil {
			return err
		}
		value, times := uint8(0), 1
		switch symbol {
		case 16:
			if i == 0 {
				return fmt.Errorf("%w: nothing to repeat", ErrCorrupt)
			}
			value, times = lengths[i-1], 3+f.take(2)
		case 17:
			times = 3 + f.take(3)
		case 18:
			times = 11 + f.take(7)
		default:
			value = uint8(symbol)
		}
		if i+times > nLit+nDist {
			return fmt.Errorf("%w: too many code lengths", ErrCorrupt)
		}
		for ; times > 0; times-- {
			lengths[i] = value
			i++
		}
	}
	if lengths[endOfBlock] == 0 || !f.ownLit.build(lengths[:nLit]) || !f.ownDist.build(lengths[nLit:nLit+nDist]) {
		return fmt.Errorf("%w: the codes of a block", ErrCorrupt)
	}
	return nil
}

// codeLength decodes one symbol of the code of code lengths, and sees to the bits that belong to it.
func (f *Reader) codeLength(codes *huffman) (uint16, error) {
	for {
		f.fill()
		symbol, n := codes.decode(f.bits)
		if n != 0 && n <= f.count {
			f.take(n)
			more := [...]uint{2, 3, 7}
			if symbol < 16 {
				return symbol, nil
			}
			return symbol, f.need(more[symbol-16])
		}
		if err := f.short(n, f.count); err != nil {
			return 0, err
		}
	}
}

// A huffman is a prefix code (RFC 1951, 3.2.2).
type huffman struct {
	quick   [1 << quickBits]uint16 // by the next bits: symbol<<4 | length; 0 if the code is longer, or none
	count   [maxCodeLength + 1]uint16
	symbols [288]uint16 // by code
}

const quickBits = 10

// build makes the code of which lengths says how long each symbol's is, 0 for none. It reports whether there is such a
// code: it may leave codes unused, and decode does not know those.
func (h *huffman) build(lengths []uint8) bool {
	*h = huffman{}
	for _, n := range lengths {
		h.count[n]++
	}
	h.count[0] = 0
	var next, offset [maxCodeLength + 2]uint16
	free := 1
	for n := 1; n <= maxCodeLength; n++ {
		free = free<<1 - int(h.count[n])
		if free < 0 {
			return false
		}
		offset[n+1] = offset[n] + h.count[n]
		next[n+1] = (next[n] + h.count[n]) << 1
	}
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		h.symbols[offset[n]] = uint16(symbol)
		offset[n]++
		code := next[n]
		next[n]++
		if n > quickBits {
			continue
		}
		var reversed uint16 // codes come with their highest bit first
		for range n {
			reversed = reversed<<1 | code&1
			code >>= 1
		}
		for i := int(reversed); i < len(h.quick); i += 1 << n {
			h.quick[i] = uint16(symbol)<<4 | uint16(n)
		}
	}
	return true
}

// decode returns the symbol whose code bits begin with, and the code's length; 0 if there is none.
func (h *huffman) decode(bits uint64) (symbol uint16, length uint) {
	if q := h.quick[bits&(1<<quickBits-1)]; q != 0 {
		return q >> 4, uint(q & 15)
	}
	code, first, index := 0, 0, 0
	for n := 1; n <= maxCodeLength; n++ {
		code |= int(bits & 1)
		bits >>= 1
		count := int(h.count[n])
		if code < first+count {
			return h.symbols[index+code-first], uint(n)
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	return 0, 0
}
