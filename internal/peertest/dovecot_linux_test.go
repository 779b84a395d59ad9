package peertest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/internal/peertest"
)

// imapTalk is the least of an IMAP client: it sends lines and reads until the tagged answer.
type imapTalk struct {
	t    *testing.T
	conn net.Conn
	tags int
}

// talk connects to a service and reads its greeting.
func talk(t *testing.T, srv *peertest.DovecotServer, service string) *imapTalk {
	t.Helper()
	conn, err := srv.Dial(t.Context(), service)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c := &imapTalk{t: t, conn: conn}
	c.until("")
	return c
}

// until reads up to the end of a line that begins with prefix, and that is the last one for now.
func (c *imapTalk) until(prefix string) string {
	c.t.Helper()
	got := "\r\n"
	buf := make([]byte, 4096)
	for got == "\r\n" || !strings.Contains(got, "\r\n"+prefix) || !strings.HasSuffix(got, "\r\n") {
		n, err := c.conn.Read(buf)
		got += string(buf[:n])
		if err != nil {
			c.t.Fatalf("waiting for %q after %q: %v", prefix, got, err)
		}
	}
	return got
}

// do sends a command and returns all up to its tagged answer.
func (c *imapTalk) do(command string) string {
	c.t.Helper()
	c.tags++
	tag := fmt.Sprintf("t%d ", c.tags)
	if _, err := io.WriteString(c.conn, tag+command+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
	return c.until(tag)
}

func (c *imapTalk) login(srv *peertest.DovecotServer) string {
	c.t.Helper()
	return c.do("LOGIN " + srv.User + " " + srv.Password)
}

func TestDovecotServesWhatWasDelivered(t *testing.T) {
	srv := peertest.Dovecot(t, nil)
	first := []byte("Subject: one\r\n\r\nbody \x80\xff\r\n.\r\n")
	second := []byte("Subject: two\r\n\r\n\r\n\r\nno line end")
	srv.Deliver(srv.User, first, second)
	for _, service := range []string{"imap", "imaps"} {
		c := talk(t, srv, service)
		c.login(srv)
		if got := c.do("SELECT INBOX"); !strings.Contains(got, "* 2 EXISTS") {
			t.Errorf("%s: SELECT: got %q, want 2 messages", service, got)
		}
		got := c.do("UID FETCH 1:* BODY.PEEK[]")
		for _, raw := range [][]byte{first, second} {
			if want := fmt.Sprintf("{%d}\r\n%s)", len(raw), raw); !strings.Contains(got, want) {
				t.Errorf("%s: FETCH: got %q, want %q in it", service, got, want)
			}
		}
	}
	if got, want := srv.Messages(srv.User), [][]byte{first, second}; !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("Messages: got %q, want %q", got, want)
	}
}

func TestDovecotKeepsAppendedOctetsAndFolders(t *testing.T) {
	srv := peertest.Dovecot(t, nil)
	srv.DeliverTo(srv.User, "Projects/R&D", slices.Values([][]byte{[]byte("A: b\r\n\r\nc\r\n")}))
	c := talk(t, srv, "imap")
	c.login(srv)
	if got := c.do(`STATUS "Projects/R&-D" (MESSAGES)`); !strings.Contains(got, "(MESSAGES 1)") {
		t.Errorf("STATUS: got %q, want 1 message", got)
	}
	raw := "A: b\r\n\r\nappended\r\n"
	c.do(fmt.Sprintf("APPEND Trash {%d+}\r\n%s", len(raw), raw))
	if c.do("LIST \"\" *"); srv.Count(srv.User, "Trash") != 0 {
		t.Error("APPEND into a folder that does not exist: want TRYCREATE")
	}
	c.do("CREATE Trash")
	c.do(fmt.Sprintf("APPEND Trash {%d+}\r\n%s", len(raw), raw))
	got := srv.MessagesIn(srv.User, "Trash")
	if len(got) != 1 || string(got[0]) != raw {
		t.Errorf("MessagesIn: got %q, want %q", got, raw)
	}
}

func TestDovecotRefusesAtOnce(t *testing.T) {
	srv := peertest.Dovecot(t, &peertest.DovecotOptions{Users: []string{"ann", "bob"}, MaxPerUser: 2})
	c := talk(t, srv, "imap")
	start := time.Now()
	for range 3 {
		if got := c.do("LOGIN ann wrong"); strings.Contains(got, "OK Logged in") {
			t.Errorf("wrong password: got %q", got)
		}
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("three refusals took %v: the penalty is not off", took)
	}
	for range 2 {
		talk(t, srv, "imap").login(srv)
	}
	if got := talk(t, srv, "imap").login(srv); !strings.Contains(got, "Maximum number of connections") {
		t.Errorf("third connection: got %q, want a refusal for their number", got)
	}
}

