//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/examples/internal/mirrored"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// child is the program as a process of its own.
type child struct {
	*exec.Cmd
	out  bytes.Buffer // read it only when done is closed
	done chan struct{}
	err  error
}

func start(t *testing.T, args ...string) *child {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{Cmd: exec.CommandContext(t.Context(), path, args...), done: make(chan struct{})}
	c.Stdout, c.Stderr = &c.out, &c.out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		c.err = c.Wait()
		close(c.done)
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill() // it has ended, unless the test failed
		<-c.done
	})
	return c
}

// kill ends the child as a crash would, and reports whether it was still at work.
func (c *child) kill() bool {
	_ = c.Process.Kill() // it may have ended by itself
	<-c.done
	var exit *exec.ExitError
	return errors.As(c.err, &exit) && exit.ExitCode() == -1
}

// A crash is a mirror of many mailboxes that is killed again and again, while Google throttles, fails and cuts connections,
// and people go on working.
type crash struct {
	google
	random *rand.Rand
	users  []string
	dir    string
	sent   map[string]int    // messages so far, by user
	label  map[string]string // id of a label of each user
	forgot map[string]bool   // users whose history Google has forgotten

	checked map[string]int64             // parts of each user's log that were found good
	logged  map[string]map[string]string // what they say is there: keys by ids, by user
}

const off = "off@corp.example"

// TestKilled is the promise of this program: 100 mailboxes are mirrored whole through kills, throttling, faults, cut
// connections and lost histories; labels and what is removed are mirrored, too; no checkpoint is ever ahead of what is
// stored; and a mailbox that is off stops no other.
func TestKilled(t *testing.T) {
	users, messages, kills := 100, 30, 5
	if testing.Short() {
		users, messages, kills = 20, 30, 4
	}
	t.Logf("%d mailboxes of %d messages, %d kills", users, messages, kills)
	c := &crash{
		google: newGoogle(t, &gmailtest.Options{Seed: 7, Quota: gmailtest.Quota{Legacy: true, Concurrent: 3}, Rendering: gmailtest.Rendering{NoGzip: true}}),
		random: rand.New(rand.NewPCG(7, 7)), dir: t.TempDir(), sent: make(map[string]int), label: make(map[string]string), forgot: make(map[string]bool),
		checked: make(map[string]int64), logged: make(map[string]map[string]string),
	}
	for i := range users {
		user := fmt.Sprintf("user%03d@corp.example", i)
		c.users = append(c.users, user)
		c.ids[user] = c.AddUser(gmailtest.User{Email: user})
		c.label[user] = c.AddLabel(user, "Work")
		c.deliver(user, messages)
	}
	c.ids[off] = c.AddUser(gmailtest.User{Email: off})
	c.Deliver(off, raws(off, 0, 3)...)
	c.Disable(off)
	c.trouble()
	from := c.settings(t, map[string]any{"page_size": 25})
	// A kill is no power failure: the system keeps what was written.
	to := settingsFile(t, "file", map[string]any{"location": c.dir, "sync": "none"})
	args := []string{"-once", "-settings", from, "-to", to, "-workers", "16"}

	done, within := 0, users*messages/kills
	for runs := 0; done < kills; runs++ {
		if runs == 10*kills {
			t.Fatalf("only %d of %d runs were killed at work", done, runs)
		}
		p := start(t, args...)
		c.reach(t, p, c.downloads()+1+c.random.IntN(within))
		if p.kill() {
			done++
		} else {
			within = users / 10 // there is little left but what changes
		}
		c.check(t)
		for range users / 5 {
			c.change(c.users[c.random.IntN(users)])
		}
	}
	c.Heal()
	p := start(t, args...)
	<-p.done
	if code := p.ProcessState.ExitCode(); code != exitFailed {
		t.Errorf("got exit code %d, want %d for the one mailbox that is off", code, exitFailed)
	}
	for _, want := range []string{"problem with " + off, fmt.Sprintf("%d mailboxes up to date, 1 failed", users)} {
		if !strings.Contains(p.out.String(), want) {
			t.Errorf("the last run does not say %q:\n%.5000s", want, p.out.String())
		}
	}
	c.check(t)
	total := 0
	for _, user := range c.users {
		total += c.whole(t, user)
	}
	remembered := slices.DeleteFunc(slices.Clone(c.users), func(user string) bool { return c.forgot[user] })
	for i := range min(3, len(remembered)) {
		c.checkpoints(t, remembered[i*len(remembered)/3])
	}
	t.Logf("%d messages are whole after %d downloads; Google refused %v", total, c.downloads(), c.Refusals())
}

