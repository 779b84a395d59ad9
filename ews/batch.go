package ews

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
	"github.com/mailconn/mailconn/internal/backoff"
)

// A wanted is one item that a batch asks about.
type wanted struct {
	id    soap.ItemID
	meta  *soap.Item // what is known of it; nil = nothing
	size  int64      // octets that it will bring, as far as known
	alone bool       // it is asked about by itself from now on
	tries int        // that did not bring an answer
	empty bool       // it was answered once without a body
	rung  int        // of the ladder for items that cannot be converted: how many steps were tried
	utf8  bool       // MimeContentUTF8 is asked for
}

// An outcome is what became of an item.
type outcome uint8

const (
	done    outcome = iota // it has its answer
	claimed                // it has its answer if the server's answers are as many as the questions
	again                  // it is asked about again, by itself
	leave                  // it has its answer, and the rest of the server's is not worth reading
	stop                   // nobody wants more
)

// A batch asks about many items in few requests, until each has its answer: what the server refuses for now, stops at or
// breaks off is asked for again, the items that are suspicious by themselves. An answer is an item's if the server says so
// by the item's id. Where it does not, its place decides, but only in answers that are complete.
type batch struct {
	conn    *Conn
	t       target
	patient bool // see callOptions

	most  int   // items in one request
	bytes int64 // octets in one request; 0 = no limit
	big   int64 // an item over this is asked about by itself; 0 = none is

	// ask makes the request.
	ask func(ws []*wanted) soap.Operation
	// got takes a success, the i-th answer to ws, and says whose it is and what became of it.
	got func(ws []*wanted, i int, r *soap.Response) (*wanted, outcome)
	// refused takes an error of the server that concerns one item and will not pass.
	refused func(w *wanted, e *serverError) outcome
	// lost takes an item that was asked for too often. It reports whether to go on.
	lost func(w *wanted, err error) bool
	// ended, if not nil, is called after each answer, when its connection is free again. It reports whether to go on.
	ended func() bool

	queue     []*wanted
	halved    bool // in this round: what is asked for at once
	throttles int  // rounds in a row that brought nothing but a pause
	idle      int  // rounds in a row that brought nothing
	dead      int  // items in a row about which no answer came at all
}

var errStopped = errors.New("nobody wants more")

