package objecttest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"
)

// An intake is the body of a request on its way to the fake.
type intake struct {
	body    io.ReadCloser
	out     *answer         // of the same exchange
	end     <-chan struct{} // nobody waits any more
	n       int64
	limited bool
	limit   int64
	pace    pace
	flip    flip
}

// Read implements io.Reader. As of a connection that breaks, a cut is io.ErrUnexpectedEOF.
func (in *intake) Read(p []byte) (int, error) {
	if in.limited {
		if in.n >= in.limit {
			if !in.more() {
				return 0, io.EOF
			}
			in.out.lost, in.out.hangUp = true, broken
			return 0, io.ErrUnexpectedEOF
		}
		p = p[:min(int64(len(p)), in.limit-in.n)]
	}
	p = p[:in.pace.size(len(p))]
	if !in.pace.step(in.end) {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := in.body.Read(p)
	in.flip.invert(p[:n], in.n)
	in.n += int64(n)
	return n, err
}

// more reports whether the body goes on behind the limit.
func (in *intake) more() bool {
	n, err := io.ReadFull(in.body, make([]byte, 1))
	return n > 0 || err != io.EOF
}

// Close implements io.Closer.
func (in *intake) Close() error { return in.body.Close() }

// ending says how the connection ends behind an answer.
type ending uint8

const (
	kept    ending = iota
	inOrder        // closed
	broken         // reset
)

// errHungUp ends an answer that nobody is to read.
var errHungUp = errors.New("the connection ends here")

// An answer is what the fake says on its way to the client.
type answer struct {
	w       http.ResponseWriter
	end     <-chan struct{} // nobody waits any more
	status  int
	n       int64
	lost    bool // nothing goes out
	limited bool
	limit   int64
	stall   bool // at the limit, instead of a cut
	hangUp  ending
	pace    pace
	flip    flip
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.w.Header() }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(code int) {
	if a.status != 0 {
		return
	}
	a.status = code
	if !a.lost {
		a.w.WriteHeader(code)
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	switch {
	case a.hangUp != kept:
		return 0, errHungUp
	case a.lost:
		return len(p), nil
	}
	written := 0
	for written < len(p) {
		n := a.pace.size(len(p) - written)
		if a.limited {
			if a.n >= a.limit {
				return written, a.stop()
			}
			n = int(min(int64(n), a.limit-a.n))
		}
		if !a.pace.step(a.end) {
			return written, errHungUp
		}
		n, err := a.w.Write(a.flip.inverted(p[written:written+n], a.n))
		a.n += int64(n)
		written += n
		if err != nil {
			return written, err
		}
		if a.pace.wait > 0 {
			a.Flush()
		}
	}
	return written, nil
}

// stop ends the answer at its limit.
func (a *answer) stop() error {
	a.Flush()
	a.hangUp = inOrder
	if a.stall {
		<-a.end
		a.hangUp = broken
	}
	return errHungUp
}

// Flush implements http.Flusher.
func (a *answer) Flush() {
	a.WriteHeader(http.StatusOK)
	if !a.lost {
		_ = http.NewResponseController(a.w).Flush() // the client has gone: Write will say so
	}
}

// A pace is how slowly octets move. The zero pace is at once.
type pace struct {
	n    int
	wait time.Duration
}

// size returns how many of n octets move with one step.
func (p pace) size(n int) int {
	if p.n == 0 {
		return n
	}
	return min(n, p.n)
}

// step waits, and reports whether to go on.
func (p pace) step(end <-chan struct{}) bool {
	if p.wait <= 0 {
		return true
	}
	timer := time.NewTimer(p.wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-end:
		return false
	}
}

// A flip is one bit that a faulty line inverts.
type flip struct {
	on bool
	at int64
}

// invert inverts the bit if it is in p, which begins at the offset given.
func (f flip) invert(p []byte, offset int64) {
	if f.on && f.at >= offset && f.at < offset+int64(len(p)) {
		p[f.at-offset] ^= 1
	}
}

// inverted returns p, or a copy of it with the bit inverted.
func (f flip) inverted(p []byte, offset int64) []byte {
	if f.on && f.at >= offset && f.at < offset+int64(len(p)) {
		p = bytes.Clone(p)
		f.invert(p, offset)
	}
	return p
}
