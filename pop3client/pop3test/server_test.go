package pop3test_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/pop3client/pop3test"
)

// A talk is one raw connection.
type talk struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func dial(t *testing.T, addr string) *talk {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the test is over
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &talk{t, conn, bufio.NewReader(conn)}
}

// say sends lines, if there are any, and wants these answers; "…" stands for any line.
func (c *talk) say(line string, want ...string) {
	c.t.Helper()
	if line != "" {
		if _, err := io.WriteString(c.conn, line+"\r\n"); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, w := range want {
		got, err := c.r.ReadString('\n')
		if err != nil || strings.TrimSuffix(got, "\r\n") != w && w != "…" {
			c.t.Fatalf("%s: got %q, want %q (%v)", line, got, w, err)
		}
	}
}

// ended wants the end of the connection.
func (c *talk) ended() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		c.t.Errorf("got %q, %v; want the end", rest, err)
	}
}

func (c *talk) login() {
	c.t.Helper()
	c.say("", "+OK pop3test ready")
	c.say("USER "+pop3test.DefaultUsername, "+OK")
	c.say("PASS "+pop3test.DefaultPassword, "+OK maildrop ready")
}

func clear(t *testing.T, opts pop3test.Options) *pop3test.Server {
	t.Helper()
	opts.Mode = connection.ModeInsecure
	return pop3test.NewServer(t, &opts)
}

func TestSession(t *testing.T) {
	srv := clear(t, pop3test.Options{})
	srv.Deliver([]byte("Subject: a\r\n\r\n.x\r\ny"), []byte(""), []byte("z\r\n"))
	c := dial(t, srv.Addr())
	c.say("", "+OK pop3test ready")
	c.say("STAT", "-ERR unknown command, or log in first")
	c.say("USER "+pop3test.DefaultUsername, "+OK")
	c.say("PASS wrong", "-ERR [AUTH] authentication failed")
	c.say("PASS "+pop3test.DefaultPassword, "+OK maildrop ready")
	srv.Deliver([]byte("late\r\n"))
	c.say("STAT", "+OK 3 24")
	c.say("LIST", "+OK listing", "1 21", "2 0", "3 3", ".")
	c.say("UIDL 3", "+OK 3 uidl-000003")
	c.say("RETR 1", "+OK message follows", "Subject: a", "", "..x", "y", ".")
	c.say("RETR 2", "+OK message follows", ".")
	c.say("TOP 1 1", "+OK top follows", "Subject: a", "", "..x", ".")
	c.say("TOP 1 0", "+OK top follows", "Subject: a", "", ".")
	c.say("RETR 4", "-ERR no such message")
	c.say("DELE 1", "+OK marked")
	c.say("DELE 1", "-ERR no such message")
	c.say("UIDL", "+OK listing", "2 uidl-000002", "3 uidl-000003", ".")
	c.say("RSET", "+OK")
	c.say("DELE 2\r\nNOOP\r\nQUIT", "+OK marked", "+OK", "+OK bye")
	c.ended()
	if got := len(srv.Messages()); got != 3 {
		t.Errorf("%d messages are left, want 3", got)
	}
}

// What is marked is deleted by QUIT only; a second session is kept out; RETR changes nothing.
func TestLockAndCommit(t *testing.T) {
	srv := clear(t, pop3test.Options{})
	srv.Deliver([]byte("a\r\n"))
	c := dial(t, srv.Addr())
	c.login()
	c.say("DELE 1", "+OK marked")
	other := dial(t, srv.Addr())
	other.say("", "…")
	other.say("USER "+pop3test.DefaultUsername, "+OK")
	other.say("PASS "+pop3test.DefaultPassword, "-ERR [IN-USE] maildrop is locked by another session")
	srv.CloseConnections()
	c.ended()
	if len(srv.Messages()) != 1 {
		t.Error("deleted without QUIT")
	}
	if got := srv.Transcript("PASS"); len(got) != 2 || strings.Contains(fmt.Sprint(got), pop3test.DefaultPassword) {
		t.Errorf("transcript: %v", got)
	}
}

func TestFaults(t *testing.T) {
	srv := clear(t, pop3test.Options{})
	srv.Deliver([]byte("a\r\n"), []byte("b\r\n"))
	srv.Fail("RETR 1", "-ERR [SYS/TEMP] disk", 1)
	srv.Inject("NOOP", "+OK injected")
	srv.Drop("LIST")
	c := dial(t, srv.Addr())
	c.login()
	c.say("RETR 1", "-ERR [SYS/TEMP] disk")
	c.say("retr 1", "+OK message follows", "a", ".")
	c.say("NOOP", "+OK injected", "+OK")
	c.say("LIST")
	c.ended()
	srv.ClearFaults()
	srv.LoseReply("QUIT")
	c = dial(t, srv.Addr())
	c.login()
	c.say("DELE 1", "+OK marked")
	c.say("QUIT")
	c.ended()
	if got := srv.Messages(); len(got) != 1 || string(got[0].Raw) != "b\r\n" {
		t.Errorf("left %v", got)
	}
	srv.CutAfter(5)
	c = dial(t, srv.Addr())
	if got, err := io.ReadAll(c.r); err != nil || string(got) != "+OK p" {
		t.Errorf("cut after 5 octets: got %q, %v", got, err)
	}
}

