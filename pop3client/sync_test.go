package pop3client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/peertest"
	"github.com/mailconn/mailconn/pop3client"
	"github.com/mailconn/mailconn/pop3client/pop3test"
)

// A keeper is what a host keeps of a mailbox: the messages, each under its Ref, and how often each came.
type keeper struct {
	connection.MemoryCheckpoints

	mu      sync.Mutex
	all     map[connection.Ref]string
	came    map[string]int // by octets
	removed int
	fail    func(*connection.Change) error // nil, or asked first
}

func (k *keeper) Store(_ context.Context, _ string, c *connection.Change) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		if err := k.fail(c); err != nil {
			return err
		}
	}
	if k.all == nil {
		k.all, k.came = make(map[connection.Ref]string), make(map[string]int)
	}
	switch c.Op {
	case connection.Added:
		raw, err := io.ReadAll(c.Message.Body)
		if err != nil {
			return err
		}
		k.all[c.Ref] = string(raw)
		k.came[string(raw)]++
	case connection.Removed:
		k.removed++
		delete(k.all, c.Ref)
	}
	return nil
}

func (k *keeper) Known(_ context.Context, _ string, refs []connection.Ref) ([]bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	has := make([]bool, len(refs))
	for i, ref := range refs {
		_, has[i] = k.all[ref]
	}
	return has, nil
}

// holds fails the test unless exactly the messages given are kept, and each came once.
func (k *keeper) holds(t testing.TB, raws [][]byte) {
	t.Helper()
	got, want := slices.Sorted(maps.Values(k.all)), texts(raws)
	slices.Sort(want)
	wantBodies(t, got, want...)
	for raw, n := range k.came {
		if n != 1 {
			t.Errorf("%.30q came %d times", raw, n)
		}
	}
}

// mirror is one life of a program that mirrors: it starts, brings k in step, and ends.
func mirror(t testing.TB, cfg pop3client.Config, env *connection.Env, k *keeper) (connection.MirrorStats, error) {
	t.Helper()
	c, err := pop3client.Open(cfg, env)
	if err != nil {
		return connection.MirrorStats{}, err
	}
	stats, err := connection.Mirror(t.Context(), c, k, k, &connection.MirrorOptions{RetryDelay: time.Millisecond})
	return stats, errors.Join(err, c.Close())
}

func mustMirror(t testing.TB, cfg pop3client.Config, k *keeper) connection.MirrorStats {
	t.Helper()
	stats, err := mirror(t, cfg, nil, k)
	if err != nil {
		t.Fatal(err)
	}
	return stats
}

// Mail is archived and stays on the server. The program is started again and again: nothing is fetched twice, nothing is
// missed, and what others delete is told.
func TestLeaveOnServer(t *testing.T) {
	for name, without := range map[string][]string{"UIDL": nil, "no PIPELINING": {"PIPELINING"}, "no UIDL": {"UIDL"}, "no UIDL, no TOP": {"UIDL", "TOP"}} {
		t.Run(name, func(t *testing.T) {
			srv := pop3test.NewServer(t, &pop3test.Options{Without: without})
			raws := letters(60)
			uidls := srv.Deliver(raws[:40]...)
			k := &keeper{}
			for _, want := range []int64{40, 0, 0} {
				if stats := mustMirror(t, srv.Config(), k); stats.Added != want {
					t.Errorf("%d messages came, want %d", stats.Added, want)
				}
				k.holds(t, raws[:40])
			}
			srv.Deliver(raws[40:]...)
			srv.Remove(uidls[3])
			srv.Remove(uidls[39])
			now := slices.Concat(raws[:3], raws[4:39], raws[40:])
			if stats := mustMirror(t, srv.Config(), k); stats.Added != 20 || stats.Removed != 2 {
				t.Errorf("got %+v, want 20 messages added and 2 removed", stats)
			}
			k.holds(t, now)
			if stats := mustMirror(t, srv.Config(), k); stats.Added+stats.Removed != 0 || stats.Checkpoints != 0 {
				t.Errorf("got %+v, want nothing", stats)
			}
			if got := names(srv, "DELE"); got != "" || len(left(srv)) != len(now) {
				t.Errorf("%d messages are left of %d; sent %q", len(left(srv)), len(now), got)
			}
			if n := len(srv.Transcript("RETR")); name == "UIDL" && n != 60 {
				t.Errorf("%d RETRs, want 60", n)
			}
		})
	}
}

