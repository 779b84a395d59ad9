package gmail

import (
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// A phase is what a Sync of a mailbox is at.
type phase string

const (
	phaseFull      phase = "full"      // the mailbox is told for the first time
	phaseReconcile phase = "reconcile" // the history was lost: what the mailbox has is held against what the host has
	phaseDelta     phase = "delta"     // the history is followed
)

// A place is what a Checkpoint says: how far a Sync has told one mailbox.
type place struct {
	User  string `json:"user,omitempty"`  // the mailbox's immutable id; "" in single-mailbox use
	Email string `json:"email,omitempty"` // its primary address when it was last seen
	Scope string `json:"scope,omitempty"` // which messages are told; another scope has another history
	Phase phase  `json:"phase"`

	// Base is the mailbox's history id when it was begun to be told: what came later is found in the history behind it,
	// however often the listing is interrupted.
	Base      string `json:"base,omitempty"`
	List      int    `json:"list,omitempty"` // which of the scope's listings is read
	PageToken string `json:"page,omitempty"` // of that listing; "" = from the top
	Cursor    string `json:"cursor,omitempty"`
	FullAt    int64  `json:"full_at,omitempty"` // when the listing was last done; Unix seconds

	Folders   []string          `json:"folders,omitempty"` // ids of the labels that the folders asked for were, sorted
	Labels    map[string]string `json:"labels"`            // those that were told: paths by id; nil if none were told yet
	Expired   int               `json:"expired,omitempty"`
	ExpiredAt int64             `json:"expired_at,omitempty"` // when the history was last found lost; Unix seconds
	Pending   []pending         `json:"pending,omitempty"`
}

// A pending message could not be read, and is tried again by each Sync.
type pending struct {
	ID       string `json:"id"`
	Attempts int    `json:"n"`
	Labels   bool   `json:"labels,omitempty"` // nothing but its labels
	Held     bool   `json:"held,omitempty"`   // the host has it
}

// Limits of a Checkpoint. Labels are most of it: Gmail permits 10,000 of them with names of up to 225 characters.
const (
	checkpointPrefix = "gmail1:"
	maxPlace         = 32 << 20 // octets of JSON
	maxPending       = 10_000
	maxPageToken     = 16 << 10
)

var errCheckpoint = errors.New("the checkpoint is not one of this driver, or was damaged")

// encode returns the Checkpoint: the same one for the same place. One over the limits is ErrTooLarge.
func (p *place) encode() (connection.Checkpoint, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("packing the checkpoint: %w", err)
	}
	if len(data) > maxPlace {
		return "", &connection.Error{Kind: connection.ErrTooLarge, Err: fmt.Errorf("a checkpoint of %d labels and %d octets", len(p.Labels), len(data))}
	}
	packed, err := pack(data)
	if err != nil {
		return "", fmt.Errorf("packing the checkpoint: %w", err)
	}
	return connection.Checkpoint(checkpointPrefix + base64.RawURLEncoding.EncodeToString(packed)), nil
}

// What is packed begins with how, and the checksum of the data.
const (
	stored      = 0 // as it is
	deflated    = 1
	packHead    = 1 + crc32.Size
	storedLimit = 8 << 10 // a compressor takes a megabyte to begin with
)

// pack makes a checkpoint's octets of its JSON.
func pack(data []byte) ([]byte, error) {
	sum := crc32.ChecksumIEEE(data)
	if len(data) <= storedLimit {
		return append(binary.BigEndian.AppendUint32([]byte{stored}, sum), data...), nil
	}
	packed := bytes.NewBuffer(binary.BigEndian.AppendUint32([]byte{deflated}, sum))
	z, err := flate.NewWriter(packed, flate.BestSpeed)
	if err == nil {
		_, err = z.Write(data)
	}
	if err == nil {
		err = z.Close()
	}
	return packed.Bytes(), err
}

// decodePlace reads a Checkpoint. An error means that it is not one of this version.
func decodePlace(cp connection.Checkpoint) (*place, error) {
	text, ok := strings.CutPrefix(string(cp), checkpointPrefix)
	if !ok || strings.ContainsAny(text, "\r\n") { // which base64 would overlook
		return nil, errCheckpoint
	}
	packed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errCheckpoint
	}
	data, err := unpack(packed)
	if err != nil {
		return nil, errCheckpoint
	}
	p := new(place)
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(p); err != nil || dec.InputOffset() != int64(len(data)) || !p.sound() {
		return nil, errCheckpoint
	}
	return p, nil
}

// unpack undoes pack.
func unpack(packed []byte) ([]byte, error) {
	if len(packed) < packHead {
		return nil, errCheckpoint
	}
	data := packed[packHead:]
	switch packed[0] {
	case stored:
	case deflated:
		src := bytes.NewReader(data)
		var err error
		if data, err = io.ReadAll(io.LimitReader(flate.NewReader(src), maxPlace+1)); err != nil || src.Len() > 0 {
			return nil, errCheckpoint
		}
	default:
		return nil, errCheckpoint
	}
	if len(data) > maxPlace || binary.BigEndian.Uint32(packed[1:]) != crc32.ChecksumIEEE(data) {
		return nil, errCheckpoint
	}
	return data, nil
}

// sound reports whether p is one that encode can have been given.
func (p *place) sound() bool {
	switch p.Phase {
	case phaseFull, phaseReconcile:
		if !isHistoryID(p.Base) {
			return false
		}
	case phaseDelta:
		if !isHistoryID(p.Cursor) {
			return false
		}
	default:
		return false
	}
	if len(p.Pending) > maxPending || len(p.PageToken) > maxPageToken || p.Expired < 0 || p.List < 0 {
		return false
	}
	return !slices.ContainsFunc(p.Pending, func(m pending) bool { return m.ID == "" || m.Attempts < 1 })
}

// maxHistoryID is how many digits a history id may have. Google's fit into 64 bits; other servers were seen to send 21.
const maxHistoryID = 100

// isHistoryID reports whether s is decimal text. Ids have gaps, and nothing but their order means anything.
func isHistoryID(s string) bool {
	return s != "" && len(s) <= maxHistoryID && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// compareHistory orders history ids, whatever their width.
func compareHistory(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}
