package imapclient_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// A told is what one Sync told.
type told struct {
	ops  []string // "added INBOX/1:1", "folder renamed a>b"
	errs []error
	last connection.Checkpoint
}

// syncInto runs one Sync and stores what it tells.
func syncInto(t testing.TB, c connection.Syncer, sink *replica, since connection.Checkpoint, opts *connection.SyncOptions) told {
	t.Helper()
	out := told{last: since}
	for change, err := range c.Sync(t.Context(), since, opts) {
		if err != nil {
			out.errs = append(out.errs, err)
			continue
		}
		if err := sink.Store(t.Context(), "", change); err != nil {
			t.Fatal(err)
		}
		switch {
		case change.Folder != nil && change.Folder.Previous != "":
			out.ops = append(out.ops, fmt.Sprintf("%s %s>%s", change.Op, change.Folder.Previous, change.Folder.Name))
		case change.Folder != nil:
			out.ops = append(out.ops, fmt.Sprintf("%s %s", change.Op, change.Folder.Name))
		case change.Op != connection.Progressed:
			out.ops = append(out.ops, fmt.Sprintf("%s %s", change.Op, change.Ref))
		}
		if change.Checkpoint != "" {
			out.last = change.Checkpoint
		}
	}
	return out
}

func wantTold(t testing.TB, got told, want ...string) {
	t.Helper()
	if len(got.errs) > 0 || !slices.Equal(got.ops, want) {
		t.Errorf("got %q, errors %v; want %q", got.ops, got.errs, want)
	}
}

func everything(srv *imaptest.Server) imapclient.Config {
	cfg := srv.Config()
	cfg.Folders = []string{"*"}
	return cfg
}

// A mailbox in which nothing happened costs a LIST and a SELECT for each folder, and gives no new Checkpoint.
func TestSyncUnchanged(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(5)...)
	sink := newReplica()
	first := syncInto(t, open(t, everything(srv), nil), sink, "", nil)
	before := len(srv.Transcript("SEARCH", "FETCH"))
	second := syncInto(t, open(t, everything(srv), nil), sink, first.last, nil)
	wantTold(t, second)
	if second.last != first.last || len(srv.Transcript("SEARCH", "FETCH")) != before {
		t.Errorf("a Sync without news sent %v", srv.Transcript("SEARCH", "FETCH")[before:])
	}
}

// Flags are asked for since the mod-sequence that is known, not all of them.
func TestSyncChangedSince(t *testing.T) {
	for _, o := range []*imaptest.Options{{}, {Without: []string{"CONDSTORE"}}, {Folders: []imaptest.Folder{{Name: "INBOX", NoModSeq: true}}}} {
		srv := imaptest.NewServer(t, o)
		srv.Deliver(letters(5)...)
		sink := newReplica()
		c := open(t, everything(srv), nil)
		first := syncInto(t, c, sink, "", nil)
		srv.SetFlags("INBOX", 3, connection.FlagSeen, "$Work")
		second := syncInto(t, c, sink, first.last, nil)
		ref := connection.Ref{Folder: "INBOX", ID: fmt.Sprintf("%d:3", srv.UIDValidity("INBOX"))}
		wantTold(t, second, "updated "+ref.String())
		if got := sink.messages[ref].flags; got != `$work \seen` {
			t.Errorf("got flags %q", got)
		}
		since := slices.ContainsFunc(srv.Transcript("UID FETCH"), func(c imaptest.Command) bool { return strings.Contains(c.Args, "CHANGEDSINCE") })
		if want := len(o.Without) == 0 && len(o.Folders) == 0; since != want {
			t.Errorf("CHANGEDSINCE was used: %t, want %t", since, want)
		}
		wantTold(t, syncInto(t, c, sink, second.last, nil))
	}
}