// A host that deletes what it has mirrored is told that it is gone, and fetches nothing again.
func TestSyncWithDeletes(t *testing.T) {
	srv := pop3test.NewServer(t, nil)
	srv.Deliver(letters(20)...)
	c := open(t, deleting(srv.Config(), 5), nil)
	var cp connection.Checkpoint
	for round := range 3 {
		added, removed := 0, 0
		for change, err := range c.Sync(t.Context(), cp, nil) {
			if err != nil {
				t.Fatal(err)
			}
			switch change.Op {
			case connection.Added:
				if added++; added%2 == 0 {
					if err := c.Delete(t.Context(), change.Ref); err != nil {
						t.Fatal(err)
					}
				}
			case connection.Removed:
				removed++
			}
			if change.Checkpoint != "" {
				cp = change.Checkpoint
			}
		}
		if round == 0 && added != 20 || round > 0 && added != 0 {
			t.Errorf("round %d: %d added", round, added)
		}
	}
	if err := c.Close(); err != nil || len(left(srv)) != 10 || len(srv.Transcript("RETR")) != 20 {
		t.Errorf("%d left, %d RETRs: %v", len(left(srv)), len(srv.Transcript("RETR")), err)
	}
	k := &keeper{}
	if err := k.Save(t.Context(), pop3test.DefaultUsername, "", cp); err != nil {
		t.Fatal(err)
	}
	if stats := mustMirror(t, srv.Config(), k); stats.Added != 0 {
		t.Errorf("got %+v, want nothing added", stats)
	}
}

// The program ends after each change in turn, and once between storing and saving. The next one brings what is missing,
// and nothing more than that again.
func TestMirrorStoppedAtEachChange(t *testing.T) {
	raws := letters(40)
	stop := errors.New("stopped")
	for at := 1; at <= len(raws); at += 3 {
		srv := pop3test.NewServer(t, nil)
		srv.Deliver(raws...)
		k := &keeper{}
		k.fail = func(*connection.Change) error {
			if len(k.all) == at {
				return stop
			}
			return nil
		}
		if _, err := mirror(t, srv.Config(), nil, k); !errors.Is(err, stop) && at < len(raws) {
			t.Fatalf("stopped at %d: %v", at, err)
		}
		k.fail = nil
		stats := mustMirror(t, srv.Config(), k)
		got, want := slices.Sorted(maps.Values(k.all)), texts(raws)
		slices.Sort(want)
		wantBodies(t, got, want...)
		// A Checkpoint follows each 16th part of the mailbox.
		if again := int(stats.Added) - (len(raws) - at); again < 0 || again > 1+at/16 {
			t.Errorf("stopped after %d of %d: %d came again", at, len(raws), again)
		}
	}
}

// The line is cut after each octet of a whole Mirror, in one life of a program and then there is the next: nothing is
// missing in the end, nothing is torn, and nothing is deleted.
func TestMirrorCutAtEveryOctet(t *testing.T) {
	raws := letters(6)
	cfg := func(srv *pop3test.Server) pop3client.Config {
		cfg := srv.Config()
		cfg.AuthMechanisms = []string{"user-pass"}
		return cfg
	}
	whole := pop3test.NewServer(t, &pop3test.Options{Mode: connection.ModeInsecure})
	whole.Deliver(raws...)
	mustMirror(t, cfg(whole), &keeper{})
	total, step := whole.Sent()[0], int64(1)
	if testing.Short() {
		step = 23
	}
	cut := func(at int64) error {
		srv, err := pop3test.Listen(&pop3test.Options{Mode: connection.ModeInsecure})
		if err != nil {
			return err
		}
		defer srv.Close()
		srv.Deliver(raws...)
		srv.CutAfter(at)
		k := &keeper{}
		_, first := mirror(t, cfg(srv), nil, k)
		srv.ClearFaults()
		if _, err := mirror(t, cfg(srv), nil, k); err != nil {
			return fmt.Errorf("%w (before that: %s)", err, fmt.Sprint(first))
		}
		got, want := slices.Sorted(maps.Values(k.all)), texts(raws)
		slices.Sort(want)
		if !slices.Equal(got, want) || len(srv.Messages()) != len(raws) || k.removed > 0 {
			return fmt.Errorf("%d kept, %d left, %d removed", len(got), len(srv.Messages()), k.removed)
		}
		return nil
	}
	const atOnce = 8 // they mostly wait
	var wg sync.WaitGroup
	for worker := range int64(atOnce) {
		wg.Go(func() {
			for at := worker * step; at <= total && !t.Failed(); at += atOnce * step {
				if err := cut(at); err != nil {
					t.Errorf("cut after %d of %d octets: %v", at, total, err)
				}
			}
		})
	}
	wg.Wait()
}

