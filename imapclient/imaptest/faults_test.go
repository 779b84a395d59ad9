package imaptest_test

import (
	"bytes"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

func TestFail(t *testing.T) {
	srv, p := inBox(t, &imaptest.Options{Folders: []imaptest.Folder{{Name: "Box"}, {Name: "Boxes"}}}, small)
	srv.Fail("store", "NO [OVERQUOTA] full", 1)
	p.want("UID STORE 1 +FLAGS (a)", "", "NO [OVERQUOTA] full")
	p.want("UID STORE 1 +FLAGS (a)", "* 1 FETCH (UID 1 FLAGS (a))\r\n", "OK")
	srv.Fail("UID STORE 1 +FLAGS", "* 9 EXISTS\n* OK hm\nBAD throttled")
	p.want("UID STORE 1 -FLAGS (a)", "* 1 FETCH (UID 1 FLAGS ())\r\n", "OK")
	p.want("STORE 1 +FLAGS (a)", "* 1 FETCH (FLAGS (a))\r\n", "OK")
	for range 2 {
		p.want("UID STORE 1 +FLAGS (b)", "* 9 EXISTS\r\n* OK hm\r\n", "BAD throttled")
	}
	srv.Fail("SELECT Box", "NO [NOPERM] no")
	p.ok("SELECT Boxes")
	p.want(`SELECT "box"`, "", "NO [NOPERM] no")
	srv.ClearFaults()
	p.ok("SELECT Box")
	if got := flagsOf(srv, "INBOX"); got != "1[a]" {
		t.Errorf("got %s, want no flag of a command that failed", got)
	}

	srv.Fail("APPEND", "NO [OVERQUOTA] full")
	p.want("APPEND INBOX {3}", "", "NO [OVERQUOTA] full")         // no go-ahead
	p.want("APPEND INBOX {3+}\r\nabc", "", "NO [OVERQUOTA] full") // the octets are not taken for a command
	srv.Fail("NOOP", "BYE too many connections")
	p.send("x NOOP\r\n")
	if got := p.line(); got != "* BYE too many connections" {
		t.Errorf("got %q", got)
	}
	p.gone()
	srv.Fail("LOGIN", "NO [UNAVAILABLE] later", 1)
	p = dial(t, srv.Config())
	p.line()
	p.want("LOGIN a b", "", "NO [UNAVAILABLE]")
	p.want("LOGIN a b", "", "NO [AUTHENTICATIONFAILED]")
}

func TestInject(t *testing.T) {
	srv, p := inBox(t, nil, small)
	srv.Inject("FETCH", "* 1 FETCH (FLAGS (odd))\n", 1)
	p.want("UID FETCH 1 UID", "* 1 FETCH (FLAGS (odd))\r\n\r\n* 1 FETCH (UID 1)\r\n", "OK")
	srv.Inject("APPEND", "* OK injected")
	p.send("a APPEND INBOX {1}\r\n")
	if got := p.line(); !strings.HasPrefix(got, "+ ") {
		t.Errorf("got %q, want a go-ahead: the command is to be obeyed", got)
	}
	p.send("x\r\n")
	if untagged, reply := p.until("a"); !strings.HasPrefix(untagged, "* OK injected\r\n") || !strings.HasPrefix(reply, "OK") {
		t.Errorf("got %q and %q", untagged, reply)
	}
}

func TestStallDropAndLoseReply(t *testing.T) {
	srv, p := inBox(t, nil, small)
	srv.Stall("STORE", 1)
	p.send("a STORE 1 +FLAGS (stalled)\r\nb STORE 1 +FLAGS (pipelined)\r\n")
	quiet(t, p)

	srv.Drop("STORE", 1)
	p = login(t, srv)
	p.ok("SELECT INBOX")
	p.send("a STORE 1 +FLAGS (dropped)\r\n")
	p.gone()

	srv.LoseReply("STORE", 1)
	p = login(t, srv)
	p.ok("SELECT INBOX")
	p.send("a STORE 1 +FLAGS (lost)\r\n")
	p.gone()

	srv.LoseReply("APPEND", 1)
	p = login(t, srv)
	p.send("a APPEND INBOX {1+}\r\nx\r\n")
	p.gone()
	if got := flagsOf(srv, "INBOX"); got != "1[lost] 2[]" {
		t.Errorf("got %s, want only what lost its reply to be done", got)
	}
}

// TestCutAfterEachOctet cuts a session after every octet of what the server sends: the client must get exactly that.
func TestCutAfterEachOctet(t *testing.T) {
	for _, mode := range []connection.Mode{connection.ModeInsecure, connection.ModeTLS} {
		t.Run(string(mode), func(t *testing.T) {
			srv := imaptest.NewServer(t, &imaptest.Options{Mode: mode})
			srv.Deliver([]byte(small))
			const commands = "a LOGIN " + imaptest.DefaultUsername + " \"" + imaptest.DefaultPassword + "\"\r\nb EXAMINE INBOX\r\nc FETCH 1 BODY[]\r\nd LOGOUT\r\n"
			session := func() []byte {
				p := dial(t, srv.Config())
				_, _ = io.WriteString(p.conn, commands) // the server may have gone
				octets, _ := io.ReadAll(p.r)            // the end is what counts
				return octets
			}
			whole := session()
			sent := srv.Sent()
			if n := sent[len(sent)-1]; n != int64(len(whole)) || !bytes.HasSuffix(whole, []byte("d OK bye\r\n")) {
				t.Fatalf("Sent says %d octets, the client got %d: %q", n, len(whole), whole)
			}
			if got := srv.Received()[0]; got != int64(len(commands)) {
				t.Errorf("Received says %d octets, the client sent %d", got, len(commands))
			}
			for n := 1; n < len(whole); n++ {
				if mode == connection.ModeTLS && n%10 != 3 {
					continue // some will do: TLS is below
				}
				srv.CutAfter(int64(n))
				if got := session(); !bytes.Equal(got, whole[:n]) {
					t.Fatalf("cut after %d octets: got %d: %q", n, len(got), got)
				}
			}
			if got := session(); !bytes.Equal(got, whole) {
				t.Errorf("after the last cut: got %q", got)
			}
			srv.CutAfter(5, 2)
			for _, want := range []int{5, 5, len(whole)} {
				if got := session(); len(got) != want {
					t.Errorf("two cuts were asked for: got %d octets, want %d", len(got), want)
				}
			}
			srv.CutAfter(7, -1)
			for range 3 {
				if got := session(); len(got) != 7 {
					t.Errorf("a cut of all connections was asked for: got %d octets", len(got))
				}
			}
			srv.ClearFaults()
			if got := session(); !bytes.Equal(got, whole) {
				t.Errorf("after ClearFaults: got %q", got)
			}
		})
	}
}

func TestCutBeforeGreeting(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Mode: connection.ModeInsecure})
	srv.CutAfter(0)
	dial(t, srv.Config()).gone()
	login(t, srv)
}

