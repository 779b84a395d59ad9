package imapclient

import (
	"bytes"
	"errors"
	"io"
	"slices"

	goimap "github.com/emersion/go-imap/v2"
	goclient "github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailconn/mailconn/connection"
)

// deliver hands over the messages of uids, each once, or an error for each that cannot be had.
func (f *fetch) deliver(folder string, uids []uint32) error {
	if f.conn.cfg.PartialFetch && !f.conn.wholeOnly() {
		return f.deliverChunked(folder, uids)
	}
	return f.deliverWhole(folder, uids)
}

// deliverWhole is deliver with as few commands as possible. A message that does not come is "unknown", never "gone" and never "empty": servers forget bodies, send NIL with success, or send what the
// library cannot read.
func (f *fetch) deliverWhole(folder string, uids []uint32) error {
	for died := 0; ; {
		before, alive := len(uids), false
		err := f.do(folder, false, func(s *session, b *box) error {
			var err error
			uids, err = f.ask(s, b, uids, false)
			alive = !s.broken()
			return err
		})
		if len(uids) < before {
			f.failures, died = 0, 0
		}
		switch {
		case err == nil && len(uids) == 0:
			return nil
		case isFinal(err) || errors.Is(err, errRenumbered):
			return err
		case err == nil, alive && !connection.Temporary(err):
			return f.pursue(folder, uids, err)
		}
		if len(uids) == 0 {
			return nil // all had come when the session died
		}
		if died++; connection.KindOf(err) == connection.ErrProtocol || died > 1 {
			return f.pursue(folder, uids, err) // one of them may be what kills the sessions
		}
		if err := f.again(err); err != nil {
			return err
		}
	}
}

// pursue asks for messages that did not come with the others, one by one.
func (f *fetch) pursue(folder string, uids []uint32, cause error) error {
	there, err := f.remaining(folder, uids)
	if err != nil {
		return err
	}
	for _, uid := range there {
		if err := f.single(folder, uid, cause); err != nil {
			return err
		}
	}
	return nil
}

// remaining returns those of uids that the server says it still has.
func (f *fetch) remaining(folder string, uids []uint32) (there []uint32, err error) {
	for {
		err := f.do(folder, false, func(s *session, _ *box) error {
			var err error
			there, err = s.searchSet(f.ctx, f.op, uids, goimap.SearchCriteria{})
			return err
		})
		if err == nil || isFinal(err) || errors.Is(err, errRenumbered) {
			return there, err
		}
		if err := f.again(err); err != nil {
			return nil, err
		}
	}
}

// single hands over one message. It is asked for alone; then, until max_attempts, over a new session each and without
// INTERNALDATE, which some servers send in forms that cannot be read. If it does not come and the server still has it,
// that is an error for its Ref.
func (f *fetch) single(folder string, uid uint32, cause error) error {
	var ref connection.Ref
	for try := 0; try < f.conn.cfg.maxAttempts(); {
		if try > 0 {
			f.renew()
		}
		var left []uint32
		err := f.do(folder, false, func(s *session, b *box) error {
			var err error
			ref = b.ref(uid)
			left, err = f.ask(s, b, []uint32{uid}, try > 0)
			return err
		})
		switch {
		case isFinal(err) || errors.Is(err, errRenumbered):
			return err
		case err == nil && len(left) == 0:
			f.failures = 0
			return nil
		case err != nil && len(left) == 0:
			return nil // the session died behind it; the next command will find out
		case err != nil:
			cause = err
		}
		if kind := connection.KindOf(err); kind == connection.ErrThrottled || kind == connection.ErrUnavailable {
			if err := f.again(err); err != nil {
				return err
			}
			continue // the message is not at fault
		}
		try++
	}
	there, err := f.remaining(folder, []uint32{uid})
	if err != nil || len(there) == 0 {
		return err
	}
	if cause == nil {
		cause = f.conn.problem(f.op, ref, connection.ErrProtocol, "the server has the message but does not send its body")
	}
	f.failItem(ref, cause)
	return nil
}

// renew gives up the session, so that the next command has another one.
func (f *fetch) renew() {
	if !f.turn.take(f.ctx) {
		return // the next command says so
	}
	defer f.turn.give()
	if f.sess != nil {
		f.sess.abandon()
		f.sess = nil
	}
}

