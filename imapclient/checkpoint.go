package imapclient

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// A history is what a Checkpoint says: what a Sync has told of one mailbox.
type history struct {
	mailbox string
	folders map[string]*folderHistory // by name
}

// A folderHistory is what was told of one folder.
type folderHistory struct {
	validity string
	uidNext  uint32 // what is below and not in uids was not there, or could not be had
	modSeq   uint64 // flags are as told up to here (RFC 7162); 0: codes has them
	uids     []uint32
	codes    []uint16 // of the flags of uids, in the same order; nil with modSeq, or if they are not known
	flags    []string // what codes mean: flags, sorted, with spaces between
	proofs   []proof  // of some of uids
}

// A proof is what tells one message from another that has its UID in another folder.
type proof struct {
	uid      uint32
	received int64 // INTERNALDATE, in seconds
	size     int64
}

// Limits of a Checkpoint. A folder takes 1 to 4 octets for each gap in its UIDs, before compression, and where the server
// has no mod-sequences 1 octet for each message, which compresses well.
const (
	checkpointPrefix = "imap1:"
	maxHistory       = 64 << 20 // octets of what a Checkpoint holds, before compression
	maxUIDs          = 1 << 24  // messages in all folders together
	maxFlagSets      = 1 << 15  // different combinations of flags in a folder
	maxProofs        = 16
)

var errCheckpoint = errors.New("the checkpoint is not one of this driver, or was damaged")

// encode returns the Checkpoint. A mailbox that cannot be held within the limits is ErrTooLarge.
func (h *history) encode() (connection.Checkpoint, error) {
	w := &historyWriter{}
	w.text(h.mailbox)
	w.number(uint64(len(h.folders)))
	total := 0
	for _, name := range slices.Sorted(maps.Keys(h.folders)) {
		st := h.folders[name]
		w.text(name)
		w.folder(st)
		total += len(st.uids)
	}
	if w.Len() > maxHistory || total > maxUIDs {
		return "", &connection.Error{Kind: connection.ErrTooLarge, Hint: "folders: sync fewer of them, or in several connections", Err: errors.New("the mailbox has too many messages for a checkpoint")}
	}
	sum := crc32.ChecksumIEEE(w.Bytes())
	var packed bytes.Buffer
	z, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err == nil {
		_, err = z.Write(binary.BigEndian.AppendUint32(w.Bytes(), sum))
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return "", fmt.Errorf("packing the checkpoint: %w", err)
	}
	return connection.Checkpoint(checkpointPrefix + base64.RawURLEncoding.EncodeToString(packed.Bytes())), nil
}

// decodeHistory reads a Checkpoint of mailbox.
func decodeHistory(cp connection.Checkpoint, mailbox string) (*history, error) {
	text, ok := strings.CutPrefix(string(cp), checkpointPrefix)
	if !ok {
		return nil, errCheckpoint
	}
	packed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, errCheckpoint
	}
	data, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxHistory+crc32.Size+1))
	if err != nil || len(data) < crc32.Size || len(data) > maxHistory+crc32.Size {
		return nil, errCheckpoint
	}
	end := len(data) - crc32.Size
	if crc32.ChecksumIEEE(data[:end]) != binary.BigEndian.Uint32(data[end:]) {
		return nil, errCheckpoint
	}
	r := &historyReader{data: data[:end]}
	h := &history{mailbox: r.text(), folders: make(map[string]*folderHistory)}
	for range r.number(maxFolders) {
		name := r.text()
		h.folders[name] = r.folder()
		if r.bad {
			break
		}
	}
	switch {
	case r.bad || len(r.data) > 0:
		return nil, errCheckpoint
	case h.mailbox != mailbox:
		return nil, fmt.Errorf("the checkpoint is of mailbox %q, not %q", h.mailbox, mailbox)
	}
	return h, nil
}

type historyWriter struct{ bytes.Buffer }

func (w *historyWriter) number(n uint64) { w.Write(binary.AppendUvarint(w.AvailableBuffer(), n)) }

func (w *historyWriter) text(s string) {
	w.number(uint64(len(s)))
	w.WriteString(s)
}

func (w *historyWriter) folder(st *folderHistory) {
	w.text(st.validity)
	w.number(uint64(st.uidNext))
	w.number(st.modSeq)
	w.number(uint64(len(st.uids)))
	next := uint32(1)
	for i := 0; i < len(st.uids); {
		run := i + 1
		for run < len(st.uids) && st.uids[run] == st.uids[run-1]+1 {
			run++
		}
		w.number(uint64(st.uids[i] - next)) // gap, then the length of the run
		w.number(uint64(run - i))
		next = st.uids[run-1] + 1
		i = run
	}
	w.number(uint64(len(st.flags)))
	for _, set := range st.flags {
		w.text(set)
	}
	w.number(uint64(len(st.codes)))
	for _, code := range st.codes {
		w.number(uint64(code))
	}
	w.number(uint64(len(st.proofs)))
	for _, p := range st.proofs {
		w.number(uint64(p.uid))
		w.Write(binary.AppendVarint(w.AvailableBuffer(), p.received))
		w.number(uint64(p.size))
	}
}