// reach waits until messages were read so often, or the program has ended.
func (c *crash) reach(t *testing.T, p *child, downloads int) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for c.downloads() < downloads {
		select {
		case <-tick.C:
		case <-p.done:
			return
		case <-limit.C:
			t.Fatalf("after %s the program has read no more messages", patience)
		}
	}
}

// deliver brings n messages more to a user. Of four, three go to all of the team: the archive has them once.
func (c *crash) deliver(user string, n int) {
	team := user[:len("user00")] + "x@corp.example"
	for i := c.sent[user]; i < c.sent[user]+n; i++ {
		to := team
		if i%4 == 0 {
			to = user
		}
		raw := raws(to, i, i+1)[0]
		if i%50 == 0 {
			raw = append(raw, bytes.Repeat([]byte("a longer one\r\n"), 2_000+c.random.IntN(5_000))...)
		}
		c.Deliver(user, raw)
	}
	c.sent[user] += n
}

// change does to a mailbox what its owner may do.
func (c *crash) change(user string) {
	c.deliver(user, 1)
	all := c.Messages(user)
	id := func() string { return all[c.random.IntN(len(all))].ID }
	c.SetLabels(user, id(), []string{c.label[user]}, []string{"INBOX"})
	c.SetLabels(user, id(), []string{"STARRED"}, []string{"UNREAD"})
	if c.random.IntN(5) == 0 {
		c.RenameLabel(user, c.label[user], fmt.Sprintf("Work %d", c.random.IntN(1000)))
	}
	c.Remove(user, id())
	// A mailbox whose history is lost twice within an hour is left alone for a while: so it is lost once.
	if c.random.IntN(10) == 0 && !c.forgot[user] {
		c.ExpireHistory(user)
		c.forgot[user] = true
	}
}

// trouble is what Google does to one request in some dozens.
func (c *crash) trouble() {
	for _, fault := range []gmailtest.Fault{
		gmailtest.Status(http.StatusServiceUnavailable, "<html>later</html>"), gmailtest.TooManyConcurrent(),
		gmailtest.HangUp(), gmailtest.Lose(),
	} {
		c.Fail(gmailtest.On("*").Chance(0.002), fault)
	}
	// Where Google says so of several users within a minute, it means them all, and the program slows down for an hour.
	c.Fail(gmailtest.On("*").User(c.users[0]).Chance(0.05), gmailtest.Refuse(http.StatusForbidden, "userRateLimitExceeded", "User Rate Limit Exceeded"))
	for _, fault := range []gmailtest.Fault{gmailtest.Cut(2_000), gmailtest.Short(700), gmailtest.Cut(50_000)} {
		c.Fail(gmailtest.On("messages.get").Chance(0.005), fault)
	}
}

// check holds against each other what is in the archive: every part of every log is whole and follows the one before, and
// every message that a log names is there, octet for octet under its digest.
func (c *crash) check(t *testing.T) {
	t.Helper()
	s := fileStore(t, c.dir)
	for _, user := range append(c.users, off) {
		number, last := int64(0), c.checked[user]
		if c.logged[user] == nil {
			c.logged[user] = make(map[string]string)
		}
		for section, err := range mirrored.NewArchive(s).Log(t.Context(), c.ids[user]) {
			if err != nil {
				t.Fatal(err)
			}
			if number++; section.Number != number || section.Checkpoint == "" || section.Entries != len(section.Changes) {
				t.Errorf("%s: part %d: got %+v", user, number, section.Part)
			}
			if number <= last { // it never changes
				continue
			}
			c.checked[user] = number
			for _, e := range section.Changes {
				switch e.Op {
				case "removed":
					delete(c.logged[user], e.Ref.ID)
				case "added":
					data, err := os.ReadFile(filepath.Join(c.dir, filepath.FromSlash(e.Key)))
					if err != nil || int64(len(data)) != e.Size || mirrored.MessageKey(data) != e.Key {
						t.Errorf("%s: the log is ahead of what is stored: %s: %d octets, %v", user, e.Key, len(data), err)
					}
					c.logged[user][e.Ref.ID] = e.Key
				}
			}
		}
		if number < last {
			t.Errorf("%s: the log has lost its parts behind %d of %d", user, number, last)
		}
	}
}

