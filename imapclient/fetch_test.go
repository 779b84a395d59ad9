package imapclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

func TestFetchOptions(t *testing.T) {
	day := time.Date(2024, 7, 17, 12, 0, 0, 0, time.UTC)
	fill := func(srv *imaptest.Server) {
		srv.DeliverTo("INBOX",
			imaptest.Message{Raw: []byte("old"), Received: day.AddDate(0, 0, -3)},
			imaptest.Message{Raw: []byte("read"), Received: day, Flags: []connection.Flag{connection.FlagSeen}},
			imaptest.Message{Raw: []byte("just before"), Received: day.Add(-time.Second)},
			imaptest.Message{Raw: []byte("a large one"), Received: day.Add(time.Hour)},
			imaptest.Message{Raw: []byte("marked"), Received: day.Add(time.Hour), Flags: []connection.Flag{connection.FlagDeleted}},
		)
		srv.DeliverTo("Archive/2024", imaptest.Message{Raw: []byte("archived")})
	}
	all := []string{"old", "read", "just before", "a large one", "marked"}
	for _, test := range []struct {
		name string
		opts *connection.FetchOptions
		cfg  func(*imapclient.Config)
		want []string
	}{
		{"nil", nil, nil, all},
		{"unseen", &connection.FetchOptions{Unseen: true}, nil, []string{"old", "just before", "a large one", "marked"}},
		{"unread_only", nil, func(c *imapclient.Config) { c.UnreadOnly = true }, []string{"old", "just before", "a large one", "marked"}},
		{"since", &connection.FetchOptions{Since: day}, nil, []string{"read", "a large one", "marked"}},
		{"limit", &connection.FetchOptions{Limit: 2}, nil, []string{"old", "read"}},
		{"limit in the middle of a cycle", &connection.FetchOptions{Limit: 3}, func(c *imapclient.Config) { c.MessagesPerCycle = 2 }, all[:3]},
		{"one a cycle", nil, func(c *imapclient.Config) { c.MessagesPerCycle = 1 }, all},
		{"folders", &connection.FetchOptions{Folders: []string{"Archive/2024", "INBOX"}}, nil, append([]string{"archived"}, all...)},
		{"folders of the settings", nil, func(c *imapclient.Config) { c.Folders = []string{"Archive/2024"} }, []string{"archived"}},
		{"skip", &connection.FetchOptions{Skip: func(r connection.Ref) bool { return strings.HasSuffix(r.ID, ":2") }}, nil, []string{"old", "just before", "a large one", "marked"}},
		{"skip and limit", &connection.FetchOptions{Limit: 1, Skip: func(r connection.Ref) bool { return !strings.HasSuffix(r.ID, ":3") }}, nil, []string{"just before"}},
	} {
		for _, delimiter := range []string{"/", "."} {
			t.Run(test.name+" "+delimiter, func(t *testing.T) {
				srv := imaptest.NewServer(t, &imaptest.Options{Delimiter: delimiter})
				if delimiter == "." {
					srv.DeliverTo("Archive.2024", imaptest.Message{Raw: []byte("archived")})
				}
				fill(srv)
				cfg := srv.Config()
				if test.cfg != nil {
					test.cfg(&cfg)
				}
				before := fmt.Sprint(srv.Messages())
				got := collect(t, open(t, cfg, srv.Env()), test.opts)
				wantBodies(t, bodies(t, got), test.want...)
				for _, f := range got {
					if f.Message.Size != int64(len(f.Raw)) || f.Message.Received.IsZero() || f.Message.Folder != f.Ref.Folder {
						t.Errorf("got %+v", f.Message)
					}
					if f.Raw == "marked" && !slices.Contains(f.Message.Flags, connection.FlagDeleted) {
						t.Error("the flag is not told")
					}
				}
				if after := fmt.Sprint(srv.Messages()); after != before {
					t.Error("the folder was changed")
				}
				if n := len(srv.Transcript("SELECT", "STORE", "EXPUNGE", "CLOSE")); n != 0 {
					t.Errorf("%d commands that could change something", n)
				}
			})
		}
	}
}

// A server compares dates as its own zone has them, which may be 12 hours behind UTC while the caller's is 14 ahead.
func TestSinceInAnotherZone(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver([]byte("now"))
	since := time.Date(2024, 7, 17, 11, 0, 0, 0, time.UTC).In(time.FixedZone("", 14*60*60))
	wantBodies(t, bodies(t, collect(t, open(t, srv.Config(), srv.Env()), &connection.FetchOptions{Since: since})), "now")
	if got := fmt.Sprint(srv.Transcript("UID SEARCH")); !strings.Contains(got, `SINCE "16-Jul-2024"`) {
		t.Errorf("got %s, want a search from 16 July", got)
	}
}