// historyReader reads what historyWriter wrote, and stops at what it cannot have written.
type historyReader struct {
	data  []byte
	total int
	bad   bool
}

func (r *historyReader) number(most uint64) uint64 {
	n, size := binary.Uvarint(r.data)
	if size <= 0 || n > most {
		r.bad, r.data = true, nil
		return 0
	}
	r.data = r.data[size:]
	return n
}

func (r *historyReader) text() string {
	n := r.number(maxHistory)
	if n > uint64(len(r.data)) {
		r.bad, n = true, 0
	}
	s := string(r.data[:n])
	r.data = r.data[n:]
	return s
}

func (r *historyReader) folder() *folderHistory {
	st := &folderHistory{validity: r.text(), uidNext: uint32(r.number(1<<32 - 1)), modSeq: r.number(1<<63 - 1)}
	count := int(r.number(maxUIDs))
	if r.total += count; r.total > maxUIDs {
		r.bad = true
	}
	for next := uint64(1); len(st.uids) < count && !r.bad; {
		first := next + r.number(1<<32-1)
		run := r.number(uint64(count - len(st.uids)))
		if run == 0 || first+run > 1<<32 {
			r.bad = true
			break
		}
		for uid := first; uid < first+run; uid++ {
			st.uids = append(st.uids, uint32(uid))
		}
		next = first + run
	}
	for range r.number(maxFlagSets) {
		if r.bad {
			break
		}
		st.flags = append(st.flags, r.text())
	}
	if n := int(r.number(uint64(len(st.uids)))); n > 0 && n == len(st.uids) {
		st.codes = make([]uint16, n)
		for i := range st.codes {
			if len(st.flags) == 0 {
				r.bad = true
				break
			}
			st.codes[i] = uint16(r.number(uint64(len(st.flags) - 1)))
		}
	} else if n != 0 {
		r.bad = true
	}
	for range r.number(maxProofs) {
		p := proof{uid: uint32(r.number(1<<32 - 1))}
		n, size := binary.Varint(r.data)
		if size <= 0 {
			r.bad = true
			break
		}
		r.data = r.data[size:]
		p.received, p.size = n, int64(r.number(1<<63-1))
		st.proofs = append(st.proofs, p)
	}
	return st
}

// has reports whether uid was told.
func (st *folderHistory) has(uid uint32) bool {
	_, ok := slices.BinarySearch(st.uids, uid)
	return ok
}

// add notes that a message was told, with its flags.
func (st *folderHistory) add(uid uint32, flags []connection.Flag) {
	i, ok := slices.BinarySearch(st.uids, uid)
	coded := st.modSeq == 0 && len(st.codes) == len(st.uids)
	if !ok {
		st.uids = slices.Insert(st.uids, i, uid)
		if coded {
			st.codes = slices.Insert(st.codes, i, 0)
		}
	}
	if coded {
		st.codes[i] = st.code(flags)
	}
}

// prove notes what will prove that a folder of another name is this one.
func (st *folderHistory) prove(m *connection.Message, uid uint32) {
	if m.Received.IsZero() || m.Size < 0 {
		return
	}
	if len(st.proofs) == maxProofs {
		st.proofs = slices.Delete(st.proofs, maxProofs/4, maxProofs/4+1) // the first ones stay, and the last ones
	}
	st.proofs = append(st.proofs, proof{uid: uid, received: m.Received.Unix(), size: m.Size})
}

// remove strikes uids off.
func (st *folderHistory) remove(uids []uint32) {
	gone := make(map[uint32]struct{}, len(uids))
	for _, uid := range uids {
		gone[uid] = struct{}{}
	}
	kept := 0
	for i, uid := range st.uids {
		if _, is := gone[uid]; is {
			continue
		}
		st.uids[kept] = uid
		if st.codes != nil {
			st.codes[kept] = st.codes[i]
		}
		kept++
	}
	st.uids = st.uids[:kept]
	if st.codes != nil {
		st.codes = st.codes[:kept]
	}
	st.proofs = slices.DeleteFunc(st.proofs, func(p proof) bool { _, is := gone[p.uid]; return is })
}

// code returns the number of a combination of flags. Beyond the limit all share the last one, so that a change from one
// such combination to another is not seen.
func (st *folderHistory) code(flags []connection.Flag) uint16 {
	words := make([]string, len(flags))
	for i, flag := range flags {
		words[i] = strings.ToLower(string(flag)) // RFC 9051, 2.3.2: in any case
	}
	slices.Sort(words)
	set := strings.Join(slices.Compact(words), " ")
	if i := slices.Index(st.flags, set); i >= 0 {
		return uint16(i)
	}
	if len(st.flags) == maxFlagSets {
		return maxFlagSets - 1
	}
	st.flags = append(st.flags, set)
	return uint16(len(st.flags) - 1)
}

// same reports whether the flags of the message at index i are those that were told.
func (st *folderHistory) same(i int, flags []connection.Flag) bool {
	return st.codes != nil && st.codes[i] == st.code(flags)
}

// matches reports whether what the server says of a message is what is to be proved.
func (p proof) matches(received time.Time, size int64) bool {
	return received.Unix() == p.received && size == p.size
}
