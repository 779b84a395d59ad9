package main

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
	"os"
	"path"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// An Entry is what a manifest says of a message; see examples/archive for all of it. Of a message that was named by its
// key there is only the key.
type Entry struct {
	Key      string               `json:"key"`
	Size     int64                `json:"size"`
	Ref      connection.Ref       `json:"ref"`
	Folder   string               `json:"folder"`
	Received time.Time            `json:"received,omitzero"`
	Stored   time.Time            `json:"stored,omitzero"`
	Envelope *connection.Envelope `json:"envelope,omitempty"`
}

// A query chooses entries of manifests.
type query struct {
	folder, mailbox string // "" = all
	since, until    time.Time
}

func (q *query) empty() bool { return *q == query{} }

func (q *query) check() error {
	_, err := path.Match(q.folder, "")
	if err != nil {
		return fmt.Errorf("-folder %q: %w", q.folder, err)
	}
	return nil
}

func (q *query) matches(e Entry) bool {
	folder := e.Folder
	if folder == "" {
		folder = e.Ref.Folder
	}
	at := e.Received
	if at.IsZero() { // POP3 keeps no times
		at = e.Stored
	}
	inFolder, _ := path.Match(q.folder, folder) // check has seen the pattern
	return (q.folder == "" || inFolder) && (q.mailbox == "" || q.mailbox == e.Ref.Mailbox) &&
		(q.since.IsZero() || !at.Before(q.since)) && (q.until.IsZero() || at.Before(q.until) && !at.IsZero())
}

// messageKey returns the key of a message from its key or its SHA-256.
func messageKey(name string) (string, error) {
	sum := strings.TrimSuffix(path.Base(name), ".eml")
	if raw, err := hex.DecodeString(sum); err != nil || len(raw) != 32 {
		return "", fmt.Errorf("%q is neither the key of a message nor a SHA-256", name)
	}
	sum = strings.ToLower(sum)
	return "messages/" + sum[:2] + "/" + sum[2:4] + "/" + sum + ".eml", nil
}

// choose yields each message that the options name, once: those of the command line, of the list, and of the manifests.
func choose(ctx context.Context, store connection.ObjectStore, o options, stdin io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		seen := make(map[string]bool)
		give := func(e Entry) bool {
			if seen[e.Key] {
				return true
			}
			seen[e.Key] = true
			return yield(e, nil)
		}
		names := o.keys
		if o.list != "" {
			listed, err := readList(o.list, stdin)
			if err != nil {
				yield(Entry{}, fmt.Errorf("-list: %w", err))
				return
			}
			names = append(names, listed...)
		}
		for _, name := range names {
			key, err := messageKey(name)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if !give(Entry{Key: key}) {
				return
			}
		}
		if o.query.empty() {
			return
		}
		for e, err := range entries(ctx, store) {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if o.query.matches(e) && !give(e) {
				return
			}
		}
	}
}

// readList reads keys, one a line. Lines that begin with # are passed over.
func readList(name string, stdin io.Reader) (keys []string, err error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" && !strings.HasPrefix(line, "#") {
			keys = append(keys, line)
		}
	}
	return keys, lines.Err()
}

// maxSegment bounds one object of a manifest.
const maxSegment = 256 << 20

// entries yields the entries of all manifests, the oldest run first. An archive without one is an error.
func entries(ctx context.Context, store connection.ObjectStore) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		found := false
		for info, err := range store.List(ctx, &connection.ListOptions{Prefix: "manifests/"}) {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if !strings.HasSuffix(info.Key, ".jsonl") {
				continue
			}
			found = true
			data, err := read(ctx, store, info.Key)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for i, line := range bytes.Split(data, []byte("\n")) {
				if i == 0 || len(line) == 0 { // the first line is the segment's own
					continue
				}
				var e Entry
				if err := json.Unmarshal(line, &e); err != nil || e.Key == "" {
					yield(Entry{}, fmt.Errorf("%s, line %d: no entry: run archive -verify", info.Key, i+1))
					return
				}
				if !yield(e, nil) {
					return
				}
			}
		}
		if !found {
			yield(Entry{}, errors.New("-archive: there is no manifest in it: is this an archive that examples/archive made?"))
		}
	}
}

// read reads a segment of a manifest, which hashes to its name.
func read(ctx context.Context, store connection.Getter, key string) ([]byte, error) {
	object, err := store.Get(ctx, key, nil)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(object.Body, maxSegment+1))
	if err == nil && len(data) > maxSegment {
		err = fmt.Errorf("%s: over %d octets", key, maxSegment)
	}
	if sum := sha256.Sum256(data); err == nil && !strings.Contains(key, hex.EncodeToString(sum[:])) {
		err = fmt.Errorf("%s is damaged: run archive -verify", key)
	}
	return data, errors.Join(err, object.Body.Close())
}
