package maildir

import (
	"context"
	"sync"
)

const (
	readers    = 8   // goroutines that open and read
	maxBatch   = 16  // files handed to a reader at once
	window     = 256 // files handed out and not yet consumed
	largeFiles = 16  // files kept open because they are larger than a buffer
)

// A readahead opens and reads files in several goroutines while its consumer is busy with those before, so that a slow
// disk or a network file system does not set the pace. It yields them in any order. It is used by one goroutine.
type readahead struct {
	ctx     context.Context
	deliver func(*item) bool // called by the consumer's goroutine; false stops

	stop    chan struct{}
	jobs    chan work
	results chan []*item
	tokens  chan struct{}
	wg      sync.WaitGroup
	started int
	pending int
	over    bool
}

type work struct {
	l    *loader
	jobs []job
}

func newReadahead(ctx context.Context, deliver func(*item) bool) *readahead {
	return &readahead{
		ctx: ctx, deliver: deliver, stop: make(chan struct{}), jobs: make(chan work, window), results: make(chan []*item, 2*readers),
		tokens: make(chan struct{}, largeFiles),
	}
}

// submit hands jobs out, after making room by delivering what is ready. It returns false when the consumer stops.
func (r *readahead) submit(l *loader, jobs []job) bool {
	if len(jobs) == 0 {
		return true
	}
	for r.pending+len(jobs) > window {
		if !r.receive() {
			return false
		}
	}
	if r.started < readers {
		r.started++
		r.wg.Go(r.work)
	}
	r.jobs <- work{l, jobs} // has room: there are at most window of them
	r.pending += len(jobs)
	return true
}

// drain delivers everything that was handed out.
func (r *readahead) drain() bool {
	for r.pending > 0 {
		if !r.receive() {
			return false
		}
	}
	return true
}

func (r *readahead) receive() bool {
	select {
	case items := <-r.results:
		r.pending -= len(items)
		more := true
		for _, it := range items {
			more = more && r.ctx.Err() == nil && r.deliver(it)
			it.release()
		}
		return more
	case <-r.ctx.Done():
		return false
	}
}

// abandon waits until no reader uses a directory of what was handed out, and releases it undelivered. Nothing can be
// submitted after it.
func (r *readahead) abandon() {
	if !r.over {
		r.over = true
		close(r.stop)
	}
	for r.pending > 0 {
		items := <-r.results
		r.pending -= len(items)
		for _, it := range items {
			it.release()
		}
	}
}

// close ends the readers.
func (r *readahead) close() {
	r.abandon()
	close(r.jobs)
	r.wg.Wait()
}

func (r *readahead) work() {
	for w := range r.jobs {
		done := make([]*item, 0, len(w.jobs))
		items := make([]item, len(w.jobs))
		for i, j := range w.jobs {
			select {
			case <-r.stop:
				items[i].outcome = passed
			default:
				items[i].job = j
				w.l.load(&items[i])
			}
			done = append(done, &items[i])
			if !items[i].open {
				continue
			}
			// A file that stays open goes to the consumer at once, and only so many stay open: what this reader holds
			// is handed over first, since the consumer frees tokens by taking it.
			select {
			case r.tokens <- struct{}{}:
				items[i].token = r.tokens
			default:
				r.results <- done[:len(done)-1]
				done = done[len(done)-1:]
				select {
				case r.tokens <- struct{}{}:
					items[i].token = r.tokens
				case <-r.stop:
				}
			}
		}
		r.results <- done
	}
}

// batchSize returns how many of n files to hand to one reader: few files are spread over all readers, many are handed
// out in larger batches.
func batchSize(n int) int { return min(max(n/(2*readers), 1), maxBatch) }
