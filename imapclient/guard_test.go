package imapclient

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	goclient "github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailconn/mailconn/connection"
)

// pipeLink returns a link without a prelude, as if after a login, over conn.
func pipeLink(t testing.TB, conn net.Conn, caps ...string) *link {
	t.Helper()
	cfg := &Config{
		Username: "juser", Password: connection.NewSecret("c4nary-pw"), AllowPlaintextAuth: true,
		NetworkSettings: connection.NetworkSettings{Server: "mail.example.org:143", Mode: connection.ModeInsecure},
	}
	env := &connection.Env{Dial: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
	l, err := newLink(cfg, env, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.dial(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.caps = append([]string{"IMAP4REV1"}, caps...)
	return l
}

// answers serves one connection: it answers the first command of each verb with the text given for it ("$" is the
// tag), and any other with OK.
func answers(conn net.Conn, texts map[string]string) {
	defer func() { _ = conn.Close() }()
	br := bufio.NewReader(conn)
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Fields(line)
		verb := words[1]
		if verb == "UID" {
			verb = words[2]
		}
		text, ok := texts[verb]
		delete(texts, verb)
		if !ok {
			text = "$ OK done\r\n"
		}
		if _, err := io.WriteString(conn, strings.ReplaceAll(text, "$", words[0])); err != nil {
			return
		}
	}
}

// session is a go-imap client in front of texts, behind a guard or not.
type testSession struct {
	*goclient.Client
	guard  *guard
	quirks []string
}

func newTestSession(t *testing.T, guarded bool, texts map[string]string) *testSession {
	t.Helper()
	near, far := net.Pipe()
	s := &testSession{}
	conn := near
	if guarded {
		s.guard = newGuard(pipeLink(t, near), func(q string) { s.quirks = append(s.quirks, q) })
		conn = s.guard
		go answers(far, texts)
	} else {
		go func() {
			_, _ = io.WriteString(far, "* PREAUTH [CAPABILITY IMAP4rev1] hello\r\n") // the client's side sees what fails
			answers(far, texts)
		}()
	}
	s.Client = goclient.New(conn, nil)
	if err := s.WaitGreeting(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = near.Close()
		_ = s.Close()
	})
	return s
}

// within runs f, and reports an error if it takes too long.
func within(limit time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
		return errors.New("hangs")
	}
}

// testPatience is how long a command may take that should work.
const testPatience = 20 * time.Second

func noop(s *testSession) error { return s.Noop().Wait() }

func search(want ...uint32) func(*testSession) error {
	return func(s *testSession) error {
		data, err := s.UIDSearch(&goimap.SearchCriteria{}, nil).Wait()
		if err != nil {
			return err
		}
		var got []uint32
		for _, uid := range data.AllUIDs() {
			got = append(got, uint32(uid))
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("found %v, want %v", got, want)
		}
		return nil
	}
}

// fetchBody wants one message with UID 10 and this body.
func fetchBody(want string) func(*testSession) error {
	return func(s *testSession) error {
		cmd := s.Fetch(goimap.UIDSetNum(10), &goimap.FetchOptions{UID: true, Flags: true, BodySection: []*goimap.FetchItemBodySection{{Peek: true}}})
		msgs, err := cmd.Collect()
		if err != nil {
			return err
		}
		if len(msgs) != 1 || msgs[0].UID != 10 || len(msgs[0].BodySection) != 1 || string(msgs[0].BodySection[0].Bytes) != want {
			return fmt.Errorf("got %+v, want UID 10 with %q", msgs, want)
		}
		return nil
	}
}

func list(want ...string) func(*testSession) error {
	return func(s *testSession) error {
		data, err := s.List("", "*", nil).Collect()
		if err != nil {
			return err
		}
		var got []string
		for _, d := range data {
			got = append(got, d.Mailbox)
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("listed %q, want %q", got, want)
		}
		return nil
	}
}

