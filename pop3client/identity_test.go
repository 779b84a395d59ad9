package pop3client_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/pop3client"
	"github.com/mailconn/mailconn/pop3client/pop3test"
)

func TestIdentity(t *testing.T) {
	a, b := []byte("Subject: a\r\n\r\n1\r\n"), []byte("Subject: b\r\n\r\n2\r\n")
	for name, tt := range map[string]struct {
		opts  pop3test.Options
		uidls []string
		ids   []string
	}{
		"two with one UIDL":        {pop3test.Options{}, []string{"same", "same", "same#2"}, []string{"same", "same#2", "same#2#2"}},
		"spaces":                   {pop3test.Options{}, []string{"x y", "x z", "w"}, []string{"x", "x#2", "w"}},
		"200 octets":               {pop3test.Options{}, []string{strings.Repeat("u", 200), "v", "w"}, []string{strings.Repeat("u", 200), "v", "w"}},
		"not UTF-8":                {pop3test.Options{}, []string{"\xff\xfe", "v", "w"}, []string{"x:fffe", "v", "w"}},
		"no UIDL":                  {pop3test.Options{Without: []string{"UIDL"}}, []string{"1", "2", "3"}, nil},
		"no UIDL and no TOP":       {pop3test.Options{Without: []string{"UIDL", "TOP"}}, []string{"1", "2", "3"}, nil},
		"no UIDL, TOP sends all":   {pop3test.Options{Without: []string{"UIDL"}, Quirks: pop3test.Quirks{TopSendsAll: true}}, []string{"1", "2", "3"}, nil},
		"no UIDL, no CAPA":         {pop3test.Options{Without: []string{"UIDL", "CAPA"}}, []string{"1", "2", "3"}, nil},
		"UIDL that is the number":  {pop3test.Options{Quirks: pop3test.Quirks{NumberUIDL: true}}, []string{"1", "2", "3"}, []string{"1", "2", "3"}},
		"one without a UIDL":       {pop3test.Options{}, []string{"u", "", "w"}, nil},
		"all with one UIDL, alike": {pop3test.Options{}, []string{"q", "q", "q"}, []string{"q", "q#2", "q#3"}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := pop3test.NewServer(t, &tt.opts)
			raws := [][]byte{a, b, a}
			for i, uidl := range tt.uidls {
				srv.DeliverAs(uidl, raws[i])
			}
			cfg := emptying(srv.Config())
			first := collect(t, open(t, cfg, nil), nil)
			wantBodies(t, bodies(t, first), texts(raws)...)
			c := open(t, cfg, nil)
			second := collect(t, c, nil)
			var ids []string
			for i := range first {
				if ids = append(ids, first[i].Ref.ID); slices.Contains(ids[:i], ids[i]) {
					t.Errorf("two messages have the id %q", ids[i])
				}
				if second[i].Ref != first[i].Ref {
					t.Errorf("message %d: %v in one session, %v in the next", i, first[i].Ref, second[i].Ref)
				}
			}
			if tt.ids != nil && !slices.Equal(ids, tt.ids) {
				t.Errorf("got ids %q, want %q", ids, tt.ids)
			}
			// The second one is deleted, in another session than the one that read it, and no other is.
			if err := c.Delete(t.Context(), second[1].Ref); err != nil {
				t.Fatal(err)
			}
			if left := texts(octets(srv.Messages())); !slices.Equal(left, []string{string(a), string(a)}) {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// A server whose UIDLs are numbers gives a message the UIDL of one that was deleted. It is not deleted for it.
func TestNumberUIDLDeletesNoOther(t *testing.T) {
	srv := pop3test.NewServer(t, &pop3test.Options{Quirks: pop3test.Quirks{NumberUIDL: true}})
	raws := [][]byte{[]byte("Subject: 1\r\n\r\nx\r\n"), []byte("Subject: 2\r\n\r\nx\r\n"), []byte("Subject: 3\r\n\r\nx\r\n")}
	uidls := srv.Deliver(raws...)
	c := open(t, emptying(srv.Config()), nil)
	all := collect(t, c, nil)
	srv.Remove(uidls[0]) // by somebody else: the second is "1" now, of the same size
	wantKind(t, c.Delete(t.Context(), all[0].Ref), connection.ErrStale)
	if left := texts(octets(srv.Messages())); !slices.Equal(left, texts(raws[1:])) {
		t.Errorf("left: %q", left)
	}
}

// Several messages have one UIDL, and the first of them goes: the next one has its Ref now, and alone has the UIDL. It is
// not deleted for it.
func TestSharedUIDLDeletesNoOther(t *testing.T) {
	srv := pop3test.NewServer(t, nil)
	srv.DeliverAs("same", []byte("Subject: 1\r\n\r\nx\r\n"))
	c := open(t, emptying(srv.Config()), nil)
	srv.DeliverAs("same", []byte("Subject: 2\r\n\r\nx\r\n"))
	all := collect(t, c, nil)
	srv.Remove("same")
	srv.DeliverAs("same", []byte("Subject: 2\r\n\r\nx\r\n"))
	wantKind(t, c.Delete(t.Context(), all[0].Ref), connection.ErrStale)
	if len(srv.Messages()) != 1 {
		t.Error("the message that nobody meant is gone")
	}
}

// A program that was started again knows nothing of the messages behind Refs. Those that may stand for others it does not
// delete; a Drain then fetches them again.
func TestDeleteOfAnotherProcess(t *testing.T) {
	for _, numbers := range []bool{false, true} {
		srv := pop3test.NewServer(t, &pop3test.Options{Quirks: pop3test.Quirks{NumberUIDL: numbers}})
		uidls := srv.Deliver(letters(3)...)
		refs := collect(t, open(t, srv.Config(), nil), nil)
		srv.Remove(uidls[0])
		err := open(t, emptying(srv.Config()), nil).Delete(t.Context(), refs[0].Ref, refs[1].Ref)
		if numbers {
			wantKind(t, err, connection.ErrStale)
		} else if err != nil {
			t.Error(err)
		}
		if n := len(srv.Messages()); numbers && n != 2 || !numbers && n != 1 {
			t.Errorf("numbers %v: %d messages are left", numbers, n)
		}
	}
}

// After a lost QUIT a message with a UIDL that is pending may be another one.
func TestReusedUIDLIsFetched(t *testing.T) {
	srv := pop3test.NewServer(t, nil)
	srv.DeliverAs("u", []byte("old\r\n"))
	cfg := srv.Config()
	cfg.DeleteMode = pop3client.DeleteDelete
	c := open(t, cfg, nil)
	if err := c.Delete(t.Context(), collect(t, c, nil)[0].Ref); err != nil {
		t.Fatal(err)
	}
	srv.CloseConnections()
	srv.Remove("u")
	srv.DeliverAs("u", []byte("a new one\r\n"))
	wantBodies(t, bodies(t, collect(t, c, nil)), "a new one\r\n")
	if err := c.Close(); err != nil || len(srv.Messages()) != 1 {
		t.Errorf("%d messages are left, want 1: %v", len(srv.Messages()), err)
	}
}

// A server that gives all messages other UIDLs in each session: Fetch yields them once, and a Follow, which cannot know,
// again; it says so.
func TestChangedUIDLs(t *testing.T) {
	env, events := observed(connection.EventQuirk)
	srv := pop3test.NewServer(t, &pop3test.Options{Quirks: pop3test.Quirks{FreshUIDL: true}})
	srv.Deliver(letters(5)...)
	c := open(t, srv.Config(), env)
	wantBodies(t, bodies(t, collect(t, c, nil)), texts(letters(5))...)
	twice := append(texts(letters(5)), texts(letters(5))...)
	wantBodies(t, bodies(t, collect(t, c, &connection.FetchOptions{Follow: true, Limit: 10})), twice...)
	if got := events(); len(got) == 0 || !strings.HasPrefix(got[0].Detail, "uidl_changed") {
		t.Errorf("got events %v, want uidl_changed", got)
	}
}

// Without UIDL a message whose header and size are those of one that was deleted has its id. A Follow that saw the
// maildrop without the old one fetches the new one.
func TestFollowForgetsWhatWasDeleted(t *testing.T) {
	srv := pop3test.NewServer(t, &pop3test.Options{Without: []string{"UIDL"}})
	cfg := emptying(srv.Config())
	cfg.PollingIdleMax = connection.Duration(50 * time.Millisecond)
	c := open(t, cfg, nil)
	want := []string{"Subject: alarm\r\n\r\n1\r\n", "Subject: alarm\r\n\r\n2\r\n", "Subject: alarm\r\n\r\n3\r\n"}
	srv.Deliver([]byte(want[0]))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan struct{})
	defer func() { <-done }()
	go func() {
		defer close(done)
		for _, next := range want[1:] {
			for emptySince := -1; emptySince < 0 || srv.Logins() < emptySince+2; { // a session has listed nothing
				if emptySince < 0 && len(srv.Messages()) == 0 {
					emptySince = srv.Logins()
				}
				select {
				case <-time.After(time.Millisecond):
				case <-ctx.Done():
					return
				}
			}
			srv.Deliver([]byte(next))
		}
	}()
	var got []string
	for m, err := range c.Fetch(ctx, &connection.FetchOptions{Follow: true}) {
		if err != nil {
			t.Errorf("after %d messages: %v", len(got), err)
			break
		}
		raw, err := io.ReadAll(m.Body)
		if err != nil {
			t.Error(err)
		}
		if err := c.Delete(ctx, m.Ref); err != nil {
			t.Error(err)
		}
		if got = append(got, string(raw)); len(got) == len(want) {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	cancel()
}

// UIDLs that are numbers, and messages of one size: the next message has number and size of one that was deleted. A Follow
// fetches it all the same, whether it or somebody else deletes.
func TestFollowOfNumberUIDLs(t *testing.T) {
	for _, mine := range []bool{true, false} {
		srv := pop3test.NewServer(t, &pop3test.Options{Quirks: pop3test.Quirks{NumberUIDL: true}})
		cfg := emptying(srv.Config())
		cfg.PollingIdleMax = connection.Duration(50 * time.Millisecond)
		env, events := observed(connection.EventQuirk)
		c := open(t, cfg, env)
		deliver := func(n int) []string { return srv.Deliver(fmt.Appendf(nil, "Subject: %d\r\n\r\nx\r\n", n)) }
		uidls := deliver(0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		n := 0
		for m, err := range c.Fetch(ctx, &connection.FetchOptions{Follow: true}) {
			if err != nil {
				t.Fatalf("deleted here %v: %d messages, then %v", mine, n, err)
			}
			raw, err := io.ReadAll(m.Body)
			if want := fmt.Sprintf("Subject: %d\r\n\r\nx\r\n", n); err != nil || string(raw) != want {
				t.Errorf("got %q, %v, want %q", raw, err, want)
			}
			if n++; n == 5 {
				break
			}
			if !mine {
				srv.Remove(uidls...)
			} else if err := c.Delete(ctx, m.Ref); err != nil {
				t.Fatal(err)
			}
			uidls = deliver(n)
		}
		cancel()
		if got := events(); len(got) != 1 || !strings.HasPrefix(got[0].Detail, "uidl_reused") {
			t.Errorf("got events %v, want one uidl_reused", got)
		}
	}
}
