//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/ewstest"
	"github.com/mailconn/mailconn/examples/internal/mirrored"
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

// A crash is a mirror of many mailboxes that is killed again and again, while the server throttles, fails and cuts
// connections, and people go on working.
type crash struct {
	srv    exchangeServer
	random *rand.Rand
	boxes  []string
	dir    string
	sent   map[string]int  // messages so far, by mailbox
	gone   map[string]int  // of these, removed
	forgot map[string]bool // mailboxes whose history the server has forgotten: what was removed meanwhile is told nowhere

	checked map[string]int64             // parts of each mailbox's log that were found good
	logged  map[string]map[string]string // what they say was added: keys by ids, by mailbox
}

const denied = "denied@corp.test"

// TestKilled is the promise of this program: 200 mailboxes of 200 messages are mirrored whole through kills, throttling,
// faults, cut connections and a server that forgets; no checkpoint is ever ahead of what is stored; and a mailbox that may not be opened stops no
// other.
func TestKilled(t *testing.T) {
	mailboxes, messages, kills := 200, 200, 8
	if testing.Short() {
		mailboxes, messages, kills = 20, 40, 6
	}
	t.Logf("%d mailboxes of %d messages, %d kills", mailboxes, messages, kills)
	c := &crash{
		random: rand.New(rand.NewPCG(7, 7)), dir: t.TempDir(), sent: make(map[string]int), gone: make(map[string]int), forgot: make(map[string]bool),
		checked: make(map[string]int64), logged: make(map[string]map[string]string),
	}
	for i := range mailboxes {
		c.boxes = append(c.boxes, fmt.Sprintf("user%03d@corp.test", i))
	}
	c.srv = newServer(t, &ewstest.Options{Seed: 7, SyncCap: 64, Dialect: ewstest.Dialect{NoGzip: true}}, c.boxes...)
	c.srv.AddMailbox(denied, ewstest.MailboxOptions{}).Deliver("Inbox", raws(denied, 0, 3)...)
	for _, box := range c.boxes {
		c.deliver(box, messages)
	}
	c.trouble()
	from := exchange(t, c.srv, map[string]any{"mailboxes": append([]string{denied}, c.boxes...), "batch_items": 50})
	// A kill is no power failure: the system keeps what was written.
	to := settingsFile(t, "file", map[string]any{"location": c.dir, "sync": "none"})
	args := []string{"-settings", from, "-to", to, "-workers", "16"}

	done := 0
	for runs := 0; done < kills; runs++ {
		if runs == 10*kills {
			t.Fatalf("only %d of %d runs were killed at work", done, runs)
		}
		p := start(t, args...)
		at := c.srv.Calls("GetItem") + 1 + c.random.IntN(2*mailboxes*messages/50/kills)
		c.reach(t, p, at)
		if p.kill() {
			done++
		}
		c.check(t)
		for range mailboxes / 10 {
			c.change(t, c.boxes[c.random.IntN(mailboxes)])
		}
	}
	c.srv.Heal()
	p := start(t, args...)
	<-p.done
	if code := p.ProcessState.ExitCode(); code != exitFailed {
		t.Errorf("got exit code %d, want %d for the one denied mailbox", code, exitFailed)
	}
	for _, want := range []string{"problem with " + denied, fmt.Sprintf("%d mailboxes up to date, 1 failed", mailboxes)} {
		if !strings.Contains(p.out.String(), want) {
			t.Errorf("the last run does not say %q:\n%.5000s", want, p.out.String())
		}
	}
	c.check(t)
	if got := len(c.logged[denied]); got != 0 {
		t.Errorf("the archive has %d messages of the denied mailbox", got)
	}
	total := 0
	for _, box := range c.boxes {
		c.whole(t, box)
		total += c.sent[box] - c.gone[box]
	}
	remembered := slices.DeleteFunc(slices.Clone(c.boxes), func(box string) bool { return c.forgot[box] })
	for i := range 3 {
		c.checkpoints(t, remembered[i*len(remembered)/3])
	}
	t.Logf("%d messages are whole after %d requests for messages on %d connections; %d requests came while the server had asked to wait",
		total, c.srv.Calls("GetItem"), c.srv.Connections(), c.srv.Penalty())
}

// reach waits until the server was asked for messages so often, or the program has ended.
func (c *crash) reach(t *testing.T, p *child, calls int) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for c.srv.Calls("GetItem") < calls {
		select {
		case <-tick.C:
		case <-p.done:
			return
		case <-limit.C:
			t.Fatalf("after %s the program has asked for no more messages", patience)
		}
	}
}

// deliver puts n messages more into a mailbox. Of four, three went to all of its team: the archive has them once.
func (c *crash) deliver(box string, n int) {
	team := box[:len("user00")] + "x@corp.test"
	for i := c.sent[box]; i < c.sent[box]+n; i++ {
		folder, to := "Inbox", team
		if i%4 == 0 {
			folder, to = "Inbox/Sub", box
		}
		raw := raws(to, i, i+1)[0]
		if i%100 == 0 {
			raw = append(raw, bytes.Repeat([]byte("a longer one\r\n"), c.random.IntN(5_000))...)
		}
		c.srv.boxes[box].Deliver(folder, raw)
	}
	c.sent[box] += n
}

// change does to a mailbox what its owner may do.
func (c *crash) change(t *testing.T, box string) {
	t.Helper()
	c.deliver(box, 1)
	mb, all := c.srv.boxes[box], c.srv.Messages(box, "Inbox")
	id := func() string { return all[c.random.IntN(len(all))].ID }
	mb.SetRead(id(), id())
	if c.random.IntN(10) == 0 {
		mb.ExpireSyncStates()
		c.forgot[box] = true
	}
	mb.Remove(all[0].ID)
	c.gone[box]++
	if mb.Move(all[1].ID, "Inbox/Sub") == "" {
		t.Errorf("%s: the message was not moved", box)
	}
}

