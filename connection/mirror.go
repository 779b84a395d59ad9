package connection

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"
)

// A ChangeSink keeps what [Mirror] brings. Its methods must be safe for concurrent use; those of one mailbox are called
// one after the other. It must bear the same change more than once.
type ChangeSink interface {
	// Store makes c durable. For Added, c.Message has a Body to read; Store may return without reading it to the end if
	// it has the message already.
	Store(ctx context.Context, mailbox string, c *Change) error
	// Known reports for each of refs whether the sink has that message. It is asked when a mailbox's Checkpoint is lost,
	// so that not everything is downloaded again. The slice has the length of refs.
	Known(ctx context.Context, mailbox string, refs []Ref) ([]bool, error)
}

// A RefLister is a [ChangeSink] that can tell what it has. It is asked when a mailbox's Checkpoint is lost, so that what
// was removed meanwhile is removed here too.
type RefLister interface {
	// Refs yields every message of mailbox that is stored and not removed.
	Refs(ctx context.Context, mailbox string) iter.Seq2[Ref, error]
}

// MirrorOptions are the options of [Mirror].
type MirrorOptions struct {
	Mailboxes *MailboxOptions                 // which mailboxes; nil = all
	Match     func(*Mailbox) bool             // a further filter; nil = all
	Folders   []string                        // which folders; empty = what the driver's settings say
	Workers   int                             // mailboxes synced at once; 0 = 4
	Interval  time.Duration                   // sync again and again with this pause between, until ctx ends; 0 = once
	OnError   func(mailbox string, err error) // told of each failure; mailbox "" is the listing's
	Progress  func(MirrorStats)               // told after each checkpoint and mailbox
	Observe   func(Event)                     // as Env.Observe; OnError and Progress are never run by two goroutines at once

	// IdleInterval is the longest pause of a mailbox in which nothing happens: from round to round without a change its
	// pause doubles, from Interval up to this. 0 = Interval.
	IdleInterval time.Duration
	// MaxAttempts is how often one mailbox is tried in one round, after temporary errors without progress, and how often
	// one message that cannot be read; 0 = 3.
	MaxAttempts int
	// RetryDelay is the first wait between them; it doubles up to a minute, with jitter. 0 = 1s.
	RetryDelay time.Duration
}

// MirrorStats count what [Mirror] did.
type MirrorStats struct {
	Mailboxes   int64 `json:"mailboxes"`   // syncs that reached the end of the history
	Failed      int64 `json:"failed"`      // syncs that did not
	Added       int64 `json:"added"`       // changes stored, by kind
	Updated     int64 `json:"updated"`     //
	Removed     int64 `json:"removed"`     //
	Folders     int64 `json:"folders"`     // folder changes stored
	Skipped     int64 `json:"skipped"`     // messages given up, since they could not be read
	Checkpoints int64 `json:"checkpoints"` // saved
}