func selectFolder(validity, next uint32) func(*testSession) error {
	return func(s *testSession) error {
		data, err := s.Select("INBOX", nil).Wait()
		if err != nil {
			return err
		}
		if data.UIDValidity != validity || uint32(data.UIDNext) != next {
			return fmt.Errorf("got UIDVALIDITY %d and UIDNEXT %d, want %d and %d", data.UIDValidity, data.UIDNext, validity, next)
		}
		return nil
	}
}

const (
	deadAlone = true
	fineAlone = false
)

// oddities are what servers send that go-imap dies of, or that look as if it should (imap.md, 6.4).
var oddities = []struct {
	name  string
	verb  string
	text  string
	run   func(*testSession) error
	alone bool // whether go-imap without the guard dies or hangs of it
	quirk string
}{
	{"vanished", "NOOP", "* VANISHED 1:5\r\n$ OK\r\n", noop, deadAlone, "vanished"},
	{"vanished earlier", "NOOP", "* VANISHED (EARLIER) 1:5\r\n$ OK\r\n", noop, deadAlone, "vanished"},
	{"lsub", "NOOP", "* LSUB () \"/\" a\r\n$ OK\r\n", noop, deadAlone, "lsub"},
	{"xlist with a literal", "NOOP", "* XLIST () \"/\" {3}\r\na(\"\r\n$ OK\r\n", noop, deadAlone, "xlist"},
	{"unknown response", "NOOP", "* X-STRANGE ((\"\r\n$ OK\r\n", noop, deadAlone, "unknown-response"},
	{"unknown response with a number", "NOOP", "* 12 X-STRANGE\r\n$ OK\r\n", noop, deadAlone, "unknown-response"},
	{"empty line", "NOOP", "\r\n* OK hi\r\n\r\n$ OK\r\n", noop, deadAlone, "empty-line"},
	{"two spaces", "NOOP", "*  OK hi\r\n$ OK\r\n", noop, deadAlone, "spaces"},
	{"two spaces before a list", "NOOP", "* FLAGS  (\\Seen)\r\n$ OK\r\n", noop, deadAlone, "spaces"},
	{"search with two spaces", "SEARCH", "* SEARCH 1 2  3\r\n$ OK\r\n", search(1, 2, 3), deadAlone, "spaces"},
	{"search with spaces at the end", "SEARCH", "* SEARCH 1 2  \r\n$ OK\r\n", search(1, 2), deadAlone, "spaces"},
	{"search descending", "SEARCH", "* SEARCH 9 5 5 1\r\n$ OK\r\n", search(1, 5, 9), fineAlone, "search-order"},
	{"search with modseq", "SEARCH", "* SEARCH 2 5 (MODSEQ 917)\r\n$ OK\r\n", search(2, 5), fineAlone, ""},
	{"search empty", "SEARCH", "* SEARCH\r\n$ OK\r\n", search(), fineAlone, ""},
	{"id with nil", "NOOP", "* ID (\"name\" NIL)\r\n$ OK\r\n", noop, deadAlone, "id"},
	{"flag without a name", "NOOP", "* FLAGS (\\)\r\n$ OK\r\n", noop, deadAlone, "flag"},
	{"flag with two backslashes", "NOOP", "* FLAGS (\\Seen \\\\Strange)\r\n$ OK\r\n", noop, deadAlone, "flag"},
	{"keyword with ]", "NOOP", "* FLAGS (a]b c)\r\n$ OK\r\n", noop, deadAlone, "flag"},
	{"permanent flag without a name", "SELECT", "* OK [PERMANENTFLAGS (\\Deleted \\ \\*)] ok\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 8] x\r\n$ OK [READ-WRITE]\r\n", selectFolder(7, 8), deadAlone, "flag"},
	{"flag in a fetch", "FETCH", "* 1 FETCH (FLAGS (\\Seen x]y) UID 10 BODY[] {3}\r\nabc)\r\n$ OK\r\n", fetchBody("abc"), deadAlone, "flag"},
	{"keyword with [", "NOOP", "* FLAGS (a[b)\r\n$ OK\r\n", noop, fineAlone, ""},
	{"list: bad utf-7", "LIST", "* LIST () \"/\" \"R&D\"\r\n$ OK\r\n", list("R&D"), deadAlone, "folder-name"},
	{"list: 8 bit", "LIST", "* LIST () \"/\" caf\xe9\r\n$ OK\r\n", list("café"), deadAlone, "folder-name"},
	{"list: bad name as a literal", "LIST", "* LIST () \"/\" {5}\r\na \"&b\r\n$ OK\r\n", list(`a "&b`), deadAlone, "folder-name"},
	{"list: newline in a name", "LIST", "* LIST () \"/\" {3}\r\na\nb\r\n* LIST () \"/\" c\r\n$ OK\r\n", list("c"), deadAlone, "folder-name"},
	{"list: tab", "LIST", "* LIST () \"/\" \"a\tb\"\r\n$ OK\r\n", list("a␉b"), deadAlone, "folder-name"},
	{"list: unquoted name with a space", "LIST", "* LIST () \"/\" Sent Items\r\n$ OK\r\n", list("Sent Items"), deadAlone, "folder-name"},
	{"list: empty delimiter", "LIST", "* LIST () \"\" INBOX\r\n$ OK\r\n", list("INBOX"), deadAlone, "delimiter"},
	{"list: bad attribute", "LIST", "* LIST (\\HasNoChildren \\) \"/\" a\r\n$ OK\r\n", list("a"), deadAlone, "flag"},
	{"list: no delimiter, good utf-7", "LIST", "* LIST () NIL \"Entw&APw-rfe\"\r\n$ OK\r\n", list("Entwürfe"), fineAlone, ""},
	{"list: trailing space, ], quotes", "LIST", "* LIST () \"/\" \"a \"\r\n* LIST () \"/\" b]\r\n* LIST () \"/\" \"c\\\"d\"\r\n$ OK\r\n", list("a ", "b]", `c"d`), fineAlone, ""},
	{"uidvalidity too large", "SELECT", "* OK [UIDVALIDITY 4294967296] x\r\n* OK [UIDNEXT 8] x\r\n$ OK [READ-WRITE]\r\n", selectFolder(1, 8), deadAlone, "uidvalidity"},
	{"uidvalidity no number", "SELECT", "* OK [UIDVALIDITY abc] x\r\n* OK [UIDNEXT 8] x\r\n$ OK [READ-WRITE]\r\n", selectFolder(1, 8), deadAlone, "uidvalidity"},
	{"uidvalidity 0", "SELECT", "* OK [UIDVALIDITY 0] x\r\n* OK [UIDNEXT 8] x\r\n$ OK [READ-WRITE]\r\n", selectFolder(0, 8), fineAlone, ""},
	{"uidnext no number", "SELECT", "* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT -1] x\r\n$ OK [READ-WRITE]\r\n", selectFolder(7, 0), deadAlone, "uidnext"},
	{"code in lower case", "SELECT", "* OK [uidvalidity 7] x\r\n* OK [UIDNEXT 8] x\r\n$ OK\r\n", selectFolder(7, 8), deadAlone, ""}, // alone: UIDVALIDITY is lost
	{"copyuid with a star", "NOOP", "* OK [COPYUID 1 1:* 5:*] x\r\n$ OK\r\n", noop, deadAlone, "copyuid"},
	{"code without an end", "NOOP", "* OK [ALERT go away\r\n* 1 EXISTS\r\n$ OK\r\n", noop, deadAlone, "response-code"},
	{"bare cr in a text", "NOOP", "* OK a\rb\r\n$ OK\r\n", noop, deadAlone, ""},
	{"continuation nobody asked for", "NOOP", "$ OK\r\n+ go on\r\n", noop, deadAlone, "unasked-continuation"},
	{"fetch: unknown item", "FETCH", "* 1 FETCH (X-GM-MSGID 123 X-FOO (1 \"a)\") UID 10 BODY[] {3}\r\nabc X-GM-LABELS (1 \"a)\"))\r\n$ OK\r\n", fetchBody("abc"), deadAlone, "unasked-item"},
	{"fetch: body structure", "FETCH", "* 1 FETCH (UID 10 BODYSTRUCTURE (\"TEXT\" (nil)) BODY[] {3}\r\nabc)\r\n$ OK\r\n", fetchBody("abc"), deadAlone, "unasked-item"},
	{"fetch: internaldate nil", "FETCH", "* 1 FETCH (INTERNALDATE NIL UID 10 BODY[] {3}\r\nabc)\r\n$ OK\r\n", fetchBody("abc"), deadAlone, "internaldate"},
	{"fetch: internaldate impossible", "FETCH", "* 1 FETCH (UID 10 INTERNALDATE \"01-Jan-0000 00:00:00\" BODY[] {3}\r\nabc)\r\n$ OK\r\n", fetchBody("abc"), deadAlone, "internaldate"},
	{"fetch: size below zero", "FETCH", "* 1 FETCH (UID 10 RFC822.SIZE -1 BODY[] {3}\r\nabc)\r\n$ OK\r\n", fetchBody("abc"), deadAlone, "size"},
	{"fetch: nil in lower case", "FETCH", "* 1 FETCH (UID 10 BODY[] nil)\r\n$ OK\r\n", fetchBody(""), deadAlone, "nil"},
	{"fetch: nil", "FETCH", "* 1 FETCH (UID 10 BODY[] NIL)\r\n$ OK\r\n", fetchBody(""), fineAlone, ""},
	{"fetch: quoted body", "FETCH", "* 1 FETCH (UID 10 BODY[] \"a)b\")\r\n$ OK\r\n", fetchBody("a)b"), fineAlone, ""},
	{"fetch: empty bodies", "FETCH", "* 1 FETCH (UID 10 BODY[] {0}\r\n)\r\n$ OK\r\n", fetchBody(""), fineAlone, ""},
	{"fetch: empty quoted body", "FETCH", "* 1 FETCH (UID 10 BODY[] \"\")\r\n$ OK\r\n", fetchBody(""), fineAlone, ""},
	{"fetch: body of protocol text", "FETCH", "* 1 FETCH (UID 10 BODY[] {24}\r\n* BYE ((((\r\nT1 NO {99}\r\n)\r\n$ OK\r\n", fetchBody("* BYE ((((\r\nT1 NO {99}\r\n"), fineAlone, ""},
	{"survives: text missing", "NOOP", "* OK\r\n* OK \r\n* BAD weird\r\n$ OK\r\n", noop, fineAlone, ""},
	{"survives: literal in free text", "NOOP", "* OK a {5}\r\n$ OK b (\" {5}\r\n", noop, fineAlone, ""},
	{"survives: fetch 0, empty list", "NOOP", "* 0 FETCH (FLAGS ())\r\n* 1 FETCH ()\r\n* 1 FETCH (MODSEQ (0))\r\n$ OK\r\n", noop, fineAlone, ""},
	{"survives: line ends in LF alone", "NOOP", "* OK hi\n$ OK done\n", noop, fineAlone, ""},
}

