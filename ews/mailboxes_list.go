package ews

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

const (
	mostGroups   = 10_000 // in one listing: a server that makes up groups without end is not followed for ever
	mostPrefixes = 50_000 // of ResolveNames, likewise
	longestStart = 24     // of a name; nobody has a hundred namesakes beyond
	peoplePage   = 500
	resolveLimit = 100 // results of ResolveNames; more are not told
)

// A directory is how the address book is asked: in the account's own name where that is possible.
type directory struct {
	ready  bool
	target target
	url    *url.URL // nil: where the target lies
}

// open prepares the directory. An account need have no mailbox of its own, and autodiscover then does not know it: any
// server of the organisation will do.
func (d *directory) open(ctx context.Context, c *Conn) error {
	if d.ready {
		return nil
	}
	sample := c.sample()
	t, err := c.target("")
	if err != nil && sample != "" {
		t, err = c.target(sample) // an application has to impersonate somebody, whatever it asks
	}
	if err != nil {
		return err
	}
	if _, err := c.endpointOf(ctx, t); err != nil && ctx.Err() == nil {
		d.url = c.server
		if other, tErr := c.target(sample); d.url == nil && sample != "" && tErr == nil {
			if d.url, tErr = c.endpointOf(ctx, other); tErr != nil {
				d.url = nil
			}
		}
		if d.url == nil {
			return err
		}
	}
	d.target, d.ready = t, true
	return d.negotiate(ctx, c)
}

// negotiate finds out which version the server takes, so that an old one is not asked for what it never heard of. What it
// says of the inbox does not matter.
func (d *directory) negotiate(ctx context.Context, c *Conn) error {
	if _, _, known := c.build(d.target); known {
		return nil
	}
	_, err := c.oneWith(ctx, d.target, soap.GetFolder{Folders: []soap.FolderID{c.distinguished(d.target, "inbox")}}, callOptions{url: d.url, patient: true})
	if strings.HasPrefix(codeOf(err), "Error") {
		return nil
	}
	return err
}

// sample returns the mailbox that stands for all, "" if none is named.
func (c *Conn) sample() string {
	if c.cfg.TestMailbox == "" && len(c.cfg.Mailboxes) > 0 {
		return c.cfg.Mailboxes[0]
	}
	return c.cfg.TestMailbox
}

// ask makes a request to the directory.
func (l *lister) ask(ctx context.Context, op soap.Operation) (*soap.Response, error) {
	if err := l.dir.open(ctx, l.conn); err != nil {
		return nil, err
	}
	return l.conn.oneWith(ctx, l.dir.target, op, callOptions{url: l.dir.url, patient: true})
}

// locate has autodiscover look for the people in entries, many at a time, before each of them is.
func (l *lister) locate(ctx context.Context, entries []soap.Mailbox) {
	finder := l.conn.finder
	if finder == nil {
		return
	}
	var names []string
	for _, m := range entries {
		if mayOpen(m) == "" && l.wants(m.Address) && !l.told[strings.ToLower(m.Address)] {
			names = append(names, m.Address)
		}
	}
	finder.Prepare(ctx, names)
}

// mayOpen says why an entry of the directory is no mailbox that can be opened, "" if it is one.
func mayOpen(m soap.Mailbox) (why string) {
	switch {
	case m.Type != "" && m.Type != "Mailbox":
		return "it is no mailbox but a " + m.Type
	case m.External:
		return "it is in another organisation"
	case m.Routing != "" && !strings.EqualFold(m.Routing, "SMTP"):
		return "it has no SMTP address"
	case checkAddress(m.Address) != nil:
		return "it has no address that can be used"
	}
	return ""
}

// person lists an entry of the directory if it is a mailbox. It reports whether it is one.
func (l *lister) person(ctx context.Context, m soap.Mailbox) (bool, error) {
	if why := mayOpen(m); why != "" {
		if name := or(m.Address, m.Name); name != "" && l.fresh("skipped "+name) {
			l.skip(name, why, nil)
		}
		return false, nil
	}
	return true, l.add(ctx, &connection.Mailbox{Name: m.Address, Display: m.Name})
}

// A group is a distribution list: a public one has an address, a private one an id.
type group struct{ address, id, name string }

