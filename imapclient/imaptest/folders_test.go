package imaptest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

func TestList(t *testing.T) {
	_, p := inBox(t, &imaptest.Options{Folders: []imaptest.Folder{
		{Name: "Archive"},
		{Name: "Archive/2024"},
		{Name: "Archive/2024/May"},
		{Name: "Bin", Attributes: []string{`\Trash`}},
		{Name: "Entwürfe & mehr"},
		{Wire: "R&D"},
		{Wire: "caf\xe9"},
		{Wire: "line\r\nbreak"},
		{Name: `say "hi"`},
		{Name: "Shelf", Attributes: []string{`\Noselect`}},
		{Name: "日本"},
	}})
	line := func(name, attrs string) string { return `* LIST (` + attrs + `) "/" ` + name + "\r\n" }
	const leaf, parent = `\HasNoChildren`, `\HasChildren`
	for _, c := range []struct{ args, want string }{
		{`"" ""`, `* LIST (\Noselect) "/" ""` + "\r\n"},
		{`"" inbox`, line(`"INBOX"`, leaf)},
		{`"" Archive`, line(`"Archive"`, parent)},
		{`"" Archive/%`, line(`"Archive/2024"`, parent)},
		{`Archive/ %`, line(`"Archive/2024"`, parent)},
		{`"" Archive*`, line(`"Archive"`, parent) + line(`"Archive/2024"`, parent) + line(`"Archive/2024/May"`, leaf)},
		{`"" %May`, ""},
		{`"" *May`, line(`"Archive/2024/May"`, leaf)},
		{`"" "B%"`, line(`"Bin"`, `\Trash `+leaf)},
		{`"" (Bin Shelf)`, line(`"Bin"`, `\Trash `+leaf) + line(`"Shelf"`, `\Noselect `+leaf)},
		{`"" % RETURN (SPECIAL-USE)`, line(`"Archive"`, parent) + line(`"Bin"`, `\Trash `+leaf) + line(`"Entw&APw-rfe &- mehr"`, leaf) +
			line(`"INBOX"`, leaf) + line(`"R&D"`, leaf) + line(`"Shelf"`, `\Noselect `+leaf) + line("\"caf\xe9\"", leaf) +
			line("{11}\r\nline\r\nbreak", leaf) + line(`"say \"hi\""`, leaf) + line(`"&ZeVnLA-"`, leaf)},
		{`(SUBSCRIBED) "" B*`, line(`"Bin"`, `\Trash `+leaf+` \Subscribed`)},
		{`"" Bin RETURN (SUBSCRIBED CHILDREN)`, line(`"Bin"`, `\Trash `+leaf+` \Subscribed`)},
		{`(REMOTE) "" Bin`, line(`"Bin"`, `\Trash `+leaf)},
		{`(SUBSCRIBED RECURSIVEMATCH) "" Archive%`, line(`"Archive" ("CHILDINFO" ("SUBSCRIBED"))`, parent+` \Subscribed`)},
		{`(SPECIAL-USE) "" *`, line(`"Bin"`, `\Trash `+leaf)},
		{`"" Bin RETURN (STATUS (MESSAGES UIDNEXT))`, line(`"Bin"`, `\Trash `+leaf) + `* STATUS "Bin" (MESSAGES 0 UIDNEXT 1)` + "\r\n"},
	} {
		got := p.ok("LIST " + c.args)
		// The order of names is the server's; compare as sets of lines.
		if !slices.Equal(sortedLines(got), sortedLines(c.want)) {
			t.Errorf("LIST %s:\n got %q\nwant %q", c.args, got, c.want)
		}
	}
	for _, bad := range []string{"", `""`, `"" x y`, `"" x RETURN (FOO)`, `(FOO) "" x`, `(RECURSIVEMATCH) "" x`, `(RECURSIVEMATCH REMOTE) "" x`, `(CHILDREN) "" x`, `"" x RETURN (REMOTE)`, `"" x RETURN (STATUS (FOO))`, `"" ()x`} {
		p.want("LIST "+bad, "", "BAD")
	}
	for _, name := range []string{`"R&D"`, "\"caf\xe9\"", "{11+}\r\nline\r\nbreak", `"say \"hi\""`, "&ZeVnLA-"} {
		p.ok("SELECT " + name)
	}
	p.want("SELECT Shelf", "", "NO [NONEXISTENT]")
	p.want("STATUS Shelf (MESSAGES)", "", "NO [NONEXISTENT]")
	p.want("FETCH 1 UID", "", "BAD") // a SELECT that is refused leaves nothing selected
}

