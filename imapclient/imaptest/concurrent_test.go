package imaptest_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// TestTwoSessions follows the rules of RFC 3501, 5.2, 5.5 and 7.4.1 about what one session learns of another.
func TestTwoSessions(t *testing.T) {
	srv, a := inBox(t, nil, "1", "2", "3", "4")
	b := login(t, srv)
	b.ok("SELECT INBOX")

	a.ok(`STORE 1 +FLAGS.SILENT (\Seen)`)
	b.want("NOOP", `* 1 FETCH (FLAGS (\Seen))`+"\r\n", "OK")
	a.want("NOOP", "", "OK") // its own, silent change is not told

	// A silent change on top of another session's: the sum must be told.
	b.ok("STORE 1 +FLAGS (x)")
	a.want("STORE 1 +FLAGS.SILENT (y)", `* 1 FETCH (FLAGS (\Seen x y))`+"\r\n", "OK")
	b.want("NOOP", `* 1 FETCH (FLAGS (\Seen x y))`+"\r\n", "OK")

	a.ok(`STORE 2 +FLAGS.SILENT (\Deleted)`)
	a.want("EXPUNGE", "* 2 EXPUNGE\r\n", "OK")
	srv.Deliver([]byte("5"))
	// No EXPUNGE while FETCH, STORE or SEARCH is obeyed: numbers stay as they were.
	b.want("FETCH 3:4 UID", "* 3 FETCH (UID 3)\r\n* 4 FETCH (UID 4)\r\n* 5 EXISTS\r\n* 0 RECENT\r\n", "OK")
	b.want("SEARCH ALL", "* SEARCH 1 3 4 5\r\n", "OK")
	b.want("STORE 2 +FLAGS (z)", "", "OK [EXPUNGEISSUED]")
	b.want("FETCH 1:2 (UID BODY.PEEK[])", "* 1 FETCH (UID 1 BODY[] {1}\r\n1)\r\n", "OK [EXPUNGEISSUED]")
	b.want("COPY 2 INBOX", "* 2 EXPUNGE\r\n", "NO [EXPUNGEISSUED]")
	b.want("FETCH 4 UID", "* 4 FETCH (UID 5)\r\n", "OK")

	// UID commands may carry it.
	srv.Delete("INBOX", 3, 77)
	b.want("UID FETCH 3:4 FLAGS", "* 3 FETCH (UID 4 FLAGS ())\r\n* 2 EXPUNGE\r\n", "OK [EXPUNGEISSUED]")
	srv.SetFlags("INBOX", 4, connection.FlagFlagged)
	srv.Delete("INBOX", 1)
	b.want("NOOP", "* 1 EXPUNGE\r\n"+`* 1 FETCH (FLAGS (\Flagged))`+"\r\n", "OK")
}

func TestNilExpunged(t *testing.T) {
	srv, p := inBox(t, &imaptest.Options{Quirks: imaptest.Quirks{NilExpunged: true}}, "1", "2")
	srv.Delete("INBOX", 1)
	p.want("FETCH 1:2 BODY.PEEK[]", "* 1 FETCH (BODY[] NIL)\r\n* 2 FETCH (BODY[] {1}\r\n2)\r\n", "OK [EXPUNGEISSUED]")
}

func TestFetchQuirks(t *testing.T) {
	_, p := inBox(t, &imaptest.Options{Quirks: imaptest.Quirks{UIDLast: true, FlagsFirst: true, IgnorePartial: true, SearchDescending: true, Size: func(n int64) int64 { return n*3 - 2 }}}, "12345", "x")
	p.want("UID FETCH 1 (FLAGS RFC822.SIZE BODY.PEEK[]<1.2>)", "* 1 FETCH (UID 1 FLAGS ())\r\n* 1 FETCH (RFC822.SIZE 13 BODY[] {5}\r\n12345 UID 1)\r\n", "OK")
	p.want("SEARCH ALL", "* SEARCH 2 1\r\n", "OK")
}

