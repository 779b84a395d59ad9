package imapclient

import (
	"context"
	"errors"
	"io"

	"github.com/mailconn/mailconn/connection"
)

// A chunkBody is the Message.Body of a message that is read in chunks. The fetch gives it one piece after the other, and
// goes on when the caller has taken it.
type chunkBody struct {
	conn   *Conn
	ref    connection.Ref
	ctx    context.Context // of the fetch
	pieces chan []byte
	over   chan struct{} // closed when the caller wants no more
	done   chan struct{} // closed when no more pieces come; err may be read then
	err    error

	piece  []byte // of the caller: what is left of the last one
	failed error
}

func newChunkBody(ctx context.Context, c *Conn, ref connection.Ref) *chunkBody {
	return &chunkBody{conn: c, ref: ref, ctx: ctx, pieces: make(chan []byte), over: make(chan struct{}), done: make(chan struct{})}
}

// give hands a piece to the caller. It reports false if the caller wants no more.
func (b *chunkBody) give(piece []byte) bool {
	if len(piece) == 0 {
		return true
	}
	select {
	case b.pieces <- piece:
		return true
	case <-b.over:
	case <-b.ctx.Done():
	}
	return false
}

// finish ends the body: err is io.EOF, or why it is not whole.
func (b *chunkBody) finish(err error) {
	b.err = err
	close(b.done)
}

// Read implements io.Reader. It returns io.EOF only when the server has told that there are no more octets.
func (b *chunkBody) Read(p []byte) (int, error) {
	if b.failed != nil {
		return 0, b.failed
	}
	if len(p) == 0 {
		return 0, nil
	}
	if len(b.piece) == 0 {
		select {
		case b.piece = <-b.pieces:
		case <-b.done:
			b.failed = b.err
			if !errors.Is(b.err, io.EOF) {
				b.failed = b.conn.fault("fetch", b.ref, b.err)
			}
			return 0, b.failed
		case <-b.ctx.Done():
			b.failed = b.conn.ended(b.ctx, "fetch", b.ref)
			return 0, b.failed
		}
	}
	n := copy(p, b.piece)
	b.piece = b.piece[n:]
	return n, nil
}

// empty implements octets: what may be empty is not read in chunks.
func (b *chunkBody) empty() bool { return false }

// end makes every later Read fail, since the caller has gone on.
func (b *chunkBody) end() {
	b.failed = b.conn.problem("fetch", b.ref, connection.ErrInvalid, "%w", errBodyOver)
	b.piece = nil
	closeOnce(b.over)
}
