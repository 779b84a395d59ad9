package connection

import (
	"context"
	"fmt"
	"sync"
)

// MemoryCheckpoints is a [CheckpointStore] that forgets with the process: for tests, and for hosts that read everything
// anew at each start. The zero value is ready to use. A host keeps its checkpoints where it keeps its mail.
type MemoryCheckpoints struct {
	mu sync.Mutex
	by map[string]Checkpoint
}

// Load implements [CheckpointStore].
func (s *MemoryCheckpoints) Load(_ context.Context, mailbox string) (Checkpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.by[mailbox], nil
}

// Save implements [CheckpointStore].
func (s *MemoryCheckpoints) Save(_ context.Context, mailbox string, old, next Checkpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by[mailbox] != old {
		return &Error{Op: "save", Kind: ErrChanged, Err: fmt.Errorf("the checkpoint of mailbox %q was changed by somebody else", mailbox)}
	}
	if s.by == nil {
		s.by = make(map[string]Checkpoint)
	}
	s.by[mailbox] = next
	return nil
}
