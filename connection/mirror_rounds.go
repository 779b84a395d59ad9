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
	later := m.work(ctx, failed, func(give func(*errand)) { listErr = m.list(ctx, give) })
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
		later = append(slices.Clone(later[now:]), m.work(ctx, failed, func(give func(*errand)) {
			for _, e := range due {
				give(e)
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

// work does the errands that list gives, by as many workers as the options say, notes the mailboxes that failed, and
// returns the errands that are to go on later. list does not wait for the workers: the first Sync of many mailboxes takes
// days, and by then no server knows where in its list it was.
func (m *mirror) work(ctx context.Context, failed map[string]error, list func(give func(*errand))) (later []*errand) {
	var (
		mu   sync.Mutex
		pool sync.WaitGroup
		jobs = newErrands()
	)
	for range m.opts.Workers {
		pool.Go(func() {
			for e := jobs.next(); e != nil && ctx.Err() == nil; e = jobs.next() {
				if !m.due(e.name) {
					continue
				}
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
	list(jobs.add)
	jobs.close()
	pool.Wait()
	return later
}

// errands is a queue that takes as many as there are.
type errands struct {
	mu     sync.Mutex
	change sync.Cond
	all    []*errand
	closed bool
}

func newErrands() *errands {
	q := new(errands)
	q.change.L = &q.mu
	return q
}

func (q *errands) add(e *errand) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all = append(q.all, e)
	q.change.Signal()
}

// close says that no more come.
func (q *errands) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.change.Broadcast()
}

// next waits for an errand; nil means that there will be none.
func (q *errands) next() *errand {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.all) == 0 && !q.closed {
		q.change.Wait()
	}
	if len(q.all) == 0 {
		return nil
	}
	e := q.all[0]
	q.all[0] = nil
	q.all = q.all[1:]
	return e
}

func (m *mirror) list(ctx context.Context, give func(*errand)) error {
	seen := make(map[string]bool) // a mailbox listed twice must not be synced by two workers at once
	for mb, err := range m.src.Mailboxes(ctx, m.opts.Mailboxes) {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return canceled(ctx, "mirror")
		}
		if seen[mb.Name] || m.opts.Match != nil && !m.opts.Match(mb) {
			continue
		}
		seen[mb.Name] = true
		give(&errand{name: mb.Name})
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
