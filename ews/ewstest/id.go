package ewstest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// The kinds of things that have ids.
const (
	folderIDs = 1
	itemIDs   = 2
	attachIDs = 3
	personIDs = 4
)

// derive makes a secret of a seed.
func derive(seed uint64, purpose string) [32]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%s %d", purpose, seed))
}

// id makes the id of a thing: base64 as Exchange's, with + and / and =, of more than 100 characters. Two things whose numbers
// are 2n and 2n+1 have ids that differ in the case of one letter only. Nothing but the server can tell what is in it.
func (s *Server) id(kind, mailbox int, number uint64) string {
	filler := 93
	if s.opts.LongIDs {
		filler = 483
	}
	raw := append(make([]byte, 0, 18+filler+40), byte(kind-1), 3, 0x24, 0xfb, 0xff, 0xbf)
	raw = binary.BigEndian.AppendUint32(raw, uint32(mailbox))
	raw = binary.BigEndian.AppendUint64(raw, number/2)
	sum := sha256.Sum256(append(raw, s.secret[:]...))
	raw = append(raw, sum[:]...)
	for state := binary.BigEndian.Uint64(sum[:]); len(raw) < 18+filler+1; {
		state = mix(state + 1)
		raw = binary.BigEndian.AppendUint64(raw, state)
	}
	text := []byte(base64.StdEncoding.EncodeToString(raw[:18+filler+1]))
	if number%2 == 1 {
		flip(text)
	}
	return string(text)
}

// flip changes the case of the last letter but for those that the padding has a say in.
func flip(text []byte) {
	for i := len(text) - 5; i >= 0; i-- {
		if c := text[i] | 0x20; c >= 'a' && c <= 'z' {
			text[i] ^= 0x20
			return
		}
	}
}

// parseID tells what an id is of. ok is false for what this server never gave out.
func (s *Server) parseID(text string) (kind, mailbox int, number uint64, ok bool) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) < 18 || !bytes.Equal(raw[1:6], []byte{3, 0x24, 0xfb, 0xff, 0xbf}) {
		return 0, 0, 0, false
	}
	kind = int(raw[0]) + 1
	mailbox = int(binary.BigEndian.Uint32(raw[6:]))
	half := binary.BigEndian.Uint64(raw[10:])
	even := []byte(s.id(kind, mailbox, 2*half))
	if string(even) == text {
		return kind, mailbox, 2 * half, true
	}
	if flip(even); string(even) == text {
		return kind, mailbox, 2*half + 1, true
	}
	return 0, 0, 0, false
}

// mailboxOf returns the mailbox that an id of a kind is of, and the number of the thing in it. Neither need be there any more, and
// another server with the same seed gives out the same ids. The caller holds the lock.
func (s *Server) mailboxOf(text string, kind int) (mb *Mailbox, number uint64, bad *fault) {
	got, n, number, ok := s.parseID(text)
	switch {
	case !ok:
		return nil, 0, &fault{code: "ErrorInvalidIdMalformed", text: "Id is malformed."}
	case got != kind && kind == itemIDs:
		return nil, 0, &fault{code: "ErrorCannotUseFolderIdForItemId", text: "Cannot use the id of another object for an item."}
	case got != kind && kind == folderIDs:
		return nil, 0, &fault{code: "ErrorCannotUseItemIdForFolderId", text: "Cannot use the id of another object for a folder."}
	case got != kind || n < 1 || n > len(s.store.mailboxes):
		return nil, 0, itemNotFound()
	}
	return s.store.mailboxes[n-1], number, nil
}

// itemAt returns the item of a number, nil if it is not there.
func (mb *Mailbox) itemAt(n uint64) *item {
	if n >= uint64(len(mb.items)) || mb.items[n] == nil || mb.items[n].folder == nil {
		return nil
	}
	return mb.items[n]
}

// hexID writes an id in hexadecimal, as HexEntryId has it.
func hexID(text string) string {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	return strings.ToUpper(hex.EncodeToString(raw))
}
