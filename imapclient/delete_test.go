package imapclient_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// refs fetches everything and returns the Refs.
func refs(t testing.TB, c connection.Fetcher) []connection.Ref {
	t.Helper()
	var all []connection.Ref
	for _, f := range collect(t, c, nil) {
		if f.Err != nil || f.BodyErr != nil {
			t.Fatal(f.Err, f.BodyErr)
		}
		all = append(all, f.Ref)
	}
	return all
}

func uids(all []imaptest.Message) []uint32 {
	var n []uint32
	for _, m := range all {
		n = append(n, m.UID)
	}
	return n
}

func flagged(all []imaptest.Message) []uint32 {
	var n []uint32
	for _, m := range all {
		if slices.Contains(m.Flags, connection.FlagDeleted) {
			n = append(n, m.UID)
		}
	}
	return n
}

func TestDeleteModes(t *testing.T) {
	for _, test := range []struct {
		name          string
		mode          string
		every         int
		marked, gone  int // after Delete, of the three deleted
		markedAtClose int
		goneAtClose   int
	}{
		{"flag", imapclient.DeleteFlag, 0, 3, 0, 3, 0},
		{"expunge at once", imapclient.DeleteExpunge, 0, 0, 3, 0, 3},
		{"expunge every 500", imapclient.DeleteExpunge, 500, 3, 0, 0, 3},
		{"expunge every 2", imapclient.DeleteExpunge, 2, 0, 3, 0, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := imaptest.NewServer(t, nil)
			srv.Deliver(letters(5)...)
			cfg := srv.Config()
			cfg.DeleteMode, cfg.ExpungeEvery = test.mode, test.every
			c := open(t, cfg, srv.Env())
			all := refs(t, c)
			if err := c.Delete(t.Context(), all[0], all[2], all[4]); err != nil {
				t.Fatal(err)
			}
			if marked, left := len(flagged(srv.Messages())), len(srv.Messages()); marked != test.marked || left != 5-test.gone {
				t.Errorf("after Delete: %d marked, %d left; want %d, %d", marked, left, test.marked, 5-test.gone)
			}
			if test.mode == imapclient.DeleteExpunge {
				if got := refs(t, c); len(got) != 2 {
					t.Errorf("a deleted message is fetched again: %v", got)
				}
			}
			if err := c.Delete(t.Context(), all[0], all[2]); err != nil {
				t.Errorf("the second Delete: %v", err)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if marked, left := len(flagged(srv.Messages())), len(srv.Messages()); marked != test.markedAtClose || left != 5-test.goneAtClose {
				t.Errorf("after Close: %d marked, %d left; want %d, %d", marked, left, test.markedAtClose, 5-test.goneAtClose)
			}
			if n := len(srv.Transcript("CLOSE", "EXPUNGE")); n != len(srv.Transcript("UID EXPUNGE")) {
				t.Error("a CLOSE or plain EXPUNGE was sent")
			}
			if n := len(srv.Transcript("LOGOUT")); n == 0 {
				t.Error("no LOGOUT was sent")
			}
		})
	}
}

func TestDeleteNone(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(2)...)
	c := open(t, srv.Config(), srv.Env())
	all := refs(t, c)
	sent := len(srv.Transcript())
	err := c.Delete(t.Context(), all...)
	e := theError(t, err, connection.ErrConfig)
	if !strings.Contains(e.Error(), "delete_mode") || !strings.Contains(e.Hint, "Keep") {
		t.Errorf("got %v", e)
	}
	if n := len(slices.Collect(connection.Errors(err))); n != 2 {
		t.Errorf("got %d errors, want one for each ref", n)
	}
	if len(srv.Transcript()) != sent {
		t.Error("something was sent")
	}
}

// 17: a Ref of an earlier life of the folder is refused, and nothing is sent that could hurt its successor.
func TestDeleteStale(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(3)...)
	c := open(t, emptying(srv.Config()), srv.Env())
	all := refs(t, c)
	if err := c.Delete(t.Context(), all[2]); err != nil { // so that a session has the folder selected
		t.Fatal(err)
	}
	srv.BumpUIDValidity()
	wantKind(t, c.Delete(t.Context(), all[0], all[1]), connection.ErrStale)
	if n := len(srv.Messages()); n != 2 {
		t.Errorf("%d messages are left, want 2", n)
	}
	stores := len(srv.Transcript("STORE"))
	wantKind(t, c.Delete(t.Context(), all[0], all[1]), connection.ErrStale)
	wantKind(t, open(t, emptying(srv.Config()), srv.Env()).Delete(t.Context(), all[0]), connection.ErrStale)
	if n := len(srv.Transcript("STORE")); n != stores {
		t.Errorf("%d STOREs more", n-stores)
	}
	for _, ref := range []connection.Ref{{}, {Folder: "INBOX", ID: "7"}, {Folder: "INBOX", ID: "7:0"}, {Folder: "INBOX", ID: "7:+1"}, {Folder: "a\r\nb", ID: "7:1"}, {Mailbox: "other", Folder: "INBOX", ID: "7:1"}} {
		wantKind(t, c.Delete(t.Context(), ref), connection.ErrInvalid)
	}
}