// A server that offers CONDSTORE and does not bear what belongs to it is compared message by message, and the host is
// told. The Checkpoint is good for what comes after.
func TestSyncWithoutCondstore(t *testing.T) {
	const since = "UID FETCH 1:5 (UID FLAGS) (CHANGEDSINCE"
	for name, spoil := range map[string]func(*imaptest.Server){
		"CHANGEDSINCE refused with BAD":    func(srv *imaptest.Server) { srv.Fail(since, "BAD unknown modifier") },
		"CHANGEDSINCE refused with NO":     func(srv *imaptest.Server) { srv.Fail(since, "NO not implemented") },
		"the session dies of CHANGEDSINCE": func(srv *imaptest.Server) { srv.Drop(since) },
		"nonsense in answer to it":         func(srv *imaptest.Server) { srv.Inject(since, "* 1 FETCH UID 1") },
		"SELECT (CONDSTORE) refused":       func(srv *imaptest.Server) { srv.Fail("EXAMINE INBOX (CONDSTORE)", "BAD too many arguments") },
	} {
		t.Run(name, func(t *testing.T) {
			srv := imaptest.NewServer(t, nil)
			srv.Deliver(letters(5)...)
			var quirks []string
			env := &connection.Env{Observe: func(ev connection.Event) {
				if ev.Kind == connection.EventQuirk {
					quirks = append(quirks, ev.Detail)
				}
			}}
			sink := newReplica()
			first := syncInto(t, open(t, srv.Config(), nil), sink, "", nil)
			srv.SetFlags("INBOX", 3, connection.FlagSeen)
			spoil(srv)
			c := open(t, srv.Config(), env)
			second := syncInto(t, c, sink, first.last, nil)
			if len(second.errs) > 0 || second.last == first.last || !slices.Equal(quirks, []string{"condstore-refused"}) {
				t.Fatalf("got %q, errors %v, quirks %q", second.ops, second.errs, quirks)
			}
			ref := func(uid int) connection.Ref {
				return connection.Ref{Folder: "INBOX", ID: fmt.Sprintf("%d:%d", srv.UIDValidity("INBOX"), uid)}
			}
			if got := sink.messages[ref(3)].flags; got != `\seen` {
				t.Errorf("got flags %q", got)
			}
			// The same connection does not try again, and sees what changes.
			tried := len(srv.Transcript(since, "EXAMINE INBOX (CONDSTORE)"))
			srv.SetFlags("INBOX", 4, connection.FlagFlagged)
			third := syncInto(t, c, sink, second.last, nil)
			wantTold(t, third, "updated "+ref(4).String())
			if n := len(srv.Transcript(since, "EXAMINE INBOX (CONDSTORE)")); n != tried {
				t.Errorf("it was tried again %d times", n-tried)
			}
			// Another one, of a server that has learnt it, goes on from there.
			srv.ClearFaults()
			srv.SetFlags("INBOX", 5, connection.FlagFlagged)
			fourth := syncInto(t, open(t, srv.Config(), nil), sink, third.last, nil)
			wantTold(t, fourth, "updated "+ref(5).String())
			wantTold(t, syncInto(t, open(t, srv.Config(), nil), sink, fourth.last, nil))
		})
	}
}

// A server whose mod-sequences begin anew is compared as a whole.
func TestSyncModSeqGoesDown(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(5)...)
	sink := newReplica()
	c := open(t, everything(srv), nil)
	first := syncInto(t, c, sink, "", nil)
	srv.SetFlags("INBOX", 2, connection.FlagSeen)
	srv.LowerModSeq()
	second := syncInto(t, c, sink, first.last, nil)
	if len(second.errs) > 0 || len(second.ops) != 5 {
		t.Errorf("got %q, %v; want all 5 updated", second.ops, second.errs)
	}
	for ref, m := range sink.messages {
		if want := strings.HasSuffix(ref.ID, ":2"); (m.flags != "") != want {
			t.Errorf("%v: got flags %q", ref, m.flags)
		}
	}
}

