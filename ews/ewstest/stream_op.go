package ewstest

import (
	"net/http"
	"time"
)

// affinityCookie is what a client must bring along to come to the server that knows its subscriptions.
const affinityCookie = "X-BackEndOverrideCookie"

// setAffinity gives the client of a Subscribe the cookie.
func setAffinity(req *request) {
	http.SetCookie(req.w, &http.Cookie{Name: affinityCookie, Value: "mbx1.corp.local~1942062522", Path: "/EWS", Secure: true, HttpOnly: true})
}

// streams returns how many streaming connections an account may have.
func (s *Server) streams() int {
	switch {
	case s.opts.Throttle.Streams > 0:
		return s.opts.Throttle.Streams
	case s.product.speaks < v2015:
		return 3
	}
	return 10
}

// opGetStreamingEvents is GetStreamingEvents. Its answer lasts for ConnectionTimeout minutes.
func opGetStreamingEvents(s *Server, req *request) *reply {
	var ids []string
	for _, n := range req.op.child("SubscriptionIds").children() {
		id := n.value()
		ids = append(ids, id)
		bad := s.lostAffinity(req)
		if bad == nil {
			_, bad = s.subscription(req, id)
		}
		if bad != nil {
			return req.answer(req.failure(bad).add(msg("ErrorSubscriptionIds", typ("SubscriptionId").say(id)), connectionStatus("Closed")))
		}
	}
	if s.hanging[req.user] >= s.streams() {
		return req.answer(req.failure(&fault{code: "ErrorExceededConnectionCount", text: "You have exceeded the available concurrent connections for your account."}))
	}
	lasts := time.Duration(number32(req.op.value("ConnectionTimeout"))) * time.Minute
	return &reply{stream: func(r *http.Request, emit func(*node) error) error {
		s.hang(req.user, 1)
		defer s.hang(req.user, -1)
		st := &eventStream{s: s, req: req, ids: ids, emit: emit, done: r.Context().Done()}
		return st.run(lasts)
	}}
}

// lostAffinity is what becomes of a client that another server got.
func (s *Server) lostAffinity(req *request) *fault {
	if _, err := req.r.Cookie(affinityCookie); err != nil && s.opts.Streaming.NeedAffinity {
		return &fault{code: "ErrorSubscriptionNotFound", text: "The subscription is on another server."}
	}
	return nil
}

// hang counts the streaming connections of an account.
func (s *Server) hang(a *account, by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hanging == nil {
		s.hanging = make(map[*account]int)
	}
	s.hanging[a] += by
}

// Streams returns how many streaming connections are open.
func (s *Server) Streams() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, open := range s.hanging {
		n += open
	}
	return n
}

func connectionStatus(word string) *node { return msg("ConnectionStatus").say(word) }

// An eventStream is one answer of GetStreamingEvents.
type eventStream struct {
	s    *Server
	req  *request
	ids  []string
	emit func(*node) error
	done <-chan struct{} // the client is gone
}

// run sends events and heartbeats until the time is over, a subscription ends or the client is gone.
func (st *eventStream) run(lasts time.Duration) error {
	o := &st.s.opts.Streaming
	beat := o.Heartbeat
	if beat == 0 {
		beat = 45 * time.Second
	}
	end, heartbeat := st.s.clock.After(lasts), st.s.clock.After(beat)
	if err := st.say(st.req.success(connectionStatus("OK"))); err != nil {
		return err
	}
	for {
		notes, news, bad := st.collect()
		if o.Silent {
			<-st.done
			return nil
		}
		if len(notes) > 0 {
			heartbeat = st.s.clock.After(beat)
			if err := st.tell(notes); err != nil {
				return err
			}
		}
		if bad != nil {
			return st.say(bad)
		}
		select {
		case <-news:
		case <-heartbeat:
			heartbeat = st.s.clock.After(beat)
			if err := st.say(st.alive()); err != nil {
				return err
			}
		case <-end:
			if o.NoClosed {
				return nil
			}
			return st.say(st.req.success(connectionStatus("Closed")))
		case <-st.done:
			return nil
		}
	}
}

// say sends response messages, each in an Envelope of its own, in one chunk.
func (st *eventStream) say(messages ...*node) error {
	for _, m := range messages {
		if err := st.emit(st.req.answer(m).body); err != nil {
			return err
		}
	}
	return st.emit(nil)
}

// alive is the heartbeat.
func (st *eventStream) alive() *node {
	if code := st.s.opts.Streaming.Error; code != "" {
		return st.req.failure(&fault{code: code, text: "As the test asked."}).add(connectionStatus("OK"))
	}
	return st.req.success(connectionStatus("OK"))
}

// tell sends notifications.
func (st *eventStream) tell(notes []*node) error {
	o := &st.s.opts.Streaming
	switch {
	case o.Error != "":
		return st.say(st.alive())
	case !o.Together:
		return st.say(st.req.success(msg("Notifications", notes...)))
	}
	var each []*node
	for _, n := range notes {
		for _, event := range n.kids[1:] { // behind SubscriptionId
			each = append(each, st.req.success(msg("Notifications", msg("Notification", n.kids[0], event))))
		}
	}
	return st.say(each...)
}

// collect returns the notifications since the last time, what to wait for, and the answer that ends the stream if a
// subscription is no more.
func (st *eventStream) collect() (notes []*node, news <-chan struct{}, bad *node) {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range st.ids {
		sub, f := s.subscription(st.req, id)
		if f != nil {
			bad = st.req.failure(f).add(msg("ErrorSubscriptionIds", typ("SubscriptionId").say(id)), connectionStatus("Closed"))
			continue
		}
		sub.expires = s.clock.Now().Add(sub.life)
		events := sub.take(s)
		lost := min(s.opts.Streaming.Miss-s.missed, len(events))
		s.missed += lost
		if events = events[lost:]; len(events) == 0 {
			continue
		}
		note := msg("Notification", typ("SubscriptionId").say(id))
		for _, e := range events {
			note.add(withoutWatermark(e))
		}
		notes = append(notes, note)
	}
	return notes, s.store.news, bad
}

// withoutWatermark is an event as streams have it.
func withoutWatermark(e *node) *node {
	changed := *e
	changed.kids = nil
	for _, k := range e.kids {
		if k.name != "Watermark" {
			changed.kids = append(changed.kids, k)
		}
	}
	return &changed
}
