package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/examples/internal/mailarchive"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/filestore"
)

// A vault is the console's archive.
type vault struct {
	store *filestore.Conn
	dir   string
}

// openVault opens the archive in dir. The folder itself must be there.
func openVault(dir string, env *connection.Env) (*vault, error) {
	store, err := filestore.Open(filestore.Config{Settings: objectstore.Settings{Location: filepath.Dir(dir), Bucket: filepath.Base(dir)}}, env)
	if err != nil {
		return nil, err
	}
	return &vault{store: store, dir: dir}, nil
}

// A query is what somebody looks for. Text is compared without regard to case.
type query struct {
	From, Subject string
	After, Before time.Time // of the message's Date, or of its arrival if it has none; zero = any
}

func (q query) matches(e *mailarchive.Entry) bool {
	contains := func(text, part string) bool { return strings.Contains(strings.ToLower(text), strings.ToLower(part)) }
	when := date(e)
	return contains(e.Summary.From, q.From) && contains(e.Summary.Subject, q.Subject) &&
		(q.After.IsZero() || !when.Before(q.After)) && (q.Before.IsZero() || when.Before(q.Before))
}

// date returns when a message was written, as far as anybody knows.
func date(e *mailarchive.Entry) time.Time {
	if !e.Summary.Date.IsZero() {
		return e.Summary.Date
	}
	return e.Received
}

func stored(e *mailarchive.Entry) time.Time { return e.Stored }

// maxFound is how many messages a page shows.
const maxFound = 200

// A found page holds the newest of what was looked for.
type found struct {
	Entries []mailarchive.Entry
	Total   int // messages, each counted once wherever it came from
	Damaged int // parts of manifests that could not be read
}

// search reads the manifests. A message that came more than once, by two runs for instance, is found once. It holds the digest
// of each message found, and no more than two pages of entries.
func (v *vault) search(ctx context.Context, q query) (found, error) {
	var f found
	seen := make(map[[sha256.Size]byte]struct{})
	for e, err := range mailarchive.Entries(ctx, v.store) {
		switch {
		case err != nil && keyOf(err) != "":
			f.Damaged++
			continue
		case err != nil:
			return f, err
		case !q.matches(&e):
			continue
		}
		digest := sha256.Sum256([]byte(e.Key))
		if _, again := seen[digest]; again {
			continue
		}
		seen[digest] = struct{}{}
		if f.Entries = append(f.Entries, e); len(f.Entries) == 2*maxFound {
			f.Entries = newest(f.Entries, maxFound, date)
		}
	}
	f.Total, f.Entries = len(seen), newest(f.Entries, maxFound, date)
	return f, nil
}

// newest returns the n newest entries, the newest first. It sorts all in their place.
func newest(all []mailarchive.Entry, n int, when func(*mailarchive.Entry) time.Time) []mailarchive.Entry {
	slices.SortStableFunc(all, func(a, b mailarchive.Entry) int { return when(&b).Compare(when(&a)) })
	return all[:min(n, len(all))]
}

func keyOf(err error) string {
	var e *connection.Error
	if errors.As(err, &e) {
		return e.Key
	}
	return ""
}

// maxPlaces is how many places a message's page shows: a message that is copied every night comes from very many.
const maxPlaces = 20

// places returns where the message under key came from: the last ones, the newest first.
func (v *vault) places(ctx context.Context, key string) (all []mailarchive.Entry, err error) {
	for e, err := range mailarchive.Entries(ctx, v.store) {
		switch {
		case err != nil && keyOf(err) == "":
			return nil, err
		case err == nil && e.Key == key:
			if all = append(all, e); len(all) == 2*maxPlaces {
				all = newest(all, maxPlaces, stored)
			}
		}
	}
	return newest(all, maxPlaces, stored), nil
}

// read opens the message with the SHA-256 given. Its octets are held against their digest while they are read.
func (v *vault) read(ctx context.Context, sum string) (io.ReadCloser, int64, error) {
	key := mailarchive.MessageKey(sum)
	if key == "" || strings.Trim(sum, "0123456789abcdef") != "" {
		return nil, 0, &connection.Error{Op: "get", Kind: connection.ErrNotFound, Err: errors.New("no message has such a name")}
	}
	object, err := v.store.Get(ctx, key, nil)
	if err != nil {
		return nil, 0, err
	}
	return object.Body, object.Size, nil
}

// sumOf returns the SHA-256 that the key of a message names.
func sumOf(key string) string {
	name := key[strings.LastIndexByte(key, '/')+1:]
	return strings.TrimSuffix(name, ".eml")
}
