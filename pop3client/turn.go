package pop3client

import (
	"context"
	"slices"
	"sync"
)

// A turn is a mutex, first come, first served, that a ctx can end the wait for, and whose holder can see that somebody
// waits. The zero turn is ready.
type turn struct {
	mu      sync.Mutex
	held    bool
	waiting []chan struct{}
}

// take reports whether the turn was had before ctx was done.
func (t *turn) take(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	t.mu.Lock()
	if !t.held {
		t.held = true
		t.mu.Unlock()
		return true
	}
	mine := make(chan struct{})
	t.waiting = append(t.waiting, mine)
	t.mu.Unlock()
	select {
	case <-mine:
		return true
	case <-ctx.Done():
	}
	t.mu.Lock()
	i := slices.Index(t.waiting, mine)
	if i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	}
	t.mu.Unlock()
	if i < 0 { // it was given in the same moment
		t.give()
	}
	return false
}

func (t *turn) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		t.held = false
		return
	}
	close(t.waiting[0])
	t.waiting = t.waiting[1:]
}

// wanted reports whether somebody waits.
func (t *turn) wanted() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiting) > 0
}
