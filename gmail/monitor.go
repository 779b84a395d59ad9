package gmail

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/audit"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// A Monitor makes Google send Destination a copy of what Source receives and sends. Both are addresses.
type Monitor struct {
	Source      string    `json:"source"`
	Destination string    `json:"destination"`
	Begin       time.Time `json:"begin,omitzero"`
	End         time.Time `json:"end,omitzero"` // zero if Google did not say it
	Incoming    string    `json:"incoming"`     // LevelNone, LevelHeaders or LevelFull; another word as Google said it
	Outgoing    string    `json:"outgoing"`
	Drafts      string    `json:"drafts"`
	Chat        string    `json:"chat"`
}

// Monitors returns the monitors that copy the mail of a mailbox, to whatever destination. There is no list for the whole
// domain: Google tells them for each user alone. It needs the token of a super administrator.
func (c *Conn) Monitors(ctx context.Context, mailbox string) ([]Monitor, error) {
	const op = "monitors"
	ctx, leave, err := c.enter(ctx, op)
	if err != nil {
		return nil, err
	}
	defer leave()
	source, err := c.source(ctx, mailbox)
	if err != nil {
		return nil, c.failMonitor(ctx, op, mailbox, err)
	}
	found, err := c.listMonitors(ctx, c.userPart(source))
	if err != nil {
		return nil, c.failMonitor(ctx, op, mailbox, err)
	}
	all := make([]Monitor, len(found))
	for i := range found {
		all[i] = c.monitor(&found[i])
	}
	return all, nil
}

// SetMonitor makes the monitor of a mailbox as Config.Monitors describes it, or renews the one that there is, and counts
// against Config.Monitors.DailyWrites: when those are spent the error is ErrQuota. A mailbox that cannot be monitored is
// refused before anything is asked: the destination itself, one in another domain, one that is suspended. It needs the token
// of a super administrator. ErrMonitorsUnavailable means that Google offers this no more.
func (c *Conn) SetMonitor(ctx context.Context, mailbox string) (*Monitor, error) {
	const op = "set monitor"
	ctx, leave, err := c.enter(ctx, op)
	if err != nil {
		return nil, err
	}
	defer leave()
	made, err := c.setMonitor(ctx, mailbox)
	if err != nil {
		return nil, c.failMonitor(ctx, op, mailbox, err)
	}
	return made, nil
}

func (c *Conn) setMonitor(ctx context.Context, mailbox string) (*Monitor, error) {
	destination, err := c.soundDestination(ctx)
	if err != nil {
		return nil, err
	}
	source, err := c.source(ctx, mailbox)
	if err != nil {
		return nil, err
	}
	if source.ID == destination.ID {
		return nil, &connection.Error{Kind: connection.ErrInvalid, Err: errors.New("the destination of the monitors cannot be monitored itself")}
	}
	if source.Skip != "" {
		return nil, &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("%s cannot be monitored: %s", source.Email, source.Skip)}
	}
	if err := c.monitors.load(ctx, c); err != nil {
		return nil, err
	}
	made, err := c.writeMonitor(ctx, c.wanted(source, destination))
	if err != nil {
		return nil, err
	}
	c.monitors.learn(source.ID, c.seen(made))
	m := c.monitor(&made)
	return &m, c.monitors.save(ctx, c)
}

// RemoveMonitor ends the monitor from a mailbox to Config.Monitors.Destination. One that is not there is no error. It counts
// as SetMonitor does.
func (c *Conn) RemoveMonitor(ctx context.Context, mailbox string) error {
	const op = "remove monitor"
	ctx, leave, err := c.enter(ctx, op)
	if err != nil {
		return err
	}
	defer leave()
	if err := c.removeMonitor(ctx, mailbox); err != nil {
		return c.failMonitor(ctx, op, mailbox, err)
	}
	return nil
}

func (c *Conn) removeMonitor(ctx context.Context, mailbox string) error {
	destination, err := c.destination(ctx)
	if err != nil {
		return err
	}
	source, err := c.source(ctx, mailbox)
	if err != nil {
		return err
	}
	if err := c.monitors.load(ctx, c); err != nil {
		return err
	}
	if err := c.dropMonitor(ctx, c.userPart(source), c.userPart(destination)); err != nil {
		return err
	}
	c.monitors.forget(source.ID)
	return c.monitors.save(ctx, c)
}

// failMonitor returns err as the error of a verb about the monitor of a mailbox.
func (c *Conn) failMonitor(ctx context.Context, op, mailbox string, err error) error {
	if ctx.Err() != nil {
		return c.ended(ctx, op, connection.Ref{})
	}
	return c.failMailbox(op, mailbox, err)
}

