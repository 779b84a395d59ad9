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
	var (
		mu     sync.Mutex
		failed = make(map[string]error)
		jobs   = make(chan string)
		pool   sync.WaitGroup
	)
	for range m.opts.Workers {
		pool.Go(func() {
			for name := range jobs {
				if err := m.mailbox(ctx, name); err != nil {
					mu.Lock()
					failed[name] = err
					mu.Unlock()
				}
			}
		})
	}
	listErr := m.list(ctx, jobs)
	close(jobs)
	pool.Wait()
	if listErr != nil {
		m.report(ctx, "", listErr)
	}
	errs := []error{listErr}
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		errs = append(errs, fmt.Errorf("mailbox %q: %w", name, failed[name]))
	}
	return errors.Join(errs...)
}

func (m *mirror) list(ctx context.Context, jobs chan<- string) error {
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
		case jobs <- mb.Name:
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