// A renumbered folder is ErrStale before anything is told, with no Ref, so that it is the end; with Known it is told anew.
func TestSyncRenumbered(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.DeliverTo("A", imaptest.Message{Raw: []byte("Subject: a\r\n\r\n")})
	srv.DeliverTo("Z", imaptest.Message{Raw: []byte("Subject: z\r\n\r\n")})
	sink := newReplica()
	c := open(t, everything(srv), nil)
	first := syncInto(t, c, sink, "", nil)
	srv.DeliverTo("A", imaptest.Message{Raw: []byte("Subject: new\r\n\r\n")})
	srv.BumpUIDValidity("Z")
	second := syncInto(t, c, sink, first.last, nil)
	if len(second.ops) > 0 || len(second.errs) != 1 {
		t.Fatalf("got %q, %v; want nothing but an error", second.ops, second.errs)
	}
	if e := theError(t, second.errs[0], connection.ErrStale); !e.Ref.IsZero() || !strings.Contains(e.Error(), `"Z"`) {
		t.Errorf("got %v", e)
	}
	known := func(ctx context.Context, refs []connection.Ref) ([]bool, error) { return sink.Known(ctx, "", refs) }
	third := syncInto(t, c, sink, first.last, &connection.SyncOptions{Known: known})
	if len(third.errs) > 0 || len(third.ops) != 3 {
		t.Errorf("got %q, %v; want one added in A, and one removed and one added in Z", third.ops, third.errs)
	}
	if n := len(sink.messages); n != 3 {
		t.Errorf("the mirror has %d messages, want 3", n)
	}
	wantTold(t, syncInto(t, c, sink, third.last, nil))
}

// A Checkpoint of another mailbox, or one that was damaged, is ErrStale.
func TestSyncForeignCheckpoint(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(2)...)
	good := syncInto(t, open(t, srv.Config(), nil), newReplica(), "", nil).last
	other := imaptest.NewServer(t, &imaptest.Options{Username: "other@example.org"})
	for name, cp := range map[string]connection.Checkpoint{
		"another mailbox": syncInto(t, open(t, other.Config(), nil), newReplica(), "", nil).last,
		"cut":             good[:len(good)-3], "changed": good[:len(good)-4] + "AAAA", "another version": "imap9" + good[5:],
	} {
		got := syncInto(t, open(t, srv.Config(), nil), newReplica(), cp, nil)
		if len(got.ops) > 0 || len(got.errs) != 1 || !errors.Is(got.errs[0], connection.ErrStale) {
			t.Errorf("%s: got %q, %v", name, got.ops, got.errs)
		}
	}
}

// A server that forgets what it has, in the answer to one command, makes the mirror lose nothing.
func TestSyncLyingServer(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.DeliverTo("Kept", imaptest.Message{Raw: []byte("Subject: kept\r\n\r\n")})
	srv.Deliver(letters(5)...)
	sink := newReplica()
	c := open(t, everything(srv), nil)
	cp := syncInto(t, c, sink, "", nil).last
	removed := func(uid int) string {
		return fmt.Sprintf("removed INBOX/%d:%d", srv.UIDValidity("INBOX"), uid)
	}
	for _, test := range []struct {
		lie  func()
		want []string
	}{
		{func() { srv.Fail("LIST", "OK no folders today", 1) }, nil},
		{func() { srv.Delete("INBOX", 1); srv.Fail("UID SEARCH", "* SEARCH\nOK nothing found", 1) }, []string{removed(1)}},
		{func() { srv.Delete("INBOX", 2); srv.Fail("UID SEARCH", "OK nothing to say", 1) }, []string{removed(2)}},
	} {
		test.lie()
		got := syncInto(t, c, sink, cp, nil)
		cp = got.last
		srv.ClearFaults()
		wantTold(t, got, test.want...)
	}
	wantTold(t, syncInto(t, c, sink, cp, nil))
}

