package imaptest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// readLine reads up to and including LF and returns a copy of the line without CRLF.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return nil, violation(fmt.Sprintf("command line over %d octets", limit))
		}
		line = append(line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	for _, b := range line {
		if b == 0 { // RFC 3501, 9: NUL is never allowed, and it is our mark for a literal
			return nil, violation("NUL in a command")
		}
	}
	return line, nil
}

// cutLiteral splits the announcement of a literal off the end of line.
func cutLiteral(line []byte) (text []byte, size uint64, sync, found bool) {
	open := strings.LastIndexByte(string(line[max(0, len(line)-24):]), '{')
	if open < 0 || line[len(line)-1] != '}' {
		return line, 0, false, false
	}
	open += max(0, len(line)-24)
	digits, nonSync := strings.CutSuffix(string(line[open+1:len(line)-1]), "+")
	size, err := parseNumber(digits)
	if err != nil {
		return line, 0, false, false
	}
	return line[:open:open], size, !nonSync, true
}

// readFull reads exactly n octets. Memory grows with what arrives, not with what was announced.
func readFull(r io.Reader, n int64) ([]byte, error) {
	if n <= bufferSize {
		octets := make([]byte, n)
		_, err := io.ReadFull(r, octets)
		return octets, err
	}
	octets, err := io.ReadAll(io.LimitReader(r, n))
	if err == nil && int64(len(octets)) < n {
		err = io.ErrUnexpectedEOF
	}
	return octets, err
}
