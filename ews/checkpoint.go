package ews

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// A history is what a Checkpoint says: what a Sync has told of one mailbox.
type history struct {
	Mailbox string                    `json:"mailbox"`
	Roots   map[string]*rootHistory   `json:"roots,omitempty"`   // by distinguished name: "msgfolderroot"
	Folders map[string]*folderHistory `json:"folders,omitempty"` // by FolderId
}

// A rootHistory is what is known of a folder below which others lie.
type rootHistory struct {
	ID     string `json:"id"`
	Prefix string `json:"prefix,omitempty"` // of the paths below it
	State  string `json:"state,omitempty"`  // of the folders below it; "" where they are listed anew each time
}

// state returns r's State, "" of none.
func (r *rootHistory) state() string {
	if r == nil {
		return ""
	}
	return r.State
}

// A folderHistory is what was told of one folder, and what is known of it: the server tells only what changes.
type folderHistory struct {
	Root   string `json:"root"`
	Parent string `json:"parent,omitempty"`
	Name   string `json:"name,omitempty"`
	Class  string `json:"class,omitempty"`
	Kind   string `json:"kind,omitempty"` // "Folder", "SearchFolder"
	Role   string `json:"role,omitempty"` // its distinguished name: "inbox"
	Told   string `json:"told,omitempty"` // the path that was told last; "" = never
	State  string `json:"state,omitempty"`
	Owed   []owed `json:"owed,omitempty"`
}

// Limits of a Checkpoint. The server's SyncStates, which grow with what is in a folder, are most of it.
const (
	checkpointPrefix = "ews1:"
	maxSyncState     = 1 << 20
	maxHistory       = 32 << 20 // octets of JSON
	maxFolders       = 100_000
)

var errCheckpoint = errors.New("the checkpoint is not one of this driver, or was damaged")

func newHistory(mailbox string) *history {
	return &history{Mailbox: mailbox, Roots: make(map[string]*rootHistory), Folders: make(map[string]*folderHistory)}
}

// encode returns the Checkpoint: the same one for the same history. One over the limits is ErrTooLarge.
func (h *history) encode() (connection.Checkpoint, error) {
	tooLarge := func(octets int) error {
		return &connection.Error{
			Kind: connection.ErrTooLarge, Hint: "folder_classes, or SyncOptions.Folders: sync fewer folders",
			Err: fmt.Errorf("a checkpoint of %d folders and %d octets", len(h.Folders), octets),
		}
	}
	states := 0
	for _, f := range h.Folders {
		states += len(f.State)
	}
	if states > maxHistory || len(h.Folders) > maxFolders {
		return "", tooLarge(states)
	}
	data, err := json.Marshal(h)
	if err != nil {
		return "", fmt.Errorf("packing the checkpoint: %w", err)
	}
	if len(data) > maxHistory {
		return "", tooLarge(len(data))
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err == nil {
		_, err = z.Write(data)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return "", fmt.Errorf("packing the checkpoint: %w", err)
	}
	return connection.Checkpoint(checkpointPrefix + base64.RawURLEncoding.EncodeToString(packed.Bytes())), nil
}

// decodeHistory reads a Checkpoint of mailbox, whose name may be spelt in another case.
func decodeHistory(cp connection.Checkpoint, mailbox string) (*history, error) {
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
	h := newHistory("")
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(h); err != nil || dec.InputOffset() != int64(len(data)) || !h.sound() {
		return nil, errCheckpoint
	}
	if !strings.EqualFold(h.Mailbox, mailbox) {
		return nil, fmt.Errorf("the checkpoint is of mailbox %q, not %q", h.Mailbox, mailbox)
	}
	return h, nil
}

// unpack returns what one gzip member holds. gzip's checksum tells damage.
func unpack(packed []byte) ([]byte, error) {
	src := bytes.NewReader(packed)
	z, err := gzip.NewReader(src)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	data, err := io.ReadAll(io.LimitReader(z, maxHistory+1))
	if err == nil && (len(data) > maxHistory || src.Len() > 0) {
		err = errCheckpoint
	}
	return data, err
}

// sound reports whether h is one that encode can have been given.
func (h *history) sound() bool {
	if h.Roots == nil || h.Folders == nil || len(h.Folders) > maxFolders {
		return false
	}
	for name, r := range h.Roots {
		if name == "" || r == nil || len(r.State) > maxSyncState {
			return false
		}
	}
	owing := 0
	for id, f := range h.Folders {
		if id == "" || f == nil || len(f.State) > maxSyncState {
			return false
		}
		owing += len(f.Owed)
		if f.Owed != nil && len(f.Owed) == 0 || slices.ContainsFunc(f.Owed, func(o owed) bool { return o.ID == "" || o.Tries < 1 }) {
			return false
		}
	}
	return owing <= maxOwed
}
