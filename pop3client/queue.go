package pop3client

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/mailconn/mailconn/connection"
)

// How much is read ahead of the caller.
const (
	aheadMemory = 4 << 20   // octets of small messages, in memory
	aheadDisk   = 32 << 20  // octets of large ones, in temporary files
	largeBody   = 256 << 10 // a larger message goes to a temporary file
	leastCost   = 1 << 10   // what a message counts for at least
	unknownCost = 64 << 10  // what a message counts for whose size LIST did not tell
)

// A queue holds what is read and not yet taken. Adding to it never waits: what is asked for is reserved before.
type queue struct {
	ready chan struct{} // something may have been added
	room  chan struct{} // something may have been released
	idle  chan struct{} // the caller may have begun to wait

	mu           sync.Mutex
	items        []item
	waiting      bool  // the caller has dealt with all, and waits for more
	memory, disk int64 // reserved
	held         int64 // octets that really are in memory, whatever LIST said
}

// An item is what one loop step yields.
type item struct {
	msg    *connection.Message
	err    error
	body   *body
	change *connection.Change // of a Sync, if it is not an Added
	loan   loan               // settled when the host was done with it
}

func (it item) end() {
	if it.body != nil {
		it.body.end()
	}
}

// A cost is what a message counts for.
type cost struct{ memory, disk int64 }

func costOf(size int64) cost {
	switch {
	case size < 0:
		return cost{memory: unknownCost}
	case size > largeBody:
		return cost{disk: size}
	}
	return cost{memory: max(size, leastCost)}
}

func newQueue() *queue {
	return &queue{ready: make(chan struct{}, 1), room: make(chan struct{}, 1), idle: make(chan struct{}, 1)}
}

// reserve reports whether a message of that cost may be asked for now, and counts it. Whatever its size, one may always.
func (q *queue) reserve(c cost) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.fits(c) {
		return false
	}
	q.memory += c.memory
	q.disk += c.disk
	return true
}

func (q *queue) fits(c cost) bool {
	return (c.memory == 0 || q.memory == 0 || q.memory+c.memory <= aheadMemory) &&
		(c.disk == 0 || q.disk == 0 || q.disk+c.disk <= aheadDisk)
}

// release takes back what reserve counted.
func (q *queue) release(c cost) {
	q.mu.Lock()
	q.memory -= c.memory
	q.disk -= c.disk
	q.mu.Unlock()
	signal(q.room)
}

// await waits until a message of that cost may be asked for; where that is not now, until there is room for half of what
// may be reserved, so that not each message is asked for by itself. It reports whether ctx lasted.
func (q *queue) await(ctx context.Context, c cost) bool {
	for room := (cost{}); ; room = (cost{memory: aheadMemory / 2, disk: aheadDisk / 2}) {
		q.mu.Lock()
		fits := q.fits(cost{memory: needs(c.memory, room.memory), disk: needs(c.disk, room.disk)})
		q.mu.Unlock()
		if fits {
			return ctx.Err() == nil
		}
		select {
		case <-q.room:
		case <-ctx.Done():
			return false
		}
	}
}

// needs returns least, or octets if they are more; 0 if there are none.
func needs(octets, least int64) int64 {
	if octets == 0 {
		return 0
	}
	return max(octets, least)
}

// spoolMemory is how much of the next message may stay in memory. LIST may have lied about what is there already.
func (q *queue) spoolMemory() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held > aheadMemory {
		return -1
	}
	return largeBody
}

func (q *queue) add(it item) {
	q.stage(it)
	q.wake()
}

// stage is add, but for telling the taker, to whom wake must be called before the adder waits for anything: to wake it
// for each small message costs more than to read one.
func (q *queue) stage(it item) {
	q.mu.Lock()
	q.items = append(q.items, it)
	q.mu.Unlock()
}

func (q *queue) wake() { signal(q.ready) }

// take returns the next item, if there is one.
func (q *queue) take() (item, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting = len(q.items) == 0; q.waiting {
		signal(q.idle)
		return item{}, false
	}
	it := q.items[0]
	q.items[0] = item{}
	q.items = q.items[1:]
	return it, true
}

// settled waits until the caller has dealt with all that was added. It reports whether ctx lasted.
func (q *queue) settled(ctx context.Context) bool {
	for {
		q.mu.Lock()
		done := q.waiting && len(q.items) == 0
		q.mu.Unlock()
		if done {
			return ctx.Err() == nil
		}
		select {
		case <-q.idle:
		case <-ctx.Done():
			return false
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// A body is a message that was read whole. It is valid until end.
type body struct {
	r       io.Reader
	spooled *connection.Spooled
	queue   *queue
	cost    cost
	held    int64
	over    error // what Read says after end
}

// hold makes a body of a message that was spooled, with lead before it.
func (q *queue) hold(s *connection.Spooled, lead string, c cost) *body {
	b := &body{r: s.Reader(), spooled: s, queue: q, cost: c}
	if lead != "" {
		b.r = io.MultiReader(strings.NewReader(lead), b.r)
	}
	if s.Size <= largeBody {
		b.held = s.Size
	}
	q.mu.Lock()
	q.held += b.held
	q.mu.Unlock()
	return b
}

var errOver = &connection.Error{Op: "fetch", Driver: DriverName, Kind: connection.ErrClosed, Err: errors.New("this body was valid for one loop step, which is over")}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.over != nil {
		return 0, b.over
	}
	return b.r.Read(p)
}

// WriteTo implements io.WriterTo: what is in memory is written at once.
func (b *body) WriteTo(w io.Writer) (int64, error) {
	if b.over != nil {
		return 0, b.over
	}
	if from, ok := b.r.(io.WriterTo); ok {
		return from.WriteTo(w)
	}
	piece := pieces.Get().(*[]byte)
	defer pieces.Put(piece)
	return io.CopyBuffer(w, struct{ io.Reader }{b.r}, *piece)
}

// pieces keeps the memory that bodies of temporary files are copied through.
var pieces = sync.Pool{New: func() any { p := make([]byte, 128<<10); return &p }}

func (b *body) end() {
	if b.over != nil {
		return
	}
	b.over = errOver
	_ = b.spooled.Close() // nothing of it is needed any more
	b.queue.mu.Lock()
	b.queue.held -= b.held
	b.queue.mu.Unlock()
	b.queue.release(b.cost)
}

// Close implements io.Closer, for Open.
func (b *body) Close() error {
	b.end()
	return nil
}