// 28: without UIDPLUS an EXPUNGE removes what anybody has marked.
func TestPlainExpunge(t *testing.T) {
	for _, test := range []struct {
		name    string
		foreign bool
		allow   bool
		kind    connection.Kind
		left    []uint32
	}{
		{"proven equal", false, false, 0, []uint32{2, 3}},
		{"somebody else has marked one", true, false, connection.ErrUnsupported, []uint32{1, 2, 3}},
		{"somebody else has marked one, allowed", true, true, 0, []uint32{2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := imaptest.NewServer(t, &imaptest.Options{Without: []string{"UIDPLUS"}})
			srv.Deliver(letters(3)...)
			cfg := emptying(srv.Config())
			cfg.AllowPlainExpunge = test.allow
			c := open(t, cfg, srv.Env())
			all := refs(t, c)
			if test.foreign {
				srv.SetFlags("INBOX", 3, connection.FlagDeleted)
			}
			err := c.Delete(t.Context(), all[0])
			if test.kind == 0 && err != nil {
				t.Fatal(err)
			}
			if test.kind != 0 {
				if e := theError(t, err, test.kind); !strings.Contains(e.Hint, "allow_plain_expunge") {
					t.Errorf("got the hint %q", e.Hint)
				}
				if len(srv.Transcript("STORE")) != 0 {
					t.Error("the message was marked")
				}
			}
			if got := uids(srv.Messages()); !slices.Equal(got, test.left) {
				t.Errorf("left are %v, want %v", got, test.left)
			}
			if len(srv.Transcript("UID EXPUNGE")) != 0 {
				t.Error("UID EXPUNGE was sent to a server without UIDPLUS")
			}
		})
	}
}

// 27: a folder that cannot be emptied is not fetched.
func TestReadOnlyFolder(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Folders: []imaptest.Folder{{Name: "Shared", ReadOnly: true}}})
	srv.DeliverTo("Shared", imaptest.Message{Raw: []byte("one")})
	cfg := emptying(srv.Config())
	cfg.Folders = []string{"Shared"}
	c := open(t, cfg, srv.Env())
	all := collect(t, c, nil)
	if len(all) != 1 {
		t.Fatalf("got %d items, want one error", len(all))
	}
	if e := theError(t, all[0].Err, connection.ErrPermission); !strings.Contains(e.Hint, "delete_mode") {
		t.Errorf("got the hint %q", e.Hint)
	}
	if len(srv.Transcript("FETCH", "SEARCH")) != 0 {
		t.Error("something was read")
	}
	report, err := c.Test(t.Context(), nil)
	wantKind(t, err, connection.ErrPermission)
	if !strings.Contains(report.String(), "delete_mode") {
		t.Errorf("the report names no setting:\n%s", report)
	}
}

func TestDeleteRefused(t *testing.T) {
	for _, test := range []struct {
		command, reply string
		kind           connection.Kind
	}{
		{"STORE", "NO [OVERQUOTA] full", connection.ErrQuota},
		{"STORE", "NO [NOPERM] not yours", connection.ErrPermission},
		{"UID EXPUNGE", "NO [UNAVAILABLE] later", connection.ErrThrottled},
	} {
		srv := imaptest.NewServer(t, nil)
		srv.Deliver(letters(2)...)
		c := open(t, emptying(srv.Config()), srv.Env())
		all := refs(t, c)
		srv.Fail(test.command, test.reply, 1)
		err := c.Delete(t.Context(), all...)
		if e := theError(t, err, test.kind); e.Code == "" || e.Ref != all[0] {
			t.Errorf("%s: got %v", test.command, e)
		}
		if n := len(slices.Collect(connection.Errors(err))); n != 2 {
			t.Errorf("%s: got %d errors, want one for each ref", test.command, n)
		}
		if n := len(srv.Messages()); n != 2 {
			t.Errorf("%s: %d messages are left, want 2", test.command, n)
		}
		if err := c.Delete(t.Context(), all...); err != nil {
			t.Errorf("%s: the second time: %v", test.command, err)
		}
		if n := len(srv.Messages()); n != 0 {
			t.Errorf("%s: %d messages are left after the second time", test.command, n)
		}
	}
}

