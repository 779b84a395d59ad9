package autodiscover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// look searches for a and keeps what it finds. remembered is the endpoint that served it before.
func (f *Finder) look(ctx context.Context, key string, a address, remembered string, anew bool) (*Found, error) {
	leave, err := f.enter(ctx, a.domain)
	if err != nil {
		return nil, err
	}
	defer leave()
	s := &search{f: f, origin: a, policy: f.policyFor(a), anew: anew, remembered: remembered, done: make(map[string]bool)}
	t := &trail{}
	got := s.mailbox(ctx, t, a, nil, nil)
	switch {
	case ctx.Err() != nil:
		return nil, f.fail(kindOfContext(ctx), a.whole, ctx.Err())
	case got == nil:
		return nil, f.verdict(a, t)
	}
	found, err := f.keep(ctx, key, a, *got)
	if err != nil {
		return nil, err
	}
	found.Trail = t.attempts
	return found, nil
}

// keep makes an answer of the settings, and remembers it.
func (f *Finder) keep(ctx context.Context, key string, a address, got settings) (*Found, error) {
	u, err := f.choose(ctx, got)
	if err != nil {
		return nil, f.fail(connection.ErrProtocol, a.whole, err)
	}
	found := &Found{
		URL: u, Address: cmp.Or(got.address, a.whole), Group: got.group, Archives: got.alternates, PublicFolders: got.publicFolders,
		Schemas: got.schemas, When: f.o.Now(),
	}
	// A cache that fails costs a search the next time, nothing else.
	_ = f.o.Cache.Store(ctx, key, Entry{
		URL: u.String(), Endpoint: got.endpoint.url.String(), Address: found.Address, Group: found.Group, Archives: found.Archives,
		PublicFolders: found.PublicFolders, Schemas: found.Schemas, Found: found.When,
	})
	f.mu.Lock()
	delete(f.paused, key)
	f.mu.Unlock()
	return found, nil
}

// enter waits for the first search in a domain to end: the others then know which endpoint works, and a wrong password is
// not tried by each of them.
func (f *Finder) enter(ctx context.Context, domain string) (leave func(), err error) {
	f.mu.Lock()
	first, known := f.explored[domain]
	if !known {
		first = make(chan struct{})
		f.explored[domain] = first
	}
	f.mu.Unlock()
	if !known {
		return func() { close(first) }, nil
	}
	select {
	case <-first:
		return func() {}, nil
	case <-ctx.Done():
		return nil, f.fail(kindOfContext(ctx), "", ctx.Err())
	}
}

// urls returns the URLs of the settings that can be used, from outside and from inside, nil where there is none.
func (f *Finder) urls(s settings) (urls struct{ external, internal *url.URL }, err error) {
	var problems []string
	read := func(what, text string) *url.URL {
		if text == "" {
			return nil
		}
		u, err := ewsURL(text)
		if err != nil {
			problems = append(problems, fmt.Sprintf("the %s ews url %s", what, err))
		}
		return u
	}
	urls.external, urls.internal = read("external", s.external), read("internal", s.internal)
	switch {
	case urls.external != nil || urls.internal != nil:
		return urls, nil
	case len(problems) > 0:
		return urls, errors.New(strings.Join(problems, ", "))
	}
	return urls, errors.New("settings without an ews url")
}

// choose takes the URL for use from outside, unless the settings' server tells that we are inside, or only the other one
// answers.
func (f *Finder) choose(ctx context.Context, s settings) (*url.URL, error) {
	urls, err := f.urls(s)
	if err != nil {
		return nil, err
	}
	first, second := urls.external, urls.internal
	switch {
	case first == nil:
		return second, nil
	case second == nil || first.String() == second.String():
		return first, nil
	}
	if server, err := asciiHost(f.o.Server); err == nil && server != first.Hostname() {
		inside, ok := registrable(second.Hostname())
		outside, _ := registrable(first.Hostname())
		if server == second.Hostname() || ok && within(server, inside) && outside != inside {
			first, second = second, first
		}
	}
	if !f.reachable(ctx, first) && f.reachable(ctx, second) {
		return second, nil
	}
	return first, nil
}

// reachable reports whether something answers at u, and remembers it for a while.
func (f *Finder) reachable(ctx context.Context, u *url.URL) bool {
	if f.o.Reachable == nil {
		return true
	}
	f.mu.Lock()
	seen, ok := f.alive[u.String()]
	f.mu.Unlock()
	if ok && f.o.Now().Sub(seen.when) < aliveFor {
		return seen.ok
	}
	step, cancel := context.WithTimeout(ctx, f.o.StepTimeout)
	defer cancel()
	err := f.o.Reachable(step, u)
	if ctx.Err() != nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alive[u.String()] = reachability{ok: err == nil, when: f.o.Now()}
	return err == nil
}

// works returns the endpoint that works for the domain.
func (f *Finder) works(domain string) (endpoint, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.working[domain]
	return e, ok
}

// worked remembers that e works for the domain.
func (f *Finder) worked(domain string, e endpoint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.working[domain] = e
}

// refuse remembers that the host of u refused the credentials: asking it again could lock the account out.
func (f *Finder) refuse(u *url.URL) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused[u.Host] = true
}

// refusedBy reports whether the host of u refused the credentials.
func (f *Finder) refusedBy(u *url.URL) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refused[u.Host]
}

// refusals returns how many hosts refused the credentials.
func (f *Finder) refusals() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.refused)
}
