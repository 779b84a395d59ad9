package mailarchive

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
	"slices"
	"strings"
	"sync"

	"github.com/mailconn/mailconn/connection"
)

// VerifyOptions are the options of [Verify].
type VerifyOptions struct {
	Workers  int                // objects read at once; 0 = 1
	Damage   func(Damage)       // told of each damage, never by two goroutines at once
	Progress func(VerifyReport) // told after each object, never by two goroutines at once
}

// A Damage is one thing that is wrong in an archive.
type Damage struct {
	Kind   string `json:"kind"` // "missing", "changed", "unreadable" or "manifest"
	Key    string `json:"key"`
	Detail string `json:"detail"`
}

// A VerifyReport says what [Verify] found.
type VerifyReport struct {
	Messages int64 `json:"messages"` // read
	Bytes    int64 `json:"bytes"`    // octets of them
	Runs     int64 `json:"runs"`     // that left a manifest
	Lines    int64 `json:"lines"`    // entries of all manifests
	Unlisted int64 `json:"unlisted"` // whole messages that no manifest lists: a run was stopped just before it could
	Foreign  int64 `json:"foreign"`  // objects that are no part of an archive
	Damaged  int64 `json:"damaged"`
}

// Verify reads a whole archive and compares every message and manifest with its name, and every manifest entry with
// the messages. Damage is no error: it is counted and told to VerifyOptions.Damage. An error means that the archive
// could not be read to its end. It holds some 40 octets of memory for each message. opts may be nil.
func Verify(ctx context.Context, store connection.ObjectStore, opts *VerifyOptions) (VerifyReport, error) {
	v := &verifier{store: store}
	if opts != nil {
		v.opts = *opts
	}
	if err := v.messages(ctx); err != nil {
		return v.report, err
	}
	if err := v.manifests(ctx); err != nil {
		return v.report, err
	}
	for _, m := range v.index {
		if m.whole && !m.listed {
			v.report.Unlisted++
		}
	}
	for info, err := range store.List(ctx, &connection.ListOptions{Delimiter: "/"}) {
		if err != nil {
			return v.report, err
		}
		if info.Key != MessagesPrefix && info.Key != ManifestsPrefix {
			v.report.Foreign++
		}
	}
	return v.report, nil
}

type verifier struct {
	store connection.ObjectStore
	opts  VerifyOptions
	index []stored // by digest

	mu     sync.Mutex
	report VerifyReport
}

// stored is a message that the archive holds. Half a SHA-256 tells messages apart as well as a whole one.
type stored struct {
	digest        [sha256.Size / 2]byte
	size          int64
	whole, listed bool
}

func (s stored) compare(digest [sha256.Size / 2]byte) int {
	return bytes.Compare(s.digest[:], digest[:])
}

// digestOf returns the first half of the digest that a message's key names.
func digestOf(key string) (half [sha256.Size / 2]byte, ok bool) {
	sum := strings.TrimSuffix(key[strings.LastIndexByte(key, '/')+1:], messageSuffix)
	raw, err := hex.DecodeString(sum)
	if err != nil || len(raw) != sha256.Size || MessageKey(sum) != key {
		return half, false
	}
	return [sha256.Size / 2]byte(raw), true
}

func (v *verifier) damage(kind, key, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Damaged++
	if v.opts.Damage != nil {
		v.opts.Damage(Damage{Kind: kind, Key: key, Detail: fmt.Sprintf(format, args...)})
	}
}

func (v *verifier) count(update func(*VerifyReport)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	update(&v.report)
	if v.opts.Progress != nil {
		v.opts.Progress(v.report)
	}
}

// messages reads every message.
func (v *verifier) messages(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	found := make(chan stored)
	keys := make(chan string)
	var workers sync.WaitGroup
	for range max(1, v.opts.Workers) {
		workers.Go(func() {
			for key := range keys {
				found <- v.message(ctx, key)
			}
		})
	}
	var listErr error
	go func() {
		defer func() {
			close(keys)
			workers.Wait()
			close(found)
		}()
		for info, err := range v.store.List(ctx, &connection.ListOptions{Prefix: MessagesPrefix}) {
			if err != nil {
				listErr = err
				return
			}
			if _, ok := digestOf(info.Key); !ok {
				v.count(func(r *VerifyReport) { r.Foreign++ })
				continue
			}
			select {
			case keys <- info.Key:
			case <-ctx.Done():
				return
			}
		}
	}()
	for m := range found {
		v.index = append(v.index, m)
	}
	slices.SortFunc(v.index, func(a, b stored) int { return a.compare(b.digest) })
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return listErr
}

