package imaptest_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// plain are the options of a script without TLS.
var plain = imaptest.ScriptOptions{Mode: connection.ModeInsecure}

func TestScript(t *testing.T) {
	srv := imaptest.NewScript(t, &plain,
		imaptest.Script{
			imaptest.Welcome("IMAP4rev1 X-ODD"),
			imaptest.Select(3, 7, 12),
			imaptest.Expect("uid fetch 1:*"),
			imaptest.Drip("* 1 FETCH (BODY[] {5}", "hello UID 11)", "$TAG OK done"),
			imaptest.ExpectRegexp(`^UID STORE \d+ \+FLAGS`),
			imaptest.SendRaw("* OK\r\n$TAG NO [OVERQUOTA] no"),
			imaptest.SendRaw("\r\n"),
			imaptest.Expect("APPEND"),
			imaptest.Send("$TAG OK"),
			imaptest.ExpectLine(`^\w+ IDLE$`),
			imaptest.Send("+ idling"),
			imaptest.ExpectLine("^DONE$"),
			imaptest.Send("$TAG OK idled"),
		},
		imaptest.Script{imaptest.Send("* BYE too many"), imaptest.Cut()},
	)
	p := dial(t, srv.Config())
	if got := p.line(); got != "* OK [CAPABILITY IMAP4rev1 X-ODD] script ready" {
		t.Errorf("got greeting %q", got)
	}
	p.want("CAPABILITY", "* CAPABILITY IMAP4rev1 X-ODD\r\n", "OK")
	p.want("LOGIN someone "+imaptest.DefaultPassword, "", "OK [CAPABILITY IMAP4rev1 X-ODD]")
	if got := p.ok(`EXAMINE "INBOX"`); !strings.Contains(got, "* 3 EXISTS\r\n") || !strings.Contains(got, "[UIDVALIDITY 7]") || !strings.Contains(got, "[UIDNEXT 12]") {
		t.Errorf("EXAMINE: got %q", got)
	}
	p.want("NOOP", "", "OK")
	p.want("UID FETCH 1:* (UID BODY.PEEK[])", "* 1 FETCH (BODY[] {5}\r\nhello UID 11)\r\n", "OK done")
	p.want(`UID STORE 11 +FLAGS (\Deleted)`, "* OK\r\n", "NO [OVERQUOTA] no")
	p.send("b1 APPEND INBOX {5}\r\n")
	if got := p.line(); !strings.HasPrefix(got, "+ ") {
		t.Fatalf("APPEND: got %q, want a go-ahead", got)
	}
	p.send("hello\r\n")
	if _, got := p.until("b1"); got != "OK" {
		t.Errorf("APPEND: got %q", got)
	}
	p.send("b2 IDLE\r\n")
	p.line()
	p.send("DONE\r\n")
	p.until("b2")
	p.want("LOGOUT", "* BYE see you\r\n", "OK")
	p.gone()

	second := dial(t, srv.Config())
	second.line()
	second.gone()

	var lines []string
	for _, c := range srv.Transcript() {
		lines = append(lines, c.String())
	}
	want := `a1 CAPABILITY|a2 LOGIN someone [redacted]|a3 EXAMINE "INBOX"|a4 NOOP|a5 UID FETCH 1:* (UID BODY.PEEK[])|` +
		`a6 UID STORE 11 +FLAGS (\Deleted)|b1 APPEND INBOX {5}|b2 IDLE|DONE|a7 LOGOUT`
	if got := strings.Join(lines, "|"); got != want {
		t.Errorf("transcript:\n got %s\nwant %s", got, want)
	}
	if n := len(srv.Transcript("STORE")); n != 1 {
		t.Errorf("got %d STORE commands in the transcript, want 1", n)
	}
	if sent := srv.Sent(); len(sent) != 2 || sent[1] != int64(len("* BYE too many\r\n")) {
		t.Errorf("got octets sent %v", sent)
	}
}

