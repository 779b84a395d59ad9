package gmail

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/audit"
)

// MonitorStats say what a pass of ReconcileMonitors found and did.
type MonitorStats struct {
	Users   int `json:"users"`   // who are to be monitored
	Created int `json:"created"` // monitors of users that had none
	Renewed int `json:"renewed"` // monitors that were to end soon, or were not as Config.Monitors says
	Removed int `json:"removed"` // monitors of users who are not selected any more
	Pending int `json:"pending"` // what is left for the days to come, as Config.Monitors.DailyWrites is spent
	Failed  int `json:"failed"`  // users with whom something went wrong
}

const (
	mostMonitorErrors = 100 // that are returned; all are told as events
	failuresInARow    = 3   // temporary ones after which a pass ends
	savePatience      = 10 * time.Second
)

// ReconcileMonitors makes one pass over the domain: every user that the settings select, but for the destination, gets a
// monitor to Config.Monitors.Destination if there is none, and a new one if it ends soon or is not as the settings say;
// RemoveDeparted also ends those of users who are not selected any more, as far as earlier passes have seen them. Those without
// a monitor come first, then those that end soonest. Nothing is removed unless the directory was read to its end.
//
// What Google said about a user is believed for CheckInterval. Not more than DailyWrites requests a day make or remove
// monitors, counted in Options.State; what is left is Pending, no error, and is done by passes on the days to come.
//
// The error joins an *Error for each user with whom something went wrong (the first 100), its Ref with the user's id. Any other
// error has ended the pass; it is ErrMonitorsUnavailable if Google offers no monitors any more. The stats hold what was done
// until then. Passes of one Conn run one after the other. They need the token of a super administrator.
func (c *Conn) ReconcileMonitors(ctx context.Context) (MonitorStats, error) {
	const op = "reconcile monitors"
	ctx, leave, err := c.enter(ctx, op)
	if err != nil {
		return MonitorStats{}, err
	}
	defer leave()
	p := &monitorPass{conn: c, ctx: ctx, op: op}
	err = p.run()
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return p.stats, c.ended(ctx, op, connection.Ref{})
	default:
		return p.stats, errors.Join(append(p.errs, c.fail(op, connection.Ref{}, err))...)
	}
	return p.stats, errors.Join(p.errs...)
}

// A monitorPass is one ReconcileMonitors.
type monitorPass struct {
	conn  *Conn
	ctx   context.Context
	op    string
	stats MonitorStats
	errs  []error
	row   int // temporary failures one after the other

	destination *user
	users       []*user         // who are to be monitored
	selected    map[string]bool // ids of all who are selected, also of those whose mail cannot be read
	names       map[string]bool // user parts of all users of the domain
}

// A monitorTask is one write.
type monitorTask struct {
	user    *user // nil: the monitor is removed
	id      string
	seen    seenMonitor
	created bool
}

