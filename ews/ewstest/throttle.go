package ewstest

import (
	"strconv"
	"strings"
	"sync"
	"time"
)

// Throttle limits what clients may ask for. Budgets belong to the mailbox that is impersonated, else to the account.
type Throttle struct {
	// Concurrency is how many answers of one budget may be open at a time, those included that nobody reads; 0 = 27, as
	// Exchange has it. Negative = no limit.
	Concurrency int
	// BackOff is what a request over that limit is told to wait; 0 tells no time.
	BackOff time.Duration
	// Batch is how many items of one request are answered, behind them comes ErrorBatchProcessingStopped; 0 = all.
	Batch int
	// Patience is how long a client may leave an answer unread before it is cut off; 0 = for ever.
	Patience time.Duration
	// Streams is how many streaming connections an account may have; 0 = 3 in 2013, 10 from 2016 on.
	Streams int
}

// budgets is the part of a Server that throttles.
type budgets struct {
	mu      sync.Mutex
	open    map[string]int
	most    map[string]int
	until   map[string]time.Time
	backOff map[string]time.Duration
	penalty int
}

func (b *budgets) init() {
	b.open, b.most = make(map[string]int), make(map[string]int)
	b.until, b.backOff = make(map[string]time.Time), make(map[string]time.Duration)
}

// Penalty returns how many requests came though the server had told their budget to wait. Each prolonged the wait.
func (s *Server) Penalty() int {
	s.budgets.mu.Lock()
	defer s.budgets.mu.Unlock()
	return s.budgets.penalty
}

// Peak returns how many answers of a budget, the address of a mailbox or an account, were open at once at most.
func (s *Server) Peak(owner string) int {
	s.budgets.mu.Lock()
	defer s.budgets.mu.Unlock()
	return s.budgets.most[strings.ToLower(owner)]
}

// owner returns whose budget a request is on.
func (req *request) owner() string {
	if req.as != nil {
		return strings.ToLower(req.as.Address())
	}
	return strings.ToLower(req.user.address)
}

// around executes a request within the budget of its owner, or answers in its place. done is to be called when the answer was
// written.
func (s *Server) around(req *request, run func() *reply) (rep *reply, done func()) {
	if f := checkToken(req); f != nil {
		return &reply{fault: f}, func() {}
	}
	owner := req.owner()
	if f := s.waits(owner); f != nil {
		return &reply{fault: f}, func() {}
	}
	limit := s.opts.Throttle.Concurrency
	if limit == 0 {
		limit = 27
	}
	s.budgets.mu.Lock()
	s.budgets.open[owner]++
	open := s.budgets.open[owner]
	s.budgets.most[owner] = max(s.budgets.most[owner], open)
	s.budgets.mu.Unlock()
	var wait time.Duration
	done = func() {
		s.budgets.mu.Lock()
		defer s.budgets.mu.Unlock()
		s.budgets.open[owner]--
		if wait > 0 { // from now on: those that are on their way already cannot know
			s.budgets.until[owner], s.budgets.backOff[owner] = s.clock.Now().Add(wait), wait
		}
	}
	if limit > 0 && open > limit {
		wait = s.opts.Throttle.BackOff
		return &reply{fault: busyFault(wait, limit)}, done
	}
	rep = s.withFaults(req, run)
	if rep.mishap != nil {
		wait = rep.mishap.wait
	}
	if s.opts.Throttle.Batch > 0 {
		rep = stopBatch(rep, s.opts.Throttle.Batch)
	}
	return rep, done
}

// checkToken holds a request against the rules for bearer tokens.
func checkToken(req *request) *fault {
	t, ok := tokenOf(req.r.Context())
	switch {
	case !ok:
	case t.AppOnly && req.as == nil:
		return &fault{code: "ErrorInvalidRequest", text: "ExchangeImpersonation SOAP header must be present for this type of OAuth token."}
	case !t.AppOnly && req.as != nil:
		return &fault{code: "ErrorAccessDenied", text: "ExchangeImpersonation SOAP header must not be present for this type of OAuth token."}
	}
	return nil
}

// waits returns the fault for a request that comes while its budget is to wait.
func (s *Server) waits(owner string) *fault {
	s.budgets.mu.Lock()
	defer s.budgets.mu.Unlock()
	if now := s.clock.Now(); now.Before(s.budgets.until[owner]) {
		s.budgets.penalty++
		wait := s.budgets.backOff[owner]
		s.budgets.until[owner] = now.Add(wait) // resending prolongs the recovery
		return busyFault(wait, 0)
	}
	return nil
}

// busyFault is ErrorServerBusy: with a time to wait, or with a policy and no time.
func busyFault(wait time.Duration, concurrency int) *fault {
	f := &fault{code: "ErrorServerBusy", text: "The server cannot service this request right now. Try again later.", server: true}
	if wait > 0 {
		f.values = [][2]string{{"BackOffMilliseconds", strconv.FormatInt(wait.Milliseconds(), 10)}}
		return f
	}
	if concurrency <= 0 {
		concurrency = 27
	}
	f.values = [][2]string{
		{"Policy", "MaxConcurrency"},
		{"MaxConcurrencyLimit", strconv.Itoa(concurrency)},
		{"ErrorMessage", "This operation exceeds the throttling budget for policy part 'MaxConcurrency', policy value '" + strconv.Itoa(concurrency) +
			"',  Budget type: 'Ews'.  Suggested backoff time 0 ms."},
	}
	return f
}

// stopBatch answers the items behind the first ones with ErrorBatchProcessingStopped.
func stopBatch(rep *reply, most int) *reply {
	return rep.items(func(i int, m *node) *node {
		if i < most {
			return m
		}
		return failed(m, "ErrorBatchProcessingStopped", "Batch processing was stopped.")
	})
}

// items returns a reply whose response messages are changed; those for which change returns nil are left out.
func (rep *reply) items(change func(i int, m *node) *node) *reply {
	list := rep.body.find("ResponseMessages")
	if list == nil {
		return rep
	}
	changed := *list
	changed.kids = nil
	for i, m := range list.kids {
		if m = change(i, m); m != nil {
			changed.kids = append(changed.kids, m)
		}
	}
	result := *rep
	body := *rep.body
	body.kids = []*node{&changed}
	for _, k := range rep.body.kids {
		if k != list {
			body.kids = append(body.kids, k)
		}
	}
	result.body = &body
	return &result
}

// failed makes an error of a response message.
func failed(m *node, code, text string, values ...[2]string) *node {
	n := &node{space: m.space, name: m.name}
	n.with("ResponseClass", "Error").add(msg("MessageText").say(text), msg("ResponseCode").say(code), msg("DescriptiveLinkKey").say("0"))
	if len(values) > 0 {
		list := msg("MessageXml")
		for _, v := range values {
			list.add(typ("Value").with("Name", v[0]).say(v[1]))
		}
		n.add(list)
	}
	return n
}