func TestDovecotPOP3AndRestart(t *testing.T) {
	srv := peertest.Dovecot(t, &peertest.DovecotOptions{Protocols: []string{"pop3"}, NoTLS: true})
	srv.Deliver(srv.User, []byte("A: b\r\n\r\nc\r\n"))
	stat := func() string {
		c := talk(t, srv, "pop3")
		if _, err := fmt.Fprintf(c.conn, "USER %s\r\nPASS %s\r\nSTAT\r\nQUIT\r\n", srv.User, srv.Password); err != nil {
			t.Fatal(err)
		}
		return c.until("+OK Logging out")
	}
	if got := stat(); !strings.Contains(got, "+OK 1 11\r\n") {
		t.Errorf("STAT: got %q, want 1 message of 11 octets", got)
	}
	srv.Stop()
	if conn, err := srv.Dial(t.Context(), "pop3"); err == nil {
		t.Error("the stopped server accepted a connection", conn.Close())
	}
	srv.Start(t.Context())
	if got := stat(); !strings.Contains(got, "+OK 1 11\r\n") {
		t.Errorf("STAT after restart: got %q, want 1 message of 11 octets", got)
	}
}

func TestDovecotOptionsReachTheServer(t *testing.T) {
	for _, test := range []struct {
		name    string
		opts    peertest.DovecotOptions
		want    string
		without string
	}{
		{name: "plain", opts: peertest.DovecotOptions{NoTLS: true}, want: "IMAP4rev1", without: "STARTTLS"},
		{name: "starttls", want: "STARTTLS"},
		{name: "mechanisms", opts: peertest.DovecotOptions{Mechanisms: "cram-md5"}, want: "AUTH=CRAM-MD5", without: "AUTH=PLAIN"},
		{name: "ntlm and tokens", opts: peertest.DovecotOptions{NTLM: true, Token: "t"}, want: "AUTH=NTLM AUTH=XOAUTH2 AUTH=OAUTHBEARER"},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := peertest.Dovecot(t, &test.opts)
			got := talk(t, srv, "imap").do("CAPABILITY")
			if !strings.Contains(got, test.want) || test.without != "" && strings.Contains(got, test.without) {
				t.Errorf("got %q, want %q in it and not %q", got, test.want, test.without)
			}
		})
	}
	srv := peertest.Dovecot(t, &peertest.DovecotOptions{Compress: true, Hosts: []string{"mail.example.org"}})
	c := talk(t, srv, "imaps") // verified for that name
	c.login(srv)
	if got := c.do("CAPABILITY"); !strings.Contains(got, "COMPRESS=DEFLATE") {
		t.Errorf("got %q, want COMPRESS=DEFLATE in it", got)
	}
}

func TestDovecotEndsWithItsTest(t *testing.T) {
	var pid int
	t.Run("inner", func(t *testing.T) {
		srv := peertest.Dovecot(t, nil)
		pid = srv.Pid()
		talk(t, srv, "imaps") // a client that is still there
	})
	if pid == 0 {
		t.Skip("no server was started")
	}
	awaitEnd(t, pid) // orphans are gone once process 1 has waited for them
}

func TestDovecotStartEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	srv, err := peertest.StartDovecot(ctx, nil)
	if err == nil {
		t.Error("started under a context that was done", srv.Close())
	}
}

func TestDovecotSaysWhatIsWrong(t *testing.T) {
	ctx := t.Context()
	_, err := peertest.StartDovecot(ctx, &peertest.DovecotOptions{Settings: "no_such_setting = yes"})
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		peertest.Require(t, err)
		t.Errorf("got %v, want Dovecot's own words about no_such_setting", err)
	}
	for name, opts := range map[string]*peertest.DovecotOptions{
		"protocol": {Protocols: []string{"smtp"}},
		"user":     {Users: []string{"../root"}},
		"password": {Password: "a:b"},
		"relay":    {Protocols: []string{"submission"}},
	} {
		if _, err := peertest.StartDovecot(ctx, opts); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, want an error that names it", name, err)
		}
	}
}
