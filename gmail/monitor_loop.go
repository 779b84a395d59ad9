package gmail

import (
	"context"
	"fmt"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// tendMonitors makes a pass of ReconcileMonitors if the last one is a day old, for Fetch with Follow: before its first poll,
// and then daily. A pass that fails is told, and does not stop the draining: the error is that of a ctx that is done.
func (c *Conn) tendMonitors(ctx context.Context) error {
	if !c.monitors.due(c.now()) {
		return ctx.Err()
	}
	stats, err := c.ReconcileMonitors(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		c.env.Log().Error("a pass over the monitors failed", "failed", stats.Failed, "error", err)
		c.emit(connection.Event{Kind: connection.EventNotice, Detail: "a pass over the monitors failed", Count: int64(stats.Failed), Err: err})
	}
	return nil
}

// probeMonitors is what Test finds out about monitors: the destination, whether the feed answers, and how long it takes to set
// up monitors for so many users.
func (c *Conn) probeMonitors(ctx context.Context, users int) (detail string, err error) {
	destination, err := c.soundDestination(ctx)
	if err != nil {
		return "", err
	}
	own := &user{Email: c.cfg.Admin}
	if c.inFeed(own) {
		if _, err := c.listMonitors(ctx, c.userPart(own)); err != nil {
			return "", err
		}
	}
	writes := c.cfg.Monitors.dailyWrites()
	days := (users + writes - 1) / writes
	detail = fmt.Sprintf("copies go to %s; %d users: initial set-up takes %d days", destination.Email, users, days)
	if spent := c.monitors.spent(c.now()); spent > 0 {
		detail += fmt.Sprintf("; %d writes of %s are spent", spent, c.now().UTC().Format(time.DateOnly))
	}
	return detail, nil
}
