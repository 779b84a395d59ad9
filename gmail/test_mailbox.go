package gmail

import (
	"errors"
	"fmt"
	"time"

	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// mailbox opens the sample.
func (t *tester) mailbox() (detail, hint string, err error) {
	c := t.conn
	switch {
	case !c.domainUse():
		t.box = c.own
	case c.cfg.monitored():
		u, err := c.destination(t.ctx)
		if err != nil {
			return "", "", err
		}
		t.box = c.people.add(u)
	}
	t.box.rest(nil, time.Time{})
	if t.profile, err = c.profile(t.ctx, t.box, quota.Other); err != nil {
		name := or(t.box.email(), "the mailbox")
		switch {
		case errors.Is(err, ErrNoMailbox):
			hint = name + " has no Gmail (licence off or suspended)"
		case errors.Is(err, ErrDelegation):
			_, hint, _ = t.tokens(t.box, []string{scopeRead})
		}
		return "", or(hint, t.enable("Gmail", err)), err
	}
	if t.box == c.own {
		c.people.setOwn(t.profile.Email)
	}
	return fmt.Sprintf("%s, %s messages", t.profile.Email, or(t.profile.Messages.String(), "unknown")), "", nil
}

// read walks the way of a synchronization.
func (t *tester) read() (detail, hint string, err error) {
	c := t.conn
	set, err := c.labelSet(t.ctx, t.box)
	if err != nil {
		return "", "", err
	}
	detail = fmt.Sprintf("%d labels of its own", len(set.paths()))
	if _, err := c.history(t.ctx, t.box, string(t.profile.History), ""); err != nil {
		return detail, "", err
	}
	ids, _, err := c.list(t.ctx, t.box, listing{work: quota.Other}, "")
	if err != nil {
		return detail, "", err
	}
	detail += ", history answers"
	if len(ids) == 0 {
		return detail + ", no message", "", nil
	}
	m, err := c.load(t.ctx, t.box, ids[0], quota.Other)
	if errors.Is(err, ErrNoRaw) {
		return detail + ", the newest message is one that Gmail does not give", "", nil
	}
	if err != nil {
		return detail, "", err
	}
	return fmt.Sprintf("%s, the newest message has %d octets", detail, m.Size), "", m.Close()
}

// monitors looks at what monitors rest on.
func (t *tester) monitors() (detail, hint string, err error) {
	detail, err = t.conn.probeMonitors(t.ctx, t.users)
	return detail, "", err
}

// longestFirst is the duration of a first synchronization that somebody should know of before.
const longestFirst = 7 * 24 * time.Hour

// estimate says how long a first synchronization takes, if all mailboxes are like the sample.
func (t *tester) estimate() (detail, hint string, err error) {
	c := t.conn
	messages, err := t.profile.Messages.Int64()
	if err != nil || messages < 0 {
		return "the server does not say how many messages there are", "", nil //nolint:nilerr // an estimate is no condition
	}
	boxes := int64(1)
	if c.domainUse() && !c.cfg.monitored() {
		boxes = int64(max(t.users, 1))
	}
	one := c.estimate(messages)
	units := float64(one.Units) * float64(boxes)
	shared := max(units/quota.ProjectLimit, units/float64(c.cfg.dailyBudget())*24*60) // minutes, by what all mailboxes share
	eta := max(one.Time, time.Duration(min(shared, 1e6*60)*float64(time.Minute)))
	detail = fmt.Sprintf("about %d messages in %d mailboxes like this one, %.0f units: a first synchronization takes at least %s", messages*boxes, boxes, units, span(eta))
	if t.more {
		detail += ", and there are more mailboxes"
	}
	if eta > longestFirst {
		hint = "daily_budget, quota_profile: Google's quotas make a first synchronization last so long; include fewer mailboxes to begin with"
	}
	return detail, hint, nil
}

// span writes a duration for people.
func span(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return "a minute"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	}
	return fmt.Sprintf("%.1f days", d.Hours()/24)
}
