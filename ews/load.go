package ews

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

// loadOptions are the options of load.
type loadOptions struct {
	op      string                    // the verb, for errors
	folder  string                    // its path, for Message.Folder
	skip    func(connection.Ref) bool // asked before anything is read of a message; nil = none is passed over
	keep    func(*soap.Item) bool     // asked before its octets are; nil = all are wanted
	room    func() int                // how many more messages are wanted; nil = all
	foreign bool                      // items that are no mail are wanted too
	patient bool                      // wait however long the server asks for
	settled bool                      // what breaks a body is an error that is Settled
	well    func()                    // called, before errors of properties, if there were some of other messages; nil = nobody
}

// A loaded is a message that was found, and what it is made of.
type loaded struct {
	id   soap.ItemID
	meta soap.Item
	msg  *connection.Message // without a Body from metadata
	body *content
}

// failed returns what kept the Body from being read to its end after its loop step, nil if it was whole or if nobody
// wanted it whole.
func (l *loaded) failed() error {
	if l.body == nil || l.body.ended() {
		return nil
	}
	return l.body.err
}

// metadataBatch is how many items are asked for without their octets in one request.
const metadataBatch = 100

// load yields the messages with these ids, in about this order: their properties are read first, since in an answer with
// octets these come first and everything else behind them. What is gone meanwhile and what is no mail is left out. The
// rules are those of Fetch: an error with the ID of a Ref concerns that message, any other is the last. A body is valid
// until the next step.
func (c *Conn) load(ctx context.Context, t target, ids []soap.ItemID, o loadOptions) iter.Seq2[*loaded, error] {
	return func(yield func(*loaded, error) bool) {
		for chunk := range slices.Chunk(ids, metadataBatch) {
			if o.room != nil && o.room() <= 0 {
				return
			}
			if o.skip != nil {
				chunk = slices.DeleteFunc(slices.Clone(chunk), func(id soap.ItemID) bool { return o.skip(t.ref(id.ID)) })
			}
			found, bad, err := c.metadata(ctx, t, chunk, o)
			for _, e := range bad {
				if len(found) > 0 && o.well != nil {
					o.well()
				}
				if !yield(nil, e) {
					return
				}
			}
			if err != nil {
				yield(nil, c.fail(o.op, t, connection.Ref{}, err))
				return
			}
			l := &loader{conn: c, ctx: ctx, t: t, o: o, yield: yield}
			if !l.load(found) {
				return
			}
		}
	}
}

// metadata reads the properties of items. Those that are gone, that nobody keeps and that are no mail are left out. bad are the
// errors of single items; err means that the rest could not be asked for.
func (c *Conn) metadata(ctx context.Context, t target, ids []soap.ItemID, o loadOptions) (found []*loaded, bad []*connection.Error, err error) {
	byID := make(map[string]*soap.Item, len(ids))
	b := &batch{conn: c, t: t, patient: o.patient, most: metadataBatch}
	plain := make(map[*wanted]bool) // items without the properties of messages
	b.ask = func(ws []*wanted) soap.Operation {
		return soap.GetItem{Shape: soap.ItemShape{Properties: itemProperties(!plain[ws[0]])}, Items: idsOf(ws)}
	}
	b.got = func(ws []*wanted, _ int, r *soap.Response) (*wanted, outcome) {
		if len(r.Items) != 1 {
			return nil, again
		}
		i := slices.IndexFunc(ws, func(w *wanted) bool { return w.id.ID == r.Items[0].ID })
		if i < 0 {
			return nil, again
		}
		byID[ws[i].id.ID] = &r.Items[0]
		return ws[i], done
	}
	b.refused = func(w *wanted, e *serverError) outcome {
		switch {
		case e.code == "ErrorItemNotFound": // it was deleted or moved after it was listed
		case e.code == "ErrorInvalidPropertyRequest" && !plain[w]:
			plain[w] = true
			return again
		default:
			bad = append(bad, c.fail(o.op, t, t.ref(w.id.ID), e.final(true)))
		}
		return done
	}
	b.lost = func(w *wanted, err error) bool {
		bad = append(bad, c.fail(o.op, t, t.ref(w.id.ID), err))
		return true
	}
	seen := make(map[string]bool, len(ids))
	for _, id := range ids {
		if !seen[id.ID] {
			seen[id.ID] = true
			b.queue = append(b.queue, &wanted{id: id})
		}
	}
	err = b.run(ctx)
	for _, id := range ids {
		item := byID[id.ID]
		if item == nil {
			continue
		}
		delete(byID, id.ID)
		if l := (&loaded{id: id, meta: *item}); c.keeps(t, l, o) {
			l.msg = message(t, item, o.folder)
			found = append(found, l)
		}
	}
	return found, bad, err
}