func TestIdle(t *testing.T) {
	srv, a := inBox(t, nil, "1", "2")
	srv.Delete("INBOX", 1)
	a.send("i IDLE\r\n")
	for _, want := range []string{"+ idling", "* 1 EXPUNGE"} { // what happened before is told at once
		if got := a.line(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	srv.Deliver([]byte("3"))
	for _, want := range []string{"* 2 EXISTS", "* 0 RECENT"} {
		if got := a.line(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	b := login(t, srv)
	b.ok("SELECT INBOX")
	b.ok(`STORE 2 +FLAGS (\Seen)`)
	if got := a.line(); got != `* 2 FETCH (FLAGS (\Seen))` {
		t.Errorf("got %q", got)
	}
	a.send("done\r\n")
	if untagged, reply := a.until("i"); untagged != "" || !strings.HasPrefix(reply, "OK") {
		t.Errorf("got %q and %q", untagged, reply)
	}
	a.send("j IDLE\r\n")
	a.line()
	a.send("NOOP\r\n")
	if _, reply := a.until("j"); !strings.HasPrefix(reply, "BAD") {
		t.Errorf("a command while idling: got %q, want BAD", reply)
	}
}

func TestBumpUIDValidity(t *testing.T) {
	srv, idler := inBox(t, &imaptest.Options{Folders: []imaptest.Folder{{Name: "Box"}}}, "1", "2", "3")
	other, p := login(t, srv), login(t, srv)
	other.ok("SELECT Box")
	p.ok("SELECT INBOX")
	idler.send("i IDLE\r\n")
	idler.line()
	srv.Delete("INBOX", 1)
	idler.line()
	before := srv.UIDValidity("INBOX")
	srv.BumpUIDValidity("INBOX")
	if after := srv.UIDValidity("INBOX"); after <= before {
		t.Errorf("got UIDVALIDITY %d after %d", after, before)
	}
	if got := flagsOf(srv, "INBOX"); got != "1[] 2[]" {
		t.Errorf("got %s, want UIDs from 1", got)
	}
	if got := idler.line(); got != "* BYE UIDVALIDITY has changed" {
		t.Errorf("while idling: got %q", got)
	}
	idler.gone()
	p.send("a UID FETCH 2 BODY[]\r\n")
	if got := p.line(); got != "* BYE UIDVALIDITY has changed" {
		t.Errorf("at the next command: got %q", got)
	}
	p.gone()
	other.ok("NOOP")
	srv.BumpUIDValidity()
	other.send("a NOOP\r\n")
	if got := other.line(); !strings.HasPrefix(got, "* BYE") {
		t.Errorf("all folders: got %q", got)
	}
}

func TestDeletedFolder(t *testing.T) {
	srv, a := inBox(t, &imaptest.Options{Folders: []imaptest.Folder{{Name: "Box"}}})
	b := login(t, srv)
	a.ok("SELECT Box")
	b.ok("SELECT Box")
	a.ok("DELETE Box")
	a.want("FETCH 1 UID", "", "BAD") // it is not selected any more, and the session lives
	b.send("x NOOP\r\n")
	if got := b.line(); got != "* BYE the folder was deleted" {
		t.Errorf("got %q", got)
	}
}

// TestManySessions has sessions that change one folder at the same time. Each must end with the same picture.
func TestManySessions(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Mode: connection.ModeInsecure})
	const sessions, rounds = 6, 30
	peers := make([]*peer, sessions)
	for i := range peers {
		peers[i] = login(t, srv)
		peers[i].ok("SELECT INBOX")
	}
	var all sync.WaitGroup
	for i, p := range peers {
		all.Go(func() {
			for round := range rounds {
				var failed string
				for _, command := range []string{
					fmt.Sprintf("APPEND INBOX {3+}\r\n%d%02d", i, round),
					"UID STORE 1:* +FLAGS (k" + fmt.Sprint(i) + ")",
					fmt.Sprintf(`UID STORE %d +FLAGS.SILENT (\Deleted)`, 1+round*sessions/2+i),
					"UID FETCH 1:* (FLAGS BODY.PEEK[])",
					"EXPUNGE",
				} {
					if _, reply := p.do(command); !strings.HasPrefix(reply, "OK") {
						failed = command + ": " + reply
					}
				}
				if failed != "" {
					t.Errorf("session %d: %s", i, failed)
					return
				}
			}
		})
	}
	all.Wait()
	for i, p := range peers {
		p.ok("NOOP")
		var want strings.Builder
		for n, m := range srv.Messages() {
			fmt.Fprintf(&want, "* %d FETCH (UID %d BODY[] {3}\r\n%s)\r\n", n+1, m.UID, m.Raw)
		}
		if got := p.ok("UID FETCH 1:* BODY.PEEK[]"); got != want.String() {
			t.Errorf("session %d sees\n%q\nwant\n%q", i, got, want.String())
		}
	}
}