func TestGuardRepairsWhatGoIMAPDiesOf(t *testing.T) {
	for _, tt := range oddities {
		t.Run(tt.name, func(t *testing.T) {
			texts := func() map[string]string { return map[string]string{tt.verb: tt.text} }
			s := newTestSession(t, true, texts())
			if err := within(testPatience, func() error { return tt.run(s) }); err != nil {
				t.Errorf("guarded: %v (guard: %v)", err, s.guard.Err())
			}
			if err := within(testPatience, func() error { return noop(s) }); err != nil {
				t.Errorf("guarded: the next command: %v (guard: %v)", err, s.guard.Err())
			}
			for _, quirk := range s.quirks {
				if !slices.ContainsFunc(quirks, func(q Quirk) bool { return q.Name == quirk }) {
					t.Errorf("the quirk %q is not in the table", quirk)
				}
			}
			if tt.quirk != "" && !slices.Contains(s.quirks, tt.quirk) || tt.quirk == "" && len(s.quirks) > 0 {
				t.Errorf("told of the quirks %q, want %q", s.quirks, tt.quirk)
			}

			alone, limit := newTestSession(t, false, texts()), testPatience
			if tt.alone == deadAlone {
				limit = time.Second // some hang
			}
			err := within(limit, func() error { return tt.run(alone) })
			if err == nil {
				err = within(limit, func() error { return noop(alone) })
			}
			if dead := err != nil; dead != tt.alone {
				t.Errorf("go-imap alone: dead is %t (%v), want %t: the guard's row can change", dead, err, tt.alone)
			}
		})
	}
}