// Some servers say NO to a STORE for a message that is gone.
func TestDeleteGoneWithNo(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(1)...)
	c := open(t, emptying(srv.Config()), srv.Env())
	all := refs(t, c)
	srv.Delete("INBOX", 1)
	srv.Fail("STORE", "NO no such message", 1)
	if err := c.Delete(t.Context(), all...); err != nil {
		t.Error(err)
	}
}

// 30: a reply that is lost leaves a doubt; the next Fetch looks first, finishes, and does not archive again.
func TestLostReply(t *testing.T) {
	for _, test := range []struct {
		command string
		fault   func(*imaptest.Server, string)
		again   int // messages that are fetched again, since they were never marked
	}{
		{"STORE", func(s *imaptest.Server, c string) { s.LoseReply(c, 1) }, 0},
		{"STORE", func(s *imaptest.Server, c string) { s.Drop(c, 1) }, 2},
		{"UID EXPUNGE", func(s *imaptest.Server, c string) { s.LoseReply(c, 1) }, 0},
		{"UID EXPUNGE", func(s *imaptest.Server, c string) { s.Drop(c, 1) }, 0},
	} {
		srv := imaptest.NewServer(t, nil)
		srv.Deliver(letters(3)...)
		c := open(t, emptying(srv.Config()), srv.Env())
		all := refs(t, c)
		test.fault(srv, test.command)
		err := c.Delete(t.Context(), all[:2]...)
		wantKind(t, err, connection.ErrUncertain)
		if connection.Temporary(err) {
			t.Error("an uncertain outcome is called temporary")
		}
		if got := refs(t, c); len(got) != 1+test.again {
			t.Errorf("%s: fetched again: %v", test.command, got)
		}
		if n := len(srv.Messages()); n != 1+test.again {
			t.Errorf("%s: %d messages are left", test.command, n)
		}
		if err := c.Delete(t.Context(), all...); err != nil {
			t.Errorf("%s: repeated: %v", test.command, err)
		}
		if n := len(srv.Messages()); n != 0 {
			t.Errorf("%s: %d messages are left in the end", test.command, n)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Close says when it cannot keep what Delete has promised.
func TestCloseCannotExpunge(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(2)...)
	cfg := emptying(srv.Config())
	cfg.ExpungeEvery = 100
	c := open(t, cfg, srv.Env())
	if err := c.Delete(t.Context(), refs(t, c)...); err != nil {
		t.Fatal(err)
	}
	srv.Fail("UID EXPUNGE", "NO [NOPERM] not today")
	if e := theError(t, c.Close(), connection.ErrPermission); e.Op != "close" || e.Ref.Folder != "INBOX" {
		t.Errorf("got %v", e)
	}
	if err := c.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
}

// A quiet folder is expunged while Follow waits.
func TestFollowExpungesWhenQuiet(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(3)...)
	cfg := emptying(srv.Config())
	cfg.ExpungeEvery = 500
	c := open(t, cfg, srv.Env())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		var last error
		for m, err := range c.Fetch(ctx, &connection.FetchOptions{Follow: true}) {
			if err == nil {
				err = c.Delete(ctx, m.Ref)
			}
			last = err
		}
		done <- last
	}()
	eventually(t, "an empty folder", func() bool { return len(srv.Messages()) == 0 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// However many messages are in doubt, no command is longer than servers need to take (RFC 7162, 4).
func TestManyInDoubt(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(letters(5000)...)
	cfg := srv.Config()
	cfg.DeleteMode, cfg.ExpungeEvery = imapclient.DeleteExpunge, 5000
	c := open(t, cfg, srv.Env())
	var odd []connection.Ref
	for _, m := range srv.Messages() {
		if m.UID%2 == 1 {
			odd = append(odd, connection.Ref{Folder: "INBOX", ID: fmt.Sprintf("%d:%d", srv.UIDValidity("INBOX"), m.UID)})
		}
	}
	srv.LoseReply("STORE", 1)
	wantKind(t, c.Delete(t.Context(), odd...), connection.ErrUncertain)
	if err := c.Delete(t.Context(), odd...); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(srv.Messages()); n != 2500 {
		t.Errorf("%d messages are left, want 2500", n)
	}
	for _, line := range srv.Transcript("UID SEARCH", "UID STORE", "UID EXPUNGE") {
		if n := len(fmt.Sprint(line)); n > 8192 {
			t.Errorf("a %s of %d octets", line.Name, n)
		}
	}
}
