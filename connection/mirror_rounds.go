package connection

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

func (m *mirror) rounds(ctx context.Context) error {
	for {
		err := m.round(ctx)
		if ctx.Err() != nil {
			return canceled(ctx, "mirror")
		}
		if m.opts.Interval <= 0 {
			return err
		}
		if err := sleep(ctx, m.opts.Interval); err != nil {
			return canceled(ctx, "mirror")
		}
	}
}

// round syncs every mailbox once.
func (m *mirror) round(ctx context.Context) error {
	failed := make(map[string]error)
	var listErr error
	later := m.work(ctx, failed, func(jobs chan<- *errand) { listErr = m.list(ctx, jobs) })
	if listErr != nil {
		m.report(ctx, "", listErr)
	}
	for len(later) > 0 && ctx.Err() == nil {
		if m.opts.Interval > 0 { // another round comes
			for _, e := range later {
				failed[e.name] = e.err
				m.putOff(e)
			}
			break
		}
		slices.SortFunc(later, func(a, b *errand) int { return a.due.Compare(b.due) })
		first := later[0].due
		if sleep(ctx, time.Until(first)) != nil {
			break
		}
		now := slices.IndexFunc(later, func(e *errand) bool { return e.due.After(first.Add(patience)) })
		if now < 0 {
			now = len(later)
		}
		due := later[:now]
		later = append(slices.Clone(later[now:]), m.work(ctx, failed, func(jobs chan<- *errand) {
			for _, e := range due {
				jobs <- e
			}
		})...)
	}
	for _, e := range later {
		failed[e.name] = e.err
	}
	errs := []error{listErr}
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		errs = append(errs, fmt.Errorf("mailbox %q: %w", name, failed[name]))
	}
	return errors.Join(errs...)
}

// work does the errands that give sends, by as many workers as the options say, notes the mailboxes that failed, and
// returns the errands that are to go on later.
func (m *mirror) work(ctx context.Context, failed map[string]error, give func(jobs chan<- *errand)) (later []*errand) {
	var (
		mu   sync.Mutex
		jobs = make(chan *errand)
		pool sync.WaitGroup
	)
	for range m.opts.Workers {
		pool.Go(func() {
			for e := range jobs {
				done := m.run(ctx, e)
				mu.Lock()
				switch {
				case !done:
					later = append(later, e)
				case e.err != nil:
					failed[e.name] = e.err
				}
				mu.Unlock()
			}
		})
	}
	give(jobs)
	close(jobs)
	pool.Wait()
	return later
}

func (m *mirror) list(ctx context.Context, jobs chan<- *errand) error {
	seen := make(map[string]bool) // a mailbox listed twice must not be synced by two workers at once
	for mb, err := range m.src.Mailboxes(ctx, m.opts.Mailboxes) {
		if err != nil {
			return err
		}
		if seen[mb.Name] || m.opts.Match != nil && !m.opts.Match(mb) {
			continue
		}
		seen[mb.Name] = true
		if !m.due(mb.Name) {
			continue
		}
		select {
		case jobs <- &errand{name: mb.Name}:
		case <-ctx.Done():
			return canceled(ctx, "mirror")
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.paces, func(name string, _ pace) bool { return !seen[name] })
	return nil
}

// A pace is how often a mailbox is looked at.
type pace struct {
	pause time.Duration
	next  time.Time
}

// due reports whether it is a mailbox's turn.
func (m *mirror) due(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !time.Now().Before(m.paces[name].next)
}

// paced notes that a mailbox was synced. Rounds are Interval apart and take some time themselves, so a mailbox whose turn
// is in less than half of it is not put off to the one after.
func (m *mirror) paced(name string, changed bool) {
	if m.opts.IdleInterval <= m.opts.Interval || m.opts.Interval <= 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.paces == nil {
		m.paces = make(map[string]pace)
	}
	p := m.paces[name]
	if p.pause = min(2*p.pause, m.opts.IdleInterval); p.pause == 0 || changed {
		p.pause = m.opts.Interval
	}
	p.next = time.Now().Add(p.pause - m.opts.Interval/2)
	m.paces[name] = p
}

// putOff leaves a mailbox alone until its errand is due.
func (m *mirror) putOff(e *errand) {
	m.count(func(s *MirrorStats) { s.Failed++ })
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.paces == nil {
		m.paces = make(map[string]pace)
	}
	m.paces[e.name] = pace{pause: m.opts.Interval, next: e.due}
}
