package ewstest

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A Match says which requests a fault befalls. Its methods return a narrower copy.
type Match struct {
	operation           string
	nth, times          int
	mailbox, user, host string
	about               string
	chance              float64
}

// On matches the requests of an operation; "*" or "" stands for every one. Autodiscover's are "GetUserSettings" and "POX".
func On(operation string) Match {
	if operation == "*" {
		operation = ""
	}
	return Match{operation: operation}
}

// Nth matches from the n-th request on, counted from 1 among those that match otherwise.
func (m Match) Nth(n int) Match { m.nth = n; return m }

// Times matches so many requests and no more.
func (m Match) Times(n int) Match { m.times = n; return m }

// Mailbox matches requests on a mailbox: the one that is impersonated, or the account's own.
func (m Match) Mailbox(address string) Match { m.mailbox = address; return m }

// User matches requests of an account, by its address.
func (m Match) User(address string) Match { m.user = address; return m }

// Host matches requests to a host name.
func (m Match) Host(name string) Match { m.host = name; return m }

// About matches requests that name an id, of an item, a folder, or whatever has one.
func (m Match) About(id string) Match { m.about = id; return m }

// Chance matches with that probability, by [Options.Seed].
func (m Match) Chance(p float64) Match { m.chance = p; return m }

// A Fault is what goes wrong with an answer. See [Server.Fail].
type Fault struct{ do func(*mishap) }

// A mishap is what faults make of one request.
type mishap struct {
	hangUp  bool          // close the connection in place of executing
	lose    bool          // execute, and close the connection in place of answering
	revoke  bool          // answer 401, and forget who is authenticated
	instead func() *reply // in place of executing
	change  []func(*reply) *reply
	wait    time.Duration // that the budget was told
	header  http.Header

	dialect *Dialect
	shred   *Shred
	rewrite []func([]byte) []byte
	endless func(write func(string) bool) // in place of the body's end, until it returns or write returns false
	bomb    bool                          // gzip
	length  int64                         // what the Content-Length is too large by
	cut     int64                         // the body ends behind so many octets; negative = not
	ending  ending
	rate    int64 // octets in a second; 0 = no limit
}

// An ending is how an answer breaks off.
type ending uint8

const (
	endClosed ending = iota // the connection is closed, over TLS without a word
	endReset
	endSilent
)

// A rule is a Match with its faults and its history.
type rule struct {
	match      Match
	faults     []Fault
	seen, used int
}

// script is the part of a Server that knows what is to go wrong.
type script struct {
	mu    sync.Mutex
	rules []*rule
	rng   *rand.Rand
}

// subject is what a Match looks at.
type subject struct {
	operation, mailbox, user, host string
	op                             *node
}

// Fail makes requests fail, from now on: those that match. Several faults befall the same request; of several rules that
// match, all apply.
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

// planned returns what is to happen to a request, nil if nothing.
func (s *Server) planned(what subject) *mishap {
	sc := &s.script
	sc.mu.Lock()
	defer sc.mu.Unlock()
	var p *mishap
	for _, r := range sc.rules {
		if !r.match.fits(what) {
			continue
		}
		if r.seen++; r.seen < r.match.nth || r.match.times > 0 && r.used >= r.match.times {
			continue
		}
		if r.match.chance > 0 {
			if sc.rng == nil {
				sc.rng = rand.New(rand.NewPCG(s.opts.Seed, 4)) //nolint:gosec // tests want to be repeated
			}
			if sc.rng.Float64() >= r.match.chance {
				continue
			}
		}
		r.used++
		if p == nil {
			p = &mishap{cut: -1, header: make(http.Header)}
		}
		for _, f := range r.faults {
			f.do(p)
		}
	}
	return p
}

func (m Match) fits(what subject) bool {
	return (m.operation == "" || m.operation == what.operation) &&
		(m.mailbox == "" || strings.EqualFold(m.mailbox, what.mailbox)) &&
		(m.user == "" || strings.EqualFold(m.user, what.user)) &&
		(m.host == "" || strings.EqualFold(m.host, what.host)) &&
		(m.about == "" || mentions(what.op, m.about))
}

func mentions(n *node, id string) bool {
	if n == nil {
		return false
	}
	if n.attr("Id") == id || strings.TrimSpace(n.text) == id {
		return true
	}
	for _, k := range n.kids {
		if mentions(k, id) {
			return true
		}
	}
	return false
}

// withFaults executes a request, or does in its place what is planned.
func (s *Server) withFaults(req *request, run func() *reply) *reply {
	what := subject{operation: req.name, user: req.user.address, host: hostName(req.r), op: req.op}
	if req.mailbox != nil && req.mailbox.account != nil {
		what.mailbox = req.mailbox.account.address
	}
	p := s.planned(what)
	if p == nil {
		return run()
	}
	var rep *reply
	switch {
	case p.hangUp:
		s.sever(req.exchange, endClosed)
	case p.revoke:
		connOf(req.r.Context()).ntlm = ntlmState{}
		rep = &reply{raw: func(w http.ResponseWriter, r *http.Request) { s.unauthorized(w, r, verdict{}) }}
	case p.instead != nil:
		rep = p.instead()
	default:
		rep = run()
	}
	if p.lose {
		s.sever(req.exchange, endClosed)
	}
	if rep.body != nil {
		for _, change := range p.change {
			rep = change(rep)
		}
	}
	result := *rep
	result.mishap = p
	return &result
}
