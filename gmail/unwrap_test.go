package gmail_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

const watched = "From: Eve <eve@out.example>\r\nTo: Ann <ann@corp.example>, bob@corp.example\r\nSubject: lunch\r\nMessage-ID: <1@out.example>\r\n\r\nAt noon? \xff\r\n--not-ours\r\n"

// fetched reads what Fetch gives of the destination.
func fetched(t *testing.T, r *changeRig) (all []connection.Message, bodies []string) {
	t.Helper()
	for m, err := range r.conn.Fetch(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(m.Body)
		if err != nil {
			t.Fatal(err)
		}
		if m.Size != int64(len(raw)) {
			t.Errorf("size: got %d, want %d", m.Size, len(raw))
		}
		all, bodies = append(all, *m), append(bodies, string(raw))
	}
	return all, bodies
}

func TestG64Wrappers(t *testing.T) {
	no := false
	for _, test := range []struct {
		style  gmailtest.CopyStyle
		level  string
		keep   bool // unwrap: false
		opened bool
	}{
		{style: gmailtest.CopyDefault, opened: true},
		{style: gmailtest.CopyBase64, opened: true},
		{style: gmailtest.CopyNested, opened: true}, // by one layer: the message in it is a copy itself
		{style: gmailtest.CopyNone},
		{style: gmailtest.CopyTwice},
		{style: gmailtest.CopyBare},
		{style: gmailtest.CopyDefault, keep: true},
	} {
		name := string(test.style)
		if test.keep {
			name += ", unwrap: false"
		}
		t.Run(name, func(t *testing.T) {
			opts := &gmailtest.Options{Mail: gmailtest.MailOptions{Monitors: gmailtest.MonitorOptions{Copies: test.style}}}
			watching(t, opts, func(c *gmail.Config, _ *gmail.Options) {
				if test.keep {
					c.Monitors.Unwrap = &no
				}
			}, func(t *testing.T, r *changeRig) {
				if _, err := r.conn.SetMonitor(t.Context(), "ann@corp.example"); err != nil {
					t.Fatal(err)
				}
				r.Deliver("ann@corp.example", []byte(watched))
				copies := r.Messages("journal@corp.example")
				if len(copies) != 1 {
					t.Fatalf("the destination has %d messages, want 1", len(copies))
				}
				all, bodies := fetched(t, r)
				if len(all) != 1 {
					t.Fatalf("got %d messages, want 1", len(all))
				}
				switch {
				case !test.opened:
					if bodies[0] != string(copies[0].Raw) || all[0].Envelope != nil {
						t.Errorf("got %q (%+v), want the copy as it is", bodies[0], all[0].Envelope)
					}
				case test.style == gmailtest.CopyNested:
					if !strings.Contains(string(copies[0].Raw), bodies[0]) || !strings.Contains(bodies[0], watched) || bodies[0] == watched {
						t.Errorf("got %q, want the copy in the copy", bodies[0])
					}
				default:
					if bodies[0] != watched {
						t.Errorf("got %q, want %q", bodies[0], watched)
					}
				}
				if e := all[0].Envelope; test.opened && (e == nil || e.From != "ann@corp.example" || !slices.Equal(e.To, []string{"ann@corp.example", "bob@corp.example"})) {
					t.Errorf("envelope: got %+v", e)
				}
				if n := len(r.told(connection.EventQuirk)); (n > 0) != (!test.opened && !test.keep) {
					t.Errorf("told of %d quirks", n)
				}
				m, err := r.conn.Open(t.Context(), all[0].Ref)
				if err != nil {
					t.Fatal(err)
				}
				again, err := io.ReadAll(m.Body)
				if err != nil || string(again) != bodies[0] {
					t.Errorf("opened again: %q, %v", again, err)
				}
				if err := m.Body.(io.Closer).Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A drained destination is empty, and each message is in the archive as its mailbox had it.
func TestDrainDestination(t *testing.T) {
	watching(t, nil, nil, func(t *testing.T, r *changeRig) {
		if _, err := r.conn.ReconcileMonitors(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := numbered(20)
		r.Deliver("ann@corp.example", want[:10]...)
		r.Deliver("bob@corp.example", want[10:]...)
		// Google may take copies for spam.
		copies := r.Messages("journal@corp.example")
		r.SetLabels("journal@corp.example", copies[3].ID, []string{"SPAM"}, []string{"INBOX"})
		var got []string
		sink := func(_ context.Context, m *connection.Message) error {
			raw, err := io.ReadAll(m.Body)
			got = append(got, string(raw))
			return err
		}
		if _, err := connection.Drain(t.Context(), r.conn, sink, nil); err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		var all []string
		for _, raw := range want {
			all = append(all, string(raw))
		}
		slices.Sort(all)
		if !slices.Equal(got, all) {
			t.Errorf("the archive has %d messages, want %d", len(got), len(all))
		}
		if left := r.ids("journal@corp.example"); len(left) != 0 {
			t.Errorf("left: %q", left)
		}
		if left := len(r.ids("ann@corp.example")) + len(r.ids("bob@corp.example")); left != 20 {
			t.Errorf("the users have %d messages, want all 20", left)
		}
	})
}

// Fetch with Follow sets up monitors before it reads, and daily, and goes on reading when that fails.
func TestFollowKeepsMonitors(t *testing.T) {
	watching(t, nil, nil, func(t *testing.T, r *changeRig) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		bodies := make(chan string)
		ended := make(chan error)
		go func() {
			var last error
			for m, err := range r.conn.Fetch(ctx, &connection.FetchOptions{Follow: true}) {
				if err != nil {
					last = err
					continue
				}
				raw, _ := io.ReadAll(m.Body)
				bodies <- string(raw)
			}
			ended <- last
		}()
		read := func(want string) {
			t.Helper()
			if got := <-bodies; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		r.until(t, func() bool { return len(r.sources()) == 2 })
		r.Deliver("ann@corp.example", []byte(watched))
		read(watched)
		r.AddUser(gmailtest.User{Email: "carl@corp.example"})
		r.until(t, func() bool { return len(r.sources()) == 3 })
		r.SetGone(gmailtest.Gone410)
		r.until(t, func() bool { return len(r.told(connection.EventNotice)) > 0 })
		r.Deliver("carl@corp.example", []byte(watched))
		read(watched)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want it to be canceled", err)
		}
	})
}
