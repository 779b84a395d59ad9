package mailarchive

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// An Entry is one line of a manifest: a message that was stored, and all that the source said about it.
type Entry struct {
	Key      string               `json:"key"`  // of the message in the archive
	Size     int64                `json:"size"` // octets
	Ref      connection.Ref       `json:"ref"`  // where it was at the source
	Folder   string               `json:"folder,omitempty"`
	Received time.Time            `json:"received,omitzero"` // arrival at the source
	Flags    []connection.Flag    `json:"flags,omitempty"`
	Labels   []string             `json:"labels,omitempty"`
	Envelope *connection.Envelope `json:"envelope,omitempty"`
	Summary  Summary              `json:"summary,omitzero"` // of its header
	Stored   time.Time            `json:"stored"`
}

// A segmentHeader is the first line of each segment of a manifest.
type segmentHeader struct {
	Run     string `json:"run"`
	Segment int    `json:"segment"` // 1, 2, 3… A number that is missing is a segment that is lost
	Lines   int    `json:"lines"`   // entries that follow
	Source  string `json:"source"`  // where the run reads from
}

func newEntry(m *connection.Message, key string, size int64, summary Summary) Entry {
	return Entry{
		Key: key, Size: size, Summary: summary, Ref: m.Ref, Folder: m.Folder, Received: writable(m.Received),
		Flags: m.Flags, Labels: m.Labels, Envelope: m.Envelope, Stored: writable(time.Now()),
	}
}

// writable returns t as JSON can hold it: a server's year 10000 must not keep a message out of the archive.
func writable(t time.Time) time.Time {
	t = t.UTC()
	if t.Year() < 0 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

// A manifest writes the entries of one run. Object stores cannot append, and an object for each entry would cost as
// much as the messages do: so entries that arrive while one segment is being written share the next one.
type manifest struct {
	store  connection.Putter
	source string
	run    string // sorts by time and is unique

	lead    chan struct{} // holds a token while a segment is being written
	name    string        // what the segments stand under now; guarded by lead, as is
	written int           // how many there are

	mu   sync.Mutex
	next *segment // collects entries; nil if there are none
}

// A segment is a group of entries that become durable together.
type segment struct {
	lines bytes.Buffer
	count int
	done  chan struct{} // closed when err is final
	err   error
}

func newManifest(store connection.Putter, source connection.Info) *manifest {
	name := source.Driver
	for _, part := range []string{source.Endpoint, source.ID} {
		if part != "" {
			name += " " + part
		}
	}
	run := newRun(time.Now())
	return &manifest{store: store, source: name, run: run, name: run, lead: make(chan struct{}, 1)}
}

// newRun returns a name that sorts by time, that no other run has, and that is a file name as it is on any system.
func newRun(now time.Time) string {
	now = now.UTC()
	return fmt.Sprintf("%s-%09d-%s", now.Format("20060102-150405"), now.Nanosecond(), strings.ToLower(rand.Text()[:8]))
}

// errLeft says that a segment was given up because the caller that wrote it for all was canceled.
var errLeft = errors.New("the writer of this part of the manifest was canceled")

// add returns nil once e is durable.
func (m *manifest) add(ctx context.Context, e Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	for {
		err := m.commit(ctx, m.join(line))
		if !errors.Is(err, errLeft) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// join puts line into the segment that will be written next.
func (m *manifest) join(line []byte) *segment {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.next == nil {
		m.next = &segment{done: make(chan struct{})}
	}
	m.next.lines.Write(line)
	m.next.lines.WriteByte('\n')
	m.next.count++
	return m.next
}

// commit waits until s is written; the first caller that finds nobody writing does it for all.
func (m *manifest) commit(ctx context.Context, s *segment) error {
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return context.Cause(ctx) // the line may be written by others yet; it is true all the same
	case m.lead <- struct{}{}:
	}
	defer func() { <-m.lead }()
	m.mu.Lock()
	mine := m.next == s
	if mine {
		m.next = nil
	}
	m.mu.Unlock()
	if mine {
		s.err = m.write(ctx, s)
		close(s.done)
	}
	<-s.done // who took s has let go of lead, so it is done
	return s.err
}

// maxSegments is how many segments stand under one name. A run that follows its source for years goes on under another
// one then, so that no folder grows without end.
const maxSegments = 10_000

// write puts s into the store, and returns errLeft if ctx kept it from that.
func (m *manifest) write(ctx context.Context, s *segment) error {
	if m.written == maxSegments {
		m.name, m.written = newRun(time.Now()), 0
	}
	var data bytes.Buffer
	data.Grow(256 + s.lines.Len())
	header := segmentHeader{Run: m.name, Segment: m.written + 1, Lines: s.count, Source: m.source}
	if err := json.NewEncoder(&data).Encode(header); err != nil {
		return err
	}
	data.Write(s.lines.Bytes())
	sum := sha256.Sum256(data.Bytes())
	digest := hex.EncodeToString(sum[:])
	opts := &connection.PutOptions{Size: int64(data.Len()), SHA256: digest, IfAbsent: true}
	key := ManifestsPrefix + m.name + "/" + digest + manifestSuffix
	_, err := m.store.Put(ctx, key, bytes.NewReader(data.Bytes()), opts)
	if errors.Is(err, connection.ErrUnsupported) {
		opts.IfAbsent = false // the store has no such thing, and the name is the content
		_, err = m.store.Put(ctx, key, bytes.NewReader(data.Bytes()), opts)
	}
	switch {
	case err == nil, errors.Is(err, connection.ErrExists): // the name is the content
		m.written++
		return nil
	case ctx.Err() != nil:
		return errors.Join(errLeft, err)
	}
	return err
}
