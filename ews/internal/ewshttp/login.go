package ewshttp

import (
	"context"
	"fmt"
	"sync"

	"github.com/mailconn/mailconn/connection"
)

// maxRefusals is how often in a row a credential may be refused before nobody tries it any more: a few more lock an account.
const maxRefusals = 2

// A login guards the credential. Until a server has accepted it, and again after it was refused, one request at a time carries
// it; all others wait for what becomes of that one. A final refusal holds for all later requests, until reset: of the server
// that refused, or of every server if none has ever accepted.
type login struct {
	c    *Client
	turn chan struct{} // held by who tries a credential that may be wrong

	mu       sync.Mutex
	trusted  bool // some server has accepted it
	refusals int  // in a row
	final    *connection.Error
	hosts    map[string]*host
}

type host struct {
	accepted bool
	form     map[scheme]int // which form of the name was accepted
	final    *connection.Error
}

func newLogin(c *Client) *login {
	return &login{c: c, turn: make(chan struct{}, 1), hosts: make(map[string]*host)}
}

func (l *login) host(endpoint string) *host {
	h := l.hosts[endpoint]
	if h == nil {
		h = &host{form: make(map[scheme]int)}
		l.hosts[endpoint] = h
	}
	return h
}

// verdict returns the final refusal that holds at endpoint, nil if there is none.
func (l *login) verdict(endpoint string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	final := l.final
	if h := l.hosts[endpoint]; final == nil && h != nil {
		final = h.final
	}
	if final == nil {
		return nil
	}
	e := *final
	e.Endpoint = endpoint
	e.Err = fmt.Errorf("not tried again since the login was refused: %w", final.Err)
	return &e
}

// settled reports whether the credential is known to be good at endpoint.
func (l *login) settled(endpoint string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refusals == 0 && l.host(endpoint).accepted
}

func (l *login) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.final, l.refusals = nil, 0
	for _, h := range l.hosts {
		h.final = nil
	}
}

// A ticket is the permission to send the credential. It is used by one goroutine, which calls leave in the end.
type ticket struct {
	l        *login
	endpoint string
	alone    bool // it holds the turn
	tries    int
	form     int
}

// enter waits until the credential may be sent to endpoint with a scheme.
func (l *login) enter(ctx context.Context, endpoint string, s scheme) (*ticket, error) {
	t := &ticket{l: l, endpoint: endpoint}
	if err := l.verdict(endpoint); err != nil {
		return nil, err
	}
	if !l.settled(endpoint) {
		if err := t.take(ctx); err != nil {
			return nil, err
		}
		if l.settled(endpoint) { // somebody has found out meanwhile
			t.leave()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t.form = l.host(endpoint).form[s]
	return t, nil
}

// take waits for the turn. Whoever had it before may have settled the matter for good.
func (t *ticket) take(ctx context.Context) error {
	select {
	case t.l.turn <- struct{}{}:
	case <-ctx.Done():
		return t.l.c.ended(ctx, t.endpoint)
	case <-t.l.c.life.Done():
		return t.l.c.ended(ctx, t.endpoint)
	}
	t.alone = true
	if err := t.l.verdict(t.endpoint); err != nil {
		t.leave()
		return err
	}
	return nil
}

func (t *ticket) leave() {
	if t.alone {
		t.alone = false
		<-t.l.turn
	}
}

// accepted tells that the server knows the credential.
func (t *ticket) accepted(s scheme) {
	t.l.mu.Lock()
	t.l.trusted, t.l.refusals = true, 0
	h := t.l.host(t.endpoint)
	h.accepted, h.form[s] = true, t.form
	t.l.mu.Unlock()
	t.leave()
}

// A refusal is a 401 for a credential.
type refusal struct {
	why       *connection.Error
	hopeless  bool // another try cannot help: the account is locked
	tentative bool // another server may accept it
	forms     int  // how many forms of the name there are
	renewed   bool // there is a new token to try
}

// refused tells that the server does not know the credential. It returns nil if it may be tried once more: at once if it is to be
// written otherwise, or after a delay if it was good before, since busy servers answer 401 as well.
func (t *ticket) refused(ctx context.Context, r refusal) (delayed bool, err error) {
	t.tries++
	alone := t.alone
	if !alone {
		t.l.doubt()
		if err := t.take(ctx); err != nil {
			return false, err
		}
	}
	l := t.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if alone {
		l.refusals++
	}
	good := l.host(t.endpoint).accepted
	switch {
	case r.hopeless, t.tries >= maxRefusals, alone && l.refusals >= maxRefusals:
	case r.renewed:
		return false, nil
	case good:
		return true, nil
	case r.tentative:
		return false, r.why
	case t.form+1 < r.forms:
		t.form++
		return false, nil
	}
	l.end(t.endpoint, r)
	return false, r.why
}

// doubt makes those who come later wait for their turn.
func (l *login) doubt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusals = max(l.refusals, 1)
}

// end keeps a final refusal. A tentative one ends nothing until the credential was refused too often. l.mu must be held.
func (l *login) end(endpoint string, r refusal) {
	why := *r.why
	switch {
	case l.trusted:
		l.host(endpoint).final = &why
	case !r.tentative, r.hopeless, l.refusals >= maxRefusals:
		l.final = &why
	}
}

// impossible keeps a final refusal that is none of the credential: the server offers no scheme for it.
func (l *login) impossible(endpoint string, why *connection.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	final := *why
	l.host(endpoint).final = &final
}