// 9, 34: a size policy holds for what the server says of a size and for what a size is; a wrong size harms nothing.
func TestMaxMessage(t *testing.T) {
	for _, test := range []struct {
		name string
		size func(int64) int64
		want []string
		over int
	}{
		{"true sizes", nil, []string{"small", "mid"}, 1},
		{"all too small", func(int64) int64 { return 1 }, []string{"small", "mid"}, 1},
		{"all zero", func(int64) int64 { return 0 }, []string{"small", "mid"}, 1},
		{"all negative", func(int64) int64 { return -1 }, []string{"small", "mid"}, 1},
		{"three times too large", func(n int64) int64 { return 3 * n }, []string{"small"}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := imaptest.NewServer(t, &imaptest.Options{Quirks: imaptest.Quirks{Size: test.size}})
			srv.Deliver([]byte("small"), bytes.Repeat([]byte("x"), 1000), []byte("mid"))
			if test.over == 2 {
				srv.Delete("INBOX", 3)
				srv.Deliver(bytes.Repeat([]byte("y"), 40))
			}
			cfg := srv.Config()
			cfg.MaxMessage = 100
			var got []string
			over := 0
			for _, f := range collect(t, open(t, cfg, srv.Env()), nil) {
				if f.Err != nil {
					if e := theError(t, f.Err, connection.ErrTooLarge); e.Ref.IsZero() || !strings.Contains(e.Hint, "max_message") {
						t.Errorf("got %v", e)
					}
					over++
					continue
				}
				got = append(got, f.Raw)
			}
			wantBodies(t, got, test.want...)
			if over != test.over {
				t.Errorf("got %d messages that are too large, want %d", over, test.over)
			}
		})
	}
}

// 16, 13, 14: UIDNEXT that is not told, folders with gaps of millions, searches that come in descending order.
func TestSearchWindows(t *testing.T) {
	for name, quirks := range map[string]imaptest.Quirks{
		"plain": {}, "no UIDNEXT": {NoUIDNext: true}, "descending": {SearchDescending: true},
	} {
		t.Run(name, func(t *testing.T) {
			srv := imaptest.NewServer(t, &imaptest.Options{Quirks: quirks})
			var all []imaptest.Message
			for i := range 11_000 { // more than one SEARCH lists
				all = append(all, imaptest.Message{Raw: fmt.Appendf(nil, "%d", i)})
			}
			all[5_000].UID, all[10_000].UID = 3_000_000, 4_000_000_000
			srv.DeliverTo("INBOX", all...)
			n := 0
			for m, err := range open(t, srv.Config(), srv.Env()).Fetch(t.Context(), nil) {
				if err != nil {
					t.Fatal(err)
				}
				if raw, err := io.ReadAll(m.Body); err != nil || string(raw) != fmt.Sprint(n) {
					t.Fatalf("message %d: got %q, %v", n, raw, err)
				}
				n++
			}
			if n != len(all) {
				t.Errorf("got %d messages, want %d", n, len(all))
			}
		})
	}
}

func TestFollow(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver([]byte("first"))
	cfg := emptying(srv.Config())
	cfg.PollingIdleMax = connection.Duration(50 * time.Millisecond)
	c := open(t, cfg, srv.Env())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got []string
	var last error
	for m, err := range c.Fetch(ctx, &connection.FetchOptions{Follow: true}) {
		if err != nil {
			last = err
			continue
		}
		raw, err := io.ReadAll(m.Body)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(raw))
		if err := c.Delete(ctx, m.Ref); err != nil {
			t.Fatal(err)
		}
		switch len(got) {
		case 1:
			srv.Deliver([]byte("second"))
		case 2:
			srv.CloseConnections() // and nothing is missed
			srv.Deliver([]byte("third"))
		case 3:
			cancel()
		}
	}
	wantBodies(t, got, "first", "second", "third")
	if !errors.Is(last, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", last)
	}
}

// 17: a folder that is renumbered while Follow runs is read from its beginning.
func TestFollowRenumbered(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver([]byte("one"), []byte("two"))
	cfg := srv.Config()
	cfg.PollingIdleMax = connection.Duration(50 * time.Millisecond)
	var restarted atomic.Int32
	env := srv.Env()
	env.Observe = func(ev connection.Event) {
		if ev.Kind == connection.EventRestarted {
			restarted.Add(1)
		}
	}
	seen := map[connection.Ref]bool{}
	for m, err := range open(t, cfg, env).Fetch(t.Context(), &connection.FetchOptions{Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if seen[m.Ref] {
			t.Fatalf("%v came twice", m.Ref)
		}
		if seen[m.Ref] = true; len(seen) == 2 {
			srv.BumpUIDValidity()
		}
		if len(seen) == 4 {
			break
		}
	}
	if restarted.Load() != 1 {
		t.Errorf("got %d events, want 1", restarted.Load())
	}
}

// 33: what nobody expects in a message.
func TestCorpusInOctets(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{MaxWrite: 1000})
	var want []string
	for _, s := range connectiontest.Corpus() {
		srv.Deliver(s.Raw)
		want = append(want, string(s.Raw))
	}
	wantBodies(t, bodies(t, collect(t, open(t, srv.Config(), srv.Env()), nil)), want...)
}