// source returns the user of a mailbox that may be monitored: one of the feed's domain.
func (c *Conn) source(ctx context.Context, mailbox string) (*user, error) {
	switch {
	case !c.domainUse():
		return nil, &connection.Error{Kind: connection.ErrConfig, Err: errors.New("monitors need the credentials of a domain"), Hint: "credentials: give the key of a service account, and admin"}
	case mailbox == "":
		return nil, &connection.Error{Kind: connection.ErrInvalid, Err: errors.New("no mailbox given")}
	}
	u, err := c.user(ctx, mailbox)
	if err != nil {
		return nil, err
	}
	if !c.inFeed(u) {
		return nil, &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("%s is not in domain %s, whose monitors these settings keep", u.Email, c.cfg.feedDomain())}
	}
	return u, nil
}

// inFeed reports whether a user is in the domain of the feed. Source, destination and administrator share one.
func (c *Conn) inFeed(u *user) bool {
	_, domain, _ := strings.Cut(u.Email, "@")
	return strings.EqualFold(domain, c.cfg.feedDomain())
}

// userPart is what stands before the @ of a user's primary address: the feed knows users by it.
func (c *Conn) userPart(u *user) string {
	part, _, _ := strings.Cut(u.Email, "@")
	return strings.ToLower(part)
}

// The levels, as the feed calls them.
var levels = map[string]audit.Level{LevelNone: "", LevelHeaders: audit.Headers, LevelFull: audit.Full}

func levelWord(l audit.Level) string {
	for word, level := range levels {
		if level == l {
			return word
		}
	}
	return string(l)
}

func (c *Conn) monitor(m *audit.Monitor) Monitor {
	address := func(part string) string { return part + "@" + c.cfg.feedDomain() }
	return Monitor{
		Source: address(m.Source), Destination: address(m.Destination), Begin: m.Begin, End: m.End,
		Incoming: levelWord(m.Incoming), Outgoing: levelWord(m.Outgoing), Drafts: levelWord(m.Drafts), Chat: levelWord(m.Chat),
	}
}

// wanted is the monitor that a user is to have. All its levels are there, since an update resets those that are missing. It
// ends up to renew_before earlier than lifetime says, by a day that hangs on the user: monitors that were made on one day
// need not be renewed on one day, and could not.
func (c *Conn) wanted(source, destination *user) audit.Monitor {
	o := &c.cfg.Monitors
	const day = 24 * time.Hour
	spread := min(o.renewBefore(), (o.lifetime()-o.renewBefore())/2)
	h := fnv.New32a()
	_, _ = h.Write([]byte(source.ID)) // a hash takes everything
	early := time.Duration(h.Sum32()%uint32(max(spread/day, 1))) * day
	return audit.Monitor{
		Source: c.userPart(source), Destination: c.userPart(destination),
		End:      c.now().Add(o.lifetime() - early).UTC().Truncate(time.Minute),
		Incoming: levels[or(o.Incoming, LevelFull)], Outgoing: levels[or(o.Outgoing, LevelFull)],
		Drafts: levels[or(o.Drafts, LevelNone)], Chat: levels[or(o.Chat, LevelNone)],
	}
}

// destinationAddress is what the settings call the destination, with its domain; "" if they name none.
func (c *Conn) destinationAddress() string {
	name := c.cfg.Monitors.Destination
	if name == "" || strings.Contains(name, "@") {
		return name
	}
	return name + "@" + c.cfg.feedDomain()
}

// destination returns the user whose mailbox receives the copies. It is looked up from time to time only.
func (c *Conn) destination(ctx context.Context) (*user, error) {
	if u := c.monitors.knownDestination(c.now()); u != nil {
		return u, nil
	}
	name := c.destinationAddress()
	switch {
	case !c.domainUse():
		return nil, &connection.Error{Kind: connection.ErrConfig, Err: errors.New("monitors need the credentials of a domain"), Hint: "credentials: give the key of a service account, and admin"}
	case name == "":
		return nil, &connection.Error{Kind: connection.ErrConfig, Err: errors.New("monitors.destination: missing"), Hint: "monitors.destination: name the mailbox that receives the copies"}
	}
	u, err := c.user(ctx, name)
	if connection.KindOf(err) == connection.ErrNotFound {
		return nil, &connection.Error{Kind: connection.ErrConfig, Err: fmt.Errorf("monitors.destination: %w", err), Hint: "monitors.destination: name a user of " + c.cfg.feedDomain()}
	}
	if err != nil {
		return nil, err
	}
	c.monitors.setDestination(u, c.now())
	return u, nil
}

