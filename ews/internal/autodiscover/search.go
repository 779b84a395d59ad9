package autodiscover

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mailconn/mailconn/connection"
)

const (
	maxHops    = 10               // redirects in one search
	maxRefused = 2                // hosts that refuse the credentials; each may count towards locking the account out
	maxBusy    = 3                // tries of a server that is busy
	maxPause   = 30 * time.Second // between them
	maxTargets = 5                // hosts of an SRV answer
)

// The steps, as the trail names them.
const (
	stepKnown    = "known endpoint"
	stepSettings = "autodiscover_urls"
	stepDomain   = "domain"
	stepHost     = "autodiscover host"
	stepPlain    = "http redirect"
	stepSRV      = "srv"
)

// A search looks for one mailbox, and for those that servers redirect it to.
type search struct {
	f      *Finder
	origin address
	policy *policy
	anew   bool // ask every step, not just what is known to work
	// remembered is the endpoint that the cache has for origin, "" if it has none.
	remembered string

	mu   sync.Mutex
	hops int
	done map[string]bool // what was asked: URL and address
}

// A candidate is somewhere to ask.
type candidate struct {
	endpoint
	step string
	from *url.URL // who sent us there; nil: the settings, or the domain of the mailbox itself
}

// A path is how the search came to where it is, for finding loops.
type path struct {
	before  *path
	url     string // asked
	address string // asked for
}

// asked reports whether the path holds this question.
func (p *path) asked(u *url.URL, a address) bool {
	for ; p != nil; p = p.before {
		if p.url == u.String() && strings.EqualFold(p.address, a.whole) {
			return true
		}
	}
	return false
}

// wanted reports whether the path looked for this address.
func (p *path) wanted(a address) bool {
	for ; p != nil; p = p.before {
		if strings.EqualFold(p.address, a.whole) {
			return true
		}
	}
	return false
}

// A trail is what was tried, in order.
type trail struct {
	attempts []Attempt
	verdicts []verdict // of each
	waiting  []candidate
	after    time.Duration // what a busy server asked for
}

func (t *trail) add(a Attempt, v verdict) {
	t.attempts, t.verdicts = append(t.attempts, a), append(t.verdicts, v)
}

func (t *trail) append(other *trail) {
	t.attempts, t.verdicts = append(t.attempts, other.attempts...), append(t.verdicts, other.verdicts...)
	t.waiting, t.after = append(t.waiting, other.waiting...), max(t.after, other.after)
}

// mailbox looks for a, from the first step on. from is who redirected to a, nil for the mailbox that was asked for. It
// returns nil if nothing was found; t then says why.
func (s *search) mailbox(ctx context.Context, t *trail, a address, from *url.URL, p *path) *settings {
	p = &path{before: p, address: a.whole}
	mine := &trail{}
	defer func() {
		mine.waiting = nil // they were asked about a, and were given their time
		t.append(mine)
	}()
	if found, over := s.known(ctx, mine, a, from, p); found != nil || over {
		return found
	}
	for _, u := range s.f.o.URLs {
		for _, e := range configured(u) {
			if found := s.ask(ctx, mine, candidate{endpoint: e, step: stepSettings}, a, p); found != nil {
				return found
			}
		}
	}
	for _, file := range []string{"svc", "xml"} {
		pair := [2]candidate{
			{endpoint: endpoint{standard("https", a.domain, file), file == "svc"}, step: stepDomain, from: from},
			{endpoint: endpoint{standard("https", "autodiscover."+a.domain, file), file == "svc"}, step: stepHost, from: from},
		}
		begun := len(mine.verdicts)
		if found := s.both(ctx, mine, pair, a, p); found != nil {
			return found
		}
		if slices.Contains(mine.verdicts[begun:], noMailbox) {
			return nil // the domain's own server has said so
		}
	}
	if found := s.plain(ctx, mine, a, p); found != nil {
		return found
	}
	if found := s.srv(ctx, mine, a, p); found != nil {
		return found
	}
	return s.later(ctx, mine, a, p)
}

