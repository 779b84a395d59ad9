package autodiscover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/backoff"
)

// plain asks the autodiscover host over http where to go.
func (s *search) plain(ctx context.Context, t *trail, a address, p *path) *settings {
	from := standard("http", "autodiscover."+a.domain, "xml")
	attempt, begun := Attempt{Step: stepPlain, URL: from.String(), Address: a.whole}, s.f.o.Now()
	if s.over(ctx) {
		return nil
	}
	to, err := s.f.location(ctx, from, a.whole)
	attempt.Elapsed = s.f.o.Now().Sub(begun)
	if err != nil {
		attempt.Outcome, attempt.Err = brief(err), err
		t.add(attempt, failed)
		return nil
	}
	attempt.Outcome = "redirect to " + clean(to.Redacted())
	t.add(attempt, redirectURL)
	e, ok := endpointAt(to)
	if !ok {
		t.add(s.wrong(stepPlain, to.Redacted(), a, connection.ErrProtocol, errors.New("a redirect to what is no autodiscover")), failed)
		return nil
	}
	return s.hop(ctx, t, candidate{endpoint: e, step: stepPlain, from: from}, a, p)
}

// srv asks DNS for hosts (RFC 2782): the lowest priority first, within it the heaviest.
func (s *search) srv(ctx context.Context, t *trail, a address, p *path) *settings {
	name := "_autodiscover._tcp." + a.domain
	attempt, begun := Attempt{Step: stepSRV, URL: name, Address: a.whole}, s.f.o.Now()
	if s.over(ctx) {
		return nil
	}
	records, err := s.lookup(ctx, a.domain)
	attempt.Elapsed = s.f.o.Now().Sub(begun)
	if err != nil {
		attempt.Outcome, attempt.Err = brief(err), err
		t.add(attempt, failed)
		return nil
	}
	var targets, outcomes []string
	for _, r := range records {
		target := strings.TrimSuffix(strings.ToLower(r.Target), ".")
		switch host, err := asciiHost(target); {
		case target == "":
			outcomes = append(outcomes, "no such service")
		case r.Port != 443:
			outcomes = append(outcomes, fmt.Sprintf("%s:%d ignored, want port 443", clean(target), r.Port))
		case err != nil:
			outcomes = append(outcomes, "a target that is no host name")
		case len(targets) < maxTargets:
			targets, outcomes = append(targets, host), append(outcomes, host)
		}
	}
	attempt.Outcome = firstOf(strings.Join(outcomes, ", "), "no records")
	if len(targets) == 0 {
		attempt.Err = s.f.fail(connection.ErrNotFound, "", errors.New(attempt.Outcome))
		t.add(attempt, failed)
		return nil
	}
	t.add(attempt, redirectURL)
	from := &url.URL{Scheme: "dns", Opaque: name}
	for _, target := range targets {
		for _, file := range []string{"svc", "xml"} {
			e := endpoint{standard("https", target, file), file == "svc"}
			if found := s.ask(ctx, t, candidate{endpoint: e, step: stepSRV, from: from}, a, p); found != nil {
				return found
			}
		}
	}
	return nil
}

func (s *search) lookup(ctx context.Context, domain string) ([]*net.SRV, error) {
	ctx, cancel := context.WithTimeout(ctx, s.f.o.StepTimeout)
	defer cancel()
	_, records, err := s.f.o.LookupSRV(ctx, "autodiscover", "tcp", domain)
	if err != nil && len(records) == 0 {
		return nil, s.f.fail(connection.KindOf(err), "", err)
	}
	records = slices.DeleteFunc(slices.Clone(records), func(r *net.SRV) bool { return r == nil })
	slices.SortStableFunc(records, func(a, b *net.SRV) int {
		if a.Priority != b.Priority {
			return int(a.Priority) - int(b.Priority)
		}
		return int(b.Weight) - int(a.Weight)
	})
	return records, nil
}

// later asks the candidates that were busy again, when all others have failed.
func (s *search) later(ctx context.Context, t *trail, a address, p *path) *settings {
	for try := 1; try < maxBusy && len(t.waiting) > 0; try++ {
		waiting := t.waiting
		pause := backoff.Policy{Min: time.Second, Max: maxPause}.Delay(try, t.after)
		if t.after > maxPause || backoff.Wait(ctx, pause) != nil {
			return nil
		}
		t.waiting, t.after = nil, 0
		for _, c := range waiting {
			if found := s.ask(ctx, t, c, a, p); found != nil {
				return found
			}
		}
	}
	return nil
}
