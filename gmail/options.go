package gmail

import (
	"context"
	"time"
)

// Options are what [New] takes besides settings. The zero value works.
type Options struct {
	// State keeps what must outlive the process: the units spent today, and the monitors that were set today. nil keeps it in
	// memory; a process that starts again then begins to count at 0, and relies on Google's own errors.
	State State
	// Now is the clock, for tests. nil means time.Now.
	Now func() time.Time
}

// A State keeps small opaque values under keys, durably. It is called from several goroutines at once. Processes that
// share a Google project may share a State: the last to save wins.
type State interface {
	// Load returns the value of key, nil if there is none.
	Load(ctx context.Context, key string) ([]byte, error)
	// Save replaces the value of key. nil means that it is on stable storage.
	Save(ctx context.Context, key string, data []byte) error
}
