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
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
)

func keyOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return MessageKey(hex.EncodeToString(sum[:]))
}

// message returns a message as Fetch yields it: its Body can be read once.
func message(id string, raw []byte) *connection.Message {
	return &connection.Message{
		Ref: connection.Ref{Folder: "INBOX", ID: id}, Folder: "INBOX", Size: int64(len(raw)),
		Received: time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC), Flags: []connection.Flag{connection.FlagSeen},
		Labels: []string{"work"}, Body: iotest.OneByteReader(bytes.NewReader(raw)),
	}
}

// entries returns all entries of all manifests in s, and the headers of their segments.
func entries(t *testing.T, s *memStore) (all []Entry, headers []segmentHeader) {
	t.Helper()
	for _, key := range s.keys(ManifestsPrefix) {
		lines := bufio.NewScanner(bytes.NewReader(s.objects[key]))
		for first := true; lines.Scan(); first = false {
			var e Entry
			var h segmentHeader
			into := any(&e)
			if first {
				into = &h
			}
			if err := json.Unmarshal(lines.Bytes(), into); err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			if first {
				headers = append(headers, h)
			} else {
				all = append(all, e)
			}
		}
	}
	return all, headers
}

func TestStoreKeepsOctetsAndOrigin(t *testing.T) {
	s := newMemStore()
	a := New(s, connection.Info{Driver: "imap", Endpoint: "mail.example.org:993", ID: "journal"})
	raws := [][]byte{[]byte("Subject: a\r\n\r\nbody\r\n"), nil, []byte("no header\x00\xff\n"), bytes.Repeat([]byte("x"), 300<<10)}
	for i, raw := range raws {
		if err := a.Store(t.Context(), message(fmt.Sprint(i), raw)); err != nil {
			t.Fatal(err)
		}
		if got, ok := s.objects[keyOf(raw)]; !ok || !bytes.Equal(got, raw) {
			t.Errorf("message %d: got %d octets, stored %v, want %d", i, len(got), ok, len(raw))
		}
	}
	all, headers := entries(t, s)
	for i, raw := range raws {
		want := message(fmt.Sprint(i), nil)
		at := slices.IndexFunc(all, func(e Entry) bool { return e.Ref == want.Ref })
		if at < 0 {
			t.Fatalf("no entry of message %d", i)
		}
		e := all[at]
		if e.Key != keyOf(raw) || e.Size != int64(len(raw)) || !e.Received.Equal(want.Received) || !slices.Equal(e.Flags, want.Flags) ||
			!slices.Equal(e.Labels, want.Labels) || e.Folder != "INBOX" {
			t.Errorf("entry of message %d: got %+v", i, e)
		}
	}
	for _, h := range headers {
		if h.Source != "imap mail.example.org:993 journal" || h.Run != a.Run() {
			t.Errorf("header: got %+v", h)
		}
	}
	if got := a.Counts(); got != (Counts{Added: 4}) {
		t.Errorf("counts: got %+v", got)
	}
}

func TestStoreTwiceIsOneObject(t *testing.T) {
	s := newMemStore()
	a := New(s, connection.Info{})
	raw := []byte("the same to two people\r\n")
	for _, id := range []string{"1", "2"} {
		if err := a.Store(t.Context(), message(id, raw)); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.keys(MessagesPrefix); len(got) != 1 {
		t.Errorf("got objects %q, want one", got)
	}
	if all, _ := entries(t, s); len(all) != 2 {
		t.Errorf("got %d entries, want 2", len(all))
	}
	if got := a.Counts(); got != (Counts{Added: 1, Known: 1}) {
		t.Errorf("counts: got %+v", got)
	}
}

// The source's copy is deleted on the strength of the archive's, so one that is damaged is not taken for stored.
func TestStoreRepairsADamagedCopy(t *testing.T) {
	raw := []byte("Subject: precious\r\n\r\nbody\r\n")
	for name, edit := range map[string]func([]byte) []byte{
		"flipped bit": func(b []byte) []byte { b[3] ^= 1; return b },
		"cut short":   func(b []byte) []byte { return b[:5] },
		"empty":       func([]byte) []byte { return []byte{} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newMemStore()
			a := New(s, connection.Info{})
			s.objects[keyOf(raw)] = bytes.Clone(raw)
			s.change(keyOf(raw), edit)
			if err := a.Store(t.Context(), message("1", raw)); err != nil {
				t.Fatal(err)
			}
			if got := s.objects[keyOf(raw)]; !bytes.Equal(got, raw) {
				t.Errorf("got %q, want it repaired", got)
			}
			if got := a.Counts(); got != (Counts{Repaired: 1}) {
				t.Errorf("counts: got %+v", got)
			}
		})
	}
}