// known asks the endpoint that works for other mailboxes of the domain. What it says of this one is final.
func (s *search) known(ctx context.Context, t *trail, a address, from *url.URL, p *path) (found *settings, over bool) {
	c := candidate{step: stepKnown, from: from}
	switch e, ok := s.f.works(a.domain); {
	case s.anew:
		return nil, false
	case ok:
		c.endpoint = e // its host was vouched for when it was found
	case s.remembered == "" || !a.is(s.origin):
		return nil, false
	default:
		u, err := url.Parse(s.remembered)
		if err != nil {
			return nil, false
		}
		if c.endpoint, ok = endpointAt(u); !ok {
			return nil, false
		}
		c.from = standard("https", a.domain, "xml") // the cache is the host's: what it says is held against the policy again
	}
	begun := len(t.verdicts)
	found = s.ask(ctx, t, c, a, p)
	return found, slices.Contains(t.verdicts[begun:], noMailbox)
}

// configured returns the endpoints of a URL of the settings. A bare host has both.
func configured(u *url.URL) []endpoint {
	if u.Path == "" || u.Path == "/" {
		return []endpoint{
			{url: u.JoinPath("autodiscover", "autodiscover.svc"), soap: true}, {url: u.JoinPath("autodiscover", "autodiscover.xml")},
		}
	}
	e, _ := endpointAt(u)
	return []endpoint{e}
}

// both asks two candidates at once: firewalls that drop packets on the bare domain would stall the search otherwise. The
// first of them wins, also if the second is faster.
func (s *search) both(ctx context.Context, t *trail, pair [2]candidate, a address, p *path) *settings {
	if s.f.refusals() > 0 {
		// One more refusal is all the account may bear.
		for _, c := range pair {
			if found := s.ask(ctx, t, c, a, p); found != nil {
				return found
			}
		}
		return nil
	}
	second, cancel := context.WithCancel(ctx)
	defer cancel()
	var trails [2]trail
	var found [2]*settings
	var wg sync.WaitGroup
	wg.Go(func() { found[1] = s.ask(second, &trails[1], pair[1], a, p) })
	if found[0] = s.ask(ctx, &trails[0], pair[0], a, p); found[0] != nil {
		cancel()
	}
	wg.Wait()
	t.append(&trails[0])
	if found[0] != nil {
		return found[0]
	}
	t.append(&trails[1])
	return found[1]
}

// ask asks one candidate, and follows where it leads. It returns nil if that leads nowhere.
func (s *search) ask(ctx context.Context, t *trail, c candidate, a address, p *path) *settings {
	u, err := secureURL(c.url)
	if err != nil {
		t.add(s.wrong(c.step, c.url.Redacted(), a, connection.ErrProtocol, err), failed)
		return nil
	}
	c.url = u
	if s.over(ctx) {
		return nil
	}
	if p.asked(u, a) {
		t.add(s.wrong(c.step, u.String(), a, connection.ErrProtocol, errors.New("redirect loop")), failed)
		return nil
	}
	if c.from != nil {
		if err := s.policy.permit(c.from, u); err != nil {
			t.add(s.wrong(c.step, u.String(), a, connection.ErrConfig, err), failed)
			return nil
		}
	}
	if s.f.refusedBy(u) {
		t.add(Attempt{Step: c.step, URL: u.String(), Address: a.whole, Outcome: "not asked: this host refused the account before"}, failed)
		return nil
	}
	if !s.begin(u, a) {
		return nil // asked on another path, and that led nowhere
	}
	begun := s.f.o.Now()
	got := s.f.post(ctx, c.endpoint, a.whole)
	attempt := Attempt{Step: c.step, URL: u.String(), Address: a.whole, Elapsed: s.f.o.Now().Sub(begun)}
	next := s.judge(&attempt, got, a)
	t.add(attempt, got.verdict)
	switch {
	case attempt.OK:
		s.f.worked(a.domain, c.endpoint)
		return &got.settings
	case got.verdict == busy:
		s.again(u, a)
		t.waiting, t.after = append(t.waiting, c), max(t.after, got.after)
	case got.verdict == refused:
		s.f.refuse(u)
	case got.verdict == redirectURL && next != nil:
		e, ok := endpointAt(next)
		e.soap = e.soap || !ok && c.soap
		return s.hop(ctx, t, candidate{endpoint: e, step: "redirect", from: u}, a, &path{before: p, url: u.String(), address: a.whole})
	case got.verdict == redirectAddress && attempt.Err == nil:
		return s.elsewhere(ctx, t, got.target, a, u, p)
	}
	return nil
}

