package imapclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync"

	"github.com/mailconn/mailconn/connection"
)

var errBodyOver = errors.New("the body was read after its loop step")

// A body is what Message.Body is: the octets of one message, until the caller's next loop step. Of a small message
// they are in memory; a large one comes from the connection while the caller reads.
type body struct {
	conn *Conn
	ref  connection.Ref
	free func() // gives back memory or a file; nil if there is none
	live *live  // nil unless the octets still come from the connection

	mu   sync.Mutex // Read, against the reader of the session that takes over or gives up
	src  io.Reader
	left int64
	err  error // what Read returns from now on; errBodyOver by way of over
}

// live is how a body and the reader of its session work together. The session's reader must not touch the connection
// before taken or dropped is closed, or it holds body.mu.
type live struct {
	ctx     context.Context
	explain func(error) error
	taken   chan struct{} // closed when the literal is at its end, or has failed
	dropped chan struct{} // closed when the caller wants no more
	known   chan struct{} // closed when verdict holds whether the server's reply ended as it must
	judged  sync.Once
	verdict error
	failure error // of the literal
}

func newLive(ctx context.Context, explain func(error) error) *live {
	return &live{ctx: ctx, explain: explain, taken: make(chan struct{}), dropped: make(chan struct{}), known: make(chan struct{})}
}

// settle says whether the server's reply ended well. The first word holds.
func (l *live) settle(verdict error) {
	l.judged.Do(func() {
		l.verdict = verdict
		close(l.known)
	})
}

// Read implements io.Reader. It returns io.EOF only after every octet that the server announced, and only when the
// server's reply has ended well behind them.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.over()
	}
	if len(p) == 0 {
		return 0, nil
	}
	if b.left > 0 {
		n, err := b.src.Read(p[:min(int64(len(p)), b.left)])
		b.left -= int64(n)
		if b.left > 0 {
			if err != nil {
				b.fail(err)
			}
			if n > 0 {
				return n, nil
			}
			return 0, b.err
		}
		switch {
		case b.live == nil:
		case err != nil && !errors.Is(err, io.EOF):
			b.fail(err)
		default:
			b.finishLiteral()
		}
		return n, nil
	}
	if b.live != nil {
		return 0, b.await()
	}
	b.err = io.EOF
	return 0, b.err
}

// empty implements octets.
func (b *body) empty() bool { return b.left == 0 }

// pieces keeps the memory that live bodies are copied through.
var pieces = sync.Pool{New: func() any { p := make([]byte, 128<<10); return &p }}

// WriteTo implements io.WriterTo: what is in memory is written at once.
func (b *body) WriteTo(w io.Writer) (int64, error) {
	b.mu.Lock()
	if octets, ok := b.src.(*bytes.Reader); ok && b.live == nil && b.err == nil {
		defer b.mu.Unlock()
		n, err := octets.WriteTo(w)
		b.left -= n
		return n, err
	}
	b.mu.Unlock()
	piece := pieces.Get().(*[]byte)
	defer pieces.Put(piece)
	return io.CopyBuffer(w, struct{ io.Reader }{b}, *piece)
}

// finishLiteral takes the literal's end, without which the library does not go on.
func (b *body) finishLiteral() {
	if b.live.failure == nil {
		b.live.failure = literalEnd(b.src)
	}
	closeOnce(b.live.taken)
}

// literalEnd reads the end of a literal whose octets have all been read.
func literalEnd(r io.Reader) error {
	var one [1]byte
	n, err := r.Read(one[:])
	switch {
	case n == 0 && errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return errors.New("a literal is longer than announced")
}

// fail ends the body with the literal's error. The literal must not be read again: the decoder has gone on.
func (b *body) fail(err error) {
	b.err = b.broken(err)
	if b.live != nil {
		b.live.failure = err
		closeOnce(b.live.taken)
	}
}

// broken returns the error of a body that ends too early.
func (b *body) broken(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if b.live == nil {
		return b.conn.problem("fetch", b.ref, connection.KindOf(err), "%d octets are missing: %w", b.left, err)
	}
	if b.live.ctx.Err() != nil {
		return b.conn.ended(b.live.ctx, "fetch", b.ref)
	}
	return b.conn.fault("fetch", b.ref, b.live.explain(err))
}

// await waits for the verdict on a live body that was read to its end. It lets go of the lock meanwhile.
func (b *body) await() error {
	closeOnce(b.live.taken) // of an empty literal nothing was read
	b.mu.Unlock()
	select {
	case <-b.live.known:
	case <-b.live.ctx.Done():
	}
	b.mu.Lock()
	if b.err != nil {
		return b.over()
	}
	b.err = io.EOF
	select {
	case <-b.live.known:
		if b.live.verdict != nil {
			b.err = b.conn.fault("fetch", b.ref, b.live.verdict)
		}
	default:
		b.err = b.conn.ended(b.live.ctx, "fetch", b.ref)
	}
	return b.err
}

// end makes every later Read fail, since the caller has gone on, and gives back what the body holds.
func (b *body) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = errBodyOver
	if b.free != nil {
		b.free()
		b.free = nil
	}
	if b.live != nil {
		closeOnce(b.live.dropped)
	} else {
		b.src = nil
	}
}

