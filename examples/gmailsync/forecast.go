package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/examples/internal/mirrored"
	"github.com/mailconn/mailconn/gmail"
)

// A forecast says how long it will take until every mailbox was read once. Google's quota sets the pace, so that it can be
// told beforehand; once some time has passed, what was reached until then counts too if that is slower. Its methods may be
// called from several goroutines at once.
type forecast struct {
	workers int
	usage   func() gmail.Usage

	mu    sync.Mutex
	boxes map[string]*outlook // mailboxes that were never read to their end
	total int64               // messages in them
	done  int64
	began time.Time // of the reading
}

// An outlook is what is known of one mailbox.
type outlook struct {
	messages, units int64         // to be read and spent
	least           time.Duration // for all of them
	done            int64
}

// An estimator is what a forecast asks.
type estimator interface {
	connection.MailboxLister
	Estimate(ctx context.Context, mailbox string) (*gmail.Estimate, error)
}

// asking is how many mailboxes are asked at once.
const asking = 8

// make asks how much there is in the chosen mailboxes that the archive does not have whole, for a quota unit each. What
// cannot be asked is left out: Mirror will meet the same trouble, and tell.
func (f *forecast) make(ctx context.Context, source estimator, archive *mirrored.Archive, chosen mirrored.Selection) error {
	names := make(chan string)
	var pool sync.WaitGroup
	for range asking {
		pool.Go(func() {
			for name := range names {
				f.ask(ctx, source, archive, name)
			}
		})
	}
	for mb, err := range source.Mailboxes(ctx, nil) {
		if err != nil {
			break
		}
		if chosen.Match(mb) {
			names <- mb.Name // ask ends soon once ctx has
		}
	}
	close(names)
	pool.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.began = time.Now()
	return ctx.Err()
}

func (f *forecast) ask(ctx context.Context, source estimator, archive *mirrored.Archive, name string) {
	if finished, err := archive.Finished(ctx, name); err != nil || finished {
		return
	}
	e, err := source.Estimate(ctx, name)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.boxes == nil {
		f.boxes = make(map[string]*outlook)
	}
	f.boxes[name] = &outlook{messages: e.Messages, units: e.Units, least: e.Time}
	f.total += e.Messages
}

// advanced counts a message that was stored.
func (f *forecast) advanced(mailbox string, op connection.ChangeOp) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o := f.boxes[mailbox]; o != nil && op == connection.Added && o.done < o.messages {
		o.done++
		f.done++
	}
}

// ended notes that a mailbox was read to its end, and reports whether that is the first time. Gmail counts drafts and the like
// that are not read, and what an earlier run had read: they are no longer waited for.
func (f *forecast) ended(mailbox string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.boxes[mailbox]
	if o == nil {
		return false
	}
	f.total -= o.messages - o.done
	delete(f.boxes, mailbox)
	return true
}

// An outcome is what a forecast says now.
type outcome struct {
	Mailboxes int     `json:"mailboxes"` // not yet read to their end
	Done      int64   `json:"done"`      // messages stored
	Total     int64   `json:"total"`     // messages to be stored, about
	Seconds   float64 `json:"seconds"`   // until then
}

func (o outcome) left() time.Duration { return time.Duration(o.Seconds * float64(time.Second)) }

// The pace so far counts when it is that of some time and some messages.
const (
	paceAfter    = time.Minute
	paceMessages = 100
)

// now returns the forecast of now.
func (f *forecast) now() outcome {
	usage := f.usage()
	f.mu.Lock()
	defer f.mu.Unlock()
	var units float64
	var longest, sum time.Duration
	for _, o := range f.boxes {
		if o.messages == 0 {
			continue
		}
		rest := float64(o.messages-o.done) / float64(o.messages)
		least := time.Duration(rest * float64(o.least))
		units += rest * float64(o.units)
		longest, sum = max(longest, least), sum+least
	}
	left := max(longest, sum/time.Duration(f.workers)) // a mailbox has a quota of its own, and one worker
	left = max(left, daysFor(units, usage))
	if passed := time.Since(f.began); passed >= paceAfter && f.done >= paceMessages {
		left = max(left, time.Duration(float64(passed)*float64(f.total-f.done)/float64(f.done)))
	}
	return outcome{Mailboxes: len(f.boxes), Done: f.done, Total: f.total, Seconds: left.Seconds()}
}

// daysFor returns how long the budget of the day makes wait for so many units.
func daysFor(units float64, usage gmail.Usage) time.Duration {
	units -= float64(max(usage.Budget-usage.Day, 0))
	if units <= 0 || usage.Budget <= 0 {
		return 0
	}
	wait := max(time.Until(usage.Resets), 0)
	for units -= float64(usage.Budget); units > 0 && wait < 1000*24*time.Hour; units -= float64(usage.Budget) {
		wait += 24 * time.Hour
	}
	return wait
}

// String is what people are told at the beginning, "" if there is nothing to read.
func (o outcome) String() string {
	if o.Total == 0 {
		return ""
	}
	return fmt.Sprintf("About %s to read in %s; Google's quota makes that take at least %s.",
		mirrored.Counted(o.Total, "message", "messages"), mirrored.Counted(int64(o.Mailboxes), "new mailbox", "new mailboxes"), lasting(o.left()))
}

// progress is for [mirrored.Printer.Forecast].
func (f *forecast) progress() (object any, text string) {
	now := f.now()
	if now.Total > now.Done {
		text = fmt.Sprintf("%s of about %s (%d%%); about %s left",
			mirrored.Number(now.Done), mirrored.Counted(now.Total, "message", "messages"), 100*now.Done/now.Total, lasting(now.left()))
	}
	return now, text
}

// lasting writes a duration for people: "2 days 3h", "2h46m", "9s".
func lasting(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= day:
		return fmt.Sprintf("%s %dh", mirrored.Counted(int64(d/day), "day", "days"), d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm", (d+time.Minute/2)/time.Minute)
	}
	return fmt.Sprintf("%ds", (d+time.Second-1)/time.Second)
}
