package pop3client

import (
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/mailconn/mailconn/connection"
)

const (
	askAtOnce  = 1000 // ids that Skip is asked about in one go
	goesAhead  = 8    // lots of messages_per_cycle that are in flight at most
	maxBroken  = 3    // sessions that one message may break
	forgetOver = 100_000
)

// The details of events about UIDLs.
const (
	uidlChanged = "uidl_changed: the server has given all messages other UIDLs"
	uidlReused  = "uidl_reused: the server has given the UIDL of one message to another"
)

// errReplaced says that the session is another one, so that the listing is to be looked at again. It is no failure.
var errReplaced = errors.New("the session was replaced")

// key identifies an entry over sessions. The size is part of it, for servers whose UIDLs are no better than numbers.
func (e *entry) key() string { return e.id + "\x00" + strconv.FormatInt(e.size, 10) }

// note marks an entry as dealt with.
func (f *fetch) note(e entry) {
	key := e.key()
	f.seen[key] = struct{}{}
	delete(f.culprits, key)
}

// pass deals with all that a session lists which this fetch has not seen to its end before, over as many sessions as it
// takes. It returns how many messages were new.
func (f *fetch) pass() (found int, err error) {
	for {
		n, err := f.sweep()
		found += n
		if err == nil {
			f.failures.failed = 0
			return found, nil
		}
		if n > 0 {
			f.failures.failed = 0
		}
		if errors.Is(err, errReplaced) {
			continue
		}
		if err := f.again(err); err != nil {
			return found, err
		}
	}
}

// again decides whether err may pass: it waits and returns nil, or it returns the error to end with.
func (f *fetch) again(err error) error {
	busy := connection.KindOf(err) == connection.ErrThrottled
	switch {
	case f.opts.Follow && f.ctx.Err() == nil && connection.Temporary(err):
		f.failures.failed++
		if !f.conn.pause(f.ctx, err, f.failures.failed, time.Minute) {
			return f.ctx.Err()
		}
		return nil
	case !f.reached && !busy:
		return err
	}
	return f.failures.wait(f.ctx, err)
}

// sweep deals with the messages of one session's snapshot.
func (f *fetch) sweep() (found int, err error) {
	c := f.conn
	if !c.turn.take(f.ctx) {
		return 0, f.ctx.Err()
	}
	if !f.begun && !f.reuse {
		f.swept = c.sessions // mail may have come since the last one was opened
	}
	s, err := f.snapshot()
	if s == nil || err != nil {
		c.turn.give()
		return 0, err
	}
	f.reached, f.lent = true, s.loans != nil
	number, count, octets := s.number, s.count, s.octets
	if count != int64(len(s.entries)) {
		count = -1 // STAT is not to be relied upon here
	}
	work, err := f.work(s)
	c.turn.give()
	if err != nil {
		return 0, err
	}
	for some := range slices.Chunk(work, askAtOnce) {
		wanted, err := f.wanted(some)
		if err != nil {
			return found, err
		}
		for len(wanted) > 0 && !f.full() {
			n, err := f.retrieve(number, wanted)
			wanted = wanted[n:]
			found += n
			if err != nil {
				return found, err
			}
		}
	}
	f.begun, f.swept, f.count, f.octets = true, number, count, octets
	return found, nil
}

// snapshot returns a session that was not swept; nil if a look at its count says that nothing is new, or if LOGIN-DELAY
// makes that look a long wait. For a Follow the count is not enough: one message may have gone and another of its size
// come. The turn must be held.
func (f *fetch) snapshot() (*session, error) {
	c := f.conn
	if f.begun && !f.opts.Follow && c.sess != nil && c.sess.number == f.swept && time.Until(c.nextLogin) > c.cfg.pollingIdleMax() {
		return nil, nil
	}
	if f.begun && !f.opts.Follow && f.count >= 0 && f.octets >= 0 && len(c.pending) == 0 {
		same, err := c.unchanged(f.ctx, f.op, f.swept, f.count, f.octets)
		if err != nil {
			c.drop()
		}
		if same || err != nil {
			return nil, err
		}
	}
	return c.after(f.ctx, f.op, f.swept)
}

