package ews

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
	"github.com/mailconn/mailconn/internal/backoff"
)

const (
	// lookAnyway is after how long a mailbox is looked at although no notice came: streams stop silently.
	lookAnyway = 10 * time.Minute
	// mostStreams bounds the hanging requests of a Conn: Exchange 2013 grants an account 3. Further watchers poll.
	mostStreams = 3
	// goodbye is how long a server may take to forget a subscription. It forgets by itself too.
	goodbye = 300 * time.Millisecond
)

// The events that may mean new mail. What happens to known messages is of no interest to Follow.
var newMailEvents = []string{"NewMailEvent", "CreatedEvent", "MovedEvent", "CopiedEvent"}

// The reasons for another look, as EventWakeup tells them.
const (
	wokenByPoll   = "poll"
	wokenByNotice = "notify"
)

// A watcher says when a mailbox is worth another look. What it says is a hint: whoever follows looks at the SyncState, and
// is sent to do so every now and then even if nothing was heard. It is made by watch and belongs to one goroutine.
type watcher struct {
	conn    *Conn
	t       target
	folders []soap.FolderID
	wake    func(context.Context) (string, error) // how it waits

	stop    context.CancelFunc
	running sync.WaitGroup
	notices chan struct{} // something happened, or may have: also each time healthy changes
	healthy atomic.Bool   // a stream is being read

	pulled subscription
	looked time.Time // when the last wait ended
}

// watch begins to listen for new messages in folders of a mailbox, as the settings say. ctx ends it too. Once it listens the
// next wait returns at once, so that nothing is missed that came before. It is to be closed.
func (c *Conn) watch(ctx context.Context, t target, folders []soap.FolderID) *watcher {
	w := &watcher{conn: c, t: t, folders: folders, looked: time.Now()}
	w.wake = w.poll
	ctx, w.stop = context.WithCancel(ctx)
	switch {
	case t.public || len(folders) == 0:
	case c.cfg.notifications() == NotifyPull:
		w.wake = w.pull
	case c.cfg.notifications() == NotifyStreaming && c.streams.Add(1) <= mostStreams:
		w.notices = make(chan struct{}, 1)
		w.wake = w.listen
		w.running.Go(func() {
			defer c.streams.Add(-1)
			w.stream(ctx)
		})
	case c.cfg.notifications() == NotifyStreaming:
		c.streams.Add(-1)
		c.quirk(t, "notifications: an account may have no more streams; this mailbox is polled")
	}
	return w
}

func (c *Conn) quirk(t target, detail string) {
	c.emit(connection.Event{Kind: connection.EventQuirk, Mailbox: t.mailbox, Detail: detail})
}

// wait returns when the mailbox is worth another look, and why. Its only error is ctx.Err().
func (w *watcher) wait(ctx context.Context) (detail string, err error) {
	detail, err = w.wake(ctx)
	w.looked = time.Now()
	return detail, err
}

// close ends the listening and waits until it is over.
func (w *watcher) close() {
	w.stop()
	w.running.Wait()
	w.unsubscribe(context.Background(), w.pulled.id)
}

func (w *watcher) poll(ctx context.Context) (string, error) {
	return wokenByPoll, backoff.Wait(ctx, w.conn.cfg.pollInterval())
}

// listen waits for a notice, and polls while nobody gives any.
func (w *watcher) listen(ctx context.Context) (string, error) {
	pause := w.conn.cfg.pollInterval()
	if w.healthy.Load() {
		pause = lookAnyway
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-w.notices:
		return wokenByNotice, ctx.Err()
	case <-timer.C:
		return wokenByPoll, ctx.Err()
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// notice ends a wait, the present one or the next.
func (w *watcher) notice() {
	select {
	case w.notices <- struct{}{}:
	default:
	}
}

// subscribe asks the server to keep notes. A server that cannot is ErrUnsupported.
func (w *watcher) subscribe(ctx context.Context, streaming bool) (subscription, error) {
	op := soap.Subscribe{Streaming: streaming, Folders: w.folders, Events: newMailEvents}
	if !streaming {
		op.Timeout = pulledMinutes
	}
	r, err := w.conn.oneWith(ctx, w.t, op, callOptions{header: affinity(), patient: true})
	if err != nil {
		return subscription{}, err
	}
	return subscription{id: r.Subscription, watermark: r.Watermark}, nil
}

// unsubscribe lets the server forget a subscription. That nobody answers does no harm.
func (w *watcher) unsubscribe(ctx context.Context, id string) {
	if id == "" || w.conn.life.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()
	_, _ = w.conn.oneWith(ctx, w.t, soap.Unsubscribe{Subscription: id}, callOptions{header: affinity()})
}

// A subscription is what the server keeps notes for.
type subscription struct{ id, watermark string }
