package smtpclient

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// Limits of what a server may say. RFC 5321, 4.5.3.1.5 permits a line of 512 octets; servers exceed it.
const (
	maxLine      = 4 << 10
	maxChallenge = 96 << 10 // one line, in an authentication exchange
	maxLines     = 128
	maxReply     = 64 << 10
)

// A reply is what the server says to one command (RFC 5321, 4.2).
type reply struct {
	code     int
	enhanced string   // the first line's code of RFC 3463: "5.1.1"; "" without one
	lines    []string // behind the codes
}

// text returns the words in one line.
func (r *reply) text() string {
	if len(r.lines) == 1 {
		return r.lines[0]
	}
	return strings.Join(r.lines, " ")
}

// String returns the codes and the words.
func (r *reply) String() string {
	text := strconv.Itoa(r.code)
	if r.enhanced != "" {
		text += " " + r.enhanced
	}
	return strings.TrimRight(text+" "+r.text(), " ")
}

func (r *reply) positive() bool { return r.code/100 == 2 }

// reply reads the reply to one command.
func (s *session) reply() (*reply, error) { return s.replyWithin(maxLine) }

func (s *session) replyWithin(limit int) (*reply, error) {
	r := &reply{}
	size := 0
	for {
		line, err := s.readLine(limit)
		if err != nil {
			return nil, err
		}
		size += len(line)
		code, more, text, ok := parseLine(line)
		switch {
		case !ok:
			return nil, s.peer.Errorf(connection.ErrProtocol, "", "no reply but %q", s.shown(line))
		case r.code != 0 && code != r.code:
			return nil, s.peer.Errorf(connection.ErrProtocol, "", "a reply that changes its code from %d to %d", r.code, code)
		case len(r.lines) == maxLines || size > max(limit, maxReply):
			return nil, s.peer.Errorf(connection.ErrProtocol, "", "a reply of over %d lines or %d octets", maxLines, maxReply)
		}
		r.code = code
		enhanced, rest := cutEnhanced(code, text)
		if r.enhanced == "" {
			r.enhanced = enhanced
		}
		r.lines = append(r.lines, rest)
		if !more {
			return r, nil
		}
	}
}

// parseLine takes one line of a reply apart. Some servers end the last line right behind the code.
func parseLine(line []byte) (code int, more bool, text string, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' {
		return 0, false, "", false
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, false, "", false
		}
		code = code*10 + int(c-'0')
	}
	if len(line) == 3 {
		return code, false, "", true
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, false, "", false
	}
	return code, line[3] == '-', string(line[4:]), true
}

// cutEnhanced takes the code of RFC 3463 from a text. Its class is that of the reply.
func cutEnhanced(code int, text string) (enhanced, rest string) {
	word, rest, _ := strings.Cut(text, " ")
	if len(word) < 5 || len(word) > 9 || int(word[0]-'0') != code/100 {
		return "", text
	}
	dots, digits := 0, 0
	for i := range len(word) {
		switch c := word[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c == '.' && digits > 0:
			dots++
			digits = 0
		default:
			return "", text
		}
		if digits > 3 {
			return "", text
		}
	}
	if dots != 2 || digits == 0 {
		return "", text
	}
	return word, rest
}

// readLine returns the next line without its end, valid until the next read. It counts while octets arrive.
func (s *session) readLine(limit int) ([]byte, error) {
	var long []byte // what came before, of a line that the buffer cannot hold
	for {
		chunk, err := s.br.ReadSlice('\n')
		if len(long)+len(chunk) > limit+len("\r\n") {
			return nil, s.peer.Errorf(connection.ErrProtocol, "", "a line of over %d octets: %q", limit, s.shown(append(long, chunk...)[:limit]))
		}
		if err == nil {
			line := chunk
			if long != nil {
				line = append(long, chunk...)
			}
			line = bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
			s.trace.Received(line)
			return line, nil
		}
		long = append(long, chunk...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if len(long) > 0 && errors.Is(err, io.EOF) {
			err = fmt.Errorf("after %q: %w", s.shown(long), io.ErrUnexpectedEOF)
		}
		return nil, s.lost(err)
	}
}