// A SELECT that calls a folder empty is not enough to tell that all its messages are gone.
func TestSyncNotEmpty(t *testing.T) {
	for _, test := range []struct {
		name    string
		there   []string
		removed int
	}{
		{"all are there", []string{"* 1 FETCH (UID 1)", "* 2 FETCH (UID 2)", "$TAG OK done"}, 0},
		{"one is there", []string{"* 1 FETCH (UID 2)", "$TAG OK done"}, 1},
		{"none is there", []string{"$TAG OK done"}, 2},
		{"nothing is told", []string{"$TAG BAD the folder is empty"}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := imaptest.NewServer(t, nil)
			before.Deliver(letters(2)...)
			cp := syncInto(t, open(t, before.Config(), nil), newReplica(), "", nil).last
			script := imaptest.Script{imaptest.Welcome(caps), imaptest.Answer("LIST", `* LIST () "/" INBOX`, "$TAG OK done")}
			script = append(script, imaptest.Answer("UID FETCH", "$TAG OK done"), imaptest.Answer("UID FETCH 1:2 (UID)", test.there...))
			for range 2 {
				script = append(script, imaptest.Select(0, before.UIDValidity("INBOX"), 3))
			}
			srv := imaptest.NewScript(t, &imaptest.ScriptOptions{Lenient: true}, script)
			got := syncInto(t, open(t, srv.Config(), nil), newReplica(), cp, nil)
			if len(got.errs) > 0 || len(got.ops) != test.removed {
				t.Errorf("got %q, %v; want %d removed", got.ops, got.errs, test.removed)
			}
		})
	}
}

// Servers may give each folder the same UIDVALIDITY and UIDs from 1. A folder that looks like one that is gone is not that
// one unless its messages have the same dates and sizes.
func TestSyncLookAlike(t *testing.T) {
	when := time.Unix(1_700_000_000, 0)
	message := func(size int, at time.Time) imaptest.Message {
		return imaptest.Message{Raw: []byte("Subject: x\r\n\r\n" + strings.Repeat("x", size)), Received: at}
	}
	before := imaptest.NewServer(t, nil)
	before.DeliverTo("A", message(10, when), message(20, when.Add(time.Hour)))
	cp := syncInto(t, open(t, everything(before), nil), newReplica(), "", nil).last
	for name, test := range map[string]struct {
		messages []imaptest.Message
		renamed  bool
	}{
		"the same":           {[]imaptest.Message{message(10, when), message(20, when.Add(time.Hour))}, true},
		"another size":       {[]imaptest.Message{message(10, when), message(21, when.Add(time.Hour))}, false},
		"another date":       {[]imaptest.Message{message(10, when), message(20, when.Add(time.Minute))}, false},
		"fewer":              {[]imaptest.Message{message(10, when)}, false},
		"one that was not":   {[]imaptest.Message{message(10, when), {UID: 7, Raw: []byte("x"), Received: when}}, true},
		"none, but the UIDs": {nil, false},
	} {
		after := imaptest.NewServer(t, nil)
		after.DeliverTo("B", test.messages...)
		if after.UIDValidity("B") != before.UIDValidity("A") {
			t.Fatal("the folders are too different for this test")
		}
		if name == "fewer" { // what came earlier cannot come later
			after.DeliverTo("B", message(5, when))
		}
		sink := newReplica()
		sink.folders["INBOX"], sink.folders["A"] = true, true
		got := syncInto(t, open(t, everything(after), nil), sink, cp, nil)
		if renamed := slices.Contains(got.ops, "folder renamed A>B"); renamed != test.renamed || len(got.errs) > 0 {
			t.Errorf("%s: got %q, errors %v", name, got.ops, got.errs)
		}
	}
}

