package imapclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	goclient "github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
	"github.com/mailconn/mailconn/internal/peertest"
)

// A replica is what a host keeps of a mailbox: a ChangeSink that follows what Sync's documentation says.
type replica struct {
	folders  map[string]bool
	messages map[connection.Ref]kept

	oldFolders  map[string]bool         // after a restart: what was not told again yet
	oldMessages map[connection.Ref]bool //
	told        []connection.ChangeOp
	failAt      int // Store fails when told is so long; 0 = never
}

type kept struct {
	raw   string
	flags string
}

func newReplica() *replica {
	return &replica{folders: map[string]bool{}, messages: map[connection.Ref]kept{}}
}

var errSink = errors.New("the sink is full")

func (r *replica) Store(_ context.Context, _ string, c *connection.Change) error {
	r.told = append(r.told, c.Op)
	if r.failAt > 0 && len(r.told) == r.failAt {
		return errSink
	}
	switch c.Op {
	case connection.FolderAdded:
		r.folders[c.Folder.Name] = true
		delete(r.oldFolders, c.Folder.Name)
	case connection.FolderRemoved:
		delete(r.folders, c.Folder.Name)
		maps.DeleteFunc(r.messages, func(ref connection.Ref, _ kept) bool { return ref.Folder == c.Folder.Name })
	case connection.FolderRenamed:
		if !r.folders[c.Folder.Previous] && r.folders[c.Folder.Name] {
			return nil // told once more, since the last run ended before its Checkpoint
		}
		if r.folders[c.Folder.Name] {
			return fmt.Errorf("folder %q is renamed to %q; there are %v", c.Folder.Previous, c.Folder.Name, r.folders)
		}
		delete(r.folders, c.Folder.Previous)
		r.folders[c.Folder.Name] = true
		for ref, m := range maps.Clone(r.messages) {
			if ref.Folder == c.Folder.Previous {
				delete(r.messages, ref)
				ref.Folder = c.Folder.Name
				r.messages[ref] = m
			}
		}
	case connection.Added:
		raw, err := io.ReadAll(c.Message.Body)
		if err != nil {
			return err
		}
		r.messages[c.Ref] = kept{string(raw), flagText(c.Message.Flags)}
		delete(r.oldMessages, c.Ref)
	case connection.Updated:
		m, ok := r.messages[c.Ref]
		if !ok {
			return fmt.Errorf("%v is updated and was not there", c.Ref)
		}
		m.flags = flagText(c.Message.Flags)
		r.messages[c.Ref] = m
		delete(r.oldMessages, c.Ref)
	case connection.Removed:
		delete(r.messages, c.Ref)
	case connection.Progressed:
	}
	return nil
}

func (r *replica) Known(_ context.Context, _ string, refs []connection.Ref) ([]bool, error) {
	has := make([]bool, len(refs))
	for i, ref := range refs {
		_, has[i] = r.messages[ref]
	}
	return has, nil
}

// restarted notes that everything is told again.
func (r *replica) restarted() {
	r.oldFolders, r.oldMessages = maps.Clone(r.folders), make(map[connection.Ref]bool)
	for ref := range r.messages {
		r.oldMessages[ref] = true
	}
}

// ended removes what was not told again.
func (r *replica) ended() {
	for name := range r.oldFolders {
		delete(r.folders, name)
	}
	for ref := range r.oldMessages {
		delete(r.messages, ref)
	}
	r.oldFolders, r.oldMessages = nil, nil
}

func flagText[F ~string](flags []F) string {
	words := make([]string, 0, len(flags))
	for _, flag := range flags {
		if !strings.EqualFold(string(flag), `\Recent`) {
			words = append(words, strings.ToLower(string(flag)))
		}
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

// state returns what the replica holds, folder by folder.
func (r *replica) state() map[string]map[string]kept {
	all := make(map[string]map[string]kept)
	for name := range r.folders {
		all[name] = map[string]kept{}
	}
	for ref, m := range r.messages {
		if all[ref.Folder] == nil {
			all[ref.Folder] = map[string]kept{}
		}
		all[ref.Folder][ref.ID] = m
	}
	return all
}

// A client is somebody else who works on the mailbox, through the bare library.
type client struct {
	t testing.TB
	*goclient.Client
}

func dialClient(t testing.TB, addr, user, password string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t, goclient.New(conn, nil)}
	t.Cleanup(func() { _ = c.Close() }) // nothing depends on how it ends
	c.must(c.Login(user, password).Wait())
	return c
}

func (c *client) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) names() []string {
	c.t.Helper()
	all, err := c.List("", "*", nil).Collect()
	c.must(err)
	var names []string
	for _, data := range all {
		if !slices.Contains(data.Attrs, goimap.MailboxAttrNoSelect) && !slices.Contains(data.Attrs, goimap.MailboxAttrNonExistent) {
			names = append(names, data.Mailbox)
		}
	}
	slices.Sort(names)
	return names
}

