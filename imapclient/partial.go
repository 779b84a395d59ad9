package imapclient

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"math"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailconn/mailconn/connection"
)

// Partial fetch (RFC 9051, 6.4.5: BODY.PEEK[]<offset.count>) reads a large message chunk by chunk, so that it goes on
// where it was when the connection breaks. Servers are odd here: some send the whole, or more than was asked for, or do
// not repeat the offset. RFC822.SIZE, which may be wrong, never decides where a message ends.

const (
	identityOctets = 1 << 10        // at the beginning of a message, by which it is known again
	lastPartial    = math.MaxUint32 // go-imap reads no larger offset
)

// partial is what a server is known to make of partial fetches. The Conn's mutex guards it.
type partial struct{ obeyed, ignored bool }

func (c *Conn) wholeOnly() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.parts.ignored
}

func (c *Conn) obeysPartial() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.parts.obeyed
}

// learnPartial keeps what a reply has shown.
func (c *Conn) learnPartial(obeyed bool) {
	c.mu.Lock()
	told := c.parts.obeyed || c.parts.ignored
	c.parts = partial{obeyed: obeyed, ignored: !obeyed}
	c.mu.Unlock()
	if !obeyed && !told {
		c.emit(connection.Event{Kind: connection.EventQuirk, Detail: "partial-ignored"})
	}
}

// deliverChunked is deliver with a chunk at a time of those messages that seem to be larger than one.
func (f *fetch) deliverChunked(folder string, uids []uint32) error {
	small, err := f.fitting(folder, uids)
	if err != nil {
		return err
	}
	for len(uids) > 0 {
		n := 0
		for n < len(uids) && small[uids[n]] {
			n++
		}
		if n > 0 {
			err = f.deliverWhole(folder, uids[:n])
		} else {
			n = 1
			err = f.chunked(folder, uids[0])
		}
		if err != nil {
			return err
		}
		uids = uids[n:]
	}
	return nil
}

// fitting returns which of uids the server says are no larger than a chunk.
func (f *fetch) fitting(folder string, uids []uint32) (map[uint32]bool, error) {
	small := make(map[uint32]bool, len(uids))
	if len(uids) == 1 {
		return small, nil // the first chunk will tell
	}
	err := f.about(folder, uids, &goimap.FetchOptions{UID: true, RFC822Size: true}, func(about facts) {
		small[about.uid] = about.size >= 0 && about.size <= int64(f.conn.cfg.chunkSize())
	})
	if isFinal(err) || errors.Is(err, errRenumbered) {
		return nil, err
	}
	return small, nil // where the answer is not to be had, chunks will do
}

// A chunking is one message while it is read in chunks.
type chunking struct {
	f      *fetch
	folder string
	uid    uint32
	about  facts
	sess   *session // over which the last chunk came

	offset   int64               // octets had
	sum      hash.Hash           // of them
	identity []byte              // the first of them
	surplus  []byte              // what the last chunk had beyond what was asked for, to be confirmed by the next
	ready    [][]byte            // not given to the body yet
	muddled  bool                // the rest is to be read with the whole
	kept     *connection.Spooled // that rest

	ref  connection.Ref
	body *chunkBody // nil until the message is handed over
}

// What may become of a chunking in the end, besides io.EOF and errors of the session.
var (
	errNoChunk  = errors.New("the server sends no octets of the message")
	errGone     = errors.New("the message was removed while it was read")
	errAnother  = errors.New("behind a reconnect the message is another one")
	errMuddled  = errors.New("the server's chunks do not fit together")
	errUnwanted = errors.New("the caller wants no more of the message")
)

