package smtpclient

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/mailconn/mailconn/connection"
)

// A writer sends the content of one message.
type writer struct {
	t       *transaction
	r       io.Reader
	left    int64 // octets of the message that were not read yet
	out     []byte
	writing bool // what failed is a write

	// Of DATA whose octets cannot go as they are.
	bareCR []byte // what a bare CR becomes
	cr     bool   // the last octet was CR, and is not in out yet
	inLine bool

	// Of BDAT.
	unheard bool // the reply to a chunk is still to be read
}

var errChanged = &connection.Error{Kind: connection.ErrCorrupt, Err: errors.New("the body is not what it was when it was read first")}

// read appends at most n octets of the message to buf, as many as there are.
func (w *writer) read(buf []byte, n int) ([]byte, error) {
	n = int(min(int64(n), w.left))
	m, err := fill(w.r, buf[len(buf):len(buf)+n])
	w.left -= int64(m)
	switch {
	case m == n:
		err = nil // an error comes again
	case atEnd(err):
		err = errChanged
	}
	if err == nil && w.left == 0 {
		// The whole is not sent before it is known to be the whole.
		var more [1]byte
		switch n, end := fill(w.r, more[:]); {
		case n > 0:
			err = errChanged
		case !atEnd(end):
			err = end
		}
	}
	return buf[:len(buf)+m], err
}

// flush writes what is collected.
func (w *writer) flush() error {
	w.writing = true
	w.t.s.trace.Octets(true, int64(len(w.out)))
	err := w.t.s.write(w.out)
	w.writing = err != nil
	w.out = w.out[:0]
	return err
}

// commit writes the last octets, and behind them the commands of whoever is next. From here on the server may have the
// whole message, whatever this side hears of it.
func (w *writer) commit() error {
	if w.t.behind != nil {
		w.out = w.t.s.appendCommands(w.out, w.t.behind())
	}
	w.t.d.committed = true
	return w.flush()
}

// data sends the content of DATA with its end (RFC 5321, 4.5.2).
func (w *writer) data() error {
	scan := &w.t.d.body.scan
	buf := buffers.Get().([]byte)
	defer buffers.Put(buf) //nolint:staticcheck // a slice header is little beside what it spares
	w.out = buf[:0]
	if scan.dots > 0 || scan.bareLF() > 0 || scan.bareCR() > 0 {
		if err := w.stuffed(); err != nil {
			return err
		}
	} else {
		if memory, ok := w.r.(*bytes.Reader); ok && w.left > bufferSize {
			if err := inPlace(memory, w.most); err != nil {
				return err
			}
		}
		for w.left > 0 {
			var err error
			if w.out, err = w.read(w.out, cap(w.out)-len(w.out)); err != nil {
				return err
			}
			if w.left > 0 {
				if err := w.flush(); err != nil {
					return err
				}
			}
		}
		w.inLine = scan.unfinished()
	}
	if w.inLine {
		w.out = append(w.out, "\r\n"...)
	}
	w.out = append(w.out, ".\r\n"...)
	return w.commit()
}

// most writes a body in memory as it is, but for some octets at its end, which it collects.
func (w *writer) most(octets []byte) error {
	if int64(len(octets)) != w.left {
		return errChanged
	}
	rest := octets[len(octets)-bufferSize/2:]
	w.writing = true
	w.t.s.trace.Octets(true, int64(len(octets)-len(rest)))
	if err := w.t.s.write(octets[:len(octets)-len(rest)]); err != nil {
		return err
	}
	w.writing, w.left = false, 0
	w.out = append(w.out, rest...)
	return nil
}

