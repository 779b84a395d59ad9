package gmail_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

func TestReconcileMonitors(t *testing.T) {
	for _, none := range []bool{false, true} {
		opts := &gmailtest.Options{Domains: []string{"other.example"}, Mail: gmailtest.MailOptions{Monitors: gmailtest.MonitorOptions{NoneIsError: none, ListStatus: 200}}}
		watching(t, opts, func(c *gmail.Config, _ *gmail.Options) { c.Exclude = []string{"bob@*"} }, func(t *testing.T, r *changeRig) {
			r.AddUser(gmailtest.User{Email: "carl@corp.example"})
			r.AddUser(gmailtest.User{Email: "dora@corp.example", Suspended: true})
			r.AddUser(gmailtest.User{Email: "eve@other.example"})
			r.AddUser(gmailtest.User{Email: "fred@corp.example"})
			r.AddUser(gmailtest.User{Email: "gina@corp.example"})
			full := gmailtest.Monitor{Destination: "journal", Incoming: gmailtest.FullMessage, Outgoing: gmailtest.FullMessage}
			put := func(source string, end time.Duration, change func(*gmailtest.Monitor)) {
				m := full
				m.Source, m.End = source, time.Now().Add(end)
				if change != nil {
					change(&m)
				}
				r.PutMonitor(m)
			}
			put("ann", 29*day, nil)
			put("carl", 60*day, nil)
			put("fred", 60*day, func(m *gmailtest.Monitor) { m.Drafts = gmailtest.FullMessage })
			put("gina", -day, nil) // it has ended
			stats, err := r.conn.ReconcileMonitors(t.Context())
			if want := (gmail.MonitorStats{Users: 4, Created: 1, Renewed: 2}); err != nil || stats != want {
				t.Errorf("got %+v, %v; want %+v", stats, err, want)
			}
			for _, m := range r.Monitors() {
				if life := time.Until(m.End); (life > 300*day) != (m.Source != "carl") || m.Drafts != "" {
					t.Errorf("%s: ends in %s, drafts %q", m.Source, life, m.Drafts)
				}
			}
			if got := r.sources(); !slices.Equal(got, []string{"ann", "carl", "fred", "gina"}) {
				t.Errorf("monitored: %q", got)
			}
			if n := r.MonitorWrites(); n != 3 {
				t.Errorf("%d writes, want 3", n)
			}
			// What Google said is believed for a day.
			r.ResetLog()
			if stats, err := r.conn.ReconcileMonitors(t.Context()); err != nil || stats != (gmail.MonitorStats{Users: 4}) || r.Calls("audit") != 0 {
				t.Errorf("again: %+v, %v, the feed was asked %d times", stats, err, r.Calls("audit"))
			}
			r.DropMonitor("carl", "journal")
			<-time.After(day)
			if stats, err := r.conn.ReconcileMonitors(t.Context()); err != nil || stats != (gmail.MonitorStats{Users: 4, Created: 1}) {
				t.Errorf("a day later: %+v, %v", stats, err)
			}
		})
	}
}

func TestG65DestinationIsNoSource(t *testing.T) {
	watching(t, nil, func(c *gmail.Config, _ *gmail.Options) {
		c.Include = []string{"journal@corp.example", "ann@corp.example"}
	}, func(t *testing.T, r *changeRig) {
		stats, err := r.conn.ReconcileMonitors(t.Context())
		if err != nil || stats != (gmail.MonitorStats{Users: 1, Created: 1}) || !slices.Equal(r.sources(), []string{"ann"}) {
			t.Errorf("got %+v, %v; monitored: %q", stats, err, r.sources())
		}
	})
}

// The budget of a day outlives the process; what is left is done on the days that follow, those without a monitor first.
func TestG36BudgetSpent(t *testing.T) {
	state := &memoryState{}
	watching(t, nil, func(c *gmail.Config, o *gmail.Options) { c.Monitors.DailyWrites, o.State = 4, state }, func(t *testing.T, r *changeRig) {
		for i := range 7 {
			r.AddUser(gmailtest.User{Email: fmt.Sprintf("user%d@corp.example", i)})
		}
		r.PutMonitor(gmailtest.Monitor{Source: "ann", Destination: "journal", End: time.Now().Add(20 * day), Incoming: gmailtest.FullMessage, Outgoing: gmailtest.FullMessage})
		r.PutMonitor(gmailtest.Monitor{Source: "bob", Destination: "journal", End: time.Now().Add(10 * day), Incoming: gmailtest.FullMessage, Outgoing: gmailtest.FullMessage})
		pass := func(want gmail.MonitorStats, writes int) {
			t.Helper()
			r.conn = r.open(t) // another process
			stats, err := r.conn.ReconcileMonitors(t.Context())
			if want.Users = 9; err != nil || stats != want {
				t.Errorf("got %+v, %v; want %+v", stats, err, want)
			}
			if n := r.MonitorWrites(); n != writes {
				t.Errorf("%d writes on this day, want %d", n, writes)
			}
		}
		pass(gmail.MonitorStats{Created: 4, Pending: 5}, 4)
		told := r.told(connection.EventThrottled)
		if len(told) != 1 || told[0].Count != 5 || !strings.Contains(told[0].Detail, "5 pending") || !told[0].Until.After(time.Now()) {
			t.Errorf("told %+v, want 5 pending", told)
		}
		pass(gmail.MonitorStats{Pending: 5}, 4)
		_, err := r.conn.SetMonitor(t.Context(), "user6@corp.example")
		failedRefs(t, err, connection.ErrQuota)
		if wait := connection.RetryAfter(err); wait <= 0 || wait > day {
			t.Errorf("wait %s, want the rest of the day", wait)
		}
		<-time.After(day)
		pass(gmail.MonitorStats{Created: 3, Renewed: 1, Pending: 1}, 4)
		if ends := r.Monitors()[1].End; time.Until(ends) < 300*day {
			t.Errorf("bob's, which ends first, ends in %s", time.Until(ends))
		}
		<-time.After(day)
		pass(gmail.MonitorStats{Renewed: 1}, 1)
	})
}