// chunked hands over one message, read in chunks.
func (f *fetch) chunked(folder string, uid uint32) error {
	c := &chunking{f: f, folder: folder, uid: uid, about: facts{size: -1}, sum: sha256.New()}
	err := c.read()
	if c.kept != nil {
		defer func() { _ = c.kept.Close() }() // a temporary file: nothing depends on it
	}
	if c.body == nil {
		switch {
		case isFinal(err), errors.Is(err, errRenumbered), err == nil:
			return err
		case errors.Is(err, errMuddled):
			return f.deliverWhole(folder, []uint32{uid})
		case errors.Is(err, errNoChunk), errors.Is(err, errGone):
			return f.pursue(folder, []uint32{uid}, nil)
		}
		return f.pursue(folder, []uint32{uid}, err)
	}
	switch {
	case errors.Is(err, io.EOF):
		f.conn.emit(connection.Event{Kind: connection.EventFetched, Ref: connection.Ref{Folder: folder}, Count: 1, Bytes: c.offset})
		c.body.finish(io.EOF)
		return nil
	case errors.Is(err, errUnwanted):
		return nil
	case errors.Is(err, errRenumbered):
		c.body.finish(f.conn.problem(f.op, c.ref, connection.ErrStale, "after %d octets: %w", c.offset, err))
	case errors.Is(err, errAnother):
		c.body.finish(f.conn.problem(f.op, c.ref, connection.ErrChanged, "after %d octets: %w", c.offset, err))
	case errors.Is(err, errGone):
		c.body.finish(f.conn.problem(f.op, c.ref, connection.ErrNotFound, "after %d octets: %w", c.offset, err))
	case errors.Is(err, errNoChunk):
		c.body.finish(f.conn.problem(f.op, c.ref, connection.ErrProtocol, "after %d octets: %w", c.offset, err))
	default:
		c.body.finish(err)
	}
	if isFinal(err) || errors.Is(err, errRenumbered) {
		return err
	}
	return nil
}

// read reads to the end of the message, which is io.EOF, or as far as it can. nil means that the message was dealt with
// before it was handed over.
func (c *chunking) read() error {
	f := c.f
	for faults := 0; ; {
		var end bool
		err := f.do(c.folder, false, func(s *session, b *box) error {
			var err error
			end, err = c.step(s, b)
			return err
		})
		switch {
		case err == nil:
			f.failures, faults = 0, 0
		case errors.Is(err, errMuddled) && c.body != nil && !c.muddled:
			c.muddled = true
			continue
		case errors.Is(err, errAnother) && c.body == nil:
			return errMuddled // what was read counts for nothing
		case isFinal(err), errors.Is(err, errRenumbered), errors.Is(err, errMuddled), errors.Is(err, errNoChunk),
			errors.Is(err, errGone), errors.Is(err, errAnother):
			return err
		case connection.Temporary(err):
			if err := f.again(err); err != nil {
				return err
			}
			continue
		default:
			if faults++; faults >= f.conn.cfg.maxAttempts() || connection.KindOf(err) != connection.ErrProtocol {
				return err
			}
			continue
		}
		if most := f.conn.cfg.MaxMessage; most > 0 && c.offset > most {
			if c.body == nil {
				f.tooLarge(c.ref, c.offset)
				return nil
			}
			e := f.conn.problem(f.op, c.ref, connection.ErrTooLarge, "the message has over %d octets", most)
			e.Hint = "max_message: raise it, or 0 for no limit"
			return e
		}
		if end || len(c.surplus) == 0 {
			if err := c.give(); err != nil {
				return err
			}
		}
		if end {
			return c.giveRest()
		}
	}
}

// giveRest gives what the whole message had behind the octets that were read before. It returns io.EOF.
func (c *chunking) giveRest() error {
	if c.kept == nil {
		return io.EOF
	}
	src := c.kept.Reader()
	for left := c.kept.Size; left > 0; {
		piece := make([]byte, min(left, int64(c.f.conn.cfg.chunkSize())))
		if _, err := io.ReadFull(src, piece); err != nil {
			return &final{c.f.conn.fault(c.f.op, c.ref, err)}
		}
		left -= int64(len(piece))
		c.offset += int64(len(piece))
		c.ready = append(c.ready, piece)
		if err := c.give(); err != nil {
			return err
		}
	}
	return io.EOF
}

// give gives what is ready to the caller, and the message first.
func (c *chunking) give() error {
	f := c.f
	if c.body == nil {
		if c.about.size < c.offset {
			c.about.size = -1 // it is wrong
		}
		c.body = newChunkBody(f.ctx, f.conn, c.ref)
		f.push(item{body: c.body, msg: &connection.Message{
			Ref: c.ref, Folder: c.folder, Size: c.about.size, Received: c.about.received, Flags: c.about.flags, Body: c.body,
		}})
		if err := f.flush(); err != nil {
			return err
		}
	}
	for i, piece := range c.ready {
		c.ready[i] = nil
		if !c.body.give(piece) {
			if f.ctx.Err() != nil {
				return f.endedNow()
			}
			return errUnwanted
		}
	}
	c.ready = c.ready[:0]
	return nil
}