// stuffed collects the content with the dots stuffed and each line end as CRLF.
func (w *writer) stuffed() error {
	w.bareCR = []byte(" ")
	if w.t.d.conn.cfg.BareCR == BareCRCRLF {
		w.bareCR = []byte("\r\n")
	}
	in := buffers.Get().([]byte)
	defer buffers.Put(in) //nolint:staticcheck // as in data
	const piece = bufferSize / 4
	for w.left > 0 {
		read, err := w.read(in[:0], piece)
		if err != nil {
			return err
		}
		w.stuff(read)
		if w.left > 0 && len(w.out) > bufferSize/2 {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	if w.cr {
		w.lone()
	}
	return nil
}

// stuff appends the next octets to out. Only CRLF and LF end a line; whatever else a server may take for a line end is
// not let through.
func (w *writer) stuff(src []byte) {
	for len(src) > 0 {
		if w.cr {
			if src[0] != '\n' {
				w.lone()
				continue
			}
			w.cr, w.inLine = false, false
			w.out = append(w.out, "\r\n"...)
			src = src[1:]
			continue
		}
		if !w.inLine && src[0] == '.' {
			w.out = append(w.out, '.')
		}
		end := bytes.IndexByte(src, '\n')
		line := src
		if end >= 0 {
			line = src[:end]
		}
		cr := bytes.IndexByte(line, '\r')
		switch {
		case cr >= 0: // a line end, a bare one, or the last octet of src
			w.out = append(w.out, line[:cr]...)
			w.cr, w.inLine = true, true
			src = src[cr+1:]
		case end >= 0:
			w.out = append(append(w.out, line...), "\r\n"...)
			w.inLine = false
			src = src[end+1:]
		default:
			w.out = append(w.out, line...)
			w.inLine = true
			src = nil
		}
	}
}

// lone appends what stands for a bare CR.
func (w *writer) lone() {
	w.out = append(w.out, w.bareCR...)
	w.cr, w.inLine = false, len(w.bareCR) == 1
}

// chunkSize is how much one BDAT announces.
const chunkSize = 1 << 20

// bdat sends the content in chunks (RFC 3030, 2). The first chunk on a connection is one octet: a server that does not
// know BDAT after all must not take the lines of a message for commands.
func (w *writer) bdat() error {
	d, s := w.t.d, w.t.s
	buf := buffers.Get().([]byte)
	defer buffers.Put(buf) //nolint:staticcheck // as in data
	w.out = buf[:0]
	if !s.proven && w.left > 1 {
		if err := w.prove(); err != nil {
			return err
		}
	}
	d.begun = true
	for first := true; first || w.left > 0; first = false {
		if err := w.chunk(min(w.left, chunkSize)); err != nil {
			return err
		}
	}
	s.proven = true
	return nil
}

// errNoBDAT says that the server does not know BDAT, which it offers. It has nothing of the message.
var errNoBDAT = errors.New("the server offers CHUNKING and does not know BDAT")

func (w *writer) prove() error {
	w.out = append(w.out, "BDAT 1\r\n"...)
	var err error
	if w.out, err = w.read(w.out, 1); err != nil {
		return err
	}
	s := w.t.s
	s.trace.Sent([]byte("BDAT 1"))
	err = w.flush()
	var r *reply
	if err == nil {
		r, err = s.reply()
	}
	switch {
	case connection.KindOf(err) == connection.ErrNetwork: // some servers close the connection
		return fmt.Errorf("%w: %w", errNoBDAT, err)
	case err != nil:
		return err
	case r.code == 500, r.code == 502:
		return fmt.Errorf("%w: %w", errNoBDAT, s.refusal(stageData, r, ""))
	case !r.positive():
		return w.refused(r)
	}
	s.proven = true
	return nil
}

// chunk sends the next n octets; if they are the last ones of the message, the server is told so.
func (w *writer) chunk(n int64) error {
	s, last := w.t.s, n == w.left
	command := "BDAT " + strconv.FormatInt(n, 10)
	if last {
		command += " LAST"
	}
	s.trace.Sent([]byte(command))
	w.out = append(append(w.out, command...), "\r\n"...)
	for n > 0 {
		before := w.left
		var err error
		if w.out, err = w.read(w.out, int(min(n, int64(cap(w.out)-len(w.out))))); err != nil {
			return err
		}
		if n -= before - w.left; n > 0 || !last {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	// One chunk is under way while the reply to the one before it travels; none when the last octets go out.
	if w.unheard {
		if err := w.heard(); err != nil {
			return err
		}
	}
	if last {
		return w.commit()
	}
	w.unheard = true
	if !s.ext.pipelining {
		return w.heard()
	}
	return nil
}

// heard reads the reply to a chunk that is not the last.
func (w *writer) heard() error {
	r, err := w.t.s.reply()
	if err != nil {
		return err
	}
	w.unheard = false
	if !r.positive() {
		return w.refused(r)
	}
	return nil
}

// refusedError is the refusal of a chunk, which ends the transaction and the session.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

func (w *writer) refused(r *reply) error { return &refusedError{w.t.s.refusal(stageFinal, r, "")} }