func (c *client) put(folder, raw string, flags ...goimap.Flag) {
	c.t.Helper()
	cmd := c.Append(folder, int64(len(raw)), &goimap.AppendOptions{Flags: flags, Time: time.Unix(1_700_000_000, 0)})
	_, err := io.WriteString(cmd, raw)
	c.must(err)
	c.must(cmd.Close())
	_, err = cmd.Wait()
	c.must(err)
}

// open selects folder and returns its UIDs.
func (c *client) open(folder string) (validity uint32, uids []goimap.UID) {
	c.t.Helper()
	data, err := c.Select(folder, nil).Wait()
	c.must(err)
	found, err := c.UIDSearch(&goimap.SearchCriteria{}, nil).Wait()
	c.must(err)
	return data.UIDValidity, found.AllUIDs()
}

// leave has no folder selected: servers close the connection when that folder goes.
func (c *client) leave() {
	c.t.Helper()
	if c.State() == goimap.ConnStateSelected {
		c.must(c.Unselect().Wait())
	}
}

// state returns what the server holds, folder by folder.
func (c *client) state() map[string]map[string]kept {
	c.t.Helper()
	all := make(map[string]map[string]kept)
	for _, name := range c.names() {
		validity, uids := c.open(name)
		all[name] = map[string]kept{}
		if len(uids) == 0 {
			continue
		}
		found, err := c.Fetch(goimap.UIDSetNum(uids...), &goimap.FetchOptions{UID: true, Flags: true, BodySection: []*goimap.FetchItemBodySection{{Peek: true}}}).Collect()
		c.must(err)
		for _, m := range found {
			all[name][fmt.Sprintf("%d:%d", validity, m.UID)] = kept{string(m.BodySection[0].Bytes), flagText(m.Flags)}
		}
	}
	return all
}

// change does something at random.
func (c *client) change(rnd *rand.Rand, n int, bump func(folder string)) string {
	c.t.Helper()
	names := c.names()
	folder := names[rnd.IntN(len(names))]
	var uids []goimap.UID
	some := func() goimap.UIDSet {
		_, uids = c.open(folder)
		var set goimap.UIDSet
		for _, uid := range uids {
			if rnd.IntN(3) == 0 {
				set.AddNum(uid)
			}
		}
		return set
	}
	switch op := rnd.IntN(14); {
	case op < 4:
		for i := range 1 + rnd.IntN(4) {
			var flags []goimap.Flag
			if rnd.IntN(2) == 0 {
				flags = append(flags, goimap.FlagSeen)
			}
			c.put(folder, fmt.Sprintf("Subject: letter %d.%d\r\n\r\n%s\r\n", n, i, strings.Repeat("x", rnd.IntN(40))), flags...)
		}
		return "add to " + folder
	case op < 7:
		if set := some(); len(set) > 0 {
			how := []goimap.StoreFlagsOp{goimap.StoreFlagsAdd, goimap.StoreFlagsDel, goimap.StoreFlagsSet}[rnd.IntN(3)]
			flag := []goimap.Flag{goimap.FlagSeen, goimap.FlagFlagged, goimap.FlagDeleted, "$Important"}[rnd.IntN(4)]
			c.must(c.Store(set, &goimap.StoreFlags{Op: how, Silent: true, Flags: []goimap.Flag{flag}}, nil).Close())
		}
		return "flag in " + folder
	case op < 9:
		if set := some(); len(set) > 0 {
			c.must(c.Store(set, &goimap.StoreFlags{Op: goimap.StoreFlagsAdd, Silent: true, Flags: []goimap.Flag{goimap.FlagDeleted}}, nil).Close())
			c.must(c.UIDExpunge(set).Close())
		}
		return "delete from " + folder
	case op < 10:
		to := names[rnd.IntN(len(names))]
		if set := some(); len(set) > 0 && to != folder {
			_, err := c.Move(set, to).Wait()
			c.must(err)
		}
		return "move from " + folder + " to " + to
	case op < 11 || folder == "INBOX" && op < 13:
		name := fmt.Sprintf("Folder %d", n)
		c.must(c.Create(name, nil).Wait())
		return "create " + name
	case op < 12:
		name := fmt.Sprintf("Renamed %d", n)
		c.leave()
		c.must(c.Rename(folder, name, nil).Wait())
		return "rename " + folder + " to " + name
	case op < 13:
		c.leave()
		c.must(c.Client.Delete(folder).Wait())
		return "delete folder " + folder
	}
	if rnd.IntN(3) == 0 {
		c.leave()
		bump(folder)
		return "renumber " + folder
	}
	return "nothing"
}

