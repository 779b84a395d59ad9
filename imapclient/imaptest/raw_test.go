package imaptest_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

const patience = 30 * time.Second // for what comes at once

// peer is a client that sends what a test says, octet for octet.
type peer struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	tag  int
}

// dial connects, over TLS where cfg says so, and reads no greeting.
func dial(t testing.TB, cfg imapclient.Config) *peer {
	t.Helper()
	conn, err := net.DialTimeout("tcp", cfg.Server, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // it may be closed already
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, conn: conn, r: bufio.NewReader(conn)}
	if cfg.Mode.Or() == connection.ModeTLS {
		p.secure(cfg)
	}
	return p
}

func (p *peer) secure(cfg imapclient.Config) {
	p.t.Helper()
	conn := tls.Client(p.conn, clientTLS(p.t, cfg))
	if err := conn.Handshake(); err != nil {
		p.t.Fatal(err)
	}
	p.conn, p.r = conn, bufio.NewReader(conn)
}

func clientTLS(t testing.TB, cfg imapclient.Config) *tls.Config {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(cfg.CAPEM)) {
		t.Fatal("the config has no certificate to trust")
	}
	return &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
}

// login connects, reads the greeting and logs in.
func login(t testing.TB, srv *imaptest.Server) *peer {
	t.Helper()
	cfg := srv.Config()
	p := dial(t, cfg)
	p.line()
	p.ok(fmt.Sprintf("LOGIN %s %q", cfg.Username, cfg.Password.Reveal()))
	return p
}

func (p *peer) send(octets string) {
	p.t.Helper()
	if _, err := io.WriteString(p.conn, octets); err != nil {
		p.t.Fatalf("sending %.40q: %v", octets, err)
	}
}

// line reads one line without CRLF.
func (p *peer) line() string {
	p.t.Helper()
	line, err := p.r.ReadString('\n')
	if err != nil {
		p.t.Fatalf("reading a line: %v (got %q)", err, line)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// gone checks that the server closes the connection, after nothing else.
func (p *peer) gone() {
	p.t.Helper()
	rest, err := io.ReadAll(p.r)
	if len(rest) > 0 || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !isReset(err) {
		p.t.Fatalf("got %q and %v, want the end of the connection", rest, err)
	}
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}

// do sends a command and returns what the server sends up to the tagged reply: the untagged part, CRLF included, and
// the reply without its tag.
func (p *peer) do(command string) (untagged, reply string) {
	p.t.Helper()
	p.tag++
	tag := fmt.Sprintf("a%d", p.tag)
	p.send(tag + " " + command + "\r\n")
	return p.until(tag)
}

func (p *peer) until(tag string) (untagged, reply string) {
	p.t.Helper()
	var b strings.Builder
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			p.t.Fatalf("reading the reply: %v after %q", err, b.String()+line)
		}
		if rest, ok := strings.CutPrefix(line, tag+" "); ok {
			return b.String(), strings.TrimSuffix(rest, "\r\n")
		}
		b.WriteString(line)
	}
}

// ok is do for a command that must succeed.
func (p *peer) ok(command string) string {
	p.t.Helper()
	untagged, reply := p.do(command)
	if !strings.HasPrefix(reply, "OK") {
		p.t.Fatalf("%.60q: got reply %q, want OK", command, reply)
	}
	return untagged
}

// want checks the untagged part and the beginning of the reply.
func (p *peer) want(command, untagged, reply string) {
	p.t.Helper()
	gotUntagged, gotReply := p.do(command)
	if gotUntagged != untagged {
		p.t.Errorf("%.80q:\n got %q\nwant %q", command, gotUntagged, untagged)
	}
	if !strings.HasPrefix(gotReply, reply) {
		p.t.Errorf("%.80q: got reply %q, want %q", command, gotReply, reply)
	}
}

// inBox starts a server without TLS with messages in INBOX, and returns it with a peer that has INBOX selected.
func inBox(t testing.TB, opts *imaptest.Options, raw ...string) (*imaptest.Server, *peer) {
	t.Helper()
	o := imaptest.Options{}
	if opts != nil {
		o = *opts
	}
	o.Mode = connection.ModeInsecure
	srv := imaptest.NewServer(t, &o)
	for _, r := range raw {
		srv.Deliver([]byte(r))
	}
	p := login(t, srv)
	p.ok("SELECT INBOX")
	return srv, p
}