func TestScriptStartTLS(t *testing.T) {
	srv := imaptest.NewScript(t, &imaptest.ScriptOptions{Mode: connection.ModeSTARTTLS},
		imaptest.Script{imaptest.Send("* OK hi"), imaptest.StartTLS(), imaptest.Expect("NOOP"), imaptest.Send("$TAG OK safe")},
		imaptest.Script{imaptest.Send("* OK hi"), imaptest.StartTLS("* CAPABILITY EVIL")},
		imaptest.Script{imaptest.Send("* OK hi"), imaptest.Expect("STARTTLS"), imaptest.Stall()},
	)
	p := dial(t, srv.Config())
	p.line()
	p.ok("STARTTLS")
	p.secure(srv.Config())
	p.want("NOOP", "", "OK safe")

	injected := dial(t, srv.Config())
	injected.line()
	injected.ok("STARTTLS")
	// The injected line must be there with the OK, without TLS.
	if n := injected.r.Buffered(); n != len("* CAPABILITY EVIL\r\n") {
		t.Errorf("got %d octets behind the OK, want the injected line", n)
	}

	stalled := dial(t, srv.Config())
	stalled.line()
	stalled.send("x STARTTLS\r\n")
	quiet(t, stalled)
}

func TestScriptHandshake(t *testing.T) {
	const text = "S: * OK hi\nC: STARTTLS\nS: $TAG OK [CAPABILITY IMAP4rev1 AUTH=EVIL] begin\n!handshake\nC: NOOP\nS: $TAG OK safe\n"
	srv := imaptest.Replay(t, &imaptest.ScriptOptions{Mode: connection.ModeSTARTTLS}, fstest.MapFS{"x": {Data: []byte(text)}}, "x")
	p := dial(t, srv.Config())
	p.line()
	p.want("STARTTLS", "", "OK [CAPABILITY IMAP4rev1 AUTH=EVIL] begin")
	p.secure(srv.Config())
	p.want("NOOP", "", "OK safe")
}

// quiet checks that nothing comes for a moment and that the connection is open.
func quiet(t *testing.T, p *peer) {
	t.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	octets, err := p.r.ReadString('\n')
	if octets != "" || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %q and %v, want silence", octets, err)
	}
}

func TestScriptWelcome(t *testing.T) {
	srv := imaptest.NewScript(t, &imaptest.ScriptOptions{Username: "me", Password: "hush"},
		imaptest.Script{imaptest.Welcome("IMAP4rev1 AUTH=PLAIN")}, imaptest.Script{imaptest.Welcome("IMAP4rev1 SASL-IR")})
	cfg := srv.Config()
	if cfg.Username != "me" || cfg.Password.Reveal() != "hush" || cfg.Validate() != nil {
		t.Errorf("got config %+v", cfg)
	}
	if s := srv.Settings(); !strings.Contains(string(s.Config), `"hush"`) || s.Driver != "imap" {
		t.Errorf("got settings %s", s.Config)
	}
	if srv.Env().TLS == nil {
		t.Error("Env trusts no certificate")
	}
	p := dial(t, cfg)
	p.line()
	p.send("a AUTHENTICATE PLAIN\r\n")
	if got := p.line(); got != "+ " {
		t.Errorf("got %q, want a continuation", got)
	}
	p.send(plainBlob("", "me", "hush") + "\r\n")
	p.until("a")
	p.ok("NOOP")
	p = dial(t, cfg)
	p.line()
	p.ok("AUTHENTICATE PLAIN " + plainBlob("", "me", "hush"))
	for _, c := range srv.Transcript() {
		if s := c.String(); strings.Contains(s, "hush") || strings.Contains(s, plainBlob("", "me", "hush")) {
			t.Errorf("the transcript shows the password: %s", s)
		}
	}
}

// recorder is a testing.TB whose failures are the subject of a test.
type recorder struct {
	testing.TB
	mu      sync.Mutex
	errors  []string
	cleanup []func()
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *recorder) Helper() {}

func (r *recorder) Cleanup(f func()) { r.cleanup = append(r.cleanup, f) }

func (r *recorder) finish() string {
	for _, f := range r.cleanup {
		f()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.errors, "\n")
}