// judge words the outcome of an answer. For a redirect to a URL it returns that.
func (s *search) judge(attempt *Attempt, got answer, a address) *url.URL {
	said := strings.TrimSpace(got.code + " " + got.text)
	switch got.verdict {
	case settingsFound:
		if _, err := s.f.urls(got.settings); err != nil {
			attempt.Outcome, attempt.Err = err.Error(), s.f.fail(connection.ErrProtocol, a.whole, err)
			return nil
		}
		attempt.OK, attempt.Outcome = true, "settings"
	case redirectURL:
		next, err := attemptURL(attempt.URL, got.target)
		if err != nil {
			attempt.Outcome, attempt.Err = "redirect to what is no URL", s.f.fail(connection.ErrProtocol, a.whole, err)
			return nil
		}
		attempt.Outcome = "redirect to " + s.f.o.Hide(clean(next.Redacted()))
		return next
	case redirectAddress:
		attempt.Outcome = "redirect to " + s.f.o.Hide(clean(got.target))
		if _, err := parseAddress(got.target); err != nil {
			attempt.Err = s.f.fail(connection.ErrProtocol, a.whole, fmt.Errorf("redirect to another address: %w", err))
		}
	default:
		err := got.err
		if err == nil {
			err = errors.New(firstOf(said, "no answer"))
		}
		if shown := s.f.o.Hide(err.Error()); shown != err.Error() {
			err = errors.New(shown)
		}
		e := s.f.fail(got.kind, a.whole, err)
		e.Code, e.RetryAfter = s.f.o.Hide(got.code), got.after
		attempt.Outcome, attempt.Err = brief(err), e
	}
	return nil
}

// attemptURL resolves the target of a redirect.
func attemptURL(from, to string) (*url.URL, error) {
	base, err := url.Parse(from)
	if err != nil || to == "" {
		return nil, errors.New("no target")
	}
	return base.Parse(strings.TrimSpace(to))
}

// hop follows a redirect to a URL, if the search may still do so.
func (s *search) hop(ctx context.Context, t *trail, c candidate, a address, p *path) *settings {
	if !s.leap() {
		t.add(s.wrong(c.step, c.url.Redacted(), a, connection.ErrProtocol, fmt.Errorf("more than %d redirects", maxHops)), failed)
		return nil
	}
	return s.ask(ctx, t, c, a, p)
}

// elsewhere follows a redirect to another address.
func (s *search) elsewhere(ctx context.Context, t *trail, target string, a address, from *url.URL, p *path) *settings {
	next, err := parseAddress(target)
	if err != nil {
		return nil // judge has refused it
	}
	switch {
	case p.wanted(next):
		t.add(s.wrong("redirect", from.String(), a, connection.ErrProtocol, fmt.Errorf("redirect back to %s", next.whole)), failed)
		return nil
	case !s.leap():
		t.add(s.wrong("redirect", from.String(), a, connection.ErrProtocol, fmt.Errorf("more than %d redirects", maxHops)), failed)
		return nil
	}
	return s.mailbox(ctx, t, next, from, p)
}

// leap counts a redirect and reports whether it may be followed.
func (s *search) leap() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hops++
	return s.hops <= maxHops
}

// begin notes that u is asked about a. It reports false if that was done before.
func (s *search) begin(u *url.URL, a address) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	question := u.String() + " " + strings.ToLower(a.whole)
	if s.done[question] {
		return false
	}
	s.done[question] = true
	return true
}

// again permits to ask u about a once more.
func (s *search) again(u *url.URL, a address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.done, u.String()+" "+strings.ToLower(a.whole))
}

// over reports whether nothing more is to be asked.
func (s *search) over(ctx context.Context) bool {
	return ctx.Err() != nil || s.f.refusals() >= maxRefused
}

// wrong returns the attempt of a candidate that was not asked.
func (s *search) wrong(step, where string, a address, kind connection.Kind, err error) Attempt {
	return Attempt{Step: step, URL: s.f.o.Hide(clean(where)), Address: a.whole, Outcome: s.f.o.Hide(brief(err)), Err: s.f.fail(kind, a.whole, err)}
}