// itemProperties are what is asked of each item before its octets.
func itemProperties(message bool) []soap.Path {
	all := []soap.Path{
		soap.Field("item:ParentFolderId"), soap.Field("item:ItemClass"), soap.Field("item:DateTimeReceived"), soap.Field("item:Size"),
		soap.Field("item:IsDraft"), soap.Field("item:LastModifiedTime"),
	}
	if message {
		all = append(all, soap.Field("message:InternetMessageId"), soap.Field("message:IsRead"))
	}
	return all
}

// keeps reports whether an item is to be yielded.
func (c *Conn) keeps(t target, l *loaded, o loadOptions) bool {
	if !o.foreign && !isMail(l.meta.Kind, l.meta.Class) {
		c.emit(connection.Event{
			Kind: connection.EventSkipped, Mailbox: t.mailbox, Ref: t.ref(l.id.ID), Detail: "no mail: " + l.meta.Kind + " " + l.meta.Class,
		})
		return false
	}
	return o.keep == nil || o.keep(&l.meta)
}

// isMail reports whether an item is something that was sent: a message, a meeting request, a report; and not a contact, an
// appointment or a note. Meeting mail, S/MIME, reports and the stubs of other archivers lie in an inbox like any message.
func isMail(kind, class string) bool {
	switch kind {
	case "Contact", "DistributionList", "Task", "CalendarItem", "Person", "RoleMember", "Network":
		return false
	}
	for _, other := range []string{"IPM.StickyNote", "IPM.Activity", "IPM.Appointment", "IPM.Contact", "IPM.DistList", "IPM.Task"} {
		if derived(class, other) {
			return false
		}
	}
	return true
}

func message(t target, item *soap.Item, folder string) *connection.Message {
	m := &connection.Message{Ref: t.ref(item.ID), Folder: folder, Size: item.Size, Received: item.Received}
	if item.Size <= 0 {
		m.Size = -1
	}
	if item.Read {
		m.Flags = append(m.Flags, connection.FlagSeen)
	}
	if item.Draft {
		m.Flags = append(m.Flags, connection.FlagDraft)
	}
	return m
}

// A loader hands out messages with their octets.
type loader struct {
	conn  *Conn
	ctx   context.Context
	t     target
	o     loadOptions
	yield func(*loaded, error) bool

	byID  map[string]*loaded
	ready []*loaded // in memory, not handed out yet
	held  int       // octets of them
	over  bool      // nobody wants more

	count  int64 // messages handed out since this was last told
	octets int64
}

// Octets of messages in memory.
const (
	smallBody = 256 << 10 // a message that is no larger is read whole before it is handed out
	readAhead = 1 << 20   // messages that are read whole before the first of them is handed out
)

// load hands out the messages, and reports whether to go on.
func (l *loader) load(found []*loaded) bool {
	if l.o.room != nil {
		found = found[:min(len(found), max(l.o.room(), 0))]
	}
	cfg := &l.conn.cfg
	b := &batch{
		conn: l.conn, t: l.t, patient: l.o.patient, most: cfg.batchItems(), bytes: cfg.batchBytes(), big: cfg.bigItemBytes(),
		ask: l.ask, got: l.got, refused: l.refused, lost: l.lost, ended: l.flush,
	}
	l.byID = make(map[string]*loaded, len(found))
	for _, m := range found {
		l.byID[m.id.ID] = m
		b.queue = append(b.queue, &wanted{id: m.id, meta: &m.meta, size: m.meta.Size})
	}
	err := b.run(l.ctx)
	if l.count > 0 {
		l.conn.emit(connection.Event{
			Kind: connection.EventFetched, Mailbox: l.t.mailbox, Ref: connection.Ref{Folder: l.o.folder}, Count: l.count, Bytes: l.octets,
		})
	}
	if l.over {
		return false
	}
	if err != nil {
		if l.flush() {
			l.yield(nil, l.conn.fail(l.o.op, l.t, connection.Ref{}, err))
		}
		return false
	}
	return true
}

