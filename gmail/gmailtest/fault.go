package gmailtest

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Match says which requests a fault befalls. Its methods return a narrower copy.
type Match struct {
	method, user, id, scope string
	nth, times              int
	chance                  float64
}

// On matches the requests of a method, as [Request.Method] names it: "messages.get", "token", "audit", "batch"; "" or "*" stands
// for every one, and "messages.*" for all that begin so.
func On(method string) Match { return Match{method: strings.TrimSuffix(method, "*")} }

// User matches requests for the mailbox of an address or a user id, and requests for tokens with that subject.
func (m Match) User(user string) Match { m.user = user; return m }

// ID matches requests whose path names an id, of a message or a label.
func (m Match) ID(id string) Match { m.id = id; return m }

// Scope matches requests whose token has a scope, and requests for such tokens.
func (m Match) Scope(scope string) Match { m.scope = scope; return m }

// Nth matches from the n-th request on, counted from 1 among those that match otherwise.
func (m Match) Nth(n int) Match { m.nth = n; return m }

// Times matches so many requests and no more.
func (m Match) Times(n int) Match { m.times = n; return m }

// Chance matches with that probability, by [Options.Seed].
func (m Match) Chance(p float64) Match { m.chance = p; return m }

// A Fault is what goes wrong with an answer. See [Server.Fail].
type Fault struct{ do func(*plan) }

// A plan is what faults make of one request.
type plan struct {
	run     []func(Request) // before anything else
	delay   time.Duration
	stall   bool // fall silent before answering
	hangUp  bool // close the connection in place of executing
	lose    bool // execute, and close the connection in place of answering
	instead any  // in place of executing: a reply, an *apiError, or a func(*answer)
	header  http.Header
	rewrite []func([]byte) []byte
	cut     int64 // the body ends behind so many octets; negative = not
	ending  ending
	piece   int           // the body is sent in pieces of so many octets
	pause   time.Duration // behind each; 0 = none
}

// An ending is how an answer breaks off.
type ending uint8

const (
	endClosed ending = iota // the connection is closed, or the stream of HTTP/2 reset
	endSilent               // nothing comes any more
	endShort                // as if it were whole
)

// A rule is a Match with its faults and its history.
type rule struct {
	match      Match
	faults     []Fault
	seen, used int
}

// script is the part of a Server that knows what is to go wrong.
type script struct {
	seed  uint64
	mu    sync.Mutex
	rules []*rule
	rng   *rand.Rand
}

// Fail makes requests fail, from now on: those that match. Several faults befall the same request; of several rules that match,
// all apply. A request that fails is charged its units, unless the answer is 401 or 429.
func (s *Server) Fail(m Match, faults ...Fault) {
	s.script.mu.Lock()
	defer s.script.mu.Unlock()
	s.script.rules = append(s.script.rules, &rule{match: m, faults: faults})
}

// Heal forgets all faults.
func (s *Server) Heal() {
	s.script.mu.Lock()
	defer s.script.mu.Unlock()
	s.script.rules = nil
}

// planned returns what is to happen to a request.
func (s *Server) planned(q *request) *plan {
	what := s.snapshot(q.entry)
	p := &plan{cut: -1, header: make(http.Header)}
	sc := &s.script
	sc.mu.Lock()
	defer sc.mu.Unlock()
	for _, r := range sc.rules {
		if !r.match.fits(q, &what) {
			continue
		}
		if r.seen++; r.seen < r.match.nth || r.match.times > 0 && r.used >= r.match.times {
			continue
		}
		if r.match.chance > 0 {
			if sc.rng == nil {
				sc.rng = rand.New(rand.NewPCG(sc.seed, 4)) //nolint:gosec // tests want to be repeated
			}
			if sc.rng.Float64() >= r.match.chance {
				continue
			}
		}
		r.used++
		for _, f := range r.faults {
			f.do(p)
		}
	}
	return p
}

func (m Match) fits(q *request, what *Request) bool {
	return (m.method == what.Method || (m.method == "" || strings.HasSuffix(m.method, ".")) && strings.HasPrefix(what.Method, m.method)) &&
		(m.user == "" || strings.EqualFold(m.user, what.User) || m.user == what.UserID || strings.EqualFold(m.user, what.Subject)) &&
		(m.id == "" || m.id == q.id) &&
		(m.scope == "" || slices.Contains(what.Scopes, m.scope))
}

// before does what is planned before a request is executed. It may end the connection.
func (p *plan) before(q *request, a *answer) {
	what := q.s.snapshot(q.entry)
	for _, f := range p.run {
		f(what)
	}
	if p.delay > 0 {
		q.s.pause(q.http.Context(), p.delay)
	}
	if p.stall {
		q.s.silence(q.http.Context(), a)
	}
	if p.hangUp {
		panic(http.ErrAbortHandler)
	}
}

// after ends the connection if the answer is to be lost.
func (p *plan) after() {
	if p.lose {
		panic(http.ErrAbortHandler)
	}
}

// shape lets the answer be changed as planned.
func (p *plan) shape(q *request, a *answer) {
	a.plan = p
	ctx := q.http.Context()
	a.wait = func(d time.Duration) { q.s.pause(ctx, d) }
	a.quit = func(silent bool) {
		if silent {
			q.s.silence(ctx, a)
		}
		panic(http.ErrAbortHandler)
	}
}

// pause waits, and ends the connection if the client or the server goes meanwhile.
func (s *Server) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return
	case <-ctx.Done():
	case <-s.net.done:
	}
	panic(http.ErrAbortHandler)
}

// silence waits until the client or the server goes, and ends the connection.
func (s *Server) silence(ctx context.Context, a *answer) {
	a.told(a.status, a.octets)
	select {
	case <-ctx.Done():
	case <-s.net.done:
	}
	panic(http.ErrAbortHandler)
}