func TestQuirksAndOptions(t *testing.T) {
	srv := clear(t, pop3test.Options{Without: []string{"UIDL", "TOP", "RESP-CODES"}, Advertise: []string{"EXPIRE 0"}, AdvertiseLate: []string{"LATE"}, ListLimit: 1, Quirks: pop3test.Quirks{BareStat: true, Size: func(n int64) int64 { return 3 * n }}})
	srv.Deliver([]byte("a\r\n"), []byte("b\r\n"))
	for _, want := range []string{"a", "b"} {
		c := dial(t, srv.Addr())
		c.login()
		c.say("STAT", "+OK")
		c.say("UIDL", "-ERR unknown command")
		c.say("TOP 1 0", "-ERR unknown command")
		c.say("LIST", "+OK listing", "1 9", ".")
		c.say("RETR 1", "+OK message follows", want, ".")
		c.say("CAPA", "+OK capabilities", "AUTH-RESP-CODE", "PIPELINING", "USER", "…", "UTF8", "LANG", "EXPIRE 0", "LATE", ".")
		c.say("QUIT", "+OK bye")
		c.ended()
	}
	if _, err := pop3test.Listen(&pop3test.Options{Without: []string{"IDLE"}}); err == nil {
		t.Error("a capability that there is not was accepted")
	}
}

func TestSTLS(t *testing.T) {
	srv := pop3test.NewServer(t, &pop3test.Options{Mode: connection.ModeSTARTTLS})
	c := dial(t, srv.Addr())
	c.say("", "…")
	c.say("STLS", "+OK begin TLS")
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(srv.Config().CAPEM)) {
		t.Fatal("no certificate")
	}
	secure := tls.Client(c.conn, &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12})
	c.conn, c.r = secure, bufio.NewReader(secure)
	c.say("STLS", "-ERR no STLS here")
	c.say("USER "+pop3test.DefaultUsername, "+OK")
	c.say("PASS "+pop3test.DefaultPassword, "+OK maildrop ready")
}

// testingT is a testing.TB that keeps what it is told.
type testingT struct {
	testing.TB
	errors   []string
	cleanups []func()
}

func (t *testingT) Errorf(format string, args ...any) {
	t.errors = append(t.errors, fmt.Sprintf(format, args...))
}
func (t *testingT) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

func TestScript(t *testing.T) {
	play := func(speak func(*talk), script pop3test.Script) []string {
		inner := &testingT{TB: t}
		srv := pop3test.NewScript(inner, &pop3test.ScriptOptions{Mode: connection.ModeInsecure, Patience: 200 * time.Millisecond}, script)
		c := dial(t, srv.Addr())
		speak(c)
		_ = c.conn.Close() // the client leaves
		for _, f := range slices.Backward(inner.cleanups) {
			f()
		}
		return inner.errors
	}
	script := pop3test.Script{pop3test.Welcome("UIDL"), pop3test.Maildrop("a", "b"), pop3test.Expect("RETR 2"), pop3test.SendRaw("+OK\r\nx\r\n.\r\n")}
	good := func(c *talk) {
		c.say("", "+OK script ready")
		c.say("CAPA", "+OK capabilities", "USER", "UIDL", ".")
		c.say("USER u", "+OK")
		c.say("PASS p", "+OK welcome")
		c.say("STAT", "+OK 2 200")
		c.say("UIDL", "+OK", "1 a", "2 b", ".")
		c.say("LIST", "+OK", "1 100", "2 100", ".")
		c.say("retr 2", "+OK", "x", ".")
		c.say("QUIT", "+OK bye")
		c.ended()
	}
	if got := play(good, script); len(got) > 0 {
		t.Errorf("a client that obeys: %q", got)
	}
	for name, speak := range map[string]func(*talk){
		"another command": func(c *talk) { c.say("DELE 1", "+OK script ready"); c.ended() },
		"leaves":          func(c *talk) { c.say("", "+OK script ready") },
		"says nothing":    func(c *talk) { c.say("", "+OK script ready"); c.ended() },
	} {
		if got := play(speak, script); len(got) != 1 {
			t.Errorf("%s: got %q, want one error", name, got)
		}
	}
}

// A whole session and its settings, as a test of another product would use them.
func ExampleNewServer() {
	srv, err := pop3test.Listen(&pop3test.Options{Mode: connection.ModeInsecure}) // in a test: NewServer(t, opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	srv.Deliver([]byte("Subject: one\r\n\r\n1\r\n"))
	conn, err := net.Dial("tcp", srv.Addr())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = conn.Close() }() // the server has said goodbye
	if _, err := fmt.Fprintf(conn, "USER %s\r\nPASS %s\r\nDELE 1\r\nQUIT\r\n", pop3test.DefaultUsername, pop3test.DefaultPassword); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		fmt.Println(err)
	}
	for _, c := range srv.Transcript() {
		fmt.Println(c)
	}
	fmt.Println(len(srv.Messages()), "left")
	// Output:
	// USER archive@example.org
	// PASS [redacted]
	// DELE 1
	// QUIT
	// 0 left
}
