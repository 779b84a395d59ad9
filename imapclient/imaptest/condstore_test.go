package imaptest_test

import (
	"slices"
	"strings"
	"testing"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// TestModSeq goes through what RFC 7162 says of CONDSTORE, on a folder of three messages with the mod-sequences 2 to 4.
func TestModSeq(t *testing.T) {
	srv, p := inBox(t, nil, small, small, small)
	if got := p.ok("SELECT INBOX"); !strings.Contains(got, "* OK [HIGHESTMODSEQ 4] ") {
		t.Errorf("SELECT: got %q", got)
	}
	srv.SetFlags("INBOX", 1, connection.FlagSeen) // 5
	p.want("NOOP", "* 1 FETCH (FLAGS (\\Seen))\r\n", "OK")
	p.want("STATUS INBOX (HIGHESTMODSEQ)", "* STATUS \"INBOX\" (HIGHESTMODSEQ 5)\r\n", "OK") // makes the client one that knows
	srv.SetFlags("INBOX", 2, connection.FlagSeen)                                            // 6
	p.want("NOOP", "* 2 FETCH (FLAGS (\\Seen) MODSEQ (6))\r\n", "OK")
	for _, c := range []struct{ command, untagged, reply string }{
		{"FETCH 1:2 (FLAGS MODSEQ)", "* 1 FETCH (FLAGS (\\Seen) MODSEQ (5))\r\n* 2 FETCH (FLAGS (\\Seen) MODSEQ (6))\r\n", "OK"},
		{"FETCH 1:3 (FLAGS) (CHANGEDSINCE 5)", "* 2 FETCH (FLAGS (\\Seen) MODSEQ (6))\r\n", "OK"},
		{"UID FETCH 1:* UID (CHANGEDSINCE 4)", "* 1 FETCH (UID 1 MODSEQ (5))\r\n* 2 FETCH (UID 2 MODSEQ (6))\r\n", "OK"},
		{"UID FETCH 1:* (UID MODSEQ) (CHANGEDSINCE 6)", "", "OK"},
		{"SEARCH MODSEQ 5", "* SEARCH 1 2 (MODSEQ 6)\r\n", "OK"},
		{`UID SEARCH MODSEQ "/flags/\\seen" all 4 UNSEEN`, "* SEARCH 3 (MODSEQ 4)\r\n", "OK"},
		{"SEARCH MODSEQ 7", "* SEARCH\r\n", "OK"},
		{"UID STORE 1:3 (UNCHANGEDSINCE 5) +FLAGS.SILENT (a)", "* 1 FETCH (UID 1 MODSEQ (7))\r\n* 3 FETCH (UID 3 MODSEQ (8))\r\n", "OK [MODIFIED 2] "},
		{"STORE 1,3 (UNCHANGEDSINCE 0) FLAGS ()", "", "OK [MODIFIED 1,3] "},
		{"STORE 3 -FLAGS (a)", "* 3 FETCH (FLAGS () MODSEQ (9))\r\n", "OK stored"},
		{"STORE 3 +FLAGS.SILENT (b)", "* 3 FETCH (MODSEQ (10))\r\n", "OK stored"},
		{"FETCH 3 (BODY[]<0.1>)", "* 3 FETCH (BODY[]<0> {1}\r\nS FLAGS (\\Seen b) MODSEQ (11))\r\n", "OK"},
		{"FETCH 1 UID (CHANGEDSINCE)", "", "BAD"},
		{"FETCH 1 UID (CHANGEDSINCE 1 VANISHED)", "", "BAD"},
		{"FETCH 1 UID ()", "", "BAD"},
		{"STORE 1 (CHANGEDSINCE 5) FLAGS ()", "", "BAD"},
		{"SEARCH MODSEQ x", "", "BAD"},
		{`SEARCH MODSEQ "/flags/a" none 5`, "", "BAD"},
		{"SELECT INBOX (QRESYNC)", "", "BAD"},
		{"SELECT INBOX CONDSTORE", "", "BAD"},
	} {
		p.want(c.command, c.untagged, c.reply)
	}
	if got := srv.ModSeq("INBOX"); got != 11 {
		t.Errorf("got HIGHESTMODSEQ %d, want 11", got)
	}
	if got := flagsOf(srv, "INBOX"); got != `1[\Seen a] 2[\Seen] 3[\Seen b]` {
		t.Errorf("got %s, want no flag where UNCHANGEDSINCE forbade it", got)
	}
}

// TestModSeqAwareness has each command that says the client knows mod-sequences.
func TestModSeqAwareness(t *testing.T) {
	for _, command := range []string{
		"SELECT INBOX (CONDSTORE)", "EXAMINE INBOX (CONDSTORE)", "ENABLE CONDSTORE", "STATUS INBOX (HIGHESTMODSEQ)", "FETCH 1 MODSEQ",
		"FETCH 1 FLAGS (CHANGEDSINCE 1)", "SEARCH MODSEQ 1", "STORE 1 (UNCHANGEDSINCE 1) +FLAGS (a)", `LIST "" INBOX RETURN (STATUS (HIGHESTMODSEQ))`,
	} {
		srv, p := inBox(t, nil, small)
		p.ok(command)
		srv.SetFlags("INBOX", 1, connection.FlagSeen)
		if got := p.ok("NOOP"); got != "* 1 FETCH (FLAGS (\\Seen) MODSEQ (3))\r\n" {
			t.Errorf("after %s: got %q, want the mod-sequence", command, got)
		}
	}
}

func TestNoModSeq(t *testing.T) {
	_, p := inBox(t, &imaptest.Options{Folders: []imaptest.Folder{{Name: "INBOX", NoModSeq: true}}}, small)
	if got := p.ok("SELECT INBOX (CONDSTORE)"); !strings.Contains(got, "* OK [NOMODSEQ] ") || strings.Contains(got, "HIGHESTMODSEQ") {
		t.Errorf("SELECT: got %q", got)
	}
	for _, command := range []string{"FETCH 1 MODSEQ", "FETCH 1 UID (CHANGEDSINCE 1)", "STORE 1 (UNCHANGEDSINCE 9) FLAGS ()", "SEARCH MODSEQ 1"} {
		p.want(command, "", "BAD")
	}
	p.want("STATUS INBOX (HIGHESTMODSEQ)", "* STATUS \"INBOX\" (HIGHESTMODSEQ 0)\r\n", "OK")
	p.want("STORE 1 +FLAGS (a)", "* 1 FETCH (FLAGS (a))\r\n", "OK")
}

func TestLowerModSeq(t *testing.T) {
	srv, p := inBox(t, nil, small, small)
	validity := srv.UIDValidity("INBOX")
	srv.LowerModSeq("INBOX")
	p.want("FETCH 1:* MODSEQ", "* 1 FETCH (MODSEQ (1))\r\n* 2 FETCH (MODSEQ (1))\r\n", "OK")
	p.want("STORE 2 +FLAGS (a)", "* 2 FETCH (FLAGS (a) MODSEQ (2))\r\n", "OK")
	if got := srv.ModSeq("INBOX"); got != 2 || srv.UIDValidity("INBOX") != validity {
		t.Errorf("got HIGHESTMODSEQ %d, want 2 and the same UIDVALIDITY", got)
	}
	if got := srv.ModSeq("none"); got != 0 {
		t.Errorf("no such folder: got %d, want 0", got)
	}
}

// TestModSeqGrows: whatever happens, a later change has a higher number, and HIGHESTMODSEQ is the highest.
func TestModSeqGrows(t *testing.T) {
	srv, p := inBox(t, &imaptest.Options{Folders: []imaptest.Folder{{Name: "Box"}}}, small, small, small)
	last := srv.ModSeq("INBOX")
	for _, change := range []string{"STORE 1 +FLAGS.SILENT (a)", "COPY 1 INBOX", "MOVE 2 Box", "APPEND INBOX {1+}\r\nx", "FETCH 2 BODY[]", "STORE 1 -FLAGS (a)", "STORE 1 +FLAGS (\\Deleted)", "EXPUNGE"} {
		p.ok(change)
		now := srv.ModSeq("INBOX")
		if now <= last {
			t.Errorf("%.20q: got HIGHESTMODSEQ %d after %d, want more", change, now, last)
		}
		last = now
	}
	p.ok("STORE 1 FLAGS (\\Seen)")
	if now := srv.ModSeq("INBOX"); now != last {
		t.Errorf("a STORE that changes nothing: got HIGHESTMODSEQ %d after %d", now, last)
	}
}

func TestGoIMAPModSeq(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Mode: connection.ModeInsecure})
	srv.Deliver([]byte(small), []byte(small))
	c := goLogin(t, srv, nil)
	selected, err := c.Select("INBOX", &goimap.SelectOptions{CondStore: true}).Wait()
	if err != nil || selected.HighestModSeq != 3 {
		t.Fatalf("SELECT: got %+v, %v", selected, err)
	}
	srv.SetFlags("INBOX", 2, connection.FlagSeen)
	changed, err := c.Fetch(goimap.UIDSet{{Start: 1}}, &goimap.FetchOptions{UID: true, Flags: true, ModSeq: true, ChangedSince: 3}).Collect()
	if err != nil || len(changed) != 1 || changed[0].UID != 2 || changed[0].ModSeq != 4 || !slices.Contains(changed[0].Flags, goimap.FlagSeen) {
		t.Errorf("CHANGEDSINCE: got %+v, %v", changed, err)
	}
	found, err := c.UIDSearch(&goimap.SearchCriteria{ModSeq: &goimap.SearchCriteriaModSeq{ModSeq: 4}}, nil).Wait()
	if err != nil || len(found.AllUIDs()) != 1 {
		t.Errorf("SEARCH MODSEQ: got %+v, %v", found, err)
	}
}