func TestStallAfter(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{Mode: connection.ModeInsecure})
	srv.StallAfter(4)
	p := dial(t, srv.Config())
	var four [4]byte
	if _, err := io.ReadFull(p.r, four[:]); err != nil {
		t.Fatal(err)
	}
	p.send("a NOOP\r\n")
	quiet(t, p)
}

func TestMaxWrite(t *testing.T) {
	srv := imaptest.NewServer(t, &imaptest.Options{MaxWrite: 1})
	srv.Deliver([]byte(small))
	p := login(t, srv)
	p.ok("EXAMINE INBOX")
	if got := p.ok("FETCH 1 BODY[]"); !strings.Contains(got, small) {
		t.Errorf("got %q", got)
	}
	// Over TLS each write is a record, so that a read brings one octet.
	p.send("x NOOP\r\n")
	var buf [100]byte
	if n, err := p.conn.Read(buf[:]); n != 1 || err != nil {
		t.Errorf("got %d octets and %v in one read, want 1", n, err)
	}
}

func TestTranscript(t *testing.T) {
	srv, p := inBox(t, nil, small)
	p.ok("uid fetch 1 (UID BODY.PEEK[])")
	p.do("NONSENSE a {3+}\r\nxyz b")
	p.do("LOGIN " + imaptest.DefaultPassword)
	p.send("LOGIN x " + plainBlob("", imaptest.DefaultUsername, imaptest.DefaultPassword) + "\r\n")
	p.line()
	other := login(t, srv)
	other.ok("NOOP")
	var got []string
	for _, c := range srv.Transcript() {
		got = append(got, strings.TrimSpace(c.String()))
	}
	want := `a1 LOGIN archive@example.org [redacted]|a2 SELECT INBOX|a3 UID FETCH 1 (UID BODY.PEEK[])|a4 NONSENSE a {3} b|a5 LOGIN correct [redacted]|LOGIN X [redacted]|a1 LOGIN archive@example.org [redacted]|a2 NOOP`
	if text := strings.Join(got, "|"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if c := srv.Transcript("FETCH", "noop"); len(c) != 2 || c[0].Conn != 1 || c[0].Name != "UID FETCH" || c[1].Conn != 2 {
		t.Errorf("FETCH and NOOP: got %v", c)
	}
	if c := srv.Transcript("EXPUNGE", "FETC", "UID SEARCH"); len(c) != 0 {
		t.Errorf("commands that were not sent: got %v", c)
	}
}

// TestClose closes servers in the middle of everything. Close must return at once and leave nothing behind.
func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	srv, idler := inBox(t, nil, strings.Repeat("x", 20<<20))
	idler.send("i IDLE\r\n")
	idler.line()
	stalled := login(t, srv)
	srv.Stall("NOOP")
	stalled.send("a NOOP\r\n")
	deaf := login(t, srv) // does not read what it asked for
	deaf.ok("SELECT INBOX")
	deaf.send("a FETCH 1 BODY.PEEK[]\r\n")
	literal := login(t, srv)
	literal.send("a APPEND INBOX {100}\r\n")
	literal.line()
	silent := dial(t, srv.Config())
	poll(t, "the commands", func() bool { return len(srv.Transcript("NOOP", "FETCH")) == 2 })
	srv.Close()
	srv.Close()
	for _, p := range []*peer{idler, stalled, literal} {
		p.gone()
	}
	_, _ = io.Copy(io.Discard, silent.r) // the greeting, perhaps
	poll(t, "the end of all goroutines", func() bool { return runtime.NumGoroutine() <= before })

	script := imaptest.NewScript(t, &imaptest.ScriptOptions{Mode: connection.ModeInsecure, Lenient: true},
		imaptest.Script{imaptest.Stall()}, imaptest.Script{imaptest.Expect("NOOP")}, imaptest.Script{imaptest.Wait(nil)}, imaptest.Script{})
	for range 4 {
		dial(t, script.Config())
	}
	poll(t, "the connections", func() bool { return len(script.Sent()) == 4 })
	script.Close()
	poll(t, "the end of the scripts' goroutines", func() bool { return runtime.NumGoroutine() <= before })
}

