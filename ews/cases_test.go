package ews_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// asked returns the requests of an operation so far.
func (r *rig) asked(op string) []ewstest.Request {
	return slices.DeleteFunc(r.Requests(), func(q ewstest.Request) bool { return q.Operation != op })
}

// byRef fetches everything and returns the octets by id. Each id may come once, whole.
func byRef(t testing.TB, c connection.Fetcher, opts *connection.FetchOptions) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, f := range collect(t, c, opts) {
		if f.Err != nil || f.BodyErr != nil {
			t.Errorf("got error %v, body error %v", f.Err, f.BodyErr)
			continue
		}
		if _, twice := got[f.Ref.ID]; twice {
			t.Errorf("%v came twice", f.Ref)
		}
		got[f.Ref.ID] = f.Raw
	}
	return got
}

// wantRefs compares octets by id.
func wantRefs(t testing.TB, got map[string]string, ids []string, raw [][]byte) {
	t.Helper()
	if len(got) != len(ids) {
		t.Errorf("got %d messages, want %d", len(got), len(ids))
	}
	for i, id := range ids {
		if got[id] != string(raw[i]) {
			t.Errorf("message %d: got %.80q (%d octets), want %.80q (%d octets)", i, got[id], len(got[id]), raw[i], len(raw[i]))
		}
	}
}

// An answer in another order, with answers missing, or that stops in its middle never gives a message the wrong Ref.
func TestE10OrderAndCount(t *testing.T) {
	for name, spoil := range map[string]func(*rig){
		"swapped":             func(r *rig) { r.Fail(ewstest.On("GetItem").Nth(2).Times(1), ewstest.SwapItems(0, 3)) },
		"swapped, properties": func(r *rig) { r.Fail(ewstest.On("GetItem").Nth(1).Times(1), ewstest.SwapItems(1, 4)) },
		"missing":             func(r *rig) { r.Fail(ewstest.On("GetItem").Nth(2).Times(1), ewstest.OmitItems(2)) },
		"missing, properties": func(r *rig) { r.Fail(ewstest.On("GetItem").Nth(1).Times(1), ewstest.OmitItems(1)) },
		"stopped": func(r *rig) {
			r.Fail(ewstest.On("GetItem").Nth(2).Times(1), ewstest.FailItems(3, "ErrorBatchProcessingStopped"))
		},
		"swapped with an error": func(r *rig) {
			r.Fail(ewstest.On("GetItem").Nth(2).Times(1), ewstest.FailItem(0, "ErrorItemNotFound"), ewstest.SwapItems(0, 3))
		},
		"another's id": func(r *rig) { r.Fail(ewstest.On("GetItem").Nth(2).Times(1), ewstest.OtherID(1, "AAMk+/=")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			raw := letters(6)
			ids := r.alice.Deliver("Inbox", raw...)
			spoil(r)
			wantRefs(t, byRef(t, r.open(t), nil), ids, raw)
		})
	}
}

func TestE11Mixed(t *testing.T) {
	r := newRig(t, nil)
	raw := letters(5)
	ids := r.alice.Deliver("Inbox", raw...)
	r.alice.Break(ewstest.Corrupt, ids[1])
	r.Fail(ewstest.On("GetItem"), ewstest.WarnItem(0, "NoError"))
	var bad []connection.Ref
	var good []string
	for _, f := range collect(t, r.open(t), nil) {
		if f.Err != nil {
			e := theError(t, f.Err, connection.ErrCorrupt)
			if e.Code != "ErrorItemCorrupt" {
				t.Errorf("got code %q", e.Code)
			}
			bad = append(bad, f.Ref)
			continue
		}
		good = append(good, f.Raw)
	}
	wantBodies(t, good, slices.Delete(raw, 1, 2)...)
	if len(bad) != 1 || bad[0] != (connection.Ref{ID: ids[1]}) {
		t.Errorf("got errors about %v, want one about %s", bad, ids[1])
	}
}

