package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/alldrivers"
)

// smtpRows names what can be measured of sending. The server throws everything away; what it offers is PIPELINING, so
// that all contenders go the same way.
func smtpRows() []row {
	return []row{
		{"smtp-s", "5,000 messages of 5 KB over one connection", smtpRow(smtpWork{count: 5_000, size: 5 << 10, conns: 1})},
		{"smtp-s-8", "the same over 8 connections", smtpRow(smtpWork{count: 5_000, size: 5 << 10, conns: 8})},
		{"smtp-l", "50 messages of 10 MB over one connection", smtpRow(smtpWork{count: 50, size: 10 * megabyte, conns: 1})},
		{"smtp-s-20ms", "500 messages of 5 KB over one connection and a link of 20 ms there and back", smtpRow(smtpWork{count: 500, size: 5 << 10, conns: 1, roundTrip: 20 * time.Millisecond})},
	}
}

// smtpWork is what the rows of SMTP differ in.
type smtpWork struct {
	count, size, conns int
	roundTrip          time.Duration
}

func smtpRow(work smtpWork) func(context.Context, *bed) ([]contender, error) {
	return func(_ context.Context, b *bed) ([]contender, error) {
		work := work
		work.count = b.count(work.count)
		sink, err := startSink()
		if err != nil {
			return nil, err
		}
		b.later(sink.close)
		address, err := b.link(sink.address(), work.roundTrip)
		if err != nil {
			return nil, err
		}
		run := func(t task) func(context.Context, string) (*job, error) {
			t.Address, t.Messages, t.Size, t.Workers = address, work.count, work.size, work.conns
			return sink.counted(b.child(func(string) task { return t }))
		}
		check := func(string, []byte) error {
			return sink.got().check(work.count, int64(work.count)*int64(len(mail(work.size))))
		}
		config := map[string]any{
			"server": address, "mode": "insecure", "from_address": "sender@example.org", "send_strategy": "original",
			"pool_size": work.conns, "pool_max_messages": work.count + 1,
		}
		return []contender{
			{name: "pipelined over messages, raw", role: limit, check: check, command: run(task{Kind: "raw-smtp"})},
			smtpSource(sink, address, work),
			{name: "net/smtp", role: peer, check: check, command: run(task{Kind: "net-smtp"})},
			{name: "mailconn, one Send after the other", role: ours, check: check, command: run(task{Kind: "send", Driver: "smtp", Config: config, Batch: 1})},
			{name: "mailconn, 4 Sends at once a connection", role: ours, check: check, command: run(task{Kind: "send", Driver: "smtp", Config: config, Batch: 4})},
		}, nil
	}
}

// mail is the message that all contenders send: a header, and lines of text.
func mail(size int) []byte {
	const header = "From: Sender <sender@example.org>\r\nTo: Reader <reader@example.com>\r\nMessage-ID: <1@example.org>\r\nSubject: a message\r\n\r\n"
	line := strings.Repeat("etaoin shrdlu ", 5) + "\r\n"
	return []byte(header + strings.Repeat(line, max(1, (size-len(header))/len(line))))
}

// smtpSource is Postfix's own load generator. What it sends is a little other than what the rest sends.
func smtpSource(sink *sink, address string, work smtpWork) contender {
	c := contender{name: "smtp-source", role: peer}
	program, err := exec.LookPath("smtp-source")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/smtp-source")
	}
	if err != nil {
		c.missing = "not installed"
		return c
	}
	c.command = sink.counted(func(ctx context.Context, _ string) (*job, error) {
		return &job{cmd: exec.CommandContext(ctx, program, "-d", "-s", strconv.Itoa(work.conns), "-m", strconv.Itoa(work.count), "-l", strconv.Itoa(work.size),
			"-f", "sender@example.org", "-t", "reader@example.com", "inet:"+address)}, nil
	})
	c.check = func(string, []byte) error {
		if n := sink.got().Messages; n != work.count {
			return fmt.Errorf("%d messages arrived, want %d", n, work.count)
		}
		return nil
	}
	return c
}

// sink is an SMTP server that counts and throws away.
type sink struct {
	*server
	messages, octets atomic.Int64
}

func startSink() (*sink, error) {
	s := &sink{}
	var err error
	s.server, err = startServer(s.serve)
	return s, err
}

func (s *sink) got() tally { return tally{Messages: int(s.messages.Load()), Octets: s.octets.Load()} }

// counted makes a command count from zero.
func (s *sink) counted(command func(context.Context, string) (*job, error)) func(context.Context, string) (*job, error) {
	return func(ctx context.Context, target string) (*job, error) {
		s.messages.Store(0)
		s.octets.Store(0)
		return command(ctx, target)
	}
}

