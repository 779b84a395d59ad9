package imaptest_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

const small = "Subject: one\r\nFrom: a@example.org\r\n\r\nbody\r\n"

func TestFetchItems(t *testing.T) {
	received := time.Date(2024, 2, 3, 4, 5, 6, 0, time.FixedZone("", 3600))
	srv := imaptest.NewServer(t, &imaptest.Options{Mode: connection.ModeInsecure})
	srv.DeliverTo("INBOX", imaptest.Message{Raw: []byte(small), Received: received, Flags: []connection.Flag{`\flagged`, "$Work"}, UID: 4000000000})
	p := login(t, srv)
	p.ok("EXAMINE INBOX")
	lit := func(s string) string { return fmt.Sprintf("{%d}\r\n%s", len(s), s) }
	for _, c := range []struct{ items, want string }{
		{"FLAGS", `FLAGS ($Work \Flagged)`},
		{"UID", "UID 4000000000"},
		{"INTERNALDATE", `INTERNALDATE " 3-Feb-2024 04:05:06 +0100"`},
		{"RFC822.SIZE", "RFC822.SIZE 43"},
		{"FAST", `FLAGS ($Work \Flagged) INTERNALDATE " 3-Feb-2024 04:05:06 +0100" RFC822.SIZE 43`},
		{"BODY.PEEK[]", "BODY[] " + lit(small)},
		{"(uid body.peek[])", "UID 4000000000 BODY[] " + lit(small)},
		{"RFC822", "RFC822 " + lit(small)},
		{"BODY.PEEK[]<3.5>", "BODY[]<3> " + lit(small[3:8])},
		{"BODY.PEEK[]<40.500>", "BODY[]<40> " + lit(small[40:])},
		{"BODY.PEEK[]<43.1>", "BODY[]<43> " + lit("")},
		{"BODY.PEEK[]<4444.1>", "BODY[]<4444> " + lit("")},
		{"BODY.PEEK[HEADER]", "BODY[HEADER] " + lit(small[:37])},
		{"BODY.PEEK[TEXT]", "BODY[TEXT] " + lit("body\r\n")},
		{"BODY.PEEK[HEADER.FIELDS (subject to)]", "BODY[HEADER.FIELDS (subject to)] " + lit("Subject: one\r\n\r\n")},
		{`BODY.PEEK[HEADER.FIELDS.NOT ("SUBJECT")]`, "BODY[HEADER.FIELDS.NOT (SUBJECT)] " + lit("From: a@example.org\r\n\r\n")},
		{"ENVELOPE", `ENVELOPE (NIL "one" ((NIL NIL "a" "example.org")) ((NIL NIL "a" "example.org")) ((NIL NIL "a" "example.org")) NIL NIL NIL NIL NIL)`},
	} {
		p.want("FETCH 1 "+c.items, "* 1 FETCH ("+c.want+")\r\n", "OK")
	}
	p.want("UID FETCH 1:* FLAGS", `* 1 FETCH (UID 4000000000 FLAGS ($Work \Flagged))`+"\r\n", "OK")
	for _, bad := range []string{"", "2 UID", "0 UID", "1", "1 ()", "1 (UID", "1 FOO", "1 BODY[", "1 BODY[]<0>", "1 BODY[]<0.0>", "1 UID FLAGS", "x UID", "1:x UID", "-1 UID", "1 BODY[HEADER.FIELDS ()]", "1,,1 UID"} {
		p.want("FETCH "+bad, "", "BAD")
	}
}

func TestBodiesAreExact(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	corpus := connectiontest.Corpus()
	for _, sample := range corpus {
		srv.Deliver(sample.Raw)
	}
	p := login(t, srv)
	p.ok("EXAMINE INBOX")
	for i, sample := range corpus {
		got := p.ok(fmt.Sprintf("FETCH %d (BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY.PEEK[])", i+1))
		whole := fmt.Sprintf("{%d}\r\n%s)\r\n", len(sample.Raw), sample.Raw)
		if !strings.HasSuffix(got, whole) {
			t.Errorf("%s: the body is not what was delivered", sample.Name)
		}
	}
	left := srv.Messages()
	if len(left) != len(corpus) {
		t.Fatalf("got %d messages, want %d", len(left), len(corpus))
	}
	for i, sample := range corpus {
		if !bytes.Equal(left[i].Raw, sample.Raw) {
			t.Errorf("%s: Messages returns other octets than were delivered", sample.Name)
		}
	}
}

func TestEnvelope(t *testing.T) {
	_, p := inBox(t, nil,
		"Date: Fri, 1 Jan 2021 00:00:00 +0000\r\nSubject: gr\xfc\xdfe\r\nFrom: =?utf-8?q?M=C3=BCller?= <m@example.org>\r\nReply-To: broken <\r\n"+
			"To: \"A, B\" <ab@example.org>, c@example.org\r\nIn-Reply-To: <1@x>\r\nMessage-ID:\r\n <2@x>\r\n\r\n",
		"no header at all")
	const sender = `(("=?utf-8?q?M=C3=BCller?=" NIL "m" "example.org"))`
	p.want("FETCH 1 ENVELOPE", `* 1 FETCH (ENVELOPE ("Fri, 1 Jan 2021 00:00:00 +0000" {5}`+"\r\ngr\xfc\xdfe "+sender+" "+sender+" "+sender+
		` (("A, B" NIL "ab" "example.org")(NIL NIL "c" "example.org")) NIL NIL "<1@x>" "<2@x>"))`+"\r\n", "OK")
	p.want("FETCH 2 ENVELOPE", "* 2 FETCH (ENVELOPE (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL))\r\n", "OK")
}