// run asks until the queue is empty. An error means that the server cannot be asked any more; what is left in the queue
// then has no answer.
func (b *batch) run(ctx context.Context) error {
	for len(b.queue) > 0 {
		ws := b.cut()
		err := b.round(ctx, ws)
		if err == nil && b.ended != nil && !b.ended() {
			err = errStopped
		}
		switch {
		case errors.Is(err, errStopped):
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

// cut takes from the queue what goes into one request.
func (b *batch) cut() []*wanted {
	n, octets := 0, int64(0)
	for n < len(b.queue) && n < max(b.most, 1) {
		w := b.queue[n]
		lone := w.alone || b.big > 0 && w.size > b.big
		if n > 0 && (lone || b.bytes > 0 && octets+w.size > b.bytes) {
			break
		}
		octets += max(w.size, 0)
		if n++; lone {
			break
		}
	}
	ws := slices.Clone(b.queue[:n])
	b.queue = b.queue[n:]
	return ws
}

// back puts items to the front of the queue.
func (b *batch) back(ws ...*wanted) { b.queue = append(ws, b.queue...) }

func idsOf(ws []*wanted) []soap.ItemID {
	ids := make([]soap.ItemID, len(ws))
	for i, w := range ws {
		ids[i] = w.id
	}
	return ids
}

// round makes one request.
func (b *batch) round(ctx context.Context, ws []*wanted) error {
	b.halved = false
	a, err := b.conn.call(ctx, b.t, b.ask(ws), callOptions{patient: b.patient, expect: idsOf(ws), splits: len(ws) > 1})
	if err != nil {
		err = b.failed(ctx, ws, err)
		if err != nil && !errors.Is(err, errStopped) {
			b.back(ws...)
		}
		return err
	}
	v := b.read(a, ws)
	a.Close()
	if v.stopped {
		return errStopped
	}
	return b.settle(ctx, a, ws, v)
}

// A reading is what one answer brought.
type reading struct {
	outcomes map[*wanted]outcome
	refusals map[*wanted]*serverError
	broken   error // what ended it before its end
	left     bool  // it was not read to its end, on purpose
	stopped  bool
}

// settled reports whether an item has its answer, whatever the rest of the answers is like.
func (v *reading) settled(w *wanted) bool {
	became, ok := v.outcomes[w]
	return ok && (became == done || became == leave)
}

// read reads an answer.
func (b *batch) read(a *answer, ws []*wanted) reading {
	v := reading{outcomes: make(map[*wanted]outcome, len(ws)), refusals: make(map[*wanted]*serverError)}
	for i := 0; ; i++ {
		r, err := a.Next()
		switch {
		case err == io.EOF: //nolint:errorlint // only a bare io.EOF is an end
			return v
		case err != nil:
			v.broken = err
			return v
		case i >= len(ws):
			continue // more answers than questions: the count will tell
		}
		if e := refusal(r); e != nil {
			v.refusals[ws[i]] = e
			continue
		}
		w, became := b.got(ws, i, r)
		if w != nil {
			v.outcomes[w] = became
		}
		switch became {
		case leave:
			v.left = true
			return v
		case stop:
			v.stopped = true
			return v
		}
	}
}

// settle decides about the items that have no answer yet.
func (b *batch) settle(ctx context.Context, a *answer, ws []*wanted, v reading) error {
	if v.broken != nil && ctx.Err() != nil {
		b.back(slices.DeleteFunc(ws, v.settled)...)
		return b.conn.ended(ctx, "", connection.Ref{})
	}
	agreed := v.broken == nil && !v.left && a.Agreed()
	var open []*wanted
	var busy *serverError
	progress, suspect := false, v.broken != nil
	for _, w := range ws {
		became, answered := v.outcomes[w]
		e, refused := v.refusals[w]
		switch {
		case answered && (became == done || became == leave || became == claimed && agreed):
			progress = true
			continue
		case answered && became == again:
			w.alone = true
		case refused && e.verdict().class == throttled:
			busy = e
		case refused && (agreed || len(ws) == 1):
			again, err := b.refusal(w, e, len(ws) == 1)
			if err != nil {
				return err
			}
			if !again {
				progress = true
				continue
			}
		case v.left:
			// The answer was closed before it came to this one.
		case suspect:
			// The answer broke off: perhaps because of this item, the first that is missing.
			suspect = false
			w.alone = true
			if w.tries++; w.tries >= mostTries {
				progress = true
				if !b.lost(w, v.broken) {
					return errStopped
				}
				continue
			}
		case v.broken != nil:
		default:
			// Nobody knows which item the server meant, or it left this one out.
			w.alone = true
			if w.tries++; w.tries >= mostTries {
				progress = true
				if !b.lost(w, &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the server gives no answer about this item")}) {
					return errStopped
				}
				continue
			}
		}
		open = append(open, w)
	}
	b.back(open...)
	b.dead = 0
	return b.pace(ctx, a, open, busy, progress)
}

// refusal decides about an item that the server has refused, single if it was asked about by itself, and reports whether to
// ask again.
func (b *batch) refusal(w *wanted, e *serverError, single bool) (ask bool, err error) {
	v := e.verdict()
	if v.class == permanent || v.class == outdated {
		switch b.refused(w, e) {
		case again:
			w.alone = true
			return true, nil
		case stop:
			return false, errStopped
		}
		return false, nil
	}
	switch {
	case v.kind == connection.ErrTimeout && !single:
		b.halve()
	case e.code == "ErrorBatchProcessingStopped" && !single:
		w.alone = true // the tail is asked for singly
	default:
		w.alone = true
		w.tries++
	}
	if w.tries < mostTries {
		return true, nil
	}
	if !b.lost(w, e.final(true)) {
		return false, errStopped
	}
	return false, nil
}

// halve asks for less at once from now on, by half after each answer that took the server too long.
func (b *batch) halve() {
	if b.halved {
		return
	}
	b.halved = true
	b.most = max(b.most/2, 1)
	b.bytes = max(b.bytes/2, minBatchBytes)
}

// pace waits before the next request where that is due.
func (b *batch) pace(ctx context.Context, a *answer, open []*wanted, busy *serverError, progress bool) error {
	if progress {
		b.idle, b.throttles = 0, 0
	}
	if busy != nil {
		pause := a.busy(busy)
		b.throttles++
		if !b.patient && (pause > longestWait || b.throttles >= mostThrottles) {
			out := busy.final(true)
			out.RetryAfter = pause
			return out
		}
		return nil // the limiter holds the next request back
	}
	if progress || len(open) == 0 {
		return nil
	}
	b.idle++
	if backoff.Wait(ctx, retryPolicy.Delay(b.idle, 0)) != nil {
		return b.conn.ended(ctx, "", connection.Ref{})
	}
	return nil
}

// failed decides what becomes of a request that was refused as a whole, or that has no answer. One bad item may be the
// reason: then it must not keep the others back.
func (b *batch) failed(ctx context.Context, ws []*wanted, err error) error {
	if ctx.Err() != nil {
		return err
	}
	var e *serverError
	if !errors.As(err, &e) {
		switch connection.KindOf(err) {
		case connection.ErrNetwork, connection.ErrTimeout, connection.ErrUnavailable:
			return b.suspect(ctx, ws, err)
		case connection.ErrProtocol, connection.ErrInvalid:
			if inner := new(connection.Error); errors.As(err, &inner) && inner.Driver == "" {
				return b.suspect(ctx, ws, err) // an answer that cannot be read, or an id that cannot be written: no web page
			}
		}
		return err
	}
	v := e.verdict()
	switch {
	case v.kind == connection.ErrTimeout && len(ws) > 1:
		b.halve()
		b.back(ws...)
		return nil
	case v.class == transient, v.class == unclear, v.class == moved:
		return b.suspect(ctx, ws, err)
	case itemCode(e.code) && len(ws) > 1:
		return b.singly(ws)
	case itemCode(e.code):
		switch b.refused(ws[0], e) {
		case again:
			ws[0].alone = true
			b.back(ws...)
		case stop:
			return errStopped
		}
		return nil
	}
	return err
}

// itemCode reports whether a code is about one item, even if it came as that of the whole request.
func itemCode(code string) bool {
	switch code {
	case "ErrorItemNotFound", "ErrorInvalidId", "ErrorInvalidIdMalformed", "ErrorInvalidIdEmpty", "ErrorMessageSizeExceeded", "ErrorInvalidPropertyRequest":
		return true
	}
	return conversion(code)
}

// singly asks about items one by one.
func (b *batch) singly(ws []*wanted) error {
	for _, w := range ws {
		w.alone = true
	}
	b.back(ws...)
	return nil
}

// suspect looks for the item because of which no answer came: each is asked about by itself, and one that fails then is
// lost, unless the server does not answer otherwise either, or that goes on.
func (b *batch) suspect(ctx context.Context, ws []*wanted, err error) error {
	if len(ws) > 1 {
		return b.singly(ws)
	}
	b.dead++
	switch {
	case b.dead == 1:
	case !b.conn.answers(ctx, b.t):
		return err
	case b.dead > mostInARow:
		return tooMany(b.dead, err)
	}
	if !b.lost(ws[0], fmt.Errorf("no answer about this item: %w", err)) {
		return errStopped
	}
	return nil
}

// answers reports whether the server answers a question about a mailbox that concerns none of its items.
func (c *Conn) answers(ctx context.Context, t target) bool {
	_, err := c.one(ctx, t, soap.GetFolder{Folders: []soap.FolderID{c.distinguished(t, c.rootNames(t)[0])}})
	return err == nil
}
