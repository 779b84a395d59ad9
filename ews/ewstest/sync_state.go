package ewstest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
)

// The kinds of sync states.
const (
	hierarchyState = 1
	itemsState     = 2
)

// A syncState is how far a client is in the log of a folder, or of the folders below a root. What it knows for certain is
// everything up to Base. While it reads the changes from there up to Top, the newest first, At is where it has come down to;
// otherwise all three are the same.
type syncState struct {
	Kind           uint8
	Mailbox, Epoch uint32
	Folder         uint64 // or the root
	Base, Top, At  uint32
	Pause          bool // an empty page was told
}

const syncStateMAC = 16

// write makes the opaque text of a state.
func (s *Server) writeState(st syncState) string {
	var buf bytes.Buffer
	if err := binary.Write(&buf, binary.BigEndian, st); err != nil {
		panic(err) // a fixed size
	}
	sum := s.stateMAC(buf.Bytes())
	buf.Write(sum)
	if pad := s.opts.StateSize*3/4 - buf.Len(); pad > 0 {
		buf.Write(make([]byte, pad))
	}
	return base64.StdEncoding.EncodeToString(buf.Bytes())
}

func (s *Server) stateMAC(state []byte) []byte {
	mac := hmac.New(sha256.New, s.secret[:])
	mac.Write(state)
	return mac.Sum(nil)[:syncStateMAC]
}

// readState returns what a text says if it is a good state of that kind and folder; "" is the beginning. Otherwise the client
// has to begin anew.
func (s *Server) readState(text string, kind uint8, f *Folder) (syncState, *fault) {
	begin := syncState{Kind: kind, Mailbox: uint32(f.mb.number), Epoch: uint32(f.mb.epoch), Folder: f.n} //nolint:gosec // small numbers
	if text == "" {
		return begin, nil
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	size := binary.Size(begin)
	var st syncState
	good := err == nil && len(raw) >= size+syncStateMAC && hmac.Equal(s.stateMAC(raw[:size]), raw[size:size+syncStateMAC]) &&
		binary.Read(bytes.NewReader(raw), binary.BigEndian, &st) == nil &&
		st.Kind == kind && st.Mailbox == begin.Mailbox && st.Epoch == begin.Epoch && st.Folder == begin.Folder
	switch {
	case good:
		return st, nil
	case s.opts.SilentResync:
		return begin, nil
	}
	return st, &fault{code: "ErrorInvalidSyncStateData", text: "The synchronization state data is corrupt or otherwise invalid."}
}

// ExpireSyncStates makes all sync states of the mailbox that are out there bad.
func (mb *Mailbox) ExpireSyncStates() {
	mb.s.mu.Lock()
	defer mb.s.mu.Unlock()
	mb.epoch++
}
