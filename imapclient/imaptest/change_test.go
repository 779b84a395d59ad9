package imaptest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

func flagsOf(srv *imaptest.Server, folder string) string {
	var all []string
	for _, m := range srv.MessagesIn(folder) {
		all = append(all, fmt.Sprintf("%d%v", m.UID, m.Flags))
	}
	return strings.Join(all, " ")
}

func TestSeen(t *testing.T) {
	srv, p := inBox(t, nil, small, small, small)
	p.ok("FETCH 1 (BODY.PEEK[] BODY.PEEK[HEADER] RFC822.HEADER RFC822.SIZE)")
	if got := flagsOf(srv, "INBOX"); got != "1[] 2[] 3[]" {
		t.Errorf("after PEEK: got %s", got)
	}
	p.want("FETCH 1 BODY[]<0.1>", `* 1 FETCH (BODY[]<0> {1}`+"\r\nS FLAGS (\\Seen))\r\n", "OK")
	p.want("FETCH 1 BODY[]<0.1>", "* 1 FETCH (BODY[]<0> {1}\r\nS)\r\n", "OK")
	p.ok("UID FETCH 2 RFC822.TEXT")
	if got := flagsOf(srv, "INBOX"); got != `1[\Seen] 2[\Seen] 3[]` {
		t.Errorf("after BODY[] and RFC822.TEXT: got %s", got)
	}
	p.ok("EXAMINE INBOX")
	p.ok("FETCH 3 RFC822")
	if got := flagsOf(srv, "INBOX"); got != `1[\Seen] 2[\Seen] 3[]` {
		t.Errorf("after EXAMINE and RFC822: got %s", got)
	}
}

func TestStore(t *testing.T) {
	srv, p := inBox(t, nil, small, small)
	for _, c := range []struct{ command, untagged, flags string }{
		{`STORE 1 FLAGS (\deleted b a)`, `* 1 FETCH (FLAGS (\Deleted a b))` + "\r\n", `1[\Deleted a b] 2[]`},
		{`STORE 1:2 +FLAGS (A \Seen)`, `* 1 FETCH (FLAGS (\Deleted \Seen a b))` + "\r\n" + `* 2 FETCH (FLAGS (A \Seen))` + "\r\n", `1[\Deleted \Seen a b] 2[A \Seen]`},
		{`STORE 1 -FLAGS.SILENT (B \seen)`, "", `1[\Deleted a] 2[A \Seen]`},
		{`UID STORE 1:* -FLAGS a`, `* 1 FETCH (UID 1 FLAGS (\Deleted))` + "\r\n" + `* 2 FETCH (UID 2 FLAGS (\Seen))` + "\r\n", `1[\Deleted] 2[\Seen]`},
		{`UID STORE 7 +FLAGS a`, "", `1[\Deleted] 2[\Seen]`},
		{`STORE 2 +FLAGS (\Recent)`, `* 2 FETCH (FLAGS (\Seen))` + "\r\n", `1[\Deleted] 2[\Seen]`},
		{`STORE 2 FLAGS.SILENT ()`, "", `1[\Deleted] 2[]`},
		{`STORE 2 +FLAGS \Draft x`, `* 2 FETCH (FLAGS (\Draft x))` + "\r\n", `1[\Deleted] 2[\Draft x]`},
	} {
		p.want(c.command, c.untagged, "OK")
		if got := flagsOf(srv, "INBOX"); got != c.flags {
			t.Errorf("%s: got %s, want %s", c.command, got, c.flags)
		}
	}
	for _, bad := range []string{"", "1", "1 FLAGS", "1 *FLAGS (a)", "1 +FOO (a)", "1 +FLAGS (a", "3 +FLAGS (a)", `1 +FLAGS (\)`, "1 +FLAGS (a) b"} {
		p.want("STORE "+bad, "", "BAD")
	}
}