// over returns err, and makes an *Error of the one that end leaves: few bodies are read after their step.
func (b *body) over() error {
	if errors.Is(b.err, errBodyOver) {
		return b.conn.problem("fetch", b.ref, connection.ErrInvalid, "%w", errBodyOver)
	}
	return b.err
}

// closeOnce closes a channel that one goroutine at a time may close.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

// drain reads what the caller has left of a live literal. It reports the literal's failure, if it has one.
func (b *body) drain() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.live.taken:
		return b.live.failure
	default:
	}
	// Whatever is taken here is not the caller's any more, who must not be told of an end.
	missing := b.left
	n, err := io.Copy(io.Discard, b.src)
	b.left -= n
	if err == nil && b.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	b.live.failure = err
	if b.err == nil && missing > 0 {
		b.err = b.broken(err)
	}
	closeOnce(b.live.taken)
	return b.live.failure
}

// detach spools what the caller has not read yet, so that the session is free while the caller goes on reading.
func (b *body) detach() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.live.failure != nil || b.left == 0 || b.err != nil {
		return
	}
	kept, err := spool(b.src, b.left)
	if err != nil {
		if !errors.As(err, new(*diskError)) {
			b.live.failure = err
		}
		b.err = b.conn.fault("fetch", b.ref, b.live.explain(err))
		closeOnce(b.live.taken)
		return
	}
	b.src, b.free = kept.Reader(), func() { _ = kept.Close() } // a temporary file: nothing depends on it
	closeOnce(b.live.taken)
}

// spoolMemory is what one spooled body may keep in memory; the rest is in a temporary file.
const spoolMemory = 64 << 10

// A diskError is a failure to keep a body, while the connection it came from is well.
type diskError struct{ err error }

func (e *diskError) Error() string { return e.err.Error() }
func (e *diskError) Unwrap() error { return e.err }

// spool keeps the size octets of r, and reads r to its end in any case but its failure. An error that is not r's is a
// *diskError.
func spool(r io.Reader, size int64) (*connection.Spooled, error) {
	src := &watched{r: r}
	kept, err := connection.Spool(&connection.Message{Body: src, Size: size}, &connection.SpoolOptions{Memory: spoolMemory})
	switch {
	case src.err != nil:
		return nil, src.err // what connection.Spool makes of it says no more
	case err != nil:
		if _, drained := io.Copy(io.Discard, r); drained != nil {
			return nil, drained
		}
		return nil, &diskError{err}
	case kept.Size != size:
		return nil, errors.Join(fmt.Errorf("%d of %d octets: %w", kept.Size, size, io.ErrUnexpectedEOF), kept.Close())
	}
	return kept, nil
}

// watched remembers how reading failed.
type watched struct {
	r   io.Reader
	err error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// A budget bounds the octets that are read ahead. One goroutine takes, others give back.
type budget struct {
	mu   sync.Mutex
	all  int64
	free int64
	wake chan struct{}
}

func newBudget(octets int64) *budget {
	return &budget{all: octets, free: octets, wake: make(chan struct{}, 1)}
}

// take waits until n octets are free; if they are not at once, until half of all are, for the reason of fetch.enqueue.
// n is at most largeBody, and what is not given back without this goroutine's doing are a few bodies, so half becomes
// free. It reports false if ctx ended or hurry was closed before.
func (b *budget) take(ctx context.Context, hurry <-chan struct{}, n int64) bool {
	for least := n; ; least = max(n, b.all/2) {
		b.mu.Lock()
		ok := b.free >= least
		if ok {
			b.free -= n
		}
		b.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-b.wake:
		case <-hurry:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

func (b *budget) give(n int64) {
	b.mu.Lock()
	b.free += n
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// buffers keeps the memory of bodies, by powers of two.
var buffers [bits.UintSize + 1]sync.Pool

// buffer returns n octets of memory and what gives them back.
func buffer(n int) (octets []byte, give func()) {
	class := bits.Len(uint(max(n, 512) - 1))
	p, ok := buffers[class].Get().(*[]byte)
	if !ok {
		made := make([]byte, 1<<class)
		p = &made
	}
	return (*p)[:n], func() { buffers[class].Put(p) }
}
