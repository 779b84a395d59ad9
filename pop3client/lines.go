package pop3client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/wirelog"
)

// command sends one command and reads its status; a refusal is not an error here.
func (l *link) command(text string) (reply, error) {
	if err := l.send(text); err != nil {
		return reply{}, err
	}
	return l.reply()
}

// send sends commands, in one go. No command carries octets that would end it early: Config.Validate and parseListing
// have seen to that.
func (l *link) send(lines ...string) error {
	var b strings.Builder
	for _, line := range lines {
		l.trace.Sent([]byte(line))
		b.WriteString(line)
		b.WriteString("\r\n")
	}
	l.commands += len(lines)
	if _, err := io.WriteString(l.stream, b.String()); err != nil {
		return l.lost(err)
	}
	return nil
}

// reply reads one status line.
func (l *link) reply() (reply, error) {
	line, err := l.readLine(maxLine)
	if err != nil {
		return reply{}, err
	}
	r, ok := parseReply(line)
	if !ok {
		return reply{}, l.peer.Errorf(connection.ErrProtocol, "", "no status but %q", wirelog.Clip(l.clean(line)))
	}
	return r, nil
}

// lines hands over the lines of a multi-line response, without their stuffing.
func (l *link) lines(each func(line string) error) error {
	for {
		line, err := l.readLine(maxLine)
		switch {
		case err != nil:
			return err
		case line == ".":
			return nil
		}
		if err := each(strings.TrimPrefix(line, ".")); err != nil {
			return err
		}
	}
}

// readLine returns the next line without its end. It counts while octets arrive.
func (l *link) readLine(limit int) (string, error) {
	var line []byte
	for {
		if l.br.Buffered() == 0 {
			if _, err := l.br.Peek(1); err != nil {
				if len(line) > 0 && errors.Is(err, io.EOF) {
					err = fmt.Errorf("after %q: %w", wirelog.Clip(l.clean(string(line))), io.ErrUnexpectedEOF)
				}
				return "", l.lost(err)
			}
		}
		chunk, _ := l.br.Peek(l.br.Buffered()) // what is there; it cannot fail
		end := bytes.IndexByte(chunk, '\n')
		if end >= 0 {
			chunk = chunk[:end+1]
		}
		n := len(chunk)
		if len(line)+n > limit+len("\r\n") {
			return "", l.peer.Errorf(connection.ErrProtocol, "", "a line of over %d octets: %q", limit, wirelog.Clip(l.clean(string(append(line, chunk...)[:limit]))))
		}
		if line != nil || end < 0 {
			line = append(line, chunk...)
			chunk = line
		}
		_, _ = l.br.Discard(n) // they were peeked at, and stay where they are until more is read
		if end >= 0 {
			return l.whole(chunk)
		}
	}
}

// whole takes the end from a line.
func (l *link) whole(line []byte) (string, error) {
	text, crlf := bytes.CutSuffix(line, []byte("\r\n"))
	if !crlf {
		if l.cfg.TolerateBareLF == Off {
			return "", l.peer.Errorf(connection.ErrProtocol, "tolerate_bare_lf: the server ends lines in LF alone; set it to auto", "a line that ends in LF alone: %q", wirelog.Clip(l.clean(string(line))))
		}
		text = bytes.TrimSuffix(text, []byte("\n"))
	}
	l.lfOnly = !crlf
	l.trace.Received(text)
	return string(text), nil
}

// body returns the reader of a multi-line response whose status was just read.
func (l *link) body() *dotReader {
	bare := l.cfg.TolerateBareLF == On || l.cfg.TolerateBareLF != Off && l.lfOnly
	return &dotReader{br: l.br, bareLF: bare}
}

// lost makes a *connection.Error of what ended the stream.
func (l *link) lost(err error) error { return l.way.Lost(l.conn, l.tls, l.greeting != "", err) }

// refusal makes an error of an -ERR whose kind is otherwise unless its code says more.
func (l *link) refusal(r reply, otherwise connection.Kind, hint string) *connection.Error {
	kind, after := r.kind(otherwise)
	switch r.code {
	case "IN-USE":
		hint = "another session holds the mailbox; it is free when that ends"
	case "LOGIN-DELAY":
		hint = "polling_interval: the server permits fewer logins"
		if delay := l.caps.loginDelay(); delay > 0 {
			after = delay
		}
	}
	e := l.peer.Errorf(kind, hint, "the server says %s", l.said(r))
	e.Code, e.RetryAfter = r.code, after
	return e
}

// said returns the server's words for an error.
func (l *link) said(r reply) string {
	text := "+OK"
	if !r.ok {
		text = "-ERR"
	}
	if r.code != "" {
		text += " [" + r.code + "]"
	}
	return strings.TrimRight(text+" "+wirelog.Clip(l.clean(r.text)), " ")
}

// clean removes secrets, and what would harm a terminal, from a server's text.
func (l *link) clean(s string) string { return wirelog.Harmless(l.scrub.Text(s)) }

// capabilities are what CAPA told (RFC 2449, 6). The zero value knows nothing.
type capabilities struct {
	known bool
	list  [][]string // name in upper case, arguments as told
}

func (c *capabilities) add(line string) {
	if words := strings.Fields(line); len(words) > 0 {
		words[0] = strings.ToUpper(words[0])
		c.list = append(c.list, words)
	}
}

func (c *capabilities) find(name string) (args []string, ok bool) {
	for _, words := range c.list {
		if words[0] == name {
			args, ok = append(args, words[1:]...), true
		}
	}
	return args, ok
}

func (c *capabilities) has(name string) bool {
	_, ok := c.find(name)
	return ok
}

// String returns the list in one line.
func (c *capabilities) String() string {
	all := make([]string, len(c.list))
	for i, words := range c.list {
		all[i] = strings.Join(words, " ")
	}
	return strings.Join(all, ", ")
}

// longestDelay bounds what LOGIN-DELAY can ask for: a wrong number must not end archiving for a year.
const longestDelay = 24 * time.Hour

// loginDelay returns the least time between two logins (RFC 2449, 6.5), 0 if there is none.
func (c *capabilities) loginDelay() time.Duration {
	args, _ := c.find("LOGIN-DELAY")
	if len(args) == 0 {
		return 0
	}
	n, err := strconv.ParseUint(args[0], 10, 63)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return 0
	case err != nil, n > uint64(longestDelay/time.Second):
		return longestDelay
	}
	return time.Duration(n) * time.Second
}