// members lists the members of groups, level by level. Each group is looked at once: one may contain itself.
func (l *lister) members(ctx context.Context, addresses []string) error {
	var queue []group
	seen := make(map[string]bool)
	enqueue := func(g group) {
		key := or(strings.ToLower(g.address), "id "+g.id)
		if !seen[key] {
			seen[key] = true
			queue = append(queue, g)
		}
	}
	for _, address := range addresses {
		enqueue(group{address: address})
	}
	for i := 0; i < len(queue); i++ {
		if i == mostGroups {
			return &connection.Error{Kind: connection.ErrTooLarge, Err: fmt.Errorf("over %d groups in groups", mostGroups), Hint: "groups: name groups with fewer groups in them"}
		}
		g := queue[i]
		queue[i] = group{}
		r, err := l.ask(ctx, soap.ExpandDL{Address: g.address, ID: soap.ItemID{ID: g.id}})
		name := or(g.address, g.name)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && (i < len(addresses) || !refusesList(err)):
			// One that the settings name must be there. One inside another that is not is the directory's fault.
			e := l.conn.fail("mailboxes", target{}, connection.Ref{}, err)
			e.Err = fmt.Errorf("group %s: %w", name, e.Err)
			if e.Kind == connection.ErrNotFound {
				e.Hint = "groups: is the address right, and is it a distribution list?"
			}
			return e
		case err != nil:
			l.skip(name, "the group cannot be expanded", err)
			continue
		case len(r.Mailboxes) == 0:
			l.skip(name, "the group is empty, or hides its members", nil)
		case r.LastKnown && !r.Last:
			l.skip(name, fmt.Sprintf("the server tells %d of the group's members only", len(r.Mailboxes)), nil)
		}
		l.locate(ctx, r.Mailboxes)
		for _, m := range r.Mailboxes {
			if m.Type == "PublicDL" || m.Type == "PrivateDL" {
				if m.Type == "PublicDL" {
					m.ItemID = ""
				}
				if m.Address == "" && m.ItemID == "" {
					l.skip(or(m.Name, name), "a group without an address", nil)
					continue
				}
				if m.ItemID != "" {
					m.Address = ""
				}
				enqueue(group{address: m.Address, id: m.ItemID, name: m.Name})
				continue
			}
			if _, err := l.person(ctx, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// searchable lists the mailboxes that the account may search.
func (l *lister) searchable(ctx context.Context) (found bool, err error) {
	r, err := l.ask(ctx, soap.GetSearchableMailboxes{})
	if err != nil {
		return false, err
	}
	for _, failed := range r.Unreadable {
		l.skip(failed.Mailbox, "the server cannot look at it", &connection.Error{
			Driver: DriverName, Kind: judge("Error"+strings.TrimPrefix(failed.Code, "Error"), "").kind, Code: failed.Code, Err: errors.New(or(failed.Text, "no reason given")),
		})
	}
	l.locate(ctx, r.Mailboxes)
	for _, m := range r.Mailboxes {
		if m.Group {
			continue // its members are mailboxes of their own
		}
		is, err := l.person(ctx, m)
		if err != nil {
			return found, err
		}
		found = found || is
	}
	return found, nil
}

// people lists the global address list, page by page.
func (l *lister) people(ctx context.Context) (found bool, err error) {
	shape := &soap.FolderShape{Properties: []soap.Path{soap.Field("persona:DisplayName"), soap.Field("persona:EmailAddress")}}
	entries := make(map[string]bool)
	for offset := 0; ; {
		r, err := l.ask(ctx, soap.FindPeople{Shape: shape, Page: soap.Page{Max: peoplePage, Offset: offset}, Folder: soap.FolderID{Distinguished: "directory"}})
		if err != nil {
			return found, err
		}
		news := false
		l.locate(ctx, r.Mailboxes)
		for _, m := range r.Mailboxes {
			key := strings.ToLower(m.Address) + "\n" + m.Name
			news = news || !entries[key]
			entries[key] = true
			is, err := l.person(ctx, m)
			if err != nil {
				return found, err
			}
			found = found || is
		}
		offset += len(r.Mailboxes)
		if !news || r.Total >= 0 && offset >= r.Total {
			return found, nil // a page that repeats what was told is from a server that does not count
		}
	}
}

// starts are the characters that addresses consist of, as far as Exchange gives such out.
const starts = "abcdefghijklmnopqrstuvwxyz0123456789._-'+&@"

// resolve walks through the beginnings of addresses: "a", "b", … Where the server tells as many as it tells at most, the
// beginning is made longer.
func (l *lister) resolve(ctx context.Context) (found bool, err error) {
	var queue []string
	longer := func(start string) {
		for _, r := range starts {
			if start == "" && (r < '0' || r > '9') && (r < 'a' || r > 'z') {
				continue
			}
			queue = append(queue, start+string(r))
		}
	}
	longer("")
	for asked := 0; len(queue) > 0; asked++ {
		start := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if asked == mostPrefixes {
			l.skip("", fmt.Sprintf("the directory was read up to %d beginnings of names", mostPrefixes), nil)
			return found, nil
		}
		r, err := l.ask(ctx, soap.ResolveNames{Entry: start, Scope: "ActiveDirectory"})
		switch {
		case codeOf(err) == "ErrorNameResolutionNoResults":
			continue
		case err != nil:
			return found, err
		}
		l.locate(ctx, r.Mailboxes)
		for _, m := range r.Mailboxes {
			is, err := l.person(ctx, m)
			if err != nil {
				return found, err
			}
			found = found || is
		}
		switch {
		case len(r.Mailboxes) < resolveLimit:
		case len(start) < longestStart:
			longer(start)
		default:
			l.skip("", fmt.Sprintf("more than %d names begin with %q", resolveLimit, start), nil)
		}
	}
	return found, nil
}