// whole fails the test unless the archive has exactly what Google has in a mailbox: messages, octets, labels and flags. It returns
// how many messages.
func (c *crash) whole(t *testing.T, user string) int {
	t.Helper()
	have, names := archived(t, c.dir, c.ids[user]), c.Labels(user)
	all := c.Messages(user)
	var wrong []string
	for _, m := range all {
		var labels []string
		for _, id := range m.Labels {
			switch id {
			case "UNREAD", "STARRED":
			case c.label[user]:
				labels = append(labels, names[id])
			default:
				labels = append(labels, id)
			}
		}
		if len(labels) == 0 {
			labels = []string{"Archive"}
		}
		flags := []string{}
		if !slices.Contains(m.Labels, "UNREAD") {
			flags = append(flags, `\Seen`)
		}
		if slices.Contains(m.Labels, "STARRED") {
			flags = append(flags, `\Flagged`)
		}
		f, ok := have[m.ID]
		if !ok || !bytes.Equal(f.raw, m.Raw) || f.flags != sorted(flags) || f.labels != sorted(labels) && !c.renamed(f.labels) {
			wrong = append(wrong, fmt.Sprintf("%s: found %v, %d of %d octets, %s %s, want %s %s", m.ID, ok, len(f.raw), len(m.Raw), f.labels, f.flags, sorted(labels), sorted(flags)))
		}
		delete(have, m.ID)
	}
	for id := range have {
		wrong = append(wrong, id+": Google has it no more")
	}
	if len(wrong) > 0 {
		t.Errorf("%s: %d of %d messages are wrong, such as\n%s", user, len(wrong), len(all), strings.Join(wrong[:min(len(wrong), 5)], "\n"))
	}
	return len(all)
}

// renamed reports whether labels are those of a message from before a label was renamed: that is told of the folder.
func (c *crash) renamed(labels string) bool { return strings.Contains(labels, "Work") }

// checkpoints asks Google what came behind each checkpoint that a log ever had: with what the log has before it, that is all
// there is.
func (c *crash) checkpoints(t *testing.T, user string) {
	t.Helper()
	conn, err := (&job{options: options{settings: c.settings(t, nil)}}).openGmail(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}()
	parts, entries := logged(t, fileStore(t, c.dir), c.ids[user])
	stored := make(map[string]bool)
	for _, part := range parts {
		for _, e := range entries[:part.Entries] {
			if e.Op == "added" {
				stored[e.Ref.ID] = true
			}
		}
		entries = entries[part.Entries:]
		behind, err := addedSince(t.Context(), conn, c.ids[user], part.Checkpoint, stored)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range c.Messages(user) {
			if !stored[m.ID] && !behind[m.ID] {
				t.Errorf("%s: checkpoint %d is ahead of what was stored: %.60q is lost", user, part.Number, m.Raw)
			}
		}
	}
}

func addedSince(ctx context.Context, conn *gmail.Conn, mailbox string, since connection.Checkpoint, stored map[string]bool) (map[string]bool, error) {
	found := make(map[string]bool)
	known := func(_ context.Context, refs []connection.Ref) ([]bool, error) {
		has := make([]bool, len(refs))
		for i, ref := range refs {
			has[i] = stored[ref.ID]
		}
		return has, nil
	}
	for change, err := range conn.Sync(ctx, since, &connection.SyncOptions{Mailbox: mailbox, Known: known}) {
		if err != nil {
			return nil, err
		}
		if change.Op == connection.Added {
			found[change.Ref.ID] = true
		}
	}
	return found, nil
}

// Ctrl-C ends the program in good order, and the next run goes on.
func TestInterrupted(t *testing.T) {
	g := newGoogle(t, nil, ann, bob)
	for _, user := range []string{ann, bob} {
		g.Deliver(user, raws(user, 0, 150)...)
	}
	var once sync.Once
	reached, over := make(chan struct{}), make(chan struct{})
	g.Fail(gmailtest.On("messages.get").Nth(30), gmailtest.Do(func(gmailtest.Request) {
		once.Do(func() { close(reached) })
		<-over // so that the program cannot end by itself
	}))
	end := sync.OnceFunc(func() { close(over) })
	t.Cleanup(end)
	dir := t.TempDir()
	args := []string{"-once", "-settings", g.settings(t, nil), "-to", dir}
	p := start(t, args...)
	select {
	case <-reached:
	case <-p.done:
		t.Fatalf("it ended too early: %v\n%s", p.err, p.out.String())
	}
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-p.done
	end()
	if code := p.ProcessState.ExitCode(); code != exitInterrupted || !strings.Contains(p.out.String(), "interrupted") {
		t.Errorf("got exit code %d, want %d\n%s", code, exitInterrupted, p.out.String())
	}
	runArgs(t.Context(), args...).want(t, exitOK, "2 mailboxes up to date, 0 failed")
	for _, user := range []string{ann, bob} {
		wantArchived(t, dir, g, user)
	}
}
