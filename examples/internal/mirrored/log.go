package mirrored

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// An Entry is one line of a mailbox's log: a change.
type Entry struct {
	Op       string            `json:"op"`            // "added", "updated", "removed", "folder added" …
	Ref      connection.Ref    `json:"ref,omitzero"`  // of the message
	Key      string            `json:"key,omitempty"` // of an added message in the archive
	Size     int64             `json:"size,omitempty"`
	Folder   string            `json:"folder,omitempty"` // where the message is, or the folder that changed
	Previous string            `json:"previous,omitempty"`
	Received time.Time         `json:"received,omitzero"`
	Flags    []connection.Flag `json:"flags,omitempty"`
	Labels   []string          `json:"labels,omitempty"`
}

// A Part is the first line of each part of a log. Its entries follow it.
type Part struct {
	Mailbox    string                `json:"mailbox"`
	Number     int64                 `json:"number"`     // 1, 2, 3 …
	Checkpoint connection.Checkpoint `json:"checkpoint"` // behind the entries
	Entries    int                   `json:"entries"`
	Saved      time.Time             `json:"saved"`
}

// A Section is a part of a log with what is in it.
type Section struct {
	Part
	Changes []Entry
}

func newEntry(c *connection.Change) Entry {
	e := Entry{Op: c.Op.String(), Ref: c.Ref}
	if m := c.Message; m != nil {
		e.Folder, e.Flags, e.Labels = m.Folder, m.Flags, m.Labels
		if year := m.Received.UTC().Year(); year >= 0 && year <= 9999 { // JSON cannot hold others, which servers make up
			e.Received = m.Received.UTC()
		}
	}
	if f := c.Folder; f != nil {
		e.Folder, e.Previous = f.Name, f.Previous
	}
	return e
}

// digests is a set of Refs. A digest stands for a Ref, which may be long, where there are millions.
type digests map[[sha256.Size]byte]struct{}

func digest(ref connection.Ref) [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%d %d %s%s%s", len(ref.Mailbox), len(ref.Folder), ref.Mailbox, ref.Folder, ref.ID))
}

// apply does to the set what an entry tells. A folder that is removed takes nothing out of it: the messages of a Gmail label
// are in the mailbox still, and those of an Exchange folder need not be downloaded again should it come back.
func (d digests) apply(e *Entry) {
	switch e.Op {
	case connection.Added.String():
		d[digest(e.Ref)] = struct{}{}
	case connection.Removed.String():
		delete(d, digest(e.Ref))
	}
}

// A mailboxLog is the log of one mailbox.
type mailboxLog struct {
	store   connection.ObjectStore
	mailbox string

	mu         sync.Mutex
	loaded     bool // the two below are what the store holds
	number     int64
	checkpoint connection.Checkpoint
	pending    []Entry // since the checkpoint
	present    digests // of the Refs that were added and not removed; nil until somebody asks
}

// add notes a change. It becomes durable with the next commit.
func (l *mailboxLog) add(e Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = append(l.pending, e)
	if l.present != nil {
		l.present.apply(&e)
	}
}

// load returns the last checkpoint. Changes behind it are forgotten: they come again.
func (l *mailboxLog) load(ctx context.Context) (connection.Checkpoint, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending, l.present = nil, nil
	if l.loaded {
		return l.checkpoint, nil
	}
	l.number, l.checkpoint = 0, ""
	last := ""
	for info, err := range l.store.List(ctx, &connection.ListOptions{Prefix: l.prefix()}) {
		if err != nil {
			return "", err
		}
		if number, ok := l.numberOf(info.Key); ok && number > l.number {
			l.number, last = number, info.Key
		}
	}
	if last != "" {
		part, err := l.read(ctx, last, nil)
		if err != nil {
			return "", err
		}
		l.checkpoint = part.Checkpoint
	}
	l.loaded = true
	return l.checkpoint, nil
}

// commit makes the pending changes and the checkpoint behind them durable, in one Put.
func (l *mailboxLog) commit(ctx context.Context, old, next connection.Checkpoint) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.loaded || l.checkpoint != old {
		return l.changed(nil)
	}
	var data bytes.Buffer
	lines := json.NewEncoder(&data)
	number := l.number + 1
	err := lines.Encode(Part{Mailbox: l.mailbox, Number: number, Checkpoint: next, Entries: len(l.pending), Saved: time.Now().UTC()})
	for _, e := range l.pending {
		err = errors.Join(err, lines.Encode(e))
	}
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data.Bytes())
	opts := &connection.PutOptions{Size: int64(data.Len()), SHA256: hex.EncodeToString(sum[:]), IfAbsent: true}
	if _, err := l.store.Put(ctx, l.key(number), &data, opts); err != nil {
		l.loaded = false // whatever became of it: the store knows
		if errors.Is(err, connection.ErrExists) {
			return l.changed(err)
		}
		return err
	}
	l.number, l.checkpoint, l.pending = number, next, nil
	return nil
}

func (l *mailboxLog) changed(cause error) error {
	err := fmt.Errorf("another process mirrors %s into this archive", l.mailbox)
	return &connection.Error{Op: "save", Kind: connection.ErrChanged, Err: errors.Join(err, cause)}
}

