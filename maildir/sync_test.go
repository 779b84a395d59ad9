package maildir_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/maildir"
	"github.com/mailconn/mailconn/maildir/maildirtest"
)

// A replica is what a host makes of the changes.
type replica struct {
	folders  map[string]bool
	messages map[connection.Ref]string // content, "|", flags
	cp       connection.Checkpoint
	log      []string
}

func newReplica() *replica {
	return &replica{folders: map[string]bool{}, messages: map[connection.Ref]string{}}
}

func flagText(flags []connection.Flag) string { return fmt.Sprint(flags) }

func (r *replica) apply(t testing.TB, ch *connection.Change) {
	t.Helper()
	switch ch.Op {
	case connection.Added:
		raw, err := io.ReadAll(ch.Message.Body)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := r.messages[ch.Ref]; ok {
			r.log = append(r.log, "twice "+ch.Ref.String())
		}
		r.messages[ch.Ref] = string(raw) + "|" + flagText(ch.Message.Flags)
	case connection.Updated:
		raw, _, ok := strings.Cut(r.messages[ch.Ref], "|")
		if !ok {
			t.Errorf("updated %s, which was never added", ch.Ref)
		}
		r.messages[ch.Ref] = raw + "|" + flagText(ch.Message.Flags)
	case connection.Removed:
		if _, ok := r.messages[ch.Ref]; !ok {
			t.Errorf("removed %s, which was never added", ch.Ref)
		}
		delete(r.messages, ch.Ref)
	case connection.FolderAdded:
		r.folders[ch.Folder.Name] = true
	case connection.FolderRemoved:
		delete(r.folders, ch.Folder.Name)
		maps.DeleteFunc(r.messages, func(ref connection.Ref, _ string) bool { return ref.Folder == ch.Folder.Name })
	}
	r.log = append(r.log, ch.Op.String()+" "+ch.Ref.String())
	if ch.Checkpoint != "" {
		r.cp = ch.Checkpoint
	}
}

// sync applies all changes since r's checkpoint.
func (r *replica) sync(t testing.TB, c *maildir.Conn, opts *connection.SyncOptions) {
	t.Helper()
	r.log = nil
	for ch, err := range c.Sync(t.Context(), r.cp, opts) {
		if err != nil {
			t.Fatal(err)
		}
		r.apply(t, ch)
	}
}

// letters of the flags that truth knows.
var letterFlags = map[byte]connection.Flag{'F': `\Flagged`, 'R': `\Answered`, 'S': `\Seen`}

// truth reads the tree by itself.
func truth(t testing.TB, tree *maildirtest.Tree, folders []string) map[connection.Ref]string {
	t.Helper()
	all := map[connection.Ref]string{}
	for _, folder := range folders {
		for _, name := range tree.Names(folder) {
			raw, err := os.ReadFile(filepath.Join(tree.Dir(folder), name))
			if err != nil {
				t.Fatal(err)
			}
			unique, letters, _ := strings.Cut(filepath.Base(name), ":2,")
			var flags []connection.Flag
			for i := range len(letters) {
				flags = append(flags, letterFlags[letters[i]])
			}
			all[connection.Ref{Folder: folder, ID: unique}] = string(raw) + "|" + flagText(flags)
		}
	}
	return all
}

// TestSyncMirrorsRandomChanges runs 50 mailboxes through random changes with a Sync between them, each by a new Conn,
// and compares the replica with the tree.
func TestSyncMirrorsRandomChanges(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		tree := maildirtest.New(t)
		folders := []string{"INBOX"}
		where := map[string]string{} // unique name: folder
		r := newReplica()
		for round := range 8 {
			for range rnd.IntN(12) {
				randomChange(t, rnd, tree, &folders, where)
			}
			r.sync(t, open(t, tree.Config()), nil)
			want := truth(t, tree, folders)
			if !maps.Equal(r.messages, want) {
				t.Fatalf("seed %d, round %d: got %v, want %v\n%s", seed, round, r.messages, want, strings.Join(r.log, "\n"))
			}
			for _, line := range r.log {
				if strings.HasPrefix(line, "twice") {
					t.Errorf("seed %d, round %d: %s", seed, round, line)
				}
			}
			if got := slices.Sorted(maps.Keys(r.folders)); !slices.Equal(got, slices.Sorted(slices.Values(folders))) {
				t.Fatalf("seed %d: got folders %q, want %q", seed, got, folders)
			}
		}
	}
}

