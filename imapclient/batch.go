package imapclient

import (
	"errors"
	"slices"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailconn/mailconn/connection"
)

// deliver hands over the messages of uids, each once, or an error for each that cannot be had.
func (f *fetch) deliver(folder string, uids []uint32) error {
	if f.conn.cfg.PartialFetch && !f.conn.wholeOnly() {
		return f.deliverChunked(folder, uids)
	}
	return f.deliverWhole(folder, uids)
}

// deliverWhole is deliver with as few commands as possible. A message that does not come is "unknown", never "gone" and
// never "empty": servers forget bodies, send NIL with success, or send what the library cannot read.
func (f *fetch) deliverWhole(folder string, uids []uint32) error {
	for died := 0; len(uids) > 0; {
		asked := f.atOnce(uids)
		open, alive := asked, false
		err := f.do(folder, false, func(s *session, b *box) error {
			var err error
			open, err = f.ask(s, b, asked, false)
			alive = !s.broken()
			return err
		})
		uids = uids[len(asked):]
		if len(open) < len(asked) {
			f.failures, died = 0, 0
		}
		switch {
		case isFinal(err) || errors.Is(err, errRenumbered):
			return err
		case errors.Is(err, errCrowded), errors.Is(err, errHollow):
			uids = slices.Concat(open, uids)
			continue
		case len(open) == 0:
			died = 0
			f.askedWell(len(asked))
			continue // of a session that died all had come
		}
		few := f.conn.cfg.messagesPerCycle()
		switch {
		case err == nil:
		case len(asked) > few:
			// Which one is at fault is found out with fewer at a time.
			f.most, uids = few, slices.Concat(open, uids)
			if alive && !connection.Temporary(err) {
				continue
			}
			if err := f.again(err); err != nil {
				return err
			}
			continue
		case alive && !connection.Temporary(err), connection.KindOf(err) == connection.ErrProtocol, died > 0:
			// One of them may be what kills the sessions.
		default:
			died++
			uids = slices.Concat(open, uids)
			if err := f.again(err); err != nil {
				return err
			}
			continue
		}
		f.most, died = few, 0
		if err := f.pursue(folder, open, err); err != nil {
			return err
		}
	}
	return nil
}

const (
	mostAtOnce   = 5000    // UIDs in one FETCH
	mostUnpaired = 250     // the same while it is not known that Delete gets a session of its own: if not, all must be kept
	mostSetText  = 7 << 10 // octets of their set: servers need not take longer lines than 8192 (RFC 7162, 4)
)

// errCrowded ends a FETCH of many messages when its session is to be shared: they would have to be kept meanwhile.
var errCrowded = errors.New("the session is needed for something else")

// atOnce returns the first of uids, as many as one FETCH may ask for. Round trips are what costs most, so that is many
// more than messages_per_cycle where nothing speaks against it: each message is handed over as it comes in any case.
func (f *fetch) atOnce(uids []uint32) []uint32 {
	most := f.most
	switch alone, paired := f.conn.company(); {
	case alone:
		most = f.conn.cfg.messagesPerCycle() // the other side waits for its turn
	case !paired && f.conn.cfg.deletes():
		most = min(most, mostUnpaired)
	}
	uids = uids[:min(len(uids), most)]
	text := 0
	for i, uid := range uids {
		if i > 0 && uid == uids[i-1]+1 {
			continue // within a range
		}
		if text += len("4294967295:4294967295,"); text > mostSetText {
			return uids[:i]
		}
	}
	return uids
}

// askedWell lets the next FETCH ask for more, after n came without any trouble.
func (f *fetch) askedWell(n int) {
	if n >= f.most {
		f.most = min(2*f.most, mostAtOnce)
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
		case errors.Is(err, errHollow):
			continue
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