func TestStoreFails(t *testing.T) {
	raw := []byte("Subject: x\r\n\r\n")
	quota := &connection.Error{Op: "put", Driver: "memory", Kind: connection.ErrQuota}
	refuse := func(prefix string) func(context.Context, string) error {
		return func(_ context.Context, key string) error {
			if strings.HasPrefix(key, prefix) {
				return quota
			}
			return nil
		}
	}
	cut := errors.New("the line was cut")
	tests := map[string]struct {
		prepare func(*memStore, *connection.Message)
		want    error
	}{
		"no room for the message":  {func(s *memStore, _ *connection.Message) { s.beforePut = refuse(MessagesPrefix) }, connection.ErrQuota},
		"no room for the manifest": {func(s *memStore, _ *connection.Message) { s.beforePut = refuse(ManifestsPrefix) }, connection.ErrQuota},
		"body cut": {func(_ *memStore, m *connection.Message) {
			m.Body = io.MultiReader(bytes.NewReader(raw[:4]), iotest.ErrReader(cut))
		}, cut},
		"seekable body cut": {func(_ *memStore, m *connection.Message) { m.Body = cutSeeker{bytes.NewReader(raw), cut} }, cut},
		"copy cannot be read": {func(s *memStore, _ *connection.Message) {
			s.objects[keyOf(raw)] = raw
			s.beforeGet = func(string) error { return quota }
		}, connection.ErrQuota},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newMemStore()
			m := message("1", raw)
			test.prepare(s, m)
			if err := New(s, connection.Info{}).Store(t.Context(), m); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if all, _ := entries(t, s); len(all) != 0 {
				t.Errorf("got entries %+v, want none", all)
			}
		})
	}
}

// cutSeeker fails at its end.
type cutSeeker struct {
	*bytes.Reader
	err error
}

func (c cutSeeker) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = c.err
	}
	return n, err
}

func (c cutSeeker) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, struct{ io.Reader }{c}) }

// A message may be deleted as soon as Store returns: its manifest line must be there by then, after its octets.
func TestStoreReturnsAfterBothAreDurable(t *testing.T) {
	s := newMemStore()
	a := New(s, connection.Info{})
	raw := []byte("x")
	if err := a.Store(t.Context(), message("1", raw)); err != nil {
		t.Fatal(err)
	}
	if len(s.puts) != 2 || s.puts[0] != keyOf(raw) || !strings.HasPrefix(s.puts[1], ManifestsPrefix+a.Run()+"/") {
		t.Errorf("got puts %q, want the message and then the manifest", s.puts)
	}
}

// While one segment is being written, all that arrives waits for the next one, which is written once.
func TestManifestGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		free := make(chan struct{})
		s.beforePut = func(_ context.Context, key string) error {
			if strings.HasPrefix(key, ManifestsPrefix) {
				<-free
			}
			return nil
		}
		a := New(s, connection.Info{})
		var all sync.WaitGroup
		for i := range 17 {
			all.Go(func() {
				if err := a.Store(t.Context(), message(fmt.Sprint(i), []byte{byte(i)})); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		close(free)
		all.Wait()
		lines, headers := entries(t, s)
		if len(lines) != 17 || len(headers) != 2 {
			t.Fatalf("got %d entries in %d segments, want 17 in 2", len(lines), len(headers))
		}
		slices.SortFunc(headers, func(a, b segmentHeader) int { return a.Segment - b.Segment })
		if headers[0].Segment != 1 || headers[0].Lines != 1 || headers[1].Segment != 2 || headers[1].Lines != 16 {
			t.Errorf("got headers %+v", headers)
		}
	})
}

