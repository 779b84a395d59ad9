package imapclient

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/wirelog"
)

// command sends a command and reads to its tagged reply, which it returns; a refusal is not an error here. Capabilities
// told on the way are kept. answer, if not nil, answers continuation requests.
func (l *link) command(text string, maxLine int, answer func(challenge string) (string, error)) (note, error) {
	l.tags++
	tag := "P" + strconv.Itoa(l.tags)
	if err := l.send(tag + " " + text); err != nil {
		return note{}, err
	}
	var complaint string
	for range maxPreludeLines {
		line, err := l.readLine(maxLine)
		if err != nil {
			return note{}, blame(err, complaint)
		}
		if challenge, ok := strings.CutPrefix(line, "+"); ok {
			if answer == nil {
				return note{}, l.peer.Errorf(connection.ErrProtocol, "", "a continuation request that nothing asked for")
			}
			reply, err := answer(strings.TrimPrefix(challenge, " "))
			if err != nil {
				return note{}, err
			}
			if err := l.send(reply); err != nil {
				return note{}, err
			}
			continue
		}
		if line == "" {
			continue
		}
		n, err := l.response(line)
		switch {
		case err != nil:
			return note{}, err
		case n.Tag == tag:
			if n.Type != "OK" && n.Type != "NO" && n.Type != "BAD" {
				return note{}, l.peer.Errorf(connection.ErrProtocol, "", "no status in the reply %q", wirelog.Clip(l.clean(line)))
			}
			return n, nil
		case n.Tag != "*":
			return note{}, l.peer.Errorf(connection.ErrProtocol, "", "a reply to a command that was not sent: %q", wirelog.Clip(l.clean(line)))
		case n.Type == "NO", n.Type == "BAD":
			complaint = l.said(n)
		}
	}
	return note{}, l.peer.Errorf(connection.ErrProtocol, "", "over %d lines in answer to one command", maxPreludeLines)
}

// blame adds to err what the server complained of before: some answer a login with an untagged BAD and nothing more.
func blame(err error, complaint string) error {
	var e *connection.Error
	if complaint == "" || !errors.As(err, &e) {
		return err
	}
	told := *e
	told.Err = fmt.Errorf("after the server said %s: %w", complaint, e.Err)
	return &told
}

// response notes what one line tells: capabilities, words for people, the end.
func (l *link) response(line string) (note, error) {
	n := parseStatus(line)
	raw := n.Text
	n.Text = l.clean(n.Text)
	switch {
	case !statusType(n.Type) && literalAtEnd(line):
		return n, l.peer.Errorf(connection.ErrProtocol, "", "a literal where none can be: %q", wirelog.Clip(l.clean(line)))
	case n.Type == "BYE" && n.Tag == "*":
		l.announce(n)
		return n, l.refusal(n, "")
	case n.Type == "CAPABILITY" && n.Tag == "*":
		l.caps = parseCaps(raw) // a password may be a word of the protocol
	case n.Type == "ID" && n.Tag == "*":
		l.serverID = n.Text
	case n.Code == "CAPABILITY":
		l.caps = parseCaps(n.Arg)
	}
	if n.Tag == "*" {
		l.notice(n)
	}
	return n, nil
}

func (l *link) send(line string) error {
	l.trace.Sent([]byte(line))
	if _, err := io.WriteString(l.stream, line+"\r\n"); err != nil {
		return l.lost(err)
	}
	return nil
}

// readLine returns the next line without its end, LF or CRLF. It counts while octets arrive.
func (l *link) readLine(limit int) (string, error) {
	var line []byte
	for {
		c, err := l.br.ReadByte()
		switch {
		case errors.Is(err, io.EOF) && len(line) > 0:
			return "", l.lost(fmt.Errorf("after %q: %w", wirelog.Clip(l.cleanCut(string(line))), io.ErrUnexpectedEOF))
		case err != nil:
			return "", l.lost(err)
		case c == '\n':
			line = bytes.TrimSuffix(line, []byte("\r"))
			l.trace.Received(line)
			l.heard = true
			return string(line), nil
		case len(line) == limit:
			return "", l.peer.Errorf(connection.ErrProtocol, "", "a line of over %d octets: %q", limit, wirelog.Clip(l.clean(string(line))))
		}
		line = append(line, c)
	}
}

// lost makes a *connection.Error of what ended the stream.
func (l *link) lost(err error) error { return l.way.Lost(l.conn, l.tls, l.heard, err) }

// clean removes secrets, and what would harm a terminal, from a server's text.
func (l *link) clean(s string) string { return wirelog.Harmless(l.scrub.Text(s)) }

// cleanCut is clean for a text whose end is missing.
func (l *link) cleanCut(s string) string { return wirelog.Harmless(l.scrub.Cut(s)) }

// parseCaps returns the capabilities of a list, in upper case, without what no atom can be: the list is handed to a
// parser that such things freeze.
func parseCaps(list string) []string {
	caps := []string{}
	for word := range strings.FieldsSeq(list) {
		if len(caps) == maxCaps {
			break
		}
		if len(word) <= maxCapLength && !strings.ContainsFunc(word, func(r rune) bool { return r > '~' || !isAtomChar(byte(r)) }) {
			caps = append(caps, strings.ToUpper(word))
		}
	}
	return caps
}

// isAtomChar reports whether c may be in an atom (RFC 9051, 9: ATOM-CHAR).
func isAtomChar(c byte) bool {
	switch c {
	case '(', ')', '{', ' ', '%', '*', '"', '\\', ']':
		return false
	}
	return c > ' ' && c < 0x7f
}

// statusType reports whether the response is a status (RFC 9051, 7.1), whose end is free text.
func statusType(typ string) bool {
	switch typ {
	case "OK", "NO", "BAD", "BYE", "PREAUTH":
		return true
	}
	return false
}

// literalAtEnd reports whether a line ends in "{n}".
func literalAtEnd(line string) bool {
	_, _, ok := cutLiteral([]byte(line))
	return ok
}
