package connection

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A Sink stores one message. nil means that it is on stable storage; only then is it deleted at the source. A Sink must
// bear the same message more than once, and must be safe for concurrent use if DrainOptions.Workers is more than 1. It
// may return nil without reading Body to the end (it has the message already, say).
//
// Its error decides what happens: a temporary one (see [Temporary]) is tried again for as long as the sink works for
// others; ErrQuota, ErrPermission, ErrConfig, ErrAuth, ErrTLS and ErrClosed mean that it can store nothing, and end
// Drain; any other is held against the message.
type Sink func(ctx context.Context, m *Message) error

// DrainOptions are the options of [Drain].
type DrainOptions struct {
	Fetch FetchOptions // what to fetch; Fetch.Follow drains until ctx is done

	// Workers is how many sinks run at once; 0 = 1. One worker reads each Body straight from the source. More than one
	// spools the bodies first, so that a slow store does not set the pace, and Body is then also an io.ReadSeeker; at
	// most 2*Workers+1 messages are spooled at a time, each with at most Spool.Memory octets in memory.
	Workers int
	Spool   SpoolOptions // limits of one spooled message

	Batch int  // messages deleted at the source with one call; 0 = 50, and up to 500 where so many came during the call before
	Keep  bool // do not delete: import

	// MaxAttempts is how often one message is tried before it is called poison: it stays at the source, is reported
	// to OnError, and is passed over from then on. 0 = 3.
	MaxAttempts int

	// RetryDelay is the first wait after a failure; it doubles up to a minute, with jitter. 0 = 1s.
	RetryDelay time.Duration

	OnError  func(ref Ref, err error) // told of each failed try; ref is zero if the failure is not one message's
	Progress func(DrainStats)         // told after each message and each delete
	Observe  func(Event)              // as Env.Observe; OnError and Progress are never run by two goroutines at once
}

// DrainStats count what [Drain] did.
type DrainStats struct {
	Fetched  int64 `json:"fetched"`  // messages that the source yielded
	Stored   int64 `json:"stored"`   // the sink returned nil
	Bytes    int64 `json:"bytes"`    // octets of the stored messages that were read
	Deleted  int64 `json:"deleted"`  // removed at the source
	Failed   int64 `json:"failed"`   // failed tries
	Poisoned int64 `json:"poisoned"` // messages given up; they are still at the source
}

const (
	defaultBatch    = 50
	mostBatch       = 500 // without Batch: on a slow link the round trips of Delete would set the pace
	defaultAttempts = 3
	// temporaryFactor bounds how often one message may fail in a temporary way while others succeed.
	temporaryFactor = 5
	// maxTroubled and maxInARow bound what is remembered of failures; more than that is not a matter of single messages.
	maxTroubled = 10000
	maxInARow   = 100
	maxKept     = 1 << 20
	flushEvery  = time.Second
	flushLimit  = 10 * time.Second
)