// TestGuardHidesWhatFreezesGoIMAP has no second half: go-imap alone would spin for ever.
func TestGuardHidesWhatFreezesGoIMAP(t *testing.T) {
	for _, text := range []string{
		"* CAPABILITY X (\r\n", "* ENABLED X(\r\n", "* capability X (\r\n", "* OK [CAPABILITY X (] hi\r\n", "* OK [CAPABILITY X (\r\n",
		"* OK [x y] [CAPABILITY X (\r\n", "* OK [CAPABILITY A] [CAPABILITY X (] hi\r\n", "* OK [[CAPABILITY X (\r\n", "* OK [CAPABILITY X (\r\n* 1 EXISTS\r\n* OK ]\r\n",
	} {
		for _, tagged := range []string{"$ OK\r\n", "$ OK [CAPABILITY X (] done\r\n", "$ OK [CAPABILITY X (\r\n"} {
			t.Run(text+tagged, func(t *testing.T) {
				s := newTestSession(t, true, map[string]string{"NOOP": text + tagged})
				for range 2 {
					if err := within(testPatience, func() error { return noop(s) }); err != nil {
						t.Fatalf("%v (guard: %v)", err, s.guard.Err())
					}
				}
			})
		}
	}
}

// endless is a stream of one octet, after some others.
func endless(head string, c byte) io.Reader {
	return io.MultiReader(strings.NewReader(head), repeated(c))
}

