package pop3client_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/pop3client"
	"github.com/mailconn/mailconn/pop3client/pop3test"
)

func deleting(cfg pop3client.Config, every int) pop3client.Config {
	cfg.DeleteMode, cfg.ExpungeEvery = pop3client.DeleteDelete, every
	return cfg
}

// names returns the commands that were received, without those before and after.
func names(srv *pop3test.Server, patterns ...string) string {
	var all []string
	for _, c := range srv.Transcript(patterns...) {
		all = append(all, c.String())
	}
	return strings.Join(all, " ")
}

func left(srv *pop3test.Server) []string { return texts(octets(srv.Messages())) }

func TestDeleteModeNone(t *testing.T) {
	srv := pop3test.NewServer(t, nil)
	srv.Deliver(letters(1)...)
	c := open(t, srv.Config(), nil)
	err := c.Delete(t.Context(), collect(t, c, nil)[0].Ref)
	if e := theError(t, err, connection.ErrConfig); !strings.HasPrefix(e.Hint, "delete_mode") {
		t.Errorf("hint %q", e.Hint)
	}
	if got := names(srv, "DELE"); got != "" || len(left(srv)) != 1 {
		t.Errorf("sent %q", got)
	}
}

// The connection is lost after DELEs and before QUIT: nothing is deleted, and the next session marks again and fetches
// none of them again.
func TestDropBeforeQuit(t *testing.T) {
	srv := pop3test.NewServer(t, nil)
	srv.Deliver(letters(4)...)
	c := open(t, deleting(srv.Config(), 500), nil)
	all := collect(t, c, nil)
	if err := c.Delete(t.Context(), all[0].Ref, all[2].Ref); err != nil {
		t.Fatal(err)
	}
	srv.CloseConnections()
	if len(left(srv)) != 4 {
		t.Fatalf("%d messages are left, want 4", len(left(srv)))
	}
	before := len(srv.Transcript("RETR"))
	wantBodies(t, bodies(t, collect(t, c, nil)), all[1].Raw, all[3].Raw)
	if n := len(srv.Transcript("RETR")) - before; n != 2 {
		t.Errorf("%d messages were retrieved again, want 2", n)
	}
	if err := c.Close(); err != nil || !slices.Equal(left(srv), []string{all[1].Raw, all[3].Raw}) {
		t.Errorf("left %q: %v", left(srv), err)
	}
}

// The reply to QUIT is lost, before or after the server obeyed, or says that not all is deleted. The next session tells.
func TestQuitInDoubt(t *testing.T) {
	for name, spoil := range map[string]func(*pop3test.Server){
		"dropped":       func(s *pop3test.Server) { s.Drop("QUIT", 1) },
		"reply lost":    func(s *pop3test.Server) { s.LoseReply("QUIT", 1) },
		"refused":       func(s *pop3test.Server) { s.Fail("QUIT", "-ERR some deleted messages not removed", 1) },
		"refused often": func(s *pop3test.Server) { s.Fail("QUIT", "-ERR [SYS/TEMP] later", 3) },
	} {
		for _, every := range []int{0, 2, 500} {
			t.Run(name, func(t *testing.T) {
				srv := pop3test.NewServer(t, nil)
				srv.Deliver(letters(4)...)
				c := open(t, deleting(srv.Config(), every), nil)
				all := collect(t, c, nil)
				spoil(srv)
				if err := c.Delete(t.Context(), all[0].Ref, all[2].Ref); err != nil {
					t.Fatal(err)
				}
				if every != 500 && len(left(srv)) != 2 {
					t.Errorf("nil, and %d messages are left", len(left(srv)))
				}
				wantBodies(t, bodies(t, collect(t, c, nil)), all[1].Raw, all[3].Raw)
				if err := c.Close(); err != nil || !slices.Equal(left(srv), []string{all[1].Raw, all[3].Raw}) {
					t.Errorf("left %q: %v", left(srv), err)
				}
			})
		}
	}
}

// The server deletes one of two and says so. The other is deleted in the next session.
func TestQuitDeletesSome(t *testing.T) {
	once := true
	srv := pop3test.NewServer(t, &pop3test.Options{Quirks: pop3test.Quirks{Commit: func(n int) bool {
		refuse := once && n == 1
		once = once && !refuse
		return !refuse
	}}})
	srv.Deliver(letters(3)...)
	c := open(t, emptying(srv.Config()), nil)
	all := collect(t, c, nil)
	if err := c.Delete(t.Context(), all[0].Ref, all[1].Ref); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(left(srv), []string{all[2].Raw}) {
		t.Errorf("left %q", left(srv))
	}
	if n := len(srv.Transcript("RETR")); n != 3 {
		t.Errorf("%d RETRs, want 3", n)
	}
}

