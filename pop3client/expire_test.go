package pop3client_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/pop3client"
	"github.com/mailconn/mailconn/pop3client/pop3test"
)

// subjects returns what is still in the maildrop, by subject.
func subjects(srv *pop3test.Server) string {
	var all []string
	for _, m := range srv.Messages() {
		line, _, _ := strings.Cut(string(m.Raw), "\r\n")
		all = append(all, strings.TrimPrefix(line, "Subject: "))
	}
	return strings.Join(all, " ")
}

// A server whose QUIT deletes what was read (EXPIRE 0; RFC 2449, 6.7) loses nothing that the host was not given.
func TestExpireAtOnceKeepsWhatWasReadAhead(t *testing.T) {
	srv := pop3test.NewServer(t, &pop3test.Options{Quirks: pop3test.Quirks{ReadIsGone: true}})
	srv.Deliver([]byte("Subject: 1\r\n\r\n"), []byte("Subject: 2\r\n\r\n"), []byte("Subject: 3\r\n\r\n"), []byte("Subject: 4\r\n\r\n"))
	c := open(t, srv.Config(), nil)
	for _, err := range c.Fetch(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if got := subjects(srv); got != "1 2 3 4" {
		t.Errorf("got %q left, want all four", got)
	}
}

// What the host was given may go, as that of Gmail does, which lists the next messages only then.
func TestExpireAtOnceGoesOn(t *testing.T) {
	srv := pop3test.NewServer(t, &pop3test.Options{ListLimit: 3, Quirks: pop3test.Quirks{ReadIsGone: true}})
	want := letters(10)
	srv.Deliver(want...)
	wantBodies(t, bodies(t, collect(t, open(t, srv.Config(), nil), nil)), texts(want)...)
	if left := srv.Messages(); len(left) != 0 {
		t.Errorf("got %d left", len(left))
	}
}

// Open gives a message to look at, and nothing is removed by that.
func TestExpireAtOnceOpen(t *testing.T) {
	srv := pop3test.NewServer(t, &pop3test.Options{Quirks: pop3test.Quirks{ReadIsGone: true}})
	ids := srv.Deliver([]byte("Subject: 1\r\n\r\n"), []byte("Subject: 2\r\n\r\n"))
	c := open(t, srv.Config(), nil)
	m, err := c.Open(t.Context(), connection.Ref{ID: ids[1]})
	if err != nil {
		t.Fatal(err)
	}
	if closer, ok := m.Body.(interface{ Close() error }); ok {
		if err := closer.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if got := subjects(srv); got != "1 2" {
		t.Errorf("got %q left, want both", got)
	}
}

// With delete_mode delete only what Delete was called for goes, whatever was read beside it.
func TestExpireAtOnceDeletesOnlyWhatIsStored(t *testing.T) {
	for name, without := range map[string][]string{"UIDL": nil, "TOP alone": {"UIDL"}} {
		for _, every := range []int{0, 1, 500} {
			srv := pop3test.NewServer(t, &pop3test.Options{Without: without, Quirks: pop3test.Quirks{ReadIsGone: true}})
			srv.Deliver([]byte("Subject: 1\r\n\r\n"), []byte("Subject: 2\r\n\r\n"), []byte("Subject: 3\r\n\r\n"), []byte("Subject: 4\r\n\r\n"))
			cfg := srv.Config()
			cfg.DeleteMode, cfg.ExpungeEvery = pop3client.DeleteDelete, every
			env, quirks := observed(connection.EventQuirk)
			c := open(t, cfg, env)
			store := func(_ context.Context, m *connection.Message) error {
				raw := make([]byte, 10)
				if _, err := m.Body.Read(raw); err != nil {
					return err
				}
				if raw[9] == '3' {
					return errors.New("not this one")
				}
				return nil
			}
			stats, err := connection.Drain(t.Context(), c, store, &connection.DrainOptions{MaxAttempts: 1})
			if err == nil || stats.Stored != 3 || stats.Poisoned != 1 {
				t.Errorf("%s, %d: got %+v, %v, want three stored and one given up", name, every, stats, err)
			}
			if err := c.Close(); err != nil {
				t.Errorf("%s, %d: %v", name, every, err)
			}
			if got := subjects(srv); got != "3" {
				t.Errorf("%s, %d: got %q left, want the one that was not stored", name, every, got)
			}
			if seen := quirks(); len(seen) != 1 || !strings.HasPrefix(seen[0].Detail, "expire_0: ") {
				t.Errorf("%s, %d: got the events %v, want one that tells of EXPIRE 0", name, every, seen)
			}
		}
	}
}

// Where the messages cannot even be told apart without reading them, nothing can be deleted by itself.
func TestExpireAtOnceWithoutIdentity(t *testing.T) {
	srv := pop3test.NewServer(t, &pop3test.Options{Without: []string{"UIDL", "TOP"}, Quirks: pop3test.Quirks{ReadIsGone: true}})
	srv.Deliver([]byte("Subject: 1\r\n\r\n"), []byte("Subject: 2\r\n\r\n"))
	c := open(t, emptying(srv.Config()), nil)
	for m, err := range c.Fetch(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(t.Context(), m.Ref); err != nil {
			t.Fatal(err)
		}
		break
	}
	wantKind(t, c.Close(), connection.ErrUncertain)
	if got := subjects(srv); got != "1 2" {
		t.Errorf("got %q left, want both", got)
	}
}