func TestE07EmptyMime(t *testing.T) {
	for _, how := range []ewstest.Breakage{ewstest.NoMIME, ewstest.EmptyMIME} {
		r := newRig(t, nil)
		raw := letters(3)
		ids := r.alice.Deliver("Inbox", raw...)
		r.alice.Break(how, ids[0])
		var errs int
		for _, f := range collect(t, r.open(t), nil) {
			if f.Err != nil {
				errs++
				wantKind(t, f.Err, connection.ErrCorrupt)
				if f.Ref.ID != ids[0] {
					t.Errorf("%s: got an error about %v", how, f.Ref)
				}
			} else if f.Raw == "" {
				t.Errorf("%s: a message of no octets", how)
			}
		}
		if errs != 1 {
			t.Errorf("%s: got %d errors, want 1", how, errs)
		}
	}
}

func TestE19Vanished(t *testing.T) {
	r := newRig(t, nil)
	raw := letters(6)
	ids := r.alice.Deliver("Inbox", raw...)
	r.alice.Break(ewstest.ListedButNot, ids[2])
	r.alice.Move(ids[4], "Elsewhere")
	wantBodies(t, bodies(t, collect(t, r.open(t), nil)), raw[0], raw[1], raw[3], raw[5])
}

func TestE22FetchNeverLast(t *testing.T) {
	r := newRig(t, &ewstest.Options{Quirks: ewstest.Quirks{NeverLast: true}})
	all := collect(t, r.open(t), nil)
	if len(all) != 1 {
		t.Fatalf("got %d steps", len(all))
	}
	wantKind(t, all[0].Err, connection.ErrProtocol)
	if n := r.Calls("SyncFolderItems"); n > 5 {
		t.Errorf("asked %d times", n)
	}
}

// A state that the server has forgotten is begun anew, and what was yielded before is not yielded again.
func TestE23StateForgotten(t *testing.T) {
	r := newRig(t, &ewstest.Options{SyncCap: 2})
	raw := letters(7)
	r.alice.Deliver("Inbox", raw...)
	var got []string
	for m, err := range r.open(t).Fetch(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(m.Body)
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, string(b)); len(got) == 2 {
			r.alice.ExpireSyncStates()
		}
	}
	wantBodies(t, got, raw...)
}

func TestE24Folders(t *testing.T) {
	r := newRig(t, nil)
	inbox := r.alice.Folder("Inbox")
	for i, name := range []string{"a/b", "tab\there", "same", "same", "100%2F", ".."} {
		inbox.Add(name).Deliver(letter(i))
	}
	found := inbox.Add("Found").Search()
	c := r.open(t)
	names := map[string]bool{}
	ids := map[string]bool{}
	for f, err := range c.Folders(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if names[f.Name] || ids[f.ID] {
			t.Errorf("%q, %q: listed twice", f.Name, f.ID)
		}
		names[f.Name], ids[f.ID] = true, true
	}
	for _, want := range []string{"Inbox", "Inbox/a%2Fb", "Inbox/tab%09here", "Inbox/100%252F", "Inbox/%2E%2E", "Inbox/Found"} {
		if !names[want] {
			t.Errorf("%q is not listed: %v", want, names)
		}
	}
	if !ids[found.ID()] {
		t.Errorf("the search folder is not listed")
	}
	var paths []string
	for name := range names {
		if strings.HasPrefix(name, "Inbox/same~") {
			paths = append(paths, name)
		}
	}
	if len(paths) != 2 {
		t.Fatalf("got %q for two siblings of one name", paths)
	}
	wantBodies(t, bodies(t, collect(t, c, &connection.FetchOptions{Folders: []string{"Inbox/a%2Fb", "Inbox/tab%09here", paths[0], paths[1]}})),
		letter(0), letter(1), letter(2), letter(3))

	// A folder that is not there, or that goes, does not keep the others back.
	all := collect(t, c, &connection.FetchOptions{Folders: []string{"No such folder", "Inbox/a%2Fb"}})
	if len(all) != 2 || all[1].Raw != string(letter(0)) {
		t.Fatalf("got %+v", all)
	}
	if e := theError(t, all[0].Err, connection.ErrNotFound); e.Ref != (connection.Ref{Folder: "No such folder"}) {
		t.Errorf("got Ref %+v", e.Ref)
	}
	_, err := one(c.Fetch(t.Context(), &connection.FetchOptions{Folders: []string{"No such folder"}}))
	if e := theError(t, err, connection.ErrNotFound); !e.Ref.IsZero() {
		t.Errorf("got Ref %+v of an error that is the last", e.Ref)
	}
}