func diffStates(got, want map[string]map[string]kept) string {
	var b strings.Builder
	for name, messages := range want {
		if got[name] == nil {
			fmt.Fprintf(&b, "folder %q is missing\n", name)
		}
		for id, m := range messages {
			if g, ok := got[name][id]; !ok {
				fmt.Fprintf(&b, "%s %s is missing: %.60q\n", name, id, m.raw)
			} else if g != m {
				fmt.Fprintf(&b, "%s %s: got %.60q, want %.60q\n", name, id, g, m)
			}
		}
	}
	for name, messages := range got {
		if want[name] == nil {
			fmt.Fprintf(&b, "folder %q is there still\n", name)
		}
		for id, m := range messages {
			if _, ok := want[name][id]; !ok {
				fmt.Fprintf(&b, "%s %s is there still: %.60q\n", name, id, m.raw)
			}
		}
	}
	return b.String()
}

// mirrorRounds changes the mailbox at random and mirrors it, round by round, and fails the test when the two differ. Some
// rounds are interrupted by the sink.
func mirrorRounds(t *testing.T, seed uint64, rounds int, other *client, conn func() *imapclient.Conn, bump func(string)) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 7))
	sink, cps := newReplica(), &connection.MemoryCheckpoints{}
	var log []string
	n := 0
	for round := range rounds {
		for range rnd.IntN(7) {
			n++
			log = append(log, other.change(rnd, n, bump))
		}
		sink.failAt, sink.told = 0, nil
		if rnd.IntN(3) == 0 {
			sink.failAt = 1 + rnd.IntN(8)
		}
		for {
			c := conn()
			opts := &connection.MirrorOptions{MaxAttempts: 1, Observe: func(ev connection.Event) {
				if ev.Kind == connection.EventRestarted {
					sink.restarted()
				}
			}}
			_, err := connection.Mirror(t.Context(), c, sink, cps, opts)
			if closeErr := c.Close(); closeErr != nil {
				t.Fatal(closeErr)
			}
			if err == nil {
				break
			}
			if !errors.Is(err, errSink) {
				t.Fatalf("seed %d, round %d: %v\n%s", seed, round, err, strings.Join(log, "\n"))
			}
			log = append(log, "sink fails")
			sink.failAt = 0
		}
		sink.ended()
		if diff := diffStates(sink.state(), other.state()); diff != "" {
			t.Fatalf("seed %d, round %d: the mirror differs from the server:\n%s\nafter\n%s", seed, round, diff, strings.Join(log, "\n"))
		}
		log = append(log, fmt.Sprintf("mirrored: %v", sink.told))
	}
}

// After any changes between two runs the mirror is what the server is, with mod-sequences and without.
func TestMirrorRandomChanges(t *testing.T) {
	for seed := range uint64(50) {
		o := &imaptest.Options{Mode: connection.ModeInsecure}
		switch seed % 3 {
		case 1:
			o.Without = []string{"CONDSTORE"}
		case 2:
			o.Quirks.SearchDescending = true
		}
		srv := imaptest.NewServer(t, o)
		other := dialClient(t, srv.Addr(), imaptest.DefaultUsername, imaptest.DefaultPassword)
		cfg := srv.Config()
		cfg.AllowPlaintextAuth, cfg.Folders, cfg.MessagesPerCycle = true, []string{"*"}, 3
		mirrorRounds(t, seed, 6, other, func() *imapclient.Conn { return open(t, cfg, nil) }, func(folder string) { srv.BumpUIDValidity(folder) })
		srv.Close()
	}
}

func TestDovecotMirrorRandomChanges(t *testing.T) {
	users := make([]string, 50)
	for seed := range users {
		users[seed] = fmt.Sprintf("user%d", seed)
	}
	srv := peertest.Dovecot(t, &peertest.DovecotOptions{Users: users, Settings: manyLogins(t)})
	together(t, users, func(t *testing.T, seed int, user string) {
		other := dialClient(t, srv.Addr("imap"), user, srv.Password)
		cfg := dovecotConfig(srv, connection.ModeInsecure)
		cfg.Username, cfg.Folders, cfg.MessagesPerCycle = user, []string{"*"}, 3
		if seed%3 == 2 {
			cfg.DisableExtensions = []string{"CONDSTORE", "QRESYNC"}
		}
		// A folder that is deleted and made anew is another one under the old name.
		again := func(folder string) {
			if folder != "INBOX" {
				other.must(other.Client.Delete(folder).Wait())
				other.must(other.Create(folder, nil).Wait())
				other.put(folder, "Subject: of the new life\r\n\r\n")
			}
		}
		mirrorRounds(t, uint64(seed), 5, other, func() *imapclient.Conn { return open(t, cfg, nil) }, again)
	})
}