func (p *monitorPass) run() (err error) {
	c := p.conn
	end, err := c.monitors.begin(p.ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := c.monitors.load(p.ctx, c); err != nil {
		return err
	}
	if p.destination, err = c.soundDestination(p.ctx); err != nil {
		return err
	}
	if err := p.list(); err != nil {
		return err
	}
	defer func() {
		// What was learnt is good, however the pass ends.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), savePatience)
		defer cancel()
		err = errors.Join(err, c.monitors.save(ctx, c))
	}()
	tasks, err := p.plan()
	if err != nil {
		return err
	}
	return p.work(tasks)
}

// list reads the directory.
func (p *monitorPass) list() error {
	c := p.conn
	p.selected, p.names = make(map[string]bool), make(map[string]bool)
	for u, err := range c.users(p.ctx) {
		if err != nil {
			return err
		}
		if c.inFeed(u) {
			p.names[c.userPart(u)] = true
		}
		if u.Skip == skipNotSelected || u.ID == p.destination.ID {
			continue
		}
		p.selected[u.ID] = true
		switch {
		case u.Skip != "":
		case !c.inFeed(u):
			c.emit(connection.Event{Kind: connection.EventSkipped, Mailbox: u.ID, Detail: u.Email + ": no monitor, since it is not in domain " + c.cfg.feedDomain()})
		default:
			p.users = append(p.users, u)
		}
	}
	p.stats.Users = len(p.users)
	return nil
}

// plan finds out what each user has, and returns what is to be done, in order.
func (p *monitorPass) plan() ([]monitorTask, error) {
	c := p.conn
	var tasks []monitorTask
	known := c.monitors.known()
	for _, u := range p.users {
		seen, ok := known[u.ID]
		if !ok || !p.believed(u, seen) {
			var err error
			if seen, err = p.look(u); err != nil {
				if err := p.failed(u.ID, err); err != nil {
					return nil, err
				}
				continue
			}
			p.row = 0
			c.monitors.learn(u.ID, seen)
		}
		switch want := c.wanted(u, p.destination); {
		case seen.None:
			tasks = append(tasks, monitorTask{user: u, id: u.ID, created: true})
		case seen.End.IsZero():
			// Renewing it each day would cost all others their turn.
			err := &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the feed does not say when the monitor ends")}
			if err := p.failed(u.ID, err); err != nil {
				return nil, err
			}
		case seen.End.Before(c.now().Add(c.cfg.Monitors.renewBefore())), seen.Levels != levelsOf(want):
			tasks = append(tasks, monitorTask{user: u, id: u.ID, seen: seen})
		}
	}
	// Where there is no monitor there is no End either: those come first.
	slices.SortStableFunc(tasks, func(a, b monitorTask) int { return a.seen.End.Compare(b.seen.End) })
	return append(tasks, p.departed(known)...), nil
}

// believed reports whether it is too early to ask about a user again.
func (p *monitorPass) believed(u *user, seen seenMonitor) bool {
	c := p.conn
	age := c.now().Sub(seen.At)
	return seen.Source == c.userPart(u) && seen.Destination == c.userPart(p.destination) && age >= 0 && age < c.cfg.Monitors.checkInterval()
}

// look asks for the monitor of a user.
func (p *monitorPass) look(u *user) (seenMonitor, error) {
	c := p.conn
	none := seenMonitor{Source: c.userPart(u), Destination: c.userPart(p.destination), At: c.now(), None: true}
	all, err := c.listMonitors(p.ctx, none.Source)
	if err != nil {
		return seenMonitor{}, err
	}
	for _, m := range all {
		if strings.EqualFold(m.Destination, none.Destination) && (m.End.IsZero() || m.End.After(c.now())) {
			seen := c.seen(m)
			seen.Destination = none.Destination
			return seen, nil
		}
	}
	return none, nil
}

// departed returns what is to be removed.
func (p *monitorPass) departed(known map[string]seenMonitor) []monitorTask {
	c := p.conn
	if !c.cfg.Monitors.RemoveDeparted {
		return nil
	}
	var tasks []monitorTask
	for id, seen := range known {
		switch {
		case p.selected[id]:
		case seen.None || !p.names[seen.Source] && id != p.destination.ID:
			// There is nothing to remove, or the account is gone, and its monitor with it.
			c.monitors.forget(id)
		default:
			tasks = append(tasks, monitorTask{id: id, seen: seen})
		}
	}
	slices.SortFunc(tasks, func(a, b monitorTask) int { return cmp.Compare(a.seen.Source, b.seen.Source) })
	return tasks
}

// work carries out tasks until the day's writes are spent.
func (p *monitorPass) work(tasks []monitorTask) error {
	c := p.conn
	for i, task := range tasks {
		err := p.carryOut(task)
		switch {
		case err == nil:
			p.row = 0
			continue
		case errors.Is(err, errWritesSpent):
			p.stats.Pending = len(tasks) - i
			text := fmt.Sprintf("monitors: %d pending, as the writes of this day are spent", p.stats.Pending)
			c.env.Log().Info(text, "pending", p.stats.Pending)
			c.emit(connection.Event{Kind: connection.EventThrottled, Detail: text, Count: int64(p.stats.Pending), Until: c.now().Add(connection.RetryAfter(err))})
			return nil
		}
		if err := p.failed(task.id, err); err != nil {
			return err
		}
	}
	return nil
}

func (p *monitorPass) carryOut(task monitorTask) error {
	c := p.conn
	if task.user == nil {
		if err := c.dropMonitor(p.ctx, task.seen.Source, task.seen.Destination); err != nil {
			return err
		}
		c.monitors.forget(task.id)
		p.stats.Removed++
		return nil
	}
	made, err := c.writeMonitor(p.ctx, c.wanted(task.user, p.destination))
	if err != nil {
		return err
	}
	if made.End.IsZero() {
		made.End = c.wanted(task.user, p.destination).End
	}
	c.monitors.learn(task.id, c.seen(made))
	if task.created {
		p.stats.Created++
	} else {
		p.stats.Renewed++
	}
	return nil
}

// failed counts an error that concerns one user, and returns one that concerns all.
func (p *monitorPass) failed(id string, err error) error {
	c := p.conn
	switch kind := connection.KindOf(err); kind {
	case connection.ErrCanceled, connection.ErrClosed, connection.ErrAuth, connection.ErrTLS, connection.ErrConfig, connection.ErrQuota, connection.ErrThrottled:
		return err
	case connection.ErrPermission:
		if !audit.IsSuspended(err) {
			return err
		}
	case connection.ErrNetwork, connection.ErrTimeout, connection.ErrUnavailable, connection.ErrUnknown:
		if p.row++; p.row >= failuresInARow || kind == connection.ErrUnknown {
			return err
		}
	}
	if p.ctx.Err() != nil || errors.Is(err, ErrMonitorsUnavailable) {
		return err
	}
	p.stats.Failed++
	e := c.fail(p.op, connection.Ref{Mailbox: id}, err)
	if len(p.errs) < mostMonitorErrors {
		p.errs = append(p.errs, e)
	}
	c.emit(connection.Event{Kind: connection.EventSkipped, Mailbox: id, Detail: "no monitor was set: " + e.Error(), Err: e})
	return nil
}
