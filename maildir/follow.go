package maildir

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/mailconn/mailconn/connection"
)

// maxWatches is how many directories notification is asked for; those beyond are only polled. Systems limit them.
const maxWatches = 4096

// restFactor keeps a Follow over many directories from keeping a core busy: it rests so many times as long as it took
// to look at them, though never longer than the poll interval.
const restFactor = 4

// followed is what a Fetch knows of a folder.
type followed struct {
	seen  *seen
	stamp string // of the last pass; "" if it must be read again
}

// follow looks for more until ctx is done.
func (f *fetch) follow() error {
	poll := f.c.cfg.pollInterval()
	timer := time.NewTimer(poll)
	defer timer.Stop()
	var rest time.Duration
	for {
		timer.Reset(poll)
		why := "poll"
		select {
		case <-f.ctx.Done():
			return ended(f.ctx)
		case <-timer.C:
		case <-f.notify.events():
			why = "notify"
			timer.Reset(min(rest, poll))
			if err := f.settle(timer.C); err != nil {
				return err
			}
		case <-f.notify.errors(): //nolint:errcheck // what the error says does not matter
			// Events were lost: that, too, is a reason to look.
			why = "notify"
		}
		f.c.observe(connection.Event{Kind: connection.EventWakeup, Mailbox: f.opts.Mailbox, Detail: why})
		began := time.Now()
		if err := f.mailboxes(); err != nil {
			return err
		}
		rest = restFactor * time.Since(began)
	}
}

// settle takes the events that come until the timer fires: one look serves them all.
func (f *fetch) settle(timer <-chan time.Time) error {
	for {
		select {
		case <-f.ctx.Done():
			return ended(f.ctx)
		case <-timer:
			return nil
		case <-f.notify.events():
		}
	}
}

// A notifier passes on the system's notification of changes. All methods may be called on nil.
type notifier struct {
	w       *fsnotify.Watcher
	watched map[string]bool
	full    bool
	c       *Conn
	ctx     context.Context
}

// newNotifier returns nil if the system offers no notification.
func (c *Conn) newNotifier(ctx context.Context) *notifier {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		c.env.Log().InfoContext(ctx, "no file notification: polling only", "error", err.Error())
		return nil
	}
	return &notifier{w: w, watched: map[string]bool{}, c: c, ctx: ctx}
}

// watch asks for events of the folder in dir. That it fails is no error: the poll remains.
func (n *notifier) watch(dir string) {
	if n == nil || n.full {
		return
	}
	for _, sub := range []string{"new", "cur"} {
		path := filepath.Join(dir, sub)
		if n.watched[path] {
			continue
		}
		if len(n.watched) >= maxWatches {
			n.full = true
			n.c.env.Log().InfoContext(n.ctx, "too many directories for notification: the rest is polled", "watched", len(n.watched))
			return
		}
		if err := n.w.Add(path); err != nil {
			n.c.env.Log().DebugContext(n.ctx, "no file notification", "path", path, "error", err.Error())
			continue
		}
		n.watched[path] = true
	}
}

func (n *notifier) events() <-chan fsnotify.Event {
	if n == nil {
		return nil
	}
	return n.w.Events
}

func (n *notifier) errors() <-chan error {
	if n == nil {
		return nil
	}
	return n.w.Errors
}

func (n *notifier) close() {
	if n != nil {
		_ = n.w.Close() // nothing depends on it
	}
}