func TestCloseConnections(t *testing.T) {
	srv, p := inBox(t, nil)
	srv.CloseConnections()
	p.gone()
	login(t, srv).ok("NOOP")
}

// TestMisuse has calls that are mistakes of the test's author.
func TestMisuse(t *testing.T) {
	srv := imaptest.NewServer(t, nil)
	srv.Deliver([]byte(small), []byte(small))
	for name, call := range map[string]func(){
		"UID below the next":    func() { srv.DeliverTo("INBOX", imaptest.Message{UID: 2}) },
		"no UID left":           func() { srv.DeliverTo("INBOX", imaptest.Message{UID: 1<<32 - 1}, imaptest.Message{}) },
		"flags of no message":   func() { srv.SetFlags("INBOX", 3) },
		"flags in no folder":    func() { srv.SetFlags("none", 1) },
		"bad script expression": func() { imaptest.ExpectRegexp("(") },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			call()
		})
	}
	srv.Delete("none", 1)
	if n := len(srv.Messages()); n != 2 {
		t.Errorf("got %d messages, want 2: nothing of a bad call may be done", n)
	}
	for _, opts := range []imaptest.Options{{Mode: "ssl"}, {Delimiter: "ab"}, {Addr: "nonsense"}} {
		if s, err := imaptest.Listen(&opts); err == nil {
			s.Close()
			t.Errorf("%+v: got no error", opts)
		}
	}
}
