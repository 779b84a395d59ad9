package maildir

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// checkpointPrefix names the format: a new one gets a new number.
const checkpointPrefix = "maildir1."

// maxInflated bounds what a folder of a damaged checkpoint may unpack to.
const maxInflated = 1 << 30

// A state is what a Checkpoint holds: what Sync has told of one mailbox.
type state struct {
	mailbox string
	folders map[string]*folderState
}

type folderState struct {
	stamp string // of new and cur; "" if they must be read again
	names []byte // the entries, packed
	count int
}

// An entry is a message as it was told.
type entry struct {
	sub  string // "new" or "cur"
	info string
	pass int // in which it was met last; 0 = not by this Sync
}

var errDamaged = errors.New("the checkpoint is damaged, or of another version")

// encode writes s as a Checkpoint.
func (s *state) encode() connection.Checkpoint {
	b := appendString(nil, s.mailbox)
	b = binary.AppendUvarint(b, uint64(len(s.folders)))
	for _, name := range slices.Sorted(maps.Keys(s.folders)) {
		f := s.folders[name]
		b = appendString(b, name)
		b = appendString(b, f.stamp)
		b = binary.AppendUvarint(b, uint64(f.count))
		b = appendString(b, string(f.names))
	}
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return connection.Checkpoint(checkpointPrefix + base64.RawURLEncoding.EncodeToString(b))
}

// decodeState reads a Checkpoint; the error is ErrStale.
func decodeState(cp connection.Checkpoint, mailbox string) (*state, error) {
	stale := func(err error) (*state, error) {
		return nil, &connection.Error{Kind: connection.ErrStale, Err: err}
	}
	text, ok := strings.CutPrefix(string(cp), checkpointPrefix)
	if !ok {
		return stale(errDamaged)
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < 4 || crc32.ChecksumIEEE(b[:len(b)-4]) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return stale(errDamaged)
	}
	r := bytes.NewReader(b[:len(b)-4])
	s := &state{folders: map[string]*folderState{}}
	if s.mailbox, err = readString(r); err != nil {
		return stale(errDamaged)
	}
	n, err := binary.ReadUvarint(r)
	for range n {
		var name, names string
		f := &folderState{}
		var count uint64
		steps := []func() error{
			func() (err error) { name, err = readString(r); return err },
			func() (err error) { f.stamp, err = readString(r); return err },
			func() (err error) { count, err = binary.ReadUvarint(r); return err },
			func() (err error) { names, err = readString(r); return err },
		}
		for _, step := range steps {
			if err == nil {
				err = step()
			}
		}
		if err != nil {
			break
		}
		f.count, f.names = int(min(count, maxInflated)), []byte(names)
		s.folders[name] = f
	}
	switch {
	case err != nil || r.Len() > 0:
		return stale(errDamaged)
	case s.mailbox != mailbox:
		return stale(errors.New("the checkpoint is of mailbox " + quoted(s.mailbox)))
	}
	return s, nil
}

// pack replaces what f holds by entries.
func (f *folderState) pack(entries map[string]*entry) {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.DefaultCompression)
	if err != nil {
		panic("maildir: " + err.Error()) // the level is constant
	}
	var b []byte
	last := ""
	for _, id := range slices.Sorted(maps.Keys(entries)) {
		e := entries[id]
		common := 0
		for common < min(len(id), len(last)) && id[common] == last[common] {
			common++
		}
		b = binary.AppendUvarint(b[:0], uint64(common))
		b = appendString(b, id[common:])
		b = appendString(b, e.sub[:1]+e.info)
		_, _ = w.Write(b) // to memory
		last = id
	}
	_ = w.Close() // as above
	f.names, f.count = out.Bytes(), len(entries)
}

// unpack returns the entries of f.
func (f *folderState) unpack() (map[string]*entry, error) {
	entries := make(map[string]*entry, min(f.count, 1<<16))
	if f.names == nil {
		return entries, nil
	}
	damaged := &connection.Error{Kind: connection.ErrStale, Err: errDamaged}
	data, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(f.names)), maxInflated))
	if err != nil {
		return nil, damaged
	}
	r := bytes.NewReader(data)
	last := ""
	for r.Len() > 0 {
		common, err := binary.ReadUvarint(r)
		if err != nil || common > uint64(len(last)) {
			return nil, damaged
		}
		rest, err := readString(r)
		if err != nil {
			return nil, damaged
		}
		where, err := readString(r)
		if err != nil || where == "" {
			return nil, damaged
		}
		e := &entry{sub: "cur", info: where[1:]}
		if where[0] == 'n' {
			e.sub = "new"
		}
		last = last[:common] + rest
		entries[last] = e
	}
	return entries, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func readString(r *bytes.Reader) (string, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return "", err
	}
	if n > uint64(r.Len()) {
		return "", io.ErrUnexpectedEOF
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r, b)
	return string(b), err
}