// Where only one session is allowed, Fetch and Delete take turns, whatever the caller does with large bodies.
func TestOneSession(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	for _, test := range []struct {
		name   string
		quirks imaptest.Quirks
		max    int
	}{
		{"limit", imaptest.Quirks{}, 1},
		{"no UIDVALIDITY", imaptest.Quirks{NoUIDValidity: true}, 0},
		{"UIDs not sticky", imaptest.Quirks{UIDNotSticky: true}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := imaptest.NewServer(t, &imaptest.Options{MaxSessions: test.max, Quirks: test.quirks})
			srv.Deliver(letters(20)...)
			srv.Deliver(big, []byte("a"), big, []byte("b"), big)
			srv.Deliver(letters(60)...)
			want := texts(octets(srv.Messages()))
			cfg := emptying(srv.Config())
			cfg.MessagesPerCycle = 7
			c := open(t, cfg, srv.Env())
			var got []string
			for m, err := range c.Fetch(t.Context(), nil) {
				if err != nil {
					t.Fatal(err)
				}
				half := make([]byte, m.Size/2)
				if _, err := io.ReadFull(m.Body, half); err != nil {
					t.Fatal(err)
				}
				if len(got)%3 == 0 { // also while the body is half read
					if err := c.Delete(t.Context(), m.Ref); err != nil {
						t.Fatal(err)
					}
				}
				rest, err := io.ReadAll(m.Body)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(half)+string(rest))
				if err := c.Delete(t.Context(), m.Ref); err != nil {
					t.Fatal(err)
				}
			}
			wantBodies(t, got, want...)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if left := len(srv.Messages()); left != 0 {
				t.Errorf("%d messages are left", left)
			}
		})
	}
}

func TestFetchTwice(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	c := open(t, srv.Config(), srv.Env())
	seq := c.Fetch(t.Context(), nil)
	for _, err := range seq {
		t.Fatal(err)
	}
	for _, err := range seq {
		wantKind(t, err, connection.ErrInvalid)
	}
}

func TestBodyAfterItsStep(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(bytes.Repeat([]byte("x"), 1<<20), []byte("small"), []byte("last"))
	var kept []io.Reader
	for m, err := range open(t, srv.Config(), srv.Env()).Fetch(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range kept {
			if n, err := body.Read(make([]byte, 10)); n != 0 || err == nil || errors.Is(err, io.EOF) {
				t.Errorf("got %d octets and %v from a body whose step is over", n, err)
			}
		}
		kept = append(kept, m.Body)
	}
	if len(kept) != 3 {
		t.Errorf("got %d messages, want 3", len(kept))
	}
}

func TestOpenMessage(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	big := strings.Repeat("0123456789abcdef", 100_000)
	srv.Deliver([]byte("small"), []byte(big))
	c := open(t, srv.Config(), srv.Env())
	all := collect(t, c, nil)
	for i, want := range []string{"small", big} {
		m, err := c.Open(t.Context(), all[i].Ref)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(m.Body)
		if err != nil || string(raw) != want {
			t.Errorf("got %d octets, %v", len(raw), err)
		}
		if err := m.Body.(io.Closer).Close(); err != nil {
			t.Error(err)
		}
		if _, err := m.Body.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("a closed body gives %v", err)
		}
	}
	srv.Delete("INBOX", 1)
	_, err := c.Open(t.Context(), all[0].Ref)
	wantKind(t, err, connection.ErrNotFound)
	srv.BumpUIDValidity()
	_, err = c.Open(t.Context(), all[1].Ref)
	wantKind(t, err, connection.ErrStale)
	_, err = c.Open(t.Context(), connection.Ref{Folder: "INBOX", ID: "nonsense"})
	wantKind(t, err, connection.ErrInvalid)
}

// A session that was idle need not know the messages that came meanwhile (a server tells of them when it likes): Open
// must not call them gone.
func TestOpenOverAnOldSession(t *testing.T) {
	cmd := func(pattern string, lines ...string) imaptest.Step {
		return imaptest.Do(imaptest.Expect(pattern), imaptest.Send(append(lines, "$TAG OK done")...))
	}
	srv := imaptest.NewScript(t, nil, append(served(""),
		cmd("UID FETCH 1:* (UID)"), imaptest.Select(1, 7, 101), cmd("UID FETCH 100", reply(100, "later")),
	))
	c := open(t, srv.Config(), srv.Env())
	bodies(t, collect(t, c, nil))
	m, err := c.Open(t.Context(), connection.Ref{Folder: "INBOX", ID: "7:100"})
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := io.ReadAll(m.Body); err != nil || string(raw) != "later" {
		t.Errorf("got %q, %v", raw, err)
	}
	if err := m.Body.(io.Closer).Close(); err != nil {
		t.Error(err)
	}
}