// Drain moves messages from src to sink: fetch, store, and only then delete. With DrainOptions.Fetch.Follow it goes on
// until ctx is done, otherwise until the source has no more.
//
// A message is deleted only after the sink returned nil for it and its Body had no error. What fails stays at the source
// and is tried again, MaxAttempts times; other messages go on meanwhile. When the connection or the sink fails in a
// temporary way Drain waits and begins again; without Follow it gives up when that brings no progress MaxAttempts times.
//
// When ctx ends, no further message is begun, those already stored are still deleted (for at most 10 seconds), and the
// error is ctx's. The error is also not nil when messages were given up, or when stored ones could not be deleted: they
// will come again, and no mail is lost. The stats are valid in any case. opts may be nil.
func Drain(ctx context.Context, src FetchDeleter, sink Sink, opts *DrainOptions) (DrainStats, error) {
	d := newDrain(src, sink, opts)
	err := d.run(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats, err
}

type drain struct {
	src  FetchDeleter
	sink Sink
	opts DrainOptions

	mu      sync.Mutex // guards stats, trouble and kept
	stats   DrainStats
	trouble troubles
	kept    keptRefs

	tellMu    sync.Mutex // held while OnError or Progress runs
	acks      *acker     // nil with Keep
	mostBatch int        // refs of one Delete
	abort     context.CancelCauseFunc
}

func newDrain(src FetchDeleter, sink Sink, opts *DrainOptions) *drain {
	d := &drain{src: src, sink: sink}
	if opts != nil {
		d.opts = *opts
	}
	o := &d.opts
	o.Workers = max(o.Workers, 1)
	d.mostBatch = o.Batch
	if o.Batch <= 0 {
		o.Batch, d.mostBatch = defaultBatch, mostBatch
	}
	if o.MaxAttempts <= 0 {
		o.MaxAttempts = defaultAttempts
	}
	if o.RetryDelay <= 0 {
		o.RetryDelay = time.Second
	}
	d.trouble.byRef = make(map[Ref]*trouble)
	return d
}

func (d *drain) run(ctx context.Context) error {
	running, abort := context.WithCancelCause(ctx) // ends with ctx, and when nothing can be stored or deleted any more
	defer abort(nil)
	d.abort = abort
	if !d.opts.Keep {
		d.acks = newAcker(ctx, d)
	}
	err := d.passes(running)
	switch {
	case ctx.Err() != nil:
		err = canceled(ctx, "drain")
	case running.Err() != nil:
		err = context.Cause(running)
	}
	if d.acks == nil {
		return err
	}
	left := d.acks.close()
	if err == nil || ctx.Err() != nil {
		err = errors.Join(err, left)
	}
	return err
}

// passes fetches again and again, until there is nothing left to try or ctx ends.
func (d *drain) passes(ctx context.Context) error {
	futile := 0 // passes that ended in an error and stored nothing
	for {
		stored := d.storedSoFar()
		d.offerDue()
		err := d.pass(ctx)
		var undeleted error // a Delete may be repeated, whatever its error; what is hopeless has ended ctx
		if d.acks != nil && ctx.Err() == nil {
			undeleted = d.acks.flush(ctx)
		}
		if d.storedSoFar() > stored {
			futile = 0
		}
		switch {
		case ctx.Err() != nil:
			return canceled(ctx, "drain")
		case errors.Is(err, errRetryDue):
			continue
		case err != nil || undeleted != nil:
			futile++
			if err != nil && !Temporary(err) || !d.opts.Fetch.Follow && futile >= d.opts.MaxAttempts {
				return errors.Join(err, undeleted)
			}
			if err != nil {
				d.report(Ref{}, err)
			}
			if err := d.wait(ctx, futile, errors.Join(err, undeleted)); err != nil {
				return err
			}
			continue
		}
		d.forgetVanished()
		next, ok := d.nextRetry()
		switch {
		case ok:
			if err := sleep(ctx, time.Until(next)); err != nil {
				return err
			}
		case !d.opts.Fetch.Follow:
			return d.leftovers()
		default: // a Follow that ends without an error must not end the archive
			if err := sleep(ctx, d.opts.RetryDelay); err != nil {
				return err
			}
		}
	}
}

// wait backs off after err, for as long as the server asks if it does.
func (d *drain) wait(ctx context.Context, attempt int, err error) error {
	delay := backoffDelay(d.opts.RetryDelay, attempt, RetryAfter(err))
	kind := EventRetry
	if KindOf(err) == ErrThrottled {
		kind = EventThrottled
	}
	d.emit(Event{Kind: kind, Until: time.Now().Add(delay), Err: err, Detail: err.Error()})
	return sleep(ctx, delay)
}

// leftovers is the verdict of a Drain that is through: nil, or how many messages stay behind.
func (d *drain) leftovers() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.stats.Poisoned
	if n == 0 {
		return nil
	}
	return &Error{Op: "drain", Kind: KindOf(d.trouble.last), Err: fmt.Errorf("%d messages were given up and stay at the source; the last failure: %w", n, d.trouble.last)}
}

func (d *drain) storedSoFar() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats.Stored
}

// count changes the stats and tells Progress.
func (d *drain) count(change func(*DrainStats)) {
	d.mu.Lock()
	change(&d.stats)
	d.mu.Unlock()
	if d.opts.Progress == nil {
		return
	}
	d.tellMu.Lock()
	defer d.tellMu.Unlock()
	d.mu.Lock()
	stats := d.stats
	d.mu.Unlock()
	d.opts.Progress(stats)
}

func (d *drain) report(ref Ref, err error) {
	if d.opts.OnError != nil {
		d.tellMu.Lock()
		defer d.tellMu.Unlock()
		d.opts.OnError(ref, err)
	}
}

func (d *drain) emit(ev Event) {
	if d.opts.Observe == nil {
		return
	}
	ev.Time = time.Now()
	d.opts.Observe(ev)
}
