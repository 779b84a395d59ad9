package smtptest

import (
	"bufio"
	"bytes"
)

// An ending finds the end of DATA (RFC 5321, 4.1.1.4), and takes the stuffing from the lines. Only CRLF ends a line; if
// sloppy, LF and CR alone do as well around a dot, as in servers that mail can be smuggled through.
type ending struct {
	sloppy bool
	tooBig bool // the octets beyond the limit were thrown away
}

// read returns the octets before the end.
func (e *ending) read(r *bufio.Reader, limit int64) ([]byte, error) {
	var raw []byte
	start := true // of a line
	for {
		if start {
			done, err := e.atEnd(r)
			if done || err != nil {
				return raw, err
			}
			if next, err := r.Peek(1); err == nil && next[0] == '.' {
				if _, err := r.Discard(1); err != nil {
					return nil, err
				}
			}
		}
		part, err := r.ReadSlice('\n')
		if e.sloppy {
			// A CR before a dot begins a line, too.
			if i := bytes.Index(part, []byte("\r.\r")); i >= 0 && err == nil {
				return append(raw, part[:i+1]...), nil
			}
		}
		if int64(len(raw)+len(part)) > limit {
			e.tooBig = true
			raw = raw[:0]
			limit = 1 << 62 // thrown away as a whole
		}
		raw = append(raw, part...)
		switch {
		case err == nil:
			start = bytes.HasSuffix(raw, []byte("\r\n")) || e.sloppy
		case err == bufio.ErrBufferFull: //nolint:errorlint // bufio returns it bare
			start = false
		default:
			return nil, err
		}
	}
}

// atEnd takes the line that ends the message, if it is next.
func (e *ending) atEnd(r *bufio.Reader) (bool, error) {
	for _, end := range []string{".\r\n", ".\n"} {
		if end == ".\n" && !e.sloppy {
			continue
		}
		next, err := r.Peek(1)
		if err != nil {
			return false, err
		}
		if next[0] != '.' {
			return false, nil
		}
		if next, err = r.Peek(2); err != nil || next[1] != end[1] {
			continue
		}
		if next, err = r.Peek(len(end)); err != nil || string(next) != end {
			continue
		}
		_, err = r.Discard(len(end))
		return true, err
	}
	return false, nil
}