// one returns what the first loop step gives.
func one(loop func(func(*connection.Message, error) bool)) (m *connection.Message, err error) {
	for m, err = range loop {
		return m, err
	}
	return nil, nil
}

func TestE24FolderGoesMidway(t *testing.T) {
	r := newRig(t, &ewstest.Options{SyncCap: 1})
	going := r.alice.Folder("Going")
	going.Deliver(letters(3)...)
	r.alice.Deliver("Staying", letter(7), letter(8))
	var got []string
	var folder error
	for m, err := range r.open(t).Fetch(t.Context(), &connection.FetchOptions{Folders: []string{"Going", "Staying"}}) {
		if err != nil {
			if folder != nil {
				t.Fatal(err)
			}
			folder = err
			continue
		}
		if m.Folder == "Going" {
			going.Delete()
			continue
		}
		b, err := io.ReadAll(m.Body)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(b))
	}
	wantBodies(t, got, letter(7), letter(8))
	var e *connection.Error
	if !errors.As(folder, &e) || e.Ref != (connection.Ref{Folder: "Going"}) {
		t.Errorf("got %v, want an error about the folder", folder)
	}
}

func TestE25Kinds(t *testing.T) {
	r := newRig(t, nil)
	wanted := []string{"IPM.Note", "IPM.Schedule.Meeting.Request", "IPM.Schedule.Meeting.Canceled", "IPM.Note.SMIME", "IPM.Note.EnterpriseVault.Shortcut", "REPORT.IPM.Note.NDR", "IPM.Post"}
	unwanted := []string{"IPM.Appointment", "IPM.Contact", "IPM.StickyNote", "IPM.Task", "IPM.DistList"}
	var items []ewstest.Message
	var want [][]byte
	for i, class := range append(slices.Clone(wanted), unwanted...) {
		items = append(items, ewstest.Message{Raw: letter(i), Class: class})
		if i < len(wanted) {
			want = append(want, letter(i))
		}
	}
	r.alice.Folder("Inbox").DeliverItems(items...)
	skipped := 0
	r.env.Observe = func(ev connection.Event) {
		if ev.Kind == connection.EventSkipped {
			skipped++
		}
	}
	c := r.open(t)
	wantBodies(t, bodies(t, collect(t, c, nil)), want...)
	wantBodies(t, bodies(t, collect(t, c, &connection.FetchOptions{Unseen: true})), want...)

	// Asked for by their folder's class they come.
	r.alice.Folder("People").Class("IPF.Contact").DeliverItems(ewstest.Message{Raw: letter(50), Class: "IPM.Contact"})
	r.cfg.FolderClasses = []string{"IPF.Contact"}
	c = r.open(t)
	wantBodies(t, bodies(t, collect(t, c, &connection.FetchOptions{Folders: []string{"People"}})), letter(50))
}

func TestE26NoFrom(t *testing.T) {
	r := newRig(t, nil)
	raw := []byte("To: alice@corp.test\r\nSubject: nobody wrote this\r\n\r\nx\r\n")
	r.alice.Deliver("Inbox", raw)
	wantBodies(t, bodies(t, collect(t, r.open(t), nil)), raw)
}

