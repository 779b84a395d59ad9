package imaptest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// idling returns a peer with INBOX selected behind the "+" of an IDLE with tag i, and what came before the "+".
func idling(t *testing.T, habit imaptest.IdleQuirks) (srv *imaptest.Server, p *peer, before string) {
	t.Helper()
	srv, p = inBox(t, &imaptest.Options{Quirks: imaptest.Quirks{Idle: habit}}, small)
	srv.Deliver([]byte(small))
	p.send("i IDLE\r\n")
	for {
		line := p.line()
		if strings.HasPrefix(line, "+") {
			return srv, p, before
		}
		before += line + "\n"
	}
}

func TestIdleNewsFirst(t *testing.T) {
	_, p, before := idling(t, imaptest.IdleQuirks{NewsFirst: true})
	if before != "* 2 EXISTS\n* 0 RECENT\n" {
		t.Errorf("got %q before the +", before)
	}
	quiet(t, p)
}

func TestIdleSilent(t *testing.T) {
	srv, p, before := idling(t, imaptest.IdleQuirks{Silent: true})
	srv.Deliver([]byte(small))
	quiet(t, p)
	if err := p.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	p.send("DONE\r\n")
	if untagged, reply := p.until("i"); before+untagged != "* 3 EXISTS\r\n* 0 RECENT\r\n" || reply != "OK idled" {
		t.Errorf("got %q and %q, want the news behind DONE", before+untagged, reply)
	}
}

func TestIdleDead(t *testing.T) {
	_, p, before := idling(t, imaptest.IdleQuirks{Dead: true})
	p.send("DONE\r\n")
	if quiet(t, p); before != "" {
		t.Errorf("got %q", before)
	}
}

func TestIdleLimit(t *testing.T) {
	_, p, _ := idling(t, imaptest.IdleQuirks{Limit: 20 * time.Millisecond})
	for _, want := range []string{"* 2 EXISTS", "* 0 RECENT", "* BYE you idle for too long"} {
		if got := p.line(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	p.gone()
}

func TestBye(t *testing.T) {
	srv, p := inBox(t, nil, small, small, small)
	srv.Bye("FETCH", "shutting down", 2, 1)
	p.send("a UID FETCH 1:3 UID\r\n")
	for _, want := range []string{"* 1 FETCH (UID 1)", "* 2 FETCH (UID 2)", "* BYE shutting down"} {
		if got := p.line(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	p.gone()

	srv.Bye("STORE", "sorry", 0, 1)
	p = login(t, srv)
	p.ok("SELECT INBOX")
	p.send("a STORE 1 +FLAGS.SILENT (done)\r\n")
	if got := p.line(); got != "* BYE sorry" {
		t.Errorf("got %q", got)
	}
	p.gone()
	srv.Bye("APPEND", "later", 0, 1)
	p = login(t, srv)
	p.send("a APPEND INBOX {1}\r\n")
	if got := p.line(); !strings.HasPrefix(got, "+ ") {
		t.Errorf("got %q, want a go-ahead: the command is to be obeyed", got)
	}
	p.send("x\r\n")
	if got := p.line(); got != "* BYE later" {
		t.Errorf("got %q", got)
	}
	if got := flagsOf(srv, "INBOX"); got != "1[done] 2[] 3[] 4[]" {
		t.Errorf("got %s, want what was commanded done", got)
	}
}

func TestTwiceAndPartialQuirks(t *testing.T) {
	_, p := inBox(t, &imaptest.Options{Quirks: imaptest.Quirks{Twice: true, PartialMore: 2, PartialNil: true}}, "abcdef")
	const twice = "* 1 FETCH (BODY[]<1> {4}\r\nbcde)\r\n"
	p.want("FETCH 1 BODY.PEEK[]<1.2>", twice+twice, "OK")
	const end = "* 1 FETCH (BODY[]<6> NIL)\r\n"
	p.want("FETCH 1 BODY.PEEK[]<6.2>", end+end, "OK")
}

func TestLowUIDNextAndInboxUnlisted(t *testing.T) {
	_, p := inBox(t, &imaptest.Options{Quirks: imaptest.Quirks{LowUIDNext: true, InboxUnlisted: true}, Folders: []imaptest.Folder{{Name: "Box"}}}, small, small)
	if got := p.ok("SELECT INBOX"); !strings.Contains(got, "[UIDNEXT 2]") {
		t.Errorf("SELECT: got %q", got)
	}
	p.want("STATUS INBOX (UIDNEXT)", "* STATUS \"INBOX\" (UIDNEXT 2)\r\n", "OK")
	p.want(`LIST "" *`, `* LIST (\HasNoChildren) "/" "Box"`+"\r\n", "OK")
}
