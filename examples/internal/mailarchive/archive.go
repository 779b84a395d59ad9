// Package mailarchive is the archive of the example programs: messages under their SHA-256 in any object store, and
// manifests that say where they came from. It is written to be copied.
package mailarchive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/mailconn/mailconn/connection"
)

// An Archive keeps messages in an object store:
//
//	messages/aa/bb/<sha256>.eml         a message, octet for octet, named by its SHA-256 and written once
//	manifests/<run>/<sha256>.jsonl      where messages came from: a segment of the run's manifest, see [Entry]
//
// Every object is named by its own digest, so that damage shows and the same message twice costs nothing. Nothing is
// ever appended to or renamed, so that any object store will do and a run that is killed leaves nothing half done.
//
// Its methods may be called from several goroutines at once.
type Archive struct {
	store    connection.ObjectStore
	manifest *manifest

	added, known, repaired atomic.Int64
}

// Counts say what became of the messages given to [Archive.Store].
type Counts struct {
	Added    int64 `json:"added"`    // new to the archive
	Known    int64 `json:"known"`    // the archive had them already, whole
	Repaired int64 `json:"repaired"` // the archive had a damaged copy, which was replaced
}

// New returns an Archive in store for one run that reads from source. It does no I/O.
func New(store connection.ObjectStore, source connection.Info) *Archive {
	return &Archive{store: store, manifest: newManifest(store, source)}
}

// Counts returns what was stored so far.
func (a *Archive) Counts() Counts {
	return Counts{Added: a.added.Load(), Known: a.known.Load(), Repaired: a.repaired.Load()}
}

// Run returns the name of this run, under which its manifest is kept. Names sort by time; a run of very many messages
// continues under later names.
func (a *Archive) Run() string { return a.manifest.run }

// Store is a [connection.Sink]. It returns nil once the message and the manifest line that tells where it came from are
// both durable. The same message may be stored any number of times.
func (a *Archive) Store(ctx context.Context, m *connection.Message) error {
	// The digest is the name, so the body is read twice. Drain with several workers has spooled it already.
	body, ok := m.Body.(io.ReadSeeker)
	if !ok {
		spooled, err := connection.Spool(m, nil)
		if err != nil {
			return err
		}
		defer func() { _ = spooled.Close() }() // a temporary copy: the outcome does not hang on it
		body = spooled.Reader()
	}
	hash := sha256.New()
	size, err := io.Copy(hash, body)
	if err != nil {
		return fmt.Errorf("reading the message: %w", err)
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	key := MessageKey(sum)
	if err := a.put(ctx, key, body, connection.PutOptions{Size: size, SHA256: sum, IfAbsent: true}); err != nil {
		return err
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading the header again: %w", err)
	}
	return a.manifest.add(ctx, newEntry(m, key, size, summarize(body)))
}

// put makes sure that key holds the octets of body.
func (a *Archive) put(ctx context.Context, key string, body io.ReadSeeker, opts connection.PutOptions) error {
	count := &a.added
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading the message again: %w", err)
	}
	_, err := a.store.Put(ctx, key, body, &opts)
	switch {
	case errors.Is(err, connection.ErrExists):
		// The source's copy may be deleted on the strength of this one, so it is read, not just believed.
		count = &a.known
		var whole bool
		if whole, err = a.whole(ctx, key, opts.Size); err == nil && !whole {
			count = &a.repaired
			err = a.replace(ctx, key, body, opts)
		}
	case errors.Is(err, connection.ErrUnsupported):
		// A store without put-if-absent. Equal keys hold equal octets, so it does no harm that two writers may both store
		// one; what is there already is not stored again, since a store with versions would keep both.
		var whole bool
		whole, err = a.whole(ctx, key, opts.Size)
		switch {
		case err == nil && whole:
			count = &a.known
		case err == nil, errors.Is(err, connection.ErrNotFound):
			err = a.replace(ctx, key, body, opts)
		}
	}
	if err == nil {
		count.Add(1)
	}
	return err
}

// replace stores body whatever key holds.
func (a *Archive) replace(ctx context.Context, key string, body io.ReadSeeker, opts connection.PutOptions) error {
	opts.IfAbsent = false
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading the message again: %w", err)
	}
	_, err := a.store.Put(ctx, key, body, &opts)
	return err
}

// whole reports whether the archive's copy under key has the size given and hashes to its name.
func (a *Archive) whole(ctx context.Context, key string, size int64) (bool, error) {
	info, err := a.store.Stat(ctx, key)
	if err != nil || info.Size != size {
		return false, err
	}
	sum, _, err := digest(ctx, a.store, key)
	switch {
	case errors.Is(err, connection.ErrArchived):
		return true, nil // in a cold tier: the size must do
	case errors.Is(err, connection.ErrCorrupt):
		return false, nil
	}
	return MessageKey(sum) == key, err
}

// digest reads the object under key to its end and returns the SHA-256 of what is there, in hex, and the size.
func digest(ctx context.Context, store connection.Getter, key string) (string, int64, error) {
	object, err := store.Get(ctx, key, &connection.GetOptions{NoVerify: true}) // it is done here
	if err != nil {
		return "", 0, err
	}
	hash := sha256.New()
	size, err := io.Copy(hash, object.Body)
	if err = errors.Join(err, object.Body.Close()); err != nil {
		return "", size, err
	}
	return hex.EncodeToString(hash.Sum(nil)), size, nil
}

// Where an archive keeps what, in its store.
const (
	MessagesPrefix  = "messages/"
	ManifestsPrefix = "manifests/"

	messageSuffix  = ".eml"
	manifestSuffix = ".jsonl"
)

// MessageKey returns the key of the message with the SHA-256 given. Two levels of folders keep each of them small on a
// disk, and spread the load over the partitions of an object store.
func MessageKey(sum string) string {
	if len(sum) != hex.EncodedLen(sha256.Size) {
		return ""
	}
	return MessagesPrefix + sum[:2] + "/" + sum[2:4] + "/" + sum + messageSuffix
}