func (s *sink) serve(conn net.Conn) error {
	r, w := bufio.NewReaderSize(conn, readAhead), bufio.NewWriter(conn)
	reply := "220 sink\r\n"
	for {
		if _, err := w.WriteString(reply); err != nil {
			return err
		}
		if r.Buffered() == 0 {
			if err := w.Flush(); err != nil {
				return err
			}
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		reply = "250 2.0.0 ok\r\n"
		switch word := string(line[:min(4, len(line))]); word {
		case "EHLO":
			reply = "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 0\r\n"
		case "DATA":
			if _, err := w.WriteString("354 go\r\n"); err != nil {
				return err
			}
			if err := w.Flush(); err != nil {
				return err
			}
			n, err := skipMessage(r)
			if err != nil {
				return err
			}
			s.octets.Add(n)
			s.messages.Add(1)
		case "QUIT":
			if _, err := w.WriteString("221 bye\r\n"); err != nil {
				return err
			}
			return w.Flush()
		}
	}
}

var messageEnd = []byte("\r\n.\r\n")

// skipMessage reads to the end of a message, whose octets it counts, and no further.
func skipMessage(r *bufio.Reader) (octets int64, err error) {
	for {
		if _, err := r.Peek(len(messageEnd)); err != nil {
			return octets, err
		}
		there, err := r.Peek(r.Buffered())
		if err != nil {
			return octets, err
		}
		i := bytes.Index(there, messageEnd)
		n := len(there) - len(messageEnd) + 1 // the end may begin in what is left
		if i >= 0 {
			n = i + len(messageEnd)
		}
		if _, err := r.Discard(n); err != nil {
			return octets, err
		}
		if octets += int64(n); i >= 0 {
			return octets - int64(len(".\r\n")), nil
		}
	}
}

const smtpEnvelope = "MAIL FROM:<sender@example.org>\r\nRCPT TO:<reader@example.com>\r\nDATA\r\n"

// rawSMTP is the limit of sending: each message's commands ride behind the one before.
func rawSMTP(t task) (tally, error) {
	body := append(mail(t.Size), ".\r\n"...)
	return spread(t, func(count int) error {
		conn, err := net.Dial("tcp", t.Address)
		if err != nil {
			return err
		}
		r := bufio.NewReader(conn)
		expect := func(codes ...string) error {
			for _, code := range codes {
				line, err := r.ReadSlice('\n')
				for err == nil && len(line) > 3 && line[3] == '-' {
					line, err = r.ReadSlice('\n')
				}
				if err != nil || !bytes.HasPrefix(line, []byte(code)) {
					return errors.Join(err, fmt.Errorf("%q, want %s", line, code))
				}
			}
			return nil
		}
		if err := expect("220"); err != nil {
			return err
		}
		if _, err := io.WriteString(conn, "EHLO raw.example.org\r\n"); err != nil {
			return err
		}
		if err := expect("250"); err != nil {
			return err
		}
		if _, err := io.WriteString(conn, smtpEnvelope); err != nil {
			return err
		}
		more := append(body[:len(body):len(body)], smtpEnvelope...)
		for i := range count {
			if err := expect("250", "250", "354"); err != nil {
				return err
			}
			octets := more
			if i == count-1 {
				octets = append(body[:len(body):len(body)], "QUIT\r\n"...)
			}
			if _, err := conn.Write(octets); err != nil {
				return err
			}
			if err := expect("250"); err != nil {
				return err
			}
		}
		return errors.Join(expect("221"), conn.Close())
	})
}

// spread sends a task's messages over its number of connections.
func spread(t task, send func(count int) error) (tally, error) {
	var all sync.WaitGroup
	failed := make([]error, t.Workers)
	for i := range failed {
		count := t.Messages / t.Workers
		if i < t.Messages%t.Workers {
			count++
		}
		if count > 0 {
			all.Go(func() { failed[i] = send(count) })
		}
	}
	all.Wait()
	return tally{Messages: t.Messages}, errors.Join(failed...)
}

// netSMTP is the standard library's client.
func netSMTP(t task) (tally, error) {
	body := mail(t.Size)
	return spread(t, func(count int) error {
		c, err := smtp.Dial(t.Address)
		if err != nil {
			return err
		}
		for range count {
			err := errors.Join(c.Mail("sender@example.org"), c.Rcpt("reader@example.com"))
			if err != nil {
				return err
			}
			w, err := c.Data()
			if err != nil {
				return err
			}
			if _, err := w.Write(body); err != nil {
				return err
			}
			if err := w.Close(); err != nil {
				return err
			}
		}
		return c.Quit()
	})
}

// send is this module at work: as many goroutines as connections, times t.Batch, that each send one message after the
// other.
func send(ctx context.Context, t task) (done tally, err error) {
	c, err := open(alldrivers.New(), t.Driver, t.Config)
	if err != nil {
		return tally{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	out, err := connection.As[connection.Sender](c)
	if err != nil {
		return tally{}, err
	}
	body := mail(t.Size)
	envelope := connection.Envelope{From: "sender@example.org", To: []string{"reader@example.com"}}
	t.Workers *= t.Batch
	return spread(t, func(count int) error {
		for range count {
			if _, err := out.Send(ctx, envelope, bytes.NewReader(body), nil); err != nil {
				return err
			}
		}
		return nil
	})
}
