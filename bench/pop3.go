package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mailconn/mailconn/internal/peertest"
)

// pop3Rows names what can be measured of POP3.
func pop3Rows() []row {
	small := corpus{count: 20_000, min: 3 << 10, max: 6 << 10}
	large := corpus{count: 50, min: megabyte, max: 20 * megabyte}
	return []row{
		{"pop3-s", "20,000 messages of 3-6 KB from Dovecot to files, in the clear", pop3Row(small, 0)},
		{"pop3-s-20ms", "the same over a link of 20 ms there and back", pop3Row(small, 20*time.Millisecond)},
		{"pop3-l", "50 messages of 1-20 MB from Dovecot to files, in the clear", pop3Row(large, 0)},
		{"pop3-s-canned", "20,000 messages of 3-6 KB from a server whose answers are ready, to files", pop3CannedRow(small)},
	}
}

func pop3Row(c corpus, roundTrip time.Duration) func(context.Context, *bed) ([]contender, error) {
	return func(ctx context.Context, b *bed) ([]contender, error) {
		c := c
		c.count = b.count(c.count)
		srv, err := peertest.StartDovecot(ctx, &peertest.DovecotOptions{Dir: b.memory, Protocols: []string{"pop3"}})
		if err != nil {
			return nil, err
		}
		b.later(srv.Close)
		srv.DeliverTo(srv.User, "INBOX", c.messages())
		address, err := b.link(srv.Addr("pop3"), roundTrip)
		if err != nil {
			return nil, err
		}
		return pop3Contenders(b, mailbox{address, srv.User, srv.Password}, c.count, c.octets()), nil
	}
}

func pop3CannedRow(c corpus) func(context.Context, *bed) ([]contender, error) {
	return func(_ context.Context, b *bed) ([]contender, error) {
		c := c
		c.count = b.count(c.count)
		srv, err := startServer(c.kept().servePOP3)
		if err != nil {
			return nil, err
		}
		b.later(srv.close)
		return pop3Contenders(b, mailbox{srv.address(), "user", "password"}, c.count, c.octets()), nil
	}
}

// A mailbox is where contenders log in.
type mailbox struct{ address, user, password string }

func pop3Contenders(b *bed, from mailbox, messages int, octets int64) []contender {
	stored := func(exact bool) func(string, []byte) error {
		return func(target string, _ []byte) error { return countFiles(target, messages, octets, exact) }
	}
	source := map[string]any{
		"server": from.address, "mode": "insecure", "username": from.user, "password": from.password, "allow_plaintext_auth": true,
	}
	return []contender{
		{name: "200 RETRs in flight, raw", role: limit, check: stored(true), command: b.child(func(target string) task {
			return task{Kind: "raw-pop3", Address: from.address, User: from.user, Password: from.password, Dir: target}
		})},
		mpop(from, stored(false)),
		{name: "mailconn to files", role: ours, check: stored(true), command: b.child(func(target string) task {
			return task{Kind: "drain", Driver: "pop3", Config: source, Dir: target, Sink: "files", Workers: 1}
		})},
	}
}

// inFlight is how many RETRs the limit sends ahead.
const inFlight = 200

// rawPOP3 is the limit of fetching over POP3: it keeps RETRs in flight, takes the stuffing away, and writes a file for
// each message.
func rawPOP3(t task) (tally, error) {
	conn, err := net.Dial("tcp", t.Address)
	if err != nil {
		return tally{}, err
	}
	r := bufio.NewReaderSize(conn, readAhead)
	reply := func() (string, error) {
		line, err := r.ReadSlice('\n')
		if err == nil && !bytes.HasPrefix(line, []byte("+OK")) {
			err = errors.New(string(line))
		}
		return string(line), err
	}
	count := 0
	for _, command := range []string{"", "USER " + t.User, "PASS " + t.Password, "STAT"} {
		if command != "" {
			if _, err := io.WriteString(conn, command+"\r\n"); err != nil {
				return tally{}, err
			}
		}
		line, err := reply()
		if err != nil {
			return tally{}, err
		}
		if command == "STAT" {
			if _, err := fmt.Sscanf(line, "+OK %d", &count); err != nil {
				return tally{}, err
			}
		}
	}
	var done tally
	var body []byte
	for sent := 0; done.Messages < count; {
		if sent < count && sent-done.Messages <= inFlight/2 {
			var lot strings.Builder
			for ; sent < count && sent-done.Messages < inFlight; sent++ {
				lot.WriteString("RETR " + strconv.Itoa(sent+1) + "\r\n")
			}
			if _, err := io.WriteString(conn, lot.String()); err != nil {
				return done, err
			}
		}
		if _, err := reply(); err != nil {
			return done, err
		}
		if body, err = unstuffed(r, body[:0]); err != nil {
			return done, err
		}
		done.Messages++
		done.Octets += int64(len(body))
		if err := deliverFile(filepath.Join(t.Dir, strconv.Itoa(done.Messages)), body, t.Sync); err != nil {
			return done, err
		}
	}
	if _, err := io.WriteString(conn, "QUIT\r\n"); err != nil {
		return done, err
	}
	if _, err := reply(); err != nil {
		return done, err
	}
	return done, conn.Close()
}

// unstuffed reads one message, line by line.
func unstuffed(r *bufio.Reader, body []byte) ([]byte, error) {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return body, err
		}
		if line[0] == '.' {
			if len(line) == len(".\r\n") {
				return body, nil
			}
			line = line[1:]
		}
		body = append(body, line...)
	}
}

// mpop is a POP3 program that pipelines, set up to do the row's work: all messages into a Maildir, none deleted.
func mpop(from mailbox, check func(string, []byte) error) contender {
	c := contender{name: "mpop", role: peer, check: check}
	program, err := exec.LookPath("mpop")
	if err != nil {
		c.missing = "not installed"
		return c
	}
	c.command = func(ctx context.Context, target string) (*job, error) {
		host, port, err := net.SplitHostPort(from.address)
		if err != nil {
			return nil, err
		}
		// What is no message begins with a dot, so that it is not counted as one.
		rc := filepath.Join(target, ".mpoprc")
		for _, sub := range []string{"tmp", "new", "cur"} {
			if err := os.MkdirAll(filepath.Join(target, "INBOX", sub), 0o700); err != nil {
				return nil, err
			}
		}
		text := fmt.Sprintf("account default\nhost %s\nport %s\nuser %s\npassword %s\nauth user\ntls off\nkeep on\npipelining on\nreceived_header off\nuidls_file %s\ndelivery maildir %s\n",
			host, port, from.user, from.password, filepath.Join(target, ".uidls"), filepath.Join(target, "INBOX"))
		if err := os.WriteFile(rc, []byte(text), 0o600); err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, program, "-q", "-C", rc)
		cmd.Env = append(os.Environ(), "HOME="+target)
		return &job{cmd: cmd}, nil
	}
	return c
}
