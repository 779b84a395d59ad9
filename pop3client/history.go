package pop3client

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// A history is what a Checkpoint holds: the messages that were told and, as far as is known, are there.
type history struct {
	mailbox       string
	count, octets int64           // STAT of the last snapshot; -1: not told
	partial       bool            // the server does not list all it has: what it does not list may still be there
	told          map[string]fact // by id; a fact's session is not kept
}

// A Checkpoint is historyFormat and, in base64, a DEFLATE stream of the fields and the head of their SHA-256: one that
// was damaged must not pass for one that has a message.
const (
	historyFormat = "pop3/1:"
	historySum    = 8
	maxHistory    = 256 << 20 // octets without DEFLATE; 2 million messages with long UIDLs
)

// encode returns the Checkpoint of h. Equal histories have equal ones.
func (h *history) encode() connection.Checkpoint {
	raw := appendText(nil, h.mailbox)
	raw = binary.AppendVarint(raw, h.count)
	raw = binary.AppendVarint(raw, h.octets)
	raw = appendBool(raw, h.partial)
	raw = binary.AppendUvarint(raw, uint64(len(h.told)))
	for _, id := range slices.Sorted(maps.Keys(h.told)) {
		f := h.told[id]
		raw = binary.AppendVarint(appendText(raw, id), f.size)
		known := f.header != digest{}
		if raw = appendBool(raw, known); known {
			raw = append(raw, f.header[:]...)
		}
	}
	sum := sha256.Sum256(raw)
	var text strings.Builder
	text.WriteString(historyFormat)
	to64 := base64.NewEncoder(base64.RawStdEncoding, &text)
	pack, err := flate.NewWriter(to64, flate.BestSpeed)
	if err == nil {
		_, err = pack.Write(append(raw, sum[:historySum]...))
	}
	if err = errors.Join(err, pack.Close(), to64.Close()); err != nil {
		panic(err) // a known level, and a strings.Builder takes everything
	}
	return connection.Checkpoint(text.String())
}

func appendText(raw []byte, text string) []byte {
	return append(binary.AppendUvarint(raw, uint64(len(text))), text...)
}

func appendBool(raw []byte, b bool) []byte {
	if b {
		return append(raw, 1)
	}
	return append(raw, 0)
}

var errHistory = errors.New("no checkpoint of this driver, or a damaged one")

// decodeHistory reads what encode wrote. A Checkpoint of another mailbox is an error.
func decodeHistory(cp connection.Checkpoint, mailbox string) (*history, error) {
	text, ok := strings.CutPrefix(string(cp), historyFormat)
	if !ok {
		return nil, errHistory
	}
	packed := base64.NewDecoder(base64.RawStdEncoding.Strict(), strings.NewReader(text))
	raw, err := io.ReadAll(io.LimitReader(flate.NewReader(packed), maxHistory+1))
	n := len(raw) - historySum
	if err != nil || n < 0 || n > maxHistory {
		return nil, errHistory
	}
	if sum := sha256.Sum256(raw[:n]); !bytes.Equal(sum[:historySum], raw[n:]) {
		return nil, errHistory
	}
	d := &historyReader{left: raw[:n]}
	h := &history{mailbox: d.text(), count: d.number(), octets: d.number(), partial: d.bool()}
	entries := d.length()
	h.told = make(map[string]fact, entries)
	for range entries {
		id := d.text()
		f := fact{size: d.number()}
		if d.bool() {
			copy(f.header[:], d.take(len(f.header)))
		}
		h.told[id] = f
	}
	switch {
	case d.bad || len(d.left) > 0:
		return nil, errHistory
	case h.mailbox != mailbox:
		return nil, fmt.Errorf("a checkpoint of mailbox %q, and this is %q", h.mailbox, mailbox)
	}
	return h, nil
}

// historyReader takes fields from the front of what is left, and notes if there is too little.
type historyReader struct {
	left []byte
	bad  bool
}

func (d *historyReader) take(n int) []byte {
	if n > len(d.left) {
		d.bad, d.left = true, nil
		return nil
	}
	part := d.left[:n]
	d.left = d.left[n:]
	return part
}

func (d *historyReader) bool() bool { return bytes.Equal(d.take(1), []byte{1}) }

func (d *historyReader) number() int64 {
	v, n := binary.Varint(d.left)
	if n <= 0 {
		d.bad, n = true, 0
	}
	d.left = d.left[n:]
	return v
}

// length reads how many octets or entries follow: no more than what is left can hold.
func (d *historyReader) length() int {
	v, n := binary.Uvarint(d.left)
	if n <= 0 || v > uint64(len(d.left)-n) {
		d.bad, d.left = true, nil
		return 0
	}
	d.left = d.left[n:]
	return int(v)
}

func (d *historyReader) text() string { return string(d.take(d.length())) }