// Close cannot commit: it says so, and how many messages are concerned.
func TestCloseUncertain(t *testing.T) {
	srv := pop3test.NewServer(t, nil)
	srv.Deliver(letters(2)...)
	c := open(t, deleting(srv.Config(), 500), nil)
	all := collect(t, c, nil)
	if err := c.Delete(t.Context(), all[0].Ref, all[1].Ref); err != nil {
		t.Fatal(err)
	}
	srv.Drop("QUIT")
	e := theError(t, c.Close(), connection.ErrUncertain)
	if !strings.Contains(e.Error(), "2 stored messages") {
		t.Errorf("got %v", e)
	}
	if err := c.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// Delete itself cannot commit: the error is about the messages of this call, and the call may be repeated.
func TestDeleteUncertain(t *testing.T) {
	srv := pop3test.NewServer(t, nil)
	srv.Deliver(letters(2)...)
	c := open(t, emptying(srv.Config()), nil)
	all := collect(t, c, nil)
	srv.Drop("QUIT")
	err := c.Delete(t.Context(), all[0].Ref)
	if e := theError(t, err, connection.ErrUncertain); e.Ref != all[0].Ref {
		t.Errorf("about %v", e.Ref)
	}
	srv.ClearFaults()
	if err := c.Delete(t.Context(), all[0].Ref); err != nil || len(left(srv)) != 1 {
		t.Errorf("%d left: %v", len(left(srv)), err)
	}
}

func TestExpungeEvery(t *testing.T) {
	for every, want := range map[int]int{0: 1, 1: 6, 3: 2, 500: 1} {
		srv := pop3test.NewServer(t, nil)
		srv.Deliver(letters(6)...)
		c := open(t, deleting(srv.Config(), every), nil)
		for m, err := range c.Fetch(t.Context(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Delete(t.Context(), m.Ref); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		// A commit is a QUIT with a DELE since the one before.
		commits, marked := 0, false
		for _, cmd := range srv.Transcript("DELE", "QUIT") {
			if cmd.Name == "QUIT" && marked {
				commits++
			}
			marked = cmd.Name == "DELE"
		}
		if commits != want || len(left(srv)) != 0 {
			t.Errorf("expunge_every %d: %d commits, want %d; %d messages left: %s", every, commits, want, len(left(srv)), names(srv, "DELE", "QUIT"))
		}
		if n := len(srv.Transcript("RETR")); n != 6 {
			t.Errorf("expunge_every %d: %d RETRs, want 6", every, n)
		}
	}
}

// A session with marks that nobody uses any more is committed after a moment, without Close.
func TestLingeringCommits(t *testing.T) {
	srv := pop3test.NewServer(t, nil)
	srv.Deliver(letters(2)...)
	c := open(t, deleting(srv.Config(), 500), nil)
	if err := c.Delete(t.Context(), collect(t, c, nil)[0].Ref); err != nil {
		t.Fatal(err)
	}
	if len(left(srv)) != 2 {
		t.Fatal("committed at once")
	}
	eventually(t, "the commit", func() bool { return len(left(srv)) == 1 })
}

// LOGIN-DELAY: sub-sessions wait, and none is refused.
func TestLoginDelay(t *testing.T) {
	srv := pop3test.NewServer(t, &pop3test.Options{LoginDelay: time.Second})
	srv.Deliver(letters(4)...)
	c := open(t, deleting(srv.Config(), 2), nil)
	began := time.Now()
	n := 0
	for m, err := range c.Fetch(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(t.Context(), m.Ref); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	took, logins := time.Since(began), srv.Logins()
	if n != 4 || len(left(srv)) != 0 || logins < 2 || took < time.Duration(logins-1)*time.Second {
		t.Errorf("%d messages, %d left, %d logins in %s", n, len(left(srv)), logins, took)
	}
	if tried := len(srv.Transcript("AUTH", "PASS")); tried != logins {
		t.Errorf("%d logins were refused", tried-logins)
	}
}

// A LOGIN-DELAY of minutes does not keep an import waiting at its end, nor Close.
func TestLongLoginDelay(t *testing.T) {
	srv := pop3test.NewServer(t, &pop3test.Options{LoginDelay: 10 * time.Minute})
	srv.Deliver(letters(3)...)
	c := open(t, deleting(srv.Config(), 500), nil)
	all := collect(t, c, nil) // it has a minute
	if err := c.Delete(t.Context(), all[0].Ref); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if got := left(srv); !slices.Equal(got, []string{all[1].Raw, all[2].Raw}) || srv.Logins() != 1 {
		t.Errorf("left %q after %d logins", got, srv.Logins())
	}
}

// With Follow, mail is fetched and deleted as it comes.
func TestFollowDeletes(t *testing.T) {
	srv := pop3test.NewServer(t, nil)
	cfg := deleting(srv.Config(), 500)
	cfg.PollingIdleMax = connection.Duration(50 * time.Millisecond)
	c := open(t, cfg, nil)
	srv.Deliver(letters(1)...)
	n := 0
	for m, err := range c.Fetch(t.Context(), &connection.FetchOptions{Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(t.Context(), m.Ref); err != nil {
			t.Fatal(err)
		}
		if n++; n == 5 {
			break
		}
		srv.Deliver(letters(1)...)
	}
	if err := c.Close(); err != nil || len(left(srv)) != 0 {
		t.Errorf("%d left: %v", len(left(srv)), err)
	}
	if r := len(srv.Transcript("RETR")); r != 5 {
		t.Errorf("%d RETRs, want 5", r)
	}
	noGoroutines(t)
}

// A journal is drained while connections break: nothing is lost, and nothing stays.
func TestDrain(t *testing.T) {
	srv := pop3test.NewServer(t, nil)
	srv.Deliver(letters(300)...)
	srv.CutAfter(5_000)
	srv.CutAfter(12_000)
	c := open(t, deleting(srv.Config(), 50), nil)
	a := &vault{}
	if _, err := connection.Drain(t.Context(), c, a.store, &connection.DrainOptions{Workers: 4, RetryDelay: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Close(), a.complete(letters(300))); err != nil || len(left(srv)) != 0 {
		t.Errorf("%d left: %v", len(left(srv)), err)
	}
}