type repeated byte

func (r repeated) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r)
	}
	return len(p), nil
}

func TestGuardLimits(t *testing.T) {
	for _, tt := range []struct {
		name, verb, text string
		want             string
	}{
		{"nesting", "FETCH", "* 1 FETCH (BODYSTRUCTURE ((((((((" + strings.Repeat("(", 3<<20), "nested"},
		{"nesting across literals", "LIST", "* LIST (((({3}\r\nabc" + strings.Repeat("({0}\r\n", 80), "nested"},
		{"line", "NOOP", "* OK " + strings.Repeat("x", 2<<20), "line over"},
		{"line of no kind", "NOOP", strings.Repeat("x", 2<<20), "no response"},
		{"spaces", "NOOP", strings.Repeat(" ", 2<<20), "no response"},
		{"dropped line", "NOOP", "* X-FOO " + strings.Repeat("x", 2<<20), "line over"},
		{"quoted name", "LIST", "* LIST () \"/\" \"" + strings.Repeat("x", 2<<20), "line over"},
		{"name as a literal", "LIST", "* LIST () \"/\" {9000000000}\r\n", "literal of 9000000000 octets"},
		{"many names in one response", "LIST", "* LIST () \"/\"" + strings.Repeat(" {600000}\r\n"+strings.Repeat("x", 600000), 2), "over 1048576"},
		{"literal of no int64", "FETCH", "* 1 FETCH (BODY[] {9223372036854775808}\r\n", "impossible size"},
		{"literal below zero", "FETCH", "* 1 FETCH (BODY[] {-1}\r\n", "impossible size"},
		{"literal with a plus", "FETCH", "* 1 FETCH (BODY[] {+5}\r\n", "impossible size"},
		{"literal as an unknown item", "FETCH", "* 1 FETCH (RFC822 {5}\r\nabcde)\r\n", "no body"},
		{"literal as an unknown section", "FETCH", "* 1 FETCH (FOO[] {5}\r\nabcde)\r\n", "FOO[]"},
		{"literal in a list of flags", "NOOP", "* FLAGS (a {3}\r\nabc)\r\n", "with a literal"},
		{"dropped literal", "NOOP", "* XLIST () \"/\" {9000000000}\r\n", "literal of"},
		{"number of messages", "NOOP", "* 5000000000 EXISTS\r\n", "out of range"},
		{"number found", "SEARCH", "* SEARCH 1 4294967296\r\n", "out of range"},
		{"no number found", "SEARCH", "* SEARCH 1 abc\r\n", "SEARCH"},
		{"endless modseq", "SEARCH", "* SEARCH 1 (" + strings.Repeat("x", 1000), "behind its numbers"},
		{"unbalanced", "NOOP", "* FLAGS (\\Seen\r\n", "do not close"},
		{"closed too often", "NOOP", "* FLAGS (\\Seen))\r\n", "do not close"},
		{"unknown tag", "NOOP", "T99 OK\r\n", "not sent"},
		{"tagged data", "NOOP", "$ EXISTS\r\n", "no status"},
		{"tagged bye", "NOOP", "$ BYE\r\n", "BYE"},
		{"words for ever", "NOOP", strings.Repeat("* OK still here\r\n", 20_000), "answer nothing"},
		{"words in answer to a search", "SEARCH", strings.Repeat("* NO [ALERT] wait\r\n", 20_000), "answer nothing"},
		{"empty lines for ever", "NOOP", strings.Repeat("\r\n", 20_000), "answer nothing"},
		{"the same number for ever", "NOOP", strings.Repeat("* 5 EXISTS\r\n* 0 RECENT\r\n", 10_000), "answer nothing"},
		{"flags of the folder for ever", "NOOP", strings.Repeat("* FLAGS (\\Seen)\r\n", 20_000), "answer nothing"},
		{"what nobody knows for ever", "NOOP", strings.Repeat("* X-FOO bar\r\n", 20_000), "answer nothing"},
		{"what nobody asked for, for ever", "NOOP", strings.Repeat("* LIST () \"/\" a\r\n", 20_000), "answer nothing"},
		{"flags of messages for ever", "NOOP", strings.Repeat("* 1 FETCH (FLAGS ())\r\n", 20_000), "answer nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newTestSession(t, true, map[string]string{tt.verb: tt.text})
			err := within(testPatience, func() error {
				switch tt.verb {
				case "FETCH":
					return fetchBody("")(s)
				case "LIST":
					return list()(s)
				case "SEARCH":
					return search()(s)
				}
				return noop(s)
			})
			if err == nil || err.Error() == "hangs" {
				t.Errorf("the command: got %v, want an error", err)
			}
			if err := s.guard.Err(); !errors.Is(err, connection.ErrProtocol) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want ErrProtocol with %q", err, tt.want)
			}
		})
	}
}