func TestExpunge(t *testing.T) {
	srv, p := inBox(t, nil, small, small, small, small, small)
	p.ok(`STORE 2,4,5 +FLAGS.SILENT (\Deleted)`)
	p.want("UID EXPUNGE 1:2,5", "* 2 EXPUNGE\r\n* 4 EXPUNGE\r\n", "OK")
	if got := flagsOf(srv, "INBOX"); got != `1[] 3[] 4[\Deleted]` {
		t.Errorf("after UID EXPUNGE: got %s", got)
	}
	p.want("EXPUNGE", "* 3 EXPUNGE\r\n", "OK")
	p.ok(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	p.want("CLOSE", "", "OK")
	if got := flagsOf(srv, "INBOX"); got != "3[]" {
		t.Errorf("after CLOSE: got %s", got)
	}
	p.ok("SELECT INBOX")
	p.ok(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	p.ok("UNSELECT")
	p.ok("EXAMINE INBOX")
	p.ok("CLOSE")
	if got := flagsOf(srv, "INBOX"); got != `3[\Deleted]` {
		t.Errorf("after UNSELECT, and CLOSE of a folder that was EXAMINEd: got %s", got)
	}
	p.ok("SELECT INBOX")
	srv.Deliver([]byte(small))
	p.want("NOOP", "* 2 EXISTS\r\n* 0 RECENT\r\n", "OK")
	p.want("FETCH 2 UID", "* 2 FETCH (UID 6)\r\n", "OK") // no UID is used again
}

func TestCopyAndMove(t *testing.T) {
	srv, p := inBox(t, &imaptest.Options{Folders: []imaptest.Folder{{Name: "Box"}}}, "a", "b", "c", "d")
	p.ok(`STORE 2 FLAGS.SILENT (\Seen x)`)
	p.want("COPY 2:3 Box", "", "OK [COPYUID 2 2:3 1:2] ")
	p.want("UID COPY 4,1 Box", "", "OK [COPYUID 2 1,4 3:4] ")
	p.want("UID COPY 77 Box", "", "OK nothing")
	p.want("COPY 9 Box", "", "BAD")
	p.want("UID MOVE 2,4 Box", "* OK [COPYUID 2 2,4 5:6] moved\r\n* 2 EXPUNGE\r\n* 3 EXPUNGE\r\n", "OK moved")
	p.want("MOVE 1 INBOX", "* OK [COPYUID 1 1 5] moved\r\n* 1 EXPUNGE\r\n* 2 EXISTS\r\n* 0 RECENT\r\n", "OK moved")
	if got, want := flagsOf(srv, "Box"), `1[\Seen x] 2[] 3[] 4[] 5[\Seen x] 6[]`; got != want {
		t.Errorf("got %s in the target, want %s", got, want)
	}
	var raws string
	for _, m := range srv.MessagesIn("Box") {
		raws += string(m.Raw)
	}
	if raws != "bcadbd" {
		t.Errorf("got messages %q in the target, want bcadbd", raws)
	}
	if got := flagsOf(srv, "INBOX"); got != "3[] 5[]" {
		t.Errorf("got %s left, want 3 and 5", got)
	}
}

func TestAppend(t *testing.T) {
	srv, p := inBox(t, &imaptest.Options{MaxMessage: 1000, Folders: []imaptest.Folder{{Name: "Safe", ReadOnly: true}}})
	raw := "8-bit \xff, NUL \x00, bare \r and \n"
	p.want(fmt.Sprintf(`APPEND INBOX (\Flagged Key) "03-Feb-2024 04:05:06 +0100" {%d+}`+"\r\n%s", len(raw), raw), "* 1 EXISTS\r\n* 0 RECENT\r\n", "OK [APPENDUID 1 1]")
	got := srv.Messages()
	want := time.Date(2024, 2, 3, 3, 5, 6, 0, time.UTC)
	if len(got) != 1 || string(got[0].Raw) != raw || fmt.Sprint(got[0].Flags) != `[Key \Flagged]` && fmt.Sprint(got[0].Flags) != `[\Flagged Key]` || !got[0].Received.Equal(want) {
		t.Fatalf("got %+v", got)
	}
	p.send("s1 APPEND {5}\r\n")
	if line := p.line(); !strings.HasPrefix(line, "+ ") {
		t.Fatalf("got %q, want a go-ahead", line)
	}
	p.send("INBOX {3}\r\n")
	if line := p.line(); !strings.HasPrefix(line, "+ ") {
		t.Fatalf("got %q, want a go-ahead", line)
	}
	p.send("xyz\r\n")
	if _, reply := p.until("s1"); !strings.HasPrefix(reply, "OK [APPENDUID 1 2]") {
		t.Errorf("got %q", reply)
	}
	// What is refused is refused before the octets come, and the session goes on.
	for _, c := range []struct{ command, reply string }{
		{"APPEND none {5}", "NO [TRYCREATE]"},
		{"APPEND Safe {5}", "NO [NOPERM]"},
		{"APPEND INBOX {1001}", "NO [TOOBIG]"},
		{"APPEND none {5+}\r\nhello", "NO [TRYCREATE]"},
		{"APPEND INBOX", "BAD"},
		{"APPEND INBOX x", "BAD"},
		{`APPEND INBOX "yesterday" {5+}` + "\r\nhello", "BAD"},
		{"APPEND INBOX {5+}\r\nhello more", "BAD"},
		{"APPEND INBOX {0+}\r\n", "OK [APPENDUID 1 3]"},
	} {
		if _, reply := p.do(c.command); !strings.HasPrefix(reply, c.reply) {
			t.Errorf("%s: got %q, want %q", c.command, reply, c.reply)
		}
	}
	p.send("z APPEND INBOX {1001+}\r\n")
	if line := p.line(); !strings.HasPrefix(line, "* BYE") {
		t.Errorf("got %q, want BYE", line)
	}
	if n := len(srv.Messages()); n != 3 {
		t.Errorf("got %d messages, want 3", n)
	}
}

// TestAppendCut has a client that leaves in mid-message: nothing may be stored.
func TestAppendCut(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	for _, size := range []int{10, 100_000} {
		p := login(t, srv)
		p.send(fmt.Sprintf("a APPEND INBOX {%d+}\r\n12345", size))
		if err := p.conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	srv.Close()
	if n := len(srv.Messages()); n != 0 {
		t.Errorf("got %d messages, want none", n)
	}
}

func TestSearch(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Mode: connection.ModeInsecure})
	day := func(d int) time.Time { return time.Date(2024, 5, d, 23, 30, 0, 0, time.FixedZone("", -5*3600)) }
	srv.DeliverTo("INBOX",
		imaptest.Message{UID: 10, Received: day(1), Raw: []byte("Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nTo: Ann <ann@example.org>\r\nDate: Wed, 1 May 2024 10:00:00 +0000\r\n\r\nalpha")},
		imaptest.Message{UID: 20, Received: day(2), Raw: []byte("Subject: beta\r\n folded\r\nX-Tag:\r\n\r\nBETA text"), Flags: []connection.Flag{connection.FlagSeen, "Key"}},
		imaptest.Message{UID: 30, Received: day(3), Raw: []byte(strings.Repeat("x", 500)), Flags: []connection.Flag{connection.FlagDeleted, connection.FlagFlagged}},
		imaptest.Message{UID: 40, Received: day(4), Raw: nil, Flags: []connection.Flag{connection.FlagAnswered, connection.FlagDraft}},
	)
	p := login(t, srv)
	p.ok("SELECT INBOX")
	for query, want := range map[string]string{
		"ALL": "1 2 3 4", "SEEN": "2", "UNSEEN": "1 3 4", "DELETED": "3", "UNDELETED": "1 2 4", "FLAGGED": "3", "UNFLAGGED": "1 2 4",
		"ANSWERED": "4", "UNANSWERED": "1 2 3", "DRAFT": "4", "UNDRAFT": "1 2 3", "NEW": "", "RECENT": "", "OLD": "1 2 3 4",
		"KEYWORD key": "2", "UNKEYWORD Key": "1 3 4",
		"UID 20:30": "2 3", "UID 99:*": "4", "2:3": "2 3", "*": "4", "4:2 SEEN": "2",
		"SINCE 2-May-2024": "2 3 4", "BEFORE 2-may-2024": "1", `ON "3-May-2024"`: "3", "SENTON 1-May-2024": "1", "SENTSINCE 2-May-2024": "", "SENTBEFORE 2-May-2024": "1",
		"LARGER 499": "3", "LARGER 500": "", "SMALLER 1": "4",
		"NOT SEEN": "1 3 4", "OR SEEN DELETED": "2 3", "NOT (OR SEEN DELETED)": "1 4", "(SEEN KEYWORD Key)": "2",
		"SUBJECT BETA": "2", "SUBJECT {6+}\r\nGrüß": "1", `CHARSET UTF-8 SUBJECT "folded"`: "2", "TO ann": "1", "FROM ann": "", "CC x": "", "BCC x": "",
		`HEADER X-Tag ""`: "2", "HEADER subject beta": "2", "BODY beta": "2", "BODY Subject": "", "TEXT subject": "1 2",
	} {
		untagged := "* SEARCH"
		if want != "" {
			untagged += " " + want
		}
		p.want("SEARCH "+query, untagged+"\r\n", "OK")
	}
	p.want("UID SEARCH UNSEEN", "* SEARCH 10 30 40\r\n", "OK")
	p.want("SEARCH CHARSET KOI8-R ALL", "", "NO [BADCHARSET")
	for _, bad := range []string{"", "FOO", "KEYWORD", "SUBJECT", "SINCE x", "SINCE 31-Foo-2024", "LARGER x", "NOT", "OR SEEN", "()", "(SEEN", "UID x", "ALL ", strings.Repeat("NOT ", 40) + "ALL"} {
		p.want("SEARCH "+bad, "", "BAD")
	}
}