// message reads the message under key and compares it with its name.
func (v *verifier) message(ctx context.Context, key string) stored {
	half, _ := digestOf(key)
	m := stored{digest: half}
	sum, size, err := digest(ctx, v.store, key)
	m.size = size
	switch {
	case ctx.Err() != nil:
		return m
	case errors.Is(err, connection.ErrCorrupt):
		v.damage("changed", key, "%v", err)
	case err != nil:
		v.damage("unreadable", key, "%v", err)
	case MessageKey(sum) != key:
		v.damage("changed", key, "its %d octets have the SHA-256 %s, which is not its name", size, sum)
	default:
		m.whole = true
	}
	v.count(func(r *VerifyReport) { r.Messages, r.Bytes = r.Messages+1, r.Bytes+size })
	return m
}

// manifests reads every segment of every run. The store lists the segments of a run one after the other.
func (v *verifier) manifests(ctx context.Context) error {
	run := ""
	segments := map[int]bool{}
	endOfRun := func() {
		last := 0
		for n := range segments {
			last = max(last, n)
		}
		for n := 1; n < last; n++ {
			if !segments[n] {
				v.damage("missing", ManifestsPrefix+run+"/", "segment %d of this manifest is gone", n)
			}
		}
	}
	for info, err := range v.store.List(ctx, &connection.ListOptions{Prefix: ManifestsPrefix}) {
		if err != nil {
			return err
		}
		of, name, ok := strings.Cut(strings.TrimPrefix(info.Key, ManifestsPrefix), "/")
		sum, isSegment := strings.CutSuffix(name, manifestSuffix)
		if raw, err := hex.DecodeString(sum); !ok || !isSegment || err != nil || len(raw) != sha256.Size {
			v.count(func(r *VerifyReport) { r.Foreign++ })
			continue
		}
		if of != run {
			endOfRun()
			run, segments = of, map[int]bool{}
			v.count(func(r *VerifyReport) { r.Runs++ })
		}
		number, err := v.segment(ctx, info.Key, sum)
		if err != nil {
			return err
		}
		if number > 0 {
			segments[number] = true
		}
	}
	endOfRun()
	return context.Cause(ctx)
}

// segment reads one segment of a manifest and returns its number, 0 if it does not tell. The error is only ctx's.
func (v *verifier) segment(ctx context.Context, key, sum string) (int, error) {
	object, err := v.store.Get(ctx, key, &connection.GetOptions{NoVerify: true})
	if err != nil {
		if ctx.Err() == nil {
			v.damage("unreadable", key, "%v", err)
		}
		return 0, context.Cause(ctx)
	}
	hash := sha256.New()
	lines := bufio.NewReader(io.TeeReader(object.Body, hash))
	var header segmentHeader
	count := 0
	for first := true; ; first = false {
		line, readErr := lines.ReadBytes('\n')
		if len(line) > 0 && readErr == nil {
			if first {
				err = json.Unmarshal(line, &header)
			} else {
				count++
				err = v.entry(ctx, key, line)
			}
			if err != nil {
				break
			}
		}
		if readErr != nil {
			if readErr != io.EOF { //nolint:errorlint // only the bare io.EOF is the end
				err = readErr
			}
			break
		}
	}
	closeErr := object.Body.Close()
	switch {
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case err != nil || closeErr != nil:
		v.damage("manifest", key, "%v", errors.Join(err, closeErr))
	case hex.EncodeToString(hash.Sum(nil)) != sum:
		v.damage("manifest", key, "its SHA-256 is not its name: it was changed or cut short; %d of %d lines can be read", count, header.Lines)
	}
	return header.Segment, nil
}

// entry compares one line of the manifest under key with the messages.
func (v *verifier) entry(ctx context.Context, key string, line []byte) error {
	var e Entry
	if err := json.Unmarshal(line, &e); err != nil {
		return err
	}
	v.count(func(r *VerifyReport) { r.Lines++ })
	half, ok := digestOf(e.Key)
	if !ok {
		v.damage("manifest", key, "the entry of %s names %q, which is no message", e.Ref, e.Key)
		return nil
	}
	at, ok := slices.BinarySearchFunc(v.index, half, stored.compare)
	if ok {
		m := &v.index[at]
		m.listed = true
		if m.whole && m.size != e.Size {
			v.damage("manifest", key, "the entry of %s says %d octets, its message %s has %d", e.Ref, e.Size, e.Key, m.size)
		}
		return nil
	}
	// Stored after the messages were listed, or gone.
	switch _, err := v.store.Stat(ctx, e.Key); {
	case err == nil || ctx.Err() != nil:
	case errors.Is(err, connection.ErrNotFound):
		v.damage("missing", e.Key, "it came from %s; %s lists it", e.Ref, key)
	default:
		v.damage("unreadable", e.Key, "%v", err)
	}
	return nil
}