// An asking is one UID FETCH while its replies come in.
type asking struct {
	f      *fetch
	s      *session
	box    *box
	bare   bool
	open   []uint32 // not handed over or reported yet
	held   item     // complete, but for the proof that the server's reply ended well behind it
	count  int64
	octets int64
}

// ask sends one UID FETCH for uids and hands over every message that comes whole. bare leaves out what the archive can
// do without. left are the UIDs that did not come. After an error the session may be dead.
func (f *fetch) ask(s *session, b *box, uids []uint32, bare bool) (left []uint32, err error) {
	a := &asking{f: f, s: s, box: b, bare: bare, open: slices.Clone(uids)}
	if s.broken() {
		return a.open, a.explain(io.ErrUnexpectedEOF)
	}
	release := s.watch(f.ctx)
	s.strays.expect(len(uids), false)
	cmd := s.client.Fetch(uidSet(uids), &goimap.FetchOptions{
		UID: true, Flags: true, InternalDate: !bare,
		BodySection: []*goimap.FetchItemBodySection{{Peek: true}},
	})
	err = a.receive(cmd)
	var reply *goimap.Error
	if err == nil || errors.As(err, &reply) {
		// The replies were well formed, whatever the server says of the command.
		a.settle()
		strayed, strayErr := s.strays.collect()
		for _, uid := range uids {
			if st, ok := strayed[uid]; ok {
				a.stray(st)
				delete(strayed, uid)
			}
		}
		for _, st := range strayed {
			_ = st.body.Close() // a temporary file: nothing depends on it
		}
		if strayErr != nil {
			err = &final{f.conn.fault(f.op, connection.Ref{}, strayErr)}
		}
	} else {
		a.held.end()
		s.dead = true
		if !errors.As(err, new(*literalError)) {
			// What is still on its way must be read until it fails, or the library waits for its reader for ever.
			s.guard.fail(err)
			_ = cmd.Close() // err is why
		}
	}
	release()
	if a.count > 0 {
		f.conn.emit(connection.Event{Kind: connection.EventFetched, Ref: connection.Ref{Folder: b.folder}, Count: a.count, Bytes: a.octets})
	}
	if err != nil && !isFinal(err) {
		err = a.explain(err)
	}
	return a.open, err
}

// explain classifies an error of the command.
func (a *asking) explain(err error) error {
	return a.s.commandError(a.f.ctx, a.f.op, err)
}

// A literalError is the failure of a literal: the decoder below has gone on, and the command must not be touched.
type literalError struct{ err error }

func (e *literalError) Error() string { return e.err.Error() }
func (e *literalError) Unwrap() error { return e.err }

// receive takes in the replies.
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
		if !whole || section.Section.Partial != nil || section.Literal == nil || b != nil || !slices.Contains(a.open, about.uid) {
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
			a.push(a.item(about, b))
			return b, nil
		}
	}
	if b != nil {
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
	a.f.tooLarge(a.box.ref(about.uid), about.size)
	a.done(about.uid)
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
	if f.ctx.Err() != nil {
		return nil, f.endedNow()
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

// settle hands over the message that is held, whose reply is now known to have ended well.
func (a *asking) settle() {
	if a.held.msg != nil {
		a.push(a.held)
		a.held = item{}
	}
}

// stray hands over a message whose reply the library could not give to the command, if it is one that was asked for.
func (a *asking) stray(st stray) {
	if !slices.Contains(a.open, st.uid) {
		_ = st.body.Close() // a temporary file: nothing depends on it
		return
	}
	st.size = st.body.Size
	if a.tooLarge(st.facts) {
		_ = st.body.Close() // as above
		return
	}
	b := &body{conn: a.f.conn, ref: a.box.ref(st.uid), left: st.size, src: st.body.Reader(), free: func() { _ = st.body.Close() }}
	a.push(a.item(st.facts, b))
}

func (a *asking) push(it item) {
	_, uid, _ := parseID(it.msg.Ref.ID)
	a.done(uid)
	a.count++
	a.octets += it.msg.Size
	a.f.push(it)
}

// done strikes a UID off those that are still to come.
func (a *asking) done(uid uint32) {
	a.open = slices.DeleteFunc(a.open, func(u uint32) bool { return u == uid })
}