// A message that cannot be read, or is too large, is an error of its own; it holds no other back, and comes when it can.
func TestSyncOfABadMessage(t *testing.T) {
	srv := pop3test.NewServer(t, nil)
	raws := append(letters(5), bytes.Repeat([]byte("large\r\n"), 1000))
	uidls := srv.Deliver(raws...)
	srv.Fail("RETR 2", "-ERR [SYS/TEMP] later", 100)
	cfg := srv.Config()
	cfg.MaxMessage = 1000
	k := &keeper{}
	if _, err := mirror(t, cfg, nil, k); !errors.Is(err, connection.ErrTooLarge) && !errors.Is(err, connection.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	k.holds(t, slices.Concat(raws[:1], raws[2:5]))
	srv.ClearFaults()
	cfg.MaxMessage = 0
	mustMirror(t, cfg, k)
	k.holds(t, raws)
	if n := len(uidls); n != len(k.all) {
		t.Errorf("%d kept, want %d", len(k.all), n)
	}
}

// The Checkpoint of a large mailbox is of bearable length, and going on from it reads no message.
func TestCheckpointOfALargeMailbox(t *testing.T) {
	srv := pop3test.NewServer(t, nil)
	const n = 5000
	srv.Deliver(letters(n)...)
	total, last := 0, connection.Checkpoint("")
	c := open(t, srv.Config(), nil)
	for change, err := range c.Sync(t.Context(), "", nil) {
		if err != nil {
			t.Fatal(err)
		}
		if change.Checkpoint != "" {
			total, last = total+len(change.Checkpoint), change.Checkpoint
		}
	}
	t.Logf("%d messages: the last checkpoint has %d octets, all together %d", n, len(last), total)
	if len(last) > 40*n || total > 20*len(last) {
		t.Errorf("the last checkpoint has %d octets, all together %d", len(last), total)
	}
	before := len(srv.Transcript("RETR", "TOP"))
	for change, err := range c.Sync(t.Context(), last, nil) {
		t.Errorf("got %v, %v", change, err)
	}
	if got := len(srv.Transcript("RETR", "TOP")); got != before {
		t.Errorf("%d messages were read again", got-before)
	}
}

func TestMailboxes(t *testing.T) {
	c := open(t, pop3test.NewServer(t, nil).Config(), nil)
	for match, want := range map[string]int{"": 1, "*@example.org": 1, "x*": 0} {
		n := 0
		for mb, err := range c.Mailboxes(t.Context(), &connection.MailboxOptions{Match: match}) {
			if n++; err != nil || mb.Name != pop3test.DefaultUsername {
				t.Errorf("got %v, %v", mb, err)
			}
		}
		if n != want {
			t.Errorf("%q: got %d mailboxes, want %d", match, n, want)
		}
	}
	for _, err := range c.Mailboxes(t.Context(), &connection.MailboxOptions{Match: "["}) {
		_ = theError(t, err, connection.ErrInvalid)
	}
}

func TestDovecotLeaveOnServer(t *testing.T) {
	srv := dovecot(t, peertest.DovecotOptions{})
	raws := letters(50)
	srv.Deliver(srv.User, raws[:30]...)
	k := &keeper{}
	cfg := dovecotConfig(srv, connection.ModeTLS)
	for _, want := range []int64{30, 0} {
		if stats := mustMirror(t, cfg, k); stats.Added != want {
			t.Errorf("got %+v, want %d added", stats, want)
		}
	}
	c := open(t, emptying(cfg), nil)
	gone := collect(t, c, &connection.FetchOptions{Limit: 2})
	if err := c.Delete(t.Context(), gone[0].Ref, gone[1].Ref); err != nil {
		t.Fatal(err)
	}
	srv.Deliver(srv.User, raws[30:]...)
	if stats := mustMirror(t, cfg, k); stats.Added != 20 || stats.Removed != 2 || len(k.all) != 48 || srv.Count(srv.User, "INBOX") != 48 {
		t.Errorf("got %+v, %d kept, %d there", stats, len(k.all), srv.Count(srv.User, "INBOX"))
	}
}
