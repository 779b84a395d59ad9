package gmail

import (
	"errors"
	"slices"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// follow yields what is there and what comes later, until ctx ends.
func (f *fetch) follow() error {
	l := f.conn.news.listen(f.box)
	defer l.close()
	active, idle := f.conn.Polling()
	pause := active
	for failures := 0; ; {
		if f.conn.cfg.monitored() {
			if err := f.conn.tendMonitors(f.ctx); err != nil {
				return err
			}
		}
		before, cursor := f.count, f.cursor
		err := f.look()
		switch {
		case err == nil:
			failures = 0
		case f.ctx.Err() != nil, !passes(err):
			return err
		default:
			failures++
			f.conn.emit(connection.Event{Kind: connection.EventRetry, Mailbox: f.box.shown(), Until: f.conn.now().Add(pause), Detail: err.Error(), Err: err})
		}
		switch {
		case failures > 0:
			pause = max(min(active<<min(failures-1, 10), max(idle, active)), connection.RetryAfter(err))
		case f.count > before || f.cursor != cursor:
			pause = active
		default:
			pause = min(2*pause, max(idle, active))
		}
		told, err := l.wait(f.ctx, pause, f.cursor)
		if err != nil {
			return err
		}
		detail := "poll"
		if told {
			detail = "notify"
		}
		f.conn.emit(connection.Event{Kind: connection.EventWakeup, Mailbox: f.box.shown(), Detail: detail})
	}
}

// passes reports whether following goes on after err. A day's quota comes back.
func passes(err error) bool {
	return connection.Temporary(err) || errors.Is(err, ErrQuotaDaily) && connection.RetryAfter(err) > 0
}

// look yields what is new since it last looked: at first everything.
func (f *fetch) look() error {
	now, err := f.conn.profile(f.ctx, f.box, quota.Delta)
	if err != nil {
		return err
	}
	if f.labels == nil {
		if err := f.folders(); err != nil {
			return err
		}
	}
	if err := f.again(); err != nil {
		return err
	}
	next := string(now.History)
	if f.cursor != "" {
		if f.cursor == next {
			return nil
		}
		ids, err := f.happened()
		if err == nil {
			f.passed = newIDSet()
			if err = f.deliver(ids); err == nil {
				f.cursor = next
			}
			return err
		}
		if connection.KindOf(err) != connection.ErrStale {
			return err
		}
		f.conn.emit(connection.Event{Kind: connection.EventRestarted, Mailbox: f.box.shown(), Detail: err.Error(), Err: err})
	}
	// What comes while this lists is found in the history behind next.
	if err := f.all(); err != nil {
		return err
	}
	f.cursor = next
	return nil
}

// happened returns the messages, of those not yielded yet, that came or had their labels changed since the cursor.
func (f *fetch) happened() ([]string, error) {
	w := newWindow()
	var guard pageGuard
	for token := ""; ; {
		page, err := f.conn.history(f.ctx, f.box, f.cursor, token)
		if expiredPage(err, token) {
			return nil, &connection.Error{Kind: connection.ErrStale, Err: err}
		}
		if err != nil {
			return nil, err
		}
		for i := range page.Records {
			w.add(&page.Records[i], func(id, _ string) bool { return f.seen.has(id) })
		}
		if len(w.fates) > mostHappened {
			return nil, &connection.Error{Kind: connection.ErrStale, Err: errors.New("so much has happened that listing is cheaper")}
		}
		if err := guard.next("history.list", page.Next, len(page.Records)); err != nil {
			return nil, err
		}
		if token = page.Next; token == "" {
			break
		}
	}
	var ids []string
	for _, f := range w.fates {
		if !f.deleted {
			ids = append(ids, f.id)
		}
	}
	return ids, nil
}

// mostHappened bounds what is kept of a history.
const mostHappened = 100_000

// again tries what could not be read before, if that was a while ago.
func (f *fetch) again() error {
	_, idle := f.conn.Polling()
	if len(f.failed) == 0 || f.conn.now().Sub(f.tried) < max(idle, time.Minute) {
		return nil
	}
	f.tried = f.conn.now()
	if f.passed == nil {
		f.passed = newIDSet()
	}
	f.trouble.over()
	err := f.deliver(slices.Clone(f.failed))
	if errors.As(err, new(tooMany)) {
		return nil // the others have their turn later
	}
	return err
}

// settle forgets that a message was to be tried again.
func (f *fetch) settle(id string) {
	f.failed = slices.DeleteFunc(f.failed, func(other string) bool { return other == id })
}