// A folder under another name is told as that only if its messages prove it.
func TestSyncRename(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Mode: connection.ModeInsecure})
	for i := range 3 {
		srv.DeliverTo("A", imaptest.Message{Raw: fmt.Appendf(nil, "Subject: a%d\r\n\r\n", i)})
		srv.DeliverTo("B", imaptest.Message{Raw: fmt.Appendf(nil, "Subject: b%d\r\n\r\n", i)})
	}
	cfg := everything(srv)
	cfg.AllowPlaintextAuth = true
	c := open(t, cfg, nil)
	sink := newReplica()
	cp := syncInto(t, c, sink, "", nil).last
	other := dialClient(t, srv.Addr(), imaptest.DefaultUsername, imaptest.DefaultPassword)

	// The name that became free is taken by another folder in the same moment.
	other.must(other.Rename("A", "C", nil).Wait())
	other.must(other.Rename("B", "A", nil).Wait())
	got := syncInto(t, c, sink, cp, nil)
	wantTold(t, got, "folder renamed A>C", "folder renamed B>A")
	cp = got.last

	// What was in the folder is gone, so that nothing proves that it is the old one.
	srv.Delete("C", 1, 2, 3)
	other.must(other.Rename("C", "D", nil).Wait())
	got = syncInto(t, c, sink, cp, nil)
	wantTold(t, got, "folder removed C", "folder added D")
	if diff := diffStates(sink.state(), other.state()); diff != "" {
		t.Error(diff)
	}
}

// Of a long folder only some messages are kept as proof. With those gone, its new name is not known for sure.
func TestSyncRenameWithoutProof(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Mode: connection.ModeInsecure})
	for _, raw := range letters(20) {
		srv.DeliverTo("A", imaptest.Message{Raw: raw})
	}
	cfg := everything(srv)
	cfg.AllowPlaintextAuth = true
	c, sink := open(t, cfg, nil), newReplica()
	cp := syncInto(t, c, sink, "", nil).last
	other := dialClient(t, srv.Addr(), imaptest.DefaultUsername, imaptest.DefaultPassword)
	other.must(other.Rename("A", "B", nil).Wait())
	srv.Delete("B", 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20)
	got := syncInto(t, c, sink, cp, nil)
	if len(got.errs) > 0 || len(got.ops) != 3 || got.ops[0] != "folder removed A" {
		t.Errorf("got %q, %v; want A removed, B added with its message", got.ops, got.errs)
	}
}

// A server that cannot be talked to ends Sync, with an error that is no folder's: Mirror would go on behind that.
func TestSyncNetworkFails(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Drop("EXAMINE")
	got := syncInto(t, open(t, srv.Config(), nil), newReplica(), "", nil)
	if len(got.errs) != 1 || len(got.ops) > 0 {
		t.Fatalf("got %q, %v", got.ops, got.errs)
	}
	if e := theError(t, got.errs[0], connection.ErrNetwork); !e.Ref.IsZero() || !strings.Contains(e.Error(), "INBOX") {
		t.Errorf("got %v", e)
	}
}

// A message that cannot be had, or is too large, is told with its Ref, and tried again by the next Sync.
func TestSyncTriesAgain(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver([]byte("Subject: small\r\n\r\n"), []byte("Subject: large\r\n\r\n"+strings.Repeat("x", 2000)), []byte("Subject: small too\r\n\r\n"))
	cfg := srv.Config()
	cfg.MaxMessage = 1000
	sink := newReplica()
	first := syncInto(t, open(t, cfg, nil), sink, "", nil)
	if len(first.errs) != 1 || len(first.ops) != 3 {
		t.Fatalf("got %q, %v", first.ops, first.errs)
	}
	if e := theError(t, first.errs[0], connection.ErrTooLarge); !strings.HasSuffix(e.Ref.ID, ":2") {
		t.Errorf("got %v", e)
	}
	cfg.MaxMessage = 0
	second := syncInto(t, open(t, cfg, nil), sink, first.last, nil)
	if len(second.errs) > 0 || len(second.ops) != 1 || !strings.HasPrefix(second.ops[0], "added") {
		t.Errorf("got %q, %v; want the large one added", second.ops, second.errs)
	}
}