func sortedLines(s string) []string {
	lines := strings.SplitAfter(s, "\r\n")
	slices.Sort(lines)
	return lines
}

func TestListWithoutLevels(t *testing.T) {
	_, p := inBox(t, &imaptest.Options{Delimiter: "NIL", Folders: []imaptest.Folder{{Name: "a/b"}}})
	p.want(`LIST "" %`, `* LIST (\HasNoChildren) NIL "INBOX"`+"\r\n"+`* LIST (\HasNoChildren) NIL "a/b"`+"\r\n", "OK")
	p.want("NAMESPACE", "* NAMESPACE ((\"\" NIL)) NIL NIL\r\n", "OK")
}

// TestListPatternTime matches a pattern that takes exponential time if wildcards are tried one by one.
func TestListPatternTime(t *testing.T) {
	_, p := inBox(t, &imaptest.Options{Folders: []imaptest.Folder{{Name: strings.Repeat("a", 200)}}})
	p.want(`LIST "" "`+strings.Repeat("*a", 150)+`b"`, "", "OK")
}

func TestFolderCommands(t *testing.T) {
	srv, p := inBox(t, &imaptest.Options{Delimiter: ".", Folders: []imaptest.Folder{{Name: "Safe", ReadOnly: true}}}, small, small)
	for _, c := range []struct{ command, reply string }{
		{"CREATE a.b.c", "OK"},
		{"CREATE a.b", "NO [ALREADYEXISTS]"},
		{"CREATE inbox", "NO [ALREADYEXISTS]"},
		{"CREATE d.", "OK"},
		{`CREATE ""`, "NO [CANNOT]"},
		{"CREATE x y", "BAD"},
		{"DELETE nothing", "NO [NONEXISTENT]"},
		{"DELETE INBOX", "NO [CANNOT]"},
		{"DELETE Safe", "NO [NOPERM]"},
		{"DELETE a.b", "OK"}, // has children: the name stays
		{"SELECT a.b", "NO [NONEXISTENT]"},
		{"DELETE a.b", "NO [HASCHILDREN]"},
		{"RENAME a z", "OK"},
		{"RENAME a y", "NO [NONEXISTENT]"},
		{"RENAME z d", "NO [ALREADYEXISTS]"},
		{"RENAME z z.q", "NO [CANNOT]"},
		{"SUBSCRIBE z.b.c", "OK"},
		{"SUBSCRIBE nothing", "NO [NONEXISTENT]"},
		{"RENAME INBOX old.mail", "OK"},
	} {
		_, reply := p.do(c.command)
		if !strings.HasPrefix(reply, c.reply) {
			t.Errorf("%s: got %q, want %q", c.command, reply, c.reply)
		}
	}
	if got, want := srv.Folders(), []string{"INBOX", "Safe", "d", "old", "old.mail", "z", "z.b", "z.b.c"}; !slices.Equal(got, want) {
		t.Errorf("got folders %q, want %q", got, want)
	}
	if in, old := len(srv.Messages()), len(srv.MessagesIn("old.mail")); in != 0 || old != 2 {
		t.Errorf("after RENAME INBOX: got %d messages in it and %d in the new one, want 0 and 2", in, old)
	}
	p.want(`LSUB "" *c`, `* LSUB (\HasNoChildren) "." "z.b.c"`+"\r\n", "OK")
	p.ok("UNSUBSCRIBE z.b.c")
	p.want(`LSUB "" *c`, "", "OK")
	p.want(`LIST (SUBSCRIBED) "" "S*"`, `* LIST (\HasNoChildren \Subscribed) "." "Safe"`+"\r\n", "OK")
}

