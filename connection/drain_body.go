package connection

import (
	"io"
	"sync"
)

// A watchedBody is the Body that a sink sees: it remembers how a source's Body ended, so that a sink cannot overlook it.
// A sink that copies it (io.Copy) gets what the source holds in memory with one Write.
type watchedBody struct {
	r   io.Reader
	n   int64
	err error
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.n += int64(n)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// WriteTo implements io.WriterTo.
func (b *watchedBody) WriteTo(w io.Writer) (int64, error) {
	n, broken, err := copyBody(w, b.r)
	b.n += n
	if broken {
		b.err = err
	}
	return n, err
}

// A watchedSeeker does the same for a spooled body, whose disk may fail.
type watchedSeeker struct {
	io.ReadSeeker
	err error
}

func (b *watchedSeeker) Read(p []byte) (int, error) {
	n, err := b.ReadSeeker.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // only the bare io.EOF is the end
		b.err = err
	}
	return n, err
}

// WriteTo implements io.WriterTo.
func (b *watchedSeeker) WriteTo(w io.Writer) (int64, error) {
	n, broken, err := copyBody(w, b.ReadSeeker)
	if broken {
		b.err = err
	}
	return n, err
}

// copyPieces keeps the memory that bodies are copied through when they are not in memory themselves.
var copyPieces = sync.Pool{New: func() any { p := make([]byte, 64<<10); return &p }}

// copyBody copies r to its end. broken tells that err is r's and not w's.
func copyBody(w io.Writer, r io.Reader) (n int64, broken bool, err error) {
	to := &judgedWriter{w: w}
	if from, ok := r.(io.WriterTo); ok {
		n, err = from.WriteTo(to)
		return n, err != nil && !to.failed, err
	}
	piece := copyPieces.Get().(*[]byte)
	defer copyPieces.Put(piece)
	n, err = io.CopyBuffer(to, onlyReader{r}, *piece)
	return n, err != nil && !to.failed, err
}

// A judgedWriter remembers whether writing failed. It hides ReadFrom, which would bring buffers of its own.
type judgedWriter struct {
	w      io.Writer
	failed bool
}

func (j *judgedWriter) Write(p []byte) (int, error) {
	n, err := j.w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	j.failed = j.failed || err != nil
	return n, err
}