func TestE27LargeAndEmpty(t *testing.T) {
	size := int64(40 << 20)
	if testing.Short() {
		size = 8 << 20
		t.Log("with -short 8 MiB instead of 40")
	}
	r := newRig(t, nil)
	r.alice.Folder("Inbox").DeliverItems(ewstest.Message{Body: ewstest.Synthetic{Seed: 1, Octets: size}})
	empty := r.alice.Folder("Inbox").DeliverItems(ewstest.Message{Body: ewstest.Synthetic{}})
	c := r.open(t)
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var peak uint64
	var read int64
	for m, err := range c.Fetch(t.Context(), nil) {
		if err != nil {
			if e := theError(t, err, connection.ErrCorrupt); e.Ref.ID != empty[0] {
				t.Fatal(err)
			}
			continue
		}
		want := io.NewSectionReader(ewstest.Synthetic{Seed: 1, Octets: size}, 0, size)
		got, expected := make([]byte, 64<<10), make([]byte, 64<<10)
		for {
			n, err := io.ReadFull(m.Body, got)
			k, _ := io.ReadFull(want, expected)
			if !bytes.Equal(got[:n], expected[:k]) {
				t.Fatalf("other octets near %d", read)
			}
			if read += int64(n); read%(4<<20) == 0 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				peak = max(peak, now.HeapAlloc)
			}
			if err != nil {
				break
			}
		}
	}
	if read != size {
		t.Errorf("read %d octets, want %d", read, size)
	}
	// Both ends are in this process.
	if peak > before.HeapAlloc+16<<20 {
		t.Errorf("the heap grew by %d octets", peak-before.HeapAlloc)
	}
}

func TestE42NoArchive(t *testing.T) {
	r := newRig(t, nil)
	r.cfg.IncludeArchive = true
	c := r.open(t)
	for _, mailbox := range []string{"", "#archive"} {
		for f, err := range c.Folders(t.Context(), mailbox) {
			if err != nil {
				t.Fatal(err)
			}
			if f.Mailbox == "#archive" {
				t.Errorf("got %+v of an archive that is not there", f)
			}
		}
	}
	r.alice.Archive().Folder("Old").Deliver(letter(1))
	var old *connection.Folder
	for f, err := range c.Folders(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if f.Mailbox == "#archive" && f.Name == "Old" {
			old = f
		}
	}
	if old == nil {
		t.Fatal("the archive's folder is not listed")
	}
	all := collect(t, c, &connection.FetchOptions{Mailbox: "#archive", Folders: []string{"Old"}})
	wantBodies(t, bodies(t, all), letter(1))
	if err := c.Delete(t.Context(), all[0].Ref); err != nil || all[0].Ref.Mailbox != "#archive" {
		t.Errorf("got %v for %v", err, all[0].Ref)
	}
}

func TestE50SmallPages(t *testing.T) {
	r := newRig(t, &ewstest.Options{SyncCap: 3, Quirks: ewstest.Quirks{EmptyPages: true, Twice: true}})
	raw := letters(20)
	ids := r.alice.Deliver("Inbox", raw...)
	wantRefs(t, byRef(t, r.open(t), nil), ids, raw)
	if n := r.Calls("SyncFolderItems"); n < 7 {
		t.Errorf("got %d calls for 20 messages in pages of 3", n)
	}
}

// Servers that refuse comparisons, and such as ignore them.
func TestE53Restrictions(t *testing.T) {
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, opts := range map[string]*ewstest.Options{
		"obeyed":      {},
		"refused":     {Quirks: ewstest.Quirks{RefuseOrEqual: true}},
		"short pages": {Quirks: ewstest.Quirks{ShortPages: true, Groups: true, StrayDate: true}},
		"no offsets":  {Quirks: ewstest.Quirks{ZeroOffset: true, ShortPages: true}},
		"2007":        {Version: "2007_SP1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, opts)
			var items []ewstest.Message
			var since, unseen [][]byte
			for i := range 30 {
				m := ewstest.Message{Raw: letter(i), Received: begin.Add(time.Duration(i/3) * time.Minute), Read: i%2 == 0}
				items = append(items, m)
				if i >= 12 {
					since = append(since, m.Raw)
				}
				if !m.Read {
					unseen = append(unseen, m.Raw)
				}
			}
			r.alice.Folder("Inbox").DeliverItems(items...)
			c := r.open(t)
			wantBodies(t, bodies(t, collect(t, c, &connection.FetchOptions{Since: begin.Add(4 * time.Minute)})), since...)
			wantBodies(t, bodies(t, collect(t, c, &connection.FetchOptions{Unseen: true})), unseen...)
			got := collect(t, c, &connection.FetchOptions{Since: begin, Limit: 5})
			if len(bodies(t, got)) != 5 || got[0].Message.Received.After(got[4].Message.Received) {
				t.Errorf("got %d messages, from %s to %s", len(got), got[0].Message.Received, got[4].Message.Received)
			}
		})
	}
	r := newRig(t, &ewstest.Options{Quirks: ewstest.Quirks{StuckOffset: true}})
	r.alice.Deliver("Inbox", letters(3)...)
	all := collect(t, r.open(t), &connection.FetchOptions{Unseen: true})
	wantKind(t, all[len(all)-1].Err, connection.ErrProtocol)
}