// soundDestination is destination for those who let copies be sent to it: it is looked up, and must be able to receive them.
func (c *Conn) soundDestination(ctx context.Context) (*user, error) {
	c.monitors.setDestination(nil, c.now())
	u, err := c.destination(ctx)
	if err != nil {
		return nil, err
	}
	bad := ""
	switch {
	case u.Skip != "":
		bad = u.Skip
	case !c.inFeed(u):
		bad = "not in domain " + c.cfg.feedDomain()
	default:
		return u, nil
	}
	return nil, &connection.Error{
		Kind: connection.ErrConfig, Err: fmt.Errorf("monitors.destination: %s: %s", u.Email, bad),
		Hint: "monitors.destination: it must be an active mailbox of the domain whose users are monitored",
	}
}

// feed makes one call to the audit feed.
func (c *Conn) feed(ctx context.Context, method string, fn func(ctx context.Context, f *audit.Client) error) error {
	f := &audit.Client{HTTP: c.client, Base: c.sites.audit, Domain: c.cfg.feedDomain()}
	return c.do(ctx, c.admin, call{method: method, scope: scopeAudit, safe: true, work: quota.Other}, func(ctx context.Context) error {
		x := exchangeOf(ctx)
		x.pages = true // they are a sign that the feed is no more
		err := fn(ctx, f)
		var r *audit.Refusal
		if errors.As(err, &r) { // which may echo the token
			r.Text, r.Reason, r.Input = x.clean(r.Text), x.clean(r.Reason), x.clean(r.Input)
		}
		return err
	})
}

func (c *Conn) listMonitors(ctx context.Context, source string) (all []audit.Monitor, err error) {
	list := func(of string) error {
		return c.feed(ctx, "audit.list", func(ctx context.Context, f *audit.Client) (err error) {
			all, err = f.List(ctx, of)
			return err
		})
	}
	err = c.unlessGone(ctx, list(source))
	return all, err
}

// writeMonitor makes or renews a monitor. Each attempt counts, also one that fails.
func (c *Conn) writeMonitor(ctx context.Context, m audit.Monitor) (made audit.Monitor, err error) {
	err = c.feed(ctx, "audit.create", func(ctx context.Context, f *audit.Client) (err error) {
		if err := c.monitors.spend(ctx, c); err != nil {
			return err
		}
		made, err = f.Set(ctx, m)
		return err
	})
	return made, c.unlessGone(ctx, err)
}

func (c *Conn) dropMonitor(ctx context.Context, source, destination string) error {
	err := c.feed(ctx, "audit.delete", func(ctx context.Context, f *audit.Client) error {
		if err := c.monitors.spend(ctx, c); err != nil {
			return err
		}
		return f.Remove(ctx, source, destination)
	})
	return c.unlessGone(ctx, err)
}

// unlessGone returns err, or if it looks as if there were no monitors any more asks for those of the administrator: only if
// that looks the same it is so, and the error is ErrMonitorsUnavailable.
func (c *Conn) unlessGone(ctx context.Context, err error) error {
	if !audit.IsGone(err) {
		return err
	}
	own, _, _ := strings.Cut(c.cfg.Admin, "@")
	again := c.feed(ctx, "audit.list", func(ctx context.Context, f *audit.Client) error {
		_, err := f.List(ctx, strings.ToLower(own))
		return err
	})
	var r *audit.Refusal
	if !audit.IsGone(again) || !errors.As(again, &r) {
		return err
	}
	return &connection.Error{
		Kind: connection.ErrUnsupported, Code: strconv.Itoa(r.Status),
		Err:  fmt.Errorf("%w: Google no longer offers mailbox monitors for this domain (HTTP %d)", ErrMonitorsUnavailable, r.Status),
		Hint: insteadOfMonitors,
	}
}

// insteadOfMonitors is what is left to do.
const insteadOfMonitors = "Use: 1) mode Synchronize (retrieval: synchronize); 2) Admin console → Apps → Google Workspace → Gmail → Routing → " +
	"Third-party email archiving (SMTP journal to your archive's listener; Gmail retries 4xx up to 8 days, drops 5xx); 3) a routing rule 'Also " +
	"deliver to' with X-Gm-Original-To; 4) Vault exports (vault/v1 matters.exports, MBOX/PST, scope ediscovery) for back-fill"
