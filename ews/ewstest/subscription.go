package ewstest

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"time"
)

const (
	streamingLife = 30 * time.Minute
	pullLife      = time.Minute
	eventCap      = 50 // events in one answer of GetEvents
)

// A subscription is what Subscribe made: a queue of events of some folders of a mailbox.
type subscription struct {
	id      string
	user    *account
	mailbox *Mailbox
	folders []*Folder // nil: all of the mailbox
	types   []string
	seen    map[*Folder]int // places in their logs
	life    time.Duration
	expires time.Time

	queue []*node
	gone  int // events that were in the queue and are no longer
}

// opSubscribe is Subscribe. Push subscriptions are refused: nobody could be reached.
func opSubscribe(s *Server, req *request) *reply {
	n := req.op.kids[0]
	if n.name == "PushSubscriptionRequest" {
		return req.answer(req.failure(&fault{code: "ErrorInvalidPushSubscriptionUrl", text: "The URL of the push subscription cannot be reached."}))
	}
	sub := &subscription{user: req.user, mailbox: req.mailbox, seen: make(map[*Folder]int), life: streamingLife}
	if n.name == "PullSubscriptionRequest" {
		sub.life = pullLife * time.Duration(number32(n.value("Timeout")))
	}
	for _, e := range n.child("EventTypes").children() {
		sub.types = append(sub.types, e.text)
	}
	for _, id := range n.child("FolderIds").children() {
		f, bad := s.folder(req, id)
		if bad != nil {
			return req.answer(req.failure(bad))
		}
		sub.folders = append(sub.folders, f)
		sub.mailbox = f.mb
	}
	all := isTrue(n.attr("SubscribeToAllFolders"))
	if all == (sub.folders != nil) || sub.mailbox == nil {
		return req.answer(req.failure(&fault{code: "ErrorInvalidSubscriptionRequest", text: "A subscription is on folders, or on all of them."}))
	}
	for _, f := range sub.watched() {
		sub.seen[f] = len(f.log)
	}
	s.store.subscribed++
	sum := sha256.Sum256(fmt.Appendf(s.secret[:], "subscription %d", s.store.subscribed))
	sub.id = base64.StdEncoding.EncodeToString(sum[:])
	sub.expires = s.clock.Now().Add(sub.life)
	s.store.subs[sub.id] = sub
	setAffinity(req)
	answer := req.success(msg("SubscriptionId").say(sub.id))
	if n.name == "PullSubscriptionRequest" && !s.opts.Quirks.NoWatermark {
		answer.add(msg("Watermark").say(sub.watermark(0)))
	}
	return req.answer(answer)
}

func (sub *subscription) watched() []*Folder {
	if sub.folders != nil {
		return sub.folders
	}
	return sub.mailbox.folders
}

func (sub *subscription) watermark(n int) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%.8s %d", sub.id, n))
}

// collect puts what happened since the last time into the queue.
func (sub *subscription) collect(s *Server) {
	for _, f := range sub.watched() {
		for _, e := range f.log[sub.seen[f]:] {
			for _, kind := range e.told(f) {
				if slices.Contains(sub.types, kind) {
					sub.queue = append(sub.queue, sub.event(s, f, e.item, kind))
				}
			}
		}
		sub.seen[f] = len(f.log)
	}
}

// told are the names of notifications that an event is worth.
func (e event) told(f *Folder) []string {
	it := e.item
	switch e.kind {
	case eventCreate:
		if it.came != nil {
			return []string{"MovedEvent"}
		}
		if f.known == "inbox" {
			return []string{"CreatedEvent", "NewMailEvent"}
		}
		return []string{"CreatedEvent"}
	case eventDelete:
		if it.left {
			return nil
		}
		return []string{"DeletedEvent"}
	default:
		return []string{"ModifiedEvent"}
	}
}

func (sub *subscription) event(s *Server, f *Folder, it *item, kind string) *node {
	idNode := func(name string, f *Folder, n uint64) *node {
		return typ(name).with("Id", s.id(itemIDs, f.mb.number, n)).with("ChangeKey", changeKey(it.update))
	}
	n := typ(kind, typ("Watermark").say(sub.watermark(sub.gone+len(sub.queue)+1)), typ("TimeStamp").say(xsTime(s.clock.Now())),
		idNode("ItemId", f, it.n), f.idNode("ParentFolderId"))
	if kind == "MovedEvent" {
		n.add(idNode("OldItemId", it.came, it.cameAs), it.came.idNode("OldParentFolderId"))
	}
	return n
}

// take returns the events since the last time. The caller holds the lock.
func (sub *subscription) take(s *Server) []*node {
	sub.collect(s)
	taken := sub.queue
	sub.gone += len(taken)
	sub.queue = nil
	return taken
}

// find returns a subscription of the user that has not expired.
func (s *Server) subscription(req *request, id string) (*subscription, *fault) {
	sub := s.store.subs[id]
	switch {
	case sub == nil:
		return nil, &fault{code: "ErrorSubscriptionNotFound", text: "The specified subscription was not found."}
	case sub.user != req.user:
		return nil, &fault{code: "ErrorSubscriptionAccessDenied", text: "Only the owner of the subscription may use it."}
	case s.clock.Now().After(sub.expires):
		delete(s.store.subs, id)
		return nil, &fault{code: "ErrorSubscriptionNotFound", text: "The specified subscription was not found."}
	}
	return sub, nil
}

// opGetEvents is GetEvents: what happened after the watermark.
func opGetEvents(s *Server, req *request) *reply {
	sub, bad := s.subscription(req, req.op.value("SubscriptionId"))
	if bad != nil {
		return req.answer(req.failure(bad))
	}
	sub.collect(s)
	sub.expires = s.clock.Now().Add(sub.life)
	known := -1
	for n := sub.gone; n <= sub.gone+len(sub.queue); n++ {
		if sub.watermark(n) == req.op.value("Watermark") {
			known = n
		}
	}
	if known < 0 {
		return req.answer(req.failure(&fault{code: "ErrorInvalidWatermark", text: "The watermark is invalid."}))
	}
	sub.queue, sub.gone = sub.queue[known-sub.gone:], known
	told := sub.queue[:min(len(sub.queue), eventCap)]
	note := msg("Notification", typ("SubscriptionId").say(sub.id), typ("PreviousWatermark").say(sub.watermark(known)),
		typ("MoreEvents").say(strconv.FormatBool(len(told) < len(sub.queue))))
	if len(told) == 0 {
		return req.answer(req.success(note.add(typ("StatusEvent", typ("Watermark").say(sub.watermark(known))))))
	}
	return req.answer(req.success(note.add(told...)))
}

// opUnsubscribe is Unsubscribe.
func opUnsubscribe(s *Server, req *request) *reply {
	sub, bad := s.subscription(req, req.op.value("SubscriptionId"))
	if bad != nil {
		return req.answer(req.failure(bad))
	}
	delete(s.store.subs, sub.id)
	s.store.changed()
	return req.answer(req.success())
}

// Subscriptions returns how many subscriptions there are.
func (s *Server) Subscriptions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.store.subs)
}

// ExpireSubscriptions forgets all subscriptions, as a server does that fails over.
func (s *Server) ExpireSubscriptions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.store.subs)
	s.store.changed()
}