// feed is a guard whose server has sent what r holds, with the commands of these verbs under way.
func feed(t testing.TB, r io.Reader, verbs ...string) *guard {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() {
		_ = near.Close()
		_ = far.Close()
	})
	l := pipeLink(t, near)
	l.br = bufio.NewReaderSize(r, linkBuffer)
	g := newGuard(l, nil)
	for i, verb := range verbs {
		g.sent(fmt.Appendf(nil, "T%d %s\r\n", i+1, verb))
	}
	if _, err := io.CopyN(io.Discard, g, int64(len(g.out))); err != nil {
		t.Fatal(err)
	}
	return g
}

// A command ends although each response answers it, and the next one counts anew.
func TestEndlessAnswers(t *testing.T) {
	answers := strings.Repeat("* LIST () \"/\" a\r\n", 10)
	g := feed(t, strings.NewReader(answers+"T1 OK done\r\n"+answers), "LIST", "LIST")
	g.responses.Store(maxResponses - 11) // the ten and the tagged reply
	out, err := io.ReadAll(g)
	if want := answers + "T1 OK done\r\n" + answers; err != nil || string(out) != want {
		t.Errorf("got %q, %v; want all", out, err)
	}
	// Somebody may mark all messages while a command is under way.
	marked := "* 20000 EXISTS\r\n" + strings.Repeat("* 1 FETCH (FLAGS (\\Seen))\r\n", 20_000)
	if out, err := io.ReadAll(feed(t, strings.NewReader(marked), "NOOP")); err != nil || string(out) != marked {
		t.Errorf("got %d octets, %v; want %d", len(out), err, len(marked))
	}
	g = feed(t, strings.NewReader(answers), "LIST")
	g.responses.Store(maxResponses - 9)
	if _, err := io.ReadAll(g); !errors.Is(err, connection.ErrProtocol) || !strings.Contains(err.Error(), "to one command") {
		t.Errorf("got %v, want ErrProtocol", err)
	}
}

