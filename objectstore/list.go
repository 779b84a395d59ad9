package objectstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// Stat implements connection.ObjectStore.
func (s *Store) Stat(ctx context.Context, key string) (info connection.ObjectInfo, err error) {
	err = s.do(ctx, "stat", key, func(ctx context.Context) error {
		if err := s.checkKey(key); err != nil {
			return err
		}
		info, err = s.stat(ctx, key)
		return err
	})
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	return info, nil
}

// stat asks until there is an answer or the budget is spent.
func (s *Store) stat(ctx context.Context, key string) (info connection.ObjectInfo, err error) {
	err = s.repeat(ctx, "stat", func(ctx context.Context, _ *watchdog) error {
		info, err = s.backend.Stat(ctx, key)
		return err
	})
	info.Key = key
	return info, err
}

// maxIdlePages is how many pages with nothing new may follow each other.
const maxIdlePages = 10_000

// List implements connection.ObjectStore. After applies to a common prefix as to a key. A server that goes back in the
// order, or gives pages without end, is ErrProtocol.
func (s *Store) List(ctx context.Context, opts *connection.ListOptions) iter.Seq2[connection.ObjectInfo, error] {
	var o connection.ListOptions
	if opts != nil {
		o = *opts
	}
	return func(yield func(connection.ObjectInfo, error) bool) {
		req := ListRequest{Prefix: o.Prefix, Delimiter: o.Delimiter, After: o.After, Limit: o.Limit}
		last, idle, count := "", 0, 0
		for {
			page, err := s.page(ctx, &req)
			if err != nil {
				yield(connection.ObjectInfo{}, err)
				return
			}
			idle++
			for _, info := range page.Entries {
				if info.Key == "" || info.Key < last {
					yield(connection.ObjectInfo{}, s.fail(ctx, "list", info.Key, &connection.Error{
						Kind: connection.ErrProtocol,
						Err:  fmt.Errorf("the listing goes back: this key follows %q", last),
					}))
					return
				}
				if info.Key == last {
					continue // a common prefix that a page border fell into
				}
				last = info.Key
				if info.Key <= o.After {
					continue // a common prefix of keys behind After, or a server that does not know After
				}
				idle = 0
				if err := ctx.Err(); err != nil {
					yield(connection.ObjectInfo{}, s.fail(ctx, "list", "", err))
					return
				}
				if !yield(info, nil) {
					return
				}
				if count++; count == o.Limit {
					return
				}
			}
			if page.Token == "" {
				return
			}
			if page.Token == req.Token || idle > maxIdlePages {
				yield(connection.ObjectInfo{}, s.fail(ctx, "list", "", &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the pages of the listing have no end")}))
				return
			}
			req.Token = page.Token
			if o.Limit > 0 {
				req.Limit = o.Limit - count
			}
		}
	}
}

// page asks for one page; nothing stays open when it returns.
func (s *Store) page(ctx context.Context, req *ListRequest) (page *Page, err error) {
	err = s.do(ctx, "list", "", func(ctx context.Context) error {
		return s.repeat(ctx, "list", func(ctx context.Context, _ *watchdog) error {
			page, err = s.backend.List(ctx, req)
			return err
		})
	})
	return page, err
}

// Delete implements connection.ObjectStore: by bulk requests if the Backend is a [BulkDeleter], else Tuning.Workers at a
// time. One event of kind EventOperation tells of all keys together.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	o, err := s.join(ctx, "delete", "")
	if err != nil {
		return s.eachFails(ctx, keys, err)
	}
	defer s.verb.Done()
	defer o.cancel()
	if len(keys) == 1 {
		o.key = keys[0]
	}
	errs := make([]error, len(keys))
	var valid []int
	for i, key := range keys {
		if errs[i] = s.checkKey(key); errs[i] == nil {
			valid = append(valid, i)
		}
	}
	bulk, ok := s.backend.(BulkDeleter)
	switch {
	case ok && len(valid) > 1:
		s.deleteBulk(o.ctx, bulk, keys, valid, errs)
	default:
		s.deleteEach(o.ctx, keys, valid, errs)
	}
	for i, err := range errs {
		if err != nil {
			errs[i] = s.fail(o.ctx, "delete", keys[i], err)
		}
	}
	err = errors.Join(errs...)
	o.tell(err)
	return err
}

func (s *Store) eachFails(ctx context.Context, keys []string, err error) error {
	errs := make([]error, len(keys))
	for i, key := range keys {
		errs[i] = s.fail(ctx, "delete", key, err)
	}
	return errors.Join(errs...)
}

// A patience ends a Delete of many keys when none has succeeded for Tuning.MaxElapsed: each of them would fail as the last.
type patience struct {
	mu   sync.Mutex
	s    *Store
	ends time.Time
	last error // temporary
}

func (s *Store) newPatience() *patience {
	return &patience{s: s, ends: time.Now().Add(s.tuning.MaxElapsed.D())}
}

// budget returns that of the next request, or the error by which it need not be made.
func (p *patience) budget() (budget, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != nil && time.Now().After(p.ends) {
		return budget{}, p.last
	}
	b := p.s.newBudget()
	if p.last != nil {
		b.deadline = p.ends
	}
	return b, nil
}

// learn takes note of what became of a request.
func (p *patience) learn(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && repeatable(err) {
		p.last = err
		return
	}
	p.last, p.ends = nil, time.Now().Add(p.s.tuning.MaxElapsed.D())
}

func (s *Store) deleteEach(ctx context.Context, keys []string, valid []int, errs []error) {
	next := make(chan int)
	p := s.newPatience()
	var wg sync.WaitGroup
	for range min(s.tuning.Workers, len(valid)) {
		wg.Go(func() {
			for i := range next {
				b, err := p.budget()
				if err == nil {
					err = s.repeatWithin(ctx, &b, "delete", func(ctx context.Context, _ *watchdog) error { return s.backend.Delete(ctx, keys[i]) })
					p.learn(err)
				}
				errs[i] = err
			}
		})
	}
	for _, i := range valid {
		next <- i
	}
	close(next)
	wg.Wait()
}

// deleteBulk removes the keys by requests for several, and repeats those that may succeed yet.
func (s *Store) deleteBulk(ctx context.Context, bulk BulkDeleter, keys []string, valid []int, errs []error) {
	size := max(1, bulk.MaxDelete())
	p := s.newPatience()
	for len(valid) > 0 {
		part := valid[:min(size, len(valid))]
		valid = valid[len(part):]
		b, err := p.budget()
		if err != nil {
			for _, i := range part {
				errs[i] = err
			}
			continue
		}
		for len(part) > 0 {
			part = s.deletePart(ctx, bulk, keys, part, errs)
			if len(part) == 0 {
				p.learn(nil)
				break
			}
			if err := errs[part[0]]; !s.again(ctx, &b, "delete", err) {
				for _, i := range part {
					errs[i] = b.wrap(errs[i])
				}
				p.learn(err)
				break
			}
		}
	}
}

// deletePart makes one request and returns those of part that are worth another.
func (s *Store) deletePart(ctx context.Context, bulk BulkDeleter, keys []string, part []int, errs []error) (left []int) {
	names := make([]string, len(part))
	for j, i := range part {
		names[j] = keys[i]
	}
	var each []error
	err := s.try(ctx, nil, func(ctx context.Context, _ *watchdog) error {
		var err error
		each, err = bulk.DeleteMany(ctx, names)
		return err
	})
	if err == nil && each != nil && len(each) != len(part) {
		err = &connection.Error{Kind: connection.ErrProtocol, Err: fmt.Errorf("%d results for %d keys", len(each), len(part))}
	}
	for j, i := range part {
		switch {
		case err != nil:
			errs[i] = err
		case each != nil:
			errs[i] = each[j]
		default:
			errs[i] = nil
		}
		if errs[i] != nil && repeatable(errs[i]) {
			left = append(left, i)
		}
	}
	return left
}
