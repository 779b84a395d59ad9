package objecttest

import (
	"bytes"
	"io"
)

// A blob is octets that never change. Long runs of zeros take no memory, so that a test may store more than the machine
// has. The zero blob is empty.
type blob struct {
	runs []run
	size int64
}

// A run is a part of a blob.
type run struct {
	data []byte // nil: zeros
	size int64
}

const runSize = 64 << 10

// zero reports whether p is nothing but zeros.
func zero(p []byte) bool {
	for _, c := range p {
		if c != 0 {
			return false
		}
	}
	return true
}

// readBlob reads r to its end. tee, if not nil, receives the octets too: hashes, say.
func readBlob(r io.Reader, tee io.Writer) (blob, error) {
	var b blob
	buf := make([]byte, runSize)
	for {
		n, err := fill(r, buf)
		b.add(buf[:n])
		if tee != nil {
			if _, err := tee.Write(buf[:n]); err != nil {
				return blob{}, err
			}
		}
		if err == io.EOF { //nolint:errorlint // a failure that wraps io.EOF is no end
			return b, nil
		}
		if err != nil {
			return blob{}, err
		}
	}
}

// fill is io.ReadFull, but keeps the reader's own error.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

func (b *blob) add(p []byte) {
	b.size += int64(len(p))
	last := len(b.runs) - 1
	switch {
	case len(p) == 0:
	case !zero(p):
		b.runs = append(b.runs, run{bytes.Clone(p), int64(len(p))})
	case last >= 0 && b.runs[last].data == nil:
		b.runs[last].size += int64(len(p))
	default:
		b.runs = append(b.runs, run{nil, int64(len(p))})
	}
}

// join returns the octets of all parts in order, as of a multipart upload.
func join(parts ...blob) blob {
	var b blob
	for _, p := range parts {
		b.runs = append(b.runs, p.runs...)
		b.size += p.size
	}
	return b
}

// damaged returns b with the lowest bit of the octet in its middle inverted, as a failing disk would. An empty blob stays.
func (b blob) damaged() blob {
	if b.size == 0 {
		return b
	}
	middle := b.size / 2
	head, tail := b.part(0, middle), b.part(middle+1, b.size-middle-1)
	var octet [1]byte
	_, _ = b.reader(middle, 1).Read(octet[:]) // of memory: never fails
	octet[0] ^= 1
	var one blob
	one.add(octet[:])
	return join(head, one, tail)
}

// part returns n octets from offset on, or as many as there are.
func (b blob) part(offset, n int64) blob {
	var p blob
	for _, r := range b.runs {
		skip := min(offset, r.size)
		offset -= skip
		size := min(r.size-skip, n)
		n -= size
		if size == 0 {
			continue
		}
		data := r.data
		if data != nil {
			data = data[skip : skip+size]
		}
		p.runs = append(p.runs, run{data, size})
		p.size += size
	}
	return p
}

// reader reads n octets from offset on, or as many as there are.
func (b blob) reader(offset, n int64) io.Reader { return &blobReader{b.part(offset, n).runs} }

// bytes returns all octets.
func (b blob) bytes() []byte {
	all := make([]byte, 0, b.size)
	for _, r := range b.runs {
		if r.data == nil {
			all = append(all, make([]byte, r.size)...)
		}
		all = append(all, r.data...)
	}
	return all
}

type blobReader struct{ runs []run }

// Read implements io.Reader.
func (b *blobReader) Read(p []byte) (int, error) {
	if len(b.runs) == 0 {
		return 0, io.EOF
	}
	r := &b.runs[0]
	n := int(min(int64(len(p)), r.size))
	if r.data == nil {
		clear(p[:n])
	} else {
		copy(p, r.data[:n])
		r.data = r.data[n:]
	}
	if r.size -= int64(n); r.size == 0 {
		b.runs = b.runs[1:]
	}
	return n, nil
}