func randomChange(t *testing.T, rnd *rand.Rand, tree *maildirtest.Tree, folders *[]string, where map[string]string) {
	t.Helper()
	names := slices.Sorted(maps.Keys(where))
	some := func() (unique, folder string) {
		unique = names[rnd.IntN(len(names))]
		return unique, where[unique]
	}
	switch op := rnd.IntN(10); {
	case op < 5 || len(names) == 0:
		folder := (*folders)[rnd.IntN(len(*folders))]
		where[tree.Deliver(folder, fmt.Appendf(nil, "mail %d", rnd.Uint64()))] = folder
	case op < 7:
		unique, folder := some()
		tree.SetFlags(folder, unique, []string{"", "F", "FS", "RS", "S"}[rnd.IntN(5)])
	case op == 7:
		unique, folder := some()
		tree.Remove(folder, unique)
		delete(where, unique)
	case op == 8:
		name := fmt.Sprintf("F%d/Sub", rnd.IntN(1000))
		if !slices.Contains(*folders, name) {
			tree.AddFolder(name)
			*folders = append(*folders, name)
		}
	case len(*folders) > 1:
		i := 1 + rnd.IntN(len(*folders)-1)
		from, to := (*folders)[i], fmt.Sprintf("R%d", rnd.Uint32())
		if err := os.Rename(tree.Dir(from), tree.Dir(to)); err != nil {
			t.Fatal(err)
		}
		(*folders)[i] = to
		for unique, folder := range where {
			if folder == from {
				where[unique] = to
			}
		}
	}
}