// mimeUTF8 is the message with its texts turned into UTF-8, which is made another way than MimeContent.
const mimeUTF8 = "item:MimeContentUTF8"

func (l *loader) ask(ws []*wanted) soap.Operation {
	shape := soap.ItemShape{MIME: true}
	if ws[0].utf8 {
		shape = soap.ItemShape{Properties: []soap.Path{soap.Field(mimeUTF8)}}
	}
	return soap.GetItem{Shape: shape, Items: idsOf(ws)}
}

// got takes a message. One that is small is read whole first, so that the line may break without anybody noticing.
func (l *loader) got(ws []*wanted, i int, r *soap.Response) (*wanted, outcome) {
	w := ws[i]
	body := r.Body()
	if body == nil {
		return w, l.bodyless(w)
	}
	m := l.byID[w.id.ID]
	head, err := readHead(body)
	switch {
	case err == io.EOF: //nolint:errorlint // only a bare io.EOF is an end
		m.body = newContent(l, m.msg.Ref, head, nil)
		l.ready = append(l.ready, m)
		if l.held += len(head); l.held >= readAhead && !l.flush() {
			return w, stop
		}
		return w, done
	case err != nil:
		if w.tries++; w.tries >= mostTries && l.ctx.Err() == nil {
			if !l.lost(w, err) {
				return w, stop
			}
			return w, done
		}
		return w, again
	}
	if !l.flush() {
		return w, stop
	}
	m.body = newContent(l, m.msg.Ref, head, body)
	if !l.hand(m) {
		return w, stop
	}
	if !m.body.ended() {
		return w, leave // what nobody wants is not worth waiting for
	}
	return w, done
}

// bodyless decides about a success without octets: that is no message of zero octets, but nobody knows what.
func (l *loader) bodyless(w *wanted) outcome {
	if !w.empty {
		w.empty = true
		return again
	}
	if !l.lost(w, &connection.Error{Kind: connection.ErrCorrupt, Err: errors.New("the server gives a success without a message, twice")}) {
		return stop
	}
	return done
}

// flush hands out what is in memory, and reports whether to go on.
func (l *loader) flush() bool {
	ready := l.ready
	l.ready, l.held = nil, 0
	for _, m := range ready {
		if l.over || !l.hand(m) {
			return false
		}
	}
	return !l.over
}

// hand hands out one message.
func (l *loader) hand(m *loaded) bool {
	if l.conn.cfg.Journal {
		l.unwrap(m)
	}
	m.msg.Body = m.body
	if l.ctx.Err() != nil {
		l.over = true
		l.yield(nil, l.conn.ended(l.ctx, l.o.op, connection.Ref{}))
		return false
	}
	if !l.yield(m, nil) {
		l.over = true
	}
	l.count++
	l.octets += m.body.read
	m.body.close()
	return !l.over
}

// lost reports a message that cannot be had.
func (l *loader) lost(w *wanted, err error) bool {
	if !l.yield(nil, l.conn.fail(l.o.op, l.t, l.t.ref(w.id.ID), err)) {
		l.over = true
	}
	return !l.over
}

// refused decides about a message that the server does not give.
func (l *loader) refused(w *wanted, e *serverError) outcome {
	code := or(e.inner, e.code)
	if e.code == "ErrorItemNotFound" {
		return done // it was deleted or moved after it was listed
	}
	for conversion(code) || conversion(e.code) {
		ladder := l.conn.cfg.fallbacks()
		if w.rung >= len(ladder) {
			break
		}
		w.rung++
		switch ladder[w.rung-1] {
		case FallbackRetry:
			return again
		case FallbackMimeUTF8:
			w.utf8 = true
			return again
		case FallbackRebuild:
			return l.rebuild(w, e)
		}
	}
	if !l.lost(w, e.final(true)) {
		return stop
	}
	return done
}
