package ews

import (
	"context"
	"slices"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
	"github.com/mailconn/mailconn/internal/backoff"
)

// pulledMinutes is how long a subscription lives without being asked about.
const pulledMinutes = 30

// pull asks every poll_interval for the notes of a subscription, which is less work for the server than a look. What goes
// wrong ends in a look: only that tells whether the mailbox can be read.
func (w *watcher) pull(ctx context.Context) (string, error) {
	if w.pulled.id == "" {
		sub, err := w.subscribe(ctx, false)
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case connection.KindOf(err) == connection.ErrUnsupported, err == nil && (sub.id == "" || sub.watermark == ""):
			w.conn.quirk(w.t, "notifications: the server gives no subscription that can be pulled; the mailbox is polled")
			w.wake = w.poll
			w.unsubscribe(ctx, sub.id)
			return w.poll(ctx)
		case err != nil:
			return w.poll(ctx)
		}
		w.pulled = sub
		return wokenByNotice, nil // what came before it is not in its notes
	}
	for {
		if err := backoff.Wait(ctx, w.conn.cfg.pollInterval()); err != nil {
			return "", err
		}
		news, err := w.notes(ctx)
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case err != nil:
			w.pulled = subscription{}
			return wokenByPoll, nil
		case news:
			return wokenByNotice, nil
		case time.Since(w.looked) >= lookAnyway:
			return wokenByPoll, nil
		}
	}
}

// notes fetches what the subscription has noted, and reports whether that may mean new mail.
func (w *watcher) notes(ctx context.Context) (news bool, err error) {
	for range mostNotes {
		op := soap.GetEvents{Subscription: w.pulled.id, Watermark: w.pulled.watermark}
		r, err := w.conn.oneWith(ctx, w.t, op, callOptions{header: affinity(), patient: true})
		if err != nil {
			return false, err
		}
		before, more := w.pulled.watermark, false
		for _, n := range r.Notifications {
			more = more || n.More
			for _, e := range n.Events {
				w.pulled.watermark = or(e.Watermark, w.pulled.watermark)
				news = news || mayBeNews(e)
			}
		}
		if !more || w.pulled.watermark == before {
			break
		}
	}
	return news, nil
}

// mostNotes bounds how many pages of notes are fetched before the mailbox is looked at.
const mostNotes = 100

func mayBeNews(e soap.Event) bool { return slices.Contains(newMailEvents, e.Kind) }