// work returns the entries that are to be dealt with. Where the server has given all messages other UIDLs, they are none
// but for a Follow: all was yielded under the UIDLs of before. The turn must be held.
func (f *fetch) work(s *session) (work []entry, err error) {
	if f.sync != nil {
		return f.sync.work(s)
	}
	others, err := f.others(s)
	if err != nil {
		return nil, err
	}
	known := false
	for _, e := range s.entries {
		if _, ok := f.seen[e.key()]; ok && !others[e.num] {
			known = true
			continue
		}
		if _, ok := f.conn.pending[e.id]; ok {
			known = true
			continue
		}
		work = append(work, e)
	}
	if f.begun && !known && len(others) == 0 && len(work) > 0 && len(f.seen) >= len(work) && s.count > 0 && s.count == f.count && s.octets >= 0 && s.octets == f.octets {
		f.conn.emit(connection.Event{Kind: connection.EventQuirk, Detail: uidlChanged, Count: s.count})
		if !f.opts.Follow {
			work = nil
		}
	}
	if len(f.seen) > 2*len(s.entries)+forgetOver || f.opts.Follow && f.conn.cfg.deletes() && s.agrees && len(f.seen) > len(s.entries)-len(work) {
		// A Follow of years must not remember every message that was ever there. And what was deleted may come again as
		// another message: without UIDL one of the same header and size, and UIDLs can be hashes (RFC 1939, 7).
		kept := make(map[string]struct{}, len(s.entries))
		for _, e := range s.entries {
			if _, ok := f.seen[e.key()]; ok {
				kept[e.key()] = struct{}{}
			}
		}
		maps.DeleteFunc(f.doubts, func(key string, _ fact) bool { _, ok := kept[key]; return !ok })
		f.seen = kept
	}
	return work, nil
}

// retrieve reads messages of the session of that number, for as long as it is the Conn's and nobody else wants it. It
// returns how many of wanted were dealt with.
func (f *fetch) retrieve(number uint64, wanted []entry) (done int, err error) {
	if !f.queue.await(f.ctx, costOf(wanted[0].size)) || !f.conn.turn.take(f.ctx) {
		return 0, f.ctx.Err()
	}
	defer f.conn.turn.give()
	s := f.conn.sess
	if s == nil || s.broken() || s.number != number {
		return 0, errReplaced
	}
	s.l.waits = f.queue.wake
	defer func() {
		s.l.waits = nil
		f.queue.wake()
	}()
	fl := &flight{fetch: f, s: s, wanted: wanted}
	err = fl.run()
	fl.land()
	if err == nil {
		err = fl.explain()
	}
	return fl.got, err
}

// A flight is a number of RETRs sent ahead of what is read (RFC 2449, 6.6).
type flight struct {
	*fetch
	s       *session
	wanted  []entry
	next    int   // the first of wanted that is not sent
	got     int   // the first of wanted that is not dealt with
	inAir   []int // sent and not answered, in order
	refused []refused
}

type refused struct {
	entry entry
	reply reply
}

// run sends and reads until all is done, there is no room, or somebody else wants the session; a lot is sent in any case.
func (fl *flight) run() error {
	lot, most := fl.conn.cfg.messagesPerCycle(), 1
	if fl.s.l.pipelines() {
		most = goesAhead * lot
	}
	first := true
	return fl.s.run(fl.ctx, fl.op, func() error {
		for {
			if first || len(fl.inAir) <= most-min(lot, most) && !fl.conn.turn.wanted() {
				if err := fl.send(most); err != nil {
					return err
				}
				first = false
			}
			if len(fl.inAir) == 0 {
				fl.got = fl.next
				return nil
			}
			fl.got = fl.inAir[0]
			if err := fl.receive(fl.wanted[fl.got]); err != nil {
				return err
			}
			fl.inAir = fl.inAir[1:]
		}
	})
}

// send asks for messages until so many are in flight.
func (fl *flight) send(most int) error {
	var lines []string
	for ; fl.next < len(fl.wanted) && len(fl.inAir) < most; fl.next++ {
		e := &fl.wanted[fl.next]
		if _, ok := fl.conn.pending[e.id]; ok {
			continue // it was deleted meanwhile
		}
		if limit := fl.conn.cfg.MaxMessage; limit > 0 && e.size > limit {
			fl.tooLarge(*e, e.size)
			continue
		}
		if fl.opts.Limit > 0 && fl.sent+len(fl.inAir) >= fl.opts.Limit || !fl.queue.reserve(costOf(e.size)) {
			break
		}
		fl.s.loans.add(e.num)
		fl.inAir = append(fl.inAir, fl.next)
		lines = append(lines, "RETR "+decimal(e.num))
	}
	if len(lines) == 0 {
		return nil
	}
	fl.queue.wake()
	return fl.s.l.send(lines...)
}

// land gives back what was reserved for messages that will not come.
func (fl *flight) land() {
	for _, i := range fl.inAir {
		fl.queue.release(costOf(fl.wanted[i].size))
	}
}