// Folders that cannot be read are told with their names, and the others are synced.
func TestSyncBadFolders(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Folders: []imaptest.Folder{{Name: "Locked"}}})
	srv.Deliver(letters(1)...)
	srv.Fail("SELECT Locked", "NO [NOPERM] not you")
	srv.Fail("EXAMINE Locked", "NO [NOPERM] not you")
	got := syncInto(t, open(t, everything(srv), nil), newReplica(), "", &connection.SyncOptions{Folders: []string{"INBOX", "Locked", "Missing"}})
	if len(got.ops) != 2 || len(got.errs) != 2 {
		t.Fatalf("got %q, %v; want INBOX and two errors", got.ops, got.errs)
	}
	if e := theError(t, got.errs[0], connection.ErrPermission); e.Ref != (connection.Ref{Folder: "Locked"}) {
		t.Errorf("got %v", e)
	}
	if e := theError(t, got.errs[1], connection.ErrNotFound); e.Ref != (connection.Ref{Folder: "Missing"}) {
		t.Errorf("got %v", e)
	}

	for _, quirk := range []imaptest.Quirks{{UIDNotSticky: true}, {NoUIDValidity: true}} {
		srv := imaptest.NewServer(t, &imaptest.Options{Quirks: quirk})
		srv.Deliver(letters(1)...)
		got := syncInto(t, open(t, srv.Config(), nil), newReplica(), "", nil)
		if len(got.ops) > 0 || len(got.errs) != 1 || !errors.Is(got.errs[0], connection.ErrUnsupported) {
			t.Errorf("%+v: got %q, %v", quirk, got.ops, got.errs)
		}
	}
}

// Without UIDNEXT, with UIDs close to the largest, and with answers in the wrong order, a Sync tells everything once.
func TestSyncOddServers(t *testing.T) {
	for _, quirk := range []imaptest.Quirks{{NoUIDNext: true}, {SearchDescending: true}, {UIDLast: true}, {FlagsFirst: true}, {NilExpunged: true}} {
		for _, without := range [][]string{nil, {"CONDSTORE"}} {
			srv := imaptest.NewServer(t, &imaptest.Options{Quirks: quirk, Without: without})
			srv.DeliverTo("INBOX", imaptest.Message{Raw: []byte("Subject: 1\r\n\r\n")}, imaptest.Message{Raw: []byte("Subject: 2\r\n\r\n"), UID: 4_000_000_000})
			sink, c := newReplica(), open(t, srv.Config(), nil)
			first := syncInto(t, c, sink, "", nil)
			srv.Deliver([]byte("Subject: 3\r\n\r\n"))
			srv.Delete("INBOX", 1)
			second := syncInto(t, c, sink, first.last, nil)
			if len(first.ops) != 3 || len(second.ops) != 2 || len(first.errs)+len(second.errs) > 0 {
				t.Errorf("%+v, without %v: got %q, then %q, errors %v %v", quirk, without, first.ops, second.ops, first.errs, second.errs)
			}
			wantTold(t, syncInto(t, c, sink, second.last, nil))
		}
	}
}

// Messages that Delete has marked, and that are not expunged yet, are gone for Sync as they are for Fetch.
func TestSyncMarkedMessages(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(3)...)
	cfg := srv.Config()
	cfg.DeleteMode, cfg.ExpungeEvery = imapclient.DeleteExpunge, 500
	c, sink := open(t, cfg, nil), newReplica()
	first := syncInto(t, c, sink, "", nil)
	ref := connection.Ref{Folder: "INBOX", ID: fmt.Sprintf("%d:2", srv.UIDValidity("INBOX"))}
	if err := c.Delete(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	second := syncInto(t, c, sink, first.last, nil)
	wantTold(t, second, "removed "+ref.String())
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	wantTold(t, syncInto(t, open(t, cfg, nil), sink, second.last, nil))
}

// What Known says is believed, and its error ends Sync.
func TestSyncKnownFails(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(3)...)
	boom := errors.New("boom")
	for _, known := range []func(context.Context, []connection.Ref) ([]bool, error){
		func(context.Context, []connection.Ref) ([]bool, error) { return nil, boom },
		func(context.Context, []connection.Ref) ([]bool, error) { return []bool{true}, nil },
	} {
		got := syncInto(t, open(t, srv.Config(), nil), newReplica(), "", &connection.SyncOptions{Known: known})
		if len(got.ops) != 1 || len(got.errs) != 1 {
			t.Errorf("got %q, %v; want the folder and an error", got.ops, got.errs)
		}
	}
}
