package pop3client

import (
	"bufio"
	"bytes"
	"io"
)

// A dotReader reads one multi-line response as octets (RFC 1939, 3): it takes the one octet from the lines that begin
// with ".", and ends in io.EOF behind the line that is "." alone. Nothing else is changed, and no line is too long. A
// stream that ends before is io.ErrUnexpectedEOF.
//
// A line ends in CRLF; with bareLF, which is for servers that know nothing else, also in LF. So a "." between two lone
// LFs or CRs does not end the response.
type dotReader struct {
	br     *bufio.Reader
	bareLF bool
	state  dotState
	began  bool  // an octet was read
	dotted bool  // the very first octet was a "." that was taken away
	err    error // io.EOF behind the end
}

type dotState uint8

const (
	lineStart dotState = iota // of the first line, too
	inText
	afterCR
	afterDot   // a "." at the start of a line: the end, or to be taken away
	afterDotCR // "." CR at the start of a line
)

// Read implements io.Reader.
func (d *dotReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && d.err == nil {
		if d.br.Buffered() == 0 {
			if n > 0 {
				return n, nil // what is here now is not held back by what may come late
			}
			if _, err := d.br.Peek(1); err != nil {
				if err == io.EOF { //nolint:errorlint // bufio returns it bare
					err = io.ErrUnexpectedEOF
				}
				d.err = err
				break
			}
		}
		chunk, err := d.br.Peek(d.br.Buffered())
		if err != nil {
			d.err = err // cannot be: it asks for what is there
			break
		}
		written, used := d.step(p[n:], chunk)
		n += written
		if _, err := d.br.Discard(used); err != nil {
			d.err = err // cannot be, as above
		}
	}
	if n > 0 || len(p) == 0 {
		return n, nil
	}
	return 0, d.err
}

// step moves octets from chunk to p until one of them is used up. It returns how many were written and used; at least
// one is used.
func (d *dotReader) step(p, chunk []byte) (written, used int) {
	for written < len(p) && used < len(chunk) && d.err == nil {
		c := chunk[used]
		switch d.state {
		case lineStart:
			first := !d.began
			d.began = true
			if c == '.' {
				d.dotted = d.dotted || first
				d.state = afterDot
				used++
				continue
			}
		case afterDot:
			if c == '\r' {
				d.state = afterDotCR
				used++
				continue
			}
			if c == '\n' && d.bareLF {
				d.err = io.EOF
				return written, used + 1
			}
		case afterDotCR:
			if c == '\n' {
				d.err = io.EOF
				return written, used + 1
			}
			// The "." was stuffing before a lone CR, which belongs to the message.
			p[written] = '\r'
			written++
			d.state = afterCR
			continue
		case afterCR:
			if c == '\n' {
				p[written] = c
				written++
				used++
				d.state = lineStart
				continue
			}
		case inText:
		}
		n := d.text(p[written:], chunk[used:])
		written += n
		used += n
	}
	return written, used
}

var (
	crlfDot = []byte("\r\n.")
	lfDot   = []byte("\n.")
)

// text copies octets that need no look one by one: up to the next line that begins with ".", or as many as fit. It
// leaves the state as behind the last of them.
func (d *dotReader) text(p, chunk []byte) int {
	// The octet in hand belongs to the text, whatever it is; the search may not begin before it.
	stop, lead := crlfDot, 2
	if d.bareLF {
		stop, lead = lfDot, 1
	}
	run := chunk[:min(len(p), len(chunk))]
	if i := bytes.Index(run, stop); i >= 0 {
		run = run[:i+lead]
	}
	copy(p, run)
	switch n := len(run); {
	case run[n-1] == '\r':
		d.state = afterCR
	case run[n-1] == '\n' && (d.bareLF || n > 1 && run[n-2] == '\r'):
		d.state = lineStart
	default:
		d.state = inText
	}
	return len(run)
}