// receive reads one message whole, and hands it over.
func (fl *flight) receive(e entry) error {
	r, err := fl.s.l.reply()
	if err != nil {
		return fl.broke(e, err)
	}
	if !r.ok {
		fl.s.loans.settle(e.num)
		fl.queue.release(costOf(e.size))
		fl.refused = append(fl.refused, refused{e, r})
		return nil
	}
	c := fl.conn
	octets := fl.s.l.body()
	m := &connection.Message{Ref: c.ref(e.id), Folder: folder, Size: e.size, Body: octets}
	spooled, err := connection.Spool(m, &connection.SpoolOptions{Memory: fl.queue.spoolMemory(), Max: c.cfg.MaxMessage})
	switch {
	case err == nil:
	case octets.err != nil && !errors.Is(octets.err, io.EOF):
		return fl.broke(e, fl.s.l.lost(octets.err))
	case connection.KindOf(err) == connection.ErrTooLarge:
		// LIST told a smaller size. The rest may be without end: the session is given up.
		fl.tooLarge(e, c.cfg.MaxMessage+1)
		return errReplaced
	default:
		return err // the temporary file's
	}
	fl.s.l.trace.Octets(false, spooled.Size)
	if spooled.Size == 0 && e.size > int64(len("\r\n")) {
		// A success without a body is unknown, not empty. Dovecot sends a first line of "." as it is, which ends the
		// message before it begins; what follows is the message's text, and must not be taken for replies.
		_ = spooled.Close() // there is nothing in it
		return fl.broke(e, fl.s.l.peer.Errorf(connection.ErrProtocol, "", "the server sent nothing of a message of %d octets", e.size))
	}
	lead := ""
	if n := spooled.Size; octets.dotted && (n+1 == e.size || n-1 == e.size) {
		// Dovecot does not stuff a "." that is a message's first octet, so it was the message's own; LIST tells, which
		// does not count the CRLF that a last line may have got.
		lead = "."
	}
	known := fact{session: fl.s.number, size: e.size}
	if e.doubtful() {
		if known.header, err = headerDigest(spooled.Reader()); err != nil {
			return errors.Join(err, spooled.Close()) // the temporary file's
		}
		fl.doubts[e.key()] = known
	}
	if c.cfg.deletes() {
		c.facts[e.id] = known
	}
	fl.note(e)
	if !fl.opts.Since.IsZero() && received(spooled.Reader()).Before(fl.opts.Since) {
		fl.queue.release(costOf(e.size))
		_ = spooled.Close() // nothing of it is needed
		return nil
	}
	m.Size = spooled.Size + int64(len(lead))
	b := fl.queue.hold(spooled, lead, costOf(e.size))
	m.Body = b
	fl.sent++
	it := item{msg: m, body: b}
	if !c.cfg.deletes() {
		it.loan = loan{fl.s.loans, e.num}
	}
	fl.queue.stage(it)
	if fl.sync != nil {
		fl.sync.added(e, known.header)
	}
	return nil
}

// broke counts a session that ended in a message. One that does so again and again is reported, so that the others
// come.
func (fl *flight) broke(e entry, err error) error {
	if fl.ctx.Err() != nil {
		return err
	}
	if fl.culprits[e.key()]++; fl.culprits[e.key()] >= maxBroken {
		fl.fail(e, err)
		return errReplaced
	}
	return err
}

// explain reports the messages that the server refused. Those that are not there any more are ErrNotFound.
func (fl *flight) explain() error {
	for _, r := range fl.refused {
		there, err := fl.s.exists(fl.ctx, fl.op, &r.entry)
		if err != nil {
			return err
		}
		kind := connection.ErrRejected
		if !there || r.reply.code == "" && goneWords.MatchString(r.reply.text) {
			kind = connection.ErrNotFound
		}
		fl.fail(r.entry, fl.s.l.refusal(r.reply, kind, ""))
	}
	return nil
}

// fail reports one message that cannot be had.
func (f *fetch) fail(e entry, err error) {
	f.note(e)
	f.queue.add(item{err: f.conn.fault(f.op, f.conn.ref(e.id), err)})
}

func (f *fetch) tooLarge(e entry, size int64) {
	err := f.conn.problem(f.op, f.conn.ref(e.id), connection.ErrTooLarge, "the message has at least %d octets, the limit is %d", size, f.conn.cfg.MaxMessage)
	err.Hint = "max_message: raise it, or 0 for no limit"
	f.conn.emit(connection.Event{Kind: connection.EventSkipped, Ref: err.Ref, Detail: "over max_message", Bytes: size})
	f.fail(e, err)
}