// A connection that ends while a batch is read costs no message.
func TestE56CutInABatch(t *testing.T) {
	for _, after := range []int64{600, 150_000, 400_000} {
		r := newRig(t, nil)
		raw := [][]byte{letter(0), large(150 << 10), letter(1), large(120 << 10), letter(2)}
		ids := r.alice.Deliver("Inbox", raw...)
		r.Fail(ewstest.On("GetItem").Nth(2).Times(1), ewstest.CutAfter(after))
		wantRefs(t, byRef(t, r.open(t), nil), ids, raw)
	}
}

// One that ends while a large message is read by the caller costs that message, which is told, and no other.
func TestE56CutInALargeBody(t *testing.T) {
	r := newRig(t, nil)
	raw := [][]byte{letter(0), large(2 << 20), letter(1)}
	ids := r.alice.Deliver("Inbox", raw...)
	r.Fail(ewstest.On("GetItem").Nth(2).Times(1), ewstest.CutAfter(1<<20))
	var broken []string
	got := map[string]string{}
	for _, f := range collect(t, r.open(t), nil) {
		switch {
		case f.Err != nil:
			t.Error(f.Err)
		case f.BodyErr != nil:
			e := theError(t, f.BodyErr, connection.ErrNetwork)
			if e.Ref.ID != f.Ref.ID || len(f.Raw) >= len(raw[1]) {
				t.Errorf("got %v after %d octets", e, len(f.Raw))
			}
			broken = append(broken, f.Ref.ID)
		default:
			got[f.Ref.ID] = f.Raw
		}
	}
	wantRefs(t, got, []string{ids[0], ids[2]}, [][]byte{raw[0], raw[2]})
	if !slices.Equal(broken, ids[1:2]) {
		t.Errorf("got %v broken", broken)
	}
}

func TestE57DeleteInTheLoop(t *testing.T) {
	r := newRig(t, nil)
	r.cfg.MaxConnections = 1
	raw := append(letters(4), large(1<<20), large(2<<20))
	r.alice.Deliver("Inbox", raw...)
	c := r.open(t)
	var got []string
	for m, err := range c.Fetch(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := io.CopyN(&b, m.Body, 10); err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(t.Context(), m.Ref); err != nil { // while the body is still being read
			t.Fatal(err)
		}
		again, err := c.Open(t.Context(), m.Ref)
		if !errors.Is(err, connection.ErrNotFound) {
			t.Errorf("got %v, %v for a message that was deleted", again, err)
		}
		if _, err := b.ReadFrom(m.Body); err != nil {
			t.Fatal(err)
		}
		got = append(got, b.String())
	}
	wantBodies(t, got, raw...)
	if left := r.inbox(); len(left) != 0 {
		t.Errorf("%d are left", len(left))
	}
}

func TestE59BusyInTheMiddle(t *testing.T) {
	r := newRig(t, nil)
	raw := letters(10)
	ids := r.alice.Deliver("Inbox", raw...)
	r.Fail(ewstest.On("GetItem").Nth(2).Times(1), ewstest.BusyItems(5, time.Second))
	wantRefs(t, byRef(t, r.open(t), nil), ids, raw)
	if n := r.Penalty(); n != 0 {
		t.Errorf("%d requests came too soon", n)
	}
	asked := 0
	for _, q := range r.asked("GetItem") {
		if strings.Contains(string(q.Body), "IncludeMimeContent") {
			asked += strings.Count(string(q.Body), "ItemId Id=")
		}
	}
	if asked != 15 {
		t.Errorf("%d messages were asked for, want 10 and then 5", asked)
	}
}

