package connection

import (
	"context"
	"time"
)

// A Sink stores one message. nil means that it is on stable storage; only then is it deleted at the source. A Sink must
// bear the same message more than once, and must be safe for concurrent use if DrainOptions.Workers is more than 1. It
// may return nil without reading Body to the end (it has the message already, say).
type Sink func(ctx context.Context, m *Message) error

// DrainOptions are the options of [Drain].
type DrainOptions struct {
	Fetch FetchOptions // what to fetch; Fetch.Follow drains until ctx is done

	Workers int  // sinks running at once; more than 1 spools bodies, so that a slow store does not set the pace; 0 = 1
	Batch   int  // messages deleted at the source with one call; 0 = 50
	Keep    bool // do not delete: import

	// MaxAttempts is how often one message is tried before it is called poison: it stays at the source, is reported
	// to OnError, and is passed over from then on. 0 = 3.
	MaxAttempts int

	Spool  SpoolOptions // limits of one spooled message
	Memory int64        // octets of bodies held in memory by all workers together; 0 = 16 MiB

	// RetryDelay is the first wait after a temporary failure; it doubles up to a minute, with jitter. 0 = 1s.
	RetryDelay time.Duration

	OnError  func(ref Ref, err error) // told of each failed try; ref is zero if the failure is not one message's
	Progress func(DrainStats)         // told after each message and each delete, never by two goroutines at once
	Observe  func(Event)              // as Env.Observe
}

// DrainStats count what [Drain] did.
type DrainStats struct {
	Fetched  int64 `json:"fetched"`  // messages whose body was handed to the sink
	Stored   int64 `json:"stored"`   // the sink returned nil
	Bytes    int64 `json:"bytes"`    // octets of the stored messages that were read
	Deleted  int64 `json:"deleted"`  // removed at the source
	Failed   int64 `json:"failed"`   // failed tries
	Poisoned int64 `json:"poisoned"` // messages given up after MaxAttempts; they are still at the source
}