// Mirror brings the changes of many mailboxes to sink, with a pool of workers, and saves a Checkpoint in cps only after
// the sink has stored everything up to it. A crash brings the changes since the last saved Checkpoint again.
//
// A mailbox whose Checkpoint is lost is read from the beginning, asking sink.Known what is there already: by the driver
// itself, or by Mirror where Sync returns ErrStale. A message that cannot be read (an *Error with a Ref, or from its Body)
// is reported, holds back the mailbox's Checkpoint and is tried again; after MaxAttempts it is given up, so that it does not
// hold back the others for ever, and the mailbox's error says so. An error that is Settled holds back nothing, and is the
// mailbox's unless the same Sync tells the message after all.
//
// A mailbox that fails does not stop the others: it is reported to OnError, and without Interval the error joins one for
// each. Nor does one whose server asks for a long wait: the others go on, and it is tried again when it is due. With Interval
// the mailboxes are listed anew each round, and only the end of ctx ends Mirror.
// A Save that meets ErrChanged means that another process mirrors this mailbox: it fails, and nothing is overwritten.
// opts may be nil.
func Mirror(ctx context.Context, src MailboxSyncer, sink ChangeSink, cps CheckpointStore, opts *MirrorOptions) (MirrorStats, error) {
	m := &mirror{src: src, sink: sink, cps: cps}
	if opts != nil {
		m.opts = *opts
	}
	if m.opts.Workers <= 0 {
		m.opts.Workers = 4
	}
	if m.opts.MaxAttempts <= 0 {
		m.opts.MaxAttempts = defaultAttempts
	}
	if m.opts.RetryDelay <= 0 {
		m.opts.RetryDelay = time.Second
	}
	err := m.rounds(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stats, err
}

type mirror struct {
	src  MailboxSyncer
	sink ChangeSink
	cps  CheckpointStore
	opts MirrorOptions

	mu       sync.Mutex
	stats    MirrorStats
	attempts map[Ref]int // failed reads of single messages
	paces    map[string]pace
	tellMu   sync.Mutex
}

// An errand is one mailbox's turn: to the end of its history, through temporary failures and a lost Checkpoint.
type errand struct {
	name     string
	futile   int // tries without progress, in a row
	furthest int // changes stored by one sync since a Checkpoint was saved
	err      error
	givenUp  error
	due      time.Time // when to try again
}

// patience is the longest wait for which an errand keeps its worker: a server may ask to be left alone for hours, and the
// other mailboxes must not wait for that.
const patience = time.Minute

// run does an errand. It returns false if that is to go on when it is due, and else e.err is the mailbox's.
func (m *mirror) run(ctx context.Context, e *errand) (done bool) {
	for e.futile < m.opts.MaxAttempts {
		if wait := time.Until(e.due); wait > patience {
			return false
		} else if wait > 0 && sleep(ctx, wait) != nil {
			break
		}
		saved, stored, err := m.sync(ctx, e.name, &e.givenUp)
		if e.err = err; err == nil {
			m.count(func(s *MirrorStats) { s.Mailboxes++ })
			m.paced(e.name, stored > 0 || e.futile > 0 || e.givenUp != nil)
			e.err = e.givenUp
			return true
		}
		m.report(ctx, e.name, err)
		if ctx.Err() != nil || !Temporary(err) && !errors.Is(err, errHeld) {
			break
		}
		switch {
		case saved > 0:
			e.futile, e.furthest = 0, 0
		case stored > e.furthest:
			e.futile, e.furthest = 0, stored
		}
		if e.futile++; e.futile < m.opts.MaxAttempts {
			delay := backoffDelay(m.opts.RetryDelay, e.futile, RetryAfter(err))
			e.due = time.Now().Add(delay)
			m.emit(Event{Kind: EventRetry, Mailbox: e.name, Until: e.due, Err: err, Detail: err.Error()})
		}
	}
	m.count(func(s *MirrorStats) { s.Failed++ })
	m.paced(e.name, true)
	return true
}

// sync runs one Sync from the saved Checkpoint, and returns how many Checkpoints it saved, and how many changes it stored.
func (m *mirror) sync(ctx context.Context, name string, givenUp *error) (saved, stored int, err error) {
	old, err := m.cps.Load(ctx, name)
	if err != nil {
		return 0, 0, fmt.Errorf("loading the checkpoint: %w", err)
	}
	run := &mirrorRun{mirror: m, name: name, saved: old, givenUp: givenUp}
	err = run.from(ctx, old)
	if KindOf(err) == ErrStale && old != "" && run.saves == 0 {
		m.emit(Event{Kind: EventRestarted, Mailbox: name, Detail: err.Error()})
		run.held = nil
		err = run.from(ctx, "")
	}
	return run.saves, run.stored, err
}

// A mirrorRun is one Sync of one mailbox.
type mirrorRun struct {
	*mirror
	name   string
	saved  Checkpoint // what the store holds
	saves  int
	stored int

	held    error         // a message could not be read: no Checkpoint beyond it may be saved
	failed  []Ref         // such messages, while nobody knows whether they alone are at fault
	owed    map[Ref]error // messages that the driver tries again by itself, until it told them
	givenUp *error        // the last message that was given up
}

// errHeld marks a sync that went through but for messages that are to be tried again.
var errHeld = errors.New("not all messages could be read")

func (r *mirrorRun) from(ctx context.Context, since Checkpoint) error {
	opts := &SyncOptions{Mailbox: r.name, Folders: r.opts.Folders}
	opts.Known = func(ctx context.Context, refs []Ref) ([]bool, error) {
		known, err := r.sink.Known(ctx, r.name, refs)
		if err == nil && len(known) != len(refs) {
			err = &Error{Op: "mirror", Kind: ErrInvalid, Err: fmt.Errorf("the sink's Known answered %d of %d refs", len(known), len(refs))}
		}
		return known, err
	}
	if l, ok := r.sink.(RefLister); ok {
		opts.Refs = func(ctx context.Context) iter.Seq2[Ref, error] { return l.Refs(ctx, r.name) }
	}
	defer r.unrecovered()
	var folder error
	for c, err := range r.src.Sync(ctx, since, opts) {
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Ref.IsZero() {
				return err
			}
			switch {
			case e.Ref.ID == "": // a folder: others may follow, but this must not pass in silence
				if folder == nil {
					folder = err
				}
			case e.Settled:
				r.settled(ctx, e.Ref, err)
			case e.Kind != ErrNotFound: // else it is gone meanwhile
				r.unread(ctx, e.Ref, err)
			}
			continue
		}
		if err := r.store(ctx, c); err != nil {
			return err
		}
	}
	r.blame()
	return errors.Join(folder, r.held)
}