// wellFormed is a session that passes unchanged.
const wellFormed = "* OK [ALERT] hello {5}\r\n" +
	"* 3 EXISTS\r\n* 0 RECENT\r\n* 2 EXPUNGE\r\n* FLAGS (\\Seen \\Deleted $Junk)\r\n" +
	"* OK [UIDVALIDITY 3857529045] ok\r\n* OK [PERMANENTFLAGS (\\Seen \\*)] ok\r\n* NO [OVERQUOTA] full\r\n* BAD (\r\n" +
	"* SEARCH 2 84 882 4294967295\r\n* SEARCH\r\n* ESEARCH (TAG \"T1\") UID ALL 4:18,21\r\n" +
	"* LIST (\\Noselect) \"/\" foo\r\n* LIST () \"/\" {3}\r\nb r\r\n* LIST () NIL \"&AOk-\" (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292)\r\n" +
	"* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n" +
	"* 1 FETCH (UID 4 FLAGS (\\Seen) INTERNALDATE \" 1-Jul-2026 02:44:25 -0700\" RFC822.SIZE 5 BODY[] {5}\r\n(\"\r\n{)\r\n" +
	"* 2 FETCH (BODY[]<0> {0}\r\n UID 5 MODSEQ (12))\r\n* 3 FETCH (BODY[HEADER.FIELDS (TO)] \"a\\\"b)\")\r\n* 4 FETCH (BODY[TEXT] NIL)\r\n* 5 FETCH (BINARY[1] ~{2}\r\n\x00\xff)\r\n" +
	"T1 OK [READ-WRITE] done\r\nT2 NO [NONEXISTENT] no\r\nT3 BAD what\r\n+ idling\r\n"

func TestWellFormedPassesUnchanged(t *testing.T) {
	verbs := []string{"UID SEARCH 1:*", "LIST \"\" *", "STATUS x", "NAMESPACE", "UID FETCH 1:*"}
	for _, tt := range []struct {
		name string
		in   io.Reader
		out  func(io.Reader) io.Reader
	}{
		{"at once", strings.NewReader(wellFormed), func(r io.Reader) io.Reader { return r }},
		{"one octet at a time from the server", iotest.OneByteReader(strings.NewReader(wellFormed)), func(r io.Reader) io.Reader { return r }},
		{"one octet at a time to the reader", strings.NewReader(wellFormed), iotest.OneByteReader},
		{"halves", iotest.HalfReader(strings.NewReader(wellFormed)), iotest.HalfReader},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := feed(t, tt.in, verbs...)
			got, err := io.ReadAll(tt.out(g))
			if err != nil || string(got) != wellFormed {
				t.Errorf("got %v and\n%q, want\n%q", err, got, wellFormed)
			}
		})
	}
}

func TestLongSearchIsHandedOnInOrder(t *testing.T) {
	var up, down bytes.Buffer
	up.WriteString("* SEARCH")
	down.WriteString("* SEARCH")
	const n = 100_000
	for i := range n {
		fmt.Fprintf(&up, " %d", i+1)
		fmt.Fprintf(&down, " %d", n-i)
	}
	up.WriteString("\r\n")
	down.WriteString("\r\n")
	for name, in := range map[string][]byte{"ascending": up.Bytes(), "descending": down.Bytes()} {
		got, err := io.ReadAll(feed(t, bytes.NewReader(in), "UID SEARCH ALL"))
		if err != nil || !bytes.Equal(got, up.Bytes()) {
			t.Errorf("%s: got %d octets and %v, want %d, in ascending order", name, len(got), err, up.Len())
		}
	}
}