// Each attempt counts, also one that fails or whose answer is lost.
func TestG36EachAttemptCounts(t *testing.T) {
	watching(t, nil, func(c *gmail.Config, _ *gmail.Options) { c.Monitors.DailyWrites = 3 }, func(t *testing.T, r *changeRig) {
		r.Fail(gmailtest.On("audit").Nth(1).Times(2), gmailtest.Lose())
		if _, err := r.conn.SetMonitor(t.Context(), "ann@corp.example"); err != nil {
			t.Fatal(err)
		}
		_, err := r.conn.SetMonitor(t.Context(), "bob@corp.example")
		failedRefs(t, err, connection.ErrQuota)
		if n := r.MonitorWrites(); n != 3 {
			t.Errorf("%d writes, want 3", n)
		}
	})
}

// Without a durable count nothing is written.
func TestBudgetThatCannotBeKept(t *testing.T) {
	state := &memoryState{fails: errHost}
	watching(t, nil, func(_ *gmail.Config, o *gmail.Options) { o.State = state }, func(t *testing.T, r *changeRig) {
		if _, err := r.conn.SetMonitor(t.Context(), "ann@corp.example"); !errors.Is(err, errHost) {
			t.Errorf("got %v, want the host's error", err)
		}
		if n := r.MonitorWrites(); n != 0 {
			t.Errorf("%d writes", n)
		}
		state.fails = nil
	})
}

// State that nobody understands costs nothing but questions.
func TestStrangeMonitorState(t *testing.T) {
	state := &memoryState{}
	watching(t, nil, func(_ *gmail.Config, o *gmail.Options) { o.State = state }, func(t *testing.T, r *changeRig) {
		if _, err := r.conn.ReconcileMonitors(t.Context()); err != nil {
			t.Fatal(err)
		}
		for key := range state.copied() {
			if err := state.Save(t.Context(), key, []byte(`{"v":99,"users":3}`)); err != nil {
				t.Fatal(err)
			}
		}
		r.conn = r.open(t)
		if stats, err := r.conn.ReconcileMonitors(t.Context()); err != nil || stats != (gmail.MonitorStats{Users: 2}) {
			t.Errorf("got %+v, %v", stats, err)
		}
	})
}

func TestRemoveDeparted(t *testing.T) {
	for _, remove := range []bool{false, true} {
		t.Run(fmt.Sprint(remove), func(t *testing.T) {
			state := &memoryState{}
			watching(t, nil, func(c *gmail.Config, o *gmail.Options) { c.Monitors.RemoveDeparted, o.State = remove, state }, func(t *testing.T, r *changeRig) {
				for _, name := range []string{"carl", "dora", "eve"} {
					r.AddUser(gmailtest.User{Email: name + "@corp.example"})
				}
				if stats, err := r.conn.ReconcileMonitors(t.Context()); err != nil || stats.Created != 5 {
					t.Fatalf("got %+v, %v", stats, err)
				}
				r.Suspend("carl@corp.example", true) // she may come back
				r.RemoveUser("dora@corp.example")
				r.RenameUser("eve@corp.example", "eva@corp.example")
				r.cfg.Exclude = []string{"bob@corp.example"}
				r.conn = r.open(t)
				want := []string{"ann", "bob", "carl", "dora", "eve"}
				if remove {
					want = []string{"ann", "carl", "dora", "eve"}
				}
				stats, err := r.conn.ReconcileMonitors(t.Context())
				got := slices.DeleteFunc(r.sources(), func(s string) bool { return s == "eva" })
				if err != nil || (stats.Removed == 1) != remove || !slices.Equal(got, want) {
					t.Errorf("got %+v, %v; monitored: %q, want %q", stats, err, got, want)
				}
			})
		})
	}
}

// A directory that is not read to its end removes nobody's monitor.
func TestRemoveDepartedNeedsTheWholeDirectory(t *testing.T) {
	state := &memoryState{}
	watching(t, nil, func(c *gmail.Config, o *gmail.Options) {
		c.Monitors.RemoveDeparted, c.Retries, o.State = true, 2, state
	}, func(t *testing.T, r *changeRig) {
		if _, err := r.conn.ReconcileMonitors(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.conn = r.open(t)
		r.Fail(gmailtest.On("users.list"), gmailtest.Refuse(503, "backendError", "Backend Error"))
		_, err := r.conn.ReconcileMonitors(t.Context())
		failedRefs(t, err, connection.ErrUnavailable)
		if got := r.sources(); !slices.Equal(got, []string{"ann", "bob"}) {
			t.Errorf("monitored: %q", got)
		}
	})
}