func age(t testing.TB, dirs ...string) {
	t.Helper()
	old := time.Now().Add(-time.Hour)
	for _, dir := range dirs {
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSyncReadsOnlyWhatChanged: a directory with an old modification time is not read again; that shows when a file
// comes and the time is put back.
func TestSyncReadsOnlyWhatChanged(t *testing.T) {
	tree := maildirtest.New(t)
	tree.Put("INBOX", "cur", "1.a:2,", nil)
	dirs := []string{filepath.Join(tree.Path, "new"), filepath.Join(tree.Path, "cur")}
	age(t, dirs...)
	r := newReplica()
	r.sync(t, open(t, tree.Config()), nil)
	cp := r.cp
	fi, err := os.Stat(dirs[1])
	if err != nil {
		t.Fatal(err)
	}
	tree.Put("INBOX", "cur", "2.b:2,", nil)
	if err := os.Chtimes(dirs[1], fi.ModTime(), fi.ModTime()); err != nil {
		t.Fatal(err)
	}
	r.sync(t, open(t, tree.Config()), nil)
	if len(r.log) != 0 || r.cp != cp {
		t.Errorf("got %q, want nothing: the directory did not change", r.log)
	}
	age(t, dirs[1])
	r.sync(t, open(t, tree.Config()), nil)
	if len(r.messages) != 2 {
		t.Errorf("got %v, want both", r.messages)
	}
}

// TestSyncYoungDirectoryIsReadAgain: a change within the same tick of the clock as the last Sync is not overlooked.
func TestSyncYoungDirectoryIsReadAgain(t *testing.T) {
	tree := maildirtest.New(t)
	tree.Put("INBOX", "cur", "1.a:2,", nil)
	r := newReplica()
	r.sync(t, open(t, tree.Config()), nil)
	cur := filepath.Join(tree.Path, "cur")
	fi, err := os.Stat(cur)
	if err != nil {
		t.Fatal(err)
	}
	tree.Put("INBOX", "cur", "2.b:2,", nil)
	if err := os.Chtimes(cur, fi.ModTime(), fi.ModTime()); err != nil { // a clock of one second would say so too
		t.Fatal(err)
	}
	r.sync(t, open(t, tree.Config()), nil)
	if len(r.messages) != 2 {
		t.Errorf("got %v, want both: the directory was young", r.messages)
	}
}

func TestSyncStaleCheckpoint(t *testing.T) {
	tree := maildirtest.New(t)
	kept := tree.Deliver("INBOX", []byte("kept"))
	r := newReplica()
	r.sync(t, open(t, tree.Config()), nil)
	tree.SetFlags("INBOX", kept, "S")
	fresh := tree.Deliver("INBOX", []byte("fresh"))
	damaged := []byte(r.cp)
	damaged[len(damaged)/2] ^= 1
	for name, cp := range map[string]connection.Checkpoint{"nonsense": "x", "damaged": connection.Checkpoint(damaged), "cut": r.cp[:len(r.cp)-3], "another version": "maildir2.AAAA"} {
		n := 0
		for ch, err := range open(t, tree.Config()).Sync(t.Context(), cp, nil) {
			n++
			if ch != nil || !errors.Is(err, connection.ErrStale) {
				t.Errorf("%s: got %v and %v, want ErrStale", name, ch, err)
			}
		}
		if n != 1 {
			t.Errorf("%s: got %d steps, want one", name, n)
		}
		var added, updated []string
		opts := &connection.SyncOptions{Known: func(_ context.Context, refs []connection.Ref) ([]bool, error) {
			known := make([]bool, len(refs))
			for i, ref := range refs {
				known[i] = ref.ID == kept
			}
			return known, nil
		}}
		var last connection.Checkpoint
		for ch, err := range open(t, tree.Config()).Sync(t.Context(), cp, opts) {
			if err != nil {
				t.Fatal(err)
			}
			switch ch.Op {
			case connection.Added:
				added = append(added, ch.Ref.ID)
			case connection.Updated:
				updated = append(updated, ch.Ref.ID+flagText(ch.Message.Flags))
				if ch.Message.Body != nil {
					t.Error("an update with a body")
				}
			}
			last = ch.Checkpoint
		}
		if !slices.Equal(added, []string{fresh}) || !slices.Equal(updated, []string{kept + `[\Seen]`}) || last == "" {
			t.Errorf("%s with Known: got added %q and updated %q, want %q and %q", name, added, updated, fresh, kept)
		}
	}
}

// TestSyncUnmountedIsNoRemoval: an empty mount point is not a mailbox that lost its mail.
func TestSyncUnmountedIsNoRemoval(t *testing.T) {
	tree := maildirtest.New(t)
	tree.Deliver("INBOX", []byte("x"))
	r := newReplica()
	r.sync(t, open(t, tree.Config()), nil)
	if err := errors.Join(os.Rename(tree.Path, tree.Path+".away"), os.Mkdir(tree.Path, 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"empty", "missing"} {
		if name == "missing" {
			if err := os.Remove(tree.Path); err != nil {
				t.Fatal(err)
			}
		}
		for ch, err := range open(t, tree.Config()).Sync(t.Context(), r.cp, nil) {
			if ch != nil || !errors.Is(err, connection.ErrConfig) {
				t.Errorf("%s: got %v and %v, want ErrConfig", name, ch, err)
			}
		}
	}
}

// TestSyncUnreadableMessageIsTriedAgain: an item error is not counted as told.
func TestSyncUnreadableMessageIsTriedAgain(t *testing.T) {
	tree := maildirtest.New(t)
	bad := tree.Deliver("INBOX", make([]byte, 100))
	good := tree.Deliver("INBOX", make([]byte, 10))
	age(t, filepath.Join(tree.Path, "new"), filepath.Join(tree.Path, "cur"))
	cfg := tree.Config()
	cfg.MaxMessage = 50
	r := newReplica()
	failed := 0
	for ch, err := range open(t, cfg).Sync(t.Context(), "", nil) {
		if err != nil {
			failed++
			if e, ok := errors.AsType[*connection.Error](err); !ok || e.Ref.ID != bad {
				t.Errorf("got %v, want an error about %s", err, bad)
			}
			continue
		}
		r.apply(t, ch)
	}
	wantKeys(t, ids(r), good)
	r.sync(t, open(t, tree.Config()), nil)
	wantKeys(t, ids(r), good, bad)
	if failed != 1 {
		t.Errorf("got %d errors, want 1", failed)
	}
}

func ids(r *replica) map[string]bool {
	m := map[string]bool{}
	for ref := range r.messages {
		m[ref.ID] = true
	}
	return m
}

// TestSyncCheckpointsInALargeFolder stops at each checkpoint and goes on from it: nothing is lost, nothing comes twice.
func TestSyncCheckpointsInALargeFolder(t *testing.T) {
	tree := maildirtest.New(t)
	const n = 1500
	for range n {
		tree.Deliver("INBOX", []byte("x"))
	}
	r := newReplica()
	runs := 0
	for done := false; !done && runs < 50; runs++ {
		done = true
		r.log = nil
		for ch, err := range open(t, tree.Config()).Sync(t.Context(), r.cp, nil) {
			if err != nil {
				t.Fatal(err)
			}
			r.apply(t, ch)
			if ch.Checkpoint != "" && len(r.log) > 1 {
				done = false
				break
			}
		}
		for _, line := range r.log {
			if strings.HasPrefix(line, "twice") {
				t.Fatal(line)
			}
		}
	}
	if len(r.messages) != n || runs < 3 {
		t.Errorf("got %d messages in %d runs, want %d in several", len(r.messages), runs, n)
	}
	if size := len(r.cp); size > 40*n {
		t.Errorf("the checkpoint has %d octets, want at most 40 a message", size)
	}
}

func TestSyncTwoFilesOneName(t *testing.T) {
	tree := maildirtest.New(t)
	tree.Put("INBOX", "new", "1.a", []byte("first"))
	tree.Put("INBOX", "cur", "1.a:2,S", []byte("second"))
	r := newReplica()
	r.sync(t, open(t, tree.Config()), nil)
	if len(r.messages) != 2 {
		t.Fatalf("got %v, want both", r.messages)
	}
	for range 3 {
		tree.Deliver("INBOX", []byte("makes it look again"))
		r.sync(t, open(t, tree.Config()), nil)
		if len(r.log) > 2 {
			t.Errorf("got %q, want one new message and a checkpoint", r.log)
		}
	}
	if err := os.Remove(filepath.Join(tree.Path, "new", "1.a")); err != nil {
		t.Fatal(err)
	}
	r.sync(t, open(t, tree.Config()), nil)
	// Which of the two has the plain name depends on which was seen first.
	if len(r.log) != 2 || r.log[0] != "removed INBOX/1.a" && r.log[0] != "removed INBOX/new/1.a" {
		t.Errorf("got %q, want the first removed and the second untouched", r.log)
	}
	var left []string
	for _, message := range r.messages {
		left = append(left, message)
	}
	if all := strings.Join(left, " "); strings.Contains(all, "first") || !strings.Contains(all, "second") {
		t.Errorf("left %q, want the second without the first", left)
	}
}

func TestSyncOnlySomeFolders(t *testing.T) {
	tree := maildirtest.New(t)
	tree.AddFolder("A")
	tree.Deliver("A", []byte("a"))
	tree.Deliver("INBOX", []byte("x"))
	r := newReplica()
	r.sync(t, open(t, tree.Config()), nil)
	tree.Deliver("A", []byte("b"))
	tree.Deliver("INBOX", []byte("y"))
	r.sync(t, open(t, tree.Config()), &connection.SyncOptions{Folders: []string{"A"}})
	if len(r.messages) != 3 {
		t.Errorf("got %v, want A's second message and not INBOX's", r.messages)
	}
	r.sync(t, open(t, tree.Config()), nil)
	if len(r.messages) != 4 || len(r.folders) != 2 {
		t.Errorf("got %v, want all four", r.messages)
	}
}

func TestSyncOfManyNeedsAMailbox(t *testing.T) {
	tree := maildirtest.New(t)
	c := open(t, maildir.Config{Path: filepath.Join(filepath.Dir(tree.Path), "*")})
	for _, err := range c.Sync(t.Context(), "", nil) {
		if !errors.Is(err, connection.ErrInvalid) {
			t.Errorf("got %v, want ErrInvalid", err)
		}
	}
}
