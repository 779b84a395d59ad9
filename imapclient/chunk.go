package imapclient

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"

	goimap "github.com/emersion/go-imap/v2"
	goclient "github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailconn/mailconn/connection"
)

// step asks for one chunk. It reports whether the message has no more.
func (c *chunking) step(s *session, b *box) (end bool, err error) {
	if c.sess != nil && c.sess != s && c.offset > 0 {
		if end, err := c.recognize(s); end || err != nil {
			return end, err
		}
	}
	c.sess, c.ref = s, b.ref(c.uid)
	n := int64(c.f.conn.cfg.chunkSize())
	if c.muddled || c.offset+n > lastPartial {
		return true, c.rest(s)
	}
	r, err := c.ask(s, &goimap.SectionPartial{Offset: c.offset, Size: n})
	switch {
	case err != nil:
		return false, err
	case r.whole:
		c.f.conn.learnPartial(false)
		return true, c.takeRest(r)
	case !r.replied:
		return false, errNoChunk
	case len(r.octets) == 0:
		return c.empty(s, b, r)
	}
	if err := c.confirm(r.octets); err != nil {
		return false, err
	}
	short := int64(len(r.octets)) < n
	if c.offset == 0 && !short && !r.echoed && !c.f.conn.obeysPartial() {
		// It may be all there is, from a server that always sends all.
		half, err := c.ask(s, &goimap.SectionPartial{Size: n / 2})
		if err != nil {
			return false, err
		}
		if half.whole {
			c.f.conn.learnPartial(false)
			return true, c.takeRest(half)
		}
	}
	if r.echoed || c.offset > 0 || !short {
		c.f.conn.learnPartial(true)
	}
	if !short && r.surplus != nil {
		c.surplus = r.surplus
	}
	c.add(r.octets)
	// A server may send less than was asked for although there is more: if RFC822.SIZE speaks for that, or is silent,
	// the server is asked once more, which then says that it has no more.
	return short && c.about.size >= 0 && c.offset >= c.about.size, nil
}

// empty judges a chunk without octets. At the end of a message that is its end, but a server says the same of a message
// that somebody has removed meanwhile.
func (c *chunking) empty(s *session, b *box, r chunk) (end bool, err error) {
	switch {
	case c.offset == 0 && r.missing:
		return false, errNoChunk
	case c.offset == 0:
		return false, errMuddled // an empty message? Asking for the whole tells
	}
	there, err := s.searchSet(c.f.ctx, c.f.op, []uint32{c.uid}, goimap.SearchCriteria{})
	switch {
	case err != nil:
		return false, err
	case len(there) == 0 || b != s.box:
		return false, errGone
	}
	return true, c.confirm(nil)
}

// add takes octets in.
func (c *chunking) add(octets []byte) {
	c.sum.Write(octets)
	if missing := identityOctets - len(c.identity); missing > 0 {
		c.identity = append(c.identity, octets[:min(missing, len(octets))]...)
	}
	c.offset += int64(len(octets))
	c.ready = append(c.ready, octets)
}

// confirm checks that octets begin with what the chunk before had too much of.
func (c *chunking) confirm(octets []byte) error {
	surplus := c.surplus
	c.surplus = nil
	if len(octets) < len(surplus) || !bytes.HasPrefix(octets, surplus) {
		return errMuddled
	}
	return nil
}

// recognize makes sure that the message is the one that was read before, by its first octets. end means that the server
// sent the whole instead, and that the message has no more.
func (c *chunking) recognize(s *session) (end bool, err error) {
	r, err := c.ask(s, &goimap.SectionPartial{Size: int64(len(c.identity))})
	switch {
	case err != nil:
		return false, err
	case r.whole:
		c.f.conn.learnPartial(false)
		return true, c.takeRest(r)
	case !r.replied || r.missing:
		return false, errGone
	case !bytes.Equal(r.octets, c.identity):
		return false, errAnother
	}
	return false, nil
}

// rest reads what is missing with the whole message.
func (c *chunking) rest(s *session) error {
	r, err := c.ask(s, nil)
	switch {
	case err != nil:
		return err
	case !r.whole:
		return errNoChunk
	}
	return c.takeRest(r)
}

// takeRest keeps the rest of the message from a reply that was the whole of it.
func (c *chunking) takeRest(r chunk) error {
	c.kept, c.surplus = r.kept, nil
	if r.changed {
		return errAnother
	}
	return nil
}

