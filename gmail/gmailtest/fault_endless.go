package gmailtest

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"io"
	"strings"
)

// endless is where what has no end ends, in octets.
const endless = 1 << 30

// Endless answers with JSON that begins with start and goes on with again, for a GiB or until the client goes:
// Endless(`{"raw":"`, "QUJD").
func Endless(start, again string) Fault {
	return instead(func(a *answer) {
		a.Header().Set("Content-Type", "application/json; charset=UTF-8")
		block := floodOf(again)
		_, err := io.WriteString(a, start)
		for sent := 0; err == nil && sent < endless; sent += len(block) {
			_, err = a.Write(block)
		}
	})
}

// GzipBomb answers with JSON as Endless does, which ends when there are so many octets of it, and which is compressed to a thousandth of
// that, also for clients that do not accept gzip.
func GzipBomb(start, again string, octets int64) Fault {
	return instead(func(a *answer) {
		a.Header().Set("Content-Type", "application/json; charset=UTF-8")
		a.Header().Set("Content-Encoding", "gzip")
		bomb(a, start, floodOf(again), octets)
	})
}

// floodOf repeats a text some thousand times.
func floodOf(again string) []byte {
	return []byte(strings.Repeat(again, 256<<10/max(len(again), 1)+1))
}

// bomb writes start and then block, at least twice, until there are so many octets, as gzip. From the second time on a block is compressed to the same octets,
// since what stands before it is the same: so only two are compressed.
func bomb(w io.Writer, start string, block []byte, octets int64) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = io.WriteString(z, start) // a buffer takes everything
	_, _ = z.Write(block)           // as above
	_ = z.Flush()                   // as above
	first := packed.Len()
	_, _ = z.Write(block) // as above
	_ = z.Flush()         // as above
	again := packed.Bytes()[first:]
	_, err := w.Write(packed.Bytes())
	sum := crc32.ChecksumIEEE([]byte(start))
	sum = crc32.Update(crc32.Update(sum, crc32.IEEETable, block), crc32.IEEETable, block)
	size := int64(len(start) + 2*len(block))
	for ; err == nil && size < octets; size += int64(len(block)) {
		sum = crc32.Update(sum, crc32.IEEETable, block)
		_, err = w.Write(again)
	}
	end := []byte{0x03, 0x00}                                 // RFC 1951, 3.2.6: a last block with nothing in it
	end = binary.LittleEndian.AppendUint32(end, sum)          // RFC 1952, 2.3.1
	end = binary.LittleEndian.AppendUint32(end, uint32(size)) //nolint:gosec // of the size only so many bits are wanted
	_, _ = w.Write(end)                                       // the client may be gone
}
