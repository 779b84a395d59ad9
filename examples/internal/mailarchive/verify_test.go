package mailarchive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

// filled returns a store with an archive of two runs, of 5 messages each in a segment each.
func filled(t *testing.T) *memStore {
	t.Helper()
	s := newMemStore()
	for run := range 2 {
		a := New(s, connection.Info{Driver: "test"})
		for i := range 5 {
			raw := fmt.Appendf(nil, "Subject: %d.%d\r\n\r\nbody\r\n", run, i)
			if err := a.Store(t.Context(), message(fmt.Sprintf("%d.%d", run, i), raw)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

func TestVerifyWholeArchive(t *testing.T) {
	s := filled(t)
	progress := 0
	report, err := Verify(t.Context(), s, &VerifyOptions{
		Workers: 4, Progress: func(VerifyReport) { progress++ },
		Damage: func(d Damage) { t.Errorf("damage: %+v", d) },
	})
	if err != nil {
		t.Fatal(err)
	}
	want := VerifyReport{Messages: 10, Bytes: 220, Runs: 2, Lines: 10}
	if report != want {
		t.Errorf("got %+v, want %+v", report, want)
	}
	if progress == 0 {
		t.Error("Progress was not called")
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	cut := func(b []byte) []byte { return b[:len(b)-3] }
	remove := func([]byte) []byte { return nil }
	tests := []struct {
		name   string
		prefix string
		at     int // which key with the prefix
		edit   func([]byte) []byte
		want   string // Damage.Kind
	}{
		{"message with a flipped bit", MessagesPrefix, 3, flip, "changed"},
		{"message cut short", MessagesPrefix, 0, cut, "changed"},
		{"message grown", MessagesPrefix, 1, func(b []byte) []byte { return append(b, 'x') }, "changed"},
		{"message emptied", MessagesPrefix, 9, func([]byte) []byte { return []byte{} }, "changed"},
		{"message gone", MessagesPrefix, 5, remove, "missing"},
		{"manifest with a flipped bit", ManifestsPrefix, 0, flip, "manifest"},
		{"manifest torn", ManifestsPrefix, 4, cut, "manifest"},
		{"manifest emptied", ManifestsPrefix, 2, func([]byte) []byte { return []byte{} }, "manifest"},
		{"manifest without its last line", ManifestsPrefix, 2, func(b []byte) []byte { return b[:bytes.IndexByte(b, '\n')+1] }, "manifest"},
		{"manifest of another kind", ManifestsPrefix, 7, func([]byte) []byte { return []byte("not JSON\n") }, "manifest"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := filled(t)
			key := s.keys(test.prefix)[test.at]
			s.change(key, test.edit)
			var found []Damage
			report, err := Verify(t.Context(), s, &VerifyOptions{Damage: func(d Damage) { found = append(found, d) }})
			if err != nil {
				t.Fatal(err)
			}
			if report.Damaged == 0 || !slices.ContainsFunc(found, func(d Damage) bool { return d.Kind == test.want && d.Key == key }) {
				t.Errorf("got %+v, want %s of %s", found, test.want, key)
			}
		})
	}
}

func TestVerifyFindsALostSegment(t *testing.T) {
	s := filled(t)
	_, headers := entries(t, s)
	at := slices.IndexFunc(headers, func(h segmentHeader) bool { return h.Segment == 3 })
	s.change(s.keys(ManifestsPrefix)[at], func([]byte) []byte { return nil })
	var found []Damage
	report, err := Verify(t.Context(), s, &VerifyOptions{Damage: func(d Damage) { found = append(found, d) }})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].Kind != "missing" || !strings.Contains(found[0].Detail, "segment 3") {
		t.Errorf("got %+v, want segment 3 missing", found)
	}
	if report.Unlisted != 1 {
		t.Errorf("got %d unlisted, want the one message of that segment", report.Unlisted)
	}
}

func TestVerifyFindsWhatCannotBeRead(t *testing.T) {
	for _, prefix := range []string{MessagesPrefix, ManifestsPrefix} {
		s := filled(t)
		key := s.keys(prefix)[1]
		s.beforeGet = func(got string) error {
			if got == key {
				return s.fault("get", key, connection.ErrPermission)
			}
			return nil
		}
		var found []Damage
		if _, err := Verify(t.Context(), s, &VerifyOptions{Damage: func(d Damage) { found = append(found, d) }}); err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 || found[0].Kind != "unreadable" || found[0].Key != key {
			t.Errorf("%s: got %+v, want %s unreadable", prefix, found, key)
		}
	}
}

// A run that was killed between the message and the manifest, and things that others put there, are no damage.
func TestVerifyToleratesLeftovers(t *testing.T) {
	s := filled(t)
	s.objects[keyOf([]byte("unlisted"))] = []byte("unlisted")
	s.objects["messages/README"] = []byte("x")
	s.objects["manifests/notes.txt"] = []byte("x")
	s.objects["lost+found/x"] = []byte("x")
	s.objects["thumbs.db"] = []byte("x")
	report, err := Verify(t.Context(), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if report.Damaged != 0 || report.Unlisted != 1 || report.Foreign != 4 {
		t.Errorf("got %+v, want no damage, 1 unlisted, 4 foreign", report)
	}
}

// Another run may store while the archive is read: what came after the listing is not missing.
func TestVerifyBesideARun(t *testing.T) {
	s := filled(t)
	a := New(s, connection.Info{})
	stored := false
	s.beforeGet = func(key string) error {
		if !stored && strings.HasPrefix(key, ManifestsPrefix) {
			stored = true
			return a.Store(t.Context(), message("late", []byte("late")))
		}
		return nil
	}
	report, err := Verify(t.Context(), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.beforeGet = nil
	again, err := Verify(t.Context(), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if report.Damaged != 0 || again.Damaged != 0 || again.Lines != 11 {
		t.Errorf("got %+v, then %+v, want no damage, then 11 lines", report, again)
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	s := filled(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.beforeGet = func(string) error { cancel(); return nil }
	if _, err := Verify(ctx, s, &VerifyOptions{Workers: 3}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}