// A chunk is the server's answer to a partial fetch.
type chunk struct {
	replied bool // there was a FETCH reply with the section in it
	missing bool // without octets: NIL
	echoed  bool // with the offset
	octets  []byte
	surplus []byte // more than asked for

	whole   bool                // it was the whole message, of which what had been read is skipped
	changed bool                // and that was something else
	kept    *connection.Spooled // the rest
}

// ask sends one UID FETCH for a part of the message, or for all of it.
func (c *chunking) ask(s *session, part *goimap.SectionPartial) (chunk, error) {
	f := c.f
	r := chunk{missing: true}
	if s.broken() {
		return r, s.commandError(f.ctx, f.op, io.ErrUnexpectedEOF)
	}
	release := s.watch(f.ctx)
	s.strays.expect(1, true)
	cmd := s.client.Fetch(uidSet([]uint32{c.uid}), &goimap.FetchOptions{
		UID: true, Flags: c.offset == 0, InternalDate: c.offset == 0, RFC822Size: c.offset == 0,
		BodySection: []*goimap.FetchItemBodySection{{Peek: true, Partial: part}},
	})
	err := c.receive(cmd, part, &r)
	var reply *goimap.Error
	if err == nil || errors.As(err, &reply) {
		strayed, strayErr := s.strays.collect()
		for uid, st := range strayed {
			if uid == c.uid && !r.replied && strayErr == nil {
				c.learn(st.facts)
				err = c.take(&r, part, st.origin, st.body.Reader(), st.body.Size)
			}
			_ = st.body.Close() // a temporary file: nothing depends on it
		}
		if strayErr != nil {
			err = &final{f.conn.fault(f.op, c.ref, strayErr)}
		}
	} else {
		s.dead = true
		if !errors.As(err, new(*literalError)) {
			// What is still on its way must be read until it fails, or the library waits for its reader for ever.
			s.guard.fail(err)
			_ = cmd.Close() // err is why
		}
	}
	release()
	if err != nil && !isFinal(err) {
		err = s.commandError(f.ctx, f.op, err)
	}
	if err != nil && r.kept != nil {
		_ = r.kept.Close() // a temporary file: nothing depends on it
	}
	return r, err
}

// receive takes in the replies.
func (c *chunking) receive(cmd *goclient.FetchCommand, part *goimap.SectionPartial, r *chunk) error {
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		about := facts{size: -1}
		for item := msg.Next(); item != nil; item = msg.Next() {
			section, ok := about.note(item)
			if !ok || about.uid != c.uid || r.replied {
				continue // Next discards a literal
			}
			r.replied = true
			if section.Literal == nil {
				continue
			}
			if err := c.take(r, part, section.Section.Partial, section.Literal, section.Literal.Size()); err != nil {
				return err
			}
		}
		if about.uid == c.uid {
			c.learn(about)
		}
	}
	return cmd.Close()
}

// learn keeps what the server says of the message besides its octets.
func (c *chunking) learn(about facts) {
	if c.offset > 0 {
		return
	}
	if about.size >= 0 {
		c.about.size = about.size
	}
	if !about.received.IsZero() {
		c.about.received = about.received
	}
	if about.flags != nil {
		c.about.flags = about.flags
	}
}

// take reads the literal of a reply to the request for part. An error is a *literalError if the
// literal has failed.
func (c *chunking) take(r *chunk, part, origin *goimap.SectionPartial, lit io.Reader, size int64) error {
	r.replied, r.missing, r.echoed = true, false, origin != nil
	switch {
	case part == nil && origin != nil, origin != nil && origin.Offset != part.Offset:
		// The literal is unread: whoever ends the session must see to it.
		return c.f.conn.problem(c.f.op, c.ref, connection.ErrProtocol, "the server sends octets of another offset than was asked for")
	case part == nil, origin == nil && size > part.Size:
		r.whole = true
		skipped := sha256.New()
		n, err := io.Copy(skipped, io.LimitReader(lit, c.offset))
		if err != nil {
			return &literalError{err}
		}
		r.changed = n < c.offset || !bytes.Equal(skipped.Sum(nil), c.sum.Sum(nil))
		kept, err := spool(lit, size-n)
		switch {
		case errors.As(err, new(*diskError)):
			return &final{c.f.conn.fault(c.f.op, c.ref, err)}
		case err != nil:
			return &literalError{err}
		}
		r.kept = kept
		return nil
	}
	octets := make([]byte, min(size, 2*part.Size))
	if _, err := io.ReadFull(lit, octets); err != nil {
		return &literalError{err}
	}
	if _, err := io.Copy(io.Discard, lit); err != nil {
		return &literalError{err}
	}
	n := min(int64(len(octets)), part.Size)
	r.octets, r.surplus = octets[:n:n], octets[n:]
	return nil
}