func TestStatus(t *testing.T) {
	srv, p := inBox(t, &imaptest.Options{Folders: []imaptest.Folder{{Name: "Übung"}}})
	srv.DeliverTo("Übung", imaptest.Message{Raw: []byte(small), Flags: []connection.Flag{connection.FlagSeen}}, imaptest.Message{UID: 90})
	want := `* STATUS "&ANw-bung" (MESSAGES 2 RECENT 0 UNSEEN 1 UIDNEXT 91 UIDVALIDITY 2)` + "\r\n"
	p.want("STATUS &ANw-bung (MESSAGES RECENT UNSEEN UIDNEXT UIDVALIDITY)", want, "OK")
	p.want("STATUS none (MESSAGES)", "", "NO [NONEXISTENT]")
	p.want("STATUS INBOX ()", "", "BAD")
	p.want("STATUS INBOX (FOO)", "", "BAD")
	if got := srv.UIDValidity("Übung"); got != 2 {
		t.Errorf("got UIDVALIDITY %d, want 2", got)
	}
	if got := srv.UIDValidity("none"); got != 0 {
		t.Errorf("no such folder: got UIDVALIDITY %d, want 0", got)
	}
}

func TestSelect(t *testing.T) {
	srv, p := inBox(t, &imaptest.Options{Folders: []imaptest.Folder{{Name: "Safe", ReadOnly: true}}})
	srv.DeliverTo("Box", imaptest.Message{Flags: []connection.Flag{`\SEEN`, "Odd"}}, imaptest.Message{UID: 1 << 31})
	const flags = `\Answered \Flagged \Deleted \Seen \Draft Odd`
	tail := "* 2 EXISTS\r\n* 0 RECENT\r\n* OK [UNSEEN 2] first unseen\r\n* OK [UIDVALIDITY 3] UIDs are of this life\r\n* OK [UIDNEXT 2147483649] the next one\r\n* OK [HIGHESTMODSEQ 3] the highest\r\n"
	p.want("SELECT Box", "* FLAGS ("+flags+")\r\n* OK [PERMANENTFLAGS ("+flags+` \*)] kept for ever`+"\r\n"+tail, "OK [READ-WRITE]")
	p.want("EXAMINE Box", "* FLAGS ("+flags+")\r\n* OK [PERMANENTFLAGS ()] read-only\r\n"+tail, "OK [READ-ONLY]")
	for _, c := range []string{`STORE 1 +FLAGS (\Seen)`, "EXPUNGE", "UID EXPUNGE 1", "MOVE 1 INBOX"} {
		p.want(c, "", "NO [READ-ONLY]")
	}
	p.ok("SELECT Box")
	p.want("COPY 1 Safe", "", "NO [NOPERM]")
	p.want("COPY 1 none", "", "NO [TRYCREATE]")
	_, reply := p.do("SELECT Safe")
	if !strings.HasPrefix(reply, "OK [READ-ONLY]") {
		t.Errorf("a folder that is read-only: got %q", reply)
	}
}

func TestSelectQuirks(t *testing.T) {
	_, p := inBox(t, &imaptest.Options{Quirks: imaptest.Quirks{NoUIDNext: true, NoUIDValidity: true, UIDNotSticky: true}})
	got := p.ok("SELECT INBOX")
	if strings.Contains(got, "UIDNEXT") || strings.Contains(got, "UIDVALIDITY") || !strings.Contains(got, "[UIDNOTSTICKY]") {
		t.Errorf("SELECT: got %q", got)
	}
	p.want("STATUS INBOX (UIDNEXT MESSAGES UIDVALIDITY)", `* STATUS "INBOX" (MESSAGES 0)`+"\r\n", "OK")
}