// The caller who writes for all may be canceled: the others still get what they came for.
func TestManifestSurvivesACanceledWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		s.beforePut = func(ctx context.Context, key string) error {
			if strings.HasPrefix(key, ManifestsPrefix) && ctx.Value(s) != nil {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		a := New(s, connection.Info{})
		impatient, cancel := context.WithCancel(context.WithValue(t.Context(), s, true)) //nolint:revive,staticcheck // any key will do in a test
		var all sync.WaitGroup
		all.Go(func() {
			if err := a.Store(impatient, message("0", []byte("0"))); !errors.Is(err, context.Canceled) {
				t.Errorf("canceled caller: got %v, want context.Canceled", err)
			}
		})
		synctest.Wait()
		for i := 1; i < 4; i++ {
			all.Go(func() {
				if err := a.Store(t.Context(), message(fmt.Sprint(i), []byte{byte(i)})); err != nil {
					t.Errorf("caller %d: %v", i, err)
				}
			})
		}
		all.Go(func() { // waits for its turn, and leaves
			if err := a.Store(impatient, message("4", []byte("4"))); !errors.Is(err, context.Canceled) {
				t.Errorf("canceled waiter: got %v, want context.Canceled", err)
			}
		})
		synctest.Wait()
		cancel()
		all.Wait()
		found := map[string]bool{}
		lines, _ := entries(t, s)
		for _, e := range lines {
			found[e.Ref.ID] = true
		}
		if !found["1"] || !found["2"] || !found["3"] {
			t.Errorf("got entries of %v, want 1, 2 and 3 at least", found)
		}
	})
}

// The reply to a segment may be lost although it was written: then the same number is used again, and nobody minds.
func TestManifestLostReply(t *testing.T) {
	s := newMemStore()
	a := New(s, connection.Info{})
	if err := a.Store(t.Context(), message("1", []byte("1"))); err != nil {
		t.Fatal(err)
	}
	s.beforePut = func(_ context.Context, key string) error {
		if strings.HasPrefix(key, ManifestsPrefix) {
			return s.fault("put", key, connection.ErrUncertain)
		}
		return nil
	}
	if err := a.Store(t.Context(), message("2", []byte("2"))); !errors.Is(err, connection.ErrUncertain) {
		t.Fatalf("got %v, want ErrUncertain", err)
	}
	s.beforePut = nil
	if err := a.Store(t.Context(), message("2", []byte("2"))); err != nil {
		t.Fatal(err)
	}
	if report, err := Verify(t.Context(), s, nil); err != nil || report.Damaged != 0 || report.Lines != 2 {
		t.Errorf("got %+v, %v; want 2 lines and no damage", report, err)
	}
}

// A run that goes on for years must not fill one folder with all its segments.
func TestManifestContinuesUnderAnotherName(t *testing.T) {
	s := newMemStore()
	m := newManifest(s, connection.Info{})
	for i := range maxSegments + 1 {
		if err := m.add(t.Context(), Entry{Size: int64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	under := map[string]int{}
	for _, key := range s.keys(ManifestsPrefix) {
		under[path.Dir(key)]++
	}
	if len(under) != 2 || under[ManifestsPrefix+m.run] != maxSegments {
		t.Errorf("got %v segments under each name, want %d and 1", under, maxSegments)
	}
	if names := slices.Sorted(maps.Keys(under)); len(names) > 0 && names[0] != ManifestsPrefix+m.run {
		t.Errorf("got names %q, want the first to sort first", names)
	}
}

// RFC 3339 ends with the year 9999, and a server may say what it likes.
func TestStoreOddTimes(t *testing.T) {
	for name, received := range map[string]time.Time{
		"none":       {},
		"year 10000": time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
		"year -1":    time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC),
		"odd zone":   time.Date(2024, 1, 1, 0, 0, 0, 0, time.FixedZone("", 99*3600)),
	} {
		t.Run(name, func(t *testing.T) {
			m := message("1", []byte("x"))
			m.Received = received
			if err := New(newMemStore(), connection.Info{}).Store(t.Context(), m); err != nil {
				t.Error(err)
			}
		})
	}
}