// has reports for each of refs whether it was added and not removed.
func (l *mailboxLog) has(ctx context.Context, refs []connection.Ref) ([]bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.replay(ctx); err != nil {
		return nil, err
	}
	out := make([]bool, len(refs))
	for i, ref := range refs {
		_, out[i] = l.present[digest(ref)]
	}
	return out, nil
}

// all yields what was added and not removed, each Ref once. They are read from the log again, since only digests are kept.
func (l *mailboxLog) all(ctx context.Context) iter.Seq2[connection.Ref, error] {
	return func(yield func(connection.Ref, error) bool) {
		left, pending, err := l.snapshot(ctx)
		if err != nil {
			yield(connection.Ref{}, err)
			return
		}
		tell := func(entries []Entry) (more bool) {
			for _, e := range entries {
				sum := digest(e.Ref)
				if _, ok := left[sum]; !ok {
					continue
				}
				delete(left, sum)
				if !yield(e.Ref, nil) {
					return false
				}
			}
			return true
		}
		for section, err := range l.sections(ctx) {
			if err != nil {
				yield(connection.Ref{}, err)
				return
			}
			if !tell(section.Changes) {
				return
			}
		}
		tell(pending)
	}
}

// snapshot returns what was added and not removed, and what is not in the store yet.
func (l *mailboxLog) snapshot(ctx context.Context) (digests, []Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.replay(ctx); err != nil {
		return nil, nil, err
	}
	return maps.Clone(l.present), slices.Clone(l.pending), nil
}

// replay reads the whole log, unless that was done. The caller holds mu.
func (l *mailboxLog) replay(ctx context.Context) error {
	if l.present != nil {
		return nil
	}
	present := make(digests)
	for section, err := range l.sections(ctx) {
		if err != nil {
			return err
		}
		for i := range section.Changes {
			present.apply(&section.Changes[i])
		}
	}
	for i := range l.pending {
		present.apply(&l.pending[i])
	}
	l.present = present
	return nil
}

// sections yields the parts of the log. Keys are listed in their order, which is that of the numbers.
func (l *mailboxLog) sections(ctx context.Context) iter.Seq2[*Section, error] {
	return func(yield func(*Section, error) bool) {
		for info, err := range l.store.List(ctx, &connection.ListOptions{Prefix: l.prefix()}) {
			if err != nil {
				yield(nil, err)
				return
			}
			number, ok := l.numberOf(info.Key)
			if !ok {
				continue
			}
			var s Section
			s.Part, err = l.read(ctx, info.Key, func(e Entry) { s.Changes = append(s.Changes, e) })
			if err == nil && s.Number != number {
				err = fmt.Errorf("%s: says that it is part %d", info.Key, s.Number)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(&s, nil) {
				return
			}
		}
	}
}

// finish notes for good that a Sync has come to its end: from then on there is only news to read. It is no more than a hint.
func (l *mailboxLog) finish(ctx context.Context) error {
	_, err := l.store.Put(ctx, l.finished(), strings.NewReader("{}\n"), &connection.PutOptions{Size: 3, IfAbsent: true})
	if errors.Is(err, connection.ErrExists) {
		return nil
	}
	return err
}

func (l *mailboxLog) isFinished(ctx context.Context) (bool, error) {
	_, err := l.store.Stat(ctx, l.finished())
	if errors.Is(err, connection.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (l *mailboxLog) finished() string { return "finished/" + folderName(l.mailbox) + ".json" }

// read reads one part of the log, and gives its entries to entry unless that is nil.
func (l *mailboxLog) read(ctx context.Context, key string, entry func(Entry)) (Part, error) {
	object, err := l.store.Get(ctx, key, nil)
	if err != nil {
		return Part{}, err
	}
	part, err := readPart(object.Body, entry)
	if err = errors.Join(err, object.Body.Close()); err != nil {
		return Part{}, fmt.Errorf("%s: %w", key, err)
	}
	return part, nil
}

func readPart(r io.Reader, entry func(Entry)) (Part, error) {
	var part Part
	lines := json.NewDecoder(bufio.NewReader(r))
	if err := lines.Decode(&part); err != nil {
		return part, fmt.Errorf("is no part of a log: %w", err)
	}
	for range part.Entries {
		var e Entry
		if err := lines.Decode(&e); err != nil {
			return part, fmt.Errorf("is cut short: %w", err)
		}
		if entry != nil {
			entry(e)
		}
	}
	// The store compares the digest when the end is read.
	if _, err := lines.Token(); err != io.EOF { //nolint:errorlint // only the bare one is the end
		return part, fmt.Errorf("holds more than it says: %w", err)
	}
	return part, nil
}

func (l *mailboxLog) prefix() string { return "mailboxes/" + folderName(l.mailbox) + "/" }

// folderName makes one segment of a key of any mailbox's name.
func folderName(mailbox string) string {
	switch escaped := url.PathEscape(mailbox); escaped {
	case "":
		return "%" // the connection's own
	case ".", "..":
		return strings.ReplaceAll(escaped, ".", "%2E")
	default:
		return escaped
	}
}

func (l *mailboxLog) key(number int64) string {
	return fmt.Sprintf("%s%012d.jsonl", l.prefix(), number)
}

// numberOf is the inverse of key.
func (l *mailboxLog) numberOf(key string) (int64, bool) {
	digits := strings.TrimSuffix(strings.TrimPrefix(key, l.prefix()), ".jsonl")
	number, err := strconv.ParseInt(digits, 10, 64)
	return number, err == nil && key == l.key(number)
}
