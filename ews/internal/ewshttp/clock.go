package ewshttp

import (
	"sync"
	"time"
)

// A clock fires when something is waited for and nothing has moved for its limit. It runs from the moment that there is a
// connection until the answer's header is there, and after that only while somebody reads. A clock without a limit does nothing.
type clock struct {
	limit time.Duration

	mu      sync.Mutex
	timer   *time.Timer
	header  bool // the answer's header is there, or the clock has stopped
	stopped bool
}

func newClock(limit time.Duration, fire func()) *clock {
	k := &clock{limit: limit}
	if limit > 0 {
		k.timer = time.AfterFunc(limit, fire)
		k.timer.Stop() // it does not run yet
	}
	return k
}

// touch tells that a request on its way has moved. The transport calls it, also when the answer is there already.
func (k *clock) touch() {
	if k.limit <= 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.header {
		k.timer.Reset(k.limit)
	}
}

// answer tells that the wait for the header is over.
func (k *clock) answer() {
	if k.limit <= 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.header = true
	k.timer.Stop()
}

// run begins a wait for octets of the answer, and rest ends it.
func (k *clock) run() {
	if k.limit <= 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.stopped {
		k.timer.Reset(k.limit)
	}
}

func (k *clock) rest() {
	if k.limit > 0 {
		k.timer.Stop()
	}
}

// stop ends the clock.
func (k *clock) stop() {
	if k.limit <= 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.header, k.stopped = true, true
	k.timer.Stop()
}
