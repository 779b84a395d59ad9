package ews

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/ewshttp"
	"github.com/mailconn/mailconn/ews/internal/soap"
	"github.com/mailconn/mailconn/internal/backoff"
)

const (
	// streamSilence is how long a stream may be silent: a heartbeat comes every 45 s.
	streamSilence = 90 * time.Second
	// streamMinutes is how long one GetStreamingEvents lasts: the longest that there is.
	streamMinutes = 30
)

// affinity returns the header fields that keep the requests about a subscription on one server.
func affinity() http.Header { return http.Header{"X-Preferserveraffinity": {"true"}} }

// streamPolicy is how long to wait before subscribing again.
var streamPolicy = backoff.Policy{Min: time.Second, Max: time.Minute}

// stream reads streams of notifications, one after the other, until ctx ends or the server says that it has none.
func (w *watcher) stream(ctx context.Context) {
	for failures := 1; ; failures++ {
		err := w.session(ctx)
		if w.healthy.Swap(false) {
			failures = 1
			w.notice() // what happens from now on is in no notice
		}
		if ctx.Err() != nil {
			return
		}
		if connection.KindOf(err) == connection.ErrUnsupported {
			w.conn.quirk(w.t, "notifications: the server has no streams; the mailbox is polled")
			return
		}
		if backoff.Wait(ctx, streamPolicy.Delay(failures, connection.RetryAfter(err))) != nil {
			return
		}
	}
}

// session subscribes, and reads the stream until it ends, or is of no use any more.
func (w *watcher) session(ctx context.Context) error {
	sub, err := w.subscribe(ctx, true)
	if err != nil {
		return err
	}
	if sub.id == "" {
		return errors.New("the server gave no subscription")
	}
	defer w.unsubscribe(ctx, sub.id)
	body, err := w.open(ctx, sub.id)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // nothing of it is wanted any more
	w.healthy.Store(true)
	w.notice() // what came before the subscription is in no notice
	events := soap.NewEventReader(body)
	for failures := 0; ; {
		r, err := events.Next()
		if err != nil {
			return err // io.EOF, with or without a word before
		}
		for _, n := range r.Notifications {
			for _, e := range n.Events {
				if mayBeNews(e) {
					w.notice()
				}
			}
		}
		if e := refusal(r); e != nil {
			// A server was seen to repeat an error for ever, with the status OK.
			if failures++; failures >= stuckAfter || judge(e.code, e.inner).kind == connection.ErrStale {
				return e
			}
		} else {
			failures = 0
		}
		if strings.EqualFold(r.ConnectionStatus, "Closed") {
			return nil
		}
	}
}

// open asks for the stream of a subscription. It lasts for minutes, and so takes no slot of the mailbox's budget.
func (w *watcher) open(ctx context.Context, id string) (io.ReadCloser, error) {
	c := w.conn
	u, err := c.endpointOf(ctx, w.t)
	if err != nil {
		return nil, err
	}
	op := soap.GetStreamingEvents{Subscriptions: []string{id}, Minutes: streamMinutes}
	version := c.learnt.version(w.t.key(), u.Host, c.cfg.ceiling())
	body, err := soap.Encode(soap.Header{Version: version, As: w.t.as}, op)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(ctx, &ewshttp.Request{
		URL: u, Op: op.Name(), Header: affinity(), Body: body, Mailbox: w.t.address, Owner: w.t.owner(),
		Stream: true, Safe: true, Patient: true, NoData: streamSilence,
	})
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}
