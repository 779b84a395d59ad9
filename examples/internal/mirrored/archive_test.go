package mirrored

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
)

const box = "ann@example.org"

func added(id, raw string) *connection.Change {
	ref := connection.Ref{Mailbox: box, ID: id}
	return &connection.Change{Op: connection.Added, Ref: ref, Message: &connection.Message{
		Ref: ref, Folder: "Inbox", Size: int64(len(raw)), Received: time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC),
		Flags: []connection.Flag{connection.FlagSeen}, Body: iotest.OneByteReader(strings.NewReader(raw)),
	}}
}

func store(t *testing.T, a *Archive, changes ...*connection.Change) {
	t.Helper()
	for _, c := range changes {
		if err := a.Store(t.Context(), box, c); err != nil {
			t.Fatal(err)
		}
	}
}

func load(t *testing.T, a *Archive) connection.Checkpoint {
	t.Helper()
	c, err := a.Load(t.Context(), box)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func save(t *testing.T, a *Archive, old, next connection.Checkpoint) {
	t.Helper()
	if err := a.Save(t.Context(), box, old, next); err != nil {
		t.Fatal(err)
	}
}

// logged returns the parts of a mailbox's log and what is in them.
func logged(t *testing.T, s connection.ObjectStore, mailbox string) (parts []Part, all []Entry) {
	t.Helper()
	for section, err := range NewArchive(s).Log(t.Context(), mailbox) {
		if err != nil {
			t.Fatal(err)
		}
		parts, all = append(parts, section.Part), append(all, section.Changes...)
	}
	return parts, all
}

func TestStoreAndSave(t *testing.T) {
	s := connectiontest.NewObjectStore()
	a := NewArchive(s)
	if got := load(t, a); got != "" {
		t.Fatalf("got checkpoint %q of an empty archive", got)
	}
	store(
		t, a, added("1", "Subject: a\r\n\r\n"),
		&connection.Change{Op: connection.FolderRenamed, Folder: &connection.Folder{Name: "New", Previous: "Old"}},
		&connection.Change{Op: connection.Removed, Ref: connection.Ref{Mailbox: box, ID: "0"}},
		added("2", "Subject: a\r\n\r\n"),
	)
	if parts, _ := logged(t, s, box); len(parts) != 0 {
		t.Fatalf("got %+v before the checkpoint", parts)
	}
	save(t, a, "", "one")
	save(t, a, "one", "two")
	parts, got := logged(t, s, box)
	key := MessageKey([]byte("Subject: a\r\n\r\n"))
	message := func(id string) Entry {
		m := added(id, "").Message
		return Entry{Op: "added", Ref: m.Ref, Key: key, Size: 14, Folder: "Inbox", Received: m.Received, Flags: m.Flags}
	}
	want := []Entry{
		message("1"), {Op: "folder renamed", Folder: "New", Previous: "Old"}, {Op: "removed", Ref: connection.Ref{Mailbox: box, ID: "0"}}, message("2"),
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if len(parts) != 2 || parts[0].Checkpoint != "one" || parts[0].Entries != 4 || parts[1].Number != 2 || parts[1].Checkpoint != "two" || parts[1].Entries != 0 {
		t.Errorf("got parts %+v", parts)
	}
	if got := s.Objects()[key]; string(got) != "Subject: a\r\n\r\n" {
		t.Errorf("got %q under %s", got, key)
	}
	if got := load(t, NewArchive(s)); got != "two" {
		t.Errorf("got checkpoint %q after a restart, want two", got)
	}
}

// What was stored behind the last checkpoint comes again after a crash, so it is not known.
func TestCrashBeforeTheCheckpoint(t *testing.T) {
	s := connectiontest.NewObjectStore()
	a := NewArchive(s)
	load(t, a)
	store(t, a, added("1", "x"))
	save(t, a, "", "one")
	store(t, a, added("2", "y"))
	for _, again := range []*Archive{a, NewArchive(s)} {
		if got := load(t, again); got != "one" {
			t.Errorf("got checkpoint %q, want one", got)
		}
		refs := []connection.Ref{{Mailbox: box, ID: "2"}, {Mailbox: box, ID: "1"}, {ID: "1"}, {Mailbox: box, Folder: "1"}}
		known, err := again.Known(t.Context(), box, refs)
		if err != nil || !slices.Equal(known, []bool{false, true, false, false}) {
			t.Errorf("known: got %v, %v", known, err)
		}
	}
	// And it is not told twice, though it was stored twice.
	store(t, a, added("2", "y"))
	save(t, a, "one", "two")
	if _, all := logged(t, s, box); len(all) != 2 {
		t.Errorf("got entries %+v, want 2", all)
	}
}

// What is known and listed was added and not removed, whether a checkpoint came behind it or not, and whatever became of its
// folder: the messages of a label that is removed are in the mailbox still.
func TestPresent(t *testing.T) {
	s := connectiontest.NewObjectStore()
	a := NewArchive(s)
	load(t, a)
	ref := func(id string) connection.Ref { return connection.Ref{Mailbox: box, ID: id} }
	removed := func(id string) *connection.Change { return &connection.Change{Op: connection.Removed, Ref: ref(id)} }
	want := func(a *Archive, ids ...string) {
		t.Helper()
		var all []connection.Ref
		for _, id := range []string{"1", "2", "3", "4", "5"} {
			all = append(all, ref(id))
		}
		known, err := a.Known(t.Context(), box, all)
		if err != nil {
			t.Fatal(err)
		}
		for i, is := range known {
			if is != slices.Contains(ids, all[i].ID) {
				t.Errorf("%s: known is %v, want what is of %v", all[i].ID, is, ids)
			}
		}
		var listed []string
		for r, err := range a.Refs(t.Context(), box) {
			if err != nil {
				t.Fatal(err)
			}
			if r != ref(r.ID) {
				t.Errorf("got %+v", r)
			}
			listed = append(listed, r.ID)
		}
		if slices.Sort(listed); !slices.Equal(listed, ids) {
			t.Errorf("got %v listed, want %v", listed, ids)
		}
	}
	store(t, a, added("1", "x"), added("2", "y"), added("2", "y"), added("3", "z"))
	store(t, a, &connection.Change{Op: connection.FolderRemoved, Folder: &connection.Folder{Name: "Inbox"}})
	want(a, "1", "2", "3")
	save(t, a, "", "one")
	store(t, a, removed("1"), removed("3"), added("3", "z"), added("4", "w"), removed("5"))
	want(a, "2", "3", "4")
	want(NewArchive(s), "1", "2", "3")
	save(t, a, "one", "two")
	want(a, "2", "3", "4")
	want(NewArchive(s), "2", "3", "4")
	for range a.Refs(t.Context(), box) { //nolint:errcheck // left at once
		break
	}
	s.Inject(func(string, string) error { return connection.ErrNetwork })
	for r, err := range a.Refs(t.Context(), box) {
		if !errors.Is(err, connection.ErrNetwork) {
			t.Errorf("got %v, %v from a store that fails", r, err)
		}
	}
}

func TestCompareAndSwap(t *testing.T) {
	s := connectiontest.NewObjectStore()
	first, second := NewArchive(s), NewArchive(s)
	if err := first.Save(t.Context(), box, "", "x"); !errors.Is(err, connection.ErrChanged) {
		t.Errorf("save before load: got %v, want ErrChanged", err)
	}
	load(t, first)
	load(t, second)
	save(t, first, "", "one")
	for range 2 {
		if err := second.Save(t.Context(), box, "", "other"); !errors.Is(err, connection.ErrChanged) {
			t.Errorf("got %v, want ErrChanged", err)
		}
	}
	if got := load(t, second); got != "one" {
		t.Errorf("got checkpoint %q, want one", got)
	}
	if err := second.Save(t.Context(), box, "", "other"); !errors.Is(err, connection.ErrChanged) {
		t.Errorf("got %v, want ErrChanged", err)
	}
	save(t, second, "one", "two")
	for number := int64(3); number < 13; number++ {
		save(t, second, load(t, second), connection.Checkpoint(fmt.Sprint(number)))
	}
	if got := load(t, NewArchive(s)); got != "12" {
		t.Errorf("got checkpoint %q, want the twelfth", got)
	}
	if got, err := first.Load(t.Context(), "other@example.org"); got != "" || err != nil {
		t.Errorf("another mailbox: got %q, %v", got, err)
	}
}

// A checkpoint whose Put ended in doubt is there or not; the store knows.
func TestSaveInDoubt(t *testing.T) {
	for _, done := range []bool{false, true} {
		s := connectiontest.NewObjectStore()
		a := NewArchive(s)
		load(t, a)
		store(t, a, added("1", "x"))
		s.Inject(func(op, key string) error {
			if op == "put" && strings.HasPrefix(key, "mailboxes/") {
				s.Inject(nil)
				if done {
					b := NewArchive(s)
					load(t, b)
					store(t, b, added("1", "x"))
					save(t, b, "", "one")
				}
				return connection.ErrUncertain
			}
			return nil
		})
		if err := a.Save(t.Context(), box, "", "one"); !errors.Is(err, connection.ErrUncertain) {
			t.Fatalf("got %v, want ErrUncertain", err)
		}
		want := connection.Checkpoint("")
		if done {
			want = "one"
		}
		if got := load(t, a); got != want {
			t.Errorf("got checkpoint %q, want %q", got, want)
		}
	}
}

func TestStoreFails(t *testing.T) {
	cut := errors.New("the line was cut")
	broken := added("1", "")
	broken.Message.Body = io.MultiReader(strings.NewReader("x"), iotest.ErrReader(cut))
	s := connectiontest.NewObjectStore()
	a := NewArchive(s)
	load(t, a)
	if err := a.Store(t.Context(), box, broken); !errors.Is(err, cut) {
		t.Errorf("got %v, want %v", err, cut)
	}
	s.Inject(func(op, _ string) error {
		if op == "put" {
			return connection.ErrQuota
		}
		return nil
	})
	if err := a.Store(t.Context(), box, added("2", "x")); !errors.Is(err, connection.ErrQuota) {
		t.Errorf("got %v, want ErrQuota", err)
	}
	s.Inject(nil)
	save(t, a, "", "one")
	if _, all := logged(t, s, box); len(all) != 0 {
		t.Errorf("got entries %+v of what was not stored", all)
	}
}

func TestDamagedLog(t *testing.T) {
	s := connectiontest.NewObjectStore()
	a := NewArchive(s)
	load(t, a)
	save(t, a, "", "one")
	for key := range s.Objects() {
		s.Damage(key)
	}
	if got, err := NewArchive(s).Load(t.Context(), box); err == nil {
		t.Errorf("got checkpoint %q from a damaged log", got)
	}
	for name, text := range map[string]string{
		"empty": "", "no part": "x", "cut": `{"entries":2}` + "\n" + `{"op":"added"}` + "\n", "too long": `{"entries":0}` + "\n" + `{"op":"added"}` + "\n",
	} {
		if part, err := readPart(strings.NewReader(text), nil); err == nil {
			t.Errorf("%s: got %+v", name, part)
		}
	}
}

// A copy of another size, such as a broken disk leaves, is replaced.
func TestDamagedMessage(t *testing.T) {
	s := connectiontest.NewObjectStore()
	key := MessageKey([]byte("whole"))
	if _, err := s.Put(t.Context(), key, strings.NewReader("who"), nil); err != nil {
		t.Fatal(err)
	}
	store(t, NewArchive(s), added("1", "whole"))
	if got := s.Objects()[key]; string(got) != "whole" {
		t.Errorf("got %q", got)
	}
}

func TestFolderNames(t *testing.T) {
	seen := make(map[string]string)
	for _, name := range []string{"", ".", "..", "%", "%2E", "a/b", "a%2Fb", "ann@example.org", "ann@example.org#archive", "#public", "Müller", "a\x00b"} {
		got := folderName(name)
		if got == "" || got == "." || got == ".." || strings.Contains(got, "/") || seen[got] != "" {
			t.Errorf("%q: got %q", name, got)
		}
		seen[got] = name
		a := NewArchive(connectiontest.NewObjectStore())
		if _, err := a.Load(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if err := a.Save(t.Context(), name, "", "x"); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Mirror over a store and a source that fail at any moment, with a new process after each failure: nothing is lost.
func TestMirrorThroughFailures(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) { throughFailures(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

func throughFailures(t *testing.T, random *rand.Rand) {
	var raws [][]byte
	for i := range 60 {
		raws = append(raws, fmt.Appendf(nil, "Subject: %d\r\n\r\n%s", i, strings.Repeat("x", random.IntN(100))))
	}
	source, objects := connectiontest.NewMailbox(raws[:30]...), connectiontest.NewObjectStore()
	fail := func() bool { return random.IntN(40) == 0 }
	objects.Inject(func(string, string) error {
		if fail() {
			return connection.ErrQuota // permanent: this run ends
		}
		return nil
	})
	source.Inject(func(op string, _ connection.Ref) error {
		if op == "sync" && fail() {
			return connection.ErrNetwork
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for run := 0; ; run++ {
		if run == 5 {
			source.Deliver(raws[30:]...)
			source.ForgetHistory() // the checkpoint is stale: Known tells what is there
		}
		archive := NewArchive(objects)
		_, err := connection.Mirror(ctx, source, archive, archive, &connection.MirrorOptions{RetryDelay: time.Millisecond})
		if err == nil && run > 5 {
			break
		}
		if run == 1000 {
			t.Fatal(err)
		}
	}
	objects.Inject(nil)
	_, entries := logged(t, objects, "")
	stored := objects.Objects()
	for i, raw := range raws {
		if !slices.ContainsFunc(entries, func(e Entry) bool { return e.Op == "added" && bytes.Equal(stored[e.Key], raw) }) {
			t.Errorf("message %d is not in the log with its octets", i)
		}
	}
}