// unread notes that ref could not be read: to be tried again, or given up.
func (r *mirrorRun) unread(ctx context.Context, ref Ref, err error) {
	if ctx.Err() != nil {
		r.held = err
		return
	}
	r.report(ctx, r.name, err)
	if r.failed = append(r.failed, ref); len(r.failed) > maxTroubled {
		r.blame() // so many are no outage
	}
	r.mu.Lock()
	tries := r.attempts[ref] + 1
	r.mu.Unlock()
	if tries < r.opts.MaxAttempts && KindOf(err) != ErrTooLarge {
		r.held = fmt.Errorf("%w: %w", errHeld, err)
		return
	}
	*r.givenUp = fmt.Errorf("given up after %d tries: %w", tries, err)
	r.emit(Event{Kind: EventPoisoned, Mailbox: r.name, Ref: ref, Err: err, Detail: err.Error()})
	r.count(func(s *MirrorStats) { s.Skipped++ })
}

// settled notes that ref could not be read, which the driver bears in mind: no Checkpoint is held back.
func (r *mirrorRun) settled(ctx context.Context, ref Ref, err error) {
	r.report(ctx, r.name, err)
	if len(r.owed) >= maxTroubled {
		*r.givenUp = err
	} else {
		if r.owed == nil {
			r.owed = make(map[Ref]error)
		}
		r.owed[ref] = err
	}
	if !Temporary(err) {
		r.emit(Event{Kind: EventPoisoned, Mailbox: r.name, Ref: ref, Err: err, Detail: err.Error()})
		r.count(func(s *MirrorStats) { s.Skipped++ })
	}
}

// unrecovered makes the error of a message that is still to come the mailbox's: the driver may have told it after all.
func (r *mirrorRun) unrecovered() {
	for _, err := range r.owed {
		*r.givenUp = err
	}
	r.owed = nil
}

// blame counts the tries of the messages that could not be read, once the sync has gone on behind them: until then the
// source may be at fault, and an outage must not add up to the end of whichever message it begins with.
func (r *mirrorRun) blame() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.attempts == nil || len(r.attempts) > maxTroubled {
		r.attempts = make(map[Ref]int)
	}
	for _, ref := range r.failed {
		r.attempts[ref]++
	}
	r.failed = nil
}

func (r *mirrorRun) store(ctx context.Context, c *Change) error {
	if c.Op != Progressed {
		var body *watchedBody
		if c.Message != nil && c.Message.Body != nil {
			body = &watchedBody{r: c.Message.Body}
			c.Message.Body = body
		}
		err := r.sink.Store(ctx, r.name, c)
		switch {
		case body != nil && body.err != nil:
			// Whatever the sink made of it, it did not see the whole message.
			if e := new(Error); errors.As(body.err, &e) && e.Settled && ctx.Err() == nil {
				r.settled(ctx, c.Ref, body.err)
			} else {
				r.unread(ctx, c.Ref, body.err)
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		case err != nil:
			return fmt.Errorf("storing a change: %w", err)
		default:
			delete(r.owed, c.Ref)
			r.stored++
			r.count(func(s *MirrorStats) { s.add(c.Op) })
		}
	}
	if c.Checkpoint != "" {
		r.blame()
	}
	if c.Checkpoint == "" || r.held != nil || c.Checkpoint == r.saved {
		return nil
	}
	if err := r.cps.Save(ctx, r.name, r.saved, c.Checkpoint); err != nil {
		return fmt.Errorf("saving the checkpoint: %w", err)
	}
	r.saved = c.Checkpoint
	r.saves++
	r.count(func(s *MirrorStats) { s.Checkpoints++ })
	r.emit(Event{Kind: EventCheckpoint, Mailbox: r.name})
	return nil
}

func (s *MirrorStats) add(op ChangeOp) {
	switch op {
	case Added:
		s.Added++
	case Updated:
		s.Updated++
	case Removed:
		s.Removed++
	case FolderAdded, FolderRemoved, FolderRenamed:
		s.Folders++
	case Progressed:
	}
}

func (m *mirror) count(change func(*MirrorStats)) {
	m.mu.Lock()
	change(&m.stats)
	m.mu.Unlock()
	if m.opts.Progress == nil {
		return
	}
	m.tellMu.Lock()
	defer m.tellMu.Unlock()
	m.mu.Lock()
	stats := m.stats
	m.mu.Unlock()
	m.opts.Progress(stats)
}

func (m *mirror) report(ctx context.Context, mailbox string, err error) {
	if m.opts.OnError != nil && ctx.Err() == nil {
		m.tellMu.Lock()
		defer m.tellMu.Unlock()
		m.opts.OnError(mailbox, err)
	}
}

func (m *mirror) emit(ev Event) {
	if m.opts.Observe == nil {
		return
	}
	ev.Time = time.Now()
	m.opts.Observe(ev)
}
