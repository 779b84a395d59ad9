package imapclient

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"

	goimap "github.com/emersion/go-imap/v2"
	goclient "github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailconn/mailconn/connection"
)

// An asking is one UID FETCH while its replies come in. Replies with small bodies come from the guard, on the goroutine
// that reads the connection (begin, room and take); all others through go-imap, on that of the fetch.
type asking struct {
	f    *fetch
	s    *session
	box  *box
	bare bool
	uids []uint32 // asked for, ascending
	void []uint32 // of uids: proved to be empty. nil: that was not asked

	mu     sync.Mutex // guards what follows, and f.push
	gone   []bool     // of uids: handed over or reported
	left   int        // those that are not
	held   item       // of go-imap, complete but for the proof that the server's reply ended well behind it
	near   item       // of the guard, likewise
	live   *live      // of the body that went to the caller last
	over   bool       // nothing is taken any more
	hollow bool       // a message without an octet came
	doubt  bool       // over is set because of one that is not proved to be empty
	long   bool       // the guard gives no more: the order would be lost
	count  int64
	octets int64
}

// ask sends one UID FETCH for uids, which ascend, and hands over every message that comes whole. bare leaves out what
// the archive can do without. left are the UIDs that did not come. After an error the session may be dead.
func (f *fetch) ask(s *session, b *box, uids []uint32, bare bool) (left []uint32, err error) {
	a := &asking{f: f, s: s, box: b, bare: bare, uids: uids, gone: make([]bool, len(uids)), left: len(uids)}
	if s.broken() {
		return uids, a.explain(io.ErrUnexpectedEOF)
	}
	if f.wary {
		if a.void, err = s.void(f.ctx, f.op, uids); err != nil {
			return uids, err
		}
	}
	release := s.watch(f.ctx)
	s.strays.expect(min(len(uids), f.conn.cfg.messagesPerCycle()), false)
	a.long = f.conn.sharing()
	s.guard.direct(a)
	cmd := s.client.Fetch(uidSet(uids), &goimap.FetchOptions{
		UID: true, Flags: true, InternalDate: !bare,
		BodySection: []*goimap.FetchItemBodySection{{Peek: true}},
	})
	err = a.receive(cmd)
	var reply *goimap.Error
	if err == nil || errors.As(err, &reply) {
		s.guard.direct(nil)
		// The replies were well formed, whatever the server says of the command.
		a.settle()
		if strayErr := a.collectStrays(); strayErr != nil {
			err = &final{f.conn.fault(f.op, connection.Ref{}, strayErr)}
		}
	} else {
		s.dead = true
		if !errors.As(err, new(*literalError)) {
			// What is still on its way must be read until it fails, or the library waits for its reader for ever.
			s.guard.fail(err)
			_ = cmd.Close() // err is why
		}
		s.guard.direct(nil)
		a.drop()
	}
	release()
	if a.count > 0 {
		f.conn.emit(connection.Event{Kind: connection.EventFetched, Ref: connection.Ref{Folder: b.folder}, Count: a.count, Bytes: a.octets})
	}
	if err != nil && !isFinal(err) && !errors.Is(err, errCrowded) {
		err = a.explain(err)
	}
	f.wary = a.hollow
	if err == nil && a.doubt {
		err = errHollow
	}
	return a.open(), err
}

// explain classifies an error of the command.
func (a *asking) explain(err error) error {
	return a.s.commandError(a.f.ctx, a.f.op, err)
}

// A literalError is the failure of a literal: the decoder below has gone on, and the command must not be touched.
type literalError struct{ err error }

func (e *literalError) Error() string { return e.err.Error() }
func (e *literalError) Unwrap() error { return e.err }

// receive takes in the replies that come through go-imap.
func (a *asking) receive(cmd *goclient.FetchCommand) error {
	msg := cmd.Next()
	for msg != nil {
		a.settle() // another reply has begun behind it
		b, err := a.message(msg)
		if err != nil {
			return err
		}
		if b == nil {
			msg = cmd.Next()
			continue
		}
		if err := a.serve(b); err != nil {
			b.live.settle(a.explain(err))
			return &literalError{err}
		}
		if msg = cmd.Next(); msg == nil {
			err := cmd.Close()
			if err != nil && !errors.As(err, new(*goimap.Error)) {
				b.live.settle(a.explain(err))
			} else {
				b.live.settle(nil)
			}
			return err
		}
		b.live.settle(nil)
	}
	return cmd.Close()
}

// message takes in one FETCH reply. A small body is read and held. A large one is handed over to be read by the
// caller, and returned for serve.
func (a *asking) message(msg *goclient.FetchMessageData) (*body, error) {
	about := facts{size: -1}
	var b *body
	for item := msg.Next(); item != nil; item = msg.Next() {
		section, whole := about.note(item)
		if !whole || section.Section.Partial != nil || section.Literal == nil || b != nil || !a.awaits(about.uid) {
			continue // Next discards a literal. NIL is no message (RFC 9051, 7.5.2), least of all an empty one
		}
		about.size = section.Literal.Size()
		if a.tooLarge(about) {
			continue
		}
		var err error
		if b, err = a.body(about, section.Literal); err != nil {
			return nil, err
		}
		if b.live != nil {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.live = b.live
			a.push(a.item(about, b))
			return b, nil
		}
	}
	if b != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.held = a.item(about, b) // flags and date may have come behind the body
	}
	return nil, nil
}