// TestScriptFails has scripts that a client does not follow: the test must fail and say where.
func TestScriptFails(t *testing.T) {
	impatient := plain
	impatient.Patience = 20 * time.Millisecond
	lenient := impatient
	lenient.Lenient = true
	await := func(t *testing.T, conn net.Conn) {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, conn) // the end is what counts
	}
	for _, c := range []struct {
		name   string
		opts   imaptest.ScriptOptions
		script imaptest.Script
		send   string
		want   string // in the failure; "" = none
	}{
		{"other command", plain, imaptest.Script{imaptest.Expect("LOGIN")}, "a EXPUNGE\r\n", "connection 1: step 1, expect LOGIN: unexpected command: a EXPUNGE"},
		{"no command", plain, imaptest.Script{imaptest.Expect("LOGIN")}, "\x80\r\n", "unexpected command"},
		{"other line", plain, imaptest.Script{imaptest.Expect("IDLE"), imaptest.ExpectLine("^DONE$")}, "a IDLE\r\nSTOP\r\n", "step 2, expect line ^DONE$: unexpected line: STOP"},
		{"within several", plain, imaptest.Script{imaptest.Welcome("IMAP4rev1")}, "a NOOP\r\nb SELECT x\r\n", "step 1, steps: 5, accept: unexpected command: b SELECT x"},
		{"too much", plain, imaptest.Script{imaptest.Expect("NOOP")}, "a NOOP\r\nb EXPUNGE\r\n", "unexpected command after the last step: b EXPUNGE"},
		{"silence", impatient, imaptest.Script{imaptest.Expect("NOOP")}, "", "nothing came within 20ms"},
		{"lenient silence", lenient, imaptest.Script{imaptest.Expect("NOOP")}, "", ""},
		{"lenient, other command", lenient, imaptest.Script{imaptest.Expect("NOOP")}, "a EXPUNGE\r\n", "unexpected command: a EXPUNGE"},
		{"no secret in the failure", plain, imaptest.Script{imaptest.Expect("NOOP")}, "a LOGIN me " + imaptest.DefaultPassword + "\r\n", "unexpected command: a LOGIN me [redacted]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{TB: t}
			srv := imaptest.NewScript(r, &c.opts, c.script)
			conn, err := net.Dial("tcp", srv.Addr())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, c.send); err != nil {
				t.Fatal(err)
			}
			await(t, conn)
			_ = conn.Close() // read to its end
			got := r.finish()
			if !strings.Contains(got, c.want) || c.want == "" && got != "" {
				t.Errorf("got failure %q, want %q", got, c.want)
			}
			if strings.Contains(got, imaptest.DefaultPassword) {
				t.Error("the failure shows the password")
			}
		})
	}
}

func TestScriptClientLeaves(t *testing.T) {
	r := &recorder{TB: t}
	srv := imaptest.NewScript(r, &plain, imaptest.Script{imaptest.Expect("NOOP")}, imaptest.Script{imaptest.Send("* OK")})
	conn, err := net.Dial("tcp", srv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	poll(t, "the failure", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.errors) > 0
	})
	got := r.finish()
	for _, want := range []string{"step 1, expect NOOP: the connection ended instead", "1 of 2 scripts were played"} {
		if !strings.Contains(got, want) {
			t.Errorf("got failure %q, want %q", got, want)
		}
	}
}

func TestScriptOneTooMany(t *testing.T) {
	r := &recorder{TB: t}
	srv := imaptest.NewScript(r, &plain, imaptest.Script{})
	for range 2 {
		conn, err := net.Dial("tcp", srv.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }() // the server may have closed it
	}
	poll(t, "the failure", func() bool { return len(srv.Sent()) == 2 })
	if got := r.finish(); !strings.Contains(got, "connection 2: there is no script for it") {
		t.Errorf("got failure %q", got)
	}
}

func TestScriptRepeat(t *testing.T) {
	opts := plain
	opts.Repeat = true
	srv := imaptest.NewScript(t, &opts, imaptest.Script{imaptest.Send("* BYE first"), imaptest.Cut()}, imaptest.Script{imaptest.Send("* BYE again"), imaptest.Cut()})
	for _, want := range []string{"* BYE first", "* BYE again", "* BYE again"} {
		p := dial(t, srv.Config())
		if got := p.line(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		p.gone()
	}
}

func TestScriptOctetByOctet(t *testing.T) {
	opts := plain
	opts.MaxWrite = 1
	srv := imaptest.NewScript(t, &opts, imaptest.Script{imaptest.Send("* OK hello")})
	srv.CutAfter(4)
	p := dial(t, srv.Config())
	rest, err := io.ReadAll(bufio.NewReader(p.conn))
	if string(rest) != "* OK" || err != nil && !isReset(err) {
		t.Errorf("got %q, %v, want the first four octets", rest, err)
	}
}

func TestScriptWait(t *testing.T) {
	gate := make(chan struct{})
	srv := imaptest.NewScript(t, &plain, imaptest.Script{imaptest.Wait(gate), imaptest.Send("* OK now"), imaptest.Read(3), imaptest.Send("* OK read"), imaptest.Reset()})
	p := dial(t, srv.Config())
	close(gate)
	p.line()
	p.send("abc")
	if got := p.line(); got != "* OK read" {
		t.Errorf("got %q", got)
	}
	p.gone()
}

// poll waits until done, without hurry.
func poll(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s did not come", what)
		}
	}
}