func TestEndlessSearch(t *testing.T) {
	for name, in := range map[string]io.Reader{"octets": endless("* SEARCH", ' '), "numbers": io.MultiReader(strings.NewReader("* SEARCH"), &ones{})} {
		g := feed(t, in, "UID SEARCH ALL")
		if g.most.octets != maxSearch || g.most.numbers != maxFound {
			t.Errorf("got the limits %+v", g.most)
		}
		g.most = searchLimits{octets: 1 << 20, numbers: 1 << 16}
		if _, err := io.Copy(io.Discard, g); !errors.Is(err, connection.ErrProtocol) || !strings.Contains(err.Error(), name) {
			t.Errorf("endless %s: got %v, want ErrProtocol that says so", name, err)
		}
	}
}

// TestSeveralSearchResponses: they may answer one command, but not so that go-imap sorts them for hours.
func TestSeveralSearchResponses(t *testing.T) {
	numbers := func(first, step uint32, n int) string {
		var b strings.Builder
		b.WriteString("* SEARCH")
		for range n {
			fmt.Fprintf(&b, " %d", first)
			first += step
		}
		return b.String() + "\r\n"
	}
	for name, tt := range map[string]struct {
		in   string
		text string // in the error; "" for none
	}{
		"ascending":      {numbers(1, 1, 20_000) + numbers(20_001, 1, 20_000), ""},
		"few, mixed":     {numbers(1, 2, 100) + numbers(2, 2, 100), ""},
		"many, mixed":    {numbers(1, 2, 20_000) + numbers(2, 2, 20_000), "no order"},
		"without end":    {strings.Repeat("* SEARCH 1\r\n", 20_000), "no order"},
		"too many":       {numbers(1, 1, 40_000) + numbers(40_001, 1, 40_000), "numbers"},
		"two commands":   {numbers(1, 2, 20_000) + "T1 OK\r\n" + numbers(2, 2, 20_000), ""},
		"another status": {numbers(1, 2, 20_000) + "* OK\r\n" + numbers(2, 2, 20_000), "no order"},
	} {
		g := feed(t, strings.NewReader(tt.in), "UID SEARCH ALL", "UID SEARCH ALL")
		g.most = searchLimits{octets: 1 << 20, numbers: 1 << 16}
		got, err := io.ReadAll(g)
		switch {
		case tt.text == "" && (err != nil || string(got) != tt.in):
			t.Errorf("%s: got %d octets and %v, want all %d", name, len(got), err, len(tt.in))
		case tt.text != "" && (!errors.Is(err, connection.ErrProtocol) || !strings.Contains(err.Error(), tt.text)):
			t.Errorf("%s: got %v, want ErrProtocol that says %q", name, err, tt.text)
		}
	}
}

// ones is " 1 1 1 1…".
type ones struct{ digit bool }

func (o *ones) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
		if o.digit {
			p[i] = '1'
		}
		o.digit = !o.digit
	}
	return len(p), nil
}

func TestUnaskedBodyIsDropped(t *testing.T) {
	in := "* 1 FETCH (UID 10 BODY[] {8000000}\r\n" + strings.Repeat("x", 8000000) + " FLAGS ())\r\n* 2 EXISTS\r\n"
	got, err := io.ReadAll(feed(t, strings.NewReader(in), "NOOP"))
	if err != nil || string(got) != "* 2 EXISTS\r\n" {
		t.Errorf("got %.100q and %v, want only what is allowed unasked", got, err)
	}
	for _, unasked := range []string{"* SEARCH 3 2 1\r\n", "* LIST () \"/\" a\r\n", "* STATUS a ()\r\n", "* NAMESPACE NIL NIL NIL\r\n", "* ESEARCH ALL 1\r\n"} {
		if got, err := io.ReadAll(feed(t, strings.NewReader(unasked), "NOOP")); err != nil || len(got) > 0 {
			t.Errorf("%q unasked: got %q and %v, want nothing", unasked, got, err)
		}
	}
}