// Items that cannot be converted, with each ladder.
func TestFallbacks(t *testing.T) {
	for _, test := range []struct {
		fallbacks []string
		how       ewstest.Breakage
		version   string
		kind      connection.Kind
		rebuilt   bool
	}{
		{[]string{}, ewstest.Unconverted, "2016", connection.ErrCorrupt, false},
		{nil, ewstest.Unconverted, "2016", connection.ErrCorrupt, false},
		{[]string{ews.FallbackRetry, ews.FallbackMimeUTF8}, ewstest.Unconverted, "2016", connection.ErrUnknown, false},
		{[]string{ews.FallbackMimeUTF8, ews.FallbackRebuild}, ewstest.UnconvertedUTF8, "2016", connection.ErrUnknown, true},
		{[]string{ews.FallbackRebuild}, ewstest.Unconverted, "2016", connection.ErrUnknown, true},
		{[]string{ews.FallbackRebuild}, ewstest.Corrupt, "2016", connection.ErrCorrupt, false},
	} {
		t.Run(fmt.Sprint(test.fallbacks, test.how), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, &ewstest.Options{Version: test.version})
			raw := letters(3)
			ids := r.alice.Deliver("Inbox", raw...)
			r.alice.Break(test.how, ids[1])
			r.cfg.Fallbacks = test.fallbacks
			good := 0
			for _, f := range collect(t, r.open(t), nil) {
				switch {
				case f.Err != nil && (test.kind == connection.ErrUnknown || f.Ref.ID != ids[1]):
					t.Error(f.Err)
				case f.Err != nil:
					wantKind(t, f.Err, test.kind)
				case f.BodyErr != nil:
					t.Error(f.BodyErr)
				case f.Ref.ID == ids[1] && test.rebuilt:
					if !slices.Equal(f.Message.Labels, []string{ews.Reconstructed}) || !strings.Contains(f.Raw, "letter 1") || !strings.Contains(f.Raw, "<1@corp.test>") {
						t.Errorf("got labels %q and %q", f.Message.Labels, f.Raw)
					}
					good++
				default:
					if len(f.Message.Labels) > 0 || f.Raw == "" {
						t.Errorf("got labels %q and %q", f.Message.Labels, f.Raw)
					}
					good++
				}
			}
			if want := map[bool]int{true: 3, false: 2}[test.kind == connection.ErrUnknown]; good != want {
				t.Errorf("got %d messages, want %d", good, want)
			}
		})
	}
}

// A fault that one item of a batch brings about costs that item, and no other.
func TestFaultAboutOneItem(t *testing.T) {
	for code, kind := range map[string]connection.Kind{
		"ErrorMimeContentConversionFailed": connection.ErrCorrupt, "ErrorMessageSizeExceeded": connection.ErrTooLarge,
		"ErrorInvalidIdMalformed": connection.ErrProtocol, "ErrorInternalServerError": connection.ErrUnavailable, "ErrorItemNotFound": 0,
	} {
		r := newRig(t, nil)
		raw := letters(4)
		ids := r.alice.Deliver("Inbox", raw...)
		r.Fail(ewstest.On("GetItem").Nth(2).About(ids[1]), ewstest.Refuse(code, "This one."))
		errs := 0
		got := map[string]string{}
		for _, f := range collect(t, r.open(t), nil) {
			if f.Err != nil {
				errs++
				if e := theError(t, f.Err, kind); e.Ref.ID != ids[1] || e.Code != code {
					t.Errorf("%s: got %v", code, e)
				}
				continue
			}
			got[f.Ref.ID] = f.Raw
		}
		wantRefs(t, got, []string{ids[0], ids[2], ids[3]}, [][]byte{raw[0], raw[2], raw[3]})
		if want := 1; errs != want && kind != 0 || errs != 0 && kind == 0 {
			t.Errorf("%s: got %d errors", code, errs)
		}
	}
}