// trouble is what the server does to one request in some dozens.
func (c *crash) trouble() {
	for _, fault := range []ewstest.Fault{
		ewstest.Busy(time.Second), ewstest.Unavailable("1"), ewstest.Refuse("ErrorInternalServerTransientError", "try again"),
	} {
		c.srv.Fail(ewstest.On("*").Chance(0.002), fault)
	}
	for _, fault := range []ewstest.Fault{ewstest.HangUp(), ewstest.Lose()} {
		c.srv.Fail(ewstest.On("*").Chance(0.005), fault)
	}
	for _, fault := range []ewstest.Fault{ewstest.CutAfter(9_000), ewstest.ResetAfter(15_000), ewstest.BusyItems(5, time.Second)} {
		c.srv.Fail(ewstest.On("GetItem").Chance(0.01), fault)
	}
}

// check holds against each other what is in the archive: every part of every log is whole and follows the one before, and
// every message that a log names is there, octet for octet under its digest.
func (c *crash) check(t *testing.T) {
	t.Helper()
	s := fileStore(t, c.dir)
	for _, box := range append(c.boxes, denied) {
		number, last := int64(0), c.checked[box]
		if c.logged[box] == nil {
			c.logged[box] = make(map[string]string)
		}
		for section, err := range mirrored.NewArchive(s).Log(t.Context(), box) {
			if err != nil {
				t.Fatal(err)
			}
			if number++; section.Number != number || section.Checkpoint == "" || section.Entries != len(section.Changes) {
				t.Errorf("%s: part %d: got %+v", box, number, section.Part)
			}
			if number <= last { // it never changes
				continue
			}
			c.checked[box] = number
			for _, e := range section.Changes {
				switch e.Op {
				case "removed":
					delete(c.logged[box], e.Ref.ID)
				case "added":
					data, err := os.ReadFile(filepath.Join(c.dir, filepath.FromSlash(e.Key)))
					if err != nil || int64(len(data)) != e.Size || mirrored.MessageKey(data) != e.Key {
						t.Errorf("%s: the log is ahead of what is stored: %s: %d octets, %v", box, e.Key, len(data), err)
					}
					c.logged[box][e.Ref.ID] = e.Key
				}
			}
		}
		if number < last {
			t.Errorf("%s: the log has lost its parts behind %d of %d", box, number, last)
		}
	}
}

// whole fails the test unless the log of a mailbox has exactly what the server has. That each key leads to its octets was
// checked.
func (c *crash) whole(t *testing.T, box string) {
	t.Helper()
	count, lost := 0, 0
	for _, folder := range []string{"Inbox", "Inbox/Sub"} {
		for _, m := range c.srv.Messages(box, folder) {
			count++
			if c.logged[box][m.ID] != mirrored.MessageKey(m.Raw) {
				lost++
			}
		}
	}
	if want := c.sent[box] - c.gone[box]; count != want || lost > 0 || len(c.logged[box]) != count && !c.forgot[box] {
		t.Errorf("%s: %d messages, of which %d are not in the archive; its log has %d, want %d", box, count, lost, len(c.logged[box]), want)
	}
}

// checkpoints asks the server what came behind each checkpoint that a log ever had: with what the log has before it, that
// is all there is.
func (c *crash) checkpoints(t *testing.T, box string) {
	t.Helper()
	conn, err := (&job{options: options{settings: exchange(t, c.srv, nil)}}).openServer()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}()
	parts, entries := logged(t, fileStore(t, c.dir), box)
	stored := make(map[string]bool)
	for _, part := range parts {
		for _, e := range entries[:part.Entries] {
			if e.Op == "added" {
				stored[e.Ref.ID] = true
			}
		}
		entries = entries[part.Entries:]
		behind, err := addedSince(t.Context(), conn, box, part.Checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		for _, folder := range []string{"Inbox", "Inbox/Sub"} {
			for _, m := range c.srv.Messages(box, folder) {
				if !stored[m.ID] && !behind[m.ID] {
					t.Errorf("%s: checkpoint %d is ahead of what was stored: %.60q is lost", box, part.Number, m.Raw)
				}
			}
		}
	}
}

func addedSince(ctx context.Context, conn connection.Syncer, box string, since connection.Checkpoint) (map[string]bool, error) {
	found := make(map[string]bool)
	for change, err := range conn.Sync(ctx, since, &connection.SyncOptions{Mailbox: box}) {
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
	boxes := []string{"ann@corp.test", "bob@corp.test"}
	srv := newServer(t, &ewstest.Options{SyncCap: 50}, boxes...)
	for _, box := range boxes {
		srv.boxes[box].Deliver("Inbox", raws(box, 0, 300)...)
	}
	var once sync.Once
	reached, over := make(chan struct{}), make(chan struct{})
	srv.Fail(ewstest.On("GetItem").Nth(10), ewstest.Rewrite(func(body []byte) []byte {
		once.Do(func() { close(reached) })
		<-over // so that the program cannot end by itself
		return body
	}))
	end := sync.OnceFunc(func() { close(over) })
	t.Cleanup(end)
	dir := t.TempDir()
	args := []string{"-settings", exchange(t, srv, map[string]any{"mailboxes": boxes}), "-to", dir}
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
	for _, box := range boxes {
		wantArchived(t, dir, srv, box, "Inbox")
	}
}