// tooLarge reports a message whose body is over the limit, whatever the server had said of its size before.
func (a *asking) tooLarge(about facts) bool {
	most := a.f.conn.cfg.MaxMessage
	if most == 0 || about.size <= most {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.done(about.uid) {
		a.f.tooLarge(a.box.ref(about.uid), about.size)
	}
	return true
}

// body makes the body of a literal: in memory, spooled, or live.
func (a *asking) body(about facts, lit io.Reader) (*body, error) {
	f, size := a.f, about.size
	b := &body{conn: f.conn, ref: a.box.ref(about.uid), left: size}
	if size <= largeBody && f.budget.take(f.ctx, f.conn.shared, size) {
		octets, give := buffer(int(size))
		b.free = func() { give(); f.budget.give(size) }
		_, err := io.ReadFull(lit, octets)
		if err == nil {
			err = literalEnd(lit)
		}
		if err != nil {
			b.free()
			return nil, &literalError{err}
		}
		b.src = bytes.NewReader(octets)
		return b, nil
	}
	switch {
	case f.ctx.Err() != nil:
		return nil, f.endedNow()
	case f.conn.sharing() && len(a.uids) > max(mostUnpaired, f.conn.cfg.messagesPerCycle()):
		return nil, errCrowded
	}
	if size > largeBody && !f.conn.sharing() && (a.bare || !about.received.IsZero()) {
		b.live, b.src = newLive(f.ctx, a.explain), lit
		return b, nil
	}
	kept, err := spool(lit, size)
	switch {
	case errors.As(err, new(*diskError)):
		return nil, &final{f.conn.fault(f.op, b.ref, err)}
	case err != nil:
		return nil, &literalError{err}
	}
	b.src, b.free = kept.Reader(), func() { _ = kept.Close() } // a temporary file: nothing depends on it
	return b, nil
}

// serve waits while the caller reads a live body, and then takes what is left of it.
func (a *asking) serve(b *body) error {
	select {
	case <-b.live.taken:
	case <-b.live.dropped:
	case <-a.f.ctx.Done():
	case <-a.f.conn.shared:
		b.detach()
	}
	return b.drain()
}

func (a *asking) item(about facts, b *body) item {
	return item{body: b, msg: &connection.Message{
		Ref: b.ref, Folder: a.box.folder, Size: about.size, Received: about.received, Flags: about.flags, Body: b,
	}}
}

// begin implements taker: the reply before this one is now known to have ended well.
func (a *asking) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.live != nil {
		a.live.settle(nil)
		a.live = nil
	}
	if a.near.msg != nil {
		a.push(a.near)
		a.near = item{}
	}
}

// room implements taker. What is too large, or cannot be had in memory, goes through go-imap, and so does all that
// follows it where it would be overtaken.
func (a *asking) room(about *facts, size int64) ([]byte, func()) {
	f := a.f
	most := f.conn.cfg.MaxMessage
	switch {
	case a.long, most > 0 && size > most:
		return nil, nil
	case size > largeBody:
		a.long = f.conn.sharing() || !a.bare && about.received.IsZero()
		return nil, nil
	case !f.budget.take(f.ctx, f.conn.shared, size):
		a.long = true
		return nil, nil
	}
	octets, give := buffer(int(size))
	return octets, func() { give(); f.budget.give(size) }
}

// take implements taker.
func (a *asking) take(about facts, octets []byte, give func()) {
	if !a.awaits(about.uid) {
		give()
		return
	}
	about.size = int64(len(octets))
	b := &body{conn: a.f.conn, ref: a.box.ref(about.uid), left: about.size, src: bytes.NewReader(octets), free: give}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		b.end()
		return
	}
	a.near = a.item(about, b)
}

// settle hands over the message of go-imap that is held, whose reply is now known to have ended well.
func (a *asking) settle() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held.msg != nil {
		a.push(a.held)
		a.held = item{}
	}
}

// drop gives up what is held: what followed was not well formed.
func (a *asking) drop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held.end()
	a.near.end()
	a.held, a.near, a.over = item{}, item{}, true
}

// collectStrays hands over the messages whose replies the library could not give to the command, if they are some that
// were asked for. The error is the disk's.
func (a *asking) collectStrays() error {
	strayed, err := a.s.strays.collect()
	for _, uid := range slices.Sorted(maps.Keys(strayed)) {
		st := strayed[uid]
		st.size = st.body.Size
		if !a.awaits(uid) || a.tooLarge(st.facts) {
			_ = st.body.Close() // a temporary file: nothing depends on it
			continue
		}
		b := &body{conn: a.f.conn, ref: a.box.ref(uid), left: st.size, src: st.body.Reader(), free: func() { _ = st.body.Close() }}
		a.mu.Lock()
		a.push(a.item(st.facts, b))
		a.mu.Unlock()
	}
	return err
}

// push hands over a message, unless it was already, or is in doubt. a.mu must be held.
func (a *asking) push(it item) {
	_, uid, _ := parseID(it.msg.Ref.ID)
	if a.over || it.body.empty() && a.doubtful(uid) || !a.done(uid) {
		it.end()
		return
	}
	a.count++
	a.octets += it.msg.Size
	a.f.push(it)
}

// done strikes a UID off those that are still to come, and reports whether it was one. a.mu must be held.
func (a *asking) done(uid uint32) bool {
	i, ok := slices.BinarySearch(a.uids, uid)
	if !ok || a.gone[i] {
		return false
	}
	a.gone[i] = true
	a.left--
	return true
}

// awaits reports whether a UID is still to come.
func (a *asking) awaits(uid uint32) bool {
	i, ok := slices.BinarySearch(a.uids, uid)
	if !ok {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.gone[i] && !a.over
}

// open returns the UIDs that are still to come.
func (a *asking) open() []uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left == 0 {
		return nil
	}
	left := make([]uint32, 0, a.left)
	for i, uid := range a.uids {
		if !a.gone[i] {
			left = append(left, uid)
		}
	}
	return left
}
