package connection

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"time"
)

// troubles remembers what failed, and how often. Guarded by drain.mu.
type troubles struct {
	byRef   map[Ref]*trouble
	last    error // of a message that was given up
	row     int   // failures of the sink since it last stored something
	hardRow int   // the same, only those that are not temporary
}

type trouble struct {
	hard, soft int       // tries that failed for good, or in a temporary way
	storedThen int64     // stats.Stored at the last failure
	next       time.Time // not tried before
	offered    bool      // the source was asked for it since it became due
	poisoned   bool
}

// failed notes a try of ref that failed, in the source or in the sink, and acts on it.
func (p *pass) failed(ref Ref, err error, source bool) {
	if p.ctx.Err() != nil {
		return // the failure is ours: the pass was ended
	}
	p.count(func(s *DrainStats) { s.Failed++ })
	p.report(ref, err)
	kind := KindOf(err)
	if !source {
		switch kind {
		case ErrQuota, ErrPermission, ErrConfig, ErrAuth, ErrTLS, ErrClosed:
			p.abort(&Error{Op: "drain", Ref: ref, Kind: kind, Err: fmt.Errorf("the sink can store nothing: %w", err)})
			return
		}
	}
	row, hardRow, total, poisoned := p.note(ref, err, source)
	switch {
	case total > maxTroubled:
		p.abort(&Error{Op: "drain", Ref: ref, Kind: kind, Err: fmt.Errorf("over %d messages failed; the last: %w", maxTroubled, err)})
	case hardRow >= maxInARow:
		p.abort(&Error{Op: "drain", Ref: ref, Kind: kind, Err: fmt.Errorf("the sink failed %d times in a row: %w", hardRow, err)})
	case !source && Temporary(err) && row >= p.opts.MaxAttempts+p.opts.Workers:
		p.cancel(err) // the sink is down: wait, and begin again
	}
	if !poisoned {
		p.armRetry()
	} else {
		p.count(func(s *DrainStats) { s.Poisoned++ })
		p.emit(Event{Kind: EventPoisoned, Ref: ref, Detail: err.Error(), Err: err})
	}
}

func (d *drain) note(ref Ref, err error, source bool) (row, hardRow, total int, poisoned bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.trouble.byRef[ref]
	if t == nil {
		if len(d.trouble.byRef) >= maxTroubled {
			d.trouble.forgetOffered()
		}
		t = &trouble{}
		d.trouble.byRef[ref] = t
	}
	t.offered = false
	temporary := Temporary(err)
	switch {
	case !temporary:
		t.hard++
	case source || d.stats.Stored > t.storedThen || t.soft == 0:
		t.soft++ // others were stored since: it is this message, not an outage
	}
	t.storedThen = d.stats.Stored
	if !source {
		d.trouble.row++
		if !temporary {
			d.trouble.hardRow++
		}
	}
	t.next = time.Now().Add(backoffDelay(d.opts.RetryDelay, t.hard+t.soft, RetryAfter(err)))
	if t.hard >= d.opts.MaxAttempts || t.soft >= d.opts.MaxAttempts*temporaryFactor || KindOf(err) == ErrTooLarge {
		poisoned = !t.poisoned
		t.poisoned = true
		d.trouble.last = err
	}
	return d.trouble.row, d.trouble.hardRow, len(d.trouble.byRef), poisoned
}

// giveUp makes poison of a ref that is stored but cannot be deleted.
func (d *drain) giveUp(ref Ref, err error) {
	d.mu.Lock()
	d.trouble.byRef[ref] = &trouble{poisoned: true}
	d.trouble.last = err
	d.mu.Unlock()
	d.report(ref, err)
	d.emit(Event{Kind: EventPoisoned, Ref: ref, Detail: err.Error(), Err: err})
	d.count(func(s *DrainStats) { s.Poisoned++ })
}

// stored notes that ref is safe.
func (d *drain) stored(ref Ref) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.trouble.byRef, ref)
	d.trouble.row, d.trouble.hardRow = 0, 0
	if d.opts.Keep {
		d.kept.add(ref)
	}
}

// passOver reports whether ref must not be tried now: it is poison, not yet due, or stored already.
func (d *drain) passOver(ref Ref) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := d.trouble.byRef[ref]; t != nil && (t.poisoned || time.Now().Before(t.next)) {
		return true
	}
	if d.acks != nil {
		return d.acks.holds(ref)
	}
	return d.kept.has(ref)
}

// offerDue notes, before a pass, that it asks the source for every message that is due. One that the source does not
// bring is waited for no longer: somebody else has taken it.
func (d *drain) offerDue() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for _, t := range d.trouble.byRef {
		t.offered = t.offered || !t.poisoned && !now.Before(t.next)
	}
}

// forgetVanished drops, after a pass that went through, what it was asked for and did not bring.
func (d *drain) forgetVanished() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trouble.forgetOffered()
}

func (t *troubles) forgetOffered() {
	maps.DeleteFunc(t.byRef, func(_ Ref, t *trouble) bool { return t.offered })
}

// nextRetry returns when the next failed message is due that the source has not been asked for since.
func (d *drain) nextRetry() (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var next time.Time
	for _, t := range d.trouble.byRef {
		if !t.poisoned && !t.offered && (next.IsZero() || t.next.Before(next)) {
			next = t.next
		}
	}
	return next, !next.IsZero()
}

// keptRefs is a set of the last maxKept refs, by hash. Forgetting one means that the sink may see it again.
type keptRefs struct {
	set  map[[16]byte]struct{}
	ring [][16]byte
	next int
}

func hashRef(ref Ref) [16]byte {
	var room [256]byte
	text := room[:0]
	for _, part := range []string{ref.Mailbox, ref.Folder, ref.ID} {
		text = binary.AppendUvarint(text, uint64(len(part))) // or two refs could read the same
		text = append(text, part...)
	}
	sum := sha256.Sum256(text)
	return [16]byte(sum[:])
}

func (k *keptRefs) add(ref Ref) {
	h := hashRef(ref)
	if k.set == nil {
		k.set = make(map[[16]byte]struct{})
	}
	if _, ok := k.set[h]; ok {
		return
	}
	k.set[h] = struct{}{}
	if len(k.ring) < maxKept {
		k.ring = append(k.ring, h)
		return
	}
	delete(k.set, k.ring[k.next])
	k.ring[k.next] = h
	k.next = (k.next + 1) % maxKept
}

func (k *keptRefs) has(ref Ref) bool {
	if len(k.set) == 0 {
		return false
	}
	_, ok := k.set[hashRef(ref)]
	return ok
}

// maxAskedWait bounds what a server may ask for. Asking once a day does no harm; a clock that is years off, or malice,
// must not end the archive.
const maxAskedWait = 24 * time.Hour

// backoffDelay is the wait before try number attempt+1: doubling from first up to a minute, with jitter, and at least
// what the server asks for, up to maxAskedWait.
func backoffDelay(first time.Duration, attempt int, after time.Duration) time.Duration {
	delay := min(first<<min(max(attempt-1, 0), 16), max(time.Minute, first))
	if delay <= 0 {
		delay = time.Minute
	}
	delay = delay/2 + rand.N(delay/2+1)
	return max(delay, min(after, maxAskedWait))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return canceled(ctx, "drain")
	}
}

// canceled is the error of a ctx that ended; its cause is in the chain beside ctx.Err.
func canceled(ctx context.Context, op string) error {
	err := ctx.Err()
	if cause := context.Cause(ctx); !errors.Is(cause, err) {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return &Error{Op: op, Kind: ErrCanceled, Err: err}
}
